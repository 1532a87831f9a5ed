"""The JSON log format with its levels, and logs that outlive the service."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import RunningService, send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

JSON_FORMAT = {"LogFormat": "JSON"}
WRITES = """
import json, logging, os, sys, time

logging.getLogger("at.init").warning("initialised")

def handler(event, context):
    match event:
        case "exit": os._exit(3)
        case "raise": raise ValueError("no")
        case "hang": time.sleep(60)
    log = logging.getLogger("mine")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(log, level)("logged " + level)
    for level in ("trace", "DEBUG", "Info", "warn", "error", "fatal", "other"):
        print(json.dumps({"level": level, "message": "printed " + level}))
    print("printed plain")
    print("to stderr", file=sys.stderr)
"""
LOGGED = ["logged debug", "logged info", "logged warning", "logged error", "logged critical"]
PRINTED = ["printed DEBUG", "printed Info", "printed warn", "printed error", "printed fatal", "printed other"]
PLAIN = ["printed plain", "to stderr"]
SHOWN: dict[str, list[str]] = {
    "TRACE": [*LOGGED, "printed trace", *PRINTED, *PLAIN],
    "DEBUG": [*LOGGED, *PRINTED, *PLAIN],
    "INFO": [*LOGGED[1:], *PRINTED[1:], *PLAIN],
    "WARN": [*LOGGED[2:], *PRINTED[2:5]],
    "ERROR": [*LOGGED[3:], *PRINTED[3:5]],
    "FATAL": [LOGGED[4], PRINTED[4]],
}


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) if line.startswith("{") else {"message": line} for line in text.splitlines()]


def texts(log: str) -> list[str]:
    return [record["message"] for record in parsed(log) if "message" in record]


def events(log: str) -> list[tuple[str, str | None]]:
    found = [record for record in parsed(log) if "type" in record]
    return [(each["type"].removeprefix("platform."), each["record"].get("status")) for each in found]


@pytest.fixture(scope="module")
def service_with_awslambdaric(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(tmp_path_factory.mktemp("json") / "data", python_runtime="awslambdaric")
    yield running
    running.close()


@pytest.fixture(params=["shared_service", "service_with_awslambdaric"], ids=["ric", "awslambdaric"])
def python_functions(request: pytest.FixtureRequest) -> Iterator[FunctionSet]:
    made: FunctionSet = request.getfixturevalue(request.param).functions()
    yield made
    made.delete_all()


@pytest.mark.parametrize("level", SHOWN)
def test_the_application_level_decides_what_of_the_function_is_shown(python_functions: FunctionSet, level: str) -> None:
    name = python_functions.create(WRITES, LoggingConfig={**JSON_FORMAT, "ApplicationLogLevel": level}, Timeout=10)
    assert texts(python_functions.invoke(name).log) == SHOWN[level]


def test_the_default_levels_are_info(python_functions: FunctionSet) -> None:
    name = python_functions.create(WRITES, LoggingConfig=JSON_FORMAT, Timeout=10)
    outcome = python_functions.invoke(name)
    assert texts(outcome.log) == SHOWN["INFO"]
    start, *_, report = parsed(outcome.log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", start.pop("time"))
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    record = {"requestId": outcome.request_id, "functionArn": arn, "version": "$LATEST"}
    assert start == {"type": "platform.start", "record": record}
    assert report["type"] == "platform.report"
    assert (report["record"]["requestId"], report["record"]["status"]) == (outcome.request_id, "success")
    metrics = report["record"]["metrics"]
    assert list(metrics) == ["durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"]
    assert -0.01 <= metrics["billedDurationMs"] - metrics["durationMs"] - metrics["initDurationMs"] <= 1
    whole = "".join(python_functions.log_lines(name))
    assert events(whole) == [("initStart", None), ("start", None), ("report", "success")]
    assert whole.endswith(outcome.log)
    init_start = parsed(whole)[0]["record"]
    stream = init_start.pop("instanceId")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    assert (init_start["functionName"], init_start["instanceMaxMemory"]) == (name, 128 * 1024 * 1024)
    assert re.fullmatch(r"python:3\.\d+", init_start["runtimeVersion"])


GOOD = [("start", None), ("report", "success")]
INIT = [("initRuntimeDone", "success"), ("initReport", "success")]


@pytest.mark.parametrize(
    ("level", "init", "good", "bad"),
    [
        ("DEBUG", [("initStart", None), *INIT], [GOOD[0], ("runtimeDone", "success"), GOOD[1]], [GOOD[0]]),
        ("INFO", [("initStart", None)], GOOD, [GOOD[0]]),
        ("WARN", [], [], []),
    ],
)
def test_the_system_level_decides_which_events_are_shown(
    functions: FunctionSet,
    level: str,
    init: list[tuple[str, str | None]],
    good: list[tuple[str, str | None]],
    bad: list[tuple[str, str | None]],
) -> None:
    config = {**JSON_FORMAT, "SystemLogLevel": level}
    name = functions.create(WRITES, LoggingConfig=config, Timeout=1)
    assert events(functions.invoke(name, "x").log) == good
    assert events("".join(functions.log_lines(name))) == [*init, *good]
    for event, status in (("exit", "error"), ("hang", "timeout")):
        failed = functions.invoke(name, event)
        assert events(failed.log) == [*bad, ("runtimeDone", status), ("report", status)]
        types = [record["record"].get("errorType") for record in parsed(failed.log) if "record" in record][-2:]
        assert types == (["Runtime.ExitError"] * 2 if event == "exit" else [None] * 2)


def test_an_error_of_the_function_is_one_record(python_functions: FunctionSet) -> None:
    name = python_functions.create(WRITES, LoggingConfig={**JSON_FORMAT, "ApplicationLogLevel": "ERROR"}, Timeout=10)
    outcome = python_functions.invoke(name, "raise")
    (error,) = [record for record in parsed(outcome.log) if "errorType" in record]
    assert (error["level"], error["errorType"], error["errorMessage"]) == ("ERROR", "ValueError", "no")
    assert error["requestId"] == outcome.request_id


def test_an_init_phase_that_fails_is_reported_at_every_level(functions: FunctionSet) -> None:
    name = functions.create("import nothing_of_the_sort\n", LoggingConfig={**JSON_FORMAT, "SystemLogLevel": "WARN"})
    assert functions.invoke(name).error == "Unhandled"
    whole = "".join(functions.log_lines(name))
    assert events(whole)[:2] == [("initRuntimeDone", "error"), ("initReport", "error")]
    assert events(whole)[-2:] == [("runtimeDone", "error"), ("report", "error")]
    assert '"errorType":"Runtime.ImportModuleError"' in whole


BASH = r"""#!/bin/bash
url="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
echo "$AWS_LAMBDA_LOG_FORMAT $AWS_LAMBDA_LOG_LEVEL"
while true; do
    headers=$(mktemp)
    curl -sS -D "$headers" "$url/invocation/next" > /dev/null || exit 1
    id=$(tr -d '\r' < "$headers" | sed -n 's/^Lambda-Runtime-Aws-Request-Id: //p')
    echo '{"level": "debug", "message": "detail"}'
    echo '{"level": "error", "message": "trouble"}'
    echo "plain"
    curl -sS -X POST "$url/invocation/$id/response" -d '"done"' > /dev/null
done
"""


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["detail", "trouble", "plain"]),
        ("INFO", ["trouble", "plain"]),
        ("ERROR", ["trouble"]),
    ],
)
def test_a_runtime_of_ones_own_is_filtered_by_what_it_writes(
    functions: FunctionSet, level: str, shown: list[str]
) -> None:
    name = functions.bootstrap(BASH, LoggingConfig={**JSON_FORMAT, "ApplicationLogLevel": level}, Timeout=10)
    assert texts(functions.invoke(name).log) == shown
    assert (f"JSON {level}\n" in functions.log_lines(name)) == (level != "ERROR")


def test_levels_change_with_the_configuration(functions: FunctionSet) -> None:
    name = functions.create(WRITES, LoggingConfig=JSON_FORMAT, Timeout=10)
    assert texts(functions.invoke(name).log) == SHOWN["INFO"]
    config = {**JSON_FORMAT, "ApplicationLogLevel": "ERROR", "SystemLogLevel": "WARN"}
    functions.client.update_function_configuration(FunctionName=name, LoggingConfig=config)
    functions.wait_updated(name)
    outcome = functions.invoke(name)
    assert (texts(outcome.log), events(outcome.log)) == (SHOWN["ERROR"], [])
    functions.client.update_function_configuration(FunctionName=name, LoggingConfig={"LogFormat": "Text"})
    functions.wait_updated(name)
    outcome = functions.invoke(name)
    assert outcome.log.startswith("START RequestId: ")
    assert '{"level": "trace", "message": "printed trace"}\n' in outcome.log


# --- logs that outlive the service ----------------------------------------------------------------------------------

SAYS = "def handler(event, context):\n    print('said', event)\n"


def kept_files(folder: Path) -> list[str]:
    return sorted(str(path.parent.relative_to(folder)) for path in folder.rglob("*.log"))


def test_logs_outlive_the_service(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    first = start_service(tmp_path / "data", log_dir=folder)
    functions = first.functions()
    names = [
        functions.create(SAYS, name="kept"),
        functions.create(SAYS, name="json", LoggingConfig=JSON_FORMAT),
        functions.create(SAYS, name="shared", LoggingConfig={"LogGroup": "/mine/shared"}),
    ]
    for name in names:
        functions.invoke(name, 1)
    before = {name: functions.log_lines(name) for name in names}
    functions.client.delete_function(FunctionName="shared")
    first.close()
    assert kept_files(folder) == [
        "000000000000/+aws+lambda+json",
        "000000000000/+aws+lambda+kept",
        "000000000000/+mine+shared",
    ]
    functions = start_service(tmp_path / "data", log_dir=folder).functions()
    assert {name: functions.log_lines(name) for name in names} == before
    functions.invoke("kept", 2)
    lines = functions.log_lines("kept")
    assert lines[: len(before["kept"])] == before["kept"]
    assert [line for line in lines if line.startswith("said")] == ["said 1\n", "said 2\n"]
    assert send(functions.url, "GET", "/_venturekit/logs/never", headers={"X-Amz-A": "b"}).status == 404


def test_a_function_of_the_same_name_goes_on_with_the_log(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service(tmp_path / "data", log_dir=tmp_path / "logs")
    first.functions().invoke(first.functions().create(SAYS, name="again"), 1)
    first.client.delete_function(FunctionName="again")
    first.close()
    functions = start_service(tmp_path / "data", log_dir=tmp_path / "logs").functions()
    functions.invoke(functions.create(SAYS, name="again"), 2)
    assert [line for line in functions.log_lines("again") if line.startswith("said")] == ["said 1\n", "said 2\n"]


def test_without_a_log_directory_the_log_ends_with_the_service(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service(tmp_path / "data")
    functions = first.functions()
    functions.invoke(functions.create(SAYS, name="forgotten"), 1)
    first.close()
    assert start_service(tmp_path / "data").functions().log_lines("forgotten") == []
