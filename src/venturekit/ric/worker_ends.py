"""What follows from the end of a worker: in which words it is told, and whether another one takes its place. Pure."""

from __future__ import annotations

import json
import os
import signal

from .worker_table import API_GONE, REFUSED

EXIT_ERROR = "Runtime.ExitError"
MOST_STRIKES = 3
"""So many workers in a row may end in one place without ever having had an invocation."""


def exit_text(status: int) -> str:
    """How a process ended, in the words of AWS's supervisor; `status` is that of `os.waitpid`."""
    if os.WIFSIGNALED(status):
        return f"Runtime exited with error: signal: {_signal_text(os.WTERMSIG(status))}"
    code = os.WEXITSTATUS(status)
    return f"Runtime exited with error: exit status {code}" if code else "Runtime exited without providing a reason"


def exit_message(request_id: str, status: int) -> str:
    """The error message of an invocation whose worker ended."""
    return f"RequestId: {request_id} Error: {exit_text(status)}"


def exit_error(message: str) -> bytes:
    """The body of the error that is posted for it."""
    return json.dumps({"errorType": EXIT_ERROR, "errorMessage": message}, separators=(",", ":")).encode()


def strikes_after(strikes: int, phase: int, has_served: bool, is_proven: bool) -> int:
    """How many workers in a row were of no use in one place, after one more ended there in this phase.

    From MOST_STRIKES on nobody follows. At once so for one that found no Runtime API, and for one that said itself why
    the function cannot be initialised where none ever was (`is_proven`): the next would find the same.
    """
    if phase == API_GONE or (phase == REFUSED and not is_proven):
        return MOST_STRIKES
    return 0 if has_served else strikes + 1


def _signal_text(number: int) -> str:
    text = signal.strsignal(number) if number in signal.valid_signals() else None
    if text is None or number >= signal.SIGRTMIN:
        return f"signal {number}"
    # A sentence's first word, but for those that are written in capitals everywhere ("CPU", "I/O").
    return text if text[1:2].isupper() or text[1:2] == "/" else text[0].lower() + text[1:]
