"""Queued events, their deliveries and their history, as the callers of the store see them.

Two clocks stand in these rows. ``..._at`` are *steady* seconds, which no change of the system's clock moves: ages and
delays are measured by them. ``..._wall`` are epoch seconds: they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

QUEUED: Final = "queued"
RUNNING: Final = "running"
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
DROPPED: Final = "dropped"
STATES: Final = (QUEUED, RUNNING, SUCCEEDED, FAILED, DROPPED)
"""Of an event: the last three are final."""

Lane = tuple[str, str] | tuple[str, str, str]
"""Account id and function name, and the tenant of events that name one: those of one lane are taken in the order in
which they are due."""


def lane_of(account_id: str, function_name: str, tenant_id: str) -> Lane:
    """The lane of events for a function; ``tenant_id`` is empty where they name no tenant."""
    return (account_id, function_name, tenant_id) if tenant_id else (account_id, function_name)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be accepted. ``qualifier`` and ``tenant_id`` are the empty text where the caller gave none."""

    account_id: str
    function_name: str
    qualifier: str
    request_id: str
    payload: bytes | bytearray
    trace: str
    accepted_at: float
    accepted_wall: float
    tenant_id: str = ""

    @property
    def lane(self) -> Lane:
        """What the event queues up in."""
        return lane_of(self.account_id, self.function_name, self.tenant_id)


@dataclass(frozen=True, slots=True)
class ClaimedEvent:
    """An event that its claimer alone may run until it is settled. ``attempts`` and ``backoffs`` were made before."""

    event_id: int
    account_id: str
    function_name: str
    qualifier: str
    request_id: str
    payload: bytes
    trace: str
    accepted_at: float
    attempts: int
    backoffs: int
    tenant_id: str = ""

    @property
    def lane(self) -> Lane:
        """What the event queues up in."""
        return lane_of(self.account_id, self.function_name, self.tenant_id)


@dataclass(frozen=True, slots=True)
class Transition:
    """One line of an event's history. ``detail`` is a JSON object as text, empty where there is nothing to say."""

    wall: float
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A message that the outbox owes to a target.

    ``kind`` is OnSuccess, OnFailure or DeadLetter, ``target`` an ARN. ``body`` is sent as it stands; ``attributes`` is
    a JSON object as text with what depends on the kind of message. ``source`` is the ARN, with its qualifier, of the
    function whose result it is; ``trace`` its trace header.
    """

    kind: str
    target: str
    body: bytes
    attributes: str
    source: str
    trace: str
    due_at: float
    created_wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What became of a claimed event, all of it in one transaction.

    ``state`` is QUEUED (to be run again at ``due_at``), SUCCEEDED or FAILED.
    """

    event_id: int
    state: str
    attempts: int
    backoffs: int
    due_at: float
    history: Sequence[Transition]
    deliveries: Sequence[NewDelivery] = ()
    finished_wall: float | None = None


@dataclass(frozen=True, slots=True)
class LaneState:
    """What waits in a lane: how many events, and when the first of them is due."""

    lane: Lane
    queued: int
    next_due_at: float
