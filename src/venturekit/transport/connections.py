"""Connections to one server: made when needed, kept for the next request, several at once for several threads."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.transport.connection import Connection, Limits, Outgoing
from venturekit.transport.dialing import dial, usual_tls
from venturekit.transport.errors import ClosedError, ExchangeError, PoolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from queue import SimpleQueue

    from venturekit.protocol.http1 import ResponseHead
    from venturekit.transport.endpoint import Endpoint, Proxy

CONNECT_SECONDS: Final = 5.0


class HttpResponse(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connections:
    """The connections to one server. Threads may share it; in a forked process it begins anew.

    ``max_open`` connections at most are open at once, further requests wait ``pool_seconds`` for one. ``tls`` makes
    the TLS context when the first connection needs it. ``response_limit`` is how many bytes a body may have.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        max_open: int = 1000,
        max_idle: int = 8,
        pool_seconds: float = 60.0,
        proxy: Proxy | None = None,
        tls: Callable[[], Any] | None = None,
        response_limit: int | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._connect_seconds = connect_seconds
        self._max_open = max_open
        self._max_idle = max_idle
        self._pool_seconds = pool_seconds
        self._proxy = proxy
        self._tls = tls
        self._tls_context: Any = None
        self._response_limit = response_limit
        self._is_ended = False
        self._begin()

    def _begin(self) -> None:
        # Not a semaphore: garbage gives connections back in the middle of anything, and would wait for its own lock.
        from queue import Empty, SimpleQueue

        self._empty = Empty
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._max_open):
            self._free.put(None)
        # Last: another thread may look at it meanwhile.
        self._process = os.getpid()

    def exchange(self, request: Outgoing, limits: Limits) -> HttpResponse:
        """Send a request and read its response whole. Raises ExchangeError."""
        connection = self._taken(limits)
        is_kept = False
        try:
            response = connection.send(request, limits)
            content = connection.read_body(response, self._response_limit)
            is_kept = connection.is_reusable
        finally:
            self._give_back(connection, is_kept)
        return HttpResponse(response.status, response.headers, content)

    def open(self, request: Outgoing, limits: Limits) -> OpenResponse:
        """Send a request and read the head of its response; the body follows in pieces. Raises ExchangeError."""
        connection = self._taken(limits)
        try:
            response = connection.send(request, limits)
            connection.allow_pauses()
            return OpenResponse(self, connection, response)
        except BaseException:
            self._give_back(connection, False)
            raise

    def close(self) -> None:
        """Close the connections that rest. Those in use are closed when they are given back."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def end(self) -> None:
        """Close them for good: who waits for one, or asks for one later, gets ClosedError."""
        self._is_ended = True
        self.close()
        # Whoever waits passes it on to the next.
        self._free.put(None)

    def interrupt(self) -> None:
        """Close all connections, those that other threads wait at included: their requests fail."""
        self.close()
        for connection in list(self._busy):
            self.wake(connection)

    def wake(self, connection: Connection) -> None:
        """End a connection under whoever waits at it. What a forked process has from its parent is the parent's."""
        if self._process == os.getpid():
            connection.interrupt()

    def _taken(self, limits: Limits) -> Connection:
        if self._process != os.getpid():
            # What the parent has open is the parent's.
            self._begin()
        seconds = self._pool_seconds
        if limits.deadline is not None:
            seconds = min(seconds, limits.deadline - time.monotonic())
        slots, home = self._free, self._idle
        self._wait_for(slots, max(seconds, 0.0))
        try:
            if self._is_ended:
                raise ClosedError("the connections were closed")
            connection = self._kept() or self._made(limits)
            # Of those that were made before a close() or a fork none comes back.
            connection.home = home
            connection.slots = slots
            self._busy.add(connection)
            return connection
        except BaseException:
            slots.put(None)
            raise

    def _wait_for(self, slots: SimpleQueue[None], seconds: float) -> None:
        try:
            slots.get(timeout=seconds)
        except self._empty:
            raise PoolError(
                f"all {self._max_open} connections to {self.endpoint.url} were in use for {seconds:g} s"
            ) from None

    def _kept(self) -> Connection | None:
        """A connection that is still open on the other side, as far as that can be known."""
        while True:
            try:
                # Threads share what is kept: asking first whether there is one would be asking too early.
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_fresh():
                return connection
            connection.close()

    def _made(self, limits: Limits) -> Connection:
        seconds = self._connect_seconds
        if limits.deadline is not None:
            seconds = min(seconds, limits.deadline - time.monotonic())
        if self.endpoint.scheme == "https" and self._tls_context is None:
            self._tls_context = self._tls() if self._tls is not None else usual_tls()
        return Connection(dial(self.endpoint, self._proxy, self._tls_context, seconds))

    def _give_back(self, connection: Connection, is_kept: bool) -> None:
        self._busy.discard(connection)
        idle, home = self._idle, connection.home
        # What rests and the list of what rests would keep each other, when nobody wants them any more.
        connection.home = None
        if is_kept and home is idle and len(idle) < self._max_idle:
            connection.rest()
            idle.append(connection)
            if idle is not self._idle:
                # They were closed meanwhile, and it may have come too late for that.
                connection.close()
        else:
            connection.close()
        connection.slots.put(None)


class OpenResponse:
    """A response whose body is read piece by piece. Read to its end or close it: until then it has a connection."""

    def __init__(self, owner: Connections, connection: Connection, head: ResponseHead) -> None:
        self.status = head.status
        self.headers = head.headers
        self._owner = owner
        self._connection: Connection | None = connection
        self._pieces = connection.pieces(head)

    def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ExchangeError."""
        # Another thread may close it meanwhile.
        connection = self._connection
        if connection is None:
            return b""
        try:
            piece = next(self._pieces, b"")
        except BaseException:
            self._finish(False)
            raise
        if not piece:
            self._finish(connection.is_reusable)
        return piece

    def read_all(self, limit: int) -> bytes:
        """What is left of the body, so many bytes of it at most. Raises ExchangeError."""
        pieces, size = [], 0
        while size < limit:
            piece = self.read()
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
        self.close()
        return b"".join(pieces)[:limit]

    def finish(self, seconds: float) -> bytes:
        """The body should be over: keep the connection if it ends within so many seconds, else close it.

        Gives what came all the same.
        """
        connection = self._connection
        if connection is None:
            return b""
        connection.limit_to(seconds)
        try:
            rest = self.read()
        except ExchangeError:
            return b""
        self.close()
        return rest

    def close(self) -> None:
        """Close the connection if the body has not ended: the server sees that nobody wants the rest.

        Another thread that waits for the body sees the end of the connection.
        """
        connection = self._connection
        if connection is not None:
            self._owner.wake(connection)
            self._finish(False)

    def __del__(self) -> None:
        # Whoever forgets to read or close it would else take a connection away from all others, for good.
        self._finish(False)

    def _finish(self, is_kept: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._owner._give_back(connection, is_kept)
