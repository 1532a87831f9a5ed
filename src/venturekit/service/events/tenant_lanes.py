"""Which events of a function are taken next that keeps tenants apart. No I/O: times are steady seconds.

Such a function has one lane among those of the others, with a share of their turns like any other one. In it each
tenant has a lane, and the one with the fewest events running comes first, so that a flood for one tenant delays no
other. A function without tenants has nothing of this.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

from venturekit.service.events.lanes import SPARE_PLACES, Lane, Lanes

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.store.event_documents import Lane as LaneKey

ALL_TENANTS: Final = "*"
"""In the place of a tenant: the lane of a function with all its tenants. No tenant can be called so."""
TENANTS_BEYOND: Final = 4
"""So many times the limit of a function run at once, when tenants come who have nothing running: each may have one
event run, so that none waits until the slow events of another have ended."""


class FewestFirst:
    """Lanes that wait for their turn: first that with the fewest events running, of several the longest waiting."""

    def __init__(self) -> None:
        # Running, place in the order, a number that only this entry has, and the lane.
        self._heap: list[tuple[int, int, int, Lane]] = []
        self._waiting: dict[LaneKey, tuple[int, Lane]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, lane: Lane) -> None:
        """It waits from now on."""
        number = next(self._numbers)
        self._waiting[lane.key] = number, lane
        self._push(number, lane)

    def fewer(self, lane: Lane) -> None:
        """One of its events has ended: if it waits, it comes sooner."""
        number, _ = self._waiting.get(lane.key, (None, lane))
        if number is None:
            return
        if len(self._heap) > 2 * len(self._waiting) + SPARE_PLACES:
            # Without the places that were left for better ones.
            self._heap.clear()
            for each in self._waiting.values():
                self._push(*each)
        else:
            self._push(number, lane)

    def popleft(self) -> Lane:
        """Whose turn it is. Raises IndexError when none waits."""
        while True:
            _, number, _, lane = heapq.heappop(self._heap)
            # Else it has left this place for a better one, and had its turn.
            if self._waiting.get(lane.key) == (number, lane):
                del self._waiting[lane.key]
                return lane

    def _push(self, number: int, lane: Lane) -> None:
        heapq.heappush(self._heap, (lane.running, number, next(self._numbers), lane))


class TenantsLane(Lane):
    """The events of one function, of all its tenants."""

    __slots__ = ("tenants",)

    def __init__(self, key: LaneKey, limit: int, room: Callable[[Lane], int]) -> None:
        super().__init__(key, limit * TENANTS_BEYOND)
        self.tenants = Turns(limit, room)


class Turns(Lanes):
    """The lanes of one function's tenants. ``limit`` is how many events of the function run at once."""

    def __init__(self, limit: int, room: Callable[[Lane], int]) -> None:
        super().__init__(limit, room)
        self._ready: FewestFirst = FewestFirst()
        self._free = 0
        self._share = 0

    def take_of(self, running: int, now: float, count: int) -> list[tuple[LaneKey, int]]:
        """What to claim now, up to so many events, with ``running`` ones of all tenants."""
        self._ripen(now)
        self._free = self._limit - running
        # Of few places each tenant that waits gets one; what is left over is for the next turn.
        self._share = max(1, min(count, self._free) // max(1, len(self._ready)))
        return self.take(now, count)

    def ended(self, key: LaneKey) -> None:
        """One event of the lane is not being run any more."""
        lane = self._lane(key)
        super().ended(key)
        self._ready.fewer(lane)

    def _claim(self, lane: Lane, count: int, now: float, taken: list[tuple[LaneKey, int]]) -> int:
        newcomers = 0 if lane.running else 1
        count = super()._claim(lane, min(count, self._share, max(self._free, newcomers)), now, taken)
        self._free -= count
        return count

    @property
    def next_due(self) -> float | None:
        """When a tenant's next event may be taken, None while none is waiting."""
        return float("-inf") if self._ready or self._held else self.next_at()


class FunctionLanes(Lanes):
    """The lanes of all functions. ``tenant_room(lane)`` is how many more events of a tenant make sense now."""

    def __init__(self, limit: int, room: Callable[[Lane], int], tenant_room: Callable[[Lane], int]) -> None:
        super().__init__(limit, room)
        self._tenant_room = tenant_room

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, tuple) or len(key) == 2:
            return key in self._lanes
        lane = self._lanes.get((key[0], key[1], ALL_TENANTS))
        return isinstance(lane, TenantsLane) and key in lane.tenants

    def due(self, key: LaneKey, at: float) -> None:
        """An event waits that is due at ``at``."""
        if len(key) == 2:
            Lanes.due(self, key, at)
            return
        lane = self._of_all_tenants(key)
        lane.tenants.due(key, at)
        self._follow(lane)

    def claimed(self, key: LaneKey, count: int, next_due: float | None) -> None:
        """So many events were claimed; ``next_due`` is when the first of the others is due."""
        if len(key) == 2:
            Lanes.claimed(self, key, count, next_due)
            return
        lane = self._of_all_tenants(key)
        lane.claiming -= lane.tenants.claiming(key)
        lane.running += count
        lane.tenants.claimed(key, count, next_due)
        self._follow(lane)

    def unclaimed(self, key: LaneKey) -> None:
        """The claim failed: what was due is due still."""
        if len(key) == 2:
            Lanes.unclaimed(self, key)
            return
        lane = self._of_all_tenants(key)
        lane.claiming -= lane.tenants.claiming(key)
        lane.tenants.unclaimed(key)
        self._follow(lane)

    def ended(self, key: LaneKey) -> None:
        """One event of the lane is not being run any more."""
        if len(key) == 2:
            Lanes.ended(self, key)
            return
        lane = self._of_all_tenants(key)
        lane.running -= 1
        lane.tenants.ended(key)
        self._follow(lane)

    def resumed(self, key: LaneKey) -> None:
        """It was not so: what has ended could not be settled."""
        super().resumed(key)
        if len(key) == 3:
            self._of_all_tenants(key).tenants.resumed(key)

    def pause(self, key: LaneKey, until: float) -> None:
        """Take nothing of this lane before ``until``."""
        if len(key) == 2:
            Lanes.pause(self, key, until)
            return
        lane = self._of_all_tenants(key)
        lane.tenants.pause(key, until)
        self._follow(lane)

    def pause_function(self, key: LaneKey, until: float) -> None:
        """Take nothing of the lane's function before ``until``: there is no room for it."""
        super().pause(key, until)

    def _lane(self, key: LaneKey) -> Lane:
        lane = self._lanes.get(key)
        if lane is not None:
            return lane
        return super()._lane(key) if len(key) == 2 else self._of_all_tenants(key)

    def _of_all_tenants(self, key: LaneKey) -> TenantsLane:
        whole = (key[0], key[1], ALL_TENANTS)
        lane = self._lanes.get(whole)
        if lane is None:
            lane = self._lanes[whole] = TenantsLane(whole, self._limit, self._tenant_room)
        assert isinstance(lane, TenantsLane)
        return lane

    def _claim(self, lane: Lane, count: int, now: float, taken: list[tuple[LaneKey, int]]) -> int:
        if count <= 0 or not isinstance(lane, TenantsLane):
            return super()._claim(lane, count, now, taken)
        claims = lane.tenants.take_of(lane.running, now, count)
        taken += claims
        lane.next_due = lane.tenants.next_due
        return sum(each for _, each in claims)

    def _follow(self, lane: TenantsLane) -> None:
        """See when something of the tenants may be taken."""
        lane.next_due = lane.tenants.next_due
        self._put(lane)
        self._forget_idle(lane)
