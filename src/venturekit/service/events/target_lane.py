"""What the outbox keeps in memory of one target, and what it decides from that. No I/O: time is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.events.delivery import is_function
from venturekit.service.events.delivery_retry import Health

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from venturekit.service.events.delivery_retry import Retry
    from venturekit.service.store.event_documents import Transition
    from venturekit.service.store.outbox import OwedDelivery, OwedToTarget

AT_ONCE: Final = 4
"""So many messages are on their way to a target that works."""
HOPS_AT_ONCE: Final = 8
"""So many are to a function: they go no farther than the store, which takes them together."""
PARKED_LOOK_SECONDS: Final = 1.0
"""New messages for a target that has no address are looked at no more often than this."""
_BEGINNING: Final = (float("-inf"), 0)


class TargetLane:
    """A target that is owed something, as far as that is kept in memory. Times are steady seconds."""

    __slots__ = (
        "fresh",
        "health",
        "looked_at",
        "owed",
        "parked",
        "place",
        "reason",
        "resume_at",
        "target",
        "task",
        "timed_at",
        "unsettled",
        "wake_at",
    )

    def __init__(self, target: str) -> None:
        self.target = target
        self.health = Health()
        self.reason = ""
        self.resume_at = 0.0
        self.wake_at: float | None = None
        # The last time that was put into the queue of times.
        self.timed_at: float | None = None
        self.task: asyncio.Task[None] | None = None
        # Something has changed since the last look.
        self.fresh = True
        self.looked_at = float("-inf")
        self.owed = 0
        # Without an address: up to where the messages know about it.
        self.parked = False
        self.place = _BEGINNING
        self.unsettled: dict[int, tuple[OwedDelivery, Sequence[Transition]]] = {}

    def forget_failures(self) -> None:
        """Try it again at once."""
        self.health = Health()
        self.resume_at = 0.0
        self.parked = False
        self.place = _BEGINNING
        self.fresh = True

    def is_open(self, now: float) -> bool:
        """Whether messages may be sent."""
        return self.resume_at <= now

    @property
    def at_once(self) -> int:
        """How many messages may be under way: one, to see how it fares, if the last one was not taken."""
        if not self.health.is_good:
            return 1
        return HOPS_AT_ONCE if is_function(self.target) else AT_ONCE

    @property
    def look_at(self) -> float:
        """When it makes sense to look at something new."""
        return max(self.resume_at, self.looked_at + PARKED_LOOK_SECONDS if self.parked else 0.0)

    def recovered(self) -> None:
        """A message was taken."""
        self.health = Health()
        self.reason = ""

    def failed(self, retry: Retry, now: float) -> None:
        """A message was not taken."""
        self.health = retry.health
        if retry.target_delay_seconds:
            self.resume_at = max(self.resume_at, now + retry.target_delay_seconds)

    def plan(self, found: OwedToTarget | None) -> None:
        """Decide when to look again: never by itself where nothing is owed, or there is no address."""
        self.owed = found.count if found is not None else 0
        if found is None and not self.unsettled:
            self.reason = ""
        elif self.parked:
            self.wake_at = float("inf")
        else:
            self.wake_at = max(self.resume_at, found.next_due_at if found is not None else 0.0)
