"""What lets somebody in beside a key's own statements: roles of functions, resource-based policies, a changed file."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import (
    OTHER,
    OWN,
    Key,
    arn,
    client_with,
    create,
    not_allowed,
    refused,
    statement,
    wait,
    write_keys,
)
from tests.service.harness import PYTHON, ROLE, RunningService, until, zip_of
from venturekit.service.api.model import service_model
from venturekit.service.api.registry import Level
from venturekit.service.served import compatibility_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FULL = Key("full", (statement("*"),))
NOBODY = Key("nobody")
NEIGHBOUR = Key("neighbour", (statement("lambda:InvokeFunction"),), account_id=OTHER)
STRANGER = Key("stranger", account_id=OTHER)
BUILDER = Key("builder", (statement("lambda:*"),), account_id=OTHER)
DENIED = Key("denied", (statement("lambda:*", "*", "Deny"),))
KEYS = (FULL, NOBODY, NEIGHBOUR, STRANGER, BUILDER, DENIED)

CALLER_ROLE = f"arn:aws:iam::{OWN}:role/callers/caller"
MANAGER_ROLE = f"arn:aws:iam::{OWN}:role/manager-of-all"
ROLES = [
    {"role": CALLER_ROLE, "statements": [statement("lambda:InvokeFunction", arn("target"))]},
    {"role": f"arn:aws:iam::{OWN}:role/manager-*", "statements": [statement("lambda:Get*")]},
    {"role": f"arn:aws:iam::{OWN}:role/manager-*", "statements": [statement("lambda:ListFunctions")]},
]
NOTHING_MORE = (403, "AccessDeniedException", None)

CALLS = """
import json

import boto3
from botocore.exceptions import ClientError

client = boto3.client("lambda")

def handler(event, context):
    try:
        answer = getattr(client, event["method"])(**event["members"])
    except ClientError as error:
        return error.response["Error"]
    payload = answer.get("Payload")
    return {"answer": payload.read().decode() if payload else answer["ResponseMetadata"]["HTTPStatusCode"]}
"""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with these keys and roles, the function ``target``, and functions with each role that call others."""
    folder = tmp_path_factory.mktemp("grants")
    write_keys(folder / "keys.json", KEYS, ROLES)
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    client = FULL.client(running.url)
    create(client, "target")
    create(client, "caller", CALLS, role=CALLER_ROLE)
    create(client, "manager", CALLS, role=MANAGER_ROLE)
    create(client, "outsider", CALLS, role=f"arn:aws:iam::{OWN}:role/unheard-of")
    client.publish_version(FunctionName="target")
    client.create_alias(FunctionName="target", Name="live", FunctionVersion="1")
    wait(client, "published_version_active", FunctionName="target", Qualifier="1")
    yield running
    client.close()
    running.close()


def invoked(client: Any, name: str, event: Any = None, **members: Any) -> Any:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **members)
    assert "FunctionError" not in answer
    return json.load(answer["Payload"])


# --- every operation -------------------------------------------------------------------------------------------------

LAYER = f"arn:aws:lambda:us-east-1:{OWN}:layer:layer"
CODE_SIGNING = f"arn:aws:lambda:us-east-1:{OWN}:code-signing-config:csc-0123456789abcdef0"
MAPPING = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"
# A valid value for every member that some operation requires.
VALUES: dict[str, Any] = {
    "Action": "lambda:InvokeFunction",
    "AllowedPublishers": {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/v"]},
    "Arn": f"{LAYER}:1",
    "AuthType": "NONE",
    "CapacityProviderName": "provider",
    "Code": {"ZipFile": b"x"},
    "CodeSigningConfigArn": CODE_SIGNING,
    "Content": {"ZipFile": b"x"},
    "FunctionName": "target",
    "FunctionVersion": "1",
    "Handler": "a.b",
    "InvokeArgs": b"{}",
    "LayerName": "layer",
    "Name": "live",
    "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
    "Principal": "*",
    "ProvisionedConcurrentExecutions": 1,
    "Qualifier": "live",
    "RecursiveLoop": "Allow",
    "ReservedConcurrentExecutions": 1,
    "Resource": arn("target"),
    "Role": ROLE,
    "Runtime": PYTHON,
    "StatementId": "statement",
    "TagKeys": ["a"],
    "Tags": {"a": "b"},
    "UpdateRuntimeOn": "Auto",
    "UUID": MAPPING,
    "VersionNumber": 1,
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
}
# What the operation is about, where it is not the function in FunctionName, its qualifier included.
RESOURCES = {
    "PublishLayerVersion": LAYER,
    "ListLayerVersions": "*",
    "CreateEventSourceMapping": "*",
    "UpdateEventSourceMapping": f"arn:aws:lambda:us-east-1:{OWN}:event-source-mapping:{MAPPING}",
}
ACTIONS = {
    "Invoke": "InvokeFunction",
    "InvokeWithResponseStream": "InvokeFunction",
    "GetLayerVersionByArn": "GetLayerVersion",
}


def served() -> list[str]:
    """The operations that the service serves, whole or partly."""
    registry = compatibility_registry()
    return [name for name in sorted(service_model().operations) if registry.status(name).level is not Level.NOT]


def resource_of(operation: str, members: dict[str, Any]) -> str:
    """The ARN that a refusal of these members names."""
    if operation in RESOURCES:
        return RESOURCES[operation]
    for member in ("Resource", "Arn", "CodeSigningConfigArn"):
        if member in members and "FunctionName" not in members:
            return str(members[member])
    if "LayerName" in members:
        return f"{LAYER}:{members['VersionNumber']}"
    if "CapacityProviderName" in members:
        return f"arn:aws:lambda:us-east-1:{OWN}:capacity-provider:{members['CapacityProviderName']}"
    if "UUID" in members:
        return f"arn:aws:lambda:us-east-1:{OWN}:event-source-mapping:{members['UUID']}"
    name = members.get("FunctionName")
    if name is None:
        return "*"
    return arn(f"{name}:{members['Qualifier']}" if "Qualifier" in members else name)


@pytest.mark.parametrize("operation", served())
def test_every_operation_is_refused_to_who_may_do_nothing(client_for: Callable[[Key], Any], operation: str) -> None:
    client = client_for(NOBODY)
    model = client.meta.service_model.operation_model(operation)
    required = model.input_shape.required_members if model.input_shape is not None else []
    members = {name: VALUES[name] for name in required}
    if operation == "CreateFunction":
        members |= {"Handler": "a.b", "Runtime": PYTHON}
    if operation.endswith("ScalingConfig"):
        members["Qualifier"] = "1"
    if operation == "AddLayerVersionPermission":
        members["Action"] = "lambda:GetLayerVersion"
    method = {client.meta.method_to_api_mapping[name]: name for name in client.meta.method_to_api_mapping}[operation]
    action = ACTIONS.get(operation, operation)
    assert refused(getattr(client, method), **members) == not_allowed(NOBODY, action, resource_of(operation, members))


# --- functions -------------------------------------------------------------------------------------------------------


def function_not_allowed(name: str, role: str, action: str, resource: str) -> dict[str, str]:
    return {
        "Code": "AccessDeniedException",
        "Message": f"User: arn:aws:sts::{OWN}:assumed-role/{role}/{name} is not authorized to perform: lambda:{action} "
        f"on resource: {resource} because no identity-based policy allows the lambda:{action} action",
    }


def test_a_function_may_do_what_its_role_may(client_for: Callable[[Key], Any]) -> None:
    client = client_for(FULL)
    call = {"method": "invoke", "members": {"FunctionName": "target", "Payload": "[1]"}}
    assert invoked(client, "caller", call) == {"answer": "[1]"}
    other = {"method": "invoke", "members": {"FunctionName": "target", "Qualifier": "live"}}
    assert invoked(client, "caller", other) == function_not_allowed(
        "caller", "caller", "InvokeFunction", arn("target:live")
    )
    listing = {"method": "list_functions", "members": {}}
    assert invoked(client, "caller", listing) == function_not_allowed("caller", "caller", "ListFunctions", "*")


def test_all_entries_that_a_role_matches_count(client_for: Callable[[Key], Any]) -> None:
    client = client_for(FULL)
    for method, members in (("list_functions", {}), ("get_function", {"FunctionName": "caller"})):
        assert invoked(client, "manager", {"method": method, "members": members}) == {"answer": 200}
    call = {"method": "delete_function", "members": {"FunctionName": "caller"}}
    assert invoked(client, "manager", call) == function_not_allowed(
        "manager", "manager-of-all", "DeleteFunction", arn("caller")
    )


def test_a_function_whose_role_is_not_in_the_file_may_do_nothing(client_for: Callable[[Key], Any]) -> None:
    client = client_for(FULL)
    for method, action in (("invoke", "InvokeFunction"), ("get_function", "GetFunction")):
        call = {"method": method, "members": {"FunctionName": "target"}}
        assert invoked(client, "outsider", call) == function_not_allowed(
            "outsider", "unheard-of", action, arn("target")
        )


# --- resource-based policies -----------------------------------------------------------------------------------------


@pytest.fixture
def permit(client_for: Callable[[Key], Any]) -> Iterator[Callable[..., None]]:
    """``permit(principal)``: let somebody invoke ``target``; taken back afterwards."""
    owner = client_for(FULL)
    added: list[str | None] = []

    def add(principal: str, qualifier: str | None = None, **members: Any) -> None:
        if qualifier is not None:
            members["Qualifier"] = qualifier
        given = {"FunctionName": "target", "StatementId": f"s{len(added)}", "Action": "lambda:InvokeFunction"}
        owner.add_permission(**given, Principal=principal, **members)
        added.append(qualifier)

    yield add
    for number, qualifier in enumerate(added):
        where = {} if qualifier is None else {"Qualifier": qualifier}
        owner.remove_permission(FunctionName="target", StatementId=f"s{number}", **where)


def test_a_policy_lets_in_a_user_without_statements(
    client_for: Callable[[Key], Any], permit: Callable[..., None]
) -> None:
    client = client_for(NOBODY)
    refusal = not_allowed(NOBODY, "InvokeFunction", arn("target"))
    assert refused(client.invoke, FunctionName="target") == refusal
    # Naming the whole account leaves it to the account's own policies.
    permit(OWN)
    assert refused(client.invoke, FunctionName="target") == refusal
    permit(NOBODY.arn)
    assert invoked(client, "target", [2]) == [2]
    assert client.invoke(FunctionName="target", InvocationType="DryRun")["StatusCode"] == 204
    for qualifier in ("1", "live"):
        denied = refused(client.invoke, FunctionName="target", Qualifier=qualifier)
        assert denied == not_allowed(NOBODY, "InvokeFunction", arn(f"target:{qualifier}"))
    assert refused(client.get_function, FunctionName="target") == not_allowed(NOBODY, "GetFunction", arn("target"))


def test_a_policy_of_an_alias_is_about_the_alias(client_for: Callable[[Key], Any], permit: Callable[..., None]) -> None:
    permit(NOBODY.arn, "live")
    client = client_for(NOBODY)
    assert invoked(client, "target", 3, Qualifier="live") == 3
    for members in ({}, {"Qualifier": "1"}):
        assert refused(client.invoke, FunctionName="target", **members)[:2] == (403, "AccessDeniedException")


def test_a_policy_does_not_help_against_an_explicit_deny(
    client_for: Callable[[Key], Any], permit: Callable[..., None]
) -> None:
    permit(DENIED.arn)
    status, code, message = refused(client_for(DENIED).invoke, FunctionName="target")
    assert (status, code) == (403, "AccessDeniedException")
    assert message is not None
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_another_account_needs_both_policies(client_for: Callable[[Key], Any], permit: Callable[..., None]) -> None:
    neighbour, stranger = client_for(NEIGHBOUR), client_for(STRANGER)
    target = arn("target")
    assert refused(neighbour.invoke, FunctionName=target) == NOTHING_MORE
    permit(OTHER)
    assert invoked(neighbour, target, "in") == "in"
    assert refused(stranger.invoke, FunctionName=target) == not_allowed(STRANGER, "InvokeFunction", target)
    assert refused(neighbour.invoke, FunctionName=f"{target}:live") == NOTHING_MORE


def test_a_policy_may_be_taken_back(client_for: Callable[[Key], Any]) -> None:
    owner, client = client_for(FULL), client_for(NOBODY)
    owner.add_permission(FunctionName="target", StatementId="s", Action="lambda:InvokeFunction", Principal=NOBODY.arn)
    for number in range(2):
        assert invoked(client, "target", number) == number
    owner.remove_permission(FunctionName="target", StatementId="s")
    assert refused(client.invoke, FunctionName="target") == not_allowed(NOBODY, "InvokeFunction", arn("target"))


def test_a_policy_lets_in_the_role_of_a_function(client_for: Callable[[Key], Any], permit: Callable[..., None]) -> None:
    permit(f"arn:aws:iam::{OWN}:role/unheard-of")
    call = {"method": "invoke", "members": {"FunctionName": "target", "Payload": "5"}}
    assert invoked(client_for(FULL), "outsider", call) == {"answer": "5"}


def test_a_layer_of_another_account_needs_both_policies(client_for: Callable[[Key], Any]) -> None:
    owner, builder, stranger = client_for(FULL), client_for(BUILDER), client_for(STRANGER)
    content = {"ZipFile": zip_of({"python/words.py": "X = 1\n"})}
    made = owner.publish_layer_version(LayerName="words", Content=content)
    layer = made["LayerVersionArn"]
    function = {"Runtime": PYTHON, "Handler": "a.b", "Role": ROLE, "Code": content, "Layers": [layer]}
    refused_by_layer = "because no resource-based policy allows the lambda:GetLayerVersion action"
    for call, members in (
        (builder.get_layer_version_by_arn, {"Arn": layer}),
        (builder.create_function, {"FunctionName": "layered", **function}),
    ):
        status, code, message = refused(call, **members)
        assert (status, code) == (403, "AccessDeniedException")
        assert message is not None
        assert message.endswith(refused_by_layer)
    owner.add_layer_version_permission(
        LayerName="words",
        VersionNumber=made["Version"],
        StatementId="neighbours",
        Action="lambda:GetLayerVersion",
        Principal=OTHER,
    )
    assert builder.get_layer_version_by_arn(Arn=layer)["LayerVersionArn"] == layer
    assert builder.create_function(FunctionName="layered", **function)["Layers"][0]["Arn"] == layer
    assert refused(stranger.get_layer_version_by_arn, Arn=layer) == not_allowed(STRANGER, "GetLayerVersion", layer)
    # Reading it is all that they may.
    own_layer = {"LayerName": layer.rpartition(":")[0], "VersionNumber": made["Version"]}
    assert refused(builder.delete_layer_version, **own_layer)[0] == 403
    builder.delete_function(FunctionName="layered")
    owner.delete_layer_version(LayerName="words", VersionNumber=made["Version"])


# --- a file that changes ---------------------------------------------------------------------------------------------


@pytest.fixture
def changing(tmp_path: Path) -> Iterator[tuple[RunningService, Path]]:
    """A service and its file, which has one key and says nothing about functions."""
    file = tmp_path / "keys.json"
    write_keys(file, (FULL,))
    running = RunningService(tmp_path / "data", credentials=file, access_key_id="AKIDPAIR", secret_access_key="of-pair")
    yield running, file
    running.close()


def test_a_changed_file_is_in_force_soon(changing: tuple[RunningService, Path]) -> None:
    running, file = changing
    full, nobody = FULL.client(running.url), NOBODY.client(running.url)
    create(full, "target")
    for number in range(2):
        assert invoked(full, "target", number) == number
    assert refused(nobody.list_functions)[1] == "UnrecognizedClientException"
    # A new key, another one that may do less.
    write_keys(file, (Key("full", (statement("lambda:Get*"),)), NOBODY))
    until(lambda: refused(nobody.list_functions)[1] == "AccessDeniedException", "the new key is known")
    assert refused(full.invoke, FunctionName="target") == not_allowed(FULL, "InvokeFunction", arn("target"))
    assert full.get_function(FunctionName="target")["Configuration"]["State"] == "Active"
    # No key at all: not even for what was allowed a moment ago.
    write_keys(file, ())
    until(lambda: refused(nobody.list_functions)[1] == "UnrecognizedClientException", "the key is gone")
    assert refused(full.get_function, FunctionName="target")[1] == "UnrecognizedClientException"
    for client in (full, nobody):
        client.close()


def test_a_broken_file_changes_nothing(changing: tuple[RunningService, Path], caplog: pytest.LogCaptureFixture) -> None:
    running, file = changing
    client = FULL.client(running.url)

    def warned(text: str) -> bool:
        assert client.list_functions()["Functions"] == []
        return any(text in record.getMessage() for record in caplog.records)

    file.write_text('{"keys": [')
    until(lambda: warned("line 1, column 11"), "the broken file is reported")
    os.chmod(file, 0o644)
    file.write_text('{"keys": []}')
    until(lambda: warned("chmod 600"), "the open file is reported")
    os.unlink(file)
    until(lambda: warned("No such file"), "the missing file is reported")
    client.close()


def test_the_pair_of_the_command_line_may_do_everything_beside_the_file(
    changing: tuple[RunningService, Path],
) -> None:
    running, file = changing
    client = client_with(running.url, "AKIDPAIR", "of-pair")
    create(client, "target")
    create(client, "calls", CALLS)
    assert invoked(client, "target", 1) == 1
    # A file that says nothing about functions lets them invoke those of their account.
    call = {"method": "invoke", "members": {"FunctionName": "target", "Payload": "2"}}
    assert invoked(client, "calls", call) == {"answer": "2"}
    listing = {"method": "list_functions", "members": {}}
    assert invoked(client, "calls", listing) == function_not_allowed("calls", "any", "ListFunctions", "*")
    # Now it says something: nothing.
    write_keys(file, (FULL,), [])
    until(lambda: invoked(client, "calls", call) != {"answer": "2"}, "the roles are in force")
    assert invoked(client, "calls", call) == function_not_allowed("calls", "any", "InvokeFunction", arn("target"))
    assert invoked(client, "target", 3) == 3
    client.close()


def test_the_key_of_a_deleted_function_is_worth_nothing(changing: tuple[RunningService, Path]) -> None:
    running, _ = changing
    client = FULL.client(running.url)
    create(client, "target")
    source = """
import os

def handler(event, context):
    return [os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
"""
    create(client, "tells", source)
    stolen = client_with(running.url, *invoked(client, "tells"))
    assert invoked(stolen, "target", 1) == 1
    client.delete_function(FunctionName="tells")
    assert refused(stolen.invoke, FunctionName="target") == (
        403,
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
    for made in (client, stolen):
        made.close()
