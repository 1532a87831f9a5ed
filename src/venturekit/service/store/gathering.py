"""Handing intentions to the writer together, so that they share a commit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from venturekit.service.store.errors import StoreError

if TYPE_CHECKING:
    from venturekit.service.store.store import Store
    from venturekit.service.store.writer import Intention


class Gathering:
    """Intentions of one event loop: while some are being committed, further ones gather and then go together.

    Without it two that follow their own commits, one after the other each, would take turns at the writer for ever and
    never share one. What those who waited for a commit begin when they hear of it goes with the next.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gathered: list[tuple[Intention, bool, asyncio.Future[Any]]] = []
        self._under_way = 0

    def begin(self, intention: Intention, *, essential: bool = False) -> asyncio.Future[Any]:
        """See :meth:`Store.begin`; what that raises, the future does."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._gathered.append((intention, essential, future))
        if not self._under_way:
            self._hand_over()
        return future

    def _hand_over(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._under_way = len(gathered)
        for intention, essential, future in gathered:
            future.add_done_callback(self._done)
            try:
                self._store.carry_out(intention, future, essential=essential)
            except StoreError as error:
                future.set_exception(error)

    def _done(self, future: asyncio.Future[Any]) -> None:
        if self._under_way > 1:
            self._under_way -= 1
        else:
            # Not before all others hear of it, who stand behind in the loop's queue.
            future.get_loop().call_soon(self._hand_over)
