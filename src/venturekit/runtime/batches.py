"""Handlers of batches: every record by itself, and only those that failed come again.

Sources: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda"; what stops at a failure is as
users of Powertools for AWS Lambda expect it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from venturekit.runtime.attempts import MARGIN_MS, Deadline, TimeLimit
from venturekit.runtime.batch_records import (
    ON_FAILURE,
    BatchFailedError,
    BatchRecord,
    body_of,
    lanes_of,
    logger_of,
    records_of,
    report_of,
    usual_order,
)
from venturekit.runtime.context import NO_DEADLINE_MS, _current
from venturekit.runtime.schema import schema_of
from venturekit.runtime.tasks import TaskHandler
from venturekit.runtime.wrapped import HandlerConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from venturekit.runtime.context import TaskContext
    from venturekit.runtime.logs import Logger
    from venturekit.runtime.options import BatchOptions
    from venturekit.runtime.tasks import EventSchema

    B = TypeVar("B")
    BatchHandlerFn = (
        Callable[[B, BatchRecord, Logger], Any]
        | Callable[[B, BatchRecord], Any]
        | Callable[[B], Any]
        | Callable[[], Any]
    )

CONCURRENCY: Final = 10


class BatchHandler(TaskHandler):
    """What ``batch_handler()`` makes: the function that Lambda calls, ``main(event, context)``."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        body: Any = None,
        on_failure: str | None = None,
        concurrency: int = CONCURRENCY,
        raise_when_all_failed: bool = True,
        middleware: Sequence[Any] = (),
        log_level: str | None = None,
        logger: Logger | None = None,
        transactional: bool = False,
        timeout_ms: int | None = None,
        task_log: bool = True,
    ) -> None:
        if on_failure is not None and on_failure not in ON_FAILURE:
            raise HandlerConfigError(f"on_failure is one of {', '.join(ON_FAILURE)}, and not {on_failure!r}")
        if concurrency < 1:
            raise HandlerConfigError("concurrency is at least 1")
        super().__init__(
            fn,
            middleware=middleware,
            log_level=log_level,
            logger=logger,
            transactional=transactional,
            timeout_ms=timeout_ms,
            task_log=task_log,
        )
        self.body_schema = None if body is None else schema_of(body)
        self.on_failure = on_failure
        self.concurrency = concurrency
        self.raise_when_all_failed = raise_when_all_failed

    def _inner(self, ctx: TaskContext) -> Any:
        batch = _Batch(self, ctx)
        for lane in batch.lanes:
            for record in lane:
                limit_ms = batch.limit_ms()
                if limit_ms == 0 or not self._one(batch, record, limit_ms):
                    break
        return batch.end()

    def _one(self, batch: _Batch, record: BatchRecord, limit_ms: int | None) -> bool:
        """Process a record; whether it went well."""
        token = _current.set(record)
        limit = TimeLimit(limit_ms)
        try:
            record._logger = logger_of(record)
            with limit:
                record.event = body_of(record, self.body_schema)
                self._attempt(record, record.event)
        except Exception as error:
            if limit.cut_short:
                # The time of the whole batch is over, which is no matter of this record.
                raise
            return batch.failed(record, error)
        else:
            return batch.succeeded(record)
        finally:
            _current.reset(token)

    async def _ainner(self, ctx: TaskContext) -> Any:
        import asyncio

        batch = _Batch(self, ctx)
        waiting = iter(batch.lanes)

        async def work() -> None:
            for lane in waiting:
                for record in lane:
                    limit_ms = batch.limit_ms()
                    if limit_ms == 0 or not await self._aone(batch, record, limit_ms):
                        break

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.concurrency, len(batch.lanes))):
                group.create_task(work())
        return batch.end()

    async def _aone(self, batch: _Batch, record: BatchRecord, limit_ms: int | None) -> bool:
        from asyncio import CancelledError, current_task

        from venturekit.runtime.attempts import within

        token = _current.set(record)
        try:
            record._logger = logger_of(record)
            record.event = body_of(record, self.body_schema)
            await within(self._aattempt(record, record.event, limit_ms), limit_ms)
        except (Exception, CancelledError) as error:
            task = current_task()
            if isinstance(error, CancelledError) and (task is None or task.cancelling()):
                # Of the whole batch, and not of something that this record has waited for.
                raise
            return batch.failed(record, error)
        else:
            return batch.succeeded(record)
        finally:
            _current.reset(token)

    def __repr__(self) -> str:
        return f"<batch handler {self.__module__}.{self.__name__}>"


class _Batch:
    """What has become of the records of one event."""

    def __init__(self, handler: BatchHandler, ctx: TaskContext) -> None:
        self._handler = handler
        self._ctx = ctx
        self._deadline = Deadline(ctx)
        self._records = records_of(ctx.event, ctx)
        self._succeeded: set[BatchRecord] = set()
        self._errors: dict[BatchRecord, BaseException] = {}
        self.lanes = lanes_of(self._records, handler.on_failure or usual_order(self._records))

    def limit_ms(self) -> int | None:
        """How long the next record may take: 0 for no time at all, None without a limit.

        A record that is cut off comes again; one that Lambda cuts off takes the whole batch with it.
        """
        remaining_ms = max(self._deadline.remaining_ms(), 0)
        limit_ms = remaining_ms if self._handler.timeout_ms is None else min(self._handler.timeout_ms, remaining_ms)
        return limit_ms if limit_ms < NO_DEADLINE_MS - MARGIN_MS else None

    def succeeded(self, record: BatchRecord) -> bool:
        self._succeeded.add(record)
        return True

    def failed(self, record: BatchRecord, error: BaseException) -> bool:
        self._errors[record] = error
        # What is told to Lambda is an id and nothing else: the log is where the reason is.
        record.logger.error("record failed", {"attempt": record.attempt}, error=error)
        return False

    def end(self) -> dict[str, Any]:
        """The report. Raises BatchFailedError."""
        records, done = self._records, self._succeeded
        not_begun = len(records) - len(done) - len(self._errors)
        if self._errors or not_begun:
            counts = {"succeeded": len(done), "failed": len(self._errors), "notBegun": not_begun}
            self._ctx.logger.warn("not all records of the batch were processed", counts)
        if records and not done and self._handler.raise_when_all_failed:
            failures = [(record, self._errors.get(record)) for record in records]
            raise BatchFailedError(failures) from next(iter(self._errors.values()), None)
        return report_of(records, done)


@overload
def batch_handler(
    fn: BatchHandlerFn[B], /, *, body: EventSchema[B], **options: Unpack[BatchOptions]
) -> BatchHandler: ...


@overload
def batch_handler(
    *, body: EventSchema[B], **options: Unpack[BatchOptions]
) -> Callable[[BatchHandlerFn[B]], BatchHandler]: ...


@overload
def batch_handler(
    fn: BatchHandlerFn[Any] | Mapping[str, Any], /, *, body: None = None, **options: Unpack[BatchOptions]
) -> BatchHandler: ...


@overload
def batch_handler(
    *, body: None = None, **options: Unpack[BatchOptions]
) -> Callable[[BatchHandlerFn[Any]], BatchHandler]: ...


def batch_handler(fn: Any = None, /, **options: Any) -> Any:
    """Make a Lambda handler, for queues and streams, of a function of (body, record, logger), or of fewer arguments.

    It is called for each record, and those that failed are told to Lambda, so that only they come again. The event
    source mapping needs ``FunctionResponseTypes: [ReportBatchItemFailures]``: without it a failure is a success::

        @batch_handler(body=Order)
        def main(order, record, logger):
            if record.attempt == 3:
                logger.warn("this is the last time")

    ``body``: the schema of the bodies, which then have to be JSON. ``on_failure``: ``continue`` with all other records
    (the default for queues), ``stop`` (for FIFO queues and streams), or ``skip_group``: leave out what is of the same
    message group. What was not begun is told as failed, so is what the time of the function does not allow any more.
    ``concurrency``: how many records an ``async def`` function processes at once, as far as their order allows.
    ``raise_when_all_failed``: raise BatchFailedError rather than tell every id. ``timeout_ms`` and ``transactional``
    are about each record; the rest is as with ``task_handler()``.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work.
    """
    if fn is None:
        return lambda given: BatchHandler(given, **options)
    if hasattr(fn, "keys") and not callable(fn):
        if "fn" not in fn:
            raise HandlerConfigError("the object form of batch_handler() needs its function under 'fn'")
        return BatchHandler(**{**fn, **options})
    return BatchHandler(fn, **options)
