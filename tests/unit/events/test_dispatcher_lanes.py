"""How many events run at once, and that functions do not wait for one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.events.event_lab import Held, Lab, run, times
from venturekit.service.events.dispatcher import LOOK_AGAIN_SECONDS
from venturekit.service.events.lanes import SHARE, TURN

if TYPE_CHECKING:
    from pathlib import Path


class Holding:
    """A function's behaviour: runs wait until they are let go."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def __call__(self, held: Held) -> None:
        self.held.append(held)

    def release(self, count: int = 1_000_000) -> int:
        going, self.held = self.held[:count], self.held[count:]
        for each in going:
            each.succeed()
        return len(going)


@pytest.mark.parametrize("limit", [1, 3, 16, 50])
def test_no_more_events_of_a_function_run_at_once_than_is_set(tmp_path: Path, limit: int) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        events = [lab.put() for _ in range(60)]
        await lab.quiet()
        assert (len(holding.held), lab.dispatcher.running) == (limit, limit)
        seen = limit
        while seen < len(events):
            holding.release(1)
            await lab.quiet()
            assert lab.dispatcher.running == limit
            seen += 1
            assert len(function.runs) == seen
        holding.release()
        await lab.quiet()
        assert lab.states() == {"succeeded": 60}
        # First come, first run; nobody twice.
        assert [made.request_id for made in function.runs] == events

    run(tmp_path, scenario, concurrency=limit)


def test_reserved_concurrency_bounds_events_and_invokes_together(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding)
        lab.targets.account.reserve("f", 3)
        assert function.concurrency.take()
        events = [lab.put() for _ in range(6)]
        await lab.quiet()
        assert (len(holding.held), function.concurrency.running) == (2, 3)
        function.concurrency.release()
        await lab.advance(LOOK_AGAIN_SECONDS)
        assert (len(holding.held), function.concurrency.running) == (3, 3)
        while holding.release():
            await lab.quiet()
        await lab.advance(60.0)
        while holding.release():
            await lab.quiet()
        assert lab.states() == {"succeeded": 6}
        assert function.concurrency.running == 0
        # Those that waited their turn were not throttled.
        assert {kind for event in events for kind in lab.kinds(event)} == {"accepted", "started", "succeeded"}

    run(tmp_path, scenario)


def test_one_event_at_a_time_finds_out_that_a_function_is_throttled(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create()
        lab.targets.account.reserve("f", 1)
        assert function.concurrency.take()
        events = [lab.put() for _ in range(500)]
        await lab.advance(30.0)
        throttled = sum(lab.kinds(event).count("throttled") for event in events)
        assert 25 <= throttled <= 35
        function.concurrency.release()
        await lab.advance(400.0)
        assert lab.states() == {"succeeded": 500}

    run(tmp_path, scenario)


def test_events_are_not_handed_to_a_pool_that_has_no_room(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        function = lab.targets.create(behave=holding, room=2)
        lab.put()
        await lab.quiet()
        for _ in range(9):
            lab.put()
        await lab.quiet()
        assert len(holding.held) >= 3
        function.room = 0
        before = len(function.runs)
        for _ in range(30):
            lab.put()
        await lab.advance(1.0)
        assert len(function.runs) == before
        # It is seen soon that there is room again, although nobody says so.
        function.room = 4
        await lab.advance(LOOK_AGAIN_SECONDS)
        assert len(function.runs) > before
        function.room = 1000
        for _ in range(20):
            holding.release()
            await lab.advance(LOOK_AGAIN_SECONDS)
        assert lab.states() == {"succeeded": 40}

    run(tmp_path, scenario)


def test_a_lane_without_room_does_not_delay_the_retry_of_another(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        full = lab.targets.create("full", behave=Holding())
        await lab.accept("full")
        full.room = 0
        retried = lab.targets.create("retried", behave=Held.fail)
        await lab.accept("retried")
        await lab.accept("full")
        await lab.advance(1.0)
        assert times(retried) == [0.0, 0.013, 0.026]

    run(tmp_path, scenario, delays_seconds=(0.013, 0.013))


def test_a_flood_on_one_function_does_not_delay_another(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        flooded, quick = lab.targets.create("flooded", behave=holding), lab.targets.create("quick")
        for _ in range(2000):
            lab.put("flooded")
        event = await lab.accept("quick")
        assert (times(quick), lab.state(event)) == ([0.0], "succeeded")
        assert len(flooded.runs) == 16
        while holding.release():
            await lab.quiet()
        assert lab.states() == {"succeeded": 2001}

    run(tmp_path, scenario)


def test_floods_share_the_rounds(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        lab.dispatcher.stop()
        floods = [lab.targets.create(f"flooded-{number}") for number in range(20)]
        for flooded in floods:
            for _ in range(100):
                lab.put(flooded.name)
        before_quick: list[int] = []

        def look(held: Held) -> None:
            before_quick.extend(len(flooded.runs) for flooded in floods)
            held.succeed()

        lab.targets.create("quick", behave=look)
        await lab.accept("quick")
        lab.dispatcher.begin()
        await lab.quiet()
        assert lab.states() == {"succeeded": 2001}
        # It came last, and had its turn after one of each of the others; those have had no second one, but for the
        # round that was being written by then.
        assert max(before_quick) <= 2 * SHARE
        assert sum(before_quick) <= len(floods) * SHARE + TURN

    run(tmp_path, scenario, concurrency=1000)


def test_a_thousand_functions_leave_nothing_behind(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        for number in range(1000):
            lab.targets.create(f"f{number}")
            lab.put(f"f{number}")
        await lab.quiet()
        assert lab.states() == {"succeeded": 1000}
        dispatcher = lab.dispatcher
        assert (len(dispatcher._lanes), len(dispatcher._pools), dispatcher.running, dispatcher.live) == (0, 0, 0, 0)
        assert lab.loop.next_timer is None

    run(tmp_path, scenario)
