"""HTTP/1.1 without sockets: responses in any pieces, compared with the standard library on the same bytes."""

from __future__ import annotations

import http.client
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.http1 import HttpError, ResponseParser, request_bytes


class FakeSocket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def by_standard_library(data: bytes) -> tuple[int, bytes, dict[str, str]]:
    response = http.client.HTTPResponse(FakeSocket(data), method="POST")  # type: ignore[arg-type]
    response.begin()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return response.status, response.read(), headers


def parse(data: bytes, sizes: list[int] | None = None, *, end: bool = True, limit: int | None = None) -> ResponseParser:
    parser = ResponseParser(limit)
    at, sizes = 0, list(sizes or [])
    while at < len(data) and not parser.complete:
        size = sizes.pop() if sizes else len(data)
        parser.feed(data[at : at + size])
        at += size
    if end and not parser.complete:
        parser.end()
    return parser


WHOLE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 202 Accepted\r\ncontent-length:0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"HTTP/1.1 404 Nicht gefunden \xe4\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 200 OK\r\nX-Pad: \t spaced \t\r\nContent-Length: 1\r\n\r\na",
    b"HTTP/1.1 500 X\r\nContent-Length: 3\r\nContent-Type: text/plain\r\n\r\nbad",
]


@settings(max_examples=150)
@given(st.sampled_from(WHOLE), st.lists(st.integers(1, 12), max_size=80))
def test_a_response_is_the_same_in_any_pieces(data: bytes, sizes: list[int]) -> None:
    parser = parse(data, sizes)
    status, body, headers = by_standard_library(data)
    assert (parser.status, parser.body, parser.complete, parser.head_complete) == (status, body, True, True)
    # Our header values have lost all that is around them, the standard library's what is before them.
    assert {name: value.strip() for name, value in headers.items()} == parser.headers


@pytest.mark.parametrize("data", WHOLE)
def test_byte_by_byte(data: bytes) -> None:
    assert parse(data, [1] * len(data)).body == by_standard_library(data)[1]


@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", True),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nConnection: x, close\r\nContent-Length: 1\r\n\r\na", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\n\r\na", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", False),
        (b"HTTP/1.1 204 X\r\n\r\n", True),
        (b"HTTP/1.1 204 X\r\n\r\nwhat is this", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
    ],
)
def test_whether_a_connection_can_go_on(data: bytes, reusable: bool) -> None:
    assert parse(data).reusable is reusable


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "before the response"),
        (b"HTTP/1.1 200 OK\r\n", "before the response"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "before the response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "within the body"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "within the body"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 2000 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 \xb2\xb3\xb9 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 000 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.x 200 OK\r\n\r\n", "no HTTP response"),
        (b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\n: empty\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n", "no header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n", "Content-Length is '5,5'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "Content-Length is"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "Content-Length is"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", "Content-Length is"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n", "Content-Length is"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "only chunked is understood"),
        *(
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc", "no size of a chunk")
            for size in (b"-1", b"+1", b"0x1", b"1_0", b"", b"g", b"1 1", b"f" * 17)
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "longer than it said"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000, "has no end"),
        (b"x" * 300_000, "longer than 262144"),
    ],
)
def test_what_is_no_response_is_said_to_be_none(data: bytes, text: str) -> None:
    with pytest.raises(HttpError, match=text):
        parse(data)
    with pytest.raises(HttpError, match=text):
        parse(data, [7] * len(data))


@settings(max_examples=200)
@given(st.sampled_from(WHOLE), st.integers(0, 200), st.binary(max_size=4), st.lists(st.integers(1, 9), max_size=40))
def test_a_torn_response_is_one_or_an_error(data: bytes, at: int, torn: bytes, sizes: list[int]) -> None:
    at %= len(data)
    try:
        parser = parse(data[:at] + torn + data[at + 1 :], sizes)
    except HttpError:
        return
    assert parser.complete
    assert 200 <= parser.status <= 999


def test_a_response_has_a_limit() -> None:
    with pytest.raises(HttpError, match="longer than it may be"):
        parse(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100, limit=100)
    assert parse(WHOLE[0], limit=len(WHOLE[0])).body == b"hello"


def test_what_was_taken_is_gone() -> None:
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    assert (parser.take(), parser.body, parser.complete) == (b"ab", b"", False)
    parser.feed(b"cd")
    assert (parser.take(), parser.complete) == (b"cd", True)


def test_a_request_is_one_piece() -> None:
    made = request_bytes("POST", "/a", {"Host": "h", "X": "ä"}, b"{}")
    assert made == "POST /a HTTP/1.1\r\nHost: h\r\nX: ä\r\nContent-Length: 2\r\n\r\n{}".encode()


@pytest.mark.parametrize(
    "headers", [{"A": "b\r\nc"}, {"A": "b\n"}, {"A": "\0"}, {"A\r\nB": "c"}, {"A B": "c"}, {"Ä": "c"}, {"": "c"}]
)
def test_a_header_that_would_be_torn_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="would be torn"):
        request_bytes("POST", "/a", headers, b"")
