"""One condition of a filter pattern, ``= 4*`` or ``> 10``, and which values it holds for. Pure.

Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, and filter log
events".
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable

NESTING_LIMIT: Final = 50
"""How deep parentheses may be nested."""
NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_ORDERS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class PatternError(ValueError):
    """A filter pattern that cannot be read, or that asks for what is not served; the text says what."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """An operator and what values are compared with. ``number`` is None where the text is none, or was in quotes."""

    operator: str
    text: str
    number: float | None

    def holds(self, value: object) -> bool:
        """Whether a text or number satisfies it.

        A number is compared with numbers, a text with texts, in which ``*`` stands for anything. Values of other types
        equal nothing. Choice: so do numbers and texts one another.
        """
        if self.operator in _ORDERS:
            return is_number(value) and self.number is not None and _ORDERS[self.operator](value, self.number)
        return self._equals(value) is (self.operator == "=")

    def _equals(self, value: object) -> bool:
        if isinstance(value, str):
            return matches_wildcards(self.text, value)
        return is_number(value) and self.number is not None and value == self.number


def comparison(operator_text: str, text: str, *, quoted: bool) -> Comparison:
    """The condition of an operator and its right side. Raises PatternError."""
    number = None
    if not quoted and NUMBER.fullmatch(text):
        number = float(text)
        if not math.isfinite(number):
            raise PatternError(f"the number {text} is too large")
    if operator_text in _ORDERS and number is None:
        raise PatternError(f"{operator_text} needs a number behind it, not '{text}'")
    return Comparison(operator_text, text, number)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number of JSON: True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def matches_wildcards(pattern: str, text: str) -> bool:
    """Whether all of a text matches a pattern in which each ``*`` stands for any characters. In linear time."""
    if "*" not in pattern:
        return pattern == text
    first, *middle, last = pattern.split("*")
    if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
        return False
    position, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def unquoted(text: str) -> str:
    """What stands between quotes; a backslash takes the meaning from the character behind it."""
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL)


def refuse_expression() -> PatternError:
    """The answer to ``%...%``."""
    return PatternError("regular expressions (%...%) are not served here; use terms, or * as a wildcard")
