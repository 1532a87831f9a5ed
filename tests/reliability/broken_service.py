"""Run as a program: ``vk serve`` with one safety taken off. What checks the service must convict each of these.

Its first argument names what is broken, the others are those of ``vk serve``.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from venturekit.cli.serve import serve
from venturekit.service.events.intake import Intake
from venturekit.service.store import events as event_store
from venturekit.service.store import writer
from venturekit.service.store.connection import Trouble
from venturekit.service.store.deliveries import insert_deliveries
from venturekit.service.store.writer import Job, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.store.event_documents import NewEvent, Settlement

HELD_BACK_SECONDS = 0.3


def answers_before_the_commit() -> None:
    """The caller hears 202 first, and the event is written a little later."""
    put = Intake.put

    def early(self: Intake, event: NewEvent, done: Callable[[Any], None]) -> None:
        done(None)
        asyncio.get_running_loop().call_later(HELD_BACK_SECONDS, put, self, event, lambda _: None)

    Intake.put = early  # type: ignore[method-assign]


def settles_twice(*, unasked: bool = False) -> None:
    """Every settlement is made once more, as if its first commit had been taken for a failure."""
    take_turn = event_store.take_turn

    def twice(
        connection: sqlite3.Connection, lease: str, settlements: Sequence[Settlement], *rest: Any, **more: Any
    ) -> Any:
        take_turn(connection, lease, settlements, [], 0.0, 0.0)
        if unasked:
            held = [(lease, settlement.event_id) for settlement in settlements]
            connection.executemany("UPDATE events SET lease = ? WHERE id = ?", held)
        turn = take_turn(connection, lease, settlements, *rest, **more)
        return replace(turn, stale=[])

    event_store.take_turn = twice


def settles_twice_whoever_holds_the_event() -> None:
    """The same without the look at the lease that makes it harmless."""
    settles_twice(unasked=True)


def owes_no_records() -> None:
    """An event is settled without what its destination is owed."""
    take_turn = event_store.take_turn

    def without(
        connection: sqlite3.Connection, lease: str, settlements: Sequence[Settlement], *rest: Any, **more: Any
    ) -> Any:
        stripped = [replace(settlement, deliveries=()) for settlement in settlements]
        return take_turn(connection, lease, stripped, *rest, **more)

    event_store.take_turn = without


def owes_records_with_the_next_turn() -> None:
    """An event is settled in one transaction, and what its destination is owed comes into the next one."""
    take_turn = event_store.take_turn
    pending: list[Settlement] = []

    def later(
        connection: sqlite3.Connection, lease: str, settlements: Sequence[Settlement], *rest: Any, **more: Any
    ) -> Any:
        while pending:
            settlement = pending.pop()
            insert_deliveries(connection, settlement.event_id, settlement.deliveries)
        pending.extend(settlements)
        stripped = [replace(settlement, deliveries=()) for settlement in settlements]
        return take_turn(connection, lease, stripped, *rest, **more)

    event_store.take_turn = later


def believes_in_every_commit() -> None:
    """What the disk has refused counts as written."""
    transact = Writer._transact

    def believing(self: Writer, jobs: list[Job]) -> tuple[None, None]:
        transact(self, jobs)
        return None, None

    Writer._transact = believing  # type: ignore[method-assign]
    # Without the reserve in hand nothing would be tried.
    Writer._admitted = lambda _, jobs: jobs  # type: ignore[method-assign]


def takes_a_failed_sync_for_a_refusal() -> None:
    """It goes on after a sync that failed, as after a write that was refused."""
    writer.classify = lambda error: Trouble.REFUSED if isinstance(error, sqlite3.Error) else Trouble.INTENTION


BREAKAGES: dict[str, Callable[[], None]] = {
    breakage.__name__: breakage
    for breakage in (
        answers_before_the_commit,
        settles_twice,
        settles_twice_whoever_holds_the_event,
        owes_no_records,
        owes_records_with_the_next_turn,
        believes_in_every_commit,
        takes_a_failed_sync_for_a_refusal,
    )
}


def broken_program(breakage: Callable[[], None]) -> tuple[str, ...]:
    """The program that is this one, broken in this way."""
    return sys.executable, __file__, breakage.__name__


if __name__ == "__main__":
    BREAKAGES[sys.argv[1]]()
    sys.exit(serve(sys.argv[2:]))
