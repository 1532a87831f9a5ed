"""The bounds of the front process's server: heads, time, upgrades, connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.front.front_lab import DOMAIN, ID, until
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


def test_requests_in_a_row_are_answered_in_order(lab: Lab) -> None:
    client = lab.connect()
    client.send(b"".join(REQUEST.replace(b"GET /", b"GET /%d" % number) for number in range(5)))
    assert [client.answer().json["rawPath"] for _ in range(5)] == [f"/{number}" for number in range(5)]


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
    until(lambda: any(c.held_up for c in lab.server.server_state.connections), "the response waits")  # type: ignore[union-attr]
    lab.sweep(server.UNREAD_SECONDS - 1)
    assert lab.server.server_state.connections
    lab.sweep(server.UNREAD_SECONDS + 1)
    until(lambda: not lab.server.server_state.connections, "the connection is cut")


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
