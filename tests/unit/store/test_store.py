"""Intentions, group commit, migrations, refusal instead of silence."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.store import (
    AliasRow,
    AlreadyStoredError,
    FunctionChange,
    NotStoredError,
    RevisionConflictError,
    Store,
    StoreBusyError,
    StoreClosedError,
    StoreFailedError,
    StoreFullError,
    StoreVersionError,
    VersionRow,
)
from venturekit.service.store.connection import connect
from venturekit.service.store.migrations import MIGRATIONS, Migration, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

ACCOUNT = "111122223333"
LATEST = VersionRow("$LATEST", "r1", {"n": 1})


async def change(store: Store, name: str, **members: Any) -> None:
    await store.of_account(ACCOUNT).change_function(name, FunctionChange(**members))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    yield opened
    opened.close()


def test_what_is_stored_is_loaded_after_reopening(tmp_path: Path) -> None:
    async def fill(store: Store) -> None:
        await store.of_account(ACCOUNT).create_function(
            "a", {"tags": {"k": "é"}}, [LATEST, VersionRow("1", "r2", {"n": 2})]
        )
        await change(
            store, "a", versions=[VersionRow("$LATEST", "r3", {"n": 3}, "r1"), VersionRow("2", "r4", {"n": 4})]
        )
        await change(store, "a", aliases=[AliasRow("live", "r5", {"to": "1"})])
        await change(store, "a", removed_versions=["2"])

    first = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    asyncio.run(fill(first))
    assert first.close()
    second = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    stored = asyncio.run(second.load_functions())
    second.close()
    (function,) = stored.functions
    assert (function.name, function.document) == ("a", {"tags": {"k": "é"}})
    assert sorted(document["n"] for document in function.versions) == [2, 3]
    assert list(function.aliases) == [{"to": "1"}]
    assert stored.last_versions == {(ACCOUNT, "a"): 2}


def test_deleting_a_function_removes_all_but_its_version_counter(store: Store) -> None:
    async def scenario() -> Any:
        await store.of_account(ACCOUNT).create_function("a", {}, [LATEST, VersionRow("7", "r", {})])
        await change(store, "a", aliases=[AliasRow("live", "r", {})])
        await store.of_account(ACCOUNT).delete_function("a")
        await store.of_account(ACCOUNT).create_function("a", {}, [LATEST])
        return await store.load_functions()

    stored = asyncio.run(scenario())
    (function,) = stored.functions
    assert (len(function.versions), len(function.aliases)) == (1, 0)
    assert stored.last_versions == {(ACCOUNT, "a"): 7}


def test_refused_intentions_change_nothing(store: Store) -> None:
    async def scenario() -> Any:
        await store.of_account(ACCOUNT).create_function("a", {}, [LATEST])
        with pytest.raises(AlreadyStoredError, match="function a"):
            await store.of_account(ACCOUNT).create_function("a", {}, [LATEST])
        with pytest.raises(RevisionConflictError):
            await change(store, "a", versions=[VersionRow("1", "x", {}), VersionRow("$LATEST", "r2", {}, "not r1")])
        with pytest.raises(AlreadyStoredError):
            await change(store, "a", versions=[LATEST])
        with pytest.raises(NotStoredError):
            await change(store, "b", versions=[LATEST])
        with pytest.raises(NotStoredError):
            await store.of_account(ACCOUNT).delete_function("b")
        with pytest.raises(NotStoredError):
            await change(store, "a", removed_versions=["9"])
        with pytest.raises(NotStoredError):
            await change(store, "b", aliases=[AliasRow("live", "r", {})])
        await change(store, "a", aliases=[AliasRow("live", "r", {"to": 1})])
        with pytest.raises(AlreadyStoredError):
            await change(store, "a", aliases=[AliasRow("live", "r", {"to": 2})])
        with pytest.raises(RevisionConflictError):
            await change(store, "a", aliases=[AliasRow("live", "r", {"to": 2}, "not r")])
        return await store.load_functions()

    stored = asyncio.run(scenario())
    (function,) = stored.functions
    assert list(function.versions) == [{"n": 1}]
    assert list(function.aliases) == [{"to": 1}]
    assert stored.last_versions == {}


def test_waiting_intentions_share_a_commit_and_fail_alone(store: Store) -> None:
    started, go_on = threading.Event(), threading.Event()

    def hold_the_writer(_: sqlite3.Connection) -> None:
        started.set()
        assert go_on.wait(30)

    def insert(connection: sqlite3.Connection, number: int) -> int:
        connection.execute("INSERT INTO functions VALUES (?, ?, '{}')", (ACCOUNT, f"f{number}"))
        if number % 10 == 3:
            raise RuntimeError("after its insert")
        return number

    store.submit(hold_the_writer)
    assert started.wait(30)
    futures: list[Future[Any]] = [
        store.submit(lambda connection, number=number: insert(connection, number)) for number in range(100)
    ]
    go_on.set()
    failed = [number for number, future in enumerate(futures) if future.exception(30) is not None]
    assert failed == list(range(3, 100, 10))
    assert len(asyncio.run(store.load_functions()).functions) == 90
    assert store.commits <= 2


def test_many_tasks_need_fewer_commits_than_intentions(store: Store) -> None:
    async def scenario() -> None:
        await asyncio.gather(
            *(store.of_account(ACCOUNT).create_function(f"f{number}", {}, [LATEST]) for number in range(200))
        )

    asyncio.run(scenario())
    assert len(asyncio.run(store.load_functions()).functions) == 200
    assert store.commits < 100


def test_a_full_queue_is_refused_at_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096, max_pending=2)
    started, go_on = threading.Event(), threading.Event()

    def hold_the_writer(_: sqlite3.Connection) -> None:
        started.set()
        assert go_on.wait(30)

    store.submit(hold_the_writer)
    assert started.wait(30)
    waiting = [store.submit(lambda _: 1) for _ in range(2)]
    with pytest.raises(StoreBusyError, match="2 changes are waiting"):
        store.submit(lambda _: 1)
    go_on.set()
    assert [future.result(30) for future in waiting] == [1, 1]
    store.close()


def test_a_closed_store_has_kept_what_was_queued_and_refuses_more(store: Store) -> None:
    futures = [store.submit(lambda _, number=number: number) for number in range(50)]
    assert store.close()
    assert [future.result(0) for future in futures] == list(range(50))
    with pytest.raises(StoreClosedError):
        store.submit(lambda _: None)
    assert store.close()


def test_a_storage_error_fails_the_batch_and_everything_after(store: Store) -> None:
    def fails(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with pytest.raises(StoreFailedError, match="disk I/O error"):
        store.submit(fails).result(30)
    assert store.failure is not None
    with pytest.raises(StoreFailedError, match="until a restart"):
        store.submit(lambda _: None)


def test_an_error_in_an_intentions_own_sql_does_not_fail_the_store(store: Store) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.submit(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")).result(30)
    with pytest.raises(sqlite3.ProgrammingError):
        store.submit(lambda connection: connection.execute("SELECT ?", ())).result(30)
    assert store.submit(lambda _: "still there").result(30) == "still there"


def test_a_full_disk_takes_only_what_frees_space(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    reserve = tmp_path / "store.db.reserve"
    assert reserve.stat().st_size == 4096

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO functions VALUES ('1', 'big', hex(randomblob(300000)))")

    pages = store.submit(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]).result(30)
    store.submit(fill).result(30)
    store.submit(lambda connection: connection.execute("DELETE FROM functions")).result(30)
    limit = 40

    def shrink(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {limit}")

    store.close()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("VACUUM")
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    store.submit(shrink).result(30)
    with pytest.raises(StoreFullError, match="full"):
        store.submit(fill).result(30)
    # The space of the reserve went to the disk; the next change takes it again, for there is room here.
    assert not reserve.exists()
    assert store.submit(lambda _: "freed", essential=True).result(30) == "freed"
    assert store.failure is None
    assert pages < limit
    store.close()


def test_without_room_for_the_reserve_only_essential_changes_pass(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", reserve_size_bytes=1 << 60)
    with pytest.raises(StoreFullError, match="free some space"):
        store.submit(lambda _: None).result(30)
    assert store.submit(lambda _: "freed", essential=True).result(30) == "freed"
    store.close()


def test_what_hung_on_an_alias_goes_with_it_on_a_full_disk(tmp_path: Path) -> None:
    with_room = Store.open(tmp_path / "store.db", reserve_size_bytes=4096)
    asyncio.run(with_room.of_account(ACCOUNT).create_function("a", {"policies": {"live": [1]}}, [LATEST]))
    asyncio.run(change(with_room, "a", aliases=[AliasRow("live", "r2", {})]))
    with_room.close()
    full = Store.open(tmp_path / "store.db", reserve_size_bytes=1 << 60)
    for refused in ({"document": {"tags": {"a": "b"}}}, {"aliases": [AliasRow("new", "r3", {})]}):
        with pytest.raises(StoreFullError, match="free some space"):
            asyncio.run(change(full, "a", **refused))
    asyncio.run(change(full, "a", removed_aliases=["live"], document={}))
    (function,) = asyncio.run(full.load_functions()).functions
    full.close()
    assert (function.document, list(function.aliases)) == ({}, [])


def test_a_newer_database_is_refused_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    Store.open(path, reserve_size_bytes=4096).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(StoreVersionError, match="version 999, this release knows versions up to"):
        Store.open(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (999,)


def test_migrations_run_once_each_and_a_failing_one_leaves_no_trace(tmp_path: Path) -> None:
    connection = connect(tmp_path / "m.db", writer=True)
    assert migrate(connection) == len(MIGRATIONS)
    assert migrate(connection) == 0
    bad = Migration(MIGRATIONS[-1].number + 1, "bad", ("CREATE TABLE t (x)", "CREATE TABLE t (x)"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, bad))
    assert connection.execute("PRAGMA user_version").fetchone() == (MIGRATIONS[-1].number,)
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 't'").fetchone() == (0,)
    connection.close()


def test_migration_numbers_have_no_gaps() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


def test_commits_are_synced_in_full(tmp_path: Path) -> None:
    connection = connect(tmp_path / "m.db", writer=True)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_readers_cannot_write_and_see_whole_transactions(store: Store) -> None:
    async def write() -> None:
        await store.read(lambda connection: connection.execute("INSERT INTO functions VALUES ('1', 'a', '{}')"))

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        asyncio.run(write())
    assert asyncio.run(store.load_functions()).functions == []


def test_a_cancelled_waiter_does_not_call_back_its_change(store: Store) -> None:
    async def scenario() -> None:
        started, go_on = threading.Event(), threading.Event()

        def hold_the_writer(_: sqlite3.Connection) -> None:
            started.set()
            assert go_on.wait(30)

        store.submit(hold_the_writer)
        assert await asyncio.to_thread(started.wait, 30)
        task = asyncio.create_task(store.of_account(ACCOUNT).create_function("a", {}, [LATEST]))
        await asyncio.sleep(0)
        task.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.perform(lambda _: "after") == "after"

    asyncio.run(scenario())
    assert [function.name for function in asyncio.run(store.load_functions()).functions] == ["a"]


def test_a_database_of_one_account_becomes_one_of_several(tmp_path: Path) -> None:
    """What the first release stored has its account in the ARNs alone."""
    path = tmp_path / "store.db"
    connection = connect(path, writer=True)
    migrate(connection, MIGRATIONS[:1])
    arn = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"
    connection.execute('INSERT INTO functions VALUES (\'f\', \'{"tags": {"a": "b"}}\')')
    for number in ("$LATEST", "1"):
        document = json.dumps({"name": "f", "function_arn": arn, "version": number})
        connection.execute("INSERT INTO versions VALUES ('f', ?, 'r', ?)", (number, document))
    connection.execute("INSERT INTO aliases VALUES ('f', 'live', 'r', ?)", (json.dumps({"function_arn": arn}),))
    connection.execute("INSERT INTO version_numbers VALUES ('f', 1), ('deleted', 4)")
    connection.close()
    store = Store.open(path, reserve_size_bytes=4096)
    stored = asyncio.run(store.load_functions())
    asyncio.run(store.of_account(ACCOUNT).delete_function("f"))
    left = asyncio.run(store.load_functions())
    store.close()
    (function,) = stored.functions
    assert (function.account_id, function.name, function.document) == (ACCOUNT, "f", {"tags": {"a": "b"}})
    assert sorted(version["version"] for version in function.versions) == ["$LATEST", "1"]
    assert list(function.aliases) == [{"function_arn": arn}]
    assert stored.last_versions == {(ACCOUNT, "f"): 1, (ACCOUNT, "deleted"): 4}
    assert left.functions == []


def test_accounts_have_functions_of_the_same_name(store: Store) -> None:
    async def scenario() -> Any:
        for account in ("1", "2"):
            await store.of_account(account).create_function("a", {"of": account}, [LATEST])
        await store.of_account("1").delete_function("a")
        return await store.load_functions()

    (function,) = asyncio.run(scenario()).functions
    assert (function.account_id, function.document) == ("2", {"of": "2"})


def test_layer_versions_are_kept_and_their_numbers_never_given_again(store: Store) -> None:
    layers = store.of_account(ACCOUNT)

    async def scenario() -> Any:
        await layers.create_layer_version("l", 1, {"a": 1})
        await layers.create_layer_version("l", 2, {"a": 2})
        with pytest.raises(AlreadyStoredError):
            await layers.create_layer_version("l", 2, {})
        await layers.change_layer_version("l", 1, {"a": 3})
        with pytest.raises(NotStoredError):
            await layers.change_layer_version("l", 9, {})
        await layers.delete_layer_version("l", 2)
        with pytest.raises(NotStoredError):
            await layers.delete_layer_version("l", 2)
        return await store.load_layers()

    stored = asyncio.run(scenario())
    (version,) = stored.versions
    assert (version.account_id, version.layer_name, version.version, version.document) == (ACCOUNT, "l", 1, {"a": 3})
    assert stored.last_versions == {(ACCOUNT, "l"): 2}
