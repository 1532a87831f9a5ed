"""The environments of a function version that have several invocations at once each, and which kind a version has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment
from venturekit.service.environments.pool import UNSTARTED, Pool, environments_to_start

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.ports import EnvironmentSpec, Invocation
    from venturekit.service.environments.sandbox import Sandbox

REPEATED_ID: Final = "an invocation with this request id is running: give each one of its own, or none"


def pool_of(host: EnvironmentHost, spec: EnvironmentSpec) -> Pool:
    """A pool for the environments of a version."""
    return MultiConcurrentPool(host, spec) if spec.max_concurrency else Pool(host, spec)


class MultiConcurrentPool(Pool):
    """As its parent; in ``idle`` are the environments that can have one more invocation, most of them busy."""

    __slots__ = ()

    environments: set[MultiConcurrentEnvironment]  # type: ignore[assignment]
    idle: list[MultiConcurrentEnvironment]  # type: ignore[assignment]

    def __init__(self, host: EnvironmentHost, spec: EnvironmentSpec) -> None:
        super().__init__(host, spec)
        # All of them are of one kind: those that are kept initialised as well.
        self.provisioned_spec = spec

    def make(self, number: int, sandbox: Sandbox, *, suppressed: bool, provisioned: bool) -> Environment:
        """Another environment, which has no process yet."""
        environment = MultiConcurrentEnvironment(self, number, sandbox, provisioned=provisioned)
        self.environments.add(environment)
        return environment

    # --- from the invocation path -------------------------------------------------------------------------------

    def submit(self, invocation: Invocation) -> None:
        """Run an invocation in an environment that can have one more, or as soon as there is one."""
        while self.idle:
            environment = self.idle[-1]
            if environment.listens():
                _hand_over(environment, invocation)
                if not environment.is_free:
                    self._take_out(environment)
                return
            self._take_out(environment)
        super().submit(invocation)

    @property
    def room(self) -> int:
        """How many more invocations of the event queue would find an environment soon; 0 or less: not now."""
        free = sum(environment.places for environment in self.idle)
        return free + self.responded + UNSTARTED * self.spec.max_concurrency - len(self.waiting)

    # --- from its environments ----------------------------------------------------------------------------------

    def initialised(self, environment: Environment) -> None:
        """A worker of an environment is the first to have finished its init phase; the others follow."""
        assert isinstance(environment, MultiConcurrentEnvironment)
        self._expect(environment, self.spec.max_concurrency - 1)
        super().initialised(environment)

    def called_next(self, environment: Environment) -> None:
        """A worker asks for its next event."""
        assert isinstance(environment, MultiConcurrentEnvironment)
        if environment.returning:
            self._expect(environment, -1)
        self._ready(environment)

    def lost_idle(self, environment: Environment) -> None:
        """The last connection on which an environment waited is gone."""
        self._take_out(environment)

    def losing(self, environment: Environment) -> None:
        """An environment ends, or is about to: it gets no invocation any more. What it has it may still answer."""
        assert isinstance(environment, MultiConcurrentEnvironment)
        environment.is_doomed = True
        self._take_out(environment)

    def left(self, environment: Environment, state: State) -> None:
        """An environment is lost to the pool; ``state`` is the one it was in."""
        assert isinstance(environment, MultiConcurrentEnvironment)
        self._expect(environment, -environment.returning)
        super().left(environment, state)

    def seat_answered(self, environment: MultiConcurrentEnvironment) -> None:
        """A worker has answered, and is about to ask for its next event."""
        self._expect(environment, 1)

    def seat_over(self, environment: MultiConcurrentEnvironment) -> None:
        """An environment has one invocation less."""
        if environment.state is State.IDLE:
            self._ready(environment)

    def first_waiting(self) -> list[Invocation]:
        """The invocations that have waited longest, as many as one environment has, taken out of the queue."""
        count = min(self.spec.max_concurrency, len(self.waiting))
        return [self.waiting.popleft() for _ in range(count)]

    # --- inside -------------------------------------------------------------------------------------------------

    def _ready(self, environment: Environment) -> None:
        assert isinstance(environment, MultiConcurrentEnvironment)
        while self.waiting and environment.is_free:
            _hand_over(environment, self.waiting.popleft())
        if environment.is_at_rest:
            if self._is_unwanted(environment):
                environment.stop()
                self.host.settle_retired(self)
                return
            environment.idle_since = self.host.clock.now
        if environment.is_free and environment not in self.idle:
            self.idle.append(environment)

    def _expect(self, environment: MultiConcurrentEnvironment, workers: int) -> None:
        environment.returning += workers
        self.responded += workers

    def _grace_over(self) -> None:
        # A runtime may have fewer workers than it takes invocations: those that have not come may never do so.
        for environment in self.environments:
            self._expect(environment, -environment.returning)
        super()._grace_over()

    def _take_out(self, environment: Environment) -> None:
        if environment in self.idle:
            self.idle.remove(environment)

    def _missing(self, waiting: int, expected_back: int) -> int:
        each = self.spec.max_concurrency
        missing = -(-environments_to_start(waiting, self.starting * each, expected_back) // each)
        room = self._room_for_environments
        return missing if room is None else max(min(missing, room), 0)

    @property
    def _room_for_environments(self) -> int | None:
        """How many more may be started, None for any number."""
        most = self.host.most_environments.get((self.spec.function_arn, self.spec.function_version))
        if most is None:
            return None
        initialised = sum(one.state is State.IDLE for one in self.environments)
        return most - initialised - self.starting - (0 if self.provision is None else self.provision.starting)

    @property
    def held_back(self) -> int:
        """All that are to be kept initialised, as long as there are as many environments as there may be."""
        room = self._room_for_environments
        return sys.maxsize if room is not None and room <= 0 else 0

    def adopt(self) -> None:
        """All are of one kind, and those that invocations have started are initialised already."""
        provision = self.provision
        assert provision is not None
        for one in self.environments:
            if provision.ready + provision.starting >= provision.wanted:
                return
            if one.state is State.IDLE and not one.provisioned and not one.is_doomed:
                one.provisioned = True
                provision.adopted()

    @property
    def needs_start(self) -> bool:
        """Whether invocations wait for all environments that are starting or are going to be."""
        return len(self.waiting) > (self.starting - 1) * self.spec.max_concurrency

    def _rested(self, since: float) -> list[Environment]:
        # One whose workers all hang in invocations that ran out of time is in no list of the pool, and of no use.
        rested = [each for each in self.environments if each.is_at_rest and each.idle_since < since]
        return [each for each in rested if not each.provisioned or each.hangs]


def _hand_over(environment: MultiConcurrentEnvironment, invocation: Invocation) -> None:
    # Callers may choose request ids, and the runtime answers by them: there can be only one of each.
    if invocation.request_id in environment.running:
        invocation.reject(REPEATED_ID)
    else:
        environment.deliver(invocation)
