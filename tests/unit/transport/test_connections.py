"""Blocking HTTP over kept connections: what they are taken for, when they are given up, and what bounds them."""

from __future__ import annotations

import gc
import socket
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.protocol.http1 import HEAD_LIMIT_BYTES
from venturekit.transport import connection as module
from venturekit.transport.connection import Connection, Limits, Outgoing, is_readable
from venturekit.transport.connections import Connections, HttpResponse
from venturekit.transport.endpoint import parse_endpoint
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ClosedError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
    PoolError,
)
from venturekit.transport.timed_socket import LEAST_BYTES_PER_SECOND, TimedSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = Outgoing(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"")
PATIENT = Limits(10.0)
SHORT = Limits(0.2)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[ScriptedServer, Connections]]]:
    made: list[Any] = []

    def start(script: Callable[[Peer], object], **options: Any) -> tuple[ScriptedServer, Connections]:
        server = ScriptedServer(script)
        connections = Connections(parse_endpoint(server.url), **options)
        made.extend((connections, server))
        return server, connections

    yield start
    for each in made:
        each.close()
        assert getattr(each, "failures", []) == []


def always(body: bytes = b"7") -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        while True:
            peer.answer(body)

    return script


def raw(*pieces: bytes) -> Callable[[Peer], None]:
    """Answers every request so."""

    def script(peer: Peer) -> None:
        while True:
            peer.request()
            peer.send(*pieces)

    return script


def idle(connections: Connections) -> int:
    return len(connections._idle)


def test_a_connection_is_used_again(serve: Any) -> None:
    server, connections = serve(always())
    for _ in range(5):
        assert connections.exchange(GET, PATIENT) == HttpResponse(200, {"content-length": "1"}, b"7")
    assert (server.connections, idle(connections)) == (1, 1)


@pytest.mark.parametrize(
    ("data", "is_kept"),
    [
        (answer(b"7"), True),
        (answer(b"7") + b"x", False),
        (answer(b"7", "Connection: close"), False),
        (answer(b"7", "Connection: keep-alive"), True),
        (answer(b"7").replace(b"1.1", b"1.0"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\n7\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\nHTTP/1.1 200", False),
    ],
)
def test_what_is_kept(serve: Any, data: bytes, is_kept: bool) -> None:
    _, connections = serve(raw(data))
    connections.exchange(GET, PATIENT)
    assert idle(connections) == is_kept
    connections.close()
    with_pieces = connections.open(GET, PATIENT)
    assert with_pieces.read_all(100) in {b"7", b""}
    assert idle(connections) == is_kept


def test_no_more_are_kept_than_may_be(serve: Any) -> None:
    _, connections = serve(always(), max_idle=1)
    first, second = connections.open(GET, PATIENT), connections.open(GET, PATIENT)
    assert (first.read_all(9), second.read_all(9)) == (b"7", b"7")
    assert idle(connections) == 1


def test_what_rested_too_long_is_not_used(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server, connections = serve(always())
    connections.exchange(GET, PATIENT)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    connections.exchange(GET, PATIENT)
    assert server.connections == 2


def test_waiting_for_a_connection(serve: Any) -> None:
    _, connections = serve(always(), max_open=1, pool_seconds=0.05)
    held = connections.open(GET, PATIENT)
    with pytest.raises(PoolError, match=r"all 1 connections to http://127.0.0.1:\d+ were in use for 0.05 s"):
        connections.exchange(GET, PATIENT)
    with pytest.raises(PoolError):
        connections.exchange(GET, Limits(None, time.monotonic() - 1))
    with ThreadPoolExecutor(1) as pool:
        connections._pool_seconds = 10.0
        waiting = pool.submit(connections.exchange, GET, PATIENT)
        held.close()
        assert waiting.result(10).body == b"7"


def test_a_slot_is_free_when_no_connection_was_made() -> None:
    with ScriptedServer(always()) as server:
        connections = Connections(parse_endpoint(server.url), max_open=1, pool_seconds=0.1)
    for _ in range(3):
        with pytest.raises(ExchangeError, match="cannot be reached"):
            connections.exchange(GET, PATIENT)


def test_the_deadline_is_for_all_of_it(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        peer.until_closed()

    server, connections = serve(script)
    with pytest.raises(AnswerTimeoutError):
        connections.exchange(GET, Limits(None, time.monotonic() + 0.1))
    server.join()
    assert server.seen_closed == [0]


@pytest.mark.parametrize("size", [10, 10_000])
def test_the_longest_answer(serve: Any, size: int) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, bytes(size))
    for data in (answer(bytes(size)), chunked):
        _, fitting = serve(raw(data), response_limit=size)
        assert len(fitting.exchange(GET, PATIENT).body) == size
        _, shorter = serve(raw(data), response_limit=size - 1)
        with pytest.raises(MalformedAnswerError, match=f"longer than {size - 1} bytes"):
            shorter.exchange(GET, PATIENT)
        assert idle(shorter) == 0


def test_interrupting_ends_what_other_threads_wait_for(serve: Any) -> None:
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.until_closed()

    _, connections = serve(script)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(connections.exchange, GET, PATIENT)
        assert asked.wait(10)
        connections.interrupt()
        with pytest.raises(ConnectionLostError):
            waiting.result(10)


def test_what_was_in_use_when_it_was_closed_is_not_kept(serve: Any) -> None:
    _, connections = serve(always())
    held = connections.open(GET, PATIENT)
    connections.close()
    assert held.read_all(9) == b"7"
    assert idle(connections) == 0


def test_what_is_asked_when_they_have_ended_is_not_sent(serve: Any) -> None:
    server, connections = serve(always(), max_open=1)
    held = connections.open(GET, PATIENT)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(connections.exchange, GET, PATIENT) for _ in range(3)]
        connections.end()
        for each in waiting:
            with pytest.raises(ClosedError):
                each.result(10)
    assert held.read_all(9) == b"7"
    with pytest.raises(ClosedError):
        connections.open(GET, PATIENT)
    assert (len(server.requests), idle(connections)) == (1, 0)


def test_what_comes_back_in_the_middle_of_closing_is_closed(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, connections = serve(always())
    held = connections.open(GET, PATIENT)
    connection = held._connection
    monkeypatch.setattr(Connection, "rest", lambda self: connections.close())
    assert held.read_all(9) == b"7"
    assert (connection._socket.fileno(), idle(connections)) == (-1, 0)


def test_who_forgets_to_close_them_keeps_no_descriptor(serve: Any) -> None:
    server, _ = serve(always())
    connections = Connections(parse_endpoint(server.url))
    connections.exchange(GET, PATIENT)
    gone = weakref.ref(connections._idle[0]._socket)
    gc.disable()
    try:
        del connections
        assert gone() is None
    finally:
        gc.enable()


def test_garbage_may_be_collected_at_any_moment(serve: Any) -> None:
    _, connections = serve(always(), max_open=4)
    dropped: list[Any] = []

    def collect(frame: Any, event: str, argument: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            dropped.clear()

    def exchange() -> None:
        sys.setprofile(collect)
        try:
            connections.exchange(GET, PATIENT)
        finally:
            sys.setprofile(None)

    for moment in range(1, 60, 2):
        dropped.append(connections.open(GET, PATIENT))
        left = moment
        thread = threading.Thread(target=exchange, daemon=True)
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), moment
        dropped.clear()
    assert connections._free.qsize() == 4


def test_a_body_until_the_end_may_be_closed_by_another_thread(serve: Any) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n7")
        peer.until_closed()

    _, connections = serve(script)
    held = connections.open(GET, PATIENT)
    assert held.read() == b"7"
    connection, pieces = held._connection, held._pieces

    def closed_meanwhile() -> Iterator[bytes]:
        connections.wake(connection)
        yield from pieces
        held.close()

    held._pieces = closed_meanwhile()
    assert (held.read(), held.read()) == (b"", b"")


# --- heads -----------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.data())
def test_a_head_in_whatever_pieces(data: st.DataObject) -> None:
    whole = b"HTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + answer(b"body", "X-Long: " + "x" * 100, "X-B: b", "X-B: c")
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    ours, theirs = socket.socketpair()
    connection = module.Connection(ours)

    def feed(buffer: memoryview) -> int:
        # One piece for each time it is asked.
        piece = pieces.pop(0) if pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)

    connection._timed._socket = type("Pieces", (), {"recv_into": staticmethod(feed), "settimeout": lambda *_: None})()
    head = connection.send(GET, PATIENT)
    assert connection.read_body(head, None) == b"body"
    assert (head.status, head.headers["x-b"], connection.is_reusable) == (200, "b,c", True)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 200 OK\n\n", "the lines of this head do not end as they must"),
        (b"HTTP/1.1 200 OK\r\nA: b\n\nbody", "the lines of this head do not end as they must"),
        (b"220 mail.example ESMTP\r\n", "this is no HTTP response: b?'220 mail"),
        (b"HTT\r\n", "this is no HTTP response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (HEAD_LIMIT_BYTES + 40_000), "the headers are longer than"),
        (b"HTTP/2 200 OK\r\n\r\n", "this is no HTTP response"),
        (b"HTTP/1.1 101 Other\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 101, "100 interim answers came, and none that counts"),
    ],
    ids=range(8),
)
def test_a_head_that_is_none(serve: Any, data: bytes, text: str) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(data)
        peer.until_closed()

    _, connections = serve(script)
    began = time.monotonic()
    with pytest.raises(MalformedAnswerError, match=text):
        connections.exchange(GET, PATIENT)
    # It is not waited for more of it.
    assert time.monotonic() - began < 5


def test_an_answer_to_half_a_request_is_the_last_of_its_connection(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_SECONDS", 0.1)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer(b"no", status="413 Large"))
        peer.until_stalled()
        assert refused.wait(10)
        peer.until_closed()

    refused = threading.Event()
    server, connections = serve(script)
    large = Outgoing(b"POST / HTTP/1.1\r\nContent-Length: 16777216\r\n\r\n", bytes(16 << 20))
    assert connections.exchange(large, PATIENT)[::2] == (413, b"no")
    refused.set()
    assert idle(connections) == 0
    server.join()


def test_a_request_that_nobody_takes(serve: Any) -> None:
    def script(peer: Peer) -> None:
        assert given_up.wait(10)

    given_up = threading.Event()
    _, connections = serve(script)
    with pytest.raises(AnswerTimeoutError, match="the request could not be sent in time"):
        connections.exchange(Outgoing(b"POST / HTTP/1.1\r\n\r\n", bytes(16 << 20)), SHORT)
    given_up.set()


# --- the pace --------------------------------------------------------------------------------------------------------


class Trickle:
    """A socket that gives so many bytes each time, while the clock goes on."""

    def __init__(self, count: int, seconds: float) -> None:
        self.now, self._count, self._seconds = 0.0, count, seconds
        self.limits: list[float | None] = []

    def recv_into(self, buffer: memoryview) -> int:
        self.now += self._seconds
        return self._count

    def settimeout(self, seconds: float | None) -> None:
        self.limits.append(seconds)


def timed(trickle: Trickle, wait: float | None, deadline: float | None = None) -> TimedSocket:
    made = TimedSocket(trickle, lambda: trickle.now)  # type: ignore[arg-type]
    made.begin(wait, deadline)
    return made


def test_what_trickles_is_given_up() -> None:
    trickle = Trickle(1, 0.9)
    connection = timed(trickle, 10.0)
    with pytest.raises(TimeoutError):
        for _ in range(100):
            connection.readinto(bytearray(10))
    assert 10 < trickle.now < 13


def test_a_slow_line_is_no_trickle() -> None:
    trickle = Trickle(2 * LEAST_BYTES_PER_SECOND, 1.0)
    connection = timed(trickle, 3.0)
    for _ in range(1000):
        connection.readinto(bytearray(10))
    assert trickle.limits == [3.0]


def test_the_first_byte_may_take_long_and_pauses_may_be_allowed() -> None:
    trickle = Trickle(1, 900.0)
    connection = timed(trickle, 960.0)
    assert connection.readinto(bytearray(1)) == 1
    connection.is_paced = False
    for _ in range(10):
        assert connection.readinto(bytearray(1)) == 1


def test_a_deadline_shortens_every_wait() -> None:
    trickle = Trickle(1, 1.0)
    connection = timed(trickle, None, 3.0)
    for _ in range(3):
        connection.readinto(bytearray(1))
    with pytest.raises(TimeoutError):
        connection.readinto(bytearray(1))
    assert trickle.limits == [3.0, 2.0, 1.0]


def test_whether_something_can_be_read() -> None:
    ours, theirs = socket.socketpair()
    assert not is_readable(ours)
    theirs.send(b"x")
    assert is_readable(ours)
    theirs.close()
    ours.recv(1)
    assert is_readable(ours)
    ours.close()
