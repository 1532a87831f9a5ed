"""The response stream of VentureKit's runtime, kept in memory: the same methods and complaints, without a network."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.protocol.http_response import PRELUDE_TYPE, HttpResponse, PreludeParser
from venturekit.ric.faults import ResponseStreamError
from venturekit.ric.response_stream import BINARY, PRELUDE_END, header_text, http_prelude

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Piece = bytes | bytearray | memoryview | str


class ResponseRecorder:
    """What ``context.response_stream`` gives in a test::

        >>> from venturekit.testing import FakeLambdaContext
        >>> stream = FakeLambdaContext().response_stream
        >>> stream.begin_http(200, {"Content-Type": "text/plain"})
        >>> stream.write("one"), stream.write(b"two")
        (3, 3)
        >>> stream.pieces, stream.response().body
        ([b'one', b'two'], b'onetwo')

    ``pieces`` are what was written, ``prelude`` is what ``begin_http()`` was told, None if it was not called. All
    methods raise ResponseStreamError when the invocation is over.
    """

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.prelude: dict[str, Any] | None = None
        self._content_type = BINARY
        self._started = False
        self._closed = False

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
        """Whether the response has begun."""
        return self._started

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._closed

    def begin_http(
        self, status_code: int = 200, headers: Mapping[str, Any] | None = None, cookies: Iterable[str] = ()
    ) -> None:
        """Say with which status, headers and cookies a front door is to answer. Raises ValueError, TypeError."""
        self._expect_fresh("begin_http is called")
        self.prelude = http_prelude(status_code, headers, cookies)
        self._content_type = PRELUDE_TYPE

    def write(self, data: Piece) -> int:
        """Keep a piece (text as UTF-8). Returns the length of ``data``."""
        piece = _bytes_of(data)
        if piece:
            self._expect_open()
            self._started = True
            self.pieces.append(piece)
        return len(data)

    async def awrite(self, data: Piece) -> int:
        """The same for asynchronous handlers."""
        return self.write(data)

    def flush(self) -> None:
        """Begin the response, if it has not begun."""
        self._expect_open()
        self._started = True

    def close(self) -> None:
        """End the response. Closing twice does nothing."""
        if not self._closed:
            self.flush()
            self._closed = True

    def over(self) -> bool:
        """The invocation is over: nothing more may be written. Returns whether anything was."""
        self._closed = True
        return self._started

    @property
    def payload(self) -> bytes:
        """Everything that was sent, the prelude included: what Lambda gives to a caller that does not stream."""
        body = b"".join(self.pieces)
        if self.prelude is None:
            return body
        return json.dumps(self.prelude, separators=(",", ":")).encode() + PRELUDE_END + body

    def response(self) -> HttpResponse:
        """The response that a front door makes of it. Raises InvalidPreludeError."""
        if self._content_type != PRELUDE_TYPE:
            return HttpResponse(200, (("content-type", self._content_type),), (), self.payload)
        parser = PreludeParser()
        return parser.feed(self.payload) or parser.end()

    def _expect_fresh(self, what: str) -> None:
        if self._started or self._closed:
            raise ResponseStreamError(f"{what} after the response has begun; do it before the first piece")

    def _expect_open(self) -> None:
        if self._closed:
            raise ResponseStreamError("the response stream is closed: it was ended, or its invocation is over")


def _bytes_of(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"a response stream takes bytes, bytearray, memoryview and str, not {type(data).__name__}")
