"""A limit for the time of a request. Source: seed 001, ``timeoutMiddleware``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime.attempts import Deadline, TimeLimit, within
from venturekit.runtime.context import RequestContext
from venturekit.runtime.errors import ServiceUnavailableError, TaskTimeoutError
from venturekit.runtime.middleware.base import Middleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from venturekit.runtime.context import BaseContext


class RequestTimeoutError(ServiceUnavailableError):
    """503: a request took longer than ``timeout_middleware`` lets it; ``timeout_ms`` is the limit that it met."""

    def __init__(self, timeout_ms: int) -> None:
        super().__init__(details={"timeoutMs": timeout_ms})
        self.timeout_ms = timeout_ms
        self.message = f"The request did not end within {timeout_ms} ms"
        self.args = (self.message,)


def timeout_middleware(ms: int) -> Middleware:
    """Ends what takes longer than ``ms`` milliseconds::

        main = handler(report, middleware=[timeout_middleware(5000)])

    A request is answered with 503 (RequestTimeoutError), a task raises TaskTimeoutError, all its attempts together
    having had the time. It never waits past the end of the invocation: what Lambda leaves is the limit if it is less.

    An asynchronous handler is cancelled where it awaits. A blocking one is interrupted by an exception, wherever it
    is, which needs the main thread: in another thread, and for a blocking function within an asynchronous chain, only
    Lambda's own timeout holds. Whoever catches every ``Exception`` catches this one too.

    Raises ValueError for a limit that is none. Source: seed 001, ``timeoutMiddleware``.
    """
    if ms <= 0:
        raise ValueError(f"the limit of timeout_middleware is in milliseconds and positive, and not {ms}")

    def fn(ctx: BaseContext, next: Callable[[], Any]) -> Any:
        with TimeLimit(_limit_ms(ctx, ms), _error_of(ctx)):
            return next()

    async def async_fn(ctx: BaseContext, next: Callable[[], Awaitable[Any]]) -> Any:
        return await within(next(), _limit_ms(ctx, ms), _error_of(ctx))

    return Middleware("timeout", fn, async_fn=async_fn)


def _limit_ms(ctx: BaseContext, ms: int) -> int:
    return max(1, min(ms, Deadline(ctx).remaining_ms()))


def _error_of(ctx: BaseContext) -> Callable[[int], Exception]:
    return RequestTimeoutError if isinstance(ctx, RequestContext) else TaskTimeoutError
