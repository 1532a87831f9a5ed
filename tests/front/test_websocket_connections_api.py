"""``@connections``: messages to clients, what is known of them, and their end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from websockets.exceptions import ConnectionClosed

from tests.front.front_lab import API, BOUND_SECONDS, api_entry, until
from tests.front.websocket_client import OWN_HEADER, connection_id, frame, manage, raw_socket, websocket
from venturekit.front.websocket_ids import draw_connection_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.front.front_lab import Lab

ALLOWED = {"allowed": True, "reason": ""}


@pytest.fixture
def manager(sockets: Lab) -> Iterator[Callable[[str], Any]]:
    """An unmodified boto3 client for a base path."""
    made: list[Any] = []
    sockets.api.decision = ALLOWED

    def make(path: str) -> Any:
        made.append(
            boto3.client(
                "apigatewaymanagementapi",
                endpoint_url=f"http://127.0.0.1:{sockets.port}{path}",
                region_name="us-east-1",
                aws_access_key_id="AKIDTEST",
                aws_secret_access_key="secret",
                config=Config(retries={"total_max_attempts": 1}),
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize("path", [f"/_ws/{API}/dev", "/dev"])
def test_boto3_posts_gets_and_deletes(sockets: Lab, manager: Callable[[str], Any], path: str) -> None:
    client = manager(path)
    with websocket(sockets, user_agent_header="tests") as made:
        identifier = connection_id(sockets)
        for data, expected in ((b"hello", "hello"), ("€".encode(), "€"), (b"\xff\x00", b"\xff\x00"), (b"", "")):
            client.post_to_connection(ConnectionId=identifier, Data=data)
            assert made.recv(BOUND_SECONDS) == expected
        found = client.get_connection(ConnectionId=identifier)
        assert found["ConnectedAt"].timestamp() == pytest.approx(1_700_000_000.5)
        assert found["LastActiveAt"] >= found["ConnectedAt"]
        assert found["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "tests"}
        client.delete_connection(ConnectionId=identifier)
        with pytest.raises(ConnectionClosed) as closed:
            made.recv(BOUND_SECONDS)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1000, "Connection Closed Normally")
        for call in (client.get_connection, client.delete_connection):
            with pytest.raises(client.exceptions.GoneException):
                call(ConnectionId=identifier)
        with pytest.raises(client.exceptions.GoneException):
            client.post_to_connection(ConnectionId=identifier, Data=b"late")
    until(lambda: len(sockets.api.events) == 2, "the function is told")
    context = sockets.api.events[1]["requestContext"]
    assert (context["disconnectStatusCode"], context["disconnectReason"]) == (1000, "Connection Closed Normally")


def test_where_functions_are_told_to_go_is_right(sockets: Lab, manager: Callable[[str], Any]) -> None:
    with websocket(sockets) as made:
        context = sockets.api.events[0]["requestContext"]
        assert context["domainName"] == f"127.0.0.1:{sockets.port}"
        manager(f"/{context['stage']}").post_to_connection(ConnectionId=context["connectionId"], Data=b"found")
        assert made.recv(BOUND_SECONDS) == "found"


def test_a_message_has_128_kb_at_most(sockets: Lab, manager: Callable[[str], Any]) -> None:
    client = manager("/dev")
    with websocket(sockets) as made:
        identifier = connection_id(sockets)
        client.post_to_connection(ConnectionId=identifier, Data=b"x" * 131_072)
        assert len(made.recv(BOUND_SECONDS)) == 131_072
        with pytest.raises(client.exceptions.PayloadTooLargeException):
            client.post_to_connection(ConnectionId=identifier, Data=b"x" * 131_073)
        # Larger than any request may be.
        assert manage(sockets, "POST", identifier, bytes(7_000_000)).status == 413


def test_who_may_is_asked_once_without_access_control(sockets: Lab, manager: Callable[[str], Any]) -> None:
    client = manager("/dev")
    with websocket(sockets) as made:
        identifier = connection_id(sockets)
        for _ in range(3):
            client.post_to_connection(ConnectionId=identifier, Data=b"x")
            made.recv(BOUND_SECONDS)
    assert len(sockets.api.authorized) <= 1


def test_who_may_not_is_forbidden(sockets: Lab) -> None:
    signed = ("Authorization", "AWS4-HMAC-SHA256 Credential=999999999999/20200101/us-east-1/execute-api/aws4_request, ")
    with websocket(sockets):
        identifier = connection_id(sockets)
        where = f"/_ws/{API}/dev/@connections/{identifier}"
        for headers in ([], [signed], [OWN_HEADER, ("Origin", "https://evil.example")]):
            answer = sockets.ask("GET", where, headers=headers, host="127.0.0.1")
            assert (answer.status, answer["x-amzn-errortype"]) == (403, "ForbiddenException")
            assert answer.json["message"].startswith("Forbidden: ")
        assert sockets.api.authorized[-1][0] == API
        assert sockets.api.authorized[-1][1]["connectionId"] == identifier


def test_a_presigned_request_is_asked_about(sockets: Lab) -> None:
    sockets.api.decision = ALLOWED
    with websocket(sockets):
        where = f"/dev/%40connections/{connection_id(sockets).replace('=', '%3D')}?X-Amz-Credential=k"
        assert sockets.ask("GET", where, host="127.0.0.1").status == 200
    assert sockets.api.authorized[0][1]["target"] == where


@pytest.mark.parametrize(
    ("identifier", "stage", "status"),
    [
        (draw_connection_id(API), "dev", 410),
        (draw_connection_id("otherother"), "dev", 410),
        ("nonsense", "dev", 410),
        (draw_connection_id(API), "prod", 403),
    ],
    # Drawn anew by every process that collects the tests.
    ids=("own", "other", "nonsense", "stage"),
)
def test_a_connection_that_is_not_there(sockets: Lab, identifier: str, stage: str, status: int) -> None:
    assert manage(sockets, "POST", identifier, b"x", stage=stage).status == status


@pytest.mark.parametrize(
    ("identifier", "status"),
    [(draw_connection_id(API), 410), (draw_connection_id("o"), 403), ("x", 403)],
    ids=("own", "other", "nonsense"),
)
def test_without_an_api_the_id_says_which(sockets: Lab, identifier: str, status: int) -> None:
    answer = sockets.ask("GET", f"/dev/@connections/{identifier}", headers=[OWN_HEADER], host="localhost:9002")
    assert answer.status == status


def test_a_connection_of_another_api(sockets: Lab) -> None:
    other = "zzzzzzzzzz"
    sockets.configure(api_entry(), api_entry(id=other))
    sockets.refresh()
    with websocket(sockets):
        where = f"/_ws/{other}/dev/@connections/{connection_id(sockets)}"
        assert sockets.ask("GET", where, headers=[OWN_HEADER], host="127.0.0.1").status == 410


def test_other_methods_are_refused(sockets: Lab) -> None:
    assert manage(sockets, "PUT", draw_connection_id(API), b"x").status == 405


def test_a_function_writes_to_the_client_while_its_message_is_handled(sockets: Lab) -> None:
    """As functions do: the post comes before the function has answered."""
    made = raw_socket(sockets)
    identifier = connection_id(sockets)

    async def gate(event: dict[str, Any]) -> None:
        found = sockets.websockets.find(identifier)
        assert found is not None
        found.send(json.dumps(event["body"]).encode(), is_text=True)

    sockets.api.gate = gate
    made.send(frame(1, b"ping"))
    assert made.receive() == (1, b'"ping"')
