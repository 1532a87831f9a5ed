"""Spans of handlers and calls, in memory: names, attributes, errors, and what continues what."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import timeit
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import venturekit
from tests.unit.runtime_telemetry.exported import attributes, ids, parent
from venturekit.runtime import (
    InvokeError,
    Logger,
    NotFoundError,
    ServiceUnavailableError,
    _process,
    ainvoke,
    batch_handler,
    handler,
    invoke,
    task_handler,
)
from venturekit.runtime.patterns import configure_circuit_breaker
from venturekit.runtime.ws import ws_handler
from venturekit.testing import (
    FakeInvoker,
    FakeLambdaContext,
    function_url_event,
    http_api_event,
    kinesis_event,
    rest_api_event,
    s3_event,
    schedule_event,
    sns_event,
    sqs_event,
    websocket_connect_event,
    websocket_message_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.runtime_telemetry.exported import Spans

both = pytest.mark.parametrize("kind", ["sync", "async"])
SILENT = Logger(min_level="silent")
TRACE = "5759e988bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"
XRAY = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={PARENT};Sampled=1"
W3C = f"00-{TRACE}-{PARENT}-01"


def twin(fn: Callable[..., Any], kind: str) -> Callable[..., Any]:
    if kind == "sync":
        return fn

    async def waiting(body: Any, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return fn(body, ctx)

    return waiting


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(body: Any, ctx: Any) -> Any:
        raise error

    return fail


@both
def test_a_request(kind: str, spans: Spans) -> None:
    def fn(body: Any, ctx: Any) -> dict[str, Any]:
        assert trace.get_current_span().is_recording()
        return {}

    arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop-users:live"
    context = FakeLambdaContext(aws_request_id="request-1", invoked_function_arn=arn, function_version="7")
    event = http_api_event("POST", "/users/42?secret=1", route="/users/{id}", headers={"user-agent": "test/1"})
    main = handler(twin(fn, kind), logger=SILENT)
    assert main(event, context)["statusCode"] == 201
    span = spans.one
    assert (span.name, span.kind, span.status.status_code) == ("POST /users/{id}", SpanKind.SERVER, StatusCode.UNSET)
    told = attributes(span)
    assert told.pop("client.address")
    assert told.pop("server.address")
    assert told == {
        "faas.trigger": "http",
        "faas.invocation_id": "request-1",
        "faas.coldstart": True,
        "cloud.resource_id": "arn:aws:lambda:eu-west-1:123456789012:function:shop-users:7",
        "cloud.account.id": "123456789012",
        "http.request.method": "POST",
        "http.response.status_code": 201,
        "http.route": "/users/{id}",
        "url.path": "/users/42",
        "url.scheme": "https",
        "user_agent.original": "test/1",
    }
    main(event, context)
    assert attributes(spans.all[1])["faas.coldstart"] is False


@both
@pytest.mark.parametrize(
    ("error", "status", "kind_of_error"),
    [
        (NotFoundError("User", 1), 404, None),
        (ServiceUnavailableError(), 503, "ServiceUnavailableError"),
        (KeyError("x"), 500, "KeyError"),
    ],
)
def test_a_request_that_fails(
    kind: str, error: Exception, status: int, kind_of_error: str | None, spans: Spans
) -> None:
    result = handler(twin(failing(error), kind), logger=SILENT)(http_api_event("GET", "/"))
    span = spans.one
    assert (result["statusCode"], attributes(span)["http.response.status_code"]) == (status, status)
    assert attributes(span).get("error.type") == kind_of_error
    assert span.status.status_code is (StatusCode.UNSET if kind_of_error is None else StatusCode.ERROR)
    assert [event.name for event in span.events] == ([] if kind_of_error is None else ["exception"])


def test_a_response_of_500_is_an_error(spans: Spans) -> None:
    handler(lambda: {"statusCode": 502}, logger=SILENT)(function_url_event("BREW", "/"))
    span = spans.one
    assert (span.name, span.status.status_code, attributes(span)["error.type"]) == ("HTTP", StatusCode.ERROR, "502")
    told = attributes(span)
    assert (told["http.request.method"], told["http.request.method_original"]) == ("_OTHER", "BREW")


@pytest.mark.parametrize(
    ("event", "trigger", "name"),
    [
        ({"a": 1}, "other", "orders"),
        (None, "other", "orders"),
        ({"Records": [3]}, "other", "orders"),
        (sqs_event(1, 2, queue="work"), "pubsub", "work process"),
        (sns_event("x"), "pubsub", "orders"),
        (kinesis_event("x"), "pubsub", "orders"),
        (s3_event("bucket", "key"), "datasource", "orders"),
        (schedule_event(), "timer", "orders"),
    ],
)
def test_what_has_started_a_task(event: Any, trigger: str, name: str, spans: Spans) -> None:
    task_handler(lambda event: 1, logger=SILENT)(event, FakeLambdaContext(function_name="orders"))
    span = spans.one
    assert (attributes(span)["faas.trigger"], span.name) == (trigger, name)
    assert span.kind is (SpanKind.CONSUMER if trigger == "pubsub" else SpanKind.SERVER)
    if "work" in name:
        told = attributes(span)
        assert (told["messaging.system"], told["messaging.destination.name"]) == ("aws_sqs", "work")
        assert told["messaging.batch.message_count"] == 2


def test_other_events(spans: Spans) -> None:
    ws_handler(lambda: None, logger=SILENT)(websocket_connect_event())
    handler(lambda: None, logger=SILENT)(rest_api_event("GET", "/users/1", route="/users/{id}"))
    assert [span.name for span in spans.all] == ["WebSocket $connect", "GET /users/{id}"]


@both
def test_a_task_that_fails(kind: str, spans: Spans) -> None:
    for error in (NotFoundError("User"), KeyError("x")):
        with pytest.raises(type(error)):
            task_handler(twin(failing(error), kind), logger=SILENT)({})
    assert [attributes(span)["error.type"] for span in spans.all] == ["NotFoundError", "KeyError"]
    assert all(span.status.status_code is StatusCode.ERROR for span in spans.all)
    assert all("http.response.status_code" not in attributes(span) for span in spans.all)


def test_what_a_websocket_client_did_wrong_is_no_error(spans: Spans) -> None:
    main = ws_handler(lambda: None, logger=SILENT, error_replies=False)
    assert main(websocket_message_event("x")) == {"statusCode": 401}
    assert spans.one.status.status_code is StatusCode.UNSET


# --- what continues what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "variable", "continued", "linked"),
    [
        ({}, None, False, False),
        ({"traceparent": W3C}, None, True, False),
        ({"x-amzn-trace-id": XRAY}, None, True, False),
        ({}, XRAY, True, False),
        (
            {"traceparent": W3C, "x-amzn-trace-id": XRAY.replace("5759", "0000")},
            XRAY.replace("5759", "0000"),
            True,
            False,
        ),
        ({"traceparent": "00-nonsense", "x-amzn-trace-id": "Root=nonsense"}, None, False, False),
        ({}, XRAY.replace("Sampled=1", "Sampled=0"), False, True),
        ({}, XRAY.partition(";")[0], False, False),
    ],
)
def test_what_a_request_continues(
    headers: Any, variable: str | None, continued: bool, linked: bool, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", variable)
    event = http_api_event("GET", "/")
    event["headers"].pop("x-amzn-trace-id", None)
    event["headers"] |= headers
    handler(lambda: None, logger=SILENT)(event)
    span = spans.one
    assert parent(span) == ((TRACE, PARENT) if continued else None)
    assert [f"{link.context.trace_id:032x}" for link in span.links] == ([TRACE] if linked else [])


def test_messages_are_linked(spans: Spans) -> None:
    first = sqs_event("x", trace=XRAY)["Records"]
    second = sqs_event("x", attributes={"traceparent": W3C.replace("5759", "1111")})["Records"]
    third = sqs_event("x")["Records"]
    batch_handler(lambda: None, logger=SILENT)({"Records": first + second + third})
    links = [f"{link.context.trace_id:032x}" for link in spans.one.links]
    assert links == [TRACE, TRACE.replace("5759", "1111")]


def test_within_a_span_of_this_process_it_is_a_part(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", XRAY)
    with trace.get_tracer_provider().get_tracer("theirs").start_as_current_span("outer"):
        task_handler(lambda event: 1, logger=SILENT)({})
    inner, outer = spans.all
    assert (parent(inner), inner.kind) == (ids(outer), SpanKind.INTERNAL)


@pytest.fixture
def invoker(monkeypatch: pytest.MonkeyPatch) -> FakeInvoker:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "shop")
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    made = _process.state.invoker = FakeInvoker()
    return made


def called(kind: str, *arguments: Any, **options: Any) -> Any:
    async def waiting() -> Any:
        return await ainvoke(*arguments, **options)

    return invoke(*arguments, **options) if kind == "sync" else _process.run(waiting())


@both
def test_a_call_of_a_route(kind: str, spans: Spans, invoker: FakeInvoker) -> None:
    invoker.add_route("users/{id}", handler(lambda: None, logger=SILENT))
    result = called(kind, "users/{id}", method="GET", path_params={"id": "1"})
    assert result.status_code == 200
    callee, call = spans.all
    assert (call.name, call.kind) == ("invoke users/{id}", SpanKind.CLIENT)
    assert attributes(call) == {
        "faas.invoked_provider": "aws",
        "faas.invoked_region": "eu-west-1",
        "faas.invoked_name": result.target,
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.template": "users/{id}",
    }
    assert parent(callee) == ids(call)
    (recorded,) = invoker.calls
    trace_id, span_id = ids(call)
    assert recorded.payload["headers"]["traceparent"].rpartition("-")[0] == f"00-{trace_id}-{span_id}"
    assert recorded.trace == f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={span_id};Sampled=1"


@both
def test_a_call_of_a_function(kind: str, spans: Spans, invoker: FakeInvoker) -> None:
    invoker.add_function("job", task_handler(lambda event: 1, logger=SILENT))

    def outer(event: Any) -> Any:
        return invoke(function="job", payload=1).data

    async def aouter(event: Any) -> Any:
        return (await ainvoke(function="job", payload=1)).data

    assert task_handler(outer if kind == "sync" else aouter, logger=SILENT)({}) == 1
    callee, call, caller = spans.all
    assert (parent(callee), parent(call), parent(caller)) == (ids(call), ids(caller), None)
    assert call.name == "invoke job"


@both
def test_calls_that_fail(kind: str, spans: Spans, invoker: FakeInvoker) -> None:
    invoker.add_route("users/{id}", handler(failing(NotFoundError("User")), logger=SILENT))
    assert called(kind, "users/{id}", method="GET", path_params={"id": "1"}).status_code == 404
    invoker.add_function("job", task_handler(failing(KeyError("x")), logger=SILENT))
    with pytest.raises(InvokeError):
        called(kind, function="job", payload=1)
    calls = [span for span in spans.all if span.kind is SpanKind.CLIENT]
    assert [attributes(call)["error.type"] for call in calls] == ["404", "function_error"]
    assert all(call.status.status_code is StatusCode.ERROR for call in calls)
    assert "faas.invoked_name" in attributes(calls[1])


@both
def test_a_call_whose_fallback_is_used(kind: str, spans: Spans, invoker: FakeInvoker) -> None:
    """The caller goes on; that its call has failed is to be seen all the same, and so is that none was made."""
    configure_circuit_breaker(failure_threshold=1)
    target: dict[str, Any] = {"fallback": {"statusCode": 200, "data": []}}
    for _ in range(2):
        if kind == "sync":
            assert invoke("missing", **target).status_code == 200
        else:
            assert asyncio.run(ainvoke("missing", **target)).status_code == 200
    failed, open_ = spans.all
    for span in (failed, open_):
        assert span.status.status_code is StatusCode.ERROR
        assert "http.response.status_code" not in attributes(span), "nobody has answered"
    assert attributes(failed)["error.type"] == "target_not_found"
    assert [event.name for event in failed.events] == ["exception"]
    assert attributes(open_)["error.type"] == "circuit_open"
    assert not open_.events


def test_a_call_that_nobody_waits_for(spans: Spans, invoker: FakeInvoker) -> None:
    invoker.add_function("job", task_handler(lambda event: 1, logger=SILENT))
    invoke(function="job", payload=1, mode="async")
    assert spans.all[-1].kind is SpanKind.PRODUCER


def test_the_lineage_of_lambda_is_kept(spans: Spans, invoker: FakeInvoker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", f"{XRAY};Lineage=1:abc:3")
    invoker.add_function("job", returns=1)
    task_handler(lambda event: invoke(function="job").data, logger=SILENT)({})
    (call,) = invoker.calls
    assert call.trace is not None
    assert call.trace.startswith(f"Root=1-{TRACE[:8]}-{TRACE[8:]};")
    assert call.trace.endswith(";Lineage=1:abc:3")


def test_an_explicit_trace_wins(spans: Spans, invoker: FakeInvoker) -> None:
    invoker.add_function("job", returns=1)
    invoke(function="job", trace=XRAY)
    assert invoker.calls[0].trace == XRAY


# --- with nothing set up --------------------------------------------------------------------------------------------


def test_without_a_provider_nothing_is_traced(invoker: FakeInvoker) -> None:
    invoker.add_function("job", returns=1)
    assert task_handler(lambda event: invoke(function="job").data, logger=SILENT)({}) == 1
    assert invoker.calls[0].trace is None
    assert handler(lambda: None, logger=SILENT)(http_api_event("GET", "/"))["statusCode"] == 200


def test_spans_leave_before_lambda_freezes_them(monkeypatch: pytest.MonkeyPatch, spans: Spans) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(trace.get_tracer_provider(), "force_flush", flushed.append)
    main = task_handler(lambda event: 1, logger=SILENT)
    main({}, FakeLambdaContext())
    assert flushed == []
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    main({}, FakeLambdaContext())
    main({}, FakeLambdaContext(timeout_ms=700))
    main({}, FakeLambdaContext(timeout_ms=100))
    assert flushed == [1000, 500]

    def broken(timeout_ms: int) -> None:
        raise OSError("no collector")

    monkeypatch.setattr(trace.get_tracer_provider(), "force_flush", broken)
    assert main({}, FakeLambdaContext()) == 1


PROGRAM = """
import sys, json, timeit
sys.path.insert(0, {source!r})
from venturekit.runtime import handler, invoke, task_handler
main = task_handler(lambda event: 1, task_log=False)
assert main({{}}) == 1
print(json.dumps([name for name in sys.modules if "opentelemetry" in name or "telemetry" in name]))
"""


def test_without_the_package_nothing_of_it_is_loaded() -> None:
    program = PROGRAM.format(source=str(Path(venturekit.__file__).parents[1]))
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stderr, json.loads(done.stdout)) == ("", [])


def test_without_the_package_it_costs_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from venturekit.runtime import wrapped

    # The real modules less the API, as where it is not installed.
    monkeypatch.setattr(wrapped, "modules", {n: m for n, m in sys.modules.items() if "opentelemetry" not in n})
    chain = task_handler(lambda event: 1)._chain
    whole = next(cell.cell_contents for cell in chain.__closure__ or () if callable(cell.cell_contents))  # type: ignore[attr-defined]
    ctx = SimpleNamespace(event=1, logger=SILENT)
    inner = min(timeit.repeat(lambda: whole(ctx), number=500, repeat=15))
    outer = min(timeit.repeat(lambda: chain(ctx), number=500, repeat=15))
    microseconds = (outer - inner) * 1_000_000 / 500
    assert microseconds < 1.0
