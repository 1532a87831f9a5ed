"""Secrets are in no repr, no log and no traceback, not even in one that shows the variables of every frame."""

from __future__ import annotations

import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.client.both_clients import BOTH
from tests.unit.client.resolution_support import Case, prepare
from tests.unit.client.scripted_server import Peer, ScriptedServer
from tests.unit.client.tls_support import Authority, HttpProxy, TlsServer
from venturekit.client import AsyncLambdaClient, ClientConfig, Credentials, LambdaClient, LambdaClientError
from venturekit.client.resolution import resolve
from venturekit.transport.connection import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Of the module, not of a function: the tests' own frames are seen, too.
KEYS = Credentials("AKIDSHOWN", "hunter2-secret", "hunter2-token")
TORN = Credentials("AKIDSHOWN", "hunter2-secret", "hunter2-token\r\nX-Evil: 1")
USER = "user:hunter2-password"
HIDDEN = ("hunter2", "aHVudGVyMi", "dXNlcjpodW50ZXIy", "AWS4-HMAC-SHA256", "Signature=")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    prepare(Case(), tmp_path, monkeypatch)
    caplog.set_level(logging.DEBUG)


def all_of(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and what was going on when it was raised."""
    seen: list[BaseException | None] = []
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if found is not None and found not in seen:
            seen.append(found)
            yield found
            waiting += [found.__cause__, found.__context__]


def assert_hidden(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    for found in all_of(error):
        lines = traceback.TracebackException.from_exception(found, capture_locals=True).format()
        texts = ["".join(lines), str(found), repr(found), repr(vars(found))]
        for hidden in HIDDEN:
            assert not [text for text in texts if hidden in text], f"{hidden} is in the traceback of {found!r}"
    for hidden in HIDDEN:
        assert hidden not in caplog.text
        assert hidden.encode() not in pickle.dumps(error)


def closing(peer: Peer) -> None:
    peer.request()


def garbage(peer: Peer) -> None:
    peer.request()
    peer.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def half(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")


def endless(peer: Peer) -> None:
    peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


def silent(peer: Peer) -> None:
    peer.request()
    peer.until_closed()


def web_page(peer: Peer) -> None:
    peer.answer(b"<html>", status="404 Not Found")


def refusing(peer: Peer) -> None:
    peer.answer(
        b'{"message": "The security token included in the request is expired"}',
        "x-amzn-ErrorType: ExpiredTokenException",
        status="403 Forbidden",
    )


def failing(peer: Peer) -> None:
    peer.answer(b'{"errorType": "E", "errorMessage": "m"}', "X-Amz-Function-Error: Unhandled")


ANSWERS: tuple[Callable[[Peer], None], ...] = (
    closing,
    garbage,
    half,
    endless,
    silent,
    web_page,
    refusing,
    failing,
)


@pytest.mark.parametrize(
    ("script", "credentials"),
    [*((script, "fixed") for script in ANSWERS), (refusing, "function"), (refusing, "environment")],
)
@pytest.mark.parametrize("kind", BOTH)
def test_answers_that_are_failures(
    kind: Any,
    script: Callable[[Peer], None],
    credentials: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if credentials == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS.secret_access_key)
        monkeypatch.setenv("AWS_SESSION_TOKEN", str(KEYS.session_token))
    given: Any = {"fixed": KEYS, "function": lambda: KEYS, "environment": None}[credentials]
    with ScriptedServer(script) as server:
        client = kind(server.url, unsigned=False, credentials=given, max_attempts=1, read_timeout=0.1)
        with pytest.raises(LambdaClientError) as caught:
            client.invoke("f")
        client.close()
        assert "hunter2-token" in server.requests[0].headers["x-amz-security-token"]
    assert_hidden(caught.value, caplog)


@pytest.mark.parametrize("script", ANSWERS[:-1])
@pytest.mark.parametrize("kind", BOTH)
def test_streams_that_are_failures(kind: Any, script: Callable[[Peer], None], caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedServer(script) as server:
        client = kind(server.url, unsigned=False, credentials=KEYS, max_attempts=1, read_timeout=0.1)
        with pytest.raises(LambdaClientError) as caught:
            list(client.stream("f"))
        client.close()
    assert_hidden(caught.value, caplog)


@pytest.mark.parametrize("where", ["nobody", "certificate", "no TLS", "proxy", "tunnel", "closed tunnel", "no proxy"])
@pytest.mark.parametrize("kind", BOTH)
def test_connections_that_are_not_made(
    kind: Any, where: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ScriptedServer(lambda peer: peer.socket.recv(1)) as server,
        TlsServer(authority.server("DNS:another.example")) as tls,
        HttpProxy("someone:else") as proxy,
    ):
        asking = f"http://{USER}@127.0.0.1:{proxy.port}"
        url, proxies = {
            "nobody": ("http://127.0.0.1:9", None),
            "certificate": (tls.url, None),
            "no TLS": (server.url.replace("http", "https"), None),
            "proxy": (server.url, {"http": asking}),
            "tunnel": (tls.url, {"https": asking}),
            "closed tunnel": (tls.url, {"https": asking.replace(str(proxy.port), str(server.port))}),
            "no proxy": (tls.url, {"https": f"http://{USER}@127.0.0.1:9"}),
        }[where]
        client = kind(url, unsigned=False, credentials=KEYS, proxies=proxies, max_attempts=1)
        # What is not in the frame of this test cannot be seen in it.
        del asking, proxies
        with pytest.raises(LambdaClientError) as caught:
            client.invoke("f")
        client.close()
    assert_hidden(caught.value, caplog)


@pytest.mark.parametrize("kind", BOTH)
def test_a_token_that_would_tear_the_head_of_a_request(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = kind("http://127.0.0.1:9", unsigned=False, credentials=lambda: TORN)
    with pytest.raises(LambdaClientError, match="the session token holds a line break") as caught:
        client.invoke("f")
    client.close()
    assert_hidden(caught.value, caplog)


@pytest.mark.parametrize("kind", BOTH)
def test_an_answer_of_a_function_that_is_none(kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    client = kind("http://127.0.0.1:9", unsigned=False, credentials=lambda: ("AKID", USER))
    with pytest.raises(LambdaClientError, match="gives tuple") as caught:
        client.invoke("f")
    client.close()
    assert_hidden(caught.value, caplog)


SECRET_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AKIDSHOWN",
    "AWS_SECRET_ACCESS_KEY": "hunter2-secret",
    "AWS_SESSION_TOKEN": "hunter2-token",
    "AWS_REGION": "eu-west-1",
}
SECRET_FILE = (
    "[default]\naws_access_key_id = AKIDSHOWN\naws_secret_access_key = hunter2-secret\n"
    "aws_session_token = hunter2-token\n"
)
WRONG = {
    "a torn token": Case({**SECRET_VARIABLES, "AWS_SESSION_TOKEN": "hunter2\n"}),
    "a torn secret": Case({**SECRET_VARIABLES, "AWS_SECRET_ACCESS_KEY": "hunter2\n"}),
    "no region": Case({**SECRET_VARIABLES, "AWS_REGION": ""}),
    "a region that is none": Case({**SECRET_VARIABLES, "AWS_REGION": "eu west"}),
    "an endpoint that is none": Case({**SECRET_VARIABLES, "AWS_ENDPOINT_URL": "nowhere"}),
    "an endpoint with a user": Case({**SECRET_VARIABLES, "AWS_ENDPOINT_URL": f"http://{USER}@x"}),
    "an address with a user": Case({**SECRET_VARIABLES, "AWS_ENDPOINT_URL": f"ftp://{USER}@x"}),
    "a proxy that is not served": Case({**SECRET_VARIABLES, "HTTPS_PROXY": f"socks5://{USER}@x"}),
    "a proxy that is none": Case({**SECRET_VARIABLES, "HTTPS_PROXY": f"http://{USER}@x:y"}),
    "an expiration that is none": Case({**SECRET_VARIABLES, "AWS_CREDENTIAL_EXPIRATION": "soon"}),
    "no such profile": Case({**SECRET_VARIABLES, "AWS_PROFILE": "p"}, SECRET_FILE, SECRET_FILE),
    "no such profile, no keys": Case({"AWS_PROFILE": "p", "AWS_REGION": "eu-west-1"}, SECRET_FILE, SECRET_FILE),
    "no such services": Case(SECRET_VARIABLES, f"{SECRET_FILE}services = x\n"),
    "no region in the file": Case({}, SECRET_FILE, SECRET_FILE),
    "half a key in the file": Case(
        {"AWS_REGION": "eu-west-1"}, None, "[default]\naws_access_key_id = A\naws_session_token = hunter2\n"
    ),
    "a torn secret in the file": Case({"AWS_REGION": "eu-west-1"}, None, f"{SECRET_FILE[:-1]}\n  more-hunter2\n"),
    "a line of the file that is none": Case({"AWS_REGION": "eu-west-1"}, f"{SECRET_FILE}hunter2\n"),
    "a line of the file twice": Case({"AWS_REGION": "eu-west-1"}, SECRET_FILE + SECRET_FILE),
    "a program that fails": Case(
        {"AWS_REGION": "eu-west-1"}, "[default]\ncredential_process = sh -c \"echo '{hunter2-secret'\"\n"
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_configurations_that_make_no_client(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(WRONG[name], tmp_path, monkeypatch)
    with pytest.raises(LambdaClientError) as caught:
        LambdaClient(max_attempts=1).invoke("f")
    assert_hidden(caught.value, caplog)


PROXIES = {"https": f"socks5://{USER}@x", "http": f"http://{USER}@x"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: LambdaClient(proxies=PROXIES, region="eu-west-1", unsigned=True),
        lambda: LambdaClient(proxies=PROXIES, max_attempts=0),
        lambda: LambdaClient(endpoint_url=f"http://{USER}@x"),
        lambda: AsyncLambdaClient(proxies=PROXIES, max_attempts=0),
        lambda: ClientConfig(proxies=PROXIES, max_attempts=0),
        lambda: ClientConfig(proxies={"HTTPS": f"http://{USER}@x"}),
        lambda: ClientConfig(proxies=PROXIES).replaced(max_attempts=0),
        lambda: ClientConfig().replaced(proxies=PROXIES, max_attempts=0),
        lambda: ClientConfig(proxies=PROXIES, unsigned=True, credentials=KEYS),
    ],
)
def test_options_that_make_no_client(make: Callable[[], object], caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(LambdaClientError) as caught:
        make()
    assert_hidden(caught.value, caplog)


def test_an_unknown_option_shows_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(TypeError, match="there is no option retries") as caught:
        LambdaClient(proxies=PROXIES, retries=1)  # type: ignore[call-arg]
    assert_hidden(caught.value, caplog)


def test_reprs() -> None:
    config = ClientConfig(
        region="eu-west-1", credentials=KEYS, proxies={"https": f"http://{USER}@x", "http": f"http://{USER}@x"}
    )
    with LambdaClient(config) as client:
        caller = client._caller
        resolved = caller.resolved
        seen: list[Any] = [client, config, caller, resolved, resolved.provider, resolved.proxy, caller.signer, KEYS]
        seen += [Outgoing(b"Authorization: hunter2", b""), client._connections, resolve(config)]
    for item in seen:
        for text in (repr(item), str(item), f"{item}", repr([item])):
            assert not [hidden for hidden in HIDDEN if hidden in text], text
    assert repr(KEYS) == "Credentials(access_key_id='AKIDSHOWN')"
    assert repr(ClientConfig(endpoint_url=f"http://{USER}@x")) == "ClientConfig(endpoint_url=...)"
