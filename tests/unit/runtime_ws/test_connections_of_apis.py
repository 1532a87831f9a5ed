"""Several APIs that share a store, authentications at once, and a service that speaks TLS."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.runtime import HandlerConfigError, Logger, _process
from venturekit.runtime.invocation.signed_http import SignedHttp
from venturekit.runtime.patterns.record_stores import MemoryRecordStore
from venturekit.runtime.patterns.records import Record
from venturekit.runtime.ws import SendCounts, auth_handler, create_connection_store, ws_handler, ws_routes
from venturekit.runtime.ws import management as ws_management
from venturekit.runtime.ws.connections import connection_of
from venturekit.runtime.ws.management import ConnectionManagement, Message, endpoint_of
from venturekit.testing import websocket_connect_event, websocket_message_event

if TYPE_CHECKING:
    from tests.unit.runtime_ws.management_server import ManagementServer
    from venturekit.runtime.ws import ConnectionStore

both = pytest.mark.parametrize("kind", ["sync", "async"])


def at(server: ManagementServer, event: dict[str, Any], api_id: str, stage: str = "dev") -> dict[str, Any]:
    event["requestContext"] |= {"domainName": server.domain, "apiId": api_id, "stage": stage}
    return event


def broadcasting(store: ConnectionStore, kind: str, counts: list[SendCounts]) -> Any:
    def blocking(_message: Any, ctx: Any) -> None:
        counts.append(store.broadcast(ctx.domain, ctx.stage, "x", include_unauthenticated=True))

    async def waiting(_message: Any, ctx: Any) -> None:
        counts.append(await store.abroadcast(ctx.domain, ctx.stage, "x", include_unauthenticated=True))

    return ws_handler(blocking if kind == "sync" else waiting, require_auth=False, store=store)


@both
def test_a_broadcast_stays_within_its_api(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    counts: list[SendCounts] = []
    main = broadcasting(store, kind, counts)
    connected = ws_routes({}, store=store)
    for name, api_id, stage in (("a1", "a", "dev"), ("a2", "a", "dev"), ("b1", "b", "dev"), ("c1", "a", "prod")):
        connected(at(server, websocket_connect_event(connection_id=name), api_id, stage))
    # As saved by hand: of which API it is, is not known, and it belongs to all.
    store.save("own")
    # What another API calls gone is not gone.
    server.statuses = {"b1": [410], "c1": [410]}
    main(at(server, websocket_message_event("all", connection_id="a1"), "a"))
    assert counts == [SendCounts(sent=3)]
    assert sorted(posted.connection_id for posted in server.posted) == ["a1", "a2", "own"]
    assert store.get("b1") is not None
    assert store.get("c1") is not None


@both
def test_where_an_api_says_its_id_by_its_domain(kind: str, store: ConnectionStore, server: ManagementServer) -> None:
    connected = ws_routes({}, store=store)
    for name, api_id, stage in (("a1", "a", "dev"), ("b1", "b", "dev"), ("c1", "a", "prod")):
        connected(at(server, websocket_connect_event(connection_id=name), api_id, stage))
        store.authenticate(name, {"user_id": "alice"})
    domain = f"a.execute-api.localhost:{server.domain.rpartition(':')[2]}"
    if kind == "sync":
        sent = store.send_to_user(domain, "dev", "alice", "x")
    else:
        sent = _process.run(store.asend_to_user(domain, "dev", "alice", "x"))
    assert sent == SendCounts(sent=1)
    assert [posted.connection_id for posted in server.posted] == ["a1"]
    # A domain of one's own does not say whose it is, nor has it always the stage in its path.
    assert store.send_to_user(server.domain, "dev", "alice", "x") == SendCounts(sent=3)


def test_of_which_api_a_connection_is_lasts(store: ConnectionStore, server: ManagementServer) -> None:
    ws_routes({}, store=store)(at(server, websocket_connect_event(connection_id="a1"), "a", "prod"))
    made = store.authenticate("a1", {"user_id": "alice"})
    assert made == store.get("a1")
    assert made.api == "a/prod"
    assert store.save("own").api is None


def test_two_users_at_once_on_one_connection(store: ConnectionStore, server: ManagementServer) -> None:
    """API Gateway keeps no order: the second message may be handled while the token of the first is verified."""
    inner: list[Any] = []

    def verify(token: str) -> str:
        if token == "alice":
            inner.append(main(at(server, websocket_message_event({"action": "auth", "token": "bob"}), "a")))
        return token

    main = auth_handler(verify, store=store)
    main(at(server, websocket_connect_event(), "a"))
    assert main(at(server, websocket_message_event({"action": "auth", "token": "alice"}), "a")) == {"statusCode": 401}
    assert inner == [{"statusCode": 200}]
    assert [json.loads(posted.body).get("reason") for posted in server.posted] == [None, "already_authenticated"]
    (known,) = store.get_all()
    assert known.user_id == "bob"


@pytest.mark.parametrize(
    ("endpoint", "domain", "scheme"),
    [
        ("https://127.0.0.1:9001", "127.0.0.1:9002", "https"),
        ("https://localhost:9001", "abc.execute-api.localhost:9002", "https"),
        ("http://127.0.0.1:9001", "127.0.0.1:9002", "http"),
        ("https://lambda.eu-west-1.amazonaws.com", "127.0.0.1:9002", "http"),
        ("https://127.0.0.1:9001", "http://127.0.0.1:9002", "http"),
        ("http://127.0.0.1:9001", "chat.example.com", "https"),
    ],
)
def test_a_service_with_tls_is_called_with_tls(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, domain: str, scheme: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint)
    assert endpoint_of(domain, "dev").scheme == scheme


def test_threads_that_begin_at_once_share_their_connections(
    server: ManagementServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(2)

    class Slow(SignedHttp):
        def __init__(self, *given: Any, **members: Any) -> None:
            together.wait(10)
            super().__init__(*given, **members)

    monkeypatch.setattr(ws_management, "SignedHttp", Slow)
    management, hosts = ConnectionManagement(), []
    endpoint = endpoint_of(server.domain, "dev")
    threads = [threading.Thread(target=lambda: hosts.append(management._host(endpoint))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert hosts == [management._host(endpoint)] * 2


@settings(deadline=None, max_examples=100)
@given(st.one_of(st.text(), st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner))))
def test_no_message_harms_a_handler(message: Any) -> None:
    lines: list[str] = []
    store = create_connection_store(MemoryRecordStore(), management=Deaf())
    logger = Logger(write=lambda line: lines.append(line.encode()), format="JSON")  # type: ignore[func-returns-value, arg-type]
    main = ws_routes({"auth": auth_handler(str), "say": lambda message, ctx: message}, store=store, logger=logger)
    main(websocket_connect_event(connection_id="c1"))
    for said in (message, {"action": message}, {"action": "auth", "token": message}, {"action": "say", "to": message}):
        body = said if isinstance(said, str) else json.dumps(said)
        event = websocket_message_event("", connection_id="c1")
        answer = main({**event, "body": body})
        assert answer["statusCode"] in (200, 401, 404, 500)
    assert asyncio.run(main.acall(websocket_connect_event(connection_id="c2")))["statusCode"] == 200


class Deaf(ConnectionManagement):
    """Takes everything."""

    def post(self, message: Message) -> bool:
        return True


def test_an_action_as_long_as_a_message_is_answered_and_not_logged() -> None:
    lines: list[str] = []
    posted: list[bytes] = []
    management = Deaf()
    management.post = lambda message: posted.append(message.data) or True  # type: ignore[method-assign, func-returns-value]
    store = create_connection_store(MemoryRecordStore(), management=management)
    logger = Logger(write=lines.append, format="JSON")
    ws_routes({}, store=store, logger=logger)(websocket_message_event({"action": "x" * 131_000}))
    (told,) = map(json.loads, posted)
    assert (told["reason"], told["action"]) == ("not_found", "x" * 128)
    assert max(map(len, lines)) < 1000


def test_a_star_is_no_route() -> None:
    with pytest.raises(HandlerConfigError, match="default"):
        ws_routes({"*": print})


def test_what_others_have_written_is_of_no_api() -> None:
    assert connection_of(Record("c1", {"api": 7}, 1)).api is None
