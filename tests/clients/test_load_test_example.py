"""examples/load_test: its counts, its rate, what it counts as late, its exit status."""

from __future__ import annotations

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet, RunningService

SCRIPT = Path(__file__).parents[2] / "examples" / "load_test" / "load_test.py"
WAIT_SECONDS = 60
SOURCE = """
import time

def handler(event, context):
    if event.get("fail"):
        raise ValueError("as told")
    time.sleep(event.get("seconds", 0))
    return event
"""


@pytest.fixture(scope="module")
def example() -> Any:
    """The script as a module."""
    spec = spec_from_file_location("load_test_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def functions(service: RunningService) -> Iterator[FunctionSet]:
    """The function that is called, on the service that these tests share."""
    made = service.functions()
    made.create(SOURCE, name="loaded")
    made.create(SOURCE, name="throttled")
    made.client.put_function_concurrency(FunctionName="throttled", ReservedConcurrentExecutions=0)
    yield made
    made.delete_all()


@pytest.fixture
def begun(functions: FunctionSet) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the script with these arguments."""
    started = []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environ = {**kept, "AWS_ENDPOINT_URL_LAMBDA": functions.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def begin(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        # What a shell starts in the background, this test perhaps, ignores Ctrl-C, and so do its children.
        command = ["env", "--default-signal=INT", sys.executable, str(SCRIPT), *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command,
            env={**environ, **variables},
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run(begun: Callable[..., subprocess.Popen[str]]) -> Callable[..., tuple[int, str, str]]:
    """Runs it to its end: exit status, standard output and error."""

    def do(*arguments: object, **variables: str) -> tuple[int, str, str]:
        process = begun(*arguments, **variables)
        output, error = process.communicate(timeout=WAIT_SECONDS)
        return process.returncode, output, error

    return do


def test_hundreds_of_calls_a_second(run: Callable[..., tuple[int, str, str]]) -> None:
    status, output, error = run(
        "loaded", "--rate", 300, "--duration", 1, "--concurrency", 8, "--payload", '{"a": 1}', "--json"
    )
    assert (status, error) == (0, "")
    found = json.loads(output)
    assert (found["planned"], found["succeeded"], found["failed"], found["not_started"]) == (300, 300, 0, 0)
    assert found["errors"] == {}
    # Not faster than planned: the last call starts 299/300 s after the first.
    assert found["seconds"] >= 0.99
    assert found["calls_per_second"] <= 303
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"] <= latency["longest"]
    assert 0 < latency["mean"] <= latency["longest"]


def test_a_function_that_fails(run: Callable[..., tuple[int, str, str]]) -> None:
    arguments = ("loaded", "--rate", 200, "--duration", 0.25, "--concurrency", 4, "--payload", '{"fail": true}')
    status, output, _ = run(*arguments, "--error-limit", 99)
    assert status == 1
    assert "errors: 100.00 %  50 x function: ValueError" in output


def test_a_function_that_is_throttled(run: Callable[..., tuple[int, str, str]]) -> None:
    arguments = ("throttled", "--rate", 400, "--duration", 0.25, "--concurrency", 4, "--json")
    status, output, _ = run(*arguments, "--error-limit", 100)
    found = json.loads(output)
    assert (status, found["succeeded"], found["error_percent"]) == (0, 0, 100.0)
    # Each was counted, and none sent twice.
    assert found["errors"] == {"TooManyRequestsException": 100}


def test_waiting_counts_from_the_planned_start(run: Callable[..., tuple[int, str, str]]) -> None:
    status, output, _ = run(
        "loaded", "--rate", 100, "--duration", 0.2, "--concurrency", 1, "--payload", '{"seconds": 0.05}', "--json"
    )
    found = json.loads(output)
    assert (status, found["succeeded"]) == (0, 20)
    # The last of 20 calls is planned for 0.19 s, and 19 of 0.05 s each go before it.
    assert found["latency_ms"]["longest"] >= 800
    assert found["started_late"] >= 18


def test_what_there_is_no_time_for_is_an_error(run: Callable[..., tuple[int, str, str]]) -> None:
    status, output, _ = run(
        *("loaded", "--rate", 100, "--duration", 0.2, "--concurrency", 1, "--timeout", 0.3),
        *("--payload", '{"seconds": 5}', "--json"),
    )
    found = json.loads(output)
    assert (status, found["succeeded"]) == (1, 0)
    # The first one takes 0.3 s. If a second one starts before the end, 0.5 s from the begin, it does so too; no third.
    assert list(found["errors"]) == ["timeout"]
    assert found["failed"] + found["not_started"] == 20
    assert (found["not_started"] >= 18, found["error_percent"]) == (True, 100.0)


def test_the_display_and_an_interruption(begun: Callable[..., subprocess.Popen[str]]) -> None:
    process = begun(
        *("loaded", "--rate", 200, "--duration", 600, "--concurrency", 4),
        TTY_COMPATIBLE="1",
        TERM="xterm",
        COLUMNS="100",
    )
    assert process.stderr is not None
    drawn = ""
    while not re.search(r"p99 (?!0 )", drawn):
        line = process.stderr.readline()
        assert line, drawn
        drawn += line
    process.send_signal(signal.SIGINT)
    output, rest = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in rest
    for word in ("rate", "in flight", "of 120000 calls"):
        assert word in drawn, word
    assert re.search(r"loaded: \d+ answers.*up to .*█.*p50 .*p99\.9 .*errors: 0\.00 %", output, re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nobody"], "nobody cannot be called: ResourceNotFoundException: "),
        (["no name"], "no name cannot be called: Invoke: FunctionName is 'no name'"),
        (["loaded", "--payload", "{"], "--payload: Expecting property name"),
        (["loaded", "--payload", "@/nowhere"], "--payload: [Errno 2]"),
        (["loaded", "--rate", "0"], "--rate: 0 is not a number above 0"),
        (["loaded", "--duration", "inf"], "--duration: inf is not a number above 0"),
        (["loaded", "--concurrency", "0"], "--concurrency: 0 is not a whole number above 0"),
        (["loaded", "--error-limit", "101"], "--error-limit: 101 is not a number from 0 to 100"),
    ],
)
def test_what_cannot_be_run(
    example: Any,
    functions: FunctionSet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", functions.url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    try:
        status = example.main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert expected in capsys.readouterr().err


def test_percentiles_are_as_exact_as_the_buckets(example: Any) -> None:
    draw = random.Random(7)
    latencies = example.Latencies()
    seconds = [draw.lognormvariate(-6, 1.5) for _ in range(5000)]
    for each in seconds:
        latencies.add(each)
    seconds.sort()
    for percent in (1, 50, 90, 99, 99.9, 100):
        exact = seconds[math.ceil(len(seconds) * percent / 100) - 1]
        assert exact <= latencies.percentile(percent) * (1 + 1e-9) <= exact * 1.0201, percent
    assert latencies.percentile(100) == latencies.longest == seconds[-1]
    assert sum(count for _, count in latencies.rows()) == 5000
    assert len(list(latencies.rows())) <= 16


def test_of_no_answer_there_is_no_histogram(example: Any) -> None:
    latencies = example.Latencies()
    assert (list(latencies.rows()), latencies.percentile(99), latencies.mean) == ([], 0.0, 0.0)
