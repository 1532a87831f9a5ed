"""Random runtimes against a model: every status, every outcome and every state is foreseen, whatever they do.

The model is the lifecycle table, the invocation of each environment and the order in which a pool hands out work.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from typing import TYPE_CHECKING

import pytest

from tests.service.runtime_support import INIT_ERROR, LOOPS, NEXT, PREFIX, bench_in, request
from venturekit.service.environments import failures
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES, Exit
from venturekit.service.environments.lifecycle import Event as Happening
from venturekit.service.environments.lifecycle import State, after, allows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.service.runtime_support import Bench, Event, RuntimeConnection
    from venturekit.service.environments.environment import Environment

STEPS, FULL_STEPS = 1_000, 5_000
ENVIRONMENTS = 3
CONNECTIONS = 3
UNKNOWN_ID = b"00000000-0000-4000-8000-00000000ffff"
STREAMING = {"Lambda-Runtime-Function-Response-Mode": "streaming"}
CAUSE = "application/vnd.aws.lambda.error.cause+json"
OVERSIZE = b"x" * (RESPONSE_LIMIT_BYTES + 1)
Outcome = tuple[bytes, bytes]


class Twin:
    """What the model knows of one environment."""

    def __init__(self, real: Environment) -> None:
        self.real = real
        self.state = State.STARTING
        self.suppressed = real.suppressed_init
        self.event: Event | None = None
        self.parked: RuntimeConnection | None = None
        self.is_deaf = False
        self.connections: list[RuntimeConnection] = []

    @property
    def agrees(self) -> bool:
        """Whether the service has come to the same state: it hears of requests and closed connections in its time."""
        listens = self.parked is not None and not self.is_deaf
        return self.real.state is self.state and (self.state is not State.IDLE or self.real.listens() == listens)

    def happens(self, happening: Happening) -> None:
        self.state = after(self.state, happening)


class Walk:
    """One random walk."""

    def __init__(self, bench: Bench, seed: int) -> None:
        bench.launchers.dies_when_killed = False
        self.bench = bench
        self.random = random.Random(seed)
        self.twins: dict[int, Twin] = {}
        self.idle: list[Twin] = []
        self.waiting: deque[Event] = deque()
        self.events: list[Event] = []
        self.outcomes: dict[Event, Outcome] = {}
        self.history: deque[str] = deque(maxlen=12)
        self.statuses: dict[int, int] = {}

    # --- the model's rules ----------------------------------------------------------------------------------------

    def settle(self, twin: Twin, outcome: Callable[[bytes], Outcome], happening: Happening) -> None:
        assert twin.event is not None
        self.outcomes[twin.event] = outcome(twin.event.request_id)
        twin.event = None
        twin.happens(happening)

    def fail_first_waiting(self, outcome: Callable[[bytes], Outcome]) -> None:
        if self.waiting:
            event = self.waiting.popleft()
            self.outcomes[event] = outcome(event.request_id)

    def forsaken(self, twin: Twin) -> None:
        twin.happens(Happening.NEXT_GONE)
        self.idle.remove(twin)
        twin.parked, twin.is_deaf = None, False

    # --- requests: their bytes, and the status that is foreseen (None: no answer yet) -----------------------------

    def next(self, twin: Twin, connection: RuntimeConnection) -> tuple[bytes, int | None]:
        data = request("GET", self.random.choice([NEXT, NEXT, f"{NEXT}?x"]), connection.port)
        if twin.is_deaf:
            self.forsaken(twin)
        if not allows(twin.state, Happening.NEXT):
            return data, 403
        twin.happens(Happening.NEXT)
        if self.waiting:
            twin.event = self.waiting.popleft()
            twin.happens(Happening.DELIVER)
            return data, 200
        twin.parked = connection
        self.idle.append(twin)
        return data, None

    def outcome(self, twin: Twin, connection: RuntimeConnection) -> tuple[bytes, int | None]:
        """A response or an error of some kind, for an id that may be wrong."""
        ids = [UNKNOWN_ID, *(event.request_id for event in self.events[-6:])]
        if twin.event is not None:
            ids += [twin.event.request_id] * 12
        request_id = self.random.choice(ids)
        is_right = twin.event is not None and twin.event.request_id == request_id
        action, headers, body, status, result = self.random.choice(KINDS)(self.random)
        if STREAMING.items() <= headers.items() and not is_right:
            # Refused before its body is read, which ends the connection.
            action, headers, body, status, result = _plain(self.random)
        target = f"{PREFIX}/invocation/{request_id.decode()}/{action}"
        if body is None:
            mode = STREAMING if STREAMING.items() <= headers.items() else {}
            data = request("POST", target, connection.port, {"Transfer-Encoding": "chunked", **mode}).replace(
                b"Content-Length: 0\r\n", b""
            )
            data += b"3\r\nabc\r\n0\r\n" + headers["trailers"].encode() + b"\r\n"
        else:
            data = request("POST", target, connection.port, headers, body)
        if not is_right:
            return data, 400
        self.settle(twin, result, Happening.ANSWER)
        return data, status

    def init_error(self, twin: Twin, connection: RuntimeConnection) -> tuple[bytes, int | None]:
        data = request("POST", INIT_ERROR, connection.port, None, b'"init"')
        if not allows(twin.state, Happening.INIT_ERROR):
            return data, 403
        self.fail_first_waiting(lambda _id: (b'"init"', b"Unhandled"))
        twin.happens(Happening.INIT_ERROR)
        return data, 202

    def nonsense(self, _twin: Twin, connection: RuntimeConnection) -> tuple[bytes, int | None]:
        method, target = self.random.choice([("GET", "/"), ("POST", "/2018-06-01/runtime/x"), ("PUT", INIT_ERROR)])
        return request(method, target, connection.port), 404

    # --- steps ----------------------------------------------------------------------------------------------------

    async def connection(self, twin: Twin) -> RuntimeConnection | None:
        """One that is not waiting for an event."""
        free = [each for each in twin.connections if each is not twin.parked]
        if free and (len(twin.connections) >= CONNECTIONS or self.random.random() < 0.8):
            return self.random.choice(free)
        if len(twin.connections) >= CONNECTIONS:
            return None
        twin.connections.append(await self.bench.connect(twin.real))
        return twin.connections[-1]

    async def requests(self, twin: Twin) -> None:
        """One to four requests in one write."""
        connection = await self.connection(twin)
        if connection is None:
            return
        kinds = [self.next, self.next, self.outcome, self.outcome, self.outcome, self.nonsense]
        if self.random.random() < 0.03:
            kinds = [self.init_error]
        data, expected = b"", []
        for _ in range(self.random.choice([1, 1, 1, 2, 3, 4])):
            piece, status = self.random.choice(kinds)(twin, connection)
            data += piece
            if status is None:
                break
            expected.append((status, twin.event))
        self.history.append(f"{twin.real.number}: {[status for status, _ in expected]} {data[:80]!r}")
        connection.send(data)
        for status, event in expected:
            answer = await connection.read()
            assert answer.status == status, f"{answer} instead of {status}"
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if status == 200:
                assert event is not None
                assert answer.headers["lambda-runtime-aws-request-id"] == event.request_id.decode()

    async def submit(self, _twin: Twin | None = None) -> None:
        coming = sum(twin.state in (State.STARTING, State.RESPONDED) for twin in self.twins.values())
        if not self.idle and len(self.waiting) >= coming and len(self.twins) >= ENVIRONMENTS:
            return
        self.history.append("submit")
        event = self.bench.submit(json.dumps(len(self.events)).encode())
        self.events.append(event)
        while self.idle and self.idle[-1].is_deaf:
            self.forsaken(self.idle[-1])
        if not self.idle:
            self.waiting.append(event)
            return
        twin = self.idle.pop()
        twin.event = event
        twin.happens(Happening.DELIVER)
        connection, twin.parked = twin.parked, None
        assert connection is not None
        answer = await connection.read()
        assert (answer.status, answer.body) == (200, event.payload)

    async def disconnect(self, twin: Twin) -> None:
        if not twin.connections:
            return
        connection = self.random.choice(twin.connections)
        twin.connections.remove(connection)
        is_orderly = self.random.random() < 0.5
        self.history.append(f"{twin.real.number}: {'close' if is_orderly else 'reset'}")
        if is_orderly:
            connection.close()
        else:
            connection.reset()
        if connection is not twin.parked:
            return
        if is_orderly:
            twin.is_deaf = True
            await self.bench.until(lambda: not twin.real.listens())
        else:
            self.forsaken(twin)

    async def truncate(self, twin: Twin) -> None:
        """Half of an outcome, then the connection is cut."""
        self.history.append(f"{twin.real.number}: truncated")
        connection = await self.bench.connect(twin.real)
        request_id = twin.event.request_id if twin.event is not None else UNKNOWN_ID
        target = f"{PREFIX}/invocation/{request_id.decode()}/{self.random.choice(['response', 'error'])}"
        connection.send(request("POST", target, connection.port, None, b"x" * 70_000)[:-1])
        await self.bench.until(lambda: any(each.parsing is not None for each in twin.real.listener.connections))
        self.random.choice([connection.close, connection.reset])()
        await self.bench.until(lambda: all(each.parsing is None for each in twin.real.listener.connections))
        if twin.event is not None:
            self.settle(twin, lambda id_: (failures.truncated_response(id_), b"Unhandled"), Happening.ANSWER)

    async def garbage(self, twin: Twin) -> None:
        self.history.append(f"{twin.real.number}: garbage")
        connection = await self.bench.connect(twin.real)
        connection.send(self.random.choice([b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET\r\n\r\n"]))
        assert (await connection.read()).status == 400
        assert await connection.at_end()

    async def from_a_page(self, twin: Twin) -> None:
        self.history.append(f"{twin.real.number}: page")
        connection = await self.bench.connect(twin.real)
        assert (await connection.call("GET", NEXT, {"Origin": "null"})).status == 403
        assert await connection.at_end()

    async def run_out_of_time(self, twin: Twin) -> None:
        if not allows(twin.state, Happening.TIMEOUT):
            return
        self.history.append(f"{twin.real.number}: timeout in {twin.state.name}")
        twin.real.out_of_time()
        if twin.state is State.INVOKE:
            self.settle(twin, lambda id_: (failures.timed_out(id_, 3000), b"Unhandled"), Happening.TIMEOUT)
            return
        if twin.state is State.STARTING and twin.suppressed:
            self.fail_first_waiting(lambda id_: (failures.timed_out(id_, 3000), b"Unhandled"))
        twin.happens(Happening.TIMEOUT)

    async def exit(self, twin: Twin) -> None:
        self.history.append(f"{twin.real.number}: exit in {twin.state.name}")
        self.bench.launchers.exit(twin.real.number, 1)
        outcome: Callable[[bytes], Outcome] = lambda id_: (failures.exited(id_, Exit(code=1)), b"Unhandled")  # noqa: E731
        if twin.state is State.IDLE:
            self.idle.remove(twin)
        if twin.state is State.STARTING:
            self.fail_first_waiting(outcome)
        if twin.event is not None:
            self.settle(twin, outcome, Happening.EXITED)
        else:
            twin.happens(Happening.EXITED)
        del self.twins[twin.real.number]
        assert twin.real.state is State.TERMINATED

    async def step(self) -> None:
        """One thing happens; then the model and the service are compared."""
        kinds = [self.requests] * 70 + [self.submit] * 30 + [self.disconnect] * 4 + [self.truncate, self.garbage] * 2
        kinds += [self.from_a_page, self.run_out_of_time, self.exit]
        twins = list(self.twins.values())
        stopping = [twin for twin in twins if twin.state in (State.STOPPING, State.INIT_FAILED)]
        if stopping and self.random.random() < 0.1:
            await self.exit(stopping[0])
        elif twins:
            await self.random.choice(kinds)(self.random.choice(twins))
        else:
            await self.submit()
        await self.compare()

    async def compare(self) -> None:
        bench = self.bench
        await bench.until(lambda: not bench.tasks)
        for number, environment in bench.host.environments.items():
            if number not in self.twins:
                self.twins[number] = Twin(environment)
        await bench.until(lambda: all(twin.agrees for twin in self.twins.values()))
        assert bench.pool.idle == [twin.real for twin in self.idle]
        assert [*bench.pool.waiting] == [*self.waiting]
        for twin in self.twins.values():
            assert twin.real.invocation is twin.event
        for event in self.events[-12:]:
            assert event.ended == (event in self.outcomes)
        bench.check_counters()
        assert bench.failures == []

    async def finish(self) -> None:
        """What still waits is served; then everything has ended exactly once, as foreseen."""
        for twin in list(self.twins.values()):
            await self.exit(twin)
            await self.compare()
        while self.waiting:
            twin = next(twin for twin in self.twins.values() if twin.state is State.STARTING)
            await self.exit(twin)
            await self.compare()
        for event in self.events:
            assert event.outcome == self.outcomes[event]


def _plain(_random: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    return "response", {}, b'"ok"', 202, lambda _id: (b'"ok"', b"")


def _error(_random: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    return "error", {"Lambda-Runtime-Function-Error-Type": "x"}, b"{}", 202, lambda _id: (b"{}", b"Unhandled")


def _cause(chance: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    body = chance.choice([b"[]", b"{", b"1", b'"x"', b"null", b"[[]]", b"\xff"])
    return "error", {"Content-Type": CAUSE}, body, 202, lambda _id: (b'"Invalid error body"', b"Unhandled")


def _bad_mode(_random: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    headers = {"Lambda-Runtime-Function-Response-Mode": "odd"}
    return "response", headers, b"", 400, lambda id_: (failures.invalid_response_mode(id_, b"odd"), b"Unhandled")


def _chunked(chance: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    if chance.random() < 0.5:
        return "response", {"trailers": ""}, None, 202, lambda _id: (b"abc", b"")
    trailers = "Lambda-Runtime-Function-Error-Type: Function.Odd\r\nLambda-Runtime-Function-Error-Body: ?\r\n"
    error = b'{"errorType":"Function.Odd","errorMessage":""}'
    return "response", {"trailers": trailers}, None, 202, lambda _id: (error, b"Unhandled")


def _streamed(chance: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    if chance.random() < 0.2:
        return "response", STREAMING, b"all", 202, lambda _id: (b"all", b"")
    action, headers, body, status, result = _chunked(chance)
    return action, headers | STREAMING, body, status, result


def _large(chance: random.Random) -> tuple[str, dict[str, str], bytes | None, int, Callable[[bytes], Outcome]]:
    if chance.random() < 0.8:
        body = b"y" * 200_000
        return "response", {}, body, 202, lambda _id: (body, b"")
    return "response", {}, OVERSIZE, 413, lambda _id: (failures.response_too_large(), b"Unhandled")


KINDS = [*[_plain] * 20, *[_error] * 8, *[_chunked] * 6, *[_streamed] * 6, *[_cause] * 3, *[_bad_mode] * 2, _large]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.full) for seed in (2, 3))])
def test_random_runtimes_do_what_the_model_foresees(tmp_path: Path, full_counts: bool, seed: int) -> None:
    steps = FULL_STEPS if full_counts else STEPS

    async def walk() -> None:
        async with bench_in(tmp_path) as bench:
            walk = Walk(bench, seed)
            for number in range(steps):
                try:
                    await walk.step()
                except BaseException as error:
                    error.add_note(f"seed {seed}, step {number}, lately: " + "\n".join(walk.history))
                    raise
            await walk.finish()
            # The walk has been where it was meant to be.
            assert {200, 202, 400, 403, 404} <= walk.statuses.keys()
            assert len(walk.events) > steps // 20
            bench.launchers.dies_when_killed = True

    with asyncio.Runner(loop_factory=LOOPS["uvloop" if seed % 2 else "asyncio"]) as runner:
        runner.run(walk())
