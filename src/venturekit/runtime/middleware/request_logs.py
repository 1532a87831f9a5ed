"""Logs of start, completion and failure. Source: seed 001, ``loggingMiddleware``; the middleware guide."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from venturekit.runtime.context import RequestContext
from venturekit.runtime.errors import VentureError
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.logs import Logger
    from venturekit.runtime.middleware.base import Middleware


def logging_middleware(logger: Logger | None = None, *, clock: Callable[[], float] = time.perf_counter) -> Middleware:
    """Logs when the rest of the chain starts, and how it ended, with ``durationMs``, in milliseconds::

        audit = create_logger({"log": "audit"})
        main = handler(place_order, access_log=False, middleware=[logging_middleware(audit)])

    Every handler logs start and end by itself; ``access_log=False``, or ``task_log=False`` of a task, turns that off
    where this takes its place. ``logger`` is the handler's unless it is given. A failure is logged by its type and
    message, as a warning when the caller caused it, and raised again: the stack trace is the error boundary's matter.

    Source: seed 001, ``loggingMiddleware``.
    """

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        log = logger or ctx.logger
        what, about = _described(ctx)
        log.info(f"{what} started", about)
        began = clock()
        try:
            result = yield NEXT
        except Exception as error:
            fields = {**about, "errorType": type(error).__name__, "errorMessage": str(error), **_took(clock() - began)}
            if isinstance(error, VentureError) and error.status_code < 500:
                log.warn(f"{what} failed", {**fields, "status": error.status_code})
            else:
                log.error(f"{what} failed", fields)
            raise
        status = getattr(result, "status_code", None) if what == "request" else None
        log.info(
            f"{what} completed", {**about, **({} if status is None else {"status": status}), **_took(clock() - began)}
        )
        return result

    return from_steps("logging", steps)


def _described(ctx: BaseContext) -> tuple[str, dict[str, Any]]:
    if isinstance(ctx, RequestContext):
        return "request", {"method": ctx.method, "path": ctx.path}
    return "task", {"function": getattr(ctx, "function_name", "")}


def _took(seconds: float) -> dict[str, float]:
    return {"durationMs": round(seconds * 1000, 2)}
