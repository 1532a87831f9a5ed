"""One thing for many connections at once, some at a time: in threads, or in tasks of the event loop."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

CONCURRENCY: Final = 16


def for_each(items: Iterator[Any], act: Callable[[Any], None], concurrency: int) -> None:
    """Do something with every item, in up to ``concurrency`` threads. Raises what reading the items raised.

    The threads see the context variables of the caller. ``act`` raises nothing but what should end all of it.
    """
    first = list(islice(items, concurrency))
    if len(first) <= 1:
        for item in first:
            act(item)
        return
    from contextvars import copy_context
    from itertools import chain
    from threading import Lock, Thread

    rest, turn = chain(first, items), Lock()
    problems: list[BaseException] = []

    def work() -> None:
        try:
            while not problems:
                with turn:
                    # Reading a page holds up the others, who have enough to do by then.
                    item = next(rest, rest)
                if item is rest:
                    return
                act(item)
        except BaseException as problem:
            problems.append(problem)

    threads = [Thread(target=copy_context().run, args=(work,), name="send", daemon=True) for _ in first]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


async def afor_each(items: AsyncIterator[Any], act: Callable[[Any], Awaitable[None]], concurrency: int) -> None:
    """The same on the event loop, in up to ``concurrency`` tasks."""
    import asyncio

    end: Final[Any] = object()
    turn = asyncio.Lock()

    async def work() -> None:
        while True:
            async with turn:
                item = await anext(items, end)
            if item is end:
                return
            await act(item)

    problems = [
        outcome
        for outcome in await asyncio.gather(*(work() for _ in range(concurrency)), return_exceptions=True)
        if isinstance(outcome, BaseException)
    ]
    if problems:
        raise problems[0]
