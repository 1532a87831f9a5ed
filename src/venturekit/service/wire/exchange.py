"""One request and its answer, as the application sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from venturekit.service.wire.connection import Connection

HEAD_END = b"\r\n\r\n"
CHUNK_END = b"0\r\n"


class AnswerError(RuntimeError):
    """An exchange was answered twice, or written to after its end: a fault of the application."""


class BodySink(Protocol):
    """Takes a request body piece by piece (see :meth:`Application.begin`)."""

    def chunk(self, data: bytes) -> None:
        """Take the next piece. Call ``exchange.pause()`` / ``exchange.resume()`` for back pressure."""

    def flush(self) -> None:
        """No further piece has come with the same read: what was kept to go on together goes on now.

        Not called for what :meth:`end` or :meth:`aborted` follow at once.
        """

    def end(self, trailers: Mapping[bytes, bytes]) -> None:
        """The body is complete; ``trailers`` have lower-case names."""

    def aborted(self) -> None:
        """The peer went away, or was cut off, before the end of the body."""


class Application(Protocol):
    """What answers the requests of a listener. All methods are called on the event loop and must not block."""

    def begin(self, exchange: Exchange) -> int | BodySink | None:
        """The head of a request with a notable body has arrived (large, chunked, or ``Expect: 100-continue``).

        May answer at once (what is missing of the body is then dropped and the connection closed), return a limit
        in bytes for this body, return a sink that takes the body piece by piece, or None for the listener's limit.
        Small bodies of known length arrive at :meth:`handle` without this call.
        """

    def handle(self, exchange: Exchange) -> None:
        """A request is complete (``exchange.too_large`` tells that its body was over the limit and dropped).

        Not called when :meth:`begin` returned a sink or answered.
        """

    def aborted(self, exchange: Exchange) -> None:
        """A request will not be answered. Called once for it; what is still sent for it is dropped.

        The peer went away, or was cut off because the rest of its request could not be read or came too slowly, or
        the application itself called ``exchange.abort()``. The request was given to :meth:`begin` or :meth:`handle`,
        or it was still being received (``exchange.complete`` is False) and its head was in order.
        """

    def malformed(self, status: int, reason: str) -> bytes:
        """The whole answer (head and body) for a request that could not be read; the connection then closes."""


class Exchange:
    """A request (``method``, ``target``, ``headers`` with lower-case names, ``body``) and the means to answer it.

    ``target`` is a path with its query, or ``*``: an absolute one has been reduced to its path. ``headers`` joins
    repeated fields with ``, ``; ``repeated`` names them. Both are for reading only: the next request of the
    connection may have the same. Blanks behind a value are not removed. ``trailers`` is None
    unless the request had some. ``on_drain`` is called when a peer that had fallen behind has caught up; ``tag`` is the
    application's own. ``chunked`` is False for a client of HTTP/1.0: only the end of the connection tells it that a
    streamed answer has ended.
    """

    __slots__ = (
        "body",
        "chunked",
        "complete",
        "connection",
        "headers",
        "held",
        "keep_alive",
        "method",
        "on_drain",
        "repeated",
        "streaming",
        "tag",
        "target",
        "too_large",
        "trailers",
    )

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.repeated: set[bytes] | None = None
        self.trailers: dict[bytes, bytes] | None = None
        self.body: bytes | bytearray = b""
        self.chunked = True
        self.complete = False
        self.held = False
        self.keep_alive = True
        self.too_large = False
        self.streaming = False
        self.on_drain: Callable[[], None] | None = None
        self.tag: object = None

    def respond(self, answer: bytes) -> None:
        """Send a whole answer (head and body in one piece) in one write. Raises AnswerError the second time.

        A request with HEAD gets the head alone, which then describes the body it would have had.
        """
        connection = self.connection
        if connection.current is not self or self.streaming:
            self._refuse_answer()
            return
        if self.method == b"HEAD":
            answer = answer[: answer.index(HEAD_END) + len(HEAD_END)]
        connection.transport.write(answer)
        connection.answered(self)

    def respond_parts(self, head: bytes, body: bytes | bytearray | memoryview) -> None:
        """Send head and a large body without joining them first."""
        connection = self.connection
        if connection.current is not self or self.streaming:
            self._refuse_answer()
            return
        # Not writelines: the stock loop's forgets the back pressure in several releases of CPython (3.12.0 to 3.13.0).
        connection.transport.write(head)
        if self.method != b"HEAD":
            connection.transport.write(body)
        connection.answered(self)

    def start(self, head: bytes) -> None:
        """Begin a streamed answer. ``head`` ends with an empty line.

        It names ``Transfer-Encoding: chunked``, or, where the exchange is not ``chunked``, ``Connection: close``.
        """
        if self.connection.current is not self or self.streaming:
            self._refuse_answer()
            return
        self.streaming = True
        self.keep_alive = self.keep_alive and self.chunked
        self.connection.transport.write(head)

    def write(self, data: bytes) -> bool:
        """Send one piece of a streamed answer.

        Returns False when the peer does not keep up: stop until ``on_drain`` is called.
        """
        connection = self.connection
        if connection.current is not self or not self.streaming:
            self._refuse_answer()
            return False
        if data:
            connection.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)
        return not connection.write_paused

    def write_parts(self, parts: Sequence[bytes | bytearray | memoryview]) -> bool:
        """Send one piece that is in parts, which are copied once; else like :meth:`write`."""
        connection = self.connection
        if connection.current is not self or not self.streaming:
            self._refuse_answer()
            return False
        if self.chunked:
            parts = (b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n")
        connection.transport.write(b"".join(parts))
        return not connection.write_paused

    def finish(self, trailers: Mapping[bytes, bytes] | None = None) -> None:
        """End a streamed answer. Trailers go out with a ``chunked`` one only."""
        connection = self.connection
        if connection.current is not self or not self.streaming:
            self._refuse_answer()
            return
        if self.chunked:
            fields = b"".join(b"%b: %b\r\n" % field for field in trailers.items()) if trailers else b""
            connection.transport.write(CHUNK_END + fields + b"\r\n")
        connection.answered(self)

    def abort(self) -> None:
        """Cut the connection: the peer sees that a streamed answer is truncated."""
        if self.connection.current is self:
            self.connection.abort()

    def pause(self) -> None:
        """Stop reading the request body until :meth:`resume`."""
        self.connection.pause_body(self)

    def resume(self) -> None:
        """Read the request body again."""
        self.connection.resume_body(self)

    def close_after(self) -> None:
        """Close the connection once the answer is out."""
        self.keep_alive = False

    @property
    def gone(self) -> bool:
        """The peer has left or was cut off: what is sent now reaches nobody."""
        return self.connection.dead

    def _refuse_answer(self) -> None:
        # An answer to a peer that has left or was cut off is nobody's fault: it is dropped.
        if not self.connection.dead:
            raise AnswerError(f"request {self.method!r} {self.target!r} was answered already")
