"""Filter patterns: what matches, what is refused, and that nothing makes them fail or hang."""

from __future__ import annotations

import json
import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.cloudwatch.comparisons import PatternError, matches_wildcards
from venturekit.service.cloudwatch.field_patterns import split_fields
from venturekit.service.cloudwatch.filter_patterns import parse_pattern

ERROR = "[ERROR 400] BAD REQUEST"
ACCESS = '127.0.0.1 Prod frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'
TRAIL = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
        "Off": False,
        "latency": 12.5,
        "dash-key": {"in.ner": "deep"},
        "text": 'say "hi"',
    }
)


def matches(pattern: str, message: str) -> bool:
    found = parse_pattern(pattern)
    return found is None or found(message)


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("   ", "anything", True),
        ("ERROR", ERROR, True),
        ("error", ERROR, False),
        ("ERROR REQUEST", ERROR, True),
        ("ERROR ARGUMENTS", ERROR, False),
        ('"BAD REQUEST"', ERROR, True),
        ('"REQUEST BAD"', ERROR, False),
        ('"[ERROR 400]"', ERROR, True),
        ('"say \\"hi\\""', 'they say "hi"', True),
        ("ERROR -BAD", ERROR, False),
        ("ERROR -GOOD", ERROR, True),
        ('ERROR -"BAD REQUEST"', ERROR, False),
        ("-GOOD", ERROR, True),
        ("-ERROR", ERROR, False),
        ("?ERROR ?WARN", ERROR, True),
        ("?INFO ?WARN", ERROR, False),
        ('?INFO ?"BAD REQUEST"', ERROR, True),
        ("?INFO ERROR", ERROR, True),
        ("?ERROR MISSING", ERROR, False),
        ("größe", "die größe", True),
        ('{ $.eventType = "UpdateTrail" }', TRAIL, True),
        ("{ $.eventType = UpdateTrail }", TRAIL, True),
        ('{$.eventType="Update*"}', TRAIL, True),
        ('{ $.eventType = "*Trail" }', TRAIL, True),
        ('{ $.eventType = "*teTr*" }', TRAIL, True),
        ('{ $.eventType = "Trail*" }', TRAIL, False),
        ('{ $.eventType != "UpdateTrail" }', TRAIL, False),
        ('{ $.eventType != "Other" }', TRAIL, True),
        ('{ $.missing != "Other" }', TRAIL, False),
        ("{ $.sourceIPAddress = 111.111.* }", TRAIL, True),
        ("{ $.sourceIPAddress != 123.123.* }", TRAIL, True),
        ('{ $.arrayKey[0] = "value" }', TRAIL, True),
        ('{ $.arrayKey[1] = "value" }', TRAIL, False),
        ('{ $.arrayKey[9] = "value" }', TRAIL, False),
        ('{ $.arrayKey[*] = "another value" }', TRAIL, True),
        ("{ $.objectList[1].id = 2 }", TRAIL, True),
        ("{ $.objectList[*].id > 1 }", TRAIL, True),
        ("{ $.objectList[*].id > 2 }", TRAIL, False),
        ('{ $.*.name = "a" }', '{"any": {"name": "a"}}', True),
        ("{ $.SomeObject IS NULL }", TRAIL, True),
        ("{ $.eventType IS NULL }", TRAIL, False),
        ("{ $.SomeOther NOT EXISTS }", TRAIL, True),
        ("{ $.SomeObject NOT EXISTS }", TRAIL, False),
        ("{ $.ThisFlag IS TRUE }", TRAIL, True),
        ("{ $.ThisFlag IS FALSE }", TRAIL, False),
        ("{ $.Off is false }", TRAIL, True),
        ("{ $.ThisFlag = 1 }", TRAIL, False),
        ("{ $.latency = 12.5 }", TRAIL, True),
        ("{ $.latency >= 12.5 && $.latency <= 1.25e1 }", TRAIL, True),
        ("{ $.latency < 12.5 || $.latency > 12.5 }", TRAIL, False),
        ('{ $.latency = "12.5" }', TRAIL, False),
        ("{ $.eventType > 1 }", TRAIL, False),
        ('{ ($.latency > 1) && ($.Off IS TRUE || $.eventType = "U*") }', TRAIL, True),
        ("{ $.latency > 1 && $.Off IS TRUE || $.ThisFlag IS TRUE }", TRAIL, True),
        ("{ $.latency > 1 && ($.Off IS TRUE || $.ThisFlag IS FALSE) }", TRAIL, False),
        ("{ $.['dash-key']['in.ner'] = deep }", TRAIL, True),
        ("{ $.dash-key['in.ner'] = deep }", TRAIL, True),
        ('{ $.text = "say \\"hi\\"" }', TRAIL, True),
        ("{ $[0] = 1 }", "[1, 2]", True),
        ("{ $.a = 1 }", "not JSON", False),
        ("{ $.a = 1 }", '"text"', False),
        ("{ $.a = 1 }", "[" * 100_000, False),
        ("{ $.a = 1 }", '{"a": ' + "9" * 5000 + "}", False),
        ("[ip, stage, user, timestamp, request, status, bytes]", ACCESS, True),
        ("[ip, stage, user, timestamp, request, status]", ACCESS, False),
        ("[ip, stage, user, timestamp, request, status = 404, bytes]", ACCESS, True),
        ("[ip, stage, user, timestamp, request, status = 4*, bytes > 1000]", ACCESS, True),
        ("[ip, stage, user, timestamp, request, status = 4*, bytes > 2000]", ACCESS, False),
        ("[ip, stage, user, timestamp, request =*html*, status != 200, bytes]", ACCESS, True),
        ('[ip, stage, user, timestamp = "10/Oct*", request, status, bytes]', ACCESS, True),
        ("[..., status = 404, bytes]", ACCESS, True),
        ("[ip = 127.*, ...]", ACCESS, True),
        ("[ip, ..., bytes = 1534]", ACCESS, True),
        ("[..., a, b, c, d, e, f, g, h]", ACCESS, False),
        ("[w1 = ERROR || w1 = WARN, w2]", "WARN now", True),
        ("[w1 != ERROR && w1 != WARN, w2]", "WARN now", False),
        ("[(w1 = A || w1 = B) && w1 != A, w2]", "B x", True),
        ("[a = 1.0, b]", "1 x", True),
        ('[a = "1.0", b]', "1 x", False),
        ("[...]", "", True),
    ],
)
def test_what_matches(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("level=ERROR", "Invalid character(s) in term 'level=ERROR'"),
        ("a.b", "Invalid character(s) in term 'a.b'"),
        ("-", "cannot be read|Invalid character"),
        ('"open', "a quotation mark has no counterpart"),
        ("%ERR.*%", "regular expressions"),
        ("{ $.a = %x% }", "regular expressions"),
        ("[a = %x%, b]", "regular expressions"),
        ("{ $.a = 1", "must end with }"),
        ("{}", "a selector such as .* is missing"),
        ("{ $ = 1 }", "names nothing"),
        ("{ $.a }", "an operator is missing"),
        ("{ $.a = }", "a value is missing"),
        ("{ $.a = 1 && }", "a selector such as .* is missing"),
        ("{ $.a = 1 $.b = 2 }", "stands where && or"),
        ("{ ($.a = 1 }", "a parenthesis has no counterpart"),
        ("{ a = 1 }", "a selector such as"),
        ("{ $.a IS MAYBE }", "IS must be followed by"),
        ("{ $.a NOT THERE }", "NOT must be followed by"),
        ("{ $.a < text }", "needs a number behind it"),
        ('{ $.a > "1" }', "needs a number behind it"),
        ("{ $.a = 1e9999 }", "too large"),
        ("{ $.a = && }", "stands where a value has to be"),
        ('{ $.a = "open }', "cannot be read"),
        ("{ " + "(" * 60 + "$.a = 1" + ")" * 60 + " }", "more than 50 deep"),
        ("[a, b", "must end with ]"),
        ("[]", "has no name"),
        ("[a,, b]", "has no name"),
        ("[..., a, ...]", "once only"),
        ("[= 1]", "the name of a field"),
        ("[a = 1 && b = 2]", "name two of them"),
        ("[a b]", "stands where one of"),
        ("[a = ]", "a value is missing"),
        ("[a = 1 2]", "stands where a comma has to be"),
        ("[(a = 1]", "a parenthesis has no counterpart"),
        ("[" + "(" * 60 + "a = 1" + ")" * 60 + "]", "more than 50 deep"),
    ],
)
def test_what_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError, match=reason.replace("(s)", r"\(s\)")):
        parse_pattern(pattern)


def test_fields_are_divided_by_blanks_quotes_and_brackets() -> None:
    assert split_fields(' a  "b c" [d e]f [open "open\n') == ["a", "b c", "d e", "f", "[open", '"open']


PIECES = st.sampled_from(
    [
        *("$", "$.a", "[0]", "[*]", ".*", "=", "!=", "<", ">=", "&&", "||", "(", ")", "{", "}", "[", "]", ",", "..."),
        *("%", '"', '"x y"', "x", "1", "4*", "IS", "NULL", "NOT", "EXISTS", "-", "?", "\\", " ", "é", "\u2028"),
    ]
)
PATTERNS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=20).map(" ".join))
BRACKETED = st.sampled_from(["{%s}", "[%s]", "%s"]).flatmap(lambda form: PATTERNS.map(lambda text: form % text))


@given(pattern=BRACKETED, message=st.one_of(st.text(max_size=80), st.just(TRAIL), st.just(ACCESS)))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_pattern_or_is_refused(pattern: str, message: str) -> None:
    try:
        found = parse_pattern(pattern)
    except PatternError:
        return
    assert found is None or found(message) in (True, False)


WORDS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8)


@given(words=st.lists(WORDS, min_size=1, max_size=5), message=st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_terms_are_looked_for_in_the_text(words: list[str], message: str) -> None:
    assert matches(" ".join(words), message) is all(word in message for word in words)
    assert matches(" ".join(f"?{word}" for word in words), message) is any(word in message for word in words)
    assert matches(" ".join(f"-{word}" for word in words), message) is not any(word in message for word in words)


@given(value=st.text(max_size=20), key=WORDS)
@settings(deadline=None, max_examples=100)
def test_a_member_equals_its_own_value(value: str, key: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    message = json.dumps({key: value})
    assert matches(f"{{ $.{key} = {quoted} }}", message)
    # A star in the value stands for itself, too: it matches anything.
    assert not matches(f"{{ $.{key} != {quoted} }}", message)


@given(pattern=st.text("ab*", max_size=8), text=st.text("ab", max_size=12))
@settings(deadline=None, max_examples=200)
def test_wildcards_match_as_they_are_defined(pattern: str, text: str) -> None:
    def slowly(rest: str, left: str) -> bool:
        if not rest:
            return not left
        if rest[0] == "*":
            return any(slowly(rest[1:], left[skip:]) for skip in range(len(left) + 1))
        return left[:1] == rest[0] and slowly(rest[1:], left[1:])

    assert matches_wildcards(pattern, text) is slowly(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{ $.a = " + "*a" * 400 + "b }", json.dumps({"a": "a" * 60_000})),
        ("[x = " + "*a" * 400 + "b]", "a" * 60_000),
        ("[...]", "[ " * 30_000),
        ("[..., a]", '" ' * 30_001),
        ("{ " + " || ".join(["$[*][*][*] = 1"] * 40) + " }", json.dumps([[[0] * 20] * 20] * 20)),
    ],
)
def test_no_pattern_takes_long(pattern: str, message: str) -> None:
    began = time.process_time()
    matches(pattern, message)
    assert time.process_time() - began < 2.0
