"""A clock that moves only when a test says so."""

from __future__ import annotations

from typing import Final

START_MS: Final = 1_767_225_600_000
"""2026-01-01T00:00:00Z, in epoch milliseconds."""


class ManualClock:
    """Time as an argument: ``epoch_ms`` is now, until ``advance()`` is called.

    ``time``, ``monotonic`` and ``sleep`` take the place of those of the standard library::

        >>> from venturekit.testing import ManualClock
        >>> clock = ManualClock(start_ms=1_000)
        >>> clock.advance(seconds=30)
        >>> clock.epoch_ms
        31000
        >>> clock.sleep(0.5)
        >>> clock.time(), clock.monotonic()
        (31.5, 30.5)

    ``create_circuit_breaker(clock=clock.monotonic)`` has a breaker whose 30 seconds take no time. The clock does not
    move backwards: ``advance`` raises ValueError.
    """

    def __init__(self, start_ms: int = START_MS) -> None:
        self._start_ms = start_ms
        self._elapsed_ms = 0.0

    @property
    def epoch_ms(self) -> int:
        """Now, in epoch milliseconds."""
        return self._start_ms + int(self._elapsed_ms)

    def advance(self, ms: float = 0, *, seconds: float = 0) -> None:
        """Let time pass: milliseconds, seconds, or both. Raises ValueError for less than none."""
        step_ms = ms + seconds * 1000
        if step_ms < 0:
            raise ValueError(f"a clock does not go back by {-step_ms:g} ms")
        self._elapsed_ms += step_ms

    def time(self) -> float:
        """Epoch seconds, as ``time.time()``."""
        return (self._start_ms + self._elapsed_ms) / 1000

    def monotonic(self) -> float:
        """Seconds since the clock was made, as ``time.monotonic()``."""
        return self._elapsed_ms / 1000

    def sleep(self, seconds: float) -> None:
        """Pass the time at once, as ``time.sleep()`` does slowly."""
        self.advance(seconds=seconds)

    async def asleep(self, seconds: float) -> None:
        """Pass the time at once, as ``asyncio.sleep()`` does slowly."""
        self.advance(seconds=seconds)

    def __repr__(self) -> str:
        return f"ManualClock(epoch_ms={self.epoch_ms})"
