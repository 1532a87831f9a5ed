"""How much one invocation gets, when a batch is complete, and how many pollers a queue has. Pure.

Sources: AWS Lambda Developer Guide, "Batching behavior", "Creating and configuring an Amazon SQS event source mapping"
and "Configuring scaling behavior for SQS event source mappings".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from venturekit.service.sources.messages import event_size_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from venturekit.service.sources.messages import Item

EVENT_LIMIT_BYTES: Final = 6_291_456
"""The limit of a synchronous invocation's payload."""
RECEIVED_AT_ONCE: Final = 10
"""The most messages that ReceiveMessage gives (SQS API reference)."""
FIRST_WORKERS: Final = 5
"""So many batches are worked on at once before a mapping is scaled up step by step."""
MORE_WORKERS_SECONDS: Final = 0.2
"""How far apart the further ones come: 300 in a minute."""
MOST_WORKERS: Final = 1000
CROWDED_WAIT_SECONDS: Final = 4
"""How long a request waits for a message while others wait for their turn. Each request costs a millisecond or so,
which the invocations of the whole service lack."""
LONGEST_WAIT_SECONDS: Final = 20
"""The longest that ReceiveMessage waits for a message."""


class Gathering:
    """A batch that is being put together: up to ``size`` messages, for ``window_seconds`` from the first one on."""

    __slots__ = ("_bytes", "_ends", "_size", "_window_seconds", "items")

    def __init__(self, size: int, window_seconds: float) -> None:
        self.items: list[Item] = []
        self._size = size
        self._window_seconds = window_seconds
        self._ends = math.inf
        self._bytes = 0

    @property
    def room(self) -> int:
        """How many messages to ask for."""
        return min(RECEIVED_AT_ONCE, self._size - len(self.items))

    def add(self, items: Iterable[Item], now: float, latest: float = math.inf) -> None:
        """Take what was received at ``now`` (seconds). The window of the first ends at ``latest`` at the latest."""
        before = len(self.items)
        self.items.extend(items)
        self._bytes += sum(len(item.record) + 1 for item in self.items[before:])
        if self.items and not before:
            self._ends = min(now + self._window_seconds, max(now, latest))

    def is_complete(self, now: float) -> bool:
        """Whether it is time to invoke: it is full, too large for more, or its window is over."""
        return bool(self.items) and (self.room <= 0 or now >= self._ends or self._bytes >= EVENT_LIMIT_BYTES)

    def wait_seconds(self, now: float, patience_seconds: int) -> int:
        """How long the next request for messages should wait for some; ``patience_seconds`` while there are none."""
        if not self.items:
            return patience_seconds
        return min(patience_seconds, LONGEST_WAIT_SECONDS, max(0, math.ceil(self._ends - now)))


def split(items: Sequence[Item], limit_bytes: int = EVENT_LIMIT_BYTES) -> list[list[Item]]:
    """The batch in parts, in order, each of which is an event that is not too large."""
    parts: list[list[Item]] = []
    size_bytes = limit_bytes
    for item in items:
        size_bytes += len(item.record) + 1
        if size_bytes > limit_bytes:
            parts.append([])
            size_bytes = event_size_bytes([item])
        parts[-1].append(item)
    return parts


def next_patience_seconds(former_seconds: int, *, found: bool) -> int:
    """How long to wait for messages: the longer, the longer there were none, so that a mapping at rest costs little
    and one that has just been busy can be disabled soon."""
    return 1 if found else min(LONGEST_WAIT_SECONDS, former_seconds * 2)


def seconds_until_more(workers: int, looking: int, limit: int, since_last_seconds: float) -> float | None:
    """In how long one more batch may be worked on at once, 0 for now; None where that is not to be.

    ``looking`` of the ``workers`` are asking the queue right now; none is added while others look.
    """
    if workers >= min(limit, MOST_WORKERS) or looking:
        return None
    return 0.0 if workers < FIRST_WORKERS else max(0.0, MORE_WORKERS_SECONDS - since_last_seconds)


def latest_end(until: float, visibility_seconds: float, timeout_seconds: float) -> float:
    """When a window has to end whose first message becomes visible again at ``until``.

    Later, the batch would be filled with the same messages, received again. The function gets the time that it may
    take, half of the visibility timeout at most: that may be as short as the function's timeout.
    """
    return until - min(timeout_seconds, visibility_seconds / 2)


def is_hasty(asked_seconds: int, waited_seconds: float, count: int) -> bool:
    """Whether a queue said that it has no message long before it had waited for one, as it had been asked to."""
    return not count and waited_seconds < asked_seconds / 2


def pause_seconds(failures: int, longest_seconds: float) -> float:
    """How long to wait after so many failures in a row (from 1)."""
    return min(longest_seconds, 0.5 * 2.0 ** min(failures - 1, 16))
