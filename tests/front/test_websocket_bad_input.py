"""What hostile, broken and slow clients of a WebSocket can do: end their own connection."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.front.front_lab import API, BOUND_SECONDS, until
from tests.front.websocket_client import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    connection_id,
    frame,
    manage,
    raw_socket,
    websocket,
)

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

KB = 1024


def messages(lab: Lab) -> list[str]:
    return [event["body"] for event in lab.api.events if event["requestContext"]["eventType"] == "MESSAGE"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        # Announced, never sent: nobody waits for it, and nothing is kept.
        (frame(TEXT, b"begin", length=2**62), 1009),
        (frame(TEXT, bytes(32 * KB + 1)), 1009),
        (
            b"".join(
                [frame(TEXT, bytes(32 * KB), fin=False), *[frame(0, bytes(32 * KB), fin=False)] * 3, frame(0, b"x")]
            ),
            1009,
        ),
        (frame(TEXT, b"not masked", masked=False), 1002),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, b"\xe2\x82", fin=False) + frame(0, b"x"), 1007),
        (frame(3, b"reserved"), 1002),
        (frame(0x41, b"a bit of no extension"), 1002),
        (frame(0, b"nothing to continue"), 1002),
        (frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(PING, b"", fin=False), 1002),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
    ],
)
def test_what_is_no_websocket_ends_the_connection(sockets: Lab, sent: bytes, code: int) -> None:
    made = raw_socket(sockets)
    made.send(sent)
    assert made.closed()[0] == code
    made.client.drop()
    until(lambda: not sockets.websockets, "it is gone")
    assert messages(sockets) == []


def test_the_largest_message_comes_in_four_frames(sockets: Lab) -> None:
    made = raw_socket(sockets)
    made.send(frame(TEXT, b"a" * 32 * KB, fin=False) + frame(PING, b"meanwhile"))
    assert made.receive() == (PONG, b"meanwhile")
    made.send(frame(0, b"b" * 32 * KB, fin=False) * 2 + frame(0, b"c" * 32 * KB))
    until(lambda: messages(sockets), "it has come")
    (message,) = messages(sockets)
    assert (len(message), message[0], message[-1]) == (128 * KB, "a", "c")


def test_a_giant_frame_is_refused_while_it_is_sent(sockets: Lab) -> None:
    made = raw_socket(sockets)
    made.send(frame(BINARY, b"", length=1 << 40))
    for _ in range(50):
        made.send(bytes(64 * KB))
    # It reads why, although it was still sending.
    assert made.closed()[0] == 1009
    made.client.drop()
    until(lambda: not sockets.websockets, "it is gone")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 3))
def test_no_bytes_harm_the_server(sockets: Lab, pieces: list[bytes], cut: int) -> None:
    made = raw_socket(sockets)
    data = b"".join([frame(piece[0] & 15 if piece else 0, piece, fin=bool(len(piece) % 2)) for piece in pieces])
    made.send(data[cut:])
    made.client.drop()
    until(lambda: not sockets.websockets, "it is gone")


def test_early_bytes_end_the_handshake(sockets: Lab) -> None:
    client = sockets.connect()
    lines = [f"GET /_ws/{API}/dev HTTP/1.1", "Host: 127.0.0.1", *(f"{n}: {v}" for n, v in HANDSHAKE), "", ""]
    client.send("\r\n".join(lines).encode() + frame(TEXT, b"too early"))
    assert client.at_end()
    until(lambda: len(sockets.api.events) == 2, "who was let in has left")


def test_a_flood_of_messages_waits_for_its_function(sockets: Lab) -> None:
    import asyncio

    held = asyncio.Event()

    async def hold(event: object) -> None:
        await held.wait()

    made = raw_socket(sockets)
    (connection,) = sockets.websockets
    sockets.api.gate = hold  # type: ignore[assignment]
    made.client.socket.setblocking(False)
    sent = 0
    piece = frame(TEXT, b"x" * 20 * KB)
    try:
        while sent < 100 * KB * KB:
            sent += made.client.socket.send(piece * 50)
    except BlockingIOError:
        pass
    until(lambda: connection._is_deaf, "it is not listened to")
    assert sent < 100 * KB * KB, "it was never held up"
    waiting = sum(len(message) for message in connection.messages) + len(connection._unparsed)
    assert waiting < 1024 * KB
    # Others are served meanwhile, and it is not taken for dead.
    for seconds in (70, 140):
        sockets.sweep(seconds)
    assert len(sockets.websockets) == 1
    sockets.api.gate = None
    sockets.loop.call_soon_threadsafe(held.set)
    until(lambda: len(messages(sockets)) > 30, "it goes on")


def test_a_flood_of_pings_is_not_buffered(sockets: Lab) -> None:
    made = raw_socket(sockets, receive_buffer=4096)
    (connection,) = sockets.websockets
    made.client.socket.setblocking(False)
    piece = frame(PING, bytes(125)) * 2000
    sent = 0
    try:
        while sent < 100 * KB * KB:
            sent += made.client.socket.send(piece)
    except BlockingIOError:
        pass
    until(lambda: connection.is_full, "its pongs are not read")
    assert connection._transport.get_write_buffer_size() < 512 * KB
    # It reads nothing: that is its end.
    sockets.sweep(0)
    sockets.sweep(30)
    until(lambda: not sockets.websockets, "it is cut off")


def test_a_client_that_does_not_read_is_throttled_and_then_cut_off(sockets: Lab) -> None:
    made = raw_socket(sockets, receive_buffer=4096)
    identifier = connection_id(sockets)
    (connection,) = sockets.websockets
    answers = []
    for _ in range(200):
        answers.append(manage(sockets, "POST", identifier, b"x" * 128 * KB))
        if answers[-1].status != 200:
            break
    assert answers[-1].status == 429
    assert answers[-1]["x-amzn-errortype"] == "LimitExceededException"
    assert connection._transport.get_write_buffer_size() < 512 * KB
    sockets.sweep(0)
    sockets.sweep(30)
    until(lambda: manage(sockets, "GET", identifier).status == 410, "it is gone")
    made.client.drop()


def test_a_slow_client_gets_everything(sockets: Lab) -> None:
    made = raw_socket(sockets, receive_buffer=4096)
    identifier = connection_id(sockets)
    (connection,) = sockets.websockets
    count = 0
    while manage(sockets, "POST", identifier, b"%06d" % count + b"x" * 100 * KB).status == 200:
        count += 1
    read = 0
    for step in range(count):
        # Some time goes by, and it has read something.
        assert made.receive()[1][:6] == b"%06d" % step
        read += 1
        sockets.sweep(step + 1)
    assert read == count > 30
    assert connection.is_open


def test_one_connection_does_not_hold_up_another(sockets: Lab) -> None:
    """A megabyte of empty frames is parsed in slices."""
    flood = raw_socket(sockets)
    with websocket(sockets) as client:
        flood.send(frame(PONG) * 20_000)
        client.ping().wait(BOUND_SECONDS)
    flood.send(frame(TEXT, b"after"))
    until(lambda: messages(sockets) == ["after"], "the flood is over")


@pytest.mark.parametrize("sizes", [(1,), (2, 3), (7,)])
def test_frames_may_come_in_any_pieces(sockets: Lab, sizes: tuple[int, ...]) -> None:
    made = raw_socket(sockets)
    data = frame(TEXT, "häl".encode(), fin=False) + frame(PING, b"p") + frame(0, "lo €".encode()) + frame(BINARY, b"\0")
    place = 0
    while place < len(data):
        for size in sizes:
            made.send(data[place : place + size])
            place += size
    until(lambda: messages(sockets) == ["hällo €", "AA=="], "both are whole")


def test_a_handshake_with_a_body_is_refused(sockets: Lab) -> None:
    answer = sockets.ask("GET", f"/_ws/{API}/dev", os.urandom(3), HANDSHAKE, host="127.0.0.1")
    assert answer.status == 400
