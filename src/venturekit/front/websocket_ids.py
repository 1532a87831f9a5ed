"""Ids of WebSocket connections, messages and requests. Pure but for the draw."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final

SIZE_BYTES: Final = 11
TAG_BYTES: Final = 3


def draw_id() -> str:
    """The id of a message or a request: 16 characters as on AWS, the last of which is ``=``."""
    return base64.urlsafe_b64encode(os.urandom(SIZE_BYTES)).decode()


def draw_connection_id(api_id: str) -> str:
    """An id that says which API it is of, also after the connection is gone; 64 bits of it are random."""
    return base64.urlsafe_b64encode(os.urandom(SIZE_BYTES - TAG_BYTES) + api_tag(api_id)).decode()


def api_tag(api_id: str) -> bytes:
    """What the ids of all connections of an API end with."""
    return hashlib.sha256(api_id.encode()).digest()[:TAG_BYTES]


def tag_of(connection_id: str) -> bytes | None:
    """The tag in the id of a connection, None for what is no such id."""
    try:
        data = base64.b64decode(connection_id, altchars=b"-_", validate=True)
    except ValueError:
        return None
    return data[-TAG_BYTES:] if len(data) == SIZE_BYTES else None
