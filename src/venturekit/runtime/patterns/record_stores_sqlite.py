"""Records in a SQLite file that the processes of a machine share."""

from __future__ import annotations

import json
import os
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.record_checks import (
    ForeignRecordError,
    check_find,
    check_key_name,
    check_text,
    check_write,
    checked_keys,
    foreign_record,
    parse_value,
    serialize_value,
)
from venturekit.runtime.patterns.records import Record, RecordPage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

BUSY_SECONDS: Final = 2.0
_PURGE_EVERY: Final = 1000
_PURGED_AT_ONCE: Final = 500
_COLUMNS: Final = ["id", "value", "version", "expires_at", "keys"]
_READ: Final = """SELECT id, value, version, expires_at, keys FROM {table}
    WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)"""
_WRITE: Final = """UPDATE {table} SET value = ?, version = version + 1, expires_at = ?, keys = ?
    WHERE id = ? AND version = ? AND (expires_at IS NULL OR expires_at > ?)"""
_WRITE_FIRST: Final = """INSERT INTO {table} (id, value, version, expires_at, keys) VALUES (?, ?, 1, ?, ?)
    ON CONFLICT (id) DO UPDATE SET value = excluded.value, version = 1, expires_at = excluded.expires_at,
    keys = excluded.keys WHERE expires_at <= ?"""
_DELETE: Final = """DELETE FROM {table} WHERE id = ? AND (expires_at IS NULL OR expires_at > ?)
    AND version = ifnull(?, version)"""
_FIND: Final = """SELECT r.id, r.value, r.version, r.expires_at, r.keys
    FROM {table}_keys AS k CROSS JOIN {table} AS r ON r.id = k.id
    WHERE k.name = ? AND k.value = ? AND k.id > ? AND (r.expires_at IS NULL OR r.expires_at > ?)
    ORDER BY k.id LIMIT ?"""
_PURGE: Final = "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE expires_at <= ? LIMIT ?)"
# Triggers keep what records are found by, so that one statement is all of a write, and nothing can come between.
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS {table} (id TEXT PRIMARY KEY, value TEXT NOT NULL, version INTEGER NOT NULL,
    expires_at REAL, keys TEXT)
;;
CREATE INDEX IF NOT EXISTS {table}_ends ON {table} (expires_at) WHERE expires_at IS NOT NULL
;;
CREATE TABLE IF NOT EXISTS {table}_keys (name TEXT NOT NULL, value TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (name, value, id)) WITHOUT ROWID
;;
CREATE TRIGGER IF NOT EXISTS {table}_made AFTER INSERT ON {table} WHEN NEW.keys IS NOT NULL BEGIN
    INSERT INTO {table}_keys SELECT key, value, NEW.id FROM json_each(NEW.keys); END
;;
CREATE TRIGGER IF NOT EXISTS {table}_changed AFTER UPDATE OF keys ON {table} WHEN OLD.keys IS NOT NEW.keys BEGIN
    DELETE FROM {table}_keys WHERE (name, value) IN (SELECT key, value FROM json_each(OLD.keys)) AND id = OLD.id;
    INSERT INTO {table}_keys SELECT key, value, NEW.id FROM json_each(ifnull(NEW.keys, '{}')); END
;;
CREATE TRIGGER IF NOT EXISTS {table}_gone AFTER DELETE ON {table} WHEN OLD.keys IS NOT NULL BEGIN
    DELETE FROM {table}_keys WHERE (name, value) IN (SELECT key, value FROM json_each(OLD.keys)) AND id = OLD.id; END
"""


class SqliteRecordStore:
    """Records in a file, for several processes of one machine: ``SqliteRecordStore("records.db")``

    A write that returned survives the end of the process, kill -9 included. The end of the machine, a power failure,
    may take the writes of the last seconds, never the file's soundness; with ``wait_for_disk=True`` each write waits
    until the disk has it, which takes milliseconds instead of microseconds. ``busy_seconds``: how long to wait for the
    others before it counts as down. Threads and forked processes may share it; each ``table`` is a store of its own.
    Files on network drives are not safe. Needs SQLite 3.35 with its JSON functions. Raises sqlite3.Error when it is
    down, and ValueError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str = "records",
        *,
        wait_for_disk: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        check_key_name(table)
        self._path = os.fspath(path)
        self._table = table
        self._wait_for_disk = wait_for_disk
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._writes = 0
        self._lock = Lock()

    def read(self, id: str, now: float, /) -> Record | None:
        """The record, or None. Raises sqlite3.Error, ForeignRecordError and ValueError."""
        check_text("the id of a record", id)
        rows = self._rows(_READ, (id, now))
        return self._record(rows[0]) if rows else None

    def write(
        self,
        id: str,
        value: dict[str, Any],
        now: float,
        /,
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> bool:
        """Whether it was written. Raises sqlite3.Error, RecordValueError and ValueError."""
        check_write(id, version, expires_at)
        text, found_by = serialize_value(value), checked_keys(keys)
        serialized_keys = json.dumps(found_by) if found_by else None
        if version:
            return self._change(_WRITE, (text, expires_at, serialized_keys, id, version, now), now)
        return self._change(_WRITE_FIRST, (id, text, expires_at, serialized_keys, now), now)

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool:
        """Whether it was there and is gone. Raises sqlite3.Error and ValueError."""
        check_text("the id of a record", id)
        return self._change(_DELETE, (id, now, version), now)

    def find(self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None) -> RecordPage:
        """A page of records. Raises sqlite3.Error, ForeignRecordError and ValueError."""
        check_find(key, value, limit, after)
        rows = self._rows(_FIND, (key, value, after or "", now, limit + 1))
        records = [self._record(row) for row in rows[:limit]]
        return RecordPage(records, records[-1].id if len(rows) > limit else None)

    def close(self) -> None:
        """Close the file; whatever is asked next opens it again."""
        self._leave_behind_what_was_forked()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _statement(self, text: str) -> str:
        return text.replace("{table}", self._table)

    def _rows(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self._leave_behind_what_was_forked()
        with self._lock:
            return self._connected().execute(self._statement(statement), values).fetchall()

    def _change(self, statement: str, values: tuple[Any, ...], now: float) -> bool:
        self._leave_behind_what_was_forked()
        with self._lock:
            connection = self._connected()
            changed = connection.execute(self._statement(statement), values).rowcount == 1
            self._writes += 1
            if self._writes % _PURGE_EVERY == 1:
                self._purge(connection, now)
            return changed

    def _purge(self, connection: sqlite3.Connection, now: float) -> None:
        import sqlite3

        try:
            connection.execute(self._statement(_PURGE), (now, _PURGED_AT_ONCE))
        except sqlite3.Error:
            # What was asked for is done, and says nothing about this: there is another time.
            pass

    def _record(self, row: tuple[Any, ...]) -> Record:
        record_id, text, version, expires_at, keys = row
        where = f"the table {self._table} of {self._path}"
        value = parse_value(text, record_id, where)
        if not isinstance(version, int) or not isinstance(expires_at, float | int | None):
            raise foreign_record(record_id, where, "its version or its end is no number")
        return Record(
            record_id, value, version, expires_at, parse_value(keys, record_id, where) if keys is not None else {}
        )

    def _leave_behind_what_was_forked(self) -> None:
        # In a forked process the connection is no use, closing it would harm its owner, and the lock may be held by a
        # thread that is not there.
        if self._process != os.getpid():
            if self._connection is not None:
                self._inherited.append(self._connection)
            self._connection = None
            self._lock = Lock()
            self._process = os.getpid()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        # Takes longer to import than all of the rest, and who keeps records elsewhere needs none of it.
        import sqlite3

        try:
            connection = sqlite3.connect(
                self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as problem:
            raise sqlite3.OperationalError(f"{self._path}: {problem}") from problem
        try:
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._wait_for_disk else 'NORMAL'}")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                # Somebody else is about to do it: either mode is safe.
                pass
            self._make_table(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_table(self, connection: sqlite3.Connection) -> None:
        columns = self._columns(connection)
        if not columns:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";;"):
                connection.execute(self._statement(statement))
            connection.execute("COMMIT")
            columns = self._columns(connection)
        if columns != _COLUMNS:
            raise ForeignRecordError(
                f"the table {self._table} of {self._path} was not made by this store: its columns are "
                f"{', '.join(columns)}. Name another table or file"
            )

    def _columns(self, connection: sqlite3.Connection) -> list[str]:
        return [column[1] for column in connection.execute(self._statement("PRAGMA table_info({table})"))]
