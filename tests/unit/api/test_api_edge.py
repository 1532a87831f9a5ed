"""Requests through the whole edge."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.edge import INLINE_PARSE_BYTES, Answer, Edge
from venturekit.service.api.errors import api_error
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.api.parse import parse_request
from venturekit.service.api.registry import Call, Registry

FUNCTIONS = b"/2015-03-31/functions"
MODEL = service_model()


def ask(edge: Edge, method: bytes, target: bytes, body: bytes = b"", **options: Any) -> Answer:
    return asyncio.run(edge.answer(method, target, {}, body, "id-1", **options))


def errors_of(answer: Answer) -> tuple[int, str, Any]:
    headers = dict(answer.headers)
    assert headers[b"Content-Type"] == b"application/json"
    assert headers[b"x-amzn-RequestId"] == b"id-1"
    return answer.status, headers[b"x-amzn-ErrorType"].decode(), json.loads(answer.body)


def test_a_handler_gets_its_call_and_its_output_goes_out(edge: Edge, registry: Registry) -> None:
    calls: list[Call] = []

    @registry.serve("GetFunction")
    async def get_function(call: Call) -> dict[str, Any]:
        calls.append(call)
        return {"Tags": {"a": "b"}}

    answer = ask(edge, b"GET", FUNCTIONS + b"/f%3A1?Qualifier=1")
    assert calls == [Call("GetFunction", {"FunctionName": "f:1", "Qualifier": "1"}, "id-1")]
    assert answer == Answer(
        200, [(b"Content-Type", b"application/json"), (b"x-amzn-RequestId", b"id-1")], b'{"Tags":{"a":"b"}}'
    )


def test_an_answer_without_a_body_has_no_content_type(edge: Edge, registry: Registry) -> None:
    @registry.serve("DeleteAlias")
    async def delete_alias(call: Call) -> dict[str, Any]:
        return {}

    answer = ask(edge, b"DELETE", FUNCTIONS + b"/f/aliases/a")
    assert answer == Answer(204, [(b"x-amzn-RequestId", b"id-1")], b"")


def test_an_operation_that_is_not_served_says_so(edge: Edge) -> None:
    status, code, body = errors_of(ask(edge, b"GET", b"/2018-10-31/layers?find=LayerVersion"))
    assert (status, code) == (501, "NotImplementedException")
    assert body == {
        "Type": "Service",
        "message": "The operation GetLayerVersionByArn is not served here: not built. "
        "docs/compatibility.md lists what is.",
    }


def test_errors_of_every_step_are_answers(edge: Edge, registry: Registry, faults: list[BaseException]) -> None:
    @registry.serve("CreateFunction")
    async def create_function(call: Call) -> dict[str, Any]:
        raise api_error("ResourceConflictException", "Function already exist: f")

    assert errors_of(ask(edge, b"GET", b"/nowhere"))[:2] == (404, "UnknownOperationException")
    assert errors_of(ask(edge, b"POST", FUNCTIONS, b"{"))[:2] == (400, "SerializationException")
    status, code, body = errors_of(ask(edge, b"POST", FUNCTIONS, b'{"Role": "nobody"}'))
    assert (status, code, list(body)) == (400, "ValidationException", ["message"])
    good = b'{"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}}'
    status, code, body = errors_of(ask(edge, b"POST", FUNCTIONS, good))
    assert (status, code) == (409, "ResourceConflictException")
    assert body == {"Type": "User", "message": "Function already exist: f"}
    assert not faults


@pytest.mark.parametrize("output", [{"Nonsense": 1}, None, {"Tags": [1]}])
def test_a_fault_is_reported_and_not_shown(
    output: Any, edge: Edge, registry: Registry, faults: list[BaseException]
) -> None:
    @registry.serve("GetFunction")
    async def get_function(call: Call) -> dict[str, Any]:
        return output

    status, code, body = errors_of(ask(edge, b"GET", FUNCTIONS + b"/f"))
    assert (status, code) == (500, "ServiceException")
    assert body == {
        "Type": "Service",
        "Message": "The service failed while it answered this request; its log has the cause.",
    }
    assert len(faults) == 1
    assert faults[0].__traceback__ is not None


def test_an_exception_of_a_handler_is_a_fault(edge: Edge, registry: Registry, faults: list[BaseException]) -> None:
    @registry.serve("GetFunction")
    async def get_function(call: Call) -> dict[str, Any]:
        raise KeyError("secret")

    answer = ask(edge, b"GET", FUNCTIONS + b"/f")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert [type(fault) for fault in faults] == [KeyError]


@pytest.mark.parametrize(
    ("method", "target", "limit", "name"),
    [
        (b"POST", FUNCTIONS, 70167211, "CreateFunction"),
        (b"PUT", FUNCTIONS + b"/f/code", 70167211, "UpdateFunctionCode"),
        (b"PUT", FUNCTIONS + b"/f/configuration", 6291456, "UpdateFunctionConfiguration"),
        (b"POST", FUNCTIONS + b"/f/invocations", 6291456, "InvokeFunction"),
    ],
)
def test_bounds_of_requests(method: bytes, target: bytes, limit: int, name: str, edge: Edge) -> None:
    assert edge.request_limit_bytes(method, target) == limit
    message = f"Request must be smaller than {limit} bytes for the {name} operation"
    expected = (413, "RequestEntityTooLargeException", {"message": message})
    assert errors_of(edge.refuse_body(method, target, "id-1")) == expected


def test_a_body_over_its_bound_is_not_parsed(edge: Edge, registry: Registry) -> None:
    @registry.serve("UpdateFunctionConfiguration")
    async def update(call: Call) -> dict[str, Any]:
        return {"FunctionName": call.members["FunctionName"]}

    target = FUNCTIONS + b"/f/configuration"
    assert ask(edge, b"PUT", target, b"{}" + b" " * 6291454).status == 200
    assert ask(edge, b"PUT", target, b"{" * 6291457).status == 413


def test_refusing_a_body_of_an_unknown_operation(edge: Edge) -> None:
    assert errors_of(edge.refuse_body(b"POST", b"/nowhere", "id-1"))[:2] == (404, "UnknownOperationException")


def test_a_large_body_is_parsed_beside_the_loop_and_given_to_who_answers_then(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsing_threads: list[int] = []
    served: list[str] = []
    registries: list[Registry] = []

    def parse(*request: Any) -> dict[str, Any]:
        parsing_threads.append(threading.get_ident())
        return parse_request(*request)

    def operations() -> Registry:
        registry = Registry()
        number = len(registries)
        registries.append(registry)

        @registry.serve("TagResource")
        async def tag_resource(call: Call) -> dict[str, Any]:
            served.append(f"{number} {len(call.members['Tags']['a'])}")
            return {}

        return registry

    monkeypatch.setattr("venturekit.service.api.edge.parse_request", parse)
    target = b"/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af"
    padding = b" " * INLINE_PARSE_BYTES
    for body in (b'{"Tags":{"a":"b"}}', b'{"Tags":{"a":"bc"}}' + padding):
        assert ask(edge, b"POST", target, body, operations=operations).status == 204
    assert [ident == threading.get_ident() for ident in parsing_threads] == [True, False]
    assert served == ["0 1", "2 2"]


REGISTRY = Registry()
REPORTED: list[BaseException] = []
SERVED = Edge(OperationTable(MODEL.operations.values()), report=REPORTED.append)
for _name in MODEL.operations:

    @REGISTRY.serve(_name)
    async def accept(call: Call) -> dict[str, Any]:
        return {}


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(list(MODEL.operations)),
    st.binary(max_size=20),
    st.sampled_from([b"", b"{}", b"[]", b'{"Name":1}', b'{"FunctionName":"f","Tags":{"a":null}}', b"\xff"]),
    st.dictionaries(st.sampled_from([b"x-amz-log-type", b"x-amz-client-context"]), st.binary(max_size=8)),
)
def test_any_request_gets_an_answer_and_none_is_a_fault(
    name: str, noise: bytes, body: bytes, headers: dict[bytes, bytes]
) -> None:
    operation = MODEL.operations[name]
    target = operation.path.partition("{")[0].encode() + noise
    answer = asyncio.run(
        SERVED.answer(operation.method.encode(), target, headers, body, "id-1", operations=lambda: REGISTRY)
    )
    assert not REPORTED
    assert 200 <= answer.status < 500
    assert (answer.status >= 400) == any(key == b"x-amzn-ErrorType" for key, _ in answer.headers)
