"""Lanes take turns: fair, within their limits, and nothing is lost."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from venturekit.service.events.lanes import SHARE, TURN, Lane, Lanes

A, B, C = ("1", "a"), ("1", "b"), ("2", "a")
LIMIT = 20
PLENTY = 10_000


def unlimited(_: Lane) -> int:
    return PLENTY


def lanes_with(limit: int = LIMIT) -> Lanes:
    return Lanes(limit, unlimited)


def test_nothing_is_taken_before_it_is_due() -> None:
    lanes = lanes_with()
    assert (lanes.take(0.0), lanes.next_at(), len(lanes)) == ([], None, 0)
    lanes.due(A, 5.0)
    assert (lanes.take(4.9), lanes.next_at()) == ([], 5.0)
    lanes.due(A, 9.0)
    assert lanes.next_at() == 5.0
    lanes.due(A, 3.0)
    assert lanes.next_at() == 3.0
    assert lanes.take(3.0) == [(A, SHARE)]


def test_a_lane_that_is_being_claimed_is_not_taken_again() -> None:
    lanes = lanes_with()
    lanes.due(A, 1.0)
    assert lanes.take(1.0) == [(A, SHARE)]
    lanes.due(A, 0.5)
    assert lanes.take(1.0) == []
    lanes.claimed(A, 1, 1.0)
    assert lanes.take(1.0) == [(A, SHARE)]


def test_a_claim_that_failed_leaves_the_lane_where_it_was() -> None:
    lanes = lanes_with()
    lanes.due(A, 1.0)
    lanes.take(1.0)
    lanes.unclaimed(A)
    assert lanes.take(1.0) == [(A, SHARE)]


def test_the_limit_of_a_lane_holds_and_an_end_makes_room() -> None:
    lanes = lanes_with(limit=3)
    lanes.due(A, 1.0)
    assert lanes.take(1.0) == [(A, 3)]
    lanes.claimed(A, 3, 1.0)
    assert (lanes.take(2.0), lanes.holds_back) == ([], False)
    lanes.ended(A)
    assert lanes.take(2.0) == [(A, 1)]


def test_a_lane_without_room_is_held_back_and_looked_at_again() -> None:
    room = {A: 0, B: 2}
    lanes = Lanes(LIMIT, lambda lane: room[lane.key])
    lanes.due(A, 1.0)
    lanes.due(B, 1.0)
    assert lanes.take(1.0) == [(B, 2)]
    lanes.claimed(B, 1, None)
    assert lanes.holds_back
    assert lanes.take(1.0) == []
    room[A] = 1
    assert lanes.take(1.0) == [(A, 1)]
    assert not lanes.holds_back


def test_a_paused_lane_rests_until_its_time() -> None:
    lanes = lanes_with()
    lanes.due(A, 1.0)
    lanes.take(1.0)
    lanes.claimed(A, 1, 1.0)
    lanes.pause(A, 2.0)
    lanes.ended(A)
    assert lanes.take(1.9) == []
    assert lanes.next_at() == 2.0
    lanes.due(A, 1.5)
    assert lanes.take(1.9) == []
    assert lanes.take(2.0) == [(A, SHARE)]


def test_a_flood_of_lanes_delays_a_new_one_by_one_turn_of_each() -> None:
    floods = [("1", f"flood-{number}") for number in range(40)]
    lanes = lanes_with(limit=PLENTY)
    for flood in floods:
        lanes.due(flood, 0.0)
    new = ("1", "new")
    turns: Counter[tuple[str, str]] = Counter()
    for turn in range(100):
        taken = lanes.take(1.0 + turn)
        assert sum(count for _, count in taken) <= TURN
        if turn == 5:
            lanes.due(new, 1.0 + turn)
        for key, _ in taken:
            lanes.claimed(key, SHARE, None if key == new else 0.0)
        keys = {key for key, _ in taken}
        if new in keys:
            break
        if turn > 5:
            turns.update(keys)
    assert turn < 5 + 1 + len(floods) * SHARE / TURN + 1
    assert set(turns.values()) == {1}


def test_lanes_with_nothing_to_do_are_forgotten() -> None:
    lanes = lanes_with()
    for number in range(1000):
        key = ("1", f"f{number}")
        lanes.due(key, 1.0)
        lanes.take(1.0)
        lanes.claimed(key, 1, None)
        assert len(lanes) == 1
        lanes.ended(key)
        assert len(lanes) == 0
        assert key not in lanes
    assert (lanes.take(10.0), lanes.next_at(), lanes.holds_back) == ([], None, False)


def test_a_retry_far_away_costs_nothing_while_others_come_and_go() -> None:
    lanes = lanes_with()
    far = 21_600.0
    lanes.due(A, far)
    for number in range(10_000):
        now = number / 100
        lanes.due(A, now)
        assert lanes.take(now) == [(A, SHARE)]
        lanes.claimed(A, 1, far)
        lanes.ended(A)
    assert len(lanes._later) < 200
    assert lanes.next_at() == far
    assert lanes.take(far) == [(A, SHARE)]


@pytest.mark.parametrize("first", [0.0, 1e-9, 1.8e9])
def test_any_time_is_a_time(first: float) -> None:
    lanes = lanes_with()
    for number in range(200):
        # Enough for what is out of date to be tidied away.
        lanes.due(A, first + 200 - number)
    lanes.due(A, first)
    assert lanes.next_at() == first
    assert lanes.take(first) == [(A, SHARE)]
    lanes.claimed(A, 1, first)
    assert lanes.take(first) == [(A, SHARE)]


KEYS = [("1", f"f{number}") for number in range(14)]
keys = st.sampled_from(KEYS)


class LanesMachine(RuleBasedStateMachine):
    """Compares with lists of due times. What is claimed comes from them, as it comes from the database."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.room: dict[tuple[str, str], int] = dict.fromkeys(KEYS, PLENTY)
        self.lanes = Lanes(LIMIT, lambda lane: self.room[lane.key])
        self.queued: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.running: Counter[tuple[str, str]] = Counter()
        self.paused_until: dict[tuple[str, str], float] = {}
        self.claims: list[tuple[tuple[str, str], int]] = []
        # What has ended and is being settled in the same round.
        self.settling: list[tuple[str, str]] = []
        # How often each other lane has had its turn while this one could have had one.
        self.passed_over: dict[tuple[str, str], Counter[tuple[str, str]]] = {}

    def may_be_taken(self, key: tuple[str, str]) -> bool:
        queued = self.queued[key]
        return (
            bool(queued)
            and queued[0] <= self.now
            and self.paused_until.get(key, 0.0) <= self.now
            and self.room[key] > 0
            and self.running[key] < LIMIT
        )

    def accept_one(self, key: tuple[str, str], at: float) -> None:
        bisect.insort(self.queued[key], at)
        self.lanes.due(key, at)

    def claim(self, key: tuple[str, str], count: int) -> None:
        """What the database would answer: those that are due, and when the next one is."""
        queued = self.queued[key]
        found = min(count, bisect.bisect_right(queued, self.now))
        del queued[:found]
        self.running[key] += found
        self.lanes.claimed(key, found, queued[0] if queued else None)

    def forget_idle(self, key: tuple[str, str]) -> None:
        """Of a function that nothing is to be run of nothing is kept, not even that it was to wait."""
        if not self.running[key] and not self.queued[key]:
            self.paused_until.pop(key, None)

    def watch_fairness(self) -> None:
        able = {key for key in KEYS if self.may_be_taken(key)}
        self.passed_over = {key: self.passed_over.get(key, Counter()) for key in able}

    @rule(key=keys, count=st.integers(1, 40), delay=st.sampled_from([0.0, 0.0, 0.0, 1.0, 60.0, 300.0]))
    def accept(self, key: tuple[str, str], count: int, delay: float) -> None:
        for _ in range(count):
            self.accept_one(key, self.now + delay)
        self.watch_fairness()

    @rule(everywhere=st.integers(1, 40))
    def flood(self, everywhere: int) -> None:
        for key in KEYS:
            for _ in range(everywhere):
                self.accept_one(key, self.now)
        self.watch_fairness()

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 60.0, 300.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.watch_fairness()

    @rule(key=keys, room=st.sampled_from([0, 1, 5, PLENTY]))
    def change_room(self, key: tuple[str, str], room: int) -> None:
        self.room[key] = room
        self.watch_fairness()

    @rule(key=keys, seconds=st.sampled_from([0.0, 1.0, 5.0]))
    def pause(self, key: tuple[str, str], seconds: float) -> None:
        # As a throttle does: of a lane that has something running.
        if self.running[key]:
            self.paused_until[key] = self.now + seconds
            self.lanes.pause(key, self.now + seconds)
        self.watch_fairness()

    @precondition(lambda self: not self.claims and not self.settling)
    @rule(endings=st.lists(keys, max_size=12))
    def take(self, endings: list[tuple[str, str]]) -> None:
        for key in endings:
            if self.running[key]:
                self.running[key] -= 1
                self.settling.append(key)
                self.lanes.ended(key)
                self.forget_idle(key)
        self.watch_fairness()
        before = {key: self.may_be_taken(key) for key in KEYS}
        self.claims = self.lanes.take(self.now)
        taken = [key for key, _ in self.claims]
        assert len(set(taken)) == len(taken)
        assert sum(count for _, count in self.claims) <= TURN
        for key, count in self.claims:
            assert before[key], f"{key} has no room, or nothing is due"
            assert 0 < count <= min(SHARE, LIMIT - self.running[key], self.room[key])
        for key, passed in self.passed_over.items():
            if key not in taken:
                passed.update(taken)
                assert max(passed.values(), default=0) <= 1, f"{key} waits while others have their second turn"
        for key in taken:
            self.passed_over.pop(key, None)
        if sum(count for _, count in self.claims) < TURN:
            assert {key for key in KEYS if before[key]} == set(taken), "a turn that is not full leaves nobody out"

    @precondition(lambda self: self.claims or self.settling)
    @rule(taken=st.sampled_from([True, True, True, False]))
    def end_of_the_round(self, taken: bool) -> None:
        """The store takes it, or not."""
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
        self.watch_fairness()

    @rule(key=keys, count=st.integers(1, LIMIT), again_after=st.sampled_from([None, None, 0.0, 1.0, 60.0]))
    def end(self, key: tuple[str, str], count: int, again_after: float | None) -> None:
        for _ in range(min(count, self.running[key])):
            self.running[key] -= 1
            self.lanes.ended(key)
            self.forget_idle(key)
            if again_after is not None:
                self.accept_one(key, self.now + again_after)
        self.watch_fairness()

    @precondition(lambda self: not self.claims and not self.settling)
    @rule()
    def run_out(self) -> None:
        """Whatever happened before: what may be taken now is taken by the rounds that follow one another."""
        while claims := self.lanes.take(self.now):
            for key, count in claims:
                self.claim(key, count)
        self.passed_over = {}
        assert [key for key in KEYS if self.may_be_taken(key)] == []

    @invariant()
    def limits_hold(self) -> None:
        assert all(0 <= count <= LIMIT for count in self.running.values())

    @invariant()
    def it_is_known_when_to_look_again(self) -> None:
        """No lane waits for nothing: there is a time, or a second look, or something that runs or is being claimed."""
        claiming = {key for key, _ in self.claims}
        for key in KEYS:
            if self.queued[key] and key not in claiming and self.running[key] < LIMIT:
                at = max(self.queued[key][0], self.paused_until.get(key, 0.0))
                next_at = self.lanes.next_at()
                assert self.lanes.is_ready or self.lanes.holds_back or (next_at is not None and next_at <= at)

    @invariant()
    def only_lanes_with_something_to_do_are_kept(self) -> None:
        claiming = {key for key, _ in self.claims}
        assert len(self.lanes) == len({key for key in KEYS if self.queued[key] or self.running[key]} | claiming)
        assert len(self.lanes._later) <= 2 * len(self.lanes) + 65

    def teardown(self) -> None:
        """Everything that was accepted is run in the end, and nothing is left."""
        for key, _ in self.claims:
            self.lanes.unclaimed(key)
        self.room = dict.fromkeys(KEYS, PLENTY)
        left = sum(map(len, self.queued.values()))
        for _ in range(left + 400):
            for key, count in self.lanes.take(self.now):
                self.claim(key, count)
            for key in KEYS:
                for _ in range(self.running.pop(key, 0)):
                    self.lanes.ended(key)
            self.now = max(self.now, self.lanes.next_at() or 0.0)
        assert {key: dues for key, dues in self.queued.items() if dues} == {}
        assert (len(self.lanes), self.lanes.next_at(), self.lanes.holds_back) == (0, None, False)


LanesMachine.TestCase.settings = settings(deadline=None, max_examples=120, stateful_step_count=40)
test_lanes_against_a_model = LanesMachine.TestCase
