"""What is reported when a function fails: the error body, the X-Ray cause and the log record."""

from __future__ import annotations

import os
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from .faults import FaultError

    Frame = tuple[str, int, str, str]

_OWN_DIRECTORY = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ASYNCIO_DIRECTORY = os.sep + "asyncio" + os.sep
# AWS's client gives this name to the faults it finds itself, in the X-Ray cause only.
_FAULT_CAUSE_TYPE = "LambdaValidationError"


class ErrorReport:
    """One failure: `body` in AWS's key order, and `xray_cause`, both ready for JSON."""

    __slots__ = ("body", "xray_cause")

    def __init__(self, body: dict[str, Any], xray_cause: dict[str, Any]) -> None:
        self.body = body
        self.xray_cause = xray_cause


def report_fault(fault: FaultError, request_id: str) -> ErrorReport:
    """The report of something the runtime found itself. `request_id` is "" before the first invocation."""
    body = _body(fault.message, fault.error_type, request_id, fault.stack_trace)
    return ErrorReport(body, _xray_cause(_FAULT_CAUSE_TYPE, fault.message, []))


def report_exception(error: BaseException, request_id: str) -> ErrorReport:
    """The report of an exception of the function's code, without the frames of this package above it.

    Raises what `str(error)` raises: AWS's client does not survive that either.
    """
    frames = _function_frames(error.__traceback__)
    name, message = type(error).__name__, str(error)
    body = _body(message, name, request_id, traceback.format_list(frames))
    return ErrorReport(body, _xray_cause(name, message, frames))


def log_lines(body: dict[str, Any]) -> list[str]:
    """The text record of an error. Indentation is made of no-break spaces, which log viewers do not swallow."""
    message = body["errorMessage"]
    kind = body["errorType"]
    first = "[ERROR]"
    if kind:
        first += f" {kind}:" if message else f" {kind}"
    if message:
        first += f" {message}"
    lines = [first, "Traceback (most recent call last):"]
    for entry in body["stackTrace"]:
        lines += [_with_firm_indent(line) for line in entry.splitlines()] or [""]
    return lines


def _body(message: str, error_type: str, request_id: str, stack_trace: list[str]) -> dict[str, Any]:
    return {"errorMessage": message, "errorType": error_type, "requestId": request_id, "stackTrace": stack_trace}


def _function_frames(trace: TracebackType | None) -> list[Frame]:
    frames: list[Frame] = [
        (frame.filename, frame.lineno or 0, frame.name, frame.line or "") for frame in traceback.extract_tb(trace)
    ]
    inside = 0
    while inside < len(frames) and _is_machinery(frames[inside][0], after_own=inside > 0):
        inside += 1
    return frames[inside:]


def _is_machinery(filename: str, after_own: bool) -> bool:
    # asyncio's frames are ours only where our event loop put them: between the call and the coroutine.
    return filename.startswith(_OWN_DIRECTORY) or (after_own and _ASYNCIO_DIRECTORY in filename)


def _xray_cause(name: str, message: str, frames: list[Frame]) -> dict[str, Any]:
    try:
        working_directory = os.getcwd()
    except OSError:
        working_directory = ""
    stack = [{"label": function, "path": path, "line": line} for path, line, function, _code in frames]
    return {
        "working_directory": working_directory,
        "exceptions": [{"message": message, "type": name, "stack": stack}],
        "paths": list(dict.fromkeys(frame[0] for frame in frames)),
    }


def _with_firm_indent(line: str) -> str:
    text = line.lstrip(" ")
    return "\u00a0" * (len(line) - len(text)) + text
