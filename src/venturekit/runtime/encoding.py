"""Values as JSON: what JSON knows, and what people return besides."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class NotSerializableError(TypeError):
    """A value that JSON cannot hold; the text names its type and what to do."""


def plain(value: Any) -> Any:
    """What a value is made of, for JSON: one level of it.

    Pydantic models and dataclasses become objects; dates and times their ISO form; UUIDs, paths and the like their
    text; Decimal a number; sets, tuples and other iterables lists; enumerations their value. Raises
    NotSerializableError for everything else, bytes included: JSON has none, and a guess would be wrong half the time.
    """
    dump = getattr(value, "model_dump", None)
    if dump is not None and not isinstance(value, type):
        return dump(mode="json")
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None and not isinstance(value, type):
        return {name: getattr(value, name) for name in fields}
    if isinstance(value, bytes | bytearray | memoryview):
        raise NotSerializableError(
            "JSON cannot hold bytes: decode them, encode them in base64, or return a Response with them as its body"
        )
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return _of_library(value)


def _of_library(value: Any) -> Any:
    # Modules that were never imported cannot have made the value.
    kinds = type(value).__mro__
    for module, name, convert in _KNOWN:
        loaded = sys.modules.get(module)
        if loaded is not None and getattr(loaded, name) in kinds:
            return convert(value)
    if isinstance(value, set | frozenset) or hasattr(value, "__next__"):
        return list(value)
    if hasattr(value, "keys") and hasattr(value, "__getitem__"):
        return dict(value)
    if hasattr(value, "__iter__") and hasattr(value, "__len__"):
        return list(value)
    raise NotSerializableError(
        f"JSON cannot hold a value of the type {type(value).__module__}.{type(value).__qualname__}: return a dict, a "
        "list, a text, a number, a dataclass, a Pydantic model, or a Response"
    )


def _number(value: Any) -> Any:
    if not value.is_finite():
        raise NotSerializableError(f"JSON has no number {value}")
    return int(value) if value == value.to_integral_value() else float(value)


_KNOWN = (
    ("decimal", "Decimal", _number),
    ("uuid", "UUID", str),
    ("enum", "Enum", lambda value: value.value),
    ("pathlib", "PurePath", str),
    ("ipaddress", "_IPAddressBase", str),
    ("datetime", "timedelta", lambda value: value.total_seconds()),
)


def _make_encode() -> Callable[[Any], str]:
    """What writes a value. ``JSONEncoder.encode`` makes an encoder for each, a third of the time of a small one."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        # Not CPython.
        options: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
        return json.JSONEncoder(default=plain, check_circular=False, **options).encode
    write = make(None, plain, json.encoder.encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(write(value, 0))


# What contains itself is nested too deeply: looking for it in every value would cost more than the value.
_encode = _make_encode()


def to_json(value: Any) -> str:
    """JSON without blanks. Raises NotSerializableError, which says what to do."""
    try:
        text = _encode(value)
    except NotSerializableError:
        raise
    except (ValueError, TypeError, RecursionError) as problem:
        why = "it is nested too deeply, or contains itself" if isinstance(problem, RecursionError) else str(problem)
        raise NotSerializableError(f"this cannot be written as JSON: {why}") from None
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair: JSON has an escape for it, UTF-8 has nothing.
        return "".join(c if not "\ud800" <= c <= "\udfff" else f"\\u{ord(c):04x}" for c in text)
    return text
