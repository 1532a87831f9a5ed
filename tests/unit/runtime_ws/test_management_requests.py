"""Requests of the management API: where they go, and that they are signed as botocore signs them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from venturekit.runtime.ws import ConnectionManagement, create_connection_store, management
from venturekit.runtime.ws.management import Message, endpoint_of, is_local, region_of
from venturekit.transport.endpoint import Endpoint

if TYPE_CHECKING:
    from tests.unit.runtime_ws.management_server import ManagementServer


@pytest.mark.parametrize(
    ("domain", "stage", "endpoint"),
    [
        (
            "a.execute-api.eu-west-1.amazonaws.com",
            "dev",
            ("https", "a.execute-api.eu-west-1.amazonaws.com", 443, "/dev"),
        ),
        ("chat.example.com", "", ("https", "chat.example.com", 443, "")),
        ("chat.example.com/v1", "", ("https", "chat.example.com", 443, "/v1")),
        ("localhost:3000", "/dev/", ("http", "localhost", 3000, "/dev")),
        ("abc.execute-api.localhost:9002", "dev", ("http", "abc.execute-api.localhost", 9002, "/dev")),
        ("127.0.0.1:9002/_ws/abc", "dev", ("http", "127.0.0.1", 9002, "/_ws/abc/dev")),
        ("[::1]:9002", "dev", ("http", "::1", 9002, "/dev")),
        ("http://proxy.example.com", "dev", ("http", "proxy.example.com", 80, "/dev")),
        ("localhost", "a b", ("http", "localhost", 80, "/a%20b")),
    ],
)
def test_where_connections_are_managed(domain: str, stage: str, endpoint: tuple[Any, ...]) -> None:
    assert tuple(endpoint_of(domain, stage)) == endpoint


@pytest.mark.parametrize("domain", ["", "a b", "host\r\nx: y", "host:port", "ftp://host", ":80"])
def test_domains_that_are_none(domain: str) -> None:
    with pytest.raises(ValueError, match="is no domain of a WebSocket API"):
        endpoint_of(domain, "dev")


@pytest.mark.parametrize(
    ("domain", "local"),
    [
        ("LOCALHOST", True),
        ("a.localhost.", True),
        ("127.1.2.3:80", True),
        ("127.0.0.1.example.com", False),
        ("notlocalhost", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_what_this_machine_is(domain: str, local: bool) -> None:
    assert is_local(domain) is local


def test_the_region_of_a_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert region_of("a.execute-api.eu-west-1.amazonaws.com") == "eu-west-1"
    assert region_of("a.execute-api.cn-north-1.amazonaws.com.cn") == "cn-north-1"
    assert region_of("chat.example.com") == "us-east-1"
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert region_of("chat.example.com") == "eu-central-1"
    assert region_of("abc.execute-api.localhost") == "eu-central-1"


@pytest.mark.parametrize("connection_id", ["L0SM9cOFvHcCIhw=", "a/b+c", "ü~._-"])
def test_signed_as_botocore_signs(connection_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    endpoint = endpoint_of("a.execute-api.eu-west-1.amazonaws.com", "dev")
    message = Message(endpoint, connection_id, b"{}")
    http = ConnectionManagement()._host(endpoint)
    head = http._head(management._path(message), dict(management._HEADERS), b"{}").partition(b"\r\n\r\n")[0].decode()
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    when = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = AWSRequest("POST", f"https://{endpoint.host}{first.split()[1]}", data=b"{}")
    request.headers["Content-Type"] = headers["Content-Type"]
    request.headers["X-Amz-Security-Token"] = "token"
    request.context["timestamp"] = headers["X-Amz-Date"]
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_: when.replace(tzinfo=None))
    auth = SigV4Auth(Credentials("AKIDEXAMPLE", "secret", "token"), "execute-api", "eu-west-1")
    request.headers["X-Amz-Date"] = headers["X-Amz-Date"]
    theirs = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert re.search("Signature=(.*)", headers["Authorization"])[1] == theirs  # type: ignore[index]
    assert "/eu-west-1/execute-api/aws4_request" in headers["Authorization"]


def test_names_below_localhost_need_no_resolver(server: ManagementServer) -> None:
    port = server.domain.rpartition(":")[2]
    store = create_connection_store()
    assert store.post_to_connection(f"abc.execute-api.localhost:{port}", "dev", "c1", "x") is True
    assert server.posted[0].headers["host"] == f"abc.execute-api.localhost:{port}"


def test_connections_are_kept(server: ManagementServer) -> None:
    management = ConnectionManagement()
    message = Message(Endpoint("http", "127.0.0.1", int(server.domain.rpartition(":")[2]), "/dev"), "c1", b"x")
    assert [management.post(message) for _ in range(3)] == [True] * 3
    (host,) = management._hosts.values()
    assert len(host._connections._idle) == 1
    management.close()
    assert management.post(message)
    management.close()
