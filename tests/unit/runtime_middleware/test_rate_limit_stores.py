"""Where limiters count: the same tests for memory, SQLite and DynamoDB (moto's server), and each one's own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer

from tests.unit.runtime_middleware.middleware_lab import Clock
from venturekit.runtime import create_rate_limiter
from venturekit.runtime.patterns import DynamoDbRateLimitStore, MemoryRateLimitStore, SqliteRateLimitStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW, END = 1_800_000_000.25, 1_800_000_060.0


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{server.get_host_and_port()[1]}",
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=Config(max_pool_connections=8),
    )
    DynamoDbRateLimitStore("limits", client=client).create_table()
    yield client
    server.stop()


@pytest.fixture(params=["memory", "sqlite", "dynamodb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryRateLimitStore()
    elif request.param == "sqlite":
        with closing(SqliteRateLimitStore(tmp_path / "limits.db")) as opened:
            yield opened
    else:
        yield DynamoDbRateLimitStore("limits", client=request.getfixturevalue("dynamodb"))


# --- all of them --------------------------------------------------------------------------------------------------


def test_each_id_has_its_own_count(store: Any, request: pytest.FixtureRequest) -> None:
    a, b = f"{request.node.name}#a", f"{request.node.name}#ä\x00 '; --"
    assert [store.increment(item, NOW, END) for item in (a, a, b, a, b)] == [1, 2, 1, 3, 2]


def test_no_two_threads_get_one_count(store: Any, request: pytest.FixtureRequest) -> None:
    barrier = threading.Barrier(4)

    def count(_: int) -> list[int]:
        barrier.wait(30)
        return [store.increment(request.node.name, NOW, END) for _ in range(10)]

    with ThreadPoolExecutor(4) as pool:
        counts = [number for part in pool.map(count, range(4)) for number in part]
    assert sorted(counts) == list(range(1, 41))


def test_a_limiter_on_it(store: Any, request: pytest.FixtureRequest) -> None:
    clock = Clock()
    limiter = create_rate_limiter(limit=2, window_seconds=60, store=store, name=request.node.name, clock=clock)
    assert [limiter.check("k")[:3] for _ in range(3)] == [(True, 2, 1), (True, 2, 0), (False, 2, 0)]
    clock.now += 60
    assert limiter.check("k").allowed


# --- memory -------------------------------------------------------------------------------------------------------


def test_of_too_many_keys_the_oldest_is_forgotten() -> None:
    store = MemoryRateLimitStore(max_keys=3)
    for item in ("a", "b", "c", "a", "d"):
        store.increment(item, NOW, END)
    assert len(store) == 3
    assert [store.increment(item, NOW, END) for item in ("b", "c", "d", "a")] == [2, 2, 2, 1]
    for number in range(1000):
        store.increment(str(number), NOW, END)
    assert len(store) == 3


# --- SQLite -------------------------------------------------------------------------------------------------------

COUNTS = """
import sys
from venturekit.runtime.patterns import SqliteRateLimitStore
store = SqliteRateLimitStore(sys.argv[1], busy_seconds=30)
print("ready", flush=True)
sys.stdin.readline()
print(*[store.increment("shared", 1.0, 60.0) for _ in range(100)])
"""


def test_several_processes_count_in_one_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNTS, str(tmp_path / "limits.db")]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(command, **pipes) for _ in range(3)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        # Nobody has opened the file yet: they make the table at the same time as well.
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    counts = [int(number) for process in running for number in process.communicate(timeout=60)[0].split()]
    assert sorted(counts) == list(range(1, 301))


def test_a_forked_process_gets_a_connection_of_its_own(tmp_path: Path) -> None:
    store = SqliteRateLimitStore(tmp_path / "limits.db")
    assert store.increment("a", NOW, END) == 1
    pid = os.fork()
    if pid == 0:
        os._exit(0 if store.increment("a", NOW, END) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert store.increment("a", NOW, END) == 3
    store.close()


def test_what_is_over_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "limits.db"
    with closing(SqliteRateLimitStore(path)) as store:
        for number in range(1000):
            store.increment(f"{number % 100}", NOW, END)
        store.increment("later", END + 1, END + 60)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, hits FROM rate_limits").fetchall() == [("later", 1)]


def test_it_opens_again_after_it_was_closed(tmp_path: Path) -> None:
    store = SqliteRateLimitStore(str(tmp_path / "limits.db"))
    assert store.increment("a", NOW, END) == 1
    store.close()
    store.close()
    assert store.increment("a", NOW, END) == 2
    store.close()


@pytest.mark.parametrize("kind", ["no folder", "no database", "locked"])
def test_a_file_that_cannot_be_used_is_a_store_that_is_down(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "limits.db" if kind == "no folder" else tmp_path / "limits.db"
    if kind == "no database":
        path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    store = SqliteRateLimitStore(path, busy_seconds=0.01)
    limiter = create_rate_limiter(limit=1, window_seconds=60, store=store)
    if kind != "locked":
        assert limiter.check("k").known is False
        return
    assert limiter.check("k").known
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert limiter.check("k").known is False
        other.execute("ROLLBACK")
    assert limiter.check("k").known
    store.close()


# --- DynamoDB -----------------------------------------------------------------------------------------------------


def test_the_table_has_its_key_and_its_time_to_live(dynamodb: Any) -> None:
    store = DynamoDbRateLimitStore("made-twice", client=dynamodb)
    store.create_table()
    store.create_table()
    table = dynamodb.describe_table(TableName="made-twice")["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    live = dynamodb.describe_time_to_live(TableName="made-twice")["TimeToLiveDescription"]
    assert live == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}


def test_an_item_says_when_it_is_over(dynamodb: Any) -> None:
    DynamoDbRateLimitStore("limits", client=dynamodb).increment("item", NOW, 1_800_000_000.5)
    item = dynamodb.get_item(TableName="limits", Key={"id": {"S": "item"}})["Item"]
    assert item == {"id": {"S": "item"}, "hits": {"N": "1"}, "expires_at": {"N": "1800000001"}}


def test_its_own_client_is_found_by_the_usual_variables(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.meta.endpoint_url)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = DynamoDbRateLimitStore("limits")
    assert [store.increment("own", NOW, END) for _ in range(2)] == [1, 2]
    settings = store._client.meta.config
    assert (settings.connect_timeout, settings.read_timeout, settings.retries["total_max_attempts"]) == (1, 1, 2)


def test_a_missing_table_is_a_store_that_is_down(dynamodb: Any, capsys: pytest.CaptureFixture[str]) -> None:
    store = DynamoDbRateLimitStore("nowhere", client=dynamodb)
    assert create_rate_limiter(limit=1, window_seconds=60, store=store).check("k").known is False
    assert "ResourceNotFoundException" in capsys.readouterr().out


def test_an_asynchronous_client_is_awaited(dynamodb: Any) -> None:
    class Client:
        async def update_item(self, **members: Any) -> Any:
            await asyncio.sleep(0)
            return dynamodb.update_item(**members)

    store = DynamoDbRateLimitStore("limits", client=Client())
    limiter = create_rate_limiter(limit=1, window_seconds=60, store=store, name="awaited", clock=Clock())

    async def main() -> list[bool]:
        return [(await limiter.acheck("k")).allowed for _ in range(2)]

    assert asyncio.run(main()) == [True, False]
