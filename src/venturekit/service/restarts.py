"""When a process that has died is started again. Pure."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""Whoever ran this long did not fail at its start: the next delay is the first one again."""


class Restarts:
    """Delays that double with each early death."""

    def __init__(self) -> None:
        self.count = 0
        self._next_seconds = FIRST_SECONDS

    def delay(self, ran_seconds: float) -> float:
        """How long to wait, in seconds, before the process that ran for so long is started again."""
        self.count += 1
        if ran_seconds >= STEADY_SECONDS:
            self._next_seconds = FIRST_SECONDS
        delay = self._next_seconds
        self._next_seconds = min(2 * delay, LONGEST_SECONDS)
        return delay
