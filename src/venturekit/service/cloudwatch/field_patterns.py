"""Filter patterns for events whose fields are divided by blanks: ``[ip, ..., status = 4*, bytes > 1000]``. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from venturekit.service.cloudwatch.comparisons import (
    NESTING_LIMIT,
    NUMBER,
    PatternError,
    comparison,
    refuse_expression,
    unquoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    FieldHolds: TypeAlias = Callable[[str], bool]

FIELDS_LIMIT: Final = 10_000
"""How many fields of an event are looked at."""
ELLIPSIS: Final = "..."
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<symbol>&&|\|\||!=|<=|>=|[()=<>,])
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<word>(?:(?!&&|\|\|)[^\s,()=!<>"])+)
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_CLOSING: Final = {'"': '"', "[": "]"}
Token: TypeAlias = tuple[str, str]


def parse_fields(text: str) -> Callable[[str], bool]:
    """What tells whether an event has these fields, in this order and no others. Raises PatternError."""
    if not text.endswith("]"):
        raise PatternError("a pattern that begins with [ must end with ]")
    items = _items(text[1:-1])
    gaps = [place for place, item in enumerate(items) if item == [("word", ELLIPSIS)]]
    if len(gaps) > 1:
        raise PatternError("... may stand for fields once only")
    if not gaps:
        conditions = [_Field(item).parse() for item in items]
        return lambda message: _hold(conditions, split_fields(message))
    before = [_Field(item).parse() for item in items[: gaps[0]]]
    behind = [_Field(item).parse() for item in items[gaps[0] + 1 :]]

    def matches(message: str) -> bool:
        fields = split_fields(message)
        if len(fields) < len(before) + len(behind):
            return False
        return _hold(before, fields[: len(before)]) and _hold(behind, fields[len(fields) - len(behind) :])

    return matches


def split_fields(message: str) -> list[str]:
    """The fields of an event: divided by blanks, with what stands in quotation marks or brackets as one of them."""
    fields: list[str] = []
    position, end = 0, len(message)
    closed = dict.fromkeys(_CLOSING, True)
    while len(fields) <= FIELDS_LIMIT:
        while position < end and message[position].isspace():
            position += 1
        if position == end:
            break
        opening = message[position]
        if closed.get(opening):
            found = message.find(_CLOSING[opening], position + 1)
            if found >= 0:
                fields.append(message[position + 1 : found])
                position = found + 1
                continue
            # Nor will there be one behind the next of its kind: looking each time takes long.
            closed[opening] = False
        start = position
        while position < end and not message[position].isspace():
            position += 1
        fields.append(message[start:position])
    return fields


def _hold(conditions: list[FieldHolds], fields: list[str]) -> bool:
    return len(fields) == len(conditions) and all(holds(field) for holds, field in zip(conditions, fields, strict=True))


def _items(text: str) -> list[list[Token]]:
    """The tokens between the commas."""
    items: list[list[Token]] = [[]]
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise PatternError(f"'{text[position : position + 40].strip()}' cannot be read")
        assert token.lastgroup is not None  # each alternative has a name
        if token["symbol"] == ",":
            items.append([])
        else:
            items[-1].append((token.lastgroup, token[token.lastgroup]))
        position = token.end()
    if any(not item for item in items):
        raise PatternError("a field has no name: there is nothing between two commas or brackets")
    return items


class _Field:
    """One field of a pattern: its name alone, or conditions that all begin with the name."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._position = 0
        self._name = ""

    def parse(self) -> FieldHolds:
        """The condition of the field. Raises PatternError."""
        if len(self._tokens) == 1:
            self._take_name()
            return lambda _field: True
        holds = self._either(0)
        if self._position < len(self._tokens):
            raise PatternError(f"'{self._tokens[self._position][1]}' stands where a comma has to be")
        return holds

    def _either(self, depth: int) -> FieldHolds:
        parts = [self._both(depth)]
        while self._accept("||"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else lambda field: any(part(field) for part in parts)

    def _both(self, depth: int) -> FieldHolds:
        parts = [self._condition(depth)]
        while self._accept("&&"):
            parts.append(self._condition(depth))
        return parts[0] if len(parts) == 1 else lambda field: all(part(field) for part in parts)

    def _condition(self, depth: int) -> FieldHolds:
        if self._accept("("):
            if depth == NESTING_LIMIT:
                raise PatternError(f"parentheses are nested more than {NESTING_LIMIT} deep")
            inner = self._either(depth + 1)
            if not self._accept(")"):
                raise PatternError("a parenthesis has no counterpart")
            return inner
        self._take_name()
        _, sign = self._take("an operator")
        if sign not in ("=", "!=", "<", "<=", ">", ">="):
            raise PatternError(f"'{sign}' stands where one of = != < <= > >= has to be")
        kind, text = self._take("a value")
        if kind == "word" and text.startswith("%"):
            raise refuse_expression()
        if kind == "symbol":
            raise PatternError(f"'{text}' stands where a value has to be")
        quoted = kind == "quoted"
        condition = comparison(sign, unquoted(text) if quoted else text, quoted=quoted)
        # Fields are texts: as numbers they are compared where the pattern has one.
        return lambda field: condition.holds(
            float(field) if condition.number is not None and NUMBER.fullmatch(field) else field
        )

    def _take_name(self) -> None:
        kind, name = self._take("the name of a field")
        if kind != "word" or re.fullmatch(r"\w[\w.-]*", name) is None:
            raise PatternError(f"'{name}' stands where the name of a field has to be")
        if self._name and self._name != name:
            raise PatternError(f"the conditions of one field name two of them, {self._name} and {name}")
        self._name = name

    def _take(self, what: str) -> Token:
        if self._position == len(self._tokens):
            raise PatternError(f"{what} is missing at the end of a field")
        self._position += 1
        return self._tokens[self._position - 1]

    def _accept(self, symbol: str) -> bool:
        if self._position < len(self._tokens) and self._tokens[self._position] == ("symbol", symbol):
            self._position += 1
            return True
        return False
