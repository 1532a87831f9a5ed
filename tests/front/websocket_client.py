"""A WebSocket client that sends whatever bytes a test wants, and one request to ``@connections``."""

from __future__ import annotations

import base64
import json
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from websockets.sync.client import connect

from tests.front.front_lab import API, BOUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.front.front_lab import Answer, Client, Lab

KEY = base64.b64encode(bytes(16)).decode()
HANDSHAKE = (
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
OWN_HEADER = ("X-Amz-Client", "test")


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, masked: bool = True, length: int | None = None) -> bytes:
    """A frame; ``length`` is what it claims to hold."""
    size = len(data) if length is None else length
    first = bytes([opcode | (0x80 if fin else 0)])
    mask = 0x80 if masked else 0
    if size < 126:
        head = first + bytes([mask | size])
    elif size < 65536:
        head = first + struct.pack("!BH", mask | 126, size)
    else:
        head = first + struct.pack("!BQ", mask | 127, size)
    return head + (bytes(4) if masked else b"") + data


class RawSocket:
    """A connection after its handshake, whose bytes are the test's."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send; a server that has closed already does not matter."""
        with suppress(ConnectionError):
            self.client.send(data)

    def receive(self) -> tuple[int, bytes]:
        """Opcode and data of the next frame; the server sends no fragments. Raises EOFError."""
        head = self._take(2)
        assert head[0] & 0xF0 == 0x80
        size = head[1]
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return head[0] & 0x0F, self._take(size)

    def closed(self) -> tuple[int, str]:
        """Code and reason of the server's close frame; passes over messages."""
        while True:
            opcode, data = self.receive()
            if opcode == CLOSE:
                return struct.unpack("!H", data[:2])[0], data[2:].decode()

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self.client._buffer or self.client.socket.recv(1 << 18)
            self.client._buffer = b""
            if not data:
                raise EOFError
            self._buffer += data
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def raw_socket(lab: Lab, *, path: str = f"/_ws/{API}/dev", receive_buffer: int = 0) -> RawSocket:
    """Connect by hand."""
    client = lab.connect(receive_buffer=receive_buffer)
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in HANDSHAKE), "", ""]
    client.send("\r\n".join(lines).encode())
    status, _ = client.head()
    assert status == 101
    return RawSocket(client)


@contextmanager
def websocket(lab: Lab, path: str = f"/_ws/{API}/dev", **options: Any) -> Iterator[ClientConnection]:
    """Connect as users do."""
    with connect(
        f"ws://127.0.0.1:{lab.port}{path}", compression=None, open_timeout=BOUND_SECONDS, proxy=None, **options
    ) as made:
        yield made


def connection_id(lab: Lab) -> str:
    """The id of the connection that was made last, as its ``$connect`` got it."""
    found = [event for event in lab.api.events if event["requestContext"]["eventType"] == "CONNECT"]
    return str(found[-1]["requestContext"]["connectionId"])


def manage(lab: Lab, method: str, identifier: str, body: bytes | None = None, *, stage: str = "dev") -> Answer:
    """One request to ``@connections``, by the path of the API."""
    path = f"/_ws/{API}/{stage}/@connections/{quote(identifier, safe='')}"
    return lab.ask(method, path, body, [OWN_HEADER], host="127.0.0.1")


def received(made: ClientConnection) -> Any:
    """The next message, within the bound, as JSON if it is a text."""
    message = made.recv(BOUND_SECONDS)
    return json.loads(message) if isinstance(message, str) else message
