"""What there is once in a process: the transaction provider, the default invoker, its breakers, event loops, waiting.

The seeds make these process-wide. Nothing else in the framework keeps state in a module, but the default logger.
"""

from __future__ import annotations

import sys
from _thread import _local
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable, Coroutine

    from venturekit.runtime.transactions import TransactionProvider

TRACING_API: Final = "opentelemetry.trace"
"""The module that whoever sets up OpenTelemetry has loaded."""


class _State:
    __slots__ = (
        "apause",
        "breakers",
        "connections",
        "invoker",
        "log_second",
        "loops",
        "management",
        "pause",
        "transactions",
        "was_invoked",
    )

    def __init__(self) -> None:
        self.transactions: TransactionProvider | None = None
        self.invoker: Any = None
        self.breakers: Any = None
        # Where connections are kept, and what sends messages to them.
        self.connections: Any = None
        self.management: Any = None
        # Whether a traced invocation was before this one: the first is a cold start.
        self.was_invoked = False
        # How retries wait, in seconds: tests set these to a clock of their own.
        self.pause: Callable[[float], None] | None = None
        self.apause: Callable[[float], Awaitable[None]] | None = None
        # The text of a second is made once: it is the greater part of a timestamp. No second is -1.
        self.log_second: tuple[int, str] = (-1, "")
        # An event loop belongs to its thread. Lambda calls handlers in one, tests may do otherwise.
        self.loops = _local()


state = _State()


def reset() -> None:
    """Forget everything, as tests want it between them."""
    for kept in (state.invoker, state.management, state.connections):
        close = getattr(kept, "close", None)
        if close is not None:
            close()
    loop: AbstractEventLoop | None = getattr(state.loops, "loop", None)
    if loop is not None:
        from asyncio import sleep

        # Connections that belong to the loop need a turn of it to close.
        loop.run_until_complete(sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    logs = sys.modules.get("venturekit.runtime.logs")
    if logs is not None:
        logs.logger._forget()
    state.__init__()  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on the one event loop of this thread.

    The loop stays for the life of the execution environment: what handlers keep open on it is there the next time.
    ``asyncio.Runner`` would take eight times as long for each call, most of it for the handler of Ctrl-C.
    """
    loop: AbstractEventLoop | None = getattr(state.loops, "loop", None)
    if loop is None or loop.is_closed():
        import asyncio

        loop = state.loops.loop = asyncio.new_event_loop()
    return loop.run_until_complete(coroutine)


def pause(seconds: float) -> None:
    """Wait before another attempt."""
    if state.pause is not None:
        state.pause(seconds)
        return
    from time import sleep

    sleep(seconds)


async def apause(seconds: float) -> None:
    """The same on the event loop."""
    if state.apause is not None:
        await state.apause(seconds)
        return
    from asyncio import sleep

    await sleep(seconds)
