"""The helper process from its start to its end, which is the service's end at the latest."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.aws import AwsClients
from venturekit.service.polling import frames
from venturekit.service.polling.channel import Channel
from venturekit.service.polling.environ import variables
from venturekit.service.polling.functions import RemoteFunction, Requests, parse_view
from venturekit.service.polling.sqs import SqsQueues
from venturekit.service.polling.sqs_api import SqsApi
from venturekit.service.sources.mapping import EventSourceMapping
from venturekit.service.sources.poller import Poller, Surroundings
from venturekit.service.sources.ports import QueueRefusedError
from venturekit.service.sources.threads import CallThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

logger = logging.getLogger("venturekit.polling")
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
RECEIVING_THREADS: Final = 128
"""So many requests wait for messages of queues at once; each waits for 20 seconds at most."""
SETTLING_THREADS: Final = 32
GIVING_BACK_SECONDS: Final = 1.0
NICENESS: Final = 5
"""Callers wait for invocations, and nobody waits for messages of a queue."""


def main(arguments: Sequence[str]) -> int:
    """Poll for the service at the other end of the socket whose descriptor is given. Returns the exit status."""
    logging.basicConfig(stream=sys.stderr, format=LOG_FORMAT)
    os.nice(NICENESS)
    connection = socket.socket(fileno=int(arguments[0]))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(connection))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    helper = Helper()
    await loop.create_connection(lambda: helper.channel, sock=connection)
    await asyncio.Event().wait()


def _end(error: Exception | None) -> None:
    """The service is gone, or this process of no more use. Threads may wait for messages, and are not waited for."""
    if error is not None:
        logger.error("polling of queues ends", exc_info=error)
    os._exit(0 if error is None else 1)


@dataclass(slots=True)
class Polled:
    """One mapping."""

    poller: Poller
    function: RemoteFunction
    result: str = ""


class Helper:
    """Does what the service says."""

    def __init__(self) -> None:
        self.channel = Channel(self._receive, _end)
        self._requests = Requests(self.channel)
        self._polled: dict[int, Polled] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _receive(self, channel: Channel, kind: int, number: int, body: bytes) -> None:
        match kind:
            case frames.ANSWER:
                self._requests.answered(number, frames.Answer.parse(body))
            case frames.VIEW:
                self._requests.answered(number, parse_view(body))
            case frames.PING:
                channel.send(frames.PONG)
            case frames.POLL:
                self._poll(number, _mapping(body))
            case frames.CHANGE | frames.STOP | frames.ABANDON:
                # It may have ended while this was on its way.
                if number in self._polled:
                    self._change(kind, number, body)
            case frames.DESCRIBE:
                self._spawn(self._describe(number, body.decode()))
            case frames.CONFIGURE:
                self._configure(json.loads(body))

    def _configure(self, configuration: dict[str, Any]) -> None:
        logger.setLevel(configuration["log_level"].upper())
        own_url = configuration["own_url"]
        aws = AwsClients(
            variables(), region=configuration["region"], allow_aws=configuration["allow_aws"], own_url=lambda: own_url
        )
        self._queues = SqsQueues(SqsApi(aws, wall=time.time))
        self._around = Surroundings(
            queues=self._queues,
            receiving=CallThreads(RECEIVING_THREADS, "receive-messages"),
            settling=CallThreads(SETTLING_THREADS, "settle-messages"),
            new_trace=_new_trace,
            monotonic=time.monotonic,
            report=_report,
        )
        self.channel.send(frames.READY)

    # --- pollers ------------------------------------------------------------------------------------------------

    def _poll(self, number: int, mapping: EventSourceMapping) -> None:
        function = RemoteFunction(number, self._requests, time.monotonic)

        def told(result: str) -> None:
            if result != polled.result:
                polled.result = result
                self.channel.send(frames.TOLD, number, result.encode("utf-8", "replace"))

        polled = Polled(Poller(mapping, function, self._around, told), function)
        self._polled[number] = polled
        polled.poller.start()

    def _change(self, kind: int, number: int, body: bytes) -> None:
        polled = self._polled[number]
        match kind:
            case frames.CHANGE:
                polled.poller.mapping = _mapping(body)
                polled.function.forget()
            case frames.STOP:
                polled.poller.stop()
                self._spawn(self._rest(number, polled.poller))
                self._spawn(self._ended(number, polled.poller))
            case frames.ABANDON:
                polled.poller.abandon()
                self._spawn(self._ended(number, polled.poller))

    async def _rest(self, number: int, poller: Poller) -> None:
        await poller.rested()
        self.channel.send(frames.RESTING, number)

    async def _ended(self, number: int, poller: Poller) -> None:
        await poller.ended()
        await poller.given_back(GIVING_BACK_SECONDS)
        # It may have been stopped before it was abandoned.
        if self._polled.pop(number, None) is not None:
            self.channel.send(frames.ENDED, number)

    # --- the rest -----------------------------------------------------------------------------------------------

    async def _describe(self, number: int, arn: str) -> None:
        try:
            description = await self._around.settling.run(lambda: self._queues.describe(arn))
            answer: dict[str, Any] = {"visibilitySeconds": description.visibility_seconds}
        except QueueRefusedError as error:
            answer = {"code": error.code, "message": error.message}
        except Exception as error:
            # Whatever it is, only who asks is to hear of it.
            answer = {"problem": str(error) or type(error).__name__}
        self.channel.send(frames.DESCRIBED, number, json.dumps(answer).encode())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The service would wait for what never comes.
            _end(error if isinstance(error, Exception) else None)


def _mapping(body: bytes) -> EventSourceMapping:
    account_id, uuid, document = json.loads(body)
    return EventSourceMapping.of(account_id, uuid, document)


def _new_trace() -> bytes:
    digits = os.urandom(20).hex()
    return f"Root=1-{int(time.time()):08x}-{digits[:24]};Parent={digits[24:]};Sampled=0".encode()


def _report(error: BaseException) -> None:
    logger.error("unexpected failure", exc_info=error)
