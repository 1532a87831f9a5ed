"""The helper process as the service runs it: started when it is needed, replaced when it dies, ended with it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.service.polling import frames
from venturekit.service.polling.channel import Channel
from venturekit.service.restarts import Restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCRIPT: Final = Path(__file__).with_name("__main__.py")
CLOSE_SECONDS: Final = 2.0
LINGER_SECONDS: Final = 5.0
"""How long a process stays that nothing is needed of: mappings that are made come together."""
PING_SECONDS: Final = 15.0
"""A process that does not answer within this time does nothing else either."""


class Told(Protocol):
    """Whom the process is run for."""

    def ready(self, channel: Channel) -> None:
        """A process can be told what to do."""

    def receive(self, channel: Channel, kind: int, number: int, body: bytes) -> None:
        """It sent a frame."""

    def gone(self, how: str) -> None:
        """It has ended, and nothing that it did goes on; ``how`` is the end of a sentence about it."""


class State(Enum):
    """Where the process is in its life, in the words of the health page."""

    WAITING = "waiting until it is needed"
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    ENDED = "ended"


class PollingProcess:
    """One helper process at a time.

    ``configuration()`` is what it is told first; it has the variables ``environ``. ``warn`` logs a sentence. All calls
    are made on the event loop's thread, none of them blocks.
    """

    def __init__(
        self,
        told: Told,
        *,
        configuration: Callable[[], Mapping[str, Any]],
        environ: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        warn: Callable[[str], None],
    ) -> None:
        self._told = told
        self._configuration = configuration
        self._environ = environ
        self._loop = loop
        self._warn = warn
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._connecting: asyncio.Task[Any] | None = None
        self._burying: set[asyncio.Future[int]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._silent = False
        self._restarts = Restarts()
        self.state = State.WAITING

    @property
    def pid(self) -> int | None:
        """Process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    def status(self) -> dict[str, Any]:
        """What the health page shows."""
        return {"state": self.state.value, "pid": self.pid, "restarts": self._restarts.count}

    def need(self) -> None:
        """Have a process."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self.state is State.WAITING:
            self._start()

    def rest(self) -> None:
        """Nothing is needed of it now."""
        if self._lingering is None and self.state not in (State.WAITING, State.ENDED):
            self._lingering = self._loop.call_later(LINGER_SECONDS, self._dismiss)

    # --- the process ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.state = State.STARTING
        self._started = self._loop.time()
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._not_started(error)
            return
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(SCRIPT), str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=self._environ,
                    pass_fds=[theirs.fileno()],
                    # Ctrl-C is for the service, which ends it.
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                self._not_started(error)
                return
        ours.setblocking(False)
        self._channel = channel = Channel(self._receive, lambda error: self._lost(channel, error))
        # A task, although nothing is waited for: it is the way to a transport.
        self._connecting = self._loop.create_task(self._loop.create_connection(lambda: channel, sock=ours))
        self._connecting.add_done_callback(lambda done: self._connected(channel, done.exception()))

    def _not_started(self, error: OSError) -> None:
        # Later: whoever needs it is not ready to hear of it.
        self._loop.call_soon(self._start_again, f"cannot be started: {error}")

    def _connected(self, channel: Channel, error: BaseException | None) -> None:
        if channel is not self._channel:
            # It was dismissed, or is gone already.
            channel.close()
            return
        if error is not None:
            self._lost(channel, None)
            return
        channel.send(frames.CONFIGURE, body=json.dumps(self._configuration()).encode())
        self._silent = False
        self._ping(channel)

    def _ping(self, channel: Channel) -> None:
        if channel is not self._channel:
            return
        if self._silent:
            self._warn(f"the process that polls queues (pid {self.pid}) has not answered for {PING_SECONDS:g} s")
            if self._process is not None:
                self._process.kill()
            return
        self._silent = True
        channel.send(frames.PING)
        self._timer = self._loop.call_later(PING_SECONDS, self._ping, channel)

    def _receive(self, channel: Channel, kind: int, number: int, body: bytes) -> None:
        self._silent = False
        if channel is not self._channel:
            # It was dismissed.
            return
        if kind == frames.READY:
            self.state = State.RUNNING
            self._told.ready(channel)
        elif kind != frames.PONG:
            self._told.receive(channel, kind, number, body)

    def _lost(self, channel: Channel, error: Exception | None) -> None:
        """Its end of the socket is closed: it has ended, or is about to."""
        if channel is not self._channel:
            return
        process, self._process, self._channel = self._process, None, None
        assert process is not None
        if self._timer is not None:
            self._timer.cancel()
        process.kill()

        def buried(done: asyncio.Future[int]) -> None:
            status = done.result()
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            if error is not None and not isinstance(error, OSError):
                how = f"sent what is no frame ({error!r})"
            self._start_again(how)

        self._bury(process).add_done_callback(buried)

    def _start_again(self, how: str) -> None:
        if self.state not in (State.STARTING, State.RUNNING):
            # Nobody needs it any more.
            return
        self._warn(f"the process that polls queues {how}; it is started again")
        self.state = State.RESTARTING
        delay = self._restarts.delay(self._loop.time() - self._started)
        self._timer = self._loop.call_later(delay, self._start)
        self._told.gone(how)

    def _bury(self, process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
        burying = self._loop.run_in_executor(None, _ended, process)
        self._burying.add(burying)
        burying.add_done_callback(self._burying.discard)
        return burying

    # --- the end --------------------------------------------------------------------------------------------------

    def _dismiss(self) -> None:
        """End the process: the end of the socket is its end."""
        self._lingering = None
        self.state = State.WAITING
        if self._timer is not None:
            self._timer.cancel()
        process, self._process = self._process, None
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        if process is not None:
            self._bury(process)

    async def close(self) -> None:
        """End the process; returns when it is gone."""
        if self._connecting is not None:
            with suppress(OSError):
                await self._connecting
        if self._lingering is not None:
            self._lingering.cancel()
        self._dismiss()
        self.state = State.ENDED
        while self._burying:
            await asyncio.wait(set(self._burying))


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process, and bring it about if it takes too long; its status. Blocks."""
    try:
        return process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
