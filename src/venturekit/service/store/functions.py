"""The intentions about functions, as SQL. Each runs inside the writer's transaction and either happens whole or not."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from venturekit.service.store.documents import AliasRow, Document, StoredFunction, StoredFunctions, VersionRow
from venturekit.service.store.errors import AlreadyStoredError, NotStoredError, RevisionConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence


def create_function(
    connection: sqlite3.Connection, name: str, document: Document, versions: Sequence[VersionRow]
) -> None:
    """Store a new function with its first versions; raises AlreadyStoredError."""
    try:
        connection.execute("INSERT INTO functions (name, document) VALUES (?, ?)", (name, _text(document)))
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"function {name}") from None
    put_versions(connection, name, versions)


def put_versions(connection: sqlite3.Connection, name: str, versions: Sequence[VersionRow]) -> None:
    """Write versions of a function, all or none.

    Raises NotStoredError (no such function), AlreadyStoredError (a version to add exists) and RevisionConflictError
    (a version to replace has another revision).
    """
    _require_function(connection, name)
    for row in versions:
        if row.expected_revision is None:
            _insert_version(connection, name, row)
        else:
            changed = connection.execute(
                "UPDATE versions SET revision_id = ?, document = ? "
                "WHERE function_name = ? AND version = ? AND revision_id = ?",
                (row.revision_id, _text(row.document), name, row.version, row.expected_revision),
            ).rowcount
            if changed != 1:
                raise RevisionConflictError(f"version {row.version} of function {name}")


def delete_function(connection: sqlite3.Connection, name: str) -> None:
    """Remove a function with its versions and aliases; its version counter stays. Raises NotStoredError."""
    if connection.execute("DELETE FROM functions WHERE name = ?", (name,)).rowcount != 1:
        raise NotStoredError(f"function {name}")


def delete_version(connection: sqlite3.Connection, name: str, version: str) -> None:
    """Remove one version; raises NotStoredError."""
    deleted = connection.execute("DELETE FROM versions WHERE function_name = ? AND version = ?", (name, version))
    if deleted.rowcount != 1:
        raise NotStoredError(f"version {version} of function {name}")


def put_alias(connection: sqlite3.Connection, name: str, row: AliasRow) -> None:
    """Write an alias; raises NotStoredError, AlreadyStoredError and RevisionConflictError as ``put_versions``."""
    _require_function(connection, name)
    if row.expected_revision is not None:
        changed = connection.execute(
            "UPDATE aliases SET revision_id = ?, document = ? WHERE function_name = ? AND name = ? AND revision_id = ?",
            (row.revision_id, _text(row.document), name, row.name, row.expected_revision),
        ).rowcount
        if changed != 1:
            raise RevisionConflictError(f"alias {row.name} of function {name}")
        return
    try:
        connection.execute(
            "INSERT INTO aliases (function_name, name, revision_id, document) VALUES (?, ?, ?, ?)",
            (name, row.name, row.revision_id, _text(row.document)),
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"alias {row.name} of function {name}") from None


def load_functions(connection: sqlite3.Connection) -> StoredFunctions:
    """Everything there is, as of one moment."""
    versions = _grouped(connection, "SELECT function_name, document FROM versions")
    aliases = _grouped(connection, "SELECT function_name, document FROM aliases")
    functions = [
        StoredFunction(name, json.loads(text), versions.get(name, []), aliases.get(name, []))
        for name, text in connection.execute("SELECT name, document FROM functions ORDER BY name")
    ]
    numbers = connection.execute("SELECT function_name, last_version FROM version_numbers")
    return StoredFunctions(functions, {name: int(number) for name, number in numbers})


def _require_function(connection: sqlite3.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM functions WHERE name = ?", (name,)).fetchone() is None:
        raise NotStoredError(f"function {name}")


def _insert_version(connection: sqlite3.Connection, name: str, row: VersionRow) -> None:
    try:
        connection.execute(
            "INSERT INTO versions (function_name, version, revision_id, document) VALUES (?, ?, ?, ?)",
            (name, row.version, row.revision_id, _text(row.document)),
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"version {row.version} of function {name}") from None
    if row.version.isdecimal():
        connection.execute(
            "INSERT INTO version_numbers (function_name, last_version) VALUES (?, ?) "
            "ON CONFLICT (function_name) DO UPDATE SET last_version = max(last_version, excluded.last_version)",
            (name, int(row.version)),
        )


def _grouped(connection: sqlite3.Connection, query: str) -> dict[str, list[Document]]:
    documents: dict[str, list[Document]] = {}
    for name, text in connection.execute(query):
        documents.setdefault(name, []).append(json.loads(text))
    return documents


def _text(document: Document) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)
