"""When an event is run again, and when it is given up. Pure: times are steady seconds.

Source: AWS Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation": a function
that failed is run again after one minute, then after two; a throttle or an error of the system is tried again for up to
six hours, after a second at first and five minutes at most, and does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_DELAYS_SECONDS: Final = (60.0, 120.0)
FIRST_BACKOFF_SECONDS: Final = 1.0
LONGEST_BACKOFF_SECONDS: Final = 300.0
MAXIMUM_RETRY_ATTEMPTS: Final = 2
MAXIMUM_EVENT_AGE_SECONDS: Final = 21_600

SUCCESS: Final = "Success"
RETRIES_EXHAUSTED: Final = "RetriesExhausted"
EVENT_AGE_EXCEEDED: Final = "EventAgeExceeded"
ZERO_RESERVED_CONCURRENCY: Final = "ZeroReservedConcurrency"
RECURSIVE_INVOCATION: Final = "RecursiveInvocation"
FUNCTION_NOT_FOUND: Final = "FunctionNotFound"
"""Why an event has ended: ``condition`` of its record. The last two are ours, AWS's words for them are not known."""


class Ended(Enum):
    """How one try to run an event ended."""

    SUCCESS = "success"
    FUNCTION_ERROR = "function error"
    THROTTLED = "throttled"
    SYSTEM_ERROR = "system error"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPolicy:
    """The event invoke configuration in force: limits, and the ARNs that records and dead letters go to, or ''."""

    maximum_retry_attempts: int = MAXIMUM_RETRY_ATTEMPTS
    maximum_event_age_seconds: int = MAXIMUM_EVENT_AGE_SECONDS
    on_success: str = ""
    on_failure: str = ""
    dead_letter: str = ""


@dataclass(frozen=True, slots=True)
class Tries:
    """What an event has behind it: counted runs of the function, and uncounted tries since the last of them."""

    attempts: int
    backoffs: int


@dataclass(frozen=True, slots=True)
class Again:
    """The event is to be run again at ``due_at``."""

    due_at: float
    tries: Tries


@dataclass(frozen=True, slots=True)
class Finished:
    """The event has ended with this ``condition``."""

    condition: str
    tries: Tries


def too_old(now: float, accepted_at: float, policy: EventPolicy) -> bool:
    """Whether an event must not be run any more."""
    return now - accepted_at > policy.maximum_event_age_seconds


def decide(
    ended: Ended,
    tries: Tries,
    *,
    now: float,
    accepted_at: float,
    policy: EventPolicy,
    delays_seconds: Sequence[float] = RETRY_DELAYS_SECONDS,
) -> Again | Finished:
    """What follows from the end of a try. ``tries`` are those before it.

    The last of ``delays_seconds`` stands for all further ones. A retry that would start beyond the maximum age is not
    waited for: the event ends at once (as recorded).
    """
    counted = ended in (Ended.SUCCESS, Ended.FUNCTION_ERROR)
    made = Tries(tries.attempts + 1, 0) if counted else Tries(tries.attempts, tries.backoffs + 1)
    if ended is Ended.SUCCESS:
        return Finished(SUCCESS, made)
    if ended is Ended.FUNCTION_ERROR:
        if made.attempts > policy.maximum_retry_attempts:
            return Finished(RETRIES_EXHAUSTED, made)
        delay = delays_seconds[min(made.attempts, len(delays_seconds)) - 1]
    else:
        delay = backoff_seconds(tries.backoffs)
    due_at = now + delay
    if too_old(due_at, accepted_at, policy):
        return Finished(EVENT_AGE_EXCEEDED, made)
    return Again(due_at, made)


def backoff_seconds(before: int) -> float:
    """The wait after an uncounted try, with so many of them right before it: doubling from a second to five minutes."""
    return min(FIRST_BACKOFF_SECONDS * 2.0 ** min(before, 16), LONGEST_BACKOFF_SECONDS)
