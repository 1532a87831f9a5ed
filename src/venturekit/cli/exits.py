"""What ``vk`` exits with, and the error that carries it."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNREACHABLE: Final = 4
INTERRUPTED: Final = 130

MEANINGS: Final = (
    (OK, "done"),
    (FAILED, "failed: the function answered with an error, or the service refused or could not start"),
    (USAGE, "wrong usage: an unknown option, a bad value, a file that is not there"),
    (NOT_FOUND, "there is no such function, version, alias, event or mapping"),
    (UNREACHABLE, "no service answers at the endpoint"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
)


class CommandError(Exception):
    """A command cannot do what it was asked for: one line for standard error and the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


def complain(message: str) -> None:
    """Say what went wrong on standard error, in one paragraph. A closed standard error is no trouble."""
    with suppress(OSError, ValueError):
        print(f"vk: {message}", file=sys.stderr, flush=True)
