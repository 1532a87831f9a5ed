"""The database's shape, as numbered steps. A step that was released never changes; a new one is appended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.store.errors import StoreVersionError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


_ACCOUNT_OF_ARN: Final = "substr(arn, instr(arn, ':function:') - 12, 12)"


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
    Migration(
        2,
        "several accounts",
        (
            # Tables with documents have rowids: without, a row over a quarter of a page spills into pages of its own.
            """CREATE TABLE functions_2 (
                 account_id TEXT NOT NULL,
                 name TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, name)
               ) STRICT""",
            """CREATE TABLE versions_2 (
                 account_id TEXT NOT NULL,
                 function_name TEXT NOT NULL,
                 version TEXT NOT NULL,
                 revision_id TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, function_name, version),
                 FOREIGN KEY (account_id, function_name) REFERENCES functions_2 (account_id, name) ON DELETE CASCADE
               ) STRICT""",
            """CREATE TABLE aliases_2 (
                 account_id TEXT NOT NULL,
                 function_name TEXT NOT NULL,
                 name TEXT NOT NULL,
                 revision_id TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, function_name, name),
                 FOREIGN KEY (account_id, function_name) REFERENCES functions_2 (account_id, name) ON DELETE CASCADE
               ) STRICT""",
            """CREATE TABLE version_numbers_2 (
                 account_id TEXT NOT NULL,
                 function_name TEXT NOT NULL,
                 last_version INTEGER NOT NULL,
                 PRIMARY KEY (account_id, function_name)
               ) WITHOUT ROWID, STRICT""",
            # A function's ARN stands in each of its versions and aliases, and says its account.
            *(
                statement
                for table in ("versions", "aliases")
                for statement in (
                    f"ALTER TABLE {table} ADD COLUMN arn TEXT AS (json_extract(document, '$.function_arn'))",
                    f"ALTER TABLE {table} ADD COLUMN account_id TEXT AS ({_ACCOUNT_OF_ARN})",
                )
            ),
            """INSERT INTO functions_2 SELECT
                 (SELECT account_id FROM versions WHERE function_name = functions.name), name, document
               FROM functions""",
            "INSERT INTO versions_2 SELECT account_id, function_name, version, revision_id, document FROM versions",
            "INSERT INTO aliases_2 SELECT account_id, function_name, name, revision_id, document FROM aliases",
            # The number of a function that was deleted says nothing of its account: it is the one all others have.
            """INSERT INTO version_numbers_2 SELECT
                 coalesce((SELECT account_id FROM versions LIMIT 1), '000000000000'), function_name, last_version
               FROM version_numbers""",
            "DROP TABLE versions",
            "DROP TABLE aliases",
            "DROP TABLE functions",
            "DROP TABLE version_numbers",
            "ALTER TABLE functions_2 RENAME TO functions",
            "ALTER TABLE versions_2 RENAME TO versions",
            "ALTER TABLE aliases_2 RENAME TO aliases",
            "ALTER TABLE version_numbers_2 RENAME TO version_numbers",
        ),
    ),
    Migration(
        3,
        "layers",
        (
            """CREATE TABLE layer_versions (
                 account_id TEXT NOT NULL,
                 layer_name TEXT NOT NULL,
                 version INTEGER NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, layer_name, version)
               ) STRICT""",
            """CREATE TABLE layer_numbers (
                 account_id TEXT NOT NULL,
                 layer_name TEXT NOT NULL,
                 last_version INTEGER NOT NULL,
                 PRIMARY KEY (account_id, layer_name)
               ) WITHOUT ROWID, STRICT""",
        ),
    ),
    Migration(
        4,
        "asynchronous events, their deliveries and their history",
        (
            # Changed three times in an event's life: kept short, the payload lies elsewhere. No index on request ids:
            # they are random, so that every new event would write a page of its own, and are rarely looked for.
            """CREATE TABLE events (
                 id INTEGER PRIMARY KEY,
                 account_id TEXT NOT NULL,
                 function_name TEXT NOT NULL,
                 qualifier TEXT NOT NULL,
                 request_id TEXT NOT NULL,
                 trace TEXT NOT NULL,
                 state TEXT NOT NULL,
                 accepted_at REAL NOT NULL,
                 accepted_wall REAL NOT NULL,
                 due_at REAL NOT NULL,
                 attempts INTEGER NOT NULL DEFAULT 0,
                 backoffs INTEGER NOT NULL DEFAULT 0,
                 lease TEXT,
                 finished_wall REAL
               ) STRICT""",
            """CREATE INDEX events_due ON events (account_id, function_name, due_at, id) WHERE state = 'queued'""",
            """CREATE INDEX events_running ON events (id) WHERE state = 'running'""",
            """CREATE INDEX events_finished ON events (finished_wall, id) WHERE finished_wall IS NOT NULL""",
            # Of events that may be run again: not of those that succeeded.
            """CREATE TABLE event_payloads (
                 event_id INTEGER PRIMARY KEY REFERENCES events (id) ON DELETE CASCADE,
                 payload BLOB NOT NULL
               ) STRICT""",
            """CREATE TABLE event_history (
                 event_id INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
                 number INTEGER NOT NULL,
                 wall REAL NOT NULL,
                 kind TEXT NOT NULL,
                 detail TEXT NOT NULL DEFAULT '',
                 PRIMARY KEY (event_id, number)
               ) WITHOUT ROWID, STRICT""",
            # The outbox: what is here is not delivered yet. Each failure changes its row: kept short, like events.
            """CREATE TABLE deliveries (
                 id INTEGER PRIMARY KEY,
                 event_id INTEGER NOT NULL REFERENCES events (id),
                 kind TEXT NOT NULL,
                 target TEXT NOT NULL,
                 attributes TEXT NOT NULL,
                 source TEXT NOT NULL,
                 trace TEXT NOT NULL,
                 attempts INTEGER NOT NULL DEFAULT 0,
                 due_at REAL NOT NULL,
                 reason TEXT NOT NULL DEFAULT '',
                 created_wall REAL NOT NULL
               ) STRICT""",
            """CREATE TABLE delivery_bodies (
                 delivery_id INTEGER PRIMARY KEY REFERENCES deliveries (id) ON DELETE CASCADE,
                 body BLOB NOT NULL
               ) STRICT""",
            """CREATE INDEX deliveries_due ON deliveries (target, due_at, id)""",
            """CREATE INDEX deliveries_of ON deliveries (event_id)""",
            # Steady time is the time since the machine's boot plus this offset.
            """CREATE TABLE steady_clock (
                 boot_id TEXT PRIMARY KEY,
                 offset_seconds REAL NOT NULL
               ) STRICT""",
        ),
    ),
    Migration(
        5,
        "WebSocket APIs",
        (
            """CREATE TABLE websocket_apis (
                 account_id TEXT NOT NULL,
                 name TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, name)
               ) STRICT""",
        ),
    ),
    Migration(
        6,
        "event source mappings",
        (
            """CREATE TABLE event_source_mappings (
                 account_id TEXT NOT NULL,
                 uuid TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, uuid)
               ) STRICT""",
        ),
    ),
    Migration(
        7,
        "the tenants that events are for",
        ("ALTER TABLE events ADD COLUMN tenant_id TEXT NOT NULL DEFAULT ''",),
    ),
    Migration(
        8,
        "capacity providers",
        (
            """CREATE TABLE capacity_providers (
                 account_id TEXT NOT NULL,
                 name TEXT NOT NULL,
                 document TEXT NOT NULL,
                 PRIMARY KEY (account_id, name)
               ) STRICT""",
        ),
    ),
    Migration(
        9,
        "events in the order in which each tenant's are due",
        (
            "DROP INDEX events_due",
            """CREATE INDEX events_due ON events (account_id, function_name, tenant_id, due_at, id)
               WHERE state = 'queued'""",
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
