"""From what a handler returns to status, headers and body."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from venturekit.service.api.errors import JSON_TYPE, header_value, json_bytes
from venturekit.service.api.quirks import default_status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.api.model import Member, Operation, Shape

NO_BODY_STATUSES = frozenset({204, 304})


class OutputError(TypeError):
    """A handler returned something that the model does not have: a fault of the service."""


def serialize_output(operation: Operation, output: Mapping[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body for the output members of an operation, under the model's names.

    Members that are None are left out, at any depth. Blobs are bytes (or text), timestamps aware datetimes or epoch
    seconds; the JSON has them in base64 and in epoch seconds. A payload is the body itself; that of an event stream
    must come as finished bytes. ``Content-Type`` is there when a body is.

    Raises :class:`OutputError` for unknown members and for values of another type than the model's.
    """
    shape = operation.output
    given = {name: value for name, value in output.items() if value is not None}
    if shape is None:
        _check_names(operation.name, given, {})
        return default_status(operation), [], b""
    _check_names(operation.name, given, shape.members)
    status = default_status(operation)
    headers: list[tuple[bytes, bytes]] = []
    for member in shape.members.values():
        if member.name not in given:
            continue
        value = given[member.name]
        if member.location == "statusCode":
            status = int(value)
        elif member.location == "header":
            headers.append((member.wire_name.encode("ascii"), header_value(_to_text(member, value))))
    if status in NO_BODY_STATUSES:
        return status, headers, b""
    body = _body(shape, given)
    if body and all(name.lower() != b"content-type" for name, _ in headers):
        headers.append(JSON_TYPE)
    return status, headers, body


def _body(shape: Shape, given: Mapping[str, Any]) -> bytes:
    if shape.payload is not None:
        payload = shape.members[shape.payload].shape
        value = given.get(shape.payload)
        if value is None:
            return b""
        if payload.kind == "blob" or payload.event_stream:
            return _to_bytes(value, shape.payload)
        return json_bytes(_to_json(payload, value, shape.payload))
    fields = shape.body_members
    if shape.members and not fields:
        return b""
    return json_bytes({m.wire_name: _to_json(m.shape, given[m.name], m.name) for m in fields if m.name in given})


def _to_json(shape: Shape, value: Any, where: str) -> Any:
    writer = _WRITERS.get(shape.kind)
    return value if writer is None else writer(shape, value, where)


def _write_structure(shape: Shape, value: Any, where: str) -> dict[str, Any]:
    if not hasattr(value, "items"):
        raise _wrong_type(shape, value, where)
    given = {name: inner for name, inner in value.items() if inner is not None}
    _check_names(where, given, shape.members)
    return {
        m.wire_name: _to_json(m.shape, given[m.name], f"{where}.{m.name}")
        for m in shape.members.values()
        if m.name in given
    }


def _write_list(shape: Shape, value: Any, where: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise _wrong_type(shape, value, where)
    element = shape.element
    return [inner if element is None else _to_json(element, inner, where) for inner in value]


def _write_map(shape: Shape, value: Any, where: str) -> dict[str, Any]:
    if not hasattr(value, "items"):
        raise _wrong_type(shape, value, where)
    element = shape.element
    return {key: inner if element is None else _to_json(element, inner, where) for key, inner in value.items()}


def _write_string(shape: Shape, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(shape, value, where)
    return value


def _write_boolean(shape: Shape, value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(shape, value, where)
    return value


def _write_number(shape: Shape, value: Any, where: str) -> int | float:
    whole = shape.kind in ("integer", "long")
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not math.isfinite(value):
        raise _wrong_type(shape, value, where)
    return value


def _write_blob(shape: Shape, value: Any, where: str) -> str:
    return base64.b64encode(_to_bytes(value, where)).decode("ascii")


def _write_timestamp(shape: Shape, value: Any, where: str) -> int | float:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise OutputError(f"{where} is a datetime without a time zone")
        value = value.astimezone(UTC).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong_type(shape, value, where)
    # Milliseconds are what AWS gives (recorded: 1573686021.479).
    seconds = round(value, 3)
    return int(seconds) if seconds == int(seconds) else seconds


_WRITERS: dict[str, Callable[[Shape, Any, str], Any]] = {
    "structure": _write_structure,
    "list": _write_list,
    "map": _write_map,
    "string": _write_string,
    "boolean": _write_boolean,
    "integer": _write_number,
    "long": _write_number,
    "double": _write_number,
    "float": _write_number,
    "blob": _write_blob,
    "timestamp": _write_timestamp,
}


def _to_bytes(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise OutputError(f"{where} must be bytes, not {type(value).__name__}")


def _to_text(member: Member, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise _wrong_type(member.shape, value, member.name)


def _check_names(where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise OutputError(f"{where} has no output member {', '.join(unknown)}")


def _wrong_type(shape: Shape, value: Any, where: str) -> OutputError:
    return OutputError(f"{where} must be of type {shape.kind}, not {type(value).__name__}")
