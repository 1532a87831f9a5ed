"""Runtimes that come with the archive: in bash, as seed 004 shows them, and in the manner of Go; and bad ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import lines_starting

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

# The pieces of the Runtime API guide's examples, with their line breaks restored and the pending request's id.
BASH = r"""#!/bin/bash
set -u
if [ -n "${FAIL_INIT:-}" ]; then
  ERROR="{\"errorMessage\" : \"Failed to load function.\", \"errorType\" : \"InvalidFunctionException\"}"
  curl -sS -X POST "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/init/error" -d "$ERROR"
  exit 1
fi
while true; do
  HEADERS="$(mktemp)"
  EVENT=$(curl -sS -LD "$HEADERS" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  REQUEST_ID=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$HEADERS" | tr -d '[:space:]' | cut -d: -f2)
  echo "handling $EVENT"
  case "$EVENT" in
  '"success"')
    curl -sS -X POST "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" -d "SUCCESS"
    ;;
  '"error"')
    ERROR="{\"errorMessage\" : \"Error parsing event data.\", \"errorType\" : \"InvalidEventDataException\"}"
    curl -sS -X POST "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/error" -d "$ERROR" ;;
  '"headers"')
    DEADLINE=$(grep -i '^lambda-runtime-deadline-ms: ' "$HEADERS" | tr -dc 0-9)
    ARN=$(grep -i '^lambda-runtime-invoked-function-arn: ' "$HEADERS" | tr -d '[:space:]' | cut -d: -f2-)
    TRACE=$(grep -i '^lambda-runtime-trace-id: ' "$HEADERS" | tr -d '[:space:]' | cut -d: -f2-)
    EXECUTION_ENV=${AWS_EXECUTION_ENV:-none}
    TYPE=$(grep -i '^content-type: ' "$HEADERS" | tr -d '[:space:]' | cut -d: -f2-)
    curl -sS -X POST "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$REQUEST_ID/response" \
      -d "[\"$REQUEST_ID\",$DEADLINE,\"$ARN\",\"$TRACE\",\"$TYPE\",\"$PWD\",\"$_HANDLER\",\"$EXECUTION_ENV\"]"
    ;;
  '"never"') sleep 600 ;;
  '"exit"') exit 3 ;;
  esac
done
"""


@pytest.fixture
def bash(functions: FunctionSet) -> str:
    return functions.bootstrap(BASH, Timeout=10)


def test_a_response_that_is_no_json_passes_through(functions: FunctionSet, bash: str) -> None:
    outcome = functions.invoke(bash, "success")
    assert (outcome.status, outcome.error, outcome.raw) == (200, None, b"SUCCESS")
    assert 'handling "success"\n' in outcome.log
    # What curl printed is the Runtime API's own answer.
    again = functions.invoke(bash, "success")
    assert '{"status":"OK"}' in "".join(functions.log_lines(bash))
    assert again.raw == b"SUCCESS"


def test_an_error_arrives_as_it_was_posted(functions: FunctionSet, bash: str) -> None:
    outcome = functions.invoke(bash, "error")
    assert (outcome.status, outcome.error) == (200, "Unhandled")
    posted = b'{"errorMessage" : "Error parsing event data.", "errorType" : "InvalidEventDataException"}'
    assert outcome.raw == posted
    assert functions.invoke(bash, "success").raw == b"SUCCESS"


def test_an_init_error_arrives_as_it_was_posted(functions: FunctionSet) -> None:
    name = functions.bootstrap(BASH, Timeout=10, Environment={"Variables": {"FAIL_INIT": "1"}})
    for _ in range(2):
        outcome = functions.invoke(name, "success")
        assert outcome.error == "Unhandled"
        posted = b'{"errorMessage" : "Failed to load function.", "errorType" : "InvalidFunctionException"}'
        assert outcome.raw == posted


def test_the_headers_of_an_event(functions: FunctionSet, bash: str) -> None:
    trace = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    answer = functions.post(bash, b'"headers"', X_Amzn_Trace_Id=trace)
    request_id, deadline, arn, traced, content_type, directory, handler, execution_env = answer.json
    assert request_id == answer.headers["x-amzn-RequestId"]
    assert deadline > 1_700_000_000_000
    assert arn == f"arn:aws:lambda:us-east-1:000000000000:function:{bash}"
    assert traced.startswith(f"{trace};Lineage=1:")
    assert (content_type, handler) == ("application/json", "any")
    assert execution_env == "none"
    assert directory.startswith("/")


def test_it_exits_and_it_hangs(leak_free: FunctionSet) -> None:
    functions = leak_free
    name = functions.bootstrap(BASH, Timeout=2)
    outcome = functions.invoke(name, "exit")
    assert outcome.value == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {outcome.request_id} Error: Runtime exited with error: exit status 3",
    }
    assert functions.invoke(name, "never").value["errorType"] == "Sandbox.Timedout"
    assert functions.invoke(name, "success").raw == b"SUCCESS"


@pytest.mark.parametrize("runtime", ["provided", "provided.al2", "provided.al2023"])
def test_every_provided_runtime(functions: FunctionSet, runtime: str) -> None:
    name = functions.bootstrap(BASH, Timeout=10, Runtime=runtime)
    assert functions.invoke(name, "success").raw == b"SUCCESS"
    assert f"INIT_START Runtime Version: {runtime.replace('.', ':')}" in functions.log_lines(name)[0]


# --- what cannot be started ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "modes", "error_type", "message"),
    [
        (
            {"other": "x"},
            {},
            "Runtime.InvalidEntrypoint",
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        ),
        (
            {"bootstrap/file": "x"},
            {},
            "Runtime.InvalidEntrypoint",
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        ),
        (
            {"bootstrap": BASH},
            {"bootstrap": 0o644},
            "Runtime.InvalidEntrypoint",
            "fork/exec /var/task/bootstrap: permission denied",
        ),
        (
            {"bootstrap": "#!/no/such/interpreter\n"},
            {},
            "Runtime.InvalidEntrypoint",
            "fork/exec /var/task/bootstrap: no such file or directory",
        ),
        (
            {"bootstrap": "echo no shebang\n"},
            {},
            "Runtime.InvalidEntrypoint",
            "fork/exec /var/task/bootstrap: exec format error",
        ),
        (
            {"bootstrap": b"\x7fELF\x02\x01\x01" + bytes(57)},
            {},
            "Runtime.InvalidEntrypoint",
            "fork/exec /var/task/bootstrap: exec format error",
        ),
        ({"bootstrap": ""}, {}, "Runtime.InvalidEntrypoint", "fork/exec /var/task/bootstrap: exec format error"),
    ],
)
def test_there_is_nothing_to_start(
    leak_free: FunctionSet, files: dict[str, str], modes: dict[str, int], error_type: str, message: str
) -> None:
    functions = leak_free
    name = functions.create(files=files, modes=modes, Runtime="provided.al2023", Handler="any")
    for _ in range(2):
        outcome = functions.invoke(name)
        assert (outcome.status, outcome.error) == (200, "Unhandled")
        assert outcome.value == {
            "errorType": error_type,
            "errorMessage": f"RequestId: {outcome.request_id} Error: {message}",
        }
        assert len(lines_starting(outcome.log, "REPORT ")) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("#!/bin/sh\nexit 0\n", "Runtime exited without providing a reason"),
        ("#!/bin/sh\nexit 1\n", "Runtime exited with error: exit status 1"),
        ("#!/bin/sh\nkill -9 $$\n", "Runtime exited with error: signal: killed"),
        ("#!/bin/sh\nexec /nowhere\n", "Runtime exited with error: exit status 127"),
        ("#!/bin/false\n", "Runtime exited with error: exit status 1"),
    ],
)
def test_it_ends_before_it_asks_for_an_event(leak_free: FunctionSet, source: str, message: str) -> None:
    name = leak_free.bootstrap(source)
    for _ in range(2):
        outcome = leak_free.invoke(name)
        assert outcome.value == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {outcome.request_id} Error: {message}",
        }


# --- a runtime by hand ---------------------------------------------------------------------------------------------

# Reads an event and answers as the event says, over one raw connection.
RAW = f"""#!{sys.executable}
import base64, json, os, socket, sys

host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
PREFIX = "/2018-06-01/runtime/invocation/"

def connect():
    connection = socket.create_connection((host, int(port)))
    return connection, connection.makefile("rb")

def send(connection, method, path, headers=(), body=b""):
    head = [f"{{method}} {{path}} HTTP/1.1", f"Host: {{host}}:{{port}}", *headers]
    connection.sendall("\\r\\n".join(head).encode() + b"\\r\\n\\r\\n" + body)

def receive(stream):
    status = int(stream.readline().split()[1])
    headers = {{}}
    while (line := stream.readline()) not in (b"\\r\\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, stream.read(int(headers.get("content-length", 0)))

def post(connection, stream, path, body, *headers):
    send(connection, "POST", path, [f"Content-Length: {{len(body)}}", *headers], body)
    return receive(stream)

def chunked(body, size):
    pieces = [body[at:at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\\r\\n%b\\r\\n" % (len(piece), piece) for piece in pieces) + b"0\\r\\n"

ERROR = "Lambda-Runtime-Function-Error-"
MODE = "Lambda-Runtime-Function-Response-Mode: "
TRAILERS = ["Transfer-Encoding: chunked", f"Trailer: {{ERROR}}Type", f"Trailer: {{ERROR}}Body"]
connection, stream = connect()
last = ""
notes = []
asked = False
while True:
    if not asked:
        send(connection, "GET", PREFIX + "next")
    asked = False
    status, headers, body = receive(stream)
    assert status == 200, (status, body)
    event = json.loads(body)
    request_id = headers["lambda-runtime-aws-request-id"]
    own = PREFIX + request_id
    exec(PROGRAM)
    last = request_id
"""

PROGRAMS = {
    "as Go": """
body = chunked(json.dumps(event).encode(), 7) + b"\\r\\n"
send(connection, "POST", own + "/response", [*TRAILERS, "Content-Type: application/octet-stream"], body)
assert receive(stream)[0] == 202
""",
    "as Go, an error": """
body = json.dumps({"errorMessage": "go " + event, "errorType": "errorString"}).encode()
fields = [ERROR + "Type: errorString", "Lambda-Runtime-Function-XRay-Error-Cause: " + "x" * 900_000]
send(connection, "POST", own + "/error", [*TRAILERS, *fields], chunked(body, 1000) + b"\\r\\n")
assert receive(stream)[0] == 202
""",
    "streams": """
assert event
send(connection, "POST", own + "/response", [*TRAILERS, MODE + "streaming", "Content-Type: text/plain"])
for piece in (b'["a",', b'"b"]'):
    connection.sendall(b"%x\\r\\n%b\\r\\n" % (len(piece), piece))
connection.sendall(b"0\\r\\n\\r\\n")
assert receive(stream)[0] == 202
""",
    "fails in the middle": """
send(connection, "POST", own + "/response", [*TRAILERS, MODE + "streaming"], chunked(b"partial", 3))
error = base64.b64encode(b'{"errorType":"Late","errorMessage":"too late"}')
connection.sendall(f"{ERROR}Type: Late\\r\\n{ERROR}Body: {error.decode()}\\r\\n\\r\\n".encode())
assert receive(stream)[0] == 202
""",
    "unknown mode": """
answer = post(connection, stream, own + "/response", b"1", "Lambda-Runtime-Function-Response-Mode: sideways")
assert answer[0] == 400 and b"InvalidFunctionResponseMode" in answer[2], answer
""",
    "answers twice": """
assert post(connection, stream, own + "/response", b'"first"')[0] == 202
answer = post(connection, stream, own + "/response", b'"second"')
assert answer[0] == 400 and b"InvalidRequestID" in answer[2], answer
answer = post(connection, stream, own + "/error", b"{}")
assert answer[0] == 400, answer
""",
    "answers late": """
if last:
    answer = post(connection, stream, PREFIX + last + "/response", b'"stale"')
    assert answer[0] == 400, answer
assert post(connection, stream, own + "/response", json.dumps(event).encode())[0] == 202
""",
    "wrong ids": """
for wrong in ("x", "", "%00", own.rpartition("/")[2].upper() + "0", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"):
    answer = post(connection, stream, PREFIX + wrong + "/response", b'"wrong"')
    assert answer[0] in (400, 404), answer
assert post(connection, stream, own + "/response", b'"right"')[0] == 202
""",
    "asks twice": """
other, answers = connect()
send(other, "GET", PREFIX + "next")
status, _, text = receive(answers)
assert status == 403 and b"InvalidStateTransition" in text, (status, text)
other.close()
assert post(connection, stream, own + "/response", b'"asked"')[0] == 202
""",
    "a connection each time": """
connection.close()
connection, stream = connect()
assert post(connection, stream, own + "/response", json.dumps(event).encode())[0] == 202
connection.close()
connection, stream = connect()
""",
    "answers and asks in one write": """
body = json.dumps(event).encode()
head = f"POST {own}/response HTTP/1.1\\r\\nHost: {host}:{port}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode()
following = f"GET {PREFIX}next HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n\\r\\n".encode()
connection.sendall(head + body + following)
asked = True
assert receive(stream)[0] == 202
""",
    "says nothing of its length": """
post(connection, stream, own + "/response", b"")
""",
    "no content type": """
assert post(connection, stream, own + "/response", b"plain text, \\xff bytes")[0] == 202
""",
    "error cause": """
body = json.dumps({"errorMessage": "m", "errorType": "T", "errorCause": {"secret": 1}}).encode()
kind = "Content-Type: application/vnd.aws.lambda.error.cause+json"
assert post(connection, stream, own + "/error", body, kind)[0] == 202
""",
}
EXPECTED: dict[str, tuple[str | None, bytes]] = {
    "as Go": (None, b'"event"'),
    "as Go, an error": ("Unhandled", b'{"errorMessage": "go event", "errorType": "errorString"}'),
    "streams": (None, b'["a","b"]'),
    "fails in the middle": ("Unhandled", b'{"errorType":"Late","errorMessage":"too late"}'),
    "answers twice": (None, b'"first"'),
    "answers late": (None, b'"event"'),
    "wrong ids": (None, b'"right"'),
    "asks twice": (None, b'"asked"'),
    "a connection each time": (None, b'"event"'),
    "answers and asks in one write": (None, b'"event"'),
    "says nothing of its length": (None, b""),
    "no content type": (None, b"plain text, \xff bytes"),
    "error cause": ("Unhandled", b'{"errorMessage":"m","errorType":"T"}'),
}


def raw_runtime(functions: FunctionSet, program: str, **members: object) -> str:
    source = RAW.replace("exec(PROGRAM)", "exec(" + repr(program) + ")")
    return functions.bootstrap(source, **{"Timeout": 10, **members})


@pytest.mark.parametrize("behaviour", EXPECTED)
def test_runtimes_by_hand(leak_free: FunctionSet, behaviour: str) -> None:
    name = raw_runtime(leak_free, PROGRAMS[behaviour])
    for _ in range(3):
        outcome = leak_free.invoke(name, "event")
        assert (outcome.error, outcome.raw) == EXPECTED[behaviour], outcome.log
    log = "".join(leak_free.log_lines(name))
    assert "Traceback" not in log, log
    assert log.count("INIT_START") == 1


def test_an_unknown_response_mode_fails_the_invocation(leak_free: FunctionSet) -> None:
    name = raw_runtime(leak_free, PROGRAMS["unknown mode"])
    for _ in range(2):
        outcome = leak_free.invoke(name, "event")
        assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.InvalidResponseModeHeader")
    assert "Traceback" not in "".join(leak_free.log_lines(name))


@pytest.mark.parametrize("event", ["closed", "half closed"])
@pytest.mark.parametrize("length", [100, 1_000_000])
def test_a_truncated_response_is_an_error(functions: FunctionSet, event: str, length: int) -> None:
    program = """
if event == "whole":
    post(connection, stream, own + "/response", b'"whole"')
else:
    send(connection, "POST", own + "/response", ["Content-Length: LENGTH"], b'"half')
    if event == "half closed":
        connection.shutdown(socket.SHUT_WR)
        stream.read()
    stream.close()
    connection.close()
    connection, stream = connect()
"""
    name = raw_runtime(functions, program.replace("LENGTH", str(length)))
    outcome = functions.invoke(name, event)
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "Runtime.TruncatedResponse")
    assert functions.invoke(name, "whole").raw == b'"whole"'


@pytest.mark.parametrize("event", ["silent", "half"])
def test_a_runtime_that_never_answers(leak_free: FunctionSet, event: str) -> None:
    program = """
if event == "silent":
    import signal; signal.pause()
elif event == "half":
    send(connection, "POST", own + "/response", ["Content-Length: 100"], b'"half')
    import signal; signal.pause()
post(connection, stream, own + "/response", b'"answered"')
"""
    name = raw_runtime(leak_free, program, Timeout=1)
    outcome = leak_free.invoke(name, event)
    assert outcome.value["errorType"] == "Sandbox.Timedout"
    assert leak_free.invoke(name, "fine").raw == b'"answered"'


def test_a_runtime_that_never_comes_back(leak_free: FunctionSet) -> None:
    # It answers, and never asks again: the caller has its answer, the next one gets another environment.
    program = """
post(connection, stream, own + "/response", json.dumps(os.getpid()).encode())
import signal; signal.pause()
"""
    name = raw_runtime(leak_free, program, Timeout=2)
    first = leak_free.invoke(name, "x").value
    assert leak_free.invoke(name, "x").value != first


def test_large_answers_by_chunks(leak_free: FunctionSet) -> None:
    program = """
size = int(event)
send(connection, "POST", own + "/response", TRAILERS, chunked(b"y" * size, 65536) + b"\\r\\n")
notes.append(receive(stream)[0])
if notes[-1] == 413:
    connection.close()
    connection, stream = connect()
"""
    name = raw_runtime(leak_free, program)
    assert len(leak_free.invoke(name, 6_291_556).raw) == 6_291_556
    assert leak_free.invoke(name, 6_291_557).value["errorType"] == "Function.ResponseSizeTooLarge"
    assert leak_free.invoke(name, 10).raw == b"y" * 10


GARBAGE = [
    b"\x00\x01\x02\x03",
    b"GET\r\n\r\n",
    b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"GET /2018-06-01/runtime/invocation/next HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 1_200_000,
]


def test_a_runtime_that_sends_garbage(leak_free: FunctionSet) -> None:
    program = f"""
for garbage in {GARBAGE!r}:
    other, answers = connect()
    try:
        other.sendall(garbage)
        other.shutdown(socket.SHUT_WR)
        answers.read()
    except OSError:
        pass
    other.close()
post(connection, stream, own + "/response", b'"still here"')
"""
    name = raw_runtime(leak_free, program)
    for _ in range(2):
        assert leak_free.invoke(name, "x").raw == b'"still here"'


def test_two_hundred_events_in_order(leak_free: FunctionSet) -> None:
    name = raw_runtime(leak_free, PROGRAMS["as Go"])
    for number in range(200):
        assert json.loads(leak_free.invoke(name, number, LogType="None").raw) == number
