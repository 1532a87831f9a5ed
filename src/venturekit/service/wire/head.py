"""What the parser lets pass in the head of a request and a careful server does not. Pure decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from venturekit.service.wire.limits import Limits

SINGLE_HEADERS = frozenset({b"host", b"authorization", b"content-length", b"transfer-encoding", b"expect"})
VERSIONS = frozenset({"1.0", "1.1"})
LINE_BYTES = 4
"""What a header field costs beside its name and its value: colon, blank, line end."""


class Fault(NamedTuple):
    """Why a request is refused: the status of the answer, and words for whoever sent it."""

    status: int
    reason: str


def size_of_head(method: bytes, target: bytes, headers: dict[bytes, bytes]) -> int:
    """The bytes of request line and header fields, as a client would usually write them."""
    fields = sum(map(len, headers)) + sum(map(len, headers.values())) + LINE_BYTES * len(headers)
    return len(method) + len(target) + len("  HTTP/1.1\r\n\r\n") + fields


def too_large(size: int, count: int, limits: Limits) -> Fault | None:
    """The fault of a head of ``size`` bytes with ``count`` fields, if it is one."""
    if size > limits.head_bytes:
        return Fault(431, f"the head of the request is larger than {limits.head_bytes} bytes")
    if count > limits.header_count:
        return Fault(431, f"the request has more than {limits.header_count} header fields")
    return None


def head_fault(method: bytes, version: str, headers: dict[bytes, bytes], repeated: Collection[bytes]) -> Fault | None:
    """The fault of a head that the parser has accepted, if it has one (RFC 9112, 2.3, 3.2 and 6.1).

    ``repeated`` names the header fields that came more than once.
    """
    if version not in VERSIONS:
        return Fault(505, f"HTTP/{version} is not served here: speak HTTP/1.1")
    if method == b"CONNECT":
        return Fault(501, "this server is not a proxy: CONNECT is not served")
    if b"host" not in headers and version == "1.1":
        return Fault(400, "the request has no Host header")
    singles = SINGLE_HEADERS.intersection(repeated)
    if singles:
        return Fault(400, f"the header {min(singles).decode('latin-1')} is given more than once")
    if version == "1.0" and b"transfer-encoding" in headers:
        return Fault(400, "a request of HTTP/1.0 cannot have a Transfer-Encoding")
    return None


def origin_form(method: bytes, target: bytes, host: bytes | None) -> bytes | Fault:
    """The path and query of a target that does not begin with a slash (RFC 9112, 3.2).

    An absolute target is served when it names the same host as the Host header: two different names in one request
    would let it pass a check of the one and mean the other.
    """
    if target == b"*":
        return target if method == b"OPTIONS" else Fault(400, "the target * belongs to OPTIONS only")
    scheme, _, rest = target.partition(b"://")
    if scheme.lower() not in (b"http", b"https"):
        return Fault(400, "the target of the request is neither a path nor an http address")
    end = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if not authority or b"@" in authority or (host is not None and authority.lower() != host.strip().lower()):
        return Fault(400, "the host in the target of the request is not the one in its Host header")
    return path if path.startswith(b"/") else b"/" + path
