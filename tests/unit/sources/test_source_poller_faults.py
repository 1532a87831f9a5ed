"""The poller beside queues and functions that are not as they should be: no loop without a pause, nothing lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.sources.test_source_poller import NEW, Function, Queue, polled, succeeds
from venturekit.protocol.lineage import advanced, key_of
from venturekit.service.sources.batches import Gathering
from venturekit.service.sources.messages import Item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.sources.poller import Poller

WANTS_JSON = {"Filters": [{"Pattern": '{"body": [{"prefix": "good"}]}'}]}


class Clocked(Queue):
    """Counts how often it was asked until a moment came."""

    async def asked_within(self, seconds: float) -> int:
        before = self.asked
        await asyncio.sleep(seconds)
        return self.asked - before


@pytest.mark.parametrize("window_seconds", [0, 300])
def test_a_queue_that_does_not_wait_is_not_asked_without_a_pause(window_seconds: int) -> None:
    queue = Clocked(visibility_seconds=1000)
    if window_seconds:
        queue.put("first")
    queue.gives_nothing = True

    async def work(poller: Poller, results: list[str]) -> None:
        assert await queue.asked_within(0.4) <= 4

    members = {"BatchSize": 100, "MaximumBatchingWindowInSeconds": window_seconds}
    polled(queue, Function(succeeds), work, **members)


def test_what_is_refused_is_not_received_without_a_pause() -> None:
    """Or its count of receives would bring it to the dead-letter queue within a moment."""

    class Returning(Clocked):
        def release(self, arn: str, receipt_handles: Sequence[str]) -> None:
            super().release(arn, receipt_handles)
            self.put(*receipt_handles)

    queue = Returning()
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.released)
        assert await queue.asked_within(0.4) <= 2

    polled(queue, Function(lambda invocation: invocation.reject("no environment")), work)


def test_what_is_wanted_is_run_even_if_the_rest_cannot_be_deleted() -> None:
    queue, function = Queue(), Function(succeeds)
    queue.failures.append("delete")
    queue.put("bad", "good")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.deleted == ["good"] and "OK" in results)
        assert results == ["PROBLEM: no delete", "OK"]

    polled(queue, function, work, FilterCriteria=WANTS_JSON)


def test_a_message_that_is_none_does_not_end_the_poller() -> None:
    queue, function = Queue(), Function(succeeds)
    queue.visible.append({"MessageId": "x", "ReceiptHandle": "x", "Body": "x", "Attributes": {"AWSTraceHeader": 1}})

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: results)
        assert results[0].startswith("PROBLEM: what answers for sqs gave a message")
        queue.put("good")
        await queue.until(lambda: queue.deleted == ["good"])

    polled(queue, function, work)


def test_a_group_is_not_overtaken_where_one_of_it_is_in_a_loop() -> None:
    trace = NEW
    for _ in range(20):
        trace, _rounds = advanced(trace, key_of(Function.invoked_arn))
    queue, function = Queue(), Function(succeeds)
    for name in ("b0", "a1", "a2", "b1"):
        queue.put(name, group=name[0])
    queue.visible[1]["Attributes"] = {**queue.visible[1]["Attributes"], "AWSTraceHeader": trace.decode()}

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.deleted)
        assert queue.deleted == ["b0", "b1"]

    polled(queue, function, work)
    assert b"a2" not in function.batches[0]


def test_the_rest_of_a_batch_for_which_there_is_no_time_goes_back() -> None:
    queue, function = Queue(visibility_seconds=2), Function(succeeds)
    names = ["a" + "x" * 6_000_000, "b" + "x" * 6_000_000]
    queue.put(*names)

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.released)
        assert (queue.deleted, queue.released) == ([names[0]], [names[1]])

    polled(queue, function, work)


def test_what_was_gathered_goes_back_when_the_service_ends() -> None:
    queue, function = Queue(visibility_seconds=1000), Function(succeeds)
    queue.put("a", "b")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.asked == 2)
        poller.stop()
        assert not poller.busy
        poller.abandon()
        await poller.ended()
        await poller.given_back(5.0)
        assert queue.released == ["a", "b"]

    polled(queue, function, work, BatchSize=100, MaximumBatchingWindowInSeconds=300)
    assert function.batches == []


def test_a_window_ends_before_its_messages_come_back() -> None:
    queue, function = Queue(visibility_seconds=1), Function(succeeds)
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.deleted == ["a"])

    polled(queue, function, work, BatchSize=100, MaximumBatchingWindowInSeconds=300)


def test_a_window_is_shorter_where_messages_come_back_within_it() -> None:
    gathering = Gathering(100, 300)
    gathering.add([Item("a", "r", b"x", "", b"")], 10.0, latest=37.0)
    assert (gathering.is_complete(36.9), gathering.is_complete(37)) == (False, True)
    late = Gathering(100, 300)
    late.add([Item("a", "r", b"x", "", b"")], 10.0, latest=5.0)
    assert late.is_complete(10)


def test_a_queue_that_was_made_anew_is_described_anew() -> None:
    described: list[int] = []

    class Changing(Queue):
        def describe(self, arn: str) -> Any:
            described.append(1)
            return super().describe(arn)

    queue = Changing()
    queue.failures.append("receive")
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.deleted == ["a"])

    polled(queue, Function(succeeds), work)
    assert len(described) == 2
