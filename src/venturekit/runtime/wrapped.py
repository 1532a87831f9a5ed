"""What handlers of requests and tasks have in common: a function with its middleware, its logger and its two doors."""

from __future__ import annotations

from sys import modules
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime._process import TRACING_API
from venturekit.runtime._process import run as run_to_end
from venturekit.runtime.logs import level_number
from venturekit.runtime.logs import logger as default_logger
from venturekit.runtime.middleware.base import (
    arguments_by_position,
    async_chain,
    chain_of,
    is_async,
    middleware_of,
    mixed,
    sync_chain,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from venturekit.runtime.logs import Logger

_ARGUMENTS = 3
KEEPS_RESULTS: Final = "venturekit_keeps_results"
"""The attribute of functions that keep their results themselves, as ``@idempotent`` makes them."""


class HandlerConfigError(TypeError):
    """A handler that cannot work as it is declared; the text says why and what to do."""


class WrappedFunction:
    """A function of up to three arguments by position, which ``arguments`` names. ``fn`` is the function inside.

    Raises HandlerConfigError, MiddlewareError for what cannot work.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        arguments: str,
        middleware: Sequence[Any],
        log_level: str | None,
        logger: Logger | None,
        transactional: bool,
    ) -> None:
        self.fn = fn
        self.__wrapped__ = fn
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)
        self.__doc__ = getattr(fn, "__doc__", None)
        self.__module__ = getattr(fn, "__module__", self.__module__)
        if transactional and getattr(fn, KEEPS_RESULTS, False):
            raise HandlerConfigError(
                f"{self.__name__} is @idempotent and transactional: its result would be kept before its transaction is "
                "committed, and given again when it was not. Take @idempotent from it, and give the handler "
                "middleware=[idempotency_middleware(key=...)]"
            )
        self.transactional = transactional
        self.middleware = [middleware_of(given) for given in middleware]
        self.is_async = False
        self._given_logger = logger
        self._log_level = None if log_level is None else checked_level(log_level)
        self._logger: Logger | None = None
        self._arity = arity_of(fn, _ARGUMENTS, arguments)
        self._fn_is_async = is_async(fn)

    def _chained(
        self, inner: Callable[[Any], Any], ainner: Callable[[Any], Awaitable[Any]], *, waits: bool = False
    ) -> Callable[[Any], Any]:
        """Middleware and function as one; ``waits``: asynchronous, even if none of them says so."""
        chain = chain_of(self.middleware)
        self.is_async = waits or self._fn_is_async or any(part.fn is None for part in chain)
        if self.is_async and any(part.async_fn is None for part in chain):
            raise mixed(chain)
        whole = async_chain(chain, ainner) if self.is_async else sync_chain(chain, inner)

        def run(ctx: Any) -> Any:
            # Nobody who traces has not loaded the API: without it this is all that tracing costs.
            if TRACING_API not in modules:
                return whole(ctx)
            from venturekit.runtime.telemetry.spans import in_span

            return in_span(whole, ctx, self)

        return run

    @property
    def logger(self) -> Logger:
        """The logger of this handler."""
        if self._logger is None:
            base = self._given_logger or default_logger
            self._logger = base if self._log_level is None else base.child(min_level=self._log_level)
        return self._logger

    def acall(self, event: Any, context: Any = None) -> Coroutine[Any, Any, Any]:
        """Answer one event, within an event loop."""
        raise NotImplementedError

    def _run(self, event: Any, context: Any) -> Any:
        import asyncio

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return run_to_end(self.acall(event, context))
        raise RuntimeError(
            f"{self.__name__} is asynchronous and an event loop is running: call it with "
            f"`await {self.__name__}.acall(event, context)`"
        )

    def _checked(self, value: Any) -> Any:
        """What the function returned. Raises HandlerConfigError for a coroutine, which nobody would await."""
        if hasattr(value, "__await__"):
            value.close() if hasattr(value, "close") else None
            raise HandlerConfigError(
                f"{self.__name__} returned a coroutine: it is wrapped in a function that is not async def itself"
            )
        return value


def arity_of(fn: Callable[..., Any], most: int, names: str) -> int:
    """How many of the arguments that there are a function takes by position. Raises HandlerConfigError for more."""
    try:
        needed, taken = arguments_by_position(fn)
    except (TypeError, ValueError):
        return most
    if needed > most:
        raise HandlerConfigError(
            f"{getattr(fn, '__name__', fn)} needs {needed} arguments by position, and there are {most}: {names}"
        )
    # What has a default beyond those that there are is the function's own.
    return most if taken is None else min(taken, most)


def checked_level(level: Any) -> str:
    """A log level, which is looked at when it is declared and not by the first request. Raises HandlerConfigError."""
    try:
        level_number(level)
    except (ValueError, AttributeError):
        raise HandlerConfigError(f"log_level is {level!r}: 'debug', 'info', 'warn' and 'error' are levels") from None
    return level  # type: ignore[no-any-return]
