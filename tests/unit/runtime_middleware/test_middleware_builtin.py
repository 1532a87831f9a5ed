"""Logging, timing, request ids and the error boundary, around requests and tasks, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_middleware.middleware_lab import (
    KINDS,
    Clock,
    Records,
    answer,
    data_of,
    error_of,
    request,
    run_task,
)
from venturekit.runtime import (
    MiddlewareError,
    NotFoundError,
    RequestContext,
    Response,
    TaskContext,
    compose,
    error_boundary_middleware,
    handler,
    logging_middleware,
    request_id_middleware,
    timing_middleware,
)

both = pytest.mark.parametrize("kind", KINDS)


def fails(error: Exception) -> Any:
    """A function of a handler that raises."""

    def fn(given: Any, ctx: Any) -> Any:
        raise error

    return fn


def late(clock: Clock, seconds: float, then: Any = None) -> Any:
    """A function that takes its time."""

    def fn(given: Any, ctx: Any) -> Any:
        clock.now += seconds
        if isinstance(then, Exception):
            raise then
        return then

    return fn


# --- logging ------------------------------------------------------------------------------------------------------


@both
def test_start_and_end_of_a_request_are_logged(kind: str) -> None:
    records, clock = Records(), Clock()
    middleware = logging_middleware(records.logger, clock=clock)
    answer(middleware, request("POST"), late(clock, 0.0123), kind=kind)
    start, end = records.all
    assert (start["message"], start["level"], start["method"], start["path"]) == (
        *("request started", "INFO", "POST", "/users"),
    )
    assert (end["message"], end["status"], end["durationMs"]) == ("request completed", 201, 12.3)
    assert start["requestId"] == end["requestId"] == "own-id"
    assert "status" not in start


@both
@pytest.mark.parametrize(
    ("error", "level", "status"),
    [(NotFoundError("Task", "1"), "WARN", 404), (ZeroDivisionError("secret"), "ERROR", None)],
)
def test_a_failure_is_logged_and_raised_again(kind: str, error: Exception, level: str, status: int | None) -> None:
    records, clock = Records(), Clock()
    middleware = logging_middleware(records.logger, clock=clock)
    result = answer(middleware, request(), late(clock, 0.5, error), kind=kind)
    assert result["statusCode"] == (status or 500)
    assert records.messages == ["INFO request started", f"{level} request failed"]
    record = records.all[1]
    assert (record["errorType"], record["errorMessage"]) == (type(error).__name__, str(error))
    assert (record["durationMs"], record.get("status")) == (500.0, status)
    assert "stackTrace" not in record


@both
def test_tasks_are_logged_by_their_function(kind: str) -> None:
    records, clock = Records(), Clock()
    middleware = logging_middleware(clock=clock)
    context = type("Context", (), {"function_name": "app-dev-fn-a"})
    run_task(middleware, {}, late(clock, 0.001, "x"), kind=kind, logger=records.logger, context=context)
    assert records.messages == ["INFO task started", "INFO task completed"]
    assert records.all[1]["function"] == "app-dev-fn-a"
    assert records.all[1]["durationMs"] == 1.0
    with pytest.raises(KeyError):
        run_task(middleware, {}, fails(KeyError("x")), kind=kind, logger=records.logger)
    assert records.messages[-1] == "ERROR task failed"


def test_without_its_own_logger_it_writes_to_that_of_the_handler() -> None:
    records = Records()
    answer(logging_middleware(), request(), logger=records.logger)
    assert records.messages == ["INFO request started", "INFO request completed"]


# --- timing -------------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("seconds", "text"), [(0.01234, "12.34ms"), (0.0, "0.00ms"), (61.5, "61500.00ms"), (0.000006, "0.01ms")]
)
def test_a_response_says_how_long_it_took(kind: str, seconds: float, text: str) -> None:
    clock = Clock(0.0)
    result = answer(timing_middleware(clock=clock), request(), late(clock, seconds), kind=kind)
    assert result["headers"]["X-Response-Time"] == text


@both
def test_errors_and_real_clocks_too(kind: str) -> None:
    result = answer(timing_middleware("X-Took"), request(), fails(KeyError("x")), kind=kind)
    assert result["statusCode"] == 500
    assert re.fullmatch(r"\d+\.\d\dms", result["headers"]["X-Took"])


@both
@pytest.mark.parametrize("make", [timing_middleware, request_id_middleware, error_boundary_middleware])
def test_a_task_goes_through_what_is_for_responses(kind: str, make: Any) -> None:
    assert run_task(make(), {}, kind=kind) == "done"
    with pytest.raises(KeyError):
        run_task(make(), {}, fails(KeyError("x")), kind=kind)


@pytest.mark.parametrize("make", [timing_middleware, request_id_middleware])
@pytest.mark.parametrize("name", ["", "a b", "x:y", "x\r\ny", "ä"])
def test_a_header_that_is_none_is_refused(make: Any, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a header"):
        make(name)


# --- request ids --------------------------------------------------------------------------------------------------

GOOD = ["a", "550e8400-e29b-41d4-a716-446655440000", "Root=1-67891233-abcdef012345678912345678", "a" * 128, "JKJaX=@."]
BAD = ["", "a" * 129, "a b", "a\r\nset-cookie: x=1", "a\n", 'a"b', "ä", "a;b", "<script>", "a,b", "\x00"]


@both
@pytest.mark.parametrize("given_id", GOOD)
def test_an_id_that_was_brought_along(kind: str, given_id: str) -> None:
    event = request(headers={"X-REQUEST-ID": given_id})
    result = answer(request_id_middleware(), event, lambda body, ctx: ctx.request_id, kind=kind)
    assert data_of(result) == result["headers"]["X-Request-Id"] == given_id


@pytest.mark.parametrize("given_id", BAD)
def test_an_id_that_is_none_is_ignored(given_id: str) -> None:
    event = request(headers={"x-request-id": given_id})
    result = answer(request_id_middleware(), event, lambda body, ctx: ctx.request_id)
    assert data_of(result) == result["headers"]["X-Request-Id"] == "own-id"


@given(st.text())
def test_whatever_comes_the_response_can_be_sent(text: str) -> None:
    result = answer(request_id_middleware(), request(headers={"x-request-id": text}))
    assert result["statusCode"] == 200
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", result["headers"]["X-Request-Id"])


def test_an_odd_id_of_the_front_door_is_replaced() -> None:
    event = request()
    event["requestContext"]["requestId"] = "a\nb"
    sent = answer(request_id_middleware("X-Correlation-Id"), event)["headers"]["X-Correlation-Id"]
    assert re.fullmatch(r"[0-9a-f-]{36}", sent)


def test_logs_have_the_id_that_the_response_has() -> None:
    records = Records()

    def fn(body: Any, ctx: RequestContext) -> Any:
        ctx.logger.info("inside")
        raise NotFoundError("Task", "7")

    result = answer(
        request_id_middleware(), request(headers={"x-request-id": "from-caller"}), fn, logger=records.logger
    )
    assert result["headers"]["X-Request-Id"] == "from-caller"
    assert {record["requestId"] for record in records.all} == {"from-caller"}


# --- error boundary -----------------------------------------------------------------------------------------------


@both
def test_the_usual_response_of_an_error(kind: str) -> None:
    seen = []

    def outside(ctx: Any, go_on: Any) -> Any:
        seen.append(go_on())
        return seen[0]

    async def aoutside(ctx: Any, go_on: Any) -> Any:
        seen.append(await go_on())
        return seen[0]

    chain = [outside if kind == "sync" else aoutside, error_boundary_middleware()]
    result = answer(chain, request(), fails(ZeroDivisionError("secret")), kind=kind)
    assert error_of(result) == {"code": "INTERNAL_ERROR", "message": "Internal server error"}
    assert isinstance(seen[0], Response)
    assert "secret" not in json.dumps(result)


@both
def test_a_handler_of_errors_may_take_over(kind: str) -> None:
    def instead(error: Exception, ctx: Any) -> Any:
        return Response({"oops": str(error)}, 418) if isinstance(error, KeyError) else None

    middleware = error_boundary_middleware(instead)
    assert answer(middleware, request(), fails(KeyError("x")), kind=kind)["statusCode"] == 418
    assert answer(middleware, request(), fails(NotFoundError()), kind=kind)["statusCode"] == 404
    assert answer(middleware, request(), kind=kind)["statusCode"] == 200


@both
def test_in_a_task_it_may_give_the_result(kind: str) -> None:
    middleware = error_boundary_middleware(lambda error, ctx: "saved" if isinstance(error, KeyError) else None)
    assert run_task(middleware, {}, fails(KeyError("x")), kind=kind) == "saved"
    with pytest.raises(ValueError, match="y"):
        run_task(middleware, {}, fails(ValueError("y")), kind=kind)


def test_a_handler_of_errors_that_waits() -> None:
    async def instead(error: Exception, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return Response("waited", 409)

    main = handler(fails(KeyError("x")), middleware=[error_boundary_middleware(instead)], access_log=False)
    assert main.is_async
    assert (main(request())["statusCode"], main(request())["body"]) == (409, "waited")


def test_a_handler_of_errors_that_fails_itself_leaks_nothing() -> None:
    records = Records()

    def instead(error: Exception, ctx: Any) -> Any:
        raise RuntimeError("worse")

    result = answer(error_boundary_middleware(instead), request(), fails(KeyError("x")), logger=records.logger)
    assert error_of(result)["code"] == "INTERNAL_ERROR"
    assert "KeyError" in "".join(records.all[-1]["stackTrace"])
    assert records.all[-1]["errorType"] == "RuntimeError"


def test_contexts_are_what_the_documentation_says() -> None:
    kinds = []

    def instead(error: Exception, ctx: Any) -> Any:
        kinds.append(type(ctx))

    answer(error_boundary_middleware(instead), request(), fails(KeyError("x")))
    with pytest.raises(KeyError):
        run_task(error_boundary_middleware(instead), {}, fails(KeyError("x")))
    assert kinds == [RequestContext, TaskContext]


# --- together -----------------------------------------------------------------------------------------------------


@both
def test_a_composition_of_them(kind: str) -> None:
    guarded = compose([request_id_middleware(), compose([timing_middleware(), error_boundary_middleware()])])
    result = answer(guarded, request(), fails(KeyError("x")), kind=kind)
    assert {"X-Request-Id", "X-Response-Time"} < set(result["headers"])


@pytest.mark.parametrize("make", [timing_middleware, request_id_middleware, error_boundary_middleware])
def test_the_function_that_makes_one_has_to_be_called(make: Any) -> None:
    with pytest.raises(MiddlewareError, match="has to be called"):
        handler(lambda: None, middleware=[make])
