"""Records in a SQLite file: the suite of all stores, and what several processes, kill -9 and a full disk do to it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime.patterns.record_checks import ForeignRecordError
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
from venturekit.testing.record_store_suite import RECORD_STORE_CASES, StoreUnderTest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def opened(path: Path) -> Iterator[SqliteRecordStore]:
    with closing(SqliteRecordStore(path)) as store:
        yield store


@pytest.mark.parametrize("case", RECORD_STORE_CASES, ids=lambda case: case.__name__)
def test_a_sqlite_store_does_what_stores_do(case: Any, path: Path, opened: SqliteRecordStore) -> None:
    # Of a file that others write to at the same time it waits its turn, however busy the machine is.
    with closing(SqliteRecordStore(path, busy_seconds=30)) as another, StoreUnderTest(opened, another=another) as store:
        case(store)


# --- several processes --------------------------------------------------------------------------------------------

COUNTS = """
import sys
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
store = SqliteRecordStore(sys.argv[1], busy_seconds=30)
print("ready", flush=True)
sys.stdin.readline()
done = tries = 0
while done < 40:
    record = store.read("count", 1.0)
    version, count = (record.version, record.value["count"]) if record else (0, 0)
    done += store.write("count", {"count": count + 1}, 1.0, version=version, keys={"user": f"{count}"})
    tries += 1
    assert tries < 10_000
"""
WRITES_UNTIL_KILLED = """
import sys
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
store = SqliteRecordStore(sys.argv[1])
for version in range(100_000):
    assert store.write("a", {"n": version}, 1.0, version=version, keys={"user": f"{version}"})
    print(version, flush=True)
"""


def started(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_processes_that_count_in_one_record_lose_nothing(path: Path) -> None:
    running = [started(COUNTS, path) for _ in range(3)]
    assert [line(process) for process in running] == ["ready\n"] * 3
    for process in running:
        # Nobody has opened the file yet: they make the tables at the same time as well.
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        process.communicate(timeout=100)
        assert process.returncode == 0
    with closing(SqliteRecordStore(path)) as store:
        record = store.read("count", 1.0)
        assert record is not None
        assert (record.value, record.version) == ({"count": 120}, 120)
        assert [len(store.find("user", text, 1.0).records) for text in ("119", "118", "0")] == [1, 0, 0]


def test_what_was_written_survives_kill_9(path: Path) -> None:
    process = started(WRITES_UNTIL_KILLED, path)
    for number in range(50):
        assert line(process) == f"{number}\n"
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    told = [49, *map(int, process.stdout.read().split())][-1]
    process.communicate(timeout=30)
    with closing(SqliteRecordStore(path)) as store:
        record = store.read("a", 1.0)
        assert record is not None
        # The last write may have been done without having been told of.
        assert record.value["n"] in (told, told + 1)
        assert record.version == record.value["n"] + 1
        assert [found.id for found in store.find("user", str(record.value["n"]), 1.0).records] == ["a"]
        assert store.write("a", {}, 1.0, version=record.version)


def test_a_forked_process_gets_a_connection_of_its_own(opened: SqliteRecordStore) -> None:
    assert opened.write("a", {"n": 1}, 0.0, version=0)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with opened._lock:
            held.set()
            release.wait(60)

    # A thread that the child does not have holds the lock when it forks.
    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os._exit(0 if opened.write("a", {"n": 2}, 0.0, version=1) else 1)
    release.set()
    thread.join(60)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert opened.write("a", {"n": 3}, 0.0, version=2)


# --- its own ------------------------------------------------------------------------------------------------------


def test_tables_of_one_file_have_nothing_in_common(path: Path) -> None:
    with closing(SqliteRecordStore(path, "sagas")) as sagas, closing(SqliteRecordStore(path, "breakers")) as breakers:
        assert sagas.write("a", {"n": 1}, 0.0, version=0, keys={"user": "u"})
        assert breakers.write("a", {"n": 2}, 0.0, version=0)
        assert breakers.find("user", "u", 0.0).records == []
        assert sagas.delete("a", 0.0)
        assert breakers.read("a", 0.0) is not None


@pytest.mark.parametrize("table", ["", "a b", "a;--", 'a"', "ä", "1a", "x" * 65])
def test_the_name_of_a_table_is_checked(table: str, path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        SqliteRecordStore(path, table)


def test_it_opens_again_after_it_was_closed(path: Path) -> None:
    store = SqliteRecordStore(str(path))
    assert store.write("a", {}, 0.0, version=0)
    store.close()
    store.close()
    assert store.read("a", 0.0) is not None
    store.close()


def test_records_that_are_over_are_cleared_away(path: Path, opened: SqliteRecordStore) -> None:
    for number in range(1000):
        assert opened.write(f"{number:03}", {}, 0.0, version=0, expires_at=10.0, keys={"user": f"{number}"})
    opened.write("later", {}, 20.0, version=0, expires_at=30.0)
    with closing(sqlite3.connect(path)) as connection:
        (left,) = connection.execute("SELECT count(*) FROM records").fetchone()
        (left_keys,) = connection.execute("SELECT count(*) FROM records_keys").fetchone()
    # Five hundred at once: nobody waits for long.
    assert (left, left_keys) == (501, 500)


@pytest.mark.parametrize(("wait_for_disk", "expected"), [(False, 1), (True, 2)])
def test_how_long_a_write_waits_is_a_choice(wait_for_disk: bool, expected: int, path: Path) -> None:
    with closing(SqliteRecordStore(path, wait_for_disk=wait_for_disk)) as store:
        assert store.write("a", {}, 0.0, version=0)
        assert store._connection is not None
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (expected,)
        assert store._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


# --- bad files ----------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    store = SqliteRecordStore(tmp_path / "missing" / "records.db")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match=r"missing/records\.db: unable to open"):
            store.read("a", 0.0)


def test_a_file_that_is_no_database_is_a_store_that_is_down(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        SqliteRecordStore(path).write("a", {}, 0.0, version=0)


def test_a_locked_file_is_waited_for_and_no_longer(path: Path) -> None:
    with closing(SqliteRecordStore(path, busy_seconds=0.01)) as store:
        assert store.write("a", {"n": 1}, 0.0, version=0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                store.write("a", {"n": 2}, 0.0, version=1)
            assert store.read("a", 0.0) is not None
            other.execute("ROLLBACK")
        assert store.write("a", {"n": 2}, 0.0, version=1)


def test_a_full_disk_changes_nothing(opened: SqliteRecordStore) -> None:
    assert opened.write("a", {"n": 1}, 0.0, version=0, keys={"user": "u"})
    assert opened._connection is not None
    opened._connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        opened.write("a", {"n": "x" * 100_000}, 0.0, version=1, keys={"user": "v"})
    opened._connection.execute("PRAGMA max_page_count = 10000")
    record = opened.read("a", 0.0)
    assert record is not None
    assert (record.value, record.version) == ({"n": 1}, 1)
    assert [len(opened.find("user", text, 0.0).records) for text in "uv"] == [1, 0]
    assert opened.write("a", {"n": "x" * 100_000}, 0.0, version=1)


def test_a_table_of_somebody_else_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE records (id TEXT PRIMARY KEY, artist TEXT)")
    with pytest.raises(ForeignRecordError, match="its columns are id, artist"):
        SqliteRecordStore(path).write("a", {}, 0.0, version=0)
    with closing(sqlite3.connect(path)) as connection:
        assert [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")] == [
            "records"
        ]


@pytest.mark.parametrize(
    ("column", "content", "why"),
    [
        ("value", "no JSON", "its value is no JSON object"),
        ("value", "[1]", "its value is no JSON object"),
        ("value", b"\xff\xfe\xff", "its value is no JSON object"),
        ("version", "one", "its version or its end is no number"),
        ("keys", '["user"]', "its value is no JSON object"),
    ],
)
def test_a_row_of_somebody_else_is_named(
    column: str, content: Any, why: str, path: Path, opened: SqliteRecordStore
) -> None:
    opened.write("a", {}, 0.0, version=0, keys={"user": "u"})
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER records_changed")
        connection.execute(f"UPDATE records SET {column} = ?", (content,))
        connection.commit()
    for ask in (lambda: opened.read("a", 0.0), lambda: opened.find("user", "u", 0.0)):
        with pytest.raises(ForeignRecordError, match=rf"the id 'a' in the table records of .*{why}"):
            ask()
