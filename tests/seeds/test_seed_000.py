"""Every example of seed 000, "Lambda-to-Lambda Invocation", line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from venturekit.runtime import (
    RequestContext,
    UserContext,
    ainvoke,
    create_invoker,
    default_function_name_resolver,
    handler,
    invoke,
)
from venturekit.runtime.context import TenantContext, _current
from venturekit.runtime.request_event import read_event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.seeds.recorder import Recorder


class User(TypedDict):
    id: str
    name: str


class Job(TypedDict):
    jobId: str


ALICE: User = {"id": "42", "name": "Alice"}


@pytest.fixture
def app(calls: Recorder) -> Recorder:
    """The project of the examples."""
    calls.functions = {
        "myapp-users-_id_": handler(lambda body, ctx: ALICE, access_log=False),
        "myapp-users-list": handler(lambda body, ctx: [ALICE], access_log=False),
        "myapp-users-create": handler(lambda body, ctx: {**body, "id": "43"}, access_log=False),
        "myapp-orders-create": handler(lambda body, ctx: {"user": ctx.user.id, "tenant": ctx.tenant.id}),
        "myapp-notifications-send": handler(lambda body, ctx: None),
        "myapp-dev-fn-process-orders": lambda event, context: {"jobId": f"job-{event['orderId']}"},
        "myapp-dev-fn-send-email": lambda event, context: None,
        "myapp-dev-fn-audit-log": lambda event, context: {"logged": event["action"]},
    }
    return calls


@pytest.fixture
def ctx() -> Iterator[RequestContext]:
    """The context of a request whose trace, tenant and user are known."""
    trace = "Root=1-5e6a5e6a-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
    event = {
        "headers": {"x-amzn-trace-id": trace},
        "rawPath": "/",
        "requestContext": {"http": {"method": "GET", "path": "/"}, "requestId": "r-1"},
    }
    made = RequestContext(read_event(event))
    made.user, made.tenant = UserContext("u-1"), TenantContext("acme")
    return made


def test_quick_start(app: Recorder) -> None:
    # Call a route handler (API GW event format)
    result = invoke("users/{id}", method="GET", path_params={"id": "42"}, result_type=User)
    assert result.data == {"id": "42", "name": "Alice"}
    # Call a standalone function (src/functions/process-orders)
    job = invoke({"function": "process-orders"}, payload={"orderId": "abc", "items": ["widget"]}, result_type=Job)
    assert job.data["jobId"] == "job-abc"


def test_route_invocation_sends_the_event_of_api_gateway(app: Recorder) -> None:
    invoke("users/{id}", method="GET", path_params={"id": "42"})
    event = app.event
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /users/{id}"
    assert event["rawPath"] == "/users/42"
    assert event["pathParameters"] == {"id": "42"}
    assert event["requestContext"]["http"]["method"] == "GET"
    assert event["headers"]["x-venturekit-source"] == "internal"


def test_get_with_query_params(app: Recorder) -> None:
    users = invoke("users/list", method="GET", query_params={"page": "1", "limit": "20"}, result_type=list[User])
    assert users.data == [ALICE]
    assert app.event["queryStringParameters"] == {"page": "1", "limit": "20"}


def test_post_with_body(app: Recorder) -> None:
    created = invoke("users/create", body={"name": "Alice", "email": "alice@example.com"})
    assert (created.status_code, created.data["id"]) == (201, "43")
    assert app.event["requestContext"]["http"]["method"] == "POST"


def test_with_path_parameters(app: Recorder) -> None:
    user = invoke("users/{id}", method="GET", path_params={"id": "42"}, result_type=User)
    assert user.data["name"] == "Alice"


def test_fire_and_forget(app: Recorder) -> None:
    result = invoke("notifications/send", mode="async", body={"userId": "42", "message": "Hello!"})
    assert (result.status_code, result.data) == (202, None)
    assert app.last.invocation_type == "Event"


def test_propagate_context_by_hand(app: Recorder, ctx: RequestContext) -> None:
    order_data = {"sku": "a"}
    result = invoke(
        "orders/create",
        body=order_data,
        trace=ctx.trace,
        tenant_id=ctx.tenant.id if ctx.tenant else None,
        user_id=ctx.user.sub if ctx.user else None,
    )
    assert result.data == {"user": "u-1", "tenant": "acme"}
    assert app.last.trace == ctx.trace


def test_propagation_by_itself(app: Recorder, ctx: RequestContext) -> None:
    token = _current.set(ctx)
    try:
        assert invoke("orders/create").data == {"user": "u-1", "tenant": "acme"}
    finally:
        _current.reset(token)
    assert app.last.trace == ctx.trace


@pytest.mark.parametrize(("route", "name"), [("users/list", "myapp-users-list"), ("tasks/{id}", "myapp-tasks-_id_")])
def test_route_name_resolution(app: Recorder, route: str, name: str) -> None:
    app.functions[name] = handler(lambda: 1)
    invoke(route, path_params={"id": "1"} if "{" in route else None)
    assert app.last.function_name == name


def test_the_resolver_gives_the_seeds_names_braces_included() -> None:
    from venturekit.protocol.function_names import function_name, route_name

    assert route_name("myapp", "users/list") == "myapp-users-list"
    assert route_name("myapp", "tasks/{id}") == "myapp-tasks-{id}"
    assert function_name("myapp", "dev", "process-orders") == "myapp-dev-fn-process-orders"
    assert function_name("myapp", "dev", "order-create-order") == "myapp-dev-fn-order-create-order"


def test_function_invocation_sync(app: Recorder) -> None:
    result = invoke({"function": "process-orders"}, payload={"orderId": "abc-123", "items": [1]}, result_type=Job)
    assert result.data["jobId"] == "job-abc-123"
    assert app.event == {"orderId": "abc-123", "items": [1]}
    assert app.last.function_name == "myapp-dev-fn-process-orders"


def test_function_invocation_async(app: Recorder) -> None:
    invoke({"function": "send-email"}, payload={"to": "user@example.com", "template": "welcome"}, mode="async")
    assert app.last.invocation_type == "Event"


def test_function_invocation_with_trace_propagation(app: Recorder, ctx: RequestContext) -> None:
    order = {"id": 1}
    result = invoke({"function": "audit-log"}, payload={"action": "order.created", "data": order}, trace=ctx.trace)
    assert result.data == {"logged": "order.created"}
    assert app.last.trace == ctx.trace


async def _detecting(body: Any, ctx: RequestContext) -> Any:
    is_internal = (ctx.raw_event["headers"] or {}).get("x-venturekit-source") == "internal"
    # Called from another Lambda via invoke(): skip rate limiting, etc.
    return {"data": {"source": "internal" if is_internal else "external"}}


def test_detecting_internal_calls(app: Recorder) -> None:
    main = handler({"fn": _detecting})
    app.functions["myapp-source"] = main
    assert invoke("source").data == {"source": "internal"}
    outside = {**app.event, "requestContext": {**app.event["requestContext"]}}
    del outside["requestContext"]["venturekit"]
    # The header alone says nothing: from outside it is taken away.
    assert outside["headers"]["x-venturekit-source"] == "internal"
    assert main(outside)["body"] == '{"data":{"source":"external"}}'
    first = app.event["headers"]["x-venturekit-invoke-id"]
    invoke("source")
    assert app.event["headers"]["x-venturekit-invoke-id"] != first


def test_custom_invoker(calls: Recorder) -> None:
    calls.functions["my-custom-prefix-users-get"] = handler(lambda: ALICE)
    invoker = create_invoker(invoker=calls, resolver=default_function_name_resolver("my-custom-prefix"))
    result = invoker("users/get")
    assert result.data == ALICE


def test_an_invoker_of_lambda_is_made_with_a_region() -> None:
    from venturekit.runtime import create_lambda_invoker
    from venturekit.runtime.invocation.http_transport import HttpInvoker

    lambda_invoker = create_lambda_invoker(region="eu-west-1")
    assert isinstance(lambda_invoker, HttpInvoker)


def test_the_same_without_blocking(app: Recorder) -> None:
    import asyncio

    result = asyncio.run(ainvoke("users/{id}", method="GET", path_params={"id": "42"}, result_type=User))
    assert result.data["name"] == "Alice"
