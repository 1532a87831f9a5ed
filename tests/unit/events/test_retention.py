"""What of the history is kept: by age, by number, and never without what is owed."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.events.event_rows import NOW, OTHER, Rows, delivery
from venturekit.service.events import pruning, retention
from venturekit.service.events.pruning import Pruning
from venturekit.service.events.retention import BATCH_BYTES, BATCH_EVENTS, batches, forgettable
from venturekit.service.store import Store, StoreBusyError, StoreFailedError
from venturekit.service.store.event_queries import EventQueries
from venturekit.service.store.event_views import EndedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3600.0


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Rows]:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield Rows(store)
    store.close()


def ended(number: int, at: float, *, owing: bool = False, size: int = 0) -> EndedEvent:
    return EndedEvent((at, number), at, owing, size)


# --- decisions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep_from", "last_beyond", "going", "more"),
    [
        (0.0, None, [], False),
        (20.0, None, [1], False),
        (20.5, None, [1, 3], False),
        (99.0, None, [1, 3, 4], True),
        (0.0, (10.0, 1), [1], False),
        (0.0, (20.0, 2), [1], False),
        (0.0, (20.0, 3), [1, 3], False),
        (0.0, (99.0, 9), [1, 3, 4], True),
        (20.0, (20.0, 3), [1, 3], False),
    ],
)
def test_what_is_too_old_or_too_much_goes_unless_something_is_owed(
    keep_from: float, last_beyond: tuple[float, int] | None, going: list[int], more: bool
) -> None:
    events = [ended(1, 10.0), ended(2, 15.0, owing=True), ended(3, 20.0), ended(4, 30.0)]
    found, goes_on = forgettable(events, keep_from=keep_from, last_beyond=last_beyond)
    assert ([event.place[1] for event in found], goes_on) == (going, more)


SIZES = st.lists(st.sampled_from([0, 1, BATCH_BYTES // 3, BATCH_BYTES, 2 * BATCH_BYTES]), max_size=40)


@given(sizes=SIZES, least=st.integers(1, 7))
def test_a_transaction_deletes_few_events_and_few_bytes(sizes: list[int], least: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(retention, "BATCH_EVENTS", least)
        made = list(batches(ended(number, 1.0, size=size) for number, size in enumerate(sizes)))
    assert [number for batch in made for number in batch] == list(range(len(sizes)))
    for batch in made:
        assert 0 < len(batch) <= least
        assert len(batch) == 1 or sum(sizes[number] for number in batch) <= BATCH_BYTES


def test_a_transaction_deletes_two_hundred_events_at_most() -> None:
    assert [len(batch) for batch in batches(ended(n, 1.0) for n in range(BATCH_EVENTS + 1))] == [200, 1]


# --- on a store -----------------------------------------------------------------------------------------------------


def pruning_of(rows: Rows, *, hours: float = 1.0, limit: int = 1000, now: float = NOW) -> Pruning:
    return Pruning(
        EventQueries(rows.store), hours=hours, limit=limit, steady=lambda: now, warn=fail_with, report=fail_with
    )


def fail_with(trouble: object) -> None:
    raise AssertionError(trouble)


def left(rows: Rows) -> list[int]:
    return [number for (number,) in rows.query("SELECT id FROM events ORDER BY id")]


def test_events_are_forgotten_when_they_are_too_old(rows: Rows) -> None:
    old = [rows.add(state, ended=NOW) for state in ("succeeded", "failed", "dropped")]
    owing = rows.add("failed", owed=[delivery()], ended=NOW)
    live = [rows.add("queued"), rows.add("running")]
    young = rows.add("failed", ended=NOW + 100, account_id=OTHER)
    last = rows.add("queued")
    assert asyncio.run(pruning_of(rows, now=NOW + HOUR).prune()) == 0
    assert asyncio.run(pruning_of(rows, now=NOW + HOUR + 50).prune()) == 3
    assert left(rows) == [owing, *live, young, last]
    assert asyncio.run(pruning_of(rows, now=NOW + HOUR + 101).prune()) == 1
    rows.query("DELETE FROM deliveries")
    assert asyncio.run(pruning_of(rows, now=NOW + HOUR + 101).prune()) == 1
    assert left(rows) == [*live, last]
    assert old[0] not in left(rows)


@pytest.mark.parametrize("page", [1, 3, 1000])
@pytest.mark.parametrize("limit", [1, 4, 10, 11])
def test_of_too_many_the_oldest_are_forgotten(
    rows: Rows, monkeypatch: pytest.MonkeyPatch, limit: int, page: int
) -> None:
    monkeypatch.setattr(pruning, "PAGE_EVENTS", page)
    # Not in the order in which they were accepted.
    numbers = [rows.add("failed", ended=NOW + 10 - position) for position in range(10)]
    live = rows.add("queued")
    forgotten = asyncio.run(pruning_of(rows, limit=limit).prune())
    assert forgotten == max(0, 10 - limit)
    assert left(rows) == [*numbers[:limit], live]
    assert asyncio.run(pruning_of(rows, limit=limit).prune()) == 0


def test_what_is_owed_does_not_keep_the_others(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PAGE_EVENTS", 2)
    owing = [rows.add("failed", owed=[delivery()], ended=NOW) for _ in range(5)]
    rows.add("failed", ended=NOW + 1)
    live = rows.add()
    assert asyncio.run(pruning_of(rows, hours=0, now=NOW + 2).prune()) == 1
    assert left(rows) == [*owing, live]


def test_a_clock_that_is_set_forward_makes_nothing_old(rows: Rows) -> None:
    """Age is steady time, whatever the wall clock said at the end of an event."""
    for shift in (-7 * 24, 7 * 24, 0):
        number = rows.add("failed")
        rows.query("UPDATE events SET finished_wall = finished_wall + ? WHERE id = ?", shift * HOUR, number)
    rows.add()
    assert asyncio.run(pruning_of(rows, hours=72).prune()) == 0


def test_large_payloads_are_deleted_in_several_transactions(rows: Rows) -> None:
    for _ in range(9):
        rows.add("failed", payload=b"x" * 1_000_000)
    rows.add()
    before = rows.store.commits
    assert asyncio.run(pruning_of(rows, hours=0, now=NOW + 1).prune()) == 9
    assert rows.store.commits - before == 3


# --- the loop -------------------------------------------------------------------------------------------------------


class Script:
    """Queries that do what a test wrote down: an exception to raise, or how many of the events there are go at once."""

    def __init__(self, *steps: Exception | int) -> None:
        self.steps = list(steps)
        self.passes = 0
        self.finished = asyncio.Event()

    async def last_beyond(self, limit: int) -> None:
        self.passes += 1
        if not self.steps:
            self.finished.set()
            await asyncio.Event().wait()
        if isinstance(self.steps[0], Exception):
            raise self.steps.pop(0)

    async def ended(self, after: Any, limit: int) -> list[EndedEvent]:
        step = self.steps.pop(0)
        return [ended(number, 0.0) for number in range(step)] if isinstance(step, int) else []

    async def forget(self, event_ids: list[int]) -> int:
        return len(event_ids)


async def run_script(script: Script, told: list[object], pauses: list[float]) -> None:
    def keep_pause(seconds: float) -> Any:
        pauses.append(seconds)
        return real_sleep(0)

    real_sleep = asyncio.sleep
    loop = Pruning(script, hours=0, limit=1, steady=lambda: 1.0, warn=told.append, report=told.append)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(asyncio, "sleep", keep_pause)
        loop.begin()
        assert loop._task is not None
        await asyncio.wait([loop._task, asyncio.ensure_future(script.finished.wait())], return_when="FIRST_COMPLETED")
        await loop.close()


def test_it_goes_on_at_once_while_there_is_more_and_rests_after_that() -> None:
    async def scenario() -> None:
        told: list[object] = []
        pauses: list[float] = []
        script = Script(600, 200, 199, 0)
        await run_script(script, told, pauses)
        assert (script.passes, told, pauses) == (5, [], [30.0, 30.0])

    asyncio.run(scenario())


def test_trouble_of_the_store_is_told_and_it_is_tried_again() -> None:
    async def scenario() -> None:
        told: list[object] = []
        pauses: list[float] = []
        unexpected = sqlite3.OperationalError("odd")
        script = Script(StoreBusyError("10000 changes are waiting already"), unexpected, 0)
        await run_script(script, told, pauses)
        assert told == [
            "the history of events is not pruned at the moment: 10000 changes are waiting already",
            unexpected,
        ]
        assert pauses == [30.0] * 3

    asyncio.run(scenario())


def test_it_ends_with_the_store() -> None:
    async def scenario() -> None:
        told: list[object] = []
        script = Script(StoreFailedError("an fsync failed"), 0)
        await run_script(script, told, [])
        assert (script.passes, told) == (1, [])

    asyncio.run(scenario())


def test_closing_without_having_begun(rows: Rows) -> None:
    asyncio.run(pruning_of(rows).close())
