"""One end of the socket between the service and the helper process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from venturekit.service.polling.frames import Splitter, frame

if TYPE_CHECKING:
    from collections.abc import Callable


class Receiver(Protocol):
    """Gets the frames that come: ``receive(channel, kind, number, body)``."""

    def __call__(self, channel: Channel, kind: int, number: int, body: bytes) -> None: ...


class Channel(asyncio.Protocol):
    """Sends and receives frames.

    ``lost(error)`` is called once when the other end is gone, or sends what is no frame.
    """

    def __init__(self, receive: Receiver, lost: Callable[[Exception | None], None]) -> None:
        self._receive = receive
        self._lost = lost
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._failure: Exception | None = None

    @property
    def is_open(self) -> bool:
        """Whether somebody hears what is sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, kind: int, number: int = 0, body: bytes = b"") -> None:
        """Send a frame; nothing happens when nobody hears it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(kind, number, body))

    def close(self) -> None:
        """Close it; what was sent goes out first."""
        if self._transport is not None:
            self._transport.close()

    # --- the transport's events -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand on the frames that are complete."""
        try:
            for kind, number, body in self._splitter.feed(data):
                self._receive(self, kind, number, body)
        except Exception as error:
            # Whatever it is that does not speak as it should, the other end is of no use any more.
            self._failure = error
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._lost(self._failure or exc)
