"""AWS's service model as botocore has it, and values that satisfy or break its constraints.

Nothing here asks the service: what tests expect of it is worked out from the model a second time.
"""

from __future__ import annotations

import re
import string
from datetime import UTC, datetime
from functools import cache
from re import _parser as regular_expressions  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

import botocore.session

if TYPE_CHECKING:
    import random

    from botocore.model import OperationModel, ServiceModel, Shape

SECRET: Final = "*** Sensitive Data Redacted ***"
NOT_NULL: Final = "Member must not be null"
LONGEST_SHOWN: Final = 16384
NUMBERS: Final = frozenset({"integer", "long", "double", "float"})
LETTERS: Final = string.ascii_letters + string.digits
PRINTABLE: Final = "".join(map(chr, range(0x20, 0x7F)))
MOMENT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ATTEMPTS: Final = 60
CHARACTERS: Final = frozenset({"NOT_LITERAL", "IN", "ANY", "CATEGORY"})
# The two orders and names that are recorded otherwise than the model has them.
RECORDED_ENUMS: Final = {"RecursiveLoop": ["Terminate", "Allow"]}
RUNTIME_OPERATIONS: Final = frozenset({"CreateFunction", "UpdateFunctionConfiguration"})


@cache
def model() -> ServiceModel:
    """The Lambda API."""
    return botocore.session.Session().get_service_model("lambda", "2015-03-31")


def operation(name: str) -> OperationModel:
    return model().operation_model(name)


def location(shape: Shape) -> str:
    """Where a member travels: uri, querystring, header, or body."""
    return str(shape.serialization.get("location", "body"))


def wire_name(name: str, shape: Shape) -> str:
    return str(shape.serialization.get("name", name))


# --- texts -----------------------------------------------------------------------------------------------------------


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the model; it is only ever asked about texts in ASCII."""
    for category, plain in ((r"\p{L}", "a-zA-Z"), (r"\p{N}", "0-9"), (r"\p{Z}", " ")):
        pattern = pattern.replace(category, plain)
    return re.compile(pattern, re.ASCII)


def matches(pattern: str, text: str) -> bool:
    return compiled(pattern).fullmatch(text) is not None


def text_matching(pattern: str, draws: random.Random, stretch: int = 0) -> str | None:
    """A random text in ASCII that matches; with ``stretch``, open repetitions are that long. None when none is found.

    Groups that only look ahead or behind are left to luck.
    """
    parsed = regular_expressions.parse(compiled(pattern).pattern, re.ASCII)
    for _ in range(ATTEMPTS):
        text = "".join(_written(parsed, draws, stretch))
        if matches(pattern, text):
            return text
    return None


def _written(parsed: Any, draws: random.Random, stretch: int) -> list[str]:
    written: list[str] = []
    for name, argument in parsed:
        match str(name):
            case "LITERAL":
                written.append(chr(argument))
            case characters if characters in CHARACTERS:
                written.append(draws.choice(_characters(characters, argument)))
            case "BRANCH":
                written += _written(draws.choice(argument[1]), draws, stretch)
            case "SUBPATTERN":
                written += _written(argument[3], draws, stretch)
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = argument
                times = draws.randint(least, min(int(most), least + 5))
                if stretch and int(most) > 1000:
                    times = max(least, stretch)
                if len(inner) == 1 and str(inner[0][0]) in CHARACTERS:
                    written += draws.choices(_characters(str(inner[0][0]), inner[0][1]), k=times)
                    continue
                for _ in range(times):
                    written += _written(inner, draws, stretch if len(inner) > 1 else 0)
    return written


@cache
def _alphabet(items: tuple[Any, ...]) -> str:
    allowed: set[str] = set()
    for name, argument in items:
        match str(name):
            case "LITERAL":
                allowed.add(chr(argument))
            case "RANGE":
                allowed.update(map(chr, range(argument[0], min(argument[1], 0x7E) + 1)))
            case "CATEGORY":
                allowed.update(_category(str(argument)))
    if items and str(items[0][0]) == "NEGATE":
        return "".join(char for char in PRINTABLE if char not in allowed)
    return "".join(sorted(allowed))


def _category(name: str) -> str:
    plain = {"CATEGORY_DIGIT": string.digits, "CATEGORY_SPACE": " ", "CATEGORY_WORD": LETTERS + "_"}
    return plain.get(name, PRINTABLE.strip())


def _characters(name: str, argument: Any) -> str:
    if name == "IN":
        return _alphabet(tuple(argument))
    if name == "NOT_LITERAL":
        return PRINTABLE.replace(chr(argument), "")
    return PRINTABLE if name == "ANY" else _category(str(argument))


# --- values ----------------------------------------------------------------------------------------------------------


def sample(shape: Shape, draws: random.Random, inside: tuple[str, ...] = ()) -> Any:
    """A value with every member filled that satisfies every constraint; blobs are bytes, timestamps epoch seconds."""
    bounds = shape.metadata
    least, most = bounds.get("min", 0), bounds.get("max")
    match shape.type_name:
        case "structure":
            return {
                name: sample(member, draws, (*inside, shape.name))
                for name, member in shape.members.items()
                if member.name not in inside
            }
        case "list":
            return [sample(shape.member, draws, inside) for _ in range(max(1, least))]
        case "map":
            return {sample(shape.key, draws, inside): sample(shape.value, draws, inside)}
        case "integer" | "long":
            return draws.randint(least, least + 100 if most is None else most)
        case "double" | "float":
            return float(draws.choice([least, 0.5, 1 if most is None else most]))
        case "boolean":
            return draws.random() < 0.5
        case "timestamp":
            return int(MOMENT.timestamp())
        case "blob":
            return draws.randbytes(draws.randint(1, 20))
        case _:
            return sample_text(shape, draws)


def sample_text(shape: Shape, draws: random.Random) -> str:
    """A text of ``shape``; raises LookupError when no text is found, which a test makes sure never happens."""
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", 99)
    if shape.enum:
        return str(draws.choice(shape.enum))
    pattern = shape.metadata.get("pattern", "[a-zA-Z0-9 ]+")
    for stretch in (*[0] * 20, least, least + 1):
        text = text_matching(pattern, draws, stretch)
        if text is not None and least <= len(text) <= most:
            return text
    raise LookupError(f"no text for {shape.name}: {pattern}, {least} to {most} characters")


# --- constraints, in AWS's words -------------------------------------------------------------------------------------


def checked_enum(operation_name: str, shape: Shape) -> list[str]:
    """The values of an enum that is a constraint; for a function's runtime it is not, that is refused otherwise."""
    if shape.name == "Runtime" and operation_name in RUNTIME_OPERATIONS:
        return []
    return RECORDED_ENUMS.get(shape.name, list(getattr(shape, "enum", ())))


def _limit(shape: Shape, key: str) -> str:
    what = "value" if shape.type_name in NUMBERS else "length"
    return f"Member must have {what} {'less' if key == 'max' else 'greater'} than or equal to {shape.metadata[key]}"


def constraints(operation_name: str, shape: Shape) -> str:
    """All constraints of a value as they are listed for the elements of a list or map."""
    texts = [_limit(shape, key) for key in ("max", "min") if key in shape.metadata]
    enum = checked_enum(operation_name, shape)
    if enum:
        texts.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
    if "pattern" in shape.metadata:
        texts.append(f"Member must satisfy regular expression pattern: {shape.metadata['pattern']}")
    return ", ".join([*texts, NOT_NULL])


def broken(operation_name: str, shape: Shape, value: Any) -> list[str]:
    """The constraints that a value breaks itself, in AWS's order."""
    texts = []
    pattern, enum = shape.metadata.get("pattern"), checked_enum(operation_name, shape)
    if pattern is not None and not matches(pattern, value):
        texts.append(f"Member must satisfy regular expression pattern: {pattern}")
    if enum and value not in enum:
        texts.append(f"Member must satisfy enum value set: [{', '.join(enum)}]")
    size = value if shape.type_name in NUMBERS else len(value) if hasattr(value, "__len__") else 0
    if size > shape.metadata.get("max", size):
        texts.append(_limit(shape, "max"))
    if size < shape.metadata.get("min", size):
        texts.append(_limit(shape, "min"))
    return texts


def is_secret(shape: Shape) -> bool:
    parts = [shape, *(getattr(shape, part, None) for part in ("key", "value", "member"))]
    return any(part is not None and part.metadata.get("sensitive", False) for part in parts)


def violation(shape: Shape, value: Any, path: str, constraint: str) -> str:
    """The sentence for one broken constraint."""
    text = printed(shape, value)
    if len(text) > LONGEST_SHOWN:
        text = text[:LONGEST_SHOWN] + "..."
    shown = "Value null" if value is None else "Value" if is_secret(shape) else f"Value '{text}'"
    return f"{shown} at '{path}' failed to satisfy constraint: {constraint}"


def lower_first(name: str) -> str:
    return name[0].lower() + name[1:]


def printed(shape: Shape, value: Any) -> str:
    """A value as Java prints it."""
    if value is None:
        return "null"
    if shape.metadata.get("sensitive", False):
        return SECRET
    match shape.type_name:
        case "structure":
            inner = (f"{lower_first(name)}={printed(each, value.get(name))}" for name, each in shape.members.items())
            return f"{shape.name}({', '.join(inner)})"
        case "list":
            return f"[{', '.join(printed(shape.member, each) for each in value)}]"
        case "map":
            inner = (f"{printed(shape.key, key)}={printed(shape.value, each)}" for key, each in value.items())
            return f"{{{', '.join(inner)}}}"
        case "boolean":
            return str(value).lower()
        case "double" | "float":
            return str(float(value))
        case "blob":
            return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
        case "timestamp":
            return datetime.fromtimestamp(value, UTC).isoformat()
        case _:
            return str(value)
