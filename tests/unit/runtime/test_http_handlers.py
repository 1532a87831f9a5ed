"""``handler()``: its forms, what it calls, what it refuses, statuses, scopes, middleware, logs, isolation."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from typing import Any

import pytest

from tests.unit.runtime.support import TRACE, Context, Lines, data, failure, v2
from venturekit.runtime import (
    ConflictError,
    Handler,
    HandlerConfigError,
    Logger,
    Middleware,
    MiddlewareError,
    NotFoundError,
    RequestContext,
    Response,
    ValidationError,
    VentureError,
    compose,
    current_context,
    error,
    handler,
)


def quiet(fn: Any = None, **options: Any) -> Any:
    """A handler without access log."""
    return handler(fn, access_log=False, **options) if fn else handler(access_log=False, **options)


# --- forms ----------------------------------------------------------------------------------------------------------


def greet(body: Any, ctx: RequestContext) -> dict[str, Any]:
    """Greets."""
    return {"path": ctx.path, "body": body}


async def agreet(body: Any, ctx: RequestContext) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"path": ctx.path, "body": body}


FORMS = {
    "bare decorator": handler,
    "decorator with options": handler(log_level="silent"),
    "function and options": lambda fn: handler(fn, log_level="silent"),
    "object": lambda fn: handler({"fn": fn, "log_level": "silent"}),
    "object and options": lambda fn: handler({"fn": fn, "log_level": "info"}, log_level="silent"),
}


@pytest.mark.parametrize("fn", [greet, agreet])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_makes_the_same_handler(form: str, fn: Any, capsys: pytest.CaptureFixture[str]) -> None:
    main = FORMS[form](fn)
    assert isinstance(main, Handler)
    assert main(v2(body={"a": 1}), Context()) == {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": '{"data":{"path":"/users/42","body":{"a":1}}}',
        "isBase64Encoded": False,
    }


def test_a_handler_tells_what_it_is_of() -> None:
    main = quiet(greet)
    assert (main.__name__, main.__doc__, main.__module__) == ("greet", "Greets.", __name__)
    assert main.fn is main.__wrapped__ is greet
    assert repr(main) == f"<handler {__name__}.greet>"


def test_options_of_the_call_win_over_those_of_the_object() -> None:
    assert handler({"fn": greet, "status": 200}, status=202).status == 202


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: handler(5), "5 is no function"),
        (lambda: handler({"status": 200}), "needs its function under 'fn'"),
        (lambda: handler(greet, scopes="a:b"), "scopes is a list of texts"),
        (lambda: handler(greet, scopes=[1]), "scopes is a list of texts"),
        (lambda: handler(greet, status=404), "200 to 299, and not 404"),
        (lambda: handler(greet, status="201"), "200 to 299, and not '201'"),
        (lambda: handler(greet, status=True), "200 to 299, and not True"),
        (lambda: handler(lambda a, b, c, d: 1), "needs 4 arguments by position, and there are 3: (body, ctx, logger)"),
        (lambda: handler(greet, middleware=[3]), "3 is no middleware"),
        (lambda: handler(greet, middleware=[greet_with_options]), "has to be called"),
        (lambda: handler(greet, middleware=[lambda ctx: ctx]), "takes (ctx, next)"),
        (lambda: handler(greet, middleware=[lambda a, b, c: a]), "takes (ctx, next)"),
        (lambda: handler(greet, middleware=[Middleware]), "is no middleware"),
        (lambda: Middleware("empty"), "has no function"),
        (lambda: Middleware("odd", 5), "which is no function"),  # type: ignore[arg-type]
        (lambda: handler(greet, body=object()), "is no schema"),
        (lambda: handler(greet, log_level="loud"), "log_level is 'loud'"),
        (lambda: handler(greet, log_level=20), "log_level is 20"),
        (lambda: handler(greet, query=3), "is no schema"),
        (lambda: handler(greet, unknown=1), "unknown"),  # type: ignore[call-overload]
        (lambda: handler(streams, transactional=True), "after its transaction has ended"),
        (lambda: handler(astreams, transactional=True), "after its transaction has ended"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)


def greet_with_options(*, allow_origins: Any = ()) -> Any:
    """What a forgotten pair of parentheses leaves in the list."""


def streams() -> Any:
    yield "a"


async def astreams() -> Any:
    yield "a"


# --- what is called -------------------------------------------------------------------------------------------------


class Methods:
    def two(self, body: Any, ctx: Any) -> Any:
        return [type(body).__name__, type(ctx).__name__]

    def __call__(self, body: Any, ctx: Any, logger: Any) -> Any:
        return [type(body).__name__, type(ctx).__name__, isinstance(logger, Logger)]

    @staticmethod
    def static(body: Any) -> Any:
        return [type(body).__name__]

    async def waits(self, body: Any, ctx: Any) -> Any:
        return [type(body).__name__, type(ctx).__name__]


def traced(fn: Any) -> Any:
    @functools.wraps(fn)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return fn(*arguments, **named)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda: ["none"], ["none"]),
        (lambda body: [type(body).__name__], ["dict"]),
        (lambda body, ctx: [type(ctx).__name__], ["RequestContext"]),
        (lambda body, ctx, logger: [isinstance(logger, Logger)], [True]),
        (lambda *arguments: [len(arguments)], [3]),
        (lambda body, ctx, logger, own=7: [own], [7]),
        (lambda body, *, own=7: [own], [7]),
        (Methods().two, ["dict", "RequestContext"]),
        (Methods(), ["dict", "RequestContext", True]),
        (Methods.static, ["dict"]),
        (Methods().waits, ["dict", "RequestContext"]),
        (traced(lambda body, ctx: [type(ctx).__name__]), ["RequestContext"]),
        (functools.partial(lambda extra, body: [extra, type(body).__name__], 5), [5, "dict"]),
        (functools.partial(Methods.waits, Methods()), ["dict", "RequestContext"]),
    ],
)
def test_a_function_gets_the_arguments_that_it_takes(fn: Any, expected: Any) -> None:
    assert data(quiet(fn)(v2(body={"a": 1}))) == expected


def test_a_coroutine_out_of_a_blocking_function_is_said_to_be_one(lines: Lines) -> None:
    result = handler(lambda: agreet(None, None), logger=lines.logger())(v2())  # type: ignore[arg-type]
    assert result["statusCode"] == 500
    assert "wrapped in a function that is not async def itself" in lines[0]


def test_the_body_is_not_read_for_a_function_without_arguments() -> None:
    assert quiet(lambda: "ok")(v2(body="{"))["statusCode"] == 200


# --- statuses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 200), ("PUT", 200), ("PATCH", 200), ("POST", 201), ("DELETE", 204), ("HEAD", 200), ("OPTIONS", 200)],
)
def test_the_status_of_a_success_is_that_of_the_method(method: str, status: int) -> None:
    result = quiet(lambda: {"a": 1})(v2(method))
    assert result["statusCode"] == status
    assert result["body"] == ("" if status == 204 else '{"data":{"a":1}}')


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_status_of_a_handler_wins(method: str, status: int) -> None:
    assert quiet(lambda: 1, status=status)(v2(method))["statusCode"] == status


# --- scopes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        (None, 401),
        ({}, 401),
        ({"sub": ""}, 401),
        ({"sub": ["u"]}, 401),
        ({"sub": "u"}, 403),
        ({"sub": "u", "scope": "a"}, 403),
        ({"sub": "u", "scope": "a b"}, 200),
        ({"sub": "u", "scope": "b c a"}, 200),
        ({"sub": "u", "scope": "[a b]"}, 200),
        ({"sub": "u", "scope": "a,b"}, 403),
        ({"sub": "u", "scope": 5}, 403),
        ({"sub": "u", "scopes": ["a", "b"]}, 200),
        ({"sub": "u", "scopes": "a,b"}, 200),
        ({"sub": "u", "scp": "a b"}, 200),
        ({"sub": "u", "scope": "", "scopes": ["a", "b"]}, 403),
        ({"sub": "u", "scope": "ab"}, 403),
        ({"sub": 7, "scope": "a b"}, 200),
        ({"sub": True, "scope": "a b"}, 401),
    ],
)
def test_every_scope_must_be_granted(claims: Any, status: int) -> None:
    result = quiet(lambda: 1, scopes=["a", "b"])(v2(claims=claims))
    assert result["statusCode"] == status
    if status == 401:
        assert failure(result) == {"code": "UNAUTHORIZED", "message": "Authentication is required"}
    if status == 403:
        assert failure(result)["code"] == "FORBIDDEN"
        assert failure(result)["details"]["missingScopes"]


@pytest.mark.parametrize(("internal_scopes", "status"), [(False, 200), (True, 401)])
def test_scopes_are_not_asked_of_other_functions(internal_scopes: bool, status: int) -> None:
    main = quiet(lambda: 1, scopes=["a"], internal_scopes=internal_scopes)
    assert main(v2(marker={"invokeId": "i"}))["statusCode"] == status


def test_scopes_come_before_validation() -> None:
    assert quiet(lambda body: 1, scopes=["a"], body=dict[str, int])(v2("POST", body="{"))["statusCode"] == 401


# --- middleware -----------------------------------------------------------------------------------------------------


def noting(name: str, seen: list[str], *, waits: bool) -> Middleware:
    def fn(ctx: Any, next: Any) -> Any:
        seen.append(f"{name} in")
        result = next()
        seen.append(f"{name} out {result.status_code}")
        return result

    async def async_fn(ctx: Any, next: Any) -> Any:
        seen.append(f"{name} in")
        result = await next()
        seen.append(f"{name} out {result.status_code}")
        return result

    return Middleware(name, async_fn if waits else fn)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("composed", [False, True])
def test_the_first_middleware_is_the_outermost(waits: bool, composed: bool) -> None:
    seen: list[str] = []
    chain = [noting("a", seen, waits=waits), noting("b", seen, waits=waits)]
    main = quiet(greet, middleware=[compose(chain)] if composed else chain)
    assert main(v2())["statusCode"] == 200
    assert seen == ["a in", "b in", "b out 200", "a out 200"]


def test_asynchronous_middleware_may_wrap_a_function_that_blocks() -> None:
    main = quiet(greet, middleware=[noting("a", [], waits=True)])
    assert main.is_async
    assert main(v2())["statusCode"] == 200


@pytest.mark.parametrize(
    ("fn", "chain", "text"),
    [
        (agreet, [noting("slow", [], waits=False)], "the handler is asynchronous"),
        (
            greet,
            [noting("quick", [], waits=True), noting("slow", [], waits=False)],
            "the middleware quick is asynchronous, so the chain is, but the middleware slow is not",
        ),
    ],
)
def test_middleware_that_blocks_is_refused_around_what_waits(fn: Any, chain: Any, text: str) -> None:
    with pytest.raises(MiddlewareError) as caught:
        handler(fn, middleware=chain)
    assert text in str(caught.value)
    assert "Write it with async def" in str(caught.value)


def test_a_composition_is_refused_where_its_parts_would_be() -> None:
    with pytest.raises(MiddlewareError, match="slow is not"):
        compose([noting("quick", [], waits=True), noting("slow", [], waits=False)])
    assert compose([]).name == "nothing"
    assert quiet(greet, middleware=[compose([])])(v2())["statusCode"] == 200
    assert quiet(agreet, middleware=[compose([])])(v2())["statusCode"] == 200


def test_both_kinds_in_one_serve_both() -> None:
    def fn(ctx: Any, next: Any) -> Any:
        return next()

    async def async_fn(ctx: Any, next: Any) -> Any:
        return await next()

    both = Middleware("both", fn, async_fn=async_fn)
    for function in (greet, agreet):
        assert quiet(function, middleware=[both, compose([both])])(v2())["statusCode"] == 200


@pytest.mark.parametrize(
    "given", [lambda ctx, next: next(), {"name": "named", "fn": lambda ctx, next: next()}, {"fn": lambda c, n: n()}]
)
def test_functions_and_objects_are_middleware(given: Any) -> None:
    assert quiet(greet, middleware=[given])(v2())["statusCode"] == 200


def test_next_is_called_once(lines: Lines) -> None:
    def twice(ctx: Any, next: Any) -> Any:
        next()
        return next()

    calls: list[int] = []
    main = handler(lambda: calls.append(1), middleware=[twice], logger=lines.logger())
    assert main(v2())["statusCode"] == 500
    assert calls == [1]
    assert "called next() twice" in lines[0]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (Response("no", 403), 403, "no"),
        ({"statusCode": 418, "body": "teapot"}, 418, "teapot"),
        ({"cached": True}, 200, '{"data":{"cached":true}}'),
        ({"data": [1]}, 200, '{"data":[1]}'),
        (None, 500, '{"error":{"code":"INTERNAL_ERROR","message":"Internal server error"}}'),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_middleware_may_answer_instead(answer: Any, status: int, body: str, waits: bool) -> None:
    async def waiting(ctx: Any, next: Any) -> Any:
        return answer

    main = quiet(lambda: 1 / 0, middleware=[waiting if waits else lambda ctx, next: answer])
    result = main(v2())
    assert (result["statusCode"], result["body"]) == (status, body)


def test_a_middleware_may_catch_and_change() -> None:
    def fn(ctx: Any, next: Any) -> Any:
        try:
            return next()
        except ZeroDivisionError:
            ctx.response_headers["X-Caught"] = "yes"
            return error(422, {"caught": True})

    result = quiet(lambda: 1 / 0, middleware=[fn])(v2())
    assert result["statusCode"] == 422
    assert result["headers"]["X-Caught"] == "yes"


def test_headers_of_a_middleware_are_on_errors_too() -> None:
    def fn(ctx: Any, next: Any) -> Any:
        ctx.response_headers["X-Id"] = ctx.request_id
        return next()

    assert quiet(lambda: 1 / 0, middleware=[fn])(v2())["headers"]["X-Id"] == "request-1"


def test_an_added_header_takes_the_place_of_one_that_is_written_otherwise() -> None:
    def fn(ctx: Any, next: Any) -> Any:
        ctx.response_headers["x-id"] = "new"
        return next()

    main = quiet(lambda: Response("a", headers={"X-Id": "old", "X-B": "b"}), middleware=[fn])
    assert main(v2())["headers"] == {"Content-Type": "text/plain; charset=utf-8", "X-B": "b", "x-id": "new"}


def test_hoisted_middleware_comes_first() -> None:
    seen: list[str] = []
    late = noting("preflight", seen, waits=False)
    late.hoisted = True
    quiet(greet, middleware=[noting("a", seen, waits=False), late])(v2())
    assert seen[:2] == ["preflight in", "a in"]


def test_a_middleware_may_set_the_body() -> None:
    def decrypt(ctx: Any, next: Any) -> Any:
        assert ctx.body == {"sealed": True}
        ctx.body = {"open": 1}
        return next()

    assert data(quiet(lambda body: body, middleware=[decrypt], body=dict[str, int])(v2(body={"sealed": True}))) == {
        "open": 1
    }


def test_the_limit_of_the_handler_holds_for_a_middleware_that_reads_the_body() -> None:
    def reads(ctx: Any, next: Any) -> Any:
        assert ctx.body
        return next()

    assert quiet(lambda: 1, middleware=[reads], max_body_bytes=10)(v2(body="[" + "1," * 9 + "1]"))["statusCode"] == 413


# --- errors ---------------------------------------------------------------------------------------------------------


class OutOfStockError(VentureError):
    status_code = 409
    code = "OUT_OF_STOCK"


class ForgetfulError(VentureError):
    """Does not call the constructor of its base."""

    status_code = 410

    def __init__(self, item: str) -> None:
        self.item = item


class OddStatusError(VentureError):
    status_code = "x"  # type: ignore[assignment]


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


SECRET = "postgres://admin:hunter2@db/prod"


@pytest.mark.parametrize(
    ("raised", "status", "expected"),
    [
        (
            NotFoundError("Task", "123"),
            404,
            {"code": "NOT_FOUND", "message": "Task '123' not found", "details": {"resource": "Task", "id": "123"}},
        ),
        (ConflictError("taken"), 409, {"code": "CONFLICT", "message": "taken"}),
        (OutOfStockError("none left"), 409, {"code": "OUT_OF_STOCK", "message": "none left"}),
        (ForgetfulError("cup"), 410, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (OddStatusError("x"), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (VentureError("x", status_code=0), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (
            VentureError("x", details={"a": object()}),
            500,
            {"code": "INTERNAL_ERROR", "message": "Internal server error"},
        ),
        (
            VentureError("x", headers={"a": "b\r\nc"}),
            500,
            {"code": "INTERNAL_ERROR", "message": "Internal server error"},
        ),
        (RuntimeError(SECRET), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (KeyError(SECRET), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (UnshowableError(), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (RecursionError(SECRET), 500, {"code": "INTERNAL_ERROR", "message": "Internal server error"}),
        (
            ExceptionGroup(SECRET, [ValueError(SECRET)]),
            500,
            {"code": "INTERNAL_ERROR", "message": "Internal server error"},
        ),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_what_is_raised_is_answered(raised: Exception, status: int, expected: Any, waits: bool, lines: Lines) -> None:
    def fn() -> Any:
        raise raised

    async def afn() -> Any:
        raise raised

    result = handler(afn if waits else fn, logger=lines.logger())(v2())
    assert result["statusCode"] == status
    assert failure(result) == expected
    assert SECRET not in json.dumps(result)
    # It is in the log, once, with its stack trace if nobody meant it.
    levels = [record["level"] for record in lines.records]
    assert levels[-1] == "INFO"
    assert 2 <= len(levels) <= 3
    assert ("WARN" in levels) if status < 500 else ("stackTrace" in lines.records[0])


def test_the_log_names_the_fields_that_are_wrong(lines: Lines) -> None:
    def fn() -> Any:
        raise ValidationError("no", {"sku": [SECRET], "x" * 200: ["?"]} | {f"f{number}": "?" for number in range(50)})

    handler(fn, logger=lines.logger())(v2())
    assert lines.records[0]["fields"] == ["sku", "x" * 100, *(f"f{number}" for number in range(18))]
    assert SECRET not in json.dumps(lines.records)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_what_ends_the_process_is_let_through(kind: type[BaseException]) -> None:
    def fn() -> Any:
        raise kind

    with pytest.raises(kind):
        quiet(fn)(v2())


# --- logs -----------------------------------------------------------------------------------------------------------


def test_the_end_is_logged_and_for_debugging_the_start(lines: Lines) -> None:
    handler(greet, logger=lines.logger())(v2())
    handler(greet, logger=lines.logger(min_level="debug"))(v2(headers={"x-amzn-trace-id": TRACE}))
    _, started, completed = lines.records
    assert (started["message"], started["level"]) == ("request started", "DEBUG")
    assert (started["method"], started["path"], started["requestId"]) == ("GET", "/users/42", "request-1")
    assert (completed["message"], completed["level"]) == ("request completed", "INFO")
    assert (completed["method"], completed["path"], completed["status"]) == ("GET", "/users/42", 200)
    assert completed["durationMs"] >= 0
    assert completed["traceId"] == started["traceId"] == "1-5759e988-bd862e3fe1be46a994272793"


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 1), ("warn", 0), ("silent", 0)])
def test_the_level_of_a_handler_is_its_own(level: Any, count: int, lines: Lines) -> None:
    base = lines.logger(min_level="error")
    handler(lambda body, ctx, logger: logger.debug("detail"), logger=base, log_level=level)(v2())
    assert len(lines) == count
    assert base.level == "error"


def test_the_access_log_can_be_turned_off(lines: Lines) -> None:
    handler(lambda body, ctx, logger: logger.info("mine"), logger=lines.logger(), access_log=False)(v2())
    assert [record["message"] for record in lines.records] == ["mine"]


def test_the_logged_status_is_the_one_that_was_sent(lines: Lines) -> None:
    shared = Response({1, object()}, 200)
    main = handler(lambda: shared, logger=lines.logger())
    assert main(v2())["statusCode"] == 500
    assert lines.records[-1]["status"] == 500
    # A response that the function keeps for the next request is not touched.
    assert shared.status_code == 200


# --- isolation ------------------------------------------------------------------------------------------------------


def test_threads_have_contexts_of_their_own() -> None:
    together = threading.Barrier(4, timeout=20)

    def fn(body: Any, ctx: RequestContext) -> Any:
        together.wait()
        current = current_context()
        assert current is ctx
        return ctx.path

    main = quiet(fn)
    found: dict[str, Any] = {}

    def call(path: str) -> None:
        found[path] = data(main(v2(path=path)))

    threads = [threading.Thread(target=call, args=(f"/{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {f"/{number}": f"/{number}" for number in range(4)}
    assert current_context() is None


def test_threads_may_call_asynchronous_handlers_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=20)

    async def fn(body: Any, ctx: RequestContext) -> Any:
        together.wait()
        await asyncio.sleep(0)
        return ctx.path

    main = quiet(fn)
    found: dict[str, Any] = {}

    def call(path: str) -> None:
        found[path] = data(main(v2(path=path)))

    threads = [threading.Thread(target=call, args=(f"/{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {f"/{number}": f"/{number}" for number in range(3)}


def test_tasks_have_contexts_of_their_own() -> None:
    async def fn(body: Any, ctx: RequestContext) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
            assert current_context() is ctx
        return ctx.path

    main = quiet(fn)

    async def together() -> list[Any]:
        return [data(result) for result in await asyncio.gather(*(main.acall(v2(path=f"/{n}")) for n in range(8)))]

    assert asyncio.run(together()) == [f"/{n}" for n in range(8)]


def test_the_context_ends_with_the_request() -> None:
    quiet(lambda: 1 / 0)(v2())
    assert current_context() is None


def test_one_event_loop_stays() -> None:
    loops = []

    async def fn() -> None:
        loops.append(asyncio.get_running_loop())

    main = quiet(fn)
    main(v2())
    main(v2())
    assert loops[0] is loops[1]


def test_a_waiting_handler_within_a_running_loop_says_how_to_call_it() -> None:
    main = quiet(agreet)

    async def inside() -> Any:
        with pytest.raises(RuntimeError, match=r"await agreet\.acall\(event, context\)"):
            main(v2())
        return await main.acall(v2())

    assert asyncio.run(inside())["statusCode"] == 200


def test_a_blocking_handler_can_be_awaited_too() -> None:
    assert asyncio.run(quiet(greet).acall(v2()))["statusCode"] == 200


def test_a_cancelled_handler_is_no_response() -> None:
    started = asyncio.Event()

    async def fn() -> None:
        started.set()
        await asyncio.Event().wait()

    async def outside() -> None:
        task = asyncio.create_task(quiet(fn).acall(v2()))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(outside())


def test_handlers_may_call_one_another() -> None:
    inner = quiet(lambda body, ctx: ctx.path)

    def fn(body: Any, ctx: RequestContext) -> Any:
        found = data(inner(v2(path="/inner")))
        return [found, current_context() is ctx]

    assert data(quiet(fn)(v2(path="/outer"))) == ["/inner", True]


def test_the_configuration_error_is_a_type_error() -> None:
    assert issubclass(HandlerConfigError, TypeError)
