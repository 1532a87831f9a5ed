"""What SAM and CloudFormation, the CDK and the Serverless Framework call to deploy a function, replayed with boto3."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.clients.client_support import refused, sha256_of, wait
from tests.service.harness import PYTHON, RunningService, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Upload = Callable[[bytes], dict[str, str]]

ROLE = "arn:aws:iam::630000000000:role/stack-FunctionRole-1A2B3C"
STACK_TAGS = {"aws-stack": "stack", "lambda:createdBy": "SAM"}


BUCKET = "aws-sam-cli-managed-default-samclisourcebucket-1a2b3c"
S3_KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 that has the bucket to which the tools upload."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    session = boto3.Session(*S3_KEYS.values(), region_name="us-east-1")
    client = session.client("s3", endpoint_url=url)
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()
    server.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, s3: Any) -> Iterator[RunningService]:
    """A service that takes code from that S3."""
    environ = {**os.environ, **S3_KEYS, "AWS_ENDPOINT_URL_S3": s3.meta.endpoint_url}
    running = RunningService(tmp_path_factory.mktemp("sam") / "data", environ)
    yield running
    running.close()


@pytest.fixture
def upload(s3: Any) -> Upload:
    """Upload an archive under a name made of its content; where it is."""

    def put(data: bytes) -> dict[str, str]:
        key = f"stack/{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return {"S3Bucket": BUCKET, "S3Key": key}

    return put


def code(text: str = "v1", file: str = "app") -> bytes:
    source = f"""
import os

def handler(event, context):
    try:
        from words import WORD
    except ImportError:
        WORD = None
    return [{text!r}, os.environ.get("STAGE"), WORD, context.function_version]
"""
    return zip_of({f"{file}.py": source})


def invoked(client: Any, name: str, **members: Any) -> Any:
    answer = client.invoke(FunctionName=name, **members)
    assert "FunctionError" not in answer
    return json.load(answer["Payload"])


def status_of(client: Any, name: str) -> tuple[str, str]:
    found = client.get_function(FunctionName=name)["Configuration"]
    return found["State"], found.get("LastUpdateStatus", "")


def retry_conflicts(call: Any, **members: Any) -> Any:
    """Call until nothing else is in progress, as the tools do."""
    answers: list[Any] = []

    def called() -> bool:
        try:
            answers.append(call(**members))
        except call.__self__.exceptions.ResourceConflictException:
            return False
        return True

    until(called, "no conflict any more")
    return answers[0]


# --- sam deploy: the resources of a CloudFormation stack -------------------------------------------------------------


class Stack:
    """A stack with a ``AWS::Serverless::Function`` that has ``AutoPublishAlias``, an event source and tags."""

    def __init__(self, client: Any, upload: Upload) -> None:
        self.client = client
        self.upload = upload
        self.name = "stack-Function-1A2B3C"

    def create(self, data: bytes) -> None:
        client = self.client
        # The handler looks first whether the name is taken.
        assert refused(client.get_function, FunctionName=self.name)[0] == 404
        client.create_function(
            FunctionName=self.name,
            Runtime=PYTHON,
            Handler="app.handler",
            Role=ROLE,
            Code=self.upload(data),
            Description="",
            MemorySize=128,
            Timeout=10,
            PackageType="Zip",
            Architectures=["x86_64"],
            Environment={"Variables": {"STAGE": "prod"}},
            TracingConfig={"Mode": "Active"},
            Layers=[],
            Tags=STACK_TAGS,
        )
        until(lambda: status_of(client, self.name) == ("Active", "Successful"), "the function is stable")
        client.put_runtime_management_config(FunctionName=self.name, UpdateRuntimeOn="Auto")
        client.put_function_recursion_config(FunctionName=self.name, RecursiveLoop="Terminate")
        self.publish("create")
        client.add_permission(
            FunctionName=f"{self._arn()}:live",
            StatementId="stack-FunctionApiPermission-4D5E6F",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn="arn:aws:execute-api:us-east-1:630000000000:a1b2c3/*/GET/items",
        )

    def publish(self, what: str) -> str:
        """AWS::Lambda::Version is a new resource each time; AWS::Lambda::Alias is moved to it."""
        made = self.client.publish_version(FunctionName=self.name)
        version = str(made["Version"])
        wait(self.client, "published_version_active", FunctionName=self.name, Qualifier=version)
        alias = {"FunctionName": self.name, "Name": "live", "FunctionVersion": version}
        if what == "create":
            self.client.create_alias(**alias)
        else:
            self.client.update_alias(**alias, Description="", RoutingConfig={"AdditionalVersionWeights": {}})
        return version

    def read(self) -> dict[str, Any]:
        """What the read handlers ask for."""
        client, name = self.client, self.name
        found = client.get_function(FunctionName=name)
        configuration = found["Configuration"]
        return {
            "arn": configuration["FunctionArn"],
            "code_sha256": configuration["CodeSha256"],
            "environment": configuration["Environment"]["Variables"],
            "timeout": configuration["Timeout"],
            "layers": configuration.get("Layers", []),
            "snap_start": configuration["SnapStart"],
            "tags": found["Tags"],
            "concurrency": client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions"),
            "code_signing": client.get_function_code_signing_config(FunctionName=name).get("CodeSigningConfigArn"),
            "runtime_management": client.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"],
            "recursion": client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
            "alias": client.get_alias(FunctionName=name, Name="live")["FunctionVersion"],
        }

    def update(self, data: bytes, tags: Mapping[str, str], **members: Any) -> str:
        """Code, configuration, tags, each after the one before has settled; then version and alias."""
        client, name = self.client, self.name
        client.update_function_code(FunctionName=name, **self.upload(data))
        until(lambda: status_of(client, name) == ("Active", "Successful"), "the code is updated")
        client.update_function_configuration(FunctionName=name, **members)
        until(lambda: status_of(client, name) == ("Active", "Successful"), "the configuration is updated")
        before = client.list_tags(Resource=self._arn())["Tags"]
        gone = sorted(before.keys() - tags.keys())
        if gone:
            client.untag_resource(Resource=self._arn(), TagKeys=gone)
        client.tag_resource(Resource=self._arn(), Tags=dict(tags))
        return self.publish("update")

    def delete(self) -> None:
        client, name = self.client, self.name
        client.remove_permission(FunctionName=name, Qualifier="live", StatementId="stack-FunctionApiPermission-4D5E6F")
        for alias in client.list_aliases(FunctionName=name)["Aliases"]:
            client.delete_alias(FunctionName=name, Name=alias["Name"])
        for version in client.list_versions_by_function(FunctionName=name)["Versions"]:
            if version["Version"] != "$LATEST":
                client.delete_function(FunctionName=name, Qualifier=version["Version"])
        client.delete_function(FunctionName=name)
        assert refused(client.get_function, FunctionName=name)[:2] == (404, "ResourceNotFoundException")

    def _arn(self) -> str:
        return str(self.client.get_function_configuration(FunctionName=self.name)["FunctionArn"])


def test_sam_deploy(client: Any, upload: Upload) -> None:
    stack = Stack(client, upload)
    stack.create(code())
    first = stack.read()
    assert first == {
        "arn": first["arn"],
        "code_sha256": sha256_of(code()),
        "environment": {"STAGE": "prod"},
        "timeout": 10,
        "layers": [],
        "snap_start": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "tags": STACK_TAGS,
        "concurrency": None,
        "code_signing": None,
        "runtime_management": "Auto",
        "recursion": "Terminate",
        "alias": "1",
    }
    assert invoked(client, stack.name, Qualifier="live") == ["v1", "prod", None, "1"]
    tags = {"lambda:createdBy": "SAM", "team": "a"}
    assert stack.update(code("v2"), tags, Environment={"Variables": {"STAGE": "test"}}, Timeout=20) == "2"
    second = stack.read()
    assert second == {
        **first,
        "code_sha256": sha256_of(code("v2")),
        "environment": {"STAGE": "test"},
        "timeout": 20,
        "tags": tags,
        "alias": "2",
    }
    assert invoked(client, f"{first['arn']}:live") == ["v2", "test", None, "2"]
    # The version of the deployment before is still there, to roll back to.
    client.update_alias(FunctionName=stack.name, Name="live", FunctionVersion="1")
    assert invoked(client, stack.name, Qualifier="live") == ["v1", "prod", None, "1"]
    stack.delete()


def test_a_gradual_deployment(client: Any, upload: Upload) -> None:
    """``DeploymentPreference``: the alias moves by weights, and is set back when an alarm rings."""
    stack = Stack(client, upload)
    stack.create(code())
    client.update_function_code(FunctionName=stack.name, ZipFile=code("v2"))
    wait(client, "function_updated_v2", FunctionName=stack.name)
    version = client.publish_version(FunctionName=stack.name)["Version"]
    canary = {"FunctionName": stack.name, "Name": "live", "FunctionVersion": "1"}
    moving = client.update_alias(**canary, RoutingConfig={"AdditionalVersionWeights": {version: 0.1}})
    assert moving["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    # A version that an alias points to is not deleted.
    conflict = refused(client.delete_function, FunctionName=stack.name, Qualifier="2")
    assert conflict[:2] == (409, "ResourceConflictException")
    back = client.update_alias(**canary, RoutingConfig={"AdditionalVersionWeights": {}})
    assert "RoutingConfig" not in back
    assert {invoked(client, stack.name, Qualifier="live")[0] for _ in range(5)} == {"v1"}
    stack.delete()


# --- sam sync --------------------------------------------------------------------------------------------------------


def sync_code(client: Any, name: str, data: bytes) -> bool:
    """A function's flow: whether something had to be done."""
    remote = client.get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    if base64.b64decode(remote) == hashlib.sha256(data).digest():
        return False
    client.update_function_code(FunctionName=name, ZipFile=data)
    wait(client, "function_updated", FunctionName=name)
    version = client.publish_version(FunctionName=name)["Version"]
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=version)
    return True


def test_sam_sync_of_code(client: Any, upload: Upload) -> None:
    stack = Stack(client, upload)
    stack.create(code())
    assert sync_code(client, stack.name, code()) is False
    for number in range(2, 6):
        assert sync_code(client, stack.name, code(f"v{number}")) is True
        assert invoked(client, stack.name, Qualifier="live")[::3] == [f"v{number}", str(number)]
    stack.delete()


def test_sam_sync_of_a_layer(client: Any, upload: Upload) -> None:
    """The layer is addressed by its ARN without a version; the version before is deleted while it is still in use."""
    made = client.publish_layer_version(
        LayerName="stack-Words-9a8b7c", Content={"ZipFile": zip_of({"python/words.py": "WORD = 'one'\n"})}
    )
    stack = Stack(client, upload)
    stack.create(code())
    client.update_function_configuration(FunctionName=stack.name, Layers=[made["LayerVersionArn"]])
    wait(client, "function_updated", FunctionName=stack.name)
    assert invoked(client, stack.name)[2] == "one"

    layer, changed = made["LayerArn"], zip_of({"python/words.py": "WORD = 'two'\n"})
    old = client.list_layer_versions(LayerName=layer)["LayerVersions"][0]["Version"]
    remote = client.get_layer_version(LayerName=layer, VersionNumber=old)["Content"]["CodeSha256"]
    assert remote != sha256_of(changed)
    new = client.publish_layer_version(LayerName=layer, Content={"ZipFile": changed}, CompatibleRuntimes=[PYTHON])
    client.delete_layer_version(LayerName=layer, VersionNumber=old)
    # The function still has the version that is gone.
    assert invoked(client, stack.name)[2] == "one"
    layers = [item["Arn"] for item in client.get_function(FunctionName=stack.name)["Configuration"]["Layers"]]
    assert layers == [f"{layer}:{old}"]
    layers = [*(item for item in layers if not item.startswith(layer)), f"{layer}:{new['Version']}"]
    client.update_function_configuration(FunctionName=stack.name, Layers=layers)
    wait(client, "function_updated", FunctionName=stack.name)
    assert invoked(client, stack.name)[2] == "two"
    stack.delete()
    client.delete_layer_version(LayerName=layer, VersionNumber=new["Version"])


# --- cdk deploy --hotswap --------------------------------------------------------------------------------------------


def test_cdk_hotswap(client: Any, upload: Upload) -> None:
    """Code, then description and environment, each waited for; then a version, and all aliases at once."""
    stack = Stack(client, upload)
    stack.create(code())
    client.create_alias(FunctionName=stack.name, Name="canary", FunctionVersion="1")
    # An asset from its bucket, then code that stands in the template itself.
    client.update_function_code(FunctionName=stack.name, **upload(code("asset")))
    wait(client, "function_updated_v2", FunctionName=stack.name)
    updated = client.update_function_code(FunctionName=stack.name, ZipFile=code("inline", file="index"))
    # How long to wait between two looks is decided by these.
    assert not updated.get("VpcConfig", {}).get("VpcId")
    assert updated["PackageType"] == "Zip"
    wait(client, "function_updated_v2", FunctionName=stack.name)
    client.update_function_configuration(
        FunctionName=stack.name,
        Handler="index.handler",
        Description="hot",
        Environment={"Variables": {"STAGE": "hot"}},
    )
    wait(client, "function_updated_v2", FunctionName=stack.name)
    version = client.publish_version(FunctionName=stack.name)["Version"]
    for name in ("live", "canary"):
        client.update_alias(FunctionName=stack.name, Name=name, FunctionVersion=version)
    for name in ("live", "canary"):
        assert invoked(client, stack.name, Qualifier=name) == ["inline", "hot", None, version]
    assert client.get_function_configuration(FunctionName=stack.name, Qualifier="live")["Description"] == "hot"
    stack.delete()


# --- Serverless Framework --------------------------------------------------------------------------------------------


def changed_members(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What ``serverless deploy function`` sends: what differs from GetFunction's answer."""
    members = {
        key: wanted[key]
        for key in ("Description", "Handler", "MemorySize", "Timeout", "Role")
        if key in wanted and wanted[key] != found.get(key)
    }
    layers = wanted.get("Layers", [])
    if set(layers) != {layer["Arn"] for layer in found.get("Layers", [])}:
        members["Layers"] = layers
    variables = wanted.get("Variables", {})
    if variables != found.get("Environment", {}).get("Variables", {}):
        members["Environment"] = {"Variables": variables}
    return members


def deploy_function(client: Any, name: str, data: bytes, **wanted: Any) -> tuple[bool, set[str]]:
    """``serverless deploy function``: whether the code, and which members of the configuration, were changed."""
    found = client.get_function(FunctionName=name)["Configuration"]
    assert found["PackageType"] == "Zip"
    uploads = found["CodeSha256"] != sha256_of(data)
    if uploads:
        client.update_function_code(FunctionName=name, ZipFile=data)
    members = changed_members(found, wanted)
    if members:
        # Without waiting for the code: what is in progress is answered by a conflict.
        retry_conflicts(client.update_function_configuration, FunctionName=name, **members)
    until(lambda: status_of(client, name) == ("Active", "Successful"), "the function is there")
    return uploads, set(members)


def test_serverless_deploy_function(client: Any) -> None:
    name = "service-dev-hello"
    assert refused(client.get_function, FunctionName=name)[:2] == (404, "ResourceNotFoundException")
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=ROLE,
        Code={"ZipFile": code()},
        MemorySize=1024,
        Timeout=6,
        Tags={"STAGE": "dev"},
    )
    wait(client, "function_active_v2", FunctionName=name)
    same = {"Handler": "app.handler", "MemorySize": 1024, "Timeout": 6, "Role": ROLE}
    assert deploy_function(client, name, code(), **same) == (False, set())
    changed = {**same, "Timeout": 9, "Variables": {"STAGE": "dev"}}
    assert deploy_function(client, name, code("v2"), **changed) == (True, {"Timeout", "Environment"})
    assert invoked(client, name) == ["v2", "dev", None, "$LATEST"]
    assert deploy_function(client, name, code("v2"), **changed) == (False, set())
    assert deploy_function(client, name, code("v2"), **same, Description="x") == (
        False,
        {"Timeout", "Environment", "Description"},
    )
    assert invoked(client, name)[1] is None


def test_a_second_change_before_the_first_has_settled_is_a_conflict_or_accepted(client: Any, upload: Upload) -> None:
    """All tools take 409 ResourceConflictException for "not yet", and nothing else."""
    stack = Stack(client, upload)
    stack.create(code())
    for number in range(20):
        retry_conflicts(client.update_function_code, FunctionName=stack.name, ZipFile=code(f"v{number}"))
        retry_conflicts(client.update_function_configuration, FunctionName=stack.name, Timeout=10 + number)
    retry_conflicts(client.publish_version, FunctionName=stack.name)
    found = client.get_function(FunctionName=stack.name, Qualifier="2")["Configuration"]
    assert (found["CodeSha256"], found["Timeout"]) == (sha256_of(code("v19")), 29)
    stack.delete()
