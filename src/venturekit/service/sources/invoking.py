"""Invocations with batches, which satisfy the port of the execution environments, and who begins them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.protocol.lineage import ROUNDS_LIMIT, advanced, continued, key_of
from venturekit.protocol.trace import parse_trace_header
from venturekit.service.api.errors import ApiError
from venturekit.service.sources.ports import FunctionView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.sources.mapping import EventSourceMapping
    from venturekit.service.sources.messages import Item
    from venturekit.service.sources.ports import BatchTarget, Concurrency, Targets

TRACE_LIMIT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an invocation. ``error`` is empty on success; ``refused`` says why it was not run.

    ``busy`` says why it was not even tried: the function has no room for it, or cannot run now.
    """

    payload: bytes | bytearray = b""
    error: str = ""
    refused: str = ""
    busy: str = ""


class BatchInvocation:
    """A batch on its way through an execution environment; ``ended(outcome)`` is called once with what became of it."""

    __slots__ = (
        "_concurrency",
        "_ended",
        "enqueued",
        "extra_headers",
        "invoked_arn",
        "payload",
        "request_id",
        "tail",
        "trace",
    )

    def __init__(
        self,
        target: BatchTarget,
        concurrency: Concurrency,
        payload: bytes,
        *,
        request_id: str,
        trace: bytes,
        ended: Callable[[Outcome], None],
    ) -> None:
        self.request_id = request_id.encode()
        self.invoked_arn = target.invoked_arn.encode()
        self.payload: bytes | bytearray = payload
        self.trace = trace
        self.extra_headers = b""
        self.tail = False
        self.enqueued = 0.0
        self._ended = ended
        self._concurrency = concurrency

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """The function's answer."""
        del log_tail
        self._concurrency.release()
        self._ended(Outcome(payload, error.decode()))

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """A streamed response is collected."""
        return False

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """Nothing is taken piece by piece."""
        raise NotImplementedError

    def reject(self, reason: str) -> None:
        """No execution environment could be had."""
        self._concurrency.release()
        self._ended(Outcome(refused=reason))


class Invoker:
    """Begins invocations of the functions of mappings. ``new_id()`` gives unique texts (UUIDs)."""

    def __init__(self, targets: Targets, new_id: Callable[[], str]) -> None:
        self._targets = targets
        self._new_id = new_id

    def room(self, mapping: EventSourceMapping) -> int:
        """How many more invocations of the function could run now."""
        return self._targets.concurrency(mapping.account_id, mapping.function_name).room

    def look(self, mapping: EventSourceMapping) -> FunctionView:
        """What the function is now."""
        room = self.room(mapping)
        try:
            target = self._targets.resolve(mapping.account_id, mapping.function_name, mapping.qualifier)
            _ = target.pool
        except ApiError as error:
            return FunctionView(room, f"{error.code}: {error.message}")
        return FunctionView(room, "", target.timeout_seconds, target.invoked_arn, target.recursion_allowed)

    def begin(
        self, mapping: EventSourceMapping, payload: bytes, trace: bytes, ended: Callable[[Outcome], None]
    ) -> None:
        """Run the function with an event; ``ended(outcome)`` is called once, maybe before this returns."""
        try:
            target = self._targets.resolve(mapping.account_id, mapping.function_name, mapping.qualifier)
            pool = target.pool
        except ApiError as error:
            ended(Outcome(busy=f"{error.code}: {error.message}"))
            return
        concurrency = target.concurrency
        if not concurrency.take():
            ended(Outcome(busy=concurrency.exceeded))
            return
        pool.submit(BatchInvocation(target, concurrency, payload, request_id=self._new_id(), trace=trace, ended=ended))


def traced(items: Sequence[Item], invoked_arn: str, new_trace: bytes) -> tuple[bytes, list[Item]]:
    """The trace header for a batch, and those of its messages that are in a loop of invocations.

    A message carries the trace of the function that sent it, with how often each function has run in this chain. The
    batch goes on with that of the message that has gone round most often, so a loop ends however its messages are
    batched (Developer Guide, "Use Lambda recursive loop detection"). ``new_trace`` is for a batch without any.
    """
    key = key_of(invoked_arn)
    best, most = advanced(new_trace, key)[0], -1
    looping = []
    for item in items:
        if not item.trace:
            continue
        trace, rounds = advanced(_usable(item.trace, new_trace), key)
        if rounds >= ROUNDS_LIMIT:
            looping.append(item)
        elif rounds > most:
            best, most = trace, rounds
    return best, looping


def without(items: Sequence[Item], left: Sequence[Item]) -> list[Item]:
    """``items`` without those that are ``left``, and without what comes after one of these in its group."""
    handles = {item.receipt_handle for item in left}
    groups: set[str] = set()
    kept = []
    for item in items:
        if item.receipt_handle in handles or item.group in groups:
            groups.update((item.group,) if item.group else ())
        else:
            kept.append(item)
    return kept


def _usable(trace: bytes, new_trace: bytes) -> bytes:
    """``trace``, or a new one with its lineage where it is no header."""
    text = trace.decode("latin-1")
    try:
        parse_trace_header(text)
    except ValueError:
        return continued(new_trace, trace)
    if len(trace) > TRACE_LIMIT_BYTES or not text.isprintable() or not text.isascii():
        return continued(new_trace, trace)
    return trace
