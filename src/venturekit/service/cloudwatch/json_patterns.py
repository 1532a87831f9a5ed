"""Filter patterns for events that are JSON: ``{ $.level = "ERROR" && ($.ms > 100 || $.user IS NULL) }``. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from venturekit.service.cloudwatch.comparisons import (
    NESTING_LIMIT,
    PatternError,
    comparison,
    refuse_expression,
    unquoted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Holds: TypeAlias = Callable[[Any], bool]

VALUES_LIMIT: Final = 10_000
"""How many values a selector with wildcards is followed to in one event."""
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<selector>\$(?:\.(?:\w|[-@:])+|\.\*|\[[0-9]{1,9}\]|\[\*\]|\.?\['[^']*'\])*)
      | (?P<symbol>&&|\|\||!=|<=|>=|[()=<>])
      | (?P<quoted>"(?:[^"\\]|\\.)*")
      | (?P<word>[^\s()&|=!<>"]+)
    )\s*""",
    re.VERBOSE | re.DOTALL,
)
_STEP: Final = re.compile(r"\.?\['([^']*)'\]|\[([0-9]+|\*)\]|\.(\*|[^.\[]+)")
_ANY: Final = object()


class _Tokens:
    """The tokens of a pattern, each with its kind."""

    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, str]] = []
        self.position = 0
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                raise PatternError(f"'{text[position : position + 40].strip()}' cannot be read")
            assert token.lastgroup is not None  # each alternative has a name
            self.found.append((token.lastgroup, token[token.lastgroup]))
            position = token.end()

    def take(self, what: str) -> tuple[str, str]:
        """The next token; ``what`` says what has to stand there."""
        if self.position == len(self.found):
            raise PatternError(f"{what} is missing at the end")
        self.position += 1
        return self.found[self.position - 1]

    def accept(self, text: str) -> bool:
        """Take the next token if it is this symbol or word."""
        if self.position < len(self.found) and self.found[self.position][1].upper() == text:
            self.position += 1
            return True
        return False


def parse_json_pattern(text: str) -> Callable[[str], bool]:
    """What tells whether an event matches: one that is no JSON object or array never does. Raises PatternError."""
    if not text.endswith("}"):
        raise PatternError("a pattern that begins with { must end with }")
    tokens = _Tokens(text[1:-1])
    holds = _either(tokens, 0)
    if tokens.position < len(tokens.found):
        raise PatternError(f"'{tokens.found[tokens.position][1]}' stands where && or || or the end has to be")

    def matches(message: str) -> bool:
        try:
            document = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict | list) and holds(document)

    return matches


def _either(tokens: _Tokens, depth: int) -> Holds:
    parts = [_both(tokens, depth)]
    while tokens.accept("||"):
        parts.append(_both(tokens, depth))
    return parts[0] if len(parts) == 1 else lambda document: any(part(document) for part in parts)


def _both(tokens: _Tokens, depth: int) -> Holds:
    parts = [_condition(tokens, depth)]
    while tokens.accept("&&"):
        parts.append(_condition(tokens, depth))
    return parts[0] if len(parts) == 1 else lambda document: all(part(document) for part in parts)


def _condition(tokens: _Tokens, depth: int) -> Holds:
    if tokens.accept("("):
        if depth == NESTING_LIMIT:
            raise PatternError(f"parentheses are nested more than {NESTING_LIMIT} deep")
        inner = _either(tokens, depth + 1)
        if not tokens.accept(")"):
            raise PatternError("a parenthesis has no counterpart")
        return inner
    kind, text = tokens.take("a selector such as $.level")
    if kind != "selector":
        raise PatternError(f"'{text}' stands where a selector such as $.level has to be")
    path = _path(text)
    if tokens.accept("NOT"):
        if not tokens.accept("EXISTS"):
            raise PatternError("NOT must be followed by EXISTS")
        return lambda document: next(_values(document, path), _ANY) is _ANY
    if tokens.accept("IS"):
        return _is(tokens, path)
    return _compared(tokens, path)


def _is(tokens: _Tokens, path: tuple[object, ...]) -> Holds:
    for word, constant in (("NULL", None), ("TRUE", True), ("FALSE", False)):
        if tokens.accept(word):
            return lambda document: any(value is constant for value in _values(document, path))
    raise PatternError("IS must be followed by NULL, TRUE or FALSE")


def _compared(tokens: _Tokens, path: tuple[object, ...]) -> Holds:
    _, sign = tokens.take("an operator")
    if sign not in ("=", "!=", "<", "<=", ">", ">="):
        raise PatternError(f"'{sign}' stands where one of = != < <= > >= IS, NOT EXISTS has to be")
    kind, text = tokens.take("a value")
    if kind == "word" and text.startswith("%"):
        raise refuse_expression()
    if kind not in ("word", "quoted"):
        raise PatternError(f"'{text}' stands where a value has to be")
    quoted = kind == "quoted"
    condition = comparison(sign, unquoted(text) if quoted else text, quoted=quoted)
    # What has no such member satisfies no comparison, not even != (choice).
    return lambda document: any(condition.holds(value) for value in _values(document, path))


def _path(selector: str) -> tuple[object, ...]:
    """The steps of a selector: names, indexes, and ``_ANY`` for a wildcard."""
    steps: list[object] = []
    for name, index, plain in _STEP.findall(selector[1:]):
        if "*" in (index, plain):
            steps.append(_ANY)
        else:
            steps.append(int(index) if index else name or plain)
    if not steps:
        raise PatternError("the selector $ alone names nothing: write $.name")
    return tuple(steps)


def _values(document: Any, path: tuple[object, ...]) -> Iterator[Any]:
    """What a path leads to."""
    found = [document]
    for step in path:
        following: list[Any] = []
        for value in found:
            if step is _ANY:
                following += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            elif isinstance(step, int):
                if isinstance(value, list) and step < len(value):
                    following.append(value[step])
            elif isinstance(value, dict) and step in value:
                following.append(value[step])
        found = following[:VALUES_LIMIT]
    return iter(found)
