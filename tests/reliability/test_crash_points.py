"""The service ends at a named place, in the midst of its work: nothing acknowledged is lost, nothing ends without what
it owes its destination."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.reliability.broken_service import owes_records_with_the_next_turn
from tests.reliability.checker import DESTINED
from tests.reliability.crash_points import AFTER_FAILURE, NOTHING, NOWHERE, PLACES
from tests.reliability.disk_faults import Action, Operation
from tests.reliability.serving import END_SECONDS
from tests.reliability.stage import Stage
from tests.reliability.workload import FAILS, FAILS_ONCE, Files

if TYPE_CHECKING:
    from tests.reliability.checker import Findings
    from tests.reliability.disk_faults import DiskFaults

CRASH_POINTS = Path(__file__).with_name("crash_points.py")
EVENTS = 40
SHARES = {FAILS: 0.3, FAILS_ONCE: 0.1}
# Of its database a service writes to this file in a checkpoint only.
DATABASE = "/venturekit.sqlite3"


def crash(folder: Path, prepared: Path, *places: str, crashes: int = 1, breakage: str = NOTHING) -> Findings:
    """What is found after some lives that have ended at each place, and a last one in which all comes to rest."""
    files = Files(folder)
    draw = random.Random("".join(places))

    def program(name: str, passes: int, breakage: str) -> tuple[str, ...]:
        return sys.executable, str(CRASH_POINTS), name, str(passes), str(files.arrived), breakage

    with Stage(files, seed=draw.randrange(1000), shares=SHARES, prepared=prepared) as stage:
        for place in places * crashes:
            passes = draw.randint(1, 4)
            with stage.life(program(place, passes, breakage)) as (running, life):
                # With events that a former life has left it may come past the place before it serves.
                if running.becomes_ready():
                    with stage.flow(running, EVENTS):
                        running.process.wait(END_SECONDS)
                assert running.process.wait(END_SECONDS) == -signal.SIGKILL, running.complaint()
            print(f"{place}, time {passes}: {life.left}")
        findings = stage.rest(EVENTS, program=program(NOWHERE, 0, NOTHING))
    print(findings.figures)
    return findings


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.full
def test_a_crash_at_any_place_breaks_no_promise(tmp_path: Path, prepared_with_queue: Path, place: str) -> None:
    assert crash(tmp_path, prepared_with_queue, place, crashes=5).report() == ""


@pytest.mark.parametrize("first", range(3))
def test_a_crash_at_each_place_after_the_other_breaks_no_promise(
    tmp_path: Path, prepared_with_queue: Path, first: int
) -> None:
    assert crash(tmp_path, prepared_with_queue, *PLACES[first::3]).report() == ""


def test_a_crash_between_two_transactions_is_convicted(tmp_path: Path, prepared_with_queue: Path) -> None:
    breakage = owes_records_with_the_next_turn.__name__
    findings = crash(tmp_path, prepared_with_queue, AFTER_FAILURE, crashes=2, breakage=breakage)
    assert DESTINED in findings.kinds


@pytest.mark.parametrize("operation", [Operation.WRITES, Operation.SYNCS], ids=["writes", "syncs"])
def test_a_crash_inside_a_checkpoint_breaks_no_promise(
    tmp_path: Path, prepared: Path, faults: DiskFaults, operation: Operation, full_counts: bool
) -> None:
    draw = random.Random(operation.value)
    with Stage(Files(tmp_path), seed=5, shares=SHARES, prepared=prepared) as stage:
        for _ in range(5 if full_counts else 1):
            with stage.life(environ=faults.environ) as (running, _):
                running.wait_ready()
                skip = draw.randrange(12) if operation is Operation.WRITES else 0
                faults.begin(operation, DATABASE, 0, action=Action.KILL, skip=skip)
                with stage.flow(running, 2000):
                    status = running.process.wait(END_SECONDS)
            assert status == -signal.SIGKILL, running.complaint()
            # The next life begins with a checkpoint of its own, which is one more to die in.
            faults.end()
        findings = stage.rest(EVENTS)
    print(findings.figures)
    assert findings.report() == ""


def test_a_crash_inside_the_checkpoint_of_a_start_breaks_no_promise(
    tmp_path: Path, prepared: Path, faults: DiskFaults
) -> None:
    with Stage(Files(tmp_path), seed=6, shares=SHARES, prepared=prepared) as stage:
        with stage.life() as (running, _), stage.flow(running.wait_ready(), 5 * EVENTS):
            stage.wait_acknowledged(4 * EVENTS)
            running.kill()
        for skip in (0, 2, 5):
            faults.begin(Operation.WRITES, DATABASE, 0, action=Action.KILL, skip=skip)
            with stage.life(environ=faults.environ) as (running, _):
                assert running.process.wait(END_SECONDS) == -signal.SIGKILL
        findings = stage.rest(EVENTS)
    assert findings.report() == ""
