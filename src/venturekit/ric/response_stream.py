"""A response that leaves piece by piece (AWS: "Response streaming for Lambda functions").

AWS's client for Python has no such thing. On the wire it is what AWS's guide for custom runtimes asks for: a chunked
POST that names its mode, and trailers if the function fails after its first byte. Nothing is sent before the first
piece: a function that fails earlier has failed in the ordinary way.
"""

from __future__ import annotations

import _thread
import json
from binascii import b2a_base64

from .faults import MARSHAL_ERROR, ConnectionLostError, FaultError, ResponseStreamError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
    from typing import Any, TypeAlias

    from .client import Invocation, RuntimeApiClient

    Piece: TypeAlias = bytes | bytearray | memoryview | str

BINARY = "application/octet-stream"
HTTP_INTEGRATION = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)
END = b"0\r\n\r\n"
PIECE_TYPES = (bytes, str, bytearray, memoryview)
# Trailers share the Runtime API's limit on heads, which is a little over 1 MiB.
ERROR_LIMIT_BYTES = 512 * 1024
_CROPPED_MESSAGE_CHARACTERS = 8192
_LOOK_UP_MS = 100


class ResponseStream:
    """What `context.response_stream` gives: a file-like object whose pieces reach the caller as they are written.

    One thread, or the tasks of one event loop, may write at a time. All methods raise ResponseStreamError when the
    invocation is over or the Runtime API takes no more.
    """

    __slots__ = ("_api", "_content_type", "_invocation", "_lock", "_loop", "_prelude", "_state", "_unsent", "_waiters")

    def __init__(self, api: RuntimeApiClient, invocation: Invocation) -> None:
        self._api = api
        self._invocation = invocation
        self._content_type = BINARY
        self._prelude = b""
        self._state = _FRESH
        self._lock = _thread.allocate_lock()
        # Parts, and how much of them is sent: whatever a signal interrupts, the two stay together.
        self._unsent: tuple[tuple[bytes | memoryview, ...], list[int]] = _NOTHING, []
        self._waiters: list[Future[None]] = []
        self._loop: AbstractEventLoop | None = None

    @property
    def content_type(self) -> str:
        """The media type of the response; may be set until the first piece is out."""
        return self._content_type

    @content_type.setter
    def content_type(self, value: str) -> None:
        self._expect_fresh("content_type is set")
        self._content_type = header_text("content_type", value)

    @property
    def started(self) -> bool:
        """Whether the response has begun: what fails from now on is told behind its last piece."""
        return self._state != _FRESH

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._state == _CLOSED

    def begin_http(
        self, status_code: int = 200, headers: Mapping[str, Any] | None = None, cookies: Iterable[str] = ()
    ) -> None:
        """Say with which status, headers and cookies a function URL or an HTTP API is to answer.

        They go out in front of the first piece. Raises ValueError or TypeError for what cannot be in a header.
        """
        self._expect_fresh("begin_http is called")
        prelude = http_prelude(status_code, headers, cookies)
        self._content_type = HTTP_INTEGRATION
        self._prelude = json.dumps(prelude, separators=(",", ":")).encode() + PRELUDE_END

    def write(self, data: Piece) -> int:
        """Send a piece (text as UTF-8); waits while the caller does not keep up. Returns the length of `data`."""
        piece = _as_bytes(data)
        if len(piece):
            with self._lock:
                self._send(piece)
        return len(data)

    async def awrite(self, data: Piece) -> int:
        """Like `write`, but the event loop goes on while the caller does not keep up."""
        piece = _as_bytes(data)
        if len(piece):
            with self._lock:
                self._send_some(piece)
            while self._unsent[0]:
                await self._writable()
                with self._lock:
                    self._send_some()
        return len(data)

    def flush(self) -> None:
        """Begin the response, if it has not begun: status, headers and content type leave without a piece."""
        with self._lock:
            if self._state != _FRESH:
                self._expect_open()
            self._send(b"" if self._state == _FRESH else None)

    def close(self) -> None:
        """End the response: the caller has all of it, while the function may go on. Closing twice does nothing."""
        if self._state != _CLOSED:
            self.flush()
            with self._lock:
                self._state = _CLOSED
                self._send(None, END)

    def over(self, error: bytes = b"", error_type: str = "") -> bytes | None:
        """The handler has ended; nothing more may be written. None if nothing was: the response is an ordinary one.

        Else what is still to be sent: the end of the body and, with `error` (JSON), trailers that tell of it.
        """
        with self._lock:
            self._forget_waiters()
            self._count()
            state, self._state = self._state, _CLOSED
            rest, self._unsent = b"".join(self._unsent[0]), (_NOTHING, [])
        if state == _FRESH:
            return None
        if state == _OPEN:
            rest += b"0\r\n" + (_trailers(error, error_type) if error else b"") + b"\r\n"
        return rest

    def _frame(self, piece: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        """A chunk as the wire has it, behind the head of the request if it is the first one."""
        if self._state == _OPEN:
            return b"%x\r\n" % len(piece), piece, b"\r\n"
        self._expect_open()
        head = self._api.stream_head(self._invocation, self._content_type.encode("latin-1"))
        prelude, self._state = self._prelude, _OPEN
        size = len(prelude) + len(piece)
        return (head, b"%x\r\n" % size, prelude, piece, b"\r\n") if size else (head,)

    def _send(self, piece: bytes | memoryview | None, end: bytes = b"") -> None:
        """Send all of it, waiting where the caller does not keep up."""
        self._send_some(piece, end)
        if self._unsent[0]:
            from select import POLLOUT, poll

            writable = poll()
            writable.register(self._api.stream_descriptor, POLLOUT)
            while self._unsent[0]:
                # A signal that came just before this call does not end it: its handler runs when it returns.
                writable.poll(_LOOK_UP_MS)
                self._send_some()

    def _send_some(self, piece: bytes | memoryview | None = None, end: bytes = b"") -> None:
        """Send a piece and an end, behind what is left, as far as that goes without waiting."""
        try:
            self._count()
            if piece is not None or end:
                self._append(piece, end)
            parts, counts = self._unsent
            if parts:
                try:
                    self._api.send_stream_now(parts, counts)
                finally:
                    self._count()
        except ConnectionLostError as error:
            self._unsent = _NOTHING, []
            raise _lost(error) from None

    def _count(self) -> None:
        """Take off what is sent. What is not may be the function's own buffer: that is copied."""
        parts, counts = self._unsent
        if counts or len(parts) > 1:
            sent = sum(counts)
            if sent == sum(map(len, parts)):
                self._unsent = _NOTHING, []
            else:
                whole = parts[0] if len(parts) == 1 else b"".join(parts)
                self._unsent = (memoryview(whole)[sent:],), []

    def _append(self, piece: bytes | memoryview | None, end: bytes) -> None:
        """Add a piece and an end to what is to be sent."""
        state = self._state
        parts, counts = self._unsent
        try:
            new = () if piece is None else self._frame(piece)
            self._unsent = (*parts, *new, end) if end else (*parts, *new), counts
        except BaseException:
            # Interrupted between two things that belong together: what the service has cannot be gone on with.
            if self._state != state:
                self._state, self._unsent = _CLOSED, (_NOTHING, [])
                self._api.abandon_stream()
            raise

    async def _writable(self) -> None:
        from asyncio import get_running_loop

        loop = get_running_loop()
        waiter: Future[None] = loop.create_future()
        with self._lock:
            if self._loop is not loop:
                # Another one may have been closed while a write was waiting in it.
                self._forget_waiters()
                self._loop = loop
                loop.add_writer(self._api.stream_descriptor, self._wake)
            self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        with self._lock:
            self._forget_waiters()

    def _forget_waiters(self) -> None:
        loop, self._loop = self._loop, None
        waiters, self._waiters = self._waiters, []
        if loop is not None and not loop.is_closed():
            loop.remove_writer(self._api.stream_descriptor)
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def _expect_fresh(self, what: str) -> None:
        if self._state != _FRESH:
            raise ResponseStreamError(f"{what} after the response has begun; do it before the first piece")

    def _expect_open(self) -> None:
        if self._state == _CLOSED:
            raise ResponseStreamError("the response stream is closed: it was ended, or its invocation is over")


_FRESH, _OPEN, _CLOSED = range(3)
_NOTHING: tuple[bytes | memoryview, ...] = ()


def is_stream(result: Any) -> bool:
    """Whether a handler's result is taken piece by piece: iterators are, lists and other containers are not."""
    kind = type(result)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__")


def send_all(pieces: Iterator[Any], stream: ResponseStream) -> None:
    """Write what an iterator gives. It is closed in every case: what a generator has opened is let go of."""
    try:
        for piece in pieces:
            stream.write(_checked(piece))
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    stream.flush()


async def asend_all(pieces: AsyncIterator[Any], stream: ResponseStream) -> None:
    """Write what an asynchronous iterator gives; it is closed in every case."""
    try:
        async for piece in pieces:
            await stream.awrite(_checked(piece))
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
    stream.flush()


def _checked(piece: Any) -> Any:
    if isinstance(piece, PIECE_TYPES):
        return piece
    reason = _wrong_type(piece, "a handler that streams yields")
    raise FaultError(MARSHAL_ERROR, f"Unable to marshal response: {reason}")


def _as_bytes(data: Any) -> bytes | memoryview:
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytearray, memoryview)):
        view = memoryview(data)
        return view.cast("B") if view.c_contiguous else view.tobytes()
    raise TypeError(_wrong_type(data, "a response stream takes"))


def _wrong_type(data: Any, who: str) -> str:
    return f"{who} bytes, bytearray, memoryview and str, not {type(data).__name__}"


def http_prelude(status_code: int, headers: Mapping[str, Any] | None, cookies: Iterable[str]) -> dict[str, Any]:
    """The JSON in front of a response that says its own status and headers. Raises ValueError or TypeError."""
    if isinstance(status_code, bool) or not isinstance(status_code, int) or not 100 <= status_code <= 599:
        raise ValueError(f"status_code is {status_code!r}; it must be an integer from 100 to 599")
    if isinstance(cookies, str):
        raise TypeError("cookies is a str; it must be a list of them")
    fields = () if headers is None else headers.items()
    return {
        "statusCode": int(status_code),
        "headers": {header_text("a header's name", name): _value(name, value) for name, value in fields},
        "cookies": [header_text("a cookie", cookie) for cookie in cookies],
    }


def _value(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return header_text(f"the header {name!r}", value)


def header_text(what: str, value: Any) -> str:
    """A text that can be in a header. Raises TypeError, ValueError; ``what`` names it there."""
    if not isinstance(value, str):
        raise TypeError(f"{what} is of type {type(value).__name__}; it must be a str")
    if any(character < " " or character == "\x7f" or character > "\xff" for character in value):
        raise ValueError(f"{what} is {value[:60]!r}; it must be Latin-1 text without control characters")
    return value


def _trailers(error: bytes, error_type: str) -> bytes:
    shown = error_type if error_type.isascii() and error_type.replace(".", "_").isidentifier() else "Unhandled"
    if len(error) > ERROR_LIMIT_BYTES:
        report = json.loads(error)
        report["errorMessage"] = report["errorMessage"][:_CROPPED_MESSAGE_CHARACTERS]
        report["stackTrace"] = []
        error = json.dumps(report).encode()
    fields = (
        b"Lambda-Runtime-Function-Error-Type: " + shown.encode(),
        b"Lambda-Runtime-Function-Error-Body: " + b2a_base64(error, newline=False),
    )
    return b"".join(field + b"\r\n" for field in fields)


def _lost(error: ConnectionLostError) -> ResponseStreamError:
    return ResponseStreamError(f"the Runtime API takes no more of this response: {error}")
