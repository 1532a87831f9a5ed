"""What the kernel knows about a connection's socket."""

from __future__ import annotations

import fcntl
import struct
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


def queued_bytes(transport: asyncio.Transport) -> int:
    """What the kernel has taken and the client has not: megabytes, so that a slow client would seem to stand still."""
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int(struct.unpack("i", queued)[0])
