"""Accepting events: nobody is told so before the commit, and as many as wait are committed together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.store.errors import StoreError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from venturekit.service.store.event_documents import NewEvent
    from venturekit.service.store.events import EventStore

BATCH: Final = 512
BATCH_BYTES: Final = 4 * 1024 * 1024
WAITING_LIMIT: Final = 10_000
WAITING_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Intake:
    """Commits events in batches: while one is being written the next one gathers.

    ``limit`` is how many events may be queued; ``queued()`` how many are. ``accepted(events)`` is called after each
    commit, before those who wait for it are told.
    """

    def __init__(
        self,
        store: EventStore,
        *,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        queued: Callable[[], int],
        accepted: Callable[[Sequence[NewEvent]], None],
    ) -> None:
        self._store = store
        self._loop = loop
        self._limit = limit
        self._queued = queued
        self._accepted = accepted
        self._waiting: list[tuple[NewEvent, Callable[[ApiError | None], None]]] = []
        self._waiting_bytes = 0
        self._in_store = 0
        self._scheduled = False

    @property
    def is_idle(self) -> bool:
        """Whether nobody waits for a commit."""
        return not self._waiting and not self._in_store

    def put(self, event: NewEvent, done: Callable[[ApiError | None], None]) -> None:
        """Accept an event: ``done(None)`` after it is durable, or ``done(error)`` when it is not and will not be.

        Raises ApiError (429) at once when the queue is full.
        """
        waiting = len(self._waiting) + self._in_store
        if self._queued() + waiting >= self._limit:
            raise _full(f"{self._limit} events are queued (--async-queue-limit)")
        if waiting >= WAITING_LIMIT or self._waiting_bytes + len(event.payload) > WAITING_LIMIT_BYTES:
            raise _full("more events arrive than can be written")
        self._waiting.append((event, done))
        self._waiting_bytes += len(event.payload)
        if not self._scheduled:
            self._scheduled = True
            # Whatever else this turn of the loop brings is committed with it.
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        size, count = 0, 0
        for event, _ in self._waiting[:BATCH]:
            size += len(event.payload)
            count += 1
            if size >= BATCH_BYTES:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        self._waiting_bytes -= size
        self._in_store = count
        try:
            written = self._store.put([event for event, _ in batch])
        except StoreError as error:
            # Later: who is answered may put the next event at once, and would be refused ever deeper in this call.
            self._loop.call_soon(self._written, batch, error)
            return
        written.add_done_callback(lambda future: self._written(batch, future.exception()))

    def _written(
        self, batch: list[tuple[NewEvent, Callable[[ApiError | None], None]]], error: BaseException | None
    ) -> None:
        self._in_store = 0
        if error is None:
            self._accepted([event for event, _ in batch])
        for _, done in batch:
            try:
                done(None if error is None else _not_stored(error))
            except Exception as failure:
                # One who cannot be answered must not keep the others waiting, and those to come.
                self._loop.call_exception_handler({"message": "a caller was not answered", "exception": failure})
        # Only now: who is answered may put the next event at once.
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            self._write()


def _full(reason: str) -> ApiError:
    return api_error(
        "TooManyRequestsException",
        f"Rate Exceeded. The queue of asynchronous invocations is full: {reason}.",
        Reason="CallerRateLimitExceeded",
        retryAfterSeconds=1,
    )


def _not_stored(error: BaseException) -> ApiError:
    return api_error("ServiceException", f"The event could not be stored, so it was not accepted: {error}")
