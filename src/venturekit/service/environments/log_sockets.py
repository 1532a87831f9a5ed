"""The socket on which the workers of one multi-concurrent runtime write their logs, each on connections of its own.

Source: AWS's runtime interface clients: the path is in ``_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET``, and lines come. On
one pipe the lines of several workers could mix.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.frames import LineSplitter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from venturekit.service.environments.frames import Shows

NAME: Final = ".venturekit-log"
READ_BYTES: Final = 65_536
DRAIN_LIMIT_BYTES: Final = 1024 * 1024
"""How much may hold up the loop at a time; the rest is read on later turns."""
MOST_CONNECTIONS: Final = 4096
PAUSE_SECONDS: Final = 1.0
"""How long no connection is taken when this process has no descriptors left."""


class LogSocket:
    """Hands the lines of all connections to ``sink``, those that ``shows()``, a filter or None, lets through.

    ``own_tmp`` is the folder that the function sees as its ``/tmp``, None where it sees this machine's.
    """

    __slots__ = ("_connections", "_directory", "_listener", "_loop", "_pause", "_poll", "_shows", "_sink", "shown_path")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sink: Callable[[bytes], None],
        shows: Callable[[], Shows | None],
        own_tmp: Path | None,
    ) -> None:
        self._loop = loop
        self._sink = sink
        self._shows = shows
        self._pause: asyncio.TimerHandle | None = None
        self._connections: dict[int, tuple[socket.socket, LineSplitter]] = {}
        # A path of a socket has at most 107 bytes, and the folders of an environment lie deep.
        self._directory = "" if own_tmp is not None else tempfile.mkdtemp(prefix="venturekit-log-")
        self.shown_path = f"{self._directory or '/tmp'}/{NAME}"  # noqa: S108 - as the function sees it
        try:
            self._listener = _listen(own_tmp or self._directory)
        except OSError:
            self._remove_directory()
            raise
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        loop.add_reader(self._poll.fileno(), self.drain)

    def drain(self) -> None:
        """Take what has been written so far, at most about DRAIN_LIMIT_BYTES. Never blocks."""
        left = DRAIN_LIMIT_BYTES
        while left > 0:
            ready = self._poll.poll(0)
            if not ready:
                return
            for descriptor, _ in ready:
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    left -= self._read(descriptor)

    def close(self) -> None:
        """Take what is left and close everything."""
        self.drain()
        self._loop.remove_reader(self._poll.fileno())
        for descriptor in tuple(self._connections):
            self._forget(descriptor)
        if self._pause is not None:
            self._pause.cancel()
        self._listener.close()
        self._poll.close()
        self._remove_directory()

    def _remove_directory(self) -> None:
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return  # it has gone again
        except OSError:
            # No descriptors: workers wait for their turn, and the loop must not ask for ever.
            self._poll.unregister(self._listener)
            self._pause = self._loop.call_later(PAUSE_SECONDS, self._resume)
            return
        if len(self._connections) >= MOST_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        self._connections[connection.fileno()] = (connection, LineSplitter())
        self._poll.register(connection, select.EPOLLIN)

    def _resume(self) -> None:
        self._poll.register(self._listener, select.EPOLLIN)

    def _read(self, descriptor: int) -> int:
        connection, splitter = self._connections[descriptor]
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if data:
            self._hand_on(splitter.feed(data))
        else:
            self._forget(descriptor)
        return len(data)

    def _forget(self, descriptor: int) -> None:
        connection, splitter = self._connections.pop(descriptor)
        self._poll.unregister(connection)
        connection.close()
        self._hand_on([line + b"\n" for line in splitter.flush()])

    def _hand_on(self, lines: list[bytes]) -> None:
        shows = self._shows()
        for line in lines:
            if shows is None or shows(line, 0):
                self._sink(line)


def _listen(directory: Path | str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{NAME}")
        listener.listen(128)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener
