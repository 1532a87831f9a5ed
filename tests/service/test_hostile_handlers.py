"""Functions that do what they should not: the caller is answered, the next invocation works, nothing is left over."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import descendants, wait_gone

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet, Outcome

WORKS = "def handler(event, context):\n    return 'works'\n"


@pytest.fixture
def bystander(leak_free: FunctionSet) -> str:
    """Another function of the same service, which has to go on working."""
    name = leak_free.create(WORKS)
    assert leak_free.invoke(name).value == "works"
    return name


def run(functions: FunctionSet, bystander: str, source: str, event: Any = None, **members: Any) -> tuple[str, Outcome]:
    """Create the function, invoke it, and see that the other one still works."""
    name = functions.create(source, **{"Timeout": 10, "MemorySize": 512, **members})
    outcome = functions.invoke(name, event)
    assert outcome.status == 200
    assert functions.invoke(bystander).value == "works"
    return name, outcome


def test_prints_megabytes(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import sys
def handler(event, context):
    for _ in range(5 * 1024):
        sys.stdout.write("x" * 1023 + "\\n")
    sys.stdout.write("the end\\n")
    return "done"
"""
    name, outcome = run(leak_free, bystander, source)
    assert (outcome.error, outcome.value) == (None, "done")
    assert "the end\nEND RequestId: " in outcome.log
    assert leak_free.invoke(name).value == "done"


def test_prints_one_endless_line(leak_free: FunctionSet, bystander: str) -> None:
    source = (
        "import os\ndef handler(event, context):\n    for _ in range(80): os.write(1, b'y' * 65536)\n    return 1\n"
    )
    name, outcome = run(leak_free, bystander, source)
    assert (outcome.error, outcome.value) == (None, 1)
    assert "yEND" in outcome.log.replace("\n", "")
    assert leak_free.invoke(name).value == 1


SLEEPERS = """
import os, subprocess, sys
children = []

def handler(event, context):
    if event == "names":
        return [child.pid for child in children]
    for _ in range(30):
        children.append(subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL))
    if event == "exit":
        print(*[child.pid for child in children], flush=True)
        os._exit(1)
    if event == "wait":
        print(*[child.pid for child in children], flush=True)
        children[0].wait()
    return [child.pid for child in children]
"""


@pytest.mark.parametrize("way", ["answer", "exit", "wait"])
def test_thirty_children_in_sessions_of_their_own(leak_free: FunctionSet, bystander: str, way: str) -> None:
    name, outcome = run(leak_free, bystander, SLEEPERS, way, Timeout=2)
    if way == "answer":
        pids = outcome.value
        leak_free.client.delete_function(FunctionName=name)
    else:
        assert outcome.value["errorType"] == {"exit": "Runtime.ExitError", "wait": "Sandbox.Timedout"}[way]
        pids = [int(word) for word in outcome.log.splitlines()[1].split()]
        assert leak_free.invoke(name, "names").value == []
    assert len(pids) == 30
    wait_gone(pids, 5)


DAEMON = """
import os
def handler(event, context):
    here, there = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(there, str(os.getpid()).encode())
            import signal
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
    pid = int(os.read(here, 20))
    print(pid, flush=True)
    if event:
        os._exit(7)
    return pid
"""


@pytest.mark.parametrize("exits", [False, True])
def test_a_daemon_that_ignores_signals(leak_free: FunctionSet, bystander: str, exits: bool) -> None:
    name, outcome = run(leak_free, bystander, DAEMON, exits)
    pid = int(outcome.log.splitlines()[1])
    if not exits:
        assert pid in descendants()
        leak_free.client.delete_function(FunctionName=name)
    wait_gone([pid], 5)


def test_a_fork_bomb_within_bounds(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, signal
def handler(event, context):
    for _ in range(6):
        os.fork()
    signal.pause()
"""
    name, outcome = run(leak_free, bystander, source, Timeout=1)
    assert outcome.value["errorType"] == "Sandbox.Timedout"
    assert leak_free.invoke(name).value["errorType"] == "Sandbox.Timedout"


def test_a_fork_that_returns_from_the_handler(leak_free: FunctionSet, bystander: str) -> None:
    # Both processes answer on one connection: whatever comes of it concerns this function alone.
    source = "import os\ndef handler(event, context):\n    pid = os.fork()\n    return 'both'\n"
    name, _outcome = run(leak_free, bystander, source, Timeout=2)
    leak_free.invoke(name)
    leak_free.update(name, WORKS)
    assert leak_free.invoke(name).value == "works"
    assert leak_free.invoke(bystander).value == "works"


@pytest.mark.parametrize(
    "body",
    [
        "os.close(1)",
        "os.close(1); os.close(2); os.close(0)",
        "os.dup2(os.open('/dev/null', os.O_RDWR), 1)",
        "sys.stdout.close()",
        "os.closerange(0, 3)",
        "sys.stdout = None; sys.stderr = None",
    ],
)
def test_closes_its_output(leak_free: FunctionSet, bystander: str, body: str) -> None:
    source = f"import os, sys\ndef handler(event, context):\n    {body}\n    return 'silent'\n"
    name, outcome = run(leak_free, bystander, source, Timeout=2)
    assert outcome.value == "silent" or outcome.error == "Unhandled"
    again = leak_free.invoke(name)
    assert again.status == 200


def test_closes_every_descriptor(leak_free: FunctionSet, bystander: str) -> None:
    source = "import os\ndef handler(event, context):\n    if event: os.closerange(0, 1000)\n    return 'still here'\n"
    name, outcome = run(leak_free, bystander, source, True, Timeout=2)
    assert outcome.error == "Unhandled"
    assert outcome.value["errorType"] in {"Runtime.ExitError", "Sandbox.Timedout"}
    assert leak_free.invoke(name).value == "still here"


# A runtime finds the descriptor of the framed log in its variables; a function that looks for it finds a pipe.
GARBAGE = """
import os, stat
def handler(event, context):
    written = 0
    for fd in range(3, 64):
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            continue
        if stat.S_ISFIFO(mode):
            header = b"\\xa5\\x5a\\x00\\x03\\xff\\xff\\xff\\xff" + bytes(8)
            for data in (header, b"garbage\\n" * 1000, os.urandom(5000), b"\\xa5"):
                written += os.write(fd, data)
    print("after")
    return written
"""


def test_writes_garbage_to_the_framed_log(leak_free: FunctionSet, bystander: str) -> None:
    name, outcome = run(leak_free, bystander, GARBAGE)
    assert outcome.error is None
    assert outcome.value > 0
    log = leak_free.log_lines(name)
    assert any(line.endswith("after\n") for line in log)
    assert log.count("garbage\n") >= 999
    assert leak_free.invoke(name).error is None


def test_leaves_threads_running(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import threading
ticks = []
stop = threading.Event()
def tick():
    while not stop.wait(0.001):
        ticks.append(1)
        print("tick")
def handler(event, context):
    for _ in range(20):
        threading.Thread(target=tick, daemon=event == "daemon").start()
    return len(ticks)
"""
    name, outcome = run(leak_free, bystander, source, "daemon")
    assert outcome.error is None
    for _ in range(5):
        assert leak_free.invoke(name, "plain").error is None


def test_grows_its_environment(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os
def handler(event, context):
    for number in range(2000):
        os.environ[f"VARIABLE_{number}"] = "x" * 1000
    os.environ.pop("AWS_LAMBDA_RUNTIME_API", None)
    os.environ["_HANDLER"] = "nothing.here"
    return len(os.environ)
"""
    name, outcome = run(leak_free, bystander, source)
    assert outcome.value >= 2000
    assert leak_free.invoke(name).value >= 2000


def test_the_largest_environment_allowed_starts(leak_free: FunctionSet, bystander: str) -> None:
    source = "import os\ndef handler(event, context):\n    return len(os.environ['BIG'])\n"
    _, outcome = run(leak_free, bystander, source, Environment={"Variables": {"BIG": "x" * 4000}})
    assert outcome.value == 4000


def test_deletes_its_own_code_and_directory(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, shutil, tempfile
def handler(event, context):
    shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)
    os.chdir("/")
    return os.path.exists(tempfile.gettempdir())
"""
    name, outcome = run(leak_free, bystander, source)
    assert outcome.value is False
    assert leak_free.invoke(name).value is False
    crashing = leak_free.create(
        "import os, shutil, tempfile\ndef handler(event, context):\n    if event:\n"
        "        shutil.rmtree(tempfile.gettempdir()); os._exit(1)\n    return os.path.isdir(tempfile.gettempdir())\n"
    )
    assert leak_free.invoke(crashing, True).error == "Unhandled"
    assert leak_free.invoke(crashing, False).value is True


def test_its_working_directory_vanishes(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, tempfile
def handler(event, context):
    where = tempfile.mkdtemp()
    os.chdir(where)
    os.rmdir(where)
    if event: raise ValueError("lost")
    return "lost"
"""
    name, outcome = run(leak_free, bystander, source, False)
    assert outcome.value == "lost"
    assert leak_free.invoke(name, True).value["errorMessage"] == "lost"
    assert leak_free.invoke(name, False).value == "lost"


def test_unreadable_leftovers_are_removed_all_the_same(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, pathlib, tempfile
def handler(event, context):
    deep = pathlib.Path(tempfile.mkdtemp(), "a", "b")
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    os.symlink("/etc", deep / "link")
    os.mkfifo(deep / "pipe")
    for folder in (deep, deep.parent): folder.chmod(0)
"""
    _, outcome = run(leak_free, bystander, source)
    assert outcome.error is None
    assert os.path.isdir("/etc")


RUNTIME_API = """
import http.client, os

def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
    try:
        connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
        answer = connection.getresponse()
        return [answer.status, answer.read().decode()]
    finally:
        connection.close()

def handler(event, context):
    own = "invocation/" + context.aws_request_id
    foreign = "invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    match event:
        case "next": return call("GET", "invocation/next")
        case "foreign": return [call("POST", foreign + "/response", "1"), call("POST", foreign + "/error", "{}")]
        case "own": return call("POST", own + "/response", '"early"')
        case "own error": return call("POST", own + "/error", '{"errorType":"Early"}')
        case "init error": return call("POST", "init/error", "{}")
        case "paths":
            paths = ("", "invocation/", "../../etc/passwd", "invocation/next/x")
            return [call("GET", path)[0] for path in paths]
    return "plain"
"""


def test_asks_the_runtime_api_for_another_event(leak_free: FunctionSet, bystander: str) -> None:
    name, outcome = run(leak_free, bystander, RUNTIME_API, "next")
    assert outcome.value[0] == 403
    assert "InvalidStateTransition" in outcome.value[1]
    assert leak_free.invoke(name, "foreign").value == [
        [400, '{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'],
        [400, '{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}'],
    ]
    assert leak_free.invoke(name, "init error").value[0] == 403
    assert leak_free.invoke(name, "paths").value == [404] * 4
    assert leak_free.invoke(name).value == "plain"


@pytest.mark.parametrize(("event", "error"), [("own", None), ("own error", "Unhandled")])
def test_answers_for_its_runtime(leak_free: FunctionSet, bystander: str, event: str, error: str | None) -> None:
    name, outcome = run(leak_free, bystander, RUNTIME_API, event)
    assert (outcome.error, outcome.raw) == (error, b'"early"' if error is None else b'{"errorType":"Early"}')
    # What the runtime itself then posts is a second answer: refused, without harm to later invocations.
    for _ in range(3):
        assert leak_free.invoke(name).value == "plain"


NEIGHBOUR = """
import http.client, os
def handler(event, context):
    if event is None:
        return os.environ["AWS_LAMBDA_RUNTIME_API"]
    connection = http.client.HTTPConnection(event["api"], timeout=5)
    connection.request(event["method"], event["path"], "1" if event["method"] == "POST" else None)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]
"""


def test_an_answer_in_a_neighbours_name_needs_its_request_id(leak_free: FunctionSet) -> None:
    functions = leak_free
    victim, attacker = functions.create(NEIGHBOUR), functions.create(NEIGHBOUR)
    api = functions.invoke(victim, raw=b"null").value
    path = "/2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response"
    assert functions.invoke(attacker, {"api": api, "method": "POST", "path": path}).value[0] == 400
    assert functions.invoke(victim, raw=b"null").value == api


def test_stops_itself_and_its_children(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, signal, subprocess
def handler(event, context):
    if not event: return "awake"
    child = subprocess.Popen(["sleep", "600"])
    child.send_signal(signal.SIGSTOP)
    os.kill(0, signal.SIGSTOP) if event == "group" else os.kill(os.getpid(), signal.SIGSTOP)
"""
    name, outcome = run(leak_free, bystander, source, "self", Timeout=1)
    assert outcome.value["errorType"] == "Sandbox.Timedout"
    assert leak_free.invoke(name, "group").value["errorType"] == "Sandbox.Timedout"
    assert leak_free.invoke(name, "").value == "awake"


def test_kills_everything_it_may_in_its_session(leak_free: FunctionSet, bystander: str) -> None:
    source = (
        "import os, signal\ndef handler(event, context):\n    if event: os.killpg(0, signal.SIGKILL)\n    return 1\n"
    )
    name, outcome = run(leak_free, bystander, source, True)
    assert outcome.value["errorType"] == "Runtime.ExitError"
    assert leak_free.invoke(name, False).value == 1


def test_kills_its_parent(leak_free: FunctionSet, bystander: str) -> None:
    # The launcher is the parent of all: its end is an end of these invocations, not of the service.
    source = """
import os, signal
def handler(event, context):
    if event:
        os.kill(os.getppid(), 9)
        signal.pause()
    return 1
"""
    name = leak_free.create(source, Timeout=10)
    began = time.monotonic()
    outcome = leak_free.invoke(name, True)
    assert time.monotonic() - began < 5
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert leak_free.invoke(name, False).value == 1
    assert leak_free.invoke(bystander).value == "works"


@pytest.mark.parametrize(
    "result",
    [
        "float('nan')",
        "'\\ud800'",
        "{1: 2}",
        "['x'] * 100000",
        "b'raw bytes'",
        "__import__('functools').reduce(lambda inner, _: [inner], range(900), 1)",
        "type('D', (dict,), {'__len__': lambda self: 1 / 0})(a=1)",
    ],
)
def test_odd_results(leak_free: FunctionSet, bystander: str, result: str) -> None:
    name, outcome = run(leak_free, bystander, f"def handler(event, context):\n    return {result}\n")
    assert outcome.error in (None, "Unhandled")
    assert leak_free.invoke(name).raw == outcome.raw or outcome.error


def test_replaces_what_it_finds(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import builtins, json, os, signal, socket, sys, time
def handler(event, context):
    if event:
        json.dumps = json.loads = None
        time.time = time.monotonic = lambda: 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.setrecursionlimit(60)
        sys.settrace(None)
        socket.socket = None
    return "done"
"""
    name, _ = run(leak_free, bystander, source, True, Timeout=2)
    outcome = leak_free.invoke(name, False)
    assert outcome.status == 200
    leak_free.update(name, WORKS)
    assert leak_free.invoke(name).value == "works"


def test_hundred_crashes_in_a_row(leak_free: FunctionSet, bystander: str) -> None:
    source = "import os\ndef handler(event, context):\n    os.kill(os.getpid(), 9)\n"
    name = leak_free.create(source)
    for _ in range(100):
        assert leak_free.invoke(name, LogType="None").value["errorType"] == "Runtime.ExitError"
    assert leak_free.invoke(bystander).value == "works"


def test_opens_connections_to_its_runtime_api_without_end(leak_free: FunctionSet, bystander: str) -> None:
    source = """
import os, socket
kept = []
def handler(event, context):
    host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
    for _ in range(300):
        kept.append(socket.create_connection((host, int(port)), timeout=5))
    refused = 0
    for one in kept:
        one.settimeout(0.01)
        try:
            refused += one.recv(1) == b""
        except TimeoutError:
            pass
        except ConnectionResetError:
            refused += 1
    return refused
"""
    name, outcome = run(leak_free, bystander, source)
    assert outcome.error is None
    assert 300 - 128 <= outcome.value < 300
    assert leak_free.invoke(name, None).status == 200
