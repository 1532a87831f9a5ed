"""Requests made from the service model: valid by shape, valid but for one member, and broken as HTTP or JSON."""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, quote_from_bytes

from tests.service.harness import PYTHON, zip_of
from tests.service.model_values import broken, location, operation, sample_text, wire_name

if TYPE_CHECKING:
    import random

    from botocore.model import Shape

HEADERS: Final = (("X-Amz-Client", b"test"),)
SOURCE: Final = "def handler(event, context):\n    return event\n"
REQUEST_LIMIT_BYTES: Final = 6_291_456
Keys = tuple[Any, ...]


class Raw(str):
    """JSON text that is sent as it stands."""

    __slots__ = ()


@dataclass(frozen=True)
class Request:
    """One request and how it was made. ``members`` are those of its operation, as far as it has any."""

    operation: str
    kind: str
    method: str
    target: bytes
    fields: tuple[tuple[str, bytes], ...]
    body: bytes | None
    members: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        body = self.body or b""
        shown = f"{body[:1500]!r}" + (f"... ({len(body)} bytes)" if len(body) > 1500 else "")
        return f"{self.operation} ({self.kind}): {self.method} {self.target[:1500]!r} {self.fields} {shown}"


# --- from members to a request ---------------------------------------------------------------------------------------


def to_json(value: Any) -> str:
    """JSON, with the pieces of :class:`Raw` as they are."""
    match value:
        case Raw():
            return str(value)
        case dict():
            return f"{{{','.join(f'{json.dumps(key)}:{to_json(each)}' for key, each in value.items())}}}"
        case list():
            return f"[{','.join(map(to_json, value))}]"
        case _:
            return json.dumps(value)


def on_the_wire(shape: Shape, value: Any) -> Any:
    """A value under the names and in the forms of the wire; what is not of its shape stays as it is."""
    match shape.type_name, value:
        case "structure", dict():
            known = shape.members
            return {
                wire_name(name, known[name]) if name in known else name: on_the_wire(known[name], each)
                if name in known
                else each
                for name, each in value.items()
            }
        case "list", list():
            return [on_the_wire(shape.member, each) for each in value]
        case "map", dict():
            return {key: on_the_wire(shape.value, each) for key, each in value.items()}
        case _, bytes():
            return base64.b64encode(value).decode()
        case _:
            return value


def as_text(value: Any) -> bytes:
    """A value of a path, a query or a header."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return str(value).lower().encode()
    return (value if isinstance(value, str) else to_json(value)).encode("utf-8", "surrogatepass")


def assemble(operation_name: str, members: Mapping[str, Any], kind: str = "valid") -> Request:
    """The request that has these members. Members that are None are null in the body, and left out elsewhere."""
    made = operation(operation_name)
    path, _, constants = made.http["requestUri"].partition("?")
    query = [constants] if constants else []
    fields = list(HEADERS)
    body: dict[str, Any] = {}
    shapes = made.input_shape.members if made.input_shape is not None else {}
    for name, value in members.items():
        shape = shapes[name]
        wire = wire_name(name, shape)
        where = location(shape)
        if where == "uri":
            path = path.replace(f"{{{wire}}}", quote_from_bytes(as_text(value), safe=""))
        elif value is not None and where == "querystring":
            values = value if isinstance(value, list) else [value]
            query += [f"{quote(wire)}={quote_from_bytes(as_text(each), safe='')}" for each in values]
        elif value is not None and where == "header":
            fields.append((wire, as_text(value)))
        elif where == "body":
            body[name] = value
    target = path + (f"?{'&'.join(query)}" if query else "")
    data = _body(made.input_shape, body) if made.input_shape is not None else None
    return Request(operation_name, kind, made.http["method"], target.encode(), tuple(fields), data, members)


def _body(shape: Shape, members: Mapping[str, Any]) -> bytes | None:
    payload = shape.serialization.get("payload")
    if payload is not None:
        value = members.get(payload)
        if isinstance(value, bytes) or value is None:
            return value
        return to_json(on_the_wire(shape.members[payload], value)).encode()
    if any(location(member) == "body" for member in shape.members.values()):
        return to_json(on_the_wire(shape, members)).encode()
    return None


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


class Known:
    """Identifiers out of answers and of requests that were granted, by the names of their members."""

    def __init__(self) -> None:
        self._values: dict[str, deque[Any]] = {}

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
        kept = self._values.get(draws.choice(SYNONYMS.get(member, (member,))))
        value = draws.choice(kept) if kept else None
        if shape.type_name == "string" and isinstance(value, str):
            if member == "FunctionName" and draws.random() < 0.15:
                value += f":{draws.choice(['$LATEST', '1', '2', 'live', 'none'])}"
            return value if value.isascii() and not broken("", shape, value) else None
        return value if shape.type_name in ("integer", "long") and isinstance(value, int) else None


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
    "Variables": ({"NAME": "value"}, {"NAME": "värde", "OTHER": ""}, {}),
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
        kind = self._draws.choices([self.valid, self.nearly_valid, self.broken], [5, 4, 1])[0]
        return kind(operation_name)

    def valid(self, operation_name: str) -> Request:
        """One that satisfies every constraint of the model."""
        return assemble(operation_name, self._members(operation_name))

    def _members(self, operation_name: str) -> dict[str, Any]:
        shape = operation(operation_name).input_shape
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
        value = self._familiar(operation_name, name, shape) if draws.random() < 0.85 else None
        if value is not None:
            return value
        bounds = shape.metadata
        match shape.type_name:
            case "structure":
                return self._structure(operation_name, shape, max(chance, 0.3), depth + 1)
            case "list":
                size = draws.randint(bounds.get("min", 0), min(bounds.get("max", 3), max(3, bounds.get("min", 0))))
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
        if known is not None and self._draws.random() < 0.9:
            return known
        choice = self._draws.choice(PREFERRED.get(made, (None,)))
        fits = {"string": str, "blob": bytes, "map": dict, "integer": int}.get(shape.type_name)
        return choice if fits is not None and isinstance(choice, fits) else None

    def _text(self, operation_name: str, shape: Shape) -> str:
        if not shape.metadata.keys() & {"pattern", "enum"} and not getattr(shape, "enum", ()):
            text = self._draws.choice(FREE_TEXTS)
            return text if not broken(operation_name, shape, text) else sample_text(shape, self._draws)
        return sample_text(shape, self._draws)

    # --- nearly valid -------------------------------------------------------------------------------------------------

    def nearly_valid(self, operation_name: str) -> Request:
        """A valid one of which one member was replaced, taken away or doubled."""
        shape = operation(operation_name).input_shape
        members = self._members(operation_name)
        places = list(_places(shape, members)) if shape is not None else []
        if not places:
            return self.broken(operation_name)
        keys, found, in_body = self._draws.choice(places)
        if in_body:
            kind, value = self._draw_bad(found)
        else:
            kind, value = self._draws.choice([*BAD_TEXTS, ("text beyond its length", "a" * 2000)])
        request = assemble(operation_name, _changed(members, keys, value), f"{'.'.join(map(str, keys))}: {kind}")
        if in_body and request.body is not None and self._draws.random() < 0.05:
            twice = request.body[:-1] + b',"' + str(keys[0]).encode() + b'":' + request.body[1:]
            return replace(request, kind="keys twice", body=twice[: -1 if request.body == b"{}" else None] + b"}")
        return request

    def _draw_bad(self, shape: Shape) -> tuple[str, Any]:
        choices = [*BAD_JSON, *BAD_TEXTS] if shape.type_name == "string" else [*BAD_JSON]
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


REMOVED: Final = object()


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


def _deep(opening: str, closing: str, depth: int) -> Raw:
    return Raw(opening * depth + "1" + closing * depth)


BAD_JSON: Final[list[tuple[str, Any]]] = [
    ("left out", REMOVED),
    ("null", None),
    ("true", True),
    ("zero", 0),
    ("a number", -1.5),
    ("a text", "text"),
    ("an empty list", []),
    ("an empty object", {}),
    ("lists in a list", [[[]], None, {}]),
    ("objects in an object", {"a": {"b": None}}),
    ("NaN", Raw("NaN")),
    ("Infinity", Raw("-Infinity")),
    ("a list 200 deep", _deep("[", "]", 200)),
    ("a list 100000 deep", _deep("[", "]", 100_000)),
    ("an object 3000 deep", _deep('{"a":', "}", 3000)),
    ("keys twice", Raw('{"a":1,"a":"2","a":null}')),
    ("a huge text", "x" * 300_000),
]
BAD_NUMBERS: Final[list[tuple[str, Any]]] = [
    ("2**31", 2**31),
    ("-2**63-1", -(2**63) - 1),
    ("10**30", 10**30),
    ("1e400", Raw("1e400")),
    ("5000 digits", Raw("1" * 5000)),
    ("1.0", Raw("1.0")),
    ("-0", Raw("-0")),
    ("1e-400", Raw("1e-400")),
    ("a number as text", "1"),
]
BAD_TEXTS: Final[list[tuple[str, Any]]] = [
    ("an empty text", ""),
    ("a blank", " "),
    ("NUL", "a\0b"),
    ("two dots", "../../etc/passwd"),
    ("umlauts", "zürich"),
    ("an emoji", "\U0001f600" * 3),
    ("right to left", "\u202eabc"),
    ("an exclamation mark", "!"),
    ("$LATEST", "$LATEST"),
    ("a number", "99999999999999999999"),
    ("another account", "arn:aws:lambda:us-east-1:999999999999:function:alpha"),
    ("another region", "arn:aws:lambda:eu-west-1:000000000000:function:alpha"),
    ("an unknown name", "nobody"),
]
BAD_STRINGS: Final[list[tuple[str, Any]]] = [
    ("a high surrogate alone", "a\ud800"),
    ("a low surrogate alone", "\udc00b"),
    ("NUL in a text", "a\0b"),
    ("line breaks", "a\r\nX-Injected: b"),
    ("separators", "\u2028\u2029\x85"),
]
BAD_CONTAINERS: Final[list[tuple[str, Any]]] = [
    ("nulls in a list", [None, None]),
    ("nulls in an object", {"a": None}),
    ("2000 texts", ["a"] * 2000),
    ("2000 keys", {f"key{number}": "value" for number in range(2000)}),
    ("a strange key", {"\ud800\0": "a", "": "b"}),
    ("mixed", ["a", 1, None, {}, []]),
]
BAD_JSON += BAD_STRINGS

Spoiler = Callable[[Request, "random.Random"], Request]


def _with_body(body: bytes) -> Spoiler:
    return lambda request, _draws: replace(request, body=body)


def _truncate(request: Request, draws: random.Random) -> Request:
    body = request.body or b'{"FunctionName": "alpha"'
    return replace(request, body=body[: draws.randrange(len(body) + 1)])


def _flip(request: Request, draws: random.Random) -> Request:
    body = bytearray(request.body or b"{}")
    for _ in range(draws.randint(1, 3)):
        if body:
            body[draws.randrange(len(body))] = draws.randrange(256)
    return replace(request, body=bytes(body))


def _spoil_base64(request: Request, draws: random.Random) -> Request:
    """Every longer text that could be base64 is no longer."""
    bad = draws.choice([b"%%%%", b"AAA", b"A===", b"AAAA\\u0000", "ää".encode()])
    return replace(request, body=re.sub(rb'"[A-Za-z0-9+/]{24,}={0,2}"', b'"' + bad + b'"', request.body or b'{"ZipFile":"%"}'))


def _spoil_path(request: Request, draws: random.Random) -> Request:
    path, mark, query = request.target.partition(b"?")
    bad = draws.choice([b"%", b"%zz", b"%ff%fe", b"%00", b"%C0%AF", b"%ed%a0%80", b"%u0041", b"%2e%2e%2f", b"//", b";a=b"])
    place = draws.randrange(1, len(path) + 1)
    return replace(request, target=path[:place] + bad + path[place:] + mark + query)


def _add_query(*pieces: bytes) -> Spoiler:
    def spoil(request: Request, draws: random.Random) -> Request:
        sign = b"&" if b"?" in request.target else b"?"
        return replace(request, target=request.target + sign + draws.choice(pieces))

    return spoil


def _repeat_query(request: Request, draws: random.Random) -> Request:
    path, _, query = request.target.partition(b"?")
    pieces = query.split(b"&") if query else [b"Qualifier=1", b"MaxItems=1", b"Marker=", b"tagKeys=a"]
    chosen = [*pieces, *draws.choices(pieces, k=draws.randint(1, 4)), draws.choice([b"Qualifier=2", b"MaxItems=x"])]
    return replace(request, target=path + b"?" + b"&".join(chosen))


def _content_type(request: Request, draws: random.Random) -> Request:
    types = [b"text/plain", b"application/x-www-form-urlencoded", b"application/xml", b"", b"application/json;charset=x"]
    return replace(request, fields=(*request.fields, ("Content-Type", draws.choice(types))))


def _other_method(request: Request, draws: random.Random) -> Request:
    return replace(request, method=draws.choice(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))


def _other_path(request: Request, draws: random.Random) -> Request:
    path, mark, query = request.target.partition(b"?")
    parts = path.split(b"/")
    match draws.randrange(4):
        case 0:
            parts.append(b"")
        case 1:
            parts.append(b"extra")
        case 2:
            parts = parts[:-1]
        case _:
            parts[1] = b"2015-03-32"
    return replace(request, target=(b"/".join(parts) or b"/") + mark + query)


def _unknown_members(request: Request, _draws: random.Random) -> Request:
    if request.body is None or not request.body.startswith(b"{"):
        return replace(request, body=b'{"Unknown": [1, {"a": null}]}')
    return replace(request, body=b'{"Unknown":{"a":[null]},"functionName":"b"' + b"," * (len(request.body) > 2) + request.body[1:])


def _too_large(request: Request, draws: random.Random) -> Request:
    # A body of 6 MiB takes its time, so most are as large as may be only in name.
    size = REQUEST_LIMIT_BYTES + 1 if draws.random() < 0.05 else 60_000
    return replace(request, body=b'{"Description":"' + b"x" * size + b'"}')


SPOILERS: Final[list[tuple[str, Spoiler]]] = [
    *[("truncated", _truncate)] * 3,
    *[("bytes flipped", _flip)] * 3,
    *[("bad base64", _spoil_base64)] * 2,
    *[("bad path", _spoil_path)] * 4,
    *[("query repeated", _repeat_query)] * 3,
    ("bad query", _add_query(b"%", b"a=%zz", b"Marker=%ff", b"MaxItems=%00", b"&&&=&=", b"MaxItems=1e400", b"Qualifier=")),
    ("1001 parameters", _add_query(b"&".join([b"a=1"] * 1001))),
    ("a long query", _add_query(b"Marker=" + b"a" * 9000)),
    ("content type", _content_type),
    ("other method", _other_method),
    ("other path", _other_path),
    ("unknown members", _unknown_members),
    ("large", _too_large),
    ("no body", lambda request, _draws: replace(request, body=None)),
    ("an empty body", _with_body(b"")),
    ("an array", _with_body(b"[]")),
    ("null", _with_body(b"null")),
    ("a text", _with_body(b'"text"')),
    ("a number", _with_body(b"1")),
    ("two documents", _with_body(b"{}{}")),
    ("no UTF-8", _with_body(b'{"FunctionName":"\xff\xfe"}')),
    ("UTF-16", _with_body('{"FunctionName":"alpha"}'.encode("utf-16"))),
    ("a byte order mark", _with_body(b"\xef\xbb\xbf{}")),
    ("a deep body", _with_body(b"[" * 50_000)),
    ("a deep object", _with_body(b'{"Code":' * 3000 + b"1" + b"}" * 3000)),
    ("a control character", _with_body(b'{"Description":"\x01\n"}')),
    ("a single quote", _with_body(b"{'FunctionName':'alpha'}")),
]
