"""Who runs the attempts of a saga: one at a time, in threads, or as tasks of the event loop.

A worker is told what begins, and then asked for one outcome after the other. What ends the whole invocation, like its
time limit or its cancellation, is no outcome: it is raised, and the record stays as it was written last.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from venturekit.runtime._process import apause, pause
from venturekit.runtime.attempts import TimeLimit, within
from venturekit.runtime.invocation.propagation import CallKeys, calls_with
from venturekit.runtime.middleware.base import is_async
from venturekit.runtime.patterns.saga_context import context_of_text, text_of_context
from venturekit.runtime.patterns.saga_errors import SagaContextError
from venturekit.runtime.patterns.saga_outcomes import AsynchronousStepError, Attempt, Outcome, Watch, is_cancellation

if TYPE_CHECKING:
    import asyncio
    from contextvars import Context
    from queue import SimpleQueue

_AGES_MS = 10**9


def _given_back(attempt: Attempt, context: dict[str, Any], result: Any) -> Outcome:
    """The outcome of a function that ended: None keeps the context, with what the function has put there."""
    try:
        return Outcome(attempt.number, context_of_text(text_of_context(context if result is None else result)))
    except SagaContextError as problem:
        return Watch(attempt).failed(SagaContextError(f"the step {attempt.name!r} gave no context: {problem}"))


def _run(attempt: Attempt) -> Outcome:
    """Run a blocking function. Raises what is no matter of the step: the end of the invocation's own time."""
    context = context_of_text(attempt.context)
    watch = Watch(attempt)
    limit = TimeLimit(_limit_ms(attempt), watch)
    try:
        with limit, calls_with(CallKeys(attempt.key)):
            result = attempt.function(context)
            if isinstance(result, Awaitable):
                _close(result)
                raise AsynchronousStepError(f"the step {attempt.name!r} is asynchronous: use arun() and aresume()")
    except BaseException as error:
        if limit.cut_short or not (isinstance(error, Exception) or is_cancellation(error)):
            raise
        return watch.failed(error)
    return _given_back(attempt, context, result)


def _limit_ms(attempt: Attempt) -> int | None:
    if attempt.limit_ms is not None:
        return attempt.limit_ms
    from signal import ITIMER_REAL, getitimer

    # Within somebody else's limit one is set that never comes: it tells theirs from an error of the step.
    return _AGES_MS if getitimer(ITIMER_REAL)[0] else None


def _close(awaitable: Any) -> None:
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()


class BlockingWorker:
    """Runs what is alone in this thread, and the steps of a group in threads of their own."""

    __slots__ = ("_alone", "_ends", "_outcomes")

    def __init__(self) -> None:
        self._alone: Attempt | None = None
        # When a thread is not waited for any more, by the number of its step; None: it has no limit.
        self._ends: dict[int, tuple[Attempt, float | None]] = {}
        self._outcomes: SimpleQueue[tuple[Attempt, Outcome | BaseException]] | None = None

    def begin(self, attempt: Attempt, *, alone: bool) -> None:
        """Take an attempt on."""
        if alone:
            self._alone = attempt
            return
        from contextvars import copy_context
        from queue import SimpleQueue
        from threading import Thread

        if self._outcomes is None:
            self._outcomes = SimpleQueue()
        limit_ms = None if attempt.limit_ms is None else attempt.limit_ms + attempt.delay_ms
        end = None if limit_ms is None else time.monotonic() + limit_ms / 1000
        arguments = (copy_context(), attempt, self._outcomes)
        Thread(target=_run_in_thread, args=arguments, name=f"saga-{attempt.name}", daemon=True).start()
        # Not before it has begun: nobody has to wait for one that could not.
        self._ends[attempt.number] = attempt, end

    def outcome(self) -> Outcome:
        """The next outcome. Raises what ends the invocation."""
        if self._alone is not None:
            attempt, self._alone = self._alone, None
            if attempt.delay_ms:
                pause(attempt.delay_ms / 1000)
            return _run(attempt)
        return self._outcome_of_thread()

    def _outcome_of_thread(self) -> Outcome:
        from queue import Empty

        assert self._outcomes is not None
        while True:
            ends = [end for _, end in self._ends.values() if end is not None]
            try:
                attempt, outcome = self._outcomes.get(timeout=max(0.0, min(ends) - time.monotonic()) if ends else None)
            except Empty:
                return self._too_late()
            # Of an attempt that nobody waits for any more nothing is wanted.
            if self._ends.get(attempt.number, (None, None))[0] is not attempt:
                continue
            del self._ends[attempt.number]
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

    def _too_late(self) -> Outcome:
        """The outcome of the thread whose time is over; it is left behind, for nothing can stop it."""
        number = min(self._ends, key=lambda n: (self._ends[n][1] is None, self._ends[n][1] or 0.0))
        attempt, _ = self._ends.pop(number)
        assert attempt.limit_ms is not None
        watch = Watch(attempt)
        return watch.failed(watch(attempt.limit_ms))

    def abandon(self, *, wait: bool) -> bool:
        """Give up: ``wait`` for what is in flight, so that nothing of a saga goes on behind the back of its caller."""
        while wait and self._ends:
            with suppress(Exception):
                self._outcome_of_thread()
        return not self._ends


def _run_in_thread(context: Context, attempt: Attempt, outcomes: SimpleQueue[Any]) -> None:
    try:
        if attempt.delay_ms:
            pause(attempt.delay_ms / 1000)
        outcomes.put((attempt, context.run(_run, attempt)))
    except BaseException as error:
        outcomes.put((attempt, error))


class AsyncWorker:
    """Runs what is alone in the task that runs the saga, and the steps of a group in tasks of their own."""

    __slots__ = ("_alone", "_tasks", "_threads")

    def __init__(self) -> None:
        self._alone: Attempt | None = None
        self._tasks: dict[asyncio.Task[Outcome], int] = {}
        # The numbers of the steps that block, and run in threads of their own.
        self._threads: set[int] = set()

    def begin(self, attempt: Attempt, *, alone: bool) -> None:
        """Take an attempt on, within an event loop."""
        if alone:
            self._alone = attempt
            return
        import asyncio

        task = asyncio.get_running_loop().create_task(_arun(attempt, alone=False), name=f"saga-{attempt.name}")
        self._tasks[task] = attempt.number
        if not is_async(attempt.function):
            self._threads.add(attempt.number)

    def outcome(self) -> Awaitable[Outcome]:
        """The next outcome. Raises what ends the invocation."""
        if self._alone is not None:
            attempt, self._alone = self._alone, None
            return _arun(attempt, alone=True)
        return self._outcome_of_task()

    async def _outcome_of_task(self) -> Outcome:
        import asyncio

        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        # Several may have ended: in the order of the steps, one at a time.
        first = min(done, key=lambda task: self._tasks[task])
        del self._tasks[first]
        return first.result()

    async def abandon(self, *, wait: bool) -> bool:
        """Give up: ``wait`` for what is in flight, or else cancel it, which threads do not heed."""
        import asyncio

        for task in self._tasks:
            if not wait:
                task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        has_ended = wait or not self._threads & {*self._tasks.values()}
        self._tasks.clear()
        return has_ended


async def _arun(attempt: Attempt, *, alone: bool) -> Outcome:
    if attempt.delay_ms:
        await apause(attempt.delay_ms / 1000)
    if not is_async(attempt.function) and alone:
        return await _arun_blocking(attempt)
    context = context_of_text(attempt.context)
    watch = Watch(attempt)
    try:
        with calls_with(CallKeys(attempt.key)):
            result = await within(_called(attempt, context), attempt.limit_ms, watch)
    except BaseException as error:
        if not _is_of_the_step(error):
            raise
        return watch.failed(error)
    return _given_back(attempt, context, result)


async def _called(attempt: Attempt, context: dict[str, Any]) -> Any:
    if is_async(attempt.function):
        return await attempt.function(context)
    import asyncio

    # Beside others: a function that blocks must not hold them up.
    result = await asyncio.to_thread(_without_end_of_iteration, attempt, context)
    return await result if isinstance(result, Awaitable) else result


def _without_end_of_iteration(attempt: Attempt, context: dict[str, Any]) -> Any:
    try:
        return attempt.function(context)
    except StopIteration as error:
        # A future cannot hold it: whoever waits would wait for ever.
        raise RuntimeError(f"the step {attempt.name!r} raised StopIteration") from error


def _is_of_the_step(error: BaseException) -> bool:
    """Whether an error is a matter of the step, and does not end the task that runs it."""
    if isinstance(error, Exception):
        return True
    from asyncio import current_task

    # Nobody has asked for this cancellation but the step, which awaited something that was cancelled.
    task = current_task()
    return is_cancellation(error) and task is not None and not task.cancelling()


async def _arun_blocking(attempt: Attempt) -> Outcome:
    """A blocking function alone in an asynchronous run, interrupted by the timer like any; it may give an awaitable."""
    context = context_of_text(attempt.context)
    watch = Watch(attempt)
    limit = TimeLimit(_limit_ms(attempt), watch)
    began = time.monotonic()
    try:
        with calls_with(CallKeys(attempt.key)):
            with limit:
                result = attempt.function(context)
            if isinstance(result, Awaitable):
                left_ms = attempt.limit_ms
                if left_ms is not None:
                    left_ms = max(1, left_ms - int((time.monotonic() - began) * 1000))
                result = await within(result, left_ms, watch)
    except BaseException as error:
        if limit.cut_short or not _is_of_the_step(error):
            raise
        return watch.failed(error)
    return _given_back(attempt, context, result)
