"""What all stores of records check alike: ids, keys, values; and the errors of their own that they raise.

An id and the value of a key are 1 to 1,024 bytes in UTF-8, which is what DynamoDB takes as the sort key of an index
(DynamoDB Developer Guide, "Quotas"): what one store takes, the others take too. So keys have no U+0000 either, at which
SQLite's JSON functions end a text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_ID_BYTES: Final = 1024
MAX_PAGE_RECORDS: Final = 10_000
# Far enough for all times, and not for one in milliseconds.
_FAR_SECONDS: Final = 1e12


class RecordStoreError(Exception):
    """A store of records cannot do what it was asked for, although it can be reached."""


class RecordValueError(RecordStoreError, ValueError):
    """A value cannot be stored: it is no JSON object, or is larger than the store takes."""


class StoreFullError(RecordStoreError):
    """A bounded store is full of records that are not over yet: nothing was written, and nothing forgotten."""


class ForeignRecordError(RecordStoreError):
    """Under this id is something that no store of records has written; it is left as it is."""


def check_text(what: str, text: str) -> None:
    """Raises ValueError unless the text, an id or a key's value, is 1 to 1,024 bytes of UTF-8."""
    if not isinstance(text, str):
        raise ValueError(f"{what} is a text, not {type(text).__name__}")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError(f"{what} has half a character in it, which UTF-8 cannot hold") from None
    if not 1 <= size_bytes <= MAX_ID_BYTES:
        raise ValueError(f"{what} is 1 to {MAX_ID_BYTES} bytes long in UTF-8, not {size_bytes}")


def checked_keys(keys: Mapping[str, str] | None) -> dict[str, str]:
    """The keys that a record is found by. Raises ValueError."""
    checked = dict(keys) if keys else {}
    for name, value in checked.items():
        check_key_name(name)
        check_key_value(name, value)
    return checked


def check_key_name(name: str) -> None:
    """Raises ValueError unless the name can be that of a column, an attribute and an index."""
    if not isinstance(name, str) or not name.isascii() or not name.isidentifier() or len(name) > 64:
        raise ValueError(f"{name!r} cannot be the name of a key: up to 64 letters, digits and underscores are expected")


def check_key_value(name: str, value: str) -> None:
    """Raises ValueError unless the value can be that of a key."""
    check_text(f"the key {name!r}", value)
    if "\0" in value:
        raise ValueError(f"the key {name!r} has the character U+0000 in it, which a key cannot have")


def check_write(id: str, version: int, expires_at: float | None) -> None:
    """Raises ValueError unless the arguments of a write make sense."""
    check_text("the id of a record", id)
    if version < 0:
        raise ValueError(f"the version that was seen is 0 or more, not {version}")
    if expires_at is not None and not abs(expires_at) < _FAR_SECONDS:
        raise ValueError(f"expires_at is in epoch seconds, or None for never, not {expires_at}")


def check_find(key: str, value: str, limit: int, after: str | None) -> None:
    """Raises ValueError unless the arguments of a search make sense."""
    check_key_name(key)
    check_key_value(key, value)
    if not 1 <= limit <= MAX_PAGE_RECORDS:
        raise ValueError(f"limit is 1 to {MAX_PAGE_RECORDS}, not {limit}")
    if after is not None:
        check_text("after", after)


def serialize_value(value: dict[str, Any]) -> str:
    """The value as JSON. Raises RecordValueError."""
    if not isinstance(value, dict):
        raise RecordValueError(f"the value of a record is a JSON object, not {type(value).__name__}")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as problem:
        raise RecordValueError(f"the value of a record has to be JSON: {problem}") from None
    return text


def parse_value(text: object, id: str, where: str) -> dict[str, Any]:
    """The value that was stored. Raises ForeignRecordError, which says ``where`` it was found."""
    try:
        value = json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise foreign_record(id, where, "its value is no JSON object")
    return value


def foreign_record(id: str, where: str, why: str) -> ForeignRecordError:
    """The error for what was not written by a store of records."""
    return ForeignRecordError(
        f"what is stored under the id {id!r} in {where} was not written by this store ({why}): it is left as it is; "
        "remove it, or give the store a place of its own"
    )


def is_over(expires_at: float | None, now: float) -> bool:
    """Whether a record does not exist any more: at ``expires_at`` itself it does not."""
    return expires_at is not None and expires_at <= now
