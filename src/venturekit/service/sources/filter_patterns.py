"""Filter criteria: which records of a source a function is invoked with. Pure.

Sources: AWS Lambda Developer Guide, "Control which events Lambda sends to your function" and "Using event filtering
with an Amazon SQS event source"; for the forms within a pattern, EventBridge User Guide, "Comparison operators".
What no page says is a choice: numbers are compared as numbers (300 is 300.0), ``wildcard`` and ``cidr``, which Lambda's
page does not list, are refused, and a body counts as JSON when it is an object or an array.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

BODY: Final = "body"
OR: Final = "$or"
NUMBER_LIMIT: Final = 5_000_000_000
DEPTH_LIMIT: Final = 100
"""How many objects a pattern may nest: what is decided of a message must not depend on the depth of the stack."""
_DIGITS_LIMIT: Final = 400
"""An integer of more digits is more than a float holds, and Python refuses to read those of some thousand."""
_ABSENT: Final = object()
_LOWER: Final = {">": lambda value, bound: value > bound, ">=": lambda value, bound: value >= bound}
_UPPER: Final = {"<": lambda value, bound: value < bound, "<=": lambda value, bound: value <= bound}
_BOUNDS: Final = {**_LOWER, **_UPPER}


class FilterPatternError(ValueError):
    """A pattern that is not legal; the text says why, for people who look for it."""


class FilterPattern:
    """One pattern, ready to be matched. ``text`` is JSON. Raises FilterPatternError."""

    __slots__ = ("_matches", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        pattern = _parsed(text)
        if not isinstance(pattern, dict) or not pattern:
            raise FilterPatternError("a pattern is a JSON object that names at least one field")
        if _depth(pattern) > DEPTH_LIMIT:
            raise FilterPatternError(f"a pattern nests {DEPTH_LIMIT} objects at most")
        self._matches = _object(pattern, top=True)

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record, with the members that the function gets, is one of those that are wanted."""
        return self._matches(record)


def wanted(patterns: Sequence[FilterPattern], record: Mapping[str, Any]) -> bool:
    """Whether one of the patterns matches; all records are wanted where there is none."""
    return not patterns or any(pattern.matches(record) for pattern in patterns)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FilterPatternError(f"the pattern is not JSON: {error}") from None


def _no_constant(name: str) -> Any:
    raise FilterPatternError(f"{name} is not JSON")


def _depth(pattern: Any) -> int:
    """How many objects are within each other."""
    deepest, todo = 0, [(pattern, 0)]
    while todo:
        value, depth = todo.pop()
        deepest = max(deepest, depth)
        if isinstance(value, dict):
            todo += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            todo += [(inner, depth) for inner in value]
    return deepest


def _elements(value: list[Any]) -> Iterator[Any]:
    """What an array and the arrays in it hold, in order, however deep they are."""
    todo = [iter(value)]
    while todo:
        for element in todo[-1]:
            if isinstance(element, list):
                todo.append(iter(element))
                break
            yield element
        else:
            todo.pop()


def _object(pattern: Mapping[str, Any], *, top: bool = False) -> Callable[[Any], bool]:
    if not pattern:
        raise FilterPatternError("an empty object matches nothing in particular: name a field, or leave it out")
    alternatives = [_alternatives(given, top=top) for key, given in pattern.items() if key == OR]
    fields = [
        (key, _body(given) if top and key == BODY else _field(given)) for key, given in pattern.items() if key != OR
    ]

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            objects = [element for element in _elements(value) if isinstance(element, dict)]
            if objects or not value:
                return any(map(matches, objects))
        if not isinstance(value, dict):
            # Only rules for what is not there can match then.
            value = {}
        return all(rule(value.get(key, _ABSENT)) for key, rule in fields) and all(rule(value) for rule in alternatives)

    return matches


def _alternatives(given: Any, *, top: bool) -> Callable[[Any], bool]:
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(each, dict) for each in given):
        raise FilterPatternError("$or takes an array of two or more objects")
    rules = [_object(each, top=top) for each in given]
    return lambda value: any(rule(value) for rule in rules)


def _field(given: Any) -> Callable[[Any], bool]:
    if isinstance(given, dict):
        return _object(given)
    return _leaf(given)


def _body(given: Any) -> Callable[[Any], bool]:
    """The body of a message is a text, which may be JSON: a pattern is about one or the other."""
    about_json = isinstance(given, dict)
    rule = _field(given)

    def matches(value: Any) -> bool:
        parsed = _json_of(value)
        if about_json:
            return parsed is not None and rule(parsed)
        return parsed is None and rule(value)

    return matches


def _json_of(body: Any) -> dict[str, Any] | list[Any] | None:
    if not isinstance(body, str) or body.lstrip(" \t\r\n")[:1] not in ("{", "["):
        return None
    try:
        parsed = json.loads(body, parse_constant=_no_constant, parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict | list) else None


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _DIGITS_LIMIT else float(digits)


def _leaf(given: Any) -> Callable[[Any], bool]:
    if not isinstance(given, list) or not given:
        raise FilterPatternError("the value of a field is an object, or an array of at least one value or rule")
    rules = [_rule(each) for each in given]

    def matches(value: Any) -> bool:
        if isinstance(value, list):
            return any(rule(element) for element in _elements(value) for rule in rules)
        return any(rule(value) for rule in rules)

    return matches


def _rule(given: Any) -> Callable[[Any], bool]:
    if isinstance(given, dict):
        if len(given) != 1:
            raise FilterPatternError("a rule is an object of exactly one operator")
        ((operator, operand),) = given.items()
        make = _OPERATORS.get(operator)
        if make is None:
            raise FilterPatternError(f"there is no operator {operator!r}: there are {', '.join(_OPERATORS)}")
        return make(operand)
    if isinstance(given, list):
        raise FilterPatternError("an array of values holds no arrays")
    return lambda value: _equal(value, given)


def _equal(value: Any, wanted_value: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted_value, bool):
        # True is no 1 in JSON.
        return value is wanted_value
    return bool(value == wanted_value)


def _exists(operand: Any) -> Callable[[Any], bool]:
    if not isinstance(operand, bool):
        raise FilterPatternError("exists takes true or false")
    return lambda value: (value is not _ABSENT and not isinstance(value, dict)) is operand


def _text(operand: Any, operator: str) -> str:
    if not isinstance(operand, str) or not operand:
        raise FilterPatternError(f"{operator} takes a text that is not empty")
    return operand


def _ignoring_case(operand: Any) -> Callable[[Any], bool]:
    if not isinstance(operand, str):
        raise FilterPatternError("equals-ignore-case takes a text")
    folded = operand.lower()
    return lambda value: isinstance(value, str) and value.lower() == folded


def _edge(operand: Any, operator: str) -> Callable[[Any], bool]:
    """Prefix or suffix, of which the case may not matter."""
    begins = operator == "prefix"
    if isinstance(operand, dict):
        if list(operand) != ["equals-ignore-case"]:
            raise FilterPatternError(f"{operator} takes a text, or an object with equals-ignore-case")
        folded = _text(operand["equals-ignore-case"], "equals-ignore-case").lower()
        if begins:
            return lambda value: isinstance(value, str) and value.lower().startswith(folded)
        return lambda value: isinstance(value, str) and value.lower().endswith(folded)
    edge = _text(operand, operator)
    if begins:
        return lambda value: isinstance(value, str) and value.startswith(edge)
    return lambda value: isinstance(value, str) and value.endswith(edge)


def _anything_but(operand: Any) -> Callable[[Any], bool]:
    excluded = _excluded(operand)
    return lambda value: value is not _ABSENT and not isinstance(value, dict) and not any(no(value) for no in excluded)


def _excluded(operand: Any) -> list[Callable[[Any], bool]]:
    if isinstance(operand, dict):
        if len(operand) != 1 or next(iter(operand)) not in ("prefix", "suffix", "equals-ignore-case"):
            raise FilterPatternError("anything-but takes values, or one of prefix, suffix and equals-ignore-case")
        ((operator, texts),) = operand.items()
        each_text = texts if isinstance(texts, list) else [texts]
        if not each_text or not all(isinstance(text, str) for text in each_text):
            raise FilterPatternError(f"{operator} within anything-but takes a text, or an array of texts")
        return [_OPERATORS[operator](text) for text in each_text]
    values = operand if isinstance(operand, list) else [operand]
    if not values or any(isinstance(value, dict | list) or value is None for value in values):
        raise FilterPatternError("anything-but takes a text, a number, true or false, or an array of these")
    return [_rule(value) for value in values]


def _numeric(operand: Any) -> Callable[[Any], bool]:
    match operand:
        case ["=", bound]:
            exact = _number(bound)
            return lambda value: _is_number(value) and bool(value == exact)
        case [str(operator), bound] if operator in _BOUNDS:
            return _compared((_BOUNDS[operator], _number(bound)))
        case [str(lower), low, str(upper), high] if lower in _LOWER and upper in _UPPER:
            if _number(low) >= _number(high):
                raise FilterPatternError("the range of numeric is empty: its lower bound comes first")
            return _compared((_LOWER[lower], _number(low)), (_UPPER[upper], _number(high)))
    raise FilterPatternError('numeric takes ["=", 5], [">", 5] and the like, or a range [">=", 0, "<", 5]')


def _compared(*bounds: tuple[Callable[[Any, Any], bool], float]) -> Callable[[Any], bool]:
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in bounds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float:
    if not _is_number(value) or abs(value) > NUMBER_LIMIT:
        raise FilterPatternError(f"numeric takes numbers from -{NUMBER_LIMIT} to {NUMBER_LIMIT}")
    number: float = value
    return number


_OPERATORS: Final[Mapping[str, Callable[[Any], Callable[[Any], bool]]]] = {
    "exists": _exists,
    "anything-but": _anything_but,
    "prefix": lambda operand: _edge(operand, "prefix"),
    "suffix": lambda operand: _edge(operand, "suffix"),
    "equals-ignore-case": _ignoring_case,
    "numeric": _numeric,
}
