"""HTTP/1.1 as a client speaks it, without sockets: requests as bytes, responses from bytes.

For functions that call functions: the standard library's ``http.client`` takes longer to import than such a call.
Source: RFC 9112.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

HEAD_LIMIT_BYTES: Final = 262_144
_CHUNK_LINE_LIMIT: Final = 1024
_NO_BODY: Final = (204, 304)
_DIGITS_LIMIT: Final = 16
_STATUS_LINE: Final = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: .*)?", re.ASCII)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEXADECIMAL: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")


class HttpError(Exception):
    """What came is no HTTP response, or not all of one; the text says how."""


def request_bytes(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request in one piece, so that it leaves in one packet where it fits. Raises ValueError for torn headers."""
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None or "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"the header {name!r} would be torn: it holds a line break, or what no name holds")
        lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode("utf-8") + body


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
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self._searched = 0
        first = _STATUS_LINE.fullmatch(lines[0])
        if first is None:
            raise HttpError(f"this is no HTTP response: {lines[0][:80]!r}")
        status = int(first[2])
        if 100 <= status < 200:
            return True
        self.status = status
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or _NAME.fullmatch(name) is None:
                raise HttpError(f"this is no header: {line[:80]!r}")
            name, value = name.lower(), value.strip(" \t")
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        tokens = {token.strip().lower() for token in self.headers.get("connection", "").split(",")}
        self.reusable = first[1] == "1" and "close" not in tokens
        self._head_done = True
        self._choose_mode()
        return True

    def _choose_mode(self) -> None:
        length = self.headers.get("content-length")
        if self.status in _NO_BODY:
            self.complete = True
        elif "transfer-encoding" in self.headers:
            coding = self.headers["transfer-encoding"].lower()
            if coding != "chunked":
                raise HttpError(f"Transfer-Encoding is {coding[:40]!r}, and only chunked is understood")
            self._mode = "size"
            # Two statements of the length: whatever follows may be something else than it seems.
            self.reusable = self.reusable and length is None
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= _DIGITS_LIMIT):
                raise HttpError(f"Content-Length is {length[:40]!r}")
            self._mode, self._left = "length", int(length)
            self.complete = self._left == 0
        else:
            self._mode, self.reusable = "close", False

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
