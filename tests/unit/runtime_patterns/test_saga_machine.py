"""Sagas that end anywhere: after and before any write, in any step, run by several: they end done or undone."""

from __future__ import annotations

import random
from collections.abc import Awaitable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.conftest import FULL
from tests.unit.runtime_patterns.saga_lab import Clock, Crash, FaultyStore, StoreDownError
from venturekit.runtime import _process, create_logger, parallel, saga, step
from venturekit.runtime.context import BaseContext, _current
from venturekit.runtime.patterns import (
    SagaBusyError,
    SagaCompensationError,
    SagaNotFoundError,
    SagaRecord,
    SagaStatus,
    StepState,
)
from venturekit.runtime.patterns.saga_machine import TRANSITIONS, SagaMachine, StepEvent, TransitionError
from venturekit.runtime.patterns.saga_runs import Definition
from venturekit.runtime.patterns.saga_workers import _run

if TYPE_CHECKING:
    from venturekit.runtime.patterns.saga_workers import Attempt, Outcome

ID = "1"
# Longer than any lease: a minute after the longest wait before another attempt.
LATER_SECONDS = 65
OUTCOMES = (
    "ok",
    "ok",
    "ok",
    "fails",
    "not known",
    "not known, done",
    "crashes before",
    "crashes after",
    "crashes after",
)
SHAPES = ["a", "ab", "abc", "a(bc)d", "(ab)", "(abc)(de)f", "ab(c)"]


class MixedWorker:
    """Runs what is in flight in any order, one after the other, so that the same seed gives the same run."""

    def __init__(self, chance: random.Random, begun: set[str]) -> None:
        self._chance = chance
        self._begun = begun
        self._waiting: list[Attempt] = []

    def begin(self, attempt: Attempt, *, alone: bool) -> None:
        self._begun.add(attempt.name)
        self._waiting.append(attempt)

    def outcome(self) -> Outcome:
        return _run(self._waiting.pop(self._chance.randrange(len(self._waiting))))

    def abandon(self, *, wait: bool) -> bool:
        self._waiting.clear()
        return True


class World:
    """What steps do, and what of it is there now: ``done`` are those whose work was done and not undone."""

    def __init__(self, shape: str, without_undo: set[str], retries: int, chance: random.Random) -> None:
        self.chance = chance
        self.undone_by = {name for name in shape if name.isalpha()} - without_undo
        self.events: list[str] = []
        self.done: set[str] = set()
        self.begun: set[str] = set()
        self.calm = False
        steps, members = [], None
        for letter in shape:
            if letter == "(":
                members = []
            elif letter == ")":
                assert members is not None
                steps.append(parallel(f"group{len(steps)}", members))
                members = None
            else:
                made = step(letter, self._does(letter), self._undoes(letter), retries=retries)
                (steps if members is None else members).append(made)
        self.clock, self.store = Clock(), FaultyStore()
        self.saga = saga("s", steps, store=self.store, clock=self.clock)
        self.order = [one.name for one in self.saga.definition.steps]

    def _outcome(self) -> str:
        return "ok" if self.calm else self.chance.choice(OUTCOMES)

    def _does(self, name: str) -> Any:
        def execute(ctx: dict[str, Any]) -> dict[str, Any]:
            outcome = self._outcome()
            self.events.append(name)
            if outcome == "crashes before":
                raise Crash
            if outcome in ("ok", "not known, done", "crashes after"):
                self.done.add(name)
            if outcome == "crashes after":
                raise Crash
            if outcome.startswith("not known"):
                raise TimeoutError
            if outcome == "fails":
                raise ValueError(name)
            return {**ctx, name: 1}

        return execute

    def _undoes(self, name: str) -> Any:
        def compensate(ctx: dict[str, Any]) -> None:
            outcome = self._outcome()
            self.events.append(f"-{name}")
            if outcome == "crashes before":
                raise Crash
            if outcome in ("fails", "not known"):
                raise ValueError(f"-{name}")
            self.done.discard(name)
            if outcome == "crashes after":
                raise Crash

        return compensate if name in self.undone_by else None

    def flow(self, *, begins: bool) -> Any:
        worker = MixedWorker(self.chance, self.begun)
        return self.saga._started({"x": 1}, ID, worker) if begins else self.saga._resumed(ID, False, worker)


EXPECTED = (Crash, StoreDownError, SagaBusyError, SagaNotFoundError, SagaCompensationError)


class Sagas(RuleBasedStateMachine):
    """One saga, many that run it, and everything that can end them."""

    @initialize(
        shape=st.sampled_from(SHAPES),
        without_undo=st.sets(st.sampled_from("abcdef"), max_size=2),
        retries=st.sampled_from([0, 0, 1, 2]),
        seed=st.integers(0, 2**32),
    )
    def begin(self, shape: str, without_undo: set[str], retries: int, seed: int) -> None:
        _process.state.pause = lambda seconds: None
        ctx = BaseContext("r")
        ctx._logger = create_logger(write=lambda line: None)
        self.token = _current.set(ctx)
        self.world = World(shape, without_undo, retries, random.Random(seed))

    def attempt(self, flow: Any) -> None:
        try:
            asked = flow.send(None)
            while True:
                assert not isinstance(asked, Awaitable)
                asked = flow.send(asked)
        except StopIteration:
            return
        except EXPECTED:
            return

    @rule(
        begins=st.booleans(),
        write=st.none() | st.integers(1, 6),
        late=st.booleans(),
        dies=st.booleans(),
        waits=st.booleans(),
    )
    def run(self, begins: bool, write: int | None, late: bool, dies: bool, waits: bool) -> None:
        world = self.world
        if waits:
            world.clock.now += LATER_SECONDS
        if write is not None:
            world.store.fail(write, Crash() if dies else StoreDownError(), late=late)
        self.attempt(world.flow(begins=begins))
        world.store.heal()

    @rule(count=st.integers(2, 3), turns=st.lists(st.integers(0, 2), max_size=40), waits=st.booleans())
    def run_by_several(self, count: int, turns: list[int], waits: bool) -> None:
        """Their steps in any order; the time does not pass between them, as it does not within a lease."""
        world = self.world
        if waits:
            world.clock.now += LATER_SECONDS
        flows: dict[int, Any] = {number: world.flow(begins=number == 0) for number in range(count)}
        given: dict[int, Any] = dict.fromkeys(flows)
        for turn in [*turns, *(number for number in flows for _ in range(100))]:
            if turn in flows:
                try:
                    given[turn] = flows[turn].send(given[turn])
                except (StopIteration, *EXPECTED):
                    del flows[turn]
        assert flows == {}

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        for turn in range(6):
            # At last nothing stands in the way any more.
            world.calm = turn == 5
            world.clock.now += LATER_SECONDS
            self.attempt(world.flow(begins=True))
        record = world.saga.get(ID)
        assert record is not None
        check(world, record)
        _current.reset(self.token)
        _process.reset()


def check(world: World, record: SagaRecord) -> None:
    """What has to be true of a saga that has ended, however."""
    assert record.is_finished
    forward = [event for event in world.events if not event.startswith("-")]
    back = [event[1:] for event in world.events if event.startswith("-")]
    undone_from = world.events.index(f"-{back[0]}") if back else len(world.events)
    assert all(event.startswith("-") for event in world.events[undone_from:]), "nothing is done after the first undoing"
    places = [world.order.index(name) for name in back]
    assert all(later <= earlier for earlier, later in pairwise(places)), "the last one first"
    assert set(back) <= world.begun, "only what may have run"
    stages = [next(n for n, stage in enumerate(world.saga.definition.stages) if world.order.index(name) in stage)
              for name in forward]  # fmt: skip
    assert stages == sorted(stages), "one stage after the other"
    failed = {one.name for one in record.steps if one.state is StepState.COMPENSATION_FAILED}
    if record.status is SagaStatus.COMPLETED:
        assert (world.done, back) == (set(world.order), []), "none is left out"
        assert record.context == {"x": 1} | dict.fromkeys(world.order, 1)
    else:
        assert world.done & world.undone_by <= failed, "what was done is undone"
        assert record.error is not None
        assert (record.status is SagaStatus.FAILED) == bool(failed)
    assert all(back.count(name) >= 3 for name in failed)


Sagas.TestCase.settings = settings(max_examples=1500 if FULL else 120, stateful_step_count=12, deadline=None)
TestSagas = Sagas.TestCase


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", StepEvent, ids=lambda event: event.name)
@pytest.mark.parametrize("now", StepState, ids=lambda state: state.value)
def test_an_event_that_is_not_in_the_table_changes_nothing(now: StepState, event: StepEvent) -> None:
    definition = Definition("s", [step("a", dict)])
    record = SagaRecord("1", "s", definition.outline(), {})
    machine = SagaMachine(definition, record)
    (one,) = record.steps
    one.state = now
    if (now, event) in TRANSITIONS:
        machine._move(one, event)
        assert one.state is TRANSITIONS[now, event]
        return
    before = one.to_dict()
    with pytest.raises(TransitionError, match=f"{event.name} cannot happen to the step 'a', which is {now.value}"):
        machine._move(one, event)
    assert one.to_dict() == before


def test_a_record_is_read_as_it_was_written() -> None:
    definition = Definition("s", [step("a", dict), parallel("g", [step("b", dict), step("c", dict)])])
    record = SagaRecord("1", "s", definition.outline(), {"x": 1}, fingerprint="f", now=5.0)
    machine = SagaMachine(definition, record)
    for begin in machine.advance(10**6):
        machine.succeeded(begin.number, {"x": 1, "a": 2})
    first, _ = machine.advance(10**6)
    machine.succeeded(first.number, {"a": 2, "b": {}})
    stored = record.to_dict()
    assert stored["steps"][1] == {
        "name": "b",
        "state": "completed",
        "attempts": 1,
        "group": "g",
        "changed": {"b": {}},
        "removed": ["x"],
    }
    assert SagaRecord.from_dict(stored, "s#1").to_dict() == stored
    assert repr(record) == "SagaRecord('s', '1', running)"
    assert repr(record.steps[0]) == "StepRecord('a', completed, attempts=1)"


def test_a_step_that_ran_out_of_time_and_then_fails_is_undone() -> None:
    definition = Definition("s", [step("a", dict, dict)])
    record = SagaRecord("1", "s", definition.outline(), {})
    machine = SagaMachine(definition, record)
    (begin,) = machine.advance(10**6)
    machine.interrupted(begin.number)
    assert (machine.advance(10**6), machine.short_of_time, record.steps[0].uncertain) == ([], "a", True)
    machine = SagaMachine(definition, SagaRecord.from_dict(record.to_dict(), "s#1"))
    (begin,) = machine.advance(10**6)
    machine.failed(begin.number, {"type": "ValueError", "message": "no"})
    assert [one.compensating for one in machine.advance(10**6)] == [True]
