"""Stored events as those see them who look at them by hand.

For ``..._at`` and ``..._wall`` see :mod:`~venturekit.service.store.event_documents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.store.event_documents import Transition

UNDELIVERED: Final = "undelivered"
"""Of an event of which something is owed, whatever its state."""
Place = tuple[float, int]
"""Of an event that has ended among all of them: when, in epoch seconds, and its id."""
FIRST_PLACE: Final[Place] = (float("-inf"), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events of an account are meant: all of them, or those of a function, or in a state (or UNDELIVERED)."""

    account_id: str
    function_name: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event without its payload. ``owed`` is how many deliveries of it are.

    ``last`` is the newest line of its history, ``last_error`` the newest that tells of a run that did not succeed. Of
    an event that has ended ``due_at`` is when it did.
    """

    event_id: int
    function_name: str
    qualifier: str
    request_id: str
    trace: str
    state: str
    accepted_at: float
    accepted_wall: float
    due_at: float
    attempts: int
    backoffs: int
    finished_wall: float | None
    owed: int
    last: Transition
    last_error: Transition | None
    tenant_id: str = ""


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events in the order of their ids. More may follow after the id ``marker``, none if it is None."""

    events: Sequence[StoredEvent]
    marker: int | None


@dataclass(frozen=True, slots=True)
class ShownDelivery:
    """Something that is owed, without its body."""

    kind: str
    target: str
    size_bytes: int
    attempts: int
    due_at: float
    reason: str
    created_wall: float


@dataclass(frozen=True, slots=True)
class EventDetails:
    """All about an event. ``omitted`` lines of its history, the oldest, are left out where it is very long.

    ``payload_size_bytes`` is None when there is no payload any more; ``payload`` also when it was not asked for.
    """

    event: StoredEvent
    history: Sequence[Transition]
    omitted: int
    deliveries: Sequence[ShownDelivery]
    payload_size_bytes: int | None
    payload: bytes | None


@dataclass(frozen=True, slots=True)
class EndedEvent:
    """What decides whether an event that has ended is kept. ``ended_at`` is in steady seconds."""

    place: Place
    ended_at: float
    is_owing: bool
    size_bytes: int
