"""The machine of a circuit breaker: when to call, and when not. Pure: time is an argument, in milliseconds.

    closed ──(failures in a row reach the threshold)──► open ──(reset timeout)──► half open: one probe
      ▲                                                  ▲                            │
      └───────────────────(the probe succeeds)───────────┼────────────────────────────┤
                                                         └──(the probe fails)─────────┘

Several execution environments may share what they know of a target: each counts failures by itself, and all of them
are told when one of them opens, tries or closes. Then one of all is the probe.

Source: seed 001: 5 consecutive failures, 30 seconds, one probe. Sharing is ours.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

FAILURE_THRESHOLD: Final = 5
RESET_TIMEOUT_MS: Final = 30_000


class BreakerState(Enum):
    """Whether calls are made."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerMachine:
    """One target's breaker. Raises ValueError for limits that make no breaker."""

    __slots__ = ("_opened_at_ms", "_threshold", "_timeout_ms", "failures", "state")

    def __init__(self, failure_threshold: int = FAILURE_THRESHOLD, reset_timeout_ms: int = RESET_TIMEOUT_MS) -> None:
        if failure_threshold < 1 or reset_timeout_ms < 0:
            raise ValueError("failure_threshold is at least 1, reset_timeout_ms at least 0")
        self._threshold = failure_threshold
        self._timeout_ms = reset_timeout_ms
        self.failures = 0
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

    def retry_in_ms(self, now_ms: float) -> float:
        """In how many milliseconds there is a probe; 0 when calls are made, or one would be now."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        return max(0.0, self._opened_at_ms + self._timeout_ms - now_ms)

    def succeeded(self) -> None:
        """A call went well: the target is back, unless it was one that began before the failures."""
        if self.state is BreakerState.OPEN:
            return
        self.state = BreakerState.CLOSED
        self.failures = 0

    def failed(self, now_ms: float) -> None:
        """A call failed."""
        if self.state is BreakerState.HALF_OPEN:
            self._open(now_ms)
        elif self.state is BreakerState.CLOSED:
            self.failures += 1
            if self.failures >= self._threshold:
                self._open(now_ms)

    def _open(self, now_ms: float) -> None:
        self.state = BreakerState.OPEN
        self._opened_at_ms = now_ms
        self.failures = 0


class Answer(Enum):
    """What an environment that shares its breaker does with a call."""

    CALL = "call"
    REFUSE = "refuse"
    ELECT = "elect"
    """Try to become the probe of all; then say ``elected`` or ``not_elected``."""


class Transition(NamedTuple):
    """What all environments are told: the state since ``at`` (epoch seconds), and who says so."""

    state: BreakerState
    at: float
    owner: str
    version: int


class SharedMachine(BreakerMachine):
    """The breaker of one environment among several.

    ``seen`` is the last transition that it knows of, its own included. What ``told_success`` and ``told_failure`` give
    is the state that the others are to be told of, None for none.
    """

    __slots__ = ("_electing", "is_probe", "seen")

    def __init__(self, failure_threshold: int = FAILURE_THRESHOLD, reset_timeout_ms: int = RESET_TIMEOUT_MS) -> None:
        super().__init__(failure_threshold, reset_timeout_ms)
        self.seen: Transition | None = None
        self.is_probe = False
        self._electing = False

    @property
    def version(self) -> int:
        """The version of the shared record that was seen; 0 for none."""
        return 0 if self.seen is None else self.seen.version

    def asked(self, now_ms: float) -> Answer:
        """What to do with a call now."""
        if self.state is BreakerState.CLOSED:
            return Answer.CALL
        if self._electing or now_ms - self._opened_at_ms < self._timeout_ms:
            return Answer.REFUSE
        self._electing = True
        return Answer.ELECT

    def elected(self, now_ms: float) -> None:
        """This environment has the probe; without a store to ask, it takes it."""
        self._electing = False
        self.is_probe = True
        self.state = BreakerState.HALF_OPEN
        self._opened_at_ms = now_ms

    def not_elected(self) -> None:
        """Another environment has it."""
        self._electing = False

    def learned(self, news: Transition | None, age_ms: float, now_ms: float) -> None:
        """What the shared record says; what is known of it already says nothing new, however old it is by now."""
        if news == self.seen:
            return
        self.seen = news
        if news is None or (news.state is BreakerState.CLOSED and self.state is BreakerState.CLOSED):
            return
        self.state = news.state
        self.is_probe = False
        self.failures = 0
        # Clocks of two machines: nothing is from the future, and nothing has to wait longer than the timeout.
        self._opened_at_ms = now_ms - min(max(age_ms, 0.0), self._timeout_ms)

    def told_success(self) -> BreakerState | None:
        """A call went well. While others try, or wait, a call that began before says nothing."""
        if self.state is BreakerState.CLOSED:
            self.failures = 0
            return None
        if not self.is_probe:
            return None
        self.is_probe = False
        super().succeeded()
        return BreakerState.CLOSED

    def told_failure(self, now_ms: float) -> BreakerState | None:
        """A call failed."""
        if self.state is not BreakerState.CLOSED and not self.is_probe:
            return None
        self.is_probe = False
        super().failed(now_ms)
        return BreakerState.OPEN if self.state is BreakerState.OPEN else None
