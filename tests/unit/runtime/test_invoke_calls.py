"""``invoke()`` with a scripted Lambda: what is sent, what becomes of the answer, propagation, deadlines, fallbacks."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.support import ARN, TRACE, Context, data, v2
from venturekit.protocol.function_names import InvalidRouteError
from venturekit.protocol.http_event import read_http_event
from venturekit.runtime import (
    InvokeError,
    InvokeResult,
    RequestContext,
    ainvoke,
    create_invoker,
    default_function_name_resolver,
    handler,
    invoke,
    task_handler,
)
from venturekit.runtime._process import state
from venturekit.runtime.invocation.call import ProjectUnknownError
from venturekit.runtime.invocation.errors import (
    BadResponseError,
    FunctionFailedError,
    InvokeTimeoutError,
    ServerStatusError,
    TargetNotFoundError,
    ThrottledError,
    TransportError,
)
from venturekit.runtime.invocation.request import LambdaReply, LambdaRequest
from venturekit.runtime.patterns import configure_circuit_breaker


class Scripted:
    """A Lambda that gives answers one after the other, the last for ever; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.requests: list[LambdaRequest] = []
        self._answers = list(answers) or [LambdaReply(200, b"null")]

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        return self.invoke(request)

    @property
    def event(self) -> Any:
        return json.loads(self.requests[-1].payload)


def route(status: int = 200, body: Any = None, headers: Any = None, **more: Any) -> LambdaReply:
    text = body if isinstance(body, str) else json.dumps(body)
    answer = {"statusCode": status, "headers": headers or {"content-type": "application/json"}, "body": text, **more}
    return LambdaReply(200, json.dumps(answer).encode())


def enveloped(body: Any) -> LambdaReply:
    return route(body={"data": body}, headers={"Content-Type": "application/json", "X-VentureKit-Envelope": "data"})


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "shop")
    monkeypatch.setenv("VENTURE_STAGE", "dev")


def script(*answers: Any) -> Scripted:
    scripted = Scripted(*answers)
    state.invoker = scripted
    return scripted


async def _awaited(*target: Any, **options: Any) -> Any:
    return await ainvoke(*target, **options)


def both(*target: Any, **options: Any) -> Any:
    """Kept for the parameter ``call``."""
    return asyncio.run(_awaited(*target, **options))


CALLS = pytest.mark.parametrize("call", [invoke, both], ids=["invoke", "ainvoke"])

# --- names ----------------------------------------------------------------------------------------------------------


@CALLS
@pytest.mark.parametrize(
    ("target", "options", "name"),
    [
        (("users/list",), {}, "shop-users-list"),
        (("/users/list/",), {}, "shop-users-list"),
        (("tasks/{id}",), {"path_params": {"id": 1}}, "shop-tasks-_id_"),
        (("users/list",), {"project": "billing"}, "billing-users-list"),
        (("",), {}, "shop-index"),
        ((), {"function": "process-orders"}, "shop-dev-fn-process-orders"),
        (({"function": "process-orders"},), {}, "shop-dev-fn-process-orders"),
        (({"function": "send-invoice", "project": "billing"},), {}, "billing-dev-fn-send-invoice"),
        ((), {"function": "send-invoice", "project": "billing"}, "billing-dev-fn-send-invoice"),
    ],
)
def test_the_name_is_that_of_the_seeds(call: Any, target: Any, options: Any, name: str) -> None:
    scripted = script(route())
    if "function" in str(target) + str(options):
        scripted = script()
    assert call(*target, **options).target == name
    assert scripted.requests[0].function_name == name


def test_a_prefix_of_ones_own() -> None:
    scripted = Scripted(route())
    invoker = create_invoker(invoker=scripted, resolver=default_function_name_resolver("my-custom-prefix"))
    invoker("users/get")
    invoker(function="job")
    invoker("users/get", project="other")
    assert [request.function_name for request in scripted.requests] == [
        "my-custom-prefix-users-get",
        "my-custom-prefix-dev-fn-job",
        "other-users-get",
    ]


@CALLS
@pytest.mark.parametrize(
    ("target", "options", "kind", "text"),
    [
        ((), {}, TypeError, "a route, like 'users/{id}', or function='name'"),
        (("users",), {"function": "f"}, TypeError, "a route"),
        (({},), {}, TypeError, "a route"),
        (({"function": "f", "stage": "prod"},), {}, TypeError, "and not stage"),
        ((), {"function": "f", "body": 1}, TypeError, "a function gets payload="),
        ((), {"function": "f", "method": "GET"}, TypeError, "a function gets payload="),
        (("users",), {"payload": 1}, TypeError, "a route gets body="),
        (("users",), {"mode": "later"}, ValueError, "'sync' or 'async', and not 'later'"),
        (("users",), {"retries": -1}, ValueError, "cannot be negative"),
        (("users",), {"pathParams": {}}, TypeError, "invoke() has no option pathParams"),
        ((5,), {}, TypeError, "5 cannot be called: a route"),
        (("users",), {"method": "GET /\r\n"}, ValueError, "is no method of HTTP"),
        (("users",), {"method": 5}, ValueError, "5 is no method of HTTP"),
        (("users",), {"headers": {"X-A": "a\r\nX-B: 1"}}, ValueError, "the header 'X-A' holds"),
        (("users",), {"headers": {"X A": "a"}}, ValueError, "the header 'X A' holds"),
        (("users",), {"trace": "Root=1\r\nX-B: 1"}, ValueError, "trace is a whole trace header"),
        (("users",), {"trace": {"root": "1"}}, ValueError, "trace is a whole trace header"),
        (("users",), {"fallback": {"statusCode": "gone"}}, ValueError, "the status of the fallback is 'gone'"),
        (("users",), {"fallback": {"status_code": 99}}, ValueError, "the status of the fallback is 99"),
        (("users",), {"timeout_ms": 0}, ValueError, "must be positive, and is 0"),
        (("users",), {"unknown": 1}, TypeError, "unknown"),
        (("users",), {"result_type": object()}, TypeError, "is no schema"),
        (("us ers",), {}, InvalidRouteError, "is no route"),
        (("users/{id}",), {}, InvalidRouteError, "needs id in path_params"),
        (("users/{id}",), {"path_params": {"id": ""}}, InvalidRouteError, "needs id in path_params"),
        (("users",), {"path_params": {"id": 1}}, InvalidRouteError, "has no id in path_params"),
        ((), {"function": "a/b"}, InvalidRouteError, "is no name of a function"),
        (("users",), {"body": {"a": object()}}, TypeError, "JSON cannot hold"),
    ],
)
def test_a_call_that_makes_no_sense_is_not_made(call: Any, target: Any, options: Any, kind: Any, text: str) -> None:
    scripted = script(route())
    with pytest.raises(kind) as caught:
        call(*target, **options)
    assert text in str(caught.value)
    assert scripted.requests == []


@pytest.mark.parametrize(
    ("variable", "text"), [("VENTURE_PROJECT_NAME", "project="), ("VENTURE_STAGE", "VENTURE_STAGE")]
)
def test_what_a_name_lacks_is_said(variable: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(ProjectUnknownError, match=text):
        invoke(function="job")


# --- what is sent ---------------------------------------------------------------------------------------------------


@CALLS
def test_a_route_gets_the_event_of_a_request(call: Any) -> None:
    scripted = script(route())
    call(
        "users/{id}/notes",
        method="put",
        path_params={"id": "a/b ä"},
        query_params={"page": 2, "tags": ["x", "y,z"], "on": True, "off": None},
        headers={"X-Own": "1", "X-VentureKit-Source": "external"},
        body={"name": "Alice"},
    )
    event = scripted.event
    view = read_http_event(event)
    assert (view.method, event["rawPath"], view.path_parameters) == ("PUT", "/users/a/b ä/notes", {"id": "a/b ä"})
    assert view.query_parameters == {"page": "2", "tags": "x,y,z", "on": "true"}
    assert view.query == "page=2&tags=x&tags=y%2Cz&on=true"
    assert view.route_key == "PUT /users/{id}/notes"
    assert json.loads(view.body) == {"name": "Alice"}
    assert view.headers["x-own"] == "1"
    assert view.headers["x-venturekit-source"] == "internal"
    assert view.headers["content-type"] == "application/json"
    assert view.venturekit == {"invokeId": view.headers["x-venturekit-invoke-id"]}
    assert scripted.requests[0].client_context is None
    assert scripted.requests[0].invocation_type == "RequestResponse"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        (0, 0),
        (False, False),
        ("text", "text"),
        (b"\x00\x01", b"\x00\x01"),
        ({"half": "\ud800"}, {"half": "\ud800"}),
        (dataclasses.make_dataclass("D", ["a"])(1), {"a": 1}),
    ],
)
def test_a_body_arrives_as_it_was_given(body: Any, expected: Any) -> None:
    seen = []
    main = handler(seen.append, access_log=False)
    scripted = script(route())
    invoke("users", body=body)
    assert main(scripted.event)["statusCode"] == 201
    assert seen == [expected]


@CALLS
@pytest.mark.parametrize("payload", [None, {"a": 1}, [1], "text", {"half": "\ud800"}])
def test_a_function_gets_its_payload_as_it_is(call: Any, payload: Any) -> None:
    scripted = script()
    call(function="job", payload=payload)
    assert scripted.event == payload
    custom = json.loads(scripted.requests[0].client_context or "")
    assert list(custom["custom"]["venturekit"]) == ["invokeId"]


@CALLS
def test_nobody_waits_for_an_asynchronous_call(call: Any) -> None:
    scripted = script(LambdaReply(202, b""))
    result = call("notifications/send", mode="async", body={"a": 1}, result_type=dict)
    assert (result.status_code, result.data, result.ok) == (202, None, True)
    assert scripted.requests[0].invocation_type == "Event"
    call(function="job", mode="async")
    assert scripted.requests[1].client_context is None


# --- propagation ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
def test_trace_tenant_and_user_go_along(waits: bool) -> None:
    scripted = script(route(), LambdaReply(200, b"null"))

    def fn(body: Any, ctx: RequestContext) -> None:
        invoke("users")
        invoke(function="job")

    async def afn(body: Any, ctx: RequestContext) -> None:
        await ainvoke("users")
        await ainvoke(function="job")

    marker = {"invokeId": "i", "tenantId": "acme", "userId": "u-1"}
    handler(afn if waits else fn, access_log=False)(v2(headers={"x-amzn-trace-id": TRACE}, marker=marker), Context())
    event = json.loads(scripted.requests[0].payload)
    passed = event["requestContext"]["venturekit"]
    assert (passed["tenantId"], passed["userId"]) == ("acme", "u-1")
    assert passed["invokeId"] != "i"
    assert event["requestContext"]["accountId"] == ARN.split(":")[4]
    assert event["headers"]["x-amzn-trace-id"] == TRACE
    assert event["headers"]["x-venturekit-tenant-id"] == "acme"
    assert event["headers"]["x-venturekit-user-id"] == "u-1"
    assert scripted.requests[0].trace == scripted.requests[1].trace == TRACE
    custom = json.loads(scripted.requests[1].client_context or "")["custom"]["venturekit"]
    assert (custom["tenantId"], custom["userId"]) == ("acme", "u-1")

    # And arrives: in a route, and in a function.
    seen: list[Any] = []

    def note(_: Any, ctx: Any) -> None:
        seen.append([ctx.is_internal, ctx.tenant.id, ctx.user.id, ctx.invoke_id])

    handler(note, access_log=False)(event)
    task_handler(note, task_log=False)(None, Context(custom={"venturekit": custom}))
    assert seen == [[True, "acme", "u-1", passed["invokeId"]], [True, "acme", "u-1", custom["invokeId"]]]


def test_what_is_given_wins() -> None:
    scripted = script(route())
    w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    main = handler(lambda: invoke("users", tenant_id="t", user_id="u", trace=w3c) and None, access_log=False)
    main(v2(headers={"x-amzn-trace-id": TRACE}, marker={"tenantId": "acme", "userId": "u-1"}))
    assert scripted.event["headers"]["traceparent"] == w3c
    assert "x-amzn-trace-id" not in scripted.event["headers"]
    assert scripted.requests[0].trace is None
    passed = scripted.event["requestContext"]["venturekit"]
    assert (passed["tenantId"], passed["userId"]) == ("t", "u")


def test_lambdas_own_header_is_kept_for_what_it_counts_loops_by(monkeypatch: pytest.MonkeyPatch) -> None:
    own = f"{TRACE};Lineage=1:abc:0"
    monkeypatch.setenv("_X_AMZN_TRACE_ID", own)
    scripted = script(route())
    invoke("users")
    handler(lambda: invoke("users") and None, access_log=False)(v2(headers={"x-amzn-trace-id": TRACE}))
    assert [request.trace for request in scripted.requests] == [own, own]


@pytest.mark.parametrize("trace", ["Root=1-a-b\r\nX-Evil: 1", "Root=ä", "Root=\0"])
def test_a_trace_that_is_no_header_does_not_go_along(trace: str) -> None:
    scripted = script(route())
    result = handler(lambda: invoke("users") and None, access_log=False)(v2(headers={"x-amzn-trace-id": trace}))
    assert result["statusCode"] == 200
    assert scripted.requests[0].trace is None


# --- results --------------------------------------------------------------------------------------------------------


class User(pydantic.BaseModel):
    id: int
    name: str = "?"


@dataclasses.dataclass
class DataUser:
    id: int
    name: str = "?"


@CALLS
@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        (enveloped({"id": 1}), 200, {"id": 1}),
        (enveloped(None), 200, None),
        (route(201, {"data": 1}), 201, {"data": 1}),
        (route(200, "plain", {"content-type": "text/plain"}), 200, "plain"),
        (route(200, "AAE=", {"content-type": "image/png"}, isBase64Encoded=True), 200, b"\x00\x01"),
        (route(204, ""), 204, None),
        (route(200, "[1]", {"content-type": "application/problem+json"}), 200, [1]),
        (route(302, "", {"location": "/a"}), 302, None),
        (LambdaReply(200, b'{"statusCode":200}'), 200, None),
        (LambdaReply(200, b'{"statusCode":200,"body":"hello"}'), 200, "hello"),
        (LambdaReply(200, b'{"statusCode":200,"headers":null,"body":"[1]"}'), 200, [1]),
        (LambdaReply(200, b'{"statusCode":200,"headers":{}}' + bytes(8) + b"[1]"), 200, [1]),
        (
            LambdaReply(200, b'{"statusCode":200,"multiValueHeaders":{"Content-Type":["text/plain"]},"body":"a"}'),
            200,
            "a",
        ),
    ],
)
def test_the_answer_of_a_route_is_read(call: Any, answer: LambdaReply, status: int, expected: Any) -> None:
    script(answer)
    result = call("users", method="GET")
    assert (result.status_code, result.data, result.ok, result.error) == (status, expected, True, None)
    assert "x-venturekit-envelope" not in result.headers
    assert result.raise_for_status() is result


def test_the_envelope_of_a_real_handler_is_taken_off() -> None:
    main = handler(lambda body: {"data": body, "meta": {"n": 1}}, access_log=False)

    class Lambda(Scripted):
        def invoke(self, request: LambdaRequest) -> LambdaReply:
            return LambdaReply(200, json.dumps(main(json.loads(request.payload))).encode())

    state.invoker = Lambda()
    assert invoke("users", body=[1]).data == [1]
    assert invoke("users", body={"data": {"data": 1}}).data == {"data": {"data": 1}}


@CALLS
@pytest.mark.parametrize("body", ["nope", "{"])
def test_an_error_may_be_told_badly(call: Any, body: str) -> None:
    for headers in ({"content-type": "application/json"}, {"x-a": "1"}):
        script(route(404, body, headers))
        result = call("users")
        assert (result.status_code, result.data, result.error) == (404, None, body)


@CALLS
@pytest.mark.parametrize("status", [400, 404, 422, 429, 499])
def test_a_status_below_500_is_a_result(call: Any, status: int) -> None:
    script(route(status, {"error": {"code": "X", "message": "m", "details": {}}}))
    result = call("users", result_type=User)
    assert (result.status_code, result.data, result.ok) == (status, None, False)
    assert result.error == {"code": "X", "message": "m", "details": {}}
    with pytest.raises(InvokeError, match=f"shop-users answered {status}: m") as caught:
        result.raise_for_status()
    assert (caught.value.target, caught.value.status_code, caught.value.details) == ("shop-users", status, result.error)


@CALLS
@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (route(500, {"error": {"message": "m"}}), ServerStatusError, "shop-users answered 500: m"),
        (route(503, "text", {"content-type": "text/plain"}), ServerStatusError, "shop-users answered 503"),
        (LambdaReply(200, b'{"errorType":"E","errorMessage":"m"}', "Unhandled"), FunctionFailedError, "failed: E: m"),
        (LambdaReply(200, b'{"errorType":5,"errorMessage":["m"]}', "Unhandled"), FunctionFailedError, "failed: 5: "),
        (LambdaReply(200, b"not json", "Unhandled"), FunctionFailedError, "not json"),
        (LambdaReply(200, b"[" * 5000, "Unhandled"), FunctionFailedError, "failed"),
        (LambdaReply(200, b"null", "Unhandled"), FunctionFailedError, "None"),
        (LambdaReply(200, b""), BadResponseError, "answered no JSON"),
        (LambdaReply(200, b"\xff"), BadResponseError, "answered no JSON"),
        (LambdaReply(200, b"[" * 200_000), BadResponseError, "answered no JSON"),
        (LambdaReply(200, b"5"), BadResponseError, "no statusCode"),
        (LambdaReply(200, b'{"jobId":1}'), BadResponseError, "invoke(function=...)"),
        (LambdaReply(200, b'{"statusCode":"200"}'), BadResponseError, "the status '200'"),
        (LambdaReply(200, b'{"statusCode":true}'), BadResponseError, "the status True"),
        (LambdaReply(200, b'{"statusCode":99}'), BadResponseError, "the status 99"),
        (LambdaReply(200, b'{"statusCode":200,"headers":[1]}'), BadResponseError, "headers that are no object"),
        (LambdaReply(200, b'{"statusCode":200,"multiValueHeaders":"x"}'), BadResponseError, "headers that are no"),
        (LambdaReply(200, b'{"statusCode":200,"body":{}}'), BadResponseError, "a body that is no text"),
        (LambdaReply(200, b'{"statusCode":200,"body":"!","isBase64Encoded":true}'), BadResponseError, "no base64"),
        (route(200, "{"), BadResponseError, "JSON that is none"),
        (route(502, "<html>"), ServerStatusError, "answered 502"),
        (route(500, "down", {"x-a": "1"}), ServerStatusError, "answered 500"),
        (LambdaReply(200, b"{" + bytes(8) + b"x"), BadResponseError, "answered no JSON"),
    ],
)
def test_an_answer_that_is_none_is_an_error(call: Any, answer: LambdaReply, kind: Any, text: str) -> None:
    script(answer)
    with pytest.raises(kind) as caught:
        call("users")
    assert text in str(caught.value)
    assert isinstance(caught.value, InvokeError)
    assert caught.value.target == "shop-users"


@settings(max_examples=150)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=4),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["statusCode", "headers", "body", "isBase64Encoded", "multiValueHeaders", "error", "data"]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_garbage_is_a_result_or_an_invoke_error(payload: bytes) -> None:
    for reply in (LambdaReply(200, payload), LambdaReply(200, payload, "Unhandled")):
        for target in ({"function": "job"}, "users"):
            invoker = create_invoker(invoker=Scripted(reply), resolver=lambda target: "name")
            try:
                assert isinstance(invoker(target, result_type=DataUser), InvokeResult)
            except InvokeError:
                pass


@CALLS
@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        (User, {"id": "7", "new": 1}, User(id=7)),
        (DataUser, {"id": 7, "new": 1}, DataUser(7)),
        (list[User], [{"id": 1}, {"id": 2}], [User(id=1), User(id=2)]),
        (list[DataUser], [{"id": 1, "new": 2}], [DataUser(1)]),
        (dict[str, DataUser], {"a": {"id": 1}}, {"a": DataUser(1)}),
        (pydantic.TypeAdapter(list[int]), ["1"], [1]),
        (int, 5, 5),
        (str, "a", "a"),
        (dict, {"a": 1}, {"a": 1}),
        (User | None, None, None),
        (DataUser | None, {"id": 1}, DataUser(1)),
    ],
)
def test_results_have_the_type_that_was_asked_for(call: Any, kind: Any, payload: Any, expected: Any) -> None:
    script(LambdaReply(200, json.dumps(payload).encode()))
    result = call(function="job", result_type=kind).data
    assert result == expected
    assert type(result) is type(expected)
    script(enveloped(payload))
    assert call("users", result_type=kind).data == expected


@CALLS
def test_data_of_another_type_is_a_bad_response(call: Any) -> None:
    script(LambdaReply(200, b'{"id":"x"}'))
    with pytest.raises(BadResponseError, match="shop-dev-fn-job answered no User: id: ") as caught:
        call(function="job", result_type=User)
    assert caught.value.details == {"id": "x"}


# --- deadlines and attempts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining_ms", "options", "expected"),
    [
        (30_000, {}, 29.8),
        (30_000, {"timeout_ms": 500}, 0.5),
        (1_000, {"timeout_ms": 5_000}, 0.8),
        (100, {}, 0.05),
        (None, {}, 900.0),
        (None, {"timeout_ms": 1_500}, 1.5),
    ],
)
def test_a_call_never_waits_past_the_callers_own_time(remaining_ms: Any, options: Any, expected: float) -> None:
    scripted = script(route())
    context = None if remaining_ms is None else Context(remaining_ms)
    handler(lambda: invoke("users", **options) and None, access_log=False)(v2(), context)
    assert scripted.requests[0].timeout_seconds == pytest.approx(expected)


@CALLS
def test_ids_that_are_numbers_are_texts_where_they_arrive(call: Any) -> None:
    scripted = script(route())
    call("users", tenant_id=7, user_id=42)
    told = handler(lambda body, ctx: [ctx.tenant.id, ctx.user.id], access_log=False)(scripted.event)
    assert json.loads(told["body"])["data"] == ["7", "42"]


@CALLS
def test_an_id_that_no_header_holds_arrives_in_the_marker(call: Any) -> None:
    scripted = script(route())
    call("users", user_id="a\r\nx-evil: 1")
    assert "x-venturekit-user-id" not in scripted.event["headers"]
    assert scripted.event["requestContext"]["venturekit"]["userId"] == "a\r\nx-evil: 1"


@CALLS
def test_what_tells_of_the_call_cannot_be_given_as_a_header(call: Any) -> None:
    scripted = script(route())
    forged = {"X-VentureKit-User-Id": "root", "x-venturekit-source": "external", "Content-Length": "999", "X-Own": "1"}
    call("users", body={"a": 1}, headers=forged)
    headers = scripted.event["headers"]
    assert "x-venturekit-user-id" not in headers
    assert (headers["x-venturekit-source"], headers["content-length"], headers["x-own"]) == ("internal", "7", "1")


def test_a_caller_without_time_opens_no_circuit() -> None:
    scripted = script(LambdaReply(200, b"5"))

    @task_handler(task_log=False, log_level="silent")
    def main(event: Any, ctx: Any) -> Any:
        return invoke(function="job", fallback="none").data

    assert [main({}, Context(remaining_ms=0)) for _ in range(9)] == ["none"] * 9
    assert main({}, Context()) == 5
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("fallback", [{}, {"fallback": "none"}])
def test_without_time_nothing_is_called(fallback: Any) -> None:
    scripted = script(route())
    seen = []

    def fn() -> None:
        try:
            seen.append(invoke("users", **fallback).data)
        except InvokeTimeoutError as error:
            seen.append(error)

    handler(fn, access_log=False, log_level="silent")(v2(), Context(0))
    assert scripted.requests == []
    assert seen[0] == "none" if fallback else "no time is left" in str(seen[0])


@CALLS
@pytest.mark.parametrize(
    ("error", "retries", "attempts", "expected"),
    [
        (ThrottledError("t"), 0, 1, []),
        (ThrottledError("t"), 3, 4, [0.1, 0.2, 0.4]),
        (TransportError("t"), 1, 2, [0.1]),
        (InvokeTimeoutError("t"), 3, 1, []),
        (TargetNotFoundError("t"), 3, 1, []),
        (FunctionFailedError("t"), 3, 1, []),
    ],
)
def test_only_what_was_not_run_is_tried_again(
    call: Any, error: Exception, retries: int, attempts: int, expected: list[float], pauses: list[float]
) -> None:
    scripted = script(error)
    with pytest.raises(type(error)):
        call("users", retries=retries)
    assert (len(scripted.requests), pauses) == (attempts, expected)


@CALLS
def test_a_second_attempt_may_succeed(call: Any, pauses: list[float]) -> None:
    script(ThrottledError("t"), enveloped(1))
    assert call("users", retries=1).data == 1


def test_an_attempt_that_does_not_fit_is_not_waited_for(pauses: list[float]) -> None:
    scripted = script(ThrottledError("t"))
    handler(lambda: invoke("users", retries=9, fallback=None) and None, access_log=False)(v2(), Context(500))
    assert len(scripted.requests) == 3
    assert pauses == [0.1, 0.2]


# --- fallbacks ------------------------------------------------------------------------------------------------------


@CALLS
@pytest.mark.parametrize(
    ("fallback", "status", "expected", "headers"),
    [
        ({"statusCode": 503, "data": [], "headers": {"a": "b"}}, 503, [], {"a": "b"}),
        ({"status_code": 200, "data": 1}, 200, 1, {}),
        ({"statusCode": 200}, 200, None, {}),
        ([], 503, [], {}),
        (None, 503, None, {}),
        ({"a": 1}, 503, {"a": 1}, {}),
        (InvokeResult([1], 299, {"x": "y"}), 299, [1], {"x": "y"}),
    ],
)
def test_the_fallback_is_the_result(call: Any, fallback: Any, status: int, expected: Any, headers: Any) -> None:
    script(TransportError("down"))
    result = call("users", fallback=fallback)
    assert (result.status_code, result.data, result.headers, result.is_fallback) == (status, expected, headers, True)
    assert result.target == "shop-users"


@dataclasses.dataclass
class Stock:
    left: int


@CALLS
@pytest.mark.parametrize(
    ("fallback", "expected"),
    [
        ({"left": 3}, Stock(3)),
        ({"statusCode": 200, "data": {"left": "3"}}, Stock(3)),
        (InvokeResult({"left": 3}), Stock(3)),
        (Stock(3), Stock(3)),
        (None, None),
        ([], []),
    ],
)
def test_the_fallback_is_of_the_type_of_results_where_it_fits(call: Any, fallback: Any, expected: Any) -> None:
    script(TransportError("down"))
    assert call("users", fallback=fallback, result_type=Stock).data == expected


def test_a_refusal_names_the_fields() -> None:
    error = {"message": "Invalid request body", "details": {"fields": {"sku": ["is required"], "x" * 200: ["?"]}}}
    script(route(422, {"error": error}))
    with pytest.raises(InvokeError, match=rf"answered 422: Invalid request body \(sku, {'x' * 100}\)$"):
        invoke("users").raise_for_status()


@CALLS
@pytest.mark.parametrize(
    "failure",
    [
        ThrottledError("t"),
        TransportError("t"),
        InvokeTimeoutError("t"),
        TargetNotFoundError("t"),
        route(500, {}),
        route(503, {}),
        LambdaReply(200, b"{}", "Unhandled"),
        LambdaReply(200, b"garbage"),
    ],
)
def test_five_failures_open_the_circuit(call: Any, failure: Any) -> None:
    scripted = script(failure)
    for _ in range(8):
        assert call("users", fallback="f").data == "f"
    assert len(scripted.requests) == 5
    # Of another target nothing is known.
    call("other", fallback="f")
    assert len(scripted.requests) == 6


@CALLS
def test_a_status_below_500_is_no_failure(call: Any) -> None:
    scripted = script(route(429, {"error": {}}))
    for _ in range(8):
        assert call("users", fallback="f").status_code == 429
    assert len(scripted.requests) == 8


@CALLS
@pytest.mark.parametrize("status", [400, 413, 415])
def test_a_request_that_lambda_refuses_is_no_failure_of_the_target(call: Any, status: int) -> None:
    scripted = script(InvokeError("Request must be smaller", status_code=status))
    for _ in range(8):
        assert call("users", fallback="f").data == "f"
    assert len(scripted.requests) == 8


@CALLS
def test_without_a_fallback_nothing_is_counted(call: Any) -> None:
    scripted = script(TransportError("down"))
    for _ in range(8):
        with pytest.raises(TransportError):
            call("users")
    assert len(scripted.requests) == 8


@CALLS
def test_attempts_of_one_call_are_one_failure(call: Any, pauses: list[float]) -> None:
    scripted = script(ThrottledError("t"))
    for _ in range(6):
        call("users", fallback="f", retries=1)
    assert len(scripted.requests) == 10


def test_other_limits() -> None:
    configure_circuit_breaker(failure_threshold=2, reset_timeout_ms=0)
    scripted = script(TransportError("t"), TransportError("t"), enveloped(1), TransportError("t"), enveloped(2))
    assert [invoke("users", fallback="f").data for _ in range(5)] == ["f", "f", 1, "f", 2]
    assert len(scripted.requests) == 5
    with pytest.raises(ValueError, match="at least 1"):
        configure_circuit_breaker(failure_threshold=0)


def test_a_used_fallback_is_logged() -> None:
    from tests.unit.runtime.support import Lines

    lines = Lines()
    script(TransportError("down"))
    main = handler(lambda: invoke("users", fallback=[]).data, logger=lines.logger(), access_log=False)
    assert data(main(v2())) == []
    assert (lines.records[0]["level"], lines.records[0]["why"]) == ("WARN", "down")
