"""Changes of mappings that cross each other."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.sources.test_source_poller import mapping
from venturekit.service.api.errors import ApiError
from venturekit.service.functions.tasks import OwnedTasks
from venturekit.service.sources.mappings import EventSourceMappings
from venturekit.service.sources.states import State


class Store:
    """Keeps the last document."""

    document: Any = None

    async def put(self, account_id: str, uuid: str, document: Any) -> None:
        self.document = document


def test_an_update_does_not_undo_another_one() -> None:
    """Each was made of what the mapping was before the queue was asked, which takes its time."""

    async def run() -> None:
        store, unexpected = Store(), list[BaseException]()
        tasks = OwnedTasks(unexpected.append)
        unused: Any = None
        mappings = EventSourceMappings(
            store,  # type: ignore[arg-type]
            unused,
            targets=unused,
            tasks=tasks,
            wall=lambda: 1.0,
            warn=str,
        )
        source, _ = await mappings.create(replace(mapping(), enabled=False))
        await asyncio.sleep(0)
        former = source.mapping

        await mappings.retag(source, replace(former, tags={"a": "b"}))
        smaller = replace(former, members={**former.members, "BatchSize": 5})
        assert await mappings.update(source, former, smaller) is State.UPDATING
        await asyncio.sleep(0)
        assert (source.mapping.batch_size, source.mapping.tags) == (5, {"a": "b"})

        reporting = replace(former, members={**former.members, "FunctionResponseTypes": ["ReportBatchItemFailures"]})
        with pytest.raises(ApiError) as raised:
            await mappings.update(source, former, reporting)
        assert raised.value.code == "ResourceInUseException"
        assert store.document["members"]["BatchSize"] == 5
        assert store.document["tags"] == {"a": "b"}
        await tasks.close(1.0)
        assert unexpected == []

    asyncio.run(run())


class SlowStore(Store):
    """Keeps nothing before it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.deleted = False

    async def put(self, account_id: str, uuid: str, document: Any) -> None:
        self.asked.set()
        await self.goes_on.wait()
        self.document, self.deleted = document, False

    async def delete(self, account_id: str, uuid: str) -> None:
        self.deleted = True


def test_tags_neither_bring_back_a_mapping_nor_its_former_state() -> None:
    async def run() -> None:
        store, unexpected = SlowStore(), list[BaseException]()
        tasks = OwnedTasks(unexpected.append)
        unused: Any = None
        mappings = EventSourceMappings(
            store,  # type: ignore[arg-type]
            unused,
            targets=unused,
            tasks=tasks,
            wall=lambda: 1.0,
            warn=str,
        )
        source, _ = await mappings.create(replace(mapping(), enabled=False))
        await asyncio.sleep(0)
        source.state = State.DISABLING
        store.goes_on.clear()
        store.asked.clear()
        tagging = asyncio.ensure_future(mappings.retag(source, replace(source.mapping, tags={"a": "b"})))
        await store.asked.wait()
        source.state = State.DISABLED
        store.goes_on.set()
        await tagging
        assert (source.state, source.mapping.tags) == (State.DISABLED, {"a": "b"})

        # It is shown until its poller has ended, and is gone from the store by then.
        assert await mappings.delete(source) is State.DELETING
        with pytest.raises(ApiError) as raised:
            await mappings.retag(source, replace(source.mapping, tags={"c": "d"}))
        assert raised.value.code == "ResourceNotFoundException"
        assert store.deleted
        await tasks.close(1.0)
        assert unexpected == []

    asyncio.run(run())
