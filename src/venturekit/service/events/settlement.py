"""From the end of a try to what the store is told: state, history, and what the outbox owes. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.lineage import ROUNDS_LIMIT, advanced, key_of
from venturekit.service.api.quirks import EVENT_LIMIT_BYTES
from venturekit.service.events.invocation_record import (
    OMITTED,
    PARSED_ERROR_BYTES,
    Outcome,
    dead_letter_attributes,
    invocation_record,
)
from venturekit.service.events.retry import RECURSIVE_INVOCATION, SUCCESS, Again, Ended, Finished, Tries, decide
from venturekit.service.store.event_documents import FAILED, QUEUED, SUCCEEDED, NewDelivery, Settlement, Transition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.events.retry import EventPolicy
    from venturekit.service.store.event_documents import ClaimedEvent

MESSAGE_LIMIT: Final = 1024
RECORD_LIMIT_BYTES: Final = EVENT_LIMIT_BYTES
"""No target but a bucket takes more: a larger answer is neither looked at nor kept."""
AT_ONCE_BYTES: Final = 16 * 1024 * 1024
STOPPED_ROUNDS_LIMIT: Final = 2 * ROUNDS_LIMIT
"""Functions whose failures go to one another would go on after they were stopped, without ever being run: after so many
rounds a stopped event is told to no further function."""
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_KINDS: Final = {
    Ended.SUCCESS: "succeeded",
    Ended.FUNCTION_ERROR: "error",
    Ended.THROTTLED: "throttled",
    Ended.SYSTEM_ERROR: "system-error",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, on both clocks."""

    steady: float
    wall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """How a try ended: ``outcome`` if the function ran, else ``reason``; ``duration_ms`` is what it took."""

    ended: Ended
    outcome: Outcome | None = None
    reason: str = ""
    duration_ms: float = 0.0


def settled(
    event: ClaimedEvent,
    made: Try,
    *,
    policy: EventPolicy,
    source: str,
    moment: Moment,
    delays_seconds: Sequence[float],
) -> Settlement:
    """What becomes of an event after a try. ``source`` is the ARN of its function with the qualifier."""
    decision = decide(
        made.ended,
        Tries(event.attempts, event.backoffs),
        now=moment.steady,
        accepted_at=event.accepted_at,
        policy=policy,
        delays_seconds=delays_seconds,
    )
    detail: dict[str, Any] = _described(made)
    if isinstance(decision, Again):
        detail["nextDelaySeconds"] = round(decision.due_at - moment.steady, 3)
        line = Transition(moment.wall, _KINDS[made.ended], _text(detail))
        tries = decision.tries
        return Settlement(
            event_id=event.event_id,
            state=QUEUED,
            attempts=tries.attempts,
            backoffs=tries.backoffs,
            due_at=decision.due_at,
            history=(line,),
        )
    line = Transition(moment.wall, _KINDS[made.ended], _text(detail))
    return _finished(event, decision, (line,), made, policy=policy, source=source, moment=moment)


def succeeded(event: ClaimedEvent, executed_version: str, duration_ms: float, moment: Moment) -> Settlement:
    """What :func:`settled` makes of a success nobody is to be told of, at less expense: nearly all events end so."""
    detail = f'{{"executedVersion":"{executed_version}","durationMs":{round(duration_ms, 2)}}}'
    return Settlement(
        event_id=event.event_id,
        state=SUCCEEDED,
        attempts=event.attempts + 1,
        backoffs=0,
        due_at=moment.steady,
        history=(Transition(moment.wall, _KINDS[Ended.SUCCESS], detail),),
        finished_wall=moment.wall,
    )


def settled_at_once(settlements: Sequence[tuple[object, Settlement]]) -> int:
    """How many of these, each with its lane, go into one transaction: all, unless what they owe is very large.

    Callers who wait for their events to be accepted wait for its end.
    """
    size_bytes = 0
    for count, (_, settlement) in enumerate(settlements, 1):
        size_bytes += sum(len(delivery.body) for delivery in settlement.deliveries)
        if size_bytes >= AT_ONCE_BYTES:
            return count
    return len(settlements)


def given_up(
    event: ClaimedEvent, condition: str, reason: str, *, policy: EventPolicy, source: str, moment: Moment
) -> Settlement:
    """The end of an event that is not run (any more): too old, no concurrency, a loop, its function gone."""
    finished = Finished(condition, Tries(event.attempts, event.backoffs))
    made = Try(ended=Ended.SYSTEM_ERROR, reason=reason)
    return _finished(event, finished, (), made, policy=policy, source=source, moment=moment)


def _finished(
    event: ClaimedEvent,
    finished: Finished,
    lines: tuple[Transition, ...],
    made: Try,
    *,
    policy: EventPolicy,
    source: str,
    moment: Moment,
) -> Settlement:
    succeeded = finished.condition == SUCCESS
    destination = policy.on_success if succeeded else policy.on_failure
    dead_letter = "" if succeeded else policy.dead_letter
    trace, reason = b"", made.reason
    if destination or dead_letter:
        # As the function had it, or would have had: what follows from the event belongs to the same chain of requests.
        trace, rounds = advanced(event.trace.encode("latin-1"), key_of(source))
        if finished.condition == RECURSIVE_INVOCATION and _loops_on(rounds, destination):
            reason += f" The loop goes on through its destination: no record is sent to {destination}."
            destination = ""
    if not succeeded:
        detail = {"condition": finished.condition, **({"reason": reason} if reason else {})}
        lines = (*lines, Transition(moment.wall, "failed", _text(detail)))
    return Settlement(
        event_id=event.event_id,
        state=SUCCEEDED if succeeded else FAILED,
        attempts=finished.tries.attempts,
        backoffs=finished.tries.backoffs,
        due_at=moment.steady,
        history=lines,
        deliveries=_deliveries(
            event,
            finished,
            made,
            destination=destination,
            dead_letter=dead_letter,
            source=source,
            trace=trace.decode("latin-1"),
            moment=moment,
        ),
        finished_wall=moment.wall,
    )


def _loops_on(rounds: int, destination: str) -> bool:
    """Whether a stopped event would only lead to the next one."""
    return rounds >= STOPPED_ROUNDS_LIMIT and destination.split(":")[2:3] == ["lambda"]


def _deliveries(
    event: ClaimedEvent,
    finished: Finished,
    made: Try,
    *,
    destination: str,
    dead_letter: str,
    source: str,
    trace: str,
    moment: Moment,
) -> list[NewDelivery]:
    """The destination's record first, then the dead letter: each is independent of the other."""
    owed: list[tuple[str, str, bytes, dict[str, Any]]] = []
    if destination:
        with_answer = _is_taken(event.payload, made.outcome, destination)
        record = invocation_record(
            wall=moment.wall,
            request_id=event.request_id,
            function_arn=source,
            condition=finished.condition,
            invoke_count=finished.tries.attempts,
            request_payload=event.payload,
            outcome=made.outcome,
            with_answer=with_answer,
        )
        kind = "OnSuccess" if finished.condition == SUCCESS else "OnFailure"
        owed.append((kind, destination, record, {} if with_answer else {OMITTED: ["responsePayload"]}))
    if dead_letter:
        attributes = dead_letter_attributes(event.request_id, made.outcome, made.reason)
        owed.append(("DeadLetter", dead_letter, event.payload, attributes))
    return [
        NewDelivery(
            kind=kind,
            target=target,
            body=body,
            attributes=json.dumps(attributes),
            source=source,
            trace=trace,
            due_at=moment.steady,
            created_wall=moment.wall,
        )
        for kind, target, body, attributes in owed
    ]


def _is_taken(payload: bytes, outcome: Outcome | None, destination: str) -> bool:
    """Whether a destination may take the record of an event with the function's answer."""
    size_bytes = len(payload) + (len(outcome.payload) if outcome is not None else 0)
    return size_bytes <= RECORD_LIMIT_BYTES or destination.split(":")[2:3] == ["s3"]


def _described(made: Try) -> dict[str, Any]:
    detail: dict[str, Any] = {}
    outcome = made.outcome
    if outcome is not None:
        detail["executedVersion"] = outcome.executed_version
        detail["durationMs"] = round(made.duration_ms, 2)
        if outcome.error:
            detail |= _error_of(outcome.payload)
    if made.reason:
        detail["reason"] = made.reason
    return detail


def _error_of(payload: bytes) -> dict[str, str]:
    """Type and message of a function error, shortened; a payload of another form as far as it goes."""
    try:
        value = json.loads(payload) if len(payload) <= PARSED_ERROR_BYTES else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        return {"errorMessage": payload[:MESSAGE_LIMIT].decode("utf-8", "replace")}
    return {
        member: str(value[member])[:MESSAGE_LIMIT]
        for member in ("errorType", "errorMessage")
        if isinstance(value.get(member), str)
    }


def _text(detail: dict[str, Any]) -> str:
    if not detail:
        return ""
    text = _ENCODE(detail)
    # Half a character, which JSON can name, is none that the store takes.
    return text.encode("utf-8", "replace").decode()
