"""Keys that have expired, and are renewed or not; the clock that requests are signed by."""

from __future__ import annotations

import datetime
import hashlib
import json
import threading
import time
from email.utils import formatdate
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import RefreshableCredentials
from dateutil.tz import tzutc

from tests.unit.client.both_clients import BOTH, Blocking
from tests.unit.client.credentials_support import PROCESS, PROCESS_GIVES, SHARED, always, case_at, keys_of
from tests.unit.client.resolution_support import KEYS, Case, prepare
from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.client import Credentials, CredentialsError, ExpiredTokenException, InvalidSignatureException
from venturekit.client.providers import BotocoreCredentials
from venturekit.protocol.sigv4 import SignatureError, SignatureVerifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# --- expired, and renewed ------------------------------------------------------------------------------------------

EXPIRED = b'{"message": "The security token included in the request is expired"}'


def refusing(*accepted: str, error: str = "ExpiredTokenException") -> Callable[[Peer], None]:
    """Answers those with an accepted key, and refuses the others."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.request()
            if any(f"Credential={key}/" in request.headers["authorization"] for key in accepted):
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            else:
                head = f"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: {error}\r\nContent-Length: {len(EXPIRED)}\r\n\r\n"
                peer.send(head.encode() + EXPIRED)

    return script


@pytest.mark.parametrize("kind", BOTH)
def test_keys_that_are_known_to_have_expired_are_not_sent(kind: Any) -> None:
    with ScriptedServer(always) as server:
        client = kind(server.url, unsigned=False, credentials=Credentials("OLD", "s", "t", time.time() - 1))
        with pytest.raises(CredentialsError, match=r"the credentials of OLD expired at 20.*Z: renew them"):
            client.invoke("f")
        client.close()
        assert server.requests == []


@pytest.mark.parametrize("kind", BOTH)
def test_expired_keys_of_the_environment_are_read_again(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Case({**KEYS, "AWS_CREDENTIAL_EXPIRATION": "2020-01-02T03:04:05Z"}), tmp_path, monkeypatch)
    with ScriptedServer(always) as server:
        client = kind(server.url, unsigned=False)
        with pytest.raises(CredentialsError, match="of AKIDENV expired at 2020-01-02T03:04:05Z"):
            client.invoke("f")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", "2999-01-02T03:04:05Z")
        client.invoke("f")
        client.close()
        assert keys_of(server) == ["NEW"]


@pytest.mark.parametrize("error", ["ExpiredTokenException", "UnrecognizedClientException"])
@pytest.mark.parametrize("kind", BOTH)
def test_keys_of_a_file_are_read_again_when_the_service_says_so(
    kind: Any, error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Case({}, None, SHARED), tmp_path, monkeypatch)
    with ScriptedServer(refusing("NEW", error=error)) as server:
        client = kind(server.url, unsigned=False)
        (tmp_path / ".aws" / "credentials").write_text(SHARED.replace("AKIDS", "NEW"))
        client.invoke("f")
        client.close()
        assert keys_of(server) == ["AKIDS", "NEW"]


@pytest.mark.parametrize("kind", BOTH)
def test_keys_are_renewed_once_and_then_it_is_an_error(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(Case({}, None, SHARED), tmp_path, monkeypatch)
    with ScriptedServer(refusing("NOBODY")) as server:
        client = kind(server.url, unsigned=False)
        with pytest.raises(ExpiredTokenException, match="is expired"):
            client.invoke("f")
        (tmp_path / ".aws" / "credentials").write_text("")
        with pytest.raises(CredentialsError, match="the profile 'default' holds no access key any more"):
            client.invoke("f")
        client.close()
        assert keys_of(server) == ["AKIDS", "AKIDS", "AKIDS"]


@pytest.mark.parametrize("kind", BOTH)
def test_keys_that_were_given_cannot_be_renewed(kind: Any) -> None:
    with ScriptedServer(refusing("NOBODY")) as server:
        client = kind(server.url, unsigned=False, credentials=Credentials("OLD", "s"))
        with pytest.raises(ExpiredTokenException):
            client.invoke("f")
        client.close()
        assert keys_of(server) == ["OLD"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_function_may_know_how_to_renew(kind: Any) -> None:
    class Vault:
        key = "OLD"

        def __call__(self) -> Credentials:
            return Credentials(self.key, "s")

        def renew(self) -> None:
            self.key = "NEW"

    with ScriptedServer(refusing("NEW")) as server:
        client = kind(server.url, unsigned=False, credentials=Vault())
        client.invoke("f")
        client.close()
        assert keys_of(server) == ["OLD", "NEW"]


@pytest.mark.parametrize("kind", BOTH)
def test_a_program_is_run_again_when_the_service_says_so(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_at(Case({}, PROCESS), tmp_path)
    prepare(case, tmp_path, monkeypatch)
    with ScriptedServer(refusing("NEW")) as server:
        client = kind(server.url, unsigned=False)
        client.client._caller.resolved.provider()
        (tmp_path / "process").write_text(f"echo '{json.dumps({**json.loads(PROCESS_GIVES), 'AccessKeyId': 'NEW'})}'")
        client.invoke("f")
        client.close()
        assert keys_of(server) == ["AKIDP", "NEW"]


# --- botocore's own renewal ----------------------------------------------------------------------------------------


class Source:
    """A credentials object of botocore, as far as it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.key = "A"
        self.is_due = False

    def refresh_needed(self) -> bool:
        return self.is_due

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        if self.key == "":
            raise RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired.")
        return SimpleNamespace(access_key=self.key, secret_key="s", token="t")


def test_botocore_is_asked_now_and_then_and_keys_stay_the_same_object() -> None:
    now = [100.0]
    source = Source()
    finds = []
    provider = BotocoreCredentials(lambda: finds.append(1) or source, lambda: now[0])
    assert provider.blocks
    first = provider()
    assert (source.asked, provider.blocks, provider() is first) == (1, False, True)
    now[0] += 2
    assert not provider.blocks
    assert provider() is first
    assert source.asked == 2
    now[0] += 2
    source.is_due, source.key = True, "B"
    assert provider.blocks
    assert provider().access_key_id == "B"
    provider.renew()
    assert provider.blocks
    assert provider() == Credentials("B", "s", "t")
    assert len(finds) == 2
    now[0] += 2
    source.key = ""
    with pytest.raises(CredentialsError, match="RuntimeError: Credentials were refreshed, but") as caught:
        provider()
    assert caught.value.__context__ is None


def test_real_credentials_of_botocore_are_renewed_in_time() -> None:
    start = datetime.datetime(2030, 1, 1, tzinfo=tzutc())
    now = [0.0]

    def at(seconds: float) -> datetime.datetime:
        return start + datetime.timedelta(seconds=seconds)

    def refresh() -> dict[str, str]:
        return {"access_key": "B", "secret_key": "s", "token": "t", "expiry_time": at(7200).isoformat()}

    source = RefreshableCredentials("A", "s", "t", at(3600), refresh, "test", time_fetcher=lambda: at(now[0]))
    provider = BotocoreCredentials(lambda: source, lambda: now[0])
    assert provider().access_key_id == "A"
    now[0] = 2600
    assert not provider.blocks
    assert provider().access_key_id == "A"
    now[0] = 2800
    assert provider.blocks
    assert provider().access_key_id == "B"
    assert not provider.blocks


def test_many_threads_look_for_credentials_once() -> None:
    finds = []
    gate = threading.Barrier(8, timeout=10)

    def find() -> Source:
        finds.append(1)
        return Source()

    provider = BotocoreCredentials(find)

    def ask() -> None:
        gate.wait()
        provider()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert finds == [1]


# --- the clock -----------------------------------------------------------------------------------------------------


def clock_of_the_server(shift_seconds: int) -> Callable[[Peer], None]:
    """Checks signatures as the service does, by a clock that is wrong or right where ours is not."""
    verifier = SignatureVerifier({"A": Credentials("A", "s")}.get, region="us-east-1")

    def script(peer: Peer) -> None:
        while True:
            request = peer.request()
            now = time.time() + shift_seconds
            headers = {name.encode(): value.encode() for name, value in request.headers.items()}
            hashed = hashlib.sha256(request.body).hexdigest()
            try:
                verifier.verify(
                    request.method.encode(), request.target.encode(), headers, lambda hashed=hashed: hashed, now=now
                )
                status, error, body = "200 OK", "", b"{}"
            except SignatureError as refusal:
                status, error, body = "403 Forbidden", refusal.code, EXPIRED
            peer.send(
                answer(body, f"Date: {formatdate(now, usegmt=True)}", f"x-amzn-ErrorType: {error}", status=status)
            )

    return script


@pytest.mark.parametrize("shift_seconds", [3600, -7200, 0, 200])
@pytest.mark.parametrize("kind", BOTH)
def test_requests_are_signed_by_the_clock_of_the_service(kind: Any, shift_seconds: int) -> None:
    with ScriptedServer(clock_of_the_server(shift_seconds)) as server:
        client = kind(server.url, unsigned=False, credentials=Credentials("A", "s"))
        client.invoke("f")
        client.invoke("f")
        assert len(server.requests) == (2 if abs(shift_seconds) < 300 else 3)
        assert client.waits in ([], [0.0])
        client.close()


@pytest.mark.parametrize("date", ["Date: Thu, 01 Jan 1970 00:00:00 GMT", "Date: yesterday", "X: y"])
def test_a_clock_that_does_not_help_is_followed_once(date: str) -> None:
    def script(peer: Peer) -> None:
        while True:
            peer.answer(EXPIRED, date, "x-amzn-ErrorType: InvalidSignatureException", status="403 Forbidden")

    with ScriptedServer(script) as server:
        client = Blocking(server.url, unsigned=False, credentials=Credentials("A", "s"))
        with pytest.raises(InvalidSignatureException):
            client.invoke("f")
        assert len(server.requests) == (2 if "1970" in date else 1)
        client.close()
