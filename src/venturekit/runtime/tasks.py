"""Handlers of everything that is no HTTP request: functions that are called by name, queues, schedules.

Source: seed 001, ``taskHandler``, ``TaskHandlerConfig``, ``TaskContext``, ``TaskValidationError``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from venturekit.runtime import transactions
from venturekit.runtime._process import apause, pause
from venturekit.runtime.attempts import MARGIN_MS, Deadline, TimeLimit, next_delay_ms
from venturekit.runtime.context import NO_DEADLINE_MS, TaskContext, _current
from venturekit.runtime.errors import TaskTimeoutError, TaskValidationError
from venturekit.runtime.schema import SchemaError, parsed, schema_of
from venturekit.runtime.wrapped import HandlerConfigError, WrappedFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Unpack

    from venturekit.runtime.logs import Logger
    from venturekit.runtime.options import TaskOptions
    from venturekit.runtime.schema import Adapter, Schema

    E = TypeVar("E")
    TaskHandlerFn = (
        Callable[[E, TaskContext, Logger], Any]
        | Callable[[E, TaskContext], Any]
        | Callable[[E], Any]
        | Callable[[], Any]
    )
    EventSchema = type[E] | Schema[E] | Adapter[E]

RETRY_DELAY_MS: Final = 1000


class TaskHandler(WrappedFunction):
    """What ``task_handler()`` makes: the function that Lambda calls, ``main(event, context)``.

    ``await main.acall(event, context)`` is the same within a running event loop. ``fn`` is the function inside.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        event: Any = None,
        middleware: Sequence[Any] = (),
        log_level: str | None = None,
        logger: Logger | None = None,
        transactional: bool = False,
        timeout_ms: int | None = None,
        timeout: int | None = None,
        retries: int = 0,
        retry_delay_ms: int = RETRY_DELAY_MS,
        task_log: bool = True,
    ) -> None:
        if not callable(fn):
            raise HandlerConfigError(f"{fn!r} is no function")
        if timeout is not None and timeout_ms is not None:
            raise HandlerConfigError("timeout is the seed's name of timeout_ms, in milliseconds too: give one of them")
        limit = timeout if timeout_ms is None else timeout_ms
        if limit is not None and limit <= 0:
            raise HandlerConfigError(f"timeout_ms must be positive, and is {limit}")
        if retries < 0 or retry_delay_ms < 0:
            raise HandlerConfigError("retries and retry_delay_ms cannot be negative")
        super().__init__(
            fn,
            arguments="(event, ctx, logger)",
            middleware=middleware,
            log_level=log_level,
            logger=logger,
            transactional=transactional,
        )
        self.timeout_ms = limit
        self.retries = retries
        self.retry_delay_ms = retry_delay_ms
        self.task_log = task_log
        self.event_schema = None if event is None else schema_of(event)
        self._chain = self._chained(self._inner, self._ainner)

    # --- the two doors --------------------------------------------------------------------------------------------

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Run the task; asynchronous ones too, on the one event loop that this process keeps.

        Raises what the function raises in its last attempt, TaskValidationError, TaskTimeoutError, and RuntimeError
        inside a running event loop, where ``await main.acall(event, context)`` is the way.
        """
        if self.is_async:
            return self._run(event, context)
        ctx = self._context(event, context)
        token = _current.set(ctx)
        try:
            began = self._log_start(ctx)
            try:
                result = self._chain(ctx)
            except BaseException as error:
                self._log_failure(error, began)
                raise
            self._log_end(began)
            return result
        finally:
            _current.reset(token)

    async def acall(self, event: Any, context: Any = None) -> Any:
        """Run the task within an event loop."""
        if not self.is_async:
            return self(event, context)
        ctx = self._context(event, context)
        token = _current.set(ctx)
        try:
            began = self._log_start(ctx)
            try:
                result = await self._chain(ctx)
            except BaseException as error:
                self._log_failure(error, began)
                raise
            self._log_end(began)
            return result
        finally:
            _current.reset(token)

    def _context(self, event: Any, context: Any) -> TaskContext:
        ctx = TaskContext(event, context)
        ctx._logger = self.logger
        return ctx

    # --- the attempts ---------------------------------------------------------------------------------------------

    def _inner(self, ctx: TaskContext) -> Any:
        event = self._validated(ctx)
        deadline = Deadline(ctx)
        attempt = 0
        while True:
            limit = TimeLimit(self._limit_ms(deadline))
            try:
                with limit:
                    return self._attempt(ctx, event)
            except TaskValidationError:
                raise
            except Exception as error:
                if limit.cut_short:
                    raise
                delay_ms = next_delay_ms(attempt, self.retries, self.retry_delay_ms, deadline.remaining_ms())
                if delay_ms is None:
                    raise
                self._log_retry(error, attempt, delay_ms)
            pause(delay_ms / 1000)
            attempt += 1

    async def _ainner(self, ctx: TaskContext) -> Any:
        from venturekit.runtime.attempts import within

        event = self._validated(ctx)
        deadline = Deadline(ctx)
        attempt = 0
        while True:
            try:
                limit_ms = self._limit_ms(deadline)
                return await within(self._aattempt(ctx, event, limit_ms), limit_ms)
            except TaskValidationError:
                raise
            except Exception as error:
                delay_ms = next_delay_ms(attempt, self.retries, self.retry_delay_ms, deadline.remaining_ms())
                if delay_ms is None:
                    raise
                self._log_retry(error, attempt, delay_ms)
            await apause(delay_ms / 1000)
            attempt += 1

    def _limit_ms(self, deadline: Deadline) -> int | None:
        """How long an attempt may take: never past the end of the function's own time, so that it can roll back."""
        if self.timeout_ms is None and not self.transactional:
            return None
        remaining_ms = deadline.remaining_ms()
        if remaining_ms <= 0:
            raise TaskTimeoutError(0)
        limit_ms = remaining_ms if self.timeout_ms is None else min(self.timeout_ms, remaining_ms)
        return limit_ms if limit_ms < NO_DEADLINE_MS - MARGIN_MS else None

    def _validated(self, ctx: TaskContext) -> Any:
        if self.event_schema is not None:
            try:
                ctx.event = parsed(self.event_schema, ctx.event)
            except SchemaError as problem:
                raise TaskValidationError(problem.issues) from None
        return ctx.event

    def _attempt(self, ctx: TaskContext, event: Any) -> Any:
        arguments = (event, ctx, ctx.logger)[: self._arity]
        if not self.transactional:
            return self._checked(self.fn(*arguments))
        transaction, _ = transactions.begin(asynchronous=False)
        with transaction as ctx.tx:
            return self._checked(self.fn(*arguments))

    async def _aattempt(self, ctx: TaskContext, event: Any, limit_ms: int | None) -> Any:
        arguments = (event, ctx, ctx.logger)[: self._arity]
        if not self.transactional:
            return await self._acall_fn(arguments, limit_ms)
        transaction, is_asynchronous = transactions.begin(asynchronous=True)
        if is_asynchronous:
            async with transaction as ctx.tx:
                return await self._acall_fn(arguments, limit_ms)
        with transaction as ctx.tx:
            return await self._acall_fn(arguments, limit_ms)

    async def _acall_fn(self, arguments: tuple[Any, ...], limit_ms: int | None) -> Any:
        if self._fn_is_async:
            return await self.fn(*arguments)
        # Among asynchronous middleware a function that blocks cannot be cancelled, but interrupted.
        with TimeLimit(limit_ms):
            return self._checked(self.fn(*arguments))

    # --- logs -----------------------------------------------------------------------------------------------------

    def _log_start(self, ctx: TaskContext) -> float:
        if self.task_log:
            self.logger.debug("task started", {"function": ctx.function_name or self.__name__})
        return time.perf_counter()

    def _log_end(self, began: float) -> None:
        if self.task_log:
            self.logger.info("task completed", {"durationMs": round((time.perf_counter() - began) * 1000, 2)})

    def _log_failure(self, error: BaseException, began: float) -> None:
        if self.task_log:
            # The runtime writes the stack trace of what a function raises: once is enough.
            duration_ms = round((time.perf_counter() - began) * 1000, 2)
            fields = {"errorType": type(error).__name__, "errorMessage": error, "durationMs": duration_ms}
            self.logger.error("task failed", fields)

    def _log_retry(self, error: Exception, attempt: int, delay_ms: int) -> None:
        fields = {"attempt": attempt + 1, "errorType": type(error).__name__, "errorMessage": error}
        self.logger.warn("attempt failed, trying again", {**fields, "delayMs": delay_ms})

    def __repr__(self) -> str:
        return f"<task handler {self.__module__}.{self.__name__}>"


@overload
def task_handler(fn: TaskHandlerFn[E], /, *, event: EventSchema[E], **options: Unpack[TaskOptions]) -> TaskHandler: ...


@overload
def task_handler(
    *, event: EventSchema[E], **options: Unpack[TaskOptions]
) -> Callable[[TaskHandlerFn[E]], TaskHandler]: ...


@overload
def task_handler(
    fn: TaskHandlerFn[Any] | Mapping[str, Any], /, *, event: None = None, **options: Unpack[TaskOptions]
) -> TaskHandler: ...


@overload
def task_handler(
    *, event: None = None, **options: Unpack[TaskOptions]
) -> Callable[[TaskHandlerFn[Any]], TaskHandler]: ...


def task_handler(fn: Any = None, /, **options: Any) -> Any:
    """Make a Lambda handler of a function of (event, ctx, logger), of which it may take fewer.

    In the three forms of ``handler()``::

        @task_handler(event=Order, retries=2)
        def main(event: Order, ctx: TaskContext, logger: Logger) -> dict: ...

    ``event``: its schema; what does not fit is a TaskValidationError, and never tried again. ``timeout_ms``: how long
    one attempt may take (TaskTimeoutError). ``retries``: further attempts within one invocation, after
    ``retry_delay_ms`` that double each time; one that the remaining time of the function does not allow is not begun.
    ``transactional``: each attempt in a transaction of its own, ``ctx.tx``; it ends before Lambda's own limit does, to
    be rolled back. ``middleware``, ``log_level``, ``logger``
    as with ``handler()``; ``task_log``: whether its end is logged at ``info``, its start at ``debug``.

    Raises HandlerConfigError, MiddlewareError, TypeError for what cannot work. Source: seed 001, ``taskHandler``.
    """
    if fn is None:
        return lambda given: TaskHandler(given, **options)
    if hasattr(fn, "keys") and not callable(fn):
        if "fn" not in fn:
            raise HandlerConfigError("the object form of task_handler() needs its function under 'fn'")
        return TaskHandler(**{**fn, **options})
    return TaskHandler(fn, **options)
