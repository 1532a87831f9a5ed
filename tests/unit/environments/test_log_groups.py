"""Log groups: order, bounds, sequences, followers; records that are rendered when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.environments import logs
from venturekit.service.environments.logs import DELETED_LIMIT, LogGroup, LogStore

if TYPE_CHECKING:
    import pytest

ID = b"id"


def messages(group: LogGroup, after: int = -1, limit: int = 1000) -> list[bytes]:
    return [line.message for line in group.read(after, limit)]


def test_records_come_back_in_order_with_their_sequence() -> None:
    group = LogGroup()
    assert (group.last, messages(group)) == (-1, [])
    for number in range(5):
        group.append(float(number), "stream", b"%d\n" % number)
    lines = list(group.read())
    assert [(line.sequence, line.timestamp, line.stream) for line in lines] == [
        (number, float(number), "stream") for number in range(5)
    ]
    assert messages(group, after=2) == [b"3\n", b"4\n"]
    assert messages(group, after=1, limit=2) == [b"2\n", b"3\n"]
    assert messages(group, after=4) == messages(group, after=99) == []
    assert group.last == 4


def test_platform_records_are_rendered_when_read() -> None:
    group = LogGroup()
    group.append(0.0, "s", (ID, b"7"))
    group.append(0.0, "s", (ID,))
    group.append(0.0, "s", (ID, 1.5, 128, 30, None))
    group.append(0.0, "s", (ID, 1.5, 128, 30, 2.0))
    assert messages(group) == [
        b"START RequestId: id Version: 7\n",
        b"END RequestId: id\n",
        (
            b"REPORT RequestId: id\tDuration: 1.50 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
            b"Max Memory Used: 30 MB\t\n"
        ),
        (
            b"REPORT RequestId: id\tDuration: 1.50 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\t"
            b"Max Memory Used: 30 MB\tInit Duration: 2.00 ms\t\n"
        ),
    ]


def test_the_oldest_go_first_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "GROUP_LIMIT_RECORDS", 3)
    monkeypatch.setattr(logs, "TRIMMED_AT_ONCE", 1)
    group = LogGroup()
    for number in range(10):
        group.append(0.0, "s", b"%d" % number)
    assert [(line.sequence, line.message) for line in group.read()] == [(7, b"7"), (8, b"8"), (9, b"9")]
    assert messages(group, after=0) == [b"7", b"8", b"9"]
    assert group.last == 9


def test_the_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "GROUP_LIMIT_BYTES", 100)
    group = LogGroup()
    for number in range(50):
        group.append(0.0, "s", (ID, b"1"))
        group.append(0.0, "s", b"x" * (number % 40))
        assert sum(len(line.message) for line in group.read() if line.message[:1] == b"x") <= 100
    group.append(0.0, "s", b"y" * 101)
    assert messages(group) == []
    group.append(0.0, "s", b"z")
    assert messages(group) == [b"z"]


def test_a_reader_may_be_slower_than_the_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "GROUP_LIMIT_RECORDS", 3)
    monkeypatch.setattr(logs, "TRIMMED_AT_ONCE", 1)
    group = LogGroup()
    for number in range(3):
        group.append(0.0, "s", b"%d" % number)
    seen = []
    for line in group.read():
        seen.append((line.sequence, line.message))
        group.append(0.0, "s", b"later")
        group.append(0.0, "s", b"later")
    assert seen == [(0, b"0"), (1, b"1"), (2, b"2")]


def test_a_follower_is_called_once() -> None:
    group = LogGroup()
    calls: list[str] = []

    def again() -> None:
        calls.append("again")
        group.follow(again)

    def once() -> None:
        calls.append("once")

    def never() -> None:
        calls.append("never")

    group.follow(again)
    group.follow(once)
    group.follow(never)
    group.unfollow(never)
    group.unfollow(never)
    group.append(0.0, "s", b"1")
    group.append(0.0, "s", b"2")
    assert calls == ["again", "once", "again"]


def test_groups_are_made_when_asked_for() -> None:
    store = LogStore()
    assert store.find("f") is None
    group = store.group("f")
    assert store.group("f") is store.find("f") is group
    assert store.group("g") is not group


def test_groups_of_deleted_functions_are_kept_within_a_bound() -> None:
    store = LogStore()
    kept = store.group("kept")
    for number in range(DELETED_LIMIT + 10):
        store.group(f"f-{number}").append(0.0, "s", b"1")
        store.function_exists(f"f-{number}")
        store.function_deleted(f"f-{number}")
    found = [number for number in range(DELETED_LIMIT + 10) if store.find(f"f-{number}") is not None]
    assert found == list(range(10, DELETED_LIMIT + 10))
    store.function_exists("f-10")
    store.function_deleted("never logged")
    store.function_deleted("never logged either")
    assert store.find("f-10") is not None
    assert store.find("f-11") is None
    assert store.find("kept") is kept
