"""JSON rules, held against the library AWS's client uses for them."""

from __future__ import annotations

import collections
import decimal
import math
from typing import Any

import pytest
import simplejson
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.ric.faults import FaultError
from venturekit.ric.marshal import Marshaller

MARSHALLER = Marshaller("AWS_Lambda_python3.11")
UNICODE_MARSHALLER = Marshaller("AWS_Lambda_python3.13")
Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - the plain form is what functions return


class ReferenceEncoder(simplejson.JSONEncoder):
    """The settings of AWS's client, restated."""

    def __init__(self, ensure_ascii: bool) -> None:
        super().__init__(use_decimal=False, allow_nan=True, ensure_ascii=ensure_ascii)

    def default(self, value: Any) -> Any:
        if isinstance(value, decimal.Decimal):
            return math.nan if value.is_nan() else simplejson.RawJSON(str(value))
        return super().default(value)


KEYS = st.one_of(st.text(max_size=5), st.integers(), st.booleans(), st.none(), st.floats(), st.binary(max_size=3))
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.decimals(),
    st.binary(max_size=4),
    st.sampled_from([object, {1}, 1j, range(2), bytearray(b"x")]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(Point, inner, inner),
        st.dictionaries(KEYS, inner, max_size=4),
    ),
    max_leaves=12,
)


def outcome(encode: Any, value: Any) -> tuple[str, str]:
    try:
        return "text", encode(value)
    except Exception as error:
        return "error", str(error)


@settings(max_examples=300)
@given(VALUES, st.booleans())
def test_results_are_encoded_as_simplejson_does(value: Any, ensure_ascii: bool) -> None:
    ours = MARSHALLER if ensure_ascii else UNICODE_MARSHALLER
    assert outcome(ours.serialize_text, value) == outcome(ReferenceEncoder(ensure_ascii).encode, value)


PLAIN_TOKENS = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    '"a"',
    "1",
    "-",
    "01",
    "1.5e",
    "NaN",
    "null",
    "tru",
    "Infinity",
    "-Infinity",
]
ODD_TOKENS = [
    '"',
    "\\",
    "\n",
    " ",
    "\x01",
    "\u00e9",
    '"\\u12"',
    '"\\ud800',
    '"\\q"',
    "[1,]",
    '{"a":1,}',
    '"k":',
    "\ufeff",
]


def parse(body: bytes) -> str:
    try:
        return repr(MARSHALLER.parse_event(body, "application/json"))
    except FaultError as fault:
        kind, message = fault.error_type, fault.message
    prefix = "Unable to unmarshal input: "
    assert (kind, message[: len(prefix)]) == ("Runtime.UnmarshalError", prefix)
    raise ValueError(message[len(prefix) :])


@settings(max_examples=500)
@given(st.lists(st.sampled_from(PLAIN_TOKENS + ODD_TOKENS), min_size=1, max_size=8).map("".join))
def test_events_are_decoded_as_simplejson_does(text: str) -> None:
    body = text.encode()
    assert outcome(parse, body) == outcome(lambda document: repr(simplejson.loads(document)), body)


@settings(max_examples=200)
@given(st.binary(max_size=12))
def test_any_bytes_give_what_simplejson_gives(body: bytes) -> None:
    assert outcome(parse, body) == outcome(lambda document: repr(simplejson.loads(document)), body)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("application/json", {"a": 1}), (None, {"a": 1}), ("text/plain", b'{"a":1}'), ("Application/JSON", b'{"a":1}')],
)
def test_only_json_is_parsed(content_type: str | None, expected: Any) -> None:
    assert MARSHALLER.parse_event(bytearray(b'{"a":1}'), content_type) == expected


def test_a_result_that_fails_is_named() -> None:
    with pytest.raises(FaultError, match=r"^Unable to marshal response: Object of type set is not JSON serializable$"):
        MARSHALLER.serialize_result([{1}])


def test_a_failed_result_leaves_nothing_behind() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for _turn in range(2):
        with pytest.raises(FaultError, match="Circular reference detected"):
            MARSHALLER.serialize_result(loop)
    assert MARSHALLER.serialize_result([[], [decimal.Decimal("1.0")]]) == b"[[], [1.0]]"


def test_a_lone_surrogate_is_escaped_where_text_is_not() -> None:
    assert UNICODE_MARSHALLER.serialize_result(["\u00e9"]) == '["\u00e9"]'.encode()
    assert UNICODE_MARSHALLER.serialize_result(["\u00e9\ud800"]) == b'["\\u00e9\\ud800"]'


def test_deep_values_fail_with_one_wording() -> None:
    deep: list[Any] = []
    for _level in range(100_000):
        deep = [deep]
    with pytest.raises(FaultError, match="maximum recursion depth exceeded while encoding a JSON object"):
        MARSHALLER.serialize_result(deep)
