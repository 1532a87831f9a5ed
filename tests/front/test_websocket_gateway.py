"""WebSocket APIs over the front process's server: who may connect, where messages go, how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.front.front_lab import API, BOUND_SECONDS, DOMAIN, ID, api_entry, entry, until
from tests.front.websocket_client import (
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    connection_id,
    frame,
    raw_socket,
    received,
    websocket,
)
from venturekit.front.http_client import Response, ServerGoneError

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

NOW_MS = 1_700_000_000_500


def kinds(lab: Lab) -> list[str]:
    return [event["requestContext"]["eventType"] for event in lab.api.events]


def goodbye(lab: Lab) -> dict[str, Any]:
    """The context of the event of $disconnect, when it has come."""
    until(lambda: "DISCONNECT" in kinds(lab), "the function is told")
    return dict(lab.api.events[kinds(lab).index("DISCONNECT")]["requestContext"])


def refused(lab: Lab, path: str = f"/_ws/{API}/dev", **options: Any) -> Any:
    """The response to a handshake that must fail."""
    with pytest.raises(InvalidStatus) as failure, websocket(lab, path, **options):
        pass
    return failure.value.response


def test_the_three_events_of_a_connection(sockets: Lab) -> None:
    with websocket(sockets, f"/_ws/{API}/dev?a=1&a=2&b=", user_agent_header="tests") as client:
        client.send('{"action": "send", "text": "hi"}')
        until(lambda: len(sockets.api.events) == 2, "the message has come")
        client.close(4001, "enough")
    goodbye(sockets)
    connect, message, disconnect = sockets.api.events
    assert [arn.rpartition(":")[2] for arn, _, _ in sockets.api.calls] == ["connect", "send", "disconnect"]
    context = connect["requestContext"]
    connection, request = context["connectionId"], context["requestId"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{15}=", connection)
    common = {
        "messageDirection": "IN",
        "stage": "dev",
        "connectedAt": NOW_MS,
        "requestTime": "14/Nov/2023:22:13:20 +0000",
        "requestTimeEpoch": NOW_MS,
        "identity": {"sourceIp": "127.0.0.1", "userAgent": "tests"},
        "domainName": f"127.0.0.1:{sockets.port}",
        "connectionId": connection,
        "apiId": API,
    }
    ids = {"requestId": request, "extendedRequestId": request}
    assert context == common | ids | {"routeKey": "$connect", "eventType": "CONNECT"}
    assert connect["headers"]["Sec-WebSocket-Version"] == "13"
    assert connect["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert connect["multiValueHeaders"]["Host"] == [f"127.0.0.1:{sockets.port}"]
    assert connect["queryStringParameters"] == {"a": "2", "b": ""}
    assert connect["multiValueQueryStringParameters"] == {"a": ["1", "2"], "b": [""]}
    assert connect["isBase64Encoded"] is False
    assert "body" not in connect
    # Without headers, with an id of its own.
    context = message["requestContext"]
    ids = {name: context[name] for name in ("requestId", "extendedRequestId", "messageId")}
    assert context == common | ids | {"routeKey": "send", "eventType": "MESSAGE"}
    assert len({*ids.values(), request}) == 3
    assert (message["body"], message["isBase64Encoded"]) == ('{"action": "send", "text": "hi"}', False)
    assert set(message) == {"requestContext", "body", "isBase64Encoded"}
    context = disconnect["requestContext"]
    assert (context["routeKey"], context["eventType"]) == ("$disconnect", "DISCONNECT")
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (4001, "enough")
    assert context | common == context
    assert set(disconnect["headers"]) == {"Host", "x-api-key", "X-Forwarded-For", "x-restapi"}


@pytest.mark.parametrize(
    ("message", "route"),
    [
        ('{"action": "send"}', "send"),
        ('{"action": "other"}', "default"),
        ('{"action": 7}', "default"),
        ('{"action": "$connect"}', "default"),
        ('{"action": "$disconnect"}', "default"),
        ("[1]", "default"),
        ("no json", "default"),
        ("", "default"),
        (b'{"action": "send"}', "default"),
    ],
)
def test_the_route_of_a_message(sockets: Lab, message: str | bytes, route: str) -> None:
    with websocket(sockets) as client:
        client.send(message)
        until(lambda: len(sockets.api.calls) == 2, "the message has come")
    assert sockets.api.calls[1][0].endswith(f":{route}")
    sent = sockets.api.events[1]
    if isinstance(message, bytes):
        assert (sent["body"], sent["isBase64Encoded"]) == ("eyJhY3Rpb24iOiAic2VuZCJ9", True)


def test_a_route_may_be_selected_by_a_property_of_a_property(sockets: Lab) -> None:
    sockets.configure(api_entry(routeSelectionExpression="$request.body.head.kind"))
    sockets.refresh()
    with websocket(sockets) as client:
        client.send('{"head": {"kind": "send"}}')
        client.send('{"head": "send"}')
        until(lambda: len(sockets.api.calls) == 3, "both have come")
    assert [arn.rpartition(":")[2] for arn, _, _ in sockets.api.calls[1:3]] == ["send", "default"]


def test_a_message_without_a_route_is_forbidden(sockets: Lab) -> None:
    sockets.configure(api_entry(routes={"send": "arn:aws:lambda:us-east-1:123456789012:function:send"}))
    sockets.refresh()
    with websocket(sockets) as client:
        client.send("hello")
        answer = received(client)
    assert answer["message"] == "Forbidden"
    assert set(answer) == {"message", "connectionId", "requestId"}
    assert sockets.api.events == []


def test_only_routes_with_a_response_answer_the_client(sockets: Lab) -> None:
    sockets.api.result = lambda event: json.dumps(
        {"statusCode": 200, "body": f"to {event.get('body')}", "isBase64Encoded": False}
    ).encode()
    with websocket(sockets) as client:
        client.send('{"action": "send"}')
        client.send('{"action": "ask"}')
        assert client.recv(BOUND_SECONDS) == 'to {"action": "ask"}'
        sockets.api.result = lambda _event: b'{"statusCode": 200, "body": "AAE=", "isBase64Encoded": true}'
        client.send('{"action": "ask"}')
        assert client.recv(BOUND_SECONDS) == b"\x00\x01"


@pytest.mark.parametrize(
    "response",
    [
        Response(200, {b"x-amz-function-error": b"Unhandled"}, b"{}"),
        Response(200, {}, b"null"),
        Response(200, {}, b'{"body": "no status"}'),
        Response(200, {}, b'{"statusCode": true}'),
        Response(200, {}, b'{"statusCode": 200, "body": {}}'),
        Response(200, {}, b'{"statusCode": 200, "body": "?", "isBase64Encoded": true}'),
        Response(200, {}, b'{"statusCode": 200, "headers": 1}'),
        Response(429, {}, b"{}"),
        ServerGoneError("gone"),
    ],
)
def test_a_function_that_fails_is_an_internal_error(sockets: Lab, response: Any) -> None:
    with websocket(sockets) as client:
        sockets.api.response = response
        client.send("x")
        answer = received(client)
        assert (answer["message"], answer["connectionId"]) == ("Internal server error", connection_id(sockets))
        # The connection goes on.
        sockets.api.response = None
        client.send("x")
        until(lambda: len(sockets.api.calls) >= 3, "the next message comes")


def test_messages_are_handled_one_after_the_other(sockets: Lab) -> None:
    running: list[str] = []
    most: list[int] = []

    async def gate(event: dict[str, Any]) -> None:
        running.append(event.get("body", ""))
        most.append(len(running))
        await asyncio.sleep(0)
        running.pop()

    with websocket(sockets) as client:
        sockets.api.gate = gate
        for number in range(50):
            client.send(str(number))
        until(lambda: len(sockets.api.events) == 51, "all have come")
    assert [event["body"] for event in sockets.api.events[1:51]] == [str(number) for number in range(50)]
    assert max(most) == 1


def test_a_function_that_takes_too_long_is_given_up(sockets: Lab) -> None:
    async def never(_event: dict[str, Any]) -> None:
        await asyncio.sleep(3600)

    with websocket(sockets) as client:
        sockets.api.gate = never
        client.send("x")
        assert received(client)["message"] == "Endpoint request timed out"
    sockets.api.gate = never
    assert refused(sockets).status_code == 504


# --- the handshake ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 429, 302, 500])
def test_connect_refuses_with_its_status(sockets: Lab, status: int) -> None:
    sockets.api.result = lambda _event: json.dumps({"statusCode": status, "body": "no"}).encode()
    response = refused(sockets)
    assert (response.status_code, response.body) == (status, b"no")
    assert kinds(sockets) == ["CONNECT"]


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Response(200, {b"x-amz-function-error": b"Unhandled"}, b"{}"), 502),
        (Response(200, {}, b'"no status"'), 502),
        (Response(200, {}, b'{"statusCode": 101}'), 502),
        (Response(404, {}, b"{}"), 500),
        (ServerGoneError("gone"), 500),
    ],
)
def test_a_connect_that_fails_refuses(sockets: Lab, response: Any, status: int) -> None:
    sockets.api.response = response
    answer = refused(sockets)
    assert answer.status_code == status
    assert json.loads(answer.body)["message"] == "Internal server error"
    # Who was not let in does not leave.
    assert kinds(sockets) == ["CONNECT"] or sockets.api.events == []


def test_a_subprotocol_is_the_functions_choice(sockets: Lab) -> None:
    sockets.api.result = lambda _event: b'{"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "chat.v2"}}'
    with websocket(sockets, subprotocols=["chat.v1", "chat.v2"]) as client:
        assert client.subprotocol == "chat.v2"
    with websocket(sockets, subprotocols=["other"]) as client:
        assert client.subprotocol is None


@pytest.mark.parametrize("path", [f"/_ws/{API}/prod", f"/_ws/{API}", "/_ws/nobody/dev", f"/_ws/{API}/dev/more"])
def test_an_api_or_stage_that_is_not_there(sockets: Lab, path: str) -> None:
    response = refused(sockets, path)
    assert (response.status_code, json.loads(response.body)) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"{API}.execute-api.localhost", 101),
        (f"{API}.execute-api.us-east-1.localhost:9002", 101),
        (f"{API}.execute-api.front.example", 101),
        (f"{API}.execute-api.evil.example", 403),
        ("evil.example", 403),
    ],
)
def test_by_host_name(sockets: Lab, host: str, status: int) -> None:
    answer = sockets.ask("GET", "/dev", headers=HANDSHAKE, host=host) if status != 101 else None
    if answer is not None:
        assert answer.status == status
        return
    client = sockets.connect()
    lines = ["GET /dev HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in HANDSHAKE), "", ""]
    client.send("\r\n".join(lines).encode())
    assert client.head()[0] == 101
    # Functions cannot look up names below localhost.
    expected = host if host.endswith("example") else f"127.0.0.1:{sockets.port}"
    assert sockets.api.events[0]["requestContext"]["domainName"] == expected


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 400),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Key": None}, 400),
    ],
)
def test_a_handshake_that_is_none(sockets: Lab, changed: dict[str, str | None], status: int) -> None:
    headers = {**dict(HANDSHAKE), **changed}
    given = [(name, value) for name, value in headers.items() if value is not None]
    assert sockets.ask("GET", f"/_ws/{API}/dev", headers=given, host="127.0.0.1").status == status
    assert sockets.api.events == []


def test_what_is_no_handshake_is_told_so(sockets: Lab) -> None:
    assert sockets.ask("GET", f"/_ws/{API}/dev", host="127.0.0.1").status == 426
    assert sockets.ask("POST", f"/_ws/{API}/dev", b"x", host="127.0.0.1").status == 426
    # Function URLs and the process's own pages have no WebSockets.
    assert sockets.ask("GET", "/", headers=HANDSHAKE, host=f"{ID}.{DOMAIN}").status == 400
    assert sockets.ask("GET", "/_venturekit/health", headers=HANDSHAKE, host="127.0.0.1").status == 400


def test_there_is_a_bound_on_connections(sockets: Lab) -> None:
    made = [raw_socket(sockets) for _ in range(sockets.limits.connections)]
    assert refused(sockets).status_code == 503
    made[0].client.drop()
    until(lambda: len(sockets.websockets) < sockets.limits.connections, "one has left")
    with websocket(sockets):
        pass


def test_a_process_that_ends_lets_nobody_in(sockets: Lab) -> None:
    async def end(event: dict[str, Any]) -> None:
        if event["requestContext"]["eventType"] == "CONNECT":
            sockets.websockets.drain()

    sockets.api.gate = end
    try:
        assert refused(sockets).status_code == 503
        # Its function has let it in, so it is told.
        assert goodbye(sockets)["disconnectStatusCode"] == 1006
    finally:
        sockets.websockets._ends = False


def test_a_client_that_leaves_while_it_is_let_in_has_left(sockets: Lab) -> None:
    held = asyncio.Event()

    async def hold(event: dict[str, Any]) -> None:
        if event["requestContext"]["eventType"] == "CONNECT":
            await held.wait()

    sockets.api.gate = hold
    client = sockets.connect()
    lines = [f"GET /_ws/{API}/dev HTTP/1.1", "Host: 127.0.0.1", *(f"{n}: {v}" for n, v in HANDSHAKE), "", ""]
    client.send("\r\n".join(lines).encode())
    until(lambda: sockets.server.server_state.connections, "it has connected")
    client.drop()
    until(lambda: not sockets.server.server_state.connections, "it is gone")
    sockets.loop.call_soon_threadsafe(held.set)
    assert goodbye(sockets)["disconnectStatusCode"] == 1006


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(CLOSE), 1005, "Client-side close frame status not set"),
        (frame(CLOSE, struct.pack("!H", 1001)), 1001, ""),
        (frame(CLOSE, struct.pack("!H", 1000) + "später".encode()), 1000, "später"),
        (frame(CLOSE, struct.pack("!H", 999)), 1002, "invalid close code: 999"),
        (frame(CLOSE, b"\x03"), 1002, "close frame too short"),
        (None, 1006, "Connection closed abnormally"),
    ],
)
def test_how_a_client_leaves(sockets: Lab, sent: bytes | None, code: int, reason: str) -> None:
    made = raw_socket(sockets)
    if sent is not None:
        made.send(sent)
    made.client.socket.shutdown(socket.SHUT_WR)
    context = goodbye(sockets)
    assert context["disconnectStatusCode"] == code
    if code != 1002:
        assert context["disconnectReason"] == reason


def test_a_client_that_was_reset(sockets: Lab) -> None:
    made = raw_socket(sockets)
    made.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.client.drop()
    assert goodbye(sockets)["disconnectStatusCode"] == 1006


def test_the_last_messages_come_before_the_goodbye(sockets: Lab) -> None:
    made = raw_socket(sockets)
    made.send(b"".join(frame(TEXT, b"%d" % number) for number in range(20)) + frame(CLOSE))
    goodbye(sockets)
    assert kinds(sockets) == ["CONNECT", *["MESSAGE"] * 20, "DISCONNECT"]


@pytest.mark.parametrize(("seconds", "ends"), [(599, False), (602, True)])
def test_an_idle_connection_is_closed(sockets: Lab, seconds: float, ends: bool) -> None:
    made = raw_socket(sockets)
    # It is asked whether it is there, and says so: that keeps nothing from being idle.
    sockets.sweep(seconds - 500)
    assert made.receive()[0] == PING
    made.send(frame(PONG))
    sockets.sweep(seconds)
    if ends:
        assert made.closed() == (1001, "Going away")
        made.send(frame(CLOSE, struct.pack("!H", 1001)))
        context = goodbye(sockets)
        assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1001, "Going away")
    else:
        assert len(sockets.websockets) == 1


def test_no_connection_lives_longer_than_two_hours(sockets: Lab) -> None:
    sockets.configure(api_entry(idleTimeoutSeconds=7200 * 2))
    sockets.refresh()
    made = raw_socket(sockets)
    sockets.sweep(7201)
    assert made.closed() == (1001, "Going away")


def test_a_client_that_does_not_take_part_in_the_end_is_cut_off(sockets: Lab) -> None:
    made = raw_socket(sockets)
    sockets.sweep(7201)
    made.closed()
    sockets.sweep(10)
    assert made.client.at_end()
    assert goodbye(sockets)["disconnectStatusCode"] == 1001


def test_a_client_that_has_vanished_is_noticed(sockets: Lab) -> None:
    made = raw_socket(sockets)
    sockets.sweep(61)
    sockets.sweep(61 + 19)
    assert len(sockets.websockets) == 1
    sockets.sweep(61 + 21)
    assert goodbye(sockets)["disconnectStatusCode"] == 1006
    assert made.receive()[0] == PING
    assert made.client.at_end()


def test_an_api_that_goes_sends_its_clients_away(sockets: Lab) -> None:
    with websocket(sockets) as client:
        sockets.configure(entry())
        sockets.refresh()
        sockets.sweep(0)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(BOUND_SECONDS)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


def test_a_process_that_ends_says_so(sockets: Lab) -> None:
    with websocket(sockets) as client:
        client.send("last")
        until(lambda: len(sockets.api.events) == 2, "the message has come")
        sockets.loop.call_soon_threadsafe(sockets.websockets.drain)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(BOUND_SECONDS)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "Going away")
    assert goodbye(sockets)["disconnectStatusCode"] == 1001
    assert refused(sockets).status_code == 503
    done = asyncio.run_coroutine_threadsafe(sockets.websockets.drained(BOUND_SECONDS), sockets.loop)
    done.result(BOUND_SECONDS)
    sockets.websockets._ends = False
