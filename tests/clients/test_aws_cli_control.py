"""The AWS CLI, unmodified: the commands of the control plane that people type, in the order in which they do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.clients.command_line import Shell
from tests.service.harness import PYTHON, zip_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.service.harness import RunningService

SOURCE = """
import os

try:
    from in_a_layer import WORD
except ImportError:
    WORD = None

def handler(event, context):
    return {"event": event, "version": context.function_version, "stage": os.environ.get("STAGE"), "layer": WORD}
"""


@pytest.fixture
def aws(service: RunningService, tmp_path: Path) -> Shell:
    (tmp_path / "code.zip").write_bytes(zip_of({"app.py": SOURCE}))
    (tmp_path / "changed.zip").write_bytes(zip_of({"app.py": f"{SOURCE}\n# changed\n"}))
    (tmp_path / "layer.zip").write_bytes(zip_of({"python/in_a_layer.py": "WORD = 'layered'\n"}))
    return Shell(service.url, tmp_path)


@pytest.mark.full
def test_code_configuration_versions_and_layers(aws: Shell) -> None:
    made = aws.create("f", "--timeout 5 --tags team=a,stage=test --environment Variables={STAGE=one}")
    assert (made["State"], made["Timeout"], made["Environment"]) == ("Pending", 5, {"Variables": {"STAGE": "one"}})
    found = aws("get-function --function-name f")
    assert found["Configuration"]["State"] == "Active"
    assert found["Tags"] == {"team": "a", "stage": "test"}
    assert found["Code"]["RepositoryType"] == "S3"

    # Code: tried, changed, published.
    tried = aws("update-function-code --function-name f --zip-file fileb://changed.zip --dry-run")
    assert tried["CodeSha256"] != made["CodeSha256"]
    assert aws.text("get-function-configuration --function-name f --query CodeSha256") == made["CodeSha256"]
    changed = aws("update-function-code --function-name f --zip-file fileb://changed.zip --publish")
    assert (changed["Version"], changed["CodeSha256"]) == ("1", tried["CodeSha256"])
    aws("wait function-updated-v2 --function-name f")
    aws("wait published-version-active --function-name f --qualifier 1")

    # Layers and configuration.
    layer = aws(
        f"publish-layer-version --layer-name words --zip-file fileb://layer.zip --compatible-runtimes {PYTHON} "
        "--license-info MIT --description",
        "some words",
    )
    assert (layer["Version"], layer["Description"], layer["CompatibleRuntimes"]) == (1, "some words", [PYTHON])
    layer_arn = f"arn:aws:lambda:us-east-1:{aws.account_id}:layer:words:1"
    assert layer["LayerVersionArn"] == layer_arn
    assert aws.text("list-layers --query Layers[].LatestMatchingVersion.LayerVersionArn") == layer_arn
    assert aws("get-layer-version --layer-name words --version-number 1")["LicenseInfo"] == "MIT"
    configured = aws(
        f"update-function-configuration --function-name f --timeout 9 --layers {layer_arn} "
        "--environment Variables={STAGE=two,MORE=yes}"
    )
    assert (configured["Timeout"], configured["LastUpdateStatus"]) == (9, "InProgress")
    assert [item["Arn"] for item in configured["Layers"]] == [layer_arn]
    aws("wait function-updated-v2 --function-name f")
    event = ("--payload", '{"a": 1}')
    assert aws.invoke("f", *event) == {"event": {"a": 1}, "version": "$LATEST", "stage": "two", "layer": "layered"}

    # Versions.
    assert aws("publish-version --function-name f --description second")["Version"] == "2"
    assert aws("list-versions-by-function --function-name f --query Versions[].Version") == ["$LATEST", "1", "2"]
    assert aws.invoke("f:1", *event) == {"event": {"a": 1}, "version": "1", "stage": "one", "layer": None}
    aws("delete-function --function-name f --qualifier 1")
    assert aws("list-versions-by-function --function-name f --query Versions[].Version") == ["$LATEST", "2"]
    aws("delete-function --function-name f")
    assert aws.fails("get-function --function-name f") == (
        "An error occurred (ResourceNotFoundException) when calling the GetFunction operation: "
        f"Function not found: {aws.arn('f')}"
    )


@pytest.mark.full
def test_aliases(aws: Shell) -> None:
    aws.create("f", "--publish")
    aws("update-function-code --function-name f --zip-file fileb://changed.zip --publish")
    aws("wait published-version-active --function-name f --qualifier 2")
    made = aws("create-alias --function-name f --name live --function-version 1")
    assert (made["AliasArn"], made["FunctionVersion"]) == (aws.arn("f:live"), "1")
    assert aws.invoke("f", "--qualifier", "live")["version"] == "1"
    weighted = aws(
        "update-alias --function-name f --name live --description canary --routing-config "
        "AdditionalVersionWeights={2=1.0}"
    )
    assert weighted["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 1.0}}
    assert aws.invoke("f:live")["version"] == "2"
    moved = aws("update-alias --function-name f --name live --function-version 2 --routing-config {}")
    assert (moved["FunctionVersion"], "RoutingConfig" in moved) == ("2", False)
    listed = aws("list-aliases --function-name f")["Aliases"]
    assert [(alias["Name"], alias["FunctionVersion"], alias["Description"]) for alias in listed] == [
        ("live", "2", "canary")
    ]
    aws("delete-alias --function-name f --name live")
    assert aws("list-aliases --function-name f") == {"Aliases": []}
    assert "Cannot find alias arn: " in aws.fails("get-alias --function-name f --name live")


def test_permissions(aws: Shell) -> None:
    aws.create("f")
    added = aws(
        "add-permission --function-name f --statement-id from-s3 --action lambda:InvokeFunction "
        "--principal s3.amazonaws.com --source-arn arn:aws:s3:::a-bucket --source-account 111122223333"
    )
    statement = json.loads(added["Statement"])
    assert statement == {
        "Sid": "from-s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": aws.arn("f"),
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "111122223333"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::a-bucket"},
        },
    }
    assert json.loads(aws("get-policy --function-name f")["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [statement],
    }
    aws("remove-permission --function-name f --statement-id from-s3")
    assert "(ResourceNotFoundException) when calling the GetPolicy operation" in aws.fails(
        "get-policy --function-name f"
    )


@pytest.mark.full
def test_tags_concurrency_and_account(aws: Shell) -> None:
    aws.create("f")
    resource = f"--resource {aws.arn('f')}"
    aws(f"tag-resource {resource} --tags team=a,cost=1")
    assert aws(f"list-tags {resource}") == {"Tags": {"team": "a", "cost": "1"}}
    aws(f"untag-resource {resource} --tag-keys cost other")
    assert aws("get-function --function-name f --query Tags") == {"team": "a"}
    assert aws("get-function-concurrency --function-name f") in (None, {})
    put = aws("put-function-concurrency --function-name f --reserved-concurrent-executions 100")
    assert put == {"ReservedConcurrentExecutions": 100}
    assert aws("get-function-concurrency --function-name f") == put
    assert aws("get-function --function-name f --query Concurrency") == put
    settings = aws("get-account-settings")
    assert settings["AccountLimit"]["UnreservedConcurrentExecutions"] == 900
    assert settings["AccountUsage"]["FunctionCount"] == 1
    assert settings["AccountUsage"]["TotalCodeSize"] == (aws.folder / "code.zip").stat().st_size
    aws("delete-function-concurrency --function-name f")
    assert "ReservedConcurrentExecutions" not in (aws("get-function-concurrency --function-name f") or {})


def test_listing(aws: Shell) -> None:
    for name in ("a", "b", "c"):
        aws.create(name)
    first = aws("list-functions --max-items 2")
    assert [item["FunctionName"] for item in first["Functions"]] == ["a", "b"]
    rest = aws(f"list-functions --starting-token {first['NextToken']}")
    assert ([item["FunctionName"] for item in rest["Functions"]], "NextToken" in rest) == (["c"], False)
    assert aws.text("list-functions --page-size 1 --query Functions[].FunctionName").split() == ["a", "b", "c"]
