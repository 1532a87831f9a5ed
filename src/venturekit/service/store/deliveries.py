"""What the outbox owes, as SQL: put down in the transaction that settles the event."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from venturekit.service.store.event_documents import NewDelivery


def insert_deliveries(connection: sqlite3.Connection, event_id: int, rows: Sequence[NewDelivery]) -> None:
    """Owe these messages, which tell of the end of an event."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM deliveries").fetchone()
    numbered = list(enumerate(rows, last + 1))
    connection.executemany(
        "INSERT INTO deliveries (id, event_id, kind, target, attributes, source, trace, due_at, created_wall) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                event_id,
                row.kind,
                row.target,
                row.attributes,
                row.source,
                row.trace,
                row.due_at,
                row.created_wall,
            )
            for number, row in numbered
        ],
    )
    connection.executemany(
        "INSERT INTO delivery_bodies (delivery_id, body) VALUES (?, ?)",
        [(number, row.body) for number, row in numbered],
    )
