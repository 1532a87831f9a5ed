"""The enumerations of invocations. Members are strings: wherever one is taken, its text may be given too.

Sources: seed 002, "Core Types"; the botocore model ``lambda/2015-03-31``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class InvocationType(StrEnum):
    """How a function is invoked."""

    RequestResponse = "RequestResponse"
    """Wait for the function and give its answer."""
    Event = "Event"
    """Accept the event, and run the function later."""
    DryRun = "DryRun"
    """Check input and permission; the function does not run."""


class LogType(StrEnum):
    """Whether the answer has the end of the log."""

    None_ = "None"
    """It has not; ``LogType("None")`` is the same. ``None`` itself is a word of Python."""
    Tail = "Tail"
    """Its last 4 KB."""


class InvokeMode(StrEnum):
    """How a function URL answers. The API that streams takes no such parameter; seed 002 gives it one."""

    BUFFERED = "BUFFERED"
    RESPONSE_STREAM = "RESPONSE_STREAM"


class RecursiveLoop(StrEnum):
    """What happens to a function that calls itself in a loop."""

    Allow = "Allow"
    """Nothing."""
    Terminate = "Terminate"
    """Lambda ends the loop after about 16 rounds."""


class State(StrEnum):
    """Whether a function can be invoked."""

    Pending = "Pending"
    Active = "Active"
    Inactive = "Inactive"
    Failed = "Failed"
    Deactivating = "Deactivating"
    Deactivated = "Deactivated"
    ActiveNonInvocable = "ActiveNonInvocable"
    Deleting = "Deleting"


class LastUpdateStatus(StrEnum):
    """How the last change of a function went."""

    Successful = "Successful"
    Failed = "Failed"
    InProgress = "InProgress"


def member_of(kind: type[StrEnum]) -> Callable[[Any], Any]:
    """What reads a member by its value; a value that is not known yet stays a text."""
    known: dict[str, StrEnum] = {str(member): member for member in kind}
    return lambda value: known.get(value, value) if isinstance(value, str) else value
