"""``task_handler()``: schemas, attempts, timeouts, middleware, logs."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import threading
import time
from typing import Any

import pydantic
import pytest

from tests.unit.runtime.support import Context, Lines
from venturekit.runtime import (
    HandlerConfigError,
    Middleware,
    MiddlewareError,
    TaskContext,
    TaskHandler,
    TaskTimeoutError,
    TaskValidationError,
    current_context,
    handler,
    task_handler,
)


def quiet(fn: Any = None, **options: Any) -> Any:
    return task_handler(fn, task_log=False, **options) if fn else task_handler(task_log=False, **options)


def add(event: Any) -> Any:
    """Adds."""
    return event["a"] + 1


async def aadd(event: Any, ctx: Any) -> Any:
    await asyncio.sleep(0)
    return event["a"] + 1


FORMS = {
    "bare decorator": task_handler,
    "decorator with options": task_handler(log_level="silent"),
    "function and options": lambda fn: task_handler(fn, log_level="silent"),
    "object": lambda fn: task_handler({"fn": fn, "log_level": "silent"}),
}


@pytest.mark.parametrize("fn", [add, aadd])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_makes_the_same_task(form: str, fn: Any) -> None:
    main = FORMS[form](fn)
    assert isinstance(main, TaskHandler)
    assert main({"a": 1}, Context()) == 2
    assert (main.__name__, main.fn) == (fn.__name__, fn)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: task_handler(5), "no function"),
        (lambda: task_handler({"retries": 1}), "under 'fn'"),
        (lambda: task_handler(add, timeout=1, timeout_ms=1), "give one of them"),
        (lambda: task_handler(add, timeout_ms=0), "must be positive, and is 0"),
        (lambda: task_handler(add, timeout=-5), "must be positive, and is -5"),
        (lambda: task_handler(add, retries=-1), "cannot be negative"),
        (lambda: task_handler(add, retry_delay_ms=-1), "cannot be negative"),
        (lambda: task_handler(lambda a, b, c, d: 1), "there are 3: (event, ctx, logger)"),
        (lambda: task_handler(add, event=5), "is no schema"),
        (lambda: task_handler(add, log_level="loud"), "log_level is 'loud'"),
        (lambda: task_handler(aadd, middleware=[lambda ctx, next: next()]), "the handler is asynchronous"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        make()
    assert text in str(caught.value)


def test_a_task_knows_its_context() -> None:
    def fn(event: Any, ctx: TaskContext, logger: Any) -> Any:
        assert current_context() is ctx
        assert ctx.logger is logger
        return [ctx.function_name, ctx.request_id, ctx.event, ctx.get_remaining_time_in_millis(), repr(ctx)]

    assert quiet(fn)(["e"], Context()) == [
        "shop-users",
        "aws-request-1",
        ["e"],
        30_000,
        "TaskContext(shop-users, request_id='aws-request-1')",
    ]
    assert current_context() is None
    assert len(quiet(lambda event, ctx: ctx.request_id)({})) == 36


# --- schemas --------------------------------------------------------------------------------------------------------


class Order(pydantic.BaseModel):
    id: int
    items: list[str] = []


@dataclasses.dataclass
class DataOrder:
    id: int
    items: list[str] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("schema", [Order, DataOrder])
@pytest.mark.parametrize("retries", [0, 3])
@pytest.mark.parametrize("waits", [False, True])
def test_an_event_that_does_not_fit_is_never_tried_again(
    schema: Any, retries: int, waits: bool, pauses: list[float]
) -> None:
    calls = []

    def fn(event: Any) -> Any:
        calls.append(event)

    async def afn(event: Any) -> Any:
        calls.append(event)

    main = quiet(afn if waits else fn, event=schema, retries=retries)
    with pytest.raises(TaskValidationError) as caught:
        main({"id": "x", "items": ["a", 5]})
    assert [issue.path for issue in caught.value.issues] == [("id",), ("items", 1)]
    assert "id: " in str(caught.value)
    assert (calls, pauses) == ([], [])
    main({"id": "7"})
    assert [(type(event), event.id) for event in calls] == [(schema, 7)]


@pytest.mark.parametrize("waits", [False, True])
def test_one_that_the_function_raises_is_not_tried_again_either(waits: bool, pauses: list[float]) -> None:
    def fn() -> None:
        raise TaskValidationError([], "not today")

    async def afn() -> None:
        raise TaskValidationError([], "not today")

    with pytest.raises(TaskValidationError, match="not today"):
        quiet(afn if waits else fn, retries=5)({})
    assert pauses == []


def test_the_context_has_the_event_as_the_schema_made_it() -> None:
    assert quiet(lambda event, ctx: ctx.event is event, event=Order)({"id": 1})


# --- attempts -------------------------------------------------------------------------------------------------------


def failing(times: int, *, waits: bool, error: type[BaseException] = RuntimeError) -> Any:
    """A function that fails so many times, and then tells how often it was called."""
    calls = [0]

    def fn(event: Any) -> int:
        calls[0] += 1
        if calls[0] <= times:
            raise error(f"attempt {calls[0]}")
        return calls[0]

    async def afn(event: Any) -> int:
        return fn(event)

    return afn if waits else fn


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("times", "options", "result", "expected"),
    [
        (0, {"retries": 2}, 1, []),
        (1, {"retries": 2}, 2, [1.0]),
        (2, {"retries": 2}, 3, [1.0, 2.0]),
        (3, {"retries": 2}, "attempt 3", [1.0, 2.0]),
        (1, {}, "attempt 1", []),
        (4, {"retries": 4, "retry_delay_ms": 50}, 5, [0.05, 0.1, 0.2, 0.4]),
        (2, {"retries": 2, "retry_delay_ms": 0}, 3, [0.0, 0.0]),
    ],
)
def test_delays_double(
    waits: bool, times: int, options: Any, result: Any, expected: list[float], pauses: list[float]
) -> None:
    main = quiet(failing(times, waits=waits), log_level="silent", **options)
    if isinstance(result, int):
        assert main({}) == result
    else:
        with pytest.raises(RuntimeError, match=result):
            main({})
    assert pauses == expected


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    ("remaining_ms", "expected"), [(10_000, [1.0, 2.0, 4.0]), (2101, [1.0, 2.0]), (2100, [1.0]), (900, [])]
)
def test_an_attempt_for_which_no_time_is_left_is_not_begun(
    waits: bool, remaining_ms: int, expected: list[float], pauses: list[float]
) -> None:
    with pytest.raises(RuntimeError):
        quiet(failing(9, waits=waits), retries=3, log_level="silent")({}, Context(remaining_ms))
    assert pauses == expected


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_tried_again(waits: bool, kind: Any, pauses: list[float]) -> None:
    main = quiet(failing(1, waits=waits, error=kind), retries=3, log_level="silent")
    with pytest.raises(kind):
        main({})
    assert pauses == []


def test_attempts_are_logged(lines: Lines, pauses: list[float]) -> None:
    main = task_handler(failing(1, waits=False), retries=1, logger=lines.logger(min_level="debug"))
    assert main({}, Context()) == 2
    started, retried, completed = lines.records
    assert (started["message"], started["function"]) == ("task started", "shop-users")
    assert (retried["level"], retried["attempt"], retried["errorMessage"]) == ("WARN", 1, "attempt 1")
    assert (retried["errorType"], retried["delayMs"]) == ("RuntimeError", 1000)
    assert (completed["message"], completed["requestId"]) == ("task completed", "aws-request-1")


def test_a_failure_is_logged_once_and_without_its_stack_trace(lines: Lines) -> None:
    with pytest.raises(RuntimeError):
        task_handler(failing(1, waits=False), logger=lines.logger())({})
    assert [record["message"] for record in lines.records] == ["task failed"]
    assert lines.records[0]["errorType"] == "RuntimeError"
    assert "stackTrace" not in lines.records[0]


def test_an_error_that_cannot_be_shown_is_raised_all_the_same(lines: Lines) -> None:
    class UnshowableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    def fn() -> None:
        raise UnshowableError

    with pytest.raises(UnshowableError):
        task_handler(fn, logger=lines.logger())({})
    assert len(lines) == 1


# --- timeouts -------------------------------------------------------------------------------------------------------

LONG_SECONDS = 30.0


def remaining_seconds() -> float:
    return signal.getitimer(signal.ITIMER_REAL)[0]


def naps(event: Any) -> None:
    time.sleep(LONG_SECONDS)


async def anaps(event: Any) -> None:
    await asyncio.sleep(LONG_SECONDS)


@pytest.mark.parametrize("fn", [naps, anaps])
@pytest.mark.parametrize("name", ["timeout_ms", "timeout"])
def test_an_attempt_that_takes_too_long_is_ended(fn: Any, name: str) -> None:
    former = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TaskTimeoutError) as caught:
        quiet(fn, log_level="silent", **{name: 20})({})
    assert (caught.value.timeout_ms, str(caught.value)) == (20, "the task did not end within 20 ms")
    assert isinstance(caught.value, TimeoutError)
    # Whoever else uses the timer, the limit of this test for example, has it back.
    assert signal.getsignal(signal.SIGALRM) == former
    assert remaining_seconds() > LONG_SECONDS or remaining_seconds() == 0


@pytest.mark.parametrize("fn", [naps, anaps])
def test_every_attempt_has_the_whole_time(fn: Any, pauses: list[float]) -> None:
    with pytest.raises(TaskTimeoutError):
        quiet(fn, timeout_ms=10, retries=2, log_level="silent")({})
    assert len(pauses) == 2


@pytest.mark.parametrize("fn", [naps, anaps])
def test_no_attempt_outlives_the_function(fn: Any) -> None:
    with pytest.raises(TaskTimeoutError) as caught:
        quiet(fn, timeout_ms=20_000, log_level="silent")({}, Context(remaining_ms=130))
    assert caught.value.timeout_ms == 30


@pytest.mark.parametrize("fn", [naps, anaps])
def test_no_attempt_is_begun_without_time(fn: Any) -> None:
    with pytest.raises(TaskTimeoutError):
        quiet(fn, timeout_ms=20_000, retries=3, log_level="silent")({}, Context(remaining_ms=50))


async def waiting(ctx: Any, next: Any) -> Any:
    return await next()


def test_a_blocking_function_among_asynchronous_middleware_is_ended_too() -> None:
    with pytest.raises(TaskTimeoutError):
        quiet(naps, timeout_ms=20, middleware=[waiting], log_level="silent")({})


def test_a_shorter_limit_around_stays_in_force() -> None:
    inner = quiet(naps, timeout_ms=20_000, log_level="silent")
    outer = quiet(inner, timeout_ms=20, log_level="silent")
    with pytest.raises(TaskTimeoutError) as caught:
        outer({})
    assert caught.value.timeout_ms == 20


def test_a_shorter_limit_inside_leaves_the_one_around() -> None:
    inner = quiet(naps, timeout_ms=20, log_level="silent")

    def fn(event: Any) -> Any:
        with pytest.raises(TaskTimeoutError) as caught:
            inner(event)
        assert 0 < remaining_seconds() <= LONG_SECONDS
        return caught.value.timeout_ms

    assert quiet(fn, timeout_ms=int(LONG_SECONDS * 1000))({}) == 20
    assert remaining_seconds() > LONG_SECONDS or remaining_seconds() == 0


def test_in_another_thread_a_blocking_function_is_left_to_lambda() -> None:
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(quiet(add, timeout_ms=5)({"a": 1})))
    thread.start()
    thread.join(20)
    assert done == [2]


def test_a_timeout_of_the_function_itself_is_passed_on() -> None:
    async def fn() -> None:
        raise TimeoutError("of a database")

    with pytest.raises(TimeoutError, match="of a database") as caught:
        quiet(fn, timeout_ms=20_000, log_level="silent")({})
    assert not isinstance(caught.value, TaskTimeoutError)


# --- middleware -----------------------------------------------------------------------------------------------------


def test_middleware_serves_requests_and_tasks() -> None:
    from tests.unit.runtime.support import data, v2

    seen = []

    def fn(ctx: Any, next: Any) -> Any:
        seen.append(type(ctx).__name__)
        return next()

    both = Middleware("both", fn)
    assert quiet(add, middleware=[both])({"a": 1}) == 2
    assert data(handler(lambda: 1, middleware=[both], access_log=False)(v2())) == 1
    assert seen == ["TaskContext", "RequestContext"]


def test_a_middleware_may_answer_instead_of_a_task() -> None:
    assert quiet(add, middleware=[lambda ctx, next: "skipped"])({}) == "skipped"


def test_one_call_of_next_is_all_attempts(pauses: list[float]) -> None:
    entered = []

    def fn(ctx: Any, next: Any) -> Any:
        entered.append(1)
        return next()

    assert quiet(failing(2, waits=False), middleware=[fn], retries=2, log_level="silent")({}) == 3
    assert entered == [1]


def test_next_is_called_once() -> None:
    def twice(ctx: Any, next: Any) -> Any:
        next()
        return next()

    with pytest.raises(MiddlewareError, match="twice"):
        quiet(add, middleware=[twice], log_level="silent")({"a": 1})


def test_a_coroutine_out_of_a_blocking_task_is_said_to_be_one() -> None:
    with pytest.raises(HandlerConfigError, match="returned a coroutine"):
        quiet(lambda event: aadd(event, None), log_level="silent")({"a": 1})


def test_a_waiting_task_within_a_running_loop_says_how_to_call_it() -> None:
    async def inside() -> Any:
        with pytest.raises(RuntimeError, match=r"await aadd\.acall"):
            quiet(aadd)({"a": 1})
        return await quiet(aadd).acall({"a": 1}), await quiet(add).acall({"a": 1})

    assert asyncio.run(inside()) == (2, 2)


def test_what_the_caller_passed_on_arrives() -> None:
    marker = {"invokeId": "i-1", "tenantId": "acme", "userId": "u-1"}
    seen = quiet(lambda event, ctx: [ctx.is_internal, ctx.invoke_id, ctx.tenant.id, ctx.user.id])
    assert seen({}, Context(custom={"venturekit": marker})) == [True, "i-1", "acme", "u-1"]


@pytest.mark.parametrize("custom", [None, {}, "x", {"venturekit": None}, {"venturekit": "x"}, {"venturekit": {}}])
def test_without_a_caller_nobody_is_known(custom: Any) -> None:
    seen = quiet(lambda event, ctx: [ctx.is_internal, ctx.invoke_id, ctx.tenant, ctx.user])
    assert seen({}, Context(custom=custom)) == [False, None, None, None]
