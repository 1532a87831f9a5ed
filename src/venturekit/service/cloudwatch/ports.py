"""What the reading of logs needs from the other parts of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Row: TypeAlias = tuple[int, int, int, str, float, object]
"""A log event: its place (epoch milliseconds, source, sequence), its stream, when it was written (epoch seconds), and
what its text is made of. Rows sort by their place, which no two of a log group share."""


class Logs(Protocol):
    """The logs that were captured."""

    async def groups(self, account_id: str) -> Sequence[tuple[str, float, int]]:
        """The log groups of an account, by name: name, when it was created (epoch seconds), and its size in bytes."""

    async def rows(self, account_id: str, log_group: str) -> Sequence[Row] | None:
        """All events of a log group, sorted, or None if there is no such group."""

    def text(self, row: Row) -> str:
        """The text of an event."""


class Caller(Protocol):
    """Whoever sent a request."""

    @property
    def account_id(self) -> str:
        """Its account."""

    def authorize_log_group(self, action: str, log_group: str, stream: str = "") -> None:
        """Raise 403 AccessDeniedException unless it may do this to a log group of its account."""
