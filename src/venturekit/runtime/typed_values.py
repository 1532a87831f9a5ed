"""Checks of single values: JSON's own types, choices, and what is written as text because JSON has no type for it."""

from __future__ import annotations

import enum
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from venturekit.runtime.schema import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.runtime.typed_schema import Check, Path

_TRUE: Final = frozenset(("true", "1", "yes", "on"))
_FALSE: Final = frozenset(("false", "0", "no", "off"))
JSON_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array"}
FORMATS: Final[dict[type, str]] = {
    datetime: "date-time",
    date: "date",
    time: "time",
    UUID: "uuid",
    Decimal: "decimal",
}
_EXPECTED: Final[dict[type, str]] = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    datetime: "a date and time like 2026-01-31T12:00:00Z",
    date: "a date like 2026-01-31",
    time: "a time like 12:00:00",
    UUID: "a UUID",
    Decimal: "a decimal number",
}
_NAMES: Final = {str: "a text", int: "a number", float: "a number", dict: "an object", list: "a list"}


def is_known(kind: type) -> bool:
    """Whether there is a check of a class."""
    return kind in _EXPECTED or kind in (tuple, set, frozenset, object) or issubclass(kind, enum.Enum)


def name_of(value: Any) -> str:
    """What a value is, in a message: ``a number``, ``null``."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return _NAMES.get(type(value), type(value).__name__)


def check_null(value: Any, path: Path, issues: list[Issue]) -> None:
    """Nothing but null."""
    if value is not None:
        issues.append(Issue(path, f"must be null, not {name_of(value)}"))


def check_of(kind: Any) -> Check:
    """The check of a class. Raises TypeError for one that cannot be checked."""
    if not isinstance(kind, type) or not is_known(kind):
        raise TypeError(f"the annotation {kind!r} cannot be checked")
    if issubclass(kind, enum.Enum):
        return _enumeration(kind)
    convert, expected = _CONVERSIONS[kind], _EXPECTED.get(kind, "a list")

    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if type(value) is kind and kind not in (float, Decimal):
            return value
        try:
            return convert(value)
        except (ValueError, ArithmeticError, TypeError):
            issues.append(Issue(path, f"must be {expected}, not {name_of(value)}"))
            return None

    return check


def check_of_choices(choices: Sequence[Any]) -> Check:
    """One of some values (``Literal``); numbers as texts too."""
    expected = f"must be one of {', '.join(map(repr, choices))}"

    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        for choice in choices:
            if isinstance(value, str) and type(choice) is int and str(choice) == value:
                return choice
        issues.append(Issue(path, expected))
        return None

    return check


def _enumeration(kind: type[enum.Enum]) -> Check:
    members = {member: member.value for member in kind}
    expected = f"must be one of {', '.join(map(repr, members.values()))}"

    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if isinstance(value, kind):
            return value
        for member, known in members.items():
            if type(known) is type(value) and known == value:
                return member
        for member, known in members.items():
            if isinstance(value, str) and type(known) is int and str(known) == value:
                return member
        issues.append(Issue(path, expected))
        return None

    return check


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _integer(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit():
        return int(value)
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    if isinstance(value, str) and (value.strip() != value or "_" in value):
        raise ValueError
    number = float(value)
    if number - number != 0:
        raise ValueError  # infinite, or no number
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
    raise TypeError


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError
    if isinstance(value, str) and (value.strip() != value or "_" in value):
        raise ValueError
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return number


def _list(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return list(value)
    raise TypeError


def _object(value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    raise TypeError


_CONVERSIONS: Final[dict[type, Callable[[Any], Any]]] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    dict: _object,
    list: _list,
    tuple: lambda value: tuple(_list(value)),
    set: lambda value: set(_list(value)),
    frozenset: lambda value: frozenset(_list(value)),
    datetime: lambda value: datetime.fromisoformat(_text(value)),
    date: lambda value: date.fromisoformat(_text(value)),
    time: lambda value: time.fromisoformat(_text(value)),
    UUID: lambda value: UUID(_text(value)),
    Decimal: _decimal,
}
