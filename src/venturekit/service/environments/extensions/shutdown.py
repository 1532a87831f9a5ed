"""The shutdown phase of an environment that has extensions: who is asked or killed, and when. Pure.

Source: AWS page "Lambda execution environment": no extension 0 ms, internal ones 500 ms, external ones 2,000 ms. As
recorded, the runtime has the first 30 % of that to react to SIGTERM; then the extensions get their event.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

INTERNAL_SECONDS: Final = 0.5
EXTERNAL_SECONDS: Final = 2.0
RUNTIME_SHARE: Final = 0.3
INSIST_SECONDS: Final = 1.0
"""How long those that were killed may take to be gone before they are killed once more."""

SPINDOWN: Final = "spindown"
TIMEOUT: Final = "timeout"
FAILURE: Final = "failure"


class Act(Enum):
    """What is to be done next."""

    ASK_RUNTIME = "send the runtime SIGTERM"
    KILL_RUNTIME = "kill the runtime"
    ASK_EXTENSIONS = "hand out SHUTDOWN, and kill those that did not subscribe to it"
    KILL_ALL = "kill what is left"


class Shutdown:
    """One shutdown phase. Times are monotonic seconds; ``deadline`` is when :meth:`look` wants to be called."""

    __slots__ = ("_asked_extensions", "_has_external", "deadline", "ends_at")

    def __init__(self, now: float, *, has_external: bool, at_once: bool = False) -> None:
        budget = EXTERNAL_SECONDS if has_external else INTERNAL_SECONDS
        self.ends_at = now if at_once else now + budget
        self._has_external = has_external
        self._asked_extensions = False
        # Nobody else needs any of the time where all extensions live in the runtime.
        self.deadline = now + budget * (RUNTIME_SHARE if has_external else 1.0)

    def begin(self, *, runtime_lives: bool, now: float) -> tuple[Act, ...]:
        """What is done first."""
        if self.ends_at <= now:
            return self._insist(now)
        return (Act.ASK_RUNTIME,) if runtime_lives else self.runtime_ended()

    def runtime_ended(self) -> tuple[Act, ...]:
        """Nothing of the runtime is left."""
        if self._asked_extensions:
            return ()
        self._asked_extensions = True
        self.deadline = self.ends_at
        return (Act.ASK_EXTENSIONS,)

    def look(self, now: float) -> tuple[Act, ...]:
        """What is due."""
        if now < self.deadline:
            return ()
        if now >= self.ends_at:
            return self._insist(now)
        return (Act.KILL_RUNTIME, *self.runtime_ended())

    def _insist(self, now: float) -> tuple[Act, ...]:
        self._asked_extensions = True
        self.deadline = now + INSIST_SECONDS
        return (Act.KILL_ALL,)
