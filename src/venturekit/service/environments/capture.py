"""Reading what an execution environment writes: its standard output and error, and the telemetry log descriptor."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.frames import FrameSplitter, LineSplitter

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

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

    def end_line(self) -> None:
        """Hand on a line that was begun: an invocation is over, and the rest would be taken for the next one's."""
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
    """The two pipes of one environment. The writing ends belong to the launcher's message: see :meth:`hand_over`."""

    __slots__ = ("_frames", "_output", "_poll", "_writing")

    def __init__(self, loop: asyncio.AbstractEventLoop, sink: Callable[[bytes], None], *, framed: bool) -> None:
        output_read, output_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(output_write, True)
        self._poll = select.poll()
        self._poll.register(output_read, select.POLLIN)
        self._writing = [output_write]
        self._output = Pipe(loop, output_read, LineSplitter(), sink)
        self._frames: Pipe | None = None
        if framed:
            frames_read, frames_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            os.set_blocking(frames_write, True)
            self._poll.register(frames_read, select.POLLIN)
            self._writing.append(frames_write)
            # A framed record is one line of the log whether or not the runtime ended it.
            self._frames = Pipe(
                loop,
                frames_read,
                FrameSplitter(),
                lambda record: sink(record if record[-1:] == b"\n" else record + b"\n"),
            )

    @property
    def output_write(self) -> int:
        """The descriptor that becomes the environment's standard output and error."""
        return self._writing[0]

    @property
    def frames_write(self) -> int | None:
        """The descriptor for framed log records, None when the runtime gets none."""
        return self._writing[1] if len(self._writing) > 1 else None

    def handed_over(self) -> None:
        """The launcher has its own copies of the writing ends: close ours."""
        for fd in self._writing:
            os.close(fd)
        self._writing = []

    def drain(self) -> None:
        """Take what has been written so far. Asking first is cheaper than reading nothing from two pipes."""
        if self._poll.poll(0):
            self._output.drain()
            if self._frames is not None:
                self._frames.drain()
        self._output.end_line()

    def close(self) -> None:
        """Take what is left and close everything."""
        self._output.drain()
        if self._frames is not None:
            self._frames.drain()
        self.handed_over()
        self._output.close()
        if self._frames is not None:
            self._frames.close()
