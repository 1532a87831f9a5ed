"""Polls one queue, invokes the function with what comes, and deletes what is done.

Every batch has a worker, a task of the loop; the queue is asked in threads. A message is deleted only after the
function has answered for it (or no filter wants it), so one is delivered again rather than lost, whatever ends in
between. Messages of a batch that failed are left: they become visible again when their time is over (AWS Lambda
Developer Guide, "Using Lambda with Amazon SQS"), and the queue's redrive policy decides what becomes of those that fail
again and again.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.sources.batches import (
    CROWDED_WAIT_SECONDS,
    Gathering,
    is_hasty,
    latest_end,
    next_patience_seconds,
    pause_seconds,
    seconds_until_more,
    split,
)
from venturekit.service.sources.invoking import traced, without
from venturekit.service.sources.messages import event_of, sorted_out
from venturekit.service.sources.ports import QueueError
from venturekit.service.sources.responses import BadBatchResponseError, failed_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from venturekit.service.sources.invoking import Outcome
    from venturekit.service.sources.mapping import EventSourceMapping
    from venturekit.service.sources.messages import Item
    from venturekit.service.sources.ports import FunctionView, MappedFunction, Queues
    from venturekit.service.sources.threads import CallThreads

QUEUE_PAUSE_SECONDS: Final = 30.0
"""The longest between two requests to a queue that gives no answer."""
THROTTLED_PAUSE_SECONDS: Final = 2.0
HASTY_PAUSE_SECONDS: Final = 4.0
DELETE_TRIES: Final = 3
DESCRIBED_SECONDS: Final = 60.0
"""After which a queue is asked for its visibility timeout anew."""
OK: Final = "OK"
TOO_LATE: Final = "there was no time left to invoke the function before the messages become visible again"
LOOPING: Final = "PROBLEM: messages are in a loop of invocations of this function and were left in the queue"


@dataclass(frozen=True, slots=True)
class Received:
    """What one request brought: what the function gets of ``count`` messages, and when. ``problem``: what went wrong
    besides, or nothing; ``hasty``: the queue did not wait for messages."""

    items: list[Item]
    count: int
    at: float
    hasty: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What pollers work with. ``monotonic`` tells seconds, ``new_trace`` makes a trace header."""

    queues: Queues
    receiving: CallThreads
    settling: CallThreads
    new_trace: Callable[[], bytes]
    monotonic: Callable[[], float]
    report: Callable[[BaseException], None]


class Poller:
    """The poller of one mapping, of which ``mapping`` may be replaced at any time: the next batch goes by the new one.

    ``told(result)`` gets each processing result: ``OK`` or ``PROBLEM: …``.
    """

    def __init__(
        self,
        mapping: EventSourceMapping,
        function: MappedFunction,
        around: Surroundings,
        told: Callable[[str], None],
    ) -> None:
        self.mapping = mapping
        self._function = function
        self._around = around
        self._told = told
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._looking = 0
        self._processing = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._patience_seconds = 1
        self._failures = 0
        self._refusals = 0
        self._not_before = -math.inf
        self._hasty = 0
        self._returning: set[asyncio.Future[None]] = set()
        self._last_added = -math.inf
        self._is_to_grow = False
        self._visibility_seconds = 0.0
        self._described = -math.inf

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to poll."""
        self._add_worker()

    @property
    def busy(self) -> bool:
        """Whether messages are being processed."""
        return self._processing > 0

    @property
    def workers(self) -> int:
        """How many batches may be worked on at once now."""
        return len(self._workers)

    def stop(self) -> None:
        """Receive nothing more; what was received and is not being processed goes back to the queue."""
        self._stopping.set()

    async def rested(self) -> None:
        """Return when no messages are being processed."""
        await self._at_rest.wait()

    async def ended(self) -> None:
        """Return when nothing of it runs any more: after ``stop``."""
        while self._workers:
            await asyncio.wait(set(self._workers))

    def abandon(self) -> None:
        """Give up at once: what is being processed is not deleted and comes back."""
        self._stopping.set()
        for worker in self._workers:
            worker.cancel()

    async def given_back(self, seconds: float) -> None:
        """Return when the queue has back what had been gathered, after so many seconds at the latest."""
        if self._returning:
            await asyncio.wait(set(self._returning), timeout=seconds)

    def _add_worker(self) -> None:
        self._last_added = self._around.monotonic()
        worker = asyncio.get_running_loop().create_task(self._work())
        self._workers.add(worker)
        worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._around.report(error)
            if not self._seekers and not self._stopping.is_set():
                # Something nobody thought of must not end the mapping.
                asyncio.get_running_loop().call_later(1.0, self._revive)

    def _revive(self) -> None:
        if not self._seekers and not self._stopping.is_set():
            self._add_worker()

    # --- workers ------------------------------------------------------------------------------------------------

    @property
    def _seekers(self) -> int:
        """How many workers are after a new batch: those that process one may do so for many minutes."""
        return len(self._workers) - self._processing

    async def _work(self) -> None:
        while not self._stopping.is_set():
            if len(self._workers) > self.mapping.concurrency:
                # The mapping allows fewer by now.
                self._leave()
                return
            try:
                await self._room()
                await self._describe()
                batch = await self._gather()
            except QueueError as error:
                self._failures += 1
                self._told(f"PROBLEM: {error}")
                # It may be made anew, and be another one.
                self._described = -math.inf
                if self._seekers > 1:
                    self._leave()
                    return
                await self._pause(pause_seconds(self._failures, QUEUE_PAUSE_SECONDS))
                continue
            self._failures = 0
            if batch is not None:
                self._patience_seconds = next_patience_seconds(self._patience_seconds, found=True)
                self._grow()
                await self._process(batch)
            elif self._seekers > 1:
                # One goes on looking.
                self._leave()
                return
            else:
                self._patience_seconds = next_patience_seconds(self._patience_seconds, found=False)

    def _leave(self) -> None:
        """This worker ends: nobody else counts on it from now on, or all might leave in one turn of the loop."""
        worker = asyncio.current_task()
        if worker is not None:
            self._workers.discard(worker)

    def _grow(self) -> None:
        since_last = self._around.monotonic() - self._last_added
        wait = seconds_until_more(len(self._workers), self._looking, self.mapping.concurrency, since_last)
        if wait is None or self._is_to_grow or self._stopping.is_set():
            return
        if wait > 0:
            # None of those there are might ask for so long as its batch is worked on.
            self._is_to_grow = True
            asyncio.get_running_loop().call_later(wait, self._grow_now)
        else:
            self._add_worker()

    def _grow_now(self) -> None:
        self._is_to_grow = False
        if not self._seekers:
            self._grow()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _room(self) -> None:
        """Wait while the function is throttled or cannot run: messages that nobody can work on stay in the queue."""
        if (seconds := self._not_before - self._around.monotonic()) > 0:
            await self._pause(seconds)
        tries = 0
        while not self._stopping.is_set():
            view = await self._function.look(anew=tries > 0)
            if view.room > 0:
                if not view.problem:
                    return
                self._told(f"PROBLEM: {view.problem}")
            tries += 1
            await self._pause(pause_seconds(tries, THROTTLED_PAUSE_SECONDS) / 4)

    async def _describe(self) -> None:
        now = self._around.monotonic()
        if now - self._described < DESCRIBED_SECONDS:
            return
        arn = self.mapping.queue_arn
        description = await self._around.settling.run(lambda: self._around.queues.describe(arn))
        self._visibility_seconds = description.visibility_seconds
        self._described = now

    # --- receiving ----------------------------------------------------------------------------------------------

    async def _gather(self) -> tuple[list[Item], float] | None:
        """A batch, and when its messages become visible again; None when there was nothing."""
        mapping, monotonic = self.mapping, self._around.monotonic
        gathering = Gathering(mapping.batch_size, mapping.window_seconds)
        until = math.inf
        try:
            while not self._stopping.is_set():
                received = await self._receive(gathering)
                if received.items:
                    until = min(until, received.at + self._visibility_seconds)
                gathering.add(received.items, received.at, await self._latest(until))
                if received.hasty:
                    await self._pause(pause_seconds(self._hasty, HASTY_PAUSE_SECONDS) / 4)
                if not gathering.items:
                    # Something came, and no filter wants it: where it was there is more.
                    return ([], until) if received.count else None
                if gathering.is_complete(monotonic()):
                    return gathering.items, until
        except QueueError:
            if not gathering.items:
                raise
            return gathering.items, until
        except asyncio.CancelledError:
            self._give_back(gathering.items)
            raise
        await self._release(gathering.items)
        return None

    async def _latest(self, until: float) -> float:
        timeout_seconds = (await self._function.look()).timeout_seconds if self.mapping.window_seconds else 0
        return latest_end(until, self._visibility_seconds, timeout_seconds)

    async def _receive(self, gathering: Gathering) -> Received:
        """What one request brings."""
        around, mapping = self._around, self.mapping
        patience = self._patience_seconds
        # Where there has just been something there is more.
        urgent = patience == 1 or bool(gathering.items)
        if around.receiving.is_crowded:
            patience = min(patience, CROWDED_WAIT_SECONDS)
        wait_seconds = gathering.wait_seconds(around.monotonic(), patience)
        room = gathering.room

        def receive() -> Received:
            asked_at = around.monotonic()
            if self._stopping.is_set():
                return Received([], 0, asked_at)
            messages = around.queues.receive(mapping.queue_arn, room, wait_seconds)
            received_at = around.monotonic()
            if messages and self._stopping.is_set():
                # Maybe nobody waits for this thread any more.
                handles = [message["ReceiptHandle"] for message in messages]
                around.queues.release(mapping.queue_arn, handles)
                return Received([], 0, received_at)
            hasty = is_hasty(wait_seconds, received_at - asked_at, len(messages))
            items, problem = self._sorted_out(messages)
            return Received(items, len(messages), received_at, hasty, problem)

        self._looking += 1
        try:
            received = await around.receiving.run(receive, urgent=urgent)
        finally:
            self._looking -= 1
        self._hasty = self._hasty + 1 if received.hasty else 0
        if received.problem:
            self._told(received.problem)
        return received

    def _sorted_out(self, messages: Sequence[Mapping[str, Any]]) -> tuple[list[Item], str]:
        """Delete what no filter wants, and return the rest, with what went wrong. In a thread. Raises QueueError."""
        # The mapping may have other filters by now than when it began to wait.
        mapping = self.mapping
        try:
            items, unwanted = sorted_out(messages, mapping.queue_arn, mapping.patterns)
        except Exception as error:
            raise QueueError(f"what answers for sqs gave a message that is none: {error}") from error
        try:
            if unwanted:
                self._around.queues.delete(mapping.queue_arn, unwanted)
        except QueueError as error:
            if not items:
                raise
            return items, f"PROBLEM: {error}"
        return items, ""

    def _give_back(self, items: Sequence[Item]) -> None:
        """As ``_release``, by a worker that has no time to wait for it."""
        if not items:
            return
        arn, handles = self.mapping.queue_arn, [item.receipt_handle for item in items]
        returning = self._around.settling.run(lambda: self._around.queues.release(arn, handles))
        self._returning.add(returning)

        def returned(ended: asyncio.Future[None]) -> None:
            self._returning.discard(ended)
            if not ended.cancelled() and (error := ended.exception()) is not None:
                self._told(f"PROBLEM: {error}")

        returning.add_done_callback(returned)

    async def _release(self, items: Sequence[Item]) -> None:
        if items:
            arn, handles = self.mapping.queue_arn, [item.receipt_handle for item in items]
            try:
                await self._around.settling.run(lambda: self._around.queues.release(arn, handles))
            except QueueError as error:
                # They come back by themselves.
                self._told(f"PROBLEM: {error}")

    # --- processing ---------------------------------------------------------------------------------------------

    async def _process(self, batch: tuple[list[Item], float]) -> None:
        items, until = batch
        self._processing += 1
        self._at_rest.clear()
        try:
            blocked: set[str] = set()
            first = True
            for part in split(items):
                # What has failed of a group must not be overtaken.
                part = [item for item in part if not item.group or item.group not in blocked]
                if part:
                    failed = await self._process_part(part, until, first=first)
                    first = False
                    blocked.update(item.group for item in part if item.message_id in failed)
        finally:
            self._processing -= 1
            if not self._processing:
                self._at_rest.set()

    async def _process_part(self, items: list[Item], until: float, *, first: bool) -> frozenset[str]:
        """Invoke, and delete what is done. Returns the ids of the messages that are not."""
        everything = frozenset(item.message_id for item in items)
        # What a function answers is meant as the mapping was when it was asked.
        reports_failures = self.mapping.reports_failures
        outcome, invoked = await self._outcome(items, until, reports_failures, first=first)
        if outcome is None:
            return everything
        if outcome.refused:
            self._told(f"PROBLEM: {outcome.refused}")
            # Each time that a message is received brings it nearer to the dead-letter queue.
            self._refusals += 1
            pause = pause_seconds(self._refusals, QUEUE_PAUSE_SECONDS)
            self._not_before = self._around.monotonic() + pause
            await self._release(items)
            return everything
        self._refusals = 0
        if outcome.error:
            self._told("PROBLEM: Function call failed")
            return everything
        failed = everything - {item.message_id for item in invoked}
        try:
            if reports_failures:
                failed |= failed_ids(outcome.payload, {item.message_id for item in invoked})
        except BadBatchResponseError as error:
            self._told(f"PROBLEM: Function call failed: {error}")
            return everything
        done = [item.receipt_handle for item in items if item.message_id not in failed]
        if await self._delete(done):
            self._told(LOOPING if len(invoked) < len(items) else OK)
        return failed

    async def _outcome(
        self, items: list[Item], until: float, answered: bool, *, first: bool
    ) -> tuple[Outcome | None, list[Item]]:
        """What became of the invocation, and of which messages; None if there was none in time."""
        tries = 0
        while True:
            must_fit = tries > 0 or not first
            view = await self._function.look(anew=must_fit)
            problem = view.problem
            if not problem:
                if must_fit and self._around.monotonic() + view.timeout_seconds > until:
                    # They would become visible while the function works on them.
                    self._told(f"PROBLEM: {TOO_LATE}")
                    if not tries and self._around.monotonic() < until:
                        await self._release(items)
                    return None, []
                outcome, invoked = await self._invoke(view, items, answered)
                if outcome is None or not outcome.busy:
                    return outcome, invoked
                problem = outcome.busy
            tries += 1
            self._told(f"PROBLEM: {problem}")
            if self._stopping.is_set():
                await self._release(items)
                return None, []
            if self._around.monotonic() >= until:
                return None, []
            await self._pause(pause_seconds(tries, THROTTLED_PAUSE_SECONDS) / 4)

    async def _invoke(self, view: FunctionView, items: list[Item], answered: bool) -> tuple[Outcome | None, list[Item]]:
        """Run the function with what is in no loop."""
        trace, looping = traced(items, view.invoked_arn, self._around.new_trace())
        if looping and not (await self._function.look(anew=True)).recursion_allowed:
            items = without(items, looping)
            self._told(LOOPING)
        if not items:
            return None, []
        return await self._function.invoke(event_of(items), trace, answered=answered), items

    async def _delete(self, handles: list[str]) -> bool:
        """Delete messages that are done; whether that has been possible."""
        arn = self.mapping.queue_arn
        for tries in range(1, DELETE_TRIES + 1):
            try:
                if handles:
                    await self._around.settling.run(lambda: self._around.queues.delete(arn, handles))
            except QueueError as error:
                self._told(f"PROBLEM: {error}")
                if tries < DELETE_TRIES:
                    await self._pause(pause_seconds(tries, QUEUE_PAUSE_SECONDS))
            else:
                return True
        return False
