"""What an error of SQLite means to the writer: undone and over, or the end."""

from __future__ import annotations

import sqlite3

import pytest

from venturekit.service.store.connection import Trouble, classify


def error_with(code: int | None) -> sqlite3.Error:
    error = sqlite3.OperationalError("any")
    if code is not None:
        error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("SQLITE_IOERR_WRITE", Trouble.REFUSED),
        ("SQLITE_IOERR_READ", Trouble.REFUSED),
        ("SQLITE_IOERR_CORRUPTFS", Trouble.REFUSED),
        ("SQLITE_IOERR_TRUNCATE", Trouble.REFUSED),
        ("SQLITE_IOERR_SHMSIZE", Trouble.REFUSED),
        # What these leave behind nobody knows.
        ("SQLITE_IOERR_FSYNC", Trouble.STORAGE),
        ("SQLITE_IOERR_DIR_FSYNC", Trouble.STORAGE),
        ("SQLITE_IOERR_CLOSE", Trouble.STORAGE),
        ("SQLITE_IOERR_DATA", Trouble.STORAGE),
        ("SQLITE_IOERR", Trouble.STORAGE),
        ("SQLITE_NOMEM", Trouble.STORAGE),
        ("SQLITE_READONLY", Trouble.STORAGE),
        ("SQLITE_CANTOPEN", Trouble.STORAGE),
        ("SQLITE_CORRUPT", Trouble.DAMAGE),
        ("SQLITE_CORRUPT_INDEX", Trouble.DAMAGE),
        ("SQLITE_NOTADB", Trouble.DAMAGE),
        ("SQLITE_FULL", Trouble.FULL),
        ("SQLITE_BUSY", Trouble.BUSY),
        ("SQLITE_BUSY_SNAPSHOT", Trouble.BUSY),
        ("SQLITE_CONSTRAINT_UNIQUE", Trouble.INTENTION),
        ("SQLITE_ERROR", Trouble.INTENTION),
    ],
)
def test_what_a_code_means(name: str, trouble: Trouble) -> None:
    assert classify(error_with(getattr(sqlite3, name))) is trouble


def test_errors_without_a_code_are_the_intentions_own() -> None:
    assert classify(error_with(None)) is Trouble.INTENTION
    assert classify(KeyError("any")) is Trouble.INTENTION
