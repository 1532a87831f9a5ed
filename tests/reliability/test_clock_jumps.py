"""The system's clock jumps by a week, back and forth, while events wait: none is run early, none expires."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.reliability import checker
from tests.reliability.checker import reading, stored_events
from tests.reliability.clients import EventConnection, PlannedEvent
from tests.reliability.workload import FAILS_ONCE, WORKER_SOURCE, WORKERS, Files
from tests.service import harness
from tests.service.harness import WAIT_SECONDS, FunctionSet, RunningService, until
from venturekit.service import asynchronous
from venturekit.service.app import Service
from venturekit.service.events.steady_clock import SteadyClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEEK_SECONDS = 7 * 86_400.0
DELAY_SECONDS = 2.0
# The least there is: had a jump any effect on the age, they would be far too old.
MAXIMUM_AGE_SECONDS = 60
SLACK_SECONDS = 5.0
EVENTS = 12
EARLY, EXPIRED = "early", "expired"
PASSING_TIME = """
import time
def handler(event, context):
    time.sleep(event)
"""


class JumpingWall:
    """The system's clock, moved."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def __call__(self) -> float:
        return time.time() + self.offset_seconds


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> JumpingWall:
    """What every service of the test takes for the system's clock."""
    jumping = JumpingWall()
    monkeypatch.setattr(harness, "Service", partial(Service, wall=jumping))
    return jumping


@contextmanager
def service(files: Files) -> Iterator[FunctionSet]:
    """A service on the data directory, with the functions in it."""
    running = RunningService(files.data_dir, async_retry_delays=(DELAY_SECONDS,))
    try:
        yield running.functions()
    finally:
        running.close()


def failed_once(functions: FunctionSet, files: Files) -> None:
    """Events that have failed, and wait to be run again."""
    functions.create(WORKER_SOURCE, name=WORKERS[0], Timeout=10)
    functions.create(PASSING_TIME, name="passing-time", Timeout=1)
    functions.client.put_function_event_invoke_config(
        FunctionName=WORKERS[0], MaximumEventAgeInSeconds=MAXIMUM_AGE_SECONDS
    )
    connection = EventConnection(functions.url)
    for number in range(EVENTS):
        assert connection.send(PlannedEvent(number, FAILS_ONCE, WORKERS[0])).status == 202
    connection.close()
    until(lambda: letters(files) == {"ase"}, "every event has failed once")


def letters(files: Files) -> set[str]:
    """The histories there are."""
    with reading(files.database) as connection:
        return {event.letters for event in stored_events(connection)}


def broken(files: Files) -> set[str]:
    """What the jumps have done to the events, after all have ended."""
    checker.wait_at_rest(files.database, WAIT_SECONDS)
    found = set() if letters(files) == {"aseso"} else {EXPIRED}
    times = defaultdict(list)
    for run in files.all_runs():
        times[run.request_id].append(run.at)
    gaps = [later - earlier for runs in times.values() for earlier, later in itertools.pairwise(runs)]
    # The first run began a little before it failed, and the delay counts from there.
    return found | {EARLY for gap in gaps if gap < DELAY_SECONDS}


def jump_about(functions: FunctionSet, wall: JumpingWall) -> None:
    """A week ahead, a week behind, a week ahead; an invocation goes on meanwhile, and is not cut off."""
    for offset_seconds in (WEEK_SECONDS, -WEEK_SECONDS, WEEK_SECONDS):
        wall.offset_seconds = offset_seconds
        assert functions.invoke("passing-time", 0.3).error is None


def test_jumps_while_events_wait_change_nothing_but_what_is_shown(tmp_path: Path, wall: JumpingWall) -> None:
    files = Files(tmp_path)
    began = time.time()
    with service(files) as functions:
        failed_once(functions, files)
        jump_about(functions, wall)
        assert broken(files) == set()
    with reading(files.database) as connection:
        for event in stored_events(connection):
            accepted, *_, started_again, succeeded = event.walls
            assert began <= accepted < began + 60
            assert began + WEEK_SECONDS < started_again <= succeeded < time.time() + WEEK_SECONDS


def test_a_clock_that_follows_the_wall_is_convicted(
    tmp_path: Path, wall: JumpingWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SteadyClock, "__call__", lambda _: wall())
    files = Files(tmp_path)
    with service(files) as functions:
        failed_once(functions, files)
        jump_about(functions, wall)
        assert broken(files)


@pytest.mark.parametrize("offset_seconds", [WEEK_SECONDS, -WEEK_SECONDS], ids=["ahead", "behind"])
def test_a_jump_between_two_services_changes_nothing(tmp_path: Path, wall: JumpingWall, offset_seconds: float) -> None:
    files = Files(tmp_path)
    with service(files) as functions:
        failed_once(functions, files)
    wall.offset_seconds = offset_seconds
    began = time.monotonic()
    with service(files):
        assert broken(files) == set()
    # Nor does it wait for longer than it has to.
    assert time.monotonic() - began < DELAY_SECONDS + SLACK_SECONDS


def test_a_clock_that_begins_anew_with_each_service_is_convicted(
    tmp_path: Path, wall: JumpingWall, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = itertools.count()
    monkeypatch.setattr(asynchronous, "boot_id", lambda: f"boot {next(names)}")
    files = Files(tmp_path)
    with service(files) as functions:
        failed_once(functions, files)
    wall.offset_seconds = WEEK_SECONDS
    with service(files):
        assert broken(files)
