"""Circuit breakers that several environments share: who is told what, who tries, and when the store is down."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.unit.runtime_patterns.idempotency_lab import Asynchronous, Clock, Faulty
from venturekit.runtime import _process, ainvoke, invoke
from venturekit.runtime.invocation.request import LambdaReply
from venturekit.runtime.patterns import (
    CircuitBreaker,
    CircuitOpenError,
    alist_shared_breakers,
    configure_circuit_breaker,
    create_circuit_breaker,
    create_default_breaker_store,
    create_memory_breaker_store,
    create_sqlite_breaker_store,
    list_circuit_breakers,
    list_shared_breakers,
)
from venturekit.runtime.patterns.breakers import breakers
from venturekit.runtime.patterns.circuit_breaker import Answer, BreakerState, SharedMachine, Transition
from venturekit.runtime.patterns.driving import AsyncStoreError
from venturekit.runtime.patterns.record_stores import MemoryRecordStore

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Lab:
    """Several environments, one store, one clock that is moved by hand."""

    def __init__(self, count: int = 2, store: Any = None, **options: Any) -> None:
        self.clock = Clock()
        self.store = MemoryRecordStore() if store is None else store
        given: dict[str, Any] = {"failure_threshold": 2, "reset_timeout_ms": 30_000, "name": "payments", **options}
        self.all: list[Any] = [
            create_circuit_breaker(store=self.store, clock=self.clock, wall_clock=self.clock, **given)
            for _ in range(count)
        ]

    def opened(self) -> None:
        """The first one has met the failures, and the others have been told."""
        for _ in range(2):
            assert self.all[0].may_call()
            self.all[0].failed()
        self.clock.now += 1

    def may_call(self) -> list[bool]:
        return [breaker.may_call() for breaker in self.all]

    def states(self) -> list[BreakerState]:
        return [breaker.state for breaker in self.all]


def test_what_one_has_found_the_others_are_told_within_a_second() -> None:
    lab = Lab()
    assert lab.may_call() == [True, True]
    lab.all[0].failed(), lab.all[0].failed()
    assert lab.may_call() == [False, True]
    lab.clock.now += 1
    assert lab.may_call() == [False, False]
    assert lab.states() == [OPEN, OPEN]


def test_failures_are_counted_by_each_alone() -> None:
    lab = Lab()
    for breaker in lab.all:
        breaker.may_call()
        breaker.failed()
    assert lab.states() == [CLOSED, CLOSED]


def test_one_of_all_is_the_probe_and_what_it_finds_holds_for_all() -> None:
    lab = Lab(4)
    lab.opened()
    assert lab.may_call() == [False] * 4
    lab.clock.now += 30
    assert lab.may_call() == [True, False, False, False]
    assert lab.states() == [HALF_OPEN] * 4
    lab.all[1].succeeded(), lab.all[2].failed()
    assert lab.states() == [HALF_OPEN] * 4, "calls that began before say nothing of the probe"
    lab.all[0].succeeded()
    lab.clock.now += 1
    assert lab.may_call() == [True] * 4
    assert lab.states() == [CLOSED] * 4


def test_who_was_not_elected_knows_of_the_probe_at_once() -> None:
    store = Faulty()
    lab = Lab(2, store)
    lab.opened()
    lab.clock.now += 28.5
    assert lab.may_call() == [False, False]
    lab.clock.now += 0.5
    store.done.clear()
    assert [lab.may_call() for _ in range(3)] == [[True, False], [False, False], [False, False]]
    assert lab.states() == [HALF_OPEN, HALF_OPEN]
    assert store.done == ["write", "write", "read"]


def test_a_probe_that_fails_keeps_it_open_for_all() -> None:
    lab = Lab(3)
    lab.opened()
    lab.may_call()
    lab.clock.now += 30
    assert list(reversed([breaker.may_call() for breaker in reversed(lab.all)])) == [False, False, True]
    lab.all[2].failed()
    lab.clock.now += 29.9
    assert lab.may_call() == [False] * 3
    lab.clock.now += 0.2
    assert sum(lab.may_call()) == 1


def test_a_probe_that_was_never_heard_of_again_is_followed_by_another() -> None:
    lab = Lab()
    lab.opened()
    lab.may_call()
    lab.clock.now += 30
    assert lab.may_call() == [True, False]
    late = lab.all[0]
    lab.clock.now += 30.5
    assert lab.all[1].may_call()
    lab.all[1].succeeded()
    late.failed()
    assert lab.states() == [CLOSED, CLOSED], "the outcome of a probe that another has followed does not count"


def test_a_new_environment_knows_at_once() -> None:
    lab = Lab()
    lab.opened()
    newcomer = create_circuit_breaker(name="payments", store=lab.store, clock=lab.clock, wall_clock=lab.clock)
    with pytest.raises(CircuitOpenError):
        newcomer.call(lambda: 1)


def test_another_name_is_another_breaker() -> None:
    lab = Lab()
    lab.opened()
    other = create_circuit_breaker(name="other", store=lab.store, clock=lab.clock, wall_clock=lab.clock)
    assert other.may_call()


def test_failures_after_somebody_closed_it_open_it_again() -> None:
    lab = Lab()
    lab.opened()
    lab.clock.now += 30
    first, second = lab.all
    assert first.may_call()
    second._machine.learned(None, 0, 0)
    second.failed(), first.succeeded(), second.failed()
    lab.clock.now += 1
    assert lab.may_call() == [False, False]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_does_not_hold_it_open(jump: float) -> None:
    lab = Lab()
    wall = Clock(lab.clock.now + jump)
    other = create_circuit_breaker(
        name="payments", store=lab.store, clock=lab.clock, wall_clock=wall, reset_timeout_ms=30_000
    )
    lab.opened()
    seen = other.may_call()
    assert seen is (jump > 0), "an hour after it opened it is time to try; before it opened, to wait"
    lab.clock.now += 30
    wall.now += 30
    assert other.may_call()


# --- the store ------------------------------------------------------------------------------------------------------


def test_the_store_is_read_once_a_second_and_written_when_the_state_changes() -> None:
    store = Faulty()
    lab = Lab(1, store)
    (breaker,) = lab.all
    for _ in range(80):
        breaker.call(lambda: 1)
        lab.clock.now += 0.0625
    assert store.done == ["read"] * 5
    store.done.clear()
    for _ in range(2):
        breaker.may_call()
        breaker.failed()
    assert store.done == ["read", "write"]


def test_without_its_store_each_decides_for_itself_and_says_so_once(capsys: pytest.CaptureFixture[str]) -> None:
    store = Faulty("x" * 1000)
    lab = Lab(2, store)
    first, second = lab.all
    for _ in range(5):
        assert first.may_call()
        first.succeeded()
        lab.clock.now += 1
    first.failed(), first.failed()
    assert (first.may_call(), second.may_call()) == (False, True)
    lab.clock.now += 30
    assert (first.may_call(), first.may_call()) == (True, False)
    first.succeeded()
    assert first.state is CLOSED
    assert capsys.readouterr().out.count("is down: this environment") == 2, "once for each of the two"


def test_a_store_that_is_down_is_asked_ever_less_and_comes_back(capsys: pytest.CaptureFixture[str]) -> None:
    store = Faulty("x" * 8)
    lab = Lab(1, store)
    (breaker,) = lab.all
    for _ in range(300):
        assert breaker.may_call()
        lab.clock.now += 1
    assert len(store.done) < 80
    assert store.done.count("read") > 8
    said = capsys.readouterr().out
    assert (said.count("is down: this environment"), said.count("is back")) == (1, 1)


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_an_election_whose_answer_was_lost(outcome: str) -> None:
    store = Faulty()
    lab = Lab(2, store)
    lab.opened()
    lab.clock.now += 30
    store.script = list(".l")
    assert lab.all[0].may_call()
    store.script = []
    assert lab.all[1].may_call() is False
    getattr(lab.all[0], outcome)()
    lab.clock.now += 2
    assert lab.may_call() == [outcome == "succeeded"] * 2


def test_foreign_data_is_a_store_that_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    lab = Lab(1)
    lab.store.write("payments", {"state": "ajar"}, lab.clock.now, version=0)
    assert lab.may_call() == [True]
    assert "was not written by a circuit breaker" in capsys.readouterr().out


def test_asynchronous_stores() -> None:
    lab = Lab(2, Asynchronous())
    first, second = lab.all

    async def fails() -> Any:
        raise ConnectionError

    async def works() -> int:
        return 1

    async def scene() -> None:
        assert await first.acall(works) == 1
        assert await first.acall(fails, "fallback") == "fallback"
        with pytest.raises(ConnectionError):
            await first.acall(fails)
        assert await second.acall(works, "fallback") == "fallback"
        lab.clock.now += 30
        assert await second.acall(works) == 1
        lab.clock.now += 1
        assert await first.acall(works) == 1
        (report,) = await alist_shared_breakers(lab.store)
        assert (report.name, report.state) == ("payments", CLOSED)

    asyncio.run(scene())
    with pytest.raises(AsyncStoreError, match="acall"):
        Lab(1, Asynchronous()).all[0].call(lambda: 1)


def test_what_does_not_count_is_an_answer_of_the_probe_too() -> None:
    lab = Lab(1, Asynchronous(), is_failure=lambda error: isinstance(error, ConnectionError), failure_threshold=1)
    (breaker,) = lab.all

    async def raises(error: Exception) -> Any:
        raise error

    async def scene() -> None:
        with pytest.raises(ConnectionError):
            await breaker.acall(lambda: raises(ConnectionError()))
        lab.clock.now += 30
        with pytest.raises(KeyError):
            await breaker.acall(lambda: raises(KeyError()), "fallback")

    asyncio.run(scene())
    assert breaker.state is CLOSED


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_of_many_threads_and_environments_one_is_the_probe(kind: str, tmp_path: Any) -> None:
    store = create_sqlite_breaker_store(tmp_path / "b.db") if kind == "sqlite" else create_memory_breaker_store()
    lab = Lab(4, store)
    lab.opened()
    lab.may_call()
    lab.clock.now += 30
    together, allowed = threading.Barrier(8), []

    def ask(breaker: Any) -> None:
        together.wait(20)
        allowed.append(breaker.may_call())

    threads = [threading.Thread(target=ask, args=(breaker,)) for breaker in lab.all * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(allowed) == [False] * 7 + [True]


# --- what is to be seen ---------------------------------------------------------------------------------------------


def test_breakers_can_be_inspected() -> None:
    lab = Lab()
    first, second = lab.all
    first.may_call()
    first.failed()
    assert first.inspect() == ("payments", CLOSED, 1, 0.0, True)
    first.failed()
    lab.clock.now += 10
    assert first.inspect() == ("payments", OPEN, 0, 20_000.0, True)
    assert second.inspect().state is CLOSED
    assert create_circuit_breaker().inspect() == (None, CLOSED, 0, 0.0, False)


def test_all_that_a_store_knows() -> None:
    store = create_memory_breaker_store()
    for number in range(130):
        breaker = create_circuit_breaker(name=f"t{number:03}", store=store, failure_threshold=1)
        breaker.failed()
    found = list_shared_breakers(store)
    assert [report.name for report in found] == [f"t{number:03}" for number in range(130)]
    assert {report.state for report in found} == {OPEN}
    assert len(list_shared_breakers(store, limit=105)) == 105
    assert list_shared_breakers(create_memory_breaker_store()) == []


def test_the_breakers_of_invoke_share_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_STAGE", "dev")

    class Down:
        calls = 0

        def invoke(self, request: Any) -> LambdaReply:
            Down.calls += 1
            return LambdaReply(200, b'{"errorMessage": "x"}', function_error="Unhandled")

    store = create_memory_breaker_store()
    configure_circuit_breaker(failure_threshold=2, store=store)
    _process.state.invoker = Down()
    target: Any = {"function": "pay", "project": "shop"}
    for _ in range(4):
        assert invoke(target, fallback={"statusCode": 503, "data": None}).status_code == 503
    assert Down.calls == 2
    (mine,), (shared,) = list_circuit_breakers(), list_shared_breakers(store)
    assert mine.name == shared.name
    assert (mine.state, shared.state, mine.is_shared) == (OPEN, OPEN, True)
    configure_circuit_breaker(failure_threshold=2, store=store)
    invoke(target, fallback={"statusCode": 503, "data": None})
    assert Down.calls == 2, "another environment has been told"


class Flaky:
    """A target that is down until it is not."""

    def __init__(self) -> None:
        self.calls, self.is_down = 0, True

    def invoke(self, request: Any) -> LambdaReply:
        self.calls += 1
        return LambdaReply(200, b'"x"', function_error="Unhandled" if self.is_down else None)

    async def ainvoke(self, request: Any) -> LambdaReply:
        return self.invoke(request)


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_ainvoke_takes_any_store(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    store: Any = create_memory_breaker_store() if kind == "blocking" else Asynchronous()
    configure_circuit_breaker(failure_threshold=2, reset_timeout_ms=0, store=store)
    target = _process.state.invoker = Flaky()
    call: dict[str, Any] = {"function": "pay", "project": "shop", "fallback": "instead"}

    async def scene() -> None:
        for _ in range(2):
            assert (await ainvoke(**call)).data == "instead"
        (report,) = await alist_shared_breakers(store)
        assert (report.state, target.calls) == (OPEN, 2)
        # The probe fails, then it does not.
        assert (await ainvoke(**call)).data == "instead"
        target.is_down = False
        assert (await ainvoke(**call)).data == "x"
        (report,) = await alist_shared_breakers(store)
        assert (report.state, target.calls) == (CLOSED, 4)

    asyncio.run(scene())


def test_invoke_says_so_when_it_would_have_to_wait_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    configure_circuit_breaker(store=Asynchronous())
    target = _process.state.invoker = Flaky()
    with pytest.raises(AsyncStoreError, match=r"use ainvoke\(\), or a store that blocks"):
        invoke(function="pay", project="shop", fallback=None)
    assert target.calls == 0
    target.is_down = False
    assert invoke(function="pay", project="shop").data == "x", "without a fallback there is no breaker"


def test_a_store_that_is_back_is_looked_at_every_second_again() -> None:
    store = Faulty("x" * 8)
    lab = Lab(2, store)
    lab.all[1]._store = store.store
    first, second = lab.all
    while store.script:
        assert first.may_call()
        lab.clock.now += 1
    while not store.done[8:]:
        assert first.may_call()
        lab.clock.now += 1
    second.failed(), second.failed()
    assert first.may_call() is False, "what the others have told is known within a second"


def test_without_a_store_nothing_has_changed() -> None:
    assert type(create_circuit_breaker(name="x")) is CircuitBreaker
    assert type(breakers().of("x")) is CircuitBreaker
    configure_circuit_breaker(failure_threshold=1)
    assert breakers().store is None


@pytest.mark.parametrize("name", [None, "", "x" * 1025])
def test_names_that_are_none(name: Any) -> None:
    with pytest.raises(ValueError, match="name"):
        create_circuit_breaker(name=name, store=create_default_breaker_store())


def test_stores_that_are_none() -> None:
    for make in (lambda: create_circuit_breaker(name="x", store={}), lambda: configure_circuit_breaker(store={})):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="no store of records"):
            make()


# --- the machine ----------------------------------------------------------------------------------------------------


def test_the_machine_takes_over_what_is_new_and_nothing_else() -> None:
    machine = SharedMachine(2, 1000)
    machine.learned(Transition(OPEN, 5.0, "a", 1), 400, 10_000)
    assert (machine.state, machine.retry_in_ms(10_000)) == (OPEN, 600)
    machine.learned(Transition(OPEN, 5.0, "a", 1), 0, 10_500)
    assert machine.asked(10_599) is Answer.REFUSE
    assert machine.asked(10_600) is Answer.ELECT
    assert machine.asked(10_600) is Answer.REFUSE, "one election at a time"
    machine.not_elected()
    machine.learned(Transition(HALF_OPEN, 6.0, "b", 2), -5, 10_600)
    assert (machine.state, machine.retry_in_ms(10_600), machine.told_failure(10_600)) == (HALF_OPEN, 1000, None)
    machine.learned(Transition(CLOSED, 7.0, "b", 3), 0, 10_700)
    assert (machine.state, machine.told_failure(1), machine.told_failure(2)) == (CLOSED, None, OPEN)
