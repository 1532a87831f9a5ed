"""Pollers of mappings, which run in the helper process, as the service knows them.

The helper process may die at any time. What it had received and not deleted comes back after the queue's visibility
timeout; invocations that run are not disturbed, and their answers are nobody's.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.polling import frames
from venturekit.service.polling.functions import encode_view
from venturekit.service.polling.process import PollingProcess
from venturekit.service.sources.invoking import Outcome
from venturekit.service.sources.ports import FunctionView, QueueDescription, QueueError, QueueRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.polling.channel import Channel
    from venturekit.service.sources.invoking import Invoker
    from venturekit.service.sources.mapping import EventSourceMapping

NOBODY: Final = Outcome(busy="the mapping is not enabled any more")
STILL_RUNNING: Final = "invocations still run that the process began which polled queues before"


class QueuePoller:
    """One poller: see :class:`venturekit.service.sources.ports.SourcePoller`."""

    def __init__(
        self, number: int, mapping: EventSourceMapping, told: Callable[[str], None], owner: QueuePollers
    ) -> None:
        self.number = number
        self._told = told
        self._result = ""
        self._mapping = mapping
        self._owner = owner
        self._is_stopped = False
        self._at_rest = asyncio.Event()
        self._gone = asyncio.Event()
        self.running = 0
        """Invocations that run."""
        self.orphans = 0
        """Those of them that a former process has begun."""

    @property
    def mapping(self) -> EventSourceMapping:
        """What it goes by."""
        return self._mapping

    @mapping.setter
    def mapping(self, mapping: EventSourceMapping) -> None:
        self._mapping = mapping
        self._owner.send(frames.CHANGE, self.number, encode_mapping(mapping))

    @property
    def busy(self) -> bool:
        """Whether messages are being processed."""
        return self.running > 0 or (self._is_stopped and not self._at_rest.is_set())

    @property
    def is_crowded(self) -> bool:
        """Whether what a former process has begun leaves no room for more."""
        return self.orphans > 0 and self.running >= self._mapping.concurrency

    def stop(self) -> None:
        """Receive nothing more."""
        if not self._is_stopped:
            self._is_stopped = True
            if not self._owner.send(frames.STOP, self.number):
                self.end()

    def abandon(self) -> None:
        """Give up at once."""
        self._is_stopped = True
        if not self._owner.send(frames.ABANDON, self.number):
            self.end()

    async def rested(self) -> None:
        """Return when no messages are being processed: after ``stop``."""
        await self._at_rest.wait()

    async def ended(self) -> None:
        """Return when nothing of it runs any more in the helper process."""
        await self._gone.wait()

    def told(self, result: str) -> None:
        """Take a processing result."""
        self._result = result
        self._told(result)

    def rest(self) -> None:
        """It was stopped, and processes nothing any more."""
        self._at_rest.set()

    def end(self) -> None:
        """Nothing of it runs any more."""
        self._at_rest.set()
        self._gone.set()
        self._owner.forget(self)

    def process_gone(self, how: str) -> None:
        """The process in which it ran is gone; another one polls on."""
        self.orphans = self.running
        if self._is_stopped:
            self.end()
        else:
            self._told(f"PROBLEM: the process that polls queues {how}; it is started again")

    def process_back(self) -> None:
        """There is another one: what was last said of its work holds again."""
        self._told(self._result)


class QueuePollers:
    """All of them, and the process: see :class:`venturekit.service.sources.ports.Pollers`."""

    def __init__(
        self,
        invoker: Invoker,
        *,
        configuration: Callable[[], Mapping[str, Any]],
        environ: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        warn: Callable[[str], None],
    ) -> None:
        self._invoker = invoker
        self._loop = loop
        self._pollers: dict[int, QueuePoller] = {}
        self._numbers = itertools.count(1)
        self._channel: Channel | None = None
        self._asked: dict[int, tuple[str, asyncio.Future[QueueDescription]]] = {}
        self.process = PollingProcess(self, configuration=configuration, environ=environ, loop=loop, warn=warn)

    def poll(self, mapping: EventSourceMapping, told: Callable[[str], None]) -> QueuePoller:
        """Begin to poll."""
        number = next(self._numbers)
        poller = self._pollers[number] = QueuePoller(number, mapping, told, self)
        self.process.need()
        self.send(frames.POLL, number, encode_mapping(mapping))
        return poller

    async def describe(self, arn: str) -> QueueDescription:
        """Ask for a queue's attributes. Raises QueueError."""
        number = next(self._numbers)
        answer: asyncio.Future[QueueDescription] = self._loop.create_future()
        self._asked[number] = arn, answer
        self.process.need()
        self.send(frames.DESCRIBE, number, arn.encode())
        try:
            return await answer
        finally:
            self._asked.pop(number, None)
            self._rest()

    async def close(self) -> None:
        """End the process."""
        self._channel = None
        await self.process.close()

    # --- the calls of pollers -------------------------------------------------------------------------------------

    def send(self, kind: int, number: int, body: bytes = b"") -> bool:
        """Send a frame; False when there is no process that hears it."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return False
        channel.send(kind, number, body)
        return True

    def forget(self, poller: QueuePoller) -> None:
        """One has ended."""
        self._pollers.pop(poller.number, None)
        self._rest()

    def _rest(self) -> None:
        if not self._pollers and not self._asked:
            self.process.rest()

    # --- the process ----------------------------------------------------------------------------------------------

    def ready(self, channel: Channel) -> None:
        """A process can be told what to do."""
        self._channel = channel
        for poller in self._pollers.values():
            channel.send(frames.POLL, poller.number, encode_mapping(poller.mapping))
            poller.process_back()
        for number, (arn, _) in self._asked.items():
            channel.send(frames.DESCRIBE, number, arn.encode())

    def gone(self, how: str) -> None:
        """It has ended."""
        self._channel = None
        for poller in tuple(self._pollers.values()):
            poller.process_gone(how)
        for _, answer in self._asked.values():
            if not answer.done():
                answer.set_exception(QueueError(f"the process that asks queues {how}"))

    def receive(self, channel: Channel, kind: int, number: int, body: bytes) -> None:
        """It sent a frame."""
        if kind == frames.INVOKE:
            self._invoke(channel, number, frames.Invocation.parse(body))
        elif kind == frames.LOOK:
            self._look(channel, number, frames.parse_number(body))
        elif kind == frames.DESCRIBED:
            self._described(number, json.loads(body))
        elif (poller := self._pollers.get(number)) is not None:
            if kind == frames.TOLD:
                poller.told(body.decode())
            elif kind == frames.RESTING:
                poller.rest()
            elif kind == frames.ENDED:
                poller.end()

    def _look(self, channel: Channel, number: int, poller_number: int) -> None:
        poller = self._pollers.get(poller_number)
        if poller is None or poller.is_crowded:
            view = FunctionView(0, STILL_RUNNING if poller else NOBODY.busy)
        else:
            view = self._invoker.look(poller.mapping)
        channel.send(frames.VIEW, number, encode_view(view))

    def _invoke(self, channel: Channel, number: int, invocation: frames.Invocation) -> None:
        poller = self._pollers.get(invocation.poller)
        if poller is None or poller.is_crowded:
            outcome = Outcome(busy=STILL_RUNNING) if poller else NOBODY
            channel.send(frames.ANSWER, number, frames.Answer(outcome, False).encoded())
            return
        mapping = poller.mapping
        poller.running += 1

        def ended(outcome: Outcome) -> None:
            poller.running -= 1
            if channel is not self._channel:
                poller.orphans = max(0, poller.orphans - 1)
                return
            if not outcome.error and outcome.payload and not invocation.answered:
                # Nobody looks at it.
                outcome = Outcome()
            channel.send(frames.ANSWER, number, frames.Answer(outcome, self._invoker.room(mapping) > 0).encoded())

        self._invoker.begin(mapping, invocation.payload, invocation.trace, ended)

    def _described(self, number: int, document: Mapping[str, Any]) -> None:
        _, answer = self._asked.get(number, ("", None))
        if answer is None or answer.done():
            return
        if "code" in document:
            answer.set_exception(QueueRefusedError(document["code"], document["message"]))
        elif "problem" in document:
            answer.set_exception(QueueError(document["problem"]))
        else:
            answer.set_result(QueueDescription(document["visibilitySeconds"]))


def encode_mapping(mapping: EventSourceMapping) -> bytes:
    """The body of POLL and CHANGE."""
    return json.dumps([mapping.account_id, mapping.uuid, mapping.document()]).encode()
