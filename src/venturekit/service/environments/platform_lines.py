"""The platform's own log lines in the text format. Pure.

Source: recordings of AWS Lambda's log lines; the fields and their separators are what log parsers rely on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True, frozen=True)
class Report:
    """What the REPORT line of one invocation says. Durations in milliseconds, memory in MB."""

    request_id: bytes
    duration_ms: float
    memory_size_mb: int
    max_memory_used_mb: int
    init_duration_ms: float | None = None
    status: str = ""
    error_type: str = ""


def init_start_line(runtime: str, version_arn: str) -> bytes:
    """``INIT_START``: written when an environment begins its init phase."""
    return f"INIT_START Runtime Version: {runtime}\tRuntime Version ARN: {version_arn}\n".encode()


def start_line(request_id: bytes, version: bytes) -> bytes:
    """``START``: an invocation begins."""
    return b"START RequestId: %b Version: %b\n" % (request_id, version)


def end_line(request_id: bytes) -> bytes:
    """``END``: an invocation is over."""
    return b"END RequestId: %b\n" % request_id


def report_line(report: Report) -> bytes:
    """``REPORT``: duration, billed duration (init included, rounded up to 1 ms), memory, and how it ended."""
    init = report.init_duration_ms
    billed = math.ceil(report.duration_ms + (init or 0.0))
    line = (
        f"REPORT RequestId: {report.request_id.decode()}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {billed} ms\tMemory Size: {report.memory_size_mb} MB\t"
        f"Max Memory Used: {report.max_memory_used_mb} MB\t"
    )
    if init is not None:
        line += f"Init Duration: {init:.2f} ms\t"
    if report.status:
        line += f"Status: {report.status}"
        if report.error_type:
            line += f"\tError Type: {report.error_type}"
    return line.encode() + b"\n"


def init_report_line(duration_ms: float, phase: str, status: str, error_type: str = "") -> bytes:
    """``INIT_REPORT``: only for an init phase that failed or ran out of time, or that no invocation has waited for."""
    line = f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\tStatus: {status}"
    if error_type:
        line += f"\tError Type: {error_type}"
    return line.encode() + b"\n"


def extension_line(name: str, state: str, events: Sequence[str], error_type: str = "") -> bytes:
    """``EXTENSION``: an extension is ready, or has failed."""
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(events)}]"
    return (line + (f"\tError Type: {error_type}" if error_type else "")).encode() + b"\n"


def subscription_line(word: str, name: str, types: Sequence[str]) -> bytes:
    """``TELEMETRY`` or ``LOGS``: an extension has subscribed."""
    return f"{word}\tName: {name}\tState: Subscribed\tTypes: [{', '.join(types)}]\n".encode()
