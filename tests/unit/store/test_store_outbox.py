"""The intentions about the outbox: each happens whole or not, and nothing goes but what is meant."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.store import Store
from venturekit.service.store.deliveries import insert_deliveries
from venturekit.service.store.event_documents import NewDelivery, NewEvent, Transition
from venturekit.service.store.events import insert_events
from venturekit.service.store.outbox import Deliveries, FailedDelivery, OwedDelivery, OwedMessage, OwedToTarget

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable
    from pathlib import Path

EVENT = NewEvent("123456789012", "f", "", "id", b"{}", "Root=1", 1.0, 2.0)
LINE = Transition(9.0, "delivered", '{"a":1}')


class Owing:
    """A store that owes."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path, reserve_size_bytes=4096)
        self.deliveries = Deliveries(self.store)

    def owe(self, target: str, *due: float) -> None:
        rows = [
            NewDelivery(
                kind="OnFailure",
                target=target,
                body=b"body",
                attributes="{}",
                source="source",
                trace="trace",
                due_at=due_at,
                created_wall=5.5,
            )
            for due_at in due
        ]

        def insert(connection: sqlite3.Connection) -> None:
            insert_events(connection, [EVENT])
            (event_id,) = connection.execute("SELECT max(id) FROM events").fetchone()
            insert_deliveries(connection, event_id, rows)

        self.store.submit(insert).result(20)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.store.submit(lambda c: c.execute(statement).fetchall()).result(20)
        return found


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Callable[[Owing], Awaitable[None]]], None]:
    def run(scenario: Callable[[Owing], Awaitable[None]]) -> None:
        async def main() -> None:
            owing = Owing(tmp_path / "store.db")
            try:
                await scenario(owing)
            finally:
                owing.store.close()

        asyncio.run(main())

    return run


def test_what_targets_are_owed(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        assert await owing.deliveries.targets() == []
        assert await owing.deliveries.target("a") is None
        owing.owe("a", 3.0, 1.0, 2.0)
        owing.owe("b", 7.0)
        assert await owing.deliveries.targets() == [OwedToTarget("a", 3, 1.0), OwedToTarget("b", 1, 7.0)]
        assert await owing.deliveries.target("a") == OwedToTarget("a", 3, 1.0)
        due = await owing.deliveries.due("a", 2.0, 10)
        assert [(item.delivery_id, item.event_id, item.due_at) for item in due] == [(2, 1, 1.0), (3, 1, 2.0)]
        assert due[0] == OwedDelivery(2, 1, "OnFailure", "a", 0, "", 1.0, 5.5)
        assert await owing.deliveries.due("a", 9.0, 1) == due[:1]
        message = OwedMessage(2, "OnFailure", "a", b"body", "{}", "source", "trace", 5.5)
        assert await owing.deliveries.message(2) == message
        assert await owing.deliveries.message(99) is None

    play(scenario)


def test_pages_behind_a_place(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 2.0, 1.0, 2.0, 2.0, 3.0)
        owing.owe("b", 2.0)
        found, place = [], (float("-inf"), 0)
        while page := await owing.deliveries.after("a", place, 2):
            found += [item.delivery_id for item in page]
            place = (page[-1].due_at, page[-1].delivery_id)
        assert found == [2, 1, 3, 4, 5]

    play(scenario)


def test_delivered_is_owed_no_more_and_written_down(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0, 2.0)
        (first, _) = await owing.deliveries.due("a", 2.0, 2)
        assert await owing.deliveries.delivered(first, [LINE])
        assert owing.rows("SELECT id FROM deliveries") == [(2,)]
        assert owing.rows("SELECT number, wall, kind, detail FROM event_history ORDER BY number")[1:] == [
            (2, 9.0, "delivered", '{"a":1}')
        ]
        assert not await owing.deliveries.delivered(first, [LINE])
        assert owing.rows("SELECT count(*) FROM event_history") == [(2,)]

    play(scenario)


@pytest.mark.parametrize("difference", [{"event_id": 2}, {"created_wall": 5.6}, {"delivery_id": 2}])
def test_another_delivery_under_the_same_number_is_left_alone(play: Any, difference: dict[str, Any]) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0)
        (real,) = await owing.deliveries.due("a", 1.0, 1)
        before = owing.rows("SELECT * FROM deliveries"), owing.rows("SELECT * FROM event_history")
        other = replace(real, **difference)
        assert not await owing.deliveries.delivered(other, [LINE])
        assert not await owing.deliveries.hop(other, EVENT, [LINE])
        await owing.deliveries.failed([FailedDelivery(other, 50.0, "no", [LINE])])
        assert (owing.rows("SELECT * FROM deliveries"), owing.rows("SELECT * FROM event_history")) == before
        assert owing.rows("SELECT count(*) FROM events") == [(1,)]

    play(scenario)


def test_failures_are_written_down_together(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0, 1.0)
        first, second = await owing.deliveries.due("a", 1.0, 2)
        commits = owing.store.commits
        await owing.deliveries.failed(
            [FailedDelivery(first, 50.0, "no", [LINE]), FailedDelivery(second, 60.0, "never", [])]
        )
        assert owing.store.commits == commits + 1
        assert owing.rows("SELECT attempts, due_at, reason FROM deliveries ORDER BY id") == [
            (1, 50.0, "no"),
            (1, 60.0, "never"),
        ]
        assert owing.rows("SELECT number, kind FROM event_history ORDER BY number") == [
            (1, "accepted"),
            (2, "delivered"),
        ]

    play(scenario)


def test_a_hop_is_an_event_instead_of_a_delivery(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0)
        (owed,) = await owing.deliveries.due("a", 1.0, 1)
        commits = owing.store.commits
        event = replace(EVENT, function_name="g", payload=b'{"b":1}')
        assert await owing.deliveries.hop(owed, event, [LINE])
        assert owing.store.commits == commits + 1
        assert owing.rows("SELECT count(*) FROM deliveries") == [(0,)]
        assert owing.rows(
            "SELECT id, function_name, state, payload FROM events JOIN event_payloads ON event_id = id WHERE id > 1"
        ) == [(2, "g", "queued", b'{"b":1}')]

    play(scenario)


def test_a_hop_that_fails_changes_nothing(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0)
        (owed,) = await owing.deliveries.due("a", 1.0, 1)
        with pytest.raises(Exception, match="NOT NULL"):
            await owing.deliveries.hop(owed, replace(EVENT, function_name=None), [LINE])  # type: ignore[arg-type]
        assert await owing.deliveries.due("a", 1.0, 1) == [owed]
        assert owing.rows("SELECT count(*) FROM event_history") == [(1,)]

    play(scenario)


def test_released_is_due_at_once(play: Any) -> None:
    async def scenario(owing: Owing) -> None:
        owing.owe("a", 1.0, 300.0)
        await owing.deliveries.release(10.0)
        assert owing.rows("SELECT due_at FROM deliveries ORDER BY id") == [(1.0,), (10.0,)]

    play(scenario)
