"""Function results as HTTP responses, and the preludes of streamed ones: golden ones, bad ones, header injection."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.http_event import Gateway
from venturekit.protocol.http_response import (
    HEADERS_LIMIT_BYTES,
    PRELUDE_LIMIT_BYTES,
    HttpResponse,
    InvalidHttpResponseError,
    InvalidPreludeError,
    PreludeParser,
    http_response,
)

FOLDER = Path(__file__).parent / "golden"
RESPONSES = json.loads((FOLDER / "http_responses.json").read_text())
PRELUDES = json.loads((FOLDER / "http_preludes.json").read_text())
NULS = bytes(8)
CONTROL_CHARACTERS = [chr(code) for code in (*range(9), *range(10, 32), 127)]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
likely_responses = st.fixed_dictionaries(
    {},
    optional={
        "statusCode": st.sampled_from([200, "404", 599, 99, None]) | json_values,
        "headers": st.dictionaries(st.text("aA-: \r\n", max_size=4), json_values, max_size=3) | json_values,
        "cookies": st.lists(st.text("a=\r\n", max_size=4), max_size=3) | json_values,
        "body": st.text(max_size=12) | json_values,
        "isBase64Encoded": st.booleans() | json_values,
    },
)
# As a function's JSON can hold them: escaped, or not even JSON.
results = (json_values | likely_responses).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=30)


def golden_response(case: dict[str, Any]) -> HttpResponse:
    wanted = case["response"]
    headers = tuple((name, value) for name, value in wanted["headers"])
    return HttpResponse(wanted["status"], headers, tuple(wanted["cookies"]), wanted.get("body", "").encode())


def described(**fields: Any) -> bytes:
    return json.dumps({"statusCode": 200} | fields).encode()


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["name"])
def test_golden_responses(case: dict[str, Any]) -> None:
    result = case["result"].encode()
    assert http_response(result, Gateway(case["gateway"])) == golden_response(case)
    assert http_response(bytearray(result), Gateway(case["gateway"])) == golden_response(case)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (b"", "the function's result is not JSON"),
        (b"SUCCESS", "the function's result is not JSON"),
        (b'{"statusCode": 200', "the function's result is not JSON"),
        (b"\xff\xfe", "the function's result is not JSON: 'utf-8' codec"),
        (b"NaN", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"[" * 200_000, "nested too deeply"),
        (b"1" * 10_000, "the function's result is not JSON"),
        (b'{"statusCode": null}', "statusCode is null, not a number from 200 to 599"),
        (b'{"statusCode": true}', "statusCode is true"),
        (b'{"statusCode": 200.0}', "statusCode is 200.0"),
        (b'{"statusCode": 0}', "statusCode is 0"),
        (b'{"statusCode": 101}', "statusCode is 101"),
        (b'{"statusCode": 600}', "statusCode is 600"),
        (b'{"statusCode": -200}', "statusCode is -200"),
        (b'{"statusCode": "200 OK"}', 'statusCode is "200 OK"'),
        (b'{"statusCode": "\xd9\xa2\xd9\xa0\xd9\xa0"}', "statusCode is "),
        (b'{"statusCode": []}', "statusCode is a list"),
        (described(headers=[]), "headers are a list, not an object"),
        (described(headers="x: y"), 'headers are "x: y", not an object'),
        (described(headers={"x": ["1"]}), "the header x is a list, not a text"),
        (described(headers={"x": {}}), "the header x is an object, not a text"),
        (described(headers={"": "x"}), '"" cannot be the name of a header'),
        (described(headers={"a b": "x"}), '"a b" cannot be the name of a header'),
        (described(headers={"a:": "x"}), "cannot be the name of a header"),
        (described(headers={"é": "x"}), "cannot be the name of a header"),
        (described(headers={"content-length": "1\r\n"}), "the header content-length holds the control character"),
        (described(cookies="a=1"), 'cookies are "a=1" and must be a list of texts'),
        (described(cookies=[1]), "cookies are a list and must be a list of texts"),
        (described(body={"a": 1}), "body is an object, not a text: write it as JSON"),
        (described(body=[1]), "body is a list, not a text"),
        (described(body=3), "body is 3, not a text"),
        (described(body="x", isBase64Encoded="true"), 'isBase64Encoded is "true", not true or false'),
        (described(body="x", isBase64Encoded=1), "isBase64Encoded is 1"),
        (described(body="*", isBase64Encoded=True), "body is no base64"),
        (described(body="YQ", isBase64Encoded=True), "body is no base64"),
        (described(body="YQ==\n", isBase64Encoded=True), "body is no base64"),
        (described(body="é", isBase64Encoded=True), "body is no base64"),
        (described(headers={"x": "v" * HEADERS_LIMIT_BYTES}), f"bytes long, more than {HEADERS_LIMIT_BYTES}"),
        (described(headers={"x": "é" * (HEADERS_LIMIT_BYTES // 2)}), f"bytes long, more than {HEADERS_LIMIT_BYTES}"),
        (described(cookies=["c" * 4096] * 16), f"bytes long, more than {HEADERS_LIMIT_BYTES}"),
        (described(headers={f"x-{n}": "" for n in range(20_000)}), f"more than {HEADERS_LIMIT_BYTES}"),
    ],
)
def test_results_that_are_no_response(result: bytes, reason: str) -> None:
    with pytest.raises(InvalidHttpResponseError) as raised:
        http_response(result)
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("field", ["header", "number", "cookie", "set-cookie"])
@pytest.mark.parametrize("character", CONTROL_CHARACTERS, ids=lambda character: f"{ord(character):02x}")
def test_no_header_can_be_smuggled_in(field: str, character: str) -> None:
    text = f"a{character}b"
    fields: dict[str, Any] = {
        "header": {"headers": {"x-a": text}},
        "number": {"headers": {text: 1}},
        "cookie": {"cookies": [text]},
        "set-cookie": {"headers": {"Set-Cookie": text}},
    }[field]
    for gateway in Gateway:
        with pytest.raises(InvalidHttpResponseError, match=r"control character|cannot be the name"):
            http_response(described(**fields), gateway)
        with pytest.raises(InvalidPreludeError, match=r"control character|cannot be the name"):
            PreludeParser(gateway).feed(json.dumps(fields).encode() + NULS)


@settings(deadline=None, max_examples=400)
@given(results, st.sampled_from(Gateway))
def test_every_result_is_a_response_or_refused(result: bytes, gateway: Gateway) -> None:
    try:
        response = http_response(result, gateway)
    except InvalidHttpResponseError:
        return
    assert 200 <= response.status < 600
    lines = response.header_lines()
    assert all(not set(line) & {*range(9), *range(10, 32), 127} for pair in lines for line in pair)
    assert all(name == name.lower() and value == value.strip(b" \t") for name, value in lines)
    assert {name for name, _ in lines} >= {b"content-type"}
    assert {name for name, _ in lines} & {b"content-length", b"transfer-encoding", b"connection"} == set()


@settings(deadline=None, max_examples=200)
@given(
    st.integers(200, 599).filter(lambda status: status not in {204, 304}),
    st.dictionaries(st.text("abcxyz-", min_size=1), st.text("aé ~\t", max_size=9), max_size=4),
    st.lists(st.text("ab=;", max_size=9), max_size=3),
    st.binary(max_size=60),
)
def test_what_a_function_describes_is_what_leaves(
    status: int, headers: dict[str, str], cookies: list[str], body: bytes
) -> None:
    encoded = {"body": b64encode(body).decode(), "isBase64Encoded": True}
    response = http_response(
        json.dumps({"statusCode": status, "headers": headers, "cookies": cookies} | encoded).encode()
    )
    assert (response.status, response.cookies, response.body) == (status, tuple(cookies), body)
    assert dict(response.headers) == {"content-type": "application/json"} | {
        name: value.strip(" \t") for name, value in headers.items()
    }


def test_headers_as_they_are_sent() -> None:
    result = described(headers={"X-U": "ü", "X-Half": "\ud800"}, cookies=["a=1", "b=2"])
    assert http_response(result).header_lines() == [
        (b"x-u", "ü".encode()),
        (b"x-half", b"?"),
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


@pytest.mark.parametrize("case", PRELUDES, ids=lambda case: case["name"])
@pytest.mark.parametrize("body", [b"", b"body", NULS + b"{}" + NULS], ids=["empty", "text", "nuls"])
@pytest.mark.parametrize("size", [1, 3, 8, 1000])
def test_golden_preludes_in_pieces(case: dict[str, Any], body: bytes, size: int) -> None:
    stream = case["prelude"].encode() + NULS + body
    parser, rest = PreludeParser(Gateway(case["gateway"])), b""
    response = None
    for at in range(0, len(stream), size):
        if response is None:
            response = parser.feed(stream[at : at + size])
        else:
            rest += stream[at : at + size]
    assert response is not None
    assert response._replace(body=b"") == golden_response(case)
    assert response.body + rest == body


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60), st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_a_prelude_ends_wherever_the_pieces_do(body: bytes, sizes: list[int]) -> None:
    stream = b'{"statusCode":201}' + NULS + body
    parser, at, turn, response = PreludeParser(), 0, 0, None
    while response is None:
        size = sizes[turn % len(sizes)]
        response = parser.feed(memoryview(stream)[at : at + size])
        at, turn = at + size, turn + 1
    assert (response.status, response.body + stream[at:]) == (201, body)


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (NULS, "the prelude is not JSON"),
        (b"{" + NULS, "the prelude is not JSON"),
        (b"{\xff" + NULS, "the prelude is not JSON"),
        (b'{"statusCode": NaN}' + NULS, "NaN is no JSON number"),
        (b"[]" + NULS, "the prelude is a list, not an object"),
        (b'"text"' + NULS, 'the prelude is "text", not an object'),
        (b"null" + NULS, "the prelude is null, not an object"),
        (b'{"statusCode": 700}' + NULS, "the prelude: statusCode is 700"),
        (b'{"headers": 1}' + NULS, "the prelude: headers are 1"),
        (b'{"headers": {"x": [["a"]]}}' + NULS, "the prelude: the header x is a list"),
        (b'{"cookies": [null]}' + NULS, "the prelude: cookies are a list"),
        (b"<html>", "begins with b'<html>', not with a JSON object and 8 NULs"),
        (b"\r\n data: 1", "begins with b'data: 1'"),
        (b"{" + b" " * (PRELUDE_LIMIT_BYTES + 20), f"longer than {PRELUDE_LIMIT_BYTES} bytes"),
        (b"{" + b" " * PRELUDE_LIMIT_BYTES + b"}" + NULS, f"longer than {PRELUDE_LIMIT_BYTES} bytes"),
        (b'{"a":' * 100_000 + NULS, "nested too deeply"),
    ],
)
def test_streams_without_a_prelude(stream: bytes, reason: str) -> None:
    with pytest.raises(InvalidPreludeError) as raised:
        PreludeParser().feed(stream)
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 400


def test_the_longest_prelude() -> None:
    prelude = b"{}".ljust(PRELUDE_LIMIT_BYTES)
    parser = PreludeParser()
    for at in range(0, len(prelude), 65_536):
        assert parser.feed(prelude[at : at + 65_536]) is None
    for position in range(7):
        assert parser.feed(b"\0") is None, position
    assert parser.feed(b"\0") is not None


@pytest.mark.parametrize("stream", [b"", b"{}", b"{}" + NULS[1:]])
def test_a_stream_that_ends_before_its_prelude(stream: bytes) -> None:
    parser = PreludeParser()
    assert parser.feed(stream) is None
    with pytest.raises(InvalidPreludeError, match=f"ended after {len(stream)} bytes"):
        parser.end()
