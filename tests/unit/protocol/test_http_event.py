"""Events of HTTP requests, payload format 2.0: golden ones, their parts, and read back."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.http_event import (
    EventContext,
    Gateway,
    HttpRequest,
    InvalidHttpEventError,
    http_event,
    read_http_event,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "http_events.json").read_text())
CONTEXT = EventContext("request-1", 1_583_348_638_390, "id", "id.lambda-url.eu-west-1.on.aws")
HTTP_API = CONTEXT._replace(gateway=Gateway.HTTP_API)


def event_of(context: EventContext = CONTEXT, **request: Any) -> dict[str, Any]:
    return http_event(HttpRequest(**{"method": "GET", "path": "/"} | request), context)


def golden_request(case: dict[str, Any]) -> HttpRequest:
    given_request = dict(case["request"])
    body = given_request.pop("body", "").encode() or base64.b64decode(given_request.pop("body_base64", ""))
    headers = [tuple(pair) for pair in given_request.pop("headers", [])]
    return HttpRequest(**given_request, headers=headers, body=body)


def golden_context(case: dict[str, Any]) -> EventContext:
    return EventContext(**case["context"] | {"gateway": Gateway(case["context"].get("gateway", "function-url"))})


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_events(case: dict[str, Any]) -> None:
    event = http_event(golden_request(case), golden_context(case))
    assert event == case["event"]
    assert json.loads(json.dumps(event)) == event


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["name"])
def test_golden_events_are_read(case: dict[str, Any]) -> None:
    view, request, context = read_http_event(case["event"]), golden_request(case), golden_context(case)
    assert (view.method, view.body, view.query, view.source_ip) == (
        request.method,
        request.body,
        request.query,
        request.source_ip,
    )
    assert (view.request_id, view.route_key, view.stage) == (context.request_id, context.route_key, context.stage)
    assert (view.path_parameters, view.authorizer) == (context.path_parameters or {}, context.authorizer or {})
    assert (view.venturekit, view.time_epoch_ms) == (context.venturekit, context.time_epoch_ms)


TOKENS = st.text("abcXYZ-09", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=20)
COOKIES = st.lists(st.text("abc=%123", min_size=1, max_size=10), max_size=4)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["GET", "POST", "DELETE"]),
    st.text(max_size=30).map(lambda text: "/" + quote(text)),
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4),
    st.lists(st.tuples(TOKENS, VALUES), max_size=5),
    COOKIES,
    st.binary(max_size=40) | st.text(max_size=40).map(str.encode),
    st.sampled_from([None, "application/json", "text/html; charset=utf-8", "image/png"]),
    st.sampled_from([CONTEXT, HTTP_API]),
)
def test_what_was_built_is_read(
    method: str,
    path: str,
    pairs: list[tuple[str, str]],
    headers: list[tuple[str, str]],
    cookies: list[str],
    body: bytes,
    content_type: str | None,
    context: EventContext,
) -> None:
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
    sent = [*headers, ("Cookie", "; ".join(cookies))] if cookies else headers
    sent = [*sent, ("Content-Type", content_type)] if content_type else sent
    request = HttpRequest(method, path, query, sent, body)
    event = json.loads(json.dumps(http_event(request, context)))
    view = read_http_event(event)
    assert (view.method, view.query, view.body, view.cookies) == (method, query, body, cookies)
    assert view.path == (path if context is CONTEXT else unquote(path))
    assert event["requestContext"]["http"]["path"] == unquote(path)
    for name, _ in headers:
        values = [value for other, value in headers if other.lower() == name.lower()]
        assert view.headers[name.lower()] == ",".join(values)
    decoded = parse_qsl(query, keep_blank_values=True)
    assert view.query_parameters == {
        name: ",".join(value for other, value in decoded if other == name) for name, _ in decoded
    }


@settings(deadline=None, max_examples=200)
@given(st.text("ab=&+%2Bé%41%zz", max_size=40))
def test_queries_are_decoded_as_the_standard_library_decodes_them(query: str) -> None:
    decoded = parse_qsl(query, keep_blank_values=True)
    expected = {name: ",".join(value for other, value in decoded if other == name) for name, _ in decoded}
    assert event_of(query=query).get("queryStringParameters", {}) == expected


@pytest.mark.parametrize(
    ("headers", "body", "is_base64"),
    [
        ({"content-type": "application/json"}, b"{}", False),
        ({"Content-Type": "APPLICATION/JSON; charset=utf-8"}, b"{}", False),
        ({"content-type": "application/xml"}, b"<a/>", False),
        ({"content-type": "application/javascript"}, b"1", False),
        ({"content-type": "text/plain"}, b"text", False),
        ({"content-type": "text/csv"}, b"a,b", False),
        ({"content-type": "application/problem+json"}, b"{}", False),
        ({"content-type": "image/svg+xml"}, b"<svg/>", False),
        ({"content-type": "text/plain", "content-encoding": "identity"}, b"text", False),
        ({"content-type": "text/plain", "content-encoding": "gzip"}, b"text", True),
        ({"content-type": "text/plain", "content-encoding": " BR"}, b"text", True),
        ({"content-type": "text/plain; charset=latin-1"}, b"caf\xe9", True),
        ({"content-type": "application/json"}, b'"\xff"', True),
        ({"content-type": "application/x-www-form-urlencoded"}, b"a=1", True),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--", True),
        ({"content-type": "application/octet-stream"}, b"text", True),
        ({"content-type": "image/png"}, b"\x89PNG", True),
        ({"content-type": ""}, b"text", True),
        ({}, b"text", True),
        ({"content-type": "image/png"}, b"", False),
    ],
)
def test_bodies_are_text_or_base64(headers: dict[str, str], body: bytes, is_base64: bool) -> None:
    for context in (CONTEXT, HTTP_API):
        event = event_of(context, headers=list(headers.items()), body=body)
        assert event["isBase64Encoded"] is is_base64
        if not body:
            assert "body" not in event
        else:
            assert event["body"] == (base64.b64encode(body).decode() if is_base64 else body.decode())


@settings(deadline=None, max_examples=200)
@given(st.integers(-2_208_988_800_000, 253_402_300_799_999))
def test_the_time_is_written_as_web_servers_write_it(epoch_ms: int) -> None:
    context = event_of(CONTEXT._replace(time_epoch_ms=epoch_ms))["requestContext"]
    assert context["timeEpoch"] == epoch_ms
    assert datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z") == datetime.fromtimestamp(epoch_ms // 1000, UTC)


@pytest.mark.parametrize(
    ("month", "name"),
    list(enumerate(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], start=1)),
)
def test_months_are_english(month: int, name: str) -> None:
    moment = datetime(2026, month, 9, 8, 7, 6, tzinfo=UTC)
    event = event_of(CONTEXT._replace(time_epoch_ms=int(moment.timestamp()) * 1000 + 999))
    assert event["requestContext"]["time"] == f"09/{name}/2026:08:07:06 +0000"


@pytest.mark.parametrize(
    ("cookie_headers", "cookies"),
    [
        ([], None),
        ([""], None),
        ([" ; "], None),
        (["a=1"], ["a=1"]),
        (["a=1;b=2;  c=3 ;"], ["a=1", "b=2", "c=3"]),
        (["a=1", "b=2; c=3"], ["a=1", "b=2", "c=3"]),
        (["a=1, b=2"], ["a=1, b=2"]),
    ],
)
def test_cookies_are_a_list(cookie_headers: list[str], cookies: list[str] | None) -> None:
    headers = [("Cookie", value) for value in cookie_headers]
    for_url, for_api = event_of(headers=headers), event_of(HTTP_API, headers=headers)
    assert for_url.get("cookies") == for_api.get("cookies") == cookies
    assert "cookie" not in for_api["headers"]
    assert for_url["headers"].get("cookie") == ("; ".join(cookie_headers) if cookie_headers else None)


@pytest.mark.parametrize(
    "name", ["Connection", "keep-alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]
)
def test_headers_of_the_connection_are_no_part_of_the_event(name: str) -> None:
    assert event_of(headers=[(name, "x"), ("x-kept", "y")])["headers"] == {"x-kept": "y"}


def test_nobody_outside_can_mark_a_request_as_internal() -> None:
    event = event_of(headers=[("requestContext.venturekit", "x"), ("x-venturekit-source", "internal")])
    assert "venturekit" not in event["requestContext"]
    assert read_http_event(event).venturekit is None


def test_what_is_empty_is_absent() -> None:
    event = event_of(CONTEXT._replace(path_parameters={}, stage_variables={}), query="&")
    optional = {"cookies", "queryStringParameters", "pathParameters", "stageVariables", "body"}
    assert optional & event.keys() == set()
    assert {"authorizer", "authentication"} & event["requestContext"].keys() == set()


def test_null_and_absent_are_read_alike() -> None:
    bare = {"requestContext": {"http": {"method": "GET", "path": "/p"}}}
    texts = ["rawPath", "rawQueryString", "body"]
    others = ["cookies", "headers", "queryStringParameters", "pathParameters", "isBase64Encoded"]
    nulls = bare | dict.fromkeys([*texts, *others])
    assert read_http_event(nulls) == read_http_event(bare)
    view = read_http_event(bare)
    assert (view.path, view.headers, view.cookies, view.body) == ("/p", {}, [], b"")


def test_header_names_are_read_in_lower_case() -> None:
    event = event_of() | {"headers": {"Content-Type": "text/plain"}}
    assert read_http_event(event).headers == {"content-type": "text/plain"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"requestContext": None}, "no event of an HTTP request in payload format 2.0"),
        ({"requestContext": {}}, "no event of an HTTP request in payload format 2.0"),
        ({"requestContext": []}, "requestContext of the event is of the type list, not dict"),
        ({"requestContext": {"http": "GET"}}, "http of the event is of the type str"),
        ({"requestContext": {"http": {"method": 1}}}, "method of the event is of the type int"),
        ({"rawPath": 1}, "rawPath of the event is of the type int"),
        ({"headers": ["a"]}, "headers of the event is of the type list"),
        ({"headers": {"a": 1}}, "a of the event is of the type int, not str"),
        ({"queryStringParameters": {"a": ["1"]}}, "a of the event is of the type list"),
        ({"cookies": "a=1"}, "cookies of the event is of the type str"),
        ({"cookies": [1]}, "cookies of the event are not all texts"),
        ({"body": {}}, "body of the event is of the type dict"),
        ({"body": "%", "isBase64Encoded": True}, "said to be base64, but is not"),
        ({"body": "é", "isBase64Encoded": True}, "said to be base64, but is not"),
        ({"body": "YQ==", "isBase64Encoded": "true"}, "isBase64Encoded of the event is of the type str, not bool"),
    ],
)
def test_what_is_no_event(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidHttpEventError, match=reason):
        read_http_event(event_of() | change)


def test_importing_them_costs_little() -> None:
    heavy = {
        "asyncio",
        "base64",
        "datetime",
        "dataclasses",
        "email",
        "http",
        "inspect",
        "ipaddress",
        "urllib",
        "venturekit.service",
    }
    code = (
        "import sys; import venturekit.protocol.eventstream, venturekit.protocol.http_response;"
        f"print(sorted(set(sys.modules) & {heavy!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
