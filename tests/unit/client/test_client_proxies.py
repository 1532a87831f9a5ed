"""Proxies: tunnels for HTTPS, whole addresses for HTTP, with and without a password; and proxies that refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.client.both_clients import BOTH
from tests.unit.client.resolution_support import Case, prepare
from tests.unit.client.scripted_server import Peer, ScriptedServer
from tests.unit.client.tls_support import Authority, HttpProxy, TlsServer
from venturekit.client import ConnectError, Credentials, TransportError
from venturekit.transport.endpoint import EndpointError, parse_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

USER = "user:pass:w%rd ü"
IN_ADDRESS = "user:pass%3Aw%25rd%20%C3%BC@"
PATH = "/2015-03-31/functions/f/invocations"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(Case(), tmp_path, monkeypatch)


@pytest.fixture(params=["http", "https"])
def server(request: pytest.FixtureRequest, authority: Authority) -> Iterator[ScriptedServer]:
    if request.param == "https":
        with TlsServer(authority.server()) as server:
            yield server
    else:
        with ScriptedServer(_answer) as server:
            yield server


def _answer(peer: Peer) -> None:
    while True:
        peer.answer(b'"plain"')


@pytest.mark.parametrize("user", [None, USER])
@pytest.mark.parametrize("kind", BOTH)
def test_requests_go_by_the_proxy(kind: Any, user: str | None, server: ScriptedServer, authority: Authority) -> None:
    scheme = server.url.partition(":")[0]
    keys = Credentials("AKID", "s", "t")
    with HttpProxy(user) as proxy:
        address = f"http://{IN_ADDRESS if user else ''}127.0.0.1:{proxy.port}"
        client = kind(
            server.url, unsigned=False, credentials=keys, proxies={scheme: address}, ca_bundle=authority.bundle
        )
        for _ in range(2):
            assert client.invoke("f").payload in {'"plain"', '"by TLS"'}
        client.close()
        if scheme == "https":
            assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port}"]
        else:
            assert proxy.asked == [f"POST http://127.0.0.1:{server.port}{PATH}"] * 2
    for request in server.requests:
        assert "proxy-authorization" not in request.headers
        # What was signed is what arrives.
        assert (request.target, request.headers["host"]) == (PATH, f"127.0.0.1:{server.port}")
    assert len(server.requests) == 2


@pytest.mark.parametrize("exempt", [False, True])
@pytest.mark.parametrize("kind", BOTH)
def test_the_environment_names_the_proxy(
    kind: Any, exempt: bool, server: ScriptedServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HttpProxy() as proxy:
        monkeypatch.setenv(f"{server.url.partition(':')[0].upper()}_PROXY", proxy.url)
        if exempt:
            monkeypatch.setenv("NO_PROXY", f"localhost,127.0.0.1:{server.port}")
        client = kind(server.url, ca_bundle=authority.bundle)
        client.invoke("f")
        client.close()
        assert len(proxy.asked) == (0 if exempt else 1)


@pytest.mark.parametrize("user", [None, "user:other"])
@pytest.mark.parametrize("kind", BOTH)
def test_a_proxy_that_refuses(kind: Any, user: str | None, server: ScriptedServer, authority: Authority) -> None:
    scheme = server.url.partition(":")[0]
    with HttpProxy(USER) as proxy:
        address = proxy.url.replace("//", f"//{user}@" if user else "//")
        client = kind(server.url, proxies={scheme: address}, ca_bundle=authority.bundle, max_attempts=1)
        with pytest.raises(TransportError, match="407") as caught:
            client.invoke("f")
        assert isinstance(caught.value, ConnectError) is (scheme == "https")
        assert "other" not in str(caught.value)
        assert client.taken() == 0
        client.close()
    assert server.requests == []


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"],
)
@pytest.mark.parametrize("kind", BOTH)
def test_a_proxy_that_makes_no_tunnel(kind: Any, answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with ScriptedServer(script) as proxy:
        client = kind("https://lambda.example", proxies={"https": proxy.url}, max_attempts=1)
        with pytest.raises(TransportError, match=r"https://lambda\.example"):
            client.invoke("f")
        assert client.taken() == 0
        client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_proxy_that_never_answers_is_given_up(kind: Any) -> None:
    with ScriptedServer(lambda peer: peer.until_closed()) as proxy:
        # Making a tunnel is part of connecting: the 960 s that a function may take do not count.
        client = kind("https://lambda.example", proxies={"https": proxy.url}, max_attempts=1, connect_timeout=0.2)
        with pytest.raises(ConnectError, match=r"no connection within 0\.2 s"):
            client.invoke("f")
        assert client.taken() == 0
        client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_proxy_that_is_not_there(kind: Any) -> None:
    with ScriptedServer(_answer) as server:
        port = server.port
    client = kind("http://lambda.example", proxies={"http": f"http://u:hunter2@127.0.0.1:{port}"}, max_attempts=1)
    with pytest.raises(
        ConnectError, match=rf"lambda\.example cannot be reached by the proxy 127.0.0.1:{port}: "
    ) as caught:
        client.invoke("f")
    assert "hunter2" not in str(caught.value)
    client.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", ("h", 80, None)),
        ("h:3128", ("h", 3128, None)),
        ("//h:3128/", ("h", 3128, None)),
        ("HTTP://H:3128", ("h", 3128, None)),
        ("http://[::1]:3128", ("::1", 3128, None)),
        ("http://u@h", ("h", 80, "Basic dTo=")),
        ("http://u:p%0d%0aX@h", ("h", 80, "Basic dTpwDQpY")),
    ],
)
def test_addresses_of_proxies(url: str, expected: tuple[str, int, str | None]) -> None:
    assert parse_proxy(url) == expected
    assert "Basic" not in repr(parse_proxy(url))


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@h", "socks5://u:hunter2@h", "http://u:hunter2@", "http://u:hunter2@h:x", "u:hunter2 @h"]
)
def test_addresses_that_are_none_do_not_show_the_password(url: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_proxy(url)
    assert "hunter2" not in str(caught.value)
    assert "http://host:port" in str(caught.value)
