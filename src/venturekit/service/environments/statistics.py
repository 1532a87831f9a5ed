"""What is counted of a function's invocations, and how long they took. Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

BOUNDS_MS: Final = tuple(
    step * 10**power / 100 for power in range(1, 8) for step in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
)
"""The upper bounds of the classes of durations, 0.1 ms to 800 s: percentiles are told by them within a third."""


class FunctionStatistics:
    """Counters of one function since the service was started; durations in milliseconds.

    ``classes`` are the invocations by duration, the last one those beyond all of :data:`BOUNDS_MS`.
    """

    __slots__ = ("classes", "cold_starts", "duration_ms", "errors", "init_ms", "invocations", "throttles")

    def __init__(self) -> None:
        self.invocations = self.errors = self.throttles = self.cold_starts = 0
        self.duration_ms = self.init_ms = 0.0
        self.classes = [0] * (len(BOUNDS_MS) + 1)

    def settled(self, duration_ms: float, *, failed: bool) -> None:
        """An invocation has ended. On the warm path: a few additions."""
        self.invocations += 1
        self.duration_ms += duration_ms
        self.classes[bisect_left(BOUNDS_MS, duration_ms)] += 1
        if failed:
            self.errors += 1

    def initialised(self, init_ms: float) -> None:
        """An execution environment has finished its init phase."""
        self.cold_starts += 1
        self.init_ms += init_ms
