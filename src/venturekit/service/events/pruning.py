"""Keeps the history of events within its bounds, little by little."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from venturekit.service.events.retention import BATCH_EVENTS, batches, forgettable
from venturekit.service.store.errors import StoreClosedError, StoreError, StoreFailedError
from venturekit.service.store.event_views import FIRST_PLACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.store.event_queries import EventQueries

PRUNE_SECONDS: Final = 30.0
PAGE_EVENTS: Final = 2_000


class Pruning:
    """Forgets events that ended more than ``hours`` ago, and the oldest of more than ``limit`` that have ended.

    ``steady`` tells the time in steady seconds. ``warn`` gets a sentence when the store does not take it.
    """

    def __init__(
        self,
        queries: EventQueries,
        *,
        hours: float,
        limit: int,
        steady: Callable[[], float],
        warn: Callable[[str], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self._queries = queries
        self._seconds = hours * 3600
        self._limit = limit
        self._steady = steady
        self._warn = warn
        self._report = report
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Do so from now on."""
        self._task = asyncio.get_running_loop().create_task(self._go_on())

    async def close(self) -> None:
        """Stop at once; what is left is for the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def prune(self) -> int:
        """Forget what is beyond the bounds now. Returns how many events that were."""
        forgotten = 0
        keep_from = self._steady() - self._seconds
        last_beyond = await self._queries.last_beyond(self._limit)
        after, more = FIRST_PLACE, True
        while more:
            events = await self._queries.ended(after, PAGE_EVENTS)
            going, more = forgettable(events, keep_from=keep_from, last_beyond=last_beyond)
            for event_ids in batches(going):
                forgotten += await self._queries.forget(event_ids)
            more = more and len(events) == PAGE_EVENTS
            after = events[-1].place if events else after
        return forgotten

    async def _go_on(self) -> None:
        while True:
            try:
                # Under load as many have ended meanwhile as were forgotten.
                while await self.prune() >= BATCH_EVENTS:
                    pass
            except (StoreFailedError, StoreClosedError):
                return
            except StoreError as error:
                self._warn(f"the history of events is not pruned at the moment: {error}")
            except Exception as error:
                self._report(error)
            await asyncio.sleep(PRUNE_SECONDS)
