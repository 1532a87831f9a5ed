"""Reading what an execution environment writes: standard output and error, and the records of its framed log."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.frames import FrameSplitter, LineSplitter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.service.environments.frames import Shows

READ_BYTES: Final = 65_536
DRAIN_LIMIT_BYTES: Final = 1024 * 1024
"""How much one environment may hold up the loop with what it has written; the rest is read on later turns."""


class Pipe:
    """The reading end of one pipe, cut into messages."""

    __slots__ = ("_fd", "_loop", "_sink", "_splitter")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        fd: int,
        splitter: LineSplitter | FrameSplitter,
        sink: Callable[[bytes], None],
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._splitter = splitter
        self._sink = sink
        loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        self.drain(READ_BYTES)

    def drain(self, limit: int = DRAIN_LIMIT_BYTES) -> None:
        """Take what has been written so far, at most about ``limit`` bytes. Never blocks."""
        fd = self._fd
        while limit > 0 and fd >= 0:
            try:
                data = os.read(fd, READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            limit -= len(data)
            for message in self._splitter.feed(data):
                self._sink(message)

    def show(self, shows: Shows | None) -> None:
        """Let other messages through from now on."""
        self._splitter.shows = shows

    def end_line(self) -> None:
        """Hand on what was begun: an invocation is over, and the rest would be taken for the next one's."""
        for begun in self._splitter.flush():
            self._sink(begun + b"\n")

    def close(self) -> None:
        """Hand on what was left without an end, and let go of the descriptor."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._fd = -1
        for message in self._splitter.flush():
            self._sink(message)


class Capture:
    """What one environment writes, in the order in which it was written.

    Standard output and error and, where the runtime has one, the framed log are one pipe: the marker of a frame cannot
    occur in UTF-8 text. Two pipes would lose the order of a function's ``print`` and ``logging`` calls.
    """

    __slots__ = ("_pipe", "_poll", "_write", "framed")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sink: Callable[[bytes], None],
        *,
        framed: bool,
        shows: Shows | None = None,
        descriptor: int | None = None,
    ) -> None:
        """``shows``: which messages reach the sink, None: all. ``descriptor`` is the reading end where the
        environment's processes have the other one already.
        """
        if descriptor is None:
            read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            os.set_blocking(write, True)
        else:
            read, write = descriptor, -1
        self.framed = framed
        self._write = write
        self._poll = select.poll()
        self._poll.register(read, select.POLLIN)
        if framed:
            # A framed record is one line of the log whether or not the runtime ended it.
            self._pipe = Pipe(loop, read, FrameSplitter(shows), lambda it: sink(it if it[-1:] == b"\n" else it + b"\n"))
        else:
            self._pipe = Pipe(loop, read, LineSplitter(shows), sink)

    @property
    def output_write(self) -> int:
        """The descriptor that becomes the environment's standard output and error."""
        return self._write

    @property
    def frames_write(self) -> int | None:
        """The descriptor for framed log records, None when the runtime gets none."""
        return self._write if self.framed else None

    def handed_over(self) -> None:
        """The launcher has its own copies of the writing end: close ours."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def show(self, shows: Shows | None) -> None:
        """Let other messages through from now on."""
        self._pipe.show(shows)

    def drain(self) -> None:
        """Take what has been written so far; an invocation is over. Asking first is cheaper than reading nothing."""
        if self._poll.poll(0):
            self._pipe.drain()
        self._pipe.end_line()

    def take(self) -> None:
        """Take what has been written so far, while other invocations go on."""
        if self._poll.poll(0):
            self._pipe.drain()

    def close(self) -> None:
        """Take what is left and close everything."""
        self._pipe.drain()
        self.handed_over()
        self._pipe.close()
