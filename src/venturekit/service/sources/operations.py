"""CreateEventSourceMapping, and Update, Get, List and Delete of the same.

Sources: Lambda API reference, the pages of these operations. Texts: see ``faults``.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.api.errors import ApiError
from venturekit.service.sources import faults
from venturekit.service.sources.mapping import (
    EventSourceMapping,
    check_source,
    check_tags,
    check_visibility,
    merged_members,
)
from venturekit.service.sources.ports import QueueError, QueueRefusedError
from venturekit.service.sources.states import Change, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.sources.mappings import EventSourceMappings, Source
    from venturekit.service.sources.ports import Account, Functions, Pollers, Targets, Tasks

MAX_PAGE: Final = 100
"""The most items of a page (API reference, "ListEventSourceMappings")."""
ASKED_SECONDS: Final = 10.0
"""How long a queue is waited for when a mapping is made."""
PARTLY: Final = "Amazon SQS queues only: the other event sources are refused"
_MARKER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


class Sources:
    """What the operations work with, of all accounts."""

    def __init__(
        self,
        mappings: EventSourceMappings,
        *,
        pollers: Pollers,
        targets: Targets,
        tasks: Tasks,
        new_id: Callable[[], str],
    ) -> None:
        self.mappings = mappings
        self.pollers = pollers
        self.targets = targets
        self.tasks = tasks
        self.new_id = new_id


class EventSourceMappingOperations:
    """The operations of one account; ``sources()`` gives the parts that all accounts share."""

    def __init__(self, functions: Functions, sources: Callable[[], Sources]) -> None:
        self._functions = functions
        self._sources = sources

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateEventSourceMapping", partly=PARTLY)(self.create_mapping)
        operations.serve("UpdateEventSourceMapping", partly=PARTLY)(self.update_mapping)
        operations.serve("GetEventSourceMapping")(self.get_mapping)
        operations.serve("ListEventSourceMappings")(self.list_mappings)
        operations.serve("DeleteEventSourceMapping")(self.delete_mapping)

    async def create_mapping(self, call: Call) -> Mapping[str, Any]:
        """CreateEventSourceMapping: answered when it is durable, polled from then on unless it is disabled."""
        return await self._sources().tasks.complete(self._create(call.members))

    async def _create(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        sources = self._sources()
        queue_arn = check_source(given)
        name, qualifier = self._function(given["FunctionName"])
        tags = given.get("Tags") or {}
        check_tags(tags)
        mapping = EventSourceMapping(
            account_id=self._functions.account_id,
            uuid=sources.new_id(),
            number=0,
            queue_arn=queue_arn,
            function_name=name,
            qualifier=qualifier,
            enabled=given.get("Enabled") is not False,
            members=merged_members(given, None, fifo=queue_arn.endswith(".fifo")),
            tags=dict(tags),
            last_modified=0.0,
            reason="",
        )
        await self._check_queue(mapping)
        source, state = await sources.mappings.create(mapping)
        return self._shown(source, state)

    async def update_mapping(self, call: Call) -> Mapping[str, Any]:
        """UpdateEventSourceMapping: what is absent stays as it is."""
        return await self._sources().tasks.complete(self._update(call.members))

    async def _update(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        sources = self._sources()
        source = self._find(given["UUID"])
        sources.mappings.check_unused(source, "update", Change.UPDATE)
        former = source.mapping
        name, qualifier = former.function_name, former.qualifier
        if given.get("FunctionName"):
            name, qualifier = self._function(given["FunctionName"])
        enabled = former.enabled if given.get("Enabled") is None else bool(given["Enabled"])
        mapping = replace(
            former,
            function_name=name,
            qualifier=qualifier,
            enabled=enabled,
            members=merged_members(given, former.members, fifo=former.is_fifo),
        )
        if enabled:
            await self._check_queue(mapping)
        state = await sources.mappings.update(source, former, mapping)
        return self._shown(source, state)

    async def get_mapping(self, call: Call) -> Mapping[str, Any]:
        """GetEventSourceMapping."""
        source = self._find(call.members["UUID"])
        return self._shown(source, source.state)

    async def delete_mapping(self, call: Call) -> Mapping[str, Any]:
        """DeleteEventSourceMapping: what is being processed ends first."""
        source = self._find(call.members["UUID"])
        mappings = self._sources().mappings
        state = await self._sources().tasks.complete(mappings.delete(source))
        return self._shown(source, state)

    async def list_mappings(self, call: Call) -> Mapping[str, Any]:
        """ListEventSourceMappings: in the order in which they were made, of one queue or function if one is named.

        A function that is gone may still have mappings, so none is an empty list and no error (a choice).
        """
        members = call.members
        found = self._sources().mappings.of_account(self._functions.account_id)
        if members.get("EventSourceArn"):
            found = [each for each in found if each.mapping.queue_arn == members["EventSourceArn"]]
        if members.get("FunctionName"):
            address = self._functions.address(members["FunctionName"])
            found = [
                each
                for each in found
                if each.mapping.function_name == address.name
                and (address.qualifier is None or each.mapping.qualifier == address.qualifier)
            ]
        if members.get("Marker"):
            last = decode_marker(members["Marker"])
            found = [each for each in found if each.mapping.number > last]
        limit = min(members.get("MaxItems") or MAX_PAGE, MAX_PAGE)
        page = found[:limit]
        marker = encode_marker(page[-1].mapping.number) if len(found) > limit else None
        return {"EventSourceMappings": [self._shown(each, each.state) for each in page], "NextMarker": marker}

    # --- tags -----------------------------------------------------------------------------------------------------

    def tags(self, uuid: str) -> Mapping[str, str]:
        """The tags of a mapping. Raises ApiError, 404."""
        return self._find(uuid).mapping.tags

    async def change_tags(self, uuid: str, tags: Mapping[str, str]) -> None:
        """Give a mapping these tags in the place of all it has. Raises ApiError."""
        source = self._find(uuid)
        check_tags(tags)
        mapping = replace(source.mapping, tags=dict(tags))
        await self._sources().tasks.complete(self._sources().mappings.retag(source, mapping))

    # --- inside ---------------------------------------------------------------------------------------------------

    def _find(self, uuid: str) -> Source:
        return self._sources().mappings.find(self._functions.account_id, uuid)

    def _function(self, text: str) -> tuple[str, str]:
        """Name and qualifier of a function that exists. Raises ApiError."""
        address = self._functions.address(text)
        name, qualifier = address.name, address.qualifier or ""
        try:
            target = self._sources().targets.resolve(self._functions.account_id, name, qualifier)
        except ApiError as error:
            if error.status != 404:
                raise
            raise faults.no_function() from error
        if target.isolates_tenants:
            raise faults.for_tenants_only()
        return name, qualifier

    async def _check_queue(self, mapping: EventSourceMapping) -> None:
        """Raise ApiError for a queue that is not there, or that the function cannot work with."""
        sources = self._sources()
        try:
            async with asyncio.timeout(ASKED_SECONDS):
                queue = await sources.pollers.describe(mapping.queue_arn)
        except QueueRefusedError as error:
            raise faults.queue_refused(error.code, error.message) from error
        except QueueError as error:
            raise faults.queue_not_asked(str(error)) from error
        except TimeoutError as error:
            raise faults.queue_not_asked(f"no answer within {ASKED_SECONDS:g} s") from error
        # The function may have been changed or deleted meanwhile.
        self._function(self._functions.arn(mapping.function_name, mapping.qualifier or None))
        target = sources.targets.resolve(mapping.account_id, mapping.function_name, mapping.qualifier)
        check_visibility(queue.visibility_seconds, target.timeout_seconds)

    def _shown(self, source: Source, state: State) -> dict[str, Any]:
        mapping, functions = source.mapping, self._functions
        prefix = functions.arn("").removesuffix("function:")
        return mapping.configuration(
            state=state.value,
            result=source.result,
            function_arn=functions.arn(mapping.function_name, mapping.qualifier or None),
            mapping_arn=f"{prefix}event-source-mapping:{mapping.uuid}",
        )


def serve_sources(
    operations: Registry, functions: Account, sources: Callable[[], Sources]
) -> EventSourceMappingOperations:
    """Serve the operations on an account's mappings, which follow what becomes of its functions."""
    served = EventSourceMappingOperations(functions, sources)
    served.register(operations)
    functions.subscribe(lambda name: sources().mappings.function_changed(functions.account_id, name))
    return served


def encode_marker(number: int) -> str:
    """An opaque text for the place after a mapping."""
    return base64.urlsafe_b64encode(str(number).encode()).decode("ascii")


def decode_marker(marker: str) -> int:
    """The inverse of ``encode_marker``. Raises ApiError."""
    try:
        text = base64.b64decode(marker[:64].encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        text = ""
    if _MARKER.fullmatch(text) is None or len(marker) > 64:
        raise faults.invalid_marker()
    return int(text)
