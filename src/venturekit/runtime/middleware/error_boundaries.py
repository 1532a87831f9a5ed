"""The error boundary as a middleware. Source: seed 001, ``errorBoundaryMiddleware``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime.boundary import error_to_response
from venturekit.runtime.context import RequestContext
from venturekit.runtime.middleware.base import is_async
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

    ErrorHandler = Callable[[Exception, Any], Any]


def error_boundary_middleware(handler: ErrorHandler | None = None) -> Middleware:
    """Turns what the chain inside of it raises into a response::

        def not_in_stock(error, ctx):
            if isinstance(error, OutOfStock):
                return Response({"error": {"code": "OUT_OF_STOCK", "message": "Sold out"}}, 409)
            return None

        main = handler(order, middleware=[error_boundary_middleware(not_in_stock)])

    ``handler(error, ctx)``, which may be a coroutine function in asynchronous chains, answers with a ``Response``, or
    with None for the usual one: that of the error boundary around every HTTP handler, which is there without this
    middleware and never tells a caller more than a ``VentureError`` says. In a task, ``handler`` may give the result
    instead; with None the error goes on, since who called a task is told by its exception.

    Source: seed 001, ``errorBoundaryMiddleware``.
    """

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        try:
            return (yield NEXT)
        except Exception as error:
            if handler is not None:
                result = handler(error, ctx)
                if hasattr(result, "__await__"):
                    result = yield result
                if result is not None:
                    return result
            if isinstance(ctx, RequestContext):
                return error_to_response(error, ctx)
            raise

    return from_steps("error_boundary", steps, waits=handler is not None and is_async(handler))
