"""Several invocations at once: our client and AWS's, unmodified, with the same functions and the same events."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.parking_api import LogSocket, ParkingRuntimeApi, Pool, write_function
from tests.differential.scripted_api import normalised

if TYPE_CHECKING:
    from pathlib import Path

OURS, AWS = "venturekit.ric", "awslambdaric"
FUNCTION = """
    import logging, os, sys
    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        if event == "log":
            print("to stdout")
            print("to stderr", file=sys.stderr)
            logging.getLogger().info("a %s", "record", extra={"more": [1]})
            logging.getLogger("own").debug({"a": "dict"})
        if event == "raise":
            raise ValueError("bad\\nevent")
        if event == "set":
            return {1, 2}
        return [event, calls, os.environ.get("_X_AMZN_TRACE_ID"), context.aws_request_id, context.tenant_id]
"""


@dataclass(frozen=True)
class Seen:
    """What can be observed of one run."""

    outcomes: list[tuple[str, str | None, str]]
    log: list[str]
    stdout: str
    stderr: str
    status: int


def run(module: str, folder: Path, concurrency: int, events: list[Any], source: str = FUNCTION, **given: Any) -> Seen:
    """The events one after the other, and then SIGKILL; a module that cannot be imported ends by itself."""
    folder.mkdir()
    write_function(folder, source)
    api = ParkingRuntimeApi()
    api.statuses.update(given.pop("statuses", {}))
    drops = given.pop("drops", 0)
    log = LogSocket(folder / "log.sock")
    # AWS's client asks again for an event, as it does on AWS, from this version on.
    given = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13", **given}
    pool = Pool([sys.executable, "-m", module, "fn.handler"], folder, api, concurrency, log, **given)
    outcomes = []
    for _drop in range(drops):
        api.parked(concurrency)
        api.drop_parked()
    for number, event in enumerate(events):
        headers = {"Lambda-Runtime-Trace-Id": f"Root={number}"} if number % 2 else {"Lambda-Runtime-Aws-Tenant-Id": "t"}
        api.give(f"id-{number}", json.dumps(event).encode(), headers)
        request = api.outcome(f"id-{number}")
        kind = request.line.split()[1].rpartition("/")[2]
        text = request.body.decode().replace(str(folder), "<folder>")
        outcomes.append((kind, request.headers.get("content-type"), text))
    if events:
        api.parked(concurrency)
        os.killpg(pool.process.pid, signal.SIGKILL)
    stdout, stderr = pool.end()[1:]
    streams = log.ended(2 * concurrency)
    api.close()
    log.close()
    written = sorted(normalised(text.replace(str(folder), "<folder>"), api.address) for text in streams)
    return Seen(outcomes, written, normalised(stdout, api.address), stderr, pool.process.returncode)


def both(tmp_path: Path, *arguments: Any, **given: Any) -> tuple[Seen, Seen]:
    return run(OURS, tmp_path / "ours", *arguments, **given), run(AWS, tmp_path / "aws", *arguments, **given)


@pytest.mark.parametrize("level", ["DEBUG", "INFO", ""])
def test_outcomes_and_log(tmp_path: Path, level: str) -> None:
    ours, theirs = both(tmp_path, 1, [1, "log", "raise", "set", "log"], AWS_LAMBDA_LOG_LEVEL=level)
    assert ours == theirs
    assert ("to stderr\n" * 2) in ours.log
    assert ("runtime_worker_pool_initializing" in ours.stdout) == (level == "DEBUG")


def test_workers_keep_what_is_theirs(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, 3, [0])
    assert ours == theirs
    assert len(ours.log) == 6


def test_a_result_that_comes_too_late(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, 1, [1, 2, 3], statuses={"id-1": 410})
    assert ours.outcomes == theirs.outcomes
    for seen in ours, theirs:
        # Each in words of its own.
        warnings = [line for line in "".join(seen.log).splitlines() if '"WARNING"' in line]
        assert [json.loads(line)["requestId"] for line in warnings] == ["id-1"]


def test_lost_connections(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, 2, [1], drops=2)
    assert ours.outcomes == theirs.outcomes
    assert (ours.stdout, ours.stderr, ours.status) == (theirs.stdout, theirs.stderr, theirs.status)


def test_a_function_that_cannot_be_initialised(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, 2, [], "raise ValueError('no')")
    assert ours.log == theirs.log
    assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr)
    # AWS's ends as if all were well, when its last worker has ended.
    assert (ours.status, theirs.status) == (1, 0)
