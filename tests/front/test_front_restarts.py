"""When a front process that has died is started again."""

from __future__ import annotations

from venturekit.service.restarts import FIRST_SECONDS, LONGEST_SECONDS, STEADY_SECONDS, Restarts


def test_early_deaths_are_waited_out_longer_and_longer() -> None:
    restarts = Restarts()
    delays = [restarts.delay(0.01) for _ in range(12)]
    assert delays[:4] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS, 8 * FIRST_SECONDS]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_SECONDS
    assert restarts.count == 12


def test_a_steady_life_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.delay(1.0)
    assert restarts.delay(STEADY_SECONDS) == FIRST_SECONDS
    assert restarts.delay(STEADY_SECONDS) == FIRST_SECONDS
