"""The constraints of one value: which there are, which are violated, and how AWS words them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.api.javatext import print_double
from venturekit.service.api.patterns import compile_pattern
from venturekit.service.api.quirks import enum_values

if TYPE_CHECKING:
    from venturekit.service.api.model import Shape

NOT_NULL = "Member must not be null"
NUMBERS = frozenset({"integer", "long", "double", "float"})
MEASURED = frozenset({"string", "blob", "list", "map"}) | NUMBERS
# Beyond this length a value that is too long anyway is not matched against its pattern as well.
MAX_MATCHED_CHARACTERS = 65536


def describe_constraints(shape: Shape, *, check_enum: bool = True) -> list[str]:
    """All constraints of ``shape`` as AWS lists them for the members of a list or map: maximum before minimum, then
    enum, pattern and not null. Source: recorded messages.
    """
    texts = [text for text in (_describe_maximum(shape), _describe_minimum(shape)) if text]
    if shape.enum and check_enum:
        texts.append(_describe_enum(shape))
    if shape.pattern is not None:
        texts.append(_describe_pattern(shape))
    return [*texts, NOT_NULL]


def violated_constraints(shape: Shape, value: Any, *, check_enum: bool = True) -> list[str]:
    """The constraints that a value (not null) itself violates, its members left aside.

    The pattern comes first: recorded for function names that are malformed and too long.
    """
    texts: list[str] = []
    size = _measure(shape, value)
    too_large = shape.maximum is not None and size is not None and size > shape.maximum
    if shape.pattern is not None and not _matches(shape.pattern, value, too_large=too_large):
        texts.append(_describe_pattern(shape))
    if shape.enum and check_enum and value not in shape.enum:
        texts.append(_describe_enum(shape))
    if too_large:
        texts.append(_describe_maximum(shape))
    if shape.minimum is not None and size is not None and size < shape.minimum:
        texts.append(_describe_minimum(shape))
    return texts


def _matches(pattern: str, value: str, *, too_large: bool) -> bool:
    if too_large and len(value) > MAX_MATCHED_CHARACTERS:
        return True
    compiled = compile_pattern(pattern)
    return compiled is None or compiled.fullmatch(value) is not None


def _measure(shape: Shape, value: Any) -> float | None:
    if shape.kind in NUMBERS:
        return float(value) if shape.kind in ("double", "float") else int(value)
    return len(value) if shape.kind in MEASURED else None


def _describe_maximum(shape: Shape) -> str:
    return "" if shape.maximum is None else f"Member must have {_dimension(shape, 'less', shape.maximum)}"


def _describe_minimum(shape: Shape) -> str:
    return "" if shape.minimum is None else f"Member must have {_dimension(shape, 'greater', shape.minimum)}"


def _dimension(shape: Shape, relation: str, bound: float) -> str:
    what = "value" if shape.kind in NUMBERS else "length"
    shown = print_double(bound) if isinstance(bound, float) else str(bound)
    return f"{what} {relation} than or equal to {shown}"


def _describe_enum(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(enum_values(shape))}]"


def _describe_pattern(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.pattern}"
