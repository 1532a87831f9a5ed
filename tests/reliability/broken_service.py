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
from venturekit.service.store.writer import Job, Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from venturekit.service.store.event_documents import NewEvent, Settlement

HELD_BACK_SECONDS = 0.05


def answers_before_the_commit() -> None:
    """The caller hears 202 first, and the event is written a little later."""
    put = Intake.put

    def early(self: Intake, event: NewEvent, done: Callable[[Any], None]) -> None:
        done(None)
        asyncio.get_running_loop().call_later(HELD_BACK_SECONDS, put, self, event, lambda _: None)

    Intake.put = early  # type: ignore[method-assign]


def settles_twice() -> None:
    """Every settlement is made once more, as if its first commit had been taken for a failure."""
    take_turn = event_store.take_turn

    def twice(
        connection: sqlite3.Connection, lease: str, settlements: list[Settlement], *rest: Any, **more: Any
    ) -> Any:
        take_turn(connection, lease, settlements, [], 0.0, 0.0)
        turn = take_turn(connection, lease, settlements, *rest, **more)
        return replace(turn, stale=[])

    event_store.take_turn = twice


def settles_twice_and_whoever_holds_the_event() -> None:
    """The same without the look at the lease that makes it harmless."""
    settle = event_store._settle

    def unasked(connection: sqlite3.Connection, lease: str, settlement: Settlement) -> bool:
        connection.execute("UPDATE events SET lease = ? WHERE id = ?", (lease, settlement.event_id))
        return settle(connection, lease, settlement)

    event_store._settle = unasked
    settles_twice()


def owes_no_records() -> None:
    """An event is settled without what its destination is owed."""
    settle = event_store._settle

    def without(connection: sqlite3.Connection, lease: str, settlement: Settlement) -> bool:
        return settle(connection, lease, replace(settlement, deliveries=()))

    event_store._settle = without


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
        settles_twice_and_whoever_holds_the_event,
        owes_no_records,
        believes_in_every_commit,
        takes_a_failed_sync_for_a_refusal,
    )
}

if __name__ == "__main__":
    BREAKAGES[sys.argv[1]]()
    sys.exit(serve(sys.argv[2:]))
