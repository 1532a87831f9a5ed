"""Which function's events are taken next. No I/O: times are steady seconds.

Every function has a lane. Lanes take turns, so that a flood in one delays another by no more than its own share of a
turn, and each has a limit of events that run at once. For functions that keep tenants apart see ``tenant_lanes``.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.store.event_documents import Lane as LaneKey

SHARE: Final = 16
"""How many events of one lane are taken in a turn."""
TURN: Final = 64
"""How many events are taken in a turn: callers wait for its end, and of a long queue each event lies elsewhere."""
SPARE_PLACES: Final = 64
"""How many places that lanes have left are kept, besides one for each lane."""
_READY: Final = float("-inf")


class Lane:
    """The events of one function: when the next is due, and how many are being run, ``limit`` of them at most."""

    __slots__ = ("claiming", "key", "limit", "next_due", "paused_until", "place", "running")

    def __init__(self, key: LaneKey, limit: int) -> None:
        self.key = key
        self.limit = limit
        self.next_due: float | None = None
        self.paused_until = 0.0
        self.running = 0
        self.claiming = 0
        # Where it stands: in the queue of those that may be taken from, in the heap at this time, or nowhere.
        self.place: float | None = None

    @property
    def ready_at(self) -> float | None:
        """When the next event may be taken, None while none is waiting."""
        return None if self.next_due is None else max(self.next_due, self.paused_until)


class Waiting(Protocol):
    """Lanes that may be taken from, in the order of their turns."""

    def __len__(self) -> int: ...

    def append(self, lane: Lane, /) -> None:
        """It waits from now on."""

    def popleft(self) -> Lane:
        """Whose turn it is."""


class Lanes:
    """All lanes. ``limit`` is how many events of a function run at once; ``room(lane)`` how many more it can take now
    for other reasons.
    """

    def __init__(self, limit: int, room: Callable[[Lane], int]) -> None:
        self._limit = limit
        self._room = room
        self._lanes: dict[LaneKey, Lane] = {}
        self._ready: Waiting = deque()
        self._held: list[Lane] = []
        self._later: list[tuple[float, int, Lane]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._lanes)

    def __contains__(self, key: object) -> bool:
        return key in self._lanes

    def due(self, key: LaneKey, at: float) -> None:
        """An event waits that is due at ``at``."""
        lane = self._lane(key)
        if lane.next_due is None or at < lane.next_due:
            lane.next_due = at
            self._put(lane)

    def take(self, now: float, left: int = TURN) -> list[tuple[LaneKey, int]]:
        """What to claim now: lanes with how many events of each, ``left`` at most. Each waits for :meth:`claimed`."""
        self._ripen(now)
        taken: list[tuple[LaneKey, int]] = []
        for _ in range(len(self._ready)):
            if left <= 0:
                break
            lane = self._ready.popleft()
            lane.place = None
            ready_at = lane.ready_at
            if lane.running >= lane.limit or ready_at is None:
                continue  # an event that ends puts it back
            if ready_at > now:
                self._put(lane)
                continue
            count = self._claim(lane, min(lane.limit - lane.running, self._room(lane), SHARE, left), now, taken)
            if count <= 0:
                self._held.append(lane)
                continue
            lane.claiming = count
            left -= count
        return taken

    def claimed(self, key: LaneKey, count: int, next_due: float | None) -> None:
        """So many events were claimed; ``next_due`` is when the first of the others is due."""
        lane = self._lane(key)
        lane.claiming = 0
        lane.running += count
        lane.next_due = next_due
        self._put(lane)
        self._forget_idle(lane)

    def unclaimed(self, key: LaneKey) -> None:
        """The claim failed: what was due is due still."""
        lane = self._lane(key)
        lane.claiming = 0
        self._put(lane)

    def ended(self, key: LaneKey) -> None:
        """One event of the lane is not being run any more."""
        lane = self._lane(key)
        lane.running -= 1
        self._put(lane)
        self._forget_idle(lane)

    def resumed(self, key: LaneKey) -> None:
        """It was not so: what has ended could not be settled."""
        self._lane(key).running += 1

    def pause(self, key: LaneKey, until: float) -> None:
        """Take nothing of this lane before ``until``: there is no room for its function."""
        lane = self._lane(key)
        lane.paused_until = until
        self._put(lane)

    def claiming(self, key: LaneKey) -> int:
        """How many events of a lane are being claimed."""
        return self._lane(key).claiming

    @property
    def holds_back(self) -> bool:
        """Whether some lane has events that are due but no room for them: to be looked at again soon."""
        return bool(self._held)

    def next_at(self) -> float | None:
        """When the next lane becomes ready, None if none will by itself."""
        while self._later and self._later[0][2].place != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    @property
    def is_ready(self) -> bool:
        """Whether :meth:`take` may have something at once."""
        return bool(self._ready)

    def _claim(self, lane: Lane, count: int, now: float, taken: list[tuple[LaneKey, int]]) -> int:
        """Take up to so many events of a lane; returns how many these are."""
        if count > 0:
            taken.append((lane.key, count))
        return count

    def _lane(self, key: LaneKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, self._limit)
        return lane

    def _put(self, lane: Lane) -> None:
        """Put a lane where it belongs; where it stood before counts no more."""
        ready_at = lane.ready_at
        if ready_at is None or lane.claiming or lane.running >= lane.limit:
            return
        if lane.place is None or ready_at < lane.place:
            lane.place = ready_at
            heapq.heappush(self._later, (ready_at, next(self._numbers), lane))
            if len(self._later) > 2 * len(self._lanes) + SPARE_PLACES:
                self._tidy()

    def _tidy(self) -> None:
        """Forget places that lanes have left: with a retry far away, each event in between would leave one."""
        self._later = [
            (lane.place, next(self._numbers), lane)
            for lane in self._lanes.values()
            if lane.place is not None and lane.place != _READY
        ]
        heapq.heapify(self._later)

    def _ripen(self, now: float) -> None:
        held, self._held = self._held, []
        for lane in held:
            if lane.place is None and not lane.claiming:
                lane.place = _READY
                self._ready.append(lane)
        while self._later and self._later[0][0] <= now:
            at, _, lane = heapq.heappop(self._later)
            if lane.place == at:
                lane.place = _READY
                self._ready.append(lane)

    def _forget_idle(self, lane: Lane) -> None:
        if not lane.running and not lane.claiming and lane.next_due is None:
            self._lanes.pop(lane.key, None)
