"""The intentions about event source mappings, as SQL. Each runs inside the writer's transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.service.store.errors import NotStoredError
from venturekit.service.store.functions import text_of

if TYPE_CHECKING:
    import sqlite3

    from venturekit.service.store.documents import Document
    from venturekit.service.store.store import Store

Key = tuple[str, str]
"""Account and UUID."""


class EventSourceMappingStore:
    """The event source mappings of a store: see :class:`Store` for what its methods raise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def load(self) -> list[tuple[str, str, dict[str, Any]]]:
        """All of them: account, UUID and document of each."""
        return await self._store.read(load_mappings)

    async def put(self, account_id: str, uuid: str, document: Document) -> None:
        """Store a mapping, or what it has become."""
        await self._store.perform(lambda connection: put_mapping(connection, (account_id, uuid), document))

    async def delete(self, account_id: str, uuid: str) -> None:
        """Remove a mapping; raises NotStoredError."""
        await self._store.perform(lambda connection: delete_mapping(connection, (account_id, uuid)), essential=True)


def put_mapping(connection: sqlite3.Connection, key: Key, document: Document) -> None:
    """Store a mapping, in the place of the one with that UUID if there is one."""
    connection.execute(
        "INSERT INTO event_source_mappings (account_id, uuid, document) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET document = excluded.document",
        (*key, text_of(document)),
    )


def delete_mapping(connection: sqlite3.Connection, key: Key) -> None:
    """Remove a mapping; raises NotStoredError."""
    if connection.execute("DELETE FROM event_source_mappings WHERE account_id = ? AND uuid = ?", key).rowcount != 1:
        raise NotStoredError(f"event source mapping {key[1]}")


def load_mappings(connection: sqlite3.Connection) -> list[tuple[str, str, dict[str, Any]]]:
    """All of them: account, UUID and document."""
    found = connection.execute("SELECT account_id, uuid, document FROM event_source_mappings ORDER BY 1, 2")
    return [(account, uuid, json.loads(text)) for account, uuid, text in found]
