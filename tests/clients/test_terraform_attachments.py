"""What Terraform's AWS provider calls and reads for what hangs on a function, replayed with boto3."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import sha256_of
from tests.clients.terraform import ARN, FunctionResource, code, not_found, unchanged
from tests.service.harness import PYTHON, zip_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# As the provider unmarshals a policy: every value of a condition is one text.
STATEMENT_TYPES = {"Sid": str, "Effect": str, "Action": str, "Resource": str}


@pytest.fixture
def function(client: Any) -> Iterator[FunctionResource]:
    """A function with version 1 and 2."""
    resource = FunctionResource(client, "f")
    resource.create(code(), Publish=True)
    resource.update(data=code("v2"), publish=True)
    yield resource
    resource.destroy()


def alias_state(client: Any, name: str) -> dict[str, Any]:
    found = client.get_alias(FunctionName="f", Name=name)
    # A routing configuration without weights would be a difference at the next plan.
    routing = found["RoutingConfig"]["AdditionalVersionWeights"] if "RoutingConfig" in found else None
    return {
        "arn": found["AliasArn"],
        "name": found["Name"],
        "description": found["Description"],
        "function_version": found["FunctionVersion"],
        "routing_config": routing,
    }


@pytest.mark.usefixtures("function")
def test_aws_lambda_alias(client: Any) -> None:
    """Description and routing configuration are always sent, empty if there are none."""
    wanted = {"Description": "", "FunctionVersion": "1", "RoutingConfig": {}}
    made = client.create_alias(FunctionName="f", Name="live", **wanted)
    state = alias_state(client, "live")
    assert state == {
        "arn": made["AliasArn"],
        "name": "live",
        "description": "",
        "function_version": "1",
        "routing_config": None,
    }
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    client.update_alias(FunctionName="f", Name="live", **{**wanted, "RoutingConfig": weights})
    unchanged(state, alias_state(client, "live"), "routing_config")
    assert alias_state(client, "live")["routing_config"] == {"2": 0.25}
    client.update_alias(FunctionName="f", Name="live", **wanted)
    unchanged(state, alias_state(client, "live"))
    client.update_alias(FunctionName="f", Name="live", **{**wanted, "FunctionVersion": "2"})
    assert alias_state(client, "live")["function_version"] == "2"
    client.delete_alias(FunctionName="f", Name="live")
    assert not_found(client.get_alias, FunctionName="f", Name="live")
    client.delete_alias(FunctionName="f", Name="live")


def statement_of(client: Any, statement_id: str, name: str, qualifier: str | None) -> dict[str, Any]:
    """The statement as the provider finds it in the policy."""
    where = {"FunctionName": name} | ({} if qualifier is None else {"Qualifier": qualifier})
    policy = json.loads(client.get_policy(**where)["Policy"])
    assert (policy["Version"], policy["Id"]) == ("2012-10-17", "default")
    (found,) = [statement for statement in policy["Statement"] if statement["Sid"] == statement_id]
    assert {key: type(found[key]) for key in STATEMENT_TYPES} == STATEMENT_TYPES
    for values in found.get("Condition", {}).values():
        assert all(isinstance(value, str) for value in values.values())
    return dict(found)


def permission_state(found: Mapping[str, Any]) -> dict[str, Any]:
    """A statement as the provider keeps it."""
    match = ARN.fullmatch(found["Resource"])
    assert match is not None
    principal, condition = found["Principal"], found.get("Condition", {})
    equals = condition.get("StringEquals", {})
    return {
        "function_name": match[3],
        "qualifier": match[4],
        "action": found["Action"],
        "principal": principal if isinstance(principal, str) else principal.get("AWS", principal.get("Service")),
        "source_arn": condition.get("ArnLike", {}).get("AWS:SourceArn"),
        "source_account": equals.get("AWS:SourceAccount"),
        "principal_org_id": equals.get("aws:PrincipalOrgID"),
        "event_source_token": equals.get("lambda:EventSourceToken"),
        "function_url_auth_type": equals.get("lambda:FunctionUrlAuthType"),
        "invoked_via_function_url": condition.get("Bool", {}).get("lambda:InvokedViaFunctionUrl"),
    }


BUCKET = "arn:aws:s3:::a-bucket"
RULE = "arn:aws:events:us-east-1:620000000000:rule/every-day"
PERMISSIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "s3": (
        {"Principal": "s3.amazonaws.com", "SourceArn": BUCKET, "SourceAccount": "620000000000"},
        {"principal": "s3.amazonaws.com", "source_arn": BUCKET, "source_account": "620000000000"},
    ),
    "events": (
        {"Principal": "events.amazonaws.com", "SourceArn": RULE},
        {"principal": "events.amazonaws.com", "source_arn": RULE},
    ),
    "role": (
        {"Principal": "arn:aws:iam::111122223333:role/caller"},
        {"principal": "arn:aws:iam::111122223333:role/caller"},
    ),
    "account": ({"Principal": "111122223333"}, {"principal": "arn:aws:iam::111122223333:root"}),
    "organization": ({"Principal": "*", "PrincipalOrgID": "o-a1b2c3d4e5"}, {"principal_org_id": "o-a1b2c3d4e5"}),
    "alexa": (
        {"Principal": "alexa-appkit.amazon.com", "EventSourceToken": "amzn1.ask.skill.1"},
        {"principal": "alexa-appkit.amazon.com", "event_source_token": "amzn1.ask.skill.1"},
    ),
    "url": (
        {"Principal": "*", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {"principal": "*", "action": "lambda:InvokeFunctionUrl", "function_url_auth_type": "NONE"},
    ),
    "through url": (
        {"Principal": "*", "InvokedViaFunctionUrl": True},
        {"principal": "*", "invoked_via_function_url": "true"},
    ),
}


@pytest.mark.parametrize("qualifier", [None, "1"])
@pytest.mark.parametrize("kind", PERMISSIONS)
def test_aws_lambda_permission(client: Any, function: FunctionResource, kind: str, qualifier: str | None) -> None:
    members, wanted = PERMISSIONS[kind]
    where: dict[str, Any] = {"FunctionName": "f"} | ({} if qualifier is None else {"Qualifier": qualifier})
    assert not_found(client.get_policy, **where)
    identity = {**where, "StatementId": "terraform-20261121"}
    client.add_permission(**identity, **{"Action": "lambda:InvokeFunction", **members})
    state = permission_state(statement_of(client, "terraform-20261121", "f", qualifier))
    assert {key: state[key] for key in wanted} == wanted
    assert (state["function_name"], state["qualifier"]) == ("f", qualifier)
    # Configured with the function's ARN it is the same.
    arn = function.read()["arn"]
    assert permission_state(statement_of(client, "terraform-20261121", arn, qualifier)) == state
    client.remove_permission(**identity)
    assert not_found(client.get_policy, **where)
    assert not_found(client.remove_permission, **identity)


def test_one_of_two_permissions_is_destroyed(client: Any, function: FunctionResource) -> None:
    for number in (1, 2):
        client.add_permission(
            FunctionName=function.name, StatementId=f"s{number}", Action="lambda:InvokeFunction", Principal="*"
        )
    client.remove_permission(FunctionName="f", StatementId="s1")
    assert statement_of(client, "s2", "f", None)["Sid"] == "s2"
    client.remove_permission(FunctionName="f", StatementId="s2")


def test_aws_lambda_layer_version(client: Any) -> None:
    """Description and licence are always sent. A change is a new version, and the old one is deleted."""
    data = zip_of({"python/words.py": "X = 1\n"})
    versions = []
    for members in ({}, {"CompatibleRuntimes": [PYTHON], "CompatibleArchitectures": ["x86_64"]}):
        made = client.publish_layer_version(
            LayerName="words", Content={"ZipFile": data}, Description="", LicenseInfo="", **members
        )
        versions.append(made["Version"])
        # The identifier is the ARN, in which name and version are found again.
        name, number = made["LayerVersionArn"].split(":")[6:]
        found = client.get_layer_version(LayerName=name, VersionNumber=int(number))
        assert found["LayerVersionArn"] == made["LayerVersionArn"]
        assert found["LayerArn"] == made["LayerVersionArn"].rpartition(":")[0]
        assert (found.get("Description", ""), found.get("LicenseInfo", "")) == ("", "")
        assert (found["Content"]["CodeSha256"], found["Content"]["CodeSize"]) == (sha256_of(data), len(data))
        assert found["Content"].get("SigningJobArn") is None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", found["CreatedDate"])
        for key in ("CompatibleRuntimes", "CompatibleArchitectures"):
            assert (found.get(key) or []) == members.get(key, [])
    for version in versions:
        client.delete_layer_version(LayerName="words", VersionNumber=version)
        assert not_found(client.get_layer_version, LayerName="words", VersionNumber=version)
        client.delete_layer_version(LayerName="words", VersionNumber=version)


def event_invoke_state(client: Any, where: Mapping[str, str]) -> dict[str, Any]:
    found = client.get_function_event_invoke_config(**where)
    destinations = found.get("DestinationConfig", {})
    return {
        "age": found.get("MaximumEventAgeInSeconds", 0),
        "attempts": found.get("MaximumRetryAttempts", 0),
        "on_failure": destinations.get("OnFailure", {}).get("Destination"),
        "on_success": destinations.get("OnSuccess", {}).get("Destination"),
    }


@pytest.mark.parametrize("qualifier", [None, "1", "$LATEST"])
@pytest.mark.usefixtures("function")
def test_aws_lambda_function_event_invoke_config(client: Any, qualifier: str | None) -> None:
    where = {"FunctionName": "f"} | ({} if qualifier is None else {"Qualifier": qualifier})
    assert not_found(client.get_function_event_invoke_config, **where)
    client.put_function_event_invoke_config(**where, MaximumRetryAttempts=2)
    assert event_invoke_state(client, where) == {"age": 0, "attempts": 2, "on_failure": None, "on_success": None}
    queue = "arn:aws:sqs:us-east-1:620000000000:failed"
    client.put_function_event_invoke_config(
        **where,
        MaximumRetryAttempts=0,
        MaximumEventAgeInSeconds=60,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    assert event_invoke_state(client, where) == {"age": 60, "attempts": 0, "on_failure": queue, "on_success": None}
    # An update is a put: what is not given is gone.
    client.put_function_event_invoke_config(**where, MaximumRetryAttempts=1)
    assert event_invoke_state(client, where) == {"age": 0, "attempts": 1, "on_failure": None, "on_success": None}
    client.delete_function_event_invoke_config(**where)
    for call in (client.get_function_event_invoke_config, client.delete_function_event_invoke_config):
        assert not_found(call, **where)


@pytest.mark.usefixtures("function")
def test_aws_lambda_runtime_management_config(client: Any) -> None:
    """Destroying it sets it back to Auto."""
    for qualifier in ("$LATEST", "1"):
        for mode in ("FunctionUpdate", "Auto"):
            put = client.put_runtime_management_config(FunctionName="f", Qualifier=qualifier, UpdateRuntimeOn=mode)
            found = client.get_runtime_management_config(FunctionName="f", Qualifier=qualifier)
            assert (put["UpdateRuntimeOn"], found["UpdateRuntimeOn"]) == (mode, mode)
            assert put["FunctionArn"] == found["FunctionArn"]
            assert found.get("RuntimeVersionArn") is None
    client.put_runtime_management_config(FunctionName="f", UpdateRuntimeOn="Auto")


@pytest.mark.usefixtures("function")
def test_aws_lambda_function_recursion_config(client: Any) -> None:
    """Destroying it sets it back to Terminate."""
    for mode in ("Allow", "Terminate"):
        assert client.put_function_recursion_config(FunctionName="f", RecursiveLoop=mode)["RecursiveLoop"] == mode
        assert client.get_function_recursion_config(FunctionName="f")["RecursiveLoop"] == mode


@pytest.mark.usefixtures("function")
def test_aws_lambda_function_url(client: Any) -> None:
    """A URL for everybody comes with a permission; the identifier is what the URL begins with."""
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    for where in ({"FunctionName": "f"}, {"FunctionName": "f", "Qualifier": "live"}):
        made = client.create_function_url_config(**where, AuthType="NONE", InvokeMode="BUFFERED")
        client.add_permission(
            **where,
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            StatementId="FunctionURLAllowPublicAccess",
            FunctionUrlAuthType="NONE",
        )
        found = client.get_function_url_config(**where)
        assert (found["AuthType"], found["InvokeMode"], "Cors" in found) == ("NONE", "BUFFERED", False)
        assert found["FunctionUrl"] == made["FunctionUrl"]
        assert re.fullmatch(r"https?://[a-z0-9]{32}\.lambda-url\..+/", found["FunctionUrl"])
        cors = {"AllowCredentials": True, "AllowOrigins": ["https://a.example"], "MaxAge": 60}
        client.update_function_url_config(**where, AuthType="AWS_IAM", Cors=cors, InvokeMode="RESPONSE_STREAM")
        found = client.get_function_url_config(**where)
        assert (found["AuthType"], found["Cors"], found["InvokeMode"]) == ("AWS_IAM", cors, "RESPONSE_STREAM")
        client.update_function_url_config(**where, Cors={})
        assert not client.get_function_url_config(**where).get("Cors")
        client.delete_function_url_config(**where)
        for call in (client.get_function_url_config, client.delete_function_url_config):
            assert not_found(call, **where)


# --- data sources ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("function")
def test_data_sources(client: Any) -> None:
    listed = client.list_functions()["Functions"]
    assert [item["FunctionName"] for item in listed] == ["f"]
    layer = client.publish_layer_version(
        LayerName="words", Content={"ZipFile": zip_of({"a": "1"})}, CompatibleRuntimes=[PYTHON]
    )
    # Without a version the newest one is meant, perhaps of those for a runtime.
    for members in ({}, {"CompatibleRuntime": PYTHON}):
        newest = client.list_layer_versions(LayerName="words", MaxItems=1, **members)["LayerVersions"][0]
        assert newest["LayerVersionArn"] == layer["LayerVersionArn"]
    assert client.list_layer_versions(LayerName="words", CompatibleRuntime="java21")["LayerVersions"] == []
    answer = client.invoke(FunctionName="f", InvocationType="RequestResponse", Payload=b"{}", Qualifier="$LATEST")
    assert (json.load(answer["Payload"]), answer.get("FunctionError")) == ("v2", None)
    client.delete_layer_version(LayerName="words", VersionNumber=layer["Version"])
