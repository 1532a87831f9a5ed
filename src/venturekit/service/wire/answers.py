"""Building answers: the head and a small body in one piece of bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
NO_BODY = frozenset({204, 304})


def status_line(status: int) -> bytes:
    """The status line, line end included; an unknown status gets an empty reason phrase."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def answer(status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"", *, close: bool = False) -> bytes:
    """A whole answer. ``Content-Length`` is added, except for statuses that have no body (204, 304).

    ``headers`` must not hold line breaks: callers escape what comes from outside.
    """
    parts = [status_line(status)]
    parts += [b"%b: %b\r\n" % field for field in headers]
    if status not in NO_BODY:
        parts.append(b"Content-Length: %d\r\n" % len(body))
    parts.append(b"Connection: close\r\n\r\n" if close else b"Connection: keep-alive\r\n\r\n")
    if status not in NO_BODY:
        parts.append(body)
    return b"".join(parts)
