"""Every row and example of seed 001, the runtime API, but for sagas, idempotency and websockets."""

from __future__ import annotations

import dataclasses
import inspect
import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from venturekit import runtime
from venturekit.runtime import (
    BaseContext,
    Middleware,
    RequestContext,
    Response,
    TaskContext,
    TaskValidationError,
    TenantContext,
    UserContext,
    ValidationError,
    VentureError,
    build_context,
    compose,
    create_logger,
    created,
    error,
    error_response,
    extract_locale,
    extract_user_context,
    handler,
    invoke,
    is_venture_error,
    logger,
    no_content,
    redirect,
    success,
    task_handler,
)
from venturekit.runtime.patterns import configure_circuit_breaker, create_circuit_breaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.seeds.recorder import Recorder
    from venturekit.runtime import Logger


def event_of(method: str = "GET", **changes: Any) -> dict[str, Any]:
    """An event of an HTTP API."""
    context = {
        "requestId": "r-1",
        "timeEpoch": 1583348638390,
        "http": {"method": method, "path": "/p", "sourceIp": "192.0.2.1", "userAgent": "curl/8"},
        **changes.pop("requestContext", {}),
    }
    headers = {"user-agent": "curl/8", **changes.pop("headers", {})}
    return {"version": "2.0", "rawPath": "/p", "headers": headers, "requestContext": context, **changes}


def claims(**given: Any) -> dict[str, Any]:
    return {"authorizer": {"jwt": {"claims": {"sub": "u-1", **given}, "scopes": None}}}


def answer(made: Any, event: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and body of a handler's answer."""
    result = made(event or event_of(), None)
    return result["statusCode"], json.loads(result["body"]) if result["body"] else None


# --- handler ----------------------------------------------------------------------------------------------------------


def test_handler_wraps_a_function_of_body_context_and_logger() -> None:
    seen: list[Any] = []

    @handler
    def main(body: Any, ctx: RequestContext, logger: Logger) -> dict[str, Any]:
        seen.extend([body, ctx, logger])
        return {"got": body}

    event = event_of("POST", body='{"a": 1}', headers={"content-type": "application/json"})
    assert answer(main, event) == (201, {"data": {"got": {"a": 1}}})
    assert isinstance(seen[1], RequestContext)
    assert isinstance(seen[2], runtime.Logger)


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("PUT", 200), ("PATCH", 200), ("POST", 201), ("DELETE", 204)]
)
def test_the_status_follows_the_method(method: str, status: int) -> None:
    assert answer(handler(lambda: 1), event_of(method))[0] == status


@pytest.mark.parametrize("status", [200, 201, 204])
def test_config_status(status: int) -> None:
    assert answer(handler(lambda: 1, status=status), event_of("POST"))[0] == status


@pytest.mark.parametrize(
    ("context", "status", "code"),
    [({}, 401, "UNAUTHORIZED"), (claims(scope="read"), 403, "FORBIDDEN"), (claims(scope="read write"), 200, None)],
)
def test_config_scopes(context: dict[str, Any], status: int, code: str | None) -> None:
    main = handler(lambda: 1, scopes=["read", "write"])
    found, body = answer(main, event_of(requestContext=context))
    assert (found, body.get("error", {}).get("code")) == (status, code)


def test_config_middleware() -> None:
    order: list[str] = []

    def named(name: str) -> Middleware:
        def fn(ctx: BaseContext, next: Callable[[], Any]) -> Any:
            order.append(f"{name} before")
            result = next()
            order.append(f"{name} after")
            return result

        return Middleware(name, fn)

    assert answer(handler(lambda: order.append("handler"), middleware=[named("a"), named("b")]))[0] == 200
    assert order == ["a before", "b before", "handler", "b after", "a after"]


def test_config_log_level() -> None:
    lines: list[str] = []
    base = create_logger(min_level="error", write=lines.append)

    @handler(logger=base, log_level="debug", access_log=False)
    def main(body: Any, ctx: RequestContext, logger: Logger) -> None:
        logger.debug("seen")

    main(event_of(), None)
    assert [json.loads(line)["message"] for line in lines] == ["seen"]


def test_config_transactional() -> None:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (x)")
    runtime.set_transaction_provider(runtime.DbApiTransactions(lambda: connection))

    @handler(transactional=True)
    def main(body: Any, ctx: RequestContext) -> None:
        ctx.tx.execute("insert into t values (1)")
        if ctx.query_params.get("fail"):
            raise ValueError("no")

    try:
        main(event_of(), None)
        main(event_of(queryStringParameters={"fail": "1"}), None)
    finally:
        runtime.set_transaction_provider(None)
    assert connection.execute("select count(*) from t").fetchone() == (1,)


@dataclasses.dataclass
class CreateUser:
    name: str
    email: str


@dataclasses.dataclass
class Page:
    page: int = 1


@dataclasses.dataclass
class Params:
    id: int


def test_config_schemas_are_checked_before_the_handler_runs() -> None:
    seen: list[Any] = []

    @handler(body=CreateUser, query=Page, params=Params)
    def main(body: CreateUser, ctx: RequestContext) -> None:
        seen.append((body, ctx.query, ctx.params))

    good = {"queryStringParameters": {"page": "2"}, "pathParameters": {"id": "7"}}
    event = event_of("PUT", body='{"name": "A", "email": "a@b"}', **good)
    assert answer(main, event)[0] == 200
    assert seen == [(CreateUser("A", "a@b"), Page(2), Params(7))]
    status, body = answer(main, {**event, "body": '{"name": 1}'})
    assert status == 422
    assert body["error"]["code"] == "VALIDATION_ERROR"
    assert set(body["error"]["details"]["fields"]) == {"name", "email"}
    assert len(seen) == 1


# --- task_handler -----------------------------------------------------------------------------------------------------


def test_task_handler() -> None:
    @task_handler
    def main(event: Any, ctx: TaskContext, logger: Logger) -> Any:
        return {"event": event, "remaining": ctx.get_remaining_time_in_millis() > 0}

    assert main({"a": 1}, None) == {"event": {"a": 1}, "remaining": True}


def test_task_config_event() -> None:
    tries: list[Any] = []
    main = task_handler(tries.append, event=CreateUser, retries=3)
    with pytest.raises(TaskValidationError) as caught:
        main({"name": "A", "email": 5}, None)
    assert [(issue.path, bool(issue.message)) for issue in caught.value.issues] == [(("email",), True)]
    # Never retried by the application retry loop.
    assert tries == []


def test_task_config_timeout_and_retries() -> None:
    tries: list[float] = []

    @task_handler(timeout=50, retries=2, retry_delay_ms=10)
    def main(event: Any) -> str:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise ConnectionError("not yet")
        return "done"

    assert main({}, None) == "done"
    first, second, third = tries
    # Doubles each attempt.
    assert second - first >= 0.01
    assert third - second >= 0.02


def test_task_config_timeout_is_of_one_attempt() -> None:
    import threading

    main = task_handler(lambda event: threading.Event().wait(20), timeout=30)
    with pytest.raises(runtime.TaskTimeoutError):
        main({}, None)


# --- contexts ---------------------------------------------------------------------------------------------------------


def test_build_context_and_request_context() -> None:
    event = event_of(
        headers={"accept-language": "de-AT,de;q=0.9", "x-amzn-trace-id": "Root=1-2-3"},
        queryStringParameters={"a": "1"},
        requestContext=claims(scope="read", email="a@b"),
    )
    ctx = build_context(event, supported_locales=["en", "de"], default_locale="en")
    assert (ctx.request_id, ctx.method, ctx.path) == ("r-1", "GET", "/p")
    assert (ctx.source_ip, ctx.user_agent, ctx.locale) == ("192.0.2.1", "curl/8", "de")
    assert ctx.timestamp == datetime.fromisoformat("2020-03-04T19:03:58.390+00:00")
    assert isinstance(ctx.user, UserContext)
    assert ctx.tenant is None
    assert ctx.query_params == {"a": "1"}
    assert (ctx.tx, ctx.intent_outputs) == (None, {})
    assert (ctx.is_internal, ctx.invoke_id) == (False, None)
    assert ctx.raw_event is event
    assert ctx.trace_id == "1-2-3"


def test_user_and_tenant_context() -> None:
    user = extract_user_context(event_of(requestContext=claims(scope="read write", email="a@b")))
    assert user is not None
    assert (user.id, user.sub, user.email, user.scopes) == ("u-1", "u-1", "a@b", ["read", "write"])
    assert user.claims["sub"] == "u-1"
    assert extract_user_context(event_of()) is None
    tenant = TenantContext("t", "slug", {"plan": "free"})
    assert (tenant.id, tenant.slug, tenant.metadata) == ("t", "slug", {"plan": "free"})


def test_extract_locale() -> None:
    event = event_of(headers={"accept-language": "fr;q=0.4, en-GB;q=0.8, de;q=0.6"})
    assert extract_locale(event, ["de", "en"], "de") == "en"
    assert extract_locale(event_of(), ["de", "en"], "de") == "de"


def test_base_and_task_context() -> None:
    seen: list[TaskContext] = []
    task_handler(lambda event, ctx: seen.append(ctx))({"a": 1}, None)
    (ctx,) = seen
    assert isinstance(ctx, BaseContext)
    assert ctx.event == {"a": 1}
    assert ctx.raw_context is None
    assert isinstance(ctx.function_name, str)
    assert isinstance(ctx.logger, runtime.Logger)
    assert isinstance(ctx.timestamp, datetime)
    assert ctx.request_id


# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        (success([1], {"total": 1}), 200, {"data": [1], "meta": {"total": 1}}),
        (created({"id": 1}), 201, {"data": {"id": 1}}),
        (no_content(), 204, None),
        (error(418, {"teapot": True}), 418, {"teapot": True}),
        (error_response(ValidationError("bad", {"a": ["b"]})), 422, None),
        (redirect("/new"), 302, None),
        (redirect("/new", 301), 301, None),
    ],
)
def test_response_helpers(response: Response, status: int, body: Any) -> None:
    found, sent = answer(handler(lambda: response), event_of("GET"))
    assert found == status
    if body is not None:
        assert sent == body


# --- middleware -------------------------------------------------------------------------------------------------------


def test_a_middleware_works_in_both_kinds_of_handlers() -> None:
    printed: list[str] = []

    def fn(ctx: BaseContext, next: Callable[[], Any]) -> Any:
        start = time.monotonic()
        result = next()
        printed.append(f"{ctx.request_id} took {time.monotonic() - start}")
        return result

    timing = Middleware(name="timing", fn=fn)
    handler(lambda: 1, middleware=[timing])(event_of(), None)
    task_handler(lambda event: 1, middleware=[compose([timing])])({}, None)
    assert len(printed) == 2


def test_a_middleware_may_be_asynchronous() -> None:
    async def fn(ctx: BaseContext, next: Callable[[], Any]) -> Any:
        return await next()

    assert answer(handler(lambda: 1, middleware=[Middleware("waits", fn)])) == (200, {"data": 1})


def test_compose_makes_one_of_many() -> None:
    def short(ctx: BaseContext, next: Callable[[], Any]) -> Any:
        return error(503, {"busy": True})

    main = handler(lambda: 1, middleware=[compose([lambda ctx, next: next(), short])])
    assert answer(main) == (503, {"busy": True})


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "status", "code", "message", "details"),
    [
        (VentureError("m"), 500, None, "m", None),
        (runtime.BadRequestError("m"), 400, "BAD_REQUEST", "m", None),
        (runtime.UnauthorizedError(), 401, "UNAUTHORIZED", None, None),
        (runtime.ForbiddenError(), 403, "FORBIDDEN", None, None),
        (
            runtime.NotFoundError("Task", "123"),
            404,
            "NOT_FOUND",
            "Task '123' not found",
            {"resource": "Task", "id": "123"},
        ),
        (runtime.ConflictError("m"), 409, "CONFLICT", "m", None),
        (runtime.PayloadTooLargeError("m"), 413, "PAYLOAD_TOO_LARGE", "m", None),
        (ValidationError("m", {"a": ["b"]}), 422, "VALIDATION_ERROR", "m", {"fields": {"a": ["b"]}}),
        (runtime.RateLimitError(30), 429, "RATE_LIMITED", None, {"retryAfter": 30}),
        (runtime.InternalError(), 500, "INTERNAL_ERROR", None, None),
        (
            runtime.ServiceUnavailableError("Payments"),
            503,
            "SERVICE_UNAVAILABLE",
            "Payments is currently unavailable",
            None,
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, VentureError) else "",
)
def test_errors(raised: VentureError, status: int, code: str | None, message: str | None, details: Any) -> None:
    def main() -> None:
        raise raised

    found, body = answer(handler(main))
    assert found == status
    told = body["error"]
    assert code is None or told["code"] == code
    assert message is None or told["message"] == message
    assert told.get("details") == details
    assert is_venture_error(raised)
    assert not is_venture_error(ValueError())


def test_an_unknown_error_says_nothing_of_itself() -> None:
    def main() -> None:
        raise ValueError("the password is hunter2")

    assert answer(handler(main)) == (500, {"error": {"code": "INTERNAL_ERROR", "message": "Internal server error"}})


# --- invoke -----------------------------------------------------------------------------------------------------------


def test_invoke_options(calls: Recorder) -> None:
    calls.functions["myapp-users-list"] = handler(lambda: [None][1:])
    # POST is the default method.
    invoke("users/list", headers={"X-Own": "1"})
    assert calls.event["requestContext"]["http"]["method"] == "POST"
    assert calls.event["headers"]["x-own"] == "1"
    invoke("users/list", method="GET")
    assert calls.event["requestContext"]["http"]["method"] == "GET"


def test_fallback_of_a_route(calls: Recorder) -> None:
    calls.is_down = True
    users = invoke("users/list", method="GET", fallback={"statusCode": 503, "data": [], "headers": {}})
    assert (users.status_code, users.data, users.headers) == (503, [], {})


def test_fallback_of_a_function_of_another_project(calls: Recorder) -> None:
    calls.is_down = True
    result = invoke(
        {"function": "process-orders", "project": "billing"},
        payload={"orderId": "123"},
        fallback={"statusCode": 503, "data": None, "headers": {}},
    )
    assert (result.status_code, result.data) == (503, None)
    assert calls.last.function_name == "billing-dev-fn-process-orders"


def test_the_circuit_opens_after_five_failures_and_probes_after_the_reset(calls: Recorder) -> None:
    calls.is_down = True
    for _ in range(7):
        invoke("users/list", fallback=[])
    assert len(calls.requests) == 5


def test_configure_circuit_breaker(calls: Recorder) -> None:
    configure_circuit_breaker(failure_threshold=3, reset_timeout_ms=60_000)
    calls.is_down = True
    for _ in range(7):
        invoke("users/list", fallback=[])
    assert len(calls.requests) == 3


def test_create_circuit_breaker() -> None:
    now = [0.0]
    breaker = create_circuit_breaker(failure_threshold=1, reset_timeout_ms=1000, clock=lambda: now[0])

    def fail() -> int:
        raise ConnectionError

    assert breaker.call(fail, fallback=-1) == -1
    assert breaker.call(lambda: 1, fallback=-1) == -1
    now[0] = 1.0
    assert breaker.call(lambda: 1, fallback=-1) == 1


def test_cross_project_calls(calls: Recorder) -> None:
    calls.functions["billing-dev-fn-send-invoice"] = lambda event, context: {"sent": event["orderId"]}
    result = invoke({"function": "send-invoice", "project": "billing"}, payload={"orderId": "123"})
    assert result.data == {"sent": "123"}


def test_local_urls_name_the_dev_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    from venturekit.runtime import create_local_invoker
    from venturekit.runtime.invocation.invokers import LocalInvoker

    monkeypatch.setenv("VENTURE_LOCAL_URLS", "app=http://localhost:3000,billing=http://localhost:3001")
    invoker = create_local_invoker()
    assert isinstance(invoker, LocalInvoker)
    assert invoker.find("billing-dev-fn-send-invoice") is not invoker.find("app-users-list")
    assert invoker.find("other-users-list") is None


# --- logger -----------------------------------------------------------------------------------------------------------


def test_loggers() -> None:
    lines: list[str] = []
    made = create_logger({"service": "orders"}, min_level="info", format="JSON", write=lines.append)
    made.info("order placed", {"userId": "u-1"})
    made.debug("not written")
    (record,) = map(json.loads, lines)
    assert (record["level"], record["message"], record["service"], record["userId"]) == (
        "INFO",
        "order placed",
        "orders",
        "u-1",
    )
    assert isinstance(logger, runtime.Logger)


def test_every_documented_name_is_exported() -> None:
    documented = [
        "handler",
        "task_handler",
        "build_context",
        "extract_user_context",
        "extract_locale",
        "success",
        "created",
        "no_content",
        "error",
        "error_response",
        "redirect",
        "compose",
        "logging_middleware",
        "cors_middleware",
        "timeout_middleware",
        "error_boundary_middleware",
        "rate_limit_middleware",
        "request_id_middleware",
        "timing_middleware",
        "api_key_auth_middleware",
        "Logger",
        "create_logger",
        "logger",
        "RequestContext",
        "UserContext",
        "TenantContext",
        "Middleware",
        "BaseContext",
        "TaskContext",
        "TaskValidationError",
        "VentureError",
        "BadRequestError",
        "UnauthorizedError",
        "ForbiddenError",
        "NotFoundError",
        "ConflictError",
        "PayloadTooLargeError",
        "ValidationError",
        "RateLimitError",
        "InternalError",
        "ServiceUnavailableError",
        "is_venture_error",
        "invoke",
        "create_invoker",
        "create_lambda_invoker",
        "create_local_invoker",
        "default_function_name_resolver",
    ]
    missing = [name for name in documented if not hasattr(runtime, name)]
    assert missing == []
    assert all(inspect.getdoc(getattr(runtime, name)) for name in documented if name not in ("invoke", "logger"))
