"""One subscription at work: gathers events and sends them, without ever holding up who reports them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.telemetry import events
from venturekit.service.environments.telemetry.buffer import Batch, Buffer
from venturekit.service.environments.telemetry.receiver import Receiver

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.telemetry.subscription import Subscription

logger = logging.getLogger("venturekit.environments")
ATTEMPTS: Final = 3
PAUSE_SECONDS: Final = 0.1
"""Before the second attempt; twice as long before the next one."""
EARLY_SECONDS: Final = 0.001
"""By how much a timer may run too soon."""


class Stream:
    """What goes to one receiver. Batches follow one another; while one is under way, more is gathered."""

    __slots__ = ("_buffer", "_environment", "_is_closed", "_is_sending", "_receiver", "_timer", "subscription")

    def __init__(self, environment: Environment, subscription: Subscription) -> None:
        self.subscription = subscription
        self._environment = environment
        self._buffer = Buffer(
            max_items=subscription.max_items, max_bytes=subscription.max_bytes, timeout_ms=subscription.timeout_ms
        )
        self._receiver = Receiver(subscription, self._root_processes)
        self._timer: asyncio.TimerHandle | None = None
        self._is_sending = False
        self._is_closed = False

    def add(self, record: bytes) -> None:
        """Take in an event."""
        if not self._is_closed and self._buffer.add(record, self._environment.host.monotonic()):
            self._arm()

    def hurry(self) -> None:
        """Send everything as soon as possible."""
        self._buffer.hurry()
        self._arm()

    def close(self) -> None:
        """Send nothing any more."""
        self._is_closed = True
        self._disarm()
        self._receiver.abort()

    def _root_processes(self) -> list[int]:
        environment = self._environment
        group = environment.extensions
        pids = [environment.pid] if environment.pid else []
        return pids + [process.pid for process in (group.processes.values() if group else ()) if process.pid]

    # --- sending ------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        due_at = self._buffer.due_at
        if self._is_sending or self._is_closed or due_at is None:
            return
        self._disarm()
        delay = due_at - self._environment.host.monotonic()
        if delay > 0:
            self._timer = self._environment.host.loop.call_later(delay, self._due)
        else:
            self._begin()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._begin()

    def _begin(self) -> None:
        self._is_sending = True
        self._environment.host.spawn(self._send_due())

    async def _send_due(self) -> None:
        try:
            while not self._is_closed and (
                batch := self._buffer.take(self._environment.host.monotonic() + EARLY_SECONDS)
            ):
                if not await self._send(batch):
                    self._buffer.lost(batch)
        finally:
            self._is_sending = False
        self._arm()

    def _take(self) -> Batch | None:
        return self._buffer.take(self._environment.host.monotonic() + EARLY_SECONDS)

    async def _send(self, batch: Batch) -> bool:
        records = batch.records
        if batch.dropped_records and "platform" in self.subscription.types:
            told = events.dropped(batch.dropped_records, batch.dropped_bytes)
            records = (*records, events.render("platform.logsDropped", self._environment.host.wall(), told))
        pause = PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                await self._receiver.send(records)
            except OSError as error:
                logger.debug("telemetry of %s: %s", self._environment.spec.function_name, error)
            else:
                return True
            if self._is_closed or attempt == ATTEMPTS:
                break
            await asyncio.sleep(pause)
            pause *= 2
        return False
