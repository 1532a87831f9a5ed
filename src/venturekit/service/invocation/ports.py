"""What the invocation path needs from the other parts of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from venturekit.service.invocation.invocation import Invocation


class Pool(Protocol):
    """Runs invocations of one function version."""

    def submit(self, invocation: Invocation) -> None:
        """Take the invocation; exactly one of its ``settle`` and ``reject`` will be called."""


class Resolved(Protocol):
    """What a function name and qualifier stand for at this moment."""

    @property
    def invoked_arn(self) -> str:
        """The ARN as the caller addressed the function."""

    @property
    def executed_version(self) -> str:
        """``$LATEST`` or the number of the version that runs."""

    @property
    def lasting(self) -> bool:
        """Whether the same address means the same until a function changes (false for a weighted alias)."""

    @property
    def pool(self) -> Pool:
        """The environments of that version. Raises ApiError when it cannot run (state, runtime)."""
