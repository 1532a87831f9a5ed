"""The bounds of the front process's server: heads, time, upgrades, connections."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from tests.front.front_lab import DOMAIN, ID, PlayedStream, chunk, complete, entry, until
from venturekit.front import server

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

HOST = f"Host: {ID}.{DOMAIN}\r\n"
REQUEST = f"GET / HTTP/1.1\r\n{HOST}\r\n".encode()
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        "Cookie: " + "c" * 40_000 + "\r\n",
        "".join(f"X-{number}: {'v' * 300}\r\n" for number in range(120)),
        "".join(f"X-{number}: v\r\n" for number in range(server.HEADER_COUNT)),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_giant_headers(lab: Lab, lines: str, whole: bool) -> None:
    client = lab.connect()
    end = "\r\n" if whole or len(lines) < server.HEAD_LIMIT_BYTES else ""
    client.send(f"GET / HTTP/1.1\r\n{HOST}{lines}{end}".encode())
    answer = client.answer()
    assert (answer.status, answer["connection"]) == (431, "close")
    assert client.at_end()
    assert lab.api.events == []


def test_a_giant_path(lab: Lab) -> None:
    assert lab.ask(path="/" + "p" * 40_000).status == 431
    assert lab.ask(path="/" + "p" * 20_000).status == 200


def test_a_path_that_no_parser_takes(lab: Lab) -> None:
    assert lab.ask(path="/" + "p" * 70_000).status == 431


def test_large_headers_pass(lab: Lab) -> None:
    cookie = "c=" + "1" * 20_000
    assert lab.ask(headers=[("Cookie", cookie)]).json["cookies"] == [cookie]


@pytest.mark.parametrize(
    "data",
    [
        b"no HTTP at all\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
        f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n".encode(),
        f"GET ftp://a/ HTTP/1.1\r\n{HOST}\r\n".encode(),
        f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode(),
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused(lab: Lab, data: bytes) -> None:
    client = lab.connect()
    client.send(data)
    answer = client.answer()
    assert answer.status in (400, 403)
    assert client.at_end()
    assert lab.ask().status == 200


def test_garbage_behind_a_request_does_not_spoil_its_answer(lab: Lab) -> None:
    client = lab.connect()
    client.send(REQUEST + b"garbage\r\n\r\n")
    assert client.answer().status == 200
    assert client.at_end()


def test_garbage_behind_a_request_does_not_cut_its_stream(lab: Lab) -> None:
    lab.configure(entry(invokeMode="RESPONSE_STREAM"))
    lab.refresh()
    played = PlayedStream([chunk(b"one"), None, chunk(b"two"), complete()])
    lab.api.response = played  # type: ignore[assignment]
    client = lab.connect()
    client.send(REQUEST)
    assert (client.head()[0], client.piece()) == (200, b"one")
    client.send(b"garbage\r\n\r\n" * 10)
    until(lambda: any(c.is_deaf for c in lab.server.server_state.connections), "it is read")  # type: ignore[union-attr]
    played.went_on.set()
    assert (client.piece(), client.piece()) == (b"two", b"")
    assert client.at_end()


def test_who_goes_with_several_requests_is_missed_by_all(lab: Lab) -> None:
    lab.configure(entry(invokeMode="RESPONSE_STREAM"))
    lab.refresh()
    played = PlayedStream([chunk(b"one"), None])
    lab.api.response = played  # type: ignore[assignment]
    client = lab.connect()
    client.send(REQUEST + REQUEST)
    assert (client.head()[0], client.piece()) == (200, b"one")
    (connection,) = lab.server.server_state.connections
    # The second request has stopped the reading, so the loss is seen when something is written, or here.
    lab.loop.call_soon_threadsafe(connection.transport.abort)
    assert played.given_up.wait(20)


def test_requests_in_a_row_are_answered_in_order(lab: Lab) -> None:
    client = lab.connect()
    client.send(b"".join(REQUEST.replace(b"GET /", b"GET /%d" % number) for number in range(5)))
    assert [client.answer().json["rawPath"] for _ in range(5)] == [f"/{number}" for number in range(5)]


def test_many_requests_in_one_piece(lab: Lab) -> None:
    lab.api.result = lambda event: b'"%d"' % len(event["rawPath"])
    client = lab.connect()
    count = 2 * server.HEAD_LIMIT_BYTES // len(REQUEST)
    client.send(REQUEST * count)
    assert {client.answer().body for _ in range(count)} == {b"1"}


@pytest.mark.parametrize("target", [f"http://{ID}.{DOMAIN}:1/x?y", f"HTTP://{ID}.{DOMAIN.upper()}/x?y"])
def test_a_target_in_absolute_form(lab: Lab, target: str) -> None:
    # Its host is the one that counts.
    event = lab.ask(path=target, host="evil.example").json
    assert (event["rawPath"], event["rawQueryString"]) == ("/x", "y")
    assert event["headers"]["host"] == target.split("/")[2]
    assert lab.ask(path="http://evil.example/").status == 403
    assert lab.ask(path=f"http://{ID}.{DOMAIN}?y").json["rawPath"] == "/"
    assert lab.ask(path=f"http://user@{ID}.{DOMAIN}/").status == 400


@pytest.mark.parametrize("coding", ["xchunked", "gzip, chunked", "identity", "gzip"])
def test_other_transfer_codings_are_refused(lab: Lab, coding: str) -> None:
    client = lab.connect()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: {coding}\r\n\r\n0\r\n\r\n".encode())
    assert client.answer().status in (400, 501)
    assert client.at_end()
    assert lab.api.events == []


CHUNKED = f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n".encode()


def test_trailers_are_no_headers(lab: Lab) -> None:
    client = lab.connect()
    client.send(CHUNKED + b"1\r\nx\r\n0\r\nCookie: lie=1\r\nHost: evil.example\r\nX-A: lie\r\n\r\n")
    event = client.answer().json
    assert event["body"] == "eA=="
    assert "cookies" not in event
    assert {"cookie", "x-a"}.isdisjoint(event["headers"])
    client.send(REQUEST)
    assert client.answer().status == 200


@pytest.mark.parametrize("begin", [b"0\r\nX: ", b"1;x=", b"0\r\n"])
def test_what_stands_around_a_body_is_bounded(lab: Lab, begin: bytes) -> None:
    client = lab.connect()
    client.send(CHUNKED + begin)
    until(lambda: any(c.cycle for c in lab.server.server_state.connections), "it has begun")  # type: ignore[union-attr]
    line = b"X: y\r\n" if begin == b"0\r\n" else b"xxxxxx"
    client.send(line * 6000)
    assert client.answer().status == 431
    assert client.at_end()
    assert lab.api.events == []


def test_a_body_in_tiny_pieces(lab: Lab) -> None:
    client = lab.connect()
    client.send(CHUNKED + b"1\r\nx\r\n" * 10_000)
    for _ in range(10):
        client.send(b"1\r\n")
        client.send(b"x\r\n")
    client.send(b"0\r\n\r\n")
    assert len(client.answer().json["body"]) == 4 * (10_010 // 3 + 1)


def test_websockets_are_refused(lab: Lab) -> None:
    client = lab.connect()
    client.send(f"GET / HTTP/1.1\r\n{HOST}{WEBSOCKET}\r\n".encode())
    answer = client.answer()
    assert answer.status == 400
    assert "upgrade" in answer.json["Message"]
    assert client.at_end()
    assert lab.api.events == []


def test_an_offer_of_http_2_is_passed_over(lab: Lab) -> None:
    client = lab.connect()
    offer = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    client.send(f"GET /x HTTP/1.1\r\n{HOST}{offer}\r\n".encode())
    answer = client.answer()
    assert (answer.status, answer.json["rawPath"]) == (200, "/x")
    assert client.at_end()
    with_body = lab.connect()
    with_body.send(f"POST / HTTP/1.1\r\n{HOST}{offer}Content-Length: 2\r\n\r\nab".encode())
    assert with_body.answer().status == 400


def test_expect_100_continue(lab: Lab) -> None:
    client = lab.connect()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode())
    assert client.head()[0] == 100
    client.send(b"ab")
    assert client.answer().json["headers"]["content-length"] == "2"


@pytest.mark.parametrize("host", [f"nobody.{DOMAIN}", f"{ID}.{DOMAIN}"])
def test_a_body_that_nobody_wants_is_not_asked_for(lab: Lab, host: str) -> None:
    client = lab.connect()
    client.send(f"POST / HTTP/1.1\r\nHost: {host}\r\nExpect: 100-Continue\r\nContent-Length: 9000000\r\n\r\n".encode())
    answer = client.answer()
    assert answer.status == (403 if host.startswith("nobody") else 413)
    assert answer["connection"] == "close"
    assert client.at_end()


def test_line_ends_do_not_keep_a_connection(lab: Lab) -> None:
    client = lab.connect()
    client.send(REQUEST)
    assert client.answer().status == 200
    (connection,) = lab.server.server_state.connections
    timer = connection.timeout_keep_alive_task
    assert timer is not None
    client.send(b"\r\n" * 3)
    until(lambda: connection.head_bytes == 6, "they are read")  # type: ignore[union-attr]
    assert not timer.cancelled()
    client.send(REQUEST[:1])
    until(timer.cancelled, "a request has begun")
    client.send(REQUEST[1:])
    assert client.answer().status == 200


def test_a_head_that_does_not_come(lab: Lab) -> None:
    client = lab.connect()
    client.send(b"GET / HTTP/1.1\r\nHo")
    until(lambda: any(c.in_head for c in lab.server.server_state.connections), "the head has begun")  # type: ignore[union-attr]
    lab.sweep(server.HEAD_SECONDS - 1)
    lab.sweep(server.HEAD_SECONDS + 1)
    assert client.answer().status == 408
    assert client.at_end()


def test_a_body_that_trickles(lab: Lab) -> None:
    client = lab.connect()
    client.send(f"POST / HTTP/1.1\r\n{HOST}Content-Length: 100000\r\n\r\nxx".encode())
    until(lambda: any(c.body_bytes == 2 for c in lab.server.server_state.connections), "the body has begun")  # type: ignore[union-attr]
    lab.sweep(server.BODY_GRACE_SECONDS - 1)
    lab.sweep(server.BODY_GRACE_SECONDS + 5)
    assert client.at_end()
    assert lab.api.events == []


def test_a_connection_that_says_nothing(lab: Lab) -> None:
    client = lab.connect()
    until(lambda: lab.server.server_state.connections, "it is accepted")
    lab.sweep(server.FIRST_SECONDS - 1)
    lab.sweep(server.FIRST_SECONDS + 1)
    assert client.at_end()


def test_a_response_that_is_not_read_is_given_up(lab: Lab) -> None:
    lab.api.result = lambda _event: b'"' + b"x" * 6_000_000 + b'"'
    client = lab.connect(receive_buffer=8192)
    client.send(REQUEST)
    assert client.head()[0] == 200
    lab.sweep(0)
    lab.sweep(server.UNREAD_SECONDS - 1)
    assert lab.server.server_state.connections
    sweep_until_gone(lab)


def test_nor_does_one_wait_that_closes_behind_it(lab: Lab) -> None:
    lab.api.result = lambda _event: b'"' + b"x" * 6_000_000 + b'"'
    client = lab.connect(receive_buffer=8192)
    client.send(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert client.head()[0] == 200
    assert lab.server.server_state.connections
    sweep_until_gone(lab)


def sweep_until_gone(lab: Lab) -> None:
    """Let a minute pass again and again: the kernel may still have taken something in the first one."""
    minutes = itertools.count(0, server.UNREAD_SECONDS + 1)
    until(lambda: lab.sweep(next(minutes)) or not lab.server.server_state.connections, "the connection is cut")


def test_a_response_that_is_read_slowly_is_not(lab: Lab) -> None:
    lab.api.result = lambda _event: b'"' + b"x" * 6_000_000 + b'"'
    client = lab.connect(receive_buffer=8192)
    client.send(REQUEST)
    assert client.head()[0] == 200
    # So slowly that the kernel takes nothing more meanwhile.
    for minute in range(20):
        lab.sweep(minute * (server.UNREAD_SECONDS + 1))
        assert client.socket.recv(20_000)
    assert lab.server.server_state.connections


def test_a_function_that_takes_its_time_is_not_late(lab: Lab) -> None:
    client = lab.connect()
    client.send(REQUEST)
    assert client.answer().status == 200
    lab.sweep(10_000)
    client.send(REQUEST)
    assert client.answer().status == 200


def test_connections_are_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS_LIMIT", 2)
    first, second = lab.connect(), lab.connect()
    for client in (first, second):
        client.send(REQUEST)
        assert client.answer().status == 200
    third = lab.connect()
    assert third.at_end()
    first.drop()
    until(lambda: len(lab.server.server_state.connections) < 2, "one is gone")
    fourth = lab.connect()
    fourth.send(REQUEST)
    assert fourth.answer().status == 200
