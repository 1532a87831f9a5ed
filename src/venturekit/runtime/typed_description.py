"""Annotations as JSON Schema: for documentation, and to know where a query may hold a list."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from typing import TYPE_CHECKING, Any, Union

from venturekit.runtime.typed_values import FORMATS, JSON_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping


def describe(kind: Any, above: frozenset[type] = frozenset()) -> dict[str, Any]:
    """The JSON Schema of a type, nested types in place; a class inside itself, and what says nothing, is ``{}``."""
    while hasattr(kind, "__supertype__"):
        kind = kind.__supertype__
    if hasattr(kind, "model_json_schema"):
        return dict(kind.model_json_schema())
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return _fields(kind, above)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return _generic(origin, arguments, above)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if kind is None or kind is types.NoneType:
        return {"type": "null"}
    if kind in FORMATS:
        return {"type": "string", "format": FORMATS[kind]}
    if kind in (tuple, set, frozenset):
        return {"type": "array"}
    return {"type": JSON_TYPES[kind]} if kind in JSON_TYPES else {}


def _fields(kind: Any, above: frozenset[type]) -> dict[str, Any]:
    if kind in above:
        return {}
    hints = typing.get_type_hints(kind, include_extras=True)
    if typing.is_typeddict(kind):
        names, required = list(hints), sorted(required_keys(kind, hints))
    else:
        fields = [field for field in dataclasses.fields(kind) if field.init]
        names, required = [field.name for field in fields], [field.name for field in fields if is_required(field)]
    properties = {name: describe(hints[name], above | {kind}) for name in names}
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def is_required(field: dataclasses.Field[Any]) -> bool:
    """Whether a field of a dataclass has neither a default nor something that makes one."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def required_keys(kind: Any, hints: Mapping[str, Any]) -> frozenset[str]:
    """The keys that a TypedDict must have.

    What the class itself says of them is wrong where annotations are texts (``from __future__ import annotations``):
    it cannot see ``Required`` and ``NotRequired`` then.
    """
    required = set(kind.__required_keys__)
    for name, hint in hints.items():
        origins = _qualifiers(hint)
        if typing.NotRequired in origins:
            required.discard(name)
        elif typing.Required in origins:
            required.add(name)
    return frozenset(required)


def _qualifiers(hint: Any) -> set[Any]:
    found = set()
    while (origin := typing.get_origin(hint)) in (typing.Required, typing.NotRequired, typing.Annotated):
        found.add(origin)
        hint = typing.get_args(hint)[0]
    return found


def _generic(origin: Any, arguments: tuple[Any, ...], above: frozenset[type]) -> dict[str, Any]:
    if origin in (Union, types.UnionType):
        return {"anyOf": [describe(option, above) for option in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.Final):
        return describe(arguments[0], above)
    if dataclasses.is_dataclass(origin) or typing.is_typeddict(origin):
        return describe(origin, above)
    if isinstance(origin, type) and issubclass(dict, origin) and len(arguments) == 2:
        return {"type": "object", "additionalProperties": describe(arguments[1], above)}
    return {"type": "array", "items": describe(arguments[0], above)} if arguments else {"type": "array"}
