"""What a record is as an item of DynamoDB, and its table. Pure, but for the token of a write.

Sources: DynamoDB Developer Guide, "Quotas" (an item has 400 KB, names included; an index has 3 letters or more) and
"Using global secondary indexes"; API reference, ConditionalCheckFailedException.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.record_checks import RecordValueError, foreign_record, parse_value
from venturekit.runtime.patterns.records import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ITEM_BYTES: Final = 400 * 1024
# The names of an item's attributes, its token and its numbers, generously.
_ITEM_OVERHEAD_BYTES: Final = 512


def item_of(id: str, text: str, version: int, expires_at: float | None, keys: dict[str, str]) -> dict[str, Any]:
    """The item of a record. Raises RecordValueError when it is too large for one."""
    item: dict[str, Any] = {
        "id": {"S": id},
        "value": {"S": text},
        "version": {"N": str(version)},
        # Says whose write it was: see where conditions are not true.
        "token": {"S": os.urandom(12).hex()},
    }
    if expires_at is not None:
        item["expires_at"] = {"N": str(math.ceil(expires_at))}
        item["expires_at_exactly"] = number(expires_at)
    for name, found_by in keys.items():
        item[f"key_{name}"] = {"S": found_by}
    size_bytes = len(id.encode()) + len(text.encode()) + _ITEM_OVERHEAD_BYTES
    size_bytes += sum(len(name) + 4 + len(found_by.encode()) for name, found_by in keys.items())
    if size_bytes > MAX_ITEM_BYTES:
        raise RecordValueError(
            f"the value of the record {id!r} is {len(text.encode()):,} bytes of JSON: an item of DynamoDB, with its id "
            f"and keys, has {MAX_ITEM_BYTES:,} bytes at most. Keep the greater part in S3, and its address here"
        )
    return item


def record_of(item: Mapping[str, Any], where: str) -> Record:
    """The record of an item. Raises ForeignRecordError, which says ``where`` it was found."""
    record_id = str(item.get("id", {}).get("S", ""))
    value = parse_value(item.get("value", {}).get("S"), record_id, where)
    try:
        version = int(item["version"]["N"])
        end = item.get("expires_at_exactly")
        expires_at = None if end is None else float(end["N"])
    except (KeyError, ValueError):
        raise foreign_record(record_id, where, "its version or its end is no number") from None
    keys = {name[4:]: text["S"] for name, text in item.items() if name.startswith("key_") and "S" in text}
    return Record(record_id, value, version, expires_at, keys)


def table_of(table_name: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The arguments of ``create_table``."""
    table: dict[str, Any] = {
        "TableName": table_name,
        "AttributeDefinitions": [
            {"AttributeName": name, "AttributeType": "S"} for name in ("id", *(f"key_{key}" for key in keys))
        ],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    if keys:
        table["GlobalSecondaryIndexes"] = [
            {
                "IndexName": f"key_{key}",
                "KeySchema": [
                    {"AttributeName": f"key_{key}", "KeyType": "HASH"},
                    {"AttributeName": "id", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
            for key in keys
        ]
    return table


def number(seconds: float) -> dict[str, str]:
    """A time as DynamoDB takes it, exact."""
    return {"N": repr(float(seconds))}


def is_conflict(error: Any) -> bool:
    """Whether what a client raised says that the condition was not true."""
    answer = getattr(error, "response", None) or {}
    return bool(answer.get("Error", {}).get("Code") == "ConditionalCheckFailedException")


def was_repeated(error: Any) -> bool:
    """Whether a client had tried before: then its own first try may be what it met."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))
