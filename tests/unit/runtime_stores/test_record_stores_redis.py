"""Records in Redis or Valkey (a real server): the suite of all stores by each kind of client, and the bad days."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.unit.runtime_stores.store_servers import KEYS, RedisServer, redis_server
from venturekit.runtime.patterns.record_checks import ForeignRecordError
from venturekit.runtime.patterns.record_scripts import SCANNED_AT_ONCE
from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore
from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    with redis.Redis.from_url(server.url) as made:
        made.flushall()
        yield made


@pytest.fixture
def store(server: RedisServer, client: Any) -> Iterator[RedisRecordStore]:
    made = RedisRecordStore(url=server.url)
    yield made
    made.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
def test_a_redis_store_does_what_stores_do(case: Any, decodes: bool, protocol: int, server: RedisServer) -> None:
    with (
        redis.Redis.from_url(server.url, decode_responses=decodes, protocol=protocol) as client,
        StoreUnderTest(RedisRecordStore(client), another=RedisRecordStore(url=server.url)) as under_test,
    ):
        case(under_test)
        assert isinstance(under_test.another, RedisRecordStore)
        under_test.another.close()


@pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
def test_a_redis_store_with_an_asynchronous_client_does(case: Any, server: RedisServer) -> None:
    client = redis.asyncio.Redis.from_url(server.url)
    with StoreUnderTest(RedisRecordStore(client)) as under_test:
        try:
            case(under_test)
        finally:
            under_test.run(client.aclose())


# --- what it leaves on the server ---------------------------------------------------------------------------------


def test_the_server_removes_records_and_sets_that_are_over(store: RedisRecordStore, client: Any) -> None:
    now = 1_800_000_000.0
    for number, lasts in enumerate((60.0, 600.0, 30.0)):
        assert store.write(f"{number}", {}, now, version=0, expires_at=now + lasts, keys={"user": "u"})
    assert 119_000 < client.pttl("{venturekit}:record:0") <= 120_000
    assert 659_000 < client.pttl("{venturekit}:key:user:u") <= 660_000
    assert store.write("3", {}, now, version=0, keys={"user": "u"})
    assert client.pttl("{venturekit}:key:user:u") == -1
    assert store.write("0", {}, now, version=1)
    assert client.pttl("{venturekit}:record:0") == -1


def test_what_is_over_leaves_nothing_behind(store: RedisRecordStore, client: Any) -> None:
    assert store.write("a", {}, 0.0, version=0, expires_at=60.0, keys={"user": "u", "tenant": "t"})
    assert store.write("b", {}, 0.0, version=0, keys={"user": "u"})
    client.delete("{venturekit}:record:a")
    assert client.zcard("{venturekit}:key:user:u") == 2
    assert [record.id for record in store.find("user", "u", 0.0).records] == ["b"]
    assert client.zcard("{venturekit}:key:user:u") == 1
    assert store.delete("b", 0.0)
    assert store.find("tenant", "t", 0.0).records == []
    assert [name for name in client.scan_iter() if b":deleted:" not in name] == []
    assert 0 < client.pttl(next(client.scan_iter())) <= 30_000


def test_more_ids_that_are_over_than_one_script_looks_at(store: RedisRecordStore, client: Any) -> None:
    gone = {f"a{number:05}": 0 for number in range(2 * SCANNED_AT_ONCE)}
    client.zadd("{venturekit}:key:user:u", gone)
    assert store.write("b", {}, 0.0, version=0, keys={"user": "u"})
    page = store.find("user", "u", 0.0, limit=1)
    assert ([record.id for record in page.records], page.after) == (["b"], None)  # type: ignore[union-attr]
    assert client.zcard("{venturekit}:key:user:u") == 1


def test_prefixes_have_nothing_in_common(server: RedisServer, client: Any) -> None:
    sagas, breakers = RedisRecordStore(client, prefix="sagas"), RedisRecordStore(client, prefix="breakers")
    assert sagas.write("a", {}, 0.0, version=0, keys={"user": "u"})
    assert breakers.read("a", 0.0) is None
    assert breakers.find("user", "u", 0.0).records == []  # type: ignore[union-attr]
    assert {name.partition(b"}")[0] for name in client.scan_iter()} == {b"{sagas"}


# --- answers that were lost ---------------------------------------------------------------------------------------


class Losing:
    """A client that asks everything twice, as clients do when an answer was lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def register_script(self, text: str) -> Any:
        script = self._client.register_script(text)

        def twice(**arguments: Any) -> Any:
            script(**arguments)
            return script(**arguments)

        return twice


def test_what_was_done_by_a_try_whose_answer_was_lost_is_done(store: RedisRecordStore, client: Any) -> None:
    losing = RedisRecordStore(Losing(client))
    assert losing.write("a", {"n": 1}, 0.0, version=0, keys={"user": "u"})
    assert losing.write("a", {"n": 2}, 0.0, version=1)
    assert store.read("a", 0.0).version == 2  # type: ignore[union-attr]
    assert losing.delete("a", 0.0, version=2)
    assert store.read("a", 0.0) is None
    assert not losing.delete("a", 0.0)


# --- down, slow, without its scripts ------------------------------------------------------------------------------


def test_its_own_client_waits_a_bounded_time(server: RedisServer, store: RedisRecordStore) -> None:
    assert store.read("a", 0.0) is None
    settings = store._client.connection_pool.connection_kwargs
    assert (settings["socket_connect_timeout"], settings["socket_timeout"]) == (1.0, 2.0)
    assert settings["retry"].get_retries() == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_server_that_does_not_answer_is_down(asynchronous: bool, server: RedisServer) -> None:
    kind: Any = redis.asyncio.Redis if asynchronous else redis.Redis
    retry: Any = redis.asyncio.retry.Retry if asynchronous else Retry
    client = kind.from_url(server.url, socket_timeout=0.05, retry=retry(NoBackoff(), 0))
    with StoreUnderTest(RedisRecordStore(client)) as under_test:
        assert under_test.write("a", {}, version=0)
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(redis.TimeoutError):
                under_test.write("a", {}, version=1)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert under_test.read("a") is not None
        if asynchronous:
            under_test.run(client.aclose())
        else:
            client.close()


def test_a_server_that_is_not_there_is_down(tmp_path: Any) -> None:
    store = RedisRecordStore(url=f"unix://{tmp_path}/nobody.sock")
    asks: list[Callable[[], Any]] = [
        lambda: store.read("a", 0.0),
        lambda: store.write("a", {}, 0.0, version=0),
        lambda: store.delete("a", 0.0),
        lambda: store.find("user", "u", 0.0),
    ]
    for ask in asks:
        with pytest.raises(redis.ConnectionError):
            ask()
    store.close()
    store.close()


def test_a_server_that_has_forgotten_the_scripts_is_told_again(store: RedisRecordStore, client: Any) -> None:
    assert store.write("a", {}, 0.0, version=0)
    client.script_flush()
    assert store.write("a", {}, 0.0, version=1)


def test_a_full_server_changes_nothing(store: RedisRecordStore, client: Any) -> None:
    assert store.write("a", {"n": 1}, 0.0, version=0, keys={"user": "u"})
    client.config_set("maxmemory", "1mb")
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            store.write("a", {"n": 2}, 0.0, version=1, keys={"user": "v"})
        assert [record.version for record in store.find("user", "u", 0.0).records] == [1]  # type: ignore[union-attr]
    finally:
        client.config_set("maxmemory", "0")


def test_an_asynchronous_write_that_is_cancelled_ends(server: RedisServer) -> None:
    async def main() -> None:
        client = redis.asyncio.Redis.from_url(server.url)
        store = RedisRecordStore(client)
        assert await store.write("cancelled", {}, 0.0, version=0)  # type: ignore[misc]
        server.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await store.write("cancelled", {}, 0.0, version=1)  # type: ignore[misc]
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert await store.read("cancelled", 0.0) is not None  # type: ignore[misc]
        await client.aclose()

    asyncio.run(main())


# --- wrong use, and what others have written ----------------------------------------------------------------------


def test_without_the_package_the_error_names_it() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore\n"
        "try: RedisRecordStore(url='redis://localhost').read('a', 0.0)\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip().endswith("need the package redis, which is missing: pip install 'venturekit[redis]'")


def test_one_of_client_and_url_is_needed() -> None:
    for arguments in ({}, {"client": object(), "url": "redis://localhost"}):
        with pytest.raises(ValueError, match="not both"):
            RedisRecordStore(**arguments)
    for prefix in ("", "a{b", "}"):
        with pytest.raises(ValueError, match="prefix"):
            RedisRecordStore(url="redis://localhost", prefix=prefix)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("text", "it is no hash"),
        ("hash", "it lacks what a record has"),
        ("value", "its value is no JSON object"),
        ("version", "its version or its end is no number"),
    ],
)
def test_a_key_of_somebody_else_is_named_and_left(kind: str, why: str, store: RedisRecordStore, client: Any) -> None:
    key = "{venturekit}:record:a"
    if kind == "text":
        client.set(key, "text")
    elif kind == "hash":
        client.hset(key, mapping={"artist": "a", "version": "1"})
    else:
        store.write("a", {}, 0.0, version=0, keys={KEYS[0]: "u"})
        client.hset(key, kind, "[1]")
    asks: list[Callable[[], Any]] = [lambda: store.read("a", 0.0)]
    if kind in ("text", "hash"):
        asks += [lambda: store.write("a", {}, 0.0, version=0), lambda: store.delete("a", 0.0)]
    else:
        asks += [lambda: store.find("user", "u", 0.0)]
    before = client.dump(key)
    for number, ask in enumerate(asks):
        # What reads the value first says so of a hash that has none.
        said = why if number or kind != "hash" else "its value is no JSON object"
        with pytest.raises(ForeignRecordError, match=f"the id 'a' in Redis below .* was not written .*{said}"):
            ask()
    assert client.dump(key) == before
