"""Fixed windows: pure decisions, against a model; presets; stores that are down or asynchronous."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_middleware.middleware_lab import Clock, Records, request
from venturekit.runtime import (
    RateLimitDecision,
    RateLimiter,
    ServiceUnavailableError,
    TaskTimeoutError,
    create_default_rate_limiter,
    create_rate_limiter,
)
from venturekit.runtime.context import _current
from venturekit.runtime.http_handlers import build_context
from venturekit.runtime.middleware.timeouts import RequestTimeoutError
from venturekit.runtime.patterns import DynamoDbRateLimitStore, MemoryRateLimitStore
from venturekit.runtime.patterns.rate_limiter import PRESETS, decide, default_store, window_at


class Down:
    """A store that cannot be reached."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or ConnectionError("refused")

    def increment(self, item: str, now: float, expires_at: float) -> int:
        raise self.error


class Waiting:
    """A store whose answers have to be awaited."""

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner or MemoryRateLimitStore()

    async def increment(self, item: str, now: float, expires_at: float) -> int:
        await asyncio.sleep(0)
        count: int = self.inner.increment(item, now, expires_at)
        return count


class HiddenWaiting(Waiting):
    """The same, but nobody can tell before it was asked."""

    def increment(self, item: str, now: float, expires_at: float) -> Any:  # type: ignore[override]
        return super().increment(item, now, expires_at)


# --- decisions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "seconds", "number", "ends_at"),
    [(0.0, 60, 0, 60), (59.999, 60, 0, 60), (60.0, 60, 1, 120), (1_800_000_001.5, 0.5, 3_600_000_003, 1_800_000_002.0)],
)
def test_windows(now: float, seconds: float, number: int, ends_at: float) -> None:
    assert window_at(now, seconds) == (number, ends_at)


@pytest.mark.parametrize(
    ("count", "limit", "allowed", "remaining"), [(1, 2, True, 1), (2, 2, True, 0), (3, 2, False, 0), (9, 2, False, 0)]
)
def test_what_a_count_means(count: int, limit: int, allowed: bool, remaining: int) -> None:
    window = window_at(90.0, 60)
    assert decide(count, limit, window, 90.0) == RateLimitDecision(allowed, limit, remaining, 30.0)


@given(
    st.integers(1, 4),
    st.sampled_from([1.0, 7.0, 60.0]),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c#1"]), st.floats(0, 40)), max_size=40),
)
def test_it_counts_as_the_model_does(limit: int, seconds: float, asked: list[tuple[str, float]]) -> None:
    clock, model = Clock(), {}
    limiter = RateLimiter(limit=limit, window_seconds=seconds, store=MemoryRateLimitStore(), clock=clock)
    for key, passed in asked:
        clock.now += passed
        begins = clock.now // seconds
        model[key, begins] = model.get((key, begins), 0) + 1
        decision = limiter.check(key)
        assert decision.allowed == (model[key, begins] <= limit)
        assert decision.remaining == max(0, limit - model[key, begins])
        assert 0 < decision.reset_seconds <= seconds
        assert (decision.limit, decision.known) == (limit, True)


def test_limiters_of_one_name_count_together() -> None:
    store, clock = MemoryRateLimitStore(), Clock()
    options: Any = {"limit": 1, "store": store, "clock": clock}
    one = create_rate_limiter(window_seconds=60, name="x", **options)
    same = create_rate_limiter(window_seconds=60, name="x", **options)
    others = [
        create_rate_limiter(window_seconds=60, name="y", **options),
        create_rate_limiter(window_seconds=61, name="x", **options),
    ]
    assert one.check("k").allowed
    assert not same.check("k").allowed
    assert all(other.check("k").allowed for other in others)


@given(st.text())
def test_any_text_is_a_key_and_none_takes_much_room(key: str) -> None:
    ids = []

    class Store:
        def increment(self, item: str, now: float, expires_at: float) -> int:
            ids.append(item)
            return 1

    limiter = create_rate_limiter(limit=1, window_seconds=60, store=Store())
    assert limiter.check(key).allowed
    assert limiter.check(key * 1000 + "x" * 1000).allowed
    assert all(len(item) < 300 for item in ids)


def test_long_keys_are_told_apart() -> None:
    limiter = create_rate_limiter(limit=1, window_seconds=60, store=MemoryRateLimitStore(), clock=Clock())
    assert [limiter.check("k" * 1000 + end).allowed for end in "aba"] == [True, True, False]


# --- presets and settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "limit"), [("default", 100), ("auth", 20)])
def test_the_documented_presets(preset: Any, limit: int) -> None:
    limiter = create_default_rate_limiter(preset, MemoryRateLimitStore())
    assert (limiter.limit, limiter.window_seconds, limiter.name) == (limit, 60, preset)
    # All within one window, whatever the time is.
    limiter._clock = Clock()
    assert [limiter.check("k").allowed for _ in range(limit + 2)] == [True] * limit + [False] * 2
    assert create_default_rate_limiter(store=MemoryRateLimitStore()).limit == 100


def test_presets_do_not_count_together() -> None:
    store = MemoryRateLimitStore()
    for preset in PRESETS:
        create_default_rate_limiter(preset, store).check("k")  # type: ignore[arg-type]
    assert len(store) == 2


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: create_default_rate_limiter("strict"), "default, auth"),  # type: ignore[arg-type]
        (lambda: create_rate_limiter(limit=0, window_seconds=1), "at least 1"),
        (lambda: create_rate_limiter(limit=1, window_seconds=0), "more than 0"),
        (lambda: create_rate_limiter(limit=1, window_seconds=1, on_store_error="open"), "'allow' or 'deny'"),  # type: ignore[arg-type]
        (lambda: MemoryRateLimitStore(0), "at least 1"),
    ],
)
def test_settings_that_make_no_limiter(call: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


@pytest.mark.parametrize(
    ("variables", "table"),
    [
        ({}, None),
        ({"VENTURE_RATE_LIMIT_TABLE": "t"}, None),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f"}, "venturekit-rate-limits"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "VENTURE_RATE_LIMIT_TABLE": "t"}, "t"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "VENTURE_LOCAL": "true"}, None),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "VENTURE_LOCAL": "true", "VENTURE_RATE_LIMIT_TABLE": "t"}, "t"),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9001"}, None),
        ({"AWS_LAMBDA_FUNCTION_NAME": "f", "AWS_ENDPOINT_URL": "http://a", "VENTURE_RATE_LIMIT_TABLE": "t"}, "t"),
    ],
)
def test_where_it_counts_if_nobody_says(
    variables: dict[str, str], table: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "VENTURE_"))]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = default_store()
    if table is None:
        assert isinstance(store, MemoryRateLimitStore)
    else:
        assert isinstance(store, DynamoDbRateLimitStore)
        assert store.table_name == table


def test_making_the_default_limiter_imports_no_boto3() -> None:
    code = (
        "import sys; from venturekit.runtime import create_default_rate_limiter, rate_limit_middleware;"
        "rate_limit_middleware(create_default_rate_limiter());"
        "print(sorted({'boto3', 'botocore', 'asyncio', 'sqlite3', 'dataclasses'} & set(sys.modules)))"
    )
    variables = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "f", "VENTURE_RATE_LIMIT_TABLE": "t"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_counting_in_memory_loads_no_database() -> None:
    code = (
        "import sys; from venturekit.runtime.patterns import MemoryRateLimitStore; MemoryRateLimitStore();"
        "print(sorted({'sqlite3', 'asyncio', 'dataclasses', 'inspect', 'logging'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_what_is_no_store_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="has no increment"):
        create_rate_limiter(limit=1, window_seconds=1, store="memory")  # type: ignore[arg-type]


# --- a store that is down -----------------------------------------------------------------------------------------


def test_the_default_preset_opens_and_says_so() -> None:
    records = Records()
    ctx = build_context(request())
    ctx._logger = records.logger
    token = _current.set(ctx)
    try:
        decision = create_default_rate_limiter(store=Down()).check("k")
    finally:
        _current.reset(token)
    assert (decision.allowed, decision.known, decision.limit) == (True, False, 100)
    (record,) = records.all
    assert (record["level"], record["limiter"], record["errorType"]) == ("WARN", "default", "ConnectionError")
    assert "let through" in record["message"]


def test_the_auth_preset_closes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ServiceUnavailableError, match="rate limiter is currently unavailable") as caught:
        create_default_rate_limiter("auth", Down()).check("k")
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert "is refused" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["allow", "deny"])
def test_an_asynchronous_store_that_is_down(mode: Any) -> None:
    limiter = create_rate_limiter(limit=1, window_seconds=1, store=Waiting(Down()), on_store_error=mode)
    if mode == "allow":
        assert asyncio.run(limiter.acheck("k")).known is False
    else:
        with pytest.raises(ServiceUnavailableError):
            asyncio.run(limiter.acheck("k"))


@pytest.mark.parametrize("error", [TaskTimeoutError(5), RequestTimeoutError(5), KeyboardInterrupt()])
def test_what_interrupts_a_store_does_not_count_as_down(error: BaseException) -> None:
    with pytest.raises(type(error)):
        create_default_rate_limiter(store=Down(error)).check("k")


# --- asynchronous stores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", [MemoryRateLimitStore, Waiting, HiddenWaiting])
def test_acheck_takes_any_store(store: Any) -> None:
    limiter = create_rate_limiter(limit=2, window_seconds=60, store=store(), clock=Clock())
    assert limiter.is_async == (store is Waiting)

    async def main() -> list[bool]:
        decisions = await asyncio.gather(*(limiter.acheck("k") for _ in range(3)))
        return sorted(decision.allowed for decision in decisions)

    assert asyncio.run(main()) == [False, True, True]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("store", [Waiting, HiddenWaiting])
def test_check_says_what_to_do_with_an_asynchronous_store(store: Any) -> None:
    with pytest.raises(TypeError, match=r"await limiter\.acheck"):
        create_rate_limiter(limit=2, window_seconds=60, store=store()).check("k")
