"""A socket as a raw file that keeps to time limits, so that the standard library's buffered reader can sit on it."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

LEAST_BYTES_PER_SECOND: Final = 1024
"""An answer that comes more slowly than this, and for longer than one wait may last, comes from nobody."""


class TimedSocket(io.RawIOBase):
    """What is read from a socket. ``wait_seconds`` bounds each wait, ``deadline`` (monotonic seconds) all of them.

    While ``is_paused`` nothing is there: that is how a buffered reader shows what it holds, without reading more. While
    ``is_paced`` what trickles in byte by byte is given up, too: each wait would be short, and there would be no end.
    """

    def __init__(self, connection: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket = connection
        self._clock = clock
        self._set: float | None = -1.0
        self.wait_seconds: float | None = None
        self.deadline: float | None = None
        self.is_paused = False
        self.is_paced = False
        self._began: float | None = None
        self._received = 0

    def begin(self, wait_seconds: float | None, deadline: float | None) -> None:
        """An answer is to come, within these limits."""
        self.wait_seconds = wait_seconds
        self.deadline = deadline
        self.is_paced = wait_seconds is not None
        self._began = None
        self._received = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Some bytes; 0 at the end, None while it is paused. Raises OSError, TimeoutError among them."""
        if self.is_paused:
            return None
        self.limit()
        count = self._socket.recv_into(buffer)
        if self.is_paced:
            self._keep_pace(count)
        return count

    def limit(self) -> None:
        """Set the socket's own limit to what is left. Raises TimeoutError."""
        seconds = self.wait_seconds
        if self.deadline is not None:
            left = self.deadline - self._clock()
            if left <= 0:
                raise TimeoutError
            seconds = left if seconds is None else min(seconds, left)
        # The system is asked again at every read in any case: the call is spared where nothing has changed.
        if seconds != self._set:
            self._socket.settimeout(seconds)
            self._set = seconds

    def _keep_pace(self, count: int) -> None:
        now = self._clock()
        if self._began is None:
            self._began = now
        self._received += count
        patience_seconds = (self.wait_seconds or 0.0) + self._received / LEAST_BYTES_PER_SECOND
        if now - self._began > patience_seconds:
            raise TimeoutError
