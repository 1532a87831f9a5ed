"""One process that runs an order as a saga, and may kill itself: before or after a write, or within a step.

Usage: saga_program.py STORE run|resume ID FAILS KILL JOURNAL; KILL is ``write:3:before``, ``step:pay:after`` or empty.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from venturekit.runtime import SagaBusyError, create_dynamodb_saga_store, create_sqlite_saga_store, parallel, saga, step

LATER_SECONDS = 3600.0
STEPS = ("reserve", "pay", "notify", "ship")


def die() -> None:
    """The end, at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def store_of(name: str) -> Any:
    """``dynamodb:TABLE`` or ``sqlite:PATH``."""
    kind, _, where = name.partition(":")
    return create_dynamodb_saga_store(where) if kind == "dynamodb" else create_sqlite_saga_store(where)


class KillingStore:
    """A store whose nth write ends the process."""

    def __init__(self, inner: Any, nth: int, when: str) -> None:
        self.inner, self.left, self.when = inner, nth, when

    def read(self, *arguments: Any) -> Any:
        return self.inner.read(*arguments)

    def write(self, *arguments: Any, **options: Any) -> Any:
        self.left -= 1
        if self.left == 0 and self.when == "before":
            die()
        written = self.inner.write(*arguments, **options)
        if self.left == 0:
            die()
        return written


class Order:
    """The steps. Each line of the journal is on its way to the disk before anything else happens."""

    def __init__(self, journal: Path, fails: str, kill: str) -> None:
        self.journal, self.fails, self.kill = journal, fails, kill

    def happen(self, name: str) -> None:
        if self.kill == f"step:{name}:before":
            die()
        with self.journal.open("a") as file:
            file.write(f"{name} ")
        if self.kill == f"step:{name}:after":
            die()

    def step(self, name: str) -> Any:
        def execute(ctx: dict[str, Any]) -> dict[str, Any]:
            if self.fails == name:
                raise ValueError("declined")
            self.happen(name)
            return {**ctx, name: True}

        return step(name, execute, lambda ctx: self.happen(f"-{name}"))

    def saga(self, store: Any, clock: Any = time.time) -> Any:
        """Two steps, two at the same time, one more."""
        reserve, pay, notify, ship = (self.step(name) for name in STEPS)
        return saga("order", [reserve, parallel("both", [pay, notify]), ship], store=store, clock=clock)


def main() -> None:
    name, what, saga_id, fails, kill, journal = sys.argv[1:]
    store = store_of(name)
    if kill.startswith("write:"):
        _, nth, when = kill.split(":")
        store = KillingStore(store, int(nth), when)
    order = Order(Path(journal), fails, kill)
    if what == "run":
        print(order.saga(store).run({"orderId": saga_id}, saga_id).record.status.value)
        return
    sys.stdin.readline()
    try:
        print(order.saga(store, lambda: time.time() + LATER_SECONDS).resume(saga_id).record.status.value)
    except SagaBusyError:
        print("busy")


if __name__ == "__main__":
    main()
