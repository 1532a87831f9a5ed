"""boto3's event stream, unmodified and signed: what a program sees of a streamed response, and when."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from tests.clients.client_support import client_with
from tests.service.harness import FunctionSet
from tests.service.streaming_support import GATE, Gate, boto_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import RunningService

ACCOUNT = "720000000000"
PYTHON_SOURCE = f"""{GATE}
def handler(event, context):
    print("begins", event["kind"])
    if event["kind"] == "whole":
        return {{"event": event, "version": context.function_version}}
    return pieces(event)

def pieces(event):
    for number in range(event["count"]):
        if "port" in event:
            gate(event["port"], str(number))
        yield f"piece {{number}};"
    if event["kind"] == "breaks":
        raise LookupError("after the pieces")
"""
NODE_SOURCE = """
const net = require('net');
const gate = (port, word) => new Promise((resolve) => {
  const connection = net.connect(port, '127.0.0.1', () => connection.write(`${word}\\n`));
  connection.on('close', resolve).resume();
});
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  console.log('begins', event.kind);
  for (let number = 0; number < event.count; number++) {
    if (event.port) await gate(event.port, number);
    stream.write(`piece ${number};`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (event.kind === 'breaks') throw new RangeError('after the pieces');
  stream.end();
});
"""
BOTH = pytest.mark.parametrize("name", ["python", "node"])


@pytest.fixture(scope="module")
def functions(service: RunningService) -> Iterator[FunctionSet]:
    """The functions ``python`` and ``node``, which stream, and ``whole``, which does not."""
    client = client_with(service.url, ACCOUNT, "any-secret")
    made = FunctionSet(service.url, client)
    made.create(PYTHON_SOURCE, name="python", wait=False, Timeout=30)
    made.create(files={"app.js": NODE_SOURCE}, name="node", wait=False, Runtime="nodejs20.x", Timeout=30)
    whole = "exports.handler = async (event, context) => ({ event, version: context.functionVersion });"
    made.create(files={"app.js": whole}, name="whole", wait=False, Runtime="nodejs20.x")
    for name in made.names:
        made.wait_active(name)
    yield made
    made.delete_all()
    client.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.close()


def stream(functions: FunctionSet, name: str, members: dict[str, Any] | None = None, **event: Any) -> Any:
    given = {"kind": "streams", "count": 3, **event}
    payload = json.dumps(given).encode()
    return functions.client.invoke_with_response_stream(FunctionName=name, Payload=payload, **(members or {}))


def begun(functions: FunctionSet, gate: Gate, name: str, count: int) -> Any:
    """The answer to a call whose function waits at the gate before each piece; it has been let go on to the first."""
    # The answer begins with the first piece, so somebody has to let the function go on meanwhile.
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(stream, functions, name, port=gate.port, count=count)
        assert gate.arrived() == "0"
        gate.let_go()
        return calling.result(20)


def parts(answer: Any) -> tuple[bytes, dict[str, Any]]:
    """All pieces together, and InvokeComplete, which is the last event and the only one of its kind."""
    *chunks, (kind, complete) = boto_events(answer)
    assert kind == "InvokeComplete"
    assert all(kind == "PayloadChunk" for kind, _ in chunks)
    return b"".join(chunk for _, chunk in chunks), complete


@BOTH
def test_every_piece_is_here_while_the_function_waits_with_the_next(
    functions: FunctionSet, gate: Gate, name: str
) -> None:
    answer = begun(functions, gate, name, count=4)
    events = boto_events(answer)
    for number in range(4):
        assert next(events) == ("PayloadChunk", b"piece %d;" % number)
        if number < 3:
            assert gate.arrived() == str(number + 1)
            gate.let_go()
    assert next(events) == ("InvokeComplete", {})
    assert list(events) == []


@BOTH
def test_the_answer_around_the_stream(functions: FunctionSet, name: str) -> None:
    answer = stream(functions, name)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert answer["ResponseMetadata"]["RequestId"]
    assert parts(answer) == (b"piece 0;piece 1;piece 2;", {})


@BOTH
def test_the_log_comes_with_the_end(functions: FunctionSet, name: str) -> None:
    answer = stream(functions, name, {"LogType": "Tail"}, kind="logs")
    body, complete = parts(answer)
    assert (body, set(complete)) == (b"piece 0;piece 1;piece 2;", {"LogResult"})
    log = base64.b64decode(complete["LogResult"]).decode()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert log.startswith(f"START RequestId: {request_id} Version: $LATEST\n")
    assert "begins logs\n" in log
    assert log.splitlines()[-1].startswith(f"REPORT RequestId: {request_id}\t")


@pytest.mark.parametrize(("name", "error_type"), [("python", "LookupError"), ("node", "RangeError")])
@pytest.mark.parametrize("count", [0, 3])
def test_an_error_after_the_pieces(functions: FunctionSet, name: str, error_type: str, count: int) -> None:
    answer = stream(functions, name, {"LogType": "Tail"}, kind="breaks", count=count)
    assert answer["StatusCode"] == 200
    body, complete = parts(answer)
    assert body == b"".join(b"piece %d;" % number for number in range(count))
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == (error_type, "after the pieces")
    assert b"after the pieces" in base64.b64decode(complete["LogResult"])
    # The next one is as if nothing had been.
    assert parts(stream(functions, name)) == (b"piece 0;piece 1;piece 2;", {})


@BOTH
def test_a_dry_run(functions: FunctionSet, name: str) -> None:
    answer = stream(functions, name, {"InvocationType": "DryRun"})
    assert answer["StatusCode"] == 204
    assert list(answer["EventStream"]) == []


@pytest.mark.parametrize("name", ["python", "whole"])
def test_a_function_that_does_not_stream(functions: FunctionSet, name: str) -> None:
    (kind, chunk), end = boto_events(stream(functions, name, kind="whole"))
    assert (kind, end) == ("PayloadChunk", ("InvokeComplete", {}))
    assert json.loads(chunk) == {"event": {"kind": "whole", "count": 3}, "version": "$LATEST"}


@BOTH
def test_the_stream_is_closed_early(functions: FunctionSet, gate: Gate, name: str) -> None:
    answer = begun(functions, gate, name, count=2)
    assert next(boto_events(answer)) == ("PayloadChunk", b"piece 0;")
    assert gate.arrived() == "1"
    answer["EventStream"].close()
    gate.let_go()
    assert parts(stream(functions, name)) == (b"piece 0;piece 1;piece 2;", {})


@BOTH
def test_the_same_through_plain_invoke(functions: FunctionSet, name: str) -> None:
    answer = functions.invoke(name, {"kind": "streams", "count": 3})
    assert (answer.error, answer.raw) == (None, b"piece 0;piece 1;piece 2;")


def test_what_is_known_before_is_an_ordinary_exception(functions: FunctionSet) -> None:
    with pytest.raises(functions.client.exceptions.ResourceNotFoundException):
        stream(functions, "nobody")
    with pytest.raises(functions.client.exceptions.InvalidRequestContentException) as refused:
        functions.client.invoke_with_response_stream(FunctionName="python", Payload=b"no JSON")
    assert isinstance(refused.value, ClientError)
    assert not isinstance(refused.value, EventStreamError)
