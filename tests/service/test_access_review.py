"""Attempts to be somebody else, or to be let in by an old decision: each one is refused."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.client_support import (
    OTHER,
    OWN,
    Key,
    arn,
    client_with,
    clients_of,
    create,
    not_allowed,
    refused,
    send_signed,
    signed_headers,
    statement,
    write_keys,
)
from tests.service.harness import RunningService, client_of, send, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEALTH = "/_venturekit/health"
CODE = "/_venturekit/code/0.zip"
FUNCTIONS = "/2015-03-31/functions"
LAYER = f"arn:aws:lambda:us-east-1:{OWN}:layer:layer"
TELLS = """
import os

def handler(event, context):
    return [os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
"""


class AccountKey(Key):
    """A key whose id is that of its account."""

    @property
    def access_key_id(self) -> str:
        return self.account_id


FULL = Key("full", (statement("*"),))
NOBODY = Key("nobody")
CAREFUL = Key("careful", (statement("lambda:*"), statement("lambda:GetLayerVersion", f"{LAYER}:1", "Deny")))
BY_ACCOUNT = AccountKey("byaccount", (statement("lambda:GetFunction"),), account_id=OTHER)
STRANGER = Key("stranger", account_id=OTHER)
KEYS = (FULL, NOBODY, CAREFUL, BY_ACCOUNT, STRANGER)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with these keys, one of the command line, and the function ``tells``, which tells its own."""
    folder = tmp_path_factory.mktemp("review")
    write_keys(folder / "keys.json", KEYS)
    running = RunningService(
        folder / "data",
        credentials=folder / "keys.json",
        access_key_id="AKIDPAIR",
        secret_access_key="secret-of-the-pair",
    )
    client = FULL.client(running.url)
    create(client, "tells", TELLS)
    yield running
    client.close()
    running.close()


@pytest.fixture
def client_for(guarded: RunningService) -> Iterator[Callable[[Key], Any]]:
    """``client_for(key)``: boto3 with that key."""
    with clients_of(guarded.url) as make:
        yield make


# --- paths that are open to everybody --------------------------------------------------------------------------------


def claims(access_key_id: str) -> list[tuple[str, dict[str, str]]]:
    """Queries and headers of unsigned requests that name an access key."""
    scope = "20261121/us-east-1/lambda/aws4_request"
    header = f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders=host, Signature=0"
    return [("", {"Authorization": header}), (f"?X-Amz-Credential={access_key_id}%2F{scope.replace('/', '%2F')}", {})]


@pytest.mark.parametrize("path", [HEALTH, CODE])
@pytest.mark.parametrize("form", [0, 1], ids=["header", "query"])
def test_nobody_becomes_root_by_naming_a_key_where_none_is_needed(
    guarded: RunningService, client_for: Callable[[Key], Any], path: str, form: int
) -> None:
    query, headers = claims(BY_ACCOUNT.access_key_id)[form]
    # Clears what is known of callers.
    client_for(FULL).tag_resource(Resource=arn("tells"), Tags={"path": path, "form": str(form)})
    assert send(guarded.url, "GET", path + query, headers=headers).status in (200, 403)
    assert refused(client_for(BY_ACCOUNT).list_functions) == not_allowed(BY_ACCOUNT, "ListFunctions", "*")


def test_no_function_becomes_root_by_naming_its_key_where_none_is_needed(
    guarded: RunningService, client_for: Callable[[Key], Any]
) -> None:
    keys = json.load(client_for(FULL).invoke(FunctionName="tells")["Payload"])
    client_for(FULL).tag_resource(Resource=arn("tells"), Tags={"a": "function"})
    query, headers = claims(keys[0])[0]
    assert send(guarded.url, "GET", HEALTH + query, headers=headers).status == 200
    function = client_with(guarded.url, *keys)
    assert refused(function.list_functions)[:2] == (403, "AccessDeniedException")
    assert refused(function.delete_function, FunctionName="tells")[:2] == (403, "AccessDeniedException")
    function.close()


# --- who a key is ----------------------------------------------------------------------------------------------------


def test_the_pair_of_the_command_line_is_itself_also_when_the_file_has_its_id(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    twin = Key("pair", account_id=OTHER)
    write_keys(tmp_path / "keys.json", (twin,))
    running = start_service(
        credentials=tmp_path / "keys.json", access_key_id=twin.access_key_id, secret_access_key="secret-of-the-pair"
    )
    client = client_with(running.url, twin.access_key_id, "secret-of-the-pair")
    assert client.list_functions()["Functions"] == []
    assert refused(twin.client(running.url).list_functions)[1] == "InvalidSignatureException"
    client.close()


ORDERS = {
    "usual": "AWS4-HMAC-SHA256 Credential={}, SignedHeaders=host, Signature=0",
    "two blanks": "AWS4-HMAC-SHA256  Credential={}, SignedHeaders=host, Signature=0",
    "no blanks": "AWS4-HMAC-SHA256 Credential={},SignedHeaders=host,Signature=0",
    "last": "AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0, Credential={}",
    "second": "AWS4-HMAC-SHA256 SignedHeaders=host,Credential={},Signature=0",
}


@pytest.fixture(scope="module")
def two_accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service without access control where two accounts have a function ``whose``, which tells its own ARN."""
    running = RunningService(tmp_path_factory.mktemp("accounts") / "data")
    source = "def handler(event, context):\n    return context.invoked_function_arn\n"
    for account_id in (OWN, OTHER):
        client = client_of(running.url, signed=(account_id, "any"))
        create(client, "whose", source)
        client.close()
    # Known from now on to whoever calls in the name of the service's own account.
    assert send(running.url, "POST", f"{FUNCTIONS}/whose/invocations", b"{}", {"X-Amz-Client": "a"}).json == arn(
        "whose"
    )
    yield running
    running.close()


@pytest.mark.parametrize("extra", [{}, {"X-Amz-Invocation-Type": "RequestResponse"}, {"amz-sdk-invocation-id": "1"}])
@pytest.mark.parametrize("order", ORDERS)
def test_a_key_names_its_account_however_the_header_is_written(
    two_accounts: RunningService, order: str, extra: dict[str, str]
) -> None:
    for account_id in (OTHER, OWN, OTHER):
        scope = f"{account_id}/20261121/us-east-1/lambda/aws4_request"
        headers = {"Authorization": ORDERS[order].format(scope), **extra}
        answer = send(two_accounts.url, "POST", f"{FUNCTIONS}/whose/invocations", b"{}", headers)
        assert answer.json == arn("whose", account_id)
        configuration = send(two_accounts.url, "GET", f"{FUNCTIONS}/whose/configuration", headers=headers).json
        assert configuration["FunctionArn"] == arn("whose", account_id)


@pytest.mark.parametrize("extra", [{"X-Amz-Client": "a"}, {"X-Amz-Invocation-Type": "RequestResponse"}])
@pytest.mark.parametrize("name", ["X-Amz-Credential", "x-amz-credential"])
def test_a_key_names_its_account_in_the_query(two_accounts: RunningService, name: str, extra: dict[str, str]) -> None:
    query = f"?{name}={OTHER}%2F20261121%2Fus-east-1%2Flambda%2Faws4_request"
    for _ in range(2):
        answer = send(two_accounts.url, "POST", f"{FUNCTIONS}/whose/invocations{query}", b"{}", extra)
        assert answer.json == arn("whose", OTHER)


# --- what a refusal is about, and what it tells ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def layer(guarded: RunningService) -> str:
    client = FULL.client(guarded.url)
    published = client.publish_layer_version(LayerName="layer", Content={"ZipFile": zip_of({"a.py": ""})})
    client.close()
    return str(published["LayerVersionArn"])


@pytest.mark.parametrize("number", ["1", "01", "0001"])
def test_a_deny_of_a_layer_version_is_not_evaded_by_zeros(
    client_for: Callable[[Key], Any], layer: str, number: str
) -> None:
    written = f"{layer.rpartition(':')[0]}:{number}"
    status, code, message = refused(client_for(CAREFUL).get_layer_version_by_arn, Arn=written)
    assert (status, code) == (403, "AccessDeniedException")
    assert f"on resource: {layer} with an explicit deny" in (message or "")


@pytest.mark.parametrize("partition", ["aws", "aws-cn", ""])
def test_a_deny_of_a_layer_version_is_not_evaded_by_another_partition(
    client_for: Callable[[Key], Any], layer: str, partition: str
) -> None:
    written = layer.replace("arn:aws:", f"arn:{partition}:")
    assert refused(client_for(CAREFUL).get_layer_version_by_arn, Arn=written)[:2] == (403, "AccessDeniedException")
    by_name = {"LayerName": written.rpartition(":")[0], "VersionNumber": 1}
    assert refused(client_for(CAREFUL).get_layer_version, **by_name)[:2] == (403, "AccessDeniedException")


def test_who_may_not_invoke_does_not_learn_which_accounts_there_are(client_for: Callable[[Key], Any]) -> None:
    for account_id in (OTHER, "999988887777"):
        target = arn("f", account_id)
        assert refused(client_for(NOBODY).invoke, FunctionName=target) == not_allowed(NOBODY, "InvokeFunction", target)
        assert refused(client_for(FULL).invoke, FunctionName=target) == (403, "AccessDeniedException", None)


# --- decisions that have become old ----------------------------------------------------------------------------------


def invoked(client: Any, name: str, payload: bytes = b"1") -> Any:
    return json.load(client.invoke(FunctionName=name, Payload=payload)["Payload"])


def test_a_function_that_is_made_again_has_no_old_friends(client_for: Callable[[Key], Any]) -> None:
    owner, friend = client_for(FULL), client_for(NOBODY)
    create(owner, "again")
    owner.add_permission(FunctionName="again", StatementId="s", Action="lambda:InvokeFunction", Principal=NOBODY.arn)
    for _ in range(2):
        assert invoked(friend, "again") == 1
    owner.delete_function(FunctionName="again")
    assert refused(friend.invoke, FunctionName="again") == not_allowed(NOBODY, "InvokeFunction", arn("again"))
    create(owner, "again")
    assert refused(friend.invoke, FunctionName="again") == not_allowed(NOBODY, "InvokeFunction", arn("again"))
    owner.delete_function(FunctionName="again")


def test_an_alias_that_is_made_again_has_no_old_friends(client_for: Callable[[Key], Any]) -> None:
    owner, friend = client_for(FULL), client_for(NOBODY)
    create(owner, "aliased")
    alias = {"FunctionName": "aliased", "Name": "live", "FunctionVersion": "$LATEST"}
    owner.create_alias(**alias)
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": NOBODY.arn}
    owner.add_permission(FunctionName="aliased", Qualifier="live", **permission)
    for _ in range(2):
        assert invoked(friend, "aliased:live") == 1
    owner.delete_alias(FunctionName="aliased", Name="live")
    owner.create_alias(**alias)
    assert refused(friend.invoke, FunctionName="aliased:live") == not_allowed(
        NOBODY, "InvokeFunction", arn("aliased:live")
    )
    owner.delete_function(FunctionName="aliased")


def test_a_function_has_the_rights_of_its_role_of_now(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    strong, weak = (f"arn:aws:iam::{OWN}:role/{name}" for name in ("strong", "weak"))
    write_keys(tmp_path / "keys.json", (FULL,), [{"role": strong, "statements": [statement("lambda:*")]}])
    running = start_service(credentials=tmp_path / "keys.json")
    owner = FULL.client(running.url)
    create(owner, "tells", TELLS, role=strong)
    function = client_with(running.url, *invoked(owner, "tells"))
    assert len(function.list_functions()["Functions"]) == 1
    for _ in range(2):
        assert invoked(function, "tells")
    owner.update_function_configuration(FunctionName="tells", Role=weak)
    for call, members in ((function.list_functions, {}), (function.invoke, {"FunctionName": "tells"})):
        assert refused(call, **members)[:2] == (403, "AccessDeniedException")
    for client in (owner, function):
        client.close()


# --- bodies before signatures ----------------------------------------------------------------------------------------


def answer_to_head(running: RunningService, target: str, headers: dict[str, str], size_bytes: int) -> bytes:
    """The beginning of the answer to a request whose body is announced and never sent."""
    lines = [f"POST {target} HTTP/1.1", f"Host: {running.url.partition('//')[2]}", f"Content-Length: {size_bytes}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name not in ("Host", "Content-Length")]
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "MissingAuthenticationTokenException"),
        ({"X-Amz-Client": "curl"}, "MissingAuthenticationTokenException"),
        ({"Authorization": "AWS4-HMAC-SHA256 nonsense"}, "IncompleteSignatureException"),
        (claims("AKIDUNKNOWN")[0][1] | {"X-Amz-Date": "20261121T000000Z"}, "UnrecognizedClientException"),
    ],
)
@pytest.mark.parametrize("target", [FUNCTIONS, f"{FUNCTIONS}/tells/invocations"])
def test_a_large_body_of_a_stranger_is_not_waited_for(
    guarded: RunningService, target: str, headers: dict[str, str], code: str
) -> None:
    answer = answer_to_head(guarded, target, headers, 1_000_000)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert f"x-amzn-ErrorType: {code}\r\n".encode() in answer


def test_a_large_body_of_a_key_that_is_new_in_the_file_is_taken(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    write_keys(file, (FULL,))
    running = start_service(credentials=file)
    create(FULL.client(running.url), "target")
    new = Key("new", (statement("*"),))
    write_keys(file, (new,))
    client = new.client(running.url)
    payload = b'"' + b"x" * 300_000 + b'"'

    def is_taken() -> bool:
        try:
            return bool(invoked(client, "target", payload))
        except ClientError as error:
            if error.response["Error"]["Code"] != "UnrecognizedClientException":
                raise
            return False

    until(is_taken, "the new key is known")
    client.close()


def test_a_presigned_large_body_is_taken_as_far_as_its_signature(guarded: RunningService) -> None:
    client = FULL.client(guarded.url)
    url = client.generate_presigned_url("invoke", Params={"FunctionName": "tells"}, ExpiresIn=60)
    client.close()
    answer = send(guarded.url, "POST", url.removeprefix(guarded.url), b'"' + b"x" * 300_000 + b'"')
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")


def test_a_signature_says_what_is_asked_and_nothing_else(guarded: RunningService) -> None:
    target = f"{FUNCTIONS}/tells/configuration"
    headers = signed_headers(guarded, FULL, "GET", target)
    assert send(guarded.url, "GET", target, headers=headers).status == 200
    for changed, more in (
        (target + "?Qualifier=1", {}),
        (target.replace("tells", "%74ells"), {}),
        (target, {"X-Amz-Log-Type": "Tail"}),
        (target, {"X-Amz-Security-Token": "x"}),
        (target + "?X-Amz-Signature=0", {}),
    ):
        assert send(guarded.url, "GET", changed, headers=headers | more).status == 403
    assert send_signed(guarded, NOBODY, "GET", target).status == 403


def with_roles(start_service: Callable[..., RunningService], folder: Path) -> tuple[RunningService, Any]:
    """A service whose functions may do everything in the role ``strong`` and nothing in others, and a client of it."""
    write_keys(folder / "keys.json", (FULL,), [{"role": STRONG, "statements": [statement("lambda:*")]}])
    running = start_service(credentials=folder / "keys.json")
    return running, FULL.client(running.url)


STRONG, WEAK = (f"arn:aws:iam::{OWN}:role/{name}" for name in ("strong", "weak"))


def test_the_key_of_a_deleted_function_is_worth_nothing(
    start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    running, owner = with_roles(start_service, tmp_path)
    create(owner, "f", TELLS, role=WEAK)
    stolen = client_with(running.url, *invoked(owner, "f"))
    owner.delete_function(FunctionName="f")
    create(owner, "f", TELLS, role=STRONG)
    current = client_with(running.url, *invoked(owner, "f"))
    assert refused(stolen.list_functions)[1] == "UnrecognizedClientException"
    assert current.list_functions()["Functions"]


def test_a_version_acts_with_its_own_role(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    running, owner = with_roles(start_service, tmp_path)
    create(owner, "f", TELLS, role=WEAK)
    owner.publish_version(FunctionName="f")
    owner.get_waiter("published_version_active").wait(FunctionName="f", Qualifier="1", WaiterConfig={"Delay": 0})
    owner.update_function_configuration(FunctionName="f", Role=STRONG)
    old, latest = (client_with(running.url, *invoked(owner, name)) for name in ("f:1", "f"))
    assert refused(old.list_functions)[1] == "AccessDeniedException"
    assert latest.list_functions()["Functions"]


def test_with_a_key_pair_alone_functions_may_invoke_and_nothing_else(
    start_service: Callable[..., RunningService],
) -> None:
    running = start_service(access_key_id="AKIDEXAMPLE", secret_access_key="secret-secret-secret")
    owner = client_of(running.url, signed=("AKIDEXAMPLE", "secret-secret-secret"))
    create(owner, "f", TELLS)
    function = client_with(running.url, *invoked(owner, "f"))
    assert function.invoke(FunctionName="f")["StatusCode"] == 200
    assert refused(function.list_functions)[1] == "AccessDeniedException"


def test_a_long_target_is_not_kept(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    create(client_of(running.url, signed=(OWN, "any")), "f", TELLS)
    for query in ("", "?x=" + "y" * 600):
        target = f"{FUNCTIONS}/f/invocations{query}"
        assert send(running.url, "POST", target, b"{}", {"X-Amz-Client": "a"}).status == 200
    assert [len(kept) < 100 for kept in running.service._access.own.targets] == [True]
