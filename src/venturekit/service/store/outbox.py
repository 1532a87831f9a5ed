"""The intentions about what is owed to targets, as SQL. Nothing that is owed goes but by being delivered.

Bodies can be large: only ``message`` reads one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from venturekit.service.store.events import add_history, insert_events

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from venturekit.service.store.event_documents import NewEvent, Transition
    from venturekit.service.store.store import Store


T = TypeVar("T")
READS_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class OwedDelivery:
    """A message that is owed, without the message. ``attempts`` have failed, the last one for ``reason``."""

    delivery_id: int
    event_id: int
    kind: str
    target: str
    attempts: int
    reason: str
    due_at: float
    created_wall: float


@dataclass(frozen=True, slots=True)
class OwedMessage:
    """The message itself; for the members see :class:`NewDelivery`."""

    delivery_id: int
    kind: str
    target: str
    body: bytes
    attributes: str
    source: str
    trace: str
    created_wall: float


@dataclass(frozen=True, slots=True)
class OwedToTarget:
    """How many messages a target is owed, and when the first of them is due."""

    target: str
    count: int
    next_due_at: float


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """A delivery that failed: when it is due again, why, and what the history of its event says about that."""

    delivery: OwedDelivery
    due_at: float
    reason: str
    history: Sequence[Transition]


class Deliveries:
    """The intentions about the outbox; for what all raise see :class:`Store`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        # There may be thousands of targets: those who wait do so here, and not in a thread.
        self._reading = asyncio.Semaphore(READS_AT_ONCE)

    async def targets(self) -> list[OwedToTarget]:
        """All targets that are owed something."""
        return await self._read(owed_by_target)

    async def target(self, target: str) -> OwedToTarget | None:
        """What one target is owed, None for nothing."""
        return await self._read(partial(owed_to, target=target))

    async def due(self, target: str, now: float, limit: int) -> list[OwedDelivery]:
        """The first that are due for a target at ``now`` (steady seconds)."""
        return await self._read(partial(due_deliveries, target=target, now=now, limit=limit))

    async def after(self, target: str, place: tuple[float, int], limit: int) -> list[OwedDelivery]:
        """The first that stand behind a place, which is the time when one is due and its id."""
        return await self._read(partial(deliveries_after, target=target, place=place, limit=limit))

    async def message(self, delivery_id: int) -> OwedMessage | None:
        """The message to send; None if it is not owed any more."""
        return await self._read(partial(owed_message, delivery_id=delivery_id))

    async def delivered(self, delivery: OwedDelivery, history: Sequence[Transition]) -> bool:
        """It was delivered, and is no longer owed. False if it was not owed any more."""
        done: bool = await self._store.perform(partial(settle, delivery=delivery, history=history), essential=True)
        return done

    async def failed(self, failures: Sequence[FailedDelivery]) -> None:
        """These failed, and are owed still."""
        await self._store.perform(partial(note_failures, failures=failures))

    async def hop(self, delivery: OwedDelivery, event: NewEvent, history: Sequence[Transition]) -> bool:
        """What was owed to a function becomes an event of its own. False if it was not owed any more."""
        done: bool = await self._store.perform(partial(hop, delivery=delivery, event=event, history=history))
        return done

    async def release(self, now: float) -> None:
        """All that is owed is due at once."""
        await self._store.perform(partial(release_deliveries, now=now), essential=True)

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        async with self._reading:
            return await self._store.read(query)


_COLUMNS: Final = "id, event_id, kind, target, attempts, reason, due_at, created_wall"
# An id alone may be that of a later delivery, if somebody has dropped the one that was meant.
_THE_SAME: Final = "id = ? AND event_id = ? AND created_wall = ?"


def owed_by_target(connection: sqlite3.Connection) -> list[OwedToTarget]:
    """All targets that are owed something."""
    rows = connection.execute("SELECT target, count(*), min(due_at) FROM deliveries GROUP BY target")
    return [OwedToTarget(*row) for row in rows]


def owed_to(connection: sqlite3.Connection, target: str) -> OwedToTarget | None:
    """What one target is owed, None for nothing."""
    count, next_due_at = connection.execute(
        "SELECT count(*), min(due_at) FROM deliveries WHERE target = ?", (target,)
    ).fetchone()
    return OwedToTarget(target, count, next_due_at) if count else None


def due_deliveries(connection: sqlite3.Connection, target: str, now: float, limit: int) -> list[OwedDelivery]:
    """The first that are due for a target."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries "  # noqa: S608 - constants
        "WHERE target = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?",
        (target, now, limit),
    )
    return [OwedDelivery(*row) for row in rows]


def deliveries_after(
    connection: sqlite3.Connection, target: str, place: tuple[float, int], limit: int
) -> list[OwedDelivery]:
    """The first of a target that stand behind a place."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM deliveries "  # noqa: S608 - constants
        "WHERE target = ? AND (due_at, id) > (?, ?) ORDER BY due_at, id LIMIT ?",
        (target, *place, limit),
    )
    return [OwedDelivery(*row) for row in rows]


def owed_message(connection: sqlite3.Connection, delivery_id: int) -> OwedMessage | None:
    """The message to send; None if it is not owed any more."""
    row = connection.execute(
        "SELECT id, kind, target, (SELECT body FROM delivery_bodies WHERE delivery_id = id), attributes, source, "
        "trace, created_wall FROM deliveries WHERE id = ?",
        (delivery_id,),
    ).fetchone()
    return None if row is None else OwedMessage(*row)


def settle(connection: sqlite3.Connection, delivery: OwedDelivery, history: Sequence[Transition]) -> bool:
    """Owe it no more, and say so in the history of its event. False if it was not owed any more."""
    deleted = connection.execute(f"DELETE FROM deliveries WHERE {_THE_SAME}", _identity(delivery)).rowcount  # noqa: S608
    if deleted != 1:
        return False
    add_history(connection, delivery.event_id, history)
    return True


def note_failures(connection: sqlite3.Connection, failures: Sequence[FailedDelivery]) -> None:
    """Put down why these were not delivered; what is not owed any more is left alone."""
    for failure in failures:
        changed = connection.execute(
            f"UPDATE deliveries SET attempts = attempts + 1, due_at = ?, reason = ? WHERE {_THE_SAME}",  # noqa: S608
            (failure.due_at, failure.reason, *_identity(failure.delivery)),
        ).rowcount
        if changed and failure.history:
            add_history(connection, failure.delivery.event_id, failure.history)


def hop(connection: sqlite3.Connection, delivery: OwedDelivery, event: NewEvent, history: Sequence[Transition]) -> bool:
    """Turn what is owed to a function into an event for it."""
    if not settle(connection, delivery, history):
        return False
    insert_events(connection, [event])
    return True


def release_deliveries(connection: sqlite3.Connection, now: float) -> None:
    """Whatever was to wait is due."""
    connection.execute("UPDATE deliveries SET due_at = ? WHERE due_at > ?", (now, now))


def _identity(delivery: OwedDelivery) -> tuple[int, int, float]:
    return delivery.delivery_id, delivery.event_id, delivery.created_wall
