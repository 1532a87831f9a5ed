"""Rate limits around handlers: whose requests count, what callers are told, and when the store is down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_middleware.middleware_lab import (
    ADDRESS,
    KINDS,
    Clock,
    Records,
    answer,
    error_of,
    request,
    run_task,
)
from venturekit.runtime import (
    MiddlewareError,
    RateLimitDecision,
    RateLimiter,
    RateLimitError,
    create_default_rate_limiter,
    create_rate_limiter,
    handler,
    rate_limit_middleware,
)
from venturekit.runtime.middleware.rate_limits import network_of
from venturekit.runtime.patterns import MemoryRateLimitStore

both = pytest.mark.parametrize("kind", KINDS)


def limiter(limit: int = 2, clock: Clock | None = None, **options: Any) -> RateLimiter:
    options.setdefault("store", MemoryRateLimitStore())
    return create_rate_limiter(limit=limit, window_seconds=60, clock=clock or Clock(), **options)


def limits_of(result: dict[str, Any]) -> dict[str, str]:
    """The headers that are about limits, by the ends of their names."""
    found = {name: value for name, value in result["headers"].items() if name.startswith(("RateLimit-", "Retry-"))}
    return {name.removeprefix("RateLimit-"): value for name, value in found.items()}


@both
def test_too_much_is_refused_until_the_window_is_over(kind: str) -> None:
    clock = Clock(1_800_000_000.0 + 12.3)
    middleware, called = rate_limit_middleware(limiter(clock=clock)), []

    def fn(body: Any, ctx: Any) -> None:
        called.append(1)

    results = [answer(middleware, request(), fn, kind=kind) for _ in range(3)]
    assert [result["statusCode"] for result in results] == [200, 200, 429]
    assert [limits_of(result) for result in results] == [
        {"Limit": "2", "Remaining": "1", "Reset": "48"},
        {"Limit": "2", "Remaining": "0", "Reset": "48"},
        {"Limit": "2", "Remaining": "0", "Reset": "48", "Retry-After": "48"},
    ]
    assert error_of(results[2]) == {
        "code": "RATE_LIMITED",
        "message": "Too many requests",
        "details": {"retryAfter": 48},
    }
    assert len(called) == 2
    clock.now += 47.7
    assert answer(middleware, request(), fn, kind=kind)["statusCode"] == 200


@both
def test_errors_of_the_handler_have_the_headers_too(kind: str) -> None:
    def fails(body: Any, ctx: Any) -> Any:
        raise KeyError("x")

    result = answer(rate_limit_middleware(limiter()), request(), fails, kind=kind)
    assert (result["statusCode"], limits_of(result)["Remaining"]) == (500, "1")


@both
def test_without_headers(kind: str) -> None:
    middleware = rate_limit_middleware(limiter(1), headers=False)
    results = [answer(middleware, request(), kind=kind) for _ in range(2)]
    assert [limits_of(result) for result in results] == [{}, {"Retry-After": "60"}]


# --- whose requests -----------------------------------------------------------------------------------------------


@both
def test_by_address_unless_told_otherwise(kind: str) -> None:
    middleware = rate_limit_middleware(limiter(1))
    addresses = [ADDRESS, "203.0.113.8", ADDRESS, "", ""]
    statuses = [answer(middleware, request(address=address), kind=kind)["statusCode"] for address in addresses]
    assert statuses == [200, 200, 429, 200, 429]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::1", "::/64"),
        ("no:address", "no:address"),
        ("a:\x00", "a:\x00"),
        ("", ""),
    ],
)
def test_whoever_has_one_address_of_a_network_has_them_all(address: str, network: str) -> None:
    assert network_of(address) == network


@given(st.text())
def test_odd_addresses_are_keys_too(text: str) -> None:
    assert answer(rate_limit_middleware(limiter()), request(address=text))["statusCode"] == 200


@both
def test_a_key_of_one_s_own(kind: str) -> None:
    middleware = rate_limit_middleware(limiter(1), key=lambda ctx: ctx.headers.get("x-tenant"))
    tenants: list[dict[str, str]] = [{"x-tenant": "a"}, {"x-tenant": "a"}, {"x-tenant": "b"}, {}, {}]
    results = [answer(middleware, request(headers=headers), kind=kind) for headers in tenants]
    assert [result["statusCode"] for result in results] == [200, 429, 200, 200, 200]
    # Who has no key is not counted.
    assert limits_of(results[4]) == {}


@both
def test_calls_from_other_functions_do_not_count(kind: str) -> None:
    counted = limiter(1)
    for _ in range(3):
        assert answer(rate_limit_middleware(counted), request(internal=True), kind=kind)["statusCode"] == 200
    asked = rate_limit_middleware(counted, skip_internal=False)
    assert [answer(asked, request(internal=True), kind=kind)["statusCode"] for _ in range(2)] == [200, 429]


@both
def test_nobody_outside_passes_for_one(kind: str) -> None:
    middleware = rate_limit_middleware(limiter(1))
    forged = request(headers={"X-VentureKit-Source": "internal", "x-forwarded-for": "198.51.100.1"})
    assert [answer(middleware, forged, kind=kind)["statusCode"] for _ in range(2)] == [200, 429]


@both
def test_tasks_count_by_function(kind: str) -> None:
    middleware = rate_limit_middleware(limiter(1))
    contexts = [type("Context", (), {"function_name": name}) for name in ("a", "b", "a")]
    assert run_task(middleware, {}, kind=kind, context=contexts[0]) == "done"
    assert run_task(middleware, {}, kind=kind, context=contexts[1]) == "done"
    with pytest.raises(RateLimitError) as caught:
        run_task(middleware, {}, kind=kind, context=contexts[2])
    assert caught.value.retry_after_seconds == 60


# --- several limits, and checks of one's own ----------------------------------------------------------------------


@both
@pytest.mark.parametrize("first", [10, 2])
def test_of_several_limits_the_nearest_is_shown(kind: str, first: int) -> None:
    chain = [rate_limit_middleware(limiter(limit)) for limit in (first, 12 - first)]
    results = [answer(chain, request(), kind=kind) for _ in range(3)]
    assert [limits_of(result)["Limit"] for result in results] == ["2", "2", "2"]
    assert results[2]["statusCode"] == 429


@both
@pytest.mark.parametrize(
    ("decision", "status", "told"),
    [
        (True, 200, {}),
        (False, 429, {}),
        (RateLimitDecision(True, 5, 4, 0.0), 200, {"Limit": "5", "Remaining": "4", "Reset": "1"}),
        (RateLimitDecision(False, 5, 0, 1.2), 429, {"Limit": "5", "Remaining": "0", "Reset": "2", "Retry-After": "2"}),
    ],
)
def test_a_check_of_one_s_own(kind: str, decision: Any, status: int, told: dict[str, str]) -> None:
    asked = []

    def check(key: str, ctx: Any) -> Any:
        asked.append((key, ctx.path))
        return decision

    result = answer(rate_limit_middleware(check), request(), kind=kind)
    assert (result["statusCode"], limits_of(result)) == (status, told)
    assert asked == [(ADDRESS, "/users")]


@both
def test_methods_of_a_limiter_are_checks(kind: str) -> None:
    counted = limiter(1)
    middleware = rate_limit_middleware(counted.check if kind == "sync" else counted.acheck)
    assert [answer(middleware, request(), kind=kind)["statusCode"] for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("decision", [None, 1, "yes", {"allowed": True}])
def test_a_check_that_says_something_else_lets_nobody_in(decision: Any) -> None:
    records = Records()
    result = answer(rate_limit_middleware(lambda key, ctx: decision), request(), logger=records.logger)
    assert result["statusCode"] == 500
    assert "RateLimitDecision, or True or False" in records.all[-1]["errorMessage"]


@pytest.mark.parametrize("check", [None, 100, "default"])
def test_what_is_no_check(check: Any) -> None:
    with pytest.raises(MiddlewareError, match="create_rate_limiter"):
        rate_limit_middleware(check)


# --- asynchronous parts, and stores that are down -----------------------------------------------------------------


class Waiting:
    """A store whose answers have to be awaited."""

    def __init__(self) -> None:
        self.inner = MemoryRateLimitStore()

    async def increment(self, item: str, now: float, expires_at: float) -> int:
        await asyncio.sleep(0)
        return self.inner.increment(item, now, expires_at)


class Hidden(Waiting):
    """The same, but nobody can tell before it was asked."""

    def increment(self, item: str, now: float, expires_at: float) -> Any:  # type: ignore[override]
        return super().increment(item, now, expires_at)


def test_whatever_waits_makes_the_handler_asynchronous() -> None:
    async def key(ctx: Any) -> str:
        await asyncio.sleep(0)
        return "k"

    async def check(key: str, ctx: Any) -> bool:
        await asyncio.sleep(0)
        return False

    made = {
        "store": rate_limit_middleware(limiter(1, store=Waiting())),
        "key": rate_limit_middleware(limiter(1), key=key),
        "check": rate_limit_middleware(check),
    }
    for name, middleware in made.items():
        main = handler(lambda: None, middleware=[middleware], access_log=False, log_level="silent")
        assert main.is_async, name
        assert [main(request())["statusCode"] for _ in range(2)][1] == 429, name


def test_a_store_that_hides_it_needs_an_asynchronous_handler() -> None:
    records = Records()
    middleware = rate_limit_middleware(limiter(1, store=Hidden()))
    assert answer(middleware, request(), kind="async")["statusCode"] == 200
    assert answer(middleware, request(), kind="async")["statusCode"] == 429
    assert answer(middleware, request(), logger=records.logger)["statusCode"] == 500
    assert "write the handler with async def" in records.all[-1]["errorMessage"]


class Down:
    """A store that cannot be reached."""

    def increment(self, item: str, now: float, expires_at: float) -> int:
        raise ConnectionError("refused: 10.0.0.7")


@both
def test_a_store_that_is_down(kind: str) -> None:
    records = Records()
    opens = rate_limit_middleware(create_default_rate_limiter(store=Down()))
    result = answer(opens, request(), kind=kind, logger=records.logger)
    assert (result["statusCode"], limits_of(result)) == (200, {})
    assert records.all[0]["level"] == "WARN"
    assert records.all[0]["requestId"] == "own-id"
    closes = rate_limit_middleware(create_default_rate_limiter("auth", store=Down()))
    result = answer(closes, request(), kind=kind)
    assert result["statusCode"] == 503
    assert error_of(result) == {
        "code": "SERVICE_UNAVAILABLE",
        "message": "The rate limiter is currently unavailable",
    }
