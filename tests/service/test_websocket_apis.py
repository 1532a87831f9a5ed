"""WebSocket APIs through the whole service: made over HTTP, used by real clients, served by real functions."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import struct
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.clients.client_support import OTHER, OWN, Key, create, statement, write_keys
from tests.service.framework_support import Project
from tests.service.harness import FunctionSet, RunningService, send, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    from tests.service.harness import Response

PATH = "/_venturekit/websocket-apis"
OWN_HEADER = {"X-Amz-Client": "test"}
# Answers by writing to the connection with its own credentials, as functions do on AWS.
CHAT = """
import json, boto3
from botocore.config import Config

def handler(event, context):
    where = event["requestContext"]
    print("EVENT", json.dumps(where))
    if where["eventType"] == "CONNECT" and (event.get("queryStringParameters") or {}).get("no"):
        return {"statusCode": 401}
    if where["eventType"] == "MESSAGE":
        client = boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"http://{where['domainName']}/{where['stage']}",
            config=Config(retries={"total_max_attempts": 1}),
        )
        said = json.loads(event["body"])
        client.post_to_connection(ConnectionId=said.get("to", where["connectionId"]), Data=said["text"].encode())
    return {"statusCode": 200}
"""
ECHO = "def handler(event, context):\n    return {'statusCode': 200, 'body': event.get('body')}\n"


def ask(url: str, method: str, name: str = "", document: Any = None) -> Response:
    body = None if document is None else json.dumps(document).encode()
    target = f"{PATH}/{quote(name, safe='')}" if name else PATH
    return send(url, method, target, body, OWN_HEADER)


def put(url: str, name: str, routes: dict[str, str], **members: Any) -> dict[str, Any]:
    """Make an API, and say where it is."""
    answer = ask(url, "PUT", name, {"routes": routes, **members})
    assert answer.status == 200, answer.body
    return dict(answer.json)


@contextmanager
def client_at(api: dict[str, Any], query: str = "") -> Iterator[ClientConnection]:
    """A client that resolves no names below localhost."""
    with connect(api["pathUrl"] + query, proxy=None, open_timeout=20) as made:
        yield made


@pytest.fixture
def apis(shared_service: RunningService) -> Iterator[Callable[..., dict[str, Any]]]:
    """Make APIs on the shared service; they are gone after the test."""
    names: list[str] = []

    def make(name: str, routes: dict[str, str], **members: Any) -> dict[str, Any]:
        names.append(name)
        return put(shared_service.url, name, routes, **members)

    yield make
    for name in names:
        ask(shared_service.url, "DELETE", name)


def test_a_chat(functions: FunctionSet, apis: Callable[..., dict[str, Any]]) -> None:
    name = functions.create(CHAT, Timeout=30)
    api = apis("chat", {"$connect": name, "$disconnect": name, "$default": name})
    with client_at(api) as first, client_at(api) as second:
        first.send('{"text": "hello, me"}')
        assert first.recv(20) == "hello, me"
        events = [line for line in functions.log_lines(name) if "EVENT" in line]
        other = [json.loads(line.partition("EVENT ")[2])["connectionId"] for line in events if '"CONNECT"' in line]
        # By the API's own address as well, with a client of the service's user.
        manager = boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=api["connectionsUrl"],
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        for identifier in other:
            manager.post_to_connection(ConnectionId=identifier, Data=b"to all")
        assert [first.recv(20), second.recv(20)] == ["to all", "to all"]
        second.send(json.dumps({"to": other[0], "text": "hello, you"}))
        second.send(json.dumps({"to": other[1], "text": "hello, you"}))
        assert first.recv(20) == "hello, you"
        manager.delete_connection(ConnectionId=other[0])
        with pytest.raises(manager.exceptions.GoneException):
            manager.get_connection(ConnectionId=other[0])
        manager.close()
    until(lambda: "".join(functions.log_lines(name)).count('"DISCONNECT"') == 2, "both have left")
    with pytest.raises(InvalidStatus) as refused, client_at(api, "?no=1"):
        pass
    assert refused.value.response.status_code == 401


def test_changes_take_effect_at_once(functions: FunctionSet, apis: Callable[..., dict[str, Any]]) -> None:
    name = functions.create(ECHO)
    api = apis("changing", {"$default": name}, routeResponses=["$default"])
    with client_at(api) as client:
        client.send("one")
        assert client.recv(20) == "one"
        again = apis("changing", {"$default": f"{name}:$LATEST", "other": name}, routeResponses=["other"])
        assert (again["apiId"], again["url"]) == (api["apiId"], api["url"])
        client.send('{"action": "other"}')
        assert client.recv(20) == '{"action": "other"}'
    moved = apis("changing", {"$default": name}, stage="prod")
    with pytest.raises(InvalidStatus), client_at(api):
        pass
    with client_at(moved) as client:
        assert ask(functions.url, "DELETE", "changing").status == 200
        with pytest.raises(ConnectionClosed):
            client.recv(20)
    with pytest.raises(InvalidStatus), client_at(moved):
        pass


def test_what_there_is_is_shown(functions: FunctionSet, apis: Callable[..., dict[str, Any]]) -> None:
    name = functions.create(ECHO)
    made = apis("shown", {"$default": name}, idleTimeoutSeconds=7200)
    assert ask(functions.url, "GET", "shown").json == made == ask(functions.url, "GET", made["apiId"]).json
    assert made in ask(functions.url, "GET").json["webSocketApis"]
    port = made["pathUrl"].split("/")[2].rpartition(":")[2]
    assert made["url"] == f"ws://{made['apiId']}.execute-api.localhost:{port}/dev"
    assert made["connectionsUrl"] == f"http://127.0.0.1:{port}/_ws/{made['apiId']}/dev"
    assert (len(made["apiId"]), made["routeSelectionExpression"]) == (10, "$request.body.action")


@pytest.mark.parametrize(
    ("name", "document", "word"),
    [
        ("a b", {"routes": {"$default": "FUNCTION"}}, "name"),
        ("n", [], "JSON object"),
        ("n", {}, "routes"),
        ("n", {"routes": {}}, "routes"),
        ("n", {"routes": {"$other": "FUNCTION"}}, "route key"),
        ("n", {"routes": {"": "FUNCTION"}}, "route key"),
        ("n", {"routes": {"$default": 7}}, "must name a function"),
        ("n", {"routes": {"$default": "nobody"}}, "create it first"),
        ("n", {"routes": {"$default": "arn:aws:lambda:us-east-1:999999999999:function:f"}}, "account"),
        ("n", {"routes": {"$default": "FUNCTION"}, "stage": "a/b"}, "stage"),
        ("n", {"routes": {"$default": "FUNCTION"}, "idleTimeoutSeconds": 7201}, "idleTimeoutSeconds"),
        ("n", {"routes": {"$default": "FUNCTION"}, "idleTimeoutSeconds": True}, "idleTimeoutSeconds"),
        ("n", {"routes": {"$default": "FUNCTION"}, "routeSelectionExpression": "$request.header.x"}, "property"),
        ("n", {"routes": {"$connect": "FUNCTION"}, "routeResponses": ["$connect"]}, "routeResponses"),
        ("n", {"routes": {"$default": "FUNCTION"}, "routeResponses": "x"}, "routeResponses"),
        ("n", {"routes": {"$default": "FUNCTION"}, "authorizer": "x"}, "authorizer"),
    ],
)
def test_a_definition_that_is_refused_says_why(functions: FunctionSet, name: str, document: Any, word: str) -> None:
    function = functions.create(ECHO, wait=False)
    answer = ask(functions.url, "PUT", name, json.loads(json.dumps(document).replace("FUNCTION", function)))
    assert answer.status == 400
    assert word in answer.json["message"]
    assert name not in [api["name"] for api in ask(functions.url, "GET").json["webSocketApis"]]


def test_requests_that_are_none(functions: FunctionSet) -> None:
    assert send(functions.url, "PUT", f"{PATH}/n", b"{", OWN_HEADER).status == 400
    assert send(functions.url, "GET", PATH).status == 403
    assert ask(functions.url, "GET", "nobody").status == 404
    assert ask(functions.url, "DELETE", "nobody").status == 404
    assert ask(functions.url, "POST", "n").status == 405
    assert send(functions.url, "GET", f"{PATH}/a/b", headers=OWN_HEADER).status == 404


def test_a_front_process_that_is_killed_takes_connections_along_and_no_api(
    start_service: Callable[..., RunningService],
) -> None:
    running = start_service()
    functions = running.functions()
    name = functions.create(ECHO)
    api = put(running.url, "kept", {"$default": name}, routeResponses=["$default"])
    with client_at(api) as client:
        client.send("before")
        assert client.recv(20) == "before"
        front = running.health()["front"]["pid"]
        os.kill(front, signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            client.recv(20)
    with client_at(api) as client:
        client.send("after")
        assert client.recv(20) == "after"
    assert running.health()["front"]["pid"] != front


def test_apis_outlive_the_service_and_its_end_is_told(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    name = functions.create(CHAT, Timeout=30)
    api = put(running.url, "lasting", {"$disconnect": name, "$default": name}, stage="prod")
    with client_at(api) as client:
        client.send('{"text": "hello"}')
        assert client.recv(20) == "hello"
        running.run(running.service.drain())
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    group = running.service._logs.group(f"arn:aws:lambda:us-east-1:{OWN}:function:{name}")
    lines = [line.message.decode() for line in group.read(-1, 1000)]
    (left,) = [json.loads(line.partition("EVENT ")[2]) for line in lines if '"DISCONNECT"' in line]
    assert left["disconnectStatusCode"] == 1001
    running.close()
    again = start_service(running.data_dir)
    found = ask(again.url, "GET", "lasting").json
    assert (found["apiId"], found["stage"], found["routes"]) == (api["apiId"], "prod", api["routes"])
    with client_at(found) as client:
        client.send('{"text": "hello again"}')
        assert client.recv(20) == "hello again"


# --- who may ----------------------------------------------------------------------------------------------------------

FULL = Key("full", (statement(["lambda:*", "venturekit:*", "execute-api:*"]),))
WRITER = Key("writer", (statement("execute-api:ManageConnections", "arn:aws:execute-api:us-east-1:*:*/dev/POST/*"),))
NOBODY = Key("nobody", (statement("lambda:*"),))
NEIGHBOUR = Key("neighbour", (statement("*"),), account_id=OTHER)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that checks signatures, with the function ``f``."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", (FULL, WRITER, NOBODY, NEIGHBOUR))
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    create(FULL.client(running.url), "f", CHAT)
    yield running
    running.close()


def signed(key: Key, url: str, method: str, target: str, body: bytes = b"") -> Response:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(method, url + target, data=body)
    SigV4Auth(Credentials(*key.triple), "lambda", "us-east-1").add_auth(request)
    return send(url, method, target, body, dict(request.headers))


def manager_of(key: Key, url: str) -> Any:
    return boto3.client(
        "apigatewaymanagementapi",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def log_of_f(running: RunningService) -> list[str]:
    group = running.service._logs.group(f"arn:aws:lambda:us-east-1:{OWN}:function:f")
    return [line.message.decode() for line in running.do(lambda: group.read(-1, 1000))]


def test_access_control_guards_apis_and_connections(guarded: RunningService) -> None:
    document = json.dumps({"routes": {"$default": "f"}}).encode()
    # The neighbour has no function f.
    for key, status in ((NOBODY, 403), (WRITER, 403), (NEIGHBOUR, 400), (FULL, 200)):
        answer = signed(key, guarded.url, "PUT", f"{PATH}/chat", document)
        assert answer.status == status
    api = answer.json
    assert send(guarded.url, "GET", PATH, headers=OWN_HEADER).status == 403
    assert signed(NEIGHBOUR, guarded.url, "GET", PATH).json == {"webSocketApis": []}
    with client_at(api) as client:
        # The function's own credentials let it write to the clients of its account.
        client.send('{"text": "hello"}')
        assert client.recv(20) == "hello"
        lines = log_of_f(guarded)
        identifier = next(json.loads(line.partition("EVENT ")[2]) for line in lines if "EVENT" in line)["connectionId"]
        writer = manager_of(WRITER, api["connectionsUrl"])
        writer.post_to_connection(ConnectionId=identifier, Data=b"from the writer")
        assert client.recv(20) == "from the writer"
        for key in (NOBODY, NEIGHBOUR):
            other = manager_of(key, api["connectionsUrl"])
            with pytest.raises(other.exceptions.ForbiddenException):
                other.post_to_connection(ConnectionId=identifier, Data=b"no")
            other.close()
        # It may write, and no more.
        with pytest.raises(writer.exceptions.ForbiddenException):
            writer.delete_connection(ConnectionId=identifier)
        writer.close()
        forged = boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=api["connectionsUrl"],
            region_name="us-east-1",
            aws_access_key_id=FULL.access_key_id,
            aws_secret_access_key="not the secret",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with pytest.raises(forged.exceptions.ForbiddenException):
            forged.get_connection(ConnectionId=identifier)
        forged.close()


def test_a_client_that_is_killed_is_told_to_the_function(
    functions: FunctionSet, apis: Callable[..., dict[str, Any]]
) -> None:
    name = functions.create(CHAT, Timeout=30)
    api = apis("vanishing", {"$disconnect": name, "$default": name})
    with client_at(api) as client:
        client.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: the kernel resets it
        client.socket.close()
    until(lambda: '"disconnectStatusCode": 1006' in "".join(functions.log_lines(name)), "it is told")


FRAMEWORK = """
from venturekit.runtime.ws import TokenError, auth_handler, connection_store, ws_routes

def verify(token):
    if token != "secret-of-alice":
        raise TokenError("invalid_token")
    return {"user_id": "alice"}

def say(message, ctx):
    connection_store.send_to_user(ctx.domain, ctx.stage, "alice", {"said": message["data"]})

main = ws_routes({"auth": auth_handler(verify), "say": say})
"""


def test_the_framework_finds_its_clients(functions: FunctionSet, apis: Callable[..., dict[str, Any]]) -> None:
    name = Project(functions, "chat").function("ws", FRAMEWORK)
    api = apis("framework", dict.fromkeys(("$connect", "$disconnect", "$default"), name))
    with client_at(api) as client:
        for message, answer in (
            ({"action": "auth", "token": "forged"}, {"action": "auth", "success": False, "reason": "invalid_token"}),
            ({"action": "auth", "token": "secret-of-alice"}, {"action": "auth", "success": True}),
            ({"action": "say", "data": "hello"}, {"said": "hello"}),
        ):
            client.send(json.dumps(message))
            assert json.loads(client.recv(20)) == answer


def test_over_tls(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", "key.pem", "-out", "own.pem", "-days", "2"]
    subprocess.run([*command, *files, *subject], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    running = start_service(tls_certificate=tmp_path / "own.pem", tls_key=tmp_path / "key.pem")
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    client = boto3.client("lambda", endpoint_url=running.url, verify=str(tmp_path / "own.pem"), **keys)
    name = FunctionSet(running.url, client).create(ECHO)
    trusting = ssl.create_default_context(cafile=tmp_path / "own.pem")
    with closing(http.client.HTTPSConnection("127.0.0.1", running.port, timeout=20, context=trusting)) as connection:
        document = {"routes": {"$default": name}, "routeResponses": ["$default"]}
        connection.request("PUT", f"{PATH}/secure", json.dumps(document).encode(), OWN_HEADER)
        api = json.loads(connection.getresponse().read())
    assert api["pathUrl"].startswith("wss://")
    with connect(api["pathUrl"], ssl=trusting, proxy=None, open_timeout=20) as secured:
        secured.send("hello")
        assert secured.recv(20) == "hello"
        secured.send("x" * 40_000)
        with pytest.raises(ConnectionClosed) as closed:
            secured.recv(20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    client.close()
