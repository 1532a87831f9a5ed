"""From the parts of a request to an operation's members, typed as the model says. No constraint is checked here."""

from __future__ import annotations

import binascii
import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from venturekit.service.api.errors import ApiError, api_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.api.model import Member, Operation, Shape
    from venturekit.service.api.operations import Match, Query

INTEGER_BITS = {"integer": 31, "long": 63}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KIND_NAMES = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "double": "a Double",
    "float": "a Float",
    "boolean": "a Boolean",
    "timestamp": "a Timestamp",
    "blob": "a Blob",
    "structure": "a Structure",
    "list": "a List",
    "map": "a Map",
}


def parse_request(match: Match, headers: Mapping[bytes, bytes], body: bytes | bytearray) -> dict[str, Any]:
    """The members of a request, in the order of the model; absent and null members are left out.

    ``headers`` has lower-case names. Blobs come as bytes, timestamps as aware datetimes in UTC. Unknown members are
    ignored, as AWS does. An empty body is no body, except for a required payload.

    Raises :class:`ApiError` 400 SerializationException for a body that is not JSON and for a value of another type
    than the model's. The beginning of its texts is that of AWS's services; the member's name is added.
    """
    operation = match.operation
    found: dict[str, Any] = {}
    fields = _body_fields(operation, body)
    for member in operation.input.members.values():
        value = _read_member(member, operation.input, match, headers, body, fields)
        if value is not None:
            found[member.name] = value
    return found


def _read_member(
    member: Member,
    shape: Shape,
    match: Match,
    headers: Mapping[bytes, bytes],
    body: bytes | bytearray,
    fields: dict[str, Any],
) -> Any:
    location = member.location
    if location is None:
        if member.name != shape.payload:
            value = fields.get(member.wire_name)
        elif member.shape.kind == "blob":
            return bytes(body) if body or member.required else None
        else:
            value = fields or None
        return None if value is None else _from_json(member.shape, value, member.name)
    if location == "uri":
        return _from_text(member.shape, match.path_parameters[member.wire_name], member.name)
    if location == "querystring":
        return _from_query(member, match.query)
    raw = headers.get(member.wire_name.lower().encode("ascii"))
    return None if raw is None else _from_text(member.shape, _decode_header(raw), member.name)


def _body_fields(operation: Operation, body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object of the body; empty when the operation has none."""
    shape = operation.input
    if not body or shape.kind != "structure":
        return {}
    if shape.payload is None:
        if not shape.body_members:
            return {}
    elif shape.members[shape.payload].shape.kind == "blob":
        return {}
    value = _load_json(body)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _refuse_type(value, "structure", "the body")
    return value


def _load_json(body: bytes | bytearray) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _bad_json(f"Invalid UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _bad_json(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _bad_json("the document is nested too deeply") from None
    except ValueError as error:
        raise _bad_json(str(error)) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _bad_json(detail: str) -> ApiError:
    return api_error("SerializationException", f"Could not parse request body into json: {detail}")


def _from_json(shape: Shape, value: Any, where: str) -> Any:
    """``value`` as ``shape`` has it; ``where`` names the member. Structures drop null; lists and maps keep it."""
    reader = _READERS.get(shape.kind)
    return value if reader is None else reader(shape, value, where)


def _read_structure(shape: Shape, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse_type(value, "structure", where)
    found = {}
    for member in shape.members.values():
        inner = value.get(member.wire_name)
        if inner is not None:
            found[member.name] = _from_json(member.shape, inner, f"{where}.{member.name}")
    return found


def _read_list(shape: Shape, value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse_type(value, "list", where)
    element = shape.element
    if element is None:
        return value
    return [None if inner is None else _from_json(element, inner, where) for inner in value]


def _read_map(shape: Shape, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse_type(value, "map", where)
    element = shape.element
    if element is None:
        return value
    for key in value:
        _check_unicode(key, where)
    return {key: None if inner is None else _from_json(element, inner, where) for key, inner in value.items()}


def _read_string(shape: Shape, value: Any, where: str) -> str:
    if not isinstance(value, str):
        _refuse_type(value, shape.kind, where)
    _check_unicode(value, where)
    return value


def _check_unicode(text: str, where: str) -> None:
    """Refuse half a surrogate pair, which JSON can escape: as UTF-8 it could neither be stored nor answered.

    Choice: what AWS answers is not known.
    """
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise api_error("SerializationException", f"The value of {where} is not Unicode: {half} stands alone") from None


def _read_boolean(shape: Shape, value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        _refuse_type(value, shape.kind, where)
    return value


def _read_integer(shape: Shape, value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        _refuse_type(value, shape.kind, where)
    number = int(value)
    bits = INTEGER_BITS[shape.kind]
    if not -(1 << bits) <= number < 1 << bits:
        _refuse_type(value, shape.kind, where)
    return number


def _read_double(shape: Shape, value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse_type(value, shape.kind, where)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        _refuse_type(value, shape.kind, where)
    return number


def _read_blob(shape: Shape, value: Any, where: str) -> bytes:
    if not isinstance(value, str):
        _refuse_type(value, shape.kind, where)
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise api_error("SerializationException", f"The value of {where} is not valid base64") from None


def _read_timestamp(shape: Shape, value: Any, where: str) -> datetime:
    if isinstance(value, str):
        return _parse_iso_time(value, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse_type(value, shape.kind, where)
    try:
        return EPOCH + timedelta(seconds=value)
    except (OverflowError, ValueError):
        _refuse_type(value, shape.kind, where)


_READERS: dict[str, Callable[[Shape, Any, str], Any]] = {
    "structure": _read_structure,
    "list": _read_list,
    "map": _read_map,
    "string": _read_string,
    "boolean": _read_boolean,
    "integer": _read_integer,
    "long": _read_integer,
    "double": _read_double,
    "float": _read_double,
    "blob": _read_blob,
    "timestamp": _read_timestamp,
}


def _from_query(member: Member, query: Query) -> Any:
    values = [value for name, value in query if name == member.wire_name]
    if not values:
        return None
    if member.shape.kind == "list" and member.shape.element is not None:
        element = member.shape.element
        return [_from_text(element, value, member.name) for value in values]
    return _from_text(member.shape, values[0], member.name)


def _from_text(shape: Shape, text: str, where: str) -> Any:
    """A value of a path, a query or a header."""
    match shape.kind:
        case "integer" | "long":
            return _read_integer(shape, _parse_number(text), where)
        case "double" | "float":
            return _read_double(shape, _parse_number(text), where)
        case "boolean":
            return _read_boolean(shape, {"true": True, "false": False}.get(text.lower(), text), where)
        case "timestamp":
            number = _parse_number(text)
            return _parse_iso_time(text, where) if number is text else _read_timestamp(shape, number, where)
        case _:
            return text


def _parse_number(text: str) -> int | float | str:
    """A JSON number, or the text itself when it is none."""
    try:
        number = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return number if isinstance(number, (int, float)) and not isinstance(number, bool) else text


def _parse_iso_time(text: str, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise api_error("SerializationException", f"The value of {where} is not an ISO 8601 time") from None


def _decode_header(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _refuse_type(value: Any, kind: str, where: str) -> NoReturn:
    match value:
        case bool():
            found = "TRUE_VALUE" if value else "FALSE_VALUE"
        case str():
            found = "STRING_VALUE"
        case int() | float():
            found = "NUMBER_VALUE"
        case list():
            found = "START_ARRAY_VALUE"
        case dict():
            found = "START_OBJECT_VALUE"
        case _:
            found = "NULL_VALUE"
    raise api_error("SerializationException", f"{found} can not be converted to {KIND_NAMES[kind]} ({where})")
