"""A store as the cases of ``record_store_suite`` see it: blocking, with ids and a time of their own."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from venturekit.runtime.patterns.driving import adrive, drive

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator, Mapping, Sequence
    from types import TracebackType

    from venturekit.runtime.patterns.records import Record, RecordPage, RecordStore

    T = TypeVar("T")

WAIT_SECONDS = 60


class StoreUnderTest:
    """Asks a store, blocking or asynchronous, about ids that nobody else uses::

        with StoreUnderTest(MyStore()) as store:
            assert store.write("a", {"n": 1}, version=0)

    ``another`` is the same store opened a second time, where that is something else than the same object.
    ``find_delay_seconds`` is how far ``find`` may be behind, as it is in indexes of DynamoDB. ``key`` is what records
    are found by, for stores that have to know beforehand; two of them are used, ``key`` and ``other_key``.
    ``now`` is the time, in epoch seconds; cases move it.
    """

    def __init__(
        self,
        store: RecordStore,
        *,
        another: RecordStore | None = None,
        find_delay_seconds: float = 0.0,
        key: str = "user",
        other_key: str = "tenant",
    ) -> None:
        self.store = store
        self.another = another if another is not None else store
        self.find_delay_seconds = find_delay_seconds
        self.key = key
        self.other_key = other_key
        # A quarter: stores that round to whole seconds are found out.
        self.now = int(time.time()) + 0.25
        self._unique = f"{uuid4().hex[:12]}/"
        self._runner: asyncio.Runner | None = None

    def id(self, name: str) -> str:
        """The id that a name stands for; ids are in the order of their names."""
        return self._unique + name

    def read(self, name: str, *, store: RecordStore | None = None) -> Record | None:
        """The record."""
        return self.run((self.store if store is None else store).read(self.id(name), self.now))

    def write(
        self,
        name: str,
        value: dict[str, Any],
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
        store: RecordStore | None = None,
    ) -> bool:
        """Whether it was written; the values of keys are made unique as ids are."""
        unique = {key: self.id(text) for key, text in keys.items()} if keys is not None else None
        handle = self.store if store is None else store
        return self.run(
            handle.write(self.id(name), value, self.now, version=version, expires_at=expires_at, keys=unique)
        )

    def delete(self, name: str, *, version: int | None = None) -> bool:
        """Whether it was there and is gone."""
        return self.run(self.store.delete(self.id(name), self.now, version=version))

    def find(self, key: str, value: str, *, limit: int = 100, after: str | None = None) -> RecordPage:
        """One page."""
        return self.run(self.store.find(key, self.id(value), self.now, limit=limit, after=after))

    def pages(self, key: str, value: str, *, limit: int) -> list[list[str]]:
        """The names of all records that are found, page by page."""
        found: list[list[str]] = []
        after = None
        while len(found) < 1000:
            page = self.find(key, value, limit=limit, after=after)
            found.append([record.id.removeprefix(self._unique) for record in page.records])
            after = page.after
            if after is None:
                return found
        raise AssertionError("find does not come to an end: after is never None")

    def expect_found(self, key: str, value: str, names: Sequence[str]) -> None:
        """That these are found, in this order, now or as soon as ``find`` has caught up."""
        end = time.monotonic() + self.find_delay_seconds
        while True:
            found = [name for page in self.pages(key, value, limit=100) for name in page]
            if found == list(names) or time.monotonic() >= end:
                return expect(found, list(names))
            time.sleep(0.05)

    def together(self, flows: Sequence[Generator[Any, Any, T]]) -> list[T]:
        """What the flows give, which yield what the store gave; all of them run at the same time."""
        if self._is_asynchronous():
            return self.run(_gathered(flows))
        from concurrent.futures import ThreadPoolExecutor
        from threading import Barrier

        barrier = Barrier(len(flows))

        def run(flow: Generator[Any, Any, T]) -> T:
            barrier.wait(WAIT_SECONDS)
            return drive(flow, instead="an asynchronous store throughout")

        with ThreadPoolExecutor(len(flows)) as pool:
            return list(pool.map(run, flows, timeout=WAIT_SECONDS))

    def run(self, given: T | Awaitable[T]) -> T:
        """What a store gave, awaited if need be, on one event loop for the life of this object."""
        if not isinstance(given, Awaitable):
            return given
        if self._runner is None:
            import asyncio

            self._runner = asyncio.Runner()
        result: T = self._runner.run(_bounded(given))
        return result

    def close(self) -> None:
        """Close the event loop. The store is left to whoever opened it."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _is_asynchronous(self) -> bool:
        given = self.store.read(self.id("nobody"), self.now)
        self.run(given)
        return isinstance(given, Awaitable)


def expect(found: object, wanted: object) -> None:
    """Raises AssertionError, which says what was found, unless it is what was wanted."""
    assert found == wanted, f"found {found!r}, and not {wanted!r}"


async def _bounded(given: Awaitable[T]) -> T:
    import asyncio

    async with asyncio.timeout(WAIT_SECONDS):
        return await given


async def _gathered(flows: Sequence[Generator[Any, Any, T]]) -> list[T]:
    import asyncio

    return list(await asyncio.gather(*map(adrive, flows)))
