"""Threads in which queues are asked: bounded, kept as long as they are needed, and nobody waits for them at the end."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

URGENT_IN_A_ROW: Final = 3
"""After so many urgent calls one of the others has its turn."""
IDLE_SECONDS: Final = 30.0
"""After which a thread ends that nothing was asked of."""


class CallThreads:
    """Runs blocking calls, at most ``limit`` at a time; the others wait in line."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._urgent: deque[Callable[[], None]] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self._urgent_in_a_row = 0
        self._changed = threading.Condition()
        self._threads = 0
        # That wait in line or are being made.
        self._pending = 0

    @property
    def is_crowded(self) -> bool:
        """Whether calls wait in line: long ones should be shorter then."""
        return self._pending > self._limit

    def run(self, work: Callable[[], T], *, urgent: bool = False) -> asyncio.Future[T]:
        """Run ``work`` in a thread; a future of the running loop. Raises RuntimeError when no thread could be had.

        ``urgent`` calls do not wait in line behind the others.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            result: Any = None
            failure: BaseException | None = None
            try:
                result = work()
            except BaseException as error:
                failure = error
            # The loop may be closed by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, future, result, failure)

        with self._changed:
            if self._pending >= self._threads and self._threads < self._limit:
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
                self._threads += 1
            self._pending += 1
            (self._urgent if urgent else self._calls).append(call)
            self._changed.notify()
        return future

    def _serve(self) -> None:
        while (call := self._next()) is not None:
            call()
            with self._changed:
                self._pending -= 1

    def _next(self) -> Callable[[], None] | None:
        """The call whose turn it is; None when there was none for so long that the thread ends."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._urgent or self._calls, IDLE_SECONDS):
                self._threads -= 1
                return None
            if self._urgent and not (self._calls and self._urgent_in_a_row >= URGENT_IN_A_ROW):
                self._urgent_in_a_row += 1
                return self._urgent.popleft()
            self._urgent_in_a_row = 0
            return self._calls.popleft()


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
