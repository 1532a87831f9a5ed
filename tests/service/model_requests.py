"""Requests made from the service model: valid by shape, valid but for one member, and broken as HTTP or JSON."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.service.bad_requests import (
    BAD_CONTAINERS,
    BAD_JSON,
    BAD_MARKERS,
    BAD_NUMBERS,
    BAD_STRINGS,
    BAD_TEXTS,
    SPOILERS,
)
from tests.service.harness import PYTHON, zip_of
from tests.service.model_values import broken, location, operation, sample_text
from tests.service.wire_requests import REMOVED, Request, assemble

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from botocore.model import Shape

SOURCE: Final = "def handler(event, context):\n    return event\n"
Keys = tuple[Any, ...]

# --- what the service is known to have -------------------------------------------------------------------------------

SYNONYMS: Final[Mapping[str, tuple[str, ...]]] = {
    "FunctionName": ("FunctionName", "FunctionName", "FunctionName", "FunctionArn", "AliasArn"),
    "Qualifier": ("Version", "Name", "FunctionVersion"),
    "FunctionVersion": ("Version",),
    "Name": ("Name",),
    "Resource": ("FunctionArn", "EventSourceMappingArn"),
    "TagKeys": ("TagKey",),
    "Marker": ("NextMarker",),
    "VersionNumber": ("Version",),
    "LayerName": ("LayerName", "LayerName", "LayerArn"),
    "Layers": ("LayerVersionArn",),
    "Arn": ("LayerVersionArn",),
}


Subject = Mapping[str, Sequence[Any]]
"""Values that belong together, by the names of members: a function with its versions, or a layer with its own."""


class Known:
    """Identifiers out of answers and of requests that were granted, by the names of their members.

    ``functions`` and ``layers`` are what there is now, for requests that are to find something.
    """

    def __init__(self) -> None:
        self.functions: list[Subject] = []
        self.layers: list[Subject] = []
        self._values: dict[str, deque[Any]] = {}
        self._subject: Subject = {}

    def turn(self, operation_name: str, draws: random.Random) -> None:
        """The next request is about another function and another layer."""
        others, own = (self.functions, self.layers) if "Layer" in operation_name else (self.layers, self.functions)
        self._subject = {**(draws.choice(others) if others else {}), **(draws.choice(own) if own else {})}

    def learn(self, value: Any, name: str = "") -> None:
        """Keep every scalar of a JSON value under the name of its member."""
        match value:
            case dict():
                for key, inner in value.items():
                    if name == "Tags":
                        self.learn(key, "TagKey")
                    self.learn(inner, key)
            case list():
                for inner in value:
                    self.learn(inner, name)
            case str() | int() if name and not isinstance(value, bool) and len(str(value)) <= 300:
                kept = self._values.setdefault(name, deque(maxlen=24))
                if value not in kept:
                    kept.append(value)

    def draw(self, member: str, shape: Shape, draws: random.Random) -> Any:
        """A known value for a member, or None."""
        kept = self._subject.get(member) if draws.random() < 0.8 else None
        kept = kept or self._values.get(draws.choice(SYNONYMS.get(member, (member,))))
        value = draws.choice(kept) if kept else None
        if member == "FunctionName" and value is not None and draws.random() < 0.05:
            value += f":{draws.choice(['$LATEST', '1', '2', 'live', 'none'])}"
        return value if fits(shape, value) else None


def fits(shape: Shape, value: Any) -> bool:
    """Whether a value is of its shape and breaks no constraint. Patterns are only known for ASCII."""
    kinds = {"string": str, "blob": bytes, "map": dict, "integer": int, "long": int}
    if not isinstance(value, kinds.get(shape.type_name, ())) or not str(value).isascii():
        return False
    return not broken("", shape, value)


# --- valid requests --------------------------------------------------------------------------------------------------

ARCHIVES: Final = (
    zip_of({"app.py": SOURCE}),
    zip_of({"app.py": SOURCE, "note.txt": "2"}),
    zip_of({"app.py": "def handler(event, context):\n    raise KeyError(event)\n"}),
    zip_of({"python/extra.py": "VALUE = 1\n"}),
)
# What a request needs to come further than the first check, by structure: these members alone besides the required.
WHOLE: Final[Mapping[str, tuple[str, ...]]] = {
    "CreateFunctionRequest": ("Runtime", "Handler"),
    "FunctionCode": ("ZipFile",),
    "LayerVersionContentInput": ("ZipFile",),
    "UpdateFunctionCodeRequest": ("ZipFile",),
    "PutFunctionEventInvokeConfigRequest": ("MaximumRetryAttempts",),
    "UpdateFunctionEventInvokeConfigRequest": ("MaximumEventAgeInSeconds",),
}
PREFERRED: Final[Mapping[str, tuple[Any, ...]]] = {
    "Handler": ("app.handler",),
    "Runtime": (PYTHON,),
    "ZipFile": ARCHIVES,
    "NewFunctionName": tuple(f"made-{number}" for number in range(6)),
    "NewAliasName": ("live", "beta", "gamma", "delta"),
    "NewStatementId": ("one", "two", "three"),
    "LayerName": ("libraries", "tools"),
    "Principal": ("s3.amazonaws.com", "000000000000", "123456789012", "*"),
    "Action": ("lambda:InvokeFunction", "lambda:GetLayerVersion"),
    "Payload": (b"{}", b"[1,2]", b'"text"', b"", b"{"),
    "AdditionalVersionWeights": ({"1": 0.5}, {"2": 0.0}, {}),
    "Variables": ({"NAME": "value"}, {"NAME": "v", "OTHER": ""}, {}),
    "Timeout": (3, 5),
    "MemorySize": (128, 256),
    "ReservedConcurrentExecutions": (0, 1, 5, 1000),
    "Destination": ("arn:aws:lambda:us-east-1:000000000000:function:alpha", "arn:aws:sqs:us-east-1:000000000000:q"),
}
CREATES: Final[Mapping[tuple[str, str], str]] = {
    ("CreateFunction", "FunctionName"): "NewFunctionName",
    ("CreateAlias", "Name"): "NewAliasName",
    ("AddPermission", "StatementId"): "NewStatementId",
    ("AddLayerVersionPermission", "StatementId"): "NewStatementId",
}
FREE_TEXTS: Final = ("", "a", "text", "two words", "é", "\U0001f600", "a\nb", "%2F", "'\"\\", "<b>", "x" * 200)


class RequestMaker:
    """Makes requests by the numbers of ``draws``; nothing else decides, save what the service is ``known`` to have."""

    def __init__(self, draws: random.Random, known: Known) -> None:
        self._draws = draws
        self._known = known

    def make(self, operation_name: str) -> Request:
        """A request of any kind: valid, nearly valid or broken."""
        kind = self._draws.choices([self.valid, self.nearly_valid, self.broken], [6, 3, 1])[0]
        return kind(operation_name)

    def valid(self, operation_name: str) -> Request:
        """One that satisfies every constraint of the model."""
        return assemble(operation_name, self._members(operation_name))

    def _members(self, operation_name: str) -> dict[str, Any]:
        shape = operation(operation_name).input_shape
        self._known.turn(operation_name, self._draws)
        return {} if shape is None else self._structure(operation_name, shape, self._draws.choice([0, 0, 0.15, 0.5]), 0)

    def _structure(self, operation_name: str, shape: Shape, chance: float, depth: int) -> dict[str, Any]:
        draws = self._draws
        wanted = {*shape.required_members, *(WHOLE.get(shape.name, ()) if draws.random() < 0.85 else ())}
        if shape.name in WHOLE and shape.name != "CreateFunctionRequest":
            chance /= 4
        return {
            name: self._value(operation_name, name, member, chance, depth)
            for name, member in shape.members.items()
            if name in wanted or (depth < 5 and draws.random() < chance)
        }

    def _value(self, operation_name: str, name: str, shape: Shape, chance: float, depth: int) -> Any:
        draws = self._draws
        value = self._familiar(operation_name, name, shape) if draws.random() < 0.92 else None
        if value is not None:
            return value
        bounds = shape.metadata
        match shape.type_name:
            case "structure":
                return self._structure(operation_name, shape, max(chance, 0.3), depth + 1)
            case "list":
                least = bounds.get("min", draws.choice([0, 1, 1, 1, 1]))
                size = draws.randint(least, min(bounds.get("max", 3), max(3, least)))
                return [self._value(operation_name, name, shape.member, chance, depth + 1) for _ in range(size)]
            case "map":
                size = draws.randint(bounds.get("min", 0), 2)
                keys = [self._value(operation_name, "", shape.key, chance, depth) for _ in range(size)]
                return {key: self._value(operation_name, "", shape.value, chance, depth + 1) for key in keys}
            case "integer" | "long":
                least, most = bounds.get("min", 0), bounds.get("max", 2000)
                return draws.choice([least, most, draws.randint(least, most)])
            case "double" | "float":
                return draws.choice([0.0, 0.25, 1, 1.0])
            case "boolean":
                return draws.random() < 0.5
            case "timestamp":
                return draws.choice([0, 1_700_000_000, 1.5, "2026-01-02T03:04:05Z"])
            case "blob":
                return draws.choice([b"", b"{}", draws.randbytes(20)])
            case _:
                return self._text(operation_name, shape)

    def _familiar(self, operation_name: str, name: str, shape: Shape) -> Any:
        """A value that leads on: of something that exists, or one that is commonly taken."""
        made = CREATES.get((operation_name, name), name)
        known = self._known.draw(name, shape, self._draws) if made == name else None
        if known is not None and self._draws.random() < 0.95:
            return known
        choice = self._draws.choice(PREFERRED.get(made, (None,)))
        return choice if fits(shape, choice) else None

    def _text(self, operation_name: str, shape: Shape) -> str:
        if not shape.metadata.keys() & {"pattern", "enum"} and not getattr(shape, "enum", ()):
            text = self._draws.choice(FREE_TEXTS)
            return text if not broken(operation_name, shape, text) else sample_text(shape, self._draws)
        return sample_text(shape, self._draws)

    # --- nearly valid -------------------------------------------------------------------------------------------------

    def nearly_valid(self, operation_name: str) -> Request:
        """A valid one of which one member was replaced or taken away."""
        shape = operation(operation_name).input_shape
        members = self._members(operation_name)
        if shape is not None and "Marker" in shape.members:
            members.setdefault("Marker", "")
        places = list(_places(shape, members)) if shape is not None else []
        if not places:
            return self.broken(operation_name)
        keys, found, in_body = self._draws.choice(places)
        if in_body:
            kind, value = self._draw_bad(found)
        else:
            own = BAD_MARKERS * 3 if keys == ("Marker",) else []
            kind, value = self._draws.choice([*BAD_TEXTS, *own, ("text beyond its length", "a" * 2000)])
        return assemble(operation_name, _changed(members, keys, value), f"{'.'.join(map(str, keys))}: {kind}")

    def _draw_bad(self, shape: Shape) -> tuple[str, Any]:
        choices = [*BAD_JSON, *BAD_TEXTS, *BAD_STRINGS * 3] if shape.type_name == "string" else [*BAD_JSON]
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if shape.type_name in ("integer", "long", "double"):
            choices += [*BAD_NUMBERS, ("under its least", (least or 0) - 1), ("over its most", (most or 2**31) + 1)] * 2
        if shape.type_name == "string" and most is not None and most < 10_000:
            choices += [("longer than its most", "a" * (most + 1))] * 3
        if shape.type_name in ("list", "map"):
            choices += BAD_CONTAINERS * 3
        return self._draws.choice(choices)

    # --- broken -------------------------------------------------------------------------------------------------------

    def broken(self, operation_name: str) -> Request:
        """A valid one that was spoilt as JSON or as HTTP."""
        request = self.valid(operation_name)
        kind, spoil = self._draws.choice(SPOILERS)
        return replace(spoil(request, self._draws), kind=kind)


def _places(shape: Shape, members: Mapping[str, Any]) -> Iterator[tuple[Keys, Shape, bool]]:
    """Where a value could be another: keys, shape, and whether it is JSON."""
    payload = shape.serialization.get("payload")
    for name, member in shape.members.items():
        in_body = location(member) == "body"
        if name != payload and (name in members or in_body):
            yield (name,), member, in_body
            if name in members and in_body:
                yield from _inside(member, members[name], (name,))


def _inside(shape: Shape, value: Any, keys: Keys) -> Iterator[tuple[Keys, Shape, bool]]:
    match shape.type_name, value:
        case "structure", dict():
            inner = [(name, shape.members[name], each) for name, each in value.items()]
        case "list", list():
            inner = [(number, shape.member, each) for number, each in enumerate(value)]
        case "map", dict():
            inner = [(key, shape.value, each) for key, each in value.items()]
        case _:
            inner = []
    for key, part, each in inner:
        yield (*keys, key), part, True
        yield from _inside(part, each, (*keys, key))


def _changed(members: Any, keys: Keys, value: Any) -> Any:
    """A copy in which one value is another."""
    changed = dict(members) if isinstance(members, dict) else list(members)
    if len(keys) > 1:
        changed[keys[0]] = _changed(members[keys[0]], keys[1:], value)
    elif value is not REMOVED:
        changed[keys[0]] = value
    elif isinstance(changed, list) or keys[0] in changed:
        del changed[keys[0]]
    return changed
