"""A listening socket and the connections it has accepted, under one clock."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from venturekit.service.wire.connection import Connection
from venturekit.service.wire.deadlines import sweep
from venturekit.service.wire.limits import Limits

if TYPE_CHECKING:
    import socket
    import ssl

    from venturekit.service.wire.exchange import Application

BACKLOG = 4096
SWEPT_AT_ONCE = 250


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(wall: float) -> bytes:
    """The value of a Date header (RFC 9110, 5.6.7) for a time in epoch seconds; always in English."""
    at = time.gmtime(wall)
    return (
        f"{DAYS[at.tm_wday]}, {at.tm_mday:02d} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} GMT"
    ).encode("ascii")


class Clock:
    """The coarse time of all listeners: advanced about once a second, read by every request.

    ``now`` is monotonic, in seconds; ``date`` is the value of the Date header. Tests advance it themselves.
    """

    def __init__(self, now: float, wall: float) -> None:
        self.now = now
        self.date = b""
        self.listeners: set[Listener] = set()
        self.advance(now, wall)

    def advance(self, now: float, wall: float) -> None:
        """Set the time (monotonic and wall clock, in seconds) and close the connections that are past theirs."""
        self.now = now
        self.date = http_date(wall)
        for listener in tuple(self.listeners):
            listener.sweep(now)


class Listener:
    """Accepts connections for one application. Create it with :meth:`start`."""

    def __init__(self, application: Application, clock: Clock, limits: Limits | None = None) -> None:
        self.application = application
        self.clock = clock
        self.limits = limits or Limits()
        self.connections: set[Connection] = set()
        self.draining = False
        self.closed = False
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on an address, or on a socket that is bound already. Raises OSError as binding does."""
        loop = asyncio.get_running_loop()
        if sock is not None:
            self._server = await loop.create_server(lambda: Connection(self), sock=sock, backlog=BACKLOG, ssl=tls)
        else:
            self._server = await loop.create_server(lambda: Connection(self), host, port, backlog=BACKLOG, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.clock.listeners.add(self)

    def sweep(self, now: float) -> None:
        """Close the connections that are past their time (monotonic seconds).

        Many are looked at a part at a time: ten thousand at once would hold up every request by milliseconds.
        """
        self._sweep(tuple(self.connections), 0, now)

    def _sweep(self, connections: tuple[Connection, ...], begin: int, now: float) -> None:
        end = begin + SWEPT_AT_ONCE
        for connection in connections[begin:end]:
            # It may have gone while its turn came.
            if connection in self.connections:
                sweep(connection, now)
        if end < len(connections):
            asyncio.get_running_loop().call_soon(self._sweep, connections, end, now)

    def stop_accepting(self) -> None:
        """Accept no more connections; those that rest are closed, the others when they have been answered."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in self.connections:
            connection.announce_close()
        self.sweep(self.clock.now)

    @property
    def busy(self) -> bool:
        """A request is still being received or answered, or an answer is not yet read by its peer."""
        return any(
            connection.current is not None
            or connection.waiting
            or connection.parsing is not None
            or connection.transport.get_write_buffer_size()
            for connection in self.connections
        )

    def close(self) -> None:
        """Stop accepting and cut every connection."""
        self.closed = True
        self.stop_accepting()
        self.clock.listeners.discard(self)
        for connection in tuple(self.connections):
            connection.abort()
