"""Cross-origin resource sharing: what function URLs and functions that answer for themselves decide alike. Pure.

Source: Fetch Standard, "HTTP CORS protocol".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ANY: Final = "*"


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a request only asks whether another one may be sent. ``headers`` have lower-case names."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def allowed_origin(origin: str, allowed: Collection[str], *, credentials: bool) -> str | None:
    """The value of Access-Control-Allow-Origin for a request of ``origin``, None if it is not allowed."""
    if ANY in allowed:
        # A browser takes no star for an answer to a request with credentials.
        return origin if credentials else ANY
    return origin if origin.lower() in (candidate.lower() for candidate in allowed) else None
