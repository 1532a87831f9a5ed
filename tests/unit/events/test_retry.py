"""When an event is run again, and when it is given up: by table, and for any life of an event."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.events.retry import (
    EVENT_AGE_EXCEEDED,
    LONGEST_BACKOFF_SECONDS,
    RETRIES_EXHAUSTED,
    SUCCESS,
    Again,
    Ended,
    EventPolicy,
    Finished,
    Tries,
    backoff_seconds,
    decide,
    too_old,
)

DEFAULT = EventPolicy()
HOURS = 3600.0
UNCOUNTED = (Ended.THROTTLED, Ended.SYSTEM_ERROR)

policies = st.builds(
    EventPolicy,
    maximum_retry_attempts=st.integers(0, 2),
    maximum_event_age_seconds=st.integers(60, 21_600),
)
delays = st.lists(st.floats(0, 900), min_size=1, max_size=2)
endings = st.sampled_from(Ended)
tries = st.builds(Tries, st.integers(0, 2), st.integers(0, 100))


@pytest.mark.parametrize(
    ("ended", "behind", "age", "policy", "expected"),
    [
        # A success is the end, however old the event is by then.
        (Ended.SUCCESS, Tries(0, 0), 0.1, DEFAULT, Finished(SUCCESS, Tries(1, 0))),
        (Ended.SUCCESS, Tries(2, 0), 9 * HOURS, DEFAULT, Finished(SUCCESS, Tries(3, 0))),
        (Ended.SUCCESS, Tries(0, 7), 3.0, DEFAULT, Finished(SUCCESS, Tries(1, 0))),
        # After one minute, then after two, then never.
        (Ended.FUNCTION_ERROR, Tries(0, 0), 0.1, DEFAULT, Again(60.1, Tries(1, 0))),
        (Ended.FUNCTION_ERROR, Tries(1, 0), 60.2, DEFAULT, Again(180.2, Tries(2, 0))),
        (Ended.FUNCTION_ERROR, Tries(2, 0), 180.3, DEFAULT, Finished(RETRIES_EXHAUSTED, Tries(3, 0))),
        # MaximumRetryAttempts.
        (
            Ended.FUNCTION_ERROR,
            Tries(0, 0),
            0.1,
            EventPolicy(maximum_retry_attempts=0),
            Finished(RETRIES_EXHAUSTED, Tries(1, 0)),
        ),
        (Ended.FUNCTION_ERROR, Tries(0, 0), 0.1, EventPolicy(maximum_retry_attempts=1), Again(60.1, Tries(1, 0))),
        (
            Ended.FUNCTION_ERROR,
            Tries(1, 0),
            60.2,
            EventPolicy(maximum_retry_attempts=1),
            Finished(RETRIES_EXHAUSTED, Tries(2, 0)),
        ),
        # It was lowered while the event waited.
        (
            Ended.FUNCTION_ERROR,
            Tries(2, 0),
            180.0,
            EventPolicy(maximum_retry_attempts=0),
            Finished(RETRIES_EXHAUSTED, Tries(3, 0)),
        ),
        # The age looks ahead: with 60 seconds there is one attempt only (as recorded).
        (
            Ended.FUNCTION_ERROR,
            Tries(0, 0),
            0.01,
            EventPolicy(maximum_event_age_seconds=60),
            Finished(EVENT_AGE_EXCEEDED, Tries(1, 0)),
        ),
        (Ended.FUNCTION_ERROR, Tries(0, 0), 0.5, EventPolicy(maximum_event_age_seconds=61), Again(60.5, Tries(1, 0))),
        (
            Ended.FUNCTION_ERROR,
            Tries(1, 0),
            61.0,
            EventPolicy(maximum_event_age_seconds=180),
            Finished(EVENT_AGE_EXCEEDED, Tries(2, 0)),
        ),
        # Both limits: what has no retry left is exhausted, not old.
        (
            Ended.FUNCTION_ERROR,
            Tries(2, 0),
            21_599.0,
            DEFAULT,
            Finished(RETRIES_EXHAUSTED, Tries(3, 0)),
        ),
        # Throttles and errors of the system double their wait and count nothing.
        (Ended.THROTTLED, Tries(0, 0), 0.0, DEFAULT, Again(1.0, Tries(0, 1))),
        (Ended.THROTTLED, Tries(0, 1), 1.0, DEFAULT, Again(3.0, Tries(0, 2))),
        (Ended.SYSTEM_ERROR, Tries(0, 2), 3.0, DEFAULT, Again(7.0, Tries(0, 3))),
        (Ended.SYSTEM_ERROR, Tries(1, 7), 500.0, DEFAULT, Again(628.0, Tries(1, 8))),
        (Ended.THROTTLED, Tries(0, 8), 255.0, DEFAULT, Again(511.0, Tries(0, 9))),
        (Ended.THROTTLED, Tries(0, 9), 511.0, DEFAULT, Again(811.0, Tries(0, 10))),
        (Ended.THROTTLED, Tries(0, 10_000), 811.0, DEFAULT, Again(1111.0, Tries(0, 10_001))),
        (Ended.THROTTLED, Tries(0, 0), 21_599.0, DEFAULT, Again(21_600.0, Tries(0, 1))),
        (Ended.THROTTLED, Tries(0, 0), 21_599.5, DEFAULT, Finished(EVENT_AGE_EXCEEDED, Tries(0, 1))),
        # A throttle after the last retry's function error does not end it: the retry was not made.
        (Ended.THROTTLED, Tries(2, 0), 180.0, DEFAULT, Again(181.0, Tries(2, 1))),
        # A run of the function begins the back-off anew.
        (Ended.FUNCTION_ERROR, Tries(0, 9), 600.0, DEFAULT, Again(660.0, Tries(1, 0))),
    ],
)
def test_the_table(ended: Ended, behind: Tries, age: float, policy: EventPolicy, expected: Again | Finished) -> None:
    made = decide(ended, behind, now=1000.0 + age, accepted_at=1000.0, policy=policy)
    if isinstance(expected, Again):
        assert isinstance(made, Again)
        assert made.due_at == pytest.approx(1000.0 + expected.due_at, abs=1e-9)
        assert made.tries == expected.tries
    else:
        assert made == expected


@pytest.mark.parametrize(
    ("given_delays", "waits"), [((60.0, 120.0), [60.0, 120.0]), ((5.0,), [5.0, 5.0]), ((0.0, 0.25), [0.0, 0.25])]
)
def test_delays_are_as_given_and_the_last_stands_for_all_further_ones(
    given_delays: tuple[float, ...], waits: list[float]
) -> None:
    now, behind, seen = 50.0, Tries(0, 0), []
    while isinstance(
        made := decide(
            Ended.FUNCTION_ERROR, behind, now=now, accepted_at=50.0, policy=DEFAULT, delays_seconds=given_delays
        ),
        Again,
    ):
        seen.append(made.due_at - now)
        now, behind = made.due_at, made.tries
    assert seen == waits
    assert made == Finished(RETRIES_EXHAUSTED, Tries(3, 0))


def test_the_back_off_doubles_from_a_second_to_five_minutes() -> None:
    assert [backoff_seconds(before) for before in range(11)] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


@given(st.integers(0, 10**12))
def test_the_back_off_never_falls_and_never_leaves_its_bounds(before: int) -> None:
    assert 1.0 <= backoff_seconds(before) <= backoff_seconds(before + 1) <= LONGEST_BACKOFF_SECONDS


@given(endings, tries, st.floats(0, 21_600), policies, delays)
def test_no_retry_is_ever_due_beyond_the_maximum_age_or_before_its_delay(
    ended: Ended, behind: Tries, age: float, policy: EventPolicy, waits: list[float]
) -> None:
    made = decide(ended, behind, now=age, accepted_at=0.0, policy=policy, delays_seconds=waits)
    if isinstance(made, Again):
        assert age <= made.due_at <= policy.maximum_event_age_seconds
        assert not too_old(made.due_at, 0.0, policy)
        wait = backoff_seconds(behind.backoffs) if ended in UNCOUNTED else waits[min(behind.attempts, len(waits) - 1)]
        assert made.due_at == age + wait
    assert made.tries.attempts == behind.attempts + (ended not in UNCOUNTED)
    assert made.tries.backoffs == (behind.backoffs + 1 if ended in UNCOUNTED else 0)
    assert (made == Finished(SUCCESS, made.tries)) is (ended is Ended.SUCCESS)


@given(endings, tries, st.floats(0, 21_600), policies, delays)
def test_a_wider_policy_never_gives_up_earlier(
    ended: Ended, behind: Tries, age: float, policy: EventPolicy, waits: list[float]
) -> None:
    made = decide(ended, behind, now=age, accepted_at=0.0, policy=policy, delays_seconds=waits)
    for wider in (
        replace(policy, maximum_retry_attempts=2),
        replace(policy, maximum_event_age_seconds=21_600),
    ):
        again = decide(ended, behind, now=age, accepted_at=0.0, policy=wider, delays_seconds=waits)
        if isinstance(made, Again):
            assert again == made


@given(endings, tries, st.floats(0, 20_000), st.floats(0, 2_000), policies, delays)
def test_an_older_event_never_gets_a_retry_that_a_younger_one_does_not(
    ended: Ended, behind: Tries, age: float, older_by: float, policy: EventPolicy, waits: list[float]
) -> None:
    young = decide(ended, behind, now=age, accepted_at=0.0, policy=policy, delays_seconds=waits)
    old = decide(ended, behind, now=age + older_by, accepted_at=0.0, policy=policy, delays_seconds=waits)
    if isinstance(old, Again):
        assert isinstance(young, Again)
        assert young.due_at <= old.due_at


@given(
    st.lists(st.tuples(st.sampled_from([each for each in Ended if each is not Ended.SUCCESS]), st.floats(0, 900))),
    policies,
    delays,
)
def test_every_life_ends_with_its_attempts_bounded_and_its_throttles_uncounted(
    script: list[tuple[Ended, float]], policy: EventPolicy, waits: list[float]
) -> None:
    now, behind, errors, uncounted = 0.0, Tries(0, 0), 0, 0
    for ended, duration in [*script, *[(Ended.THROTTLED, 0.0)] * 1000]:
        now += duration
        made = decide(ended, behind, now=now, accepted_at=0.0, policy=policy, delays_seconds=waits)
        errors += ended is Ended.FUNCTION_ERROR
        uncounted += ended in UNCOUNTED
        behind = made.tries
        assert behind.attempts == errors <= policy.maximum_retry_attempts + 1
        if isinstance(made, Finished):
            break
        now = made.due_at
    assert isinstance(made, Finished)
    assert made.condition in (RETRIES_EXHAUSTED, EVENT_AGE_EXCEEDED)
    assert (made.condition == RETRIES_EXHAUSTED) is (errors == policy.maximum_retry_attempts + 1)
    # Nine waits of less than five minutes after each run of the function; the rest of the age is full of long ones.
    assert uncounted <= 9 * (errors + 1) + policy.maximum_event_age_seconds / LONGEST_BACKOFF_SECONDS + 1
