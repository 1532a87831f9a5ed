"""Run as a program: ``vk serve`` that kills itself when it has come past a named place so many times.

Arguments: the name of the place (``nowhere`` for none), the number of times, a file, what is broken besides
(``nothing`` or a breakage of ``broken_service.py``), then those of ``vk serve``. What is owed to a queue goes into the
file, as if the queue had taken it.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.store.event_documents import Settlement

NOWHERE = "nowhere"
NOTHING = "nothing"
KINDS = ("accept", "claim", "settlement", "failure", "delivery")
"""Of the transactions with which an event goes on; a failure is the settlement of an event that is given up."""
AROUND_COMMITS = tuple(f"{moment} the commit of {kind}" for kind in KINDS for moment in ("before", "after"))
AFTER_FAILURE = "after the commit of failure"
AFTER_DISPATCH = "after the dispatch"
AFTER_ANSWER = "after the function's answer"
BEFORE_202 = "before the 202"
AFTER_202 = "after the 202"
AFTER_SENDING = "after the sending of a record"
PLACES = (*AROUND_COMMITS, BEFORE_202, AFTER_202, AFTER_DISPATCH, AFTER_ANSWER, AFTER_SENDING)


class Place:
    """Counts how often it is passed, and ends the process the last time."""

    def __init__(self, name: str, passes: int) -> None:
        self._name = name
        self._left = passes

    def passed(self, name: str) -> None:
        """This place was come past."""
        if name == self._name:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


class WatchedConnection(sqlite3.Connection):
    """Tells the place of commits, by what kinds of transaction are in it."""

    place: Place
    holds: set[str]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # type: ignore[override]
        """Execute a statement."""
        if sql.startswith("BEGIN"):
            self.holds = set()
        if sql != "COMMIT":
            return super().execute(sql, *parameters)
        for what in self.holds:
            self.place.passed(f"before the commit of {what}")
        cursor = super().execute(sql)
        for what in self.holds:
            self.place.passed(f"after the commit of {what}")
        return cursor


def around(owner: Any, name: str, *, before: Callable[..., None] | None = None, after: Any = None) -> None:
    """Have ``before`` and ``after`` called around a method, with its arguments."""
    method = getattr(owner, name)

    def wrapped(*given: Any, **more: Any) -> Any:
        if before is not None:
            before(*given, **more)
        result = method(*given, **more)
        if after is not None:
            after(*given, **more)
        return result

    setattr(owner, name, wrapped)


def install(place: Place, queue: str) -> None:
    """Watch for the place, and let queues be files."""
    WatchedConnection.place = place
    WatchedConnection.holds = set()
    # Before anything has taken the name from the module.
    sqlite3.connect = partial(sqlite3.connect, factory=WatchedConnection)

    from venturekit.service.environments.environment import Environment
    from venturekit.service.events.attempt import Attempt
    from venturekit.service.events.senders import Senders
    from venturekit.service.invocation.acceptance import Acceptance
    from venturekit.service.store import events, outbox
    from venturekit.service.store.event_documents import FAILED

    def mark(kind: str) -> Callable[..., None]:
        return lambda connection, *_, **__: connection.holds.add(kind)

    take_turn = events.take_turn

    def marked_turn(
        connection: WatchedConnection, lease: str, settlements: Sequence[Settlement], *rest: Any, **more: Any
    ) -> Any:
        turn = take_turn(connection, lease, settlements, *rest, **more)
        connection.holds |= {"settlement"} if settlements else set()
        connection.holds |= {"failure"} if FAILED in {settlement.state for settlement in settlements} else set()
        connection.holds |= {"claim"} if turn.claimed else set()
        return turn

    def dispatched(_: Environment, invocation: Any, *__: Any) -> None:
        if isinstance(invocation, Attempt):
            place.passed(AFTER_DISPATCH)

    def send(_: Senders, message: Any) -> tuple[str, ...]:
        about = json.loads(message.body)["requestContext"]
        line = f"{about['requestId']} {about['condition']} {about['approximateInvokeCount']}\n"
        descriptor = os.open(queue, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        place.passed(AFTER_SENDING)
        return ()

    around(events, "insert_events", before=mark("accept"))
    events.take_turn = marked_turn
    around(outbox, "settle", before=mark("delivery"))
    around(Environment, "deliver", after=dispatched)
    around(Attempt, "settle", before=lambda *_: place.passed(AFTER_ANSWER))
    around(
        Acceptance,
        "settle",
        before=lambda *_: place.passed(BEFORE_202),
        after=lambda *_: place.passed(AFTER_202),
    )
    Senders.send = send  # type: ignore[method-assign]
    Senders.obstacle = lambda *_: ""  # type: ignore[method-assign]


if __name__ == "__main__":
    install(Place(sys.argv[1], int(sys.argv[2])), sys.argv[3])
    # After the watch was set up: what takes sqlite3.connect by name must find the watched one.
    from broken_service import BREAKAGES

    from venturekit.cli.serve import serve

    if sys.argv[4] != NOTHING:
        BREAKAGES[sys.argv[4]]()
    sys.exit(serve(sys.argv[5:]))
