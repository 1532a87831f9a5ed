"""Cross-origin resource sharing by the function itself."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_middleware.middleware_lab import KINDS, answer, request, run_task
from venturekit.front.cors import CorsRules
from venturekit.runtime import (
    Response,
    UnauthorizedError,
    api_key_auth_middleware,
    compose,
    cors_middleware,
    hash_api_key,
    rate_limit_middleware,
    timing_middleware,
)

both = pytest.mark.parametrize("kind", KINDS)
PAGE = "https://app.example.com"
ORIGIN, METHODS, HEADERS = (f"Access-Control-Allow-{name}" for name in ("Origin", "Methods", "Headers"))
ASKS = {"origin": PAGE, "access-control-request-method": "PUT", "access-control-request-headers": "X-A, content-type"}


def never(body: Any, ctx: Any) -> Any:
    raise AssertionError("the function was called")


def cors_of(result: dict[str, Any]) -> dict[str, str]:
    """The headers that are about origins."""
    return {name: value for name, value in result["headers"].items() if re.match("Access-Control|Vary", name)}


# --- preflights ---------------------------------------------------------------------------------------------------


@both
def test_a_preflight_is_answered_without_the_handler(kind: str) -> None:
    middleware = cors_middleware(allow_origins=[PAGE], allow_credentials=True, expose_headers=["X-B"])
    result = answer(middleware, request("OPTIONS", ASKS), never, kind=kind)
    assert (result["statusCode"], result["body"]) == (204, "")
    assert result["headers"] == {
        "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        "Access-Control-Allow-Origin": PAGE,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "Access-Control-Allow-Headers": "Content-Type, Authorization",
        "Access-Control-Max-Age": "3600",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"allow_origins": "*"}, {ORIGIN: "*"}),
        ({"allow_origins": ["https://b.example", "*"]}, {ORIGIN: "*"}),
        ({"allow_origins": PAGE}, {ORIGIN: PAGE}),
        ({"allow_origins": [PAGE.upper()]}, {ORIGIN: PAGE}),
        ({"allow_origins": PAGE, "allow_methods": ["get", "PURGE"]}, {METHODS: "GET, PURGE"}),
        ({"allow_origins": PAGE, "allow_methods": "*"}, {METHODS: "PUT"}),
        ({"allow_origins": PAGE, "allow_methods": "*", "allow_credentials": True}, {METHODS: "PUT"}),
        ({"allow_origins": PAGE, "allow_headers": "*"}, {HEADERS: "X-A, content-type"}),
        ({"allow_origins": PAGE, "allow_headers": ("X-A",)}, {HEADERS: "X-A"}),
        ({"allow_origins": PAGE, "allow_headers": ()}, {HEADERS: None}),
        ({"allow_origins": PAGE, "max_age": 0}, {"Access-Control-Max-Age": "0"}),
        ({"allow_origins": PAGE, "max_age": None}, {"Access-Control-Max-Age": None}),
    ],
)
def test_what_a_preflight_is_told(options: dict[str, Any], expected: dict[str, str | None]) -> None:
    headers = answer(cors_middleware(**options), request("OPTIONS", ASKS), never)["headers"]
    assert {name: headers.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.com.evil", "", PAGE + "/", "*"]
)
def test_another_origin_is_told_nothing(origin: str) -> None:
    middleware = cors_middleware(allow_origins=[PAGE])
    preflight = answer(middleware, request("OPTIONS", {**ASKS, "origin": origin}), never)
    assert (preflight["statusCode"], list(preflight["headers"])) == (204, ["Vary"])
    plain = answer(middleware, request("GET", {"origin": origin}))
    assert (plain["statusCode"], cors_of(plain)) == (200, {"Vary": "Origin"})


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", {}),
        ("OPTIONS", {"origin": PAGE}),
        ("GET", ASKS),
        ("OPTIONS", {"access-control-request-method": "A"}),
    ],
)
def test_other_requests_reach_the_handler(method: str, headers: dict[str, str]) -> None:
    assert answer(cors_middleware(allow_origins=[PAGE]), request(method, headers))["body"] == '{"data":{"ok":true}}'


@both
@pytest.mark.parametrize("composed", [False, True])
def test_it_comes_before_all_others_wherever_it_stands(kind: str, composed: bool) -> None:
    order: list[str] = []

    def check(key: str, ctx: Any) -> bool:
        order.append("rate")
        return False

    others = [timing_middleware(), rate_limit_middleware(check), api_key_auth_middleware([hash_api_key("k")])]
    cors = cors_middleware(allow_origins=[PAGE])
    chain = [others[0], compose([*others[1:], compose([cors])])] if composed else [*others, cors]
    preflight = answer(chain, request("OPTIONS", ASKS), never, kind=kind, scopes=["a"])
    assert (preflight["statusCode"], order) == (204, [])
    assert "X-Response-Time" not in preflight["headers"]
    refused = answer(chain, request("GET", {"origin": PAGE}), never, kind=kind)
    assert (refused["statusCode"], order) == (429, ["rate"])
    # The others have kept their order: timing is still around the limit.
    assert "X-Response-Time" in refused["headers"]
    assert refused["headers"][ORIGIN] == PAGE


# --- responses ----------------------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("options", "origin", "expected"),
    [
        ({"allow_origins": [PAGE]}, PAGE, {"Vary": "Origin", ORIGIN: PAGE}),
        ({"allow_origins": [PAGE]}, None, {"Vary": "Origin"}),
        ({"allow_origins": "*"}, PAGE, {ORIGIN: "*"}),
        ({"allow_origins": "*"}, None, {}),
        (
            {"allow_origins": [PAGE], "allow_credentials": True, "expose_headers": ["X-A", "X-B"]},
            PAGE,
            {
                "Vary": "Origin",
                ORIGIN: PAGE,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Expose-Headers": "X-A, X-B",
            },
        ),
        ({"allow_origins": "*", "expose_headers": "*"}, PAGE, {ORIGIN: "*", "Access-Control-Expose-Headers": "*"}),
        ({"allow_origins": [PAGE], "expose_headers": ["X-A"]}, "https://b.example", {"Vary": "Origin"}),
    ],
)
def test_what_a_response_has(kind: str, options: dict[str, Any], origin: str | None, expected: dict[str, str]) -> None:
    event = request("GET", {} if origin is None else {"Origin": origin})
    assert cors_of(answer(cors_middleware(**options), event, kind=kind)) == expected


@both
@pytest.mark.parametrize("error", [UnauthorizedError(), ZeroDivisionError("x")])
def test_errors_can_be_read_too(kind: str, error: Exception) -> None:
    def fails(body: Any, ctx: Any) -> Any:
        raise error

    result = answer(cors_middleware(allow_origins=[PAGE]), request("GET", {"origin": PAGE}), fails, kind=kind)
    assert result["statusCode"] in {401, 500}
    assert cors_of(result) == {"Vary": "Origin", ORIGIN: PAGE}


@pytest.mark.parametrize("name", ["Vary", "vary"])
def test_vary_is_added_to(name: str) -> None:
    def by_response(body: Any, ctx: Any) -> Any:
        return Response("x", headers={name: "Accept"})

    def by_context(body: Any, ctx: Any) -> Any:
        ctx.response_headers[name] = "Accept-Language"
        return by_response(body, ctx)

    middleware = cors_middleware(allow_origins=[PAGE])
    for fn, expected in [(by_response, "Accept, Origin"), (by_context, "Accept, Accept-Language, Origin")]:
        headers = answer(middleware, request(), fn)["headers"]
        assert {key: value for key, value in headers.items() if key.lower() == "vary"} == {"Vary": expected}


def test_a_task_goes_through() -> None:
    assert run_task(cors_middleware(allow_origins="*"), {}) == "done"


# --- what cannot work, and what is forged -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"allow_origins": "*", "allow_credentials": True}, "every page of the web"),
        ({"allow_origins": [PAGE, "*"], "allow_credentials": True}, "every page of the web"),
        ({"allow_origins": PAGE, "allow_credentials": True, "expose_headers": "*"}, "name the headers"),
        ({"allow_origins": []}, "empty"),
        ({"allow_origins": [PAGE + "/"]}, "without a slash"),
        ({"allow_origins": ["app.example.com"]}, "scheme and host"),
        ({"allow_origins": ["null"]}, "no origin"),
        ({"allow_origins": ["https://*.example.com"]}, "no origin"),
        ({"allow_origins": [f"{PAGE}, https://b.example"]}, "no origin"),
        ({"allow_origins": [f"{PAGE}\r\nX: y"]}, "no origin"),
        ({"allow_origins": PAGE, "allow_methods": ["GET, POST"]}, "allow_methods"),
        ({"allow_origins": PAGE, "allow_headers": ["a b"]}, "allow_headers"),
        ({"allow_origins": PAGE, "expose_headers": ["x\r\ny"]}, "expose_headers"),
        ({"allow_origins": PAGE, "max_age": -1}, "max_age"),
    ],
)
def test_rules_that_no_browser_could_use(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        cors_middleware(**options)


@pytest.mark.parametrize("origin", ["http://localhost:3000", "capacitor://localhost", "https://[::1]:8443"])
def test_origins_of_every_kind(origin: str) -> None:
    result = answer(cors_middleware(allow_origins=[origin]), request("GET", {"origin": origin}))
    assert result["headers"][ORIGIN] == origin


@given(st.text(), st.text(), st.text(), st.booleans())
def test_whatever_is_asked_the_answer_can_be_sent(origin: str, method: str, names: str, preflight: bool) -> None:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": f"X-Ok,{names}",
    }
    middleware = cors_middleware(allow_origins="*", allow_methods="*", allow_headers="*")
    result = answer(middleware, request("OPTIONS" if preflight else "GET", asked))
    assert result["statusCode"] == (204 if preflight else 200)
    assert all(re.fullmatch(r"[\x20-\x7e]*", value) for value in result["headers"].values())
    if preflight:
        assert "X-Ok" in result["headers"][HEADERS]


@given(st.sampled_from([PAGE, PAGE.upper(), "https://b.example", "null"]), st.booleans())
def test_it_decides_about_origins_as_a_function_url_does(origin: str, credentials: bool) -> None:
    configured = {"AllowOrigins": [PAGE], "AllowCredentials": credentials}
    lines = {name.decode(): value.decode() for name, value in CorsRules.of(configured).response_lines(origin)}
    middleware = cors_middleware(allow_origins=[PAGE], allow_credentials=credentials)
    found = cors_of(answer(middleware, request("GET", {"origin": origin})))
    assert {name.lower(): value for name, value in found.items()} == lines
