"""All event source mappings: what they are, which state each is in, and its poller."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from venturekit.service.api.errors import ApiError
from venturekit.service.sources import faults
from venturekit.service.sources.mapping import EventSourceMapping
from venturekit.service.sources.states import Change, InUseError, State, after
from venturekit.service.store.errors import NotStoredError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from venturekit.service.sources.ports import Pollers, SourcePoller, Targets, Tasks
    from venturekit.service.store.event_source_mappings import EventSourceMappingStore

BY_USER: Final = "USER_INITIATED"
FUNCTION_GONE: Final = "The function that the event source mapping invokes does not exist any more."
"""Why a mapping was disabled; the words are a choice."""
CLOSING_SECONDS: Final = 2.0
GIVING_BACK_SECONDS: Final = 1.5


class Source:
    """One mapping with its state and poller. ``result`` is the last processing result, empty if there is none."""

    __slots__ = ("mapping", "poller", "result", "state")

    def __init__(self, mapping: EventSourceMapping, state: State) -> None:
        self.mapping = mapping
        self.state = state
        self.poller: SourcePoller | None = None
        self.result = ""

    def told(self, result: str) -> None:
        """Take a processing result."""
        self.result = result


class EventSourceMappings:
    """The mappings of all accounts. ``wall`` tells epoch seconds, ``warn`` gets sentences for the service's log."""

    def __init__(
        self,
        store: EventSourceMappingStore,
        pollers: Pollers,
        *,
        targets: Targets,
        tasks: Tasks,
        wall: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._store = store
        self._polling = pollers
        self._targets = targets
        self._tasks = tasks
        self._wall = wall
        self._warn = warn
        self._sources: dict[str, Source] = {}
        self._last_number = 0
        # Changes are carried out one after the other: two that map one queue to one function would both pass.
        self._changing = asyncio.Lock()
        self._begun = False
        self._closed = False

    # --- life ---------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take over what the store holds."""
        for account_id, uuid, document in await self._store.load():
            mapping = EventSourceMapping.of(account_id, uuid, document)
            self._last_number = max(self._last_number, mapping.number)
            self._sources[uuid] = Source(mapping, State.ENABLED if mapping.enabled else State.DISABLED)

    def begin(self) -> None:
        """Poll from now on."""
        self._begun = True
        for source in self._sources.values():
            if source.mapping.enabled:
                self._poll(source)
                self._check_function(source)

    @property
    def busy(self) -> bool:
        """Whether messages are being processed."""
        return any(poller.busy for poller in self._pollers())

    def stop(self) -> None:
        """Receive nothing more; what is being processed may end."""
        self._begun = False
        for poller in self._pollers():
            poller.stop()

    async def close(self) -> None:
        """Give what has ended a little time to be settled, and give up the rest: it is delivered again."""
        self.stop()
        self._closed = True
        pollers = list(self._pollers())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                for poller in pollers:
                    await poller.rested()
        for poller in pollers:
            poller.abandon()
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVING_BACK_SECONDS):
                for poller in pollers:
                    await poller.ended()

    def _pollers(self) -> Iterable[SourcePoller]:
        return (source.poller for source in self._sources.values() if source.poller is not None)

    # --- what there is ------------------------------------------------------------------------------------------

    def find(self, account_id: str, uuid: str) -> Source:
        """A mapping by its UUID. Raises ApiError, 404."""
        source = self._sources.get(uuid.lower())
        if source is None or source.mapping.account_id != account_id:
            raise faults.unknown_mapping()
        return source

    def of_account(self, account_id: str) -> list[Source]:
        """All of an account, in the order in which they were made."""
        found = [source for source in self._sources.values() if source.mapping.account_id == account_id]
        return sorted(found, key=lambda source: source.mapping.number)

    # --- changes ------------------------------------------------------------------------------------------------

    async def create(self, mapping: EventSourceMapping) -> tuple[Source, State]:
        """Make a mapping, which gets its number here. Returns it with the state to answer with. Raises ApiError."""
        async with self._committing():
            self._check_unique(mapping)
            self._last_number += 1
            mapping = replace(mapping, number=self._last_number, last_modified=self._wall(), reason=BY_USER)
            await self._store.put(mapping.account_id, mapping.uuid, mapping.document())
            source = self._sources[mapping.uuid] = Source(mapping, State.CREATING)
        self._tasks.spawn(self._settle(source))
        return source, source.state

    def check_unused(self, source: Source, verb: str, change: Change) -> State:
        """The state that follows. Raises ApiError for a mapping that changes already."""
        try:
            return after(source.state, change)
        except InUseError as error:
            raise faults.in_use(verb) from error

    async def update(self, source: Source, former: EventSourceMapping, mapping: EventSourceMapping) -> State:
        """Make of ``former``, but for its tags, what it is to be. Returns the state to answer with.

        Raises ApiError, also when it is not as it was any more: what somebody else changed meanwhile must stay.
        """
        async with self._committing():
            self.find(mapping.account_id, mapping.uuid)
            self._check_unique(mapping)
            tags = source.mapping.tags
            if source.mapping != replace(former, tags=tags):
                raise faults.in_use("update")
            mapping = replace(mapping, tags=tags)
            change = Change.UPDATE
            if mapping.enabled is not source.mapping.enabled:
                change = Change.ENABLE if mapping.enabled else Change.DISABLE
            state = self.check_unused(source, "update", change)
            await self._change(source, replace(mapping, last_modified=self._wall(), reason=BY_USER), state)
        self._tasks.spawn(self._settle(source))
        return state

    async def delete(self, source: Source) -> State:
        """Take a mapping away; it is shown until its poller has ended. Raises ApiError."""
        mapping = source.mapping
        async with self._committing():
            self.find(mapping.account_id, mapping.uuid)
            state = self.check_unused(source, "delete", Change.DELETE)
            try:
                await self._store.delete(mapping.account_id, mapping.uuid)
            except NotStoredError:
                pass
            source.state = state
            source.mapping = replace(mapping, last_modified=self._wall(), reason=BY_USER)
        self._tasks.spawn(self._settle(source))
        return state

    async def retag(self, source: Source, mapping: EventSourceMapping) -> None:
        """Store other tags. Raises ApiError."""
        async with self._committing():
            self.find(mapping.account_id, mapping.uuid)
            if source.state is State.DELETING:
                # It is gone from the store, and must not come back.
                raise faults.unknown_mapping()
            await self._change(source, replace(source.mapping, tags=mapping.tags), None)

    def function_changed(self, account_id: str, function_name: str) -> None:
        """A function, a version or an alias was changed or deleted."""
        for source in self._sources.values():
            mapping = source.mapping
            if mapping.enabled and (mapping.account_id, mapping.function_name) == (account_id, function_name):
                self._check_function(source)

    def _check_function(self, source: Source) -> None:
        mapping = source.mapping
        try:
            self._targets.resolve(mapping.account_id, mapping.function_name, mapping.qualifier)
        except ApiError as error:
            if error.status == 404 and not self._closed:
                self._tasks.spawn(self._disable(source))

    async def _disable(self, source: Source) -> None:
        """The function of a mapping is gone."""
        try:
            async with self._changing:
                mapping = source.mapping
                if not mapping.enabled or source.state is State.DELETING:
                    return
                state = State.DISABLING
                mapping = replace(mapping, enabled=False, last_modified=self._wall(), reason=FUNCTION_GONE)
                await self._change(source, mapping, state)
        except StoreError as error:
            self._warn(f"the event source mapping {source.mapping.uuid} could not be disabled: {error}")
            return
        await self._settle(source)

    @asynccontextmanager
    async def _committing(self) -> AsyncIterator[None]:
        async with self._changing:
            try:
                yield
            except StoreUnavailableError as error:
                raise faults.store_unavailable(str(error)) from error

    async def _change(self, source: Source, mapping: EventSourceMapping, state: State | None) -> None:
        """Store what a mapping has become; without a ``state`` it goes on in the one that it has by then."""
        await self._store.put(mapping.account_id, mapping.uuid, mapping.document())
        source.mapping = mapping
        source.state = state or source.state
        if source.poller is not None:
            source.poller.mapping = mapping

    def _check_unique(self, mapping: EventSourceMapping) -> None:
        for source in self._sources.values():
            other = source.mapping
            if other.uuid != mapping.uuid and mapping.same_work(other) and source.state is not State.DELETING:
                name = f"{other.function_name}:{other.qualifier}" if other.qualifier else other.function_name
                raise faults.exists(other.queue_arn, name, other.uuid)

    # --- pollers ------------------------------------------------------------------------------------------------

    async def _settle(self, source: Source) -> None:
        """Make the poller what the mapping wants it to be, and show it."""
        wanted = source.mapping.enabled and source.state is not State.DELETING
        if wanted:
            self._poll(source)
        elif source.poller is not None:
            source.poller.stop()
            await source.poller.ended()
            source.poller = None
        if source.state is State.DELETING:
            self._sources.pop(source.mapping.uuid, None)
            return
        try:
            source.state = after(source.state, Change.WORKS if wanted else Change.RESTS)
        except InUseError:
            # Another change came meanwhile, and settles it.
            return

    def _poll(self, source: Source) -> None:
        if source.poller is None and self._begun:
            source.poller = self._polling.poll(source.mapping, source.told)
