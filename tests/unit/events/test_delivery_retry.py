"""When a delivery that failed is tried again, and what is written down."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.events.delivery_retry import (
    NOTED_ATTEMPTS,
    REFUSALS_LIMIT,
    Health,
    after_refusal,
    after_target_failure,
    is_noted,
)

DOUBLING = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0, 300.0]


def test_a_target_that_fails_is_left_alone_ever_longer() -> None:
    health, delays = Health(), []
    for _ in DOUBLING:
        retry = after_target_failure(health)
        assert retry.message_delay_seconds == retry.target_delay_seconds
        delays.append(retry.target_delay_seconds)
        health = retry.health
    assert delays == DOUBLING
    assert not health.is_good


def test_a_refused_message_does_not_hold_up_the_others() -> None:
    for attempts, delay in enumerate(DOUBLING):
        retry = after_refusal(Health(), attempts)
        assert (retry.message_delay_seconds, retry.target_delay_seconds) == (delay, 0.0)
        assert retry.health == Health(0, 1)


def test_a_target_that_refuses_everything_is_left_alone_too() -> None:
    health, delays = Health(), []
    for _ in range(REFUSALS_LIMIT + 11):
        retry = after_refusal(health, 0)
        assert retry.message_delay_seconds == max(1.0, retry.target_delay_seconds)
        delays.append(retry.target_delay_seconds)
        health = retry.health
    assert delays == [0.0] * (REFUSALS_LIMIT - 1) + DOUBLING


def test_a_target_that_answers_has_not_failed() -> None:
    assert after_refusal(Health(failures=5), 0).health == Health(0, 1)
    assert Health().is_good


@given(failures=st.integers(0, 10**6), refusals=st.integers(0, 10**6), attempts=st.integers(0, 10**6))
@settings(deadline=None, max_examples=100)
def test_nothing_waits_for_longer_than_five_minutes(failures: int, refusals: int, attempts: int) -> None:
    health = Health(failures, refusals)
    for retry in (after_target_failure(health), after_refusal(health, attempts)):
        assert 1.0 <= retry.message_delay_seconds <= 300.0
        assert 0.0 <= retry.target_delay_seconds <= retry.message_delay_seconds


@pytest.mark.parametrize(
    ("attempts", "former", "reason", "noted"),
    [
        (0, "", "a", True),
        (0, "a", "a", True),
        (1, "a", "a", False),
        (1, "a", "b", True),
        (NOTED_ATTEMPTS - 1, "a", "b", True),
        (NOTED_ATTEMPTS, "a", "b", False),
    ],
)
def test_what_is_a_line_of_history(attempts: int, former: str, reason: str, noted: bool) -> None:
    assert is_noted(attempts, former, reason) is noted
