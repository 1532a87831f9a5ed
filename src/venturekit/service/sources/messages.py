"""Messages of a queue as a function gets them. Pure.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", the example events of standard and FIFO queues.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.sources.filter_patterns import wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.service.sources.filter_patterns import FilterPattern

HEAD: Final = b'{"Records":['
TAIL: Final = b"]}"
_AS_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Item:
    """A message on its way: its record as JSON, and what is needed to settle it.

    ``group`` is the message group of a FIFO queue, else empty; ``trace`` the trace header it came with, or nothing.
    """

    message_id: str
    receipt_handle: str
    record: bytes
    group: str
    trace: bytes


def record_of(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """The record of a message as ReceiveMessage gives it."""
    record: dict[str, Any] = {
        "messageId": message.get("MessageId", ""),
        "receiptHandle": message.get("ReceiptHandle", ""),
        "body": message.get("Body", ""),
        "attributes": dict(message.get("Attributes") or {}),
        "messageAttributes": {
            name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
        },
    }
    if message.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record | {
        "md5OfBody": message.get("MD5OfBody", ""),
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {}
    if value.get("StringValue") is not None:
        attribute["stringValue"] = value["StringValue"]
    if value.get("BinaryValue") is not None:
        # Any bytes may be there, and JSON has only texts.
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode("ascii")
    return attribute | {"stringListValues": [], "binaryListValues": [], "dataType": value.get("DataType", "String")}


def sorted_out(
    messages: Sequence[Mapping[str, Any]], queue_arn: str, patterns: Sequence[FilterPattern]
) -> tuple[list[Item], list[str]]:
    """The messages that the function gets, and the receipt handles of those that no pattern wants."""
    items, unwanted = [], []
    for message in messages:
        record = record_of(message, queue_arn)
        if wanted(patterns, record):
            items.append(_item(record))
        else:
            unwanted.append(record["receiptHandle"])
    return items, unwanted


def _item(record: Mapping[str, Any]) -> Item:
    attributes = record["attributes"]
    return Item(
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        record=_AS_JSON(record).encode("utf-8", "replace"),
        group=attributes.get("MessageGroupId", "") if "SequenceNumber" in attributes else "",
        trace=attributes.get("AWSTraceHeader", "").encode("latin-1", "replace"),
    )


def event_of(items: Sequence[Item]) -> bytes:
    """The event of a batch."""
    return HEAD + b",".join(item.record for item in items) + TAIL


def event_size_bytes(items: Sequence[Item]) -> int:
    """The size of the event of a batch."""
    return len(HEAD) + len(TAIL) + max(0, len(items) - 1) + sum(len(item.record) for item in items)
