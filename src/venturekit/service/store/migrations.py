"""The database's shape, as numbered steps. A step that was released never changes; a new one is appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.store.errors import StoreVersionError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number (from 1, without gaps), what it does, and its statements."""

    number: int
    title: str
    statements: tuple[str, ...]


MIGRATIONS: Final = (
    Migration(
        1,
        "functions, versions, aliases",
        (
            """CREATE TABLE functions (
                 name TEXT PRIMARY KEY,
                 document TEXT NOT NULL
               ) WITHOUT ROWID, STRICT""",
            """CREATE TABLE versions (
                 function_name TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
                 version TEXT NOT NULL,
                 revision_id TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (function_name, version)
               ) WITHOUT ROWID, STRICT""",
            """CREATE TABLE aliases (
                 function_name TEXT NOT NULL REFERENCES functions (name) ON DELETE CASCADE,
                 name TEXT NOT NULL,
                 revision_id TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (function_name, name)
               ) WITHOUT ROWID, STRICT""",
            # No reference to functions: a number is not given twice, not even after the function was deleted.
            """CREATE TABLE version_numbers (
                 function_name TEXT PRIMARY KEY,
                 last_version INTEGER NOT NULL
               ) WITHOUT ROWID, STRICT""",
        ),
    ),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Bring the database to the newest known version, step by step, each in a transaction of its own.

    Returns the number of steps taken. Raises StoreVersionError, changing nothing, if the database is newer.
    """
    known = migrations[-1].number if migrations else 0
    (current,) = connection.execute("PRAGMA user_version").fetchone()
    if current > known:
        raise StoreVersionError(
            f"the database has version {current}, this release knows versions up to {known}: "
            "start the newer release it was written by, or choose another data directory"
        )
    pending = [migration for migration in migrations if migration.number > current]
    for migration in pending:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migration.statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {migration.number:d}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    return len(pending)
