"""Logs on disk: names, lines, rotation by size and age, what earlier services wrote, and disks that fail."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.environments import log_disk, log_names, log_writer
from venturekit.service.environments.kept_logs import KeptLogs
from venturekit.service.environments.log_disk import LogDirectoryError, LogDisk
from venturekit.service.environments.log_names import KeptFile, LogName, log_line, outdated, parse_line, safe_name
from venturekit.service.environments.log_writer import LogWriter
from venturekit.service.environments.logs import HISTORY_ROOM, LogGroup, LogStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from venturekit.service.environments.log_records import Record

DAY = 86_400.0
NOW = 20_000 * DAY + 3600.0
TODAY = "2024-10-04"
NAME = LogName("000000000000", "/aws/lambda/hello", "hello")
ARN = "arn:aws:lambda:us-east-1:000000000000:function:hello"
MEGABYTE = 1024 * 1024
BOUND_SECONDS = 10.0


@contextmanager
def disk(folder: Path, now: float = NOW, *, limit_bytes: int = MEGABYTE, days: int = 3) -> Iterator[LogDisk]:
    opened = LogDisk(folder, limit_bytes=limit_bytes, days=days, now=now)
    try:
        yield opened
    finally:
        opened.close()


def records(*texts: str, at: float = NOW) -> list[Record]:
    return [(at, "stream", text.encode() + b"\n") for text in texts]


def said(found: LogDisk, name: str = "hello", account: str = "000000000000", **limits: int) -> list[str]:
    given = {"records": 1000, "size_bytes": MEGABYTE, **limits}
    return [message.decode().removesuffix("\n") for _, _, message in found.history(account, name, **given)]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.log"))


# --- names and lines ------------------------------------------------------------------------------------------------

GROUP_NAMES = st.text(st.sampled_from("abAB09_/.#-%+ ~$ö\n\0"), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(first=st.one_of(GROUP_NAMES, st.text(max_size=600)), second=GROUP_NAMES)
def test_every_log_group_has_a_folder_of_its_own(first: str, second: str) -> None:
    for name in (first, second):
        folder = safe_name(name, ".#")
        assert log_names.GROUP_FOLDER.fullmatch(folder)
        assert folder not in (".", "..")
        assert not folder.startswith(".")
        assert len(folder) <= 150
    assert (safe_name(first, ".#") == safe_name(second, ".#")) == (first == second)


@settings(max_examples=200, deadline=None)
@given(function=st.text(max_size=300), day=st.integers(0, 60_000), number=st.integers(1, 999_999))
def test_the_name_of_a_file_is_read_back(function: str, day: int, number: int) -> None:
    name = LogName("000000000000", "g", function).file(day)
    current = log_names.parse_file_name("folder", name, 1, 2.0)
    assert current is not None
    assert (current.function, current.day, current.number) == (safe_name(function), log_names.day_text(day), None)
    rotated = log_names.parse_file_name("folder", current.name(number), 1, 2.0)
    assert rotated is not None
    assert (rotated.function, rotated.number) == (current.function, number)
    assert len(current.name(number).encode()) < 255


def test_long_names_differ_behind_what_is_cut_off() -> None:
    assert safe_name("a" * 400) != safe_name("a" * 399 + "b")
    assert safe_name("a" * 150) == "a" * 150


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "hello.log", "hello.2024-10-04.log.gz", "hello.2024-10-04.0.log", "a b.2024-10-04.log", ".log"],
)
def test_other_files_are_not_ours(name: str) -> None:
    assert log_names.parse_file_name("folder", name, 1, 2.0) is None


@settings(max_examples=200, deadline=None)
@given(
    milliseconds=st.integers(0, 4_000_000_000_000),
    text=st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")),
)
def test_a_line_is_read_back(milliseconds: int, text: bytes) -> None:
    line = log_line(milliseconds / 1000, "2024/10/04/[$LATEST]x", text + b"\n")
    assert line.count(b"\n") == 1
    assert set(json.loads(line)) == {"time", "stream", "message"}
    assert parse_line(line) == (pytest.approx(milliseconds / 1000, abs=0.0011), "2024/10/04/[$LATEST]x", text + b"\n")


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert json.loads(log_line(0.0, "s", b"\xff\x00\n")) == {
        "time": "1970-01-01T00:00:00.000Z",
        "stream": "s",
        "message": "\ufffd\0",
    }


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"time": "2024-10-04T00:00:00.000Z", "stream": "s", "mess',
        b'{"time": "no time", "stream": "s", "message": "m"}',
        b'{"time": 1, "stream": "s", "message": "m"}',
        b'{"time": "2024-10-04T00:00:00.000Z", "stream": 1, "message": "m"}',
        b'{"time": "2024-10-04T00:00:00.000Z", "stream": "s"}',
        b"[]",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_line_that_is_not_whole_is_passed_over(line: bytes) -> None:
    assert parse_line(line) is None


# --- what has to go -------------------------------------------------------------------------------------------------


def kept(day: str, size_bytes: int = 10, number: int | None = None, modified: float = 0.0) -> KeptFile:
    return KeptFile("folder", "f", day, number, size_bytes, modified)


def test_files_that_are_too_old_go() -> None:
    old, edge, new = kept("2024-09-30"), kept("2024-10-01"), kept(TODAY)
    assert list(outdated([new, edge, old], today=20_000, days=3, limit_bytes=1000)) == [old]


def test_the_oldest_go_when_there_is_too_much() -> None:
    found = [kept(TODAY, 40, None, 9.0), kept("2024-10-03", 30), kept(TODAY, 40, 1, 5.0), kept(TODAY, 40, 2, 7.0)]
    assert list(outdated(found, today=20_000, days=3, limit_bytes=150)) == []
    assert [file.size_bytes for file in outdated(found, today=20_000, days=3, limit_bytes=149)] == [30]
    assert [file.number for file in outdated(found, today=20_000, days=3, limit_bytes=80)] == [None, 1, 2]


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50)), max_size=20),
    limit_bytes=st.integers(0, 300),
)
def test_what_stays_is_within_the_limit_and_newer_than_what_goes(
    sizes: list[tuple[int, int]], limit_bytes: int
) -> None:
    found = [kept(f"2024-10-0{day or 1}", size, None, number) for number, (day, size) in enumerate(sizes)]
    removed = outdated(found, today=20_000, days=30, limit_bytes=limit_bytes)
    stays = [file for file in found if file not in removed]
    assert sum(file.size_bytes for file in stays) <= limit_bytes
    assert all(gone.age_order <= file.age_order for gone in removed for file in stays)


# --- on disk --------------------------------------------------------------------------------------------------------


def test_one_folder_per_log_group_and_a_file_per_function_and_day(tmp_path: Path) -> None:
    with disk(tmp_path) as found:
        found.write(NAME, records("one", "two"))
        found.write(LogName("111122223333", "/mine/shared", "hello"), records("three"))
        found.write(LogName("111122223333", "/mine/shared", "other"), records("four"))
        found.write(NAME, [*records("late", at=NOW + 23 * 3600 - 1), *records("tomorrow", at=NOW + 23 * 3600)])
    assert files(tmp_path) == [
        "000000000000/+aws+lambda+hello/hello.2024-10-04.log",
        "000000000000/+aws+lambda+hello/hello.2024-10-05.log",
        "111122223333/+mine+shared/hello.2024-10-04.log",
        "111122223333/+mine+shared/other.2024-10-04.log",
    ]
    text = (tmp_path / "000000000000/+aws+lambda+hello/hello.2024-10-04.log").read_text()
    assert text.startswith('{"time": "2024-10-04T01:00:00.000Z", "stream": "stream", "message": "one"}\n')
    assert [json.loads(line)["message"] for line in text.splitlines()] == ["one", "two", "late"]


def test_the_next_service_reads_what_was_written(tmp_path: Path) -> None:
    with disk(tmp_path) as found:
        found.write(NAME, records("one", "two"))
        assert said(found) == []
    with disk(tmp_path, NOW + 1) as found:
        found.write(NAME, records("own", at=NOW + 1))
        found.write(LogName("000000000000", "/later", "hello"), records("own too", at=NOW + 2))
        assert said(found) == ["one", "two"]
        assert said(found, "hell") == said(found, account="111122223333") == []
    with disk(tmp_path, NOW + 3) as found:
        assert said(found) == ["one", "two", "own", "own too"]
        assert said(found, records=3) == ["two", "own", "own too"]
        assert said(found, size_bytes=12) == ["own", "own too"]
        assert said(found, records=0) == said(found, size_bytes=0) == []


def test_files_are_rotated_and_read_in_order(tmp_path: Path) -> None:
    texts = [f"{number:04} {'x' * 200}" for number in range(600)]
    with disk(tmp_path, limit_bytes=400_000) as found:
        for number, text in enumerate(texts):
            found.write(NAME, records(text, at=NOW + number))
    names = files(tmp_path)
    assert "000000000000/+aws+lambda+hello/hello.2024-10-04.log" in names
    assert "000000000000/+aws+lambda+hello/hello.2024-10-04.3.log" in names
    assert all((tmp_path / name).stat().st_size <= 50_000 for name in names)
    newest = (tmp_path / "000000000000/+aws+lambda+hello/hello.2024-10-04.log").read_text().splitlines()[-1]
    assert json.loads(newest)["message"] == texts[-1]
    with disk(tmp_path, NOW + 1000) as found:
        assert said(found) == texts


def test_size_and_age_are_bounded(tmp_path: Path) -> None:
    with disk(tmp_path, limit_bytes=80_000) as found:
        for number in range(1000):
            found.write(NAME, records("x" * 200, at=NOW + number))
            found.prune_if_due(NOW + number)
            assert sum((tmp_path / name).stat().st_size for name in files(tmp_path)) <= 80_000 + 300
    stranger = tmp_path / "000000000000/+aws+lambda+hello/notes.txt"
    stranger.write_text("mine")
    other = tmp_path / "111122223333/+aws+lambda+gone/gone.2024-10-04.log"
    other.parent.mkdir(parents=True)
    other.write_text("{}\n")
    with disk(tmp_path, NOW + 3 * DAY) as found:
        assert len(files(tmp_path)) > 1
        found.prune_if_due(NOW + 3 * DAY + 60)
        found.prune_if_due(NOW + 4 * DAY)
        assert files(tmp_path) == []
        assert stranger.read_text() == "mine"
        assert not other.parent.exists()
        assert tmp_path.exists()


def test_a_line_that_was_cut_short_harms_no_other(tmp_path: Path) -> None:
    with disk(tmp_path) as found:
        found.write(NAME, records("before"))
    (name,) = files(tmp_path)
    with (tmp_path / name).open("ab") as file:
        file.write(log_line(NOW, "stream", b"cut short\n")[:-9])
    with disk(tmp_path, NOW + 1) as found:
        found.write(NAME, records("after", at=NOW + 1))
    with disk(tmp_path, NOW + 2) as found:
        assert said(found) == ["before", "after"]


def test_files_that_somebody_removes_come_again(tmp_path: Path) -> None:
    with disk(tmp_path) as found:
        found.write(NAME, records("one"))
        (name,) = files(tmp_path)
        (tmp_path / name).unlink()
        (tmp_path / name).parent.rmdir()
        found.write(NAME, records("two"))
    assert "two" in (tmp_path / name).read_text()


def test_few_files_are_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_disk, "OPEN_LIMIT", 2)
    before = len(os.listdir("/proc/self/fd"))
    with disk(tmp_path) as found:
        for turn in range(3):
            for number in range(5):
                found.write(LogName("000000000000", "/shared", f"f{number}"), records(f"{turn}"))
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    assert len(os.listdir("/proc/self/fd")) == before
    with disk(tmp_path, NOW + 1) as found:
        assert [said(found, f"f{number}") for number in range(5)] == [["0", "1", "2"]] * 5


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.log"
    outside.write_text("")
    folder = tmp_path / "logs"
    with disk(folder) as found:
        target = folder / NAME.folder / NAME.file(20_000)
        target.parent.mkdir(parents=True)
        target.symlink_to(outside)
        with pytest.raises(OSError, match="symbolic link"):
            found.write(NAME, records("one"))
    assert outside.read_text() == ""


def test_a_directory_serves_one_service(tmp_path: Path) -> None:
    with disk(tmp_path), pytest.raises(LogDirectoryError, match="in use by another service: stop it, or choose"):
        LogDisk(tmp_path, limit_bytes=1, days=1, now=NOW)
    with disk(tmp_path):
        pass


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LogDirectoryError, match=r"log directory .*/file cannot be used: .*; choose another --log-dir"):
        LogDisk(tmp_path / "file", limit_bytes=1, days=1, now=NOW)


# --- the writer -----------------------------------------------------------------------------------------------------


class Warnings:
    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, message: str, *arguments: object) -> None:
        self.found.append(message % arguments)


@pytest.fixture
def warnings() -> Warnings:
    return Warnings()


def idle_writer(found: LogDisk, warnings: Warnings) -> LogWriter:
    """A writer whose thread is the test."""
    return LogWriter(found, wall=lambda: NOW, warn=warnings)


def messages(folder: Path) -> list[str]:
    return [json.loads(line)["message"] for name in files(folder) for line in (folder / name).read_text().splitlines()]


def test_what_is_queued_is_written_at_the_end(tmp_path: Path, warnings: Warnings) -> None:
    kept_logs = KeptLogs(tmp_path, limit_mb=1, days=3, wall=lambda: NOW, warn=warnings)
    keep = kept_logs.keep(ARN, "/aws/lambda/hello")
    for number in range(500):
        keep(NOW, "stream", f"line {number}\n".encode())
    keep(NOW, "stream", (b"id", b"7"))
    kept_logs.close()
    assert messages(tmp_path) == [*(f"line {number}" for number in range(500)), "START RequestId: id Version: 7"]
    assert warnings.found == []


def test_a_disk_that_cannot_keep_up_costs_records_that_are_counted(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "QUEUE_LIMIT_RECORDS", 10)
    with disk(tmp_path) as found:
        writer = idle_writer(found, warnings)
        keep, other = writer.keep(NAME), writer.keep(LogName("000000000000", "/aws/lambda/other", "other"))
        for number in range(25):
            keep(NOW, "s", f"{number}".encode())
        other(NOW, "s", b"dropped")
        writer.drain()
        keep(NOW, "s", b"later")
        writer.drain()
    missing = "log records before this one are missing: the log directory could not take them"
    expected = [*map(str, range(10)), f"[WARNING] 15 {missing}", "later", f"[WARNING] 1 {missing}"]
    assert messages(tmp_path) == expected
    assert warnings.found == []


def test_the_queue_is_bounded_in_bytes(tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "QUEUE_LIMIT_BYTES", 100)
    with disk(tmp_path) as found:
        writer = idle_writer(found, warnings)
        keep = writer.keep(NAME)
        for _ in range(3):
            for _ in range(10):
                keep(NOW, "s", b"x" * 30)
            writer.drain()
    assert messages(tmp_path).count("x" * 30) == 9


@pytest.mark.parametrize("written", [0, 5])
def test_a_full_disk_is_said_once_and_nothing_else_suffers(
    tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if written and data.startswith(b'{"time"'):
            return real(descriptor, data[:written])
        raise OSError(errno.ENOSPC, "No space left on device")

    with disk(tmp_path) as found:
        writer = idle_writer(found, warnings)
        keep = writer.keep(NAME)
        keep(NOW, "s", b"before")
        writer.drain()
        monkeypatch.setattr(os, "write", full)
        for number in range(200):
            keep(NOW, "s", f"{number}".encode())
            writer.drain()
        monkeypatch.setattr(os, "write", real)
        keep(NOW, "s", b"after")
        writer.drain()
        assert warnings.found == [
            f"function logs are not kept in {tmp_path} for now: [Errno 28] No space left on device",
            f"function logs are kept in {tmp_path} again",
        ]
    with disk(tmp_path, NOW + 1) as found:
        told = "[WARNING] 200 log records before this one are missing: the log directory could not take them"
        assert said(found) == ["before", "after", told]


def test_a_disk_that_hangs_holds_up_nobody(tmp_path: Path, warnings: Warnings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", 0.05)
    begun, go = threading.Event(), threading.Event()
    real = LogDisk.write

    def hang(self: LogDisk, *arguments: Any) -> None:
        begun.set()
        assert go.wait(BOUND_SECONDS)
        real(self, *arguments)

    monkeypatch.setattr(LogDisk, "write", hang)
    kept_logs = KeptLogs(tmp_path, limit_mb=1, days=3, wall=lambda: NOW, warn=warnings)
    keep = kept_logs.keep(ARN, "g")
    keep(NOW, "s", b"first")
    assert begun.wait(BOUND_SECONDS)
    for _ in range(1000):
        keep(NOW, "s", b"more")
    kept_logs.close()
    assert warnings.found == [
        "the disk of the log directory does not answer: the end of some logs may be missing",
    ]
    monkeypatch.setattr(log_writer, "CLOSE_SECONDS", BOUND_SECONDS)
    go.set()
    kept_logs.close()
    assert len(messages(tmp_path)) == 1001


# --- as the service reads it ----------------------------------------------------------------------------------------


def test_history_comes_before_what_is_logged_now(tmp_path: Path, warnings: Warnings) -> None:
    with disk(tmp_path) as found:
        found.write(NAME, records("old", "older"))

    async def read() -> None:
        kept_logs = KeptLogs(tmp_path, limit_mb=1, days=3, wall=lambda: NOW + 1, warn=warnings)
        store = LogStore()
        store.keep_in(kept_logs)
        assert await store.recall("arn:aws:lambda:us-east-1:000000000000:function:nobody") is None
        store.group(ARN).append(NOW + 2, "s", b"new\n")
        both = await asyncio.gather(store.recall(ARN), store.recall(ARN))
        assert both[0] is both[1] is store.find(ARN)
        assert both[0] is not None
        lines = list(both[0].read())
        assert [line.message for line in lines] == [b"old\n", b"older\n", b"new\n"]
        assert [line.sequence for line in lines] == [HISTORY_ROOM - 2, HISTORY_ROOM - 1, HISTORY_ROOM]
        assert [line.message for line in both[0].read(HISTORY_ROOM - 2)] == [b"older\n", b"new\n"]
        kept_logs.close()

    asyncio.run(read())


def test_there_is_room_for_history_only_before_the_first_record() -> None:
    group = LogGroup(first=2)
    group.append(0.0, "s", b"new")
    group.prepend([(0.0, "s", b"%d" % number) for number in range(5)])
    assert [(line.sequence, line.message) for line in group.read()] == [(0, b"3"), (1, b"4"), (2, b"new")]
    group = LogGroup()
    group.append(0.0, "s", b"new")
    group.prepend([(0.0, "s", b"old")])
    assert [line.message for line in group.read()] == [b"new"]


def test_a_log_of_which_much_was_dropped_takes_no_history(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.environments.logs.GROUP_LIMIT_BYTES", 10)
    group = LogGroup(first=100)
    for _ in range(3):
        group.append(0.0, "s", b"x" * 8)
    group.prepend([(0.0, "s", b"old")])
    assert [line.message for line in group.read()] == [b"x" * 8]


def test_history_counts_against_the_bounds_of_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.service.environments.logs.GROUP_LIMIT_BYTES", 20)
    group = LogGroup(first=100)
    group.append(0.0, "s", b"x" * 8)
    group.prepend([(0.0, "s", b"%d" % number * 5) for number in range(5)])
    assert [line.message for line in group.read()] == [b"33333", b"44444", b"x" * 8]
