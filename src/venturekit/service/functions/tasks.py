"""Tasks with an owner: none is lost, none outlives the control plane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class OwnedTasks:
    """The running tasks of one owner. ``report`` gets the exception of every task that nobody waits for."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._tasks: set[asyncio.Task[Any]] = set()

    async def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end, even if the caller is cancelled meanwhile: a change may be committed already."""
        task = asyncio.get_running_loop().create_task(work)
        self._keep(task)
        return await asyncio.shield(task)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start ``work``, which nobody waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._keep(task)
        task.add_done_callback(self._report_failure)

    @property
    def is_idle(self) -> bool:
        """Whether no task is running."""
        return not self._tasks

    async def settled(self) -> None:
        """Return when no task is left, those included that were started meanwhile."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self, timeout_seconds: float) -> None:
        """Give the running tasks some time, then cancel them."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.settled()
        except TimeoutError:
            for task in self._tasks:
                task.cancel()
            await self.settled()

    def _keep(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _report_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(error)
