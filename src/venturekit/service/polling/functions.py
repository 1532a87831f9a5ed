"""Functions of mappings as the helper process sees them: the service has them."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.polling import frames
from venturekit.service.sources.ports import FunctionView

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.polling.channel import Channel
    from venturekit.service.sources.invoking import Outcome

VIEW_SECONDS: Final = 1.0
"""How long what is known of a function serves; every answer tells anew whether it has room."""
ROOM_SECONDS: Final = 0.1


class Requests:
    """What was asked of the service and is not answered yet."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}

    async def ask(self, kind: int, body: bytes) -> Any:
        """Send a request and wait for its answer."""
        number = next(self._numbers) & 0xFFFFFFFF
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        self._channel.send(kind, number, body)
        try:
            return await answer
        finally:
            del self._open[number]

    def answered(self, number: int, answer: object) -> None:
        """The answer of a request; maybe nobody waits for it any more."""
        waiting = self._open.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


class RemoteFunction:
    """The function of the poller ``number``: see :class:`venturekit.service.sources.ports.MappedFunction`."""

    def __init__(self, number: int, requests: Requests, monotonic: Callable[[], float]) -> None:
        self._number = number
        self._requests = requests
        self._monotonic = monotonic
        self._view = FunctionView(0)
        self._viewed = self._room_known = -math.inf

    def forget(self) -> None:
        """It may be another one from now on."""
        self._viewed = -math.inf

    async def look(self, *, anew: bool = False) -> FunctionView:
        """What it is."""
        now = self._monotonic()
        if anew or now - self._viewed >= VIEW_SECONDS or now - self._room_known >= ROOM_SECONDS:
            self._view = await self._requests.ask(frames.LOOK, frames.encode_number(self._number))
            self._viewed = self._room_known = self._monotonic()
        return self._view

    async def invoke(self, payload: bytes, trace: bytes, *, answered: bool) -> Outcome:
        """Run it with an event."""
        answer: frames.Answer = await self._requests.ask(
            frames.INVOKE, frames.Invocation(self._number, answered, trace, payload).encoded()
        )
        # Only a yes is kept: without room the service is asked until there is some.
        self._room_known = self._monotonic() if answer.has_room and self._view.room else -math.inf
        return answer.outcome


def encode_view(view: FunctionView) -> bytes:
    """The body of VIEW."""
    values = [view.room, view.problem, view.timeout_seconds, view.invoked_arn, view.recursion_allowed]
    return json.dumps(values).encode()


def parse_view(body: bytes) -> FunctionView:
    """The inverse of ``encode_view``."""
    return FunctionView(*json.loads(body))
