"""The client of handlers: routes, front doors, results that AWS would refuse, streams, async handlers."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.protocol.function_names import filled_route
from venturekit.protocol.http_response import InvalidHttpResponseError
from venturekit.ric.faults import FaultError, ResponseStreamError
from venturekit.runtime import Response, handler, stream
from venturekit.testing import Client, FakeLambdaContext, ManualClock
from venturekit.testing.routing import InvalidRouteKeyError, best_route, parse_route_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GATEWAYS: list[Any] = ["http-api", "function-url", "rest-api", "alb", "alb-multi-value"]


@handler(access_log=False)
def echo(body: Any, ctx: Any) -> Any:
    return {
        "body": body.decode("latin-1") if isinstance(body, bytes) else body,
        "method": ctx.method,
        "path": ctx.path,
        "query": ctx.query_lists,
        "params": ctx.path_params,
        "cookies": ctx.cookies,
        "header": ctx.headers.get("x-one"),
        "user": ctx.user.id if ctx.user else None,
        "internal": ctx.is_internal,
    }


@handler(access_log=False)
async def aecho(body: Any, ctx: Any) -> Any:
    await asyncio.sleep(0)
    return {"body": body, "path": ctx.path}


@handler(access_log=False)
def cookies() -> Response:
    return Response("<p>ä</p>", 201, {"Content-Type": "text/html; charset=utf-8"}, cookies=["a=1; Path=/", "b=2"])


# --- front doors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_request_arrives_by_every_front_door(gateway: Any) -> None:
    client = Client(echo, gateway=gateway, headers={"X-One": "1"})
    response = client.put("/a/b?q=1&q=2", json={"x": [1]}, cookies={"c": "d"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    data = response.data
    assert (data["method"], data["path"], data["body"], data["header"]) == ("PUT", "/a/b", {"x": [1]}, "1")
    assert data["query"] == {"q": ["2"] if gateway == "alb" else ["1", "2"]}
    assert data["cookies"] == {"c": "d"}


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_a_response_leaves_by_every_front_door(gateway: Any) -> None:
    response = Client(cookies, gateway=gateway).get("/")
    assert (response.status_code, response.text, response.bytes) == (201, "<p>ä</p>", "<p>ä</p>".encode())
    # A load balancer without multi-value headers has room for one.
    assert response.cookies == ({"b": "2"} if gateway == "alb" else {"a": "1", "b": "2"})
    if gateway != "alb":
        assert response.set_cookies == ["a=1; Path=/", "b=2"]


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_bytes_pass_both_ways(gateway: Any) -> None:
    @handler(access_log=False)
    def main(body: bytes) -> Response:
        return Response(body[::-1])

    assert Client(main, gateway=gateway).post("/", body=b"\xff\x00a").bytes == b"a\x00\xff"


def test_an_unknown_gateway_is_refused() -> None:
    wrong: Any = "soap"
    with pytest.raises(ValueError, match="is no gateway: http-api"):
        Client(echo, gateway=wrong)


@pytest.mark.parametrize(
    ("gateway", "options", "what"),
    [
        ("alb", {"claims": {"sub": "1"}}, "a request to alb has no claims"),
        ("function-url", {"scopes": ["a"]}, "a request to function-url has no scopes"),
        ("rest-api", {"internal": True}, "a request to rest-api has no internal"),
        ("http-api", {"iam": {}}, "has no iam"),
        ("http-api", {"colour": "red"}, "has no colour"),
        ("http-api", {"json": 1, "body": "a"}, "one body"),
        ("http-api", {"json": 1, "form": {"a": "b"}}, "one body"),
    ],
)
def test_what_a_request_does_not_have_is_refused(gateway: Any, options: dict[str, Any], what: str) -> None:
    with pytest.raises(TypeError, match=what):
        Client(echo, gateway=gateway).get("/", **options)


# --- who asks ---------------------------------------------------------------------------------------------------------


@handler(scopes=["read"], access_log=False)
def guarded(_body: Any, ctx: Any) -> Any:
    return ctx.user.id if ctx.user else None


@pytest.mark.parametrize("gateway", ["http-api", "rest-api"])
def test_claims_and_scopes(gateway: Any) -> None:
    client = Client(guarded, gateway=gateway)
    assert client.get("/").status_code == 401
    assert client.get("/", claims={"sub": "1"}).status_code == 403
    assert client.get("/", claims={"sub": "1"}, scopes=["read"]).data == "1"
    assert client.get("/", scopes=["read", "write"]).data == "test-user"
    assert client.get("/", claims={"sub": "1"}).error["code"] == "FORBIDDEN"


def test_a_client_may_have_claims_of_its_own() -> None:
    client = Client(guarded, claims={"sub": "own"}, scopes=["read"])
    assert client.get("/").data == "own"
    assert client.get("/", claims={"sub": "other"}).data == "other"
    assert client.get("/", scopes=["none"]).status_code == 403
    assert client.get("/", claims=None).status_code == 401
    assert client.get("/", internal=True, user_id="u").data == "u"


def test_an_authorizer_of_ones_own_and_iam() -> None:
    assert Client(echo).get("/", authorizer={"lambda": {"sub": "l"}}).data["user"] == "l"
    assert Client(echo, gateway="rest-api").get("/", authorizer={"principalId": "p"}).data["user"] == "p"
    assert Client(echo, gateway="function-url").get("/", iam={"userId": "i"}).data["user"] == "i"


def test_an_internal_call() -> None:
    data = Client({"GET /users/{id}": echo}).get("/users/1", internal=True, user_id="u").data
    assert (data["internal"], data["user"], data["params"]) == (True, "u", {"id": "1"})


# --- routes -----------------------------------------------------------------------------------------------------------


def named(name: str) -> Any:
    return handler(lambda _body, ctx: {"name": name, "params": ctx.path_params}, access_log=False)


ROUTES = {
    key: named(key)
    for key in (
        "GET /users",
        "GET /users/{id}",
        "/users/{id}",
        "GET /users/me",
        "GET /users/{id}/{rest+}",
        "GET /",
        "$default",
    )
}


@pytest.mark.parametrize(
    ("method", "path", "key", "parameters"),
    [
        ("GET", "/users", "GET /users", {}),
        ("GET", "/users/", "GET /users", {}),
        ("GET", "users/42", "GET /users/{id}", {"id": "42"}),
        ("POST", "/users/42", "/users/{id}", {"id": "42"}),
        ("GET", "/users/me", "GET /users/me", {}),
        ("GET", "/users/a%2Fb?x=1", "GET /users/{id}", {"id": "a/b"}),
        ("GET", "/users/1/a/b", "GET /users/{id}/{rest+}", {"id": "1", "rest": "a/b"}),
        ("GET", "/", "GET /", {}),
        ("POST", "/users", "$default", {}),
        ("GET", "/else/where", "$default", {}),
    ],
)
def test_a_request_takes_the_best_route(method: str, path: str, key: str, parameters: dict[str, str]) -> None:
    response = Client(ROUTES).request(method, path)
    assert response.data == {"name": key, "params": parameters}


@pytest.mark.parametrize(("gateway", "status"), [("http-api", 404), ("rest-api", 403), ("alb", 404)])
def test_a_request_without_a_route(gateway: Any, status: int) -> None:
    client = Client({"GET /a": echo, "GET /b/{x}": echo}, gateway=gateway)
    for path in ("/c", "/a/b", "/b", "/b//"):
        response = client.get(path)
        assert (response.status_code, response.event) == (status, None)


@pytest.mark.parametrize("text", ["", "get /a", "/a{b}", "/{a+}/b", "/{a", "GET /{}", "GET /a/{b}c"])
def test_a_route_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRouteKeyError):
        parse_route_key(text)


PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=5)


@given(PARTS.filter(lambda text: text.strip("/")), st.lists(PARTS.filter(lambda text: "/" not in text), min_size=1))
def test_what_a_path_is_filled_with_is_found_in_it(identifier: str, rest: list[str]) -> None:
    given_parameters = {"id": identifier, "rest": "/".join(rest)}
    for route in ("/a/{id}/b/{rest+}", "/{id}/{rest+}"):
        path = filled_route(route, given_parameters)
        assert best_route([parse_route_key(route)], "GET", path) == (parse_route_key(route), given_parameters)


def test_no_route_at_all() -> None:
    assert best_route([], "GET", "/") is None
    with pytest.raises(ValueError, match="needs a handler"):
        Client({})
    with pytest.raises(TypeError, match="no function of"):
        Client({"GET /": 3})  # type: ignore[dict-item]


# --- results that a front door refuses --------------------------------------------------------------------------------

BAD_RESULTS: dict[str, tuple[Any, dict[str, bool]]] = {
    "no status": ({"body": "a"}, {"rest-api": True, "alb": True, "http-api": False}),
    "a bare value": ([1], {"rest-api": True, "alb": True, "http-api": False}),
    "an odd status": ({"statusCode": 99}, dict.fromkeys(GATEWAYS, True)),
    "a status that is text": ({"statusCode": "abc"}, dict.fromkeys(GATEWAYS, True)),
    "a body that is no text": ({"statusCode": 200, "body": {"a": 1}}, dict.fromkeys(GATEWAYS, True)),
    "no base64": ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, dict.fromkeys(GATEWAYS, True)),
    "a header with a line end": (
        {"statusCode": 200, "headers": {"a": "b\r\nc: d"}},
        {"http-api": True, "function-url": True, "rest-api": True, "alb": True},
    ),
    "headers that are a list": ({"statusCode": 200, "headers": []}, {"http-api": True, "rest-api": True, "alb": True}),
    "lists that are texts": (
        {"statusCode": 200, "multiValueHeaders": {"a": "b"}},
        {"rest-api": True, "alb-multi-value": True, "http-api": False},
    ),
}


@pytest.mark.parametrize(
    ("name", "gateway"), [(name, gateway) for name, (_, doors) in BAD_RESULTS.items() for gateway in doors]
)
def test_what_a_front_door_refuses_fails_in_the_test(name: str, gateway: Any) -> None:
    result, doors = BAD_RESULTS[name]
    client = Client(lambda _event, _context: result, gateway=gateway)
    quiet = Client(lambda _event, _context: result, gateway=gateway, raise_errors=False)
    if doors[gateway]:
        with pytest.raises(InvalidHttpResponseError):
            client.get("/")
        assert quiet.get("/").status_code == (500 if gateway == "http-api" else 502)
    else:
        assert client.get("/").status_code == 200


def failing(_event: Any, _context: Any) -> Any:
    raise LookupError("broken")


@pytest.mark.parametrize(
    ("gateway", "status", "text"),
    [
        ("http-api", 500, '{"message":"Internal Server Error"}'),
        ("function-url", 502, "Internal Server Error"),
        ("rest-api", 502, '{"message": "Internal server error"}'),
        ("alb", 502, None),
    ],
)
def test_what_a_handler_raises(gateway: Any, status: int, text: str | None) -> None:
    with pytest.raises(LookupError, match="broken"):
        Client(failing, gateway=gateway).get("/")
    response = Client(failing, gateway=gateway, raise_errors=False).get("/")
    assert response.status_code == status
    assert text is None or response.text == text


def test_a_result_that_json_cannot_hold() -> None:
    with pytest.raises(FaultError, match="not JSON serializable"):
        Client(lambda _event, _context: object()).get("/")


def test_an_http_api_and_a_function_url_make_a_response_of_any_value() -> None:
    assert Client(lambda _event, _context: {"a": 1}).get("/").json() == {"a": 1}
    assert Client(lambda _event, _context: "text", gateway="function-url").get("/").text == "text"
    assert Client(lambda _event, _context: b'{"statusCode": 204}').get("/").status_code == 204


def test_a_head_request_has_no_body() -> None:
    response = Client(echo).head("/")
    assert (response.status_code, response.bytes) == (200, b"")


# --- responses --------------------------------------------------------------------------------------------------------


def test_json_of_what_is_none_says_what_there_was() -> None:
    response = Client(cookies).get("/")
    with pytest.raises(ValueError, match=r"the body of this 201 is no JSON .*<p>"):
        response.json()


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("text/plain; charset=latin-1", "ä"), ("text/plain; charset=odd", "\ufffd"), ("text/plain", "\ufffd")],
)
def test_text_is_in_its_character_set(content_type: str, expected: str) -> None:
    body = base64.b64encode("ä".encode("latin-1")).decode()
    result = {"statusCode": 200, "headers": {"Content-Type": content_type}, "body": body, "isBase64Encoded": True}
    assert Client(lambda _event, _context: result).get("/").text == expected


def test_a_response_without_content_has_no_data() -> None:
    response = Client(handler(lambda: None, status=204, access_log=False)).delete("/")
    assert (response.status_code, response.data, response.error, response.text) == (204, None, None, "")


def test_a_response_knows_its_event_and_context(vk_clock: ManualClock) -> None:
    context = FakeLambdaContext(function_name="mine", clock=vk_clock)
    response = Client(echo, clock=vk_clock).get("/a", context=context, request_id="r")
    assert response.context is context
    assert response.event is not None
    assert response.event["requestContext"]["requestId"] == "r"
    assert response.event["requestContext"]["timeEpoch"] == vk_clock.epoch_ms
    assert repr(response).startswith("<ClientResponse 200: ")


# --- streams ----------------------------------------------------------------------------------------------------------


@handler(access_log=False)
def streaming(_body: Any, _ctx: Any) -> Any:
    return stream(iter(["one", b"two"]), "text/plain", 203, {"X-A": "1"}, cookies=["a=b"])


@handler(access_log=False)
async def astreaming(_body: Any, _ctx: Any) -> Any:
    async def pieces() -> AsyncIterator[str]:
        yield "one"
        yield "two"

    return stream(pieces(), "text/plain", 203, {"X-A": "1"}, cookies=["a=b"])


@pytest.mark.parametrize("main", [streaming, astreaming])
@pytest.mark.parametrize("gateway", GATEWAYS)
@pytest.mark.parametrize("can_stream", [True, False])
def test_streams(main: Any, gateway: Any, can_stream: bool) -> None:
    response = Client(main, gateway=gateway, streaming=can_stream).get("/")
    assert (response.status_code, response.text, response.headers["x-a"]) == (203, "onetwo", "1")
    assert response.cookies == {"a": "b"}
    is_streamed = can_stream and gateway in ("http-api", "function-url")
    assert response.pieces == ([b"one", b"two"] if is_streamed else [])


def test_a_context_may_be_used_again(vk_context: FakeLambdaContext) -> None:
    client = Client(streaming)
    assert [client.get("/", context=vk_context).pieces for _ in range(2)] == [[b"one", b"two"]] * 2


def test_generators_that_know_no_framework() -> None:
    def pieces(_event: Any, _context: Any) -> Iterator[str]:
        yield "a"
        yield "b"

    async def apieces(_event: Any, _context: Any) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    for main in (pieces, apieces):
        response = Client(main).get("/")
        assert (response.headers["content-type"], response.pieces) == ("application/octet-stream", [b"a", b"b"])
        assert asyncio.run(Client(main).arequest("GET", "/")).text == "ab"
    with pytest.raises(FaultError, match="not JSON serializable"):
        Client(pieces, streaming=False).get("/")


def test_a_stream_is_closed_when_its_invocation_is_over() -> None:
    kept: list[Any] = []

    def main(_event: Any, context: Any) -> None:
        kept.append(context.response_stream)
        context.response_stream.begin_http(418, {"X-A": "1"})
        context.response_stream.write("tea")
        context.response_stream.close()

    response = Client(main).get("/")
    assert (response.status_code, response.text, response.headers["x-a"]) == (418, "tea", "1")
    with pytest.raises(ResponseStreamError):
        kept[0].write("more")


def test_a_stream_that_promises_a_prelude_and_has_none() -> None:
    def main(_event: Any, context: Any) -> None:
        context.response_stream.content_type = "application/vnd.awslambda.http-integration-response"
        context.response_stream.write("{}")

    with pytest.raises(InvalidHttpResponseError, match="8 NULs"):
        Client(main).get("/")
    assert Client(main, raise_errors=False, gateway="function-url").get("/").status_code == 502


# --- async ------------------------------------------------------------------------------------------------------------


def test_an_async_handler() -> None:
    assert Client(aecho).post("/a", json=[1]).data == {"body": [1], "path": "/a"}

    async def plain(event: Any, _context: Any) -> Any:
        await asyncio.sleep(0)
        return {"statusCode": 200, "body": json.dumps(event["rawPath"])}

    assert Client(plain).get("/x").json() == "/x"


def test_handlers_within_an_event_loop() -> None:
    async def scene() -> None:
        client = Client({"POST /a": aecho, "GET /b": echo})
        assert (await client.arequest("POST", "/a", json=1)).data["body"] == 1
        assert (await client.arequest("GET", "/b")).status_code == 200
        assert (await client.arequest("GET", "/none")).status_code == 404
        with pytest.raises(RuntimeError, match="await"):
            client.post("/a", json=1)

    asyncio.run(scene())


def test_an_async_handler_that_fails() -> None:
    async def main(_event: Any, _context: Any) -> None:
        raise LookupError("broken")

    with pytest.raises(LookupError):
        asyncio.run(Client(main).arequest("GET", "/"))
    assert asyncio.run(Client(main, raise_errors=False).arequest("GET", "/")).status_code == 500

    async def scene() -> None:
        with pytest.raises(RuntimeError, match="await the asynchronous form"):
            Client(main).get("/")

    asyncio.run(scene())
