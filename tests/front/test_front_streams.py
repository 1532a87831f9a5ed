"""Streamed responses: what reaches the client when, and how a stream that fails ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.front.front_lab import DOMAIN, ID, PlayedStream, chunk, complete, until
from venturekit.front import response_stream
from venturekit.front.http_client import ServerGoneError
from venturekit.protocol.http_response import PRELUDE_LIMIT_BYTES, PRELUDE_TYPE

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

TYPE = "x_venturekit_response_content_type"
REQUEST = f"GET / HTTP/1.1\r\nHost: {ID}.{DOMAIN}\r\n\r\n".encode()


def played(lab: Lab, *pieces: Any, status: int = 200, **headers: str) -> PlayedStream:
    stream = PlayedStream(pieces, status, **headers)
    lab.api.response = stream
    return stream


def prelude(text: bytes = b'{"statusCode":201,"headers":{"x-a":"b"},"cookies":["c=1","d=2"]}') -> bytes:
    return text + bytes(8)


def test_every_piece_comes_before_the_next_is_there(streaming: Lab) -> None:
    stream = played(streaming, chunk(b"one"), None, chunk(b"two") + chunk(b"three"), None, complete())
    client = streaming.connect()
    client.send(REQUEST)
    status, lines = client.head()
    assert (status, dict(lines)["content-type"]) == (200, "application/octet-stream")
    assert dict(lines)["x-amzn-requestid"] == streaming.api.events[0]["requestContext"]["requestId"]
    assert client.piece() == b"one"
    stream.went_on.set()
    # What came together goes together.
    assert client.piece() == b"twothree"
    stream.went_on.set()
    assert client.piece() == b""
    # The connection serves the next request.
    played(streaming, chunk(b"x"), complete())
    client.send(REQUEST)
    assert client.answer().body == b"x"


@pytest.mark.parametrize("cuts", [1, 3, 10_000])
def test_a_prelude_says_what_the_response_is(streaming: Lab, cuts: int) -> None:
    whole = chunk(prelude() + b"body") + chunk(b" more") + complete()
    pieces = [whole[start : start + cuts] for start in range(0, len(whole), cuts)]
    played(streaming, *pieces, **{TYPE: f"{PRELUDE_TYPE}; charset=utf-8"})
    answer = streaming.ask()
    assert (answer.status, answer["x-a"], answer.body) == (201, "b", b"body more")
    assert answer.all("set-cookie") == ["c=1", "d=2"]


def test_a_prelude_alone_starts_the_response(streaming: Lab) -> None:
    stream = played(streaming, chunk(prelude()), None, chunk(b"later"), complete(), **{TYPE: PRELUDE_TYPE})
    client = streaming.connect()
    client.send(REQUEST)
    assert client.head()[0] == 201
    stream.went_on.set()
    assert client.piece() == b"later"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(streaming: Lab, status: int) -> None:
    played(streaming, chunk(prelude(b'{"statusCode":%d}' % status) + b"x"), complete(), **{TYPE: PRELUDE_TYPE})
    client = streaming.connect()
    client.send(REQUEST)
    assert client.answer().status == status
    played(streaming, chunk(b"next"), complete())
    client.send(REQUEST)
    assert client.answer().body == b"next"


def test_head_gets_no_body(streaming: Lab) -> None:
    played(streaming, chunk(b"body"), complete())
    client = streaming.connect()
    client.send(REQUEST.replace(b"GET", b"HEAD"))
    assert client.answer("HEAD").status == 200
    played(streaming, chunk(b"next"), complete())
    client.send(REQUEST)
    assert client.answer().body == b"next"


def test_an_empty_stream_is_an_empty_response(streaming: Lab) -> None:
    played(streaming, complete())
    answer = streaming.ask()
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    "pieces",
    [
        [complete(ErrorCode="Unhandled", ErrorDetails="{}")],
        [chunk(b'{"statusCode":'), complete(ErrorCode="Unhandled")],
        [chunk(b'{"statusCode":'), complete()],
        [chunk(b"no JSON at all" + bytes(8)), complete()],
        [chunk(b"[1]" + bytes(8)), complete()],
        [chunk(prelude(b'{"statusCode":42}')), complete()],
        [chunk(prelude(b'{"headers":{"x":"a\\r\\nb: c"}}')), complete()],
        [chunk(b"{" + b" " * PRELUDE_LIMIT_BYTES + b" " * 100), complete()],
    ],
)
def test_what_fails_before_the_first_byte_is_a_502(streaming: Lab, pieces: list[bytes]) -> None:
    stream = played(streaming, *pieces, **{TYPE: PRELUDE_TYPE})
    answer = streaming.ask()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")
    assert stream.given_up.is_set()


@pytest.mark.parametrize(
    "end",
    [
        complete(ErrorCode="Unhandled", ErrorDetails="{}"),
        b"",
        ServerGoneError("the service has gone"),
        b"this is no event stream",
        chunk(b"half")[:-3],
        bytes([*chunk(b"wrong")[:-1], 1]),
    ],
)
def test_what_fails_later_cuts_the_response(streaming: Lab, end: Any, caplog: pytest.LogCaptureFixture) -> None:
    played(streaming, chunk(b"begun"), end)
    client = streaming.connect()
    client.send(REQUEST)
    assert client.head()[0] == 200
    assert client.piece() == b"begun"
    # No end of the chunked body: the client sees that it is not whole.
    with pytest.raises((EOFError, ConnectionError)):
        client.piece()
    assert "cut off" in caplog.text
    assert "ASGI" not in caplog.text


@pytest.mark.parametrize("end", [b"", ServerGoneError("the service has gone"), b"this is no event stream"])
def test_a_service_that_goes_before_the_first_byte_is_a_503(streaming: Lab, end: Any) -> None:
    played(streaming, end)
    assert streaming.ask().status == 503


@pytest.mark.parametrize(("status", "expected"), [(429, 429), (404, 403), (413, 413), (500, 502)])
def test_a_refusal_is_told(streaming: Lab, status: int, expected: int) -> None:
    played(streaming, b'{"Message":', b'"x"}', status=status)
    assert streaming.ask().status == expected


def test_a_client_that_goes_gives_the_stream_up(streaming: Lab, caplog: pytest.LogCaptureFixture) -> None:
    stream = played(streaming, chunk(b"one"), None, chunk(b"two"), complete())
    client = streaming.connect()
    client.send(REQUEST)
    assert client.head()[0] == 200
    assert client.piece() == b"one"
    client.drop()
    assert stream.given_up.wait(20)
    assert caplog.text == ""


def test_a_client_that_reads_no_more_holds_the_stream_up(streaming: Lab) -> None:
    read = [0]
    block = chunk(bytes(262_144))

    class Endless(PlayedStream):
        async def read(self) -> bytes:
            read[0] += 1
            return block if read[0] <= 200 else complete() if read[0] == 201 else b""

    streaming.api.response = Endless(())
    client = streaming.connect(receive_buffer=65_536)
    client.send(REQUEST)
    assert client.head()[0] == 200
    former = -1
    while former != read[0]:
        former = read[0]
        # Nothing tells that nothing happens: the stream stands still for a while.
        streaming._thread.join(0.2)
    assert read[0] < 100
    assert sum(len(client.piece()) for _ in range(200)) == 200 * 262_144
    assert client.piece() == b""


def test_a_client_of_http_1_0_gets_it_in_one_piece(streaming: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    request = REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")
    played(streaming, chunk(prelude() + b"one "), chunk(b"two"), complete(), **{TYPE: PRELUDE_TYPE})
    client = streaming.connect()
    client.send(request)
    answer = client.answer()
    assert (answer.status, answer["content-length"], answer.body) == (201, "7", b"one two")
    assert client.at_end()
    monkeypatch.setattr(response_stream, "OLD_CLIENT_LIMIT_BYTES", 5)
    played(streaming, chunk(b"one "), chunk(b"two"), complete())
    client = streaming.connect()
    client.send(request)
    assert client.answer().status == 503


def test_a_client_that_goes_at_once(streaming: Lab) -> None:
    stream = played(streaming, None, chunk(b"late"), complete())
    client = streaming.connect()
    client.send(REQUEST)
    until(lambda: streaming.api.events, "the function is invoked")
    client.drop()
    assert stream.given_up.wait(20)
