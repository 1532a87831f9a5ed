"""What there is once in a process: the transaction provider, the default invoker, its breakers, the event loop.

The seeds make these process-wide. Nothing else in the framework keeps state in a module, but the default logger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from venturekit.runtime.transactions import TransactionProvider


class _State:
    __slots__ = ("breakers", "invoker", "runner", "transactions")

    def __init__(self) -> None:
        self.transactions: TransactionProvider | None = None
        self.runner: asyncio.Runner | None = None
        self.invoker: Any = None
        self.breakers: Any = None


state = _State()


def reset() -> None:
    """Forget everything, as tests want it between them."""
    if state.runner is not None:
        state.runner.close()
    state.__init__()  # type: ignore[misc]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end on the one event loop of this process.

    The loop stays for the life of the execution environment: what handlers keep open on it is there the next time.
    """
    if state.runner is None:
        import asyncio

        state.runner = asyncio.Runner()
    return state.runner.run(coroutine)
