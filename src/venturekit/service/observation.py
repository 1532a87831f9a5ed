"""What can be seen of the service: the functions' logs as CloudWatch Logs has them, and its own figures."""

from __future__ import annotations

import asyncio
import os
import platform
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import venturekit
from venturekit.service.api.json_edge import JsonEdge
from venturekit.service.api.model import logs_model
from venturekit.service.cloudwatch.reading import SERVED, LogReading
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.log_view import LogView
from venturekit.service.environments.statistics import BOUNDS_MS, FunctionStatistics
from venturekit.service.figures.document import document
from venturekit.service.figures.exposition import exposition
from venturekit.service.figures.figures import EnvironmentFigures, FunctionFigures, ServiceFigures, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.access_control import Caller
    from venturekit.service.accounts import Accounts
    from venturekit.service.asynchronous import AsynchronousInvocation
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.logs import LogStore

PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
FRESH_SECONDS: Final = 0.2
"""How old figures may be that somebody gets: whoever asks often does not slow down invocations."""
AT_ONCE_SECONDS: Final = 0.0005
"""For how long figures are collected and written before the loop has time for others: invocations wait so long."""
SHOWN_STATES: Final = {
    State.STARTING: "starting",
    State.INIT_HELD: "starting",
    State.IDLE: "idle",
    State.INVOKE: "busy",
    State.RESPONDED: "busy",
    State.HELD: "busy",
}
"""What the states of an environment are called here; the others are ``stopping``."""
Queued = tuple[str, str, int, float]
"""Account, function, how many events wait, and the age of the oldest in seconds."""


class Observation:
    """The logs and the figures of all accounts.

    ``connections()`` tells how many connections of clients are open; ``wall`` tells epoch seconds.
    """

    def __init__(
        self,
        *,
        region: str,
        accounts: Accounts,
        logs: LogStore,
        host: EnvironmentHost,
        events: AsynchronousInvocation,
        connections: Callable[[], int],
        wall: Callable[[], float],
        report: Callable[[BaseException], None],
    ) -> None:
        self._accounts = accounts
        self._host = host
        self._events = events
        self._connections = connections
        self._started = wall()
        self._statistics: dict[str, FunctionStatistics] = {}
        self._figures: ServiceFigures | None = None
        self._collecting = asyncio.Lock()
        self.logs_edge = JsonEdge(logs_model, prefix="Logs_20140328", served=SERVED, page="docs/logs.md", report=report)
        self.log_reading = LogReading(LogView(logs, region=region, exists=self._exists), region=region)

    def statistics_of(self, function_arn: str) -> FunctionStatistics:
        """What counts the invocations of a function."""
        return self._statistics.setdefault(function_arn, FunctionStatistics())

    def throttled(self, account_id: str, function_name: str) -> None:
        """An invocation was refused with 429."""
        self.statistics_of(self._accounts.get(account_id).functions.arn(function_name)).throttles += 1

    def function_deleted(self, function_arn: str) -> None:
        """The function is gone, and what was counted of it; one of the same name begins anew."""
        self._statistics.pop(function_arn, None)

    async def exposition(self, caller: Caller) -> str:
        """The figures that a caller may see, in the text format of Prometheus. Raises ApiError."""
        pieces: list[str] = []
        pause = Pause(self._host.monotonic)
        for piece in exposition(await self._shown(caller), BOUNDS_MS):
            pieces.append(piece)
            await pause()
        return "".join(pieces)

    async def document(self, caller: Caller) -> dict[str, Any]:
        """The figures that a caller may see, as JSON. Raises ApiError."""
        return document(await self._shown(caller), BOUNDS_MS)

    async def _shown(self, caller: Caller) -> ServiceFigures:
        """All figures for whoever may do all in the service's own account, else those of the caller's account."""
        caller.authorize_metrics()
        async with self._collecting:
            known = self._figures
            if known is None or self._host.monotonic() - known.at > FRESH_SECONDS:
                known = self._figures = await self._collect(await self._events.waiting())
        if caller.principal.statements is None and caller.account_id == self._accounts.own.account_id:
            functions, environments = known.functions, known.environments
        else:
            functions = [each for each in known.functions if each.account_id == caller.account_id]
            environments = [each for each in known.environments if each.account_id == caller.account_id]
        return _with(known, bounded(functions), environments)

    async def _collect(self, queued: Sequence[Queued]) -> ServiceFigures:
        pause = Pause(self._host.monotonic)
        functions = await self._collect_functions(pause)
        environments = []
        for environment in tuple(self._host.environments.values()):
            environments.append(shown := _environment(environment))
            figures = functions.get((shown.account_id, shown.function_name))
            if figures is not None:
                figures.environments[shown.state] += 1
                figures.memory_bytes += shown.memory_bytes
            await pause()
        for pool in self._host.pools.values():
            figures = functions.get((pool.spec.function_arn.split(":")[4], pool.spec.function_name))
            if figures is not None:
                figures.waiting += len(pool.waiting)
        for account_id, name, count, age_seconds in queued:
            # Events may wait for a function that is gone: they fail one after the other.
            key = (account_id, name)
            figures = functions.setdefault(key, FunctionFigures(account_id=account_id, name=name))
            figures.queued_events, figures.oldest_event_seconds = count, age_seconds
        return ServiceFigures(
            at=self._host.monotonic(),
            version=venturekit.__version__,
            python=platform.python_version(),
            started=self._started,
            cpu_seconds=time.process_time(),
            memory_bytes=_resident_bytes(),
            open_files=len(os.listdir("/proc/self/fd")),
            functions=list(functions.values()),
            environments=environments,
            connections=self._connections(),
            owed_deliveries=self._events.outbox.owed,
            outcomes=dict(self._events.dispatcher.outcomes),
        )

    async def _collect_functions(self, pause: Pause) -> dict[tuple[str, str], FunctionFigures]:
        """What is counted of each function, by account and name."""
        found: dict[tuple[str, str], FunctionFigures] = {}
        for account in tuple(self._accounts):
            account_id, arn = account.account_id, account.functions.arn
            for function in tuple(account.functions.functions()):
                name = function.name
                figures = found[account_id, name] = FunctionFigures(account_id=account_id, name=name)
                if (counted := self._statistics.get(arn(name))) is not None:
                    _copy(counted, figures)
                await pause()
        return found

    def _exists(self, account_id: str, name: str) -> bool:
        account = self._accounts.find(account_id)
        return account is not None and name in account.functions


class Pause:
    """Gives the loop to others whenever somebody has worked for :data:`AT_ONCE_SECONDS`."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._until = monotonic() + AT_ONCE_SECONDS

    async def __call__(self) -> None:
        """Wait, if it is time to."""
        if self._monotonic() >= self._until:
            await asyncio.sleep(0)
            self._until = self._monotonic() + AT_ONCE_SECONDS


def _copy(counted: FunctionStatistics, figures: FunctionFigures) -> None:
    figures.invocations, figures.errors, figures.throttles = counted.invocations, counted.errors, counted.throttles
    figures.cold_starts, figures.init_ms = counted.cold_starts, counted.init_ms
    figures.duration_ms, figures.classes = counted.duration_ms, list(counted.classes)


def _with(
    figures: ServiceFigures, functions: Sequence[FunctionFigures], environments: Sequence[EnvironmentFigures]
) -> ServiceFigures:
    return replace(figures, functions=functions, environments=environments)


def _environment(environment: Environment) -> EnvironmentFigures:
    spec = environment.spec
    return EnvironmentFigures(
        number=environment.number,
        account_id=spec.function_arn.split(":")[4],
        function_name=spec.function_name,
        version=spec.function_version,
        state=SHOWN_STATES.get(environment.state, "stopping"),
        memory_bytes=0 if environment.memory is None else environment.memory.sample_main(),
        memory_limit_bytes=spec.memory_size_mb * 1024 * 1024,
        pid=environment.pid,
    )


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * PAGE_BYTES
