"""What a connection takes of one request before it is refused: sizes and counts, beyond what the parser checks.

Each function notes what it is told in the counters of the connection and returns the fault, if it has become one.
None of them is on the way of a small request that comes in one piece.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.wire.head import LINE_BYTES, Fault, head_fault, origin_form, size_of_head, too_large

if TYPE_CHECKING:
    from venturekit.service.wire.connection import Connection
    from venturekit.service.wire.exchange import Exchange

BLANK_BYTES = 8
"""Line ends that are skipped in front of a request: some clients send one too many after a body (RFC 9112, 2.2)."""
CUT_SHORT = "the connection ended before the request was complete"
"""Why a request is refused whose sender has closed its side before the end."""
READ_BYTES = 262_144
"""The most that the loops read at once."""
PERSISTENCE = frozenset({b"connection", b"proxy-connection"})
"""What the parser obeys behind a body as well, when the answer may have promised to keep the connection."""
FRAMING_RATIO = 8
"""Bytes of chunk sizes, chunk extensions and trailers allowed for each byte of a chunked body, beyond the free ones.

A chunk of one byte needs five.
"""


def head(connection: Connection, exchange: Exchange) -> Fault | None:
    """The fault of a complete head. Reduces an absolute target to its path, and notes what HTTP/1.0 cannot do."""
    headers = exchange.headers
    limits = connection.limits
    repeated = exchange.repeated
    fault: Fault | None = None
    if connection.crowded or connection.head_seen or repeated or len(headers) > limits.header_count:
        connection.head_seen = 0
        size = size_of_head(exchange.method, exchange.target, headers)
        count = len(headers)
        if repeated:
            size += connection.repeated_bytes
            count += connection.repeated_count
        fault = too_large(size, count, limits)
    version = connection.parser.get_http_version()
    exchange.chunked = version != "1.0"
    fault = fault or head_fault(exchange.method, version, headers, repeated or ())
    if fault is None and not exchange.target.startswith(b"/"):
        target = origin_form(exchange.method, exchange.target, headers.get(b"host"))
        if isinstance(target, Fault):
            return target
        exchange.target = target
    return fault


def repeated_field(connection: Connection, exchange: Exchange, name: bytes, value: bytes) -> Fault | None:
    """A header field that came before. Counted at once: joining a flood of them would cost quadratic time."""
    if exchange.repeated is None:
        exchange.repeated = set()
        connection.repeated_bytes = connection.repeated_count = 0
    exchange.repeated.add(name)
    exchange.headers[name] += b", " + value
    connection.repeated_count += 1
    connection.repeated_bytes += len(name) + LINE_BYTES - len(", ")
    return too_large(0, len(exchange.headers) + connection.repeated_count, connection.limits)


def trailer(connection: Connection, exchange: Exchange, name: bytes, value: bytes) -> Fault | None:
    """A trailer field. The last one of a name counts."""
    if name in PERSISTENCE:
        return Fault(400, f"the header {name.decode('latin-1')} cannot be a trailer")
    if exchange.trailers is None:
        exchange.trailers = {}
    connection.head_seen += len(name) + len(value) + LINE_BYTES
    limits = connection.limits
    if connection.head_seen > limits.head_bytes:
        return Fault(431, f"the trailers of the request are larger than {limits.head_bytes} bytes")
    exchange.trailers[name] = value
    if len(exchange.trailers) > limits.header_count:
        return Fault(431, f"the request has more than {limits.header_count} trailers")
    return None


def blank_lines(connection: Connection, data: bytes) -> Fault | None:
    """A read that begins with line ends, between two requests."""
    connection.head_seen += len(data) - len(data.lstrip(b"\r\n"))
    if connection.head_seen > BLANK_BYTES:
        return Fault(400, "there are too many empty lines in front of the request")
    return None


def unfinished_head(connection: Connection, exchange: Exchange, data: bytes, before: Exchange | None) -> Fault | None:
    """A head that did not end with the read that has just been parsed; ``before`` was being received before it."""
    if before is exchange or (before is None and b"\r\n\r\n" not in data):
        connection.head_seen += len(data)
    else:
        # It began behind another request: how much of the read is its own is not known. The next reads are.
        connection.head_seen = size_of_head(b"", exchange.target, exchange.headers)
    return too_large(connection.head_seen, 0, connection.limits)


def framing(connection: Connection, size: int) -> Fault | None:
    """A read of ``size`` bytes that did not end a chunked body: what was not body so far?"""
    connection.wire_seen += size
    free = connection.limits.head_bytes + READ_BYTES
    if connection.wire_seen > free + (1 + FRAMING_RATIO) * connection.body_seen:
        return Fault(400, "there is too little body in the chunks: their sizes, extensions or trailers are too long")
    return None
