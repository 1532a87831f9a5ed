"""Threads in which queues are asked: bounded, kept as long as they are needed, and nobody waits for them at the end."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

IDLE_SECONDS: Final = 30.0
"""After which a thread ends that nothing was asked of."""


class CallThreads:
    """Runs blocking calls, at most ``limit`` at a time; the others wait in line."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        # That wait in line or are being made.
        self._pending = 0

    @property
    def is_crowded(self) -> bool:
        """Whether calls wait in line: long ones should be shorter then."""
        return self._pending > self._limit

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``work`` in a thread; a future of the running loop. Raises RuntimeError when no thread could be had."""
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

        with self._lock:
            if self._pending >= self._threads and self._threads < self._limit:
                threading.Thread(target=self._serve, name=self._name, daemon=True).start()
                self._threads += 1
            self._pending += 1
            self._calls.put(call)
        return future

    def _serve(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    # A call that counts on this thread may just have been put.
                    if self._calls.empty():
                        self._threads -= 1
                        return
                continue
            call()
            with self._lock:
                self._pending -= 1


def _settle(future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
