"""Idempotent calls by rules: several environments, one store, crashes between any two operations, clocks that jump."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.runtime_patterns.idempotency_lab import Clock, Stepped
from venturekit.runtime.patterns.idempotency_errors import IdempotencyKeyReusedError, IdempotencyPendingError
from venturekit.runtime.patterns.idempotency_flow import GUARD_SECONDS, Call, Idempotency

RUN, PAUSE = object(), object()
LEASE_MS = 10_000
TTL_SECONDS = 100
WHICH = st.integers(0, 3)


class Environment:
    """One call in flight: where it stands, and what the store is to do for it next."""

    def __init__(self, number: int, rules: Idempotency, payload: str) -> None:
        self.number = number
        self.payload = payload
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_over = False
        self.replayed = False
        self.runs_until: float | None = None
        call = Call("key", payload, f"owner-{number}", lambda: LEASE_MS)
        self.flow = rules.around(
            call,
            lambda: RUN,
            dump=lambda result: result,
            replay=self._replay,
            pause=lambda seconds: PAUSE,
        )
        self.asked: Any = None
        self._step(lambda: self.flow.send(None))

    def _replay(self, kept: Any) -> Any:
        self.replayed = True
        return kept

    def go(self, given: Any) -> None:
        self._step(lambda: self.flow.send(given))

    def fail(self, error: BaseException) -> None:
        self._step(lambda: self.flow.throw(error))

    def _step(self, move: Any) -> None:
        try:
            self.asked = move()
        except StopIteration as done:
            self.is_over, self.result = True, done.value
        except BaseException as error:
            self.is_over, self.error = True, error


class Calling(RuleBasedStateMachine):
    """Whoever is told a result is told one that was produced; nothing that was kept is ever replaced while it lasts."""

    @initialize(waits=st.booleans())
    def begin(self, waits: bool) -> None:
        self.clock = Clock()
        self.store = Stepped()
        self.rules = Idempotency(
            self.store,
            ttl_seconds=TTL_SECONDS,
            pending_seconds=None,
            on_pending="wait" if waits else "conflict",
            on_store_error="refuse",
            clock=self.clock,
            log=lambda level, message, fields: None,
        )
        self.live: list[Environment] = []
        self.begun = 0
        self.produced: dict[str, str] = {}
        self.kept: tuple[str, float] | None = None
        self.jumped_s = 0.0

    def forget(self, one: Environment) -> None:
        if one.is_over and one in self.live:
            self.live.remove(one)
            self.check(one)

    def check(self, one: Environment) -> None:
        if one.error is not None:
            expected = IdempotencyPendingError | IdempotencyKeyReusedError | ZeroDivisionError | ConnectionError
            # A store that fails twice in a row refuses the call.
            assert isinstance(one.error, expected) or type(one.error).__name__ == "ServiceUnavailableError", one.error
            return
        assert self.produced[one.result] == one.payload
        if one.replayed and self.kept is not None and self.kept[1] > self.clock.now:
            assert one.result == self.kept[0]

    @precondition(lambda self: len(self.live) < 4)
    @rule(payload=st.sampled_from(["a", "a", "a", "b"]))
    def call(self, payload: str) -> None:
        self.begun += 1
        one = Environment(self.begun, self.rules, payload)
        self.live.append(one)

    @precondition(lambda self: self.live)
    @rule(which=WHICH, outcome=st.sampled_from(["done", "done", "done", "down", "lost"]), succeeds=st.booleans())
    def one_step(self, which: int, outcome: str, succeeds: bool) -> None:
        self.step(self.live[which % len(self.live)], outcome, succeeds)

    @precondition(lambda self: self.live)
    @rule(which=WHICH, succeeds=st.booleans(), ends=st.booleans())
    def on_and_on(self, which: int, succeeds: bool, ends: bool) -> None:
        """Until its function runs, or to its end, unless it waits for somebody."""
        one = self.live[which % len(self.live)]
        for _ in range(20):
            self.step(one, "done", succeeds)
            if one.is_over or one.asked is PAUSE or (one.asked is RUN and not ends):
                return

    def step(self, one: Environment, outcome: str, succeeds: bool) -> None:
        if one.asked is RUN:
            self.function_ends(one, succeeds)
        elif one.asked is PAUSE:
            self.clock.now += 0.05
            one.go(None)
        elif outcome == "down":
            one.fail(ConnectionError("down"))
        else:
            given = one.asked.run()
            one.fail(ConnectionError("lost")) if outcome == "lost" else one.go(given)
        if one.asked is RUN and one.runs_until is None and not one.is_over:
            self.starts(one)
        if isinstance(one.error, IdempotencyPendingError) or one.asked is PAUSE:
            self.somebody_runs()
        self.notice()
        self.forget(one)

    def somebody_runs(self) -> None:
        """Nobody is refused, or waits, because of a call whose time is over."""
        record = self.store.store.read("key", self.clock.now)
        assert record is None or record.value["status"] != "pending" or record.value["until"] > self.clock.now

    def starts(self, one: Environment) -> None:
        record = self.store.store.read("key", self.clock.now)
        assert record.value["owner"] == f"owner-{one.number}"
        one.runs_until = record.value["until"]
        # Nobody runs what has a result already, and nobody runs beside somebody whose time is not over.
        assert self.kept is None or self.kept[1] <= self.clock.now
        for other in self.live:
            if other is not one and other.asked is RUN and other.runs_until is not None:
                assert self.clock.now >= other.runs_until - self.jumped_s

    def function_ends(self, one: Environment, succeeds: bool) -> None:
        one.asked = None
        if succeeds:
            result = f"result of {one.number}"
            self.produced[result] = one.payload
            one.go(result)
        else:
            one.fail(ZeroDivisionError("the function failed"))

    @precondition(lambda self: self.live)
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        self.live.pop(which % len(self.live)).flow.close()

    @rule(seconds=st.sampled_from([0.5, 5.0, 10.0, 99.0, 150.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(seconds=st.sampled_from([0.5, 5.0]))
    def the_clock_jumps_back(self, seconds: float) -> None:
        self.clock.now -= seconds
        self.jumped_s += seconds

    def notice(self) -> None:
        record = self.store.store.read("key", self.clock.now)
        if record is None or record.value["status"] != "completed":
            if self.kept is not None and self.kept[1] > self.clock.now:
                raise AssertionError("a result that was kept has gone before its end")
            # It was over when another call has begun; a clock that is set back then does not bring it back.
            self.kept = None
            return
        found = (record.value["result"], record.value["until"])
        if self.kept is not None and self.kept[1] > self.clock.now:
            assert found == self.kept, "a result that was kept was replaced"
        self.kept = found

    @invariant()
    def a_record_outlives_its_meaning(self) -> None:
        record = getattr(self, "store", None) and self.store.store.read("key", self.clock.now)
        if record:
            assert record.expires_at - self.clock.now <= GUARD_SECONDS + TTL_SECONDS + self.jumped_s + LEASE_MS / 1000


Calling.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestCalling = Calling.TestCase
