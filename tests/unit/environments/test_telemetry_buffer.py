"""Batches of telemetry: when they are due, how large they get, and that everything is sent or counted."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from venturekit.service.environments.telemetry.buffer import ROOM_BATCHES, Batch, Buffer


def buffer(max_items: int = 3, max_bytes: int = 100, timeout_ms: int = 1000) -> Buffer:
    return Buffer(max_items=max_items, max_bytes=max_bytes, timeout_ms=timeout_ms)


def test_a_batch_is_due_after_its_time_by_its_size_or_its_number() -> None:
    waiting = buffer()
    assert (waiting.due_at, waiting.take(0.0)) == (None, None)
    waiting.add(b"a", 5.0)
    assert waiting.due_at == 6.0
    waiting.add(b"b", 5.5)
    assert (waiting.due_at, waiting.take(5.9)) == (6.0, None)
    waiting.add(b"c", 5.9)
    assert waiting.due_at == 5.0
    waiting.add(b"d", 5.9)
    assert waiting.take(5.9) == Batch((b"a", b"b", b"c"))
    assert waiting.due_at == 6.9
    waiting.add(b"x" * 99, 6.0)
    assert waiting.take(6.0) == Batch((b"d", b"x" * 99))


def test_a_record_larger_than_a_batch_goes_by_itself() -> None:
    waiting = buffer()
    waiting.add(b"a", 0.0)
    assert waiting.add(b"x" * 300, 0.0)
    assert waiting.take(0.0) == Batch((b"a",))
    assert waiting.take(0.0) == Batch((b"x" * 300,))
    assert not waiting.add(b"x" * 401, 0.0)


def test_what_finds_no_room_or_no_receiver_is_counted() -> None:
    waiting = buffer(max_items=1)
    assert [waiting.add(b"ab", 0.0) for _ in range(ROOM_BATCHES + 2)] == [True] * ROOM_BATCHES + [False] * 2
    batch = waiting.take(0.0)
    assert batch == Batch((b"ab",), dropped_records=2, dropped_bytes=4)
    assert batch is not None
    waiting.lost(batch)
    assert waiting.take(0.0) == Batch((b"ab",), dropped_records=3, dropped_bytes=6)


def test_in_a_hurry_everything_is_due() -> None:
    waiting = buffer()
    waiting.add(b"a", 4.0)
    waiting.hurry()
    assert waiting.take(4.0) == Batch((b"a",))


class Receiver(RuleBasedStateMachine):
    """Any records, with a receiver that takes batches or does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = buffer()
        self.now = 0.0
        self.given = self.given_bytes = 0
        self.delivered: list[bytes] = []
        self.told = (0, 0)

    @rule(size=st.integers(1, 450), count=st.integers(1, 5))
    def write(self, size: int, count: int) -> None:
        for _ in range(count):
            self.given += 1
            self.given_bytes += size
            self.waiting.add(b"x" * size, self.now)

    @rule(seconds=st.floats(0.0, 2.0), works=st.booleans())
    def send(self, seconds: float, works: bool) -> None:
        self.now += seconds
        batch = self.waiting.take(self.now)
        if batch is None:
            assert self.waiting.due_at is None or self.waiting.due_at > self.now
        elif works:
            assert len(batch.records) <= 3
            assert len(batch.records) == 1 or sum(map(len, batch.records)) <= 100
            self.delivered += batch.records
            self.told = (self.told[0] + batch.dropped_records, self.told[1] + batch.dropped_bytes)
        else:
            self.waiting.lost(batch)

    @invariant()
    def everything_is_delivered_told_or_here(self) -> None:
        here = len(self.waiting._records)
        assert here <= ROOM_BATCHES * 3
        assert self.waiting._size <= ROOM_BATCHES * 100
        assert len(self.delivered) + self.told[0] + self.waiting._dropped_records + here == self.given
        size = sum(map(len, self.delivered)) + self.told[1] + self.waiting._dropped_bytes + self.waiting._size
        assert size == self.given_bytes


TestReceiver = Receiver.TestCase
