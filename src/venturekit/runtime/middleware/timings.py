"""How long a response took, told to the caller. Source: seed 001, ``timingMiddleware``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from venturekit.runtime.context import RequestContext
from venturekit.runtime.middleware.headers import checked_name
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware


def timing_middleware(header: str = "X-Response-Time", *, clock: Callable[[], float] = time.perf_counter) -> Middleware:
    """Adds how long the rest of the chain took, ``X-Response-Time: 12.34ms``, to responses and to errors::

        main = handler(list_users, middleware=[timing_middleware()])

    ``clock`` gives seconds. A task has no response to carry it: there it does nothing.

    Raises ValueError for what is no name of a header. Source: seed 001, ``timingMiddleware``.
    """
    name = checked_name(header)

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        if not isinstance(ctx, RequestContext):
            return (yield NEXT)
        began = clock()
        try:
            return (yield NEXT)
        finally:
            ctx.response_headers[name] = f"{(clock() - began) * 1000:.2f}ms"

    return from_steps("timing", steps)
