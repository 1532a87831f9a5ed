"""Whether this machine has room for one more execution environment."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final

MEMINFO: Final = Path("/proc/meminfo")
KEPT_BYTES: Final = 128 * 1024 * 1024
"""Memory that is left to everything else on the machine."""
KEPT_DESCRIPTORS: Final = 256
"""Of this process, left to callers, to the environments that invocations start, and to the store."""


def no_room_reason() -> str:
    """Why no environment should be started that nobody waits for; empty when there is room."""
    available = _available_bytes()
    if available is not None and available < KEPT_BYTES:
        return (
            f"the machine has {available // 1024 // 1024} MB of memory left: provision less, or free memory; "
            "it is tried again every minute"
        )
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    used = _descriptors_in_use()
    if limit != resource.RLIM_INFINITY and limit - used < KEPT_DESCRIPTORS:
        return (
            f"the service has about {used} of {limit} file descriptors open: provision less, or start it with more "
            "(ulimit -n)"
        )
    return ""


def _descriptors_in_use() -> int:
    """About as many as there are: a new one gets the lowest number that is free."""
    probe = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.close(probe)
    return probe


def _available_bytes() -> int | None:
    try:
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None  # then nobody can tell, and the launch itself will
    return None
