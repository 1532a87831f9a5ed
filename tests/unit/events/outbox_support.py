"""An outbox on a real store, with scripted targets and a clock that is set by hand."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from venturekit.service.aws import begin_in_thread
from venturekit.service.events.delivery import Courier
from venturekit.service.events.outbox import Outbox
from venturekit.service.events.sending_threads import SendingThreads
from venturekit.service.store import Store
from venturekit.service.store.deliveries import insert_deliveries
from venturekit.service.store.event_documents import NewDelivery, NewEvent
from venturekit.service.store.events import insert_events
from venturekit.service.store.outbox import Deliveries

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from venturekit.service.events.delivery import Senders
    from venturekit.service.events.delivery_errors import DeliveryError
    from venturekit.service.store.outbox import OwedMessage

ACCOUNT = "123456789012"
FUNCTION = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f:$LATEST"
QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:queue"
OTHER = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:other"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"
WALL = 1_700_000_000.0
WAIT_SECONDS = 20.0


class ManualLoop:
    """A loop of which only the timers are driven by hand: ``now`` in steady seconds."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[ManualTimer] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> ManualTimer:
        timer = ManualTimer(self, self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def call_soon(self, callback: Callable[[], object], /) -> object:
        return asyncio.get_running_loop().call_soon(callback)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def next_in(self) -> float | None:
        """After how many seconds the next timer rings."""
        return min((timer.at - self.now for timer in self.timers), default=None)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.now]:
            timer.cancel()
            timer.callback()


@dataclass(eq=False)
class ManualTimer:
    loop: ManualLoop
    at: float
    callback: Callable[[], object]

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


class ScriptedSenders:
    """Keeps what is sent; ``answers[target]`` is called for each message first, and may raise or block."""

    def __init__(self) -> None:
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.tried: dict[str, int] = defaultdict(int)
        self.answers: dict[str, Callable[[OwedMessage], tuple[str, ...] | None]] = {}
        self.obstacles: dict[str, str] = {}
        self._lock = threading.Lock()

    def obstacle(self, target: str) -> str:
        return self.obstacles.get(target, "")

    def send(self, message: OwedMessage) -> tuple[str, ...]:
        with self._lock:
            self.tried[message.target] += 1
        answer = self.answers.get(message.target)
        omitted = answer(message) if answer is not None else None
        with self._lock:
            self.sent[message.target].append(message.body.decode())
        return omitted or ()

    def fail(self, target: str, error: DeliveryError) -> None:
        def raise_it(_message: OwedMessage) -> None:
            raise error

        self.answers[target] = raise_it

    def heal(self, target: str) -> None:
        del self.answers[target]


class OwnFunctions:
    """The service's own functions: ``refused`` are those that may not be invoked, with the error."""

    def __init__(self) -> None:
        self.refused: dict[str, DeliveryError] = {}
        self.checked: list[tuple[str, str]] = []
        self.events: list[NewEvent] = []

    def check_function_target(self, source_arn: str, target_arn: str) -> None:
        self.checked.append((source_arn, target_arn))
        if target_arn in self.refused:
            raise self.refused[target_arn]

    def accepted(self, event: NewEvent) -> None:
        self.events.append(event)


class Lab:
    """One outbox. A second one on the same directory is a restart. Without ``senders`` those of ``self`` are used."""

    def __init__(
        self,
        directory: Path,
        *,
        senders: Senders | None = None,
        timeout_seconds: float = WAIT_SECONDS,
        close_seconds: float = 3.0,
    ) -> None:
        self.store = Store.open(directory / "store.db", reserve_size_bytes=4096)
        self.deliveries = Deliveries(self.store)
        self.loop = ManualLoop()
        self.senders = ScriptedSenders()
        self.functions = OwnFunctions()
        self.warnings: list[str] = []
        self.reports: list[BaseException] = []
        self.threads = SendingThreads(begin_in_thread, timeout_seconds=timeout_seconds)
        self.outbox = Outbox(
            self.deliveries,
            Courier(
                self.deliveries,
                senders=senders or self.senders,
                functions=self.functions,
                threads=self.threads,
                new_request_id=lambda: "00000000-0000-4000-8000-00000000000a",
                steady=lambda: self.loop.now,
                wall=lambda: WALL,
            ),
            loop=self.loop,
            steady=lambda: self.loop.now,
            wall=lambda: WALL,
            warn=self.warnings.append,
            report=self.reports.append,
            close_seconds=close_seconds,
        )

    def owe(
        self, *bodies: str, target: str = QUEUE, kind: str = "OnFailure", wake: bool = True, due_in: float = 0.0
    ) -> list[int]:
        """Owe messages, each of an event of its own; returns the ids of the events."""

        def insert(connection: sqlite3.Connection) -> list[int]:
            event_ids = []
            for body in bodies:
                insert_events(connection, [NewEvent(ACCOUNT, "f", "", "id", b"{}", TRACE, 1.0, WALL)])
                (event_id,) = connection.execute("SELECT max(id) FROM events").fetchone()
                connection.execute("UPDATE events SET state = 'failed' WHERE id = ?", (event_id,))
                row = NewDelivery(
                    kind=kind,
                    target=target,
                    body=body.encode(),
                    attributes="{}",
                    source=FUNCTION,
                    trace=TRACE,
                    due_at=self.loop.now + due_in,
                    created_wall=WALL,
                )
                insert_deliveries(connection, event_id, [row])
                event_ids.append(event_id)
            return event_ids

        event_ids: list[int] = self.store.submit(insert).result(WAIT_SECONDS)
        if wake:
            self.outbox.wake({target})
        return event_ids

    async def quiet(self) -> None:
        """Until the outbox does nothing any more by itself."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.outbox._tasks:
                await asyncio.wait(tuple(self.outbox._tasks))

    async def make_due(self) -> None:
        """What somebody does who wants everything to be tried now."""
        self.rows("UPDATE deliveries SET due_at = min(due_at, ?)", self.loop.now)
        self.outbox.redriven({target for (target,) in self.rows("SELECT DISTINCT target FROM deliveries")})
        await self.quiet()

    async def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)
        await self.quiet()

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.store.submit(
            lambda connection: connection.execute(statement, values).fetchall()
        ).result(WAIT_SECONDS)
        return found

    def owed(self) -> list[tuple[str, str, int]]:
        """Body, reason and attempts of what is owed."""
        rows = self.rows(
            "SELECT body, reason, attempts FROM deliveries JOIN delivery_bodies ON delivery_id = id ORDER BY id"
        )
        return [(body.decode(), reason, attempts) for body, reason, attempts in rows]

    def history(self, event_id: int) -> list[tuple[str, Any]]:
        """What was written down of an event after it was accepted."""
        rows = self.rows(
            "SELECT kind, detail FROM event_history WHERE event_id = ? AND number > 1 ORDER BY number", event_id
        )
        return [(kind, json.loads(detail)) for kind, detail in rows]


def play(directory: Path, scenario: Callable[[Lab], Awaitable[Any]], *, start: bool = True, **options: Any) -> Any:
    """Run a scenario with an outbox that has been started; nothing unexpected may happen in it."""

    async def main() -> Any:
        unhandled: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unhandled.append(context))
        lab = Lab(directory, **options)
        try:
            if start:
                await lab.outbox.start()
                await lab.quiet()
            result = await scenario(lab)
            await lab.outbox.close()
        finally:
            lab.store.close()
        assert lab.reports == []
        assert unhandled == []
        return result

    return asyncio.run(main())


def lines(history: Iterable[tuple[str, Any]]) -> list[str]:
    return [kind for kind, _ in history]
