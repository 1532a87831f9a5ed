"""The two clients behind one blocking interface, so that one test asks both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from venturekit.client import AsyncLambdaClient, LambdaClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.client import InvocationResponse


class Blocking:
    """``LambdaClient``. ``waits`` are the seconds it wanted to wait before it tried again: it does not."""

    kind = "blocking"

    def __init__(self, url: str, **options: Any) -> None:
        waits = self.waits = list[float]()

        class Impatient(LambdaClient):
            def _wait(self, seconds: float) -> None:
                waits.append(seconds)

        self.client = Impatient(endpoint_url=url, **{"unsigned": True, **options})

    def send(self, command: Any) -> Any:
        return self.client.send(command)

    def invoke(self, *arguments: Any, **options: Any) -> InvocationResponse:
        return self.client.invoke(*arguments, **options)

    def stream(self, name: str, payload: Any = None, **options: Any) -> Iterator[bytes]:
        """The chunks; closed if they are not taken to the end."""
        with self.client.invoke_stream(name, payload, **options) as stream:
            yield from stream

    def events(self, command: Any) -> list[Any]:
        """All events of a streamed answer."""
        with self.client.send(command).EventStream as events:
            return list(events)

    def taken(self) -> int:
        """How many connections are in use."""
        connections = self.client._connections
        assert len(connections._busy) == self.client.config.max_connections - connections._free.qsize()
        return len(connections._busy)

    def set_chance(self, value: float) -> None:
        self.client._caller.chance = lambda: value

    def close(self) -> None:
        self.client.close()


class Asynchronous:
    """``AsyncLambdaClient`` on an event loop of its own, which runs while something is asked."""

    kind = "asynchronous"

    def __init__(self, url: str, **options: Any) -> None:
        waits = self.waits = list[float]()

        class Impatient(AsyncLambdaClient):
            async def _wait(self, seconds: float) -> None:
                waits.append(seconds)

        self.runner = asyncio.Runner()
        self.client = Impatient(endpoint_url=url, **{"unsigned": True, **options})

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    def send(self, command: Any) -> Any:
        return self.run(self.client.send(command))

    def invoke(self, *arguments: Any, **options: Any) -> InvocationResponse:
        answered: InvocationResponse = self.run(self.client.invoke(*arguments, **options))
        return answered

    def stream(self, name: str, payload: Any = None, **options: Any) -> Iterator[bytes]:
        stream = self.client.invoke_stream(name, payload, **options)
        try:
            while (chunk := self.run(_next(stream))) is not None:
                yield chunk
        finally:
            self.run(stream.aclose())

    def events(self, command: Any) -> list[Any]:
        async def collect() -> list[Any]:
            output = await self.client.send(command)
            async with output.EventStream as events:
                return [event async for event in events]

        found: list[Any] = self.run(collect())
        return found

    def taken(self) -> int:
        return self.client.config.max_connections - self.client._transport._free._value

    def set_chance(self, value: float) -> None:
        self.client._caller.chance = lambda: value

    def close(self) -> None:
        self.run(self.client.aclose())
        self.runner.close()


async def _next(stream: Any) -> Any:
    return await anext(stream, None)


BOTH = (Blocking, Asynchronous)
