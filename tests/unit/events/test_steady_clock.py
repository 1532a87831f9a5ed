"""Steady time: no jump of the system's clock moves it, and no restart or boot turns it back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.store.event_tables import event_tables, new_event
from venturekit.service.events import steady_clock
from venturekit.service.events.steady_clock import SteadyClock, boot_id, boot_seconds
from venturekit.service.store import Store
from venturekit.service.store.event_documents import FAILED, Settlement
from venturekit.service.store.events import EventStore, insert_events, steady_offset, take_turn

if TYPE_CHECKING:
    from pathlib import Path

WEEK = 7 * 86_400.0
WALL = 1_800_000_000.0


def test_it_is_the_time_since_the_boot_and_an_offset() -> None:
    since_boot = [5.0]
    clock = SteadyClock(lambda: since_boot[0])
    clock.offset_seconds = 1000.0
    assert clock() == 1005.0
    since_boot[0] = 6.5
    assert clock() == 1006.5


def test_this_machine_has_a_boot_and_a_time_since_it() -> None:
    assert len(boot_id()) == 36
    assert boot_id() == boot_id()
    first = boot_seconds()
    assert 0 < first <= boot_seconds()
    # The time asleep counts.
    assert first >= time.monotonic() - 1.0


def test_a_system_that_does_not_name_its_boots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steady_clock, "BOOT_ID", tmp_path / "missing")
    assert boot_id() == ""


@pytest.mark.parametrize("jump", [-WEEK, -1.0, 0.0, 1.0, WEEK])
def test_within_a_boot_the_offset_stays_whatever_the_wall_shows(tmp_path: Path, jump: float) -> None:
    async def scenario() -> None:
        offsets = []
        for wall in (WALL, WALL + jump, WALL - jump):
            store = Store.open(tmp_path / "events.db", reserve_size_bytes=4096)
            offsets.append(await EventStore(store).steady_offset("boot-1", 100.0, wall))
            store.close()
        assert offsets == [WALL - 100.0] * 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        # Half an hour later by the wall.
        (WALL + 1800.0, WALL + 1800.0),
        # Set back: an event must not become younger than it was.
        (WALL - WEEK, WALL + 50.0),
    ],
)
def test_after_a_boot_it_goes_on_from_the_wall_but_never_from_before_the_newest_event(
    wall: float, expected: float
) -> None:
    with event_tables() as connection:
        assert steady_offset(connection, "boot-1", 100.0, WALL) + 100.0 == WALL
        insert_events(connection, [new_event(accepted_at=WALL + 10.0), new_event(accepted_at=WALL + 50.0)])
        # The machine was booted anew: its own seconds begin again.
        offset = steady_offset(connection, "boot-2", 7.0, wall)
        assert offset + 7.0 == expected
        # From now on this boot has its offset.
        assert steady_offset(connection, "boot-2", 9.0, WALL + WEEK) == offset


def test_events_that_have_ended_do_not_count() -> None:
    with event_tables() as connection:
        steady_offset(connection, "boot-1", 100.0, WALL)
        insert_events(connection, [new_event(accepted_at=WALL + WEEK)])
        turn = take_turn(connection, "lease", [], [(new_event().lane, 1)], WALL + WEEK, WALL)
        ended = Settlement(
            event_id=turn.claimed[0].event_id,
            state=FAILED,
            attempts=1,
            backoffs=0,
            due_at=0.0,
            history=(),
            finished_wall=WALL,
        )
        take_turn(connection, "lease", [ended], [], WALL + WEEK, WALL)
        assert steady_offset(connection, "boot-2", 0.0, WALL) == WALL


def test_a_boot_without_a_name_is_never_taken_for_a_former_one() -> None:
    with event_tables() as connection:
        assert steady_offset(connection, "", 90_000.0, WALL) == WALL - 90_000.0
        assert steady_offset(connection, "", 10.0, WALL + 60.0) == WALL + 50.0


starts = st.lists(
    st.tuples(
        st.sampled_from(["same boot", "new boot"]),
        st.floats(0, 1e6),  # how long the process ran, or the machine was off
        st.floats(-WEEK, WEEK),  # how far the wall jumped
        st.booleans(),  # whether an event was accepted
    ),
    max_size=8,
)


@given(starts)
def test_it_never_goes_back_behind_an_event_that_waits(script: list[tuple[str, float, float, bool]]) -> None:
    with event_tables() as connection:
        wall, since_boot, boot, newest = WALL, 500.0, 1, 0.0
        for kind, passed, jump, accepts in script:
            wall += passed + jump
            boot, since_boot = (boot, since_boot + passed) if kind == "same boot" else (boot + 1, 3.0)
            clock = steady_offset(connection, f"boot-{boot}", since_boot, wall) + since_boot
            assert clock >= newest - 1e-3
            if accepts:
                insert_events(connection, [new_event(accepted_at=clock)])
                newest = max(newest, clock)
