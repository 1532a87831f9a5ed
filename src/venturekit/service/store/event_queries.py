"""Looking at stored events, and changing them by hand.

The table may hold millions: it is read in spans of ids, one short statement each, so that neither the log of the
database nor another reader waits for the end of a long one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.store import event_changes
from venturekit.service.store.event_documents import RUNNING, STATES, Transition
from venturekit.service.store.event_views import (
    UNDELIVERED,
    EndedEvent,
    EventDetails,
    EventPage,
    ShownDelivery,
    StoredEvent,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from venturekit.service.store.event_changes import Changes
    from venturekit.service.store.event_views import EventFilter, Place
    from venturekit.service.store.store import Store

SPAN_IDS: Final = 50_000
"""How many ids one statement looks at: some milliseconds."""
SPANS_AT_ONCE: Final = 20
"""How many spans are looked at for one page."""
HISTORY_LINES: Final = 1_000
DELIVERIES_SHOWN: Final = 100
_LARGEST_ID: Final = 2**63 - 1
_COLUMNS: Final = (
    "id, function_name, qualifier, request_id, trace, state, accepted_at, accepted_wall, due_at, attempts, backoffs, "
    "finished_wall, (SELECT count(*) FROM deliveries WHERE event_id = events.id), tenant_id"
)
_LAST_LINE: Final = "SELECT wall, kind, detail FROM event_history WHERE event_id = ? ORDER BY number DESC LIMIT ?"
_LAST_ERROR: Final = (
    "SELECT wall, kind, detail FROM event_history WHERE event_id = ? "
    "AND kind IN ('error', 'throttled', 'system-error') ORDER BY number DESC LIMIT 1"
)


class EventQueries:
    """What is asked and told about stored events by hand; for what all raise see :class:`Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # One looks through the table at a time: the others wait here, and not in a thread.
        self._looking = asyncio.Semaphore(1)

    async def page(
        self, wanted: EventFilter, *, limit: int, after: int | None = None, oldest_first: bool = False
    ) -> EventPage:
        """Up to ``limit`` events, the newest first or the oldest, that come after the id ``after``.

        There may be fewer, even none, and still more to come: a page is what was found within a bounded search.
        """
        found: list[StoredEvent] = []
        async with self._looking:
            for _ in range(SPANS_AT_ONCE):
                query = partial(
                    read_span, wanted=wanted, after=after, limit=limit - len(found), oldest_first=oldest_first
                )
                events, after = await self._store.read(query)
                found += events
                if after is None or len(found) >= limit:
                    break
        return EventPage(found, after)

    async def find(self, account_id: str, prefix: str, *, limit: int = 2) -> list[tuple[int, str]]:
        """Ids and request ids of the newest events whose request id begins with ``prefix``."""
        found: list[tuple[int, str]] = []
        after: int | None = None
        async with self._looking:
            while len(found) < limit:
                rows, after = await self._store.read(
                    partial(read_prefix, account_id=account_id, prefix=prefix, after=after, limit=limit - len(found))
                )
                found += rows
                if after is None:
                    break
        return found

    async def counts(self, account_id: str, function_name: str = "") -> dict[str, Counter[str]]:
        """How many events there are, by function and by state, and UNDELIVERED ones."""
        counted: dict[str, Counter[str]] = {}
        after: int | None = None
        async with self._looking:
            while True:
                query = partial(count_span, account_id=account_id, function_name=function_name, after=after)
                rows, after = await self._store.read(query)
                for name, state, count, owing in rows:
                    counted.setdefault(name, Counter())[state] += count
                    counted[name][UNDELIVERED] += owing
                if after is None:
                    return counted

    async def waiting(self) -> list[tuple[str, str, int, float]]:
        """Of all accounts: account, function, how many events are queued, and when the oldest was accepted (steady)."""
        return await self._store.read(read_waiting)

    async def newest(self) -> int:
        """The id of the newest event of all accounts, 0 if there is none."""
        return await self._store.read(read_newest)

    async def details(self, account_id: str, event_id: int, *, with_payload: bool = False) -> EventDetails | None:
        """All about an event, None if there is none of this id in the account."""
        query = partial(read_details, account_id=account_id, event_id=event_id, with_payload=with_payload)
        return await self._store.read(query)

    async def redrive(
        self, account_id: str, event_ids: Sequence[int], now: float, wall: float, *, deliveries_only: bool = False
    ) -> Changes:
        """Run events again: see :func:`~venturekit.service.store.event_changes.redrive`."""
        changes: Changes = await self._store.perform(
            partial(
                event_changes.redrive,
                account_id=account_id,
                event_ids=event_ids,
                now=now,
                wall=wall,
                deliveries_only=deliveries_only,
            )
        )
        return changes

    async def drop(self, account_id: str, event_ids: Sequence[int], now: float, wall: float) -> Changes:
        """Drop events, or what is owed of them: see :func:`~venturekit.service.store.event_changes.drop`."""
        intention = partial(event_changes.drop, account_id=account_id, event_ids=event_ids, now=now, wall=wall)
        changes: Changes = await self._store.perform(intention, essential=True)
        return changes

    async def last_beyond(self, limit: int) -> Place | None:
        """The place of the newest event that has ended beyond the ``limit`` newest of them, None if there are fewer."""
        return await self._store.read(partial(read_last_beyond, limit=limit))

    async def ended(self, after: Place, limit: int) -> list[EndedEvent]:
        """Events that have ended, those first that did so first."""
        return await self._store.read(partial(read_ended, after=after, limit=limit))

    async def forget(self, event_ids: Sequence[int]) -> int:
        """Delete events that have ended and of which nothing is owed. Returns how many."""
        forgotten: int = await self._store.perform(partial(event_changes.forget, event_ids=event_ids), essential=True)
        return forgotten


def read_span(
    connection: sqlite3.Connection, wanted: EventFilter, after: int | None, limit: int, oldest_first: bool
) -> tuple[list[StoredEvent], int | None]:
    """Events of the next span of ids, and the id after which to go on, None at the end."""
    bounds = _span(connection, wanted.state, after, oldest_first=oldest_first)
    if bounds is None:
        return [], None
    statement = _page_statement(bool(wanted.function_name), wanted.state, oldest_first)
    values = [wanted.account_id, *filter(None, [wanted.function_name])]
    values += [wanted.state] if wanted.state in STATES else []
    rows = connection.execute(statement, (*bounds, *values, limit)).fetchall()
    events = [_stored(connection, row) for row in rows]
    if len(events) == limit:
        return events, events[-1].event_id
    return events, bounds[1] if oldest_first else bounds[0]


def read_prefix(
    connection: sqlite3.Connection, account_id: str, prefix: str, after: int | None, limit: int
) -> tuple[list[tuple[int, str]], int | None]:
    """As :func:`read_span`: ids and request ids of events whose request id begins so."""
    bounds = _span(connection, "", after, oldest_first=False)
    if bounds is None:
        return [], None
    rows = connection.execute(
        "SELECT id, request_id FROM events NOT INDEXED WHERE id BETWEEN ? AND ? AND account_id = ? "
        "AND request_id >= ? AND request_id < ? ORDER BY id DESC LIMIT ?",
        # All hexadecimal digits come before g.
        (*bounds, account_id, prefix, f"{prefix}g", limit),
    ).fetchall()
    return rows, rows[-1][0] if len(rows) == limit else bounds[0]


def count_span(
    connection: sqlite3.Connection, account_id: str, function_name: str, after: int | None
) -> tuple[list[tuple[str, str, int, int]], int | None]:
    """As :func:`read_span`: function, state, how many events, and of how many something is owed."""
    bounds = _span(connection, "", after, oldest_first=False)
    if bounds is None:
        return [], None
    rows = connection.execute(
        "SELECT function_name, state, count(*), sum(EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id)) "
        "FROM events NOT INDEXED WHERE id BETWEEN ? AND ? AND account_id = ? AND (? = '' OR function_name = ?) "
        "GROUP BY 1, 2",
        (*bounds, account_id, function_name, function_name),
    ).fetchall()
    return rows, bounds[0]


def read_waiting(connection: sqlite3.Connection) -> list[tuple[str, str, int, float]]:
    """See :meth:`EventQueries.waiting`. Counted in an index alone: a long queue takes milliseconds."""
    return connection.execute(
        "SELECT account_id, function_name, queued, (SELECT accepted_at FROM events WHERE id = oldest) FROM "
        "(SELECT account_id, function_name, count(*) queued, min(id) oldest FROM events WHERE state = 'queued' "
        "GROUP BY account_id, function_name)"
    ).fetchall()


def read_newest(connection: sqlite3.Connection) -> int:
    """See :meth:`EventQueries.newest`."""
    (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
    return int(newest)


def read_details(
    connection: sqlite3.Connection, account_id: str, event_id: int, with_payload: bool
) -> EventDetails | None:
    """All about an event of an account."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM events WHERE id = ? AND account_id = ?",  # noqa: S608 - a constant
        (event_id, account_id),
    ).fetchone()
    if row is None:
        return None
    history = [Transition(*line) for line in connection.execute(_LAST_LINE, (event_id, HISTORY_LINES))]
    (lines,) = connection.execute("SELECT count(*) FROM event_history WHERE event_id = ?", (event_id,)).fetchone()
    deliveries = connection.execute(
        "SELECT kind, target, (SELECT length(body) FROM delivery_bodies WHERE delivery_id = id), attempts, due_at, "
        "reason, created_wall FROM deliveries "
        "WHERE event_id = ? ORDER BY id LIMIT ?",
        (event_id, DELIVERIES_SHOWN),
    )
    size, payload = connection.execute(
        "SELECT length(payload), iif(?, payload, NULL) FROM event_payloads WHERE event_id = ?", (with_payload, event_id)
    ).fetchone() or (None, None)
    return EventDetails(
        event=_stored(connection, row),
        history=history[::-1],
        omitted=lines - len(history),
        deliveries=[ShownDelivery(*delivery) for delivery in deliveries],
        payload_size_bytes=size,
        payload=payload,
    )


def read_last_beyond(connection: sqlite3.Connection, limit: int) -> Place | None:
    """See :meth:`EventQueries.last_beyond`: a walk through as much of an index."""
    place: Place | None = connection.execute(
        "SELECT finished_wall, id FROM events WHERE finished_wall IS NOT NULL "
        "ORDER BY finished_wall DESC, id DESC LIMIT 1 OFFSET ?",
        (limit,),
    ).fetchone()
    return place


def read_ended(connection: sqlite3.Connection, after: Place, limit: int) -> list[EndedEvent]:
    """See :meth:`EventQueries.ended`."""
    rows = connection.execute(
        "SELECT finished_wall, id, due_at, EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id), "
        "coalesce((SELECT length(payload) FROM event_payloads WHERE event_id = id), 0) FROM events "
        "WHERE finished_wall IS NOT NULL AND (finished_wall, id) > (?, ?) ORDER BY finished_wall, id LIMIT ?",
        (*after, limit),
    )
    return [EndedEvent((wall, number), at, bool(owing), size) for wall, number, at, owing, size in rows]


def _span(
    connection: sqlite3.Connection, state: str, after: int | None, *, oldest_first: bool
) -> tuple[int, int] | None:
    """First and last id of the next span that has an event in it, as far as an index tells of events in this state."""
    id_, source = {
        RUNNING: ("id", "events WHERE state = 'running' AND"),
        UNDELIVERED: ("event_id", "deliveries WHERE"),
    }.get(state, ("id", "events WHERE"))
    if oldest_first:
        edge, comes_after, after = "min", ">", 0 if after is None else after
    else:
        edge, comes_after, after = "max", "<", _LARGEST_ID if after is None else after
    statement = f"SELECT {edge}({id_}) FROM {source} {id_} {comes_after} ?"  # noqa: S608 - the words above
    (begin,) = connection.execute(statement, (after,)).fetchone()
    if begin is None:
        return None
    return (begin, begin + SPAN_IDS - 1) if oldest_first else (max(begin - SPAN_IDS + 1, 0), begin)


@cache
def _page_statement(of_function: bool, state: str, oldest_first: bool) -> str:
    conditions = ["id BETWEEN ? AND ?", "account_id = ?"]
    if of_function:
        conditions.append("function_name = ?")
    if state in STATES:
        conditions.append("state = ?")
    elif state == UNDELIVERED:
        conditions.append("EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id)")
    order = "id" if oldest_first else "id DESC"
    # By the ids alone: an index would have to be sorted. Columns and conditions are this module's own words.
    return f"SELECT {_COLUMNS} FROM events NOT INDEXED WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?"  # noqa: S608


def _stored(connection: sqlite3.Connection, row: tuple[Any, ...]) -> StoredEvent:
    last = Transition(*connection.execute(_LAST_LINE, (row[0], 1)).fetchone())
    line = connection.execute(_LAST_ERROR, (row[0],)).fetchone()
    *columns, tenant_id = row
    return StoredEvent(*(*columns, last, None if line is None else Transition(*line), tenant_id))
