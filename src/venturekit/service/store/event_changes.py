"""What is done to stored events by hand and by age, as SQL: run them again, drop them, forget them.

The dispatcher changes the same rows. Who comes first is decided by the one writer: each intention looks at the state
that an event has in its own transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.service.store.event_documents import DROPPED, FAILED, QUEUED, RUNNING, lane_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from venturekit.service.store.event_documents import Lane

REDRIVEN: Final = "redriven"
DELIVERY_DROPPED: Final = "delivery-dropped"
"""Kinds of lines of the history, beside ``dropped``."""

_LOOK: Final = (
    "SELECT id, function_name, tenant_id, state, due_at, EXISTS (SELECT 1 FROM event_payloads WHERE event_id = id), "
    "(SELECT count(*) FROM deliveries WHERE event_id = events.id) "
    "FROM events WHERE account_id = ? AND id IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_REVIVE: Final = (
    "UPDATE events SET state = 'queued', attempts = 0, backoffs = 0, accepted_at = ?, due_at = ?, "
    "finished_wall = NULL, lease = NULL WHERE id IN (SELECT value FROM json_each(?))"
)
_HURRY: Final = "UPDATE events SET due_at = ? WHERE id IN (SELECT value FROM json_each(?))"
_HURRY_DELIVERIES: Final = (
    "UPDATE deliveries SET due_at = min(due_at, ?) WHERE event_id IN (SELECT value FROM json_each(?))"
)
_DROP: Final = (
    "UPDATE events SET state = 'dropped', due_at = ?, finished_wall = ? WHERE id IN (SELECT value FROM json_each(?))"
)
_OWED: Final = (
    "SELECT event_id, kind, target, reason FROM deliveries "
    "WHERE event_id IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_DROP_DELIVERIES: Final = "DELETE FROM deliveries WHERE event_id IN (SELECT value FROM json_each(?))"
# The newest event stays: the number of the next one follows from it, and no number is given twice.
_FORGET: Final = (
    "DELETE FROM events WHERE id IN (SELECT value FROM json_each(?)) AND finished_wall IS NOT NULL "
    "AND id < (SELECT max(id) FROM events) AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id)"
)
_LAST_LINE: Final = "SELECT coalesce(max(number), 0) FROM event_history WHERE event_id = ?"


@dataclass(frozen=True, slots=True)
class Found:
    """What an event was like when it was to be changed, and whether it was.

    ``deliveries`` is what was owed of it. ``changed`` tells of the event itself, not of its deliveries.
    """

    state: str
    has_payload: bool
    deliveries: int
    changed: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What became of a change of several events. ``found`` lacks those that are not there (any more).

    ``live`` is how many more events are queued now. In these ``lanes`` something became due. ``targets`` are those to
    which something is owed that became due, or is owed no more.
    """

    found: Mapping[int, Found]
    live: int
    lanes: frozenset[Lane] = frozenset()
    targets: frozenset[str] = frozenset()

    @property
    def events(self) -> int:
        """How many events were changed."""
        return sum(item.changed for item in self.found.values())

    @property
    def deliveries(self) -> int:
        """How many deliveries were changed."""
        return sum(item.deliveries for item in self.found.values())


class _Event(NamedTuple):
    id: int
    function_name: str
    tenant_id: str
    state: str
    due_at: float
    has_payload: int
    owed: int

    def found(self, *, changed: bool) -> Found:
        return Found(self.state, bool(self.has_payload), self.owed, changed)


class _Owed(NamedTuple):
    event_id: int
    kind: str
    target: str
    reason: str


def redrive(
    connection: sqlite3.Connection,
    account_id: str,
    event_ids: Collection[int],
    now: float,
    wall: float,
    *,
    deliveries_only: bool = False,
) -> Changes:
    """Run events again that have failed or were dropped, as if they were new, and those at once that wait for a retry.

    What is owed of any of them is due at once; ``deliveries_only``: nothing else happens. Events that run or have
    succeeded are left as they are. ``now`` is in steady seconds, ``wall`` in epoch seconds.
    """
    events = _look(connection, account_id, event_ids)
    candidates = [] if deliveries_only else events
    revived = {event.id for event in candidates if event.state in (FAILED, DROPPED) and event.has_payload}
    hurried = {event.id for event in candidates if event.state == QUEUED and event.due_at > now}
    owing = [event.id for event in events if event.owed]
    _update(connection, _REVIVE, (now, now), revived)
    _update(connection, _HURRY, (now,), hurried)
    _update(connection, _HURRY_DELIVERIES, (now,), owing)
    changed = revived | hurried
    lines = []
    for event in events:
        if event.id in changed or event.owed:
            detail: dict[str, Any] = {"from": event.state} if event.id in revived else {}
            lines.append((event.id, REDRIVEN, detail | ({"deliveries": event.owed} if event.owed else {})))
    _note(connection, wall, lines)
    return Changes(
        found={event.id: event.found(changed=event.id in changed) for event in events},
        live=len(revived),
        lanes=frozenset(
            lane_of(account_id, event.function_name, event.tenant_id) for event in events if event.id in changed
        ),
        targets=frozenset(owed.target for owed in _owed(connection, owing)),
    )


def drop(
    connection: sqlite3.Connection, account_id: str, event_ids: Collection[int], now: float, wall: float
) -> Changes:
    """End queued events without running them, and owe nothing of any of these any more. Those that run are left alone.

    ``now`` is in steady seconds, ``wall`` in epoch seconds.
    """
    events = [
        event._replace(owed=0) if event.state == RUNNING else event
        for event in _look(connection, account_id, event_ids)
    ]
    dropped = {event.id for event in events if event.state == QUEUED}
    owing = [event.id for event in events if event.owed]
    lines: list[tuple[int, str, dict[str, Any]]] = [(event_id, DROPPED, {}) for event_id in dropped]
    owed_deliveries = _owed(connection, owing)
    for owed in owed_deliveries:
        reason = {"reason": owed.reason} if owed.reason else {}
        lines.append((owed.event_id, DELIVERY_DROPPED, {"kind": owed.kind, "target": owed.target, **reason}))
    _update(connection, _DROP, (now, wall), dropped)
    _update(connection, _DROP_DELIVERIES, (), owing)
    _note(connection, wall, lines)
    return Changes(
        found={event.id: event.found(changed=event.id in dropped) for event in events},
        live=-len(dropped),
        targets=frozenset(owed.target for owed in owed_deliveries),
    )


def forget(connection: sqlite3.Connection, event_ids: Collection[int]) -> int:
    """Delete events that have ended, with payload and history, unless something is owed of them. Returns how many."""
    return connection.execute(_FORGET, (_listed(event_ids),)).rowcount


def _look(connection: sqlite3.Connection, account_id: str, event_ids: Collection[int]) -> list[_Event]:
    return [_Event(*row) for row in connection.execute(_LOOK, (account_id, _listed(event_ids)))]


def _owed(connection: sqlite3.Connection, event_ids: Collection[int]) -> list[_Owed]:
    return [_Owed(*row) for row in connection.execute(_OWED, (_listed(event_ids),))] if event_ids else []


def _update(
    connection: sqlite3.Connection, statement: str, values: tuple[float, ...], event_ids: Collection[int]
) -> None:
    if event_ids:
        connection.execute(statement, (*values, _listed(event_ids)))


def _note(connection: sqlite3.Connection, wall: float, lines: Iterable[tuple[int, str, dict[str, Any]]]) -> None:
    """Lines for the histories of several events: event, kind, detail."""
    last: dict[int, int] = {}
    rows = []
    for event_id, kind, detail in lines:
        if event_id not in last:
            (last[event_id],) = connection.execute(_LAST_LINE, (event_id,)).fetchone()
        last[event_id] += 1
        text = json.dumps(detail, separators=(",", ":"), ensure_ascii=False) if detail else ""
        rows.append((event_id, last[event_id], wall, kind, text))
    connection.executemany(
        "INSERT INTO event_history (event_id, number, wall, kind, detail) VALUES (?, ?, ?, ?, ?)", rows
    )


def _listed(event_ids: Iterable[int]) -> str:
    return json.dumps(list(event_ids))
