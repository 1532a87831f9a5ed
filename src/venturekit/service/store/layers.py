"""The intentions about layers, as SQL. Each runs inside the writer's transaction and either happens whole or not."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from venturekit.service.store.documents import StoredLayers, StoredLayerVersion
from venturekit.service.store.errors import AlreadyStoredError, NotStoredError
from venturekit.service.store.functions import text_of

if TYPE_CHECKING:
    from venturekit.service.store.documents import Document

Key = tuple[str, str]
"""Account and layer name."""


def create_layer_version(connection: sqlite3.Connection, key: Key, version: int, document: Document) -> None:
    """Store a new version of a layer; raises AlreadyStoredError."""
    try:
        connection.execute(
            "INSERT INTO layer_versions (account_id, layer_name, version, document) VALUES (?, ?, ?, ?)",
            (*key, version, text_of(document)),
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"version {version} of layer {key[1]}") from None
    connection.execute(
        "INSERT INTO layer_numbers (account_id, layer_name, last_version) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET last_version = max(last_version, excluded.last_version)",
        (*key, version),
    )


def change_layer_version(connection: sqlite3.Connection, key: Key, version: int, document: Document) -> None:
    """Replace the document of a layer version; raises NotStoredError."""
    changed = connection.execute(
        "UPDATE layer_versions SET document = ? WHERE account_id = ? AND layer_name = ? AND version = ?",
        (text_of(document), *key, version),
    ).rowcount
    if changed != 1:
        raise NotStoredError(f"version {version} of layer {key[1]}")


def delete_layer_version(connection: sqlite3.Connection, key: Key, version: int) -> None:
    """Remove a layer version; its number is not given again. Raises NotStoredError."""
    removed = connection.execute(
        "DELETE FROM layer_versions WHERE account_id = ? AND layer_name = ? AND version = ?", (*key, version)
    ).rowcount
    if removed != 1:
        raise NotStoredError(f"version {version} of layer {key[1]}")


def load_layers(connection: sqlite3.Connection) -> StoredLayers:
    """Everything there is, as of one moment."""
    versions = [
        StoredLayerVersion(account, name, int(version), json.loads(text))
        for account, name, version, text in connection.execute(
            "SELECT account_id, layer_name, version, document FROM layer_versions ORDER BY 1, 2, 3"
        )
    ]
    numbers = connection.execute("SELECT account_id, layer_name, last_version FROM layer_numbers")
    return StoredLayers(versions, {(account, name): int(number) for account, name, number in numbers})
