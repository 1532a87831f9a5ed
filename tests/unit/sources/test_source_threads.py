"""Whose turn it is when more calls than threads wait."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from venturekit.service.sources.threads import CallThreads

LONG_SECONDS = 10.0


def test_urgent_calls_go_first_and_the_others_have_their_turn() -> None:
    """A queue with messages must not wait behind hundreds of queues without any."""
    order: list[str] = []
    begun, goes_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        goes_on.wait(LONG_SECONDS)

    async def run() -> None:
        threads = CallThreads(1, "test")
        calls = [threads.run(hold)]
        await asyncio.to_thread(begun.wait, LONG_SECONDS)
        calls += [threads.run(partial(order.append, f"idle {number}")) for number in range(3)]
        calls += [threads.run(partial(order.append, f"urgent {number}"), urgent=True) for number in range(5)]
        goes_on.set()
        async with asyncio.timeout(LONG_SECONDS):
            await asyncio.gather(*calls)

    asyncio.run(run())
    urgent = [f"urgent {number}" for number in range(5)]
    assert [each for each in order if each in urgent] == urgent
    assert [each for each in order if each not in urgent] == ["idle 0", "idle 1", "idle 2"]
    assert order[0] == "urgent 0"
    assert order.index("idle 0") == 3
