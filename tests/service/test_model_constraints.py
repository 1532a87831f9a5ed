"""Every constraint of every served operation, broken over HTTP: the whole text is worked out from the model here."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.service.model_values import (
    NOT_NULL,
    NUMBERS,
    RUNTIME_OPERATIONS,
    broken,
    checked_enum,
    constraints,
    location,
    lower_first,
    matches,
    model,
    operation,
    sample,
    text_matching,
    violation,
)
from tests.service.raw_http import RawConnection
from tests.service.wire_requests import REMOVED, assemble
from venturekit.service.api import constraints as constraints_module
from venturekit.service.api import validate
from venturekit.service.api.registry import Level
from venturekit.service.served import compatibility_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.model import Shape

    from tests.service.harness import RunningService
    from tests.service.raw_http import RawAnswer

REGISTRY: Final = compatibility_registry()
SERVED: Final = [name for name in model().operation_names if REGISTRY.status(name).level is not Level.NOT]
LARGEST_BODY_BYTES: Final = 6_000_000
BAD_TEXTS: Final = ("!", "\u20ac", "a b", "^", "$$$", "system.x", "a/b", "\n", " ", "")
SEVERAL: Final = 60
SHOWN: Final = 1500
Keys = tuple[Any, ...]


@dataclass(frozen=True)
class Violation:
    """One broken constraint: what to put where (``REMOVED``: nothing), and all that AWS says of it."""

    keys: Keys
    rule: str
    value: Any
    text: str


class Enumeration:
    """All constraints of one operation. ``members`` are a sample that satisfies every one of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._draws = random.Random(name)
        shape = operation(name).input_shape
        assert shape is not None
        self._payload = shape.serialization.get("payload")
        self.members = sample(shape, self._draws)
        self.violations = [
            each for each in self._of_structure(shape, self.members, (), "") if self._can_be_sent(each.keys, each.value)
        ]

    def changed(self, *violations: Violation) -> dict[str, Any]:
        """The sample with these constraints broken."""
        members: dict[str, Any] = copy.deepcopy(self.members)
        for each in violations:
            holder: Any = members
            for key in each.keys[:-1]:
                holder = holder[key]
            if each.value is REMOVED:
                del holder[each.keys[-1]]
            else:
                holder[each.keys[-1]] = each.value
        return members

    def _can_be_sent(self, keys: Keys, value: Any) -> bool:
        """Whether HTTP has a form for it: the last part of a path cannot be empty, nor any be left out."""
        shape = operation(self.name).input_shape
        assert shape is not None
        where = location(shape.members[keys[0]])
        if where == "uri":
            is_last = operation(self.name).http["requestUri"].partition("?")[0].endswith(f"{{{keys[0]}}}")
            return value is not REMOVED and not (is_last and str(value) == "")
        if where == "header":
            text = str(value)
            return value is REMOVED or (text == text.strip() and text.isprintable())
        if where == "querystring":
            return bool(value != [])
        if len(keys) == 1 and keys[0] == self._payload:
            return value is not REMOVED and value is not None
        return len(str(value)) < LARGEST_BODY_BYTES

    # --- the walk, in the order in which AWS checks ---------------------------------------------------------------

    def _of_structure(self, shape: Shape, value: Any, keys: Keys, prefix: str) -> Iterator[Violation]:
        for name, member in shape.members.items():
            if name not in value:
                continue
            path, inner = f"{prefix}{lower_first(name)}", (*keys, name)
            if name in shape.required_members:
                text = violation(member, None, path, NOT_NULL)
                yield Violation(inner, "left out", REMOVED, text)
                if location(operation(self.name).input_shape.members[inner[0]]) == "body":
                    yield Violation(inner, "null", None, text)
            for rule, bad in self._bad_values(member):
                yield Violation(inner, rule, bad, self._said(member, bad, path))
            yield from self._inside(member, value[name], inner, path)

    def _inside(self, shape: Shape, value: Any, keys: Keys, path: str) -> Iterator[Violation]:
        match shape.type_name:
            case "structure":
                yield from self._of_structure(shape, value, keys, f"{path}.")
            case "list":
                for rule, bad in self._bad_elements(shape.member, keys):
                    yield Violation(keys, f"element: {rule}", [bad], self._said(shape, [bad], path))
                yield from self._inside(shape.member, value[0], (*keys, 0), f"{path}.1.member")
            case "map":
                key, element = next(iter(value.items()))
                changes = [(f"key: {rule}", {bad: element}) for rule, bad in self._bad_values(shape.key)]
                changes += [(f"value: {rule}", {key: bad}) for rule, bad in self._bad_elements(shape.value, keys)]
                for rule, changed in changes:
                    yield Violation(keys, rule, changed, self._said(shape, changed, path))
                yield from self._inside(shape.value, element, (*keys, key), f"{path}.{key}.member")

    def _said(self, shape: Shape, value: Any, path: str) -> str:
        """All that is said of a value: the constraints it breaks, then those that what it holds breaks."""
        told = broken(self.name, shape, value)
        held: list[tuple[str, Shape, Any]] = []
        if shape.type_name == "list":
            held = [("Member", shape.member, value)]
        elif shape.type_name == "map":
            held = [("Map keys", shape.key, value), ("Map value", shape.value, value.values())]
        for what, part, values in held:
            if any(each is None or broken(self.name, part, each) for each in values):
                told.append(f"{what} must satisfy constraint: [{constraints(self.name, part)}]")
        return "; ".join(violation(shape, value, path, constraint) for constraint in told)

    def _bad_elements(self, shape: Shape, keys: Keys) -> Iterator[tuple[str, Any]]:
        yield from self._bad_values(shape)
        top = operation(self.name).input_shape.members[keys[0]]
        if location(top) == "body":
            yield "null", None

    def _bad_values(self, shape: Shape) -> Iterator[tuple[str, Any]]:
        """Values that break one constraint each; where that cannot be, others are broken with it."""
        bounds = shape.metadata
        # Beyond these a number is none of its type, which is said otherwise.
        bits = {"integer": 31, "long": 63}.get(shape.type_name, 1000)
        if "max" in bounds and bounds["max"] + 1 < 1 << bits:
            yield f"max {bounds['max']}", self._beyond(shape)
        if "min" in bounds and (shape.type_name in NUMBERS or bounds["min"] > 0):
            yield f"min {bounds['min']}", self._below(shape)
        if checked_enum(self.name, shape):
            yield "enum", "no-such-value"
        if "pattern" in bounds:
            fitting = [text for text in BAD_TEXTS if bounds.get("min", 0) <= len(text)]
            bad = next((text for text in [*fitting, *BAD_TEXTS] if not matches(bounds["pattern"], text)), None)
            if bad is not None:
                yield "pattern", bad

    def _beyond(self, shape: Shape) -> Any:
        most = shape.metadata["max"]
        match shape.type_name:
            case "list":
                return [sample(shape.member, self._draws)] * (most + 1)
            case "map":
                # An enum may have fewer values than the map may have keys.
                keys = {sample(shape.key, self._draws) for _ in range(4 * most)}
                keys |= {f"Key{number}" for number in range(most + 1 - len(keys))}
                return {key: sample(shape.value, self._draws) for key in sorted(keys)[: most + 1]}
            case "string":
                # A pattern may have several open repetitions, and the head of a request is bounded.
                for stretch in (most // 3 + 1, most // 2 + 1, most + 1):
                    text = text_matching(shape.metadata.get("pattern", "a*"), self._draws, stretch)
                    if text is not None and len(text) > most:
                        return text
                return "a" * (most + 1)
            case "blob":
                return bytes(most + 1)
            case "double" | "float":
                return float(most + 1)
            case _:
                return most + 1

    def _below(self, shape: Shape) -> Any:
        least = shape.metadata["min"]
        match shape.type_name:
            case "list":
                return []
            case "map":
                return {}
            case "string":
                return "a" * (least - 1)
            case "double" | "float":
                return float(least - 1)
            case _:
                return least - 1


enumeration = cache(Enumeration)


@pytest.fixture(scope="module")
def connection(shared_service: RunningService) -> Iterator[RawConnection]:
    opened = RawConnection(shared_service.port)
    yield opened
    opened.close()


def ask(connection: RawConnection, name: str, members: dict[str, Any]) -> RawAnswer:
    request = assemble(name, members)
    return connection.ask(request.method, request.target, request.fields, request.body)


def mistakes(connection: RawConnection, name: str, violations: tuple[Violation, ...]) -> Iterator[str]:
    """What is wrong with the answer to a request that breaks these constraints."""
    answer = ask(connection, name, enumeration(name).changed(*violations))
    count = sum(each.text.count(" failed to satisfy constraint: ") for each in violations)
    noun = "error" if count == 1 else "errors"
    expected = f"{count} validation {noun} detected: {'; '.join(each.text for each in violations)}"
    found = (answer.status, answer.code, answer.json)
    if found != (400, "ValidationException", {"message": expected}):
        broken_rules = ", ".join(f"{'.'.join(map(str, each.keys))} ({each.rule})" for each in violations)
        yield f"{name}, {broken_rules}:\n  found    {str(found)[:SHOWN]}\n  expected {expected[:SHOWN]}"


def compatible(first: Violation, second: Violation) -> bool:
    """Whether both can be broken at once: neither replaces what the other lies in."""
    shorter = min(len(first.keys), len(second.keys))
    return first.keys[:shorter] != second.keys[:shorter]


def several(name: str) -> Iterator[tuple[Violation, ...]]:
    """Pairs and triples, in the order in which AWS names them."""
    found = enumeration(name).violations
    draws = random.Random(f"several {name}")
    for size in (2, 3):
        for _ in range(SEVERAL if len(found) >= size else 0):
            chosen = [found[number] for number in sorted(draws.sample(range(len(found)), size))]
            if all(compatible(one, other) for one in chosen for other in chosen if one is not other):
                yield tuple(chosen)


@pytest.mark.parametrize("name", SERVED)
def test_every_constraint_is_answered_in_the_words_of_aws(connection: RawConnection, name: str) -> None:
    found = [each for one in enumeration(name).violations for each in mistakes(connection, name, (one,))]
    assert not found, f"{len(found)} of {len(enumeration(name).violations)}:\n" + "\n".join(found[:20])


@pytest.mark.parametrize("name", [name for name in SERVED if any(several(name))])
def test_several_violations_are_named_in_one_answer(connection: RawConnection, name: str) -> None:
    found = [each for chosen in several(name) for each in mistakes(connection, name, chosen)]
    assert not found, f"{len(found)}:\n" + "\n".join(found[:20])


@pytest.mark.parametrize("name", SERVED)
def test_what_satisfies_every_constraint_is_not_refused_for_one(connection: RawConnection, name: str) -> None:
    answer = ask(connection, name, enumeration(name).members)
    assert answer.code not in {"ValidationException", "SerializationException", "ServiceException"}, answer
    assert answer.status < 500 or answer.status == 501, answer


def test_the_constraints_are_many() -> None:
    counts = {name: len(enumeration(name).violations) for name in SERVED}
    assert sum(counts.values()) >= 637, counts
    assert sum(1 for name in SERVED for _ in several(name)) >= 2500


PLANTED: Final = {
    "nothing is checked": (validate, "violated_constraints", lambda _shape, _value, **_options: []),
    "nothing is required": (validate, "NOT_NULL", "Member must be there"),
    "other words for a maximum": (constraints_module, "_describe_maximum", lambda _shape: "Member must be smaller"),
    "other words for a minimum": (constraints_module, "_describe_minimum", lambda _shape: "Member must be larger"),
    "other words for an enum": (constraints_module, "_describe_enum", lambda _shape: "Member must be one of them"),
    "other words for a pattern": (constraints_module, "_describe_pattern", lambda _shape: "Member must match"),
    "patterns are not checked": (constraints_module, "_matches", lambda _pattern, _value, **_options: True),
    "the other case in paths": (validate, "lower_first", str),
    "secrets are shown": (validate, "quote_value", lambda text, **_options: f"Value '{text}'"),
    "elements are not described": (validate, "describe_constraints", lambda _shape, **_options: ["all"]),
    "one violation at most": (validate, "MAX_VIOLATIONS", 1),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(connection: RawConnection, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    name = "CreateFunction"
    asked = [(each,) for each in enumeration(name).violations] + list(several(name))
    monkeypatch.setattr(*PLANTED[fault])
    assert any(True for violations in asked for _ in mistakes(connection, name, violations))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in SERVED
        if "FunctionName" in enumeration(name).members
        and not broken(name, operation(name).input_shape.members["FunctionName"], "a" * 65)
    ],
)
def test_a_bare_name_has_a_limit_of_its_own(connection: RawConnection, name: str) -> None:
    answer = ask(connection, name, {**enumeration(name).members, "FunctionName": "a" * 65})
    assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
    assert answer.json == {
        "Type": "User",
        "message": f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64",
    }


@pytest.mark.parametrize("name", [name for name in SERVED if name in RUNTIME_OPERATIONS])
def test_an_unknown_runtime_is_no_violation_of_the_model(connection: RawConnection, name: str) -> None:
    shape = operation(name).input_shape
    assert shape is not None
    known = ", ".join(shape.members["Runtime"].enum)
    answer = ask(connection, name, {**enumeration(name).members, "FunctionName": "f", "Runtime": "perl5"})
    assert (answer.status, answer.code) == (400, "InvalidParameterValueException")
    assert answer.json == {
        "Type": "User",
        "message": "Value perl5 at 'runtime' failed to satisfy constraint: "
        f"Member must satisfy enum value set: [{known}] or be a valid ARN",
    }
