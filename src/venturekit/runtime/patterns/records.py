"""Where sagas, idempotency, shared breakers and connections keep what they know: one protocol for all stores.

A store holds records under an id. Every write says which version it has seen, and only one of several writers wins: on
that the patterns rest, whatever the store is. Write your own by giving a class these four methods, blocking or
asynchronous; ``venturekit.testing.record_store_suite`` is the suite that ours pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


class Record(NamedTuple):
    """What a store holds under an id.

    ``value`` is a JSON object. ``version`` is 1 when it was first written and one more with every write.
    ``expires_at`` is in epoch seconds, None for never; ``keys`` are what ``find`` finds it by.
    """

    id: str
    value: dict[str, Any]
    version: int
    expires_at: float | None = None
    keys: Mapping[str, str] = {}


class RecordPage(NamedTuple):
    """Some of the records that were looked for. ``after`` is where the next page begins, None behind the last one."""

    records: list[Record]
    after: str | None


class RecordStore(Protocol):
    """Records of one kind. Every method is atomic, and may give an awaitable instead.

    ``now`` is in epoch seconds: a record whose ``expires_at`` is not after it does not exist for any of the methods,
    whether the store has removed it already or not. A store that is down raises; which exception is the store's affair.
    """

    def read(self, id: str, now: float, /) -> Record | Awaitable[Record | None] | None:
        """The record, as last written by anybody; None if there is none."""

    def write(
        self,
        id: str,
        value: dict[str, Any],
        now: float,
        /,
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> bool | Awaitable[bool]:
        """Write the record if its version is ``version`` (0: if there is none); it then has ``version + 1``.

        False, and nothing is written, when somebody else was faster. ``keys`` replace those of before.
        """

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool | Awaitable[bool]:
        """Remove the record if its version is ``version``, or any for None; whether it was there and is gone."""

    def find(
        self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None
    ) -> RecordPage | Awaitable[RecordPage]:
        """Records whose ``keys[key]`` is ``value``, in the order of their ids, ``limit`` at most."""
