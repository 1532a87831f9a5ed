"""What Terraform's AWS provider calls and reads for its Lambda resources, replayed with boto3.

Every resource is created, read until nothing differs from what was asked for, changed, and destroyed: by the calls,
with the members, and under the assumptions about the answers that the provider has (its source, version 6).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.access_keys import client_with, refused
from tests.service.harness import PYTHON, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.service.harness import RunningService

ROLE = "arn:aws:iam::620000000000:role/service-role/lambda"
_ACCOUNTS = itertools.count(620_000_000_000)
ARN = re.compile(r"arn:[^:]+:lambda:([^:]+):(\d{12}):function:([^:]+)(?::(.+))?")
# As the provider unmarshals a policy: every value of a condition is one text.
STATEMENT_TYPES = {"Sid": str, "Effect": str, "Action": str, "Resource": str}


def code(text: str = "v1") -> bytes:
    return zip_of({"app.py": f"def handler(event, context):\n    return {text!r}\n"})


def sha256_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@pytest.fixture
def client(service: RunningService) -> Iterator[Any]:
    """The client of an account of its own."""
    made = client_with(service.url, str(next(_ACCOUNTS)), "any-secret")
    yield made
    for function in made.list_functions()["Functions"]:
        made.delete_function(FunctionName=function["FunctionName"])
    made.close()


def not_found(call: Any, **members: Any) -> bool:
    """Whether a read says that the thing is gone, as the provider knows it: by the error's class."""
    return refused(call, **members)[:2] == (404, "ResourceNotFoundException")


# --- aws_lambda_function ---------------------------------------------------------------------------------------------

DEFAULTS = {"Description": "", "MemorySize": 128, "Timeout": 3, "PackageType": "Zip", "Publish": False}


class FunctionResource:
    """One ``aws_lambda_function``."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name

    def create(self, data: bytes, *, reserved: int = -1, **members: Any) -> dict[str, Any]:
        given = {**DEFAULTS, "Role": ROLE, "Handler": "app.handler", "Runtime": PYTHON, **members}
        self.client.create_function(FunctionName=self.name, Code={"ZipFile": data}, **given)
        self._wait("State", pending={"Pending"}, target={"Active"})
        if reserved >= 0:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        return self.read()

    def read(self, qualifier: str | None = None) -> dict[str, Any]:
        """The state that a refresh gives."""
        asked = {"FunctionName": self.name} | ({} if qualifier is None else {"Qualifier": qualifier})
        found = self.client.get_function(**asked)
        # Without either the provider takes the function for not there.
        configuration, place = found["Configuration"], found["Code"]
        state = flat(configuration) | {
            "image_uri": place.get("ImageUri"),
            "source_kms_key_arn": place.get("SourceKMSKeyArn"),
            "reserved": found.get("Concurrency", {}).get("ReservedConcurrentExecutions", -1),
        }
        if qualifier is not None:
            separate = self.client.get_function_concurrency(FunctionName=self.name)
            state["reserved"] = separate.get("ReservedConcurrentExecutions", -1)
        else:
            newest = self._newest_version()
            state |= {"qualified_arn": newest["FunctionArn"], "version": newest["Version"]}
            state["tags"] = found.get("Tags", {})
        signing = self.client.get_function_code_signing_config(FunctionName=self.name)
        return state | {"code_signing_config_arn": signing.get("CodeSigningConfigArn") or ""}

    def _newest_version(self) -> dict[str, Any]:
        """The last item of the last page: the list is taken to go from the oldest to the newest."""
        newest: dict[str, Any] | None = None
        members = {"FunctionName": self.name, "MaxItems": 10_000}
        while True:
            page = self.client.list_versions_by_function(**members)
            if page["Versions"] and page.get("NextMarker") is None:
                newest = page["Versions"][-1]
            if page.get("NextMarker") is None:
                break
            members["Marker"] = page["NextMarker"]
        assert newest is not None
        return newest

    def update(
        self, *, data: bytes | None = None, publish: bool = False, reserved: int | None = None, **changed: Any
    ) -> dict[str, Any]:
        """Configuration first, then code, concurrency, and a version."""
        if changed:
            self.client.update_function_configuration(FunctionName=self.name, **changed)
            self._wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        if data is not None:
            self.client.update_function_code(FunctionName=self.name, ZipFile=data)
            self._wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        if reserved is not None and reserved >= 0:
            self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=reserved)
        elif reserved is not None:
            self.client.delete_function_concurrency(FunctionName=self.name)
        if publish:
            made = self.client.publish_version(FunctionName=self.name)
            # The ARN has the version, and the version is given once more.
            assert made["FunctionArn"].endswith(f":{made['Version']}")
            version = {"FunctionName": made["FunctionArn"], "Qualifier": made["Version"]}
            until(lambda: self._version_is_updated(version), "the version is there")
        return self.read()

    def _version_is_updated(self, version: Mapping[str, str]) -> bool:
        status = self.client.get_function_configuration(**version).get("LastUpdateStatus", "InProgress")
        assert status in {"InProgress", "Successful"}
        return bool(status == "Successful")

    def destroy(self) -> None:
        self.client.delete_function(FunctionName=self.name)
        assert not_found(self.client.get_function, FunctionName=self.name)
        # Destroyed twice, for instance by hand before, is destroyed.
        assert not_found(self.client.delete_function, FunctionName=self.name)

    def _wait(self, member: str, *, pending: set[str], target: set[str]) -> None:
        def reached() -> bool:
            status = self.client.get_function(FunctionName=self.name)["Configuration"][member]
            assert status in pending | target, f"unexpected state {status}"
            return status in target

        until(reached, f"{member} is one of {target}")


def flat(found: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as the provider keeps it; what may be left out is read as Go reads it."""
    vpc = found.get("VpcConfig") or {}
    snap_start = found.get("SnapStart") or {}
    logging = found["LoggingConfig"]
    return {
        "arn": found["FunctionArn"],
        "architectures": found["Architectures"],
        "code_sha256": found["CodeSha256"],
        "dead_letter_config": found.get("DeadLetterConfig", {}).get("TargetArn"),
        "description": found["Description"],
        "durable_config": found.get("DurableConfig"),
        "environment": found.get("Environment", {}).get("Variables", {}),
        "environment_error": found.get("Environment", {}).get("Error"),
        "ephemeral_storage": found["EphemeralStorage"]["Size"],
        "file_system_config": found.get("FileSystemConfigs", []),
        "handler": found["Handler"],
        "image_config": found.get("ImageConfigResponse"),
        "kms_key_arn": found.get("KMSKeyArn") or "",
        "layers": [layer["Arn"] for layer in found.get("Layers", [])],
        "logging_config": (
            logging["LogFormat"],
            logging["LogGroup"],
            logging.get("ApplicationLogLevel", ""),
            logging.get("SystemLogLevel", ""),
        ),
        "memory_size": found["MemorySize"],
        "package_type": found["PackageType"],
        "role": found["Role"],
        "runtime": found["Runtime"],
        "signing": (found.get("SigningJobArn"), found.get("SigningProfileVersionArn")),
        "snap_start": None if snap_start.get("ApplyOn", "None") == "None" else snap_start,
        "source_code_size": found["CodeSize"],
        "tenancy_config": found.get("TenancyConfig"),
        "timeout": found["Timeout"],
        "tracing_config": found.get("TracingConfig", {"Mode": "PassThrough"})["Mode"],
        "vpc_config": (vpc.get("SubnetIds") or [], vpc.get("SecurityGroupIds") or []),
    }


def unchanged(before: Mapping[str, Any], after: Mapping[str, Any], *but: str) -> None:
    """Nothing else has changed: the next plan is empty."""
    assert {key for key in before if before[key] != after[key]} == set(but)


def test_the_smallest_function(client: Any) -> None:
    resource = FunctionResource(client, "small")
    state = resource.create(code())
    arn = state["arn"]
    assert state == {
        "arn": arn,
        "architectures": ["x86_64"],
        "code_sha256": sha256_of(code()),
        "code_signing_config_arn": "",
        "dead_letter_config": None,
        "description": "",
        "durable_config": None,
        "environment": {},
        "environment_error": None,
        "ephemeral_storage": 512,
        "file_system_config": [],
        "handler": "app.handler",
        "image_config": None,
        "image_uri": None,
        "kms_key_arn": "",
        "layers": [],
        "logging_config": ("Text", "/aws/lambda/small", "", ""),
        "memory_size": 128,
        "package_type": "Zip",
        "qualified_arn": f"{arn}:$LATEST",
        "reserved": -1,
        "role": ROLE,
        "runtime": PYTHON,
        "signing": (None, None),
        "snap_start": None,
        "source_code_size": len(code()),
        "source_kms_key_arn": None,
        "tags": {},
        "tenancy_config": None,
        "timeout": 3,
        "tracing_config": "PassThrough",
        "version": "$LATEST",
        "vpc_config": ([], []),
    }
    match = ARN.fullmatch(arn)
    assert match is not None
    assert match[3] == "small"
    unchanged(state, resource.read())
    resource.destroy()


def test_a_function_with_every_block(client: Any) -> None:
    layer = client.publish_layer_version(
        LayerName="words", Content={"ZipFile": zip_of({"python/words.py": "X = 1\n"})}, Description="", LicenseInfo=""
    )
    dead_letters = "arn:aws:sqs:us-east-1:620000000000:dead"
    resource = FunctionResource(client, "full")
    state = resource.create(
        code(),
        reserved=5,
        Publish=True,
        Description="all of it",
        MemorySize=256,
        Timeout=30,
        Architectures=["x86_64"],
        DeadLetterConfig={"TargetArn": dead_letters},
        Environment={"Variables": {"STAGE": "test", "EMPTY": ""}},
        EphemeralStorage={"Size": 1024},
        Layers=[layer["LayerVersionArn"]],
        LoggingConfig={"LogFormat": "JSON", "LogGroup": "/custom/group", "ApplicationLogLevel": "DEBUG"},
        SnapStart={"ApplyOn": "None"},
        Tags={"team": "a", "cost": "1"},
        TracingConfig={"Mode": "Active"},
        VpcConfig={"Ipv6AllowedForDualStack": False, "SecurityGroupIds": [], "SubnetIds": []},
    )
    wanted = {
        "description": "all of it",
        "memory_size": 256,
        "timeout": 30,
        "dead_letter_config": dead_letters,
        "environment": {"STAGE": "test", "EMPTY": ""},
        "ephemeral_storage": 1024,
        "layers": [layer["LayerVersionArn"]],
        # A level that was not asked for has AWS's default; the provider accepts it.
        "logging_config": ("JSON", "/custom/group", "DEBUG", "INFO"),
        "reserved": 5,
        "tags": {"team": "a", "cost": "1"},
        "tracing_config": "Active",
        "version": "1",
        "qualified_arn": f"{state['arn']}:1",
    }
    assert {key: state[key] for key in wanted} == wanted
    unchanged(state, resource.read())

    # Every block is taken out of the configuration again.
    changed = resource.update(
        reserved=-1,
        Description="",
        DeadLetterConfig={"TargetArn": ""},
        Environment={"Variables": {}},
        Layers=[],
        LoggingConfig={"LogFormat": "Text", "LogGroup": "/aws/lambda/full"},
        TracingConfig={"Mode": "PassThrough"},
        VpcConfig={"Ipv6AllowedForDualStack": False, "SecurityGroupIds": [], "SubnetIds": []},
    )
    emptied = {
        "dead_letter_config": None,
        "description": "",
        "environment": {},
        "layers": [],
        "logging_config": ("Text", "/aws/lambda/full", "", ""),
        "reserved": -1,
        "tracing_config": "PassThrough",
    }
    unchanged(state, changed, *emptied)
    assert {key: changed[key] for key in emptied} == emptied
    resource.destroy()
    client.delete_layer_version(LayerName="words", VersionNumber=layer["Version"])


def test_updates_with_versions(client: Any) -> None:
    resource = FunctionResource(client, "published")
    state = resource.create(code(), Publish=True)
    assert state["version"] == "1"
    both = resource.update(data=code("v2"), publish=True, Timeout=9, Environment={"Variables": {"STAGE": "1"}})
    unchanged(
        state, both, "code_sha256", "timeout", "environment", "version", "qualified_arn", *size_if_changed(state, both)
    )
    assert (both["version"], both["code_sha256"]) == ("2", sha256_of(code("v2")))
    # Applied again without a change: PublishVersion gives the version there is.
    assert resource.update(publish=True) == both
    only_code = resource.update(data=code("v3"), publish=True)
    assert (only_code["version"], only_code["timeout"]) == ("3", 9)
    # Read with a qualifier, as the data source does.
    first = resource.read(qualifier="1")
    assert (first["arn"], first["code_sha256"], first["timeout"]) == (f"{state['arn']}:1", sha256_of(code()), 3)
    answer = client.invoke(FunctionName=only_code["qualified_arn"])
    assert json.load(answer["Payload"]) == "v3"
    resource.destroy()


def size_if_changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {"source_code_size"} if before["source_code_size"] != after["source_code_size"] else set()


def test_more_versions_than_a_page_holds(client: Any) -> None:
    resource = FunctionResource(client, "many")
    resource.create(code(), Publish=True)
    for number in range(2, 53):
        resource.client.update_function_code(FunctionName="many", ZipFile=code(f"v{number}"))
        resource._wait("LastUpdateStatus", pending={"InProgress"}, target={"Successful"})
        resource.client.publish_version(FunctionName="many")
    assert resource.read()["version"] == "52"
    resource.destroy()


def test_tags_that_drift(client: Any) -> None:
    resource = FunctionResource(client, "tagged")
    state = resource.create(code(), Tags={"team": "a", "stage": "one"})
    # Somebody else has changed them; the next apply takes away what is not configured and sets what is.
    client.tag_resource(Resource=state["arn"], Tags={"by-hand": "x", "stage": "two"})
    drifted = resource.read()
    unchanged(state, drifted, "tags")
    assert drifted["tags"] == {"team": "a", "stage": "two", "by-hand": "x"}
    client.untag_resource(Resource=state["arn"], TagKeys=["by-hand"])
    client.tag_resource(Resource=state["arn"], Tags={"stage": "one"})
    unchanged(state, resource.read())
    assert client.list_tags(Resource=state["arn"])["Tags"] == state["tags"]
    resource.destroy()


def test_a_function_that_was_deleted_by_somebody_else(client: Any) -> None:
    resource = FunctionResource(client, "gone")
    resource.create(code())
    client.delete_function(FunctionName="gone")
    reads = (
        (client.get_function, {}),
        (client.get_policy, {}),
        (client.get_alias, {"Name": "live"}),
        (client.get_function_event_invoke_config, {}),
        (client.get_function_url_config, {}),
        (client.get_function_concurrency, {}),
        (client.get_runtime_management_config, {}),
        (client.get_function_recursion_config, {}),
    )
    for call, members in reads:
        assert not_found(call, FunctionName="gone", **members), call


# --- what hangs on it ------------------------------------------------------------------------------------------------


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
