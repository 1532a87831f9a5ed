"""Where the keys come from, held against botocore's chain, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.both_clients import BOTH, Asynchronous, Blocking
from tests.unit.client.credentials_support import CONFIG, PROCESS, SHARED, always, case_at, keys_of
from tests.unit.client.resolution_support import KEYS, Case, of_botocore, ours, prepare
from tests.unit.client.scripted_server import ScriptedServer
from venturekit.client import Credentials, CredentialsError
from venturekit.client.config import ClientConfig
from venturekit.client.credentials import epoch_of
from venturekit.client.errors import ClientConfigError
from venturekit.client.providers import GivenCredentials, checked
from venturekit.client.resolution import resolve

if TYPE_CHECKING:
    from pathlib import Path

REGION = {"AWS_DEFAULT_REGION": "eu-west-1"}
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
