"""kill -9 of the service while events flow: what was acknowledged is never lost, and ends once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.forms import in_full
from tests.reliability import checker
from tests.reliability.broken_service import (
    answers_before_the_commit,
    broken_program,
    owes_no_records,
    settles_twice,
    settles_twice_whoever_holds_the_event,
)
from tests.reliability.campaign import Campaign
from tests.reliability.workload import QUICK_SHARES, Files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_no_acknowledged_event_is_lost_by_kills(tmp_path: Path, prepared: Path, full_counts: bool) -> None:
    kills, events = (30, 10_000) if full_counts else (4, 1000)
    findings = Campaign(Files(tmp_path), seed=20261121, kills=kills, events=events, prepared=prepared).run()
    print(findings.figures)
    assert findings.report() == ""
    assert findings.figures["acknowledged"] >= events
    # Something must have been running when it was killed, or nothing was shown.
    assert findings.figures["interrupted"] > 0


def broken(tmp_path: Path, prepared: Path, breakage: Callable[[], None]) -> checker.Findings:
    """What is found about a service that one safety was taken from."""
    campaign = Campaign(
        Files(tmp_path),
        seed=1,
        kills=2,
        events=200,
        program=broken_program(breakage),
        shares=QUICK_SHARES,
        rest_seconds=30.0,
        prepared=prepared,
    )
    return campaign.run()


@pytest.mark.parametrize(
    ("breakage", "kind"),
    [
        (answers_before_the_commit, checker.LOST),
        *in_full(
            (settles_twice_whoever_holds_the_event, checker.TERMINAL),
            (owes_no_records, checker.DESTINED),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_check_convicts_a_service_without_its_safeties(
    tmp_path: Path, prepared: Path, breakage: Callable[[], None], kind: str
) -> None:
    assert kind in broken(tmp_path, prepared, breakage).kinds


def test_a_settlement_that_is_made_twice_counts_once(tmp_path: Path, prepared: Path) -> None:
    assert broken(tmp_path, prepared, settles_twice).report() == ""
