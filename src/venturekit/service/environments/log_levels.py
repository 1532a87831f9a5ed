"""Levels of log records, and which of them a function's log shows. Pure.

Source: AWS pages "Log-level filtering" and "Configuring JSON and plain text log formats" (system log level event
mapping); the numbers are those of the frames that AWS's runtime interface clients write.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE: Final = 4
DEBUG: Final = 8
INFO: Final = 12
WARN: Final = 16
ERROR: Final = 20
FATAL: Final = 24
FRAME_BITS: Final = 0x1C
"""Where the lowest byte of a frame's type has its level."""
# Python's names for two of them, which its logging libraries write into their JSON.
NAMES: Final = {
    "TRACE": TRACE,
    "DEBUG": DEBUG,
    "INFO": INFO,
    "WARN": WARN,
    "WARNING": WARN,
    "ERROR": ERROR,
    "FATAL": FATAL,
    "CRITICAL": FATAL,
}


def level_named(name: str | None) -> int:
    """The level of this name, upper or lower case; INFO for a name that is none."""
    return NAMES.get((name or "").upper(), INFO)


def frame_level(type_byte: int) -> int:
    """The level in the lowest byte of a frame's type, 0 when it has none."""
    level = type_byte & FRAME_BITS
    return level if level <= FATAL else 0


def line_level(line: bytes) -> int:
    """The level of a line of output: what its member ``level`` says where it is a JSON object, else INFO."""
    # Most lines need no parser to be told apart.
    if b'"level"' not in line or line.lstrip()[:1] != b"{":
        return INFO
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return INFO
    level = record.get("level")
    return level_named(level) if isinstance(level, str) else INFO


def application_filter(least: str | None) -> Callable[[bytes, int], bool] | None:
    """Whether a log of ApplicationLogLevel ``least`` shows a record; None: it shows all.

    The filter takes the record and the level of its frame, 0 where it has none.
    """
    threshold = level_named(least)
    if threshold <= TRACE:
        return None
    return lambda message, level: (level or line_level(message)) >= threshold


def system_level(event: str, *, succeeded: bool = True, on_demand: bool = True, names_runtime: bool = True) -> int:
    """The level of one of the platform's events, such as ``platform.start``.

    ``names_runtime`` matters to initStart alone: whether the event has a runtimeVersion; ``on_demand`` to initReport:
    whether that is the environment's initialization type.
    """
    if event == "platform.initStart":
        return INFO if names_runtime else DEBUG
    if not succeeded:
        return WARN
    if event in ("platform.initRuntimeDone", "platform.runtimeDone"):
        return DEBUG
    if event == "platform.initReport":
        return DEBUG if on_demand else INFO
    return INFO
