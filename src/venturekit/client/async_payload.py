"""Large bodies for aiohttp: sent piece by piece from where they lie, while the event loop does other things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiohttp.payload import Payload

from venturekit.transport.connection import is_readable

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

_SLICE_BYTES: Final = 131_072


class SlicedPayload(Payload):
    """A body of bytes. What is too much for the socket at once waits here, and not as a copy in its buffer."""

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        super().__init__(value, content_type="application/octet-stream")
        self._view = memoryview(value).cast("B")
        self._size = self._view.nbytes

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as a text."""
        return bytes(self._view).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it."""
        transport: Any = getattr(writer, "transport", None)
        socket = None if transport is None else transport.get_extra_info("socket")
        for start in range(0, self._view.nbytes, _SLICE_BYTES):
            if socket is not None and not transport.is_closing() and is_readable(socket):
                # An answer before the end is a refusal. It has to be read before a write finds the connection broken,
                # and is lost: once round for the event loop to see it, once to read it.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await writer.write(self._view[start : start + _SLICE_BYTES])
            await writer.drain()
