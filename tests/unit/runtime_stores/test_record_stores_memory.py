"""Records in memory: the suite of all stores, blocking and asynchronous, and what is memory's own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.runtime.patterns.record_checks import StoreFullError
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

if TYPE_CHECKING:
    from venturekit.runtime.patterns.records import Record, RecordPage


class AsyncMemoryStore:
    """A store of a user's own, every method of which is a coroutine function that lets others go first."""

    def __init__(self) -> None:
        self._store = MemoryRecordStore()

    async def read(self, id: str, now: float, /) -> Record | None:
        await asyncio.sleep(0)
        return self._store.read(id, now)

    async def write(self, id: str, value: dict[str, Any], now: float, /, **options: Any) -> bool:
        await asyncio.sleep(0)
        return self._store.write(id, value, now, **options)

    async def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool:
        await asyncio.sleep(0)
        return self._store.delete(id, now, version=version)

    async def find(self, key: str, value: str, now: float, /, **options: Any) -> RecordPage:
        await asyncio.sleep(0)
        return self._store.find(key, value, now, **options)


@pytest.mark.parametrize("kind", [MemoryRecordStore, AsyncMemoryStore])
@pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
def test_a_memory_store_does_what_stores_do(case: Any, kind: Any) -> None:
    with StoreUnderTest(kind()) as store:
        case(store)


def test_records_that_are_over_make_room() -> None:
    store = MemoryRecordStore(max_records=3)
    for number in range(3):
        assert store.write(f"{number}", {}, 0.0, version=0, expires_at=10.0 + number, keys={"user": "u"})
    assert store.write("3", {}, 11.0, version=0)
    assert [record.id for record in store.find("user", "u", 0.0).records] == ["2"]
    assert len(store) == 2


def test_a_full_store_forgets_nothing() -> None:
    store = MemoryRecordStore(max_records=2)
    assert store.write("a", {"n": 1}, 0.0, version=0, expires_at=10.0)
    assert store.write("b", {}, 0.0, version=0)
    with pytest.raises(StoreFullError, match="2 records are not over yet"):
        store.write("c", {}, 9.0, version=0)
    assert store.write("b", {"n": 2}, 9.0, version=1)
    assert not store.write("c", {}, 9.0, version=4)
    assert [store.read(item, 9.0) is not None for item in ("a", "b", "c")] == [True, True, False]
    assert store.write("c", {}, 10.0, version=0)


def test_records_that_are_written_over_and_over_take_no_more_room() -> None:
    store = MemoryRecordStore()
    for version in range(2000):
        assert store.write("a", {}, 0.0, version=version, expires_at=10.0 + version, keys={"user": f"{version}"})
    assert len(store._ends) <= 2 * len(store) + 65
    assert len(store._found) == 1
    assert store.read("a", 2008.0) is not None
    assert store.write("b", {}, 2009.0, version=0)
    assert (store.read("a", 2008.0), len(store)) == (None, 1)


def test_a_store_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        MemoryRecordStore(max_records=0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "delete", "wait"]),
        st.sampled_from("abcd"),
        st.integers(0, 3),
        st.sampled_from([None, 1, 2, 5]),
        st.sampled_from([None, {"user": "u"}, {"user": "v", "tenant": "u"}]),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(STEPS)
def test_it_is_a_table_in_which_records_come_and_go(steps: list[Any]) -> None:
    store, now = MemoryRecordStore(), 0.0
    table: dict[str, tuple[int, float | None, dict[str, str]]] = {}
    for what, item, version, lasts, keys in steps:
        now += 1 if what == "wait" else 0
        table = {one: held for one, held in table.items() if held[1] is None or held[1] > now}
        there = table[item][0] if item in table else 0
        if what == "write":
            end = None if lasts is None else now + lasts
            assert store.write(item, {}, now, version=version, expires_at=end, keys=keys) == (there == version)
            if there == version:
                table[item] = (version + 1, end, keys or {})
        elif what == "delete":
            assert store.delete(item, now, version=version or None) == (there > 0 and version in (0, there))
            if version in (0, there):
                table.pop(item, None)
        for one in "abcd":
            record = store.read(one, now)
            assert table.get(one) == (record and (record.version, record.expires_at, record.keys))
        for key, value in (("user", "u"), ("user", "v"), ("tenant", "u")):
            found = [record.id for record in store.find(key, value, now).records]
            assert found == sorted(one for one, held in table.items() if held[2].get(key) == value)
