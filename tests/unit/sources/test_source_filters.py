"""Filter patterns: every legal form against values, and the illegal ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.sources.filter_patterns import FilterPattern, FilterPatternError, wanted

ABSENT = object()


def matches(pattern: Any, record: Any) -> bool:
    return FilterPattern(json.dumps(pattern)).matches(record)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("a", ["a", ["b", "a"]], ["A", "ab", 1, None, ABSENT, {"a": 1}, []]),
        ("", [""], ["a", None, ABSENT]),
        (1, [1, 1.0, [2, 1]], ["1", True, 2, ABSENT]),
        (True, [True], [1, "true", False, ABSENT]),
        (None, [None, [None]], ["", 0, False, ABSENT]),
        ({"exists": True}, ["", 0, None, False, "x"], [ABSENT, {"a": 1}, []]),
        ({"exists": False}, [ABSENT], ["", 0, None, "x", ["a"]]),
        ({"prefix": "ab"}, ["ab", "abc", ["x", "abx"]], ["a", "xab", 1, None, ABSENT]),
        ({"prefix": {"equals-ignore-case": "aB"}}, ["AB", "abc"], ["xab", 1, ABSENT]),
        ({"suffix": "yz"}, ["yz", "xyz"], ["yzx", 1, None, ABSENT]),
        ({"suffix": {"equals-ignore-case": "yZ"}}, ["YZ", "xyz"], ["yzx", None]),
        ({"equals-ignore-case": "AbC"}, ["abc", "ABC"], ["ab", 1, ABSENT]),
        ({"anything-but": "a"}, ["b", 1, None, "", ["a", "b"]], ["a", ["a"], ABSENT, {"a": 1}]),
        ({"anything-but": ["a", 1]}, ["b", 2, True], ["a", 1, 1.0, ABSENT]),
        ({"anything-but": {"prefix": "ab"}}, ["b", 1], ["ab", "abc", ABSENT]),
        ({"anything-but": {"prefix": ["ab", "x"]}}, ["b"], ["abc", "xy", ABSENT]),
        ({"anything-but": {"suffix": "z"}}, ["b"], ["z", "az"]),
        ({"anything-but": {"equals-ignore-case": ["A", "B"]}}, ["c"], ["a", "B"]),
        ({"numeric": ["=", 5]}, [5, 5.0], ["5", 4, True, None, ABSENT]),
        ({"numeric": [">", 5]}, [5.1, 6], [5, "6", ABSENT]),
        ({"numeric": ["<=", -5]}, [-5, -6], [-4, True]),
        ({"numeric": [">=", 0, "<", 5]}, [0, 4.9], [5, -1, False, "3"]),
        ({"numeric": [">", 0, "<=", 5]}, [5], [0, 5.1]),
    ],
)
def test_rules(rule: Any, good: list[Any], bad: list[Any]) -> None:
    for values, expected in ((good, True), (bad, False)):
        for value in values:
            record = {} if value is ABSENT else {"f": value}
            assert matches({"f": [rule]}, record) is expected, value
            assert matches({"deep": {"f": [rule]}}, {"deep": record}) is expected, value
            assert matches({"body": {"f": [rule]}}, {"body": json.dumps(record)}) is expected, value


@pytest.mark.parametrize(
    ("pattern", "record", "expected"),
    [
        ({"a": [1], "b": [2]}, {"a": 1, "b": 2, "c": 3}, True),
        ({"a": [1], "b": [2]}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": 2}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 2}, True),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"b": 3}, False),
        ({"c": [0], "$or": [{"a": [1]}, {"b": [2]}]}, {"a": 1}, False),
        ({"body": {"$or": [{"a": [1]}, {"b": [{"exists": False}]}]}}, {"body": '{"a": 2}'}, True),
        ({"a": {"b": {"c": [1]}}}, {"a": {"b": [{"c": 0}, {"c": 1}]}}, True),
        ({"a": {"b": [1]}}, {"a": "text"}, False),
        ({"a": {"b": [{"exists": False}]}}, {"a": "text"}, True),
        (
            {"messageAttributes": {"n": {"stringValue": ["x"]}}},
            {"messageAttributes": {"n": {"stringValue": "x"}}},
            True,
        ),
        # The body is a text, or JSON in a text: a pattern is about one of them.
        ({"body": ["plain"]}, {"body": "plain"}, True),
        ({"body": [{"prefix": "pl"}]}, {"body": "plain"}, True),
        ({"body": [{"prefix": "{"}]}, {"body": '{"a": 1}'}, False),
        ({"body": [{"prefix": "{"}]}, {"body": "{no JSON"}, True),
        ({"body": {"a": [1]}}, {"body": "plain"}, False),
        ({"body": {"a": [{"exists": False}]}}, {"body": "plain"}, False),
        ({"body": {"a": [1]}}, {"body": '[{"a": 1}]'}, True),
        ({"body": {"a": [1]}}, {"body": ""}, False),
        ({"body": {"a": [1]}}, {"body": "[" * 100_000}, False),
        # Not JSON, though Python reads it, and JSON, though Python by itself does not.
        ({"body": {"a": [1]}}, {"body": '{"a": 1, "b": NaN}'}, False),
        ({"body": ['{"a": Infinity}']}, {"body": '{"a": Infinity}'}, True),
        ({"body": {"a": [1]}}, {"body": '{"a": 1, "b": 1%s}' % ("0" * 5000)}, True),
        ({"body": {"b": [{"numeric": [">", 5]}]}}, {"body": '{"b": 1%s}' % ("0" * 5000)}, True),
        # Arrays in arrays are one array.
        ({"a": [1]}, {"a": [[0, [1]]]}, True),
        ({"a": [{"anything-but": 1}]}, {"a": [[1], [[1]]]}, False),
        ({"a": {"b": [1]}}, {"a": [[{"b": 0}], [[{"b": 1}]]]}, True),
        ({"a": {"b": [{"exists": False}]}}, {"a": [1, "text"]}, True),
        ({"a": {"b": [1]}}, {"a": [1, "text"]}, False),
    ],
)
def test_patterns(pattern: Any, record: Any, expected: bool) -> None:
    assert matches(pattern, record) is expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "1", "null", "{}", '{"a"}', '{"a": NaN}', "[" * 4000, '{"a":' * 600),
        *('{"a": "b"}', '{"a": 1}', '{"a": null}', '{"a": []}', '{"a": {}}', '{"a": {"b": {}}}', '{"a": [["b"]]}'),
        *('{"a": [{}]}', '{"a": [{"prefix": "a", "suffix": "b"}]}', '{"a": [{"like": "b"}]}'),
        *('{"a": [{"wildcard": "b*"}]}', '{"a": [{"cidr": "10.0.0.0/8"}]}'),
        *('{"a": [{"exists": 1}]}', '{"a": [{"exists": "true"}]}'),
        *('{"a": [{"prefix": 1}]}', '{"a": [{"prefix": ""}]}', '{"a": [{"prefix": ["b"]}]}'),
        *('{"a": [{"suffix": {"prefix": "b"}}]}', '{"a": [{"equals-ignore-case": 1}]}'),
        *('{"a": [{"anything-but": null}]}', '{"a": [{"anything-but": []}]}', '{"a": [{"anything-but": [null]}]}'),
        *('{"a": [{"anything-but": {"numeric": ["=", 1]}}]}', '{"a": [{"anything-but": {"prefix": 1}}]}'),
        *('{"a": [{"anything-but": {"prefix": []}}]}', '{"a": [{"anything-but": {}}]}'),
        *('{"a": [{"numeric": []}]}', '{"a": [{"numeric": 1}]}', '{"a": [{"numeric": ["=", "1"]}]}'),
        *('{"a": [{"numeric": ["==", 1]}]}', '{"a": [{"numeric": ["<", 5, ">", 0]}]}'),
        *('{"a": [{"numeric": [">", 5, "<", 5]}]}', '{"a": [{"numeric": ["=", 6e9]}]}'),
        *('{"a": [{"numeric": ["=", true]}]}', '{"a": [{"numeric": [">", 1, "<"]}]}'),
        *('{"a": [{"numeric": [">", 1%s]}]}' % ("0" * 400), '{"a": [1%s]}' % ("0" * 5000)),
        *(
            '{"a":' * 101 + "[1]" + "}" * 101,
            '{"a":' * 600 + "[1]" + "}" * 600,
            '{"$or": [{"a": [1]}, ' * 101 + "{}]}" * 101,
        ),
        *('{"$or": [{"a": [1]}]}', '{"$or": {"a": [1]}}', '{"$or": [1, 2]}', '{"$or": [{"a": [1]}, {}]}'),
    ],
)
def test_what_is_no_pattern(text: str) -> None:
    with pytest.raises(FilterPatternError) as raised:
        FilterPattern(text)
    assert str(raised.value)


def test_deep_patterns_decide_deep_records() -> None:
    """In the depth of a thread's or the loop's own calls."""
    depth = 100
    value: Any = 1
    for _ in range(depth):
        value = {"a": [[value]]}
    assert FilterPattern('{"a":' * depth + "[1]" + "}" * depth).matches(value)


@pytest.mark.parametrize("depth", [700, 1200])
def test_deep_arrays_are_decided(depth: int) -> None:
    body = '{"a": ' + "[" * depth + "1" + "]" * depth + "}"
    assert matches({"body": {"a": [1]}}, {"body": body}) in (True, False)


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "ab", "b"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=8,
)
RULES = SCALARS | st.builds(lambda value: {"exists": value}, st.booleans())


def patterns(names: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    leaf = st.lists(RULES, min_size=1, max_size=3)
    inner: st.SearchStrategy[Any] = st.recursive(
        leaf, lambda each: st.dictionaries(names, each, min_size=1, max_size=2), max_leaves=3
    )
    return st.dictionaries(names, inner, min_size=1, max_size=3)


@given(patterns(st.sampled_from(["a", "b", "c"])), st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES))
def test_any_pattern_decides_any_record(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    """Its fields are joined by and, its alternatives by or, and the body of a message is read as any field is."""
    decided = matches(pattern, record)
    assert decided is all(matches({name: rule}, record) for name, rule in pattern.items())
    assert matches({"$or": [pattern, pattern]}, record) is decided
    assert matches({"body": pattern}, {"body": json.dumps(record)}) is decided
    other = {"d": [{"exists": True}]}
    assert wanted([FilterPattern(json.dumps(each)) for each in (other, pattern)], record) is decided


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        FilterPattern(text).matches({"a": 1, "body": "x"})
    except FilterPatternError:
        return


def test_without_patterns_everything_is_wanted() -> None:
    assert wanted((), {"a": 1})
