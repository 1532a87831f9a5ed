"""Servers that break off, lie, send garbage or nothing: the right error, in bounded time, and nothing is left."""

from __future__ import annotations

import gc
import gzip
import os
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.client.both_clients import BOTH
from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.client import (
    AnswerTimeoutError,
    ConnectError,
    ConnectionLostError,
    GetFunctionRecursionConfigCommand,
    LambdaServiceException,
    MalformedAnswerError,
    RequestTooLargeException,
    StreamError,
    TooManyRequestsException,
)
from venturekit.client.invoke_commands import InvokeWithResponseStreamCommand
from venturekit.protocol.eventstream import PAYLOAD_LIMIT_BYTES, encode_event, encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Script = Callable[[Peer], object]

WAIT_SECONDS = 0.15
GRACE_SECONDS = 5.0
GET = GetFunctionRecursionConfigCommand(FunctionName="f")
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(params=BOTH, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def run(kind: Any) -> Iterator[Callable[..., Any]]:
    """``run(script, **options)``: a client of a server that serves its first connection so, and all later ones well.

    Afterwards no descriptor may be left.
    """
    before = len(os.listdir("/proc/self/fd"))
    made: list[Any] = []

    def start(script: Script, **options: Any) -> Any:
        def serve(peer: Peer) -> None:
            if peer.number == 0:
                script(peer)
            else:
                while True:
                    peer.answer(b'{"RecursiveLoop":"Terminate"}')

        server = ScriptedServer(serve)
        client = kind(server.url, **{"read_timeout": WAIT_SECONDS, **options})
        made.extend((client, server))
        client.server = server
        return client

    yield start
    for each in made:
        each.close()
        assert getattr(each, "failures", []) == []
    if len(os.listdir("/proc/self/fd")) > before:
        # What errors hold that the test has seen.
        made.clear()
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before


def after(data: bytes, *, end: str = "close") -> Script:
    """Answers these bytes; then closes, resets or keeps the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        if end == "reset":
            peer.reset()
        elif end == "keep":
            peer.until_closed()

    return script


def trickle(head: bytes, data: bytes) -> Script:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(head)
        for position in range(len(data)):
            peer.send(data[position : position + 1])
            time.sleep(0.02)  # The pace is what is tested.

    return script


def flood(start: bytes, piece: bytes) -> Script:
    """Goes on until the client has had enough."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(start)
        for _ in range(200_000):
            peer.send(piece)

    return script


CASES: dict[str, tuple[Script, type[Exception], str | None]] = {
    "closes at once": (lambda peer: None, ConnectionLostError, None),
    "closes after the request": (after(b""), ConnectionLostError, None),
    "resets after the request": (after(b"", end="reset"), ConnectionLostError, None),
    "closes within the status line": (after(b"HTTP/1.1 2"), ConnectionLostError, None),
    "closes within the head": (after(HEAD + b"Content-Le"), ConnectionLostError, None),
    "resets within the head": (after(HEAD + b"Content-Le", end="reset"), ConnectionLostError, None),
    "closes within the body": (after(HEAD + b"Content-Length: 10\r\n\r\n{}"), ConnectionLostError, None),
    "resets within the body": (after(HEAD + b"Content-Length: 10\r\n\r\n{}", end="reset"), ConnectionLostError, None),
    "closes within a chunk": (after(CHUNKED + b"5\r\n{}"), ConnectionLostError, None),
    "closes before the last chunk": (after(CHUNKED + b"2\r\n{}\r\n"), ConnectionLostError, None),
    "never answers": (after(b"", end="keep"), AnswerTimeoutError, "time"),
    "stops within the head": (after(HEAD, end="keep"), AnswerTimeoutError, "time"),
    "stops within the body": (after(HEAD + b"Content-Length: 10\r\n\r\n{}", end="keep"), AnswerTimeoutError, "time"),
    "stops within a chunk": (after(CHUNKED + b"5\r\n{}", end="keep"), AnswerTimeoutError, "time"),
    "trickles the body": (trickle(HEAD + b"Content-Length: 500\r\n\r\n", b"x" * 500), AnswerTimeoutError, "time|slow"),
    "garbage": (after(b"\x00\x01\x02\x03 garbage \xff\r\n\r\n", end="keep"), MalformedAnswerError, None),
    "another protocol": (after(b"SSH-2.0-OpenSSH_9.6\r\n", end="keep"), MalformedAnswerError, None),
    "HTML without a head": (after(b"<html><body>Welcome</body></html>\r\n\r\n"), MalformedAnswerError, None),
    "a header without a name": (after(HEAD + b": x\r\n\r\n"), MalformedAnswerError, None),
    "a header without a colon": (after(HEAD + b"what is this\r\n\r\n"), MalformedAnswerError, None),
    "a status of two digits": (after(b"HTTP/1.1 20 OK\r\n\r\n"), MalformedAnswerError, None),
    "a negative length": (after(HEAD + b"Content-Length: -1\r\n\r\n", end="keep"), MalformedAnswerError, None),
    "a length that is none": (after(HEAD + b"Content-Length: ten\r\n\r\n", end="keep"), MalformedAnswerError, None),
    "a length beyond reason": (
        after(HEAD + b"Content-Length: 999999999999999\r\n\r\n{}", end="keep"),
        MalformedAnswerError,
        "longer than",
    ),
    "no size of a chunk": (after(CHUNKED + b"zz\r\n{}\r\n", end="keep"), MalformedAnswerError, None),
    "a chunk longer than it said": (after(CHUNKED + b"1\r\n{}}}\r\n0\r\n\r\n", end="keep"), MalformedAnswerError, None),
    "a huge header": (
        flood(HEAD, b"X-Filler: " + b"x" * 8000 + b"\r\n"),
        MalformedAnswerError,
        None,
    ),
    "a head without end": (flood(HEAD + b"X-Filler: ", b"x" * 65_536), MalformedAnswerError, None),
    "a redirect": (
        after(answer(b"", "Location: https://elsewhere/", status="307 Temporary Redirect")),
        MalformedAnswerError,
        "leads to 'https://elsewhere/'",
    ),
    "a page of somebody else": (
        after(answer(b"<html>not here</html>", "Content-Type: text/html", status="404 Not Found")),
        MalformedAnswerError,
        "no Lambda service: status 404 .*<html>",
    ),
    "gzip": (
        after(answer(gzip.compress(b"{}"), "Content-Encoding: gzip")),
        MalformedAnswerError,
        "encoded as 'gzip', which nobody asked for",
    ),
    "an error in gzip": (
        after(answer(gzip.compress(b"{}"), "Content-Encoding: gzip", status="400 Bad Request")),
        MalformedAnswerError,
        "gzip",
    ),
    "another protocol was agreed upon": (
        after(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", end="keep"),
        MalformedAnswerError,
        None,
    ),
    "a proxy that fails": (
        after(answer(b"<html>502</html>", status="502 Bad Gateway")),
        LambdaServiceException,
        "502, without a reason",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_invocation(run: Callable[..., Any], case: str) -> None:
    script, expected, text = CASES[case]
    client = run(script)
    began = time.monotonic()
    with pytest.raises(expected, match=text) as caught:
        client.invoke("f", {})
    assert time.monotonic() - began < WAIT_SECONDS + GRACE_SECONDS
    # Errors of the HTTP library are causes, never what is raised.
    assert type(caught.value).__module__.startswith("venturekit.client.")
    assert (client.taken(), client.waits) == (0, [])
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"
    assert client.server.connections == 2


@pytest.mark.parametrize("case", ["closes within the body", "never answers", "garbage"])
def test_what_may_be_repeated_is(run: Callable[..., Any], case: str) -> None:
    client = run(CASES[case][0], max_attempts=2)
    output = client.send(GET)
    assert (output.RecursionConfig.RecursiveLoop, output.metadata.attempts, len(client.waits)) == ("Terminate", 2, 1)
    assert client.taken() == 0


GOOD_CASES: dict[str, tuple[bytes, bool]] = {
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"7"),
        True,
    ),
    "chunks": (CHUNKED + b"1;why=not\r\n7\r\n0\r\nX-Trailer: 1\r\n\r\n", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n7", False),
    "until the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\n7", False),
    "connection close": (answer(b"7", "Connection: close"), False),
}


@pytest.mark.parametrize("case", GOOD_CASES)
def test_odd_and_right(run: Callable[..., Any], case: str) -> None:
    data, is_kept = GOOD_CASES[case]

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        if is_kept:
            peer.answer(b"8")

    client = run(script)
    assert client.invoke("f").bytes == b"7"
    assert client.taken() == 0
    assert client.invoke("f").bytes == (b"8" if is_kept else b'{"RecursiveLoop":"Terminate"}')


def test_more_than_the_length_says_is_not_taken_for_the_next_answer(run: Callable[..., Any]) -> None:
    client = run(after(answer(b"7") + answer(b"stolen"), end="keep"))
    assert client.invoke("f").bytes == b"7"
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"
    assert client.server.connections == 2


def test_a_flood_of_interim_answers_ends(run: Callable[..., Any]) -> None:
    client = run(flood(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 50), connect_timeout=0.2)
    with pytest.raises((MalformedAnswerError, AnswerTimeoutError)):
        client.invoke("f")
    assert client.taken() == 0


def test_a_flood_of_trailers_ends(run: Callable[..., Any]) -> None:
    client = run(flood(CHUNKED + b"1\r\n7\r\n0\r\n", b"X-Filler: 1\r\n" * 2000))
    with pytest.raises(MalformedAnswerError):
        client.invoke("f")
    assert client.taken() == 0


def test_a_body_without_end(kind: Any) -> None:
    piece = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
    with ScriptedServer(flood(CHUNKED, piece)) as server:
        client = kind(server.url, max_attempts=1)
        with pytest.raises(MalformedAnswerError, match="longer than"):
            client.invoke("f")
        assert client.taken() == 0
        client.close()


@pytest.mark.parametrize("end", ["close", "keep"])
def test_a_refusal_before_the_request_is_sent_whole_is_seen(
    run: Callable[..., Any], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("venturekit.transport.connection._STALL_SECONDS", 0.1)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer(b'{"message":"too large"}', "x-amzn-ErrorType: RequestTooLargeException", status="413 Large"))
        peer.until_stalled()
        if end == "keep":
            # It reads nothing more, and closes when the client does.
            assert refused.wait(GRACE_SECONDS)
            peer.until_closed()

    refused = threading.Event()
    client = run(script, read_timeout=4)
    with pytest.raises(RequestTooLargeException, match="too large"):
        client.invoke("f", bytes(6 << 20))
    refused.set()
    assert client.taken() == 0
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"


def test_a_connection_that_was_closed_while_it_rested_is_not_used(run: Callable[..., Any]) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer(b"7")
        peer.socket.close()
        closed.set()

    client = run(script)
    assert client.invoke("f").bytes == b"7"
    assert closed.wait(GRACE_SECONDS)
    # The event loop has to come round once to see it; what is asked first there is asked again, if it may be.
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"
    assert client.invoke("f").bytes


def test_a_connection_that_is_closed_when_it_is_used_again(run: Callable[..., Any]) -> None:
    def script(peer: Peer) -> None:
        peer.answer(b"7")
        peer.request()

    client = run(script, max_attempts=3)
    assert client.invoke("f").bytes == b"7"
    with pytest.raises(ConnectionLostError) as lost:
        client.invoke("f")
    assert lost.value.outcome_unknown
    assert (len(client.server.requests), client.waits) == (2, [])

    client = run(script, max_attempts=3)
    assert client.invoke("f").bytes == b"7"
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"
    assert [request.method for request in client.server.requests] == ["POST", "GET", "GET"]


def test_nobody_listens(kind: Any) -> None:
    with ScriptedServer(lambda peer: None) as server:
        url = server.url
    client = kind(url, max_attempts=3)
    with pytest.raises(ConnectError, match="cannot be reached") as refused:
        client.invoke("f")
    assert (refused.value.outcome_unknown, len(client.waits), client.taken()) == (False, 2, 0)
    client.close()


# --- streams ---------------------------------------------------------------------------------------------------------

STREAM = HEAD + b"Content-Type: application/vnd.amazon.eventstream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = encode_event("PayloadChunk", b"piece;", "application/octet-stream")
COMPLETE = encode_event("InvokeComplete", b"{}", "application/json")


def chunk(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def broken(message: bytes, position: int) -> bytes:
    return message[:position] + bytes((message[position] ^ 1,)) + message[position + 1 :]


def exception(code: str, body: bytes = b'{"message":"as told"}') -> bytes:
    return encode_message({":message-type": "exception", ":exception-type": code}, body)


GIANT = (PAYLOAD_LIMIT_BYTES + 17).to_bytes(4, "big") + bytes(4)
END = b"0\r\n\r\n"
STREAM_CASES: dict[str, tuple[bytes, type[Exception], str | None, int]] = {
    "without the last event": (chunk(CHUNK) + END, StreamError, "without its last event", 1),
    "without any event": (END, StreamError, "without its last event", 0),
    "half an event": (chunk(CHUNK, CHUNK[:20]) + END, StreamError, "inside a message", 1),
    "a wrong checksum": (chunk(CHUNK, broken(CHUNK, -1 % len(CHUNK))) + END, StreamError, "checksum", 1),
    "a wrong checksum of the lengths": (chunk(CHUNK, broken(CHUNK, 1)) + END, StreamError, "checksum", 1),
    "a flipped bit of the payload": (chunk(CHUNK, broken(CHUNK, len(CHUNK) - 6)) + END, StreamError, "checksum", 1),
    "no event stream": (chunk(b"<html>Welcome to the captive portal</html>") + END, StreamError, "no event stream", 0),
    "an exception": (chunk(CHUNK, exception("TooManyRequestsException")), TooManyRequestsException, "as told", 1),
    "an unknown exception": (chunk(CHUNK, exception("NobodyKnows")), LambdaServiceException, "NobodyKnows: as told", 1),
    "an error": (
        chunk(CHUNK, encode_message({":message-type": "error", ":error-code": "Odd", ":error-message": "no"}, b"")),
        LambdaServiceException,
        "Odd: no",
        1,
    ),
    "an exception that is no JSON": (chunk(exception("X", b"[")), StreamError, "no JSON object", 0),
    "an exception that is nested": (chunk(exception("X", b"[" * 100_000)), StreamError, "no JSON object", 0),
    "a message of no type": (chunk(encode_message({}, b"")), StreamError, "has the type None", 0),
    "closed within an event": (chunk(CHUNK) + b"ff\r\n" + CHUNK[:9], ConnectionLostError, None, 1),
    "no chunk": (chunk(CHUNK) + b"zz\r\n", MalformedAnswerError, None, 1),
    "more after the last event": (chunk(CHUNK + COMPLETE + CHUNK) + END, StreamError, "goes on after", 1),
    "more after the last event, later": (chunk(CHUNK + COMPLETE, CHUNK) + END, StreamError, "goes on after", 1),
}


@pytest.mark.parametrize("case", STREAM_CASES)
def test_a_stream(run: Callable[..., Any], case: str) -> None:
    data, expected, text, count = STREAM_CASES[case]
    client = run(after(STREAM + data), read_timeout=5)
    stream = client.stream("f")
    taken = []
    with pytest.raises(expected, match=text):
        for each in stream:
            taken.append(each)  # noqa: PERF402 - what came before the error counts
    # What is broken as HTTP takes with it what came at once with it.
    assert taken == [b"piece;"] * count or (case == "no chunk" and not taken)
    assert client.taken() == 0
    assert client.send(GET).RecursionConfig.RecursiveLoop == "Terminate"


def test_a_giant_event_is_refused_by_its_lengths(run: Callable[..., Any]) -> None:
    prelude = GIANT + zlib.crc32(GIANT).to_bytes(4, "big")
    client = run(after(STREAM + chunk(prelude), end="keep"), read_timeout=5)
    with pytest.raises(StreamError, match="bytes of payload, more than"):
        next(client.stream("f"))
    assert client.taken() == 0


def test_a_stream_that_stops(run: Callable[..., Any]) -> None:
    client = run(after(STREAM + chunk(CHUNK), end="keep"))
    stream = client.stream("f")
    assert next(stream) == b"piece;"
    with pytest.raises(AnswerTimeoutError):
        next(stream)
    assert client.taken() == 0
    client.server.join()
    assert client.server.seen_closed == [0]


def test_a_function_may_write_as_slowly_as_it_likes(run: Callable[..., Any]) -> None:
    data = CHUNK * 3 + COMPLETE

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(STREAM)
        for at in range(0, len(data), 16):
            peer.send(chunk(data[at : at + 16]))
            time.sleep(0.01)  # The pace is what is tested.
        peer.send(END)

    client = run(script)
    assert list(client.stream("f")) == [b"piece;"] * 3
    assert client.taken() == 0


def test_a_stream_without_an_end_behind_its_last_event(run: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.setattr("venturekit.client.event_streams.DRAIN_SECONDS", 0.05)
    monkeypatch.setattr("venturekit.client.async_streams.DRAIN_SECONDS", 0.05)
    client = run(after(STREAM + chunk(CHUNK + COMPLETE), end="keep"))
    assert list(client.stream("f")) == [b"piece;"]
    assert client.taken() == 0
    client.server.join()
    assert client.server.seen_closed == [0]


def test_a_stream_keeps_its_connection(run: Callable[..., Any]) -> None:
    def script(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.send(STREAM + chunk(CHUNK + COMPLETE), END)
        peer.answer(b"7")

    client = run(script, read_timeout=5)
    assert list(client.stream("f")) == [b"piece;"]
    events = client.events(InvokeWithResponseStreamCommand(FunctionName="f"))
    assert [list(event) for event in events] == [["PayloadChunk"], ["InvokeComplete"]]
    assert client.invoke("f").bytes == b"7"
    assert client.server.connections == 1


def test_a_compressed_stream_is_refused(run: Callable[..., Any]) -> None:
    client = run(after(STREAM.replace(b"OK\r\n", b"OK\r\nContent-Encoding: gzip\r\n") + END))
    with pytest.raises(MalformedAnswerError, match="gzip"):
        next(client.stream("f"))
    assert client.taken() == 0


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (answer(b'{"message":"no"}', "x-amzn-ErrorType: ResourceNotFoundException", status="404 Not"), "no"),
        (answer(b"<html>" + b"x" * 100, status="403 Forbidden"), "no Lambda service"),
        (CHUNKED.replace(b"200 OK", b"500 Sorry") + chunk(b'{"Message":"broken"}') + END, "broken"),
    ],
)
def test_a_stream_that_is_refused(run: Callable[..., Any], data: bytes, expected: str) -> None:
    client = run(after(data))
    with pytest.raises((LambdaServiceException, MalformedAnswerError), match=expected):
        next(client.stream("f"))
    assert client.taken() == 0


def test_a_dry_run_of_a_stream(run: Callable[..., Any]) -> None:
    client = run(after(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert client.events(InvokeWithResponseStreamCommand(FunctionName="f", InvocationType="DryRun")) == []
    assert client.taken() == 0
