"""From request lines to operations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.api.errors import ApiError
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable

TABLE = OperationTable(service_model().operations.values())
PATHS = [operation.path for operation in TABLE.operations.values()]


@pytest.mark.parametrize(
    ("method", "target", "name", "parameters"),
    [
        ("GET", b"/2015-03-31/functions", "ListFunctions", {}),
        ("GET", b"/2015-03-31/functions/", "ListFunctions", {}),
        ("GET", b"/2015-03-31/functions/?MaxItems=1", "ListFunctions", {}),
        ("POST", b"/2015-03-31/functions/", "CreateFunction", {}),
        ("GET", b"/2015-03-31/event-source-mappings/", "ListEventSourceMappings", {}),
        ("POST", b"/2014-11-13/functions/f/invoke-async/", "InvokeAsync", {"FunctionName": "f"}),
        ("POST", b"/2014-11-13/functions/f/invoke-async", "InvokeAsync", {"FunctionName": "f"}),
        ("GET", b"/2018-10-31/layers", "ListLayers", {}),
        ("GET", b"/2018-10-31/layers?find=LayerVersion&Arn=x", "GetLayerVersionByArn", {}),
        ("GET", b"/2018-10-31/layers?Arn=x&find=LayerVersion", "GetLayerVersionByArn", {}),
        ("GET", b"/2018-10-31/layers?find=Other", "ListLayers", {}),
        (
            "GET",
            b"/2019-09-30/functions/f/provisioned-concurrency?List=ALL",
            "ListProvisionedConcurrencyConfigs",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            b"/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            "GetProvisionedConcurrencyConfig",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            b"/2019-09-25/functions/f/event-invoke-config/list",
            "ListFunctionEventInvokeConfigs",
            {"FunctionName": "f"},
        ),
        ("PUT", b"/2019-09-25/functions/f/event-invoke-config", "PutFunctionEventInvokeConfig", {"FunctionName": "f"}),
        (
            "POST",
            b"/2019-09-25/functions/f/event-invoke-config",
            "UpdateFunctionEventInvokeConfig",
            {"FunctionName": "f"},
        ),
        (
            "GET",
            b"/2017-03-31/tags/arn%3Aaws%3Alambda%3Ax%2Fy%2fz",
            "ListTags",
            {"Resource": "arn:aws:lambda:x/y/z"},
        ),
        ("GET", b"/2017-03-31/tags/arn:aws:lambda", "ListTags", {"Resource": "arn:aws:lambda"}),
        ("GET", b"/2015-03-31/functions/a%2525b", "GetFunction", {"FunctionName": "a%25b"}),
        ("GET", b"/2015-03-31/functions/a+b", "GetFunction", {"FunctionName": "a+b"}),
        ("POST", b"/2015-03-31/functions//invocations", "Invoke", {"FunctionName": ""}),
        (
            "GET",
            b"/2025-12-01/durable-executions/arn%2Fa%2Fb/history",
            "GetDurableExecutionHistory",
            {"DurableExecutionArn": "arn/a/b"},
        ),
    ],
)
def test_addresses(method: str, target: bytes, name: str, parameters: dict[str, str]) -> None:
    match = TABLE.match(method, target)
    assert (match.operation.name, match.path_parameters) == (name, parameters)


def test_the_query_keeps_order_repetition_and_blanks() -> None:
    match = TABLE.match("DELETE", b"/2017-03-31/tags/x?tagKeys=b&tagKeys=a%20c&tagKeys=&tagKeys=d+e&%C3%A9=1")
    assert match.query == [("tagKeys", "b"), ("tagKeys", "a c"), ("tagKeys", ""), ("tagKeys", "d e"), ("\u00e9", "1")]


@pytest.mark.parametrize("target", [b"/", b"/2015-03-31", b"/nothing/here", b"/2015-03-31/functions/f//", b"//"])
def test_an_unknown_path(target: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        TABLE.match("GET", target)
    assert (caught.value.status, caught.value.code) == (404, "UnknownOperationException")
    assert "Allow" not in caught.value.headers


def test_a_known_path_with_another_method_names_the_methods() -> None:
    with pytest.raises(ApiError) as caught:
        TABLE.match("PATCH", b"/2015-03-31/functions/f")
    assert (caught.value.status, caught.value.code) == (404, "UnknownOperationException")
    assert caught.value.headers == {"Allow": "DELETE, GET"}
    assert caught.value.message == (
        "The path /2015-03-31/functions/f is not served for PATCH; its methods are: DELETE, GET"
    )


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (b"http://localhost/2015-03-31/functions", "begins with '/'"),
        (b"", "begins with '/'"),
        (b"*", "begins with '/'"),
        (b"/2015-03-31/functions/%FF", "path is not UTF-8"),
        (b"/2015-03-31/functions/f?a=%FF", "query is not UTF-8"),
        (b"/2015-03-31/functions/f?\xff", "query is not UTF-8"),
        (b"/2015-03-31/functions/f?" + b"a=1&" * 1001, "more than 1000 parameters"),
    ],
)
def test_targets_that_cannot_be_read(target: bytes, words: str) -> None:
    with pytest.raises(ApiError, match=words) as caught:
        TABLE.match("GET", target)
    assert (caught.value.status, caught.value.code) == (400, "MalformedHttpRequestException")


FRAGMENTS = st.sampled_from([path.encode() for path in PATHS])
NOISE = st.binary(max_size=60)
TARGETS = st.one_of(
    NOISE,
    NOISE.map(lambda noise: b"/" + noise),
    st.tuples(FRAGMENTS, NOISE).map(b"".join),
    st.tuples(FRAGMENTS, st.just(b"?"), NOISE).map(b"".join),
)


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.text(max_size=10)), TARGETS)
def test_only_api_errors_leave(method: str, target: bytes) -> None:
    match, status = None, 0
    try:
        match = TABLE.match(method, target)
    except ApiError as error:
        status = error.status
    if match is None:
        assert status in (400, 404)
        return
    assert match.operation.method == method
    names = {m.wire_name for m in match.operation.input.members.values() if m.location == "uri"}
    assert match.path_parameters.keys() == names
