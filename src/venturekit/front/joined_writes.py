"""A transport that sends in one write what is written in one turn of the loop.

uvicorn writes the head of a response and its body apart. Each write is a system call and wakes the client, who has no
use for a head alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

JOINED_BYTES: Final = 65_536


class JoinedWrites:
    """Stands before a transport; whatever it does not know is the transport's. ``bytes`` counts all that is written."""

    __slots__ = ("_loop", "_pieces", "_size", "_transport", "bytes")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._size = 0
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send soon."""
        if not data:
            return
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)
        self._size += len(data)
        self.bytes += len(data)
        if self._size > JOINED_BYTES:
            # The transport says at once when its client does not keep up.
            self._flush()

    def close(self) -> None:
        """Close when all has been sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._pieces = []
        self._size = 0
        self._transport.abort()

    def release(self) -> asyncio.Transport:
        """The transport, after what was written has been passed on to it."""
        self._flush()
        return self._transport

    def get_write_buffer_size(self) -> int:
        """What has not been sent yet, in bytes."""
        return self._size + self._transport.get_write_buffer_size()

    def _flush(self) -> None:
        pieces, self._pieces, self._size = self._pieces, [], 0
        if self._transport.is_closing():
            # The client has gone in the same turn.
            return
        if len(pieces) == 1:
            self._transport.write(pieces[0])
        elif pieces:
            self._transport.writelines(pieces)
