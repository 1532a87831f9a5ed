"""What can be seen of the service: the functions' logs as CloudWatch Logs has them, and its own figures."""

from __future__ import annotations

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
        return exposition(await self._shown(caller), BOUNDS_MS)

    async def document(self, caller: Caller) -> dict[str, Any]:
        """The figures that a caller may see, as JSON. Raises ApiError."""
        return document(await self._shown(caller), BOUNDS_MS)

    async def _shown(self, caller: Caller) -> ServiceFigures:
        """All figures for whoever may do all in the service's own account, else those of the caller's account."""
        caller.authorize_metrics()
        known = self._figures
        if known is None or self._host.monotonic() - known.at > FRESH_SECONDS:
            known = self._figures = self._collect(await self._events.waiting())
        if caller.principal.statements is None and caller.account_id == self._accounts.own.account_id:
            functions, environments = known.functions, known.environments
        else:
            functions = [each for each in known.functions if each.account_id == caller.account_id]
            environments = [each for each in known.environments if each.account_id == caller.account_id]
        return _with(known, bounded(functions), environments)

    def _collect(self, queued: Sequence[Queued]) -> ServiceFigures:
        functions = {
            (account.account_id, function.name): FunctionFigures(account_id=account.account_id, name=function.name)
            for account in self._accounts
            for function in account.functions.functions()
        }
        for arn, statistics in self._statistics.items():
            _, _, _, _, account_id, _, name = arn.split(":")
            figures = functions.get((account_id, name))
            if figures is not None:
                for field in ("invocations", "errors", "throttles", "cold_starts", "init_ms", "duration_ms"):
                    setattr(figures, field, getattr(statistics, field))
                figures.classes = list(statistics.classes)
        environments = [_environment(each) for each in tuple(self._host.environments.values())]
        for environment in environments:
            figures = functions.get((environment.account_id, environment.function_name))
            if figures is not None:
                figures.environments[environment.state] += 1
                figures.memory_bytes += environment.memory_bytes
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

    def _exists(self, account_id: str, name: str) -> bool:
        account = self._accounts.find(account_id)
        return account is not None and name in account.functions


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
