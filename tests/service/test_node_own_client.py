"""AWS's own runtime interface clients for Node.js, versions 3 and 4, do here what our runtime does: the same tables.

Where they do something else, it is written down here: what our runtime does instead is in docs/node.md.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until
from tests.service.node_clients import FILES, publish_client
from tests.service.node_support import NEW, OLD, RUNTIMES, Threw, call, create, create_cases, outcome
from tests.service.streaming_support import StreamClient
from tests.service.test_node_handlers import CALLBACKS, CASES
from tests.service.test_node_streaming import BODIES, FAILURES, source_of, streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet, Outcome, RunningService

Carried = tuple["FunctionSet", str, str]

NO_NUMBER = (
    'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array. Received type number (5)'
)
BROKEN_OFF = Threw("Runtime.TruncatedResponse", "the runtime closed its connection mid-response")
REVOKED = "Cannot perform 'getPrototypeOf' on a proxy that has been revoked"
EXITED = Threw("Runtime.ExitError", "Runtime exited with error: exit status 1")
# What AWS's clients answer instead of CASES, where they trip over what was thrown.
ANSWERED = {
    "an object without a text thrown": {
        OLD: Threw("TypeError", "Cannot convert object to primitive value"),
        NEW: EXITED,
    },
    "a proxy that nobody may ask thrown": {OLD: Threw("TypeError", REVOKED), NEW: EXITED},
}
# What AWS's clients stream instead of BODIES and FAILURES: the bytes, and the error at the end.
STREAMED: dict[str, tuple[bytes, Threw | None]] = {
    "a number": (b"", Threw("TypeError", NO_NUMBER)),
    "a prelude alone": (b"", None),
    "its properties": (b'[false,"function",false]', None),
    "destroyed": (b"x", BROKEN_OFF),
    "too late a content type": (
        b"x",
        Threw("Runtime.InvalidStreamingOperation", "Cannot set content-type, too late."),
    ),
    "a content type with a line end": (
        b"",
        Threw("TypeError", 'Invalid character in header content ["Content-Type"]'),
    ),
    "destroyed without a reason": (b"x", BROKEN_OFF),
    "a prelude that is left out": (b"x", None),
    "an unhandled rejection": (b"u", BROKEN_OFF),
    "an uncaught exception": (b"u", BROKEN_OFF),
}
# The runtime ends over these while its answer may be on its way or not.
MATTERS_OF_LUCK = (
    "a write after the end",
    "destroyed at once",
    "an unhandled rejection",
    "an uncaught exception",
)


@pytest.fixture(scope="module", params=RUNTIMES)
def make(request: pytest.FixtureRequest, shared_service: RunningService) -> Iterator[Callable[..., Carried]]:
    """``make(kind, source)``: a function of that runtime with AWS's client in a layer, made once for each kind."""
    functions = shared_service.functions()
    layers = [publish_client(functions, request.param)]
    made: dict[str, str] = {}

    def make_once(kind: str, source: str | dict[str, str], **members: Any) -> Carried:
        if kind not in made:
            creator: Any = create if isinstance(source, str) else create_cases
            made[kind] = creator(functions, source, request.param, Layers=layers, **members)
        return functions, made[kind], request.param

    yield make_once
    functions.delete_all()


def stripped(found: Any) -> Any:
    """An error without the id of its request."""
    if isinstance(found, Threw) and found.message.startswith("RequestId: "):
        return Threw(found.type, found.message.partition(" Error: ")[2])
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_handler(make: Callable[..., Carried], case: str) -> None:
    functions, name, runtime = make("cases", {name: case.source for name, case in CASES.items()})
    expected = ANSWERED[case][runtime] if case in ANSWERED else CASES[case].expected(runtime)
    assert stripped(outcome(call(functions, name, case, {"k": "ü"}))) == expected


@pytest.mark.parametrize("make", [OLD], indirect=True)
@pytest.mark.parametrize("case", CALLBACKS)
def test_a_callback(make: Callable[..., Carried], case: str) -> None:
    functions, name, _ = make("callbacks", {name: source for name, (source, _) in CALLBACKS.items()})
    assert outcome(call(functions, name, case)) == CALLBACKS[case][1]


def streaming(make: Callable[..., Carried]) -> Carried:
    sources = {name: body for name, (body, *_) in {**BODIES, **FAILURES}.items()}
    return make("streams", source_of(sources), MemorySize=256)


@pytest.mark.parametrize("case", [case for case in (*BODIES, *FAILURES) if case not in MATTERS_OF_LUCK])
def test_a_stream(make: Callable[..., Carried], case: str) -> None:
    functions, name, _ = streaming(make)
    usual = (BODIES[case][1], None) if case in BODIES else FAILURES[case][1:]
    body, error = STREAMED.get(case, usual)
    found, end = streamed(functions, name, {"case": case})
    assert found == body
    assert (end.get("ErrorCode"), told(end)) == ("Unhandled" if error else None, error)
    # The same handler through plain Invoke.
    plain = call(functions, name, case)
    assert (stripped(outcome(plain)) if error else plain.raw) == (error or body)
    assert (plain.error is None) == (error is None)


@pytest.mark.parametrize("case", MATTERS_OF_LUCK)
def test_a_stream_that_ends_the_runtime(make: Callable[..., Carried], case: str) -> None:
    functions, name, _ = streaming(make)
    found, _ = streamed(functions, name, {"case": case})
    assert found in (FAILURES[case][1], b"")
    # One more may still be given to the process that is about to end.
    until(lambda: streamed(functions, name, {"case": "pieces"}) == (BODIES["pieces"][1], {}), "it serves again")


def told(end: dict[str, Any]) -> Threw | None:
    """The error of InvokeComplete."""
    if not end:
        return None
    details = json.loads(end["ErrorDetails"])
    found: Threw = stripped(Threw(details["errorType"], details["errorMessage"]))
    return found


def test_pieces_come_one_by_one(make: Callable[..., Carried]) -> None:
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
    functions, name, _ = make("gate", source, Timeout=30)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        client = StreamClient(functions.url, name, json.dumps(listener.getsockname()[1]).encode())
        gate, _ = listener.accept()
        with gate:
            for number in range(5):
                gate.sendall(b"x")
                assert client.take(7) == b"piece %d" % number
        assert client.rest() == (b"over", {})
        client.close()


def test_an_error_in_the_middle_has_its_trace(make: Callable[..., Carried]) -> None:
    functions, name, _ = streaming(make)
    found, end = streamed(functions, name, {"case": "in the middle"})
    assert (found, end["ErrorCode"]) == (b"part", "Unhandled")
    details = json.loads(end["ErrorDetails"])
    assert details["trace"][0] == "RangeError: mid"
    # The runtime went on by itself: nothing was started anew.
    assert functions.invoke(name, {"case": "pieces"}).raw == b"abbc"


def test_it_is_really_that_client(make: Callable[..., Carried]) -> None:
    source = "exports.handler = async (event, context) => [process.argv[1], context.awsRequestId];"
    functions, name, runtime = make("argv", source)
    answer = functions.invoke(name)
    assert answer.value == [answer.value[0], answer.request_id]
    assert answer.value[0].endswith(f"/nodejs/node_modules/aws-lambda-ric/{FILES[runtime][1][1]}")


def test_what_a_function_logs(make: Callable[..., Carried]) -> None:
    functions, name, _ = make("log", "exports.handler = async () => { console.warn('seen\\nand more'); };")
    answer: Outcome = functions.invoke(name)
    # Without the descriptor for log records its lines are text, with the id of the invocation.
    assert f"\t{answer.request_id}\tWARN\tseen" in answer.log
    assert answer.log.splitlines()[-2].startswith(f"END RequestId: {answer.request_id}")


def test_init_errors(make: Callable[..., Carried]) -> None:
    functions, name, _ = make("init", "throw new RangeError('at once');")
    assert outcome(functions.invoke(name)) == Threw("RangeError", "at once")


@pytest.mark.parametrize("make", [NEW], indirect=True)
def test_limits_hold_for_it(make: Callable[..., Carried]) -> None:
    source = "exports.handler = async (event) => { if (event) return 'x'.repeat(event); await new Promise(() => {}); };"
    functions, name, _ = make("limits", f"setInterval(() => {{}}, 1000); {source}", Timeout=1, MemorySize=512)
    assert outcome(functions.invoke(name, 6_291_600)).type == "Function.ResponseSizeTooLarge"
    assert outcome(functions.invoke(name, 0)).type == "Sandbox.Timedout"
