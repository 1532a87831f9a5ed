"""One delivery: from what is owed to what is settled. Which one comes next is the outbox's matter."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.protocol.names import parse_function_reference
from venturekit.service.api.quirks import EVENT_LIMIT_BYTES
from venturekit.service.events.delivery_errors import MessageTooLargeError
from venturekit.service.events.invocation_record import OMITTED, record_forms
from venturekit.service.events.senders import parse_target
from venturekit.service.store.errors import StoreError
from venturekit.service.store.event_documents import NewEvent, Transition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.events.delivery_errors import DeliveryError
    from venturekit.service.events.invocation_record import Form
    from venturekit.service.events.sending_threads import SendingThreads
    from venturekit.service.store.outbox import Deliveries, OwedDelivery, OwedMessage

DELIVERED: Final = "delivered"
DELIVERY_FAILED: Final = "delivery-failed"
REASON_CHARACTERS: Final = 1000

HOPS: Final = 32
"""So many records become events at once, whatever functions they are for."""


class Senders(Protocol):
    """Sends messages to what is no function: :class:`venturekit.service.events.senders.Senders`, or a scripted one."""

    def obstacle(self, target: str) -> str:
        """Why nothing can be sent to this target until a restart; empty if it can be tried."""

    def send(self, message: OwedMessage) -> tuple[str, ...]:
        """Send a message, blocking; returns the members that were left out. Raises DeliveryError."""


class FunctionTargets(Protocol):
    """What the outbox has to know of the service's own functions."""

    def check_function_target(self, source_arn: str, target_arn: str) -> None:
        """Raise DeliveryError, saying why, unless ``source_arn`` may invoke ``target_arn``, which exists."""

    def accepted(self, event: NewEvent) -> None:
        """This event, made of a record, was committed."""


class SentNotSettledError(Exception):
    """The message has left, but the store did not take that: only settling it is left to do."""

    def __init__(self, error: StoreError, history: Sequence[Transition]) -> None:
        super().__init__(f"sent, but not settled: {error}")
        self.error = error
        self.history = history


class Courier:
    """Delivers one message. ``steady`` and ``wall`` tell the time in seconds, ``new_request_id()`` makes a UUID."""

    def __init__(
        self,
        deliveries: Deliveries,
        *,
        senders: Senders,
        functions: FunctionTargets,
        threads: SendingThreads,
        new_request_id: Callable[[], str],
        steady: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._senders = senders
        self._functions = functions
        self._threads = threads
        self._new_request_id = new_request_id
        self._steady = steady
        self._wall = wall
        self._hops = asyncio.Semaphore(HOPS)

    def obstacle(self, target: str) -> str:
        """Why nothing can be sent to this target until a restart; empty if it can be tried."""
        return "" if is_function(target) else self._senders.obstacle(target)

    async def deliver(
        self, delivery: OwedDelivery, *, doubtful: bool, late: Callable[[Sequence[Transition]], None]
    ) -> None:
        """Send a message and settle that, if it is still owed.

        ``late`` is called when a message leaves after all that had been given up. Raises DeliveryError,
        SentNotSettledError, and StoreError before anything was sent.
        """
        if is_function(delivery.target):
            async with self._hops:
                await self._hop(delivery)
            return
        async with self._threads.room(doubtful=doubtful):
            message = await self._deliveries.message(delivery.delivery_id)
            if message is None:
                return
            omitted = await self._threads.run(
                delivery.target,
                lambda: self._senders.send(message),
                late=lambda omitted: late([self._delivered(delivery, message, omitted)]),
            )
        await self.settle(delivery, [self._delivered(delivery, message, omitted)])

    async def settle(self, delivery: OwedDelivery, history: Sequence[Transition]) -> None:
        """What was sent is not owed any more. Raises SentNotSettledError."""
        try:
            await self._deliveries.delivered(delivery, history)
        except StoreError as error:
            raise SentNotSettledError(error, history) from error

    async def _hop(self, delivery: OwedDelivery) -> None:
        """The record becomes an event of the function, in the transaction that settles its delivery."""
        message = await self._deliveries.message(delivery.delivery_id)
        if message is None:
            return
        self._functions.check_function_target(message.source, message.target)
        reference = parse_function_reference(message.target)
        is_small = len(message.body) <= EVENT_LIMIT_BYTES
        # Finding the parts of a large record takes long: not on the loop.
        form = _largest_event(message.body) if is_small else await asyncio.to_thread(_largest_event, message.body)
        event = NewEvent(
            account_id=reference.account_id or "",
            function_name=reference.name,
            qualifier=reference.qualifier or "",
            request_id=self._new_request_id(),
            payload=form.body,
            trace=message.trace,
            accepted_at=self._steady(),
            accepted_wall=self._wall(),
        )
        line = self._delivered(delivery, message, form.omitted, requestId=event.request_id)
        if await self._deliveries.hop(delivery, event, [line]):
            self._functions.accepted(event)

    def _delivered(
        self, delivery: OwedDelivery, message: OwedMessage, omitted: tuple[str, ...], **more: str
    ) -> Transition:
        lacking = [*json.loads(message.attributes).get(OMITTED, ()), *omitted]
        detail = described(delivery) | more | ({OMITTED: lacking} if lacking else {})
        return Transition(self._wall(), DELIVERED, as_text(detail))


def is_function(target: str) -> bool:
    """Whether a target is a function, which the outbox itself can reach."""
    return parse_target(target).service == "lambda"


def described(delivery: OwedDelivery) -> dict[str, Any]:
    """A delivery in the detail of a line of history."""
    return {"kind": delivery.kind, "target": delivery.target}


def reason_of(error: DeliveryError) -> str:
    """Why something was not delivered, in one line: what a target answers has any length and any characters."""
    text = str(error)[:REASON_CHARACTERS]
    return text if text.isprintable() else "".join(each if each.isprintable() else "\ufffd" for each in text)


def as_text(detail: dict[str, Any]) -> str:
    """The detail of a line of history."""
    return json.dumps(detail, separators=(",", ":"), ensure_ascii=False)


def _largest_event(record: bytes) -> Form:
    """The largest form of a record that a function takes as an event."""
    for form in record_forms(record):
        if len(form.body) <= EVENT_LIMIT_BYTES:
            return form
    raise MessageTooLargeError(f"the record has {len(record)} bytes, a function takes {EVENT_LIMIT_BYTES}")
