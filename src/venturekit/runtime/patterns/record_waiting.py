"""One text of a store for blocking and asynchronous clients: a generator that yields what the client gave."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

    T = TypeVar("T")


def finish(flow: Generator[Any, Any, T]) -> T | Awaitable[T]:
    """The flow's result, or an awaitable of it as soon as the flow yields something that has to be awaited."""
    try:
        asked = flow.send(None)
        while not isinstance(asked, Awaitable):
            asked = flow.send(asked)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    return _awaited(flow, asked)


async def _awaited(flow: Generator[Any, Any, T], asked: Awaitable[Any]) -> T:
    try:
        while True:
            try:
                given = await asked if isinstance(asked, Awaitable) else asked
            except BaseException as error:
                asked = flow.throw(error)
                continue
            asked = flow.send(given)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
