"""How long one attempt may take, and whether there is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.errors import TaskTimeoutError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Self

    from venturekit.runtime.context import BaseContext

MARGIN_MS: Final = 100
"""What is kept of the function's own time: for rolling back, and for telling what happened."""


class Deadline:
    """When Lambda ends the invocation, less a margin."""

    __slots__ = ("_ctx",)

    def __init__(self, ctx: BaseContext) -> None:
        self._ctx = ctx

    def remaining_ms(self) -> int:
        """Milliseconds that can still be used."""
        return self._ctx.get_remaining_time_in_millis() - MARGIN_MS


def next_delay_ms(attempt: int, retries: int, first_delay_ms: int, remaining_ms: int) -> int | None:
    """How long to wait after a failed attempt (the first is 0) before the next; None if there is none."""
    if attempt >= retries:
        return None
    delay_ms = first_delay_ms * 2**attempt
    return delay_ms if delay_ms < remaining_ms else None


class TimeLimit:
    """A limit for what runs inside, by the timer signal of the process; ``error`` makes what it raises then.

    Signals reach the main thread only: in another one nothing is limited but by Lambda itself. A limit around it that
    is shorter stays in force, and raises its own error.
    """

    __slots__ = ("_error", "_former", "_limit_ms", "_rest_seconds", "_set_at", "cut_short")

    def __init__(self, limit_ms: int | None, error: Callable[[int], Exception] = TaskTimeoutError) -> None:
        self._limit_ms = limit_ms
        self._error = error
        self._former: Any = None
        self._rest_seconds = 0.0
        self._set_at = 0.0
        # Whether the limit around this one has ended what runs inside: then there is no time for another attempt.
        self.cut_short = False

    def __enter__(self) -> Self:
        if self._limit_ms is None:
            return self
        import signal
        import threading
        import time

        if threading.current_thread() is not threading.main_thread():
            self._limit_ms = None
            return self
        self._former = signal.signal(signal.SIGALRM, self._expire)
        self._rest_seconds, _ = signal.setitimer(signal.ITIMER_REAL, self._limit_ms / 1000)
        self._set_at = time.monotonic()
        if 0 < self._rest_seconds < self._limit_ms / 1000:
            signal.setitimer(signal.ITIMER_REAL, self._rest_seconds)
        return self

    def _expire(self, number: int, frame: Any) -> None:
        import signal
        import time

        assert self._limit_ms is not None
        if 0 < self._rest_seconds < self._limit_ms / 1000 and callable(self._former):
            # It is over, whatever its handler does, and must not come twice.
            self._rest_seconds, self.cut_short = 0.0, True
            self._former(number, frame)
            # A handler that only takes note, and is no limit of ours: what is left of this one begins.
            self.cut_short = False
            left = self._limit_ms / 1000 - (time.monotonic() - self._set_at)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
            return
        raise self._error(self._limit_ms)

    def __exit__(self, *_: object) -> None:
        if self._limit_ms is None:
            return
        import signal
        import time

        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:
            # Also when the limit is reached in this very moment.
            signal.signal(signal.SIGALRM, self._former if self._former is not None else signal.SIG_DFL)
            if self._rest_seconds:
                left = self._rest_seconds - (time.monotonic() - self._set_at)
                signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))


async def within(
    work: Awaitable[Any], limit_ms: int | None, error: Callable[[int], Exception] = TaskTimeoutError
) -> Any:
    """The result of some work, or ``error(limit_ms)`` after it was cancelled."""
    if limit_ms is None:
        return await work
    import asyncio

    limit = asyncio.timeout(limit_ms / 1000)
    try:
        async with limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise error(limit_ms) from None
        raise
