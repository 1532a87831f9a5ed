"""Opening the database, and what its error codes mean to the writer."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

BUSY_TIMEOUT_SECONDS: Final = 5.0
_WAL_SIZE_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Trouble(Enum):
    """Whose problem an exception raised inside a transaction is."""

    INTENTION = "the intention's own: undo it alone"
    BUSY = "another program holds the database"
    FULL = "no space left"
    REFUSED = "the disk refused to read or write: nothing of the transaction is there, the next one may succeed"
    DAMAGE = "the database is damaged"
    STORAGE = "the storage itself: what the disk holds is uncertain"


_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_OWN: Final = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_TOOBIG,
    }
)
# Not those about a failed fsync: the kernel may have dropped what it could not write, and the next fsync would succeed.
_REFUSED: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_READ,
        # Of a read that failed, like the former. To the writer SQLite reports most of these as damage, alas.
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_FSTAT,
        sqlite3.SQLITE_IOERR_SEEK,
        sqlite3.SQLITE_IOERR_SHMOPEN,
        sqlite3.SQLITE_IOERR_SHMSIZE,
        sqlite3.SQLITE_IOERR_SHMMAP,
    }
)
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def connect(path: Path, *, writer: bool) -> sqlite3.Connection:
    """A connection with explicit transactions: the writer's makes every commit durable, a reader's cannot write.

    A new database is its owner's alone, as what SQLite keeps beside it: payloads and variables of functions are in it.
    """
    if writer:
        # SQLite tells better than this why a file cannot be made.
        with suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False)
    if writer:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE_LIMIT_BYTES:d}")
        _empty_log(connection)
    else:
        connection.execute("PRAGMA query_only = ON")
    return connection


def _empty_log(connection: sqlite3.Connection) -> None:
    """Move what the write-ahead log of a former process holds into the database, so that it begins anew."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        # A full disk has no room for it, and does not need it: the log is read where it is.
        if classify(error) is not Trouble.FULL:
            raise


def classify(error: Exception) -> Trouble:
    """What to do about an exception: only errors of SQLite can be more than the intention's own."""
    if not isinstance(error, sqlite3.Error):
        return Trouble.INTENTION
    code = getattr(error, "sqlite_errorcode", None)
    # The sqlite3 module itself raises without a code, for a wrong number of parameters and the like.
    primary = sqlite3.SQLITE_MISUSE if code is None else code & 0xFF
    if primary in _OWN:
        return Trouble.INTENTION
    if primary in _BUSY:
        return Trouble.BUSY
    if primary in _DAMAGE:
        return Trouble.DAMAGE
    if code in _REFUSED:
        return Trouble.REFUSED
    return Trouble.FULL if primary == sqlite3.SQLITE_FULL else Trouble.STORAGE
