"""HTTP/1.1 responses, the part a client needs: heads and chunk sizes. Pure: bytes in, values out."""

from __future__ import annotations

from .faults import ProtocolError

# One header line of this size occurs in the other direction; 4 MiB bounds what a broken peer can make us keep.
MAXIMUM_HEAD_BYTES = 4 * 1024 * 1024
# Events are 6 MB (synchronous) or 1 MB (asynchronous); the bound only guards memory against a broken peer.
MAXIMUM_BODY_BYTES = 256 * 1024 * 1024


class ResponseHead:
    """Status line and headers of one response.

    `headers` maps lower-case names to stripped values (the last one wins). `content_length` is None when the length is
    not declared; `closes` says that the server takes no further request on this connection.
    """

    __slots__ = ("chunked", "closes", "content_length", "headers", "status")

    def __init__(
        self, status: int, headers: dict[bytes, bytes], content_length: int | None, chunked: bool, closes: bool
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_length = content_length
        self.chunked = chunked
        self.closes = closes


def parse_head(block: bytes) -> ResponseHead:
    """Parse a response head, without the empty line that ends it (RFC 9112, sections 4 to 6).

    Raises ProtocolError for anything that is not a response head.
    """
    lines = block.split(b"\r\n")
    status_line = lines[0]
    if status_line[:7] != b"HTTP/1." or not status_line[9:12].isdigit():
        raise ProtocolError(f"not an HTTP/1.1 response: it starts with {status_line[:60]!r}")
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon:
            raise ProtocolError(f"a header line without a colon: {line[:60]!r}")
        headers[name.lower()] = value.strip()
    status = int(status_line[9:12])
    content_length = _content_length(headers)
    chunked = b"chunked" in headers.get(b"transfer-encoding", b"").lower()
    connection = headers.get(b"connection", b"").lower()
    closes = b"close" in connection or (status_line[7:8] == b"0" and b"keep-alive" not in connection)
    if content_length is None and not chunked and status >= 200 and status not in (204, 304):
        closes = True
    return ResponseHead(status, headers, content_length, chunked, closes)


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    declared = headers.get(b"content-length")
    if declared is None:
        return None
    if not declared.isdigit() or int(declared) > MAXIMUM_BODY_BYTES:
        raise ProtocolError(f"Content-Length {declared[:40]!r} is not a number of bytes this client accepts")
    return int(declared)


def parse_chunk_size(line: bytes) -> int:
    """The size of a chunk from its first line; extensions are ignored (RFC 9112, section 7.1)."""
    digits = line.partition(b";")[0].strip()
    size = -1 if not digits or digits.strip(b"0123456789abcdefABCDEF") else int(digits, 16)
    if not 0 <= size <= MAXIMUM_BODY_BYTES:
        raise ProtocolError(f"{line[:40]!r} is not a chunk size")
    return size
