"""The parts of asynchronous invocation, brought together: clock, intake, dispatcher, outbox, inspection, pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.api.errors import ApiError
from venturekit.service.aws import begin_in_thread
from venturekit.service.events.delivery import Courier
from venturekit.service.events.delivery_errors import MessageRefusedError
from venturekit.service.events.dispatcher import Dispatcher
from venturekit.service.events.inspection import Inspection
from venturekit.service.events.intake import Intake
from venturekit.service.events.outbox import Outbox
from venturekit.service.events.pruning import Pruning
from venturekit.service.events.senders import Senders
from venturekit.service.events.sending_threads import SendingThreads
from venturekit.service.events.steady_clock import SteadyClock, boot_id, boot_seconds
from venturekit.service.functions.tasks import OwnedTasks
from venturekit.service.polling.pollers import QueuePollers
from venturekit.service.sources.invoking import Invoker
from venturekit.service.sources.mappings import EventSourceMappings
from venturekit.service.sources.operations import Sources
from venturekit.service.store.event_documents import NewEvent
from venturekit.service.store.event_queries import EventQueries
from venturekit.service.store.event_source_mappings import EventSourceMappingStore
from venturekit.service.store.events import EventStore
from venturekit.service.store.outbox import Deliveries

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.service.aws import AwsClients
    from venturekit.service.config import Settings
    from venturekit.service.store import Store
    from venturekit.service.targets import TargetFinder

SOURCES_CLOSING_SECONDS: Final = 1.0


class AsynchronousInvocation:
    """The queue of events and what works it off. Satisfies the ports of the invocation path and of the outbox.

    ``new_id()`` gives unique texts (UUIDs), ``wall`` tells epoch seconds, ``invocable(source_arn, target_arn)`` raises
    ApiError unless one function may invoke another. ``await load()`` before anything is put.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        targets: TargetFinder,
        aws: AwsClients,
        invocable: Callable[[str, str], object],
        new_id: Callable[[], str],
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        report: Callable[[BaseException], None],
        warn: Callable[[str], None],
    ) -> None:
        self._store = EventStore(store)
        self._wall = wall
        self._invocable = invocable
        self._steady = SteadyClock()
        deliveries = Deliveries(store)
        courier = Courier(
            deliveries,
            senders=Senders(aws),
            functions=self,
            threads=SendingThreads(begin_in_thread),
            new_request_id=new_id,
            steady=self._steady,
            wall=wall,
        )
        self.outbox = Outbox(deliveries, courier, loop=loop, steady=self._steady, wall=wall, warn=warn, report=report)
        self.dispatcher = Dispatcher(
            self._store,
            targets=targets,
            lease=new_id(),
            steady=self._steady,
            wall=wall,
            loop=loop,
            deliver=self.outbox.wake,
            report=report,
            warn=warn,
            delays_seconds=settings.async_retry_delays,
            concurrency=settings.async_concurrency,
            crowded=lambda: not self._intake.is_idle,
        )
        self._intake = Intake(
            self._store,
            loop=loop,
            limit=settings.async_queue_limit,
            queued=lambda: self.dispatcher.live,
            accepted=self.dispatcher.accepted,
        )
        queries = self._queries = EventQueries(store)
        self.inspection = Inspection(
            queries, queue=self.dispatcher, deliver=self.outbox.redriven, steady=self._steady, wall=wall
        )
        self._pruning = Pruning(
            queries,
            hours=settings.event_history_hours,
            limit=settings.event_history_limit,
            steady=self._steady,
            warn=warn,
            report=report,
        )

        self._source_tasks = OwnedTasks(report)
        self.pollers = QueuePollers(
            Invoker(targets, new_id),
            configuration=lambda: {**aws.settings(), "log_level": settings.log_level},
            environ=aws.environ,
            loop=loop,
            warn=warn,
        )
        mappings = EventSourceMappings(
            EventSourceMappingStore(store),
            self.pollers,
            targets=targets,
            tasks=self._source_tasks,
            wall=wall,
            warn=warn,
        )
        self.sources = Sources(mappings, pollers=self.pollers, targets=targets, tasks=self._source_tasks, new_id=new_id)

    async def load(self) -> None:
        """Take over what a former process has left."""
        await self.sources.mappings.load()
        self._steady.offset_seconds = await self._store.steady_offset(boot_id(), boot_seconds(), self._wall())
        await self.dispatcher.load()

    async def begin(self) -> None:
        """Begin to work it off."""
        self.dispatcher.begin()
        await self.outbox.start()
        self._pruning.begin()
        self.sources.mappings.begin()

    @property
    def busy(self) -> bool:
        """Whether events or messages are being run, or callers wait for their 202."""
        return bool(self.dispatcher.running) or not self._intake.is_idle or self.sources.mappings.busy

    def stop(self) -> None:
        """Begin nothing new."""
        self.dispatcher.stop()
        self.sources.mappings.stop()

    async def close(self) -> None:
        """Make durable what has ended; the rest is run by the next process."""
        await self.sources.mappings.close()
        await self._source_tasks.close(SOURCES_CLOSING_SECONDS)
        await self.pollers.close()
        await self._pruning.close()
        await self.dispatcher.close()
        await self.outbox.close()

    async def waiting(self) -> list[tuple[str, str, int, float]]:
        """Account, function, how many of its events are queued, and the age of the oldest in seconds."""
        now = self._steady()
        return [
            (account_id, name, count, max(now - accepted_at, 0.0))
            for account_id, name, count, accepted_at in await self._queries.waiting()
        ]

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
        tenant_id: str = "",
    ) -> None:
        """Accept an event: see ``invocation.ports.EventQueue``."""
        now, wall = self._steady(), self._wall()
        event = NewEvent(account_id, function_name, qualifier, request_id, payload, trace, now, wall, tenant_id)
        self._intake.put(event, done)

    # --- the port of the outbox -----------------------------------------------------------------------------------

    def check_function_target(self, source_arn: str, target_arn: str) -> None:
        """Raise DeliveryError unless ``source_arn`` may invoke ``target_arn``, which exists."""
        try:
            self._invocable(source_arn, target_arn)
        except ApiError as error:
            raise MessageRefusedError(f"{error.code}: {error.message}" if error.message else error.code) from error

    def accepted(self, event: NewEvent) -> None:
        """An event was made of a record."""
        self.dispatcher.accepted((event,))
