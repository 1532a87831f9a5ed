"""One invocation with a batch. Satisfies the port of the execution environments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.protocol.lineage import ROUNDS_LIMIT, advanced, continued, key_of
from venturekit.protocol.trace import parse_trace_header

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from venturekit.service.sources.messages import Item
    from venturekit.service.sources.ports import BatchTarget, Concurrency

TRACE_LIMIT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an invocation. ``error`` is empty on success; ``refused`` says why it was not run."""

    payload: bytes | bytearray = b""
    error: str = ""
    refused: str = ""


class BatchInvocation:
    """A batch on its way through an execution environment; ``outcome`` gets what becomes of it."""

    __slots__ = (
        "_concurrency",
        "enqueued",
        "extra_headers",
        "invoked_arn",
        "outcome",
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
        outcome: asyncio.Future[Outcome],
    ) -> None:
        self.request_id = request_id.encode()
        self.invoked_arn = target.invoked_arn.encode()
        self.payload: bytes | bytearray = payload
        self.trace = trace
        self.extra_headers = b""
        self.tail = False
        self.enqueued = 0.0
        self.outcome = outcome
        self._concurrency = concurrency

    def settle(self, payload: bytes | bytearray, error: bytes, log_tail: bytes) -> None:
        """The function's answer."""
        del log_tail
        self._concurrency.release()
        self._end(Outcome(payload, error.decode()))

    def begin_stream(self, content_type: bytes, resume: Callable[[], None]) -> bool:
        """A streamed response is collected."""
        return False

    def chunks(self, pieces: Sequence[bytes]) -> bool:
        """Nothing is taken piece by piece."""
        raise NotImplementedError

    def reject(self, reason: str) -> None:
        """No execution environment could be had."""
        self._concurrency.release()
        self._end(Outcome(refused=reason))

    def _end(self, outcome: Outcome) -> None:
        # Nobody waits any more when the service ends.
        if not self.outcome.done():
            self.outcome.set_result(outcome)


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
