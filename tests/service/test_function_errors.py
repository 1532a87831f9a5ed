"""Functions that end badly: what the caller gets, what the log says, and that the next invocation works."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import lines_starting

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet, Outcome

# Ends itself in the way the event names; answers with what is left from former invocations otherwise.
SELF_DESTRUCTIVE = """
import ctypes, os, pathlib, signal, sys, tempfile, threading

calls = 0

def end(way):
    match way:
        case "exit 0": sys.exit(0)
        case "exit 1": sys.exit(1)
        case "exit 3": sys.exit(3)
        case "exit text": sys.exit("over and out")
        case "_exit 0": os._exit(0)
        case "_exit 9": os._exit(9)
        case "segfault": ctypes.string_at(0)
        case "abort": os.abort()
        case "kill": os.kill(os.getpid(), signal.SIGKILL)
        case "terminate": os.kill(os.getpid(), signal.SIGTERM); signal.pause()
        case "keyboard": raise KeyboardInterrupt
        case "generator": raise GeneratorExit
        case "wait": threading.Event().wait()
        case "spin":
            while True: pass
        case "stop": os.kill(os.getpid(), signal.SIGSTOP)
        case "recurse": end(way)

def handler(event, context):
    global calls
    calls += 1
    mark = pathlib.Path(tempfile.gettempdir(), "mark")
    if event:
        mark.write_text(event)
        end(event)
    return {"calls": calls, "mark": mark.read_text() if mark.exists() else None, "pid": os.getpid()}
"""

EXITED = "RequestId: {id} Error: Runtime exited with error: "
GONE = "RequestId: {id} Error: Runtime exited without providing a reason"


def report(outcome: Outcome) -> str:
    """The REPORT line, after its frame was checked."""
    (start,) = lines_starting(outcome.log, "START ")
    (end,) = lines_starting(outcome.log, "END ")
    (line,) = lines_starting(outcome.log, "REPORT ")
    assert start == f"START RequestId: {outcome.request_id} Version: $LATEST"
    assert end == f"END RequestId: {outcome.request_id}"
    assert line.startswith(f"REPORT RequestId: {outcome.request_id}\tDuration: ")
    return line


def assert_works(functions: FunctionSet, name: str, mark: str) -> None:
    """A fresh process answers, in the scratch directory of the former one."""
    after = functions.invoke(name, "")
    assert after.error is None, after
    assert (after.value["calls"], after.value["mark"]) == (1, mark)
    # The init of an environment that replaces another one is part of the invocation or done: either way it serves on.
    assert functions.invoke(name, "").value["pid"] == after.value["pid"]


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("exit 0", GONE),
        ("exit 1", EXITED + "exit status 1"),
        ("exit 3", EXITED + "exit status 3"),
        ("exit text", EXITED + "exit status 1"),
        ("_exit 0", GONE),
        ("_exit 9", EXITED + "exit status 9"),
        ("segfault", EXITED + "signal: segmentation fault"),
        ("abort", EXITED + "signal: aborted"),
        ("kill", EXITED + "signal: killed"),
        ("terminate", EXITED + "signal: terminated"),
        ("generator", EXITED + "exit status 1"),
    ],
)
def test_a_process_that_ends_is_an_exit_error(leak_free: FunctionSet, way: str, message: str) -> None:
    functions = leak_free
    name = functions.create(SELF_DESTRUCTIVE, Timeout=10)
    assert functions.invoke(name, "").value["calls"] == 1
    began = time.monotonic()
    outcome = functions.invoke(name, way)
    assert time.monotonic() - began < 5
    assert (outcome.status, outcome.error, outcome.version) == (200, "Unhandled", "$LATEST")
    expected = {"errorType": "Runtime.ExitError", "errorMessage": message.format(id=outcome.request_id)}
    assert outcome.raw == json.dumps(expected, separators=(",", ":")).encode()
    assert report(outcome).endswith("\tStatus: error\tError Type: Runtime.ExitError")
    assert_works(functions, name, way)


def test_an_interrupt_inside_the_handler_ends_the_process(functions: FunctionSet) -> None:
    name = functions.create(SELF_DESTRUCTIVE, Timeout=10)
    outcome = functions.invoke(name, "keyboard")
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert_works(functions, name, "keyboard")


@pytest.mark.parametrize("way", ["wait", "spin", "stop"])
def test_out_of_time(leak_free: FunctionSet, way: str) -> None:
    functions = leak_free
    name = functions.create(SELF_DESTRUCTIVE, Timeout=1)
    functions.invoke(name, "")
    began = time.monotonic()
    outcome = functions.invoke(name, way)
    assert 0.95 < time.monotonic() - began < 4
    assert outcome.error == "Unhandled"
    expected = {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Task timed out after 1.00 seconds",
    }
    assert outcome.raw == json.dumps(expected, separators=(",", ":")).encode()
    line = report(outcome)
    assert line.endswith("\tStatus: timeout")
    duration = re.search(r"\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t", line)
    assert duration
    assert 1000 <= float(duration[1]) < 3000
    assert_works(functions, name, way)


def test_a_first_invocation_may_run_out_of_time_too(functions: FunctionSet) -> None:
    name = functions.create(SELF_DESTRUCTIVE, Timeout=1)
    outcome = functions.invoke(name, "wait")
    assert outcome.value["errorType"] == "Sandbox.Timedout"
    assert_works(functions, name, "wait")


def test_too_deep_recursion_is_an_ordinary_error(functions: FunctionSet) -> None:
    name = functions.create(SELF_DESTRUCTIVE, Timeout=10)
    outcome = functions.invoke(name, "recurse")
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "RecursionError")
    # An error that the runtime reports resets nothing.
    assert functions.invoke(name, "").value["calls"] == 2


MEMORY = """
def handler(event, context):
    if event:
        hog = []
        while True:
            hog.append(bytearray(b"x") * (4 << 20))
    return "fine"
"""


def test_a_memory_hog_is_killed(leak_free: FunctionSet) -> None:
    functions = leak_free
    name = functions.create(MEMORY, MemorySize=128, Timeout=30)
    outcome = functions.invoke(name, True)
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert outcome.value["errorMessage"] == (
        f"RequestId: {outcome.request_id} Error: Runtime exited with error: signal: killed"
    )
    assert report(outcome).endswith("\tStatus: error\tError Type: Runtime.OutOfMemory")
    assert "\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t" in outcome.log
    assert functions.invoke(name, False).value == "fine"


# --- exceptions ----------------------------------------------------------------------------------------------------

RAISING = """
class Custom(Exception):
    pass

def deeper(event):
    raise Custom("no ü\\n" + event)

def handler(event, context):
    deeper(event)
"""


def test_an_exception_is_reported_with_its_stack(functions: FunctionSet) -> None:
    name = functions.create(RAISING)
    outcome = functions.invoke(name, "reason")
    assert (outcome.status, outcome.error) == (200, "Unhandled")
    assert list(outcome.value) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert outcome.value["errorMessage"] == "no ü\nreason"
    assert outcome.value["errorType"] == "Custom"
    assert outcome.value["requestId"] == outcome.request_id
    trace = outcome.value["stackTrace"]
    assert [re.search(r'^  File ".*/app\.py", line (\d+), in (\w+)\n    ', entry).groups() for entry in trace] == [
        ("9", "handler"),
        ("6", "deeper"),
    ]
    assert "[ERROR] Custom: no ü" in outcome.log
    assert "Traceback (most recent call last):" in outcome.log
    assert "Status:" not in report(outcome)


@pytest.mark.parametrize(
    ("source", "error_type", "text"),
    [
        ("def handler(event, context):\n    return object()\n", "Runtime.MarshalError", "Unable to marshal response"),
        ("def handler(event, context):\n    return {1, 2}\n", "Runtime.MarshalError", "Unable to marshal response"),
        ("def handler(event):\n    return 1\n", "TypeError", "handler() takes 1 positional argument but 2 were given"),
        ("handler = 3\n", "TypeError", "'int' object is not callable"),
        ("def handler(event, context):\n    raise StopIteration\n", "StopIteration", ""),
        ("async def handler(event, context):\n    raise LookupError('x')\n", "LookupError", "x"),
        ("def handler(event, context):\n    assert not 'true'\n", "AssertionError", ""),
        (
            "def handler(event, context):\n    raise ExceptionGroup('g', [ValueError(1)])\n",
            "ExceptionGroup",
            "g (1 sub",
        ),
    ],
)
def test_other_errors_of_the_handler(functions: FunctionSet, source: str, error_type: str, text: str) -> None:
    name = functions.create(source)
    for _ in range(2):
        outcome = functions.invoke(name)
        assert (outcome.status, outcome.error) == (200, "Unhandled")
        assert outcome.value["errorType"] == error_type
        assert outcome.value["errorMessage"].startswith(text)
        assert outcome.value["requestId"] == outcome.request_id


def test_an_error_resets_nothing(functions: FunctionSet) -> None:
    name = functions.create(
        "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    if event: raise ValueError\n    return n\n"
    )
    assert [functions.invoke(name, event).error for event in (0, 1, 1)] == [None, "Unhandled", "Unhandled"]
    assert functions.invoke(name, 0).value == 4


# --- init ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        ({"app.py": "import nowhere\n"}, "app.handler", "Runtime.ImportModuleError", "No module named 'nowhere'"),
        ({"app.py": ""}, "other.handler", "Runtime.ImportModuleError", "No module named 'other'"),
        ({"app.py": "def broken(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'app'"),
        ({"app.py": "x = 1\n"}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ({"app.py": "x = 1\n"}, "nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot'"),
        ({"app.py": "x = 1\n"}, "sys.exit", "Runtime.BuiltInModuleConflict", "Cannot use built-in module sys"),
        ({"app.py": "1 / 0\n"}, "app.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_an_init_that_is_refused(
    leak_free: FunctionSet, files: dict[str, str], handler: str, error_type: str, message: str
) -> None:
    functions = leak_free
    name = functions.create(files=files, Handler=handler)
    # Initialised anew, and refused anew, for every invocation.
    for _ in range(2):
        outcome = functions.invoke(name)
        assert (outcome.status, outcome.error) == (200, "Unhandled")
        assert outcome.value["errorType"] == error_type
        assert message in outcome.value["errorMessage"]
        assert list(outcome.value) == ["errorMessage", "errorType", "requestId", "stackTrace"]
        assert outcome.value["requestId"] == ""
    log = functions.log_lines(name)
    reports = [line for line in log if line.startswith("INIT_REPORT Init Duration: ")]
    assert len(reports) == 2
    assert all("\tPhase: init\tStatus: error\tError Type: " in line for line in reports)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit(4)\n", EXITED + "exit status 4"),
        ("import sys; sys.exit(0)\n", GONE),
        ("import os; os._exit(5)\n", EXITED + "exit status 5"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n", EXITED + "signal: killed"),
        ("import ctypes; ctypes.string_at(0)\n", EXITED + "signal: segmentation fault"),
    ],
)
def test_an_init_that_exits(leak_free: FunctionSet, source: str, message: str) -> None:
    functions = leak_free
    name = functions.create(source)
    for _ in range(2):
        outcome = functions.invoke(name)
        assert (outcome.status, outcome.error) == (200, "Unhandled")
        assert outcome.value == {
            "errorType": "Runtime.ExitError",
            "errorMessage": message.format(id=outcome.request_id),
        }
        assert report(outcome).endswith("\tStatus: error\tError Type: Runtime.ExitError")


def test_an_init_that_is_mended_works(functions: FunctionSet) -> None:
    name = functions.create("import nowhere\n")
    assert functions.invoke(name).error == "Unhandled"
    functions.update(name, "def handler(event, context):\n    return 'mended'\n")
    assert functions.invoke(name).value == "mended"


SLOW_INIT = """
import os, pathlib, tempfile, threading
tries = pathlib.Path(tempfile.gettempdir(), "tries")
tries.write_text((tries.read_text() if tries.exists() else "") + "x")
if len(tries.read_text()) == 1:
    threading.Event().wait()

def handler(event, context):
    return tries.read_text()
"""


@pytest.mark.full
def test_an_init_over_ten_seconds_is_run_again_within_the_invocation(leak_free: FunctionSet) -> None:
    functions = leak_free
    name = functions.create(SLOW_INIT, Timeout=5)
    began = time.monotonic()
    outcome = functions.invoke(name)
    assert 9.9 < time.monotonic() - began < 14
    assert (outcome.error, outcome.value) == (None, "xx")
    log = "".join(functions.log_lines(name))
    (line,) = lines_starting(log, "INIT_REPORT")
    assert re.fullmatch(r"INIT_REPORT Init Duration: 10\d{3}\.\d\d ms\tPhase: init\tStatus: timeout", line)
    assert "Init Duration" not in report(outcome)


def test_an_init_that_never_ends_is_a_timeout(functions: FunctionSet, monkeypatch: pytest.MonkeyPatch) -> None:
    from venturekit.service.environments import environment

    monkeypatch.setattr(environment, "INIT_TIMEOUT_SECONDS", 0.3)
    name = functions.create("import threading\nthreading.Event().wait()\n", Timeout=1)
    outcome = functions.invoke(name)
    assert (outcome.error, outcome.value) == (
        "Unhandled",
        {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {outcome.request_id} Error: Task timed out after 1.00 seconds",
        },
    )
    assert report(outcome).endswith("\tStatus: timeout")
    phases = re.findall(r"Phase: (\w+)\tStatus: (\w+)", "".join(functions.log_lines(name)))
    assert phases == [("init", "timeout"), ("invoke", "timeout")]
    functions.update(name, "def handler(event, context):\n    return 1\n")
    assert functions.invoke(name).value == 1


def test_globals_live_as_long_as_the_environment(functions: FunctionSet) -> None:
    source = "seen = []\ndef handler(event, context):\n    seen.append(event)\n    return seen\n"
    name = functions.create(source)
    values: list[Any] = [functions.invoke(name, number).value for number in range(3)]
    assert values == [[0], [0, 1], [0, 1, 2]]
