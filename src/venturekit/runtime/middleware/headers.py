"""Names of headers, as middleware is told them."""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_token(text: str) -> bool:
    """Whether a text can be the name of a header, or a method (RFC 9110, 5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def checked_name(header: str) -> str:
    """The name of a header. Raises ValueError for what is none."""
    if not is_token(header):
        raise ValueError(f"{header!r} cannot be the name of a header: letters, digits and hyphens can")
    return header
