"""Tenants of a function take turns: a flood for one delays no other, and nobody else notices that there are tenants."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from venturekit.service.events.lanes import SHARE, TURN, Lane
from venturekit.service.events.tenant_lanes import TENANTS_BEYOND, FewestFirst, FunctionLanes

LIMIT = 16
MOST = LIMIT * TENANTS_BEYOND
PLENTY = 10_000
PLAIN = ("1", "plain")
Key = tuple[str, str] | tuple[str, str, str]


def of(tenant: str, function: str = "f") -> Key:
    return ("1", function, tenant)


A, B, C = of("a"), of("b"), of("c")


def unlimited(_: Lane) -> int:
    return PLENTY


class Queues:
    """Lanes of functions, and what the store would hold: how many events of each lane are due."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.room: dict[Key, int] = {}
        self.tenant_rooms_asked = 0
        self.lanes = FunctionLanes(limit, self.room_of, self.tenant_room)
        self.due: Counter[Key] = Counter()
        self.running: Counter[Key] = Counter()

    def room_of(self, lane: Lane) -> int:
        return self.room.get((lane.key[0], lane.key[1]), PLENTY)

    def tenant_room(self, lane: Lane) -> int:
        self.tenant_rooms_asked += 1
        return self.room.get(lane.key, PLENTY)

    def put(self, key: Key, count: int = 1) -> None:
        self.due[key] += count
        self.lanes.due(key, 1.0)

    def turn(self) -> Counter[Key]:
        """One turn, claimed as the store would."""
        claims = self.lanes.take(1.0)
        for key, count in claims:
            found = min(count, self.due[key])
            self.due[key] -= found
            self.running[key] += found
            self.lanes.claimed(key, found, 1.0 if self.due[key] else None)
        return Counter(dict(claims))

    def turns(self) -> None:
        while self.turn():
            pass

    def end(self, key: Key, count: int = 1) -> None:
        for _ in range(count):
            self.running[key] -= 1
            self.lanes.ended(key)


def test_a_flood_for_one_tenant_has_the_function_to_itself_until_another_comes() -> None:
    queues = Queues()
    queues.put(A, 1000)
    assert queues.turn() == {A: LIMIT}
    assert queues.turn() == {}
    # Nothing has ended yet.
    queues.put(B, 1000)
    assert queues.turn() == {B: 1}
    assert queues.turn() == {}
    queues.end(A)
    assert queues.turn() == {}, "as many as the limit run"
    queues.end(A)
    assert queues.turn() == {B: 1}


def test_places_that_come_free_are_dealt_out_in_turn() -> None:
    queues = Queues()
    queues.put(A, 1000)
    queues.turns()
    queues.put(B, 1000)
    queues.put(C, 1000)
    for _ in range(200):
        queues.turns()
        # The one with the most has had its places for longest.
        queues.end(max(queues.running, key=queues.running.__getitem__))
    queues.turns()
    assert sum(queues.running.values()) == LIMIT
    assert max(queues.running.values()) - min(queues.running.values()) <= 1


def test_few_places_are_shared() -> None:
    queues = Queues()
    for key in (A, B, C):
        queues.put(key, 1000)
    assert queues.turn() == {A: 5, B: 5, C: 5}
    assert sum(queues.turn().values()) == 1


def test_the_function_has_no_more_than_its_share_however_many_tenants_it_has() -> None:
    queues = Queues(limit=PLENTY)
    for number in range(500):
        queues.put(of(f"t{number}"), 100)
    queues.put(PLAIN, 1000)
    queues.put(("1", "f"), 1000)
    for _ in range(5):
        taken = queues.turn()
        assert taken[PLAIN] == taken["1", "f"] == SHARE
        assert sum(taken.values()) == 3 * SHARE <= TURN
    # And each tenant has had its turn before any has a second one.
    assert sorted({queues.running[of(f"t{number}")] for number in range(500)}) == [0, 1]


def test_no_more_than_so_many_newcomers_run_at_once_and_waiting_costs_nothing() -> None:
    queues = Queues()
    keys = [of(f"t{number}") for number in range(2000)]
    for key in keys:
        queues.put(key)
    queues.turns()
    assert sum(queues.running.values()) == MOST
    queues.tenant_rooms_asked = 0
    for _ in range(100):
        assert queues.turn() == {}
    assert queues.tenant_rooms_asked == 0
    while +queues.running:
        queues.end(next(iter(+queues.running)))
        queues.turns()
    assert (len(queues.lanes), +queues.due, queues.lanes.next_at()) == (0, Counter(), None)


def test_a_tenant_whose_environments_have_no_room_holds_back_nobody_else() -> None:
    queues = Queues()
    queues.room[A] = 0
    queues.put(A, 5)
    queues.put(B, 5)
    assert queues.turn() == {B: LIMIT // 2}
    assert (queues.turn(), queues.lanes.holds_back) == ({}, True)
    queues.room[A] = 1
    assert queues.turn() == {A: 1}


def test_the_functions_room_is_not_given_away_twice() -> None:
    queues = Queues()
    queues.room["1", "f"] = 1
    queues.put(A, 10)
    queues.put(B, 10)
    seen = []
    for _ in range(6):
        taken = queues.turn()
        assert sum(taken.values()) == 1
        (key,) = taken
        seen.append(key)
        queues.end(key)
    assert seen == [A, B, A, B, A, B]


def test_a_pause_is_for_a_tenant_or_for_the_whole_function() -> None:
    queues = Queues()
    queues.put(A, 100)
    queues.put(B, 100)
    queues.lanes.pause(A, 2.0)
    assert set(queues.turn()) == {B}
    queues.lanes.pause_function(B, 3.0)
    queues.end(B, 5)
    assert queues.lanes.take(2.5) == []
    assert {key for key, _ in queues.lanes.take(3.0)} == {A, B}


@pytest.mark.parametrize("taken", [True, False])
def test_what_could_not_be_settled_or_claimed_is_as_before(taken: bool) -> None:
    queues = Queues()
    queues.put(A, 100)
    queues.turns()
    for _ in range(3):
        queues.lanes.ended(A)
    assert queues.lanes.take(1.0) == [(A, 3)]
    if taken:
        queues.lanes.claimed(A, 3, 1.0)
    else:
        for _ in range(3):
            queues.lanes.resumed(A)
        queues.lanes.unclaimed(A)
    assert queues.lanes.take(1.0) == []
    assert A in queues.lanes
    assert B not in queues.lanes
    assert PLAIN not in queues.lanes


def test_places_in_the_order_are_bounded_and_never_the_same() -> None:
    order = FewestFirst()
    lanes = [Lane(of(f"t{number}"), LIMIT) for number in range(3)]
    for lane in lanes:
        lane.running = 2
        order.append(lane)
    for _ in range(10_000):
        # Settled, not taken by the store, settled again.
        lanes[1].running = 1
        order.fewer(lanes[1])
        lanes[1].running = 2
    assert len(order._heap) < 100
    order.fewer(Lane(of("nobody"), LIMIT))
    assert [order.popleft() for _ in range(len(order))] == [lanes[1], lanes[0], lanes[2]]
    with pytest.raises(IndexError):
        order.popleft()


KEYS = [of("a"), of("b"), of("c"), of("d"), of("a", "g"), of("b", "g"), ("1", "f"), PLAIN]
keys = st.sampled_from(KEYS)
Function = tuple[str, str]


def function_of(key: Key) -> Function:
    return key[0], key[1]


def group_of(key: Key) -> tuple[str, ...]:
    """What has a limit: a function without tenants, or all tenants of one."""
    return (*function_of(key), "tenants") if len(key) == 3 else key


class TenantsMachine(RuleBasedStateMachine):
    """Compares with lists of due times, as the test of the plain lanes does."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.room: dict[Function, int] = {function_of(key): PLENTY for key in KEYS}
        self.tenant_room: dict[Key, int] = dict.fromkeys(KEYS, PLENTY)
        self.lanes = FunctionLanes(
            LIMIT, lambda lane: self.room[lane.key[0], lane.key[1]], lambda lane: self.tenant_room[lane.key]
        )
        self.queued: dict[Key, list[float]] = defaultdict(list)
        self.running: Counter[Key] = Counter()
        self.claims: list[tuple[Key, int]] = []
        self.settling: list[Key] = []

    def running_of(self, key: Key) -> int:
        return sum(self.running[each] for each in KEYS if group_of(each) == group_of(key))

    def is_due(self, key: Key) -> bool:
        return bool(self.queued[key]) and self.queued[key][0] <= self.now

    def may_be_taken(self, key: Key) -> bool:
        """Whether a turn that has nothing else to do must take something of this lane."""
        if not self.is_due(key) or self.room[function_of(key)] <= 0 or self.running[key] >= LIMIT:
            return False
        if len(key) == 2:
            return True
        most = LIMIT if self.running[key] else MOST
        return self.tenant_room[key] > 0 and self.running_of(key) < most

    def claim(self, key: Key, count: int) -> None:
        queued = self.queued[key]
        found = min(count, bisect.bisect_right(queued, self.now))
        del queued[:found]
        self.running[key] += found
        self.lanes.claimed(key, found, queued[0] if queued else None)

    @rule(key=keys, count=st.integers(1, 40), delay=st.sampled_from([0.0, 0.0, 0.0, 1.0, 300.0]))
    def accept(self, key: Key, count: int, delay: float) -> None:
        for _ in range(count):
            bisect.insort(self.queued[key], self.now + delay)
            self.lanes.due(key, self.now + delay)

    @rule(seconds=st.sampled_from([0.5, 1.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=keys, room=st.sampled_from([0, 1, 5, PLENTY]), of_tenant=st.booleans())
    def change_room(self, key: Key, room: int, of_tenant: bool) -> None:
        if of_tenant:
            self.tenant_room[key] = room
        else:
            self.room[function_of(key)] = room

    @precondition(lambda self: not self.claims and not self.settling)
    @rule(endings=st.lists(keys, max_size=12))
    def take(self, endings: list[Key]) -> None:
        for key in endings:
            if self.running[key]:
                self.running[key] -= 1
                self.settling.append(key)
                self.lanes.ended(key)
        due = {key for key in KEYS if self.is_due(key)}
        may = {key for key in KEYS if self.may_be_taken(key)}
        self.claims = self.lanes.take(self.now)
        taken = [key for key, _ in self.claims]
        assert len(set(taken)) == len(taken)
        assert set(taken) <= due
        for group in {group_of(key) for key in taken}:
            counts = {key: count for key, count in self.claims if group_of(key) == group}
            key = next(iter(counts))
            total = sum(counts.values())
            assert total <= min(SHARE, self.room[function_of(key)])
            newcomers = sum(not self.running[each] for each in counts) if len(key) == 3 else 0
            assert total <= max(LIMIT - self.running_of(key), 0) + newcomers
            assert self.running_of(key) + total <= MOST
        assert {group_of(key) for key in may} == {group_of(key) for key in taken}, "a group is left out"

    @precondition(lambda self: self.claims or self.settling)
    @rule(taken=st.sampled_from([True, True, True, False]))
    def end_of_the_round(self, taken: bool) -> None:
        if not taken:
            for key in self.settling:
                self.running[key] += 1
                self.lanes.resumed(key)
        for key, count in self.claims:
            if taken:
                self.claim(key, count)
            else:
                self.lanes.unclaimed(key)
        self.claims, self.settling = [], []

    @precondition(lambda self: not self.claims and not self.settling)
    @rule()
    def run_out(self) -> None:
        """The rounds that follow one another leave nobody out, however much others have."""
        for _ in range(100):
            claims = self.lanes.take(self.now)
            if not claims:
                break
            for key, count in claims:
                self.claim(key, count)
        assert [key for key in KEYS if self.may_be_taken(key)] == []

    @invariant()
    def limits_hold(self) -> None:
        assert all(0 <= count <= LIMIT for count in self.running.values())

    @invariant()
    def it_is_known_when_to_look_again(self) -> None:
        claiming = {group_of(key) for key, _ in self.claims}
        for key in KEYS:
            most = MOST if len(key) == 3 else LIMIT
            if self.queued[key] and group_of(key) not in claiming and self.running_of(key) < most:
                if self.running[key] >= LIMIT:
                    continue
                next_at = self.lanes.next_at()
                assert self.lanes.holds_back or (next_at is not None and next_at <= self.queued[key][0])

    @invariant()
    def only_what_is_needed_is_kept(self) -> None:
        claiming = {key for key, _ in self.claims}
        for key in KEYS:
            assert (key in self.lanes) == bool(self.queued[key] or self.running[key] or key in claiming)

    def teardown(self) -> None:
        for key, _ in self.claims:
            self.lanes.unclaimed(key)
        self.room = dict.fromkeys(self.room, PLENTY)
        self.tenant_room = dict.fromkeys(self.tenant_room, PLENTY)
        for _ in range(sum(map(len, self.queued.values())) + 400):
            for key, count in self.lanes.take(self.now):
                self.claim(key, count)
            for key in KEYS:
                for _ in range(self.running.pop(key, 0)):
                    self.lanes.ended(key)
            self.now = max(self.now, self.lanes.next_at() or 0.0)
        assert {key: dues for key, dues in self.queued.items() if dues} == {}
        assert (len(self.lanes), self.lanes.next_at(), self.lanes.holds_back) == (0, None, False)


TenantsMachine.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=40)
test_tenants_against_a_model = TenantsMachine.TestCase
