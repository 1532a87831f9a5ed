"""TLS: own authorities, and servers that are not who they should be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.client.both_clients import BOTH
from tests.unit.client.resolution_support import Case, prepare
from tests.unit.client.scripted_server import ScriptedServer
from tests.unit.client.tls_support import Authority, TlsServer
from venturekit.client import ClientConfigError, ConnectError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(Case(), tmp_path, monkeypatch)


@pytest.mark.parametrize("how", ["option", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
@pytest.mark.parametrize("kind", BOTH)
def test_an_own_authority_is_trusted(
    kind: Any, how: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"ca_bundle": authority.bundle} if how == "option" else {}
    if how == "profile":
        (tmp_path / ".aws" / "config").write_text(f"[default]\nca_bundle = {authority.bundle}\n")
    elif how != "option":
        monkeypatch.setenv(how, authority.bundle)
    with TlsServer(authority.server()) as server:
        client = kind(server.url, **options)
        for _ in range(2):
            assert client.invoke("f").payload == '"by TLS"'
        assert server.connections == 1
        client.close()


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        ("unknown", "certificate is not accepted .*name the certificates of its authority .ca_bundle, AWS_CA_BUNDLE"),
        ("self-signed", "self-signed certificate.*name the certificates of its authority"),
        ("another host", "is not accepted .*127.0.0.1.*the address has to name the host as the certificate does"),
        ("another name", "is not accepted .*localhost.*the address has to name the host as the certificate does"),
        ("expired", "certificate has expired.*it has to be renewed"),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_who_is_not_trusted_is_sent_nothing(kind: Any, certificate: str, text: str, authority: Authority) -> None:
    context = {
        "unknown": authority.server,
        "self-signed": authority.self_signed,
        "another host": lambda: authority.server("IP:127.0.0.2"),
        "another name": lambda: authority.server("DNS:lambda.example"),
        "expired": lambda: authority.server(days="-1"),
    }[certificate]()
    with TlsServer(context) as server:
        url = server.url.replace("127.0.0.1", "localhost") if certificate == "another name" else server.url
        options = {} if certificate in {"unknown", "self-signed"} else {"ca_bundle": authority.bundle}
        client = kind(url, max_attempts=1, **options)
        with pytest.raises(ConnectError) as caught:
            client.invoke("f")
        client.close()
        assert server.requests == []
    assert re.search(text, str(caught.value)), str(caught.value)
    assert not caught.value.outcome_unknown


@pytest.mark.parametrize("kind", BOTH)
def test_a_server_without_tls_is_said_to_be_one(kind: Any) -> None:
    with ScriptedServer(lambda peer: peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as server:
        client = kind(server.url.replace("http", "https"), max_attempts=1)
        with pytest.raises(ConnectError, match=r"it does not speak TLS .*: is its address one of http://"):
            client.invoke("f")
        client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_server_that_ends_the_handshake_is_named(kind: Any) -> None:
    with ScriptedServer(lambda peer: peer.socket.recv(1)) as server:
        client = kind(server.url.replace("http", "https"), max_attempts=1)
        with pytest.raises(ConnectError, match=f"https://127.0.0.1:{server.port} cannot be reached"):
            client.invoke("f")
        client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_handshake_that_does_not_go_on_ends_in_time(kind: Any) -> None:
    with ScriptedServer(lambda peer: peer.until_closed()) as server:
        client = kind(server.url.replace("http", "https"), max_attempts=1, connect_timeout=0.2)
        with pytest.raises(ConnectError, match=r"no connection within 0\.2 s"):
            client.invoke("f")
        client.close()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file or directory"),
        ("", "."),
        ("no certificate", "."),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "."),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_certificates_that_cannot_be_read_are_named(kind: Any, content: str | None, text: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    client = kind("https://127.0.0.1:9", ca_bundle=str(bundle))
    with pytest.raises(ClientConfigError, match=f"the certificates of .*bundle.pem cannot be read: .*{text}"):
        client.invoke("f")
    assert client.taken() == 0
    client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_a_folder_of_certificates_will_do(kind: Any, authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "authorities"
    folder.mkdir()
    with TlsServer(authority.server()) as server:
        client = kind(server.url, ca_bundle=str(folder), max_attempts=1)
        with pytest.raises(ConnectError, match="is not accepted"):
            client.invoke("f")
        client.close()


@pytest.mark.parametrize("kind", BOTH)
def test_plain_http_reads_no_certificates(kind: Any) -> None:
    with ScriptedServer(lambda peer: peer.answer(b'"plain"')) as server:
        client = kind(server.url, ca_bundle="/nonexistent")
        assert client.invoke("f").payload == '"plain"'
        client.close()
