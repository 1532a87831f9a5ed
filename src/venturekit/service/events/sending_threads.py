"""Threads in which messages leave: bounded in all, and for each target, also those that nobody waits for any more."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from venturekit.service.events.delivery_errors import TargetFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

THREADS: Final = 32
DOUBTFUL_THREADS: Final = 16
"""Of all threads, so many may be busy with targets that have failed: the others stay free for those that work."""
THREADS_OF_A_TARGET: Final = 8
"""A target can keep so many busy beyond the time that is waited for it; then it gets no more."""
LATE_THREADS: Final = 64
"""With so many threads in all that nobody waits for any more, nothing is sent to targets that have failed."""
SEND_TIMEOUT_SECONDS: Final = 20.0


class BeginInThread(Protocol):
    """Runs a blocking call in a thread: see :func:`venturekit.service.aws.begin_in_thread`."""

    def __call__(self, work: Callable[[], T], name: str, ended: Callable[[], None], /) -> asyncio.Future[T]:
        """Begin ``work``; ``ended`` is called on the loop at the end of the thread."""


class SendingThreads:
    """Runs blocking calls, each in a thread of its own."""

    def __init__(self, begin: BeginInThread, *, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        self._begin = begin
        self._timeout_seconds = timeout_seconds
        self._all = asyncio.Semaphore(THREADS)
        self._doubtful = asyncio.Semaphore(DOUBTFUL_THREADS)
        self._of_targets: dict[str, int] = {}
        self._late = 0

    @asynccontextmanager
    async def room(self, *, doubtful: bool) -> AsyncIterator[None]:
        """Inside the block one call may be made: wait for that before anything large is read.

        Raises TargetFailedError when too many threads are kept by targets that have failed.
        """
        if doubtful and self._late >= LATE_THREADS:
            raise TargetFailedError(f"{self._late} earlier messages to this and other targets are not answered yet")
        async with AsyncExitStack() as slots:
            if doubtful:
                await slots.enter_async_context(self._doubtful)
            await slots.enter_async_context(self._all)
            yield

    async def run(self, target: str, work: Callable[[], T], *, late: Callable[[T], None]) -> T:
        """Run ``work`` for a target. ``late`` gets the result of a call that was given up and came to a good end.

        Raises what ``work`` raises, and TargetFailedError when it takes too long or cannot begin.
        """
        if self._of_targets.get(target, 0) >= THREADS_OF_A_TARGET:
            raise TargetFailedError("it has not answered earlier messages yet")
        future = self._started(target, work)
        done, _ = await asyncio.wait({future}, timeout=self._timeout_seconds)
        if done:
            return future.result()
        self._late += 1

        def ended_late(ended: asyncio.Future[T]) -> None:
            self._late -= 1
            if not ended.exception():
                late(ended.result())

        future.add_done_callback(ended_late)
        raise TargetFailedError(f"no answer within {self._timeout_seconds:g} s")

    def _started(self, target: str, work: Callable[[], T]) -> asyncio.Future[T]:
        self._of_targets[target] = self._of_targets.get(target, 0) + 1

        def ended() -> None:
            self._of_targets[target] -= 1
            if not self._of_targets[target]:
                del self._of_targets[target]

        try:
            future = self._begin(work, "deliver", ended)
        except RuntimeError as error:
            ended()
            raise TargetFailedError(f"no thread could be had ({error})") from error
        # Whoever waits may be cancelled: then the error is nobody's.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future
