"""One connection after the other: nobody who sends without a pause may keep the others waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from venturekit.service.wire.connection import Connection

FULL_READ_BYTES: Final = 256_000
"""A read of this size has filled uvloop's buffer."""


def rest(connection: Connection) -> None:
    """Read on when the other connections have had their turn.

    uvloop reads a connection that fills its buffer up to 32 times before it looks at the next one. That can be 8 MB,
    and in chunks of a byte a second's work.
    """
    if not connection.resting:
        connection.resting = True
        connection.pace_reading()
        asyncio.get_running_loop().call_soon(_rested, connection)


def _rested(connection: Connection) -> None:
    connection.resting = False
    if not connection.lost:
        connection.pace_reading()
