"""The machine of a circuit breaker: when to call, and when not. Pure: time is an argument, in milliseconds.

    closed ──(failures in a row reach the threshold)──► open ──(reset timeout)──► half open: one probe
      ▲                                                  ▲                            │
      └───────────────────(the probe succeeds)───────────┼────────────────────────────┤
                                                         └──(the probe fails)─────────┘

Source: seed 001: 5 consecutive failures, 30 seconds, one probe.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

FAILURE_THRESHOLD: Final = 5
RESET_TIMEOUT_MS: Final = 30_000


class BreakerState(Enum):
    """Whether calls are made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerMachine:
    """One target's breaker. Raises ValueError for limits that make no breaker."""

    __slots__ = ("_failures", "_opened_at_ms", "_threshold", "_timeout_ms", "state")

    def __init__(self, failure_threshold: int = FAILURE_THRESHOLD, reset_timeout_ms: int = RESET_TIMEOUT_MS) -> None:
        if failure_threshold < 1 or reset_timeout_ms < 0:
            raise ValueError("failure_threshold is at least 1, reset_timeout_ms at least 0")
        self._threshold = failure_threshold
        self._timeout_ms = reset_timeout_ms
        self._failures = 0
        self._opened_at_ms = 0.0
        self.state = BreakerState.CLOSED

    def may_call(self, now_ms: float) -> bool:
        """Whether to call now. One of those who ask after the reset timeout is told to: it is the probe."""
        if self.state is BreakerState.CLOSED:
            return True
        # A probe whose outcome was never told (its environment was stopped) does not keep the breaker open for ever.
        if now_ms - self._opened_at_ms < self._timeout_ms:
            return False
        self.state = BreakerState.HALF_OPEN
        self._opened_at_ms = now_ms
        return True

    def succeeded(self) -> None:
        """A call went well: the target is back, unless it was one that began before the failures."""
        if self.state is BreakerState.OPEN:
            return
        self.state = BreakerState.CLOSED
        self._failures = 0

    def failed(self, now_ms: float) -> None:
        """A call failed."""
        if self.state is BreakerState.HALF_OPEN:
            self._open(now_ms)
        elif self.state is BreakerState.CLOSED:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open(now_ms)

    def _open(self, now_ms: float) -> None:
        self.state = BreakerState.OPEN
        self._opened_at_ms = now_ms
        self._failures = 0
