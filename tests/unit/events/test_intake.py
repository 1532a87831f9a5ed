"""Accepting events: after the commit, in batches, in order, within bounds."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.events.intake import BATCH, BATCH_BYTES, WAITING_LIMIT, WAITING_LIMIT_BYTES, Intake
from venturekit.service.store.errors import StoreBusyError, StoreClosedError, StoreDiskError, StoreFullError
from venturekit.service.store.event_documents import NewEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

STORE_ERRORS = [StoreBusyError, StoreDiskError, StoreFullError, StoreClosedError]


def event(number: int, payload: bytes = b"{}") -> NewEvent:
    return NewEvent("000000000000", "f", "", f"id-{number}", payload, "", 1.0, 2.0)


class ScriptedStore:
    """Takes batches; the test says when each is committed, or why not."""

    def __init__(self) -> None:
        self.batches: list[list[NewEvent]] = []
        self.pending: list[asyncio.Future[None]] = []
        self.refuses_with: Exception | None = None

    def put(self, events: Sequence[NewEvent]) -> asyncio.Future[None]:
        if self.refuses_with is not None:
            raise self.refuses_with
        self.batches.append(list(events))
        self.pending.append(asyncio.get_running_loop().create_future())
        return self.pending[-1]

    def numbers(self) -> list[list[int]]:
        return [[int(item.request_id[3:]) for item in batch] for batch in self.batches]


class Lab:
    """An intake with what it reports, in the order in which it does."""

    def __init__(self, *, limit: int = 1_000_000, queued: int = 0) -> None:
        self.store = ScriptedStore()
        self.queued = queued
        self.told: list[tuple[str, Any]] = []
        self.intake = Intake(
            self.store,  # type: ignore[arg-type]
            loop=asyncio.get_running_loop(),
            limit=limit,
            queued=lambda: self.queued,
            accepted=self.accepted,
        )

    def accepted(self, events: Sequence[NewEvent]) -> None:
        self.queued += len(events)
        self.told += [("accepted", item.request_id) for item in events]

    def put(self, number: int, payload: bytes = b"{}", then: Callable[[], None] | None = None) -> None:
        def done(error: ApiError | None) -> None:
            self.told.append(("202" if error is None else error, f"id-{number}"))
            if then is not None:
                then()

        self.intake.put(event(number, payload), done)

    async def turn(self) -> None:
        """Whatever is scheduled runs, and what that schedules."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def commit(self, error: Exception | None = None) -> None:
        future = self.store.pending.pop(0)
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
        await self.turn()


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario())


def test_nobody_is_told_before_the_commit_and_the_dispatcher_is_told_first() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.put(1)
        lab.put(2)
        await lab.turn()
        assert (lab.store.numbers(), lab.told, lab.intake.is_idle) == ([[1, 2]], [], False)
        await lab.commit()
        assert lab.told == [("accepted", "id-1"), ("accepted", "id-2"), ("202", "id-1"), ("202", "id-2")]
        assert lab.intake.is_idle

    run(scenario)


def test_while_one_batch_is_written_the_next_one_gathers() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.put(1)
        await lab.turn()
        for number in range(2, 100):
            lab.put(number)
            await asyncio.sleep(0)
        assert lab.store.numbers() == [[1]]
        await lab.commit()
        assert lab.store.numbers() == [[1], list(range(2, 100))]
        assert not lab.intake.is_idle
        await lab.commit()
        assert [number for what, number in lab.told if what == "202"] == [f"id-{number}" for number in range(1, 100)]
        assert lab.intake.is_idle

    run(scenario)


def test_a_batch_has_bounds_in_number_and_bytes() -> None:
    async def scenario() -> None:
        lab = Lab()
        for number in range(BATCH + 1):
            lab.put(number)
        await lab.turn()
        assert [len(batch) for batch in lab.store.batches] == [BATCH]
        large = bytes(BATCH_BYTES // 2)
        for number in range(4):
            lab.put(BATCH + 1 + number, large)
        await lab.commit()
        assert [len(batch) for batch in lab.store.batches] == [BATCH, 3]
        await lab.commit()
        assert [len(batch) for batch in lab.store.batches] == [BATCH, 3, 2]
        await lab.commit()
        assert list(chain.from_iterable(lab.store.numbers())) == list(range(BATCH + 5))
        assert lab.intake.is_idle

    run(scenario)


@given(st.lists(st.lists(st.integers(0, 3 * 1024 * 1024), max_size=40), max_size=12))
def test_every_event_is_written_once_and_in_order(turns: list[list[int]]) -> None:
    async def scenario() -> None:
        lab, number = Lab(), 0
        for sizes in turns:
            for size in sizes:
                # One object of zeros in several sizes: what counts here is how long it says it is.
                lab.put(number, Zeros(size))  # type: ignore[arg-type]
                number += 1
            await lab.turn()
            if lab.store.pending:
                await lab.commit()
        while lab.store.pending:
            assert len(lab.store.pending) == 1, "one batch at a time"
            await lab.commit()
        assert list(chain.from_iterable(lab.store.numbers())) == list(range(number))
        assert [told for what, told in lab.told if what == "202"] == [f"id-{each}" for each in range(number)]
        for batch in lab.store.batches:
            assert 0 < len(batch) <= BATCH
            assert sum(len(item.payload) for item in batch[:-1]) < BATCH_BYTES
        assert lab.intake.is_idle

    run(scenario)


class Zeros:
    """As long as a payload of this size, without being there."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size


@pytest.mark.parametrize("kind", STORE_ERRORS)
@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_not_stored_is_a_500_and_the_next_ones_are_tried_again(kind: type[Exception], at_once: bool) -> None:
    async def scenario() -> None:
        lab = Lab()
        error = kind("as told")
        if at_once:
            lab.store.refuses_with = error
        for number in range(3):
            lab.put(number)
        await lab.turn()
        if not at_once:
            await lab.commit(error)
        assert [name for _, name in lab.told] == ["id-0", "id-1", "id-2"]
        for answer, _ in lab.told:
            assert isinstance(answer, ApiError)
            assert (answer.status, answer.code) == (500, "ServiceException")
            assert "not accepted" in (answer.message or "")
            assert "as told" in (answer.message or "")
        assert lab.intake.is_idle
        lab.told.clear()
        lab.store.refuses_with = None
        lab.put(3)
        await lab.turn()
        await lab.commit()
        assert lab.told == [("accepted", "id-3"), ("202", "id-3")]

    run(scenario)


def test_of_a_failed_batch_only_its_own_events_are_refused() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.put(1)
        await lab.turn()
        lab.put(2)
        await lab.commit(StoreFullError("the disk is full"))
        await lab.commit()
        assert isinstance(lab.told[0][0], ApiError)
        assert lab.told[1:] == [("accepted", "id-2"), ("202", "id-2")]

    run(scenario)


def test_a_long_line_in_front_of_a_store_that_refuses_is_answered_whole() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.store.refuses_with = StoreBusyError("10000 changes are waiting already")
        for number in range(WAITING_LIMIT):
            lab.put(number)
        while not lab.intake.is_idle:
            await asyncio.sleep(0)
        assert [name for _, name in lab.told] == [f"id-{number}" for number in range(WAITING_LIMIT)]
        assert lab.intake.is_idle

    run(scenario)


def refusal(lab: Lab, payload: bytes = b"{}") -> ApiError:
    with pytest.raises(ApiError) as caught:
        lab.put(999_999, payload)
    assert (caught.value.status, caught.value.code) == (429, "TooManyRequestsException")
    assert caught.value.extra == {"Reason": "CallerRateLimitExceeded"}
    assert caught.value.headers == {"Retry-After": "1"}
    return caught.value


def test_who_is_refused_and_comes_again_at_once_is_refused_again() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.store.refuses_with = StoreBusyError("10000 changes are waiting already")

        def again(number: int) -> Callable[[], None]:
            return lambda: lab.put(number + 1, then=again(number + 1)) if number < 3000 else None

        lab.put(0, then=again(0))
        while not lab.intake.is_idle:
            await asyncio.sleep(0)
        assert len(lab.told) == 3001
        assert lab.store.batches == []

    run(scenario)


def test_a_full_queue_is_a_429_that_says_which_limit_it_is() -> None:
    async def scenario() -> None:
        lab = Lab(limit=5, queued=2)
        for number in range(3):
            lab.put(number)
        assert "5 events are queued (--async-queue-limit)" in (refusal(lab).message or "")
        await lab.turn()
        refusal(lab)
        await lab.commit()
        refusal(lab)
        # One has ended.
        lab.queued -= 1
        lab.put(3)
        refusal(lab)
        await lab.turn()
        # What was not stored takes no place.
        await lab.commit(StoreFullError("the disk is full"))
        lab.put(4)

    run(scenario)


def test_more_than_can_be_written_is_a_429() -> None:
    async def scenario() -> None:
        lab = Lab()
        for number in range(WAITING_LIMIT):
            lab.put(number)
        assert "more events arrive than can be written" in (refusal(lab).message or "")
        await lab.turn()
        refusal(lab)
        await lab.commit()
        lab.put(1)

    run(scenario)


def test_waiting_payloads_have_a_bound_in_bytes() -> None:
    async def scenario() -> None:
        lab = Lab()
        megabyte = bytes(1024 * 1024)
        for number in range(WAITING_LIMIT_BYTES // len(megabyte)):
            lab.put(number, megabyte)
        refusal(lab, b"{}")
        await lab.turn()
        lab.put(1000, megabyte)
        for _ in range(BATCH_BYTES // len(megabyte) - 1):
            lab.put(1001, megabyte)
        refusal(lab, megabyte)

    run(scenario)


def test_who_is_answered_may_put_the_next_event_at_once() -> None:
    async def scenario() -> None:
        lab = Lab()

        def again(number: int) -> Callable[[], None]:
            return lambda: lab.put(number + 100, then=again(number + 100))

        for number in range(3):
            lab.put(number, then=again(number))
        await lab.turn()
        for _ in range(4):
            assert len(lab.store.pending) == 1, "one batch at a time"
            assert not lab.intake.is_idle
            await lab.commit()
        assert lab.store.numbers() == [[each * 100 + number for number in range(3)] for each in range(5)]

    run(scenario)
