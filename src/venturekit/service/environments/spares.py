"""Node.js processes that were started before anybody needed them, as the fork server's spare child is (ADR 0009).

Node takes some tens of milliseconds to start, whatever it is to run. A process waits with our runtime loaded, for the
command line that was wanted last: memory limits are part of it, and no process can change its own. A second one waits
for the command line before that, or for the same when one was not enough. Only at the isolation level ``process``: the
others are entered before a program is executed, and are about one function.
"""

from __future__ import annotations

import json
import logging
import math
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
DELAY_SECONDS: Final = 0.01
"""After which a spare is started that is wanted: a function that starts just now comes first."""
NEXT_DELAY_SECONDS: Final = 0.2
"""Between the starts of two spares: the first is soon there, and the second is no matter of urgency."""
MOST: Final = 2
KEPT_SECONDS: Final = 900.0
"""How long a spare waits for functions that nobody invokes for the first time."""
RUSH_SECONDS: Final = 1.0
"""One spare was not enough when another one is asked for so soon."""
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
    """Keeps the spares. All methods are called on the event loop.

    ``is_busy`` tells that functions are starting on every processor: a spare would only hold them up.
    """

    def __init__(
        self,
        launcher: Callable[[], Launcher],
        new_number: Callable[[], int],
        loop: asyncio.AbstractEventLoop,
        monotonic: Callable[[], float],
        is_busy: Callable[[], bool],
    ) -> None:
        self._launcher = launcher
        self._new_number = new_number
        self._loop = loop
        self._monotonic = monotonic
        self._is_busy = is_busy
        self._spares: list[Spare] = []
        # Command lines and when they were wanted, the last one first.
        self._wanted: dict[tuple[str, ...], float] = {}
        self._taken_at = self._rushed_at = -math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> tuple[Spare, ...]:
        """The spares that there are, oldest first."""
        return tuple(self._spares)

    def want(self, argv: tuple[str, ...]) -> None:
        """A process with this command line will be of use: have one soon."""
        others = [(other, when) for other, when in self._wanted.items() if other != argv]
        self._wanted = dict([(argv, self._monotonic()), *others][:MOST])
        self.refill()

    def take(self, argv: tuple[str, ...]) -> Spare | None:
        """A spare with this command line, which may not have come up yet. It is the caller's then."""
        now = self._monotonic()
        spare = next((spare for spare in self._spares if spare.argv == argv), None)
        if spare is not None:
            self._taken_at = now
            self._spares.remove(spare)
        elif now - self._taken_at < RUSH_SECONDS:
            self._rushed_at = now
        self.refill()
        return spare

    def started(self, number: int, pid: int) -> None:
        """The launcher has started a process."""
        for spare in self._spares:
            if spare.number == number:
                spare.pid = pid

    def ended(self, number: int) -> None:
        """A process is gone, or was never there."""
        for spare in [spare for spare in self._spares if spare.number == number]:
            self._spares.remove(spare)
            spare.close()

    def refill(self) -> None:
        """Something was wanted, or a function has started: start soon what there should be."""
        if self._timer is None and self._missing() and not self._closed:
            self._timer = self._loop.call_later(DELAY_SECONDS, self._fill)

    def sweep(self) -> None:
        """Let go of spares that nobody has wanted for long."""
        long_ago = self._monotonic() - KEPT_SECONDS
        self._wanted = {argv: when for argv, when in self._wanted.items() if when > long_ago}
        self._drop_surplus()

    def close(self) -> None:
        """Have no spares any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wanted = {}
        self._drop_surplus()

    def _desired(self) -> list[tuple[str, ...]]:
        if len(self._wanted) == 1 and self._monotonic() - self._rushed_at < KEPT_SECONDS:
            return [*self._wanted] * MOST
        return [*self._wanted]

    def _missing(self) -> list[tuple[str, ...]]:
        missing = self._desired()
        for spare in self._spares:
            if spare.argv in missing:
                missing.remove(spare.argv)
        return missing

    def _drop_surplus(self) -> None:
        room = self._desired()
        kept = []
        for spare in self._spares:
            if spare.argv in room:
                room.remove(spare.argv)
                kept.append(spare)
            else:
                spare.close()
        self._spares = kept

    def _fill(self) -> None:
        self._timer = None
        if self._is_busy():
            return  # until a function has started
        self._drop_surplus()
        try:
            for argv in self._missing()[:1]:
                self._spares.append(self._start(argv))
        except (LauncherError, OSError) as error:
            # Only slower without.
            logger.warning("no process of Node.js could be started beforehand: %s", error)
            return
        if self._missing():
            self._timer = self._loop.call_later(NEXT_DELAY_SECONDS, self._fill)

    def _start(self, argv: tuple[str, ...]) -> Spare:
        launcher = self._launcher()
        output, output_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        identity_read, identity = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output_write, True)
        spare = Spare(self._new_number(), argv, output, identity)
        launch = LaunchSpec(id=spare.number, mode="exec", argv=[*argv, WAIT], environ=ENVIRON, cwd="/")
        try:
            launcher.launch(launch, output_write, output_write, identity_read)
        except LauncherError:
            spare.close()
            raise
        finally:
            os.close(output_write)
            os.close(identity_read)
        return spare
