"""The front process as the service runs it: started when it is needed, replaced when it dies, ended with the service.

The service itself listens on the port and lends the socket to the process. So the port is known before the process is
needed, and who connects while it is replaced waits a moment and is not refused.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import venturekit
from venturekit.service.restarts import Restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCRIPT: Final = Path(venturekit.__file__).parent / "front" / "__main__.py"
BACKLOG: Final = 1024
CLOSE_SECONDS: Final = 2.0
CANNOT_RUN: Final = 78
"""The exit status of a process that lacks something: another try would end the same way."""
READY: Final = b"ready\n"
DRAIN: Final = b"drain\n"
KEPT_VARIABLES: Final = frozenset(
    {
        *("PATH", "HOME", "TZ", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONASYNCIODEBUG", "PYTHONWARNINGS"),
    }
)
"""What the process gets of the service's variables: what its interpreter needs, and none of the user's keys."""


class FrontPortError(Exception):
    """The front process cannot have its port; the text says what to do."""


class State(Enum):
    """Where the process is in its life, in the words of the health page."""

    OFF = "off"
    WAITING = "waiting until it is needed"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"
    ENDED = "ended"


class FrontProcess:
    """One front process at a time.

    ``configuration()`` is what it reads at its start; ``warn`` and ``inform`` log a sentence. All calls are made on the
    event loop's thread, none of them blocks.
    """

    def __init__(
        self,
        *,
        configuration: Callable[[], dict[str, Any]],
        environ: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        warn: Callable[[str], None],
        inform: Callable[[str], None],
    ) -> None:
        self._configuration = configuration
        self._environ = {
            name: value for name, value in environ.items() if name in KEPT_VARIABLES or name.startswith("LC_")
        }
        self._loop = loop
        self._warn = warn
        self._inform = inform
        self._sockets: list[socket.socket] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._said = b""
        self._restarts = Restarts()
        self._restart: asyncio.TimerHandle | None = None
        self._gone = asyncio.Event()
        self._gone.set()
        self.state = State.OFF
        self.port = 0

    @property
    def pid(self) -> int | None:
        """Process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return not self._gone.is_set()

    def status(self) -> dict[str, Any]:
        """What the health page shows."""
        return {
            "state": self.state.value,
            "port": self.port or None,
            "pid": self.pid,
            "restarts": self._restarts.count,
        }

    # --- listening ------------------------------------------------------------------------------------------------

    async def listen(self, host: str, port: int, *, or_any: bool = False) -> None:
        """Take the port; 0 is any free one.

        ``or_any``: when the port is taken, any free one will do. Raises FrontPortError.
        """
        addresses = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            self._bind([(family, address) for family, _, _, _, address in addresses])
        except OSError as error:
            if not or_any:
                why = "is in use by another program" if error.errno == errno.EADDRINUSE else f": {error.strerror}"
                raise FrontPortError(
                    f"port {port} of {host}, for function URLs, {why}: choose another --front-port, let --front-port 0 "
                    "take any free one, or do without them (--no-front)"
                ) from error
            self._warn(f"port {port} of {host} is in use: function URLs get another one. --front-port chooses it")
            self._bind([(family, (address[0], 0, *address[2:])) for family, _, _, _, address in addresses])
        self.port = self._sockets[0].getsockname()[1]

    def _bind(self, addresses: list[tuple[int, Any]]) -> None:
        try:
            for family, address in addresses:
                if self._sockets:
                    # One name may stand for several addresses, but a URL has one port.
                    address = address[0], self._sockets[0].getsockname()[1], *address[2:]
                bound = socket.create_server(address, family=family, backlog=BACKLOG)
                bound.setblocking(False)
                self._sockets.append(bound)
        except OSError:
            self._close_sockets()
            raise

    def begin(self) -> None:
        """From now on the process is started by the first connection, or by ``need``."""
        if self._sockets:
            self.state = State.WAITING
        for listening in self._sockets:
            self._loop.add_reader(listening.fileno(), self.need)

    # --- the process ----------------------------------------------------------------------------------------------

    def need(self) -> None:
        """Start the process if nothing needed it until now."""
        if self.state is State.WAITING:
            for listening in self._sockets:
                self._loop.remove_reader(listening.fileno())
            self._start()

    def _start(self) -> None:
        self._restart = None
        self.state = State.STARTING
        self._started = self._loop.time()
        lent = [listening.fileno() for listening in self._sockets]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environ,
                pass_fds=lent,
                # Ctrl-C is for the service, which ends it.
                start_new_session=True,
            )
        except OSError as error:
            self._warn(f"the front process cannot be started: {error}")
            self._start_again()
            return
        self._process = process
        self._gone.clear()
        self._said = b""
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._loop.add_reader(process.stdout.fileno(), self._hear)
        # What opens the Lambda API goes through a pipe: arguments and variables can be read in /proc.
        self._tell(json.dumps({**self._configuration(), "sockets": lent}).encode() + b"\n")

    def _tell(self, line: bytes) -> None:
        # Less than a pipe holds, so this does not wait; a process that has died meanwhile hears nothing.
        with suppress(OSError):
            assert self._process is not None
            assert self._process.stdin is not None
            os.write(self._process.stdin.fileno(), line)

    def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            data = os.read(self._process.stdout.fileno(), 4096)
        except BlockingIOError:
            return
        self._said = (self._said + data)[-len(READY) :]
        if not data:
            self._ended()
        elif self.state is State.STARTING and self._said == READY:
            self.state = State.RUNNING
            self._inform(f"function URLs are served at port {self.port}, by process {self.pid}")

    def _ended(self) -> None:
        """Its end of the pipe is closed: it has ended, or is about to."""
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        self._loop.remove_reader(process.stdout.fileno())
        process.stdout.close()
        with suppress(OSError):
            process.stdin.close()
        process.kill()
        self._loop.run_in_executor(None, process.wait).add_done_callback(lambda done: self._buried(done.result()))

    def _buried(self, status: int) -> None:
        self._gone.set()
        if self.state is State.ENDED:
            return
        if status == CANNOT_RUN:
            self.state = State.FAILED
            self._warn("function URLs are not served: the front process cannot run, see above")
            self._close_sockets()
            return
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._warn(f"the front process {how}; it is started again")
        self._start_again()

    def _start_again(self) -> None:
        self.state = State.RESTARTING
        delay = self._restarts.delay(self._loop.time() - self._started)
        self._restart = self._loop.call_later(delay, self._start)

    # --- the end --------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more connections; what it has begun the process finishes, and ends. Nothing is started any more."""
        for listening in self._sockets:
            self._loop.remove_reader(listening.fileno())
        if self._restart is not None:
            self._restart.cancel()
        self.state = State.ENDED
        self._close_sockets()
        if self._process is not None:
            self._tell(DRAIN)

    async def ended(self, seconds: float) -> None:
        """Return when the process is gone, or after so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._gone.wait(), seconds)

    async def close(self) -> None:
        """End the process at once; returns when it is gone."""
        self.drain()
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            await asyncio.wait_for(self._gone.wait(), CLOSE_SECONDS)
        except TimeoutError:
            if self._process is not None:
                self._process.kill()
            await self._gone.wait()

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            listening.close()
        self._sockets = []
