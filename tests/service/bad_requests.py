"""What is done to valid requests to spoil them: bad values, and broken JSON and HTTP."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from tests.service.wire_requests import REMOVED, REQUEST_LIMIT_BYTES, Raw, Request

if TYPE_CHECKING:
    import random


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
# What decodes, as the markers of lists do, but to something else than a marker.
MARKERS: Final = {
    "a deep marker": "[" * 5000,
    "a closed deep marker": "[" * 3000 + "]" * 3000,
    "a marker of numbers": "[1,2]",
    "a marker with an object": '{"a":[1]}',
    "a marker with half a pair": '["\\ud800",0]',
    "a marker with a surrogate only": '["\\udc00"]',
    "a marker with a huge number": f'["alpha",{"9" * 4000}]',
    "a marker with a fraction": '["alpha",0.5]',
    "a marker with a truth": '["alpha",true]',
    "a marker of null": "null",
    "a marker with NUL": '["\\u0000",1]',
    "an empty marker": '[""]',
}
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
BAD_MARKERS: Final = [(kind, base64.urlsafe_b64encode(text.encode()).decode("ascii")) for kind, text in MARKERS.items()]
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
    spoilt = re.sub(
        rb'"[A-Za-z0-9+/]{24,}={0,2}"', lambda _found: b'"' + bad + b'"', request.body or b'{"ZipFile":"%"}'
    )
    return replace(request, body=spoilt)


def _repeat_key(request: Request, draws: random.Random) -> Request:
    """A key is there twice; parsers keep the last."""
    body = request.body or b""
    key = re.match(rb'\{("[A-Za-z]+":)', body)
    if key is None:
        return replace(request, body=b'{"FunctionName":"alpha","FunctionName":null}')
    other = key[1] + draws.choice([b"null", b"1", b'"x"', b"{}"])
    return replace(
        request, body=b"{" + other + b"," + body[1:] if draws.random() < 0.5 else body[:-1] + b"," + other + b"}"
    )


def _spoil_path(request: Request, draws: random.Random) -> Request:
    path, mark, query = request.target.partition(b"?")
    bad = draws.choice(
        [b"%", b"%zz", b"%ff%fe", b"%00", b"%C0%AF", b"%ed%a0%80", b"%u0041", b"%2e%2e%2f", b"//", b";a=b"]
    )
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
    types = [
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"application/xml",
        b"",
        b"application/json;charset=x",
    ]
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
    return replace(
        request, body=b'{"Unknown":{"a":[null]},"functionName":"b"' + b"," * (len(request.body) > 2) + request.body[1:]
    )


def _too_large(request: Request, draws: random.Random) -> Request:
    # A body of 6 MiB takes its time, so most are as large as may be only in name.
    size = REQUEST_LIMIT_BYTES + 1 if draws.random() < 0.05 else 60_000
    return replace(request, body=b'{"Description":"' + b"x" * size + b'"}')


SPOILERS: Final[list[tuple[str, Spoiler]]] = [
    *[("truncated", _truncate)] * 3,
    *[("bytes flipped", _flip)] * 3,
    *[("bad base64", _spoil_base64)] * 2,
    *[("keys twice", _repeat_key)] * 2,
    *[("bad path", _spoil_path)] * 4,
    *[("query repeated", _repeat_query)] * 3,
    (
        "bad query",
        _add_query(b"%", b"a=%zz", b"Marker=%ff", b"MaxItems=%00", b"&&&=&=", b"MaxItems=1e400", b"Qualifier="),
    ),
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
