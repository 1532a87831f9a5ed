"""Configuration, versions and waiters through an unmodified client, and what a function sees of a change."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import ROLE, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "import os\ndef handler(event, context):\n    return [os.environ.get('KEY'), context.memory_limit_in_mb]\n"
OTHER = "def other(event, context):\n    return 'other'\n"
AT_ONCE = {"Delay": 0, "MaxAttempts": 2000}


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_every_waiter_ends(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create(SOURCE, wait=False)
    for waiter in ("function_exists", "function_active", "function_active_v2"):
        client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=AT_ONCE)
    client.update_function_configuration(FunctionName=name, Timeout=9)
    for waiter in ("function_updated", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=AT_ONCE)
    version = client.publish_version(FunctionName=name)["Version"]
    client.get_waiter("published_version_active").wait(FunctionName=name, Qualifier=version, WaiterConfig=AT_ONCE)


def test_every_waiter_of_the_client_is_known(functions: FunctionSet) -> None:
    known = {"function_exists", "function_active", "function_active_v2", "function_updated", "function_updated_v2"}
    assert set(functions.client.waiter_names) == known | {"published_version_active"}


def test_the_function_sees_its_new_configuration(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, Environment={"Variables": {"KEY": "old"}})
    assert functions.invoke(name).value == ["old", "128"]
    answer = functions.client.update_function_configuration(
        FunctionName=name, Environment={"Variables": {"KEY": "new"}}, MemorySize=256
    )
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert (answer["LastUpdateStatus"], answer["LastUpdateStatusReasonCode"]) == ("InProgress", "Creating")
    functions.wait_updated(name)
    assert functions.invoke(name).value == ["new", "256"]


def test_a_version_keeps_what_it_was_published_with(functions: FunctionSet) -> None:
    name = functions.create(files={"app.py": SOURCE, "second.py": OTHER}, Environment={"Variables": {"KEY": "1"}})
    version = functions.publish(name)
    functions.client.update_function_configuration(FunctionName=name, Handler="second.other")
    functions.wait_updated(name)
    assert functions.invoke(name).value == "other"
    assert functions.invoke(name, Qualifier=version).value == ["1", "128"]


def test_a_network_is_shown_and_emptied(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, VpcConfig={"SubnetIds": ["subnet-0a"], "SecurityGroupIds": ["sg-0a"]})
    vpc = functions.client.get_function_configuration(FunctionName=name)["VpcConfig"]
    assert vpc == {
        "SubnetIds": ["subnet-0a"],
        "SecurityGroupIds": ["sg-0a"],
        "VpcId": "",
        "Ipv6AllowedForDualStack": False,
    }
    answer = functions.client.update_function_configuration(
        FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}
    )
    assert answer["VpcConfig"] == {**vpc, "SubnetIds": [], "SecurityGroupIds": []}


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"Timeout": 901}, (400, "ValidationException")),
        ({"Timeout": 5401}, (400, "ValidationException")),
        ({"MemorySize": 127}, (400, "ValidationException")),
        ({"MemorySize": 10241}, (400, "InvalidParameterValueException")),
        ({"EphemeralStorage": {"Size": 511}}, (400, "ValidationException")),
        ({"EphemeralStorage": {"Size": 10241}}, (400, "ValidationException")),
        ({"Runtime": "python9.9"}, (400, "InvalidParameterValueException")),
        ({"Role": "no role"}, (400, "ValidationException")),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, (400, "InvalidParameterValueException")),
        ({"Environment": {"Variables": {"_A": "x"}}}, (400, "ValidationException")),
        ({"TracingConfig": {"Mode": "Passive"}}, (400, "ValidationException")),
        ({"SnapStart": {"ApplyOn": "Always"}}, (400, "ValidationException")),
        ({"LoggingConfig": {"SystemLogLevel": "WARN"}}, (400, "InvalidParameterValueException")),
        ({"RevisionId": "stale"}, (412, "PreconditionFailedException")),
        ({"FunctionName": "nobody"}, (404, "ResourceNotFoundException")),
        ({"DurableConfig": {"ExecutionTimeout": 60}}, (400, "InvalidParameterValueException")),
    ],
)
def test_refused_configurations(functions: FunctionSet, members: dict[str, Any], expected: tuple[int, str]) -> None:
    name = functions.create(SOURCE)
    before = functions.client.get_function_configuration(FunctionName=name)
    body = {"FunctionName": name, **members}
    target = f"/2015-03-31/functions/{body.pop('FunctionName')}/configuration"
    # By hand: the client refuses some of these itself.
    answer = send(functions.url, "PUT", target, json.dumps(body).encode(), {"X-Amz-Client": "test"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == expected
    after = functions.client.get_function_configuration(FunctionName=name)
    assert {**after, "ResponseMetadata": None} == {**before, "ResponseMetadata": None}


def test_versions_come_in_pages(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    client = functions.client
    for number in range(4):
        client.update_function_configuration(FunctionName=name, Description=f"d{number}")
        functions.wait_updated(name)
        client.publish_version(FunctionName=name)
    paginator = client.get_paginator("list_versions_by_function")
    pages = list(paginator.paginate(FunctionName=name, PaginationConfig={"PageSize": 2}))
    assert [len(page["Versions"]) for page in pages] == [2, 2, 1]
    versions = [version for page in pages for version in page["Versions"]]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2", "3", "4"]
    assert [version["Description"] for version in versions] == ["d3", "d0", "d1", "d2", "d3"]
    assert [version["FunctionArn"] for version in versions] == [f"{ARN}:{name}:{v['Version']}" for v in versions]
    assert not any({"State", "LastUpdateStatus", "RuntimeVersionConfig"} & version.keys() for version in versions)
    assert refused(client.list_versions_by_function, FunctionName="nobody") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}:nobody",
    )


def test_deleting_a_version_twice(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, Publish=True)
    for _ in range(2):
        answer = functions.client.delete_function(FunctionName=name, Qualifier="1")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] in (200, 204)
    assert [item["Version"] for item in functions.client.list_versions_by_function(FunctionName=name)["Versions"]] == [
        "$LATEST"
    ]


def test_reserved_concurrency_is_shown(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    assert "Concurrency" not in functions.client.get_function(FunctionName=name)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    shown = functions.client.get_function(FunctionName=name)["Concurrency"]
    assert shown == {"ReservedConcurrentExecutions": 3}


def test_snap_start_is_on_for_published_versions(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, Runtime="python3.12", SnapStart={"ApplyOn": "PublishedVersions"})
    version = functions.publish(name)
    latest = functions.client.get_function_configuration(FunctionName=name)["SnapStart"]
    published = functions.client.get_function_configuration(FunctionName=name, Qualifier=version)["SnapStart"]
    assert (latest["OptimizationStatus"], published["OptimizationStatus"]) == ("Off", "On")


def test_code_from_s3_says_what_to_set(functions: FunctionSet) -> None:
    members = {"Runtime": "python3.12", "Handler": "app.handler", "Role": ROLE}
    code = {"S3Bucket": "bucket", "S3Key": "key"}
    status, error, message = refused(functions.client.create_function, FunctionName="s3", Code=code, **members)
    assert (status, error) == (400, "InvalidParameterValueException")
    assert message.startswith("The code could not be fetched from s3://bucket/key: ")
    two = {**code, "ZipFile": zip_of({"app.py": SOURCE})}
    assert refused(functions.client.create_function, FunctionName="s3", Code=two, **members)[2] == (
        "Please do not provide other FunctionCode parameters when providing a ZipFile."
    )


def test_a_dry_run_shows_what_would_be(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    before = functions.client.get_function_configuration(FunctionName=name)
    code = zip_of({"app.py": OTHER})
    answer = functions.client.update_function_code(
        FunctionName=name, ZipFile=code, Architectures=["arm64"], DryRun=True, RevisionId=before["RevisionId"]
    )
    assert (answer["CodeSize"], answer["Architectures"]) == (len(code), ["arm64"])
    assert len(base64.b64decode(answer["CodeSha256"])) == 32
    after = functions.client.get_function_configuration(FunctionName=name)
    assert (after["CodeSha256"], after["RevisionId"]) == (before["CodeSha256"], before["RevisionId"])
    stale = {"FunctionName": name, "ZipFile": code, "DryRun": True, "RevisionId": "stale"}
    assert refused(functions.client.update_function_code, **stale)[:2] == (412, "PreconditionFailedException")
