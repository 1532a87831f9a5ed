"""Streaming handlers of Node.js, through InvokeWithResponseStream and through Invoke."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until
from tests.service.node_support import NEW, OLD, RUNTIMES, Threw, call, create, create_cases, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet, RunningService

PRELUDE_END = b"\0" * 8
HTTP = "stream = awslambda.HttpResponseStream.from(stream, {}); "
BODIES = {
    "pieces": ("stream.write('a'); await sleep(30); stream.write(Buffer.from('bb')); stream.end('c');", b"abbc"),
    "nothing": ("stream.end();", b""),
    "an object": ("stream.write({ a: [1] }); stream.end();", b'{"a":[1]}'),
    "a number": ("stream.end(5);", b"5"),
    "a large piece": ("stream.end('x'.repeat(1000000));", b"x" * 1_000_000),
    "bytes of a view": ("stream.end(new Uint8Array([104, 105]));", b"hi"),
    "an empty piece": ("stream.write(''); stream.end('after');", b"after"),
    "a pipeline": (
        "await require('stream/promises').pipeline(require('stream').Readable.from(['one', 'two']), stream);",
        b"onetwo",
    ),
    "later than the handler": ("setTimeout(() => stream.end('late'), 30);", b"late"),
    "a value as well": ("stream.end('x'); return 'ignored';", b"x"),
    "with back pressure": (
        (
            "let waits = 0; for (let i = 0; i < 64; i++) { if (!stream.write(Buffer.alloc(65536, 97))) { waits++; "
            "await new Promise((resolve) => stream.once('drain', resolve)); } } stream.end(waits > 0 ? '!' : '?');"
        ),
        b"a" * (64 * 65536) + b"!",
    ),
    "a prelude": (
        HTTP.format("{ statusCode: 201, headers: { 'x-a': '1' }, cookies: ['a=b'] }")
        + "stream.write('body'); stream.end();",
        b'{"statusCode":201,"headers":{"x-a":"1"},"cookies":["a=b"]}' + PRELUDE_END + b"body",
    ),
    "a prelude alone": (HTTP.format("{ statusCode: 204 }") + "stream.end();", b'{"statusCode":204}' + PRELUDE_END),
    "its properties": (
        (
            "stream.end(JSON.stringify([stream instanceof require('stream').Writable, typeof stream.setContentType, "
            "Object.keys(context).includes('succeed')]));"
        ),
        b'[true,"function",false]',
    ),
}
FAILURES = {
    "before the first piece": ("throw new TypeError('before');", b"", Threw("TypeError", "before")),
    "in the middle": (
        "stream.write('part'); await sleep(30); throw new RangeError('mid');",
        b"part",
        Threw("RangeError", "mid"),
    ),
    "a text": ("stream.write('p'); await sleep(30); throw 'plain';", b"p", Threw("string", "plain")),
    "destroyed": (
        "stream.write('x'); await sleep(30); stream.destroy(new Error('gone'));",
        b"x",
        Threw("Error", "gone"),
    ),
    "destroyed without a reason": (
        "stream.write('x'); await sleep(30); stream.destroy(); await sleep(30);",
        b"x",
        Threw("Error", "The response stream was destroyed before its end."),
    ),
    "destroyed at once": (
        "stream.destroy();",
        b"",
        Threw("Error", "The response stream was destroyed before its end."),
    ),
    "a prelude that is left out": (
        "awslambda.HttpResponseStream.from(stream).end('x');",
        b"",
        Threw("TypeError", "HttpResponseStream.from needs a second argument, for example { statusCode: 200 }"),
    ),
    "a name that cannot be read": (
        "stream.write('x'); await sleep(30); throw Object.defineProperty(new Error(), 'name', { get() { throw 1; } });",
        b"x",
        Threw(
            "handled",
            "callback called with Error argument, but there was a problem while retrieving one or more of its message, "
            "name, and stack",
        ),
    ),
    "a write after the end": (
        "stream.end('x'); stream.write('y'); await sleep(30);",
        b"x",
        Threw("Error", "write after end"),
    ),
    "too late a content type": (
        "stream.write('x'); await sleep(30); stream.setContentType('text/html');",
        b"x",
        Threw("Error", "the content type is set too late: the response has begun"),
    ),
    "a content type with a line end": (
        "stream.setContentType('text/html\\r\\nX: y');",
        b"",
        Threw("TypeError", 'not a content type: "text/html\\r\\nX: y"'),
    ),
    "an unhandled rejection": (
        "stream.write('u'); await sleep(30); Promise.reject(new Error('lost')); await sleep(5000);",
        b"u",
        Threw("Runtime.UnhandledPromiseRejection", "Error: lost"),
    ),
    "an uncaught exception": (
        "stream.write('u'); setTimeout(() => { throw new Error('later'); }, 30); await sleep(5000);",
        b"u",
        Threw("Error", "later"),
    ),
}
SLEEP = "const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));\n"


def source_of(cases: dict[str, str]) -> str:
    listed = "".join(f"  {name!r}: async (event, stream, context) => {{ {body} }},\n" for name, body in cases.items())
    handler = "async (event, stream, context) => cases[event.case](event.given, stream, context)"
    return f"{SLEEP}const cases = {{\n{listed}}};\nexports.handler = awslambda.streamifyResponse({handler});"


def streamed(functions: FunctionSet, name: str, event: Any) -> tuple[bytes, dict[str, Any]]:
    """All pieces together, and what came at the end."""
    answer = functions.client.invoke_with_response_stream(FunctionName=name, Payload=json.dumps(event).encode())
    body, end = b"", {}
    for piece in answer["EventStream"]:
        body += piece.get("PayloadChunk", {}).get("Payload", b"")
        end = piece.get("InvokeComplete", end)
    return body, end


@pytest.fixture(scope="module", params=RUNTIMES)
def streams(request: pytest.FixtureRequest, shared_service: RunningService) -> Iterator[tuple[FunctionSet, str, str]]:
    functions = shared_service.functions()
    sources = {name: body for name, (body, *_) in {**BODIES, **FAILURES}.items()}
    yield functions, create(functions, source_of(sources), request.param, MemorySize=256), request.param
    functions.delete_all()


@pytest.mark.parametrize("case", BODIES)
def test_a_stream(streams: tuple[FunctionSet, str, str], case: str) -> None:
    functions, name, _ = streams
    assert streamed(functions, name, {"case": case}) == (BODIES[case][1], {})


@pytest.mark.parametrize("case", BODIES)
def test_a_stream_through_plain_invoke(streams: tuple[FunctionSet, str, str], case: str) -> None:
    functions, name, _ = streams
    answer = call(functions, name, case)
    assert (answer.error, answer.raw) == (None, BODIES[case][1])


@pytest.mark.parametrize("case", FAILURES)
def test_a_stream_that_fails(streams: tuple[FunctionSet, str, str], case: str) -> None:
    functions, name, runtime = streams
    _, body, expected = FAILURES[case]
    found, end = streamed(functions, name, {"case": case})
    assert found == body
    assert end["ErrorCode"] == "Unhandled" or runtime == NEW
    if runtime == NEW and case.startswith(("an unhandled", "an uncaught")):
        return  # the process ends in node's own way: the stream breaks off
    told = json.loads(end["ErrorDetails"])
    assert Threw(told["errorType"], told["errorMessage"]) == expected
    assert outcome(call(functions, name, case)) == expected
    assert functions.invoke(name, {"case": "pieces"}).raw == b"abbc"


def test_no_async_function(functions: FunctionSet) -> None:
    source = "exports.handler = awslambda.streamifyResponse((event, stream) => { stream.write('x'); });"
    answer = outcome(functions.invoke(create(functions, source)))
    assert answer == Threw("Error", "Streaming does not support non-async handlers.")


def test_a_stream_that_nobody_ends_runs_out_of_time(functions: FunctionSet) -> None:
    name = create(functions, source_of({"x": "stream.write('x');"}), Timeout=1)
    body, end = streamed(functions, name, {"case": "x"})
    assert body == b"x"
    assert "Task timed out after 1.00 seconds" in end["ErrorDetails"]


@pytest.mark.parametrize("suffix", ["js", "mjs"])
def test_the_global_and_its_options(functions: FunctionSet, suffix: str) -> None:
    export = "exports.handler =" if suffix == "js" else "export const handler ="
    source = f"""{export} awslambda.streamifyResponse(async (event, stream) => {{
      stream.end(JSON.stringify([stream.writableHighWaterMark, Object.keys(awslambda)]));
    }}, {{ highWaterMark: 10 }});"""
    name = create(functions, source, name=f"app.{suffix}")
    assert functions.invoke(name).value == [10, ["streamifyResponse", "HttpResponseStream"]]


def test_pieces_come_one_by_one(functions: FunctionSet) -> None:
    """The handler goes on when the test, which has the piece before, lets it."""
    source = """
const net = require('net');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const gate = net.connect(event, '127.0.0.1');
  let number = 0;
  for await (const _ of gate) stream.write(`piece ${number++}`);
  stream.end('over');
});
"""
    name = create(functions, source, Timeout=30)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        answers: list[Any] = []

        def invoke() -> None:
            payload = json.dumps(listener.getsockname()[1])
            answers.append(functions.client.invoke_with_response_stream(FunctionName=name, Payload=payload))

        caller = threading.Thread(target=invoke, daemon=True)
        caller.start()
        gate, _ = listener.accept()
        with gate:
            gate.sendall(b"x")
            pieces = (
                e["PayloadChunk"]["Payload"]
                for e in until(lambda: answers, "an answer")[0]["EventStream"]
                if "PayloadChunk" in e
            )
            for number in range(5):
                assert next(pieces) == b"piece %d" % number
                gate.sendall(b"x")
            assert next(pieces) == b"piece 5"
        assert b"".join(pieces) == b"over"
        caller.join(20)


def test_a_caller_that_goes_away_does_not_harm_the_next_one(functions: FunctionSet) -> None:
    body = "for (let i = 0; i < 400; i++) { stream.write(Buffer.alloc(65536)); await sleep(1); } stream.end();"
    name = create(functions, source_of({"long": body, "short": "stream.end('short');"}), Timeout=20, MemorySize=256)
    answer = functions.client.invoke_with_response_stream(FunctionName=name, Payload=b'{"case": "long"}')
    next(iter(answer["EventStream"]))
    answer["EventStream"].close()
    assert streamed(functions, name, {"case": "short"}) == (b"short", {})


def test_buffered_and_streaming_handlers_side_by_side(functions: FunctionSet) -> None:
    name = create_cases(functions, {"plain": "async () => 'buffered'"}, OLD)
    assert streamed(functions, name, {"case": "plain"}) == (b'"buffered"', {})
