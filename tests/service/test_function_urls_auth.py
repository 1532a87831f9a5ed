"""Who may call a function URL: signatures, policies, accounts, and what the function hears of its caller."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import OTHER, OWN, Key, arn, client_with, create, statement, write_keys
from tests.service.harness import RunningService, until
from tests.service.url_support import ECHO, PERMISSIONS, Url, make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet

CALLING_ROLE = f"arn:aws:iam::{OWN}:role/service-role/calling-role"
BOTH = ["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]
FULL = Key("full", (statement("lambda:*"),))
CALLER = Key("caller", (statement(BOTH, arn("f")),))
SESSION = Key("session", (statement(BOTH, arn("f")),), token="token-0123456789/+=")
HALF = Key("half", (statement("lambda:InvokeFunctionUrl"),))
OTHER_HALF = Key("otherhalf", (statement("lambda:InvokeFunction"),))
ONLY_BY_URL = Key(
    "onlybyurl",
    (
        {
            **statement("lambda:InvokeFunctionUrl"),
            "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}},
        },
        {**statement("lambda:InvokeFunction"), "Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}},
    ),
)
DENIED = Key("denied", (statement("lambda:*"), statement("lambda:InvokeFunctionUrl", "*", "Deny")))
NOBODY = Key("nobody")
EXPIRED = Key("expired", (statement("lambda:*"),), expires="2020-01-01T00:00:00Z")
NEIGHBOUR = Key("neighbour", (statement(BOTH),), account_id=OTHER)
STRANGER = Key("stranger", account_id=OTHER)
KEYS = (FULL, CALLER, SESSION, HALF, OTHER_HALF, ONLY_BY_URL, DENIED, NOBODY, EXPIRED, NEIGHBOUR, STRANGER)


def keys_of(key: Key) -> Any:
    return key.triple if key.token else key.triple[:2]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that checks signatures, with the function ``f``."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", KEYS, [{"role": CALLING_ROLE, "statements": [statement(BOTH)]}])
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    create(FULL.client(running.url), "f", ECHO)
    yield running
    running.close()


@pytest.fixture
def guarded_url(guarded: RunningService) -> Iterator[Callable[..., Url]]:
    """A URL of ``f`` with the authorization AWS_IAM, or another; gone after the test with all permissions."""
    client = FULL.client(guarded.url)

    def make(**members: Any) -> Url:
        return make_url(client, "f", public=False, **{"AuthType": "AWS_IAM", **members})

    yield make
    client.delete_function_url_config(FunctionName="f")
    for permission in ("url", "invoke", "third"):
        try:
            client.remove_permission(FunctionName="f", StatementId=permission)
        except client.exceptions.ResourceNotFoundException:
            pass
    client.close()


@pytest.mark.parametrize("key", [FULL, CALLER, SESSION, ONLY_BY_URL], ids=lambda key: key.user)
def test_who_is_allowed_gets_in(guarded_url: Callable[..., Url], key: Key) -> None:
    url = guarded_url()
    answer = url.ask_signed(keys_of(key), "POST", "/a%20b/c?x=1&a=%2F", b"body")
    assert answer.status == 200, answer.body
    context = answer.json["event"]["requestContext"]
    identity = context["authorizer"]["iam"]
    assert (context["accountId"], context["authentication"]) == (OWN, None)
    assert (identity["accessKey"], identity["accountId"], identity["userArn"]) == (key.access_key_id, OWN, key.arn)
    assert identity["userId"] == identity["callerId"]
    assert identity["userId"].startswith("AIDA")
    assert (identity["cognitoIdentity"], identity["principalOrgId"]) == (None, None)


@pytest.mark.parametrize(
    "key", [HALF, OTHER_HALF, DENIED, NOBODY, EXPIRED, NEIGHBOUR, STRANGER], ids=lambda key: key.user
)
def test_who_is_not_allowed_does_not(guarded_url: Callable[..., Url], key: Key) -> None:
    answer = guarded_url().ask_signed(keys_of(key))
    assert answer.status == 403
    assert answer.json["Message"].startswith("Forbidden. For troubleshooting")
    assert answer.all("x-amzn-errortype") == ["AccessDeniedException"]


@pytest.mark.parametrize(
    ("how", "changed"),
    [
        ({"service": "execute-api"}, {}),
        ({"region": "eu-west-1"}, {}),
        ({}, {"X-Amz-Date": "20200101T000000Z"}),
        ({}, {"Authorization": "AWS4-HMAC-SHA256 nonsense"}),
        ({}, {"Authorization": "Bearer token"}),
        ({}, {"X-Amz-Security-Token": "other"}),
    ],
    ids=str,
)
def test_a_signature_that_does_not_hold(
    guarded_url: Callable[..., Url], how: dict[str, str], changed: dict[str, str]
) -> None:
    assert guarded_url().ask_signed(keys_of(CALLER), **how, **changed).status == 403


def test_a_body_or_path_that_was_not_signed(guarded_url: Callable[..., Url]) -> None:
    url = guarded_url()
    stale = Key("caller").secret
    assert url.ask().status == 403
    assert url.ask_signed((CALLER.access_key_id, stale + "x")).status == 403
    assert url.ask_signed(("AKIDUNKNOWN", stale)).status == 403
    # The header of one request on another.
    headers = url.signature(keys_of(CALLER), "POST", "/p", b"body")
    assert url.ask("POST", "/p", b"body", headers).status == 200
    assert url.ask("POST", "/p", b"other", headers).status == 403
    assert url.ask("POST", "/q", b"body", headers).status == 403
    assert url.ask("PUT", "/p", b"body", headers).status == 403
    assert url.ask("POST", "/p?x", b"body", headers).status == 403
    assert url.ask("POST", f"/_url/{url.id}/p", b"body", headers, host=f"127.0.0.1:{url.port}").status == 403


def test_large_signed_bodies(guarded_url: Callable[..., Url]) -> None:
    url = guarded_url()
    body = b"x" * 600_000
    assert len(url.ask_signed(keys_of(CALLER), "POST", "/", body).json["event"]["body"]) > 600_000


def test_another_account_needs_both_policies(guarded: RunningService, guarded_url: Callable[..., Url]) -> None:
    url, client = guarded_url(), FULL.client(guarded.url)
    for permission in PERMISSIONS:
        given = dict(permission, Principal=OTHER)
        if "FunctionUrlAuthType" in given:
            given["FunctionUrlAuthType"] = "AWS_IAM"
        assert url.ask_signed(keys_of(NEIGHBOUR)).status == 403
        client.add_permission(FunctionName="f", **given)
    answer = url.ask_signed(keys_of(NEIGHBOUR))
    assert answer.status == 200
    assert answer.json["event"]["requestContext"]["authorizer"]["iam"]["accountId"] == OTHER
    # The owner of the function, not its caller.
    assert answer.json["event"]["requestContext"]["accountId"] == OWN
    assert url.ask_signed(keys_of(STRANGER)).status == 403
    # Through the URL only: the condition holds nowhere else.
    with pytest.raises(client.exceptions.ClientError):
        NEIGHBOUR.client(guarded.url).invoke(FunctionName=arn("f"))


def test_a_resource_policy_alone_lets_one_of_the_own_account_in(
    guarded: RunningService, guarded_url: Callable[..., Url]
) -> None:
    url, client = guarded_url(), FULL.client(guarded.url)
    for permission in PERMISSIONS:
        assert url.ask_signed(keys_of(NOBODY)).status == 403
        given = dict(permission, Principal=NOBODY.arn)
        if "FunctionUrlAuthType" in given:
            given["FunctionUrlAuthType"] = "AWS_IAM"
        client.add_permission(FunctionName="f", **given)
    assert url.ask_signed(keys_of(NOBODY)).status == 200


def test_a_public_url_of_a_guarded_service(guarded: RunningService, guarded_url: Callable[..., Url]) -> None:
    url, client = guarded_url(AuthType="NONE"), FULL.client(guarded.url)
    assert url.ask().status == 403
    for permission in PERMISSIONS:
        client.add_permission(FunctionName="f", Principal="*", **permission)
    answer = url.ask("POST", "/", b"x" * 300_000, {"Content-Type": "text/plain"})
    assert answer.status == 200
    assert "authorizer" not in answer.json["event"]["requestContext"]
    # Nobody may invoke without a signature for all that.
    with pytest.raises(client.exceptions.ClientError):
        NOBODY.client(guarded.url).invoke(FunctionName="f")


def test_a_function_calls_a_url_with_its_own_keys(guarded: RunningService, guarded_url: Callable[..., Url]) -> None:
    url, client = guarded_url(), FULL.client(guarded.url)
    source = """
import http.client, os
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

def handler(event, context):
    request = AWSRequest("GET", f"http://{event['host']}/", headers={"Host": event["host"]})
    keys = [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    SigV4Auth(Credentials(*keys), "lambda", os.environ["AWS_REGION"]).add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", int(event["host"].rpartition(":")[2]))
    connection.request("GET", "/", headers=dict(request.headers))
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]
"""
    create(client, "calling", source, role=CALLING_ROLE)
    answer = client.invoke(FunctionName="calling", Payload=json.dumps({"host": url.host}).encode())
    status, body = json.load(answer["Payload"])
    assert status == 200
    identity = json.loads(body)["event"]["requestContext"]["authorizer"]["iam"]
    assert identity["userArn"] == f"arn:aws:sts::{OWN}:assumed-role/calling-role/calling"
    assert identity["userId"].startswith("AROA")
    assert identity["userId"].endswith(":calling")


# --- without access control -------------------------------------------------------------------------------------------


def test_every_signature_is_taken_but_none_is_not(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO), public=False, AuthType="AWS_IAM")
    assert url.ask().status == 403
    answer = url.ask_signed(("any", "secret"))
    assert answer.status == 200
    identity = answer.json["event"]["requestContext"]["authorizer"]["iam"]
    assert identity == {
        "accessKey": "any",
        "accountId": OWN,
        "callerId": OWN,
        "cognitoIdentity": None,
        "principalOrgId": None,
        "userArn": f"arn:aws:iam::{OWN}:root",
        "userId": OWN,
    }


def test_urls_of_another_account(shared_service: RunningService) -> None:
    client = client_with(shared_service.url, OTHER, "any-secret")
    create(client, "theirs", ECHO)
    url = make_url(client, "theirs")
    event = url.ask().json["event"]
    assert event["requestContext"]["accountId"] == "anonymous"
    client.update_function_url_config(FunctionName="theirs", AuthType="AWS_IAM")
    until(lambda: url.ask().status == 403, "a signature is asked for")
    assert url.ask_signed((OTHER, "x")).json["event"]["requestContext"]["accountId"] == OTHER
    # Everybody is named by the policy for the one action, whose condition is another authorization now.
    assert url.ask_signed(("222233334444", "x")).status == 403
    client.delete_function(FunctionName="theirs")
    client.close()
