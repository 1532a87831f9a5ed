"""Sending batches of telemetry to the port on which an extension listens: HTTP with JSON arrays, TCP with lines.

Only a process of the very environment may receive them: below an own network for each environment, the port of
another environment's receiver, or of any other service of this machine, would be as near.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.telemetry.port_owner import listens_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.environments.telemetry.subscription import Subscription

ADDRESS: Final = "127.0.0.1"
ATTEMPT_SECONDS: Final = 2.0
HEAD_LIMIT_BYTES: Final = 65_536


class NotDeliveredError(OSError):
    """A receiver did not take a batch; the text says why."""


class Receiver:
    """Where one subscription's batches go. ``root_processes`` tells the main processes of its environment."""

    __slots__ = ("_root_processes", "_subscription", "_writer")

    def __init__(self, subscription: Subscription, root_processes: Callable[[], list[int]]) -> None:
        self._subscription = subscription
        self._root_processes = root_processes
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, records: Sequence[bytes]) -> None:
        """Send one batch. Takes ATTEMPT_SECONDS at most. Raises OSError when it was not taken."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if self._subscription.protocol == "TCP":
                    await self._send_lines(records)
                else:
                    await self._send_request(records)
        except TimeoutError:
            self.abort()
            raise NotDeliveredError(f"the receiver did not answer within {ATTEMPT_SECONDS:g} s") from None
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Cut the connection, if there is one."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        port = self._subscription.port
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection(ADDRESS, port, limit=HEAD_LIMIT_BYTES)
        self._writer = writer
        if not await loop.run_in_executor(None, listens_in, port, self._root_processes()):
            raise NotDeliveredError(f"port {port} does not belong to a process of the execution environment")
        if self._writer is not writer:
            raise NotDeliveredError("the environment ended meanwhile")
        return reader, writer

    async def _send_lines(self, records: Sequence[bytes]) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            _, writer = await self._connect()
        writer.write(b"".join(record + b"\n" for record in records))
        await writer.drain()

    async def _send_request(self, records: Sequence[bytes]) -> None:
        subscription = self._subscription
        reader, writer = await self._connect()
        body = b"[" + b",".join(records) + b"]"
        head = (
            f"{subscription.method} {subscription.path} HTTP/1.1\r\nHost: sandbox.localdomain:{subscription.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        try:
            status = (await reader.readuntil(b"\r\n")).split(b" ", 2)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise NotDeliveredError(f"the receiver gave no answer of HTTP: {error}") from None
        if not (len(status) > 1 and status[0].startswith(b"HTTP/1.") and status[1][:1] == b"2"):
            raise NotDeliveredError(f"the receiver answered {status[1:2]!r}")
        writer.close()
        self._writer = None
