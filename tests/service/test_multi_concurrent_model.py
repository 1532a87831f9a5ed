"""Random lives of environments that have several invocations at once: no invocation is lost, none ends twice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from tests.forms import in_full
from tests.service.runtime_support import INIT_ERROR, LOOPS, NEXT, PREFIX, Event, bench_in
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.service.runtime_support import Answer, Bench, RuntimeConnection
    from venturekit.service.environments.pool import Pool

    Action = Callable[["Lives"], Coroutine[None, None, None]]

STEPS, FULL_STEPS = 60, 400
TURNS = 6
"""So many turns of the loop, and what was sent has come: sockets of one machine deliver at once."""
MANAGED = {"initialization_type": "lambda-managed-instances", "log_format": "JSON", "timeout_ms": 3000}


class Worker:
    """One worker of a runtime: it waits for an event, has some, or neither."""

    def __init__(self, connection: RuntimeConnection) -> None:
        self.connection = connection
        self.call: asyncio.Future[Answer] | None = None

    @property
    def waits(self) -> bool:
        return self.call is not None and not self.call.done()

    def ask(self) -> None:
        self.connection.ask("GET", NEXT)
        self.call = asyncio.ensure_future(self.connection.read())


class Lives:
    """Plays all runtimes and callers at random."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.random = random.Random(seed)
        self.events: list[Event] = []
        self.workers: list[Worker] = []
        self.pools: list[Pool] = [bench.pool]
        self.most = self.random.choice([2, 100])
        bench.host.most_environments[bench.pool.spec.function_arn, bench.pool.spec.function_version] = self.most
        self.streams: list[RuntimeConnection] = []
        self.calls: list[asyncio.Future[Answer]] = []
        self.history: list[str] = []

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            action = self.random.choice(ACTIONS)
            self.history.append(action.__name__)
            await action(self)
            await self.settle_down()
            self.check()
        for call in self.calls:
            call.cancel()
        await asyncio.gather(*self.calls, return_exceptions=True)
        for pool in self.pools:
            self.bench.host.provisioner.want(pool, 0)
        for event in self.events:
            event.on_settled = None
        while any(not event.ended for event in self.events) or self.bench.launchers.launches:
            for number in [*self.bench.launchers.launches]:
                self.bench.launchers.exit(number, 1)
            self.bench.loop.advance(4)
            await self.settle_down()
            self.check()

    # --- what may happen ----------------------------------------------------------------------------------------

    async def submit(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self._submit()

    async def next(self) -> None:
        environments = [each for each in self._environments() if each.number in self.bench.launchers.launches]
        free = [each for each in self.workers if not each.waits and not each.connection.reader.at_eof()]
        if free and self.random.random() < 0.6:
            worker = self.random.choice(free)
        elif environments:
            worker = Worker(await self.bench.connect(self.random.choice(environments)))
            self.workers.append(worker)
        else:
            return
        worker.ask()
        assert worker.call is not None
        self.calls.append(worker.call)

    async def answer(self) -> None:
        found = [each for each in self._environments() if each.running]
        if not found:
            return
        environment = self.random.choice(found)
        request_id = self.random.choice([*environment.running]).decode()
        connection = await self.bench.connect(environment)
        kind = self.random.choice(["response", "response", "error", "cut", "stream"])
        target = f"{PREFIX}/invocation/{request_id}/{'error' if kind == 'error' else 'response'}"
        if kind == "cut":
            connection.send(
                f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{connection.port}\r\nContent-Length: 9\r\n\r\na".encode()
            )
            connection.close()
        elif kind == "stream":
            head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1:{connection.port}\r\n"
            head += "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
            connection.send(f"{head}\r\n1\r\na\r\n".encode())
            self.streams.append(connection)
        else:
            connection.ask("POST", target, body=b"1")

    async def end_stream(self) -> None:
        if self.streams:
            connection = self.streams.pop()
            if self.random.random() < 0.7:
                connection.send(b"0\r\n\r\n")
            else:
                connection.close()

    async def lose_worker(self) -> None:
        if self.workers:
            worker = self.workers.pop(self.random.randrange(len(self.workers)))
            self.random.choice([worker.connection.close, worker.connection.reset])()

    async def time_passes(self) -> None:
        self.bench.loop.advance(self.random.choice([0.06, 0.11, 0.5, 3.1]))

    async def init_takes_too_long(self) -> None:
        self.bench.loop.advance(131)

    async def init_error(self) -> None:
        starting = [each for each in self._environments() if each.state is State.STARTING]
        if starting:
            connection = await self.bench.connect(self.random.choice(starting))
            connection.ask("POST", INIT_ERROR, body=b"{}")

    async def extension(self) -> None:
        starting = [each for each in self._environments() if each.state is State.STARTING]
        if not starting:
            return
        connection = await self.bench.connect(self.random.choice(starting))
        prefix = "/2020-01-01/extension"
        answer = await connection.call("POST", f"{prefix}/register", {"Lambda-Extension-Name": "one"}, b'{"events":[]}')
        if answer.status == 200:
            fields = {"Lambda-Extension-Identifier": answer.headers["lambda-extension-identifier"]}
            if self.random.random() < 0.5:
                connection.ask("GET", f"{prefix}/event/next", fields)
            elif self.random.random() < 0.5:
                fields["Lambda-Extension-Function-Error-Type"] = "Extension.Bad"
                connection.ask("POST", f"{prefix}/exit/error", fields)

    async def exit(self) -> None:
        if self.bench.launchers.launches:
            self.bench.launchers.exit(self.random.choice([*self.bench.launchers.launches]), 1)

    async def lose_launcher(self) -> None:
        numbers = [*self.bench.launchers.launches]
        self.bench.host._on_dying(numbers)
        await self.settle_down()
        self.bench.launchers.lose(*[each for each in numbers if each in self.bench.launchers.launches])

    async def retire(self) -> None:
        self.bench.pool.retire()
        self.bench.pool = self.bench.pool_of("f", identity=f"after-{len(self.pools)}", **self.spec)
        self.pools.append(self.bench.pool)

    async def provide(self) -> None:
        self.bench.host.provisioner.want(self.bench.pool, self.random.randint(0, 3))

    async def sweep(self) -> None:
        self.bench.host.sweep(self.bench.clock.now + self.random.choice([10, 301]))

    # --- what must hold -----------------------------------------------------------------------------------------

    async def settle_down(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        await self.bench.until(lambda: not self.bench.tasks)

    def check(self) -> None:
        self.bench.check_counters()
        assert all(len(pool.environments) <= self.most for pool in self.pools)
        waiting = [each for pool in self.pools for each in pool.waiting]
        running = [seat.invocation for each in self._environments() for seat in each.running.values()]
        for event in self.events:
            places = event.ended + waiting.count(event) + running.count(event)  # type: ignore[arg-type]
            assert places == 1, (event.request_id, event.ended, waiting.count(event), running.count(event))  # type: ignore[arg-type]

    # --- inside -------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> dict[str, object]:
        return {**MANAGED, "max_concurrency": self.bench.pool.spec.max_concurrency}

    def _environments(self) -> list[MultiConcurrentEnvironment]:
        found = self.bench.host.environments.values()
        return [each for each in found if isinstance(each, MultiConcurrentEnvironment)]

    def _submit(self) -> None:
        if self.events and self.random.random() < 0.05:
            # Callers may choose request ids.
            event = Event(self.random.choice(self.events).request_id)
            self.bench.pool.submit(event)
        else:
            event = self.bench.submit(tail=self.random.random() < 0.3)
        self.events.append(event)
        if self.random.random() < 0.4:
            # Who hears of the end asks for more at once, as the queue of events does.
            event.on_settled = self._submit


ACTIONS: list[Action] = [
    *[Lives.submit] * 6,
    *[Lives.next] * 14,
    *[Lives.answer] * 8,
    *[Lives.end_stream] * 2,
    *[Lives.lose_worker] * 2,
    *[Lives.time_passes] * 4,
    *[Lives.extension] * 2,
    *[Lives.provide] * 2,
    *(Lives.init_error, Lives.init_takes_too_long, Lives.exit, Lives.lose_launcher, Lives.retire, Lives.sweep),
]


@pytest.mark.parametrize("seed", [0, 1, 2, 3, *in_full(*range(4, 100))])
def test_every_invocation_ends_once(tmp_path: Path, full_counts: bool, seed: int) -> None:
    spec = {**MANAGED, "max_concurrency": 1 + seed % 4}

    async def live() -> None:
        async with bench_in(tmp_path, **spec) as bench:
            lives = Lives(bench, seed)
            try:
                await lives.run(FULL_STEPS if full_counts else STEPS)
            except BaseException as error:
                error.add_note(f"seed {seed}, step {len(lives.history)}, lately: {lives.history[-12:]}")
                raise
        assert all(event.ended == 1 for event in lives.events)

    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(live())
