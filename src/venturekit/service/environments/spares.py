"""A Node.js process that was started before anybody needed it, as the fork server's spare child is (ADR 0009).

Node takes some tens of milliseconds to start, whatever it is to run. One process at a time waits with our runtime
loaded, for the command line that was wanted last: memory limits are part of it, and no process can change its own. Only
at the isolation level ``process``: the others are entered before a program is executed, and are about one function.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.environments.launcher import LauncherError, LaunchSpec
from venturekit.service.environments.node_start import WAIT
from venturekit.service.environments.variables import SYSTEM_PATH

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from venturekit.service.environments.launcher import Launcher

logger = logging.getLogger("venturekit.environments")
DELAY_SECONDS: Final = 0.2
"""How long no function has started before a spare is: it must not slow down those that start."""
KEPT_SECONDS: Final = 900.0
"""How long a spare waits for functions that nobody invokes for the first time."""
IDENTITY_LIMIT_BYTES: Final = 60_000
"""What a pipe takes at once is a little more."""
# As in a function's own environment: what is read from them when node starts stays.
ENVIRON: Final = {"LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": ":".join(SYSTEM_PATH)}


@dataclass(slots=True)
class Spare:
    """A waiting process. ``number`` is the launcher's name for it, ``pid`` is known once it has started.

    ``output`` is where its standard output and its log can be read, ``identity`` where it is told whose it is.
    """

    number: int
    argv: tuple[str, ...]
    output: int
    identity: int
    since: float
    pid: int | None = None

    def become(self, environ: Mapping[str, str], cwd: str) -> bool:
        """Make it the main process of an environment. False when it cannot be told: it is of no use then."""
        told = json.dumps({"environ": dict(environ), "cwd": cwd}).encode()
        if len(told) > IDENTITY_LIMIT_BYTES:
            return False
        try:
            return os.write(self.identity, told) == len(told)
        except OSError:
            return False
        finally:
            os.close(self.identity)
            self.identity = -1

    def close(self) -> None:
        """Let go of the descriptors; a process that was told nothing ends by that."""
        for descriptor in (self.output, self.identity):
            if descriptor >= 0:
                os.close(descriptor)
        self.output = self.identity = -1


class Spares:
    """Keeps one spare. All methods are called on the event loop."""

    def __init__(
        self,
        launcher: Callable[[], Launcher],
        new_number: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float],
    ) -> None:
        self._launcher = launcher
        self._new_number = new_number
        self._loop = loop
        self._monotonic = monotonic
        self._spare: Spare | None = None
        self._wanted: tuple[str, ...] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> Spare | None:
        """The spare, if there is one."""
        return self._spare

    def want(self, argv: tuple[str, ...]) -> None:
        """A process with this command line will be of use: have one soon."""
        self._wanted = argv
        if self._timer is not None:
            self._timer.cancel()
        if not self._closed:
            self._timer = self._loop.call_later(DELAY_SECONDS, self._fill)

    def take(self, argv: tuple[str, ...]) -> Spare | None:
        """The spare with this command line. It is the caller's then."""
        spare = self._spare
        if spare is None or spare.argv != argv:
            return None
        self._spare = None
        return spare

    def started(self, number: int, pid: int) -> None:
        """The launcher has started a process."""
        if self._spare is not None and self._spare.number == number:
            self._spare.pid = pid

    def ended(self, number: int) -> None:
        """A process is gone, or was never there."""
        if self._spare is not None and self._spare.number == number:
            self._drop()

    def sweep(self) -> None:
        """Let go of a spare that nobody has wanted for long."""
        if self._spare is not None and self._monotonic() - self._spare.since > KEPT_SECONDS:
            self._drop()

    def close(self) -> None:
        """Have no spare any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._drop()

    def _drop(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _fill(self) -> None:
        self._timer = None
        if self._spare is not None:
            if self._spare.argv == self._wanted:
                self._spare.since = self._monotonic()
                return
            self._drop()
        try:
            self._spare = self._start()
        except (LauncherError, OSError) as error:
            # Only slower without.
            logger.warning("no process of Node.js could be started beforehand: %s", error)

    def _start(self) -> Spare:
        launcher = self._launcher()
        output, output_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        identity_read, identity = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output_write, True)
        spare = Spare(self._new_number(), self._wanted, output, identity, self._monotonic())
        launch = LaunchSpec(id=spare.number, mode="exec", argv=[*spare.argv, WAIT], environ=ENVIRON, cwd="/")
        try:
            launcher.launch(launch, output_write, output_write, identity_read)
        except LauncherError:
            spare.close()
            raise
        finally:
            os.close(output_write)
            os.close(identity_read)
        return spare
