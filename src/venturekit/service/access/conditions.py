"""Conditions of policy statements: the operators and keys that Lambda's policies use, and no others.

Source: AWS IAM User Guide, "IAM JSON policy elements: Condition operators" and "AWS global condition context keys";
AWS Service Authorization Reference, "Condition keys for AWS Lambda".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.access.faults import StatementError, shown
from venturekit.service.access.patterns import EVERYTHING, PatternSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Test = Callable[[str], bool]

ARN_PARTS: Final = 6
SERVED_KEYS: Final = (
    *("aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalOrgID", "aws:username"),
    *("aws:SourceAccount", "aws:SourceArn"),
    *("lambda:CodeSigningConfigArn", "lambda:FunctionArn", "lambda:FunctionUrlAuthType"),
    *("lambda:InvokedViaFunctionUrl", "lambda:Principal"),
)
"""Condition keys that a request can have. ``aws:PrincipalOrgID`` is known, and no request has it: there are no
organizations here."""
_LOWER_KEYS: Final = frozenset(key.lower() for key in SERVED_KEYS)


@dataclass(frozen=True, slots=True)
class Condition:
    """One key with what its value must pass. ``key`` is in lower case, as keys are compared."""

    key: str
    is_met: Test

    def holds(self, context: Mapping[str, str]) -> bool:
        """Whether the request meets it; ``context`` has keys in lower case. A request without the key does not."""
        value = context.get(self.key)
        return value is not None and self.is_met(value)


def parse_conditions(block: object, *, place: str, strict: bool) -> tuple[Condition, ...]:
    """The conditions of a ``Condition`` member; a request has to meet all of them.

    With ``strict``, an operator or a key that is not served is refused: a statement that can never apply is a trap
    where it denies. Without, its condition is never met.

    Raises StatementError.
    """
    if not isinstance(block, dict):
        raise StatementError(f"{place}: Condition must be an object of operators, not {shown(block)}")
    found = []
    for operator, keys in block.items():
        if not isinstance(keys, dict):
            raise StatementError(f"{place}: Condition {operator} must be an object of keys, not {shown(keys)}")
        make = _OPERATORS.get(operator)
        if make is None and strict:
            raise StatementError(
                f"{place}: the condition operator {operator} is not served; these are: {', '.join(SERVED_OPERATORS)}"
            )
        for key, given in keys.items():
            here = f"{place}: Condition {operator} {key}"
            if strict and key.lower() not in _LOWER_KEYS:
                raise StatementError(f"{here}: no request has this key; served are: {', '.join(SERVED_KEYS)}")
            values = _values(given, here)
            found.append(Condition(key.lower(), _never if make is None else make(values, here, strict)))
    return tuple(found)


def _values(given: object, place: str) -> tuple[str, ...]:
    values = tuple(_text(value) for value in (given if isinstance(given, list) else [given]))
    if not values or None in values:
        raise StatementError(f"{place}: must be a text or a list of texts, not {shown(given)}")
    return tuple(value for value in values if value is not None)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _string_equals(values: tuple[str, ...], _place: str, _strict: bool) -> Test:
    return frozenset(values).__contains__


def _string_like(values: tuple[str, ...], _place: str, _strict: bool) -> Test:
    return PatternSet(values).matches


def _bool(values: tuple[str, ...], place: str, strict: bool) -> Test:
    wanted = frozenset(value.lower() for value in values)
    if strict and not wanted <= {"true", "false"}:
        raise StatementError(f"{place}: must be true or false")
    return lambda value: value.lower() in wanted


def _arn_like(values: tuple[str, ...], place: str, strict: bool) -> Test:
    patterns = []
    for value in values:
        parts = value.split(":", ARN_PARTS - 1)
        if len(parts) == ARN_PARTS:
            # A star stands for characters of its own part only.
            patterns.append(tuple(PatternSet((part,)) for part in parts))
        elif value == EVERYTHING:
            return _always
        elif strict:
            raise StatementError(f"{place}: {shown(value)} is not an ARN of {ARN_PARTS} parts, such as arn:aws:s3:::b*")

    def is_met(value: str) -> bool:
        parts = value.split(":", ARN_PARTS - 1)
        return len(parts) == ARN_PARTS and any(
            all(part.matches(text) for part, text in zip(pattern, parts, strict=True)) for pattern in patterns
        )

    return is_met


def _never(_value: str) -> bool:
    return False


def _always(_value: str) -> bool:
    return True


_OPERATORS: Final[Mapping[str, Callable[[tuple[str, ...], str, bool], Test]]] = {
    "ArnEquals": _arn_like,
    "ArnLike": _arn_like,
    "Bool": _bool,
    "StringEquals": _string_equals,
    "StringLike": _string_like,
}
SERVED_OPERATORS: Final = tuple(sorted(_OPERATORS))
