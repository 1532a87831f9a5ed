"""Levels: of lines, of frames, of the platform's events, and what a log with a level shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.environments import log_levels as levels
from venturekit.service.environments.frames import HEADER, FrameSplitter, LineSplitter
from venturekit.service.environments.log_levels import application_filter, frame_level, line_level, system_level

IN_ORDER = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ('{"level": "debug", "msg": "my debug log", "timestamp": "2024-11-02T16:51:31.587199Z"}', levels.DEBUG),
        ('{"level":"TRACE"}', levels.TRACE),
        ('{"level":"Info"}', levels.INFO),
        ('{"level":"warn"}', levels.WARN),
        ('{"level":"WARNING"}', levels.WARN),
        ('{"level":"Error"}', levels.ERROR),
        ('{"level":"fatal"}', levels.FATAL),
        ('{"level":"CRITICAL"}', levels.FATAL),
        ('  {"msg": 1, "level": "debug"}  ', levels.DEBUG),
        ('{"level":"nonsense"}', levels.INFO),
        ('{"level":""}', levels.INFO),
        ('{"level":30}', levels.INFO),
        ('{"level":null}', levels.INFO),
        ('{"level":["debug"]}', levels.INFO),
        ('{"inner":{"level":"debug"}}', levels.INFO),
        ('{"Level":"debug"}', levels.INFO),
        ('[{"level":"debug"}]', levels.INFO),
        ('"level": "debug"', levels.INFO),
        ('{"level":"debug"', levels.INFO),
        ('{"level":"debug"} and more', levels.INFO),
        ('{"level":"debug","deep":' + "[" * 100_000 + "}", levels.INFO),
        ('{"level":"debug","big":' + "9" * 5000 + "}", levels.INFO),
        ("[DEBUG] plain text", levels.INFO),
        ("", levels.INFO),
    ],
)
def test_the_level_of_a_line(line: str, level: int) -> None:
    assert line_level(line.encode() + b"\n") == level


def test_bytes_that_are_no_text_have_a_level_too() -> None:
    assert line_level(b'{"level":"debug\xff"}\n') == levels.INFO


@pytest.mark.parametrize(
    ("type_byte", "level"),
    [(0x02, 0), (0x03, 0), (0x06, 4), (0x0A, 8), (0x0B, 8), (0x0E, 12), (0x12, 16), (0x16, 20), (0x1A, 24), (0x1E, 0)],
)
def test_the_level_of_a_frame(type_byte: int, level: int) -> None:
    assert frame_level(type_byte) == level


@pytest.mark.parametrize("least", IN_ORDER)
def test_a_log_shows_its_level_and_what_is_worse(least: str) -> None:
    shows = application_filter(least)
    shown = [name for name in IN_ORDER if shows is None or shows(json.dumps({"level": name}).encode(), 0)]
    assert shown == list(IN_ORDER[IN_ORDER.index(least) :])
    framed = [name for name in IN_ORDER if shows is None or shows(b"", levels.NAMES[name])]
    assert framed == shown


def test_info_is_the_default() -> None:
    for least in (None, "", "no level"):
        shows = application_filter(least)
        assert shows is not None
        assert (shows(b'{"level":"debug"}', 0), shows(b"plain", 0)) == (False, True)


def test_the_level_of_the_frame_counts_before_that_of_the_text() -> None:
    shows = application_filter("WARN")
    assert shows is not None
    assert shows(b'{"level":"debug"}', levels.ERROR)
    assert not shows(b'{"level":"error"}', levels.INFO)


@pytest.mark.parametrize(
    ("event", "condition", "level"),
    [
        ("initStart", {}, levels.INFO),
        ("initStart", {"names_runtime": False}, levels.DEBUG),
        ("initRuntimeDone", {}, levels.DEBUG),
        ("initRuntimeDone", {"succeeded": False}, levels.WARN),
        ("initReport", {}, levels.DEBUG),
        ("initReport", {"on_demand": False}, levels.INFO),
        ("initReport", {"succeeded": False}, levels.WARN),
        ("start", {}, levels.INFO),
        ("runtimeDone", {}, levels.DEBUG),
        ("runtimeDone", {"succeeded": False}, levels.WARN),
        ("report", {}, levels.INFO),
        ("report", {"succeeded": False}, levels.WARN),
    ],
)
def test_the_level_of_an_event(event: str, condition: dict[str, bool], level: int) -> None:
    assert system_level(f"platform.{event}", **condition) == level


# --- while a stream is cut into messages ----------------------------------------------------------------------------

LINES = [b'{"level":"debug"}\n', b'{"level":"error"}\n', b"plain\n"]


def frame(message: bytes, kind: int) -> bytes:
    return HEADER.pack(kind, len(message), 0) + message


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([0, 0xA55A0003, 0xA55A000A, 0xA55A0017]))),
    size=st.integers(1, 40),
)
def test_what_is_not_shown_does_not_come_out(parts: list[tuple[bytes, int]], size: int) -> None:
    stream = b"".join(line if kind == 0 else frame(line, kind) for line, kind in parts)
    shows = application_filter("INFO")
    splitter = FrameSplitter(shows)
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    found = [message for piece in pieces for message in splitter.feed(piece)] + splitter.flush()
    wanted = [line for line, kind in parts if (frame_level(kind & 0xFF) or line_level(line)) >= levels.INFO]
    assert found == wanted


def test_lines_are_left_out_and_so_is_the_last_one() -> None:
    splitter = LineSplitter(application_filter("INFO"))
    assert splitter.feed(b"".join(LINES)) == LINES[1:]
    assert splitter.feed(b'{"level":"debug"}') == splitter.flush() == []
    assert splitter.feed(b"an open line") == []
    assert splitter.flush() == [b"an open line"]
