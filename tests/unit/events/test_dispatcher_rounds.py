"""When the dispatcher's rounds come, and what those do together that are claimed or settled in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.events.event_lab import Held, Lab, run
from venturekit.service.events.dispatcher import ROUNDS_APART_SECONDS, STORE_RETRY_SECONDS
from venturekit.service.store.errors import StoreBusyError

if TYPE_CHECKING:
    from pathlib import Path


class Holding:
    """A function's behaviour: runs wait until they are let go."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def __call__(self, held: Held) -> None:
        self.held.append(held)

    def release(self) -> None:
        going, self.held = self.held, []
        for each in going:
            each.succeed()


def test_while_callers_wait_rounds_keep_apart(tmp_path: Path) -> None:
    crowd = [False]

    async def scenario(lab: Lab) -> None:
        holding = Holding()
        lab.targets.create(behave=holding)
        await lab.accept()
        assert len(holding.held) == 1
        crowd[0] = True
        waiting = [await lab.accept() for _ in range(3)]
        assert len(holding.held) == 1
        await lab.advance(ROUNDS_APART_SECONDS * 0.9)
        assert len(holding.held) == 1
        await lab.advance(ROUNDS_APART_SECONDS * 0.2)
        assert len(holding.held) == 4
        # What has ended is settled as late, and not forgotten.
        holding.release()
        await lab.quiet()
        assert {lab.state(event) for event in waiting} == {"running"}
        await lab.advance(ROUNDS_APART_SECONDS)
        assert lab.states() == {"succeeded": 4}

    run(tmp_path, scenario, crowded=lambda: crowd[0])


def test_without_waiting_callers_rounds_come_at_once(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create()
        for number in range(1, 4):
            await lab.accept()
            assert len(function.runs) == number
        assert lab.states() == {"succeeded": 3}

    run(tmp_path, scenario, crowded=lambda: False)


def test_a_round_after_a_pause_comes_at_once_even_so(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        function = lab.targets.create()
        for number in range(1, 4):
            await lab.advance(ROUNDS_APART_SECONDS * 2)
            await lab.accept()
            assert len(function.runs) == number

    run(tmp_path, scenario, crowded=lambda: True)


def test_who_is_settled_makes_room_in_the_same_round(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        lab.targets.create(behave=holding)
        for _ in range(12):
            lab.put()
        await lab.quiet()
        for _ in range(2):
            assert len(holding.held) == 4
            turns = lab.events.turns
            holding.release()
            await lab.quiet()
            assert (len(holding.held), lab.events.turns) == (4, turns + 1)
            # In the database, too, no more are ever claimed than may run.
            assert lab.states()["running"] == 4

    run(tmp_path, scenario, concurrency=4)


def test_what_could_not_be_settled_makes_no_room(tmp_path: Path) -> None:
    async def scenario(lab: Lab) -> None:
        holding = Holding()
        lab.targets.create(behave=holding)
        for _ in range(12):
            lab.put()
        await lab.quiet()
        lab.events.trouble = [StoreBusyError("as told"), StoreBusyError("as told")]
        for _ in range(2):
            holding.release()
            await lab.quiet()
            assert holding.held == []
            await lab.advance(STORE_RETRY_SECONDS)
        assert len(holding.held) == 4
        assert lab.states() == {"queued": 4, "running": 4, "succeeded": 4}
        while holding.held:
            holding.release()
            await lab.quiet()
        assert lab.states() == {"succeeded": 12}

    run(tmp_path, scenario, concurrency=4)


@pytest.mark.parametrize(("lasting", "looked_up"), [(True, 1), (False, 5)])
def test_a_name_is_looked_up_once_a_round_unless_it_is_drawn_for(tmp_path: Path, lasting: bool, looked_up: int) -> None:
    async def scenario(lab: Lab) -> None:
        lab.targets.create(lasting=lasting, takes=1.0)
        # As long as it is not known what runs them, few are claimed at once.
        await lab.accept()
        names: list[tuple[str, str]] = []
        resolve = lab.targets.resolve

        def counting(account_id: str, function_name: str, qualifier: str) -> Any:
            names.append((function_name, qualifier))
            return resolve(account_id, function_name, qualifier)

        lab.targets.resolve = counting  # type: ignore[method-assign]
        for _ in range(5):
            lab.put()
        other = lab.put(qualifier="live")
        await lab.quiet()
        assert (names.count(("f", "")), names.count(("f", "live"))) == (looked_up, 1)
        await lab.advance(1.0)
        assert lab.state(other) == "succeeded"
        await lab.accept()
        # What it stands for may have changed since.
        assert names.count(("f", "")) == looked_up + 1

    run(tmp_path, scenario)
