"""When a delivery that failed is tried again, and what is written down of it. Pure: times are seconds.

Nothing is ever given up. The back-off is that of queued events: a second at first, five minutes at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from venturekit.service.events.retry import backoff_seconds

REFUSALS_LIMIT: Final = 16
"""So many messages are refused in a row before the target as a whole is left alone for a while."""
NOTED_ATTEMPTS: Final = 100
"""Failures of a delivery beyond this one add nothing to the history of its event."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a target has fared since it last took a message: its failures, and the messages it has refused."""

    failures: int = 0
    refusals: int = 0

    @property
    def is_good(self) -> bool:
        """Whether the last message was taken, or none was tried yet."""
        return not self.failures and not self.refusals


@dataclass(frozen=True, slots=True)
class Retry:
    """When to go on: with this message, and with any other of its target (0.0: at once)."""

    health: Health
    message_delay_seconds: float
    target_delay_seconds: float


def after_target_failure(health: Health) -> Retry:
    """The target takes nothing at the moment."""
    delay = backoff_seconds(health.failures)
    return Retry(Health(health.failures + 1, health.refusals), delay, delay)


def after_refusal(health: Health, attempts: int) -> Retry:
    """The target refused one message, which had failed ``attempts`` times before.

    It answers, so the others go on, unless it has refused too many of them.
    """
    refusals = health.refusals + 1
    delay = backoff_seconds(attempts)
    if refusals < REFUSALS_LIMIT:
        return Retry(Health(0, refusals), delay, 0.0)
    target_delay = backoff_seconds(refusals - REFUSALS_LIMIT)
    return Retry(Health(0, refusals), max(delay, target_delay), target_delay)


def is_noted(attempts: int, former_reason: str, reason: str) -> bool:
    """Whether a failure is a line of the event's history: the first one, and each for another reason than before."""
    return attempts < NOTED_ATTEMPTS and (attempts == 0 or reason != former_reason)
