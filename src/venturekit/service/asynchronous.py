"""The parts of asynchronous invocation, brought together: clock, intake, dispatcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.events.dispatcher import Dispatcher
from venturekit.service.events.intake import Intake
from venturekit.service.events.steady_clock import SteadyClock, boot_id, boot_seconds
from venturekit.service.store.event_documents import NewEvent
from venturekit.service.store.events import EventStore

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.service.api.errors import ApiError
    from venturekit.service.config import Settings
    from venturekit.service.events.ports import Targets
    from venturekit.service.store import Store


class AsynchronousInvocation:
    """The queue of events and what works it off. Satisfies the port of the invocation path.

    ``lease`` names this process, ``wall`` tells epoch seconds. ``await load()`` before anything is put.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        targets: Targets,
        lease: str,
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        report: Callable[[BaseException], None],
        warn: Callable[[str], None],
    ) -> None:
        self._store = EventStore(store)
        self._wall = wall
        self._steady = SteadyClock()
        self.dispatcher = Dispatcher(
            self._store,
            targets=targets,
            lease=lease,
            steady=self._steady,
            wall=wall,
            loop=loop,
            deliver=lambda _targets: None,
            report=report,
            warn=warn,
            delays_seconds=settings.async_retry_delays,
            concurrency=settings.async_concurrency,
        )
        self._intake = Intake(
            self._store,
            loop=loop,
            limit=settings.async_queue_limit,
            queued=lambda: self.dispatcher.live,
            accepted=self.dispatcher.accepted,
        )

    async def load(self) -> None:
        """Take over what a former process has left."""
        self._steady.offset_seconds = await self._store.steady_offset(boot_id(), boot_seconds(), self._wall())
        await self.dispatcher.load()

    def begin(self) -> None:
        """Begin to work it off."""
        self.dispatcher.begin()

    @property
    def busy(self) -> bool:
        """Whether events are being run, or callers wait for their 202."""
        return bool(self.dispatcher.running) or not self._intake.is_idle

    def stop(self) -> None:
        """Begin nothing new."""
        self.dispatcher.stop()

    async def close(self) -> None:
        """Make durable what has ended; the rest is run by the next process."""
        await self.dispatcher.close()

    def put(
        self,
        *,
        account_id: str,
        function_name: str,
        qualifier: str,
        request_id: str,
        payload: bytes | bytearray,
        trace: str,
        done: Callable[[ApiError | None], None],
    ) -> None:
        """Accept an event: see ``invocation.ports.EventQueue``."""
        now, wall = self._steady(), self._wall()
        event = NewEvent(account_id, function_name, qualifier, request_id, payload, trace, now, wall)
        self._intake.put(event, done)
