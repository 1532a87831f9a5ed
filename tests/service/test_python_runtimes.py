"""Python functions: on every interpreter of the machine, on AWS's own client, and what they find around them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.forms import in_full, thinned
from tests.service.harness import PYTHON, RunningService
from venturekit.service.environments.interpreters import find_interpreters, own_interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet

FOUND = {
    f"python3.{interpreter.version[1]}"
    for interpreter in find_interpreters(os.environ, os.path.expanduser("~"), own_interpreter())
}
# Runtimes that can be asked for. Those that are not on this machine run on another interpreter, with a warning.
RUNTIMES = [f"python3.{minor}" for minor in range(9, 15)]

WHERE = """
import os, sys
def handler(event, context):
    return [list(sys.version_info[:2]), os.environ["AWS_EXECUTION_ENV"]]
"""


def test_this_machine_has_its_own_interpreter() -> None:
    assert PYTHON in FOUND


@pytest.mark.parametrize("runtime", thinned(RUNTIMES, 2))
def test_every_python_runtime(functions: FunctionSet, runtime: str) -> None:
    name = functions.create(WHERE, Runtime=runtime, Timeout=10)
    version, execution_env = functions.invoke(name).value
    assert execution_env == f"AWS_Lambda_{runtime}"
    log = "".join(functions.log_lines(name))
    assert log.startswith(f"INIT_START Runtime Version: {runtime.replace('python3', 'python:3')}\t")
    if runtime in FOUND:
        assert version == [3, int(runtime.partition(".")[2])]
        assert "[WARNING]" not in log
    else:
        assert f"python3.{version[1]}" in FOUND
        (warning,) = [line for line in log.splitlines() if line.startswith("[WARNING] ")]
        assert runtime in warning
        assert f"3.{version[1]}" in warning


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_strict_runtimes_refuse_substitution(strict: FunctionSet, runtime: str) -> None:
    name = strict.create(WHERE, Runtime=runtime, Timeout=10)
    outcome = strict.invoke(name)
    if runtime in FOUND:
        assert outcome.value[0] == [3, int(runtime.partition(".")[2])]
    else:
        assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.InvalidRuntime")
        assert runtime in outcome.value["errorMessage"]


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionSet]:
    running = RunningService(tmp_path_factory.mktemp("strict") / "data", strict_runtimes=True)
    yield running.functions()
    running.close()


# --- the same functions in every way of running them ---------------------------------------------------------------

WAYS = {
    "ric forked": {},
    "ric spawned": {"python_start": "spawn"},
    "awslambdaric": {"python_runtime": "awslambdaric"},
}


@pytest.fixture(scope="module", params=["ric forked", "awslambdaric", *in_full("ric spawned")])
def way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FunctionSet]:
    """A service that runs Python functions in one of the three ways."""
    running = RunningService(tmp_path_factory.mktemp("way") / "data", **WAYS[request.param])
    yield running.functions()
    running.close()


BASIC = """
import asyncio, json, logging, os, sys, tempfile
logging.getLogger().setLevel("INFO")
started = []

class Weird(Exception):
    pass

def handler(event, context):
    started.append(1)
    match event["do"]:
        case "echo": return event
        case "context": return {
            "id": context.aws_request_id, "name": context.function_name, "version": context.function_version,
            "arn": context.invoked_function_arn, "memory": context.memory_limit_in_mb, "group": context.log_group_name,
            "left": context.get_remaining_time_in_millis(), "stream": context.log_stream_name,
        }
        case "raise": raise Weird("on purpose")
        case "log": logging.info("noted"); print("printed"); print("bad", file=sys.stderr)
        case "count": return len(started)
        case "exit": sys.exit(2)
        case "bytes": return b'{"raw": 1}'
        case "big": return "x" * 1_000_000
        case "hang": import threading; threading.Event().wait()
        case "env": return dict(os.environ)
        case "tmp": return [tempfile.gettempdir(), os.getcwd(), sys.path]
"""


def test_basics(way: FunctionSet) -> None:
    name = way.create(BASIC, Timeout=20, MemorySize=256)
    assert way.invoke(name, {"do": "echo", "ü": [1.5, None, "\U0001f600"]}).value == {
        "do": "echo",
        "ü": [1.5, None, "\U0001f600"],
    }
    outcome = way.invoke(name, {"do": "context"})
    found = outcome.value
    assert 15_000 < found.pop("left") <= 20_000
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", found.pop("stream"))
    assert found == {
        "id": outcome.request_id,
        "name": name,
        "version": "$LATEST",
        "arn": f"arn:aws:lambda:us-east-1:000000000000:function:{name}",
        "memory": "256",
        "group": f"/aws/lambda/{name}",
    }
    assert way.invoke(name, {"do": "bytes"}).raw == b'{"raw": 1}'
    assert len(way.invoke(name, {"do": "big"}).value) == 1_000_000
    assert way.invoke(name, {"do": "count"}).value == 5


def test_failures(way: FunctionSet) -> None:
    name = way.create(BASIC, Timeout=2)
    outcome = way.invoke(name, {"do": "raise"})
    assert outcome.error == "Unhandled"
    assert list(outcome.value) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert (outcome.value["errorType"], outcome.value["errorMessage"]) == ("Weird", "on purpose")
    assert len(outcome.value["stackTrace"]) == 1
    assert "[ERROR] Weird: on purpose" in outcome.log
    assert way.invoke(name, {"do": "exit"}).value["errorMessage"].endswith("exited with error: exit status 2")
    assert way.invoke(name, {"do": "hang"}).value["errorType"] == "Sandbox.Timedout"
    assert way.invoke(name, {"do": "count"}).value == 1


def test_log(way: FunctionSet) -> None:
    name = way.create(BASIC, Timeout=10)
    outcome = way.invoke(name, {"do": "log"})
    assert re.search(rf"\[INFO\]\t\S+Z\t{outcome.request_id}\tnoted\n", outcome.log)
    assert "printed\n" in outcome.log
    assert "bad\n" in outcome.log


def test_init_failure(way: FunctionSet) -> None:
    name = way.create("import nowhere\n", Timeout=10)
    outcome = way.invoke(name)
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
    assert outcome.value["requestId"] == ""


def test_async_handlers(shared_service: RunningService, functions: FunctionSet) -> None:
    source = """
import asyncio
loops = set()
async def handler(event, context):
    loops.add(id(asyncio.get_running_loop()))
    await asyncio.sleep(0)
    return [event, len(loops)]
"""
    name = functions.create(source)
    assert [functions.invoke(name, number).value for number in range(3)] == [[0, 1], [1, 1], [2, 1]]


# --- what a function finds -----------------------------------------------------------------------------------------

IMPORTS = """
import importlib
def handler(event, context):
    found = {}
    for name in event:
        try:
            importlib.import_module(name)
            found[name] = True
        except ImportError:
            found[name] = False
    return found
"""


def test_what_can_be_imported(way: FunctionSet) -> None:
    present = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "json", "sqlite3", "mine"]
    absent = [
        "venturekit",
        "typer",
        "rich",
        "uvloop",
        "httptools",
        "pytest",
        "hypothesis",
        "mypy",
        "ric",
        "pip",
        "orjson",
    ]
    name = way.create(IMPORTS, files={"mine.py": ""}, Timeout=30, MemorySize=512)
    found = way.invoke(name, [*present, *absent]).value
    assert [module for module in present if not found[module]] == []
    assert [module for module in absent if found[module]] == []


def test_the_builtins_of_the_site_module(way: FunctionSet) -> None:
    # AWS's interpreters start with it: scripts end themselves with exit().
    source = "def handler(event, context):\n    assert callable(quit)\n    exit(event)\n"
    outcome = way.invoke(way.create(source, Timeout=10), 6)
    assert outcome.value.get("errorMessage", "").endswith("Runtime exited with error: exit status 6"), outcome.raw


def test_own_code_comes_before_the_libraries(way: FunctionSet) -> None:
    source = "import boto3\ndef handler(event, context):\n    return boto3.WHOSE\n"
    assert way.invoke(way.create(source, files={"boto3.py": "WHOSE = 'mine'\n"}, Timeout=10)).value == "mine"


def test_the_variables(way: FunctionSet) -> None:
    given = {"MINE": "ü 1", "TZ": "Europe/Berlin", "PATH": "/bin:/usr/bin"}
    name = way.create(BASIC, Timeout=10, MemorySize=256, Environment={"Variables": given})
    variables = way.invoke(name, {"do": "env"}).value
    expected = {
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{PYTHON}",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_LAMBDA": way.url,
        "_HANDLER": "app.handler",
        "LANG": "en_US.UTF-8",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        **given,
    }
    assert {key: variables.get(key) for key in expected} == expected
    assert variables["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    assert variables["AWS_SECRET_ACCESS_KEY"]
    assert variables["AWS_SESSION_TOKEN"]
    assert variables["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert "_LAMBDA_TELEMETRY_LOG_FD" not in variables
    for foreign in ("HOME", "USER", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST", "HOSTNAME", "SSH_AUTH_SOCK"):
        assert foreign not in variables


def test_the_scratch_directory_is_its_own(way: FunctionSet) -> None:
    names = [way.create(BASIC, Timeout=10) for _ in range(2)]
    (tmp, directory, path), (other, _, _) = (way.invoke(name, {"do": "tmp"}).value for name in names)
    assert tmp != other
    assert tmp != directory
    assert path[0] == directory


CHAIN = """
import json, os
import boto3
client = boto3.client("lambda")
def handler(event, context):
    if event["depth"] == 0:
        return {"trace": os.environ["_X_AMZN_TRACE_ID"], "function": context.function_name}
    following = {"depth": event["depth"] - 1, "to": event["to"]}
    answer = client.invoke(FunctionName=event["to"], Payload=json.dumps(following))
    return json.loads(answer["Payload"].read())
"""


def test_a_function_calls_another_with_plain_boto3(way: FunctionSet) -> None:
    caller, callee = (way.create(CHAIN, Timeout=30, MemorySize=512) for _ in range(2))
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    body = f'{{"depth": 2, "to": "{callee}"}}'.encode()
    answer = way.post(caller, body, X_Amzn_Trace_Id=trace)
    assert answer.status == 200, answer
    assert answer.json["function"] == callee
    assert answer.json["trace"].startswith("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;")


# --- credentials ---------------------------------------------------------------------------------------------------

USER = {
    "AWS_ACCESS_KEY_ID": "AKIAUSER",
    "AWS_SECRET_ACCESS_KEY": "users-secret",
    "AWS_SESSION_TOKEN": "users-token",
    "AWS_PROFILE": "production",
    "AWS_CONFIG_FILE": "/home/user/.aws/config",
    "AWS_ENDPOINT_URL": "https://elsewhere.example",
    "DATABASE_PASSWORD": "hunter2",
}


@pytest.mark.parametrize("passes", [False, True])
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_users_own_variables_stay_outside(
    start_own: Callable[..., RunningService], passes: bool, start: str
) -> None:
    running = start_own(pass_aws_credentials=passes, python_start=start)
    functions = running.functions()
    variables = functions.invoke(functions.create(BASIC, Timeout=10), {"do": "env"}).value
    seen = {name for name, value in USER.items() if variables.get(name) == value}
    allowed = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} if passes else set()
    assert seen == allowed
    assert not any("hunter2" in value for value in variables.values())


@pytest.fixture
def start_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., RunningService]]:
    """A service of a user who has credentials in the environment of the service's process."""
    for name, value in USER.items():
        # The client of this test would look for the profile.
        if name != "AWS_PROFILE":
            monkeypatch.setenv(name, value)
    started: list[RunningService] = []

    def start(**settings: object) -> RunningService:
        running = RunningService(tmp_path_factory.mktemp("own") / "data", environ={**os.environ, **USER}, **settings)
        started.append(running)
        return running

    yield start
    for running in started:
        running.close()
