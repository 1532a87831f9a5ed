"""A store that takes nothing for a while, processes that come and go, and answers that come too late."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.unit.events.event_lab import HOURS, START, Held, Lab, ManualLoop, ScriptedTargets, run, times
from venturekit.service.api.errors import ApiError
from venturekit.service.events.dispatcher import CLOSING_ROUNDS, LEASE_MARGIN_SECONDS
from venturekit.service.store import StoreFailedError
from venturekit.service.store.errors import StoreBusyError, StoreClosedError, StoreDiskError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

PASSING = [StoreBusyError, StoreDiskError, StoreFullError]


class Holding:
    """A function's behaviour: runs wait until they are let go."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def __call__(self, held: Held) -> None:
        self.held.append(held)


def inside(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def another(former: Lab, lease: str) -> Lab:
    """The next process, on the same data, the same clock and the same functions."""
    return Lab(former.path, loop=former.loop, targets=former.targets, lease=lease)


@contextmanager
def held_by_another_program(lab: Lab) -> Iterator[None]:
    """The database's write lock is taken, and nobody waits for it."""
    lab.store.submit(lambda connection: connection.execute("PRAGMA busy_timeout = 0").fetchall()).result(10)
    other = sqlite3.connect(lab.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


# --- trouble ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PASSING)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_store_that_takes_nothing_for_a_while_loses_nothing(
    tmp_path: Path, kind: type[Exception], at_once: bool
) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        events = [lab.put() for _ in range(20)]
        await lab.quiet()
        # 16 run; their outcomes and the claims of the others meet a store that refuses.
        trouble = kind("as told")
        if at_once:
            lab.events.refuses_with = trouble
        else:
            lab.events.trouble = [trouble] * 1000
        for number, held in enumerate(holding.held):
            if number % 2:
                held.succeed()
            else:
                held.fail()
        await lab.advance(10.0)
        assert (lab.states(), len(function.runs)) == ({"running": 16, "queued": 4}, 16)
        # Once a second, not as fast as it can.
        assert 9 <= len(lab.warned) <= 13
        assert lab.warned[0] == "queued events wait: as told"
        lab.events.refuses_with, lab.events.trouble = None, []
        function.behave = Held.succeed
        await lab.advance(2.0)
        assert lab.states() == {"succeeded": 12, "queued": 8}
        assert lab.dispatcher.running == 0
        await lab.advance(HOURS)
        assert lab.states() == {"succeeded": 20}
        # Nobody ran more often than it was told: those that had succeeded have not run again.
        assert len(function.runs) == 20 + 8
        assert {event: len(times(function, event)) for event in events} == {
            event: 2 if number < 16 and number % 2 == 0 else 1 for number, event in enumerate(events)
        }

    run(tmp_path, scenario)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_claim_that_is_refused_is_made_again(tmp_path: Path, at_once: bool) -> None:
    async def scenario(lab: Lab) -> None:
        functions = [lab.targets.create(name) for name in ("f", "g")]
        if at_once:
            lab.events.refuses_with = StoreBusyError("10000 changes are waiting already")
        else:
            lab.events.trouble = [StoreBusyError("another program holds the database")] * 3
        events = [lab.put(function.name) for function in functions]
        await lab.advance(2.5)
        assert lab.states() == {"queued": 2}
        lab.events.refuses_with = None
        await lab.advance(1.0)
        assert [lab.kinds(event) for event in events] == [["accepted", "started", "succeeded"]] * 2
        assert [times(function) for function in functions] == [[3.0], [3.0]]

    run(tmp_path, scenario)


def test_a_database_that_another_program_holds(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        accepted = await lab.accept()
        with held_by_another_program(lab):
            refused = lab.put()
            holding.held[0].succeed()
            await lab.advance(3.0)
            answer = lab.answers[refused]
            assert isinstance(answer, ApiError)
            assert (answer.status, answer.code) == (500, "ServiceException")
            assert "another program holds the database" in lab.warned[0]
        await lab.advance(1.0)
        assert (lab.state(accepted), len(function.runs)) == ("succeeded", 1)
        assert lab.rows("SELECT count(*) FROM events WHERE request_id = ?", refused) == [(0,)]
        assert lab.dispatcher.live == 0

    run(tmp_path, scenario)


def test_after_a_failed_store_nothing_runs_and_nothing_waits(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        event = await lab.accept()
        lab.events.trouble = [StoreFailedError("the store failed")]
        holding.held[0].succeed()
        await lab.quiet()
        assert lab.warned == ["queued events are not run any more until a restart: the store failed"]
        # The end of the service does not wait for what will never be settled.
        assert (lab.dispatcher.running, lab.events.turns) == (0, 2)
        await lab.accept()
        await lab.advance(HOURS)
        assert (lab.events.turns, len(function.runs), lab.state(event)) == (2, 1, "running")

    run(tmp_path, scenario)


# --- processes ----------------------------------------------------------------------------------------------------


def test_what_a_former_process_was_running_is_run_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Lab(tmp_path / "events.db")
        await first.begin()
        holding = Holding()
        function = first.targets.create(behave=holding)
        done = await first.accept()
        holding.held[0].succeed()
        retried = await first.accept()
        await first.quiet()
        holding.held[1].fail()
        await first.quiet()
        running = [first.put() for _ in range(20)]
        await first.quiet()
        assert first.states() == {"succeeded": 1, "queued": 5, "running": 16}
        # Killed: nothing is settled, nothing is closed in order.
        first.close_store()

        first.loop.now += 30.0
        second = another(first, "lease-2")
        await second.dispatcher.load()
        assert (second.states(), second.dispatcher.live) == ({"succeeded": 1, "queued": 21}, 21)
        assert second.rows("SELECT count(*) FROM events WHERE lease IS NOT NULL") == [(0,)]
        function.behave = Held.succeed
        before = len(function.runs)
        second.dispatcher.begin()
        await second.quiet()
        assert len(function.runs) == before + 20
        await second.advance(HOURS)
        assert second.states() == {"succeeded": 22}
        for event in running[:16]:
            assert second.kinds(event) == ["accepted", "started", "interrupted", "started", "succeeded"]
            # It was never heard how its first run ended: it does not count.
            assert second.tries(event) == (1, 0)
        assert second.kinds(running[16]) == ["accepted", "started", "succeeded"]
        assert (second.tries(retried), times(function, retried)) == ((2, 0), [0.0, 60.0])
        assert times(function, done) == [0.0]
        second.close_store()

    inside(scenario)


def test_a_late_answer_to_a_former_process_changes_nothing(tmp_path: Path) -> None:
    """Two dispatchers of one database, as after a process that was only believed to be dead."""

    async def scenario() -> None:
        first = Lab(tmp_path / "events.db")
        await first.begin()
        holding = Holding()
        first.targets.create(behave=holding)
        event = await first.accept()
        second = another(first, "lease-2")
        await second.begin()
        await second.quiet()
        assert len(holding.held) == 2
        late, current = holding.held
        late.fail()
        await first.quiet()
        assert second.kinds(event) == ["accepted", "started", "interrupted", "started"]
        assert (second.state(event), second.tries(event)) == ("running", (0, 0))
        current.succeed()
        await second.quiet()
        late.succeed()
        await first.quiet()
        assert second.state(event) == "succeeded"
        assert second.kinds(event)[-2:] == ["started", "succeeded"]
        assert first.dispatcher.running == second.dispatcher.running == 0
        for lab in (first, second):
            await lab.dispatcher.close()
            lab.close_store()

    inside(scenario)


def test_an_outcome_that_never_comes_is_not_waited_for_without_end(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding, timeout_seconds=900)
        event = await lab.accept()
        lab.loop.now += 900 + LEASE_MARGIN_SECONDS
        lab.dispatcher.sweep()
        await lab.quiet()
        assert lab.state(event) == "running"
        lab.loop.now += 0.1
        lab.dispatcher.sweep()
        lab.dispatcher.sweep()
        await lab.quiet()
        assert lab.kinds(event) == ["accepted", "started", "system-error"]
        await lab.advance(1.0)
        assert len(function.runs) == 2
        late, current = holding.held
        late.fail()
        late.succeed()
        await lab.quiet()
        assert (lab.state(event), lab.tries(event)) == ("running", (0, 1))
        current.succeed()
        await lab.quiet()
        assert (lab.state(event), lab.tries(event), lab.dispatcher.live) == ("succeeded", (1, 0), 0)
        # A second answer of one attempt is none.
        current.fail()
        await lab.quiet()
        assert lab.kinds(event)[-1] == "succeeded"

    run(tmp_path, scenario)


def test_a_machine_that_slept_runs_what_is_due_when_it_wakes(tmp_path: Path) -> None:
    """Steady time goes on then; the timers of the loop do not."""

    async def scenario(lab: Lab) -> None:
        function = lab.targets.create(behave=Held.fail)
        await lab.accept()
        lab.loop.now += 300.0
        lab.dispatcher.sweep()
        await lab.quiet()
        assert times(function) == [0.0, 300.0]

    run(tmp_path, scenario)


# --- the end ------------------------------------------------------------------------------------------------------


def test_after_stop_nothing_begins_and_what_runs_ends(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        first = await lab.accept()
        lab.dispatcher.stop()
        second = await lab.accept()
        await lab.advance(10.0)
        assert (lab.state(second), len(function.runs), lab.dispatcher.running) == ("queued", 1, 1)
        holding.held[0].succeed()
        await lab.quiet()
        assert (lab.state(first), lab.state(second), lab.dispatcher.running) == ("succeeded", "queued", 0)
        await lab.advance(HOURS)
        assert len(function.runs) == 1

    run(tmp_path, scenario)


def test_the_end_makes_durable_what_has_ended_and_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Lab(tmp_path / "events.db")
        await first.begin()
        holding = Holding()
        function = first.targets.create(behave=holding)
        events = [first.put() for _ in range(20)]
        await first.quiet()
        for held in holding.held[:8]:
            held.succeed()
        # Their outcomes are not written yet.
        await first.dispatcher.close()
        assert first.states() == {"succeeded": 8, "running": 8, "queued": 4}
        # What the end of the environments does to their runs is no outcome.
        for held in holding.held[8:]:
            held.fail(b'{"errorMessage":"killed"}')
        first.dispatcher.accepted([])
        await first.quiet()
        await first.advance(HOURS)
        assert first.states() == {"succeeded": 8, "running": 8, "queued": 4}
        assert first.loop.next_timer is None
        await first.dispatcher.close()
        first.close_store()
        second = another(first, "lease-2")
        function.behave = Held.succeed
        await second.begin()
        await second.quiet()
        assert second.states() == {"succeeded": 20}
        assert sorted(len(times(function, event)) for event in events) == [1] * 12 + [2] * 8
        await second.dispatcher.close()
        second.close_store()

    inside(scenario)


def test_what_is_claimed_while_the_end_comes_is_not_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = Lab(tmp_path / "events.db")
        await first.begin()
        function = first.targets.create()
        first.events.gate = asyncio.Event()
        event = first.put()
        while not first.events.turns:
            await asyncio.sleep(0)
        ending = asyncio.ensure_future(first.dispatcher.close())
        await asyncio.sleep(0)
        first.events.gate.set()
        await ending
        await first.quiet()
        assert (function.runs, first.state(event)) == ([], "running")
        first.close_store()
        second = another(first, "lease-2")
        await second.begin()
        await second.quiet()
        assert (second.state(event), len(function.runs)) == ("succeeded", 1)
        await second.dispatcher.close()
        second.close_store()

    inside(scenario)


@pytest.mark.parametrize("kind", [*PASSING, StoreClosedError])
@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_does_not_wait_for_a_store_that_takes_nothing(
    tmp_path: Path, kind: type[Exception], at_once: bool
) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        lab.targets.create(behave=holding)
        event = await lab.accept()
        if at_once:
            lab.events.refuses_with = kind("as told")
        else:
            lab.events.trouble = [kind("as told")] * 1000
        holding.held[0].succeed()
        before = lab.events.turns
        await lab.dispatcher.close()
        assert lab.events.turns - before <= CLOSING_ROUNDS
        assert lab.state(event) == "running"
        await lab.advance(60.0)
        assert lab.events.turns - before <= CLOSING_ROUNDS
        lab.events.refuses_with = None
        lab.events.trouble = []

    run(tmp_path, scenario)


def test_the_end_before_anything_began(tmp_path: Path) -> None:
    async def scenario() -> None:
        lab = Lab(tmp_path / "events.db", loop=(loop := ManualLoop()), targets=ScriptedTargets(loop))
        await lab.dispatcher.close()
        assert lab.loop.now == START
        lab.close_store()

    inside(scenario)


@pytest.mark.parametrize("first_due", [0.0, 45.0])
def test_what_waited_while_nobody_ran_is_run_at_its_time_or_at_once(tmp_path: Path, first_due: float) -> None:
    async def scenario() -> None:
        first = Lab(tmp_path / "events.db")
        await first.begin()
        function = first.targets.create(behave=Held.fail)
        event = await first.accept()
        await first.dispatcher.close()
        first.close_store()
        first.loop.now += 60.0 - first_due
        second = another(first, "lease-2")
        await second.begin()
        await second.advance(HOURS)
        assert times(function, event) == [0.0, 60.0, 180.0]
        assert second.condition(event) == "RetriesExhausted"
        await second.dispatcher.close()
        second.close_store()

    inside(scenario)


def test_an_event_that_cannot_be_settled_stops_no_other(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        events = [lab.put() for _ in range(6)]
        await lab.quiet()
        lab.store.submit(
            lambda connection: connection.execute(
                "CREATE TRIGGER odd BEFORE UPDATE ON events WHEN NEW.id = 3 AND NEW.state = 'succeeded' "
                "BEGIN SELECT RAISE(ABORT, 'odd'); END"
            ).fetchall()
        ).result(10)
        for held in holding.held:
            held.succeed()
        function.behave = Held.succeed
        events.append(lab.put())
        await lab.advance(10.0)
        assert lab.states() == {"succeeded": 6, "running": 1}
        assert [len(times(function, event)) for event in events] == [1] * 7
        assert {str(error) for error in lab.reported} == {"odd"}
        lab.reported.clear()
        assert "event #3 could not be settled" in lab.warned[-1]
        assert lab.dispatcher.running == 0
        lab.store.submit(lambda connection: connection.execute("DROP TRIGGER odd").fetchall()).result(10)
        await lab.dispatcher.close()
        lab.close_store()
        again = another(lab, "again")
        await again.begin()
        await again.quiet()
        assert again.states() == {"succeeded": 7}
        again.close_store()

    run(tmp_path, scenario)
