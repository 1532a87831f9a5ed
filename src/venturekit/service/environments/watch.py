"""One timer for all deadlines and memory limits.

A timer per invocation would cost as much as the rest of its bookkeeping. Function timeouts are whole seconds, so
looking at the busy environments a few times a second, and exactly at the earliest deadline, is as good (ADR 0003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.service.environments.environment import Environment

USUAL_SECONDS: Final = 0.2
CLOSE_SECONDS: Final = 0.02
"""How often memory is looked at while an environment uses more than half of its limit."""
MEBIBYTE: Final = 1024 * 1024


class Watch:
    """The environments that are initialising or have an invocation."""

    __slots__ = ("_call_later", "_monotonic", "_timer", "environments")

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle], monotonic: Callable[[], float]
    ) -> None:
        self.environments: set[Environment] = set()
        self._call_later = call_later
        self._monotonic = monotonic
        self._timer: asyncio.TimerHandle | None = None

    def busy(self, environment: Environment) -> None:
        """The environment has a deadline now."""
        self.environments.add(environment)
        if self._timer is None:
            self._timer = self._call_later(USUAL_SECONDS, self._fire)

    def rest(self, environment: Environment) -> None:
        """The environment has no deadline any more."""
        self.environments.discard(environment)

    def look(self, now: float) -> float:
        """Act on what is due at ``now`` (monotonic seconds). Returns the seconds until the next look."""
        following = USUAL_SECONDS
        for environment in tuple(self.environments):
            remaining = environment.deadline - now
            if remaining <= 0:
                environment.out_of_time()
                continue
            following = min(following, remaining)
            if environment.sample_memory(now) * 2 > environment.spec.memory_size_mb * MEBIBYTE:
                following = min(following, CLOSE_SECONDS)
        return following

    def _fire(self) -> None:
        self._timer = None
        following = USUAL_SECONDS
        try:
            following = self.look(self._monotonic())
        finally:
            # What was done may have made environments busy, and so a timer: there is only one. A fault in one
            # environment must not end the watch over the others.
            self.close()
            if self.environments:
                self._timer = self._call_later(max(following, 0.001), self._fire)

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
