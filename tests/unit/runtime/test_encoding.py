"""Values as JSON: one function for bodies, payloads and log lines."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import types
import uuid
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.runtime.encoding import NotSerializableError, to_json


@dataclasses.dataclass
class Point:
    x: int
    inner: Any = None


class Model(pydantic.BaseModel):
    at: datetime.datetime
    secret: pydantic.SecretStr = pydantic.SecretStr("s3cret")


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, 2.5, None, True, "ä"]}, '{"a":[1,2.5,null,true,"ä"]}'),
        (Point(1, Point(2)), '{"x":1,"inner":{"x":2,"inner":null}}'),
        (Color.RED, '"red"'),
        ({1, 2}, "[1,2]"),
        ((1, 2), "[1,2]"),
        (collections.deque([1]), "[1]"),
        (collections.OrderedDict(a=1), '{"a":1}'),
        (collections.UserDict({"a": 1}), '{"a":1}'),
        (types.MappingProxyType({"a": 1}), '{"a":1}'),
        (range(3), "[0,1,2]"),
        (map(str, [1]), '["1"]'),
        ({"a": 1}.keys(), '["a"]'),
        (decimal.Decimal("10.00"), "10"),
        (decimal.Decimal("0.1"), "0.1"),
        (datetime.date(2026, 1, 31), '"2026-01-31"'),
        (datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC), '"2026-01-31T00:00:00+00:00"'),
        (datetime.time(12), '"12:00:00"'),
        (datetime.timedelta(minutes=1), "60.0"),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (pathlib.PurePosixPath("/a"), '"/a"'),
        (ipaddress.ip_address("::1"), '"::1"'),
        ("a\ud800b", '"a\\ud800b"'),
        ("\u2028</script>", '"\u2028</script>"'),
    ],
)
def test_a_value_is_written(value: Any, expected: str) -> None:
    assert to_json(value) == expected


def test_models_are_written_in_their_own_way() -> None:
    made = json.loads(to_json([Model(at=datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC))]))
    assert made == [{"at": "2026-01-31T00:00:00Z", "secret": "**********"}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"a", "JSON cannot hold bytes"),
        ({"a": memoryview(b"a")}, "JSON cannot hold bytes"),
        (object(), "builtins.object: return a dict"),
        (Point, "builtins.type"),
        (Model, "ModelMetaclass"),
        (len, "builtin_function_or_method"),
        (1j, "builtins.complex"),
        (decimal.Decimal("Infinity"), "no number Infinity"),
        (float("nan"), "JSON compliant"),
        ({(1,): 1}, "keys must be"),
    ],
)
def test_what_json_cannot_hold_is_named(value: Any, text: str) -> None:
    with pytest.raises(NotSerializableError) as caught:
        to_json(value)
    assert text in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_json_comes_back_as_it_went(value: Any) -> None:
    text = to_json(value)
    text.encode()
    assert json.loads(text) == value
