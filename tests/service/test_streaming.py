"""Streamed responses through the whole service: what comes when, how they end, and other ways to invoke."""

from __future__ import annotations

import base64
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from botocore.eventstream import EventStreamBuffer

from tests.service.harness import until
from tests.service.streaming_support import ERROR, MODE, ONE_LIST, TWO_LINES, Puppets, boto_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet

BEGIN = f"api.begin({MODE!r}, *{TWO_LINES!r})"
CAUGHT = """
def handler(event, context):
    print("caught", event["responsePayload"], event["requestContext"]["condition"])
"""


@pytest.fixture
def puppets(leak_free: FunctionSet) -> Iterator[Puppets]:
    made = Puppets(leak_free)
    yield made
    made.close()


# --- as it comes ------------------------------------------------------------------------------------------------------


def test_every_piece_is_there_before_the_next_one_is_sent(puppets: Puppets) -> None:
    name = puppets.create()
    invoked = puppets.apart(puppets.functions.client.invoke_with_response_stream, FunctionName=name, Payload=b'"go"')
    runtime = puppets.started()
    assert runtime.do("api.next()") == '"go"'
    assert not invoked.done()
    # The head of the answer comes with the head of the runtime's, before the first piece.
    runtime.do(BEGIN)
    answer = invoked.result(20)
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    events = boto_events(answer)
    for number in range(5):
        runtime.do(f"api.piece('piece {number}')")
        assert next(events) == ("PayloadChunk", b"piece %d" % number)
    runtime.do("api.end()")
    assert next(events) == ("InvokeComplete", {})
    assert list(events) == []
    assert runtime.do("api.answer()") == [202, '{"status":"OK"}\n']
    # The same runtime serves the next one.
    client = puppets.client(name, b'"again"')
    assert runtime.do("api.next()") == '"again"'
    runtime.do(f"[api.begin({MODE!r}), api.piece('x'), api.end()]")
    assert client.rest() == (b"x", {})


def test_the_head_says_what_the_stream_is(puppets: Puppets) -> None:
    name, client, runtime = puppets.invoked()
    runtime.do(f"api.begin({MODE!r}, 'Content-Type: text/html')")
    assert client.read_head() == 200
    assert client.headers["x-venturekit-response-content-type"] == "text/html"
    assert client.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert client.headers["transfer-encoding"] == "chunked"
    assert client.headers["x-amz-executed-version"] == "$LATEST"
    runtime.do("[api.end(), api.answer()]")
    assert client.rest() == (b"", {})
    client = puppets.client(name)
    runtime.do("api.next()")
    runtime.do(f"[api.begin({MODE!r}), api.end(), api.answer()]")
    assert client.rest() == (b"", {})
    assert client.headers["x-venturekit-response-content-type"] == "application/octet-stream"


def test_the_http_prelude_passes_through(puppets: Puppets) -> None:
    _name, client, runtime = puppets.invoked()
    kind = "application/vnd.awslambda.http-integration-response"
    runtime.do(f"api.begin({MODE!r}, 'Content-Type: {kind}')")
    runtime.do("""[api.piece(b'{"statusCode":200}' + bytes(8)), api.piece('body'), api.end(), api.answer()]""")
    assert client.rest() == (b'{"statusCode":200}' + bytes(8) + b"body", {})
    assert client.headers["x-venturekit-response-content-type"] == kind


@pytest.mark.parametrize("connection", ["", "keep-alive"])
def test_a_client_of_http_1_0_gets_the_events_without_chunks(puppets: Puppets, connection: str) -> None:
    name = puppets.create()
    fields = {"Host": "127.0.0.1", "X-Amz-Client": "test", "Content-Length": "2", "Connection": connection}
    head = "".join(f"{key}: {value}\r\n" for key, value in fields.items() if value)
    target = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    with socket.create_connection(("127.0.0.1", urlsplit(puppets.functions.url).port or 0), timeout=20) as client:
        client.sendall(f"POST {target} HTTP/1.0\r\n{head}\r\n{{}}".encode())
        runtime = puppets.started()
        runtime.do("api.next()")
        runtime.do(f"[{BEGIN}, api.piece('old'), api.end(), api.answer()]")
        with client.makefile("rb") as stream:
            answer, _, body = stream.read().partition(b"\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"Transfer-Encoding" not in answer
    reader = EventStreamBuffer()
    reader.add_data(body)
    assert [message.payload for message in reader] == [b"old", b"{}"]


def test_large_pieces_arrive_whole(puppets: Puppets) -> None:
    _name, client, runtime = puppets.invoked()
    runtime.do(BEGIN)
    runtime.start("[api.piece(bytes(range(256)) * 12_000), api.piece(b'end'), api.end(), api.answer()][-1][0]")
    payload, complete = client.rest()
    assert (payload == bytes(range(256)) * 12_000 + b"end", complete) == (True, {})
    assert runtime.finish() == 202


def test_a_stream_whose_length_was_announced_is_one_as_well(puppets: Puppets) -> None:
    name, client, runtime = puppets.invoked()
    assert runtime.do(f"api.post('/response', 'all', {MODE!r}, 'Content-Type: text/css')")[0] == 202
    assert client.rest() == (b"all", {})
    assert client.headers["x-venturekit-response-content-type"] == "text/css"
    client = puppets.client(name)
    runtime.do("api.next()")
    assert runtime.do(f"api.post('/response', 'y' * 300_000, {MODE!r})")[0] == 202
    assert client.rest() == (b"y" * 300_000, {})


def test_many_streams_at_once_keep_to_themselves(puppets: Puppets) -> None:
    name = puppets.create()
    clients = [puppets.client(name, b"%d" % number) for number in range(4)]
    runtimes = {}
    for _ in clients:
        runtime = puppets.started()
        runtimes[int(runtime.do("api.next()"))] = runtime
        runtime.do(BEGIN)
    streams = [client.events() for client in clients]
    for turn in range(3):
        for number, runtime in runtimes.items():
            runtime.do(f"api.piece('{number} {turn}')")
        for number, stream in enumerate(streams):
            assert next(stream).payload == b"%d %d" % (number, turn)
    for number, runtime in runtimes.items():
        runtime.do("[api.end(), api.answer()]")
        assert next(streams[number]).complete == {}


# --- how it ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trailers", [TWO_LINES, ONE_LIST, ()], ids=["two lines", "one list", "not announced"])
@pytest.mark.parametrize("prefix", [ERROR, ERROR.lower()])
def test_an_error_in_the_middle(puppets: Puppets, trailers: tuple[str, ...], prefix: str) -> None:
    name, client, runtime = puppets.invoked()
    runtime.do(f"api.begin({MODE!r}, *{trailers!r})")
    error = '{"errorType": "Error", "errorMessage": "mid", "trace": ["Error: mid"]}'
    fields = f"trailing('Error', {error}, {prefix!r})"
    runtime.do(f"[api.piece('part'), api.end(*{fields})]")
    assert runtime.do("api.answer()")[0] == 202
    payload, complete = client.rest()
    assert (payload, complete) == (b"part", {"ErrorCode": "Unhandled", "ErrorDetails": error})
    # Collected for a caller who wants it in one piece, it is the function error.
    invoked = puppets.apart(puppets.functions.invoke, name)
    runtime.do("api.next()")
    runtime.do(f"[{BEGIN}, api.piece('part'), api.end(*{fields}), api.answer()]")
    outcome = invoked.result(20)
    assert (outcome.error, outcome.raw) == ("Unhandled", error.encode())


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ("Runtime.Custom", "Runtime.Custom"),
        ("Function.Bad", "Function.Bad"),
        ("Function.bad", "Function.Unknown"),
        ("Function.", "Function.Unknown"),
        ("Error", "Runtime.Unknown"),
        ("Runtime.X1", "Runtime.Unknown"),
    ],
)
def test_an_error_without_its_text_has_a_type_in_order(functions: FunctionSet, given: str, reported: str) -> None:
    puppets = Puppets(functions)
    try:
        _name, client, runtime = puppets.invoked()
        runtime.do(f"[{BEGIN}, api.end('{ERROR}Type: {given}'), api.answer()]")
        _payload, complete = client.rest()
        assert json.loads(complete["ErrorDetails"]) == {"errorType": reported, "errorMessage": ""}
    finally:
        puppets.close()


def test_the_log_tail_comes_with_the_end(puppets: Puppets) -> None:
    _name, client, runtime = puppets.invoked(X_Amz_Log_Type="Tail")
    runtime.do(f"[{BEGIN}, api.piece('x'), print('said in the middle', flush=True), api.end(), api.answer()]")
    payload, complete = client.rest()
    assert (payload, complete.keys()) == (b"x", {"LogResult"})
    log = base64.b64decode(complete["LogResult"]).decode()
    assert log.startswith("START RequestId: ")
    assert "said in the middle\n" in log
    assert "REPORT RequestId: " in log
    assert "x-amz-log-result" not in client.headers


def test_a_dry_run_runs_nothing(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    yield b'x'\n")
    answer = functions.client.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert functions.log_lines(name) == []


def test_the_concurrency_is_taken_until_the_end(puppets: Puppets) -> None:
    name = puppets.create()
    puppets.functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    first = puppets.client(name)
    runtime = puppets.started()
    runtime.do("api.next()")
    runtime.do(f"[{BEGIN}, api.piece('x')]")
    assert first.take(1) == b"x"
    assert puppets.client(name).read_head() == 429
    runtime.do("[api.end(), api.answer(), api.ask()]")
    assert first.rest() == (b"", {})
    second = puppets.client(name)
    assert runtime.do("api.event()") == "{}"
    runtime.do(f"[{BEGIN}, api.end(), api.answer()]")
    assert second.rest() == (b"", {})


def test_an_outdated_environment_finishes_its_stream(puppets: Puppets) -> None:
    name, client, runtime = puppets.invoked()
    runtime.do(f"[{BEGIN}, api.piece('old')]")
    assert client.take(3) == b"old"
    puppets.functions.client.delete_function(FunctionName=name)
    puppets.functions.names.remove(name)
    runtime.do("[api.piece(' end'), api.end(), api.answer()]")
    assert client.rest() == (b" end", {})


# --- other ways to invoke, other runtimes -----------------------------------------------------------------------------


def test_a_streaming_runtime_serves_plain_invokes(puppets: Puppets) -> None:
    name = puppets.create()
    invoked = puppets.apart(puppets.functions.invoke, name)
    runtime = puppets.started()
    runtime.do("api.next()")
    runtime.do(f"[{BEGIN}, api.piece('one '), api.piece('two')]")
    assert not invoked.done()
    runtime.do("[api.end(), api.answer()]")
    outcome = invoked.result(20)
    assert (outcome.error, outcome.raw, outcome.headers["content-type"]) == (None, b"one two", "application/json")


def test_collected_it_may_have_six_megabytes(puppets: Puppets) -> None:
    name = puppets.create()
    limit = 6 * 1024 * 1024 + 100
    invoked = puppets.apart(puppets.functions.invoke, name)
    runtime = puppets.started()
    runtime.do("api.next()")
    runtime.do(f"[{BEGIN}, api.piece('x' * {limit}), api.end(), api.answer()]")
    assert len(invoked.result(20).raw) == limit
    invoked = puppets.apart(puppets.functions.invoke, name)
    runtime.do("api.next()")
    assert runtime.do(f"[{BEGIN}, api.piece('x' * {limit}), api.piece('x'), api.answer()][-1][0]") == 413
    outcome = invoked.result(20)
    assert outcome.value["errorType"] == "Function.ResponseSizeTooLarge"
    assert str(limit) in outcome.value["errorMessage"]


def test_an_event_is_answered_to_its_destination_in_one_piece(puppets: Puppets) -> None:
    functions = puppets.functions
    other = functions.create(CAUGHT)
    name = puppets.create()
    arn = functions.client.get_function_configuration(FunctionName=other)["FunctionArn"]
    functions.client.put_function_event_invoke_config(
        FunctionName=name, MaximumRetryAttempts=0, DestinationConfig={"OnSuccess": {"Destination": arn}}
    )
    assert functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b"7")["StatusCode"] == 202
    runtime = puppets.started()
    assert runtime.do("api.next()") == "7"
    runtime.do(f"""[{BEGIN}, api.piece('{{"a":'), api.piece('1}}'), api.end(), api.answer()]""")
    found = until(lambda: [line for line in functions.log_lines(other) if "caught" in line], "the record arrives")
    assert found == ["caught {'a': 1} Success\n"]


def test_in_the_manner_of_go(puppets: Puppets) -> None:
    """Chunks and trailers on every answer, but no mode: the answer is buffered, and the trailers count."""
    name, client, runtime = puppets.invoked()
    runtime.do(f"[api.begin(*{TWO_LINES!r}), api.piece('buf'), api.piece('fered')]")
    runtime.do("[api.end(), api.answer()]")
    assert client.rest() == (b"buffered", {})
    assert "x-venturekit-response-content-type" not in client.headers
    client = puppets.client(name)
    runtime.do("api.next()")
    runtime.do(f"[api.begin(*{TWO_LINES!r}), api.piece('part')]")
    runtime.do("""[api.end(*trailing("errorString", {"errorMessage": "go"})), api.answer()]""")
    assert client.rest() == (b"", {"ErrorCode": "Unhandled", "ErrorDetails": '{"errorMessage": "go"}'})


def test_in_the_manner_of_rust(puppets: Puppets) -> None:
    """The http-integration content type on every stream, and an error's trailers as a last piece of the body."""
    _name, client, runtime = puppets.invoked()
    kind = "Content-Type: application/vnd.awslambda.http-integration-response"
    text = f"{ERROR}Type: Bad\r\n{ERROR}Body: e30=\r\n"
    runtime.do(f"[api.begin({MODE!r}, {kind!r}, *{TWO_LINES!r}), api.piece('{{}}' + chr(0) * 8)]")
    runtime.do(f"[api.piece({text!r}), api.end(), api.answer()]")
    assert client.rest() == (b"{}" + bytes(8) + text.encode(), {})


def test_the_end_and_the_next_request_in_one_write(puppets: Puppets) -> None:
    name = puppets.create()
    first = puppets.client(name)
    runtime = puppets.started()
    runtime.do("api.next()")
    for number in range(3):
        runtime.do(f"[{BEGIN}, api.piece('{number}')]")
        runtime.do('api.send(f"0\\r\\n\\r\\nGET {INVOCATION}next HTTP/1.1\\r\\nHost: {ADDRESS}\\r\\n\\r\\n")')
        assert first.rest() == (b"%d" % number, {})
        second = puppets.client(name)
        assert runtime.do("api.answer()")[0] == 202
        assert runtime.do("api.event()") == "{}"
        first = second
    runtime.do("[api.post('/response', 'buffered')]")
