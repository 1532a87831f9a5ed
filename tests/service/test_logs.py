"""What a function writes, and what the platform writes around it."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import lines_starting, send

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

WRITES = """
import logging, os, subprocess, sys

def handler(event, context):
    match event:
        case "print": print("one"); print("two", end=""); print(" more")
        case "stderr": print("to stderr", file=sys.stderr)
        case "logging": logging.getLogger().warning("careful\\nnow"); logging.getLogger().info("unseen")
        case "fd": os.write(1, b"raw 1\\n"); os.write(2, b"raw 2\\n")
        case "child": subprocess.run(["/bin/sh", "-c", "echo from a child; echo from its stderr >&2"])
        case "open line": os.write(1, b"no newline")
        case "bytes": os.write(1, b"\\xff\\xfe \\x00 text\\n")
        case "empty": print(); print()
        case "much": print("x" * 9000); print("last")
        case "lines":
            for n in range(500): print("line", n)
    return event
"""
REPORT = re.compile(
    r"REPORT RequestId: (?P<id>\S+)\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<used>\d+) MB\t(?:Init Duration: (?P<init>\d+\.\d\d) ms\t)?\n"
)


def test_the_lines_of_the_platform(functions: FunctionSet) -> None:
    name = functions.create(WRITES, MemorySize=256)
    first, second = functions.invoke(name, "x"), functions.invoke(name, "x")
    for outcome in (first, second):
        start, end, report = outcome.log.splitlines(keepends=True)
        assert start == f"START RequestId: {outcome.request_id} Version: $LATEST\n"
        assert end == f"END RequestId: {outcome.request_id}\n"
        found = REPORT.fullmatch(report)
        assert found, report
        assert found["id"] == outcome.request_id
        assert found["size"] == "256"
        assert 1 <= int(found["used"]) <= 256
        total = float(found["duration"]) + float(found["init"] or 0)
        assert int(found["billed"]) - 1 <= total <= int(found["billed"]) + 0.01
        assert (found["init"] is not None) == (outcome is first)
    whole = "".join(functions.log_lines(name))
    assert whole.index("INIT_START Runtime Version: python:3.") < whole.index("START RequestId")
    assert re.search(
        r"^INIT_START Runtime Version: python:3\.\d+\tRuntime Version ARN: arn:aws:lambda:us-east-1", whole
    )
    assert whole.endswith(second.log)


def test_published_versions_name_themselves(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    version = functions.publish(name)
    outcome = functions.invoke(name, "x", Qualifier=version)
    assert outcome.log.startswith(f"START RequestId: {outcome.request_id} Version: 1\n")


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("print", "one\ntwo more\n"),
        ("stderr", "to stderr\n"),
        ("fd", "raw 1\nraw 2\n"),
        ("child", "from a child\nfrom its stderr\n"),
        ("open line", "no newline"),
        ("empty", "\n\n"),
    ],
)
def test_everything_the_function_writes_is_in_the_tail(functions: FunctionSet, event: str, expected: str) -> None:
    name = functions.create(WRITES)
    for _ in range(2):
        outcome = functions.invoke(name, event)
        body = outcome.log.partition("\n")[2].rpartition("END RequestId")[0]
        assert body.rstrip("\n") == expected.rstrip("\n")
        assert f"\nEND RequestId: {outcome.request_id}\n" in outcome.log


def test_records_of_logging_carry_level_time_and_request(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    outcome = functions.invoke(name, "logging")
    body = outcome.log.partition("\n")[2].rpartition("END RequestId")[0]
    assert re.fullmatch(
        rf"\[WARNING\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{outcome.request_id}\tcareful\nnow\n", body
    ), body


def test_bytes_that_are_no_text_do_no_harm(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    outcome = functions.invoke(name, "bytes")
    assert (outcome.error, " text\n" in outcome.log) == (None, True)
    assert any(" text" in line for line in functions.log_lines(name))


def test_the_tail_is_the_last_four_kilobytes(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    answer = functions.post(name, b'"lines"', X_Amz_Log_Type="Tail")
    tail = base64.b64decode(answer.headers["X-Amz-Log-Result"])
    assert len(tail) == 4096
    assert b"line 499\nEND RequestId: " in tail
    assert b"START" not in tail
    long = base64.b64decode(functions.post(name, b'"much"', X_Amz_Log_Type="Tail").headers["X-Amz-Log-Result"])
    assert len(long) == 4096
    assert long.startswith(b"x")
    assert b"x\nlast\nEND RequestId: " in long


def test_the_log_keeps_everything_in_order(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    outcome = functions.invoke(name, "lines")
    text = "".join(functions.log_lines(name))
    written = [int(line.removeprefix("line ")) for line in text.splitlines() if line.startswith("line ")]
    assert written == list(range(500))
    assert text.index(f"START RequestId: {outcome.request_id}") < text.index("line 0\n")
    assert text.index("line 499\n") < text.index(f"END RequestId: {outcome.request_id}")


def test_one_stream_per_environment_named_as_on_aws(functions: FunctionSet) -> None:
    name = functions.create(
        "import os\ndef handler(event, context):\n"
        "    assert context.log_stream_name == os.environ['AWS_LAMBDA_LOG_STREAM_NAME']\n"
        "    return [context.log_group_name, context.log_stream_name]\n"
    )
    group, stream = functions.invoke(name).value
    assert group == f"/aws/lambda/{name}"
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    answer = send(functions.url, "GET", f"/_venturekit/logs/{name}", headers={"X-Amz-A": "b"})
    assert {event["logStreamName"] for event in answer.json["events"]} == {stream}


def test_in_a_log_group_of_ones_own_the_stream_names_the_function(functions: FunctionSet) -> None:
    source = "def handler(event, context):\n    return [context.log_group_name, context.log_stream_name]\n"
    name = functions.create(source, LoggingConfig={"LogGroup": "/mine/shared"})
    group, stream = functions.invoke(name).value
    assert group == "/mine/shared"
    assert re.fullmatch(rf"\d{{4}}/\d\d/\d\d/{name}\[\$LATEST\][0-9a-f]{{32}}", stream)


def test_the_log_is_read_on_from_where_one_was(functions: FunctionSet) -> None:
    name = functions.create(WRITES)
    functions.invoke(name, "print")
    target = f"/_venturekit/logs/{name}"
    headers = {"X-Amz-A": "b"}
    first = send(functions.url, "GET", target, headers=headers).json
    assert [event["sequence"] for event in first["events"]] == sorted(event["sequence"] for event in first["events"])
    assert send(functions.url, "GET", f"{target}?after={first['last']}", headers=headers).json["events"] == []
    functions.invoke(name, "stderr")
    more = send(functions.url, "GET", f"{target}?after={first['last']}&wait=5", headers=headers).json
    assert "to stderr\n" in [event["message"] for event in more["events"]]
    beyond = send(functions.url, "GET", f"{target}?after={10**30}", headers=headers, timeout=5)
    assert (beyond.status, beyond.json["events"]) == (200, [])
    assert send(functions.url, "GET", f"{target}?after=x", headers=headers).status == 400
    assert send(functions.url, "GET", "/_venturekit/logs/nobody", headers=headers).status == 404
    assert send(functions.url, "GET", target).status == 403


JSON_LOG = """
import logging

def handler(event, context):
    logging.getLogger("mine").warning("careful", extra={"unit": "m"})
    logging.getLogger().debug("unseen")
    if event: raise ValueError("no")
    print("plain")
"""


def test_json_log_format(functions: FunctionSet) -> None:
    name = functions.create(JSON_LOG, LoggingConfig={"LogFormat": "JSON"})
    outcome = functions.invoke(name)
    records = [json.loads(line) for line in outcome.log.splitlines() if line.startswith("{")]
    (record,) = [record for record in records if record.get("message") == "careful"]
    assert record["level"] == "WARNING"
    assert record["logger"] == "mine"
    assert record["requestId"] == outcome.request_id
    assert not any(record.get("message") == "unseen" for record in records)
    failed = functions.invoke(name, 1)
    errors = [json.loads(line) for line in failed.log.splitlines() if '"errorType"' in line]
    assert [(error["errorType"], error["errorMessage"]) for error in errors] == [("ValueError", "no")]


def test_levels_filter_the_json_log(functions: FunctionSet) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "ERROR"}
    name = functions.create(JSON_LOG, LoggingConfig=config)
    assert "careful" not in functions.invoke(name).log


def test_a_reset_keeps_the_stream(functions: FunctionSet) -> None:
    name = functions.create(
        "import os\ndef handler(event, context):\n    if event: os._exit(1)\n    return context.log_stream_name\n"
    )
    stream = functions.invoke(name).value
    functions.invoke(name, 1)
    assert functions.invoke(name).value == stream


def test_nothing_of_one_invocation_is_in_the_tail_of_the_next(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    print('said', event)\n")
    for number in range(5):
        said = lines_starting(functions.invoke(name, number).log, "said")
        assert said == [f"said {number}"]


ORDER = """
import logging
def handler(event, context):
    for number in range(20):
        logging.warning("log %d", number)
        print("print", number)
"""


def test_prints_and_log_records_keep_their_order(functions: FunctionSet) -> None:
    name = functions.create(ORDER)
    for _ in range(5):
        outcome = functions.invoke(name)
        lines = [line for line in outcome.log.splitlines() if "print " in line or "log " in line]
        said = [line.rsplit("\t", 1)[-1] for line in lines]
        assert said == [text for number in range(20) for text in (f"log {number}", f"print {number}")]
