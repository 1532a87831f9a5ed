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
    lane_of,
)
from venturekit.service.store.gathering import Gathering

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from venturekit.service.store.store import Store

ACCEPTED: Final = "accepted"
STARTED: Final = "started"
INTERRUPTED: Final = "interrupted"
TURN_BYTES: Final = 16 * 1024 * 1024
"""Once events of this size were claimed, no further lane is looked at in a turn: callers wait for its end."""
_ROWS_AT_ONCE: Final = 64
_ACCEPT: Final = (
    "INSERT INTO events (id, account_id, function_name, qualifier, request_id, trace, state, accepted_at, "
    "accepted_wall, due_at, tenant_id) SELECT * FROM {rows} WHERE column1 IS NOT NULL"
)
_KEEP_PAYLOAD: Final = "INSERT INTO event_payloads (event_id, payload) SELECT * FROM {rows} WHERE column1 IS NOT NULL"
# Column 2 counts the lines that one event gets at once.
_ADD_HISTORY: Final = (
    "INSERT INTO event_history (event_id, number, wall, kind, detail) SELECT column1, column2 + "
    "(SELECT coalesce(max(number), 0) FROM event_history WHERE event_id = column1), column3, column4, column5 "
    "FROM {rows} WHERE column1 IS NOT NULL"
)
_SETTLE: Final = (
    "UPDATE events SET state = column2, attempts = column3, backoffs = column4, due_at = column5, "
    "finished_wall = column6, lease = NULL FROM {rows} WHERE id = column1"
)
_FORGET_PAYLOADS: Final = "DELETE FROM event_payloads WHERE event_id IN (SELECT value FROM json_each(?))"
_OF_OTHERS: Final = (
    "SELECT value FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM events WHERE id = value AND lease = ?)"
)
_CLAIMED: Final = (
    "SELECT id, qualifier, request_id, payload, trace, accepted_at, attempts, backoffs, tenant_id "
    "FROM events JOIN event_payloads ON event_id = id "
    "WHERE state = 'queued' AND account_id = ? AND function_name = ? AND tenant_id = ? AND due_at <= ? "
    "ORDER BY due_at, id LIMIT ?"
)
_NEXT_DUE: Final = (
    "SELECT min(due_at) FROM events WHERE state = 'queued' AND account_id = ? AND function_name = ? AND tenant_id = ?"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one round of the dispatcher found: the events that are now its own, and when lanes are due again.

    ``next_due`` lacks lanes that were not looked at, because those before them were enough. ``stale`` are the events
    whose settlement came too late: somebody else has them, or has settled them.
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
        self._gathering = Gathering(store)

    def put(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        """Accept events, all or none."""
        return self._gathering.begin(partial(insert_events, events=events))

    def turn(
        self, lease: str, settlements: Sequence[Settlement], claims: Sequence[tuple[Lane, int]], now: float, wall: float
    ) -> asyncio.Future[Turn]:
        """Settle events held under ``lease``, then claim up to so many due ones of each lane under it.

        Essential: what is settled frees space, and what is claimed will be.
        """
        intention = partial(take_turn, lease=lease, settlements=settlements, claims=claims, now=now, wall=wall)
        return self._gathering.begin(intention, essential=True)

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
    _with_rows(
        connection,
        _ACCEPT,
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
                event.tenant_id,
            )
            for number, event in numbered
        ],
    )
    _with_rows(connection, _KEEP_PAYLOAD, [(number, event.payload) for number, event in numbered])
    _with_rows(connection, _ADD_HISTORY, [(number, 1, event.accepted_wall, ACCEPTED, "") for number, event in numbered])


def take_turn(
    connection: sqlite3.Connection,
    lease: str,
    settlements: Sequence[Settlement],
    claims: Sequence[tuple[Lane, int]],
    now: float,
    wall: float,
) -> Turn:
    """Settle, then claim: see :meth:`EventStore.turn`."""
    stale = _settle(connection, lease, settlements) if settlements else []
    claimed: list[ClaimedEvent] = []
    looked_at: list[Lane] = []
    size_bytes = 0
    for lane, count in claims:
        if size_bytes >= TURN_BYTES:
            break
        account_id, function_name, tenant_id = lane if len(lane) == 3 else (*lane, "")
        rows = connection.execute(_CLAIMED, (account_id, function_name, tenant_id, now, count)).fetchall()
        events = [ClaimedEvent(row[0], account_id, function_name, *row[1:]) for row in rows]
        size_bytes += sum(len(event.payload) for event in events)
        claimed += events
        looked_at.append(lane)
    _hold(connection, [event.event_id for event in claimed], lease, wall)
    next_due: dict[Lane, float | None] = {}
    for lane in looked_at:
        (next_due[lane],) = connection.execute(_NEXT_DUE, lane if len(lane) == 3 else (*lane, "")).fetchone()
    return Turn(claimed, next_due, stale)


def add_history(connection: sqlite3.Connection, event_id: int, transitions: Iterable[Transition]) -> None:
    """Add lines to an event's history."""
    rows = [(event_id, number, item.wall, item.kind, item.detail) for number, item in enumerate(transitions, 1)]
    _with_rows(connection, _ADD_HISTORY, rows)


def release(connection: sqlite3.Connection, wall: float) -> int:
    """Put back every event that is being run: nobody runs it any more."""
    held = [number for (number,) in connection.execute("SELECT id FROM events WHERE state = 'running'")]
    _note_all(connection, held, wall, INTERRUPTED)
    connection.execute("UPDATE events SET state = 'queued', lease = NULL WHERE state = 'running'")
    return len(held)


def lane_states(connection: sqlite3.Connection) -> list[LaneState]:
    """What waits, by lane."""
    rows = connection.execute(
        "SELECT account_id, function_name, tenant_id, count(*), min(due_at) FROM events WHERE state = 'queued' "
        "GROUP BY 1, 2, 3"
    )
    return [LaneState(lane_of(account, name, tenant), count, due) for account, name, tenant, count, due in rows]


def steady_offset(connection: sqlite3.Connection, boot_id: str, boot_seconds: float, wall: float) -> float:
    """The offset that is kept for this boot; for a new one steady time goes on from the wall's, never backwards.

    A machine that was brought back to an earlier state has the same boot, and less time since then.
    """
    found = connection.execute("SELECT offset_seconds FROM steady_clock WHERE boot_id = ?", (boot_id,)).fetchone()
    (newest,) = connection.execute("SELECT max(accepted_at) FROM events WHERE finished_wall IS NULL").fetchone()
    # A boot without a name may be another one each time.
    if found is not None and boot_id and (newest is None or newest <= found[0] + boot_seconds):
        return float(found[0])
    offset = max(wall, newest or wall) - boot_seconds
    connection.execute("DELETE FROM steady_clock")
    connection.execute("INSERT INTO steady_clock (boot_id, offset_seconds) VALUES (?, ?)", (boot_id, offset))
    return offset


def _settle(connection: sqlite3.Connection, lease: str, settlements: Sequence[Settlement]) -> list[int]:
    """Settle what is held under the lease, each event once, and give the ids of the settlements that came too late."""
    given = json.dumps([item.event_id for item in settlements])
    others = {number for (number,) in connection.execute(_OF_OTHERS, (given, lease))}
    settled: dict[int, Settlement] = {}
    stale: list[int] = []
    for item in settlements:
        if item.event_id in others or item.event_id in settled:
            stale.append(item.event_id)
        else:
            settled[item.event_id] = item
    _write_settled(connection, settled.values())
    return stale


def _write_settled(connection: sqlite3.Connection, settled: Collection[Settlement]) -> None:
    rows = [
        (item.event_id, item.state, item.attempts, item.backoffs, item.due_at, item.finished_wall) for item in settled
    ]
    _with_rows(connection, _SETTLE, rows)
    succeeded = [item.event_id for item in settled if item.state == SUCCEEDED]
    connection.execute(_FORGET_PAYLOADS, (json.dumps(succeeded),))
    history = [
        (item.event_id, number, line.wall, line.kind, line.detail)
        for item in settled
        for number, line in enumerate(item.history, 1)
    ]
    _with_rows(connection, _ADD_HISTORY, history)
    for item in settled:
        if item.deliveries:
            insert_deliveries(connection, item.event_id, item.deliveries)


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


def _with_rows(connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Carry out a statement with rows of values in the place of ``{rows}``.

    There are few sizes, so that statements are compiled once: the rest of a size is filled with rows of NULL, which
    the statement leaves alone.
    """
    for begin in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[begin : begin + _ROWS_AT_ONCE]
        size, width = 1 << (len(part) - 1).bit_length(), len(part[0])
        values = [value for row in part for value in row]
        values += [None] * (size * width - len(values))
        connection.execute(_statement(statement, size, width), values)


@cache
def _statement(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=f"(VALUES {', '.join([row] * rows)})")
