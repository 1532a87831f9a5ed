"""A dispatcher on a real store, with a manual clock, functions that answer as told, and a look at the database."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.events.dispatcher import Dispatcher
from venturekit.service.events.intake import Intake
from venturekit.service.events.retry import EventPolicy
from venturekit.service.invocation.concurrency import AccountConcurrency, FunctionConcurrency
from venturekit.service.store import Store
from venturekit.service.store.event_documents import NewEvent
from venturekit.service.store.events import EventStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from venturekit.service.events.attempt import Attempt

T = TypeVar("T")
ACCOUNT = "123456789012"
START = 1000.0
WALL = 1_800_000_000.0
HOURS = 3600.0
TERMINAL = ("succeeded", "failed", "dropped")


class ManualTimer:
    def __init__(self, at: float, callback: Callable[[], object]) -> None:
        self.at = at
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualLoop:
    """The running loop, but time passes by hand."""

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.soon = 0
        self.fired = 0
        self._timers: list[tuple[float, int, ManualTimer]] = []
        self._numbers = itertools.count()

    def call_soon(self, callback: Callable[[], object], /) -> object:
        self.soon += 1
        return asyncio.get_running_loop().call_soon(self._call, callback)

    def _call(self, callback: Callable[[], object]) -> None:
        self.soon -= 1
        callback()

    def call_later(self, delay: float, callback: Callable[[], object], /) -> ManualTimer:
        assert delay >= 0
        timer = ManualTimer(self.now + delay, callback)
        heapq.heappush(self._timers, (timer.at, next(self._numbers), timer))
        return timer

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()

    def timers_of(self, owner: object) -> int:
        """How many timers wait that would call a method of this object."""
        return sum(
            not timer.cancelled and getattr(timer.callback, "__self__", None) is owner for _, _, timer in self._timers
        )

    @property
    def next_timer(self) -> ManualTimer | None:
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][2] if self._timers else None

    def fire(self) -> None:
        """Go to the time of the next timer, and call it."""
        at, _, timer = heapq.heappop(self._timers)
        self.now = max(self.now, at)
        self.fired += 1
        timer.callback()


class WatchedStore(EventStore):
    """Tells whether something is being written; refuses or holds back turns when told to."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.writing: set[asyncio.Future[Any]] = set()
        self.trouble: list[Exception] = []
        self.refuses_with: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.turns = 0

    def _watched(self, future: asyncio.Future[T]) -> asyncio.Future[T]:
        self.writing.add(future)
        future.add_done_callback(self.writing.discard)
        return future

    def put(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        return self._watched(super().put(events))

    def turn(self, *arguments: Any, **named: Any) -> asyncio.Future[Any]:
        self.turns += 1
        if self.refuses_with is not None:
            raise self.refuses_with
        if self.trouble:
            failed = asyncio.get_running_loop().create_future()
            failed.set_exception(self.trouble.pop(0))
            return self._watched(failed)
        written = super().turn(*arguments, **named)
        if self.gate is None:
            return self._watched(written)
        return asyncio.ensure_future(self._behind(self.gate, written))

    async def _behind(self, gate: asyncio.Event, written: asyncio.Future[T]) -> T:
        done = await written
        await gate.wait()
        return done


class Held:
    """A run of a function that has not answered yet."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt

    def succeed(self, payload: bytes = b"null") -> None:
        self.attempt.settle(payload, b"", b"")

    def fail(self, payload: bytes = b'{"errorMessage":"as told","errorType":"Told"}') -> None:
        self.attempt.settle(payload, b"Unhandled", b"")

    def reject(self, reason: str = "no environment") -> None:
        self.attempt.reject(reason)


@dataclass(frozen=True)
class Run:
    """What a function was given."""

    at: float
    request_id: str
    payload: bytes
    invoked_arn: str
    version: str
    trace: str


@dataclass(eq=False)
class ScriptedFunction:
    """A function that exists or not, may run or not, and answers as ``behave`` says, after ``takes`` seconds.

    ``behave`` gets each :class:`Held` run; by default it succeeds at once.
    """

    name: str
    loop: ManualLoop
    concurrency: FunctionConcurrency
    behave: Callable[[Held], None] = Held.succeed
    takes: float = 0.0
    policy: EventPolicy = field(default_factory=EventPolicy)
    policies: dict[str, EventPolicy] = field(default_factory=dict)
    version: str = "$LATEST"
    room: int = 1000
    timeout_seconds: int = 3
    recursion_allowed: bool = False
    lasting: bool = True
    not_resolved: Exception | None = None
    not_runnable: ApiError | None = None
    runs: list[Run] = field(default_factory=list)
    tenants: dict[str, ScriptedTenant] | None = None

    def submit(self, invocation: Attempt) -> None:
        self.runs.append(
            Run(
                self.loop.now,
                invocation.request_id.decode(),
                bytes(invocation.payload),
                invocation.invoked_arn.decode(),
                invocation.executed_version,
                invocation.trace.decode(),
            )
        )
        held = Held(invocation)
        if self.takes:
            self.loop.call_later(self.takes, lambda: self.behave(held))
        else:
            self.loop.call_soon(lambda: self.behave(held))


@dataclass(eq=False)
class ScriptedTenant:
    """The environments of one tenant."""

    function: ScriptedFunction
    room: int = 1000
    runs: int = 0

    def submit(self, invocation: Attempt) -> None:
        self.runs += 1
        self.function.submit(invocation)


@dataclass(frozen=True)
class ScriptedTarget:
    """A function as the dispatcher finds it at one moment."""

    function: ScriptedFunction
    invoked_arn: str
    policy: EventPolicy
    tenant_id: str = ""

    @property
    def executed_version(self) -> str:
        return self.function.version

    @property
    def timeout_seconds(self) -> int:
        return self.function.timeout_seconds

    @property
    def concurrency(self) -> FunctionConcurrency:
        return self.function.concurrency

    @property
    def lasting(self) -> bool:
        return self.function.lasting

    @property
    def recursion_allowed(self) -> bool:
        return self.function.recursion_allowed

    @property
    def pool(self) -> ScriptedFunction | ScriptedTenant:
        if self.function.not_runnable is not None:
            raise self.function.not_runnable
        if self.function.tenants is not None:
            return self.function.tenants.setdefault(self.tenant_id, ScriptedTenant(self.function))
        return self.function

    def of_tenant(self, tenant_id: str) -> ScriptedTarget:
        if self.function.tenants is None:
            raise api_error("InvalidParameterValueException", f"no tenant isolation, so nothing for {tenant_id}")
        return replace(self, tenant_id=tenant_id)


class ScriptedTargets:
    def __init__(self, loop: ManualLoop, account_limit: int = 1000) -> None:
        self.loop = loop
        self.account = AccountConcurrency(account_limit)
        self.functions: dict[str, ScriptedFunction] = {}

    def create(self, name: str = "f", **members: Any) -> ScriptedFunction:
        made = ScriptedFunction(name, self.loop, self.account.function(name), **members)
        self.functions[name] = made
        return made

    def delete(self, name: str) -> None:
        del self.functions[name]
        self.account.forget(name)

    def arn(self, account_id: str, function_name: str, qualifier: str) -> str:
        return f"arn:aws:lambda:us-east-1:{account_id}:function:{function_name}:{qualifier or '$LATEST'}"

    def resolve(self, account_id: str, function_name: str, qualifier: str) -> ScriptedTarget:
        arn = self.arn(account_id, function_name, qualifier)
        function = self.functions.get(function_name)
        if function is None:
            raise api_error("ResourceNotFoundException", f"Function not found: {arn}")
        if function.not_resolved is not None:
            raise function.not_resolved
        policy = function.policies.get(qualifier, function.policy)
        return ScriptedTarget(function, arn if qualifier else arn.removesuffix(":$LATEST"), policy)

    def concurrency(self, account_id: str, function_name: str) -> FunctionConcurrency:
        return self.account.function(function_name)


@dataclass(frozen=True)
class Line:
    """One line of a history, its time in seconds since the start of the test."""

    after: float
    kind: str
    detail: Mapping[str, Any]


class Lab:
    """One process on one database. ``crash()`` leaves what a killed process leaves."""

    def __init__(
        self,
        path: Path,
        *,
        loop: ManualLoop | None = None,
        targets: ScriptedTargets | None = None,
        lease: str = "lease-1",
        delays_seconds: tuple[float, ...] = (60.0, 120.0),
        concurrency: int = 16,
        queue_limit: int = 1_000_000,
        account_limit: int = 1000,
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        self.path = path
        self.loop = loop or ManualLoop()
        self.targets = targets or ScriptedTargets(self.loop, account_limit)
        self.wall_offset = WALL
        self.delivered: list[set[str]] = []
        self.reported: list[BaseException] = []
        self.warned: list[str] = []
        self.answers: dict[str, ApiError | None] = {}
        self.store = Store.open(path, reserve_size_bytes=4096)
        self.events = WatchedStore(self.store)
        self._numbers = itertools.count(1)
        self.lease = lease
        self.dispatcher = Dispatcher(
            self.events,
            targets=self.targets,
            lease=lease,
            steady=lambda: self.loop.now,
            wall=self.wall,
            loop=self.loop,
            deliver=self.delivered.append,
            report=self.reported.append,
            warn=self.warned.append,
            delays_seconds=delays_seconds,
            concurrency=concurrency,
            crowded=crowded,
        )
        self.intake = Intake(
            self.events,
            loop=asyncio.get_running_loop(),
            limit=queue_limit,
            queued=lambda: self.dispatcher.live,
            accepted=self.dispatcher.accepted,
        )

    def wall(self) -> float:
        return self.wall_offset + self.loop.now - START

    async def begin(self) -> None:
        await self.dispatcher.load()
        self.dispatcher.begin()

    def close_store(self) -> None:
        assert self.store.close()

    def put(
        self,
        function: str = "f",
        payload: bytes = b"{}",
        *,
        qualifier: str = "",
        trace: str = "Root=1-a-b",
        tenant: str = "",
    ) -> str:
        """Put an event; gives its request id. ``answers`` has it when the caller is told."""
        request_id = f"{self.lease}-{next(self._numbers)}"
        event = NewEvent(ACCOUNT, function, qualifier, request_id, payload, trace, self.loop.now, self.wall(), tenant)
        self.intake.put(event, lambda error: self.answers.__setitem__(request_id, error))
        return request_id

    async def accept(self, function: str = "f", payload: bytes = b"{}", **members: Any) -> str:
        """Put an event and see what it leads to now. It must be accepted."""
        request_id = self.put(function, payload, **members)
        await self.quiet()
        assert self.answers[request_id] is None
        return request_id

    async def quiet(self) -> None:
        """Until nothing is to be done at this moment."""
        while self.loop.soon or self.events.writing or not self.intake.is_idle:
            if self.events.writing:
                await asyncio.wait(self.events.writing)
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let time pass: every timer has its turn, at its time."""
        until = self.loop.now + seconds
        await self.quiet()
        at_once, last = 0, self.loop.now
        while (timer := self.loop.next_timer) is not None and timer.at <= until:
            self.loop.fire()
            await self.quiet()
            assert self.loop.timers_of(self.dispatcher) <= 1
            at_once = at_once + 1 if self.loop.now == last else 0
            last = self.loop.now
            assert at_once < 1000, "timers follow one another, and no time passes"
        self.loop.now = until

    # --- the database ---------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(query, values).fetchall()

    def state(self, request_id: str) -> str:
        ((state,),) = self.rows("SELECT state FROM events WHERE request_id = ?", request_id)
        return str(state)

    def tries(self, request_id: str) -> tuple[int, int]:
        """Attempts and backoffs."""
        (found,) = self.rows("SELECT attempts, backoffs FROM events WHERE request_id = ?", request_id)
        return tuple(found)  # type: ignore[return-value]

    def history(self, request_id: str) -> list[Line]:
        found = self.rows(
            "SELECT wall, kind, detail FROM event_history JOIN events ON id = event_id WHERE request_id = ? "
            "ORDER BY number",
            request_id,
        )
        return [Line(round(wall - WALL, 4), kind, json.loads(detail) if detail else {}) for wall, kind, detail in found]

    def kinds(self, request_id: str) -> list[str]:
        return [line.kind for line in self.history(request_id)]

    def condition(self, request_id: str) -> str:
        """Why an event has failed."""
        assert self.state(request_id) == "failed"
        return str(self.history(request_id)[-1].detail["condition"])

    def owed(self, request_id: str) -> list[tuple[str, str]]:
        return [
            tuple(row)
            for row in self.rows(
                "SELECT kind, target FROM deliveries JOIN events ON events.id = event_id WHERE request_id = ? "
                "ORDER BY deliveries.id",
                request_id,
            )
        ]

    def states(self) -> dict[str, int]:
        """How many events there are in which state."""
        return dict(self.rows("SELECT state, count(*) FROM events GROUP BY 1"))


def times(function: ScriptedFunction, request_id: str | None = None) -> list[float]:
    """When a function was run, in seconds since the start of the test."""
    return [round(run.at - START, 4) for run in function.runs if request_id is None or run.request_id == request_id]


def run(path: Path, scenario: Callable[[Lab], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run a scenario in a lab that has begun. Nothing unexpected may have been reported in the end."""

    async def inside() -> None:
        lab = Lab(path / "events.db", **options)
        await lab.begin()
        try:
            await scenario(lab)
        finally:
            await lab.quiet()
            await lab.dispatcher.close()
            lab.close_store()
        assert lab.reported == []

    asyncio.run(inside())
