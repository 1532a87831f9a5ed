"""Events of streams: Kinesis and DynamoDB.

Sources: AWS Lambda Developer Guide, "Using Lambda with Kinesis Data Streams", "Using Lambda with DynamoDB"; DynamoDB
API Reference, "AttributeValue".
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from venturekit.testing.events.common import ACCOUNT_ID, REGION, base64_of, digits, iso_time, now_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def kinesis_event(
    *records: Any,
    stream: str = "stream",
    partition_key: str = "1",
    shard: int = 0,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A batch from a Kinesis stream: bytes and texts are records as they are, any other value becomes JSON::

    >>> from venturekit.testing import kinesis_event
    >>> kinesis_event({"temperature": 21}, stream="sensors")["Records"][0]["kinesis"]["data"]
    'eyJ0ZW1wZXJhdHVyZSI6MjF9'
    """
    moment = now_ms(time_epoch_ms)
    made = []
    for data in records:
        sequence_number = f"4959{int(digits(38), 16):052}"[:56]
        made.append(
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": partition_key,
                    "sequenceNumber": sequence_number,
                    "data": base64_of(data),
                    "approximateArrivalTimestamp": moment / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"shardId-{shard:012}:{sequence_number}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{account_id}:role/lambda-role",
                "awsRegion": region,
                "eventSourceARN": f"arn:aws:kinesis:{region}:{account_id}:stream/{stream}",
            }
        )
    return {"Records": made}


def dynamodb_stream_event(
    *,
    new: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    keys: Sequence[str] = ("id",),
    table: str = "table",
    expired: bool = False,
    region: str = REGION,
    account_id: str = ACCOUNT_ID,
    time_epoch_ms: int | None = None,
) -> dict[str, Any]:
    """A change in a DynamoDB table, with both images::

        >>> from venturekit.testing import dynamodb_stream_event
        >>> record = dynamodb_stream_event(new={"id": "1", "total": 42}, old={"id": "1", "total": 40})["Records"][0]
        >>> record["eventName"], record["dynamodb"]["NewImage"]
        ('MODIFY', {'id': {'S': '1'}, 'total': {'N': '42'}})

    An item with ``new`` only was inserted, with ``old`` only removed, by its time to live if ``expired``. Values are
    Python's; floats and Decimal become numbers, sets those of DynamoDB. Several changes: put together the ``Records``
    of several events.

    Raises ValueError without an image or a key in it, TypeError for what DynamoDB cannot hold.
    """
    image = new if new is not None else old
    if image is None:
        raise ValueError("a change has new=, old=, or both")
    missing = [key for key in keys if key not in image]
    if missing:
        raise ValueError(f"the item has no {', '.join(missing)}: keys= names its keys")
    moment = now_ms(time_epoch_ms)
    change: dict[str, Any] = {
        "ApproximateCreationDateTime": moment // 1000,
        "Keys": {key: attribute_value(image[key]) for key in keys},
    }
    if new is not None:
        change["NewImage"] = {name: attribute_value(value) for name, value in new.items()}
    if old is not None:
        change["OldImage"] = {name: attribute_value(value) for name, value in old.items()}
    change |= {
        "SequenceNumber": str(int(digits(20), 16)),
        "SizeBytes": sum(len(name) + len(str(value)) for name, value in image.items()),
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    record: dict[str, Any] = {
        "eventID": digits(32),
        "eventName": "MODIFY" if new is not None and old is not None else "REMOVE" if new is None else "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": region,
        "dynamodb": change,
        "eventSourceARN": f"arn:aws:dynamodb:{region}:{account_id}:table/{table}/stream/{_label(moment)}",
    }
    if expired:
        record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    return {"Records": [record]}


def _label(epoch_ms: int) -> str:
    return iso_time(epoch_ms).rstrip("Z")


def attribute_value(value: Any) -> dict[str, Any]:
    """A value as DynamoDB writes it: ``{"S": "text"}``. Raises TypeError for what it cannot hold."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int | float | Decimal):
        return {"N": str(value)}
    if isinstance(value, bytes | bytearray):
        return {"B": base64_of(value)}
    if isinstance(value, dict):
        return {"M": {name: attribute_value(item) for name, item in value.items()}}
    if isinstance(value, list | tuple):
        return {"L": [attribute_value(item) for item in value]}
    if isinstance(value, set | frozenset) and value:
        inner = [attribute_value(item) for item in sorted(value, key=str)]
        kinds = {next(iter(item)) for item in inner}
        if len(kinds) == 1 and kinds <= {"S", "N", "B"}:
            kind = kinds.pop()
            return {f"{kind}S": [item[kind] for item in inner]}
    raise TypeError(f"DynamoDB cannot hold {value!r}: texts, numbers, bytes, booleans, None, dicts, lists and sets")
