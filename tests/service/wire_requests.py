"""Requests of the Lambda API as they go out, made from members as the service model puts them on the wire."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_from_bytes

from tests.service.model_values import location, operation, wire_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.model import Shape

HEADERS: Final = (("X-Amz-Client", b"test"),)
REQUEST_LIMIT_BYTES: Final = 6_291_456
REMOVED: Final = object()


class Raw(str):
    """JSON text that is sent as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Request:
    """One request and how it was made. ``members`` are those of its operation, as far as it has any."""

    operation: str
    kind: str
    method: str
    target: bytes
    fields: tuple[tuple[str, bytes], ...]
    body: bytes | None
    members: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        body = self.body or b""
        shown = f"{body[:1500]!r}" + (f"... ({len(body)} bytes)" if len(body) > 1500 else "")
        return f"{self.operation} ({self.kind}): {self.method} {self.target[:1500]!r} {self.fields} {shown}"


# --- from members to a request ---------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """JSON, with the pieces of :class:`Raw` as they are."""
    match value:
        case Raw():
            return str(value)
        case dict():
            return f"{{{','.join(f'{json.dumps(key)}:{to_json(each)}' for key, each in value.items())}}}"
        case list():
            return f"[{','.join(map(to_json, value))}]"
        case _:
            return json.dumps(value)


def on_the_wire(shape: Shape, value: Any) -> Any:
    """A value under the names and in the forms of the wire; what is not of its shape stays as it is."""
    match shape.type_name, value:
        case "structure", dict():
            known = shape.members
            return {
                wire_name(name, known[name]) if name in known else name: on_the_wire(known[name], each)
                if name in known
                else each
                for name, each in value.items()
            }
        case "list", list():
            return [on_the_wire(shape.member, each) for each in value]
        case "map", dict():
            return {key: on_the_wire(shape.value, each) for key, each in value.items()}
        case _, bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def as_text(value: Any) -> bytes:
    """A value of a path, a query or a header."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return str(value).lower().encode()
    return (value if isinstance(value, str) else to_json(value)).encode("utf-8", "surrogatepass")


def assemble(operation_name: str, members: Mapping[str, Any], kind: str = "valid") -> Request:
    """The request that has these members. Members that are None are null in the body, and left out elsewhere."""
    made = operation(operation_name)
    path, _, constants = made.http["requestUri"].partition("?")
    query = [constants] if constants else []
    fields = list(HEADERS)
    body: dict[str, Any] = {}
    shapes = made.input_shape.members if made.input_shape is not None else {}
    for name, value in members.items():
        shape = shapes[name]
        wire = wire_name(name, shape)
        where = location(shape)
        if where == "uri":
            path = path.replace(f"{{{wire}}}", quote_from_bytes(as_text(value), safe=""))
        elif value is not None and where == "querystring":
            values = value if isinstance(value, list) else [value]
            query += [f"{quote(wire)}={quote_from_bytes(as_text(each), safe='')}" for each in values]
        elif value is not None and where == "header":
            fields.append((wire, as_text(value)))
        elif where == "body":
            body[name] = value
    target = path + (f"?{'&'.join(query)}" if query else "")
    data = _body(made.input_shape, body) if made.input_shape is not None else None
    return Request(operation_name, kind, made.http["method"], target.encode(), tuple(fields), data, members)


def _body(shape: Shape, members: Mapping[str, Any]) -> bytes | None:
    payload = shape.serialization.get("payload")
    if payload is not None:
        value = members.get(payload)
        if isinstance(value, bytes) or value is None:
            return value
        return to_json(on_the_wire(shape.members[payload], value)).encode()
    if any(location(member) == "body" for member in shape.members.values()):
        return to_json(on_the_wire(shape, members)).encode()
    return None
