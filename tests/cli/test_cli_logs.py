"""``vk logs --since``, and what ``vk serve --log-dir`` says when it cannot keep logs there."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest

from venturekit.cli.exits import CommandError
from venturekit.cli.logs import parse_since

NOON = datetime(2025, 1, 31, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0s", NOON),
        ("90s", NOON - 90),
        ("10m", NOON - 600),
        ("2h", NOON - 7200),
        ("3d", NOON - 3 * 86_400),
        ("2025-01-31T11:00Z", NOON - 3600),
        ("2025-01-31T12:00:00.250Z", NOON + 0.25),
        ("2025-01-31T12:00+01:00", NOON - 3600),
        ("2025-01-31 11:30:00+00:00", NOON - 1800),
    ],
)
def test_a_time_is_read(text, expected):
    assert parse_since(text, NOON) == expected


def test_a_time_without_an_offset_is_a_local_one():
    expected = time.mktime((2025, 1, 31, 12, 0, 0, 0, 0, -1))
    assert parse_since("2025-01-31T12:00", NOON) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "1.5h", "10 m", "yesterday", "2025-13-01", "9999999999s", "٣d"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(CommandError, match="give a number with s, m, h or d behind it, such as 10m, or a time such as"):
        parse_since(text, NOON)


def test_only_what_was_logged_since_then_is_printed(service):
    service.vk("invoke", "app", "-p", '{"say": "before"}')
    last = service.vk("logs", "app", "--json").out.splitlines()[-1]
    edge = datetime.fromtimestamp(json.loads(last)["timestamp"] / 1000 + 0.001, UTC).isoformat()
    service.vk("invoke", "app", "-p", '{"say": "after"}')
    text = service.vk("logs", "app", "--since", edge).out.decode()
    assert text.startswith("START RequestId: ")
    assert "after\n" in text
    assert "before\n" not in text
    assert service.vk("logs", "app", "--since", "1h").out == service.vk("logs", "app").out
    done = service.vk("logs", "app", "--since", "soon")
    assert (done.status, done.out) == (2, b"")
    assert done.err.startswith("vk: --since soon: give a number")


def test_logs_are_read_after_a_restart(serve):
    for event, lines in (("1", ["1"]), ("2", ["1", "2"])):
        with serve("--data-dir", "data", "--log-dir", "logs") as served:
            if event == "1":
                served.create("app")
            served.vk("invoke", "app", "-p", json.dumps({"say": f"said {event}"}))
            log = served.vk("logs", "app").out.decode()
            assert [line for line in log.splitlines() if line.startswith("said")] == [f"said {each}" for each in lines]
            assert served.running.end()[0] == 0


def test_a_log_directory_that_cannot_be_used_is_named(vk, serve, tmp_path):
    (tmp_path / "file").write_text("")
    done = vk("serve", "--port", "0", "--log-dir", "file")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert done.err.startswith(f"vk: the log directory {tmp_path}/file cannot be used: ")
    with serve("--data-dir", "data", "--log-dir", "logs"):
        done = vk("serve", "--port", "0", "--data-dir", "other", "--log-dir", "logs")
        assert (done.status, done.err.count("\n")) == (1, 1)
        assert "logs is in use by another service: stop it, or choose another --log-dir" in done.err
