"""Real extensions: from layers, in bash and in Python, and threads of functions."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.extension_programs import BASH, python_extension
from tests.service.harness import RunningService, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet

ECHO = "def handler(event, context):\n    print('running')\n    return event\n"
# Registers while its module is imported, and keeps asking in a thread.
INTERNAL = """
import http.client, json, os, threading
ADDRESS = os.environ["AWS_LAMBDA_RUNTIME_API"]
SEEN, STATUSES = [], []

def call(method, path, headers, body=None):
    connection = http.client.HTTPConnection(ADDRESS)
    connection.request(method, "/2020-01-01/extension" + path, body, headers)
    answer = connection.getresponse()
    data = json.loads(answer.read())
    connection.close()
    STATUSES.append(answer.status)
    return answer.headers, data

def register(name):
    return call("POST", "/register", {"Lambda-Extension-Name": name}, '{"events":["INVOKE"]}')

def ask(identifier):
    while True:
        SEEN.append(call("GET", "/event/next", {"Lambda-Extension-Identifier": identifier})[1])

headers, _ = register("internal")
threading.Thread(target=ask, args=(headers["Lambda-Extension-Identifier"],), daemon=True).start()

def handler(event, context):
    if event.get("late"):
        return register("late")[1]["errorType"]
    while not any(seen["requestId"] == context.aws_request_id for seen in SEEN):
        pass
    return [seen["eventType"] for seen in SEEN]
"""


def layer_of(functions: FunctionSet, *, mode: int = 0o755, **programs: str | bytes) -> str:
    """Publish a layer with extensions; its version's ARN."""
    files = {f"extensions/{name}": source for name, source in programs.items()}
    content = {"ZipFile": zip_of({**files, "extensions/readme.txt": "no program"}, dict.fromkeys(files, mode))}
    published = functions.client.publish_layer_version(LayerName="-".join(["with", *programs])[:60], Content=content)
    return str(published["LayerVersionArn"])


def error_type(functions: FunctionSet, name: str) -> tuple[str, str]:
    outcome = functions.invoke(name)
    assert outcome.error == "Unhandled"
    return outcome.value["errorType"], outcome.value["errorMessage"].partition(" Error: ")[2]


def wait_logged(functions: FunctionSet, name: str, text: str) -> str:
    """Wait until the log of a function has this text; all of the log then."""
    return str(until(lambda: (log := "".join(functions.log_lines(name))) and text in log and log, text))


def test_extensions_in_bash_and_python(leak_free: FunctionSet) -> None:
    python = python_extension('register("INVOKE", "SHUTDOWN")\nsay("runs")\nuntil_shutdown()\n')
    layers = [layer_of(leak_free, spy=BASH), layer_of(leak_free, watcher=python)]
    name = leak_free.create(ECHO, Layers=layers, MemorySize=256)
    for number in range(3):
        outcome = leak_free.invoke(name, {"n": number})
        assert (outcome.error, outcome.value) == (None, {"n": number})
    log = wait_logged(leak_free, name, "watcher runs")
    assert log.count("INIT_START") == 1
    assert " in / with no handler\n" in log
    assert "EXTENSION\tName: spy\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in log
    assert log.index("EXTENSION\tName: watcher\t") < log.index("START RequestId")
    for extension in ("spy", "watcher"):
        got = wait_logged(leak_free, name, outcome.request_id).split(f"{extension} got ")[1:]
        assert [json.loads(line.partition("\n")[0])["eventType"] for line in got][:2] == ["INVOKE", "INVOKE"]
    leak_free.client.delete_function(FunctionName=name)
    leak_free.names.remove(name)


def test_a_later_layer_replaces_an_extension_of_the_same_name(functions: FunctionSet) -> None:
    first = layer_of(functions, same=python_extension('say("first")\nregister()\nuntil_shutdown()\n'))
    later = python_extension('say("second")\nregister()\nuntil_shutdown()\n')
    second = layer_of(functions, same=later, another=later)
    name = functions.create(ECHO, Layers=[first, second])
    functions.invoke(name)
    log = wait_logged(functions, name, "same second")
    assert "same first" not in log


def test_files_that_are_not_executable_are_no_extensions(functions: FunctionSet) -> None:
    name = functions.create(ECHO, Layers=[layer_of(functions, mode=0o644, spy=BASH)])
    assert functions.invoke(name, {"a": 1}).value == {"a": 1}
    assert "spy" not in "".join(functions.log_lines(name))


def test_an_internal_extension(leak_free: FunctionSet) -> None:
    name = leak_free.create(INTERNAL)
    assert leak_free.invoke(name).value == ["INVOKE"]
    assert leak_free.invoke(name).value == ["INVOKE", "INVOKE"]
    assert leak_free.invoke(name, {"late": True}).value == "Extension.RegistrationClosed"
    assert "EXTENSION\tName: internal\tState: Ready\tEvents: [INVOKE]\n" in "".join(leak_free.log_lines(name))


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (b"\x7fELF no program", ("Extension.LaunchError", "fork/exec /opt/extensions/bad: exec format error")),
        ("#!/no/such/shell\n", ("Extension.LaunchError", "fork/exec /opt/extensions/bad: no such file or directory")),
        ("#!/bin/sh\nexit 7\n", ("Extension.Crash", "exit status 7")),
        ("#!/bin/sh\nkill -9 $$\n", ("Extension.Crash", "signal: killed")),
        (
            python_extension('register("INVOKE")\nreport("/init/error", "Extension.Bad")\nsys.exit(1)\n'),
            ("Extension.InitError", "the extension bad reported Extension.Bad"),
        ),
    ],
)
def test_extensions_that_do_not_get_ready(
    leak_free: FunctionSet, program: str | bytes, expected: tuple[str, str]
) -> None:
    name = leak_free.create(ECHO, Layers=[layer_of(leak_free, bad=program, spy=BASH)])
    assert error_type(leak_free, name) == expected
    assert error_type(leak_free, name) == expected
    assert "EXTENSION\tName: bad\tState: " in "".join(leak_free.log_lines(name))


def test_an_extension_that_crashes_in_an_invocation(leak_free: FunctionSet) -> None:
    crash = python_extension('register("INVOKE")\nnext_event()\nos._exit(2)\n')
    source = "import time\ndef handler(event, context): time.sleep(10)\n"
    name = leak_free.create(source, Timeout=9, Layers=[layer_of(leak_free, crash=crash)])
    for _ in range(2):
        assert error_type(leak_free, name) == ("Extension.Crash", "exit status 2")


def test_more_than_ten_extensions(functions: FunctionSet) -> None:
    program = python_extension('status, body = register("INVOKE")\nif status != 200: say(body["errorType"])\n'
                               'sys.exit(3) if status != 200 else next_event()\n')  # fmt: skip
    names = [f"number-{number}" for number in range(11)]
    name = functions.create(ECHO, MemorySize=1024, Layers=[layer_of(functions, **dict.fromkeys(names, program))])
    assert error_type(functions, name) == ("Extension.Crash", "exit status 3")
    wait_logged(functions, name, "Extension.TooManyExtensions")


def test_a_timeout_is_told_and_what_hangs_is_killed(leak_free: FunctionSet) -> None:
    polite = python_extension('register("INVOKE", "SHUTDOWN")\nuntil_shutdown()\n')
    # Ignores what it is asked, and leaves a process that has gone out of its session.
    hangs = python_extension(
        'register("SHUTDOWN")\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n'
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(600)\nnext_event()\nnext_event()\n"
    )
    source = "import time\ndef handler(event, context): return time.sleep(event.get('seconds', 0))\n"
    name = leak_free.create(source, Timeout=1, Layers=[layer_of(leak_free, polite=polite, hangs=hangs)])
    outcome = leak_free.invoke(name, {"seconds": 30})
    assert outcome.value["errorType"] == "Sandbox.Timedout"
    begun = time.monotonic()
    # Waits until the reset is over: the two seconds of the extension that hangs.
    assert leak_free.invoke(name).error is None
    assert 1.5 < time.monotonic() - begun < 10
    assert "polite ends by timeout" in "".join(leak_free.log_lines(name))


def test_a_service_that_ends_tells_extensions(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    running = start_service()
    functions = running.functions()
    told = tmp_path / "told"
    script = f'register("SHUTDOWN")\nevent = next_event()\nopen({str(told)!r}, "w").write(event["shutdownReason"])\n'
    name = functions.create(ECHO, Layers=[layer_of(functions, teller=python_extension(script))])
    functions.invoke(name)
    running.close()
    assert told.read_text() == "spindown"


def test_an_extension_counts_towards_the_memory_of_its_function(functions: FunctionSet) -> None:
    greedy = python_extension('register("INVOKE")\nnext_event()\ntaken = b"x" * 200_000_000\nnext_event()\n')
    source = "import time\ndef handler(event, context): time.sleep(20)\n"
    name = functions.create(source, Timeout=15, Layers=[layer_of(functions, greedy=greedy)])
    outcome = functions.invoke(name)
    assert outcome.value["errorType"] in ("Runtime.OutOfMemory", "Runtime.ExitError")
    assert "Max Memory Used: 128 MB" in "".join(functions.log_lines(name))


@pytest.fixture(scope="module")
def isolated_folder() -> Iterator[Path]:
    """A folder that does not lie in /tmp, which confined functions may use."""
    with tempfile.TemporaryDirectory(prefix="venturekit-", dir="/var/tmp") as folder:
        yield Path(folder)


RECEIVING = """
import http.client, json, os, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
ADDRESS = os.environ["AWS_LAMBDA_RUNTIME_API"]
TAKEN, CAME = [], threading.Event()

class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        TAKEN.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        if any(event["type"] == "platform.start" for event in TAKEN):
            CAME.set()

def call(method, path, headers, body=None):
    connection = http.client.HTTPConnection(ADDRESS)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.headers

server = HTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
PREFIX = "/2020-01-01/extension"
IDENTIFIER = "Lambda-Extension-Identifier"
headers = {IDENTIFIER: call("POST", PREFIX + "/register", {"Lambda-Extension-Name": "own"}, "{}")[IDENTIFIER]}
subscription = {"schemaVersion": "2022-12-13", "types": ["platform"], "buffering": {"timeoutMs": 25},
                "destination": {"protocol": "HTTP", "URI": "http://sandbox:%d" % server.server_port}}
call("PUT", "/2022-07-01/telemetry", headers, json.dumps(subscription))
threading.Thread(target=call, args=("GET", PREFIX + "/event/next", headers), daemon=True).start()

def handler(event, context):
    assert CAME.wait(5), TAKEN
    return [event["type"] for event in TAKEN]
"""


@pytest.mark.parametrize("level", ["confined", "namespace"])
def test_isolated_extensions(start_service: Callable[..., RunningService], isolated_folder: Path, level: str) -> None:
    running = start_service(isolated_folder / level, isolation=level)
    functions = running.functions()
    spying = BASH.replace("echo ", 'touch /usr/new 2> /dev/null && echo "wrote to /usr"\necho "$0 ', 1).replace(
        '"$NAME registered', "$NAME registered"
    )
    name = functions.create(RECEIVING, Layers=[layer_of(functions, spy=spying)], Timeout=9)
    outcome = functions.invoke(name)
    assert outcome.error is None, outcome.value
    assert outcome.value[0] == "platform.initStart"
    log = "".join(functions.log_lines(name))
    assert "wrote to /usr" not in log
    shown = "/opt/extensions/spy spy registered" if level == "namespace" else "/extensions/spy spy registered"
    assert shown in log
    functions.delete_all()
    until(lambda: not list(running.data_dir.glob("environments/*")), "scratch folders are removed")
