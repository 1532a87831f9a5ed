"""Intentions that follow commits are handed to the writer together."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.store import Store, StoreClosedError
from venturekit.service.store.gathering import Gathering

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

PATIENCE_SECONDS = 30


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield store
    store.close()


def noted(name: str) -> Callable[[sqlite3.Connection], str]:
    def note(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO functions VALUES ('123456789012', ?, '{}')", (name,))
        return name

    return note


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), PATIENCE_SECONDS))


def test_what_comes_during_a_commit_shares_the_next_one(store: Store) -> None:
    async def scenario() -> None:
        gathering, started, go_on = Gathering(store), threading.Event(), threading.Event()

        def hold(_: sqlite3.Connection) -> None:
            started.set()
            assert go_on.wait(PATIENCE_SECONDS)

        first = gathering.begin(hold)
        assert await asyncio.to_thread(started.wait, PATIENCE_SECONDS)
        others = [gathering.begin(noted(f"f{number}")) for number in range(10)]
        go_on.set()
        assert await asyncio.gather(first, *others) == [None, *(f"f{number}" for number in range(10))]
        assert store.commits == 2

    run(scenario)


def test_those_that_follow_their_own_commits_keep_together(store: Store) -> None:
    rounds = 30

    async def scenario() -> None:
        gathering, ended = Gathering(store), asyncio.Event()
        left = {"a": rounds, "b": rounds}

        def follow(name: str) -> None:
            left[name] -= 1
            if left[name]:
                gathering.begin(noted(f"{name}{left[name]}")).add_done_callback(lambda _: follow(name))
            elif not any(left.values()):
                ended.set()

        # They begin apart: the one is being committed when the other comes.
        follow("a")
        await asyncio.sleep(0)
        follow("b")
        await ended.wait()
        # Two that took turns at the writer would need one commit for each of their steps.
        assert store.commits <= rounds + 2

    run(scenario)


def test_an_intention_that_fails_does_so_alone(store: Store) -> None:
    async def scenario() -> None:
        gathering = Gathering(store)

        def fail(_: sqlite3.Connection) -> None:
            raise LookupError("its own")

        results = await asyncio.gather(
            gathering.begin(noted("a")), gathering.begin(fail), gathering.begin(noted("b")), return_exceptions=True
        )
        assert (results[0], results[2]) == ("a", "b")
        assert isinstance(results[1], LookupError)

    run(scenario)


def test_a_refusal_is_told_by_the_future_each_time(store: Store) -> None:
    async def scenario() -> None:
        gathering = Gathering(store)
        assert await gathering.begin(noted("a")) == "a"
        store.close()
        for _ in range(3):
            with pytest.raises(StoreClosedError):
                await gathering.begin(noted("b"))
        refused = await asyncio.gather(*(gathering.begin(noted("c")) for _ in range(3)), return_exceptions=True)
        assert {type(error) for error in refused} == {StoreClosedError}

    run(scenario)


def test_one_that_nobody_waits_for_any_more_holds_nothing_up(store: Store) -> None:
    async def scenario() -> None:
        gathering = Gathering(store)
        gathering.begin(noted("a")).cancel()
        gathered = gathering.begin(noted("b"))
        gathering.begin(noted("c")).cancel()
        assert await gathered == "b"
        assert await gathering.begin(noted("d")) == "d"

    run(scenario)
