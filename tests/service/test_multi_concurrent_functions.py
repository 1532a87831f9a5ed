"""Managed functions through the whole service: real runtimes that have several invocations at once.

Unmodified clients of AWS's are among them, and a bootstrap in bash.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.forms import in_full
from tests.service.harness import RunningService, until
from tests.service.managed_support import LATEST_PUBLISHED, Managed, Providers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

# Those who wait for one another run at the same time; nobody waits for longer than the function may take.
HANDLER = """
import json, logging, os, threading, time
from pathlib import Path

NAMES = []

def handler(event, context):
    do = event.get("do")
    if do == "meet":
        folder = Path(event["folder"])
        (folder / context.aws_request_id).touch()
        while len(list(folder.iterdir())) < event["count"]:
            time.sleep(0.002)
        return os.getpid()
    if do == "wait":
        while not Path(event["file"]).exists():
            time.sleep(0.002)
        return "waited"
    if do == "raise":
        raise ValueError("refused")
    if do == "log":
        print(json.dumps({"by": event["by"], "text": "x" * event["size"]}))
        logging.getLogger().error("of %s", event["by"])
        return event["by"]
    if do == "exit":
        os._exit(event["code"])
    if do == "environment":
        return dict(os.environ)
    return {"pid": os.getpid(), "left": context.get_remaining_time_in_millis()}
"""
KINDS: dict[str, dict[str, Any]] = {
    "ric": {},
    "spawned ric": {"python_start": "spawn"},
    "awslambdaric": {"python_runtime": "awslambdaric"},
}


@pytest.fixture(scope="module", params=["ric", "awslambdaric", *in_full("spawned ric")])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("managed") / "data", **KINDS[request.param])
    yield running
    running.close()


@pytest.fixture
def functions(service: RunningService) -> Iterator[FunctionSet]:
    made = service.functions()
    yield made
    made.delete_all()


@pytest.fixture
def provider(functions: FunctionSet) -> Iterator[str]:
    providers = Providers(functions.client)
    yield providers.create()
    functions.delete_all()
    providers.delete_all()


def test_invocations_meet_in_one_environment(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, HANDLER, 5)
    outcomes = call.all(5, do="meet", folder=str(tmp_path), count=5)
    assert [outcome.error for outcome in outcomes] == [None] * 5
    # Each has a process of its own.
    assert len({outcome.value for outcome in outcomes}) == 5
    log = [json.loads(line) for line in functions.log_lines(call.name)]
    starts = [line["record"] for line in log if line.get("type") == "platform.initStart"]
    assert [start["initializationType"] for start in starts] == ["lambda-managed-instances"]


def test_a_late_one_interrupts_nobody(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, HANDLER, 2, Timeout=3)
    hanging = call.begin(do="wait", file=str(tmp_path / "go"))
    others = [call(do="raise") for _ in range(3)]
    assert [outcome.value["errorType"] for outcome in others] == ["ValueError"] * 3
    late = hanging()
    assert late.value["errorType"] == "Sandbox.Timedout"
    # Its worker goes on, is told that it is late, and comes back.
    (tmp_path / "go").touch()
    met = tmp_path / "met"
    met.mkdir()
    outcomes = call.all(2, do="meet", folder=str(met), count=2)
    assert len({outcome.value for outcome in outcomes}) == 2
    words = ("410", "too late")
    until(
        lambda: any(word in line for line in functions.log_lines(call.name) for word in words),
        "the late answer is refused",
    )


def test_more_than_one_environment_takes(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, HANDLER, 2)
    outcomes = call.all(6, do="meet", folder=str(tmp_path), count=6)
    assert len({outcome.value for outcome in outcomes}) == 6
    starts = [line for line in functions.log_lines(call.name) if "platform.initStart" in line]
    assert len(starts) == 3


def test_lines_do_not_mix(functions: FunctionSet, provider: str) -> None:
    call = Managed(functions, provider, HANDLER, 4)
    # Longer than what a pipe takes in one piece.
    begun = [call.begin(do="log", by=number, size=30_000) for number in range(12)]
    assert [outcome().value for outcome in begun] == [*range(12)]
    found = [json.loads(line) for line in functions.log_lines(call.name)]
    assert sorted(each["by"] for each in found if "by" in each) == [*range(12)]
    logged = sorted(each["message"] for each in found if each.get("level") == "ERROR")
    assert logged == sorted(f"of {number}" for number in range(12))
    assert all(each["requestId"] for each in found if each.get("level") == "ERROR")


def test_what_the_environment_says(functions: FunctionSet, provider: str) -> None:
    environ = Managed(functions, provider, HANDLER, 3)(do="environment").value
    assert environ["AWS_LAMBDA_MAX_CONCURRENCY"] == "3"
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    assert environ["AWS_LAMBDA_LOG_FORMAT"] == "JSON"


def test_a_module_that_does_not_import(functions: FunctionSet, provider: str) -> None:
    call = Managed(functions, provider, "raise RuntimeError('not today')", 3)
    outcomes = call.all(3)
    assert [outcome.value["errorType"] for outcome in outcomes] == ["RuntimeError"] * 3


def test_the_tail_of_the_log(functions: FunctionSet, provider: str) -> None:
    call = Managed(functions, provider, HANDLER, 2)
    outcome = functions.invoke(call.name, {"do": "log", "by": 7, "size": 1}, Qualifier=LATEST_PUBLISHED, LogType="Tail")
    assert "platform.report" in outcome.log
    assert "of 7" in outcome.log
