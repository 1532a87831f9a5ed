"""What Terraform's AWS provider calls and reads for functions, replayed with boto3.

A function is created, read until nothing differs from what was asked for, changed, and destroyed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.clients.client_support import sha256_of
from tests.clients.terraform import ARN, ROLE, FunctionResource, code, not_found, unchanged
from tests.service.harness import PYTHON, zip_of

if TYPE_CHECKING:
    from collections.abc import Mapping


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
