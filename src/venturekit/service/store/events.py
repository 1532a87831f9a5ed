"""The intentions about queued events, as SQL. Each runs inside the writer's transaction and happens whole or not.

Rows are written many to a statement: each step of a statement hands the interpreter to the other threads and has to
get it back, which under load takes longer than the step itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.store.deliveries import insert_deliveries
from venturekit.service.store.event_documents import (
    QUEUED,
    RUNNING,
    SUCCEEDED,
    ClaimedEvent,
    Lane,
    LaneState,
    NewEvent,
    Settlement,
    Transition,
)

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from venturekit.service.store.store import Store

ACCEPTED: Final = "accepted"
STARTED: Final = "started"
INTERRUPTED: Final = "interrupted"
_ROWS_AT_ONCE: Final = (64, 16, 4, 1)
_CLAIMED: Final = (
    "SELECT id, qualifier, request_id, payload, trace, accepted_at, attempts, backoffs "
    "FROM events JOIN event_payloads ON event_id = id "
    "WHERE state = 'queued' AND account_id = ? AND function_name = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?"
)
_NEXT_DUE: Final = "SELECT min(due_at) FROM events WHERE state = 'queued' AND account_id = ? AND function_name = ?"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one round of the dispatcher found: the events that are now its own, and when lanes are due again.

    ``stale`` are the events whose settlement came too late: somebody else has them, or has settled them.
    """

    claimed: Sequence[ClaimedEvent]
    next_due: Mapping[Lane, float | None]
    stale: Sequence[int]


class EventStore:
    """The intentions about queued events; for what all raise see :class:`Store`.

    What the paths of an invocation need gives a future of the running loop: no task waits for it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Accept events, all or none."""
        return self._store.begin(partial(insert_events, events=events))

    def turn(
        self, lease: str, settlements: Sequence[Settlement], claims: Sequence[tuple[Lane, int]], now: float, wall: float
    ) -> asyncio.Future[Turn]:
        """Settle events held under ``lease``, then claim up to so many due ones of each lane under it.

        Essential: what is settled frees space, and what is claimed will be.
        """
        intention = partial(take_turn, lease=lease, settlements=settlements, claims=claims, now=now, wall=wall)
        return self._store.begin(intention, essential=True)

    async def release(self, wall: float) -> int:
        """Put back what former processes held; returns how many events that were."""
        released: int = await self._store.perform(partial(release, wall=wall), essential=True)
        return released

    async def lanes(self) -> list[LaneState]:
        """What waits, by lane."""
        return await self._store.read(lane_states)

    async def steady_offset(self, boot_id: str, boot_seconds: float, wall: float) -> float:
        """What makes steady time of the time since this boot of the machine, the same in every process."""
        offset: float = await self._store.perform(
            partial(steady_offset, boot_id=boot_id, boot_seconds=boot_seconds, wall=wall), essential=True
        )
        return offset


def insert_events(connection: sqlite3.Connection, events: Sequence[NewEvent]) -> None:
    """Accept events: they are due at once."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    numbered = list(enumerate(events, last + 1))
    _insert(
        connection,
        "events (id, account_id, function_name, qualifier, request_id, trace, state, accepted_at, accepted_wall, "
        "due_at)",
        [
            (
                number,
                event.account_id,
                event.function_name,
                event.qualifier,
                event.request_id,
                event.trace,
                QUEUED,
                event.accepted_at,
                event.accepted_wall,
                event.accepted_at,
            )
            for number, event in numbered
        ],
    )
    _insert(connection, "event_payloads (event_id, payload)", [(number, event.payload) for number, event in numbered])
    _insert(
        connection,
        "event_history (event_id, number, wall, kind)",
        [(number, 1, event.accepted_wall, ACCEPTED) for number, event in numbered],
    )


def take_turn(
    connection: sqlite3.Connection,
    lease: str,
    settlements: Sequence[Settlement],
    claims: Sequence[tuple[Lane, int]],
    now: float,
    wall: float,
) -> Turn:
    """Settle, then claim: see :meth:`EventStore.turn`."""
    stale = [item.event_id for item in settlements if not _settle(connection, lease, item)]
    claimed: list[ClaimedEvent] = []
    next_due: dict[Lane, float | None] = {}
    for lane, count in claims:
        rows = connection.execute(_CLAIMED, (*lane, now, count)).fetchall()
        claimed += [ClaimedEvent(row[0], *lane, *row[1:]) for row in rows]
    _hold(connection, [event.event_id for event in claimed], lease, wall)
    for lane, _ in claims:
        (next_due[lane],) = connection.execute(_NEXT_DUE, lane).fetchone()
    return Turn(claimed, next_due, stale)


def add_history(connection: sqlite3.Connection, event_id: int, transitions: Iterable[Transition]) -> None:
    """Add lines to an event's history."""
    (last,) = connection.execute(
        "SELECT coalesce(max(number), 0) FROM event_history WHERE event_id = ?", (event_id,)
    ).fetchone()
    rows = [(event_id, number, item.wall, item.kind, item.detail) for number, item in enumerate(transitions, last + 1)]
    _insert(connection, "event_history (event_id, number, wall, kind, detail)", rows)


def release(connection: sqlite3.Connection, wall: float) -> int:
    """Put back every event that is being run: nobody runs it any more."""
    held = [number for (number,) in connection.execute("SELECT id FROM events WHERE state = 'running'")]
    _note_all(connection, held, wall, INTERRUPTED)
    connection.execute("UPDATE events SET state = 'queued', lease = NULL WHERE state = 'running'")
    return len(held)


def lane_states(connection: sqlite3.Connection) -> list[LaneState]:
    """What waits, by lane."""
    rows = connection.execute(
        "SELECT account_id, function_name, count(*), min(due_at) FROM events WHERE state = 'queued' GROUP BY 1, 2"
    )
    return [LaneState((account, name), count, due) for account, name, count, due in rows]


def steady_offset(connection: sqlite3.Connection, boot_id: str, boot_seconds: float, wall: float) -> float:
    """The offset that is kept for this boot; for a new one steady time goes on from the wall's, never backwards."""
    found = connection.execute("SELECT offset_seconds FROM steady_clock WHERE boot_id = ?", (boot_id,)).fetchone()
    # A boot without a name may be another one each time.
    if found is not None and boot_id:
        return float(found[0])
    (newest,) = connection.execute("SELECT max(accepted_at) FROM events WHERE finished_wall IS NULL").fetchone()
    offset = max(wall, newest or wall) - boot_seconds
    connection.execute("DELETE FROM steady_clock")
    connection.execute("INSERT INTO steady_clock (boot_id, offset_seconds) VALUES (?, ?)", (boot_id, offset))
    return offset


def _settle(connection: sqlite3.Connection, lease: str, settlement: Settlement) -> bool:
    event_id = settlement.event_id
    changed = connection.execute(
        "UPDATE events SET state = ?, attempts = ?, backoffs = ?, due_at = ?, finished_wall = ?, lease = NULL "
        "WHERE id = ? AND lease = ?",
        (
            settlement.state,
            settlement.attempts,
            settlement.backoffs,
            settlement.due_at,
            settlement.finished_wall,
            event_id,
            lease,
        ),
    ).rowcount
    if changed != 1:
        return False
    if settlement.state == SUCCEEDED:
        connection.execute("DELETE FROM event_payloads WHERE event_id = ?", (event_id,))
    add_history(connection, event_id, settlement.history)
    if settlement.deliveries:
        insert_deliveries(connection, event_id, settlement.deliveries)
    return True


def _hold(connection: sqlite3.Connection, event_ids: Sequence[int], lease: str, wall: float) -> None:
    if event_ids:
        _note_all(connection, event_ids, wall, STARTED)
        connection.execute(
            "UPDATE events SET state = ?, lease = ? WHERE id IN (SELECT value FROM json_each(?))",
            (RUNNING, lease, json.dumps(event_ids)),
        )


def _note_all(connection: sqlite3.Connection, event_ids: Sequence[int], wall: float, kind: str) -> None:
    """The same line for the history of many events."""
    connection.execute(
        "INSERT INTO event_history (event_id, number, wall, kind) SELECT value, "
        "(SELECT coalesce(max(number), 0) + 1 FROM event_history WHERE event_id = value), ?, ? FROM json_each(?)",
        (wall, kind, json.dumps(event_ids)),
    )


def _insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows, as many to a statement as there are."""
    at = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - at >= size:
            part = rows[at : at + size]
            connection.execute(_insert_statement(into, size, len(part[0])), [value for row in part for value in row])
            at += size


@cache
def _insert_statement(into: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    # Tables and columns are this module's own words.
    return f"INSERT INTO {into} VALUES {', '.join([row] * rows)}"  # noqa: S608
