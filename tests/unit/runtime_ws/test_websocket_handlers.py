"""Handlers of WebSocket events: routes, authentication, replies, errors; blocking and asynchronous."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.runtime import (
    ForbiddenError,
    HandlerConfigError,
    Logger,
    MiddlewareError,
    NotFoundError,
    UserContext,
    _process,
    current_context,
    invoke,
)
from venturekit.runtime.ws import (
    ConnectionStore,
    InvalidWebSocketEventError,
    TokenError,
    WebSocketContext,
    auth_handler,
    ws_handler,
    ws_routes,
)
from venturekit.testing import (
    FakeInvoker,
    websocket_connect_event,
    websocket_disconnect_event,
    websocket_message_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.runtime_ws.management_server import ManagementServer
    from venturekit.testing import ManualClock

both = pytest.mark.parametrize("kind", ["sync", "async"])


class ExpiredSignatureError(Exception):
    """As a library for tokens has it."""


class PyJWTError(Exception):
    """The root of a library's errors."""


class ExpiredTokenError(PyJWTError):
    """One of them."""


def verify(token: str) -> Any:
    match token:
        case "alice":
            return {"user_id": "alice", "tenant_id": "acme", "device": "phone"}
        case "claims":
            return {"sub": "bob", "exp": 1_800_000_000, "scope": "chat"}
        case "text":
            return "carol"
        case "context":
            return UserContext("dave", "d@example.com", ["chat"])
        case "none":
            return None
        case "revoked":
            raise TokenError("revoked_token")
        case "expired":
            raise ExpiredTokenError("Signature has expired")
        case "forged":
            raise PyJWTError("Signature verification failed")
        case "odd":
            raise ValueError("not enough segments")
        case "refused":
            raise ForbiddenError
        case "anonymous":
            return {"tenant_id": "acme"}
        case "true":
            return True
    raise OSError("the keys cannot be fetched")


def twin(fn: Callable[..., Any], kind: str) -> Callable[..., Any]:
    if kind == "sync":
        return fn

    async def waiting(message: Any, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return fn(message, ctx)

    return waiting


def waiting_verify(kind: str) -> Any:
    async def waiting(token: str) -> Any:
        await asyncio.sleep(0)
        return verify(token)

    return verify if kind == "sync" else waiting


class Chat:
    """A handler, the connections it is called for, and what those were told."""

    def __init__(self, store: ConnectionStore, server: ManagementServer) -> None:
        self.store, self.server = store, server
        self.lines: list[dict[str, Any]] = []
        self.logger = Logger(write=lambda line: self.lines.append(json.loads(line)), format="JSON", min_level="warn")

    def handler(self, made: Callable[..., Any], *given: Any, **options: Any) -> None:
        self.main = made(*given, store=self.store, logger=self.logger, **options)

    def connect(self, name: str = "c1", **options: Any) -> Any:
        return self.main(self._here(websocket_connect_event(connection_id=name, **options)))

    def send(self, message: Any, name: str = "c1", **options: Any) -> Any:
        return self.main(self._here(websocket_message_event(message, connection_id=name, **options)))

    def disconnect(self, name: str = "c1", **options: Any) -> Any:
        return self.main(self._here(websocket_disconnect_event(connection_id=name, **options)))

    def told(self) -> list[tuple[str, Any]]:
        """What connections were told since it was last asked."""
        told = self.server.replies
        self.server.posted.clear()
        return told

    def _here(self, event: dict[str, Any]) -> dict[str, Any]:
        event["requestContext"]["domainName"] = self.server.domain
        return event


@pytest.fixture
def chat(store: ConnectionStore, server: ManagementServer) -> Chat:
    return Chat(store, server)


def refused(reason: str) -> Any:
    return {"action": "auth", "success": False, "reason": reason}


@both
def test_a_chat(kind: str, chat: Chat) -> None:
    def send(message: Any, ctx: WebSocketContext) -> None:
        data = {"by": ctx.user.id if ctx.user else None, "text": message["data"]}
        if ctx.event_type == "MESSAGE" and kind == "sync":
            chat.store.send_to_user(ctx.domain, ctx.stage, message["to"], data)

    async def asend(message: Any, ctx: WebSocketContext) -> None:
        assert ctx.user
        data = {"by": ctx.user.id, "text": message["data"]}
        await chat.store.asend_to_user(ctx.domain, ctx.stage, message["to"], data)

    def ping(message: Any, ctx: WebSocketContext) -> None:
        ctx.reply({"action": "pong"})

    routes = {
        "auth": auth_handler(waiting_verify(kind)),
        "send": send if kind == "sync" else asend,
        "ping": ws_handler(ping, require_auth=False),
    }
    chat.handler(ws_routes, routes)
    assert chat.connect("a") == chat.connect("b") == {"statusCode": 200}
    assert chat.send({"action": "ping"}, "a") == {"statusCode": 200}
    assert chat.told() == [("a", {"action": "pong"})]
    assert chat.send({"action": "send", "to": "carol", "data": "hi"}, "a") == {"statusCode": 401}
    ((_, reply),) = chat.told()
    assert (reply["success"], reply["action"], reply["reason"]) == (False, "send", "unauthorized")
    assert chat.send({"action": "auth", "token": "alice"}, "a") == {"statusCode": 200}
    assert chat.send({"action": "auth", "token": "text"}, "b", route="auth") == {"statusCode": 200}
    assert chat.told() == [(name, {"action": "auth", "success": True}) for name in "ab"]
    assert chat.send({"action": "send", "to": "carol", "data": "hi"}, "a") == {"statusCode": 200}
    assert chat.told() == [("b", {"by": "alice", "text": "hi"})]
    assert chat.disconnect("b") == {"statusCode": 200}
    assert chat.store.get("b") is None


@both
@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "missing_token"),
        ("", "missing_token"),
        (5, "missing_token"),
        ("none", "invalid_token"),
        ("revoked", "revoked_token"),
        ("expired", "expired_token"),
        ("forged", "invalid_token"),
        ("odd", "invalid_token"),
        ("refused", "invalid_token"),
        ("anonymous", "verification_unavailable"),
        ("true", "verification_unavailable"),
        ("broken", "verification_unavailable"),
    ],
)
def test_a_token_is_refused(kind: str, token: Any, reason: str, chat: Chat) -> None:
    chat.handler(auth_handler, waiting_verify(kind))
    chat.connect()
    assert chat.send({"action": "auth", "token": token}) == {"statusCode": 401}
    assert chat.told() == [("c1", refused(reason))]
    known = chat.store.get("c1")
    assert known is not None
    assert not known.is_authenticated
    # A fault of the function is an error in its log, with what went wrong.
    assert ("errorType" in chat.lines[0]) is (reason == "verification_unavailable")


@pytest.mark.parametrize(
    ("token", "metadata"),
    [
        ("alice", {"user_id": "alice", "tenant_id": "acme", "device": "phone"}),
        ("claims", {"user_id": "bob", "sub": "bob", "exp": 1_800_000_000, "scope": "chat"}),
        ("text", {"user_id": "carol"}),
        ("context", {"user_id": "dave", "email": "d@example.com", "scopes": ["chat"]}),
    ],
)
def test_whose_token_it_is(token: str, metadata: Any, chat: Chat) -> None:
    chat.handler(auth_handler, verify)
    chat.connect()
    chat.send({"action": "auth", "token": token})
    known = chat.store.get("c1")
    assert known is not None
    assert (known.is_authenticated, known.metadata) == (True, metadata)


def test_authenticated_twice(chat: Chat, clock: ManualClock) -> None:
    chat.handler(auth_handler, verify)
    chat.connect()
    chat.send({"action": "auth", "token": "alice"})
    clock.advance(seconds=7000)
    chat.send({"action": "auth", "token": "alice"})
    chat.send({"action": "auth", "token": "text"})
    chat.send({"action": "auth", "token": "forged"})
    told = [reply for _, reply in chat.told()]
    assert told[1:] == [{"action": "auth", "success": True}, refused("already_authenticated"), refused("invalid_token")]
    clock.advance(seconds=7199)
    known = chat.store.get("c1")
    assert known is not None
    assert known.user_id == "alice"


def test_a_token_that_comes_too_late(chat: Chat, clock: ManualClock) -> None:
    chat.handler(auth_handler, verify)
    chat.connect()
    clock.advance(seconds=30)
    assert chat.send({"action": "auth", "token": "alice"}) == {"statusCode": 401}
    assert chat.told() == [("c1", refused("connection_expired"))]


def test_it_expires_while_its_token_is_verified(chat: Chat, clock: ManualClock) -> None:
    def slow(token: str) -> str:
        clock.advance(seconds=30)
        return "alice"

    chat.handler(auth_handler, slow)
    chat.connect()
    chat.send({"action": "auth", "token": "x"})
    assert chat.told() == [("c1", refused("connection_expired"))]


@both
def test_connections_are_refused_by_raising(kind: str, chat: Chat) -> None:
    def connect(message: Any, ctx: WebSocketContext) -> Any:
        match ctx.query_params.get("who"):
            case "nobody":
                raise ForbiddenError
            case "odd":
                raise KeyError("x")
            case "said":
                return {"statusCode": 429}
        return None

    chat.handler(ws_routes, {"$connect": twin(connect, kind)})
    answers = {who: chat.connect(who, query={"who": who})["statusCode"] for who in ("nobody", "odd", "said", "fine")}
    assert answers == {"nobody": 403, "odd": 500, "said": 429, "fine": 200}
    assert [who for who in answers if chat.store.get(who)] == ["fine"]
    # While it connects there is nobody to be told.
    assert chat.told() == []


@both
def test_who_has_left_is_known_once_more(kind: str, chat: Chat) -> None:
    left: list[Any] = []

    def disconnect(message: Any, ctx: WebSocketContext) -> None:
        left.append((ctx.user.id if ctx.user else None, ctx.disconnect_code, ctx.disconnect_reason))
        raise RuntimeError("too bad")

    chat.handler(ws_routes, {"auth": auth_handler(verify), "$disconnect": twin(disconnect, kind)})
    chat.connect()
    chat.send({"action": "auth", "token": "alice"})
    assert chat.disconnect(status_code=1001, reason="Going away") == {"statusCode": 500}
    assert left == [("alice", 1001, "Going away")]
    assert chat.store.get("c1") is None


@pytest.mark.parametrize(
    ("message", "route", "served"),
    [
        ({"action": "one"}, None, "one"),
        ({"action": "one"}, "one", "one"),
        ({"action": "two"}, "one", "one"),
        ({"kind": "one"}, "one", "one"),
        ({"action": "three"}, None, "default"),
        ({"action": "$connect"}, None, "default"),
        ({"action": ["one"]}, None, "default"),
        ({}, None, "default"),
        ("hello", None, "default"),
        ("[1, 2", None, "default"),
        ("NaN", None, "default"),
    ],
)
def test_which_function_gets_a_message(message: Any, route: str | None, served: str, chat: Chat) -> None:
    got: list[Any] = []
    routes = {
        name: ws_handler(lambda message, ctx, *, name=name: got.append((name, message)), require_auth=False)
        for name in ("one", "two", "default", "$connect")
    }
    routes["$default"] = routes.pop("default")
    chat.handler(ws_routes, routes)
    chat.send(message, route=route)
    assert got == [(served, message)]


def test_messages_that_are_bytes(chat: Chat) -> None:
    got: list[Any] = []
    chat.handler(ws_handler, got.append, require_auth=False)
    event = websocket_message_event("AP8=")
    chat.main(event | {"isBase64Encoded": True})
    chat.main(event | {"isBase64Encoded": True, "body": "?"})
    chat.main(event | {"body": "[" * 100_000})
    assert got == [b"\0\xff", "?", "[" * 100_000]


def test_an_unknown_action_is_answered(chat: Chat) -> None:
    chat.handler(ws_routes, {})
    assert chat.send({"action": "dance"}) == {"statusCode": 404}
    ((_, reply),) = chat.told()
    assert (reply["action"], reply["success"], reply["reason"]) == ("dance", False, "not_found")


@dataclass
class Say:
    text: str


@both
def test_errors_are_told_and_logged(kind: str, chat: Chat) -> None:
    def act(message: Any, ctx: WebSocketContext) -> None:
        if message.text == "missing":
            raise NotFoundError("Room", "7")
        raise RuntimeError("a secret")

    chat.handler(ws_handler, twin(act, kind), message=Say, require_auth=False)
    statuses = [chat.send({"action": "say", **more})["statusCode"] for more in ({}, {"text": "missing"}, {"text": "x"})]
    # A dataclass refuses what it does not know.
    assert statuses == [422, 422, 422]
    chat.main = ws_handler(
        twin(lambda message, ctx: act(Say(message["text"]), ctx), kind),
        require_auth=False,
        store=chat.store,
        logger=chat.logger,
    )
    chat.told()
    assert [chat.send({"action": "say", "text": text})["statusCode"] for text in ("missing", "x")] == [404, 500]
    assert [reply for _, reply in chat.told()] == [
        {
            "action": "say",
            "success": False,
            "reason": "not_found",
            "message": "Room '7' not found",
            "details": {"resource": "Room", "id": "7"},
        },
        {"action": "say", "success": False, "reason": "internal_error", "message": "Internal server error"},
    ]
    assert chat.lines[-1]["errorMessage"] == "a secret"


def test_an_error_that_cannot_be_told(chat: Chat) -> None:
    def act(message: Any, ctx: WebSocketContext) -> None:
        raise NotFoundError

    chat.handler(ws_handler, act, require_auth=False)
    chat.server.statuses["c1"] = [500]
    assert chat.send({}) == {"statusCode": 404}
    assert chat.lines[-1]["message"] == "the client could not be told"
    chat.handler(ws_handler, lambda message, ctx: ctx.reply({}), require_auth=False)
    chat.told()
    chat.server.statuses["c1"] = [500]
    assert chat.send({}) == {"statusCode": 500}
    # What has just failed is not tried once more.
    assert len(chat.told()) == 1


@both
def test_results(kind: str, chat: Chat) -> None:
    for value, answer in [
        (None, {"statusCode": 200}),
        ({"statusCode": 202, "x": 1}, {"statusCode": 202, "x": 1}),
        ("text", {"statusCode": 200, "body": "text"}),
        ({"a": 1}, {"statusCode": 200, "body": '{"a":1}'}),
    ]:
        chat.handler(ws_handler, twin(lambda message, ctx, *, value=value: value, kind), require_auth=False)
        assert chat.send("x") == answer


def test_what_goes_along_with_calls(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "shop")
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    invoker = _process.state.invoker = FakeInvoker()
    invoker.add_function("audit", returns={"ok": True})

    def act(message: Any, ctx: WebSocketContext) -> None:
        assert current_context() is ctx
        invoke(function="audit", payload=ctx.source_ip)

    chat.handler(ws_routes, {"auth": auth_handler(verify), "act": act})
    chat.connect()
    chat.send({"action": "auth", "token": "alice"})
    assert chat.send({"action": "act"}, source_ip="192.0.2.1") == {"statusCode": 200}
    (call,) = invoker.calls
    marker = call.custom["venturekit"]
    assert (call.payload, marker["userId"], marker["tenantId"]) == ("192.0.2.1", "alice", "acme")


def test_middleware_is_around_it(chat: Chat) -> None:
    seen: list[str] = []

    def note(ctx: Any, next: Any) -> Any:
        seen.append(ctx.route_key)
        return next()

    chat.handler(ws_handler, lambda: None, require_auth=False, middleware=[note])
    chat.connect()
    chat.send("x")
    assert seen == ["$connect", "$default"]
    with pytest.raises(MiddlewareError, match="note"):
        ws_handler(twin(lambda message, ctx: None, "async"), middleware=[note])


def test_handlers_that_cannot_work() -> None:
    with pytest.raises(HandlerConfigError, match="takes the function that verifies tokens"):
        auth_handler("secret")  # type: ignore[arg-type]
    with pytest.raises(HandlerConfigError, match=r"'\$message' is no route"):
        ws_routes({"$message": verify})
    with pytest.raises(HandlerConfigError, match="is no route"):
        ws_routes({"": verify})
    with pytest.raises(HandlerConfigError, match="has routes or middleware of its own"):
        ws_routes({"inner": ws_routes({})})
    with pytest.raises(HandlerConfigError, match=r"there are 3: \(message, ctx, logger\)"):
        ws_handler(lambda a, b, c, d: None)
    with pytest.raises(HandlerConfigError, match="is no function"):
        ws_routes({"x": 3})


@pytest.mark.parametrize("event", [{}, None, {"requestContext": {}}, {"requestContext": {"connectionId": 3}}, []])
def test_what_is_no_event(event: Any, chat: Chat) -> None:
    chat.handler(ws_handler, lambda: None)
    with pytest.raises(InvalidWebSocketEventError, match="websocket_message_event"):
        chat.main(event)


def test_in_an_event_loop_it_is_awaited(chat: Chat) -> None:
    chat.handler(ws_handler, twin(lambda message, ctx: "done", "async"), require_auth=False)

    async def inside() -> Any:
        with pytest.raises(RuntimeError, match=r"await waiting\.acall"):
            chat.send("x")
        return await chat.main.acall(websocket_message_event("x"))

    assert asyncio.run(inside()) == {"statusCode": 200, "body": "done"}
