"""Connections to one server: made when needed, kept for the next request, several at once for several threads.

A response with a length is read into its bytes directly, a large request is sent from where it lies: bodies of the
size that Lambda takes are not copied on the way. Source of the protocol: RFC 9112.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.protocol.http1 import HEAD_LIMIT_BYTES, HttpError, ResponseHead, ResponseParser, parse_head
from venturekit.transport.dialing import dial, failure_text, usual_tls
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
    PoolError,
)
from venturekit.transport.timed_socket import TimedSocket

if TYPE_CHECKING:
    import io
    import socket
    from collections.abc import Callable, Iterator
    from threading import Semaphore

    from venturekit.transport.endpoint import Endpoint, Proxy

IDLE_SECONDS: Final = 50.0
"""How long a connection may rest: load balancers close theirs after a minute."""
CONNECT_SECONDS: Final = 5.0
_START: Final = b"HTTP/"
_HEAD_END: Final = b"\r\n\r\n"
_INTERIM_LIMIT: Final = 100
_SWITCHING_PROTOCOLS: Final = 101
_STALL_SECONDS: Final = 1.0
_JOINED_LIMIT_BYTES: Final = 16_384
_READ_BYTES: Final = 65_536
_BUFFER_BYTES: Final = 32_768


class HttpResponse(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Outgoing:
    """A request: all that comes before its body, and the body. What signs it is not in the repr."""

    __slots__ = ("body", "head")

    def __init__(self, head: bytes, body: bytes | bytearray | memoryview) -> None:
        self.head = head
        self.body = body


class Limits(NamedTuple):
    """How long a request may take: to wait for each part of the answer, and in all (monotonic seconds)."""

    wait_seconds: float | None
    deadline: float | None = None


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
        self._begin()

    def _begin(self) -> None:
        from threading import Semaphore

        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._free = Semaphore(self._max_open)
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

    def interrupt(self) -> None:
        """Close all connections, those that other threads wait at included: their requests fail."""
        self.close()
        for connection in list(self._busy):
            self.wake(connection)

    def wake(self, connection: _Connection) -> None:
        """End a connection under whoever waits at it. What a forked process has from its parent is the parent's."""
        if self._process == os.getpid():
            connection.interrupt()

    def _taken(self, limits: Limits) -> _Connection:
        if self._process != os.getpid():
            # What the parent has open is the parent's.
            self._begin()
        seconds = self._pool_seconds
        if limits.deadline is not None:
            seconds = min(seconds, limits.deadline - time.monotonic())
        slots = self._free
        if not slots.acquire(timeout=max(seconds, 0)):
            raise PoolError(f"all {self._max_open} connections to {self.endpoint.url} were in use for {seconds:g} s")
        try:
            connection = self._kept() or self._made(limits)
            # Of those that were made before a close() or a fork none comes back.
            connection.home = self._idle
            connection.slots = slots
            self._busy.add(connection)
            return connection
        except BaseException:
            slots.release()
            raise

    def _kept(self) -> _Connection | None:
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

    def _made(self, limits: Limits) -> _Connection:
        seconds = self._connect_seconds
        if limits.deadline is not None:
            seconds = min(seconds, limits.deadline - time.monotonic())
        if self.endpoint.scheme == "https" and self._tls_context is None:
            self._tls_context = self._tls() if self._tls is not None else usual_tls()
        return _Connection(dial(self.endpoint, self._proxy, self._tls_context, seconds))

    def _give_back(self, connection: _Connection, is_kept: bool) -> None:
        self._busy.discard(connection)
        idle = self._idle
        if is_kept and connection.home is idle and len(idle) < self._max_idle:
            connection.rest()
            idle.append(connection)
        else:
            connection.close()
        connection.slots.release()


class OpenResponse:
    """A response whose body is read piece by piece. Read to its end or close it: until then it has a connection."""

    def __init__(self, owner: Connections, connection: _Connection, head: ResponseHead) -> None:
        self.status = head.status
        self.headers = head.headers
        self._owner = owner
        self._connection: _Connection | None = connection
        self._pieces = connection.pieces(head)

    def read(self) -> bytes:
        """What has come of the body, b"" at its end. Raises ExchangeError."""
        if self._connection is None:
            return b""
        try:
            piece = next(self._pieces, b"")
        except BaseException:
            self._finish(False)
            raise
        if not piece:
            self._finish(self._connection.is_reusable)
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


class _Connection:
    """One connection, for one request at a time."""

    __slots__ = ("_reader", "_resting_since", "_socket", "_timed", "home", "is_reusable", "slots")

    slots: Semaphore

    def __init__(self, connection: socket.socket) -> None:
        from io import BufferedReader

        self._socket = connection
        self._timed = TimedSocket(connection)
        self._reader: io.BufferedReader = BufferedReader(self._timed, _BUFFER_BYTES)
        self._resting_since = 0.0
        self.is_reusable = False
        self.home: list[_Connection] | None = None

    def rest(self) -> None:
        self._resting_since = time.monotonic()

    def is_fresh(self) -> bool:
        """Whether it rested shortly, and nothing came meanwhile: the end, or what nobody asked for."""
        return time.monotonic() - self._resting_since < IDLE_SECONDS and not is_readable(self._socket)

    def allow_pauses(self) -> None:
        """The body is written while it is read: as slowly as its author likes."""
        self._timed.is_paced = False

    def limit_to(self, seconds: float) -> None:
        """From now on each wait is so long at most."""
        self._timed.wait_seconds = seconds

    def close(self) -> None:
        self._socket.close()

    def interrupt(self) -> None:
        """End it under whoever waits at it."""
        try:
            self._socket.shutdown(2)
        except OSError:
            pass

    def send(self, request: Outgoing, limits: Limits) -> ResponseHead:
        """Send a request and read the head of the response. Raises ExchangeError."""
        self.is_reusable = False
        self._timed.begin(*limits)
        broken: OSError | None = None
        is_sent = False
        try:
            self._timed.limit()
            is_sent = self._write(request)
        except TimeoutError as problem:
            raise AnswerTimeoutError("the request could not be sent in time") from problem
        except OSError as problem:
            # Who refuses a request may answer before having read it, and close.
            broken = problem
        try:
            head = self._read_head()
        except ExchangeError:
            if broken is not None:
                raise ConnectionLostError(f"the request could not be sent: {failure_text(broken)}") from broken
            raise
        # The rest of the request would be taken for the next one.
        return head if is_sent else head._replace(reusable=False)

    def read_body(self, head: ResponseHead, limit: int | None) -> bytes:
        """All of the body. Raises ExchangeError."""
        if head.framing != "length":
            pieces, size = [], 0
            for piece in self.pieces(head):
                size += len(piece)
                _check_size(size, limit)
                pieces.append(piece)
            return b"".join(pieces)
        _check_size(head.length, limit)
        try:
            body = self._reader.read(head.length)
        except OSError as problem:
            raise _reading_failure(problem) from problem
        if len(body) < head.length:
            raise ConnectionLostError(f"the connection was closed after {len(body)} of {head.length} bytes")
        self.is_reusable = head.reusable and not self._holds_more()
        return body

    def pieces(self, head: ResponseHead) -> Iterator[bytes]:
        """The body as it comes. Raises ExchangeError while iterating."""
        parser = ResponseParser()
        parser.begin(head)
        fruitless_bytes = 0
        while not parser.complete:
            try:
                received = self._reader.read1(_READ_BYTES)
                if received:
                    parser.feed(received)
                else:
                    parser.end()
                fruitless_bytes += len(received)
                if fruitless_bytes > HEAD_LIMIT_BYTES:
                    raise HttpError(f"the lines behind the body are longer than {HEAD_LIMIT_BYTES} bytes")
            except OSError as problem:
                raise _reading_failure(problem) from problem
            except HttpError as problem:
                kind = MalformedAnswerError if received else ConnectionLostError
                raise kind(str(problem)) from None
            piece = parser.take()
            if piece:
                fruitless_bytes = 0
                yield piece
        self.is_reusable = parser.reusable

    def _holds_more(self) -> bool:
        """Whether more has come than the answer, which nobody asked for."""
        self._timed.is_paused = True
        try:
            return bool(self._reader.peek())
        finally:
            self._timed.is_paused = False

    def _write(self, request: Outgoing) -> bool:
        """Whether all of it was sent."""
        connection = self._socket
        if len(request.body) <= _JOINED_LIMIT_BYTES:
            connection.sendall(request.head + request.body)
            return True
        connection.sendall(request.head)
        return self._write_large(memoryview(request.body).cast("B"))

    def _write_large(self, left: memoryview) -> bool:
        """Send a body until it is sent or refused: who has answered and takes nothing more waits for nothing."""
        timed, connection = self._timed, self._socket
        wait_seconds = timed.wait_seconds
        stalled_seconds = 0.0
        try:
            while left:
                longest = (
                    _STALL_SECONDS if wait_seconds is None else min(wait_seconds - stalled_seconds, _STALL_SECONDS)
                )
                timed.wait_seconds = longest
                timed.limit()
                try:
                    left = left[connection.send(left) :]
                    stalled_seconds = 0.0
                except TimeoutError:
                    stalled_seconds += longest
                    if self._is_refused():
                        return False
                    if wait_seconds is not None and stalled_seconds >= wait_seconds:
                        raise
        finally:
            timed.wait_seconds = wait_seconds
        return True

    def _is_refused(self) -> bool:
        # What comes over TLS may be other than an answer.
        return not hasattr(self._socket, "pending") and is_readable(self._socket)

    def _read_head(self) -> ResponseHead:
        for _ in range(_INTERIM_LIMIT):
            try:
                head = parse_head(self._head_bytes())
            except TimeoutError as problem:
                raise AnswerTimeoutError("no answer came in time") from problem
            except OSError as problem:
                raise ConnectionLostError(f"it broke before the answer: {failure_text(problem)}") from problem
            except HttpError as problem:
                raise MalformedAnswerError(str(problem)) from None
            if head.status == _SWITCHING_PROTOCOLS:
                raise MalformedAnswerError("the server wants to speak another protocol, and was not asked to")
            if not head.is_interim:
                return head
        raise MalformedAnswerError(f"{_INTERIM_LIMIT} interim answers came, and none that counts")

    def _head_bytes(self) -> bytes:
        """All before the first empty line. Raises OSError, HttpError, ConnectionLostError."""
        reader = self._reader
        ahead = reader.peek()
        end = ahead.find(_HEAD_END)
        if end >= 0:
            reader.read(end + len(_HEAD_END))
            return ahead[:end]
        return self._long_head()

    def _long_head(self) -> bytes:
        """The same of a head that comes in pieces."""
        reader = self._reader
        block = bytearray()
        while True:
            ahead = reader.peek()
            if not ahead:
                text = "within the head of the answer" if block else "before the answer"
                raise ConnectionLostError(f"the connection was closed {text}")
            known = len(block)
            block += ahead
            if not block.startswith(_START[: len(block)]):
                raise HttpError(f"this is no HTTP response: {bytes(block[:80])!r}")
            # The end of the head may lie across what came before and what came now.
            end = block.find(_HEAD_END, max(known - 3, 0))
            if end >= 0:
                reader.read(end + len(_HEAD_END) - known)
                return bytes(block[:end])
            reader.read(len(ahead))
            if len(block) > HEAD_LIMIT_BYTES:
                raise HttpError(f"the headers are longer than {HEAD_LIMIT_BYTES} bytes")
            if block.find(b"\n\n", max(known - 1, 0)) >= 0:
                raise HttpError(f"the lines of this head do not end as they must: {bytes(block[:80])!r}")


def is_readable(connection: Any) -> bool:
    """Whether something has come before anything was asked: the end of the connection, or what nobody wants."""
    from select import POLLIN, poll

    # Not select(): it takes no descriptor above 1023.
    waiting = poll()
    waiting.register(connection, POLLIN)
    return bool(waiting.poll(0))


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise MalformedAnswerError(f"the answer is longer than {limit} bytes")


def _reading_failure(problem: OSError) -> ExchangeError:
    if isinstance(problem, TimeoutError):
        return AnswerTimeoutError("the answer did not go on in time")
    return ConnectionLostError(f"the connection broke within the answer: {failure_text(problem)}")
