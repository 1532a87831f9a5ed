"""Coroutine handlers: one event loop for the life of the environment, so that what a function keeps stays usable."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from typing import Any


async def _nothing() -> None: ...


_never_run = _nothing()
COROUTINE_TYPE = type(_never_run)
_never_run.close()


class CoroutineRunner:
    """Runs coroutines to their end. asyncio is imported by `prepare`, not before."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: AbstractEventLoop | None = None

    def prepare(self) -> AbstractEventLoop:
        """The loop; made on first use."""
        if self._loop is None:
            import asyncio

            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def run(self, coroutine: Any) -> Any:
        """The coroutine's result.

        Every run has a copy of the context of its own: a context variable does not outlive its invocation. Raises what
        the coroutine raises; a cancellation that gets out becomes an ordinary failure of the invocation.
        """
        loop = self._loop or self.prepare()
        from asyncio import CancelledError

        try:
            return loop.run_until_complete(coroutine)
        except CancelledError as error:
            raise HandlerCancelledError(str(error) or "the handler's task was cancelled") from error


class HandlerCancelledError(Exception):
    """The handler was cancelled from within."""
