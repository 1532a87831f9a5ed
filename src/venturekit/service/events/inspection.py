"""Stored events by hand: who asks sees those of one account, and has them run again or dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.events.settlement import Moment
from venturekit.service.events.shapes import detailed, listed
from venturekit.service.store.event_documents import DROPPED, FAILED, QUEUED, RUNNING, STATES
from venturekit.service.store.event_views import UNDELIVERED, EventFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from venturekit.service.store.event_changes import Changes, Found
    from venturekit.service.store.event_documents import Lane
    from venturekit.service.store.event_queries import EventQueries
    from venturekit.service.store.event_views import StoredEvent

FILTERS: Final = (*STATES, UNDELIVERED)
REDRIVABLE: Final = (FAILED, DROPPED, QUEUED, UNDELIVERED)
DROPPABLE: Final = (QUEUED, FAILED, UNDELIVERED)
BATCH_EVENTS: Final = 500
BATCHES_AT_ONCE: Final = 10
"""How much of a change of many events is made before its caller is answered, who may go on then."""
MATCHES_SHOWN: Final = 5
REQUEST_ID_DIGITS: Final = 36
_NUMBER: Final = re.compile(r"#([0-9]{1,18})|([0-9]{1,7})")
_REQUEST_ID: Final = re.compile(r"[0-9a-f-]{8,36}")
_MARKER: Final = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


class Queue(Protocol):
    """What works off the queue: it is told of changes that were committed."""

    def due(self, lane: Lane, at: float) -> None:
        """An event of this lane is due at ``at``, in steady seconds."""

    def counted(self, change: int) -> None:
        """So many more events are queued, or fewer."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to events, one or many: ``verb`` says it, ``make`` does it to some of an account."""

    verb: str
    make: Callable[[str, Sequence[int]], Awaitable[Changes]]


class Inspection:
    """Events of accounts as JSON. All raise ApiError, with a text that says what to do.

    ``deliver(targets)`` is called when what is owed to these ARNs was made due, or dropped. ``steady`` and ``wall``
    tell the time in seconds.
    """

    def __init__(
        self,
        queries: EventQueries,
        *,
        queue: Queue,
        deliver: Callable[[frozenset[str]], None],
        steady: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._queries = queries
        self._queue = queue
        self._deliver = deliver
        self._steady = steady
        self._wall = wall

    # --- looking ------------------------------------------------------------------------------------------------

    async def page(self, wanted: EventFilter, *, limit: int, marker: str, oldest_first: bool) -> dict[str, Any]:
        """Some events, and ``nextMarker`` where there may be more; a page with a marker may be empty."""
        after, _ = _place(marker)
        page = await self._queries.page(wanted, limit=limit, after=after, oldest_first=oldest_first)
        moment = self._moment()
        answer: dict[str, Any] = {"events": [listed(event, moment) for event in page.events]}
        return answer if page.marker is None else {**answer, "nextMarker": str(page.marker)}

    async def counts(self, account_id: str, function_name: str) -> dict[str, Any]:
        """How many events there are in which state, by function."""
        counted = await self._queries.counts(account_id, function_name)
        return {
            "functions": [
                {"functionName": name, **{state: states[state] for state in FILTERS}}
                for name, states in sorted(counted.items())
            ]
        }

    async def find(self, account_id: str, reference: str) -> StoredEvent:
        """The event of this request id, the first digits of one, or a number such as ``#7``."""
        number = await self._number(account_id, reference)
        details = await self._queries.details(account_id, number)
        if details is None:
            raise _no_event(reference)
        return details.event

    async def show(self, account_id: str, event: StoredEvent, *, with_payload: bool) -> dict[str, Any]:
        """All about an event."""
        details = await self._queries.details(account_id, event.event_id, with_payload=with_payload)
        if details is None:
            raise _no_event(f"#{event.event_id}")
        return detailed(details, self._moment())

    # --- changing -----------------------------------------------------------------------------------------------

    def redriving(self, *, deliveries_only: bool = False) -> Change:
        """Run events again, and deliver what is owed of them at once, or only that."""

        async def make(account_id: str, event_ids: Sequence[int]) -> Changes:
            now = self._steady()
            changes = await self._queries.redrive(
                account_id, event_ids, now, self._wall(), deliveries_only=deliveries_only
            )
            self._queue.counted(changes.live)
            for lane in changes.lanes:
                self._queue.due(lane, now)
            self._tell(changes)
            return changes

        return Change("deliver" if deliveries_only else "redrive", make)

    def dropping(self) -> Change:
        """End events that wait, and owe nothing of them any more."""

        async def make(account_id: str, event_ids: Sequence[int]) -> Changes:
            changes = await self._queries.drop(account_id, event_ids, self._steady(), self._wall())
            self._queue.counted(changes.live)
            self._tell(changes)
            return changes

        return Change("drop", make)

    async def change(self, change: Change, account_id: str, event: StoredEvent) -> dict[str, Any]:
        """Change one event; 409 where there is nothing to change."""
        changes = await change.make(account_id, [event.event_id])
        found = changes.found.get(event.event_id)
        if found is None:
            raise _no_event(f"#{event.event_id}")
        if (reason := _refused(change.verb, found)) is not None:
            raise api_error("ResourceConflictException", f"Event #{event.event_id} ({event.request_id}) {reason}")
        state = {"drop": DROPPED, "redrive": QUEUED}.get(change.verb, found.state) if found.changed else found.state
        return {
            "number": event.event_id,
            "requestId": event.request_id,
            "functionName": event.function_name,
            "state": state,
            "deliveries": found.deliveries,
        }

    async def change_all(
        self, change: Change, wanted: EventFilter, *, marker: str, permit: Callable[[str], None]
    ) -> dict[str, Any]:
        """Change the oldest events of these; ``nextMarker`` is for the next ones, if there are any.

        Those are left alone that came after the first of such requests. ``permit(function_name)`` raises for functions
        whose events may not be changed: what was changed before stays so.
        """
        after, until = _place(marker)
        if until is None:
            until = await self._queries.newest()
        events = deliveries = 0
        for _ in range(BATCHES_AT_ONCE):
            page = await self._queries.page(wanted, limit=BATCH_EVENTS, after=after, oldest_first=True)
            meant = [event for event in page.events if event.event_id <= until]
            for name in {event.function_name for event in meant}:
                permit(name)
            if meant:
                changes = await change.make(wanted.account_id, [event.event_id for event in meant])
                events += changes.events
                deliveries += changes.deliveries
            after = page.marker
            if after is None or after >= until:
                return {"events": events, "deliveries": deliveries}
        return {"events": events, "deliveries": deliveries, "nextMarker": f"{after}-{until}"}

    # --- parts --------------------------------------------------------------------------------------------------

    async def _number(self, account_id: str, reference: str) -> int:
        numbered = _NUMBER.fullmatch(reference)
        if numbered is not None:
            return int(numbered[1] or numbered[2])
        prefix = reference.lower()
        if _REQUEST_ID.fullmatch(prefix) is None:
            raise invalid(
                f"{reference[:100]!r} is not an event: give its request id, the first 8 or more characters of it, or "
                "its number, such as 7 or '#7'"
            )
        is_whole = len(prefix) == REQUEST_ID_DIGITS
        found = await self._queries.find(account_id, prefix, limit=1 if is_whole else MATCHES_SHOWN)
        if len(found) > 1:
            raise invalid(
                f"{reference} begins several request ids, give more of it: " + ", ".join(id_ for _, id_ in found)
            )
        if not found:
            raise _no_event(reference)
        return found[0][0]

    def _tell(self, changes: Changes) -> None:
        if changes.targets:
            self._deliver(changes.targets)

    def _moment(self) -> Moment:
        return Moment(self._steady(), self._wall())


def invalid(message: str) -> ApiError:
    """A request that cannot be understood."""
    return api_error("InvalidParameterValueException", message)


def one_of(name: str, text: str, allowed: Sequence[str]) -> str:
    """``text`` if it is allowed, else raises ApiError."""
    if text not in allowed:
        raise invalid(f"{name} must be one of {', '.join(allowed)}, not {text[:100]!r}")
    return text


def _place(marker: str) -> tuple[int | None, int | None]:
    """After which id to go on, and up to which one."""
    if not marker:
        return None, None
    found = _MARKER.fullmatch(marker)
    if found is None:
        raise invalid("the marker must be the nextMarker of the page before, unchanged")
    return int(found[1]), int(found[2]) if found[2] else None


def _no_event(reference: str) -> ApiError:
    return api_error("ResourceNotFoundException", f"There is no event {reference} (any more)")


def _refused(verb: str, found: Found) -> str | None:
    """Why nothing was changed, None if something was or nothing had to be."""
    if found.changed or found.deliveries:
        return None
    if verb == "deliver":
        return "has nothing that is owed"
    if found.state == RUNNING:
        return "is being run: wait until that has ended"
    if verb == "drop":
        return f"has {_ended(found.state)}, and nothing is owed of it: there is nothing to drop"
    if found.state == QUEUED:
        return None
    return f"has {_ended(found.state)}: its payload is gone, so it cannot be run again"


def _ended(state: str) -> str:
    return "been dropped" if state == DROPPED else state
