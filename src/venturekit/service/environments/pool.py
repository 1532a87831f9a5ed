"""The execution environments of one function version: who serves the next invocation, and when another one starts."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING

from venturekit.service.environments.environment import Environment
from venturekit.service.environments.lifecycle import State

if TYPE_CHECKING:
    import asyncio

    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.ports import EnvironmentSpec, Invocation
    from venturekit.service.environments.provision import Provision
    from venturekit.service.environments.sandbox import Sandbox

SHUTTING_DOWN = "the service is shutting down"
GRACE_SECONDS = 0.1
"""How long an environment that has answered is trusted to ask for its next event before another one is started.

A client that calls again the moment it has its answer is faster than the runtime's next request: without this it
would find no idle environment, and every function would soon have two.
"""
WAIT_LIMIT_SECONDS = 60.0
"""The longest an invocation waits for an environment while others are being started, beyond the function's timeout."""


UNSTARTED = 2
"""For how many events of the queue an environment may be started at once: a flood must not take all the starts."""


def environments_to_start(waiting: int, starting: int, expected_back: int) -> int:
    """How many environments to start for ``waiting`` invocations. Pure."""
    return max(waiting - starting - expected_back, 0)


PROVISIONED = "provisioned-concurrency"
_IS_PROVISIONED = attrgetter("provisioned")


class Pool:
    """Environments that are interchangeable: one code, one configuration. Idle ones are reused last in, first out.

    Those that are kept initialised come last in ``idle``, and so are taken first.
    """

    __slots__ = (
        "environments",
        "grace",
        "host",
        "idle",
        "provision",
        "provisioned_spec",
        "resetting",
        "responded",
        "retired",
        "sandboxes",
        "spec",
        "starting",
        "waiting",
    )

    def __init__(self, host: EnvironmentHost, spec: EnvironmentSpec) -> None:
        self.host = host
        self.spec = spec
        self.environments: set[Environment] = set()
        self.idle: list[Environment] = []
        self.waiting: deque[Invocation] = deque()
        # With the coarse time at which each was kept.
        self.sandboxes: list[tuple[float, Sandbox]] = []
        self.starting = 0
        self.responded = 0
        # Environments whose extensions are still shutting down: the next one gets their sandbox, and their ports.
        self.resetting = 0
        self.retired = False
        self.grace: asyncio.TimerHandle | None = None
        # None as long as no environments were to be kept initialised.
        self.provision: Provision | None = None
        self.provisioned_spec = replace(spec, initialization_type=PROVISIONED)

    # --- from the invocation path -------------------------------------------------------------------------------

    def submit(self, invocation: Invocation) -> None:
        """Run an invocation in an idle environment, or as soon as there is one."""
        while self.idle:
            environment = self.idle[-1]
            if environment.listens():
                self.idle.pop()
                environment.deliver(invocation)
                return
            environment.forsake()
        if self.host.closing:
            invocation.reject(SHUTTING_DOWN)
            return
        invocation.enqueued = self.host.monotonic()
        self.waiting.append(invocation)
        self.scale()

    @property
    def room(self) -> int:
        """How many more invocations of the event queue would find an environment soon; 0 or less: not now."""
        return len(self.idle) + self.responded + UNSTARTED - len(self.waiting)

    def retire(self) -> None:
        """The code or configuration is outdated: idle environments go now, the others when they have answered."""
        self.retired = True
        self.host.provisioner.want(self, 0)
        for environment in tuple(self.environments):
            if environment.is_at_rest:
                environment.stop()
        self.host.settle_retired(self)

    def stop(self) -> None:
        """Stop every environment at once; what they were doing fails."""
        self.retired = True
        if self.grace is not None:
            self.grace.cancel()
            self.grace = None
        for environment in tuple(self.environments):
            environment.stop()
        while self.waiting:
            self.waiting.popleft().reject(SHUTTING_DOWN)
        self.host.settle_retired(self)

    # --- from its environments ----------------------------------------------------------------------------------

    def initialised(self, environment: Environment) -> None:
        """An environment has finished its init phase."""
        self.host.watch.rest(environment)
        if environment.provisioned:
            assert self.provision is not None
            self.host.provisioner.initialised(self.provision)
            self._ready(environment)
            return
        self.starting -= 1
        self._ready(environment)
        # Last: whether the next start in line is still needed depends on who waits now.
        self._start_finished(environment)

    def called_next(self, environment: Environment) -> None:
        """An environment that had answered asks for its next event."""
        self.responded -= 1
        self.host.watch.rest(environment)
        self._ready(environment)

    def lost_idle(self, environment: Environment) -> None:
        """The connection on which an idle environment waited is gone."""
        self.idle.remove(environment)
        self.responded += 1

    def losing(self, environment: Environment) -> None:
        """The processes of an environment are about to be killed: it gets no invocation any more."""
        if environment.is_at_rest:
            environment.stop()

    def left(self, environment: Environment, state: State) -> None:
        """An environment is lost to the pool; ``state`` is the one it was in."""
        self.environments.discard(environment)
        self.host.watch.rest(environment)
        if state is State.IDLE:
            self._take_out(environment)
        elif state in (State.RESPONDED, State.HELD):
            self.responded -= 1
        elif state in (State.STARTING, State.INIT_HELD) and not environment.provisioned:
            self.starting -= 1
            self._start_finished(environment)
        self.scale()
        if environment.provisioned:
            assert self.provision is not None
            if state in (State.STARTING, State.INIT_HELD):
                self.host.provisioner.start_ended(self.provision)
            elif state is not State.INIT_FAILED:
                # That one was never initialised, and has been counted when its init failed.
                self.host.provisioner.lost(self.provision)

    def first_waiting(self) -> list[Invocation]:
        """The invocation that has waited longest, taken out of the queue: an init that failed is its outcome."""
        return [self.waiting.popleft()] if self.waiting else []

    def make(self, number: int, sandbox: Sandbox, *, suppressed: bool, provisioned: bool) -> Environment:
        """Another environment, which has no process yet."""
        environment = Environment(self, number, sandbox, suppressed_init=suppressed, provisioned=provisioned)
        self.environments.add(environment)
        return environment

    def initialise_again(self, invocation: Invocation) -> None:
        """The init phase ran out of its ten seconds: it is run once more, within the function's own timeout."""
        self.waiting.appendleft(invocation)
        self.starting += 1
        self.host.start(self, suppressed=True)

    def adopt(self) -> None:
        """Keep environments initialised that invocations have started, where more are to be kept than there are."""

    @property
    def held_back(self) -> int:
        """How many that are to be kept initialised may not start yet: extensions that shut down may hold ports."""
        return self.resetting

    def drop_surplus(self) -> None:
        """Let go of environments that are not to be kept initialised any more; busy ones go when they have answered."""
        provision = self.provision
        if provision is None or not provision.surplus:
            return
        starting = [each for each in self.environments if each.state in (State.STARTING, State.INIT_HELD)]
        answered = [each for each in self.environments if each.state in (State.RESPONDED, State.HELD)]
        resting = [each for each in (*self.idle, *answered) if each.is_at_rest]
        kept = [each for each in (*starting, *resting) if each.provisioned]
        for environment in kept[: provision.surplus]:
            environment.stop()

    # --- inside -------------------------------------------------------------------------------------------------

    def _take_out(self, environment: Environment) -> None:
        self.idle.remove(environment)

    def _start_finished(self, environment: Environment) -> None:
        if not environment.suppressed_init:
            self.host.start_finished()

    def _ready(self, environment: Environment) -> None:
        if self.waiting:
            environment.deliver(self.waiting.popleft())
        elif self._is_unwanted(environment):
            # Its state is IDLE already: it leaves as if it had been in the list.
            self.idle.append(environment)
            environment.stop()
            self.host.settle_retired(self)
        else:
            environment.idle_since = self.host.clock.now
            if environment.provisioned or self.provision is None:
                self.idle.append(environment)
            else:
                self.idle.insert(bisect_left(self.idle, True, key=_IS_PROVISIONED), environment)

    @property
    def needs_start(self) -> bool:
        """Whether invocations wait for all environments that are starting or are going to be."""
        return len(self.waiting) >= self.starting

    def _is_unwanted(self, environment: Environment) -> bool:
        surplus = environment.provisioned and self.provision is not None and self.provision.surplus
        return self.retired or bool(surplus)

    def _missing(self, waiting: int, expected_back: int) -> int:
        return environments_to_start(waiting, self.starting + self.resetting, expected_back)

    def scale(self) -> None:
        """Start environments for the invocations that wait and that no other environment will serve soon."""
        if not self.waiting or self.host.closing:
            return
        for _ in range(self._missing(len(self.waiting), self.responded)):
            self.starting += 1
            self.host.start(self)
        if self.responded and self.grace is None:
            self.grace = self.host.loop.call_later(GRACE_SECONDS, self._grace_over)

    def _grace_over(self) -> None:
        self.grace = None
        now = self.host.monotonic()
        overdue = sum(1 for invocation in self.waiting if now - invocation.enqueued >= GRACE_SECONDS / 2)
        for _ in range(self._missing(overdue, 0)):
            self.starting += 1
            self.host.start(self)
        self.scale()

    def keep_sandbox(self, sandbox: Sandbox) -> None:
        """An environment was reset: its scratch directory and log stream go on with the next one that starts."""
        self.sandboxes.append((self.host.clock.now, sandbox))

    def reset_over(self, sandbox: Sandbox) -> None:
        """The last process of an environment that is being reset has ended."""
        self.resetting -= 1
        self.keep_sandbox(sandbox)
        self.host.provisioner.fill()
        self.scale()

    def drop_sandboxes(self) -> None:
        """Delete the sandboxes that were kept."""
        sandboxes, self.sandboxes = self.sandboxes, []
        for _, sandbox in sandboxes:
            self.host.remove_sandbox(sandbox)

    @property
    def is_spent(self) -> bool:
        """Whether it is of a tenant of whom there is nothing: there may be any number of those."""
        return bool(self.spec.tenant_id) and not (
            self.environments or self.waiting or self.starting or self.resetting or self.sandboxes
        )

    def take_sandbox(self) -> Sandbox | None:
        """The sandbox that was kept last, if any."""
        return self.sandboxes.pop()[1] if self.sandboxes else None

    def _rested(self, since: float) -> list[Environment]:
        """The environments that have had nothing to do since then, and are not to be kept initialised."""
        idle = self.idle
        if self.provision is not None:
            idle = idle[: bisect_left(idle, True, key=_IS_PROVISIONED)]
        return [each for each in idle if each.idle_since < since]

    def sweep(self, now: float, idle_seconds: float) -> None:
        """Let go of environments and sandboxes that rest for too long, and of invocations that waited for too long."""
        for environment in self._rested(now - idle_seconds):
            environment.stop()
        while self.sandboxes and now - self.sandboxes[0][0] > idle_seconds:
            self.host.remove_sandbox(self.sandboxes.pop(0)[1])
        waiting = self.waiting
        # The init phase that is run again may last as long as the function itself.
        limit_seconds = WAIT_LIMIT_SECONDS + self.spec.timeout_ms / 1000
        while waiting and self.host.monotonic() - waiting[0].enqueued > limit_seconds:
            waiting.popleft().reject("no execution environment could be started in time")
        if self.retired or self.spec.tenant_id:
            self.host.settle_retired(self)
