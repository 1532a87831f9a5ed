"""kill -9 of the service while events flow: what was acknowledged is never lost, and ends once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.reliability import checker
from tests.reliability.broken_service import (
    answers_before_the_commit,
    owes_no_records,
    settles_twice,
    settles_twice_whoever_holds_the_event,
)
from tests.reliability.campaign import Campaign
from tests.reliability.workload import QUICK_SHARES, Files

BROKEN_SERVICE = Path(__file__).with_name("broken_service.py")


def test_no_acknowledged_event_is_lost_by_kills(tmp_path: Path, full_counts: bool) -> None:
    kills, events = (30, 10_000) if full_counts else (6, 1500)
    findings = Campaign(Files(tmp_path), seed=20261121, kills=kills, events=events).run()
    print(findings.figures)
    assert findings.report() == ""
    assert findings.figures["acknowledged"] >= events
    # Something must have been running when it was killed, or nothing was shown.
    assert findings.figures["interrupted"] > 0


def broken(tmp_path: Path, breakage: object) -> checker.Findings:
    """What is found about a service that one safety was taken from."""
    program = (sys.executable, str(BROKEN_SERVICE), getattr(breakage, "__name__", ""))
    return Campaign(
        Files(tmp_path), seed=1, kills=2, events=200, program=program, shares=QUICK_SHARES, rest_seconds=10.0
    ).run()


@pytest.mark.parametrize(
    ("breakage", "kind"),
    [
        (answers_before_the_commit, checker.LOST),
        (settles_twice_whoever_holds_the_event, checker.TERMINAL),
        (owes_no_records, checker.DESTINED),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_check_convicts_a_service_without_its_safeties(tmp_path: Path, breakage: object, kind: str) -> None:
    assert kind in broken(tmp_path, breakage).kinds


def test_a_settlement_that_is_made_twice_counts_once(tmp_path: Path) -> None:
    assert broken(tmp_path, settles_twice).report() == ""
