"""What our runtime interface client sends when a handler streams, byte by byte, and how it takes refusals."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.differential.ric_peer import ACCEPTED, EVENT, NEXT, Peer, is_next

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVENT_A = NEXT + b'"a"'
TYPE, BODY = b"Lambda-Runtime-Function-Error-Type: ", b"Lambda-Runtime-Function-Error-Body: "
ASK = "import socket\ndef ask(p):\n    with socket.create_connection(('127.0.0.1', p)) as s: s.recv(1)\n"


@contextmanager
def peer_of(directory: Path, source: str) -> Iterator[Peer]:
    """A client that has asked for its first event."""
    peer = Peer(directory, source)
    try:
        assert is_next(peer.receive())
        yield peer
    finally:
        peer.close()


def received(peer: Peer, end: bytes) -> bytes:
    """What has come until it ends so."""
    data = b""
    while not data.endswith(end):
        piece = peer.receive()
        assert piece, data
        data += piece
    return data


def whole_stream(peer: Peer) -> bytes:
    """A stream, and the next request behind it."""
    data = received(peer, b"\r\n\r\n")
    while not is_next(data[data.rfind(b"GET ") :]):
        data += received(peer, b"\r\n\r\n")
    return data


def trailing_error(data: bytes) -> tuple[bytes, Any]:
    """Type and JSON in the trailers of a stream that the next request follows."""
    _pieces, _end, trailers = data.rpartition(b"0\r\n" + TYPE)
    kind, _line, rest = trailers.partition(b"\r\n")
    assert rest.startswith(BODY)
    encoded, _line, following = rest[len(BODY) :].partition(b"\r\n\r\n")
    assert is_next(following)
    return kind, json.loads(base64.b64decode(encoded, validate=True))


def test_the_head_and_the_pieces(tmp_path: Path) -> None:
    with peer_of(tmp_path, "def handler(event, context):\n    yield 'one'\n    yield b'two'\n") as peer:
        peer.connection.sendall(EVENT_A)
        head, _, rest = whole_stream(peer).partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        assert line == b"POST /2018-06-01/runtime/invocation/1-2/response HTTP/1.1"
        names = [field.partition(b":")[0] for field in fields]
        assert names == [
            b"Host",
            b"User-Agent",
            b"Content-Type",
            b"Lambda-Runtime-Function-Response-Mode",
            b"Transfer-Encoding",
            b"Trailer",
        ]
        assert fields[2:] == [
            b"Content-Type: application/octet-stream",
            b"Lambda-Runtime-Function-Response-Mode: streaming",
            b"Transfer-Encoding: chunked",
            b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        ]
        start, _, following = rest.partition(b"0\r\n\r\n")
        assert start == b"3\r\none\r\n3\r\ntwo\r\n"
        assert is_next(following)
        # Both answers may come together.
        peer.connection.sendall(ACCEPTED + EVENT_A)
        assert b"/response HTTP/1.1\r\n" in peer.receive()


def test_the_first_piece_is_one_write_with_the_head_and_the_end_with_the_next_request(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gate:
        source = f"{ASK}def handler(event, context):\n    yield 'one'\n    ask({gate.getsockname()[1]})\n"
        with peer_of(tmp_path, source) as peer:
            peer.connection.sendall(EVENT_A)
            assert peer.receive().endswith(b"\r\n\r\n3\r\none\r\n")
            gate.accept()[0].close()
            end, _, following = peer.receive().partition(b"\r\n\r\n")
            assert end == b"0"
            assert is_next(following)


def test_nothing_is_sent_before_there_is_something(tmp_path: Path) -> None:
    source = "def handler(event, context):\n    yield ''\n    raise ValueError('no')\n"
    with peer_of(tmp_path, source) as peer:
        peer.connection.sendall(EVENT_A)
        assert peer.receive().startswith(b"POST /2018-06-01/runtime/invocation/1-2/error HTTP/1.1\r\n")


def test_the_invocation_id_is_echoed(tmp_path: Path) -> None:
    with peer_of(tmp_path, "def handler(event, context):\n    yield 'x'\n") as peer:
        peer.connection.sendall(
            EVENT_A.replace(b"Content-Length", b"Lambda-Runtime-Invocation-Id: i-7\r\nContent-Length")
        )
        assert b"\r\nLambda-Runtime-Invocation-Id: i-7\r\n" in peer.receive()


def test_the_prelude_is_in_front_of_the_first_piece(tmp_path: Path) -> None:
    source = """
    def handler(event, context):
        context.response_stream.begin_http(404, {"A": "b"}, ["c=d"])
        yield "body"
    """
    with peer_of(tmp_path, source) as peer:
        peer.connection.sendall(EVENT_A)
        data = peer.receive()
        assert b"\r\nContent-Type: application/vnd.awslambda.http-integration-response\r\n" in data
        prelude = b'{"statusCode":404,"headers":{"A":"b"},"cookies":["c=d"]}' + bytes(8)
        assert b"\r\n\r\n%x\r\n%bbody\r\n" % (len(prelude) + 4, prelude) in data


def test_an_error_in_the_middle_is_told_by_trailers(tmp_path: Path) -> None:
    source = "def handler(event, context):\n    yield 'x'\n    raise ValueError('caf\u00e9')\n"
    with peer_of(tmp_path, source) as peer:
        peer.connection.sendall(EVENT_A)
        kind, error = trailing_error(whole_stream(peer))
        assert kind == b"ValueError"
        assert list(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]
        assert [error["errorMessage"], error["errorType"], error["requestId"]] == ["caf\u00e9", "ValueError", "1-2"]
        assert [line.count("in handler") for line in error["stackTrace"]] == [1]


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Shop.Gone", b"Shop.Gone"),
        ("a\r\nb: c", b"Unhandled"),
        ("\u00c4rger", b"Unhandled"),
        ("", b"Unhandled"),
    ],
)
def test_the_name_of_an_error_cannot_break_the_trailers(tmp_path: Path, name: str, sent: bytes) -> None:
    source = f"def handler(event, context):\n    yield 'x'\n    raise type({name!r}, (Exception,), {{}})('m')\n"
    with peer_of(tmp_path, source) as peer:
        peer.connection.sendall(EVENT_A)
        kind, error = trailing_error(whole_stream(peer))
        assert (kind, error["errorType"]) == (sent, name)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_connection_that_is_cut_in_the_middle(tmp_path: Path, kind: str) -> None:
    source = f"""
    {kind} handler(event, context):
        try:
            while event == "a":
                yield bytes(1_000_000)
            yield "fine"
        finally:
            print("closed")
    """
    with peer_of(tmp_path, source) as peer:
        peer.connection.sendall(EVENT_A)
        received(peer, b"\0" * 1000)
        peer.connection.close()
        peer.accept()
        assert is_next(peer.receive())
        peer.connection.sendall(NEXT + b'"b"')
        assert b"4\r\nfine\r\n" in whole_stream(peer)
        peer.process.kill()
        stdout, stderr = peer.process.communicate(timeout=30)
        assert b"[ERROR] The result of this invocation was cut off: " in stderr
        assert b"[ERROR] ResponseStreamError: the Runtime API takes no more of this response: " in stdout
        assert stdout.count(b"closed\n") == 2


def test_a_refusal_in_the_middle(tmp_path: Path) -> None:
    with peer_of(tmp_path, "def handler(e, c):\n    yield 'x' if e == 'b' else bytes(40_000_000)\n") as peer:
        peer.connection.sendall(EVENT_A)
        received(peer, b"\0" * 1000)
        peer.connection.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        peer.connection.shutdown(socket.SHUT_WR)
        while peer.receive():
            pass
        peer.accept()
        assert is_next(peer.receive())
        peer.connection.sendall(NEXT + b'"b"')
        assert b"1\r\nx\r\n" in peer.receive()
        peer.process.kill()
        _stdout, stderr = peer.process.communicate(timeout=30)
        assert b"[ERROR] The Runtime API refused the result of this invocation with HTTP status 413.\n" in stderr


def test_a_server_that_closes_after_each_response_is_served(tmp_path: Path) -> None:
    with peer_of(tmp_path, "def handler(event, context):\n    yield event\n") as peer:
        for _ in range(2):
            peer.connection.sendall(b"HTTP/1.1 200 OK\r\n" + EVENT + b'Connection: close\r\n\r\n"a"')
            peer.connection.close()
            peer.accept()
            data = whole_stream(peer)
            assert b"\r\n\r\n1\r\na\r\n0\r\n\r\nGET " in data
            peer.connection.sendall(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            peer.connection.close()
            peer.accept()
            assert is_next(peer.receive())


def test_the_api_goes_away_in_the_middle(tmp_path: Path) -> None:
    with peer_of(tmp_path, "def handler(event, context):\n    while True:\n        yield bytes(100_000)\n") as peer:
        peer.connection.sendall(EVENT_A)
        received(peer, b"\0" * 1000)
        peer.listener.close()
        peer.connection.close()
        status, _stderr = peer.end()
        assert status == 0
