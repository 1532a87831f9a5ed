"""The intentions about functions, as SQL. Each runs inside the writer's transaction and either happens whole or not."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from venturekit.service.store.documents import (
    AliasRow,
    Document,
    FunctionChange,
    StoredFunction,
    StoredFunctions,
    VersionRow,
)
from venturekit.service.store.errors import AlreadyStoredError, NotStoredError, RevisionConflictError

Key = tuple[str, str]
"""Account and function name."""


def create_function(
    connection: sqlite3.Connection, key: Key, document: Document, versions: Sequence[VersionRow]
) -> None:
    """Store a new function with its first versions; raises AlreadyStoredError."""
    try:
        connection.execute(
            "INSERT INTO functions (account_id, name, document) VALUES (?, ?, ?)", (*key, text_of(document))
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"function {key[1]}") from None
    for row in versions:
        _put_version(connection, key, row)


def change_function(connection: sqlite3.Connection, key: Key, change: FunctionChange) -> None:
    """Carry out a change of a function, all or nothing.

    Raises NotStoredError (the function, or something to remove, is not there), AlreadyStoredError (a version or alias
    to add exists) and RevisionConflictError (one to replace has another revision).
    """
    found = connection.execute("SELECT 1 FROM functions WHERE account_id = ? AND name = ?", key).fetchone()
    if found is None:
        raise NotStoredError(f"function {key[1]}")
    if change.document is not None:
        connection.execute(
            "UPDATE functions SET document = ? WHERE account_id = ? AND name = ?", (text_of(change.document), *key)
        )
    for version_row in change.versions:
        _put_version(connection, key, version_row)
    for alias_row in change.aliases:
        _put_alias(connection, key, alias_row)
    for alias in change.removed_aliases:
        _remove(connection, "DELETE FROM aliases WHERE account_id = ? AND function_name = ? AND name = ?", key, alias)
    for version in change.removed_versions:
        _remove(
            connection, "DELETE FROM versions WHERE account_id = ? AND function_name = ? AND version = ?", key, version
        )


def delete_function(connection: sqlite3.Connection, key: Key) -> None:
    """Remove a function with its versions and aliases; its version counter stays. Raises NotStoredError."""
    if connection.execute("DELETE FROM functions WHERE account_id = ? AND name = ?", key).rowcount != 1:
        raise NotStoredError(f"function {key[1]}")


def load_functions(connection: sqlite3.Connection) -> StoredFunctions:
    """Everything there is, as of one moment."""
    versions = _grouped(connection, "SELECT account_id, function_name, document FROM versions ORDER BY 1, 2")
    aliases = _grouped(connection, "SELECT account_id, function_name, document FROM aliases ORDER BY 1, 2")
    functions = [
        StoredFunction(
            account, name, json.loads(text), versions.get((account, name), ()), aliases.get((account, name), ())
        )
        for account, name, text in connection.execute("SELECT account_id, name, document FROM functions")
    ]
    numbers = connection.execute("SELECT account_id, function_name, last_version FROM version_numbers")
    return StoredFunctions(functions, {(account, name): int(number) for account, name, number in numbers})


def text_of(document: Document) -> str:
    """A document as the text that is stored."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def _put_version(connection: sqlite3.Connection, key: Key, row: VersionRow) -> None:
    if row.expected_revision is None:
        _insert_version(connection, key, row)
        return
    changed = connection.execute(
        "UPDATE versions SET revision_id = ?, document = ? "
        "WHERE account_id = ? AND function_name = ? AND version = ? AND revision_id = ?",
        (row.revision_id, text_of(row.document), *key, row.version, row.expected_revision),
    ).rowcount
    if changed != 1:
        raise RevisionConflictError(f"version {row.version} of function {key[1]}")


def _insert_version(connection: sqlite3.Connection, key: Key, row: VersionRow) -> None:
    try:
        connection.execute(
            "INSERT INTO versions (account_id, function_name, version, revision_id, document) VALUES (?, ?, ?, ?, ?)",
            (*key, row.version, row.revision_id, text_of(row.document)),
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"version {row.version} of function {key[1]}") from None
    if row.version.isdecimal():
        connection.execute(
            "INSERT INTO version_numbers (account_id, function_name, last_version) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET last_version = max(last_version, excluded.last_version)",
            (*key, int(row.version)),
        )


def _put_alias(connection: sqlite3.Connection, key: Key, row: AliasRow) -> None:
    if row.expected_revision is not None:
        changed = connection.execute(
            "UPDATE aliases SET revision_id = ?, document = ? "
            "WHERE account_id = ? AND function_name = ? AND name = ? AND revision_id = ?",
            (row.revision_id, text_of(row.document), *key, row.name, row.expected_revision),
        ).rowcount
        if changed != 1:
            raise RevisionConflictError(f"alias {row.name} of function {key[1]}")
        return
    try:
        connection.execute(
            "INSERT INTO aliases (account_id, function_name, name, revision_id, document) VALUES (?, ?, ?, ?, ?)",
            (*key, row.name, row.revision_id, text_of(row.document)),
        )
    except sqlite3.IntegrityError:
        raise AlreadyStoredError(f"alias {row.name} of function {key[1]}") from None


def _remove(connection: sqlite3.Connection, statement: str, key: Key, name: str) -> None:
    if connection.execute(statement, (*key, name)).rowcount != 1:
        raise NotStoredError(f"{name} of function {key[1]}")


class _Documents(Sequence[Document]):
    """The documents of one function, parsed whenever they are looked at: parsed, they take four times the memory."""

    __slots__ = ("_begin", "_end", "_texts")

    def __init__(self, texts: bytearray, begin: int, end: int) -> None:
        self._texts = texts
        self._begin = begin
        self._end = end

    def __len__(self) -> int:
        return len(self._parsed())

    def __iter__(self) -> Iterator[Document]:
        return iter(self._parsed())

    def __getitem__(self, index: Any) -> Any:
        return self._parsed()[index]

    def _parsed(self) -> list[Document]:
        documents: list[Document] = json.loads(self._texts[self._begin : self._end])
        return documents


def _grouped(connection: sqlite3.Connection, query: str) -> dict[Key, _Documents]:
    # One buffer goes back to the system in one piece; as many small texts would leave holes behind them.
    texts = bytearray()
    documents = {}
    for key, rows in groupby(connection.execute(query), itemgetter(0, 1)):
        begin = len(texts)
        texts += f"[{','.join(text for _, _, text in rows)}]".encode()
        documents[key] = _Documents(texts, begin, len(texts))
    return documents
