"""Logs by log groups: which records a group has, and in which order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from venturekit.service.environments.log_names import original_name, safe_name
from venturekit.service.environments.log_view import NO_STREAM, LogView
from venturekit.service.environments.logs import LogStore
from venturekit.service.environments.ports import EnvironmentSpec

ACCOUNT = "000000000000"


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


def spec(name: str, log_group: str = "") -> EnvironmentSpec:
    return EnvironmentSpec(
        identity="1",
        function_name=name,
        function_version="$LATEST",
        function_arn=arn(name),
        runtime="provided",
        handler="any",
        timeout_ms=1000,
        memory_size_mb=128,
        ephemeral_storage_mb=512,
        code_key="key",
        code_directory=Path("/nowhere"),
        log_group=log_group or f"/aws/lambda/{name}",
    )


def read(store: LogStore, log_group: str) -> list[tuple[int, str]]:
    view = LogView(store, region="us-east-1", exists=lambda _account, _name: True)
    rows: Any = asyncio.run(view.rows(ACCOUNT, log_group))
    return [(row[0], view.text(row)) for row in rows or ()]


def write(store: LogStore, name: str, stream: str, *records: tuple[float, str]) -> None:
    for timestamp, text in records:
        store.group(arn(name)).append(timestamp, stream, text.encode())


def test_a_stream_keeps_its_order_where_times_go_back_a_little() -> None:
    store = LogStore()
    write(store, "f", "one", (10.0, "a"), (10.004, "b"), (10.002, "c"), (10.003, "d"), (10.005, "e"))
    write(store, "f", "two", (10.003, "other"))
    found = read(store, "/aws/lambda/f")
    assert found == [(10000, "a"), (10003, "other"), (10004, "b"), (10004, "c"), (10004, "d"), (10005, "e")]


def test_a_clock_that_was_set_back_is_believed() -> None:
    store = LogStore()
    write(store, "f", "one", (5000.0, "before"), (10.0, "after"))
    assert read(store, "/aws/lambda/f") == [(10_000, "after"), (5_000_000, "before")]


def test_a_function_that_moves_to_another_group_leaves_its_log_behind() -> None:
    store = LogStore()
    store.open(spec("f"), "first")
    write(store, "f", "first", (1.0, "old"))
    store.open(spec("f", "/mine"), "second")
    write(store, "f", "second", (2.0, "new"))
    store.open(spec("g", "/mine"), "third")
    write(store, "g", "third", (1.5, "of g"))
    assert read(store, "/aws/lambda/f") == [(1000, "old")]
    assert read(store, "/mine") == [(1500, "of g"), (2000, "new")]
    assert read(store, "/aws/lambda/g") == []
    view = LogView(store, region="us-east-1", exists=lambda _account, _name: True)
    groups = asyncio.run(view.groups(ACCOUNT))
    assert [(each.name, each.created) for each in groups] == [("/aws/lambda/f", 1.0), ("/mine", 1.0)]
    assert asyncio.run(view.groups("111122223333")) == []


def test_what_the_service_says_in_a_log_has_a_stream_of_its_own() -> None:
    store = LogStore()
    write(store, "f", "", (1.0, "records are missing"))
    view = LogView(store, region="us-east-1", exists=lambda _account, _name: True)
    rows: Any = asyncio.run(view.rows(ACCOUNT, "/aws/lambda/f"))
    assert [row[3] for row in rows] == [NO_STREAM]


@pytest.mark.parametrize("name", ["/aws/lambda/f", "/a.b/#c-d_e", "+%2B", ".hidden", "größe", "%"])
def test_the_name_of_a_folder_tells_the_log_group(name: str) -> None:
    assert original_name(safe_name(name, ".#")) == name


def test_a_name_that_was_cut_does_not() -> None:
    assert original_name(safe_name("x" * 400)) is None
