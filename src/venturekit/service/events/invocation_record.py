"""What is told about an event that has ended: the record for its destination, the attributes of its dead letter. Pure.

Sources: AWS Lambda Developer Guide, "Capturing records of Lambda asynchronous invocations", for the members and their
order; as recorded: ``errorMessage`` cut to 1 KB, ``ErrorCode`` 200, the qualified ``functionArn``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ERROR_MESSAGE_LIMIT_BYTES: Final = 1024
PARSED_ERROR_BYTES: Final = 256 * 1024
"""A larger error is not taken apart: nothing else goes on meanwhile."""
OMITTED_BYTES: Final = "PayloadOmittedBytes"
"""Ours: the attribute of a dead letter whose event was too large for the target. Its value is the event's size."""
OMITTED: Final = "omitted"
"""What a delivery's detail calls the members that its message lacks, and so do the attributes of a record that was made
without them.
"""

_STATUS_CODE: Final = 200
# What the queues and topics of AWS refuse in a text (API reference of SQS, "SendMessage").
_NOT_ALLOWED: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REQUEST: Final = b',"requestPayload":'
_CONTEXT: Final = b',"responseContext":'
_RESPONSE: Final = b',"responsePayload":'
# What tells where a JSON value ends: strings, brackets, commas.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]')
_OPENING: Final = frozenset(b"[{")
_CLOSING: Final = frozenset(b"]}")
_QUOTE: Final = ord('"')


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the function answered in its last run. ``error`` is empty when it succeeded, else ``Unhandled``."""

    executed_version: str
    payload: bytes
    error: str


class Form(NamedTuple):
    """A record as it may be sent: ``omitted`` names the members that were left out of ``body``."""

    body: bytes
    omitted: tuple[str, ...]


def invocation_record(
    *,
    wall: float,
    request_id: str,
    function_arn: str,
    condition: str,
    invoke_count: int,
    request_payload: bytes | bytearray,
    outcome: Outcome | None,
    with_answer: bool = True,
) -> bytes:
    """The record of an event that ended at ``wall`` (epoch seconds), as compact JSON.

    ``function_arn`` has a qualifier, ``request_payload`` is JSON and stands in the record as it came; so does an answer
    that is JSON, another one becomes a string. Without ``outcome`` the function never ran: nothing is said of answers.
    Without ``with_answer`` it did, and its answer is left out, as in the smaller :func:`record_forms`.
    """
    head = {
        "version": "1.0",
        "timestamp": _timestamp(wall),
        "requestContext": {
            "requestId": request_id,
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": invoke_count,
        },
    }
    parts = [_compact(head)[:-1], _REQUEST, bytes(request_payload)]
    if outcome is not None:
        context: dict[str, Any] = {"statusCode": _STATUS_CODE, "executedVersion": outcome.executed_version}
        if outcome.error:
            context["functionError"] = outcome.error
        parts += [_CONTEXT, _compact(context)]
        if with_answer:
            parts += [_RESPONSE, _as_json(outcome.payload)]
    return b"".join((*parts, b"}"))


def dead_letter_attributes(
    request_id: str, outcome: Outcome | None, fallback_message: str
) -> dict[str, dict[str, str]]:
    """The message attributes of a dead letter, as SQS and SNS take them.

    ``ErrorMessage`` is what the function said, or ``fallback_message`` where it never ran: its first 1024 bytes of
    whole characters, those that a queue refuses replaced; it is left out where there is nothing to say.
    """
    message = _first_bytes(_NOT_ALLOWED.sub("\ufffd", _error_message(outcome) or fallback_message))
    attributes = {"RequestID": _attribute("String", request_id), "ErrorCode": _attribute("Number", str(_STATUS_CODE))}
    return attributes | ({"ErrorMessage": _attribute("String", message)} if message else {})


def record_forms(record: bytes) -> Iterator[Form]:
    """A record as it is, without the answer, and without the event too: for targets that take only so much."""
    yield Form(record, ())
    # Nothing before the event holds a text of others, and the answer is always last: only the event can mislead.
    event_at = record.index(_REQUEST)
    event_end = _end_of_value(record, event_at + len(_REQUEST))
    answer_at = record.find(_RESPONSE, event_end)
    omitted: tuple[str, ...] = ()
    if answer_at >= 0:
        omitted = ("responsePayload",)
        yield Form(record[:answer_at] + b"}", omitted)
    after = record[event_end : answer_at if answer_at >= 0 else -1]
    yield Form(record[:event_at] + after + b"}", (*omitted, "requestPayload"))


def dead_letter_forms(event: bytes) -> Iterator[Form]:
    """A dead letter's body: the event, or an empty object where the target does not take so much."""
    yield Form(event, ())
    yield Form(b"{}", ("requestPayload",))


def attributes_of(attributes: Mapping[str, Any], event: bytes, form: Form) -> dict[str, Any]:
    """The attributes of a dead letter in this form: one whose event was left out says how large that was."""
    if not form.omitted:
        return dict(attributes)
    return {**attributes, OMITTED_BYTES: _attribute("Number", str(len(event)))}


def as_message(body: bytes) -> str:
    """JSON as the text of a message: the two characters that queues refuse are escaped, which is the same JSON."""
    text = body.decode("utf-8", "replace")
    return _NOT_ALLOWED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _timestamp(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _attribute(data_type: str, value: str) -> dict[str, str]:
    return {"DataType": data_type, "StringValue": value}


def _as_json(payload: bytes | bytearray) -> bytes:
    """A function's answer as it stands in a record: whatever is no JSON becomes a string."""
    if _is_json(payload):
        return bytes(payload)
    return json.dumps(payload.decode("utf-8", "replace"), ensure_ascii=False).encode()


def _is_json(payload: bytes | bytearray) -> bool:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        return _is_json_to_python(payload)
    return True


def _is_json_to_python(payload: bytes | bytearray) -> bool:
    """It knows half characters and deeper levels, but takes several times as long."""
    try:
        # Numbers stay what they are: making an int of a million digits takes minutes.
        json.loads(payload.decode(), parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _error_message(outcome: Outcome | None) -> str:
    """What a function's error says; an error of another form as far as it goes."""
    if outcome is None:
        return ""
    if len(outcome.payload) > PARSED_ERROR_BYTES:
        return outcome.payload[:PARSED_ERROR_BYTES].decode("utf-8", "replace")
    text = outcome.payload.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_int=str)
    except (ValueError, RecursionError):
        return text
    message = value.get("errorMessage") if isinstance(value, dict) else None
    return message if isinstance(message, str) else text


def _first_bytes(text: str) -> str:
    return text.encode()[:ERROR_MESSAGE_LIMIT_BYTES].decode("utf-8", "ignore")


def _end_of_value(record: bytes, at: int) -> int:
    """Where the JSON value that begins at ``at``, a member of an object, ends."""
    depth = 0
    for token in _TOKEN.finditer(record, at):
        end = token.start()
        first = record[end]
        if first in _OPENING:
            depth += 1
        elif depth == 0 and first != _QUOTE:
            # The next member, or the end of the object.
            return end
        elif first in _CLOSING:
            depth -= 1
    raise ValueError("the record is not whole")
