"""One flow for blocking and for asynchronous stores: a generator yields what a store gave, and whoever drives it waits.

def flow():
    record = yield store.read(id, now)  # a record, or an awaitable of one
    ...

drive(flow())          # blocking: an awaitable is refused
await adrive(flow())   # awaits what has to be awaited
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

    T = TypeVar("T")


class AsyncStoreError(TypeError):
    """An asynchronous store or step was met where nothing can be awaited; the text says what to call instead."""


def drive(flow: Generator[Any, Any, T], *, instead: str) -> T:
    """The flow's result. Raises AsyncStoreError, naming what to call ``instead``, when something has to be awaited."""
    try:
        asked = flow.send(None)
        while True:
            if isinstance(asked, Awaitable):
                close = getattr(asked, "close", None)
                if close is not None:
                    close()
                refusal = AsyncStoreError(f"this is asynchronous (a store or a function of it is): use {instead}")
                asked = flow.throw(refusal)
                continue
            asked = flow.send(asked)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def adrive(flow: Generator[Any, Any, T]) -> T:
    """The flow's result; awaitables that it yields are awaited, and what they raise is raised in it."""
    try:
        asked = flow.send(None)
        while True:
            if isinstance(asked, Awaitable):
                try:
                    given = await asked
                except BaseException as error:
                    asked = flow.throw(error)
                    continue
            else:
                given = asked
            asked = flow.send(given)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
