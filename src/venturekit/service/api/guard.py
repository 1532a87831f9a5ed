"""Who may talk to the endpoint: rules that keep web pages away from a service that runs code.

Decided before anything else is looked at, by headers alone. A page can make a browser send a CORS-simple request (an
Invoke is one) or rebind its own name to 127.0.0.1; it cannot choose ``Host`` freely, leave out ``Origin`` of a
cross-site POST, or send headers that need a preflight, which is never answered here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from venturekit.service.api.errors import ApiError, api_error

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNATURE = b"AWS4-HMAC-SHA256"
PREFLIGHTED_PREFIXES = (b"x-amz-", b"amz-sdk-")
MAX_CACHED_HOSTS = 64
MAX_SHOWN_BYTES = 256

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::([0-9]{1,5}))?")


def admit(
    headers: Mapping[bytes, bytes],
    allowed_hosts: frozenset[bytes],
    *,
    verified: bool = False,
    cache: set[bytes] | None = None,
) -> None:
    """Let a request pass or raise the :class:`ApiError` that answers it.

    ``headers`` has lower-case names, repeated fields joined with a comma. ``allowed_hosts`` are lower-case names
    without port (IPv6 in brackets). ``verified`` tells that credentials are configured, so that a verifier checks the
    signature afterwards and its absence is not judged here. ``cache`` belongs to the caller: values of ``Host`` that
    have passed, at most :data:`MAX_CACHED_HOSTS`.

    Raises 400 MalformedHttpRequestException for a Host that is missing, repeated or unreadable, 403
    AccessDeniedException for a Host that is not allowed and for any Origin, 403 MissingAuthenticationTokenException for
    a request that a web page could have sent.
    """
    host = headers.get(b"host", b"")
    if cache is None or host not in cache:
        _check_host(host, allowed_hosts)
        if cache is not None and len(cache) < MAX_CACHED_HOSTS:
            cache.add(host)
    if b"origin" in headers:
        raise api_error(
            "AccessDeniedException",
            f"Requests of web pages are refused: the request has the header Origin ({_show(headers[b'origin'])}).",
        )
    if not verified and not _has_own_header(headers):
        raise api_error(
            "MissingAuthenticationTokenException",
            "Missing Authentication Token: sign the request, or add any header that a web page cannot send, "
            "such as 'x-amz-client: curl'.",
        )


def _has_own_header(headers: Mapping[bytes, bytes]) -> bool:
    """A signature, or a header with one of two prefixes (``x-amzn-`` is not among them)."""
    if headers.get(b"authorization", b"").startswith(SIGNATURE):
        return True
    return any(name.startswith(PREFLIGHTED_PREFIXES) for name in headers)


def _check_host(host: bytes, allowed_hosts: frozenset[bytes]) -> None:
    if not host:
        raise api_error("MalformedHttpRequestException", "The request has no Host header; add one.")
    name = parse_host(host)
    if name not in allowed_hosts:
        raise _host_refused(name)


def parse_host(host: bytes) -> bytes:
    """The name in a Host header: lower case, without port and without a trailing dot; an IPv6 address in brackets.

    Raises :class:`ApiError` 400 MalformedHttpRequestException for anything else, a repeated Host included.
    """
    found = _HOST.fullmatch(host)
    port = found[2] if found else None
    name = found[1].lower().removesuffix(b".") if found else b""
    if not name or (port is not None and int(port) > 65535):
        raise api_error(
            "MalformedHttpRequestException",
            f"The Host header cannot be read: {_show(host)}. It must be one name or address, with or without a port.",
        )
    return name


def _host_refused(name: bytes) -> ApiError:
    shown = _show(name)
    return api_error(
        "AccessDeniedException",
        f"The host {shown} is not allowed. If this service is meant by that name, start it with --allow-host {shown}",
    )


def _show(value: bytes) -> str:
    return value[:MAX_SHOWN_BYTES].decode("ascii", "backslashreplace")
