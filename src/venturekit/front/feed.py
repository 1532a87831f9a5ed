"""Keeps the table of function URLs current: it waits for changes, and looks at once where something is missing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from venturekit.front.http_client import ServerGoneError, TooManyRequestsError

if TYPE_CHECKING:
    from venturekit.front.lambda_api import LambdaApi
    from venturekit.front.table import UrlTable

logger = logging.getLogger("venturekit.front")
WAIT_SECONDS: Final = 25.0
RETRY_SECONDS: Final = 0.5
COMPLAINT_FAILURES: Final = 10
"""After so many failures in a row, which no short trouble explains, the reason is told."""


class Feed:
    """Reads the service's table into this process's. ``loaded`` is set when it has been read once."""

    def __init__(self, api: LambdaApi, table: UrlTable) -> None:
        self._api = api
        self._table = table
        self._current: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self.loaded = asyncio.Event()

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        wait = 0.0
        failures = 0
        while True:
            try:
                page = await self._api.urls(self._table.revision, wait)
                self._table.apply(page)
            except (ServerGoneError, TooManyRequestsError) as error:
                failures += 1
                level = logging.WARNING if failures == COMPLAINT_FAILURES else logging.DEBUG
                logger.log(level, "the table of function URLs cannot be read: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            failures = 0
            wait = 0.0 if page["more"] else WAIT_SECONDS
            if not page["more"]:
                self.loaded.set()

    async def refresh(self) -> None:
        """Return when the table holds every change that was made before this call. Raises ServerGoneError.

        Callers at the same time share one request; one that was sent before may not know the change.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._look_after(self._current))
        await asyncio.shield(self._next)

    async def _look_after(self, former: asyncio.Task[None] | None) -> None:
        if former is not None:
            await asyncio.wait((former,))
        self._current, self._next = self._next, None
        while True:
            page = await self._api.urls(self._table.revision, 0.0)
            self._table.apply(page)
            if not page["more"]:
                return
