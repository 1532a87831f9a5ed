"""What idempotent calls do to their records: late owners, lost answers, stores that are down, waiting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.runtime_patterns.idempotency_lab import Clock, Faulty, Operation, Stepped
from venturekit.runtime import ServiceUnavailableError, TaskTimeoutError
from venturekit.runtime.patterns import IdempotencyKeyReusedError, IdempotencyPendingError
from venturekit.runtime.patterns.driving import drive
from venturekit.runtime.patterns.idempotency_flow import UNKEPT, Call, Idempotency
from venturekit.runtime.patterns.record_stores import MemoryRecordStore

LEASE_MS = 10_000


class Lab:
    """One set of rules, and calls by it; ``now`` moves the clock."""

    def __init__(self, store: Any = None, **options: Any) -> None:
        self.clock = Clock()
        self.store = MemoryRecordStore() if store is None else store
        self.logged: list[str] = []
        self.paused: list[float] = []
        self.calls = 0
        given = {"ttl_seconds": 100, "pending_seconds": None, "on_pending": "conflict", "on_store_error": "refuse"}
        self.rules = Idempotency(
            self.store,
            clock=self.clock,
            log=lambda level, message, fields: self.logged.append(level),
            **{**given, **options},
        )

    def flow(
        self, run: Any, payload: str = "p", dump: Any = lambda result: result, remaining_ms: int = LEASE_MS
    ) -> Any:
        self.calls += 1
        call = Call("key", payload, f"owner-{self.calls}", lambda: remaining_ms)
        return self.rules.around(call, run, dump=dump, replay=lambda kept: ["again", kept], pause=self.pause)

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.clock.now += seconds

    def call(self, run: Any = lambda: "result", **options: Any) -> Any:
        return drive(self.flow(run, **options), instead="nothing")

    def begun(self, **options: Any) -> Any:
        """A call whose function runs: give its result with ``ended``."""
        flow = self.flow(lambda: RUNNING, **options)
        asked = flow.send(None)
        while asked is not RUNNING:
            asked = flow.send(asked)
        return flow

    def record(self) -> Any:
        return self.store.read("key", self.clock.now)


RUNNING = "running"


def ended(flow: Any, result: Any) -> Any:
    try:
        asked = flow.send(result)
        while True:
            asked = flow.send(asked)
    except StopIteration as done:
        return done.value


def failed(flow: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        asked = flow.throw(ZeroDivisionError())
        while True:
            asked = flow.send(asked)


def fails() -> Any:
    raise ZeroDivisionError


def test_a_result_is_given_again_until_its_end() -> None:
    lab = Lab()
    assert lab.call() == "result"
    lab.clock.now += 99.9
    assert lab.call(fails) == ["again", "result"]
    lab.clock.now += 0.1
    assert lab.call(lambda: "new", payload="other") == "new"


def test_another_payload_is_refused_and_a_running_call_is_a_conflict() -> None:
    lab = Lab()
    flow = lab.begun()
    with pytest.raises(IdempotencyPendingError) as pending:
        lab.call(fails)
    assert (pending.value.status_code, pending.value.headers) == (409, {"Retry-After": "1"})
    with pytest.raises(IdempotencyKeyReusedError):
        lab.call(fails, payload="other")
    ended(flow, "result")
    with pytest.raises(IdempotencyKeyReusedError) as reused:
        lab.call(fails, payload="other")
    assert reused.value.status_code == 422


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_frees_the_key(error: type[BaseException]) -> None:
    lab = Lab()

    def raises() -> Any:
        raise error

    with pytest.raises(error):
        lab.call(raises)
    assert lab.record() is None
    assert lab.call() == "result"


def test_what_is_not_to_be_kept_frees_the_key() -> None:
    lab = Lab()
    assert lab.call(dump=lambda _: UNKEPT) == "result"
    assert lab.record() is None


def test_the_record_ends_with_the_time_of_the_call() -> None:
    lab = Lab()
    lab.begun(remaining_ms=3000)
    assert lab.record().value["until"] == lab.clock.now + 3
    lab.clock.now += 2.999
    with pytest.raises(IdempotencyPendingError):
        lab.call()
    lab.clock.now += 0.001
    assert lab.call() == "result"


@pytest.mark.parametrize(("pending_seconds", "seconds"), [(None, 900), (5, 5)])
def test_a_call_that_nobody_ends_has_a_bound(pending_seconds: float | None, seconds: float) -> None:
    lab = Lab(pending_seconds=pending_seconds)
    lab.begun(remaining_ms=2**31 - 1)
    assert lab.record().value["until"] == lab.clock.now + seconds


# --- late owners ----------------------------------------------------------------------------------------------------


def test_a_late_owner_does_not_overwrite_what_another_has_kept() -> None:
    lab = Lab()
    late = lab.begun()
    lab.clock.now += 10
    assert lab.call(lambda: "second") == "second"
    assert ended(late, "first") == "first"
    assert lab.logged == ["warn"]
    assert lab.call(fails) == ["again", "second"]


def test_a_late_owner_whom_nobody_has_followed_keeps_its_result() -> None:
    lab = Lab()
    late = lab.begun()
    lab.clock.now += 10
    ended(late, "first")
    assert (lab.call(fails), lab.logged) == (["again", "first"], [])


@pytest.mark.parametrize("end_late", [lambda flow: ended(flow, "first"), failed])
def test_a_late_owner_leaves_alone_who_came_after_one_that_failed(end_late: Any) -> None:
    """The record of a second owner that failed is not deleted: versions would begin anew, and tell nobody apart."""
    lab = Lab()
    late = lab.begun()
    lab.clock.now += 10
    second = lab.begun()
    failed(second)
    third = lab.begun()
    end_late(late)
    with pytest.raises(IdempotencyPendingError):
        lab.call(fails)
    ended(third, "third")
    assert lab.call(fails) == ["again", "third"]


def test_an_owner_that_is_far_too_late_writes_nothing() -> None:
    lab = Lab()
    late = lab.begun()
    lab.clock.now += 10 + 3600.1
    assert ended(late, "first") == "first"
    assert (lab.record(), lab.logged) == (None, ["warn"])


# --- lost answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "done", "logged"),
    [
        (".", ["write", "write"], []),
        ("l", ["write", "read", "write"], []),
        ("x", ["write", "read", "write", "write"], []),
        (".x", ["write", "write", "read", "write"], []),
        (".l", ["write", "write", "read"], []),
        (".xx", ["write", "write", "read"], ["error"]),
        (".x.x", ["write", "write", "read", "write"], ["error"]),
    ],
)
def test_operations_that_fail_or_whose_answer_is_lost(script: str, done: list[str], logged: list[str]) -> None:
    store = Faulty(script)
    lab = Lab(store)
    assert lab.call() == "result"
    assert (store.done, lab.logged) == (done, logged)
    if not logged:
        assert lab.call(fails) == ["again", "result"]


@pytest.mark.parametrize("script", ["xx", "x.x", ".x"])
@pytest.mark.parametrize("policy", ["refuse", "run"])
def test_a_store_that_is_down(script: str, policy: str) -> None:
    inner = MemoryRecordStore()
    if script == ".x":
        # Somebody else has the key, and whether it is done cannot be read.
        Lab(inner).begun()
    lab = Lab(Faulty(script, inner), on_store_error=policy)
    ran: list[int] = []
    if policy == "run":
        assert lab.call(lambda: ran.append(1) or "result") == "result"
        assert (ran, lab.logged) == ([1], ["warn"])
    else:
        with pytest.raises(ServiceUnavailableError, match="idempotency store is currently unavailable"):
            lab.call(lambda: ran.append(1))
        assert (ran, lab.logged) == ([], ["error"])


def test_a_failure_is_raised_although_the_store_is_down_then() -> None:
    lab = Lab(Faulty(".xx"))
    with pytest.raises(ZeroDivisionError):
        lab.call(fails)
    assert lab.logged == ["error"]


def test_a_time_limit_is_not_taken_for_a_store_that_is_down() -> None:
    class Slow(MemoryRecordStore):
        def write(self, *_: Any, **__: Any) -> bool:
            raise TaskTimeoutError(5)

    with pytest.raises(TaskTimeoutError):
        Lab(Slow(), on_store_error="run").call()


def test_a_time_limit_after_the_call_has_the_last_word_but_the_result_is_kept() -> None:
    class Slow(Faulty):
        def do(self, name: str, operation: Any) -> Any:
            if self.script and self.script[0] == "t":
                self.script.pop(0)
                raise TaskTimeoutError(5)
            return super().do(name, operation)

    lab = Lab(Slow(".t"))
    assert lab.call() == "result"
    assert lab.call(fails) == ["again", "result"]
    lab = Lab(Slow(".tt"))
    with pytest.raises(TaskTimeoutError):
        lab.call()


@pytest.mark.parametrize(
    "value", [{}, {"status": "pending"}, {"status": "odd", "until": 2e9}, {"status": "completed", "until": "x"}]
)
def test_foreign_data_under_the_key_is_a_store_that_cannot_be_used(value: dict[str, Any]) -> None:
    lab = Lab()
    lab.store.write("key", value, lab.clock.now, version=0)
    with pytest.raises(ServiceUnavailableError) as refused:
        lab.call(fails)
    assert "was not written by an idempotent call" in str(refused.value.__cause__)
    assert lab.record().value == value


# --- waiting --------------------------------------------------------------------------------------------------------


def test_waiting_for_the_result_of_another() -> None:
    lab = Lab(on_pending="wait")
    first, pauses = lab.begun(), []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        lab.clock.now += seconds
        if len(pauses) == 4:
            ended(first, "first")

    lab.pause = pause  # type: ignore[method-assign]
    assert lab.call(fails) == ["again", "first"]
    assert pauses == [0.05, 0.1, 0.2, 0.4]


def test_waiting_for_one_that_fails_is_being_next() -> None:
    lab = Lab(on_pending="wait")
    first = lab.begun()
    lab.pause = lambda seconds: failed(first)  # type: ignore[method-assign]
    assert lab.call(lambda: "second") == "second"


def test_waiting_ends_with_the_time_that_is_left() -> None:
    lab = Lab(on_pending="wait")
    lab.begun(remaining_ms=60_000)
    with pytest.raises(IdempotencyPendingError):
        lab.call(fails, remaining_ms=3000)
    assert 1.5 < sum(lab.paused) <= 2.9
    assert max(lab.paused) <= 1.0


def test_waiting_for_one_that_died_is_running_when_its_time_is_over() -> None:
    lab = Lab(on_pending="wait")
    lab.begun(remaining_ms=3000)
    assert lab.call(lambda: "second", remaining_ms=20_000) == "second"
    assert 3 <= sum(lab.paused) <= 4


def test_a_key_that_others_always_take_first_is_a_conflict_in_the_end() -> None:
    lab = Lab(Stepped())
    flow = lab.flow(fails)
    asked, rounds = flow.send(None), 0
    with pytest.raises(IdempotencyPendingError):
        while True:
            rounds += asked.name == "write"
            assert isinstance(asked, Operation)
            asked = flow.send(False if asked.name == "write" else None)
    assert rounds == 100


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ttl_seconds": 0}, "more than 0"),
        ({"pending_seconds": -1}, "more than 0"),
        ({"on_pending": "never"}, "'conflict' or 'wait'"),
        ({"on_store_error": "ignore"}, "'refuse' or 'run'"),
    ],
)
def test_rules_that_cannot_hold(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Lab(**options)
    with pytest.raises(TypeError, match="no store of records"):
        Lab(object())
