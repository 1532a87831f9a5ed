"""A schema of a class that says what it holds by annotations: dataclasses, ``TypedDict``, and the types inside them.

Imported when a handler has such a schema: what reads annotations takes milliseconds to import.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, Union
from uuid import UUID

from venturekit.runtime.schema import Issue, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Path = tuple[str | int, ...]
_TRUE: Final = frozenset(("true", "1", "yes", "on"))
_FALSE: Final = frozenset(("false", "0", "no", "off"))
_JSON_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
_FROM_TEXT: Final[dict[type, tuple[Callable[[str], Any], str]]] = {
    datetime: (datetime.fromisoformat, "date-time"),
    date: (date.fromisoformat, "date"),
    time: (time.fromisoformat, "time"),
    UUID: (UUID, "uuid"),
    Decimal: (Decimal, "decimal"),
}


def is_supported(kind: Any) -> bool:
    """Whether a ``TypedSchema`` of it makes sense: dataclasses, TypedDict, and generic aliases like ``list[User]``."""
    return dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or typing.get_origin(kind) is not None


class TypedSchema:
    """Checks values against annotations.

    Numbers, truth values, dates, times, UUIDs and Decimals are also taken as texts, as queries and forms send them.
    Fields that are not declared are an issue, for a misspelt name would go unnoticed.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def parse(self, value: Any) -> Any:
        """The value, dataclasses as their instances. Raises SchemaError with all issues."""
        issues: list[Issue] = []
        made = _parse(self._kind, value, (), issues)
        if issues:
            raise SchemaError(issues)
        return made

    def json_schema(self) -> Mapping[str, Any]:
        """As JSON Schema, nested types in place."""
        return _describe(self._kind, frozenset())


def _parse(kind: Any, value: Any, path: Path, issues: list[Issue]) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _parse_dataclass(kind, value, path, issues)
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind)
        return _parse_fields(hints, set(kind.__required_keys__), value, path, issues)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is not None:
        return _parse_generic(kind, origin, arguments, value, path, issues)
    return _parse_plain(kind, value, path, issues)


def _parse_dataclass(kind: type, value: Any, path: Path, issues: list[Issue]) -> Any:
    hints = typing.get_type_hints(kind)
    fields = [field for field in dataclasses.fields(kind) if field.init]
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    before = len(issues)
    made = _parse_fields({field.name: hints[field.name] for field in fields}, required, value, path, issues)
    if len(issues) > before:
        return None
    try:
        return kind(**made)
    except (ValueError, TypeError) as problem:
        issues.append(Issue(path, str(problem) or "is not valid"))
        return None


def _parse_fields(
    hints: Mapping[str, Any], required: set[str], value: Any, path: Path, issues: list[Issue]
) -> dict[str, Any]:
    if not isinstance(value, dict):
        issues.append(Issue(path, f"must be an object, not {_name(value)}"))
        return {}
    made = {}
    for name, hint in hints.items():
        if name in value:
            made[name] = _parse(hint, value[name], (*path, name), issues)
        elif name in required:
            issues.append(Issue((*path, name), "is required"))
    issues += [Issue((*path, str(name)), "is not known") for name in value if name not in hints]
    return made


def _parse_generic(
    kind: Any, origin: Any, arguments: tuple[Any, ...], value: Any, path: Path, issues: list[Issue]
) -> Any:
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.Final):
        return _parse(arguments[0], value, path, issues)
    if origin is typing.Literal:
        if value not in arguments or isinstance(value, bool) != any(value is choice for choice in arguments):
            matching = [choice for choice in arguments if type(choice) is type(value) and choice == value]
            if not matching:
                issues.append(Issue(path, f"must be one of {', '.join(map(repr, arguments))}"))
        return value
    if origin in (Union, types.UnionType):
        return _parse_union(arguments, value, path, issues)
    if origin is dict:
        if not isinstance(value, dict):
            issues.append(Issue(path, f"must be an object, not {_name(value)}"))
            return None
        return {name: _parse(arguments[1], item, (*path, str(name)), issues) for name, item in value.items()}
    if origin in (list, set, frozenset, tuple) or _is_sequence(origin):
        return _parse_items(origin, arguments, value, path, issues)
    return _parse_plain(origin, value, path, issues)


def _parse_items(origin: Any, arguments: tuple[Any, ...], value: Any, path: Path, issues: list[Issue]) -> Any:
    if not isinstance(value, list | tuple):
        issues.append(Issue(path, f"must be a list, not {_name(value)}"))
        return None
    kinds = [arguments[0]] * len(value)
    if origin is tuple and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            issues.append(Issue(path, f"must have {len(arguments)} items, not {len(value)}"))
            return None
        kinds = list(arguments)
    items = [
        _parse(kind, item, (*path, index), issues) for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    ]
    return origin(items) if origin in (set, frozenset, tuple) else items


def _parse_union(arguments: tuple[Any, ...], value: Any, path: Path, issues: list[Issue]) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    options = [kind for kind in arguments if kind is not types.NoneType]
    # What needs no change is what was meant: 1 is the integer of ``str | int``.
    options.sort(key=lambda kind: not (isinstance(kind, type) and type(value) is kind))
    failures = []
    for kind in options:
        found: list[Issue] = []
        made = _parse(kind, value, path, found)
        if not found:
            return made
        failures.append(found)
    # The option that got furthest tells best what is wrong.
    issues += max(failures, key=lambda found: max(len(issue.path) for issue in found)) if failures else []
    return None


def _parse_plain(kind: Any, value: Any, path: Path, issues: list[Issue]) -> Any:
    if kind is None or kind is types.NoneType:
        if value is not None:
            issues.append(Issue(path, "must be null"))
        return None
    if not isinstance(kind, type):
        issues.append(Issue(path, f"has the type {kind!r}, which cannot be checked"))
        return None
    if isinstance(value, kind) and not (isinstance(value, bool) and kind in (int, float)):
        return value
    converted = _converted(kind, value)
    if converted is None:
        issues.append(Issue(path, f"must be {_expected(kind)}, not {_name(value)}"))
    return converted


def _converted(kind: type, value: Any) -> Any:
    """The value as a ``kind``, None where it cannot be one."""
    try:
        if issubclass(kind, enum.Enum):
            return kind(value)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is Decimal and isinstance(value, int | float) and not isinstance(value, bool):
            return Decimal(str(value))
        if not isinstance(value, str):
            return None
        if kind in (int, float):
            return kind(value) if value.strip() == value and "_" not in value else None
        if kind is bool:
            return True if value.lower() in _TRUE else False if value.lower() in _FALSE else None
        return _FROM_TEXT[kind][0](value) if kind in _FROM_TEXT else None
    except (ValueError, KeyError, InvalidOperation, OverflowError):
        return None


def _expected(kind: type) -> str:
    if issubclass(kind, enum.Enum):
        return f"one of {', '.join(repr(member.value) for member in kind)}"
    names = {
        str: "a text",
        int: "an integer",
        float: "a number",
        bool: "true or false",
        dict: "an object",
        list: "a list",
    }
    return names.get(kind, f"a {kind.__name__}")


def _name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {str: "a text", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return names.get(type(value), type(value).__name__)


def _is_sequence(origin: Any) -> bool:
    return (
        isinstance(origin, type)
        and origin.__module__ == "collections.abc"
        and origin.__name__ in ("Sequence", "Iterable", "Collection", "MutableSequence")
    )


def _describe(kind: Any, above: frozenset[Any]) -> dict[str, Any]:
    if kind in above:
        return {}
    within = above | {kind} if isinstance(kind, type) else above
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind)
        if typing.is_typeddict(kind):
            required = sorted(kind.__required_keys__)
        else:
            missing = dataclasses.MISSING
            required = [
                f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing
            ]
        properties = {name: _describe(hint, within) for name, hint in hints.items()}
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_describe(option, within) for option in arguments]}
    if origin is typing.Literal:
        return {"enum": list(arguments)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(arguments[1], within)}
    if origin in (list, set, frozenset, tuple) or _is_sequence(origin):
        return {"type": "array", "items": _describe(arguments[0], within)}
    if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.Final):
        return _describe(arguments[0], within)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if kind is types.NoneType:
        return {"type": "null"}
    if kind in _FROM_TEXT:
        return {"type": "string", "format": _FROM_TEXT[kind][1]}
    return {"type": _JSON_TYPES[kind]} if kind in _JSON_TYPES else {}
