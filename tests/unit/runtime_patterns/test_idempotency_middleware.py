"""Requests that come twice, as a user sends them: what is answered again, what is refused, what is left alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.runtime_patterns.idempotency_lab import Asynchronous, Clock, Faulty
from venturekit.runtime import (
    ConflictError,
    Logger,
    Middleware,
    MiddlewareError,
    Response,
    UserContext,
    compose,
    cors_middleware,
    create_memory_idempotency_store,
    created,
    error,
    handler,
    idempotency_middleware,
    no_content,
    request_id_middleware,
    stream,
    task_handler,
    timing_middleware,
)
from venturekit.testing import Client, FakeLambdaContext

QUIET = Logger(min_level="silent")
KINDS = ("sync", "async", "async store")
KEY = {"Idempotency-Key": "k-1"}


class Scene:
    """A handler behind the middleware, and a client of it. ``answer`` makes the response of each run."""

    def __init__(self, answer: Any = lambda body, ctx, n: {"n": n}, kind: str = "sync", **options: Any) -> None:
        self.ran = 0
        outer, inner = options.pop("outer", []), options.pop("inner", [])
        made = options.pop("handler", {})
        options.setdefault("store", Asynchronous() if kind == "async store" else create_memory_idempotency_store())

        def fn(body: Any, ctx: Any) -> Any:
            self.ran += 1
            return answer(body, ctx, self.ran)

        async def afn(body: Any, ctx: Any) -> Any:
            await asyncio.sleep(0)
            return fn(body, ctx)

        chain = [*outer, idempotency_middleware(**options), *inner]
        main = handler(fn if kind == "sync" else afn, middleware=chain, access_log=False, logger=QUIET, **made)
        self.client = Client({"$default": main})

    def post(self, headers: Any = KEY, path: str = "/orders", method: str = "POST", **options: Any) -> Any:
        options.setdefault("json", {"sku": "a"})
        return self.client.request(method, path, headers=headers, **options)


def is_replay(response: Any) -> bool:
    return bool(response.headers.get("idempotent-replayed") == "true")


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_that_comes_again_is_answered_again(kind: str) -> None:
    scene = Scene(kind=kind)
    first, again = scene.post(), scene.post()
    assert (first.status_code, first.json()) == (201, {"data": {"n": 1}})
    assert (again.status_code, again.text, is_replay(first), is_replay(again)) == (201, first.text, False, True)
    assert scene.post({"Idempotency-Key": "k-2"}).json() == {"data": {"n": 2}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "answer",
    [
        lambda body, ctx, n: created({"ä": [1.5, None]}, {"total": 1}),
        lambda body, ctx, n: Response(b"\x89PNG\x00\xff", 200, {"Content-Type": "image/png"}),
        lambda body, ctx, n: Response(b"\x00\xff"),
        lambda body, ctx, n: Response("<p>ä</p>", 202, {"content-type": "text/html"}, ["a=1; Path=/", "b=2"]),
        lambda body, ctx, n: Response("text"),
        lambda body, ctx, n: Response({"bare": 1}),
        lambda body, ctx, n: {"statusCode": 202, "body": "raw"},
        lambda body, ctx, n: {"statusCode": 200, "body": "AP8=", "isBase64Encoded": True, "cookies": ["c=1"]},
        lambda body, ctx, n: no_content({"total": 3}),
        lambda body, ctx, n: error(418, {"error": "teapot"}),
        lambda body, ctx, n: None,
        lambda body, ctx, n: "half \ud800",
    ],
)
def test_every_kind_of_answer_is_the_same_again(answer: Any, kind: str) -> None:
    scene = Scene(answer, kind)
    first, again = scene.post(), scene.post()
    assert scene.ran == 1
    assert is_replay(again)
    shown = dict(again.headers)
    del shown["idempotent-replayed"]
    assert (first.status_code, first.bytes, dict(first.headers), first.set_cookies) == (
        again.status_code,
        again.bytes,
        shown,
        again.set_cookies,
    )


def test_headers_of_the_answer_come_again_and_those_of_a_request_are_its_own() -> None:
    def answer(body: Any, ctx: Any, n: int) -> Any:
        ctx.response_headers["Location"] = f"/orders/{n}"
        ctx.response_headers["X-Request-Id"] = "inner"
        return Response({"n": n}, 201, {"ETag": f'"{n}"', "Age": "7", "RateLimit-Remaining": "4"})

    outer = [cors_middleware(allow_origins=["https://a.example"]), request_id_middleware(), timing_middleware()]
    scene = Scene(answer, outer=outer)
    first = scene.post({**KEY, "X-Request-Id": "r-1", "Origin": "https://a.example"})
    again = scene.post({**KEY, "X-Request-Id": "r-2"})
    assert (first.headers["age"], first.headers["access-control-allow-origin"]) == ("7", "https://a.example")
    assert (again.headers["location"], again.headers["etag"]) == ("/orders/1", '"1"')
    assert again.headers["x-request-id"] == "r-2"
    assert "x-response-time" in again.headers
    assert not {"age", "ratelimit-remaining"} & set(again.headers)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [400, 409, 500, 503, "raise", "bug"])
def test_what_is_kept_of_failures(status: Any, kind: str) -> None:
    def answer(body: Any, ctx: Any, n: int) -> Any:
        if n > 1:
            return {"n": n}
        if status == "raise":
            raise ConflictError
        if status == "bug":
            raise ZeroDivisionError
        return error(status, {})

    scene = Scene(answer, kind)
    first, again = scene.post(), scene.post()
    kept = status in (400, 409)
    assert first.status_code == {"raise": 409, "bug": 500}.get(status, status)
    assert (scene.ran, again.status_code, is_replay(again)) == ((1, status, True) if kept else (2, 201, False))


def test_keep_decides_what_is_kept() -> None:
    scene = Scene(lambda body, ctx, n: error(400), keep=lambda response: response.status_code < 400)
    assert [scene.post().status_code, is_replay(scene.post()), scene.ran] == [400, False, 2]


def test_errors_before_the_function_are_not_kept() -> None:
    def fn(body: Any) -> Any:
        return body

    main = handler(
        fn,
        scopes=["orders:write"],
        middleware=[idempotency_middleware(create_memory_idempotency_store())],
        access_log=False,
        logger=QUIET,
    )
    client = Client(main)
    options: Any = {"headers": KEY, "json": {}}
    assert client.post("/", **options, claims={"sub": "u"}).status_code == 403
    assert client.post("/", **options, claims={"sub": "u"}, scopes=["orders:write"]).status_code == 201


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_methods_that_change_nothing_pass_through(method: str) -> None:
    scene = Scene(lambda body, ctx, n: Response("x"), required=True)
    assert [scene.post(method=method).status_code, scene.post({}, method=method).status_code] == [200, 200]
    assert scene.ran == 2


def test_methods_can_be_chosen() -> None:
    scene = Scene(methods=["get"])
    scene.post(method="GET"), scene.post(method="GET"), scene.post(), scene.post()
    assert scene.ran == 3


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_key(kind: str) -> None:
    scene = Scene(kind=kind)
    assert [scene.post({}).json()["data"]["n"], scene.post({}).json()["data"]["n"]] == [1, 2]
    refused = Scene(kind=kind, required=True, header="X-Key").post()
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "The header X-Key is required")
    empty = scene.post({"Idempotency-Key": ""})
    assert (empty.status_code, scene.ran) == (400, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_ones_own(kind: str) -> None:
    def key(ctx: Any) -> Any:
        return ctx.body.get("id")

    async def akey(ctx: Any) -> Any:
        return key(ctx)

    scene = Scene(kind=kind, key=key if kind == "sync" else akey)
    for body, n in (({"id": 1}, 1), ({"id": 1}, 1), ({"id": 2}, 2), ({}, 3), ({}, 4)):
        assert scene.post({}, json=body).json()["data"]["n"] == n
    refused = Scene(key=lambda ctx: None, required=True).post()
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "An idempotency key is required")


def test_long_and_odd_keys() -> None:
    scene = Scene()
    for number, key in enumerate(("x" * 100_000, "x" * 99_999, "ä€😀", "a,b", '"quoted"'), 1):
        assert [scene.post({"Idempotency-Key": key}).json()["data"]["n"] for _ in range(2)] == [number] * 2


def test_the_same_key_for_something_else() -> None:
    scene = Scene()
    scene.post()
    others: list[dict[str, Any]] = [
        {"json": {"sku": "b"}},
        {"path": "/elsewhere"},
        {"method": "PUT"},
        {"query": {"a": "1"}},
        {"json": None, "body": b"\x00"},
    ]
    for other in others:
        refused = scene.post(**other)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    typed = {**KEY, "Content-Type": "application/json"}
    assert scene.post(typed, json=None, body='{ "sku" : "a" }').json()["data"]["n"] == 1
    assert scene.ran == 1


@pytest.mark.parametrize("payload", [["amount", "card.number", "lines.0"], lambda ctx: ctx.body["amount"]])
def test_a_payload_of_which_only_a_part_matters(payload: Any) -> None:
    scene = Scene(payload=payload)
    body = {"amount": 1, "card": {"number": 2}, "lines": [1]}
    scene.post(json=body)
    assert is_replay(scene.post(json={**body, "sent": "later"}))
    assert is_replay(scene.post(json=body, query={"a": "1"}))
    assert is_replay(scene.post(json=body, path="/other")) is callable(payload)
    assert scene.post(json={**body, "amount": 2}).status_code == 422
    if isinstance(payload, list):
        assert scene.post(json={**body, "card": {}}).status_code == 422
        assert scene.post(json={**body, "lines": []}).status_code == 422


def test_a_body_that_cannot_be_read_is_for_the_handler_to_refuse() -> None:
    scene = Scene()
    assert [scene.post(json=None, body="{", headers={**KEY, "Content-Type": "application/json"}).status_code] == [400]
    assert is_replay(scene.post()) is False


def test_whose_key_it_is() -> None:
    scene = Scene()
    senders: list[dict[str, Any]] = [
        {},
        {"claims": {"sub": "a"}},
        {"claims": {"sub": "b"}},
        {"internal": True, "user_id": "a", "tenant_id": "t"},
        {"context": FakeLambdaContext(function_name="other")},
    ]
    for number, sender in enumerate(senders, 1):
        assert [scene.post(**sender).json()["data"]["n"] for _ in range(2)] == [number] * 2


def test_a_middleware_before_it_says_who_asks() -> None:
    def who(ctx: Any, next: Any) -> Any:
        ctx.user = UserContext(ctx.headers["x-user"])
        return next()

    scene = Scene(outer=[Middleware("who", who)])
    assert [scene.post({**KEY, "X-User": user}).json()["data"]["n"] for user in "aba"] == [1, 2, 1]


def test_a_call_by_invoke_gets_its_data_again_too() -> None:
    scene = Scene()
    first, again = scene.post(internal=True), scene.post(internal=True)
    assert first.headers["x-venturekit-envelope"] == again.headers["x-venturekit-envelope"] == "data"
    assert is_replay(again)


# --- pending, down, hooks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_pending", ["conflict", "wait"])
def test_while_the_first_one_runs(on_pending: Any) -> None:
    inside, seen = [], []

    async def fn(body: Any, ctx: Any) -> Any:
        inside.append(1)
        while on_pending == "conflict" and not seen:
            await asyncio.sleep(0)
        return {"n": len(inside)}

    middleware = idempotency_middleware(Asynchronous(), on_pending=on_pending)
    client = Client(handler(fn, middleware=[middleware], access_log=False, logger=QUIET))

    async def scene() -> list[Any]:
        async def second() -> Any:
            response = await client.arequest("POST", "/", headers=KEY, json={})
            seen.append(response)
            return response

        return await asyncio.gather(client.arequest("POST", "/", headers=KEY, json={}), second())

    first, other = asyncio.run(asyncio.wait_for(scene(), 20))
    assert (first.status_code, inside) == (201, [1])
    if on_pending == "wait":
        assert (other.status_code, other.text, is_replay(other)) == (201, first.text, True)
    else:
        assert (other.status_code, other.headers["retry-after"]) == (409, "1")
        assert other.json()["error"]["code"] == "IDEMPOTENCY_PENDING"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_store_that_is_down(kind: str) -> None:
    scene = Scene(kind=kind, store=Faulty("xx"))
    refused = scene.post()
    assert (refused.status_code, refused.json()["error"]["code"], scene.ran) == (503, "SERVICE_UNAVAILABLE", 0)
    scene = Scene(kind=kind, store=Faulty("xx"), on_store_error="run")
    assert (scene.post().status_code, scene.ran) == (201, 1)
    scene = Scene(kind=kind, store=Faulty(".xx"))
    assert (scene.post().status_code, scene.ran) == (201, 1)


def test_it_lasts_for_its_time() -> None:
    clock = Clock()
    scene = Scene(clock=clock, ttl_seconds=60)
    scene.post()
    clock.now += 59
    assert is_replay(scene.post())
    clock.now += 1
    assert not is_replay(scene.post())


def test_hooks_of_replays() -> None:
    seen: list[Any] = []

    def on_replay(ctx: Any, response: Response) -> Response | None:
        seen.append((ctx.path, response.status_code))
        response.headers["X-Again"] = "yes"
        return Response("instead") if ctx.query_params else None

    scene = Scene(on_replay=on_replay, payload=[])
    assert "x-again" not in scene.post().headers
    assert scene.post().headers["x-again"] == "yes"
    assert scene.post(query={"a": "1"}).text == "instead"
    assert seen == [("/orders", 201)] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_streams_are_refused(kind: str) -> None:
    def pieces() -> Any:
        yield "a"

    scene = Scene(lambda body, ctx, n: stream(pieces()), kind)
    assert scene.post().status_code == 500
    assert scene.post({}).text == "a"
    assert scene.ran == 2


def test_a_body_that_is_no_json_fails_as_it_would_without_and_is_not_kept() -> None:
    scene = Scene(lambda body, ctx, n: {"n": object() if n == 1 else n})
    assert [scene.post().status_code, scene.post().json()["data"]["n"]] == [500, 2]


def test_what_other_middleware_answers_is_kept_too() -> None:
    scene = Scene(inner=[Middleware("short", lambda ctx, next: {"short": True})])
    first, again = scene.post(), scene.post()
    assert (first.status_code, first.text, is_replay(again), scene.ran) == (again.status_code, again.text, True, 0)
    nothing = Scene(inner=[Middleware("nothing", lambda ctx, next: None)])
    assert [nothing.post().status_code, nothing.post().status_code] == [500, 500]


def test_it_can_be_composed() -> None:
    composed = compose([request_id_middleware(), idempotency_middleware(create_memory_idempotency_store())])
    client = Client(handler(lambda: 1, middleware=[composed], access_log=False, logger=QUIET))
    assert [is_replay(client.post("/", headers=KEY)) for _ in range(2)] == [False, True]


# --- tasks ----------------------------------------------------------------------------------------------------------


def test_tasks() -> None:
    ran: list[Any] = []

    @task_handler(
        middleware=[idempotency_middleware(create_memory_idempotency_store(), key=lambda ctx: ctx.event.get("id"))],
        logger=QUIET,
        task_log=False,
    )
    def main(event: Any) -> Any:
        ran.append(event)
        return {"n": len(ran)} if event["id"] else None

    context = FakeLambdaContext()
    assert [main({"id": "a"}, context), main({"id": "a"}, context)] == [{"n": 1}, {"n": 1}]
    with pytest.raises(Exception, match="belongs to a call with another payload"):
        main({"id": "a", "more": 1}, context)
    assert len(ran) == 1


def test_a_task_takes_the_key_that_came_with_the_call() -> None:
    ran: list[Any] = []

    @task_handler(middleware=[idempotency_middleware(create_memory_idempotency_store())], logger=QUIET, task_log=False)
    def main(event: Any) -> None:
        ran.append(event)

    marked = FakeLambdaContext(client_context={"custom": {"venturekit": {"invokeId": "i", "idempotencyKey": "s/1"}}})
    for context in (marked, marked, FakeLambdaContext(), FakeLambdaContext()):
        assert main({}, context) is None
    assert len(ran) == 3


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_an_asynchronous_store_makes_the_chain_asynchronous() -> None:
    client = Client(handler(lambda: 1, middleware=[idempotency_middleware(Asynchronous())], access_log=False))
    assert [is_replay(client.post("/", headers=KEY)) for _ in range(2)] == [False, True]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"payload": "amount"}, "a list of names of fields"),
        ({"payload": [1]}, "a list of names of fields"),
        ({"store": 5}, "no store of records"),
        ({"on_pending": "x"}, "'conflict' or 'wait'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises((MiddlewareError, TypeError, ValueError), match=says):
        idempotency_middleware(**options)


def test_a_store_that_is_asynchronous_without_saying_so() -> None:
    store = Asynchronous()

    class Sly:
        def read(self, *arguments: Any) -> Any:
            return store.read(*arguments)

        def write(self, *arguments: Any, **options: Any) -> Any:
            return store.write(*arguments, **options)

    scene = Scene(store=Sly())
    assert (scene.post().status_code, scene.ran) == (500, 0)
    assert is_replay(Scene(kind="async", store=Sly()).post()) is False
