"""The payloads that the service itself writes when a function ends badly. Pure.

Source: the texts recorded from AWS Lambda (AWS page "Lambda function errors" and recordings of November 2025).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from signal import Signals
from typing import Final

RESPONSE_LIMIT_BYTES: Final = 6 * 1024 * 1024 + 100

EXIT_ERROR: Final = "Runtime.ExitError"
TIMED_OUT: Final = "Sandbox.Timedout"

# AWS's words (its supervisor is a Go program) for what execve answers.
EXEC_ERRORS: Final = {
    "ENOENT": "no such file or directory",
    "EACCES": "permission denied",
    "ENOEXEC": "exec format error",
}
# What a Go program calls these signals.
SIGNAL_TEXTS: Final = {
    "SIGHUP": "hangup",
    "SIGINT": "interrupt",
    "SIGQUIT": "quit",
    "SIGILL": "illegal instruction",
    "SIGTRAP": "trace/breakpoint trap",
    "SIGABRT": "aborted",
    "SIGBUS": "bus error",
    "SIGFPE": "floating point exception",
    "SIGKILL": "killed",
    "SIGUSR1": "user defined signal 1",
    "SIGSEGV": "segmentation fault",
    "SIGUSR2": "user defined signal 2",
    "SIGPIPE": "broken pipe",
    "SIGALRM": "alarm clock",
    "SIGTERM": "terminated",
    "SIGSTKFLT": "stack fault",
    "SIGCHLD": "child exited",
    "SIGCONT": "continued",
    "SIGSTOP": "stopped (signal)",
    "SIGTSTP": "stopped",
    "SIGTTIN": "stopped (tty input)",
    "SIGTTOU": "stopped (tty output)",
    "SIGURG": "urgent I/O condition",
    "SIGXCPU": "CPU time limit exceeded",
    "SIGXFSZ": "file size limit exceeded",
    "SIGVTALRM": "virtual timer expired",
    "SIGPROF": "profiling timer expired",
    "SIGWINCH": "window changed",
    "SIGIO": "I/O possible",
    "SIGPWR": "power failure",
    "SIGSYS": "bad system call",
}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a main process ended: with an exit ``code``, or by a ``signal`` number."""

    code: int = 0
    signal: int = 0


def _error(error_type: str, message: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


def timed_out(request_id: bytes, timeout_ms: int) -> bytes:
    """The function ran longer than its timeout (milliseconds)."""
    return _error(
        TIMED_OUT, f"RequestId: {request_id.decode()} Error: Task timed out after {timeout_ms / 1000:.2f} seconds"
    )


def exit_text(ended: Exit) -> str:
    """The part of the message that tells how the process ended."""
    if ended.signal:
        try:
            name = Signals(ended.signal).name
        except ValueError:
            name = ""
        return f"Runtime exited with error: signal: {SIGNAL_TEXTS.get(name, f'signal {ended.signal}')}"
    if ended.code:
        return f"Runtime exited with error: exit status {ended.code}"
    return "Runtime exited without providing a reason"


def exited(request_id: bytes, ended: Exit) -> bytes:
    """The runtime's process ended during init or invoke."""
    return _error(EXIT_ERROR, f"RequestId: {request_id.decode()} Error: {exit_text(ended)}")


def failed_to_start(request_id: bytes, error_type: str, reason: str) -> bytes:
    """There is no process: no bootstrap, not executable, no interpreter, ..."""
    return _error(error_type, f"RequestId: {request_id.decode()} Error: {reason}")


def exec_error_text(path: str, errno_name: str | None, message: str) -> str:
    """Why a program could not be executed; ``path`` is where the function finds it."""
    return f"fork/exec {path}: {EXEC_ERRORS.get(errno_name or '', message)}"


def response_too_large(limit_bytes: int = RESPONSE_LIMIT_BYTES) -> bytes:
    """The runtime answered with more than a response may hold, by default a buffered one."""
    return _error(
        "Function.ResponseSizeTooLarge",
        f"Response payload size exceeded maximum allowed payload size ({limit_bytes} bytes).",
    )


def truncated_response(request_id: bytes) -> bytes:
    """The runtime's connection closed in the middle of its answer."""
    return failed_to_start(request_id, "Runtime.TruncatedResponse", "the runtime closed its connection mid-response")


def invalid_response_mode(request_id: bytes, mode: bytes) -> bytes:
    """The runtime named a response mode that does not exist."""
    text = f"invalid function response mode: {mode.decode('latin-1')}"
    return failed_to_start(request_id, "Runtime.InvalidResponseModeHeader", text)
