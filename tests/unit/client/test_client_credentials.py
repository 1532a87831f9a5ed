"""Where the keys come from, held against botocore's chain; when they are renewed; what is refused."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import RefreshableCredentials
from dateutil.tz import tzutc
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.both_clients import BOTH, Asynchronous, Blocking
from tests.unit.client.resolution_support import KEYS, Case, of_botocore, ours, prepare
from tests.unit.client.scripted_server import Peer, ScriptedServer
from venturekit.client import Credentials, CredentialsError, ExpiredTokenException, InvalidSignatureException
from venturekit.client.config import ClientConfig, resolve
from venturekit.client.credentials import epoch_of
from venturekit.client.errors import ClientConfigError
from venturekit.client.providers import BotocoreCredentials, GivenCredentials, checked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REGION = {"AWS_DEFAULT_REGION": "eu-west-1"}
SHARED = "[default]\naws_access_key_id = AKIDS\naws_secret_access_key = s-secret\n"
CONFIG = "[default]\naws_access_key_id = AKIDC\naws_secret_access_key = c-secret\naws_session_token = c-token\n"
PROCESS = "[default]\ncredential_process = sh {home}/process\n"
PROCESS_GIVES = '{"Version": 1, "AccessKeyId": "AKIDP", "SecretAccessKey": "p-secret", "SessionToken": "p-token"}'
OWN = {"endpoint_url": "http://127.0.0.1:9001"}

SAME = {
    "the environment first": Case({**KEYS, **REGION}, CONFIG, SHARED),
    "the file of credentials": Case(REGION, CONFIG, SHARED),
    "the file of configurations": Case(REGION, CONFIG),
    "without a token of the other file": Case(REGION, CONFIG, SHARED),
    "the older name of the token": Case(REGION, None, f"{SHARED}aws_security_token = a\naws_session_token = b\n"),
    "a program": Case(REGION, PROCESS),
    "keys of the file of credentials before a program": Case(REGION, PROCESS, SHARED),
    "a program before keys of the file of configurations": Case(REGION, PROCESS + CONFIG.partition("\n")[2]),
    "a secret in the environment without its key": Case({**REGION, "AWS_SECRET_ACCESS_KEY": "x"}, CONFIG),
    "an expiration to come": Case({**KEYS, **REGION, "AWS_CREDENTIAL_EXPIRATION": "2999-01-02T03:04:05Z"}),
    "a program of a named profile": Case(
        {**KEYS, **REGION}, PROCESS.replace("default", "profile p"), options={"profile": "p"}
    ),
}


def case_at(case: Case, home: Path) -> Case:
    (home / "process").write_text(f"echo '{PROCESS_GIVES}'\n")
    config = None if case.config is None else case.config.replace("{home}", str(home))
    return Case(case.env, config, case.shared, case.options)


@pytest.mark.parametrize("name", SAME)
def test_it_finds_the_keys_that_botocore_finds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_at(SAME[name], tmp_path)
    prepare(case, tmp_path, monkeypatch)
    assert ours(case).keys == of_botocore(case).keys


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (Case({"AWS_ACCESS_KEY_ID": "A", **REGION}), "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY"),
        (Case(REGION, None, "[default]\naws_access_key_id = A\n"), "'default' has aws_access_key_id without a secret"),
        (Case(REGION, "[default]\ncredential_process = false\n"), "botocore gives no credentials: CredentialRetrieval"),
        (Case(REGION, "[default]\nsso_account_id = 1\nsso_role_name = r\n" + CONFIG[10:]), "InvalidConfigError"),
        (Case(REGION, f"{CONFIG}role_arn = arn:aws:iam::1:role/r\n"), "PartialCredentialsError"),
        (Case({**REGION, "AWS_WEB_IDENTITY_TOKEN_FILE": "/none"}, CONFIG), "InvalidConfigError"),
        (Case(REGION), "no access key was found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile"),
        (Case({**REGION, "AWS_ACCESS_KEY_ID": "A\nB", "AWS_SECRET_ACCESS_KEY": "s"}), "the access key holds a line"),
        (Case({**KEYS, **REGION, "AWS_CREDENTIAL_EXPIRATION": "soon"}), "AWS_CREDENTIAL_EXPIRATION.* is 'soon'"),
    ],
)
def test_what_gives_no_keys_says_why(case: Case, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(case, tmp_path, monkeypatch)
    with pytest.raises(ClientConfigError, match=text) as caught:
        ours(case)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("case", "key_id"),
    [
        (Case(), None),
        (Case({"AWS_WEB_IDENTITY_TOKEN_FILE": "/none", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://x"}), None),
        (Case({}, CONFIG), "AKIDC"),
        (Case({}, PROCESS), "AKIDP"),
        (Case(KEYS, options={"unsigned": True}), None),
        (Case(KEYS, options={"credentials": Credentials("A", "s")}), "A"),
        (Case(KEYS, options={"credentials": lambda: Credentials("F", "s")}), "F"),
        (Case(KEYS, options={"credentials": lambda: None}), None),
    ],
)
def test_an_own_endpoint_is_signed_for_with_keys_only_that_were_meant(
    case: Case, key_id: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = case_at(Case(case.env, case.config, case.shared, {**OWN, **case.options}), tmp_path)
    prepare(case, tmp_path, monkeypatch)
    found = ours(case).keys
    assert (None if found is None else found[0]) == key_id


def test_a_role_is_assumed_in_the_region_of_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = (
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>"
        "<SecretAccessKey>r-secret</SecretAccessKey><SessionToken>r-token</SessionToken>"
        "<Expiration>2999-01-02T03:04:05Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
    config = f"{CONFIG}[profile r]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default\n"
    with ScriptedServer(lambda peer: peer.answer(answered.encode(), "Content-Type: text/xml")) as server:
        case = Case({"AWS_ENDPOINT_URL_STS": server.url}, config, None, {"profile": "r", "region": "eu-north-1"})
        prepare(case, tmp_path, monkeypatch)
        assert ours(case).keys == ("ASIAROLE", "r-secret", "r-token")
        assert "/eu-north-1/sts/" in server.requests[0].headers["authorization"]


WITHOUT_BOTOCORE = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("botocore", "boto3"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from venturekit.client import ClientConfigError, LambdaClient
try:
    client = LambdaClient()
except ClientConfigError as error:
    print(error)
else:
    print("keys:", client._caller.resolved.provider().access_key_id)
"""


@pytest.mark.parametrize(
    ("case", "texts"),
    [
        (Case({**KEYS, **REGION}), ["keys: AKIDENV"]),
        (Case(REGION, CONFIG, SHARED), ["keys: AKIDS"]),
        (Case(REGION), ["no access key was found", "set AWS_ACCESS_KEY_ID", "pip install botocore"]),
        (Case(REGION, PROCESS), ["the profile 'default' has credential_process", "pip install botocore"]),
        (Case({**REGION, "AWS_PROFILE": "r"}, "[profile r]\nrole_arn = a\n"), ["'r' has role_arn", "botocore"]),
    ],
)
def test_without_botocore_it_says_what_is_missing(
    case: Case, texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(case, tmp_path, monkeypatch)
    command = [sys.executable, "-c", WITHOUT_BOTOCORE]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    for text in texts:
        assert text in done.stdout


# --- what is looked at before it is used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "text"),
    [
        (Credentials("", "s"), "the access key is empty"),
        (Credentials("A", ""), "the secret access key is empty"),
        (Credentials("A\r\nX-Evil: 1", "s"), "the access key holds a line break"),
        (Credentials("A B", "s"), "the access key holds"),
        (Credentials("Ä", "s"), "the access key holds"),
        (Credentials("A", "hunter2\n"), "the secret access key holds a line break"),
        (Credentials("A", "hunter2\ud800"), "the secret access key holds"),
        (Credentials("A", "s", "hunter2\nX-Evil: 1"), "the session token holds a line break"),
        (Credentials("A", "s", b"hunter2"), "the session token is of type bytes"),  # type: ignore[arg-type]
        (Credentials("A", None), "the secret access key is of type NoneType"),  # type: ignore[arg-type]
        (Credentials("A", "s", None, "soon"), "expires_epoch_s of the credentials is of type str"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_sent_is_refused_and_not_shown(credentials: Credentials, text: str) -> None:
    for ask in (
        lambda: resolve(ClientConfig(**OWN, credentials=credentials)),  # type: ignore[arg-type]
        GivenCredentials(lambda: credentials),
    ):
        with pytest.raises(CredentialsError, match=text) as caught:
            ask()
        assert "hunter2" not in str(caught.value)


@given(st.text(min_size=1), st.text(min_size=1), st.none() | st.text())
def test_what_is_accepted_can_be_sent(key_id: str, secret: str, token: str | None) -> None:
    try:
        found = checked(Credentials(key_id, secret, token))
    except CredentialsError:
        return
    sent = f"{found.access_key_id}{found.session_token or ''}"
    assert sent.isascii()
    assert not set(sent) & set(" \r\n\t\0")
    assert found.secret_access_key.encode()


@pytest.mark.parametrize("text", ["2030-01-02T03:04:05Z", "2030-01-02T03:04:05+00:00", "2030-01-02T05:04:05+02:00"])
def test_expirations_are_read(text: str) -> None:
    assert epoch_of(text) == epoch_of("2030-01-02T03:04:05") == 1893553445
    assert epoch_of(None) is None


# --- functions that the program gives ------------------------------------------------------------------------------


def _tuple() -> Any:
    return ("AKID", "hunter2")


def _failing() -> Any:
    raise LookupError("the vault is closed")


def _own_error() -> Any:
    raise CredentialsError("no ticket")


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (_tuple, r"gives tuple: Credentials\(\.\.\.\) or None is wanted"),
        (lambda: "hunter2", "gives str"),
        (_failing, "the function of the credentials failed: LookupError: the vault is closed"),
        (_own_error, "^no ticket$"),
        (lambda needed: None, "failed: TypeError"),
    ],
)
@pytest.mark.parametrize("kind", BOTH)
def test_a_function_that_gives_none_is_told_so(kind: Any, function: Any, text: str) -> None:
    client = kind("http://127.0.0.1:9", unsigned=False, credentials=function)
    with pytest.raises(CredentialsError, match=text) as caught:
        client.invoke("f")
    assert "hunter2" not in str(caught.value)
    client.close()


def keys_of(server: ScriptedServer) -> list[str | None]:
    """The access keys of the requests that came."""
    signed = (request.headers.get("authorization") for request in server.requests)
    return [None if text is None else text.partition("Credential=")[2].partition("/")[0] for text in signed]


def always(peer: Peer) -> None:
    while True:
        peer.answer()


def test_a_coroutine_function_is_for_the_asynchronous_client() -> None:
    async def ask() -> Credentials:
        return Credentials("ASYNC", "s")

    with ScriptedServer(always) as server:
        client = Asynchronous(server.url, unsigned=False, credentials=ask)
        client.invoke("f")
        assert keys_of(server) == ["ASYNC"]
        client.close()
        blocking = Blocking(server.url, unsigned=False, credentials=ask)
        with pytest.raises(CredentialsError, match="a coroutine function: AsyncLambdaClient waits for such"):
            blocking.invoke("f")
        blocking.close()


def test_a_function_that_blocks_is_asked_in_a_thread() -> None:
    threads = []

    class Slow:
        blocks = True

        def __call__(self) -> Credentials:
            threads.append(threading.current_thread())
            return Credentials("SLOW", "s")

    with ScriptedServer(always) as server:
        client = Asynchronous(server.url, unsigned=False, credentials=Slow())
        client.invoke("f")
        client.close()
    assert keys_of(server) == ["SLOW"]
    assert threads != [threading.current_thread()]


def test_the_function_is_asked_for_each_request() -> None:
    numbers = iter(range(10))
    with ScriptedServer(always) as server:
        client = Blocking(server.url, unsigned=False, credentials=lambda: Credentials(f"K{next(numbers)}", "s"))
        for _ in range(3):
            client.invoke("f")
        client.close()
    assert keys_of(server) == ["K0", "K1", "K2"]


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
    """Takes what was signed within five minutes of its clock, which is wrong or right where ours is not."""

    def script(peer: Peer) -> None:
        while True:
            request = peer.request()
            now = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=shift_seconds)
            signed = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%S%z")
            date = now.strftime("Date: %a, %d %b %Y %H:%M:%S GMT")
            if abs((now - signed).total_seconds()) < 300:
                head, body = "HTTP/1.1 200 OK", b"{}"
            else:
                head, body = "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: InvalidSignatureException", EXPIRED
            peer.send(f"{head}\r\n{date}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

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
