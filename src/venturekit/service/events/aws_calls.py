"""The port through which messages leave for other services of AWS, or for what stands in for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class AwsRefusedError(Exception):
    """The service answered with an error: its code, message and HTTP status."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.status = status


class AwsNotAskedError(Exception):
    """No answer came: nobody listens, it took too long, there is nothing to sign with. The text says which."""


class AwsCalls(Protocol):
    """Calls operations of ``sqs``, ``sns``, ``events`` and ``s3``. Blocks: for threads."""

    def obstacle(self, service: str) -> str:
        """Why this service is not asked at all, with what to do about it; empty if it is."""

    def call(self, service: str, region: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call an operation once, by its name in Python. Raises AwsRefusedError and AwsNotAskedError."""
