"""Handler outputs on the wire, and outputs the model does not have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from venturekit.service.api.model import service_model
from venturekit.service.api.serialize import OutputError, serialize_output

OPERATIONS = service_model().operations
JSON_TYPE = (b"Content-Type", b"application/json")


def serialize(name: str, output: dict[str, Any]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return serialize_output(OPERATIONS[name], output)


def test_members_stand_in_the_order_of_the_model_without_null_and_blanks() -> None:
    output = {"Version": "1", "FunctionName": "f", "Description": None, "VpcConfig": {"SubnetIds": [], "VpcId": None}}
    body = b'{"FunctionName":"f","Version":"1","VpcConfig":{"SubnetIds":[]}}'
    assert serialize("CreateFunction", output) == (201, [JSON_TYPE], body)


def test_text_is_utf8_and_a_lone_surrogate_is_replaced() -> None:
    assert serialize("GetPolicy", {"Policy": "\u00e9\ud800"})[2] == '{"Policy":"\u00e9?"}'.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2019, 11, 13, 23, 0, 21, 479000, tzinfo=UTC), b"1573686021.479"),
        (1573686021.479, b"1573686021.479"),
        (1573686021, b"1573686021"),
        (datetime(2019, 11, 13, 23, 0, 21, tzinfo=UTC), b"1573686021"),
    ],
)
def test_times_are_epoch_seconds(value: Any, text: bytes) -> None:
    assert serialize("GetFunctionEventInvokeConfig", {"LastModified": value})[2] == b'{"LastModified":%b}' % text


@pytest.mark.parametrize("name", ["DeleteAlias", "TagResource"])
def test_an_operation_without_output_has_no_body(name: str) -> None:
    assert serialize(name, {}) == (204, [], b"")


def test_empty_outputs() -> None:
    assert serialize("GetFunctionConcurrency", {}) == (200, [JSON_TYPE], b"{}")
    assert serialize("SendDurableExecutionCallbackHeartbeat", {}) == (200, [JSON_TYPE], b"{}")
    assert serialize("InvokeAsync", {}) == (202, [], b"")
    assert serialize("DeleteFunction", {}) == (204, [], b"")
    assert serialize("DeleteFunction", {"StatusCode": 202}) == (202, [], b"")


def test_headers_status_and_payload_of_an_invoke() -> None:
    output = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "FunctionError": "Un\r\nhandled", "Payload": b"null"}
    headers = [(b"X-Amz-Function-Error", b"Un  handled"), (b"X-Amz-Executed-Version", b"$LATEST"), JSON_TYPE]
    assert serialize("Invoke", output) == (200, headers, b"null")
    assert serialize("Invoke", {"StatusCode": 202}) == (202, [], b"")
    assert serialize("Invoke", {"StatusCode": 204, "Payload": b"dropped"}) == (204, [], b"")
    assert serialize("Invoke", {"Payload": "\u00e9"})[2] == "\u00e9".encode()


@pytest.mark.parametrize(
    ("name", "output", "words"),
    [
        ("GetFunctionConcurrency", {"Reserved": 1}, "GetFunctionConcurrency has no output member Reserved"),
        ("DeleteAlias", {"Name": "a"}, "DeleteAlias has no output member Name"),
        ("GetFunction", {"Code": {"Colour": "red"}}, "Code has no output member Colour"),
        ("GetFunctionConcurrency", {"ReservedConcurrentExecutions": "1"}, "must be of type integer, not str"),
        ("GetFunctionConcurrency", {"ReservedConcurrentExecutions": True}, "must be of type integer, not bool"),
        ("GetFunctionConcurrency", {"ReservedConcurrentExecutions": 1.5}, "must be of type integer, not float"),
        ("GetPolicy", {"Policy": b"{}"}, "must be of type string, not bytes"),
        ("GetFunction", {"Code": "c"}, "must be of type structure, not str"),
        ("ListTags", {"Tags": ["t"]}, "must be of type map, not list"),
        ("ListFunctions", {"Functions": "f"}, "must be of type list, not str"),
        ("GetFunctionEventInvokeConfig", {"LastModified": "now"}, "must be of type timestamp, not str"),
        ("GetFunctionEventInvokeConfig", {"LastModified": datetime(2026, 1, 1)}, "without a time zone"),
        ("GetAlias", {"RoutingConfig": {"AdditionalVersionWeights": {"1": float("nan")}}}, "must be of type double"),
        ("Invoke", {"Payload": {"a": 1}}, "Payload must be bytes, not dict"),
        ("Invoke", {"LogResult": b"x"}, "must be of type string, not bytes"),
        ("CreateFunctionUrlConfig", {"Cors": {"AllowCredentials": 1}}, "must be of type boolean, not int"),
    ],
)
def test_outputs_that_the_model_does_not_have(name: str, output: dict[str, Any], words: str) -> None:
    with pytest.raises(OutputError, match=words):
        serialize(name, output)
