"""HTTP/1.1 as a client speaks it, without sockets: requests as bytes, responses from bytes.

For functions that call functions: the standard library's ``http.client`` takes longer to import than such a call.
Source: RFC 9112.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_LIMIT_BYTES: Final = 262_144
_CHUNK_LINE_LIMIT: Final = 1024
_NO_BODY: Final = (204, 304)
_DIGITS_LIMIT: Final = 16
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: .*)?", re.ASCII)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_FIRST_MODE: Final = {"length": "length", "chunked": "size", "close": "close"}


class HttpError(Exception):
    """What came is no HTTP response, or not all of one; the text says how."""


def request_head(method: str, target: str, headers: Mapping[str, str], body_bytes: int) -> bytes:
    """What comes before the body of a request. Raises ValueError for torn headers."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"the header {name!r} would be torn: it holds a line break, or what no name holds")
        lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {body_bytes}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8")


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request in one piece, so that it leaves in one packet where it fits. Raises ValueError for torn headers."""
    return request_head(method, target, headers, len(body)) + body


class ResponseHead(NamedTuple):
    """What comes before the body of a response.

    ``headers`` have names in lower case, values of one name are joined by commas. ``framing`` is how the end of the
    body is known: by its ``length``, by chunks (``chunked``), or by the end of the connection (``close``).
    """

    status: int
    headers: dict[str, str]
    reusable: bool
    framing: str
    length: int = 0

    @property
    def is_interim(self) -> bool:
        """Whether the response itself is still to come."""
        return 100 <= self.status < 200


def parse_head(block: bytes) -> ResponseHead:
    """The head in all that comes before the first empty line. Raises HttpError."""
    first, *lines = block.decode("latin-1").split("\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise HttpError(f"this is no HTTP response: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or _NAME.fullmatch(name) is None:
            raise HttpError(f"this is no header: {line[:80]!r}")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    connection = headers.get("connection")
    reusable = found[1] == "1"
    if connection is not None and connection != "keep-alive":
        reusable = reusable and "close" not in {token.strip().lower() for token in connection.split(",")}
    return _framed(int(found[2]), headers, reusable)


def _framed(status: int, headers: dict[str, str], reusable: bool) -> ResponseHead:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if status in _NO_BODY or status < 200:
        return ResponseHead(status, headers, reusable, "length")
    if coding is not None:
        if coding.lower() != "chunked":
            raise HttpError(f"Transfer-Encoding is {coding[:40]!r}, and only chunked is understood")
        # Two statements of the length: whatever follows may be something else than it seems.
        return ResponseHead(status, headers, reusable and length is None, "chunked")
    if length is None:
        return ResponseHead(status, headers, False, "close")
    if not (length.isascii() and length.isdigit() and len(length) <= _DIGITS_LIMIT):
        raise HttpError(f"Content-Length is {length[:40]!r}")
    return ResponseHead(status, headers, reusable, "length", int(length))


class ResponseParser:
    """One response: ``feed()`` what arrives until ``complete``; the body is in ``take()`` or all in ``body``.

    ``limit_bytes`` is how much may arrive, heads and all.

    ``headers`` have names in lower case, values of one name are joined by commas. ``reusable`` tells whether the
    connection can carry another request. Interim responses (1xx) are passed over.
    """

    __slots__ = (
        "_allowed",
        "_body",
        "_buffer",
        "_head_done",
        "_left",
        "_mode",
        "_searched",
        "complete",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._allowed = limit_bytes
        self.status = 0
        self.headers: dict[str, str] = {}
        self.complete = False
        self.reusable = False
        self._buffer = bytearray()
        self._body: list[bytes] = []
        self._head_done = False
        self._mode = ""
        self._left = 0
        self._searched = 0

    @property
    def body(self) -> bytes:
        """What has come of the body and was not taken."""
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def take(self) -> bytes:
        """The same, once."""
        taken = self.body
        self._body = []
        return taken

    @property
    def head_complete(self) -> bool:
        """Whether status and headers are known."""
        return self._head_done

    def feed(self, data: bytes) -> None:
        """What has arrived. Raises HttpError."""
        if self._allowed is not None:
            self._allowed -= len(data)
            if self._allowed < 0:
                raise HttpError("the response is longer than it may be")
        self._buffer += data
        while not self._head_done:
            if not self._read_head():
                return
        self._read_body()

    def end(self) -> None:
        """The connection has been closed. Raises HttpError if the response is not whole."""
        if self._head_done and self._mode == "close":
            self.complete = True
        if not self.complete:
            where = "within the body" if self._head_done else "before the response"
            raise HttpError(f"the connection was closed {where}")

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if end < 0:
            # Byte by byte a long head would else be searched as often as it has bytes.
            self._searched = max(len(self._buffer) - 3, 0)
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise HttpError(f"the headers are longer than {HEAD_LIMIT_BYTES} bytes")
            return False
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._searched = 0
        if not head.is_interim:
            self.begin(head)
        return True

    def begin(self, head: ResponseHead) -> None:
        """The head has been read elsewhere, and what is fed is the body."""
        self.status, self.headers, self.reusable = head.status, head.headers, head.reusable
        self._head_done = True
        self._left = head.length
        self._mode = _FIRST_MODE[head.framing]
        self.complete = head.length == 0 and head.framing == "length"

    def _read_body(self) -> None:
        while self._buffer and not self.complete:
            if self._mode in ("length", "chunk", "close"):
                self._read_data()
            elif not self._read_line():
                return
        if self.complete and self._buffer:
            # Whatever this is, nobody asked for it.
            self.reusable = False

    def _read_data(self) -> None:
        count = len(self._buffer) if self._mode == "close" else min(self._left, len(self._buffer))
        self._body.append(bytes(self._buffer[:count]))
        del self._buffer[:count]
        if self._mode == "close":
            return
        self._left -= count
        if self._left == 0:
            self.complete = self._mode == "length"
            self._mode = "line"

    def _read_line(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > _CHUNK_LINE_LIMIT:
                raise HttpError("a chunk's size has no end")
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._mode == "line":
            if line:
                raise HttpError("a chunk is longer than it said")
            self._mode = "size"
        elif self._mode == "size":
            digits = line.partition(b";")[0].strip()
            if _HEXADECIMAL.fullmatch(digits) is None:
                raise HttpError(f"{line[:40]!r} is no size of a chunk")
            self._left = int(digits, 16)
            self._mode = "chunk" if self._left else "trailer"
        elif not line:
            self.complete = True
        return True
