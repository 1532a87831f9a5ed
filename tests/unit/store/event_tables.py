"""The tables of events in memory, and rows for them."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from venturekit.service.store.event_documents import NewEvent
from venturekit.service.store.migrations import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNT = "123456789012"
_NUMBERS = itertools.count(1)


@contextmanager
def event_tables() -> Iterator[sqlite3.Connection]:
    """A connection as the writer's is, to a database of its own."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        migrate(connection)
        yield connection


def new_event(function: str = "f", *, account: str = ACCOUNT, **members: Any) -> NewEvent:
    """An event with a request id of its own."""
    given: dict[str, Any] = {
        "qualifier": "",
        "request_id": f"id-{next(_NUMBERS)}",
        "payload": b"{}",
        "trace": "Root=1-a-b",
        "accepted_at": 1000.0,
        "accepted_wall": 2000.0,
    }
    return NewEvent(account, function, **{**given, **members})
