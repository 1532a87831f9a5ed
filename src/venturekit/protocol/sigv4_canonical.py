"""The parts of Signature Version 4 that signing and verifying share: canonical forms, derived keys, the signature.

Everything is bytes as sent on the wire: the path is encoded once more, its dot and empty segments dropped, the query
sorted, and nothing is decoded and encoded again. Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
from hashlib import sha256

ALGORITHM = "AWS4-HMAC-SHA256"
_ALGORITHM = ALGORITHM.encode()
TERMINATOR = "aws4_request"
TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_PATH_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/"


def canonical_path(path: bytes) -> bytes:
    """The canonical form of a path as it was sent: dot and empty segments dropped, then encoded once more."""
    if b"//" in path or b"/." in path or not path.startswith(b"/"):
        path = _without_dot_segments(path)
    odd = path.translate(None, _PATH_SAFE)
    if odd:
        # The percent sign first: the other replacements bring new ones.
        path = path.replace(b"%", b"%25")
        for code in set(odd) - {0x25}:
            path = path.replace(bytes((code,)), b"%%%02X" % code)
    return path


def _without_dot_segments(path: bytes) -> bytes:
    if not path:
        return b"/"
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    leading = b"/" if path.startswith(b"/") else b""
    trailing = b"/" if path.endswith(b"/") and kept else b""
    return leading + b"/".join(kept) + trailing


def split_query(query: bytes) -> list[tuple[bytes, bytes]]:
    """The query's parameters as they were sent, still percent-encoded; one without ``=`` has an empty value."""
    if not query:
        return []
    return [(key, value) for key, _, value in (pair.partition(b"=") for pair in query.split(b"&"))]


def canonical_query(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """The canonical query: sorted by encoded name, then by encoded value."""
    return b"&".join([b"%s=%s" % pair for pair in sorted(pairs)])


def canonical_request(start: bytes, header_lines: list[bytes], signed_headers: bytes, payload_hash: bytes) -> bytes:
    """The canonical request; ``start`` is its first three lines: method, canonical path, canonical query."""
    return b"\n".join((start, *header_lines, b"", signed_headers, payload_hash))


def derive_key(secret: str, date: str, region: str, service: str) -> bytes:
    """The signing key of one secret access key for a day (``yyyymmdd``), region and service."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def signature_of(key: bytes, timestamp: bytes, scope: bytes, request: bytes) -> bytes:
    """The signature, 64 hexadecimal digits, of a canonical request; ``scope`` is all that follows the access key id."""
    request_hash = sha256(request).hexdigest().encode()
    return hmac.digest(key, b"\n".join((_ALGORITHM, timestamp, scope, request_hash)), "sha256").hex().encode()
