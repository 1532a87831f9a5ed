"""Several accounts in one service: an access key of 12 digits selects one, as unmodified clients send it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import OWN, arn, client_with, create, refused, wait
from tests.service.harness import RunningService, send, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FIRST = "111122223333"
SECOND = "444455556666"
ACCOUNTS = (FIRST, SECOND, OWN)
NOTHING_MORE = (403, "AccessDeniedException", None)

SHOWS_ITSELF = """
import os

def handler(event, context):
    print("runs in", context.invoked_function_arn)
    shown = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return {"arn": context.invoked_function_arn, "environ": shown}
"""
CALLS = """
import json

import boto3
from botocore.exceptions import ClientError

# No argument: everything comes from the environment.
client = boto3.client("lambda")

def handler(event, context):
    try:
        answer = client.invoke(FunctionName=event["target"])
        names = [item["FunctionName"] for item in client.list_functions()["Functions"]]
        return {"arn": json.load(answer["Payload"])["arn"], "names": names}
    except ClientError as error:
        return {"code": error.response["Error"]["Code"], "message": error.response["Error"]["Message"]}
"""

BUSY = """
import pathlib
import time

def handler(event, context):
    pathlib.Path(event["started"]).touch()
    while not pathlib.Path(event["end"]).exists():
        time.sleep(0.002)
    return "ended"
"""


def of_account(running: RunningService, account_id: str) -> Any:
    return client_with(running.url, account_id, "any-secret")


def names(client: Any) -> list[str]:
    return [item["FunctionName"] for item in client.list_functions()["Functions"]]


def invoked(client: Any, name: str, event: Any = None) -> Any:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event))
    assert "FunctionError" not in answer
    return json.load(answer["Payload"])


def log_of(running: RunningService, account_id: str, name: str) -> list[str]:
    """The log of a function as an account sees it."""
    credential = f"AWS4-HMAC-SHA256 Credential={account_id}/20300101/us-east-1/lambda/aws4_request"
    answer = send(running.url, "GET", f"/_venturekit/logs/{name}", headers={"Authorization": credential})
    return [event["message"].strip() for event in answer.json.get("events", ())]


@pytest.fixture
def clients(service: RunningService) -> Iterator[dict[str, Any]]:
    """A client per account, with a function ``same`` in each; all of it gone afterwards."""
    made = {account_id: of_account(service, account_id) for account_id in ACCOUNTS}
    for client in made.values():
        create(client, "same", SHOWS_ITSELF)
    yield made
    for client in made.values():
        for name in names(client):
            client.delete_function(FunctionName=name)
        client.close()


def test_functions_of_the_same_name_do_not_see_one_another(clients: dict[str, Any]) -> None:
    create(clients[FIRST], "only-in-first", SHOWS_ITSELF)
    assert {account_id: names(client) for account_id, client in clients.items()} == {
        FIRST: ["only-in-first", "same"],
        SECOND: ["same"],
        OWN: ["same"],
    }
    for account_id, client in clients.items():
        # Twice: the second one goes the short way.
        for _ in range(2):
            assert invoked(client, "same")["arn"] == arn("same", account_id)
        found = client.get_function(FunctionName="same")["Configuration"]
        assert found["FunctionArn"] == arn("same", account_id)
        assert client.get_function_configuration(FunctionName=arn("same", account_id))["State"] == "Active"
    assert refused(clients[SECOND].get_function, FunctionName="only-in-first") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('only-in-first', SECOND)}",
    )


def test_versions_and_aliases_are_counted_per_account(clients: dict[str, Any]) -> None:
    first, second = clients[FIRST], clients[SECOND]
    assert first.publish_version(FunctionName="same")["FunctionArn"] == arn("same:1", FIRST)
    alias = first.create_alias(FunctionName="same", Name="live", FunctionVersion="1")
    assert alias["AliasArn"] == arn("same:live", FIRST)
    assert refused(second.get_alias, FunctionName="same", Name="live")[:2] == (404, "ResourceNotFoundException")
    assert refused(second.invoke, FunctionName="same:1") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('same:1', SECOND)}",
    )
    assert second.publish_version(FunctionName="same")["Version"] == "1"
    assert invoked(first, "same:live")["arn"] == arn("same:live", FIRST)


def test_a_deleted_function_takes_nothing_away_from_the_other_account(clients: dict[str, Any]) -> None:
    """They have the same code, which is kept once; it has not been used yet in the second account."""
    first, second = clients[FIRST], clients[SECOND]
    assert invoked(first, "same")["arn"] == arn("same", FIRST)
    for account_id in (FIRST, OWN):
        clients[account_id].delete_function(FunctionName="same")
        assert refused(clients[account_id].invoke, FunctionName="same") == (
            404,
            "ResourceNotFoundException",
            f"Function not found: {arn('same:$LATEST', account_id)}",
        )
    assert names(first) == []
    assert invoked(second, "same")["arn"] == arn("same", SECOND)


def test_logs_are_kept_per_account(service: RunningService, clients: dict[str, Any]) -> None:
    for account_id, client in clients.items():
        invoked(client, "same")
        line = f"runs in {arn('same', account_id)}"
        until(lambda a=account_id, wanted=line: wanted in log_of(service, a, "same"), "the log has the line")
    for account_id in ACCOUNTS:
        found = {line for line in log_of(service, account_id, "same") if line.startswith("runs in")}
        # Logs outlive their functions, so there are lines of other tests, too.
        assert {line.split(":")[4] for line in found} == {account_id}
    clients[FIRST].delete_function(FunctionName="same")
    assert log_of(service, SECOND, "same")
    # An ARN names its account, and another one's log is not shown under it.
    assert log_of(service, SECOND, arn("same", SECOND)) == log_of(service, SECOND, "same")
    assert log_of(service, SECOND, arn("same", FIRST)) == []


def test_what_a_function_sees_of_its_account(clients: dict[str, Any]) -> None:
    seen = {account_id: invoked(client, "same")["environ"] for account_id, client in clients.items()}
    for environ in seen.values():
        assert environ["AWS_LAMBDA_FUNCTION_NAME"] == "same"
        assert (environ["AWS_REGION"], environ["AWS_DEFAULT_REGION"]) == ("us-east-1", "us-east-1")
        assert environ["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/same"
        assert environ["AWS_ACCESS_KEY_ID"].startswith("ASIA")
        assert len(environ["AWS_ACCESS_KEY_ID"]) == 20
    for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert len({environ[secret] for environ in seen.values()}) == len(ACCOUNTS)


@pytest.mark.parametrize("account_id", ACCOUNTS)
def test_a_function_that_calls_boto3_is_in_its_own_account(clients: dict[str, Any], account_id: str) -> None:
    client = clients[account_id]
    create(client, "calls", CALLS)
    assert invoked(client, "calls", {"target": "same"}) == {"arn": arn("same", account_id), "names": ["calls", "same"]}
    foreign = next(other for other in ACCOUNTS if other != account_id)
    refusal = invoked(client, "calls", {"target": arn("same", foreign)})
    assert refusal == {"code": "AccessDeniedException", "message": None}


@pytest.mark.parametrize(
    "access_key_id", ["AKIDANY", "00000000000", "0000000000000", "00000000000a", "ASIAXUNKNOWNUNKNOWN0", OWN]
)
def test_other_access_keys_are_of_the_services_own_account(
    service: RunningService, clients: dict[str, Any], access_key_id: str
) -> None:
    client = of_account(service, access_key_id)
    assert invoked(client, "same")["arn"] == arn("same", OWN)
    assert client.get_function(FunctionName="same")["Configuration"]["FunctionArn"] == arn("same", OWN)
    client.close()


def visit_many_accounts(running: RunningService) -> None:
    """Ask for the functions of more accounts than are kept."""
    credential = "AWS4-HMAC-SHA256 Credential={:012d}/20300101/us-east-1/lambda/aws4_request"
    for number in range(700_000, 700_300):
        headers = {"Authorization": credential.format(number)}
        assert send(running.url, "GET", "/2015-03-31/functions", headers=headers).json == {"Functions": []}


def test_accounts_without_functions_are_no_burden(service: RunningService, clients: dict[str, Any]) -> None:
    visit_many_accounts(service)
    for account_id, client in clients.items():
        assert invoked(client, "same")["arn"] == arn("same", account_id)


def test_an_account_that_was_let_go_is_there_when_it_gets_its_first_function(service: RunningService) -> None:
    client = of_account(service, "777788889999")
    assert names(client) == []
    visit_many_accounts(service)
    create(client, "late", SHOWS_ITSELF)
    visit_many_accounts(service)
    assert invoked(client, "late")["arn"] == arn("late", "777788889999")
    assert client.publish_version(FunctionName="late")["Version"] == "1"
    client.delete_function(FunctionName="late")
    assert names(client) == []
    # Numbers of versions are not given again, not even then.
    visit_many_accounts(service)
    create(client, "late", SHOWS_ITSELF)
    assert client.publish_version(FunctionName="late")["Version"] == "2"
    client.delete_function(FunctionName="late")
    client.close()


# --- between accounts ------------------------------------------------------------------------------------------------

OPERATIONS: dict[str, dict[str, Any]] = {
    "get_function": {},
    "get_function_configuration": {},
    "update_function_code": {"ZipFile": zip_of({"app.py": "handler = None"})},
    "publish_version": {},
    "create_alias": {"Name": "mine", "FunctionVersion": "$LATEST"},
    "delete_function": {},
}


@pytest.mark.parametrize("method", OPERATIONS)
def test_management_of_another_account_is_refused(clients: dict[str, Any], method: str) -> None:
    revision = clients[SECOND].get_function_configuration(FunctionName="same")["RevisionId"]
    call = getattr(clients[FIRST], method)
    assert refused(call, FunctionName=arn("same", SECOND), **OPERATIONS[method]) == NOTHING_MORE
    assert clients[SECOND].get_function_configuration(FunctionName="same")["RevisionId"] == revision


@pytest.mark.parametrize("members", [{}, {"InvocationType": "DryRun"}, {"InvocationType": "Event"}, {"Qualifier": "1"}])
def test_invoking_another_account_is_refused_whether_there_is_a_function_or_not(
    service: RunningService, clients: dict[str, Any], members: dict[str, str]
) -> None:
    for name in ("same", "missing"):
        for form in (arn(name, SECOND), f"{SECOND}:function:{name}", f"{SECOND}:{name}"):
            assert refused(clients[FIRST].invoke, FunctionName=form, **members) == NOTHING_MORE
    nobodys = arn("same", "987698769876")
    assert refused(clients[FIRST].invoke, FunctionName=nobodys, **members) == NOTHING_MORE


def test_the_refusal_as_it_is_on_the_wire(service: RunningService, clients: dict[str, Any]) -> None:
    credential = f"AWS4-HMAC-SHA256 Credential={FIRST}/20300101/us-east-1/lambda/aws4_request"
    target = f"/2015-03-31/functions/{arn('same', SECOND)}/invocations"
    answer = send(service.url, "POST", target, b"{}", {"Authorization": credential})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert answer.body == b'{"Message":null}'


@pytest.mark.parametrize("principal", [FIRST, f"arn:aws:iam::{FIRST}:root", "*"])
def test_a_permission_lets_another_account_in_until_it_is_removed(clients: dict[str, Any], principal: str) -> None:
    owner, caller = clients[SECOND], clients[FIRST]
    target = arn("same", SECOND)
    assert refused(caller.invoke, FunctionName=target) == NOTHING_MORE
    owner.add_permission(
        FunctionName="same", StatementId="neighbour", Action="lambda:InvokeFunction", Principal=principal
    )
    for _ in range(2):
        assert invoked(caller, target)["arn"] == target
    assert caller.invoke(FunctionName=target, InvocationType="DryRun")["StatusCode"] == 204
    # It is about invoking this function, unqualified, and nothing else.
    assert refused(caller.get_function, FunctionName=target) == NOTHING_MORE
    assert refused(caller.invoke, FunctionName=f"{target}:$LATEST") == NOTHING_MORE
    if principal != "*":
        assert refused(clients[OWN].invoke, FunctionName=target) == NOTHING_MORE
    owner.remove_permission(FunctionName="same", StatementId="neighbour")
    assert refused(caller.invoke, FunctionName=target) == NOTHING_MORE


def test_a_permission_for_an_alias_is_about_the_alias(clients: dict[str, Any]) -> None:
    owner, caller = clients[SECOND], clients[FIRST]
    version = owner.publish_version(FunctionName="same")["Version"]
    wait(owner, "published_version_active", FunctionName="same", Qualifier=version)
    owner.create_alias(FunctionName="same", Name="live", FunctionVersion=version)
    owner.add_permission(
        FunctionName="same", Qualifier="live", StatementId="s", Action="lambda:InvokeFunction", Principal=FIRST
    )
    assert invoked(caller, arn("same:live", SECOND))["arn"] == arn("same:live", SECOND)
    for name in ("same", f"same:{version}", "same:other"):
        assert refused(caller.invoke, FunctionName=arn(name, SECOND)) == NOTHING_MORE
    owner.delete_alias(FunctionName="same", Name="live")
    assert refused(caller.invoke, FunctionName=arn("same:live", SECOND)) == NOTHING_MORE


def test_a_function_calls_into_another_account_when_it_may(clients: dict[str, Any]) -> None:
    create(clients[FIRST], "calls", CALLS)
    target = arn("same", SECOND)
    assert invoked(clients[FIRST], "calls", {"target": target})["code"] == "AccessDeniedException"
    clients[SECOND].add_permission(
        FunctionName="same", StatementId="s", Action="lambda:InvokeFunction", Principal=FIRST
    )
    assert invoked(clients[FIRST], "calls", {"target": target}) == {"arn": target, "names": ["calls", "same"]}


def test_reserved_concurrency_is_of_one_account(clients: dict[str, Any]) -> None:
    clients[FIRST].put_function_concurrency(FunctionName="same", ReservedConcurrentExecutions=0)
    status, code, _ = refused(clients[FIRST].invoke, FunctionName="same")
    assert (status, code) == (429, "TooManyRequestsException")
    assert invoked(clients[SECOND], "same")["arn"] == arn("same", SECOND)
    limits = {name: clients[name].get_account_settings()["AccountLimit"] for name in ACCOUNTS}
    assert {limit["ConcurrentExecutions"] for limit in limits.values()} == {1000}
    clients[FIRST].put_function_concurrency(FunctionName="same", ReservedConcurrentExecutions=300)
    limits = {name: clients[name].get_account_settings()["AccountLimit"] for name in ACCOUNTS}
    assert {name: limit["UnreservedConcurrentExecutions"] for name, limit in limits.items()} == {
        FIRST: 700,
        SECOND: 1000,
        OWN: 1000,
    }


def test_layers_are_of_one_account(clients: dict[str, Any]) -> None:
    owner, other = clients[FIRST], clients[SECOND]
    content = {"ZipFile": zip_of({"python/in_a_layer.py": "X = 1\n"})}
    made = owner.publish_layer_version(LayerName="shared", Content=content)
    assert made["LayerVersionArn"] == f"arn:aws:lambda:us-east-1:{FIRST}:layer:shared:{made['Version']}"
    assert [layer["LayerName"] for layer in owner.list_layers()["Layers"]] == ["shared"]
    assert other.list_layers()["Layers"] == []
    assert refused(other.get_layer_version, LayerName="shared", VersionNumber=made["Version"])[0] == 404
    owner.delete_layer_version(LayerName="shared", VersionNumber=made["Version"])


# --- a service of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., RunningService]]:
    """Start a service, always on the same data."""
    data_dir = tmp_path_factory.mktemp("accounts") / "data"
    started: list[RunningService] = []

    def begin(**settings: Any) -> RunningService:
        for running in started:
            running.close()
        started[:] = [RunningService(data_dir, **settings)]
        return started[0]

    yield begin
    for running in started:
        running.close()


def test_all_accounts_survive_a_restart(start: Callable[..., RunningService]) -> None:
    running = start()
    for number, account_id in enumerate(ACCOUNTS, 1):
        client = of_account(running, account_id)
        create(client, "same", SHOWS_ITSELF)
        create(client, f"only-{account_id}", SHOWS_ITSELF)
        for version in range(number):
            changed = zip_of({"app.py": f"{SHOWS_ITSELF}# {version}\n"})
            client.update_function_code(FunctionName="same", ZipFile=changed)
            wait(client, "function_updated_v2", FunctionName="same")
            version_number = client.publish_version(FunctionName="same")["Version"]
            wait(client, "published_version_active", FunctionName="same", Qualifier=version_number)
        client.close()
    running = start()
    for number, account_id in enumerate(ACCOUNTS, 1):
        client = of_account(running, account_id)
        assert names(client) == [f"only-{account_id}", "same"]
        assert invoked(client, "same")["arn"] == arn("same", account_id)
        assert invoked(client, f"same:{number}")["arn"] == arn(f"same:{number}", account_id)
        assert refused(client.invoke, FunctionName=f"same:{number + 1}")[0] == 404
        client.delete_function(FunctionName="same")
        client.close()
    running = start()
    for number, account_id in enumerate(ACCOUNTS, 1):
        client = of_account(running, account_id)
        assert names(client) == [f"only-{account_id}"]
        # Numbers are not given again, in no account.
        create(client, "same", SHOWS_ITSELF)
        assert client.publish_version(FunctionName="same")["Version"] == str(number + 1)
        client.close()


def test_the_limit_of_concurrency_is_one_for_each_account(start: Callable[..., RunningService], tmp_path: Path) -> None:
    running = start(concurrency=1)
    busy, free = of_account(running, FIRST), of_account(running, SECOND)
    for client in (busy, free):
        create(client, "same", SHOWS_ITSELF)
    create(busy, "busy", BUSY)
    event = {"started": str(tmp_path / "started"), "end": str(tmp_path / "end")}
    with ThreadPoolExecutor(1) as pool:
        running_invocation = pool.submit(invoked, busy, "busy", event)
        try:
            until((tmp_path / "started").exists, "the function runs")
            with pytest.raises(busy.exceptions.TooManyRequestsException) as caught:
                busy.invoke(FunctionName="same")
            assert caught.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
            assert invoked(free, "same")["arn"] == arn("same", SECOND)
        finally:
            (tmp_path / "end").touch()
        assert running_invocation.result(30) == "ended"
    assert invoked(busy, "same")["arn"] == arn("same", FIRST)
    for client in (busy, free):
        client.close()


def test_the_services_own_account_is_a_setting(start: Callable[..., RunningService]) -> None:
    running = start(account_id=SECOND)
    create(running.client, "same", SHOWS_ITSELF)
    for access_key_id, account_id in ((SECOND, SECOND), ("AKIDANY", SECOND)):
        client = of_account(running, access_key_id)
        assert invoked(client, "same")["arn"] == arn("same", account_id)
        client.close()
    first = of_account(running, FIRST)
    assert names(first) == []
    create(first, "same", SHOWS_ITSELF)
    first.close()
    # What was another account before is the service's own now, and the other way round.
    running = start(account_id=FIRST)
    assert invoked(running.client, "same")["arn"] == arn("same", FIRST)
    second = of_account(running, SECOND)
    assert invoked(second, "same")["arn"] == arn("same", SECOND)
    second.close()
