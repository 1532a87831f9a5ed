"""Python functions that stream, and fail: before the first piece, behind it, and by breaking the writer's rules."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until, wait_gone
from tests.service.streaming_support import Streams
from venturekit.service.environments import response_body
from venturekit.service.wire import deadlines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet, RunningService

MEBIBYTE = 1024 * 1024


@pytest.fixture
def streams(leak_free: FunctionSet) -> Iterator[Streams]:
    made = Streams(leak_free)
    yield made
    made.close()


def failure(complete: Any) -> tuple[str, str]:
    """Type and message of the error that ended a stream."""
    details = json.loads(complete["ErrorDetails"])
    assert list(details) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    return details["errorType"], details["errorMessage"]


# --- failures ---------------------------------------------------------------------------------------------------------

WRONG_TYPE = "Unable to marshal response: a handler that streams yields bytes, bytearray, memoryview and str, not "
SURROGATE = "'utf-8' codec can't encode character '\\ud800' in position 0: surrogates not allowed"
STUBBORN = "def handler(e, c):\n while True:\n  try:\n   yield 1\n  except GeneratorExit: pass"
FINALLY = "def handler(e, c):\n try:\n  yield 'x'\n finally:\n  raise ValueError('f')"
CANCELLED = "async def handler(e, c):\n yield 'x'\n raise asyncio.CancelledError('enough')"
FAILURES = {
    "at once": ("def handler(e, c):\n raise ValueError('early')\n yield", b"", "ValueError", "early"),
    "later": ("def handler(e, c):\n yield 'x'\n raise ValueError('late')", b"x", "ValueError", "late"),
    "asynchronous": ("async def handler(e, c):\n yield 'x'\n raise KeyError('late')", b"x", "KeyError", "'late'"),
    "a writer": ("def handler(e, c):\n c.response_stream.write('x')\n raise OSError('no')", b"x", "OSError", "no"),
    "a prelude": ("def handler(e, c):\n c.response_stream.begin_http()\n raise OSError('no')", b"", "OSError", "no"),
    "a wrong type": ("def handler(e, c):\n yield {}", b"", "Runtime.MarshalError", f"{WRONG_TYPE}dict"),
    "a wrong type later": (
        "async def handler(e, c):\n yield 'x'\n yield None",
        b"x",
        "Runtime.MarshalError",
        f"{WRONG_TYPE}NoneType",
    ),
    "text that is none": ("def handler(e, c):\n yield 'x'\n yield '\\ud800'", b"x", "UnicodeEncodeError", SURROGATE),
    "a wrong type written": (
        "def handler(e, c): c.response_stream.write(1)",
        b"",
        "TypeError",
        "a response stream takes bytes, bytearray, memoryview and str, not int",
    ),
    "cancelled": (CANCELLED, b"x", "HandlerCancelledError", "enough"),
    "in its finally": (FINALLY, b"x", "ValueError", "f"),
    "a generator that does not end": (STUBBORN, b"", "RuntimeError", "generator ignored GeneratorExit"),
    "StopIteration": (
        "def handler(e, c):\n yield 'x'\n raise StopIteration",
        b"x",
        "RuntimeError",
        "generator raised StopIteration",
    ),
}


@pytest.mark.parametrize(("source", "payload", "error_type", "message"), FAILURES.values(), ids=FAILURES)
def test_a_handler_fails(functions: FunctionSet, source: str, payload: bytes, error_type: str, message: str) -> None:
    name = functions.create("import asyncio\n" + source)
    *events, last = functions.client.invoke_with_response_stream(FunctionName=name)["EventStream"]
    assert b"".join(event["PayloadChunk"]["Payload"] for event in events) == payload
    assert failure(last["InvokeComplete"]) == (error_type, message)
    outcome = functions.invoke(name)
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", error_type)
    log = "".join(functions.log_lines(name))
    assert (log.count("[ERROR]"), log.count("INIT_START")) == (2, 1), log


def test_what_fails_after_the_end_is_only_logged(functions: FunctionSet) -> None:
    name = functions.create("def handler(e, c):\n c.response_stream.close()\n c.response_stream.write('x')")
    for number in (1, 2):
        outcome = functions.invoke(name)
        assert (outcome.error, outcome.raw) == (None, b"")
        until(lambda: logged(functions, name).count("[ERROR] ResponseStreamError") == number, "the error is logged")  # noqa: B023 - it is called here


def logged(functions: FunctionSet, name: str) -> str:
    return "".join(functions.log_lines(name))


def test_an_error_that_trailers_cannot_hold_is_cropped(streams: Streams) -> None:
    _name, client = streams.of("def handler(event, context):\n    yield 'x'\n    raise ValueError('m' * 3_000_000)")
    payload, complete = client.rest()
    kind, message = failure(complete)
    assert (payload, kind, set(message)) == (b"x", "ValueError", {"m"})
    assert 1000 < len(message) < 100_000


def test_the_trace_of_a_stream_starts_in_the_function(functions: FunctionSet) -> None:
    source = """
def inner():
    yield "x"
    raise ValueError("late")

async def handler(event, context):
    for piece in inner():
        yield piece
"""
    trace = functions.invoke(functions.create(source)).value["stackTrace"]
    assert ["in handler" in trace[0], "in inner" in trace[1], len(trace)] == [True, True, 2]


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_generator_is_closed_when_its_stream_is_over(streams: Streams, kind: str) -> None:
    source = f"""
{kind} handler(event, context):
    try:
        yield "x"
        yield 1
        print("never")
    finally:
        print("let go of")
"""
    name, client = streams.of(source)
    assert failure(client.rest()[1])[0] == "Runtime.MarshalError"
    log = streams.functions.log_lines(name)
    assert "let go of\n" in log
    assert "never\n" not in log


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_that_is_too_long_is_stopped(streams: Streams, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(response_body, "STREAM_LIMIT_BYTES", 3 * MEBIBYTE)
    monkeypatch.setattr(deadlines, "LINGER_SECONDS", 0.1)
    source = f"""
{kind} handler(event, context):
    try:
        yield "x"
        while event:
            yield bytes(1_000_000)
    finally:
        print("let go of")
"""
    name, client = streams.of(source, 1)
    assert json.loads(client.rest()[1]["ErrorDetails"])["errorType"] == "Function.ResponseSizeTooLarge"
    # It hears of it when the service has cut the connection; the process goes on.
    told = "[ERROR] ResponseStreamError: the Runtime API takes no more of this response: "
    until(lambda: told in logged(streams.functions, name), "the function is told")
    assert streams.again(name, 0) == (b"x", {})
    log = logged(streams.functions, name)
    assert (log.count("let go of\n"), log.count("INIT_START")) == (2, 1), log


def test_the_timeout_in_the_middle(streams: Streams, shared_service: RunningService) -> None:
    source = "import os\ndef handler(port, c):\n yield str(os.getpid())\n gate(port)"
    name, client = streams.of(source)
    streams.gate.arrived()
    first = next(client.events()).payload

    def expire() -> None:
        for environment in shared_service.service._host.watch.environments:
            environment.deadline = 0.0

    shared_service.do(expire)
    assert json.loads(client.rest()[1]["ErrorDetails"])["errorType"] == "Sandbox.Timedout"
    wait_gone([int(first)])
    client = streams.client(name, str(streams.gate.port).encode())
    streams.gate.arrived()
    streams.gate.let_go()
    streams.gate.let_go()
    payload, complete = client.rest()
    assert (payload != first, complete) == (True, {})


@pytest.mark.parametrize(
    "statement", ["raise SystemExit(3)", "import os; os._exit(3)", "import os; os.kill(os.getpid(), 9)"]
)
def test_a_process_that_ends_in_the_middle(streams: Streams, statement: str) -> None:
    name, client = streams.of(f"import os\ndef handler(e, c):\n yield 'x'\n if e: {statement}", 1)
    payload, complete = client.rest()
    assert payload == b"x"
    # Whichever is noticed first: the end of the connection, or that of the process.
    assert json.loads(complete["ErrorDetails"])["errorType"] in ("Runtime.TruncatedResponse", "Runtime.ExitError")
    assert streams.again(name, 0) == (b"x", {})


def test_a_caller_who_goes_away(streams: Streams) -> None:
    source = """
def handler(port, context):
    try:
        yield "x"
        if port:
            gate(port)
            yield bytes(50_000_000)
    finally:
        print("through")
"""
    name, client = streams.of(source, MemorySize=1024)
    assert client.take(1) == b"x"
    streams.gate.arrived()
    client.close()
    streams.gate.let_go()
    until(lambda: "REPORT" in logged(streams.functions, name), "the function runs on to its end")
    assert streams.again(name, 0) == (b"x", {})
    log = logged(streams.functions, name)
    assert (log.count("through\n"), log.count("[ERROR]"), log.count("INIT_START")) == (2, 0, 1)


@pytest.mark.parametrize("caught", [True, False])
def test_a_write_that_a_signal_ends_leaves_the_stream_whole(streams: Streams, caught: bool) -> None:
    source = f"""
import os, signal

def handler(port, context):
    def enough(*_):
        raise TimeoutError("enough")

    signal.signal(signal.SIGALRM, enough)
    stream = context.response_stream
    piece = bytes(60_000_000)
    stream.write(f"{{os.getpid():9}}")
    try:
        stream.write(piece)
    except TimeoutError:
        gate(port)
        if not {caught}:
            raise
        stream.write("after")
"""
    _name, client = streams.of(source, MemorySize=1024, Timeout=10)
    # Some of the piece is there, and not all of it can be: it is being written.
    taken = client.take(9 + 1000)
    os.kill(int(taken[:9]), signal.SIGALRM)
    streams.gate.arrived()
    streams.gate.let_go()
    payload, complete = client.rest()
    # The piece was accepted before the signal came: the caller gets all of it.
    assert len(taken) + len(payload) == 9 + 60_000_000 + len("after") * caught
    assert payload.endswith(b"\0after") == caught
    assert complete == {} if caught else failure(complete) == ("TimeoutError", "enough")


# --- the writer's rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("s.begin_http('200')", "ValueError: status_code is '200'; it must be an integer from 100 to 599"),
        ("s.begin_http(True)", "ValueError: status_code is True; it must be an integer from 100 to 599"),
        ("s.begin_http(600)", "ValueError: status_code is 600; it must be an integer from 100 to 599"),
        ("s.begin_http(headers={'a': 'b\\r\\nc: d'})", "ValueError: the header 'a' is 'b\\r\\nc: d'; it must be"),
        ("s.begin_http(headers={'a\\n': 'b'})", "ValueError: a header's name is 'a\\n'; it must be"),
        ("s.begin_http(headers={'a': ['b']})", "TypeError: the header 'a' is of type list; it must be a str"),
        ("s.begin_http(headers={1: 'b'})", "TypeError: a header's name is of type int; it must be a str"),
        ("s.begin_http(cookies='a=b')", "TypeError: cookies is a str; it must be a list of them"),
        ("s.begin_http(cookies=['a=b\\0'])", "ValueError: a cookie is 'a=b\\x00'; it must be"),
        ("s.content_type = 'text/plain\\r\\nX: y'", "ValueError: content_type is 'text/plain\\r\\nX: y'; it must be"),
        ("s.content_type = b'text/plain'", "TypeError: content_type is of type bytes; it must be a str"),
        ("s.write('x'); s.content_type = 'a/b'", "ResponseStreamError: content_type is set after the response has"),
        ("s.write('x'); s.begin_http(200)", "ResponseStreamError: begin_http is called after the response has begun"),
        ("s.close(); s.write('x')", "ResponseStreamError: the response stream is closed"),
        ("s.close(); s.flush()", "ResponseStreamError: the response stream is closed"),
        ("copy.copy(c).response_stream", "ResponseStreamError: this context is a copy"),
        ("pickle.loads(pickle.dumps(c)).response_stream", "ResponseStreamError: this context is a copy"),
        ("copy.deepcopy(c).response_stream", "ResponseStreamError: this context is a copy"),
    ],
)
def test_the_writer_says_what_is_wrong(functions: FunctionSet, statement: str, message: str) -> None:
    source = f"""
import copy, pickle
def handler(e, c):
    s = c.response_stream
    try:
        {statement}
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
    print("goes on")
"""
    name = functions.create(source)
    assert functions.invoke(name).error is None
    until(lambda: "goes on\n" in functions.log_lines(name), "the function has ended")
    assert [line for line in functions.log_lines(name) if line.startswith(message)] != []


def test_the_http_prelude(streams: Streams) -> None:
    source = """
def handler(event, context):
    headers = {"Content-Type": "text/html", "X-Count": 3, "X-Real": 1.5, "X-On": True, "X-Empty": ""}
    context.response_stream.begin_http(201, headers, cookies=["a=b; Secure", "c=d"])
    yield "<html>"
"""
    _name, client = streams.of(source)
    payload, complete = client.rest()
    prelude, body = payload.split(bytes(8), 1)
    assert json.loads(prelude) == {
        "statusCode": 201,
        "headers": {"Content-Type": "text/html", "X-Count": "3", "X-Real": "1.5", "X-On": "true", "X-Empty": ""},
        "cookies": ["a=b; Secure", "c=d"],
    }
    assert (body, complete) == (b"<html>", {})
    assert client.headers["x-venturekit-response-content-type"] == "application/vnd.awslambda.http-integration-response"


def test_what_outlives_its_invocation_cannot_write_into_the_next(streams: Streams) -> None:
    source = """
import threading

kept = []
go = threading.Event()

def late(context, stream):
    go.wait()
    for write in (stream.write, lambda data: context.response_stream.write(data)):
        try:
            write("from the past")
        except OSError as error:
            print(f"{type(error).__name__}: {error}")

def handler(event, context):
    if not kept:
        kept.append(threading.Thread(target=late, args=(context, context.response_stream)))
        kept[0].start()
        yield "first"
    else:
        yield "second "
        go.set()
        kept[0].join()
        yield "whole"
"""
    name, client = streams.of(source)
    assert client.rest() == (b"first", {})
    outcome = streams.functions.invoke(name)
    assert (outcome.error, outcome.raw) == (None, b"second whole")
    closed = "ResponseStreamError: the response stream is closed: "
    assert f"\n{closed}it was ended, or its invocation is over\n" in outcome.log
    assert f"\n{closed}the invocation of this context is over\n" in outcome.log


def test_a_buffered_invocation_cannot_be_streamed_afterwards(streams: Streams) -> None:
    source = """
import threading

kept = []

def handler(event, context):
    if event == "keep":
        kept.append(context)
        return "kept"
    try:
        kept[0].response_stream.write("x")
    except OSError as error:
        return str(error)
"""
    name, client = streams.of(source, "keep")
    assert client.rest() == (b'"kept"', {})
    told = "the response stream is closed: the invocation of this context is over"
    assert streams.functions.invoke(name, "now").value == told
