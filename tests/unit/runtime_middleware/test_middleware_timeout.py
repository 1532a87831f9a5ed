"""Limits for the time of a request, and of a task with all its attempts."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.runtime_middleware.middleware_lab import KINDS, Records, answer, error_of, request, run_task
from venturekit.runtime import (
    RequestTimeoutError,
    ServiceUnavailableError,
    TaskTimeoutError,
    handler,
    task_handler,
    timeout_middleware,
)
from venturekit.runtime.attempts import TimeLimit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _leaves_the_timer_as_it_was() -> Iterator[None]:
    # A timer of the test runner's own, if there is one, goes on as well.
    before, running = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert (signal.getitimer(signal.ITIMER_REAL)[0] > 0) is running


both = pytest.mark.parametrize("kind", KINDS)
FOREVER = 5.0


class Lambda:
    """AWS's context object, as far as time is concerned."""

    def __init__(self, remaining_ms: int) -> None:
        self.remaining_ms = remaining_ms

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


def hangs(kind: str) -> Any:
    """A function that would not end."""

    def blocks(given: Any, ctx: Any) -> Any:
        time.sleep(FOREVER)

    async def waits(given: Any, ctx: Any) -> Any:
        await asyncio.sleep(FOREVER)

    return blocks if kind == "sync" else waits


@both
def test_a_request_that_takes_too_long_is_answered(kind: str) -> None:
    main = handler(hangs(kind), middleware=[timeout_middleware(20)], access_log=False, log_level="silent")
    result = main(request())
    assert result["statusCode"] == 503
    assert error_of(result) == {
        "code": "SERVICE_UNAVAILABLE",
        "message": "The request did not end within 20 ms",
        "details": {"timeoutMs": 20},
    }


@both
def test_a_task_that_takes_too_long_raises(kind: str) -> None:
    main = task_handler(hangs(kind), middleware=[timeout_middleware(20)], task_log=False)
    with pytest.raises(TaskTimeoutError, match="20 ms"):
        main({})


@both
def test_what_is_in_time_is_left_alone(kind: str) -> None:
    assert answer(timeout_middleware(30_000), request(), kind=kind)["statusCode"] == 200
    assert run_task(timeout_middleware(30_000), {}, kind=kind) == "done"


@both
def test_lambda_s_own_deadline_counts_if_it_is_sooner(kind: str) -> None:
    main = handler(hangs(kind), middleware=[timeout_middleware(30_000)], access_log=False, log_level="silent")
    assert error_of(main(request(), Lambda(130)))["details"] == {"timeoutMs": 30}
    # With no time left at all, the answer is that, and at once.
    assert error_of(main(request(), Lambda(5)))["details"] == {"timeoutMs": 1}


@both
def test_all_attempts_of_a_task_share_the_time(kind: str) -> None:
    attempts = []

    def fails(event: Any, ctx: Any) -> Any:
        attempts.append(1)
        raise OSError("again")

    with pytest.raises(TaskTimeoutError, match="50 ms"):
        run_task(timeout_middleware(50), {}, fails, kind=kind, retries=1000, retry_delay_ms=20, log_level="silent")
    assert len(attempts) <= 3


@both
def test_the_limit_of_one_attempt_within_that_of_all(kind: str) -> None:
    records = Records()
    chain = [timeout_middleware(20)]
    limits: Any = {"timeout_ms": 30_000, "retries": 5, "retry_delay_ms": 1}
    main = task_handler(hangs(kind), middleware=chain, task_log=False, logger=records.logger, **limits)
    with pytest.raises(TaskTimeoutError, match="20 ms"):
        main({})
    # No other attempt was announced.
    assert records.all == []


@both
def test_the_nearer_of_two_limits_says_so(kind: str) -> None:
    for first, second in [(20, 30_000), (30_000, 20)]:
        chain = [timeout_middleware(first), timeout_middleware(second)]
        main = handler(hangs(kind), middleware=chain, access_log=False, log_level="silent")
        assert error_of(main(request()))["details"] == {"timeoutMs": 20}


def test_a_signal_handler_that_only_takes_note_does_not_end_the_limit() -> None:
    noted = []
    former = signal.signal(signal.SIGALRM, lambda number, frame: noted.append(number))
    rest, _ = signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(TaskTimeoutError), TimeLimit(40):
            time.sleep(FOREVER)
        assert noted == [signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, former)
        signal.setitimer(signal.ITIMER_REAL, rest)


def test_the_handler_can_clean_up() -> None:
    cleaned = []

    async def waits(body: Any, ctx: Any) -> Any:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            cleaned.append("cancelled")
            raise

    def blocks(body: Any, ctx: Any) -> Any:
        try:
            time.sleep(FOREVER)
        finally:
            cleaned.append("interrupted")

    for fn in (waits, blocks):
        main = handler(fn, middleware=[timeout_middleware(20)], access_log=False, log_level="silent")
        assert main(request())["statusCode"] == 503
    assert cleaned == ["cancelled", "interrupted"]


def test_in_another_thread_nothing_is_interrupted() -> None:
    done = threading.Event()
    results = []

    def blocks(body: Any, ctx: Any) -> Any:
        assert done.wait(10)
        return "late"

    main = handler(blocks, middleware=[timeout_middleware(1)], access_log=False)
    thread = threading.Thread(target=lambda: results.append(main(request())))
    thread.start()
    done.set()
    thread.join(10)
    assert results[0]["body"] == '{"data":"late"}'


def test_a_timeout_of_the_function_s_own_is_not_taken_for_it() -> None:
    async def own(body: Any, ctx: Any) -> Any:
        raise TimeoutError("of a database")

    main = handler(own, middleware=[timeout_middleware(30_000)], access_log=False, log_level="silent")
    assert main(request())["statusCode"] == 500


@pytest.mark.parametrize("ms", [0, -1])
def test_a_limit_that_is_none(ms: int) -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        timeout_middleware(ms)


def test_the_error_is_one_of_the_tree() -> None:
    error = RequestTimeoutError(7)
    assert isinstance(error, ServiceUnavailableError)
    assert (str(error), error.status_code, error.timeout_ms) == ("The request did not end within 7 ms", 503, 7)
