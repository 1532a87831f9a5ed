"""The intentions about capacity providers, as SQL. Each runs inside the writer's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.service.store.errors import NotStoredError
from venturekit.service.store.functions import text_of

if TYPE_CHECKING:
    import sqlite3

    from venturekit.service.store.documents import Document

Key = tuple[str, str]
"""Account and name."""


def put_capacity_provider(connection: sqlite3.Connection, key: Key, document: Document) -> None:
    """Store a capacity provider, in the place of the one of that name if there is one."""
    connection.execute(
        "INSERT INTO capacity_providers (account_id, name, document) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET document = excluded.document",
        (*key, text_of(document)),
    )


def delete_capacity_provider(connection: sqlite3.Connection, key: Key) -> None:
    """Remove a capacity provider; raises NotStoredError."""
    if connection.execute("DELETE FROM capacity_providers WHERE account_id = ? AND name = ?", key).rowcount != 1:
        raise NotStoredError(f"capacity provider {key[1]}")


def load_capacity_providers(connection: sqlite3.Connection) -> list[tuple[str, str, dict[str, Any]]]:
    """All of them: account, name and document."""
    found = connection.execute("SELECT account_id, name, document FROM capacity_providers ORDER BY 1, 2")
    return [(account, name, json.loads(text)) for account, name, text in found]
