"""The same sagas on all stores: undone, gone on with after a crash, fought for by several, found while others write."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from tests.unit.runtime_patterns.saga_lab import Clock, Crash, Journal, states
from tests.unit.runtime_stores.store_servers import RedisServer, dynamodb_client, dynamodb_server, redis_server
from venturekit.runtime import SagaBusyError, _process, parallel, saga
from venturekit.runtime.patterns import (
    SagaCompensationError,
    create_dynamodb_saga_store,
    create_memory_saga_store,
    create_redis_saga_store,
    create_sqlite_saga_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from venturekit.runtime.patterns import Saga

STORES = ["memory", "sqlite", "dynamodb", "redis", "redis, awaited"]
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def redis_running() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def dynamodb_running() -> Iterator[Any]:
    with dynamodb_server() as address:
        client = dynamodb_client(address)
        create_dynamodb_saga_store(client=client).create_table()  # type: ignore[attr-defined]
        yield client


class Sagas:
    """Sagas of one store, run in the way that it wants."""

    def __init__(self, store: Any, *, asynchronous: bool = False) -> None:
        self.store, self.asynchronous = store, asynchronous
        self.clock, self.journal = Clock(), Journal()
        # Sagas of other tests are in the same table.
        self.name = f"order{next(_NUMBERS)}"
        self.runner = asyncio.Runner()

    def saga(self, **options: Any) -> Saga:
        first, *group, last = (self.journal.step(name, asynchronous=self.asynchronous) for name in "abcd")
        steps = [first, parallel("g", group), last]
        return saga(self.name, steps, store=self.store, clock=self.clock, **options)

    def call(self, made: Saga, method: str, *arguments: Any, **options: Any) -> Any:
        if self.asynchronous:
            return self.runner.run(getattr(made, f"a{method}")(*arguments, **options))
        return getattr(made, method)(*arguments, **options)


@pytest.fixture(params=STORES)
def sagas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sagas]:
    _process.state.pause = lambda seconds: None

    async def apause(seconds: float) -> None:
        pass

    _process.state.apause = apause
    if request.param == "memory":
        made = Sagas(create_memory_saga_store())
    elif request.param == "sqlite":
        made = Sagas(create_sqlite_saga_store(tmp_path / "sagas.db"))
    elif request.param == "dynamodb":
        made = Sagas(create_dynamodb_saga_store(client=request.getfixturevalue("dynamodb_running")))
    else:
        url = request.getfixturevalue("redis_running").url
        asynchronous = request.param != "redis"
        client: Any = redis.asyncio.Redis.from_url(url) if asynchronous else redis.Redis.from_url(url)
        made = Sagas(create_redis_saga_store(client=client), asynchronous=asynchronous)
    with made.runner:
        yield made
        if made.asynchronous:
            made.runner.run(client.aclose())
    _process.reset()
    close = getattr(made.store, "close", None)
    if close is not None:
        close()


def test_a_step_fails_and_what_was_done_is_undone_after_a_crash(sagas: Sagas) -> None:
    made = sagas.saga(lease_seconds=5)
    sagas.journal.fails("d", ValueError("ünmöglich \ud800"))
    sagas.journal.fails("-b", Crash())
    context = {"n": 2**70, "ratio": 0.1, "text": "ü😀\ud800\0", "none": None, "rows": [{"": {}}]}
    with pytest.raises(Crash):
        sagas.call(made, "run", context, "ü #%1")
    assert [one.id for one in sagas.call(made, "find", "compensating").records] == ["ü #%1"]
    with pytest.raises(SagaBusyError):
        sagas.call(made, "resume", "ü #%1")
    sagas.clock.now += 5
    assert [one.id for one in sagas.call(made, "stuck", 5)] == ["ü #%1"]
    result = sagas.call(made, "resume", "ü #%1")
    assert (result.success, states(result)) == (False, ["compensated"] * 3 + ["failed"])
    assert result.context == {**context, "a": 1, "b": 1, "c": 1}
    assert result.record.error == {"step": "d", "type": "ValueError", "message": "ünmöglich \ud800"}
    assert sorted(sagas.journal[1:3]) == ["b", "c"]
    assert [sagas.journal[0], *sagas.journal[3:]] == ["a", "d", "-c", "-b", "-b", "-a"]
    assert sagas.call(made, "get", "ü #%1").to_dict() == result.record.to_dict()
    assert sagas.call(made, "find", "compensating").records == sagas.call(made, "stuck", 0) == []
    # The same call again gives what is known; and its record is kept as long as was said.
    assert sagas.call(made, "run", context, "ü #%1").record.to_dict() == result.record.to_dict()
    sagas.clock.now += 31 * 86_400
    assert sagas.call(made, "get", "ü #%1") is None


def test_one_that_cannot_be_undone_is_kept_until_it_can(sagas: Sagas) -> None:
    made = sagas.saga(keep_seconds=1)
    sagas.journal.fails("d", ValueError("no"))
    sagas.journal.fails("-c", *[ValueError("not now")] * 3)
    with pytest.raises(SagaCompensationError):
        sagas.call(made, "run", {}, "1")
    sagas.clock.now += 1e7
    assert [one.id for one in sagas.call(made, "find").records] == ["1"]
    assert sagas.call(made, "resume", "1", retry_failed=True).record.status == "compensated"
    assert sagas.call(made, "find").records == []


def test_of_many_one_goes_on_with_a_saga(sagas: Sagas) -> None:
    made = sagas.saga(lease_seconds=1)
    sagas.journal.fails("d", Crash())
    with pytest.raises(Crash):
        sagas.call(made, "run", {}, "1")
    sagas.clock.now += 1
    told: list[str] = []
    together = threading.Barrier(4)

    def resume() -> None:
        together.wait(20)
        try:
            told.append(made.resume("1").record.status.value)
        except SagaBusyError:
            told.append("busy")

    async def aresume() -> None:
        async def one() -> str:
            try:
                return (await made.aresume("1")).record.status.value
            except SagaBusyError:
                return "busy"

        told.extend(await asyncio.gather(*(one() for _ in range(4))))

    if sagas.asynchronous:
        sagas.runner.run(aresume())
    else:
        threads = [threading.Thread(target=resume) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    # Whoever comes when it is done is told so.
    assert set(told) <= {"completed", "busy"}
    assert "completed" in told
    assert len(told) == 4
    assert sagas.journal.count("d") == 2


def test_all_are_found_while_others_end(sagas: Sagas) -> None:
    made = sagas.saga(lease_seconds=1)
    for number in range(7):
        sagas.journal.fails("a", Crash())
        with pytest.raises(Crash):
            sagas.call(made, "run", {}, f"{number}")
    sagas.clock.now += 1
    found, after = [], None
    for turn in range(7):
        page = sagas.call(made, "find", "running", limit=2, after=after)
        found += [one.id for one in page.records]
        # The one before ends, one behind begins: neither is a reason to leave out or to repeat another.
        if turn == 0:
            sagas.call(made, "resume", "0")
            sagas.journal.fails("a", Crash())
            with pytest.raises(Crash):
                sagas.call(made, "run", {}, "9")
        after = page.after
        if after is None:
            break
    assert found == ["0", "1", "2", "3", "4", "5", "6", "9"]
