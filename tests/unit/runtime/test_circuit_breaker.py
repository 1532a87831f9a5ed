"""The circuit breaker: its machine by table and by rules, and breakers around calls."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from venturekit.runtime.patterns import CircuitBreaker, CircuitOpenError, create_circuit_breaker
from venturekit.runtime.patterns.breakers import Breakers, breakers
from venturekit.runtime.patterns.circuit_breaker import BreakerMachine, BreakerState

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    ("steps", "state", "may"),
    [
        ("", CLOSED, True),
        ("FFFF", CLOSED, True),
        ("FFFFF", OPEN, False),
        ("FFFFSF", CLOSED, True),
        ("FFFFFS", OPEN, False),
        ("FFFFFF", OPEN, False),
        ("FFFFFw?", OPEN, False),
        ("FFFFFW?", HALF_OPEN, False),
        ("FFFFFW?S", CLOSED, True),
        ("FFFFFW?SFFFF", CLOSED, True),
        ("FFFFFW?SFFFFF", OPEN, False),
        ("FFFFFW?F", OPEN, False),
        ("FFFFFW?FW?S", CLOSED, True),
        ("FFFFFW?W?", HALF_OPEN, False),
        ("FFFFFW?W?S", CLOSED, True),
    ],
)
def test_the_machine(steps: str, state: BreakerState, may: bool) -> None:
    """F fails, S succeeds, w waits a moment less than the reset timeout, W all of it, ? asks."""
    machine, now = BreakerMachine(5, 30_000), 1_000_000.0
    for step in steps:
        if step == "F":
            machine.failed(now)
        elif step == "S":
            machine.succeeded()
        elif step in "wW":
            now += 30_000 - (step == "w")
        else:
            machine.may_call(now)
    assert (machine.state, machine.may_call(now)) == (state, may)


@pytest.mark.parametrize(("threshold", "timeout_ms"), [(0, 1), (-1, 1), (1, -1)])
def test_limits_that_make_no_breaker(threshold: int, timeout_ms: int) -> None:
    for make in (BreakerMachine, Breakers().configure):
        with pytest.raises(ValueError, match="at least"):
            make(threshold, timeout_ms)


class Breaking(RuleBasedStateMachine):
    """Against what the words of the seed say: so many failures in a row, so long a time, one probe."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold, self.timeout_ms = 3, 100
        self.machine = BreakerMachine(self.threshold, self.timeout_ms)
        self.now = 0.0
        self.in_a_row = 0
        self.blocked_since: float | None = None
        self.probing = False

    @rule(milliseconds=st.sampled_from([1, 50, 99, 100, 250]))
    def wait(self, milliseconds: int) -> None:
        self.now += milliseconds

    @rule(succeeds=st.booleans(), told=st.booleans())
    def call(self, succeeds: bool, told: bool) -> None:
        allowed = self.machine.may_call(self.now)
        expected = self.blocked_since is None or self.now - self.blocked_since >= self.timeout_ms
        assert allowed == expected
        if not allowed:
            return
        if self.blocked_since is not None:
            self.probing, self.blocked_since = True, self.now
        if not told:
            return
        if succeeds:
            self.machine.succeeded()
            self.in_a_row, self.blocked_since, self.probing = 0, None, False
        else:
            self.machine.failed(self.now)
            self.in_a_row += 1
            if self.probing or self.in_a_row >= self.threshold:
                self.in_a_row, self.blocked_since, self.probing = 0, self.now, False

    @precondition(lambda self: self.blocked_since is not None and not self.probing)
    @rule()
    def a_slow_call_succeeds_late(self) -> None:
        self.machine.succeeded()

    @invariant()
    def the_state_says_what_is_done(self) -> None:
        expected = CLOSED if self.blocked_since is None else HALF_OPEN if self.probing else OPEN
        assert self.machine.state is expected


Breaking.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestBreaking = Breaking.TestCase


# --- around calls ---------------------------------------------------------------------------------------------------


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def failing() -> Any:
    raise ConnectionError("down")


@pytest.mark.parametrize("waits", [False, True])
def test_a_breaker_around_any_call(waits: bool) -> None:
    clock = Clock()
    breaker = create_circuit_breaker(failure_threshold=2, reset_timeout_ms=1000, clock=clock)

    def call(function: Any, *fallback: Any) -> Any:
        if not waits:
            return breaker.call(function, *fallback)

        async def asynchronous() -> Any:
            return function()

        return asyncio.run(breaker.acall(asynchronous, *fallback))

    assert call(lambda: 1) == 1
    with pytest.raises(ConnectionError):
        call(failing)
    assert call(failing, "fallback") == "fallback"
    assert breaker.state is OPEN
    assert call(lambda: 1, None) is None
    with pytest.raises(CircuitOpenError, match="failed too often"):
        call(lambda: 1)
    clock.seconds = 1.0
    assert call(lambda: 2) == 2
    assert breaker.state is CLOSED


def test_what_does_not_count_is_an_answer() -> None:
    breaker = CircuitBreaker(failure_threshold=2, is_failure=lambda error: isinstance(error, ConnectionError))

    def refuse() -> Any:
        raise KeyError("no such thing")

    for function in (failing, refuse, failing, refuse, failing):
        with pytest.raises((ConnectionError, KeyError)):
            breaker.call(function)
    assert breaker.state is CLOSED
    with pytest.raises(KeyError):
        breaker.call(refuse, "fallback")


def test_of_many_threads_one_is_the_probe() -> None:
    clock = Clock()
    breaker = CircuitBreaker(failure_threshold=1, reset_timeout_ms=1000, clock=clock)
    breaker.failed()
    clock.seconds = 5.0
    together = threading.Barrier(8, timeout=20)
    allowed: list[bool] = []

    def ask() -> None:
        together.wait()
        allowed.append(breaker.may_call())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(allowed) == [False] * 7 + [True]


def test_every_target_has_one_and_there_is_an_end_of_them() -> None:
    known = Breakers()
    first = known.of("a")
    assert known.of("a") is first
    assert known.of("b") is not first
    for number in range(10_000):
        known.of(str(number))
    assert known.of("a") is not first
    assert breakers() is breakers()
