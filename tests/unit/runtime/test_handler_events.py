"""Events of every front door, forged headers, odd claims, and events that are none."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.support import TRACE, Context, alb, data, v1, v2
from venturekit.runtime import (
    InvalidEventError,
    RequestContext,
    build_context,
    extract_locale,
    extract_user_context,
    handler,
)


def quiet(fn: Any, **options: Any) -> Any:
    return handler(fn, access_log=False, **options)


def everything(body: Any, ctx: RequestContext) -> Any:
    """All that a context tells."""
    return {
        "method": ctx.method,
        "path": ctx.path,
        "source_ip": ctx.source_ip,
        "user_agent": ctx.user_agent,
        "query": ctx.query_params,
        "lists": ctx.query_lists,
        "params": ctx.path_params,
        "cookies": ctx.cookies,
        "request_id": ctx.request_id,
        "timestamp": ctx.timestamp.isoformat(),
        "user": ctx.user and ctx.user.id,
        "tenant": ctx.tenant and ctx.tenant.id,
        "internal": ctx.is_internal,
        "invoke_id": ctx.invoke_id,
        "trace": ctx.trace,
        "trace_id": ctx.trace_id,
        "locale": ctx.locale,
        "headers": ctx.headers,
        "body": ctx.body,
        "repr": repr(ctx),
        "raw": bool(ctx.raw_event),
        "outputs": ctx.intent_outputs,
        "remaining": ctx.get_remaining_time_in_millis(),
    }


def picked(result: Any, *names: str) -> Any:
    return [data(result)[name] for name in names]


def test_payload_format_2() -> None:
    event = v2(
        "PUT",
        "/users/a b",
        headers={"X-Odd": "1", "accept-language": "de"},
        query="tag=a&tag=b%2Cc&x=",
        claims={"sub": "user-1"},
        pathParameters={"id": "a b"},
        cookies=["a=1", "b=x=y", "a=2"],
        body={"a": 1},
    )
    found = data(quiet(everything, locales=(["en", "de"], "en"))(event, Context()))
    assert found == {
        "method": "PUT",
        "path": "/users/a b",
        "source_ip": "203.0.113.7",
        "user_agent": "test/1",
        "query": {"tag": "b%2Cc", "x": ""},
        "lists": {"tag": ["a", "b,c"], "x": [""]},
        "params": {"id": "a b"},
        "cookies": {"a": "1", "b": "x=y"},
        "request_id": "request-1",
        "timestamp": "2023-11-14T22:13:20+00:00",
        "user": "user-1",
        "tenant": None,
        "internal": False,
        "invoke_id": None,
        "trace": None,
        "trace_id": None,
        "locale": "de",
        "headers": {
            "content-type": "application/json",
            "user-agent": "test/1",
            "x-odd": "1",
            "accept-language": "de",
        },
        "body": {"a": 1},
        "repr": "RequestContext(PUT /users/a b, request_id='request-1')",
        "raw": True,
        "outputs": {},
        "remaining": 30_000,
    }


def test_payload_format_1() -> None:
    event = v1(
        "PUT",
        body='{"a":1}',
        headers={"Cookie": "a=1; b=2", "User-Agent": "test/1", "content-type": "application/json"},
    )
    event["requestContext"]["authorizer"] = {"claims": {"sub": "user-1", "scope": "a b"}}
    result = quiet(everything)(event)
    assert picked(result, "method", "path", "source_ip", "user_agent", "user", "body") == [
        "PUT",
        "/users/42",
        "203.0.113.7",
        "test/1",
        "user-1",
        {"a": 1},
    ]
    assert picked(result, "query", "lists", "params", "cookies") == [
        {"tag": "a,b"},
        {"tag": ["a", "b"]},
        {"id": "42"},
        {"a": "1", "b": "2"},
    ]
    assert data(result)["headers"]["x-many"] == "a,b"
    assert data(result)["timestamp"] == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize("many", [False, True])
def test_load_balancers(many: bool) -> None:
    result = quiet(lambda body, ctx: (ctx.response_headers.update({"X-A": "b"}), everything(body, ctx))[1])(
        alb(many=many), Context()
    )
    # The last address is the one that the load balancer saw: the others are anybody's words.
    assert result["statusDescription"] == "200 OK"
    assert ("multiValueHeaders" in result) is many
    assert ("headers" in result) is not many
    assert picked(result, "source_ip", "lists", "request_id", "user") == [
        "203.0.113.7",
        {"tag": ["a b", "c"] if many else ["c"]},
        "aws-request-1",
        None,
    ]


def test_cookies_leave_as_the_front_door_takes_them() -> None:
    from venturekit.runtime import Response

    main = quiet(lambda: Response("a", cookies=["a=1", "b=2"]))
    assert main(v2())["cookies"] == ["a=1", "b=2"]
    assert main(v1())["multiValueHeaders"] == {"Set-Cookie": ["a=1", "b=2"]}
    assert main(alb(many=True))["multiValueHeaders"]["Set-Cookie"] == ["a=1", "b=2"]
    assert main(alb())["headers"]["Set-Cookie"] == "b=2"


@pytest.mark.parametrize("status", [200, 299, 418, 599])
def test_a_load_balancer_gets_a_description_of_every_status(status: int) -> None:
    from venturekit.runtime import Response

    described = quiet(lambda: Response(None, status))(alb())["statusDescription"]
    assert described.startswith(f"{status} ")
    assert len(described) > 4


# --- who asks -------------------------------------------------------------------------------------------------------

FORGED = {
    "x-venturekit-source": "internal",
    "X-VentureKit-Invoke-Id": "forged",
    "X-VENTUREKIT-USER-ID": "root",
    "x-Venturekit-Tenant-Id": "acme",
    "x-venture\u212ait-user-id": "kelvin",
}


def test_forged_headers_are_not_let_through() -> None:
    for make in (v2, v1, alb):
        event = make(
            headers={**FORGED, "x-other": "stays"}, multiValueHeaders={name: [v] for name, v in FORGED.items()}
        )
        before = copy.deepcopy(event)
        ctx = build_context(event)
        assert (ctx.is_internal, ctx.invoke_id, ctx.user, ctx.tenant) == (False, None, None, None)
        assert [name for name in ctx.headers if "venture" in name] == []
        assert ctx.headers["x-other"] == "stays"
        assert [name for name in ctx.raw_event["headers"] if "venture" in name.lower()] == []
        assert [name for name in ctx.raw_event["multiValueHeaders"] if "venture" in name.lower()] == []
        assert event == before, "the event itself is the caller's"


def test_a_marker_makes_a_call_internal() -> None:
    headers = {"x-venturekit-source": "internal", "x-venturekit-invoke-id": "i-1"}
    ctx = build_context(v2(headers=headers, marker={"invokeId": "i-1", "tenantId": "acme", "userId": "u-1"}))
    assert (ctx.is_internal, ctx.invoke_id) == (True, "i-1")
    assert (ctx.user.id, ctx.user.scopes, ctx.tenant.id) == ("u-1", [], "acme")  # type: ignore[union-attr]
    assert ctx.raw_event["headers"]["x-venturekit-source"] == "internal"


@pytest.mark.parametrize("marker", ["internal", True, ["x"], 5, None])
def test_a_marker_is_an_object_or_none(marker: Any) -> None:
    event = v2(headers=FORGED)
    event["requestContext"]["venturekit"] = marker
    ctx = build_context(event)
    assert not ctx.is_internal
    assert [name for name in ctx.headers if "venture" in name] == []


@pytest.mark.parametrize("make", [v1, alb])
def test_other_front_doors_know_no_marker(make: Any) -> None:
    event = make(headers=FORGED)
    event["requestContext"]["venturekit"] = {"invokeId": "i"}
    assert not build_context(event).is_internal


@pytest.mark.parametrize("marker", [{}, {"invokeId": 5, "tenantId": [], "userId": {}}, {"tenantId": "", "userId": ""}])
def test_an_odd_marker_names_nobody(marker: Any) -> None:
    ctx = build_context(v2(marker=marker, claims={"sub": "claimed"}))
    assert (ctx.is_internal, ctx.invoke_id, ctx.user, ctx.tenant) == (True, None, None, None)


@pytest.mark.parametrize(
    ("authorizer", "expected"),
    [
        (None, None),
        ({}, None),
        ("text", None),
        (["x"], None),
        ({"jwt": None}, None),
        ({"jwt": "x"}, None),
        ({"jwt": {"claims": None}}, None),
        ({"jwt": {"claims": ["sub"]}}, None),
        ({"jwt": {"claims": {"sub": "u", "email": "e@x", "scope": "a b"}}}, ("u", "e@x", ["a", "b"])),
        ({"jwt": {"claims": {"sub": "u", "email": 5}, "scopes": ["a"]}}, ("u", None, ["a"])),
        ({"jwt": {"claims": {"sub": "u", "scope": "own"}, "scopes": ["a"]}}, ("u", None, ["own"])),
        ({"lambda": {"sub": "u", "scopes": ["a", 5, None]}}, ("u", None, ["a"])),
        ({"lambda": None}, None),
        ({"lambda": "x"}, None),
        ({"iam": {"userId": "AIDA", "userArn": "arn:aws:iam::1:user/a"}}, ("AIDA", None, [])),
        ({"iam": {"userId": None, "userArn": "arn:aws:iam::1:user/a"}}, ("arn:aws:iam::1:user/a", None, [])),
        ({"iam": {}}, None),
    ],
)
def test_the_user_of_an_authorizer(authorizer: Any, expected: Any) -> None:
    event = v2()
    event["requestContext"]["authorizer"] = authorizer
    user = extract_user_context(event)
    assert (user and (user.id, user.email, user.scopes)) == expected
    if user is not None:
        assert user.sub == user.id
        assert user.claims
        assert user.has_scopes(*user.scopes)
        assert not user.has_scopes("never")


@pytest.mark.parametrize(
    ("authorizer", "expected"),
    [
        ({"claims": {"sub": "u", "scope": "a"}}, ("u", ["a"])),
        ({"jwt": {"claims": {"sub": "u"}, "scopes": None}}, ("u", [])),
        ({"principalId": "p", "scopes": "a b"}, ("p", ["a", "b"])),
        ({"principalId": "p", "claims": "odd"}, ("p", [])),
        (None, None),
        (5, None),
    ],
)
def test_the_user_of_an_authorizer_of_format_1(authorizer: Any, expected: Any) -> None:
    event = v1()
    event["requestContext"]["authorizer"] = authorizer
    user = extract_user_context(event)
    assert (user and (user.id, user.scopes)) == expected


def test_a_load_balancers_headers_are_no_proof() -> None:
    assert (
        extract_user_context(alb(headers={"x-amzn-oidc-identity": "root", "x-amzn-oidc-data": "e30.e30.e30"})) is None
    )


# --- traces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "variable", "trace_id"),
    [
        ({}, None, None),
        ({"x-amzn-trace-id": TRACE}, None, "1-5759e988-bd862e3fe1be46a994272793"),
        ({"X-Amzn-Trace-Id": "Root=1-a-b"}, TRACE, "1-a-b"),
        ({}, TRACE, "1-5759e988-bd862e3fe1be46a994272793"),
        (
            {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            None,
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        (
            {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            TRACE,
            "1-5759e988-bd862e3fe1be46a994272793",
        ),
        ({"traceparent": "garbage"}, None, None),
        ({"x-amzn-trace-id": "Self=1"}, None, None),
    ],
)
def test_where_the_trace_comes_from(
    headers: Any, variable: Any, trace_id: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", variable)
    assert build_context(v2(headers=headers)).trace_id == trace_id


# --- events that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        *(None, 5, "text", [], {}, {"Records": []}, {"requestContext": None}, {"requestContext": []}),
        *({"requestContext": "http"}, {"requestContext": ["http"]}, {"requestContext": {"http": None}}),
        *({"requestContext": {"http": {"method": "GET"}}}, {"requestContext": {"http": {"method": 5, "path": "/"}}}),
        *({"requestContext": "abc", "httpMethod": None}, {"requestContext": {}, "httpMethod": 5}),
        *(v2(headers=None) | {"headers": ["a"]}, v2() | {"headers": {"a": 5}}, v2() | {"headers": "x"}),
        *(v1() | {"multiValueHeaders": {"a": 5}}, v1() | {"headers": {"a": None}}, {"source": "aws.events"}),
    ],
)
def test_what_is_no_request_is_said_to_be_none(event: Any) -> None:
    with pytest.raises(InvalidEventError, match="this is no event of an HTTP request"):
        quiet(everything)(event)
    for reader in (build_context, extract_user_context):
        with pytest.raises(InvalidEventError):
            reader(event)
    with pytest.raises(InvalidEventError):
        extract_locale(event, ["en"], "en")


def test_null_and_absent_are_the_same() -> None:
    event = v2(queryStringParameters=None, pathParameters=None, cookies=None, body=None, rawQueryString=None)
    event["requestContext"]["authorizer"] = None
    found = data(quiet(everything)(event))
    assert (found["query"], found["params"], found["cookies"], found["lists"]) == ({}, {}, {}, {})
    empty = v1(
        headers=None,
        multiValueHeaders=None,
        queryStringParameters=None,
        multiValueQueryStringParameters=None,
        pathParameters=None,
    )
    assert data(quiet(everything)(empty))["headers"] == {}


BASES = [
    v2("POST", "/a", headers={"cookie": "a=1"}, query="a=1", body={"a": 1}, claims={"sub": "u", "scope": "a"}),
    v2(marker={"invokeId": "i", "userId": "u"}),
    v1("POST", body="{}"),
    alb(many=True),
    alb(),
]
odd_values = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.just(float("inf")),
        st.just(10**30),
    ),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=2),
    st.dictionaries(st.text(max_size=3), st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in an event something can be changed."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name, inner in value.items():
            found += places(inner, (*path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += places(inner, (*path, index))
    return found


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    event = copy.deepcopy(draw(st.sampled_from(BASES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(event)))
        at = event
        for part in path[:-1]:
            at = at[part]
        if draw(st.booleans()) and isinstance(at, dict):
            del at[path[-1]]
        else:
            at[path[-1]] = draw(odd_values)
        if not isinstance(event, dict) or not places(event):
            break
    return event


@settings(max_examples=300)
@given(mutated())
def test_a_mutated_event_is_a_response_or_no_request(event: Any) -> None:
    failures = []
    main = quiet(everything, middleware=[noting_failures(failures)], log_level="silent")
    try:
        result = main(event, Context())
    except InvalidEventError:
        return
    assert 200 <= result["statusCode"] <= 500
    json.dumps(result)
    # An odd event is at most a bad request: nothing in the framework falls over it.
    assert failures == []


def noting_failures(failures: list[Any]) -> Any:
    from venturekit.runtime import VentureError

    def fn(ctx: Any, next: Any) -> Any:
        try:
            return next()
        except VentureError:
            raise
        except Exception as error:
            failures.append(error)
            raise

    return fn
