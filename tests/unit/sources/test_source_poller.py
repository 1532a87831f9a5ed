"""The poller with a queue and a function in memory: what is deleted, what is left, and what goes back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until
from venturekit.service.api.errors import ApiError
from venturekit.service.sources.batches import FIRST_WORKERS
from venturekit.service.sources.invoking import Invoker
from venturekit.service.sources.mapping import EventSourceMapping
from venturekit.service.sources.poller import Poller, Surroundings
from venturekit.service.sources.ports import QueueDescription, QueueError
from venturekit.service.sources.threads import CallThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from venturekit.service.sources.invoking import BatchInvocation, Outcome
    from venturekit.service.sources.ports import FunctionView

QUEUE = "arn:aws:sqs:us-east-1:123456789012:q"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"
NEW = b"Root=1-65000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"
LONG_SECONDS = 10.0


class Queue:
    """A queue in memory; receipt handles are bodies."""

    def __init__(self, visibility_seconds: int = 30) -> None:
        self.visibility_seconds = visibility_seconds
        self.visible: deque[dict[str, Any]] = deque()
        self.changed = threading.Condition()
        self.deleted: list[str] = []
        self.released: list[str] = []
        self.asked = 0
        self.failures: deque[str] = deque()
        self.gives_nothing = False

    def put(self, *bodies: str, group: str = "") -> None:
        system = {"SequenceNumber": "1", "MessageGroupId": group} if group else {}
        with self.changed:
            for body in bodies:
                self.visible.append({"MessageId": body, "ReceiptHandle": body, "Body": body, "Attributes": system})
            self.changed.notify_all()

    def describe(self, arn: str) -> QueueDescription:
        return QueueDescription(self.visibility_seconds)

    def receive(self, arn: str, count: int, wait_seconds: int) -> Sequence[dict[str, Any]]:
        with self.changed:
            self.asked += 1
            self.changed.notify_all()
            self._fail("receive")
            self.changed.wait_for(lambda: self.visible or self.gives_nothing, wait_seconds)
            return [self.visible.popleft() for _ in range(min(count, len(self.visible)))]

    def delete(self, arn: str, receipt_handles: Sequence[str]) -> None:
        with self.changed:
            self._fail("delete")
            self.deleted += receipt_handles
            self.changed.notify_all()

    def release(self, arn: str, receipt_handles: Sequence[str]) -> None:
        with self.changed:
            self.released += receipt_handles
            self.changed.notify_all()

    def _fail(self, operation: str) -> None:
        if self.failures and self.failures[0] == operation:
            self.failures.popleft()
            raise QueueError(f"no {operation}")

    async def until(self, condition: Callable[[], object]) -> None:
        def wait() -> None:
            with self.changed:
                assert self.changed.wait_for(condition, LONG_SECONDS)

        await asyncio.to_thread(wait)


class Function:
    """A function in memory, which is its own target, targets, pool and concurrency."""

    invoked_arn = FUNCTION
    timeout_seconds = 3
    recursion_allowed = isolates_tenants = False
    exceeded = "ReservedFunctionConcurrentInvocationLimitExceeded"

    def __init__(self, answer: Callable[[BatchInvocation], None]) -> None:
        self.answer = answer
        self.room = 1000
        self.running = 0
        self.most = 0
        self.batches: list[bytes] = []
        self.missing = ""

    def resolve(self, account_id: str, function_name: str, qualifier: str) -> Function:
        if self.missing:
            raise ApiError("ResourceConflictException", self.missing, status=409)
        return self

    def take(self) -> bool:
        if self.room <= 0:
            return False
        self.running += 1
        self.most = max(self.most, self.running)
        return True

    def release(self) -> None:
        self.running -= 1

    @property
    def pool(self) -> Function:
        return self

    @property
    def concurrency(self) -> Any:
        return self._Counted(self)

    def submit(self, invocation: BatchInvocation) -> None:
        self.batches.append(bytes(invocation.payload))
        self.answer(invocation)

    class _Counted:
        """Also called, with account and name, as targets do."""

        def __init__(self, function: Function) -> None:
            self._function = function

        def __call__(self, account_id: str, function_name: str) -> Function:
            return self._function

        def __getattr__(self, name: str) -> Any:
            return getattr(self._function, name)


class Mapped:
    """A function as the poller of a mapping sees it that is in the same process."""

    def __init__(self, function: Function) -> None:
        self.invoker = Invoker(function, lambda: "id")

    async def look(self, *, anew: bool = False) -> FunctionView:
        return self.invoker.look(mapping())

    async def invoke(self, payload: bytes, trace: bytes, *, answered: bool) -> Outcome:
        ended: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def end(outcome: Outcome) -> None:
            if not ended.done():
                ended.set_result(outcome)

        self.invoker.begin(mapping(), payload, trace, end)
        return await ended


def succeeds(invocation: BatchInvocation) -> None:
    invocation.settle(b"null", b"", b"")


def mapping(**members: Any) -> EventSourceMapping:
    given = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [], **members}
    return EventSourceMapping("123456789012", "u", 1, QUEUE, "f", "", True, given, {}, 0.0, "")


def polled(
    queue: Queue, function: Function, work: Callable[[Poller, list[str]], Awaitable[None]], **members: Any
) -> None:
    """Run ``work`` beside a poller, which is given up afterwards."""

    async def run() -> None:
        results: list[str] = []
        unexpected: list[BaseException] = []

        def told(result: str) -> None:
            with queue.changed:
                results.append(result)
                queue.changed.notify_all()

        around = Surroundings(
            queues=queue,
            receiving=CallThreads(8, "receive"),
            settling=CallThreads(8, "settle"),
            new_trace=lambda: NEW,
            monotonic=time.monotonic,
            report=unexpected.append,
        )
        poller = Poller(mapping(**members), Mapped(function), around, told)
        poller.start()
        try:
            async with asyncio.timeout(LONG_SECONDS):
                await work(poller, results)
        finally:
            poller.abandon()
            await poller.ended()
            queue.put(*["end"] * 8)
        assert unexpected == []
        assert function.running == 0

    asyncio.run(run())


def test_what_was_processed_is_deleted() -> None:
    queue, function = Queue(), Function(succeeds)
    queue.put(*[f"m{number}" for number in range(25)])

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(queue.deleted) == 25 and len(results) == 3)
        assert set(results) == {"OK"}

    polled(queue, function, work)
    assert len(function.batches) == 3


def test_what_failed_is_neither_deleted_nor_released() -> None:
    queue = Queue()

    def fails(invocation: BatchInvocation) -> None:
        invocation.settle(b"{}", b"Unhandled", b"")

    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: results)
        assert results == ["PROBLEM: Function call failed"]
        assert (queue.deleted, queue.released) == ([], [])

    polled(queue, Function(fails), work)


def test_what_was_not_run_goes_back_at_once() -> None:
    queue = Queue()
    queue.put("a", "b")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.released == ["a", "b"] and results)
        assert results == ["PROBLEM: no environment"]

    polled(queue, Function(lambda invocation: invocation.reject("no environment")), work)
    assert queue.deleted == []


def test_what_comes_after_the_stop_goes_back() -> None:
    queue, function = Queue(), Function(succeeds)

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.asked == 1)
        poller.stop()
        queue.put("late")
        await poller.ended()
        await queue.until(lambda: queue.released == ["late"])

    polled(queue, function, work)
    assert function.batches == []


def test_what_is_given_up_is_not_deleted() -> None:
    """As at the end of the service: the outcome that comes later is nobody's."""
    queue, held = Queue(), list[Any]()
    queue.put("a")
    function = Function(held.append)

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: bool(held))
        assert poller.busy
        poller.abandon()
        await poller.ended()
        held[0].settle(b"null", b"", b"")
        assert not poller.busy

    polled(queue, function, work)
    assert queue.deleted == []


def test_a_queue_that_does_not_answer_is_asked_again() -> None:
    queue, function = Queue(), Function(succeeds)
    queue.failures.extend(["receive", "delete"])
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.deleted == ["a"] and results[-1] == "OK")
        assert results == ["PROBLEM: no receive", "PROBLEM: no delete", "OK"]

    polled(queue, function, work)
    assert len(function.batches) == 1


def test_no_more_batches_at_once_than_are_allowed() -> None:
    queue, function = Queue(), Function(succeeds)

    def later(invocation: BatchInvocation) -> None:
        asyncio.get_running_loop().call_later(0.005, succeeds, invocation)

    function.answer = later
    queue.put(*[f"m{number}" for number in range(40)])

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(queue.deleted) == 40)

        poller.mapping = mapping(BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
        queue.put("one", "two", "three", "four", "five", "six")
        await queue.until(lambda: len(queue.deleted) == 46)
        assert poller.workers <= 2

    polled(queue, function, work, BatchSize=1, ScalingConfig={"MaximumConcurrency": 3})
    assert 2 <= function.most <= 3


def test_one_always_goes_on_looking() -> None:
    """Also when all find nothing at the same moment."""
    queue, held = Queue(), list[Any]()

    def hold(invocation: BatchInvocation) -> None:
        with queue.changed:
            held.append(invocation)
            queue.changed.notify_all()

    function = Function(hold)
    queue.put("1", "2", "3", "4", "5")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(held) == 5)
        for invocation in held:
            succeeds(invocation)
        await queue.until(lambda: queue.asked == 10)
        with queue.changed:
            queue.gives_nothing = True
            queue.changed.notify_all()
        # The loop hears of all of them in one turn.
        until(lambda: not poller._around.receiving._pending, "all requests are answered")
        await asyncio.sleep(0)
        queue.gives_nothing = False
        function.answer = succeeds
        queue.put("more")
        await queue.until(lambda: "more" in queue.deleted)

    polled(queue, function, work, BatchSize=1, ScalingConfig={"MaximumConcurrency": 5})


def test_a_throttled_function_is_not_received_for() -> None:
    queue, function = Queue(), Function(succeeds)
    function.room = 0
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await asyncio.sleep(0)
        assert queue.asked == 0
        function.room = 1
        await queue.until(lambda: queue.deleted == ["a"])

    polled(queue, function, work)


def test_a_function_that_cannot_run_yet() -> None:
    queue, function = Queue(), Function(succeeds)
    function.missing = "it is Pending"
    queue.put("a")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: results)
        # Each time that a message is received brings it nearer to the dead-letter queue.
        assert queue.asked == 0
        function.missing = ""
        await queue.until(lambda: queue.deleted == ["a"])
        assert results[0] == "PROBLEM: ResourceConflictException: it is Pending"

    polled(queue, function, work)


def test_a_function_that_cannot_run_any_more() -> None:
    queue, function = Queue(), Function(succeeds)

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: queue.asked == 1)
        function.missing = "it is Pending"
        queue.put("a")
        await queue.until(lambda: results)
        assert results[0] == "PROBLEM: ResourceConflictException: it is Pending"
        function.missing = ""
        await queue.until(lambda: queue.deleted == ["a"])

    polled(queue, function, work)


def test_large_messages_go_in_several_events_and_a_group_is_not_overtaken() -> None:
    """Of a FIFO queue: what follows a failure in its group waits until that is visible again."""
    queue, function = Queue(), Function(succeeds)
    large = "x" * 3_500_000

    def answer(invocation: BatchInvocation) -> None:
        invocation.settle(b"{}", b"Unhandled" if b'"body":"a' in invocation.payload else b"", b"")

    function.answer = answer
    for name in ("a1", "b1", "a2", "b2"):
        queue.put(name + large, group=name[0])

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(queue.deleted) == 2)

    polled(queue, function, work)
    assert [handle[:2] for handle in queue.deleted] == ["b1", "b2"]
    assert [batch[batch.index(b'"body":"') + 8 :][:2] for batch in function.batches] == [b"a1", b"b1", b"b2"]


def test_there_is_no_time_for_the_rest_of_a_batch() -> None:
    queue, function = Queue(visibility_seconds=1), Function(succeeds)
    for name in ("a", "b"):
        queue.put(name + "x" * 6_000_000)

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(queue.deleted) == 1 and len(results) == 2)
        assert results[-1].startswith("PROBLEM: there was no time left")

    polled(queue, function, work)


@pytest.mark.parametrize("limit", [1, 3])
def test_threads_are_bounded_and_serve_all(limit: int) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def call(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1
        if number == 5:
            raise QueueError("five")
        return number

    async def run() -> list[Any]:
        threads = CallThreads(limit, "test")
        calls = [threads.run(lambda number=number: call(number)) for number in range(12)]  # type: ignore[misc]
        assert threads.is_crowded
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert await threads.run(lambda: 1) == 1
        return found

    found = asyncio.run(run())
    assert [each for each in found if isinstance(each, int)] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert isinstance(found[5], QueueError)
    assert 1 <= most <= limit


def held_by(held: list[Any], queue: Queue) -> Callable[[BatchInvocation], None]:
    """An answer that does not come: the invocation is kept."""

    def hold(invocation: BatchInvocation) -> None:
        with queue.changed:
            held.append(invocation)
            queue.changed.notify_all()

    return hold


@pytest.mark.parametrize("fails", [False, True], ids=["nothing-there", "no-answer"])
def test_a_slow_batch_keeps_no_other_from_being_received(fails: bool) -> None:
    queue, held = Queue(), list[Any]()
    function = Function(held_by(held, queue))
    queue.put("slow")

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: held and queue.asked == 2)
        if fails:
            queue.failures += ["receive"]
        with queue.changed:
            queue.gives_nothing = True
            queue.changed.notify_all()
        # The loop has heard of it.
        until(lambda: queue.asked > 2 or not poller._around.receiving._pending, "the request is answered")
        await asyncio.sleep(0.01)
        queue.gives_nothing = False
        function.answer = succeeds
        queue.put("quick")
        await queue.until(lambda: queue.deleted == ["quick"])
        succeeds(held[0])
        await queue.until(lambda: queue.deleted == ["quick", "slow"])

    polled(queue, function, work, BatchSize=1)


def test_slow_batches_become_more_and_more() -> None:
    """Also when each has begun before the time for a further one has come."""
    queue, held = Queue(), list[Any]()
    queue.put(*[str(number) for number in range(FIRST_WORKERS + 2)])

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: len(held) == FIRST_WORKERS + 2)
        for invocation in held:
            succeeds(invocation)

    polled(queue, Function(held_by(held, queue)), work, BatchSize=1)


@pytest.mark.parametrize("before", [True, False])
def test_a_batch_is_judged_by_what_the_mapping_was_when_it_began(before: bool) -> None:
    queue, held = Queue(), list[Any]()
    queue.put("bad")
    kinds = {True: ["ReportBatchItemFailures"], False: list[str]()}

    async def work(poller: Poller, results: list[str]) -> None:
        await queue.until(lambda: held)
        poller.mapping = mapping(FunctionResponseTypes=kinds[not before])
        held[0].settle(b'{"batchItemFailures":[{"itemIdentifier":"bad"}]}', b"", b"")
        await queue.until(lambda: results == ["OK"])
        assert queue.deleted == ([] if before else ["bad"])

    polled(queue, Function(held_by(held, queue)), work, FunctionResponseTypes=kinds[before])
