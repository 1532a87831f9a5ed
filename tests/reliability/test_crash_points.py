"""The service ends at a named place, in the midst of its work: nothing acknowledged is lost, nothing ends without what
it owes its destination."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path

import pytest

from tests.reliability.crash_points import NOWHERE, PLACES
from tests.reliability.serving import END_SECONDS
from tests.reliability.stage import Stage
from tests.reliability.workload import QUEUE, QUICK_SHARES, Files

CRASH_POINTS = Path(__file__).with_name("crash_points.py")
EVENTS = 40


@pytest.mark.parametrize("place", PLACES)
def test_a_crash_at_any_place_breaks_no_promise(tmp_path: Path, place: str, full_counts: bool) -> None:
    files = Files(tmp_path)
    draw = random.Random(place)
    crashes = 5 if full_counts else 1

    def program(name: str, passes: int) -> tuple[str, ...]:
        return sys.executable, str(CRASH_POINTS), name, str(passes), str(files.arrived)

    with Stage(files, seed=draw.randrange(1000), shares=QUICK_SHARES, on_failure=QUEUE) as stage:
        for _ in range(crashes):
            passes = draw.randint(1, 4)
            with stage.life(program(place, passes)) as (running, life):
                running.wait_ready()
                with stage.flow(running, EVENTS):
                    status = running.process.wait(END_SECONDS)
            assert status == -signal.SIGKILL, running.complaint()
            print(f"{place}, time {passes}: {life.left}")
        findings = stage.rest(EVENTS, program=program(NOWHERE, 0))
    print(findings.figures)
    assert findings.report() == ""
