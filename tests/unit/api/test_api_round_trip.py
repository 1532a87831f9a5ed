"""Every operation of the model, to and fro, between botocore and the edge."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.exceptions import ClientError
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import api_error
from venturekit.service.api.model import Shape, service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.api.parse import parse_request

if TYPE_CHECKING:
    from venturekit.service.api.registry import Call

MODEL = service_model()
NAMES = list(MODEL.operations)
ERRORS = sorted(MODEL.errors)


def test_the_model_has_all_operations_and_errors_known_today() -> None:
    assert len(NAMES) >= 91
    assert len(ERRORS) >= 58


def read(value: Any) -> Any:
    """A result of botocore with its streams read."""
    if hasattr(value, "read"):
        return value.read()
    if type(value).__name__ == "EventStream":
        return list(value)
    return value


@pytest.mark.parametrize("name", NAMES)
def test_botocore_and_the_edge_understand_each_other(
    name: str, loopback: Any, edge: Any, registry: Any, faults: list[BaseException], sample: Any, frame: Any
) -> None:
    operation = MODEL.operations[name]
    sent = sample(operation.input)
    output = expected = sample(operation.output) if operation.output else {}
    if name == "InvokeWithResponseStream":
        frames = frame("PayloadChunk", "application/octet-stream", b"\x00chunk") + frame(
            "InvokeComplete", "application/json", b'{"ErrorCode":"Unhandled"}'
        )
        output = {**output, "EventStream": frames, "ResponseStreamContentType": "application/vnd.amazon.eventstream"}
        chunks = [{"PayloadChunk": {"Payload": b"\x00chunk"}}, {"InvokeComplete": {"ErrorCode": "Unhandled"}}]
        expected = {**output, "EventStream": chunks}
    for member in operation.output.members.values() if operation.output else ():
        if member.location == "statusCode":
            output, expected = {**output, member.name: 200}, {**expected, member.name: 200}
    seen: list[Call] = []

    @registry.serve(name)
    async def handle(call: Call) -> dict[str, Any]:
        seen.append(call)
        return output

    loopback.edge = edge
    result = loopback.call(name, sent)
    assert not faults
    assert [(call.operation, call.members, call.request_id) for call in seen] == [(name, sent, "request-1")]
    metadata = result.pop("ResponseMetadata")
    assert {key: read(value) for key, value in result.items()} == expected
    assert metadata["RequestId"] == "request-1"


@pytest.mark.parametrize("name", NAMES)
def test_required_members_alone_and_an_empty_output(
    name: str, loopback: Any, edge: Any, registry: Any, faults: list[BaseException], sample: Any
) -> None:
    operation = MODEL.operations[name]
    sent = {m.name: sample(m.shape) for m in operation.input.members.values() if m.required}
    seen: list[Call] = []

    @registry.serve(name)
    async def handle(call: Call) -> dict[str, Any]:
        seen.append(call)
        return {}

    loopback.edge = edge
    result = loopback.call(name, sent)
    assert not faults
    # botocore adds tokens that make a call idempotent when the caller gives none.
    received = {key: value for key, value in seen[0].members.items() if key != "ClientToken" or key in sent}
    assert received == sent
    expected_status = 204 if name == "DeleteFunction" else operation.status
    assert result["ResponseMetadata"]["HTTPStatusCode"] == expected_status


@pytest.mark.parametrize("code", ERRORS)
def test_botocore_raises_every_modelled_error(code: str, loopback: Any, edge: Any, registry: Any, sample: Any) -> None:
    name = next(name for name in NAMES if code in MODEL.operations[name].errors)

    @registry.serve(name)
    async def handle(call: Call) -> dict[str, Any]:
        raise api_error(code, "what is wrong: \u00e9")

    loopback.edge = edge
    with pytest.raises(ClientError) as caught:
        loopback.call(name, sample(MODEL.operations[name].input))
    assert isinstance(caught.value, getattr(loopback.client.exceptions, code))
    response = caught.value.response
    status = MODEL.errors[code].status
    assert response["Error"]["Code"] == code
    assert response["Error"]["Message"] == "what is wrong: \u00e9"
    assert response["Type"] == ("Service" if status >= 500 else "User")
    assert response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert response["ResponseMetadata"]["RequestId"] == "request-1"


def test_a_throttle_has_its_reason_and_its_header(loopback: Any, edge: Any, registry: Any) -> None:
    @registry.serve("Invoke")
    async def handle(call: Call) -> dict[str, Any]:
        reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
        raise api_error("TooManyRequestsException", "Rate Exceeded.", Reason=reason, retryAfterSeconds=3)

    loopback.edge = edge
    with pytest.raises(loopback.client.exceptions.TooManyRequestsException) as caught:
        loopback.client.invoke(FunctionName="f")
    assert caught.value.response["retryAfterSeconds"] == "3"
    assert loopback.answers[-1].body == (
        b'{"Type":"User","message":"Rate Exceeded.","Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}'
    )


BOTOCORE_MODEL = botocore.session.Session().get_service_model("lambda")
SERIALIZER = create_serializer("rest-json", include_validation=False)
TABLE = OperationTable(MODEL.operations.values())
HEADER_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


def values(shape: Shape) -> st.SearchStrategy[Any]:
    """Any value of the type of ``shape``; constraints are not looked at."""
    match shape.kind:
        case "structure":
            inner = {m.name: values(m.shape) for m in shape.members.values()}
            return st.fixed_dictionaries({}, optional=inner)
        case "list":
            assert shape.element is not None
            return st.lists(values(shape.element), max_size=3)
        case "map":
            assert shape.element is not None
            return st.dictionaries(ANY_TEXT, values(shape.element), max_size=3)
        case "integer":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "double" | "float":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "timestamp":
            moments = st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC))
            return moments.map(lambda moment: moment.replace(microsecond=0))
        case "blob":
            return st.binary(max_size=30)
        case _:
            return ANY_TEXT


def member_values(member: Any, *, is_payload: bool) -> st.SearchStrategy[Any]:
    if member.location == "header":
        return HEADER_TEXT
    if member.location == "uri" and member.shape.kind == "string":
        return st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
    if is_payload and member.shape.kind == "structure":
        return values(member.shape).filter(bool)
    if (is_payload and member.shape.kind == "blob") or (
        member.location == "querystring" and member.shape.kind == "list"
    ):
        return values(member.shape).filter(bool)
    return values(member.shape)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    operation = MODEL.operations[draw(st.sampled_from(NAMES))]
    members = operation.input.members.values()
    strategies = {m.name: member_values(m, is_payload=m.name == operation.input.payload) for m in members}
    needed = {m.name: strategies[m.name] for m in members if m.location == "uri" or m.name == "InvokeArgs"}
    rest = {name: strategy for name, strategy in strategies.items() if name not in needed}
    return operation.name, draw(st.fixed_dictionaries(needed, optional=rest))


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(requests())
def test_whatever_botocore_serializes_is_parsed_back(request: tuple[str, dict[str, Any]]) -> None:
    name, members = request
    serialized = SERIALIZER.serialize_to_request(dict(members), BOTOCORE_MODEL.operation_model(name))
    prepare_request_dict(serialized, endpoint_url="http://127.0.0.1:9001")
    parts = urlsplit(serialized["url"])
    target = (parts.path + (f"?{parts.query}" if parts.query else "")).encode()
    headers = {key.lower().encode(): value.encode() for key, value in serialized["headers"].items()}
    match = TABLE.match(serialized["method"], target)
    assert match.operation.name == name
    body = serialized["body"]
    parsed = parse_request(match, headers, body.encode() if isinstance(body, str) else body)
    assert parsed == members
