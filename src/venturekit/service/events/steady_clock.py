"""Time that no change of the system's clock moves: ages and delays of events are measured by it.

It is the time since the boot of the machine plus an offset that is stored, so that it goes on across restarts of the
service. After a boot it goes on from the system's clock, but never from before the newest event.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """What names this boot of the machine; the empty text where the system does not tell."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def boot_seconds() -> float:
    """The time since the boot, the time asleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SteadyClock:
    """Steady seconds, once ``offset_seconds`` is what the store keeps for this boot."""

    __slots__ = ("_boot_seconds", "offset_seconds")

    def __init__(self, since_boot: Callable[[], float] = boot_seconds) -> None:
        self._boot_seconds = since_boot
        self.offset_seconds = 0.0

    def __call__(self) -> float:
        """The time in steady seconds."""
        return self._boot_seconds() + self.offset_seconds
