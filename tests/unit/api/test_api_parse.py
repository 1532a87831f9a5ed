"""Typed members out of requests, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.api.parse import parse_request

MODEL = service_model()
TABLE = OperationTable(MODEL.operations.values())
CREATE = ("POST", b"/2015-03-31/functions")
MAPPING = ("POST", b"/2015-03-31/event-source-mappings")
ALIAS = ("POST", b"/2015-03-31/functions/f/aliases")

NOT_A_TIME = "The value of StartingPositionTimestamp is not an ISO 8601 time"
NOT_AN_INTEGER = "STRING_VALUE can not be converted to an Integer (MaxItems)"
NOT_A_LONG = "STRING_VALUE can not be converted to a Long (VersionNumber)"


def parse(line: tuple[str, bytes], body: Any = b"", headers: dict[bytes, bytes] | None = None) -> dict[str, Any]:
    content = body if isinstance(body, (bytes, bytearray)) else json.dumps(body).encode()
    return parse_request(TABLE.match(*line), headers or {}, content)


def test_members_come_in_the_order_of_the_model_and_unknown_ones_are_ignored() -> None:
    members = parse(
        CREATE, {"Role": "r", "Colour": "red", "FunctionName": "f", "Code": {"ZipFile": "aGk=", "Taste": 1}}
    )
    assert list(members) == ["FunctionName", "Role", "Code"]
    assert members["Code"] == {"ZipFile": b"hi"}


def test_null_is_absence_in_a_structure_and_stays_in_lists_and_maps() -> None:
    body = {
        "Handler": None,
        "Layers": [None],
        "Environment": {"Variables": {"A": None}},
        "VpcConfig": {"SubnetIds": None},
    }
    assert parse(CREATE, body) == {"Layers": [None], "Environment": {"Variables": {"A": None}}, "VpcConfig": {}}


def test_a_nested_recursion_setting_is_no_member() -> None:
    line = ("PUT", b"/2024-08-31/functions/f/recursion-config")
    assert parse(line, {"RecursionConfig": {"RecursiveLoop": "Allow"}}) == {"FunctionName": "f"}


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b" {} "])
def test_a_body_without_members(body: bytes) -> None:
    assert parse(CREATE, body) == {}


def test_the_body_of_an_operation_without_body_members_is_not_read() -> None:
    assert parse(("GET", b"/2015-03-31/functions/f"), b"not json") == {"FunctionName": "f"}


def test_payloads_are_taken_as_they_are() -> None:
    invoke = ("POST", b"/2015-03-31/functions/f%3Av/invocations?Qualifier=%24LATEST")
    headers = {b"x-amz-invocation-type": b"Event", b"x-amz-tenant-id": b"t 1", b"content-type": b"text/plain"}
    assert parse(invoke, bytearray(b"\x00not json"), headers) == {
        "FunctionName": "f:v",
        "InvocationType": "Event",
        "Payload": b"\x00not json",
        "Qualifier": "$LATEST",
        "TenantId": "t 1",
    }
    assert parse(("POST", b"/2015-03-31/functions/f/invocations")) == {"FunctionName": "f"}
    assert parse(("POST", b"/2014-11-13/functions/f/invoke-async")) == {"FunctionName": "f", "InvokeArgs": b""}


def test_a_structure_as_payload() -> None:
    line = ("POST", b"/2025-12-01/durable-executions/a/stop")
    assert parse(line, {"ErrorType": "T", "StackTrace": ["1"]}) == {
        "DurableExecutionArn": "a",
        "Error": {"ErrorType": "T", "StackTrace": ["1"]},
    }
    assert parse(line) == {"DurableExecutionArn": "a"}


def test_values_of_the_query_and_the_path() -> None:
    line = b"/2025-12-01/functions/f/durable-executions?Statuses=A&Statuses=B&ReverseOrder=True&MaxItems=5"
    line += b"&StartedAfter=2026-01-02T03:04:05Z&StartedBefore=1767323045"
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse(("GET", line)) == {
        "FunctionName": "f",
        "Statuses": ["A", "B"],
        "StartedAfter": moment,
        "StartedBefore": moment,
        "ReverseOrder": True,
        "MaxItems": 5,
    }
    assert parse(("GET", b"/2018-10-31/layers/l/versions/12"))["VersionNumber"] == 12


def test_text_in_json_is_any_unicode() -> None:
    body = b'{"Description": "\\ud83d\\ude00 \xc3\xa9 \\u0000", "Tags": {"\\ud83d\\ude00": "\\u00e9"}}'
    assert parse(CREATE, body) == {"Description": "\U0001f600 \u00e9 \0", "Tags": {"\U0001f600": "\u00e9"}}


def test_numbers_and_times_in_json() -> None:
    assert parse(CREATE, b'{"Timeout": 3.0}') == {"Timeout": 3}
    moment = {"StartingPositionTimestamp": datetime(2019, 11, 12, 18, 13, 41, 479000, tzinfo=UTC)}
    assert parse(MAPPING, {"StartingPositionTimestamp": 1573582421.479}) == moment
    assert parse(MAPPING, {"StartingPositionTimestamp": "2019-11-12T19:13:41.479+01:00"}) == moment
    weights = parse(ALIAS, {"RoutingConfig": {"AdditionalVersionWeights": {"2": 1}}})["RoutingConfig"]
    assert isinstance(weights["AdditionalVersionWeights"]["2"], float)


@pytest.mark.parametrize(
    ("line", "body", "message"),
    [
        (CREATE, {"FunctionName": 1}, "NUMBER_VALUE can not be converted to a String (FunctionName)"),
        (CREATE, {"FunctionName": True}, "TRUE_VALUE can not be converted to a String (FunctionName)"),
        (CREATE, {"FunctionName": {}}, "START_OBJECT_VALUE can not be converted to a String (FunctionName)"),
        (CREATE, {"Timeout": "3"}, "STRING_VALUE can not be converted to an Integer (Timeout)"),
        (CREATE, {"Timeout": 3.5}, "NUMBER_VALUE can not be converted to an Integer (Timeout)"),
        (CREATE, {"Timeout": 2**31}, "NUMBER_VALUE can not be converted to an Integer (Timeout)"),
        (CREATE, b'{"Timeout": 1e999}', "NUMBER_VALUE can not be converted to an Integer (Timeout)"),
        (CREATE, {"Timeout": False}, "FALSE_VALUE can not be converted to an Integer (Timeout)"),
        (CREATE, {"Publish": "true"}, "STRING_VALUE can not be converted to a Boolean (Publish)"),
        (CREATE, {"Code": "zip"}, "STRING_VALUE can not be converted to a Structure (Code)"),
        (CREATE, {"Code": {"ZipFile": [1]}}, "START_ARRAY_VALUE can not be converted to a Blob (Code.ZipFile)"),
        (CREATE, {"Code": {"ZipFile": "a*b="}}, "The value of Code.ZipFile is not valid base64"),
        (CREATE, {"Code": {"ZipFile": "\u00e9"}}, "The value of Code.ZipFile is not valid base64"),
        (CREATE, {"Layers": "l"}, "STRING_VALUE can not be converted to a List (Layers)"),
        (CREATE, {"Layers": [["l"]]}, "START_ARRAY_VALUE can not be converted to a String (Layers)"),
        (CREATE, {"Tags": []}, "START_ARRAY_VALUE can not be converted to a Map (Tags)"),
        (CREATE, b'{"Description": "a\\ud83db"}', "The value of Description is not Unicode: \\ud83d stands alone"),
        (CREATE, b'{"Layers": ["", "\\ude00"]}', "The value of Layers is not Unicode: \\ude00 stands alone"),
        (CREATE, b'{"Tags": {"\\udfff": ""}}', "The value of Tags is not Unicode: \\udfff stands alone"),
        (CREATE, b'{"Tags": {"a": "\\ude00\\ud83d"}}', "The value of Tags is not Unicode: \\ude00 stands alone"),
        (CREATE, [], "START_ARRAY_VALUE can not be converted to a Structure (the body)"),
        (CREATE, b'"x"', "STRING_VALUE can not be converted to a Structure (the body)"),
        (MAPPING, {"StartingPositionTimestamp": 1e300}, None),
        (MAPPING, {"StartingPositionTimestamp": "noon"}, NOT_A_TIME),
        (
            ALIAS,
            b'{"RoutingConfig": {"AdditionalVersionWeights": {"2": 1' + b"0" * 400 + b"}}}",
            "NUMBER_VALUE can not be converted to a Double (RoutingConfig.AdditionalVersionWeights)",
        ),
        (("GET", b"/2015-03-31/functions?MaxItems=few"), b"", NOT_AN_INTEGER),
        (("GET", b"/2015-03-31/functions?MaxItems="), b"", NOT_AN_INTEGER),
        (("GET", b"/2018-10-31/layers/l/versions/x"), b"", NOT_A_LONG),
    ],
)  # fmt: skip
def test_values_of_another_type(line: tuple[str, bytes], body: Any, message: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        parse(line, body)
    error = caught.value
    assert (error.status, error.code, error.type) == (400, "SerializationException", "User")
    assert message is None or error.message == message


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
        (b"\xff{}", "Invalid UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "Unexpected UTF-8 BOM (decode using utf-8-sig) at line 1, column 1"),
        (b'{"Timeout": NaN}', "NaN is not a JSON number"),
        (b"[" * 100_000, "the document is nested too deeply"),
        (b'{"Timeout": ' + b"9" * 5000 + b"}", None),
    ],
)
def test_a_body_that_is_not_json(body: bytes, detail: str | None) -> None:
    with pytest.raises(ApiError) as caught:
        parse(CREATE, body)
    assert (caught.value.status, caught.value.code) == (400, "SerializationException")
    assert caught.value.message is not None
    prefix = "Could not parse request body into json: "
    assert caught.value.message.startswith(prefix)
    assert detail is None or caught.value.message == prefix + detail


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, bytes]:
    name = draw(st.sampled_from(list(MODEL.operations)))
    members = [m.wire_name for m in MODEL.operations[name].input.members.values()] or ["None"]
    value = draw(JSON | st.dictionaries(st.sampled_from(members), JSON, max_size=4))
    return name, draw(st.sampled_from([json.dumps(value).encode(), draw(st.binary(max_size=40))]))


@settings(deadline=None, max_examples=300)
@given(bodies(), st.dictionaries(st.sampled_from([b"x-amz-log-type", b"x-amz-tenant-id"]), st.binary(max_size=8)))
def test_only_api_errors_leave(request: tuple[str, bytes], headers: dict[bytes, bytes]) -> None:
    name, body = request
    operation = MODEL.operations[name]
    target = operation.path.replace("{VersionNumber}", "1").replace("{", "").replace("}", "")
    members, code = None, ""
    try:
        members = parse_request(TABLE.match(operation.method, target.encode()), headers, body)
    except ApiError as error:
        code = error.code
    assert code == "SerializationException" if members is None else members.keys() <= operation.input.members.keys()
