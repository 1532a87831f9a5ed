"""One connection, and one request on it at a time: what is written, and what is read until the response is whole.

A response with a length is read into its bytes directly, a large request is sent from where it lies: bodies of the
size that Lambda takes are not copied on the way. Source of the protocol: RFC 9112.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.protocol.http1 import HEAD_LIMIT_BYTES, HttpError, ResponseHead, ResponseParser, parse_head
from venturekit.transport.dialing import failure_text
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectionLostError,
    ExchangeError,
    MalformedAnswerError,
)
from venturekit.transport.timed_socket import TimedSocket

if TYPE_CHECKING:
    import io
    import socket
    from collections.abc import Iterator
    from queue import SimpleQueue


IDLE_SECONDS: Final = 50.0
"""How long a connection may rest: load balancers close theirs after a minute."""
_START: Final = b"HTTP/"
_HEAD_END: Final = b"\r\n\r\n"
_INTERIM_LIMIT: Final = 100
_SWITCHING_PROTOCOLS: Final = 101
_STALL_SECONDS: Final = 1.0
_JOINED_LIMIT_BYTES: Final = 16_384
_READ_BYTES: Final = 65_536
_BUFFER_BYTES: Final = 32_768


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


class Connection:
    """One connection, for one request at a time."""

    __slots__ = ("_reader", "_resting_since", "_socket", "_timed", "home", "is_reusable", "slots")

    slots: SimpleQueue[None]

    def __init__(self, connection: socket.socket) -> None:
        from io import BufferedReader

        self._socket = connection
        self._timed = TimedSocket(connection)
        self._reader: io.BufferedReader = BufferedReader(self._timed, _BUFFER_BYTES)
        self._resting_since = 0.0
        self.is_reusable = False
        self.home: list[Connection] | None = None

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
