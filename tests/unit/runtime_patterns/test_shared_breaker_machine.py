"""Shared breakers by rules: several environments, one store, crashes between any two operations, clocks that jump."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.runtime_patterns.idempotency_lab import Clock, Operation, Stepped
from venturekit.runtime.patterns.circuit_breaker import BreakerState
from venturekit.runtime.patterns.shared_breakers import SharedCircuitBreaker, transition_of

THRESHOLD, TIMEOUT_MS = 2, 10_000
WHICH = st.integers(0, 2)
OUTCOMES = st.sampled_from(["done", "done", "done", "down", "lost"])


class Sharing(RuleBasedStateMachine):
    """While the store works there is one probe in a reset timeout, and all come to think what the store says."""

    @initialize()
    def begin(self) -> None:
        self.clock, self.wall = Clock(0.0), Clock()
        self.store = Stepped()
        self.breakers = [self.made() for _ in range(3)]
        self.flows: list[tuple[SharedCircuitBreaker, str, Any, list[Any]]] = []
        self.troubled = False
        self.probes: list[float] = []

    def made(self) -> SharedCircuitBreaker:
        return SharedCircuitBreaker(
            name="target",
            store=self.store,  # type: ignore[arg-type]
            failure_threshold=THRESHOLD,
            reset_timeout_ms=TIMEOUT_MS,
            clock=self.clock,
            wall_clock=self.wall,
        )

    def start(self, breaker: SharedCircuitBreaker, what: str) -> None:
        flow = getattr(breaker, f"_{what}")()
        self.flows.append((breaker, what, flow, [None]))
        self.move(self.flows[-1], lambda: flow.send(None))

    def move(self, one: Any, step: Any) -> None:
        breaker, what, _, asked = one
        try:
            asked[0] = step()
            assert isinstance(asked[0], Operation)
        except StopIteration as done:
            self.flows.remove(one)
            if what == "may_call" and done.value and breaker.state is BreakerState.HALF_OPEN:
                self.probed(breaker)

    def probed(self, breaker: SharedCircuitBreaker) -> None:
        assert breaker._machine.is_probe
        if not self.troubled:
            told = self.store.store.read("target", self.wall.now)
            assert told.value["owner"] == breaker._owner

    @rule(which=WHICH, what=st.sampled_from(["may_call", "may_call", "failed", "failed", "succeeded"]))
    def begins(self, which: int, what: str) -> None:
        if len(self.flows) < 5:
            self.start(self.breakers[which], what)

    @rule(which=WHICH, what=st.sampled_from(["may_call", "failed", "failed", "succeeded"]))
    def at_once(self, which: int, what: str) -> None:
        """From beginning to end, with a store that works."""
        before = len(self.flows)
        self.start(self.breakers[which], what)
        for _ in range(20):
            if len(self.flows) <= before:
                return
            self.move(self.flows[-1], lambda: self.flows[-1][2].send(self.flows[-1][3][0].run()))
        raise AssertionError("an operation of a breaker has no end")

    @precondition(lambda self: self.flows)
    @rule(which=st.integers(0, 4), outcome=OUTCOMES)
    def the_store_answers(self, which: int, outcome: str) -> None:
        one = self.flows[which % len(self.flows)]
        if outcome == "down":
            self.troubled = True
            self.move(one, lambda: one[2].throw(ConnectionError("down")))
            return
        given = one[3][0].run()
        if outcome == "lost":
            self.troubled = True
            self.move(one, lambda: one[2].throw(ConnectionError("lost")))
        else:
            self.move(one, lambda: one[2].send(given))

    @rule(which=WHICH)
    def crashes(self, which: int) -> None:
        gone = self.breakers[which]
        for one in [one for one in self.flows if one[0] is gone]:
            one[2].close()
            self.flows.remove(one)
        self.breakers[which] = self.made()

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 10.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.wall.now += seconds

    @rule(seconds=st.sampled_from([-3600.0, -1.0, 1.0, 3600.0]))
    def the_wall_clock_jumps(self, seconds: float) -> None:
        self.wall.now += seconds

    @invariant()
    def at_most_one_environment_has_the_probe_that_the_store_knows(self) -> None:
        if getattr(self, "troubled", True):
            return
        told = transition_of(self.store.store.read("target", self.wall.now))
        holders = [breaker for breaker in self.breakers if breaker._machine.is_probe and breaker._machine.seen == told]
        assert len(holders) <= 1

    @invariant()
    def nobody_waits_for_longer_than_the_timeout(self) -> None:
        for breaker in getattr(self, "breakers", []):
            assert breaker.inspect().retry_in_ms <= TIMEOUT_MS

    def teardown(self) -> None:
        """Left alone, with a store that works, all agree with it, and one of them gets through to a healthy target."""
        if not hasattr(self, "flows"):
            return
        for one in list(self.flows):
            one[2].close()
        self.flows.clear()
        for _ in range(4):
            self.clock.now += 61
            self.wall.now += 61
            for breaker in self.breakers:
                if self.finished(breaker, "may_call"):
                    self.finished(breaker, "succeeded")
        assert {breaker.state for breaker in self.breakers} == {BreakerState.CLOSED}

    def finished(self, breaker: SharedCircuitBreaker, what: str) -> Any:
        flow = getattr(breaker, f"_{what}")()
        try:
            asked = flow.send(None)
            while True:
                asked = flow.send(asked.run())
        except StopIteration as done:
            return done.value


Sharing.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestSharing = Sharing.TestCase
