"""Payloads of Invoke: what is JSON for Lambda, and the words for what is not."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.forms import thinned
from venturekit.service.invocation import json_scanner as module
from venturekit.service.invocation.json_scanner import Fault, fault_message, fault_of
from venturekit.service.invocation.payload import is_json

A_VALUE = "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
A_TOKEN = "was expecting ('true', 'false' or 'null')"
A_NAME = "was expecting double-quote to start field name"
A_COLON = "was expecting a colon to separate field name and value"
THE_END = "was expecting end-of-input after the root-level value"
AFTER_MINUS = "expected digit (0-9) to follow minus sign, for valid numeric value"
NO_COMMENT = (
    "maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)"
)
NO_PLUS = (
    "JSON spec does not allow numbers to have plus signs: "
    "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow"
)
WHITE = r"only regular white space (\r, \n, \t) is allowed between tokens"
ESCAPED = "has to be escaped using backslash to be included in"
UNCLOSED_STRING = "Unexpected end-of-input: was expecting closing quote for a string value"
UNCLOSED_ESCAPE = "Unexpected end-of-input in character escape sequence"
UNCLOSED_NUMBER = "Unexpected end-of-input in a Number value"
NO_POINT = "in numeric value: Decimal point not followed by a digit"
NO_EXPONENT = "in numeric value: Exponent indicator not followed by a digit"
LEADING_ZERO = "Invalid numeric value: Leading zeroes not allowed"
A_HEX_DIGIT = "expected a hex-digit for character escape sequence"


def source(line: int, column: int) -> str:
    return (
        f"[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )


def unexpected(character: str, wanted: str) -> str:
    return f"Unexpected character ('{character}' (code {ord(character)})): {wanted}"


def unclosed(kind: str, line: int, column: int) -> str:
    return f"Unexpected end-of-input: expected close marker for {kind} (start marker at {source(line, column)})"


def mismatch(closer: str, expected: str, kind: str, line: int, column: int) -> str:
    return f"Unexpected close marker '{closer}': expected '{expected}' (for {kind} starting at {source(line, column)})"


def non_standard(token: str) -> str:
    return f"Non-standard token '{token}': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"


def unrecognized(token: str) -> str:
    return f"Unrecognized token '{token}': {A_TOKEN}"


JSON = [
    b"null",
    b" true ",
    b"\r\n\tfalse\r\n",
    b'""',
    b"0",
    b"-0",
    b"-0.0e-0",
    b"1E+5",
    b"12345678901234567890123456789",
    b"1e400",
    b"-1e999999999",
    b"1" * 400,
    b"[]",
    b"{}",
    b" [ 1 , [ ] , { } , null ] ",
    b'{"a":{"b":[{"c":"d"}]},"a":2,"":0}',
    b'{ "a" : 1 , "b" : [ true , false ] }',
    rb'"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"',
    rb'"\ud800"',
    rb'["\udc00\ud800", {"\uDFFF": "\ud800x"}]',
    b'"\x7f\xc2\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"',
    '{"é€😀": "é€😀"}'.encode(),
    b"\xef\xbb\xbf{}",
    b"\xef\xbb\xbf 1",
    b'"/* no comment */"',
]

FAULTS = [
    # Without any value.
    (b"", "No content to map due to end-of-input", 1, 0),
    (b" \r\n\t", "No content to map due to end-of-input", 1, 0),
    # Tokens.
    (b"m", unrecognized("m"), 1, 2),
    (b"nope", unrecognized("nope"), 1, 5),
    (b"my payload", unrecognized("my"), 1, 4),
    (b"name=value", unrecognized("name"), 1, 6),
    (b"m\n", unrecognized("m"), 1, 3),
    (b"\n\n nul", unrecognized("nul"), 3, 5),
    (b"truex", unrecognized("truex"), 1, 6),
    (b"true1 ", unrecognized("true1"), 1, 7),
    (b"[nulL]", unrecognized("nulL"), 1, 7),
    (b"[0,truea]", unrecognized("truea"), 1, 10),
    (b'{"a":tru}', unrecognized("tru"), 1, 10),
    (b"None", unrecognized("None"), 1, 5),
    (b"undefined", unrecognized("undefined"), 1, 10),
    (b"$a_b", unrecognized("$a_b"), 1, 5),
    ("aé€:".encode(), unrecognized("aé€"), 1, 8),
    (b"a" * 300, unrecognized("a" * 256 + "..."), 1, 257),
    (b"NaN", non_standard("NaN"), 1, 4),
    (b"[NaN]", non_standard("NaN"), 1, 5),
    (b"NaNa", unrecognized("NaNa"), 1, 5),
    (b"Infinity", non_standard("Infinity"), 1, 9),
    (b"-Infinity", non_standard("-Infinity"), 1, 10),
    (b"+INF", non_standard("+INF"), 1, 5),
    (b"Inf", unrecognized("Inf"), 1, 4),
    # Values that cannot begin like this. Bytes are not decoded here.
    (b"\x99", f"Unexpected character ((CTRL-CHAR, code 153)): {A_VALUE}", 1, 1),
    (b"\x7f", f"Unexpected character ((CTRL-CHAR, code 127)): {A_VALUE}", 1, 1),
    (b"\xa1", unexpected("\xa1", A_VALUE), 1, 1),
    (b"'a'", unexpected("'", A_VALUE), 1, 1),
    (b"#a", unexpected("#", A_VALUE), 1, 1),
    (b".5", unexpected(".", A_VALUE), 1, 1),
    (b"-.5", unexpected(".", A_VALUE), 1, 2),
    (b":", unexpected(":", A_VALUE), 1, 1),
    (b'{"a":]', unexpected("]", A_VALUE), 1, 6),
    (b",", unexpected(",", "expected a value"), 1, 1),
    (b'{"a":}', unexpected("}", "expected a value"), 1, 6),
    (b"[1,]", unexpected("]", "expected a value"), 1, 4),
    (b"[,1]", unexpected(",", "expected a value"), 1, 2),
    (b"[ , 1]", unexpected(",", "expected a value"), 1, 3),
    (b"[1,2,[,]]", unexpected(",", "expected a value"), 1, 7),
    (b"[1,,2]", unexpected(",", "expected a value"), 1, 4),
    (b"[[,[]]]", unexpected(",", "expected a value"), 1, 3),
    (b"[1,\r\n,]", unexpected(",", "expected a value"), 2, 1),
    (b"// 1", unexpected("/", NO_COMMENT), 1, 1),
    (b"[1, /* 2 */]", unexpected("/", NO_COMMENT), 1, 5),
    (b"\x00", f"Illegal character ((CTRL-CHAR, code 0)): {WHITE}", 1, 1),
    (b"[1\x0c]", f"Illegal character ((CTRL-CHAR, code 12)): {WHITE}", 1, 3),
    # Numbers.
    (b"01", LEADING_ZERO, 1, 2),
    (b"[-00]", LEADING_ZERO, 1, 4),
    (b"1.", f"Unexpected character ('.' (code 46)) {NO_POINT}", 1, 2),
    (b"[1.]", f"Unexpected character (']' (code 93)) {NO_POINT}", 1, 4),
    (b"[1.e5]", f"Unexpected character ('e' (code 101)) {NO_POINT}", 1, 4),
    (b"[1e]", f"Unexpected character (']' (code 93)) {NO_EXPONENT}", 1, 4),
    (b"[1E+x]", f"Unexpected character ('x' (code 120)) {NO_EXPONENT}", 1, 5),
    (b"1e", UNCLOSED_NUMBER, 1, 3),
    (b"1e-", UNCLOSED_NUMBER, 1, 4),
    (b"-", UNCLOSED_NUMBER, 1, 2),
    (b"+", UNCLOSED_NUMBER, 1, 2),
    (b"+1", f"Unexpected character ('+' (code 43)) in numeric value: {NO_PLUS}", 1, 1),
    (b"[-]", f"Unexpected character (']' (code 93)) in numeric value: {AFTER_MINUS}", 1, 3),
    (b"--1", f"Unexpected character ('-' (code 45)) in numeric value: {AFTER_MINUS}", 1, 2),
    (b"0x1F", unexpected("x", "Expected space separating root-level values"), 1, 2),
    (b"12abc", unexpected("a", "Expected space separating root-level values"), 1, 3),
    (b"[0x1F]", unexpected("x", "was expecting comma to separate Array entries"), 1, 3),
    # Containers.
    (b"{", unclosed("Object", 1, 1), 1, 2),
    (b"[", unclosed("Array", 1, 1), 1, 2),
    (b'{"a":[1,2', unclosed("Array", 1, 6), 1, 10),
    (b'\n {"a":1\n\n', unclosed("Object", 2, 2), 4, 1),
    (b"[[[]]", unclosed("Array", 1, 1), 1, 6),
    (b"[1,", "Unexpected end-of-input within/between Array entries", 1, 4),
    (b'{"a":1, ', "Unexpected end-of-input within/between Object entries", 1, 9),
    (b'{"a"', "Unexpected end-of-input within/between Object entries", 1, 5),
    (b'{"a":', "Unexpected end-of-input within/between Object entries", 1, 6),
    (b"[1 2]", unexpected("2", "was expecting comma to separate Array entries"), 1, 4),
    (b"[1:2]", unexpected(":", "was expecting comma to separate Array entries"), 1, 3),
    (b'["a""b"]', unexpected('"', "was expecting comma to separate Array entries"), 1, 5),
    (b'{"a":1 "b":2}', unexpected('"', "was expecting comma to separate Object entries"), 1, 8),
    (b'{"a":{}{', unexpected("{", "was expecting comma to separate Object entries"), 1, 8),
    (b'{"a":1\r\n;', unexpected(";", "was expecting comma to separate Object entries"), 2, 1),
    (b'{"a" 1}', unexpected("1", A_COLON), 1, 6),
    (b'{"a"}', unexpected("}", A_COLON), 1, 5),
    (b'{"a"=1}', unexpected("=", A_COLON), 1, 5),
    (b'{"a":1,}', unexpected("}", A_NAME), 1, 8),
    (b'{,"a":1}', unexpected(",", A_NAME), 1, 2),
    (b'[{"a":1,,"b":2}]', unexpected(",", A_NAME), 1, 9),
    (b'[{,"a":{}}]', unexpected(",", A_NAME), 1, 3),
    (b"{a:1}", unexpected("a", A_NAME), 1, 2),
    (b"{'a':1}", unexpected("'", A_NAME), 1, 2),
    (b"{1:1}", unexpected("1", A_NAME), 1, 2),
    (b'{"a":1,[', unexpected("[", A_NAME), 1, 8),
    ("{é".encode(), unexpected("é", A_NAME), 1, 3),
    ("{€".encode(), f"Unexpected character ('€' (code 8364 / 0x20ac)): {A_NAME}", 1, 4),
    (b"{\xed\xa0\x80", f"Unexpected character ('?' (code 55296 / 0xd800)): {A_NAME}", 1, 4),
    (b"{\xc3", "Unexpected end-of-input in a value", 1, 3),
    (b"]", mismatch("]", "}", "root", 1, 0), 1, 1),
    (b"}", mismatch("}", "]", "root", 1, 0), 1, 1),
    (b"[1}", mismatch("}", "]", "Array", 1, 1), 1, 3),
    (b'{"a":1]', mismatch("]", "}", "Object", 1, 1), 1, 7),
    (b'[{"a":[]]', mismatch("]", "}", "Object", 1, 2), 1, 9),
    (b"[[]]]", mismatch("]", "}", "root", 1, 0), 1, 5),
    # Strings and names.
    (b'"abc', UNCLOSED_STRING, 1, 5),
    (b'["', UNCLOSED_STRING, 1, 3),
    (b'{"a', "Unexpected end-of-input in field name", 1, 4),
    (b'"\\', UNCLOSED_ESCAPE, 1, 3),
    (b'"\\u12', UNCLOSED_ESCAPE, 1, 6),
    (b'{"\\u', UNCLOSED_ESCAPE, 1, 5),
    (b'"a\nb"', f"Illegal unquoted character ((CTRL-CHAR, code 10)): {ESCAPED} string value", 1, 3),
    (b'[\n"\x00"]', f"Illegal unquoted character ((CTRL-CHAR, code 0)): {ESCAPED} string value", 2, 2),
    (b'{"a\tb":1}', f"Illegal unquoted character ((CTRL-CHAR, code 9)): {ESCAPED} name", 1, 4),
    (rb'"\x41"', "Unrecognized character escape 'x' (code 120)", 1, 3),
    (rb'{"\a":1}', "Unrecognized character escape 'a' (code 97)", 1, 4),
    (rb'"\'"', "Unrecognized character escape ''' (code 39)", 1, 3),
    ('"\\€"'.encode(), "Unrecognized character escape '€' (code 8364 / 0x20ac)", 1, 5),
    (b'"\\\n"', "Unrecognized character escape (CTRL-CHAR, code 10)", 1, 3),
    (rb'"\u12x4"', unexpected("x", A_HEX_DIGIT), 1, 6),
    (rb'"\u"', unexpected('"', A_HEX_DIGIT), 1, 4),
    # UTF-8: a wrong byte is read before it is reported.
    (b"n\x87r", "Invalid UTF-8 start byte 0x87", 1, 3),
    (b'"\x87"', "Invalid UTF-8 start byte 0x87", 1, 3),
    ("é".encode(), "Invalid UTF-8 start byte 0xa9", 1, 3),
    ("“a”".encode(), "Invalid UTF-8 start byte 0x80", 1, 3),
    (b"true\xff", "Invalid UTF-8 start byte 0xff", 1, 6),
    (b'"ab\xff"', "Invalid UTF-8 start byte 0xff", 1, 5),
    (b'"\xc3"', "Invalid UTF-8 middle byte 0x22", 1, 4),
    (b'"\xe2\x82a"', "Invalid UTF-8 middle byte 0x61", 1, 5),
    (b"a\xe2\x82a", "Invalid UTF-8 middle byte 0x61", 1, 5),
    (b'\n"\xc3\n"', "Invalid UTF-8 middle byte 0xa", 2, 4),
    (b'"\xc3', UNCLOSED_STRING, 1, 3),
    (b'{"\xc3', "Unexpected end-of-input in field name", 1, 4),
    (b'{"\xff":1}', "Invalid UTF-8 start byte 0xff", 1, 4),
    (b'{"\xff":[1]}', "Invalid UTF-8 start byte 0xff", 1, 4),
    (b'[{"a":[1],"\xff":{}}]', "Invalid UTF-8 start byte 0xff", 1, 13),
    (b'{"\xff\n":1}', f"Illegal unquoted character ((CTRL-CHAR, code 10)): {ESCAPED} name", 1, 4),
    (b'"\xff\n"', "Invalid UTF-8 start byte 0xff", 1, 3),
    (b'"\n\xff"', f"Illegal unquoted character ((CTRL-CHAR, code 10)): {ESCAPED} string value", 1, 2),
    (b'["a", 1, "\xff"]', "Invalid UTF-8 start byte 0xff", 1, 12),
    (b'"\xc0\x80"', "Invalid UTF-8 start byte 0xc0", 1, 3),
    (b'"\xe0\x80\x80"', "Invalid UTF-8 middle byte 0x80", 1, 4),
    (b'"\xed\xa0\x80"', "Invalid UTF-8 middle byte 0xa0", 1, 4),
    (b'"\xf4\x90\x80\x80"', "Invalid UTF-8 middle byte 0x90", 1, 4),
    (b'"\xf5\x80\x80\x80"', "Invalid UTF-8 start byte 0xf5", 1, 3),
    # A byte order mark counts in columns. Other encodings are not JSON here.
    (b"\xef\xbb\xbf", "Invalid UTF-8 start byte 0xbb", 1, 3),
    (b"\xef\xbb\xbfx", unrecognized("x"), 1, 5),
    (b"[\xef\xbb\xbf1]", "Invalid UTF-8 start byte 0xbb", 1, 4),
    ('{"a":1}'.encode("utf-16"), "Invalid UTF-8 start byte 0xfe", 1, 3),
    ('{"a":1}'.encode("utf-16-le"), f"Illegal character ((CTRL-CHAR, code 0)): {WHITE}", 1, 2),
    ('{"a":1}'.encode("utf-32-be"), f"Illegal character ((CTRL-CHAR, code 0)): {WHITE}", 1, 1),
    # Behind the value.
    (b"{} {}", unexpected("{", THE_END), 1, 4),
    (b"1 2", unexpected("2", THE_END), 1, 3),
    (b"null\nnull", unexpected("n", THE_END), 2, 1),
    (b'"a" x', unrecognized("x"), 1, 6),
    (b"{},", unexpected(",", "expected a value"), 1, 3),
    (b"{}\x00", f"Illegal character ((CTRL-CHAR, code 0)): {WHITE}", 1, 3),
    (b"[] ]", mismatch("]", "}", "root", 1, 0), 1, 4),
    # Line breaks: CR LF is one.
    (b"[1,\r2,\n3,\r\n4 x]", unexpected("x", "was expecting comma to separate Array entries"), 4, 3),
]


def shortened(payload: object) -> str | None:
    """The name of a case whose payload is too long for one."""
    return f"{payload[:10]!r}x{len(payload)}" if isinstance(payload, bytes) and len(payload) > 40 else None


@pytest.mark.parametrize("payload", JSON, ids=shortened)
def test_json_is_accepted(payload: bytes) -> None:
    assert is_json(payload)
    assert fault_of(payload) is None


@pytest.mark.parametrize(("payload", "detail", "line", "column"), FAULTS, ids=shortened)
def test_the_first_fault_is_worded_as_jackson_does(payload: bytes, detail: str, line: int, column: int) -> None:
    assert fault_of(payload) == Fault(detail, line, column)
    assert not is_json(payload)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_buffer_is_read(kind: Any) -> None:
    long = b'{"a":"' + b"x" * 60_000 + b'"}'
    for good in (*JSON, long):
        assert is_json(kind(good))
        assert fault_of(kind(good)) is None
    assert not is_json(kind(b"{"))
    assert fault_of(kind(b"m")) == Fault(unrecognized("m"), 1, 2)


def test_the_message_is_the_recorded_one() -> None:
    fault = fault_of(b"m")
    assert fault is not None
    assert fault_message(fault) == (
        "Could not parse request body into json: Could not parse payload into json: "
        "Unrecognized token 'm': was expecting ('true', 'false' or 'null')\n"
        " at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: 1, column: 2]"
    )


# Jackson's limits, on both sides.


def exceeds(what: str, size: int, most: int, getter: str) -> str:
    return f"{what} ({size}) exceeds the maximum allowed ({most}, from `StreamReadConstraints.{getter}()`)"


@pytest.mark.parametrize(
    ("opener", "inner", "closer"),
    [(b"[", b"0", b"]"), (b"[", b"", b"]"), (b'{"a":', b"0", b"}"), (b'[\n1, [], {"a":2, "b":', b"null", b"} ]")],
)
def test_a_thousand_levels_are_the_limit(opener: bytes, inner: bytes, closer: bytes) -> None:
    levels = 2 if opener.startswith(b"[\n") else 1
    at_limit = opener * (1000 // levels) + inner + closer * (1000 // levels)
    assert is_json(at_limit)
    assert fault_of(at_limit) is None
    beyond = b"[" + at_limit + b"]"
    fault = fault_of(beyond)
    assert fault is not None
    assert fault.detail == exceeds("Document nesting depth", 1001, 1000, "getMaxNestingDepth")
    assert not is_json(beyond)


@pytest.mark.parametrize("levels", [250, 260, 997, 998, 999, 1000])
def test_entries_at_any_depth_are_read_alike(levels: int) -> None:
    entries = b'[[]],{"a":{}},[1,2],{"b":[3]},4,"5",' + b"null," * 500 + b"6"
    deep = b"[" * (levels - 2) + entries + b"]" * (levels - 2)
    assert is_json(deep)
    assert fault_of(deep) is None
    assert fault_of(deep[:-1]) == Fault(unclosed("Array", 1, 1), 1, len(deep))
    assert is_json(b"[" + deep + b"]") == (levels < 1000)
    assert (fault_of(b"[" + deep + b"]") is None) == (levels < 1000)


NUMBERS = {
    "whole": b"1" * 1000,
    "negative": b"-" + b"1" * 1000,
    "fraction": b"0." + b"1" * 999,
    "exponent": b"1e" + b"0" * 998 + b"1",
    "negative exponent": b"1e-" + b"0" * 999,
    "all three": b"1" * 333 + b"." + b"2" * 333 + b"e-" + b"3" * 334,
    "two of three": b"1" * 500 + b"." + b"2" * 499 + b"E+3",
    "short and long": b"1" * 300 + b"." + b"2" * 700,
    "short and long exponent": b"1" * 300 + b"E" + b"3" * 700,
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("around", [b"%b", b" %b ", b"[%b]", b'{"a": [0, %b ], "b": 1}', b'"in a string %b"'])
def test_a_thousand_digits_are_the_limit(number: bytes, around: bytes) -> None:
    at_limit, beyond = around % number, around % (number + b"0")
    assert is_json(at_limit)
    assert fault_of(at_limit) is None
    in_string = around.startswith(b'"')
    assert is_json(beyond) == in_string
    fault = fault_of(beyond)
    assert in_string == (fault is None)
    if fault:
        assert fault.detail == exceeds("Number value length", 1001, 1000, "getMaxNumberLength")


NAMES = {
    "plain": b"a" * 50_000,
    "backslashes": rb"\\" * 50_000,
    "quotes": rb"\"" * 50_000,
    "quotes at the end": b"a" * 49_000 + rb"\"" * 1000,
    "a quote here and there": (rb"\"" + b"a" * 4999) * 10,
    "a quote at the start": rb"\"" + b"a" * 49_999,
    "escaped characters": rb"\u00e9" * 25_000,
    "three bytes each": "€".encode() * 16_666 + b"ab",
    "lone surrogates": rb"\ud800" * 16_666 + b"ab",
    "many backslashes, a quote": rb"\\" * 40_001 + rb"\"" + b"a" * 9998,
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize(
    "around",
    [
        b'{"%b":1}',
        b'{"x":"%b" , "%b" : 2}',
        b'{"a":"\\\\","b":"' + b"z" * 80_000 + b'","c":[' + b"1," * 60_000 + b'{"%b"\r\n:1}],"d":"y"}',
    ],
    ids=["alone", "between others", "behind long values"],
)
def test_fifty_thousand_bytes_of_name_are_the_limit(name: bytes, around: bytes) -> None:
    at_limit, beyond = around.replace(b"%b", name), around.replace(b"%b", name + b"b")
    assert is_json(at_limit)
    assert fault_of(at_limit) is None
    fault = fault_of(beyond)
    assert fault is not None
    assert fault.detail == exceeds("Name length", 50_001, 50_000, "getMaxNameLength")
    assert not is_json(beyond)


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_strings_have_no_such_limit(text: bytes) -> None:
    payload = b'{"a":[1, "' + text * 3 + b'", 2], "b" : "' + text + b'"}'
    assert is_json(payload)
    assert fault_of(payload) is None


# Size: a scan is linear, and what it needs beside the payload does not grow with it.

SHAPES = {
    "integers": b"1",
    "empty arrays": b"[]",
    "arrays": b"[[[[0]]]]",
    "deep arrays": b"[" * 900 + b"]" * 900,
    "deep objects": b'{"":' * 900 + b"0" + b"}" * 900,
    "wide arrays": b"[" + b",".join([b"[" + b",".join([b"1"] * 8) + b"]"] * 64) + b"]",
    "objects": b'{"id":1,"name":"user","tags":["a","b"],"o":{"x":{"y":{}}}}',
    "escaped names": rb'{"\n\n":"\n\n\n"}',
    "a long string": b'"' + b"a" * 300_000 + b'"',
    "escapes": b'"' + rb"\n\u00e9" * 40_000 + b'"',
    "backslashes": b'"' + rb"\\" * 150_000 + b'"',
    "white space": b" " * 100_000 + b"\n" * 100_000 + b"0",
}


@pytest.mark.parametrize("name", thinned(SHAPES, 2))
def test_large_documents_are_read_in_linear_time(name: str) -> None:
    shape = SHAPES[name]
    document = b"[" + b",".join([shape] * (400_000 // len(shape) + 1))
    started = time.process_time()
    assert is_json(document + b"]")
    for ending, faultless in [(b"]", True), (b"", False), (b"x", False), (b"]x", False), (b',"\xff"]', False)]:
        assert (fault_of(document + ending) is None) == faultless
    # A second look at what was read, for every entry, would take minutes.
    assert time.process_time() - started < 20


def test_a_run_of_entries_needs_little_memory() -> None:
    document = b"1"
    for _ in range(4):
        document = b"[" + b",".join([document] * 24) + b"]"
    fault_of(b"[")
    tracemalloc.start()
    try:
        assert fault_of(document) is None
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20_000_000


# Properties.

texts = st.text(st.characters(), max_size=12) | st.text('aé€😀"\\/\n\x7f', max_size=12)
encodable = st.text(max_size=12) | st.text('aé€😀"\\/\n\x7f', max_size=12)


def documents(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    scalars = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings
    ) | st.just(10**300)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=12) | st.dictionaries(strings, inner, max_size=12),
        max_leaves=40,
    )


INDENTS = st.sampled_from([None, 0, 1, "\t", " \r\n"])


@given(documents(texts), INDENTS)
def test_whatever_json_writes_in_ascii_is_json(value: Any, indent: int | str | None) -> None:
    payload = json.dumps(value, allow_nan=False, indent=indent).encode()
    assert is_json(payload)
    assert fault_of(payload) is None


@given(documents(encodable), INDENTS)
def test_whatever_json_writes_in_utf8_is_json(value: Any, indent: int | str | None) -> None:
    payload = json.dumps(value, allow_nan=False, ensure_ascii=False, indent=indent).encode()
    assert is_json(payload)
    assert fault_of(payload) is None


PIECES = (
    *[
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"/",
        b"-",
        b"+",
        b".",
        b"0",
        b"1",
        b"e",
        b" ",
        b"\n",
        b"\r",
        b"\t",
    ],
    *[
        b"true",
        b"null",
        b"NaN",
        b"-Infinity",
        b'"a":',
        b'{"a":1}',
        b"[1]",
        b"[[[[[1]]]]]",
        b"1,2,3,",
        b"\\u12",
        b"\\ud800",
    ],
    *[
        b"\x00",
        b"\x0c",
        b"\x7f",
        b"\x99",
        b"\xc3",
        b"\xc3\xa9",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xff",
        b"'",
        b"#",
        b"a",
    ],
)
edits = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.sampled_from(PIECES) | st.just(b"")), min_size=1, max_size=4
)


def edit(payload: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, piece in changes:
        at = place % (len(payload) + 1)
        payload = payload[:at] + piece + payload[at + removed :]
    return payload


mutated = st.builds(
    lambda value, ascii_only, indent, changes: edit(
        json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(), changes
    ),
    documents(encodable),
    st.booleans(),
    INDENTS,
    edits,
)
tokens = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
payloads = mutated | tokens | st.binary(max_size=20)


def refuse(constant: str) -> Any:
    raise ValueError(constant)


def stdlib_reads(payload: bytes) -> bool:
    """What json.loads takes, less the known differences.

    Known differences: NaN and infinities (refused by Jackson), a byte order mark (skipped by Jackson), UTF-16 and
    UTF-32 (refused here), depth and length (the documents of this test stay below any limit).
    """
    mark = b"\xef\xbb\xbf"
    try:
        text = (payload[3:] if payload.startswith(mark) and len(payload) > 3 else payload).decode()
        json.loads(text, strict=True, parse_constant=refuse)
    except ValueError:
        return False
    return True


@given(payloads)
@example(b"\xef\xbb\xbf")
@example(b"\xef\xbb\xbf1")
@example(b"1\x00")
def test_the_standard_library_agrees(payload: bytes) -> None:
    assert is_json(payload) == stdlib_reads(payload)


@given(payloads)
def test_a_fault_is_found_exactly_where_there_is_no_json(payload: bytes) -> None:
    fault = fault_of(payload)
    assert (fault is None) == is_json(payload)
    if fault:
        lines = re.split(rb"\r\n|\r|\n", payload)
        assert 1 <= fault.line <= len(lines)
        # One further than the end of the line, or behind the line break that ended a token.
        assert 0 <= fault.column <= len(lines[fault.line - 1]) + 2
        assert fault_message(fault).encode().endswith(f"column: {fault.column}]".encode())


@given(payloads)
@example(b"[[[[[0]]]],[1,2,[3,[4,[5,[6]]]]],7]")
@example(b'{"a":{"b":{"c":{"d":{"e":1}}}},"f":[[[[[]]]]],"g":2}')
@example(b"[" + b"[1,2,3,4,5,6,7,8,9]," * 60 + b'"\xff"]')
def test_runs_change_nothing(payload: bytes) -> None:
    fast = fault_of(payload)
    nothing = re.compile(rb"(?!)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_run", lambda _opener, _levels: nothing)
        patch.setattr(module, "_FIRST_NAME", nothing)
        assert fault_of(payload) == fast
