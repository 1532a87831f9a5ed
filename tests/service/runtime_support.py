"""A host of execution environments that starts no process: the test is the runtime, and turns the clock."""

from __future__ import annotations

import asyncio
import functools
import heapq
import inspect
import itertools
import socket
import struct
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from venturekit.service.environments.failures import Exit
from venturekit.service.environments.host import EnvironmentHost, HostSettings, Time
from venturekit.service.environments.interpreters import own_interpreter
from venturekit.service.environments.launcher import ExitStatus, LauncherError, LaunchFailure
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.logs import LogStore
from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment
from venturekit.service.environments.multi_concurrent_pool import MultiConcurrentPool
from venturekit.service.environments.ports import EnvironmentSpec
from venturekit.service.environments.runtimes import PythonSettings
from venturekit.service.wire.listener import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.launcher import LaunchSpec
    from venturekit.service.environments.pool import Pool

BOUND_SECONDS = 10.0
PREFIX = "/2018-06-01/runtime"
NEXT = f"{PREFIX}/invocation/next"
INIT_ERROR = f"{PREFIX}/init/error"
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


class ManualTimer:
    """Stands in for asyncio's TimerHandle."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualLoop:
    """The running loop, but with timers that only the test lets run."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._order = itertools.count()
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self.now = 1000.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay: float, callback: Callable[[], object]) -> ManualTimer:
        timer = ManualTimer(callback)
        heapq.heappush(self._timers, (self.now + delay, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """Timers that have neither run nor been cancelled."""
        return sum(not timer.is_cancelled for _, _, timer in self._timers)

    def advance(self, seconds: float) -> None:
        """Let the time pass and run what is due, in order."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                timer.callback()
        self.now = end


class ScriptedLaunchers:
    """Stands in for the LauncherSet: nothing is started, the test says what became of each launch."""

    def __init__(self, host: EnvironmentHost) -> None:
        self._host = host
        self.launches: dict[int, LaunchSpec] = {}
        self.killed: list[int] = []
        self.signalled: list[tuple[int, int]] = []
        self.dies_when_killed = True
        self.refuses = ""

    def get(self, _interpreter: object = None) -> ScriptedLaunchers:
        if self.refuses:
            raise LauncherError(self.refuses)
        return self

    def launch(self, spec: LaunchSpec, _output: int, _log: int | None = None) -> None:
        self.launches[spec.id] = spec

    def holding(self, number: int) -> ScriptedLaunchers | None:
        return self if number in self.launches else None

    def signal(self, number: int, signal: int) -> None:
        self.signalled.append((number, signal))

    def kill(self, number: int) -> None:
        self.killed.append(number)
        if self.dies_when_killed:
            asyncio.get_running_loop().call_soon(self.exit, number, None, 9)

    def exit(self, number: int, code: int | None = 0, signal: int | None = None) -> None:
        """The main process has ended."""
        if self.launches.pop(number, None) is not None:
            self._host._on_exited(number, ExitStatus(code, signal))

    def fail(self, number: int, failure: LaunchFailure) -> None:
        """The main process could not be started."""
        del self.launches[number]
        self._host._on_failed(number, failure)

    def lose(self, *numbers: int) -> None:
        """The launcher has died."""
        for number in numbers:
            del self.launches[number]
        self._host._on_lost(list(numbers))

    async def close(self) -> None:
        self.launches.clear()


@dataclass(eq=False)
class Event:
    """An invocation as the pool gets it; it remembers how it ended."""

    request_id: bytes
    payload: bytes = b"{}"
    tail: bool = False
    invoked_arn: bytes = b"arn:aws:lambda:us-east-1:000000000000:function:f"
    trace: bytes = b"Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    extra_headers: bytes = b""
    enqueued: float = 0.0
    outcomes: list[tuple[bytes, bytes]] = field(default_factory=list)
    rejections: list[str] = field(default_factory=list)
    log_tail: bytes = b""
    on_settled: Callable[[], None] | None = None
    streams: bool = False
    """Whether the caller takes a streamed response piece by piece; ``keeps_up`` whether it takes any more now."""
    keeps_up: bool = True
    content_type: bytes = b""
    received: list[bytes] = field(default_factory=list)
    resume: Callable[[], None] | None = None

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        self.content_type, self.resume = content_type, resume
        return self.streams

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        assert self.ended == 0
        assert all(pieces)
        self.received += pieces
        return self.keeps_up

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        self.outcomes.append((bytes(payload), error))
        self.log_tail = log_tail
        if self.on_settled is not None:
            self.on_settled()

    def reject(self, reason: str) -> None:
        self.rejections.append(reason)

    @property
    def ended(self) -> int:
        """How many times it was told that it is over: once is right."""
        return len(self.outcomes) + len(self.rejections)

    @property
    def outcome(self) -> tuple[bytes, bytes]:
        """The only outcome."""
        assert (len(self.outcomes), self.rejections) == (1, [])
        return self.outcomes[0]


@dataclass
class Answer:
    """An answer of the Runtime API."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(method: str, target: str, port: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request of a well-behaved runtime; ``headers`` replace what it would send itself."""
    fields = {"Host": f"127.0.0.1:{port}"}
    if body or method == "POST":
        fields["Content-Length"] = str(len(body))
    fields.update(headers or {})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


class RuntimeConnection:
    """One TCP connection of a runtime."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.port = port
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send(request(method, target, self.port, headers, body))

    async def read(self) -> Answer:
        """The next answer. Raises asyncio.IncompleteReadError when the connection ends before it."""
        async with asyncio.timeout(BOUND_SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def call(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        self.ask(method, target, headers, body)
        return await self.read()

    async def respond(self, event: Event, body: bytes = b'"done"', **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", f"{PREFIX}/invocation/{event.request_id.decode()}/response", fields, body)

    async def fail(self, event: Event, body: bytes = b'{"errorType":"E"}', **headers: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.call("POST", f"{PREFIX}/invocation/{event.request_id.decode()}/error", fields, body)

    async def at_end(self) -> bool:
        """Whether the service closes the connection, within the bound."""
        async with asyncio.timeout(BOUND_SECONDS):
            try:
                return await self.reader.read(1) == b""
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Cut the connection so that the service sees an error, not an end in good order."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Bench:
    """A host, one pool of it, and what a test needs to play the runtime."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        self.loop = ManualLoop()
        self.clock = Clock(self.loop.now, 1_700_000_000.0)
        self.logs = LogStore()
        self.failures: list[object] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.prepare: Callable[[str], Awaitable[None]] | None = None
        self.released = 0
        self._folder = folder
        self._ids = itertools.count(1)
        self._connections: list[RuntimeConnection] = []
        own = own_interpreter()
        python = PythonSettings(
            interpreters=[own],
            own=own,
            runtime="ric",
            start="fork",
            strict=False,
            spawn_script=folder / "spawn.py",
            ric_directory=folder,
            awslambdaric_interpreter=None,
        )
        self.host = EnvironmentHost(
            HostSettings(
                directory=folder / "environments",
                runtime_directory=folder / "runtime",
                pycache_directory=folder / "pycache",
                ric_directory=folder,
                region="us-east-1",
                idle_seconds=300.0,
                starting_limit=8,
                python=python,
            ),
            loop=self.loop,  # type: ignore[arg-type]
            clock=self.clock,
            time=Time(monotonic=lambda: self.loop.now, wall=lambda: self.loop.now + 1_700_000_000.0 - 1000.0),
            logs=self.logs,
            new_token=lambda: f"{next(self._ids):032x}",
            prepare_code=self._prepare_code,
            release_code=self._release_code,
            spawn=self._spawn,
        )
        self.launchers = ScriptedLaunchers(self.host)
        self.host.launchers = self.launchers  # type: ignore[assignment]
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: self.failures.append(context))
        self.pool = self.pool_of("f", **spec)

    def pool_of(self, name: str, **spec: Any) -> Pool:
        return self.host.pool_for(environment_spec(self._folder, name, **spec))

    async def _prepare_code(self, code_key: str) -> None:
        if self.prepare is not None:
            await self.prepare(code_key)

    async def _release_code(self) -> None:
        self.released += 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    # --- callers ------------------------------------------------------------------------------------------------

    def submit(self, payload: bytes = b"{}", *, pool: Pool | None = None, **fields: Any) -> Event:
        event = Event(f"{next(self._ids):08x}-0000-4000-8000-000000000000".encode(), payload, **fields)
        (pool or self.pool).submit(event)
        return event

    # --- runtimes -----------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until the condition holds."""
        async with asyncio.timeout(BOUND_SECONDS):
            while not condition():
                await asyncio.sleep(0)

    async def launched(self, count: int = 1, *, pool: Pool | None = None) -> list[Environment]:
        """The environments of the pool that have been handed to the launcher: at least ``count``, oldest first."""
        pool = pool or self.pool

        def found() -> list[Environment]:
            known = (self.host.environments.get(number) for number in sorted(self.launchers.launches))
            return [each for each in known if each is not None and each.pool is pool]

        await self.until(lambda: len(found()) >= count)
        return found()

    async def connect(self, environment: Environment) -> RuntimeConnection:
        port = environment.listener.port
        connection = RuntimeConnection(port, *await asyncio.open_connection("127.0.0.1", port, limit=16 * 1024 * 1024))
        self._connections.append(connection)
        return connection

    async def runtime(self, *, pool: Pool | None = None, **fields: Any) -> tuple[Environment, RuntimeConnection, Event]:
        """An environment that has just been handed its first event."""
        before = await self.launched(0, pool=pool)
        event = self.submit(pool=pool, **fields)
        environment = (await self.launched(len(before) + 1, pool=pool))[-1]
        connection = await self.connect(environment)
        answer = await connection.call("GET", NEXT)
        assert (answer.status, answer.body) == (200, event.payload)
        return environment, connection, event

    async def idle_runtime(self, *, pool: Pool | None = None) -> tuple[Environment, RuntimeConnection]:
        """An environment that has answered once and waits for the next event."""
        environment, connection, event = await self.runtime(pool=pool)
        assert (await connection.respond(event)).status == 202
        await self.ask_next(environment, connection)
        return environment, connection

    async def ask_next(self, environment: Environment, connection: RuntimeConnection) -> None:
        connection.ask("GET", NEXT)
        await self.until(lambda: environment.state is State.IDLE)

    def log(self, name: str = "f") -> str:
        """The function's log, as a reader sees it."""
        return b"".join(
            line.message for line in self.logs.group(f"arn:aws:lambda:us-east-1:000000000000:function:{name}").read()
        ).decode()

    # --- what must hold -----------------------------------------------------------------------------------------

    def check_counters(self) -> None:
        """The pools' and the host's counters agree with the states of their environments."""
        in_init = provisioning = 0
        for pool in {*self.host.pools.values(), *(each.pool for each in self.host.environments.values())}:
            states = Counter(environment.state for environment in pool.environments)
            queued = sum(each is pool for each in self.host._start_queue)
            if isinstance(pool, MultiConcurrentPool):
                check_multi_concurrent(pool)
                begun = [each for each in pool.environments if each.state in (State.STARTING, State.INIT_HELD)]
                kept = sum(each.provisioned for each in begun)
                assert pool.starting == len(begun) - kept + queued
                if pool.provision is not None:
                    ready = sum(each.provisioned for each in pool.environments) - kept
                    assert (pool.provision.starting, pool.provision.ready) == (kept, ready)
                provisioning += kept
                in_init += len(begun) - kept
                continue
            kept = sum(each.provisioned for each in pool.environments if each.state is State.STARTING)
            assert pool.starting == states[State.STARTING] - kept + queued
            if pool.provision is not None:
                ready = sum(each.provisioned for each in pool.environments if each.state is not State.STARTING)
                assert (pool.provision.starting, pool.provision.ready) == (kept, ready)
            provisioning += kept
            assert pool.responded == states[State.RESPONDED]
            assert {*pool.idle} == {each for each in pool.environments if each.state is State.IDLE}
            assert len(pool.idle) == states[State.IDLE]
            assert states.keys() <= {State.STARTING, State.IDLE, State.INVOKE, State.RESPONDED}
            in_init += sum(e.state is State.STARTING and not e.suppressed_init for e in pool.environments) - kept
        assert self.host.starting == in_init
        assert self.host.provisioner.starting == provisioning
        for environment in self.host.environments.values():
            assert (environment.invocation is not None) == (environment.state is State.INVOKE)
            running = isinstance(environment, MultiConcurrentEnvironment) and environment.running
            timed = (State.STARTING, State.INIT_HELD, State.INVOKE, State.RESPONDED, State.INIT_FAILED)
            if running or environment.state in timed:
                assert environment in self.host.watch.environments
            elif environment.state is not State.STOPPING or environment.extensions is None:
                assert environment not in self.host.watch.environments

    async def close(self) -> None:
        """End everything, and look whether everything has ended."""
        await self.until(lambda: not self.tasks)
        self.check_counters()
        pools = [*self.host.pools.values()]
        environments = [*self.host.environments.values()]
        for number in [*self.launchers.launches]:
            self.launchers.exit(number, 0)
        for environment in environments:
            environment.exited(Exit())
        self.loop.advance(0.2)
        await self.until(lambda: not self.tasks)
        await self.host.close()
        for connection in self._connections:
            connection.close()
        await self.until(lambda: not self.tasks)
        assert all(environment.state is State.TERMINATED for environment in environments)
        assert [(pool.starting, pool.responded, pool.idle, [*pool.waiting]) for pool in pools] == [
            (0, 0, [], []) for _ in pools
        ]
        assert not any(pool.environments or pool.sandboxes for pool in pools)
        assert (self.host.starting, self.host.environments, self.host.pools) == (0, {}, {})
        assert self.host.watch.environments == set()
        assert not self.clock.listeners
        assert self.loop.pending == 0
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        assert self.failures == []


def check_multi_concurrent(pool: MultiConcurrentPool) -> None:
    """The counters of a pool whose environments have several invocations at once agree with them."""
    assert pool.responded == sum(each.returning for each in pool.environments)
    assert {*pool.idle} == {each for each in pool.environments if each.state is State.IDLE and each.is_free}
    assert len(pool.idle) == len({*pool.idle})
    for environment in pool.environments:
        assert len(environment.running) <= environment.spec.max_concurrency
        if environment.running:
            assert environment.deadline == min(seat.deadline for seat in environment.running.values())


def environment_spec(folder: Path, name: str = "f", **fields: Any) -> EnvironmentSpec:
    """What a pool of a Python function is made from."""
    given: dict[str, Any] = {
        "identity": "1",
        "function_name": name,
        "function_version": "$LATEST",
        "function_arn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        "runtime": "python3.11",
        "handler": "app.handler",
        "timeout_ms": 3000,
        "memory_size_mb": 128,
        "ephemeral_storage_mb": 512,
        "code_key": "key",
        "code_directory": folder,
        "log_group": f"/aws/lambda/{name}",
    }
    return EnvironmentSpec(**{**given, **fields})


@asynccontextmanager
async def bench_in(folder: Path, **spec: Any) -> AsyncIterator[Bench]:
    """A bench whose end is checked."""
    bench = Bench(folder, **spec)
    yield bench
    await bench.close()


def scenario(*loops: str, **spec: Any) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Make a test of a coroutine function that takes a bench: it runs on each loop, and the bench's end is checked."""

    def decorate(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.name != "bench"]

        @functools.wraps(function)
        def test(tmp_path: Path, loop_name: str, **arguments: Any) -> None:
            async def body() -> None:
                async with bench_in(tmp_path, **spec) as bench:
                    await function(bench, **arguments)

            with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
                runner.run(body())

        fixtures = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in ("tmp_path", "loop_name")]
        own = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        test.__signature__ = inspect.Signature([*fixtures, *own])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("loop_name", loops or tuple(LOOPS))(test)

    return decorate
