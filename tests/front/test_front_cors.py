"""The CORS rules of a function URL as headers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.front.cors import CorsRules
from venturekit.protocol.cors import is_preflight

PAGE = "https://shop.example"
CREDENTIALS = b"access-control-allow-credentials"
ORIGIN = b"access-control-allow-origin"


def rules(**members: Any) -> CorsRules:
    return CorsRules.of({"AllowOrigins": [PAGE], **members})


def test_a_preflight_that_aws_answered() -> None:
    allowed = rules(
        AllowCredentials=True,
        AllowHeaders=["authorization", "content-type"],
        AllowMethods=["GET", "POST"],
        ExposeHeaders=["x-a"],
        MaxAge=300,
    )
    assert allowed.preflight_lines(PAGE, "GET", "authorization") == [
        (b"vary", b"Origin"),
        (ORIGIN, PAGE.encode()),
        (CREDENTIALS, b"true"),
        (b"access-control-allow-headers", b"authorization,content-type"),
        (b"access-control-allow-methods", b"GET,POST"),
        (b"access-control-max-age", b"300"),
    ]
    assert allowed.response_lines(PAGE) == [
        (b"vary", b"Origin"),
        (ORIGIN, PAGE.encode()),
        (CREDENTIALS, b"true"),
        (b"access-control-expose-headers", b"x-a"),
    ]


@pytest.mark.parametrize("origin", ["https://other.example", "null", "https://shop.example.evil", "", "*"])
def test_an_origin_that_is_not_allowed_gets_nothing(origin: str) -> None:
    everything = rules(AllowMethods=["*"], AllowHeaders=["*"], ExposeHeaders=["*"], AllowCredentials=True, MaxAge=1)
    assert everything.response_lines(origin) == [(b"vary", b"Origin")]
    assert everything.preflight_lines(origin, "GET", None) == [(b"vary", b"Origin")]


def test_a_request_of_no_page_gets_nothing() -> None:
    assert rules().response_lines(None) == [(b"vary", b"Origin")]


@pytest.mark.parametrize(
    ("credentials", "origin", "methods", "headers"),
    [(False, b"*", b"*", b"*"), (True, PAGE.encode(), b"PUT", b"x-asked,x-too")],
)
def test_stars_mean_what_browsers_take_them_for(
    credentials: bool, origin: bytes, methods: bytes, headers: bytes
) -> None:
    star = rules(AllowOrigins=["*"], AllowMethods=["*"], AllowHeaders=["*"], AllowCredentials=credentials)
    lines = dict(star.preflight_lines(PAGE, "PUT", "x-asked,x-too"))
    assert lines[ORIGIN] == origin
    assert lines[b"access-control-allow-methods"] == methods
    assert lines[b"access-control-allow-headers"] == headers
    assert (CREDENTIALS in lines) is credentials
    assert dict(star.response_lines(PAGE))[ORIGIN] == origin


def test_what_is_not_configured_is_not_sent() -> None:
    assert CorsRules.of({}).preflight_lines(PAGE, "GET", "x") == [(b"vary", b"Origin")]
    assert rules().preflight_lines(PAGE, "GET", "x") == [(b"vary", b"Origin"), (ORIGIN, PAGE.encode())]


def test_scheme_and_host_are_compared_without_regard_to_case() -> None:
    assert dict(rules(AllowOrigins=["HTTPS://Shop.Example"]).response_lines(PAGE))[ORIGIN] == PAGE.encode()


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", {"origin": PAGE, "access-control-request-method": "GET"}, True),
        ("OPTIONS", {"origin": PAGE}, False),
        ("OPTIONS", {"access-control-request-method": "GET"}, False),
        ("GET", {"origin": PAGE, "access-control-request-method": "GET"}, False),
    ],
)
def test_what_a_preflight_is(method: str, headers: dict[str, str], expected: bool) -> None:
    assert is_preflight(method, headers) is expected


@given(
    st.lists(st.text(max_size=8), max_size=3),
    st.lists(st.text(max_size=8), max_size=3),
    st.booleans(),
    st.text(max_size=12),
    st.none() | st.text(max_size=12),
)
def test_only_allowed_origins_get_leave(
    origins: list[str], names: list[str], credentials: bool, origin: str, asked: str | None
) -> None:
    document = {"AllowOrigins": origins, "AllowHeaders": names, "AllowCredentials": credentials}
    lines = dict(CorsRules.of(document).preflight_lines(origin, "GET", asked))
    allowed = "*" in origins or origin.lower() in {item.lower() for item in origins}
    assert (ORIGIN in lines) is allowed
    # What a browser refuses is never sent: a star together with credentials.
    assert not (lines.get(ORIGIN) == b"*" and CREDENTIALS in lines)
