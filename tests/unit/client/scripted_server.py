"""A server on a raw socket that does to each connection what a test says, byte by byte."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
import termios
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

BOUND_SECONDS = 10.0


class Request(NamedTuple):
    """A request as it came; the names of its headers are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """One connection, from the side of the server. ``number`` counts them, from 0."""

    def __init__(self, connection: socket.socket, number: int, server: ScriptedServer) -> None:
        self.socket = connection
        self.number = number
        self.server = server
        connection.settimeout(BOUND_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def head(self) -> Request:
        """The head of the next request. Raises EOFError when the client has closed the connection."""
        while b"\r\n\r\n" not in self._received:
            data = self.socket.recv(65_536)
            if not data:
                raise EOFError
            self._received += data
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Request(method, target, headers, b"")

    def request(self) -> Request:
        """The next request, whole."""
        request = self.head()
        size = int(request.headers.get("content-length", 0))
        pieces, known = [self._received], len(self._received)
        while known < size:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError
            pieces.append(data)
            known += len(data)
        data = b"".join(pieces)
        self._received = data[size:]
        request = request._replace(body=data[:size])
        self.server.requests.append(request)
        return request

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self, body: bytes = b"{}", *fields: str, status: str = "200 OK") -> None:
        """A request read, and answered as it should be."""
        self.request()
        self.send(answer(body, *fields, status=status))

    def until_closed(self) -> None:
        """Wait for the client to close the connection. Raises TimeoutError."""
        with suppress(ConnectionError):
            while self.socket.recv(65_536):
                pass
        self.server.seen_closed.append(self.number)

    def until_stalled(self) -> None:
        """Wait until the client has sent what fits, and cannot send more."""
        before, waited, now = -1, threading.Event(), 0
        while now != before:
            waited.wait(0.05)
            before, now = now, int.from_bytes(fcntl.ioctl(self.socket, termios.FIONREAD, bytes(4)), sys.byteorder)
            if not now:
                before = -1

    def reset(self) -> None:
        """End the connection in the rude way."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def answer(body: bytes = b"{}", *fields: str, status: str = "200 OK") -> bytes:
    """A response with a length."""
    lines = [f"HTTP/1.1 {status}", *fields, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class ScriptedServer:
    """Listens on any free port; calls ``script(peer)`` for each connection, in a thread of its own, and closes it."""

    def __init__(self, script: Callable[[Peer], object]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[Request] = []
        self.seen_closed: list[int] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            peer = Peer(connection, self.connections, self)
            self.connections += 1
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self._script(peer)
        except (EOFError, ConnectionError):
            pass
        except Exception as failure:
            # Whatever it is, the test has to see it.
            self.failures.append(failure)
        finally:
            peer.socket.close()

    def join(self) -> None:
        """Wait until every script has come to its end."""
        for thread in list(self._threads):
            thread.join(BOUND_SECONDS)
            assert not thread.is_alive(), "a connection of the scripted server did not end"
        assert self.failures == []

    def close(self) -> None:
        # A thread that waits in accept() does not see that its socket is closed.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join(BOUND_SECONDS)
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(BOUND_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
