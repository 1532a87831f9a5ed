"""Layers through an unmodified client: the operations, and what functions find of their layers."""

from __future__ import annotations

import base64
import ctypes
import hashlib
import json
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import PYTHON, ROLE, FunctionSet, client_of, until, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.service.harness import RunningService

ARN = "arn:aws:lambda:us-east-1:000000000000:layer"
SITE_PACKAGES = f"python/lib/{PYTHON}/site-packages"
IMPORTING = """
import json, shutil, subprocess, sys
import {modules}
def handler(event, context):
    values = {{name: sys.modules[name].VALUE for name in {names!r}}}
    tool = shutil.which("layer-tool")
    values["tool"] = tool and subprocess.run([tool], capture_output=True, text=True).stdout.strip()
    return values
"""
LOADING = """
import ctypes, sys
def handler(event, context):
    library = ctypes.CDLL("libof-a-layer.so")
    library.cos.restype = ctypes.c_double
    library.cos.argtypes = [ctypes.c_double]
    return [library.cos(0.0), sys.flags.isolated]
"""
MODE = "import sys\ndef handler(event, context): return sys.flags.isolated\n"


def publish(client: Any, name: str, files: Mapping[str, str | bytes], **members: Any) -> Any:
    modes = {path: 0o755 for path in files if path.startswith("bin/")}
    content = {"ZipFile": zip_of(files, {**dict.fromkeys(files, 0o644), **modes})}
    return client.publish_layer_version(LayerName=name, Content=content, **members)


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def importing(*names: str) -> str:
    return IMPORTING.format(modules=", ".join(names), names=names)


def test_the_life_of_a_layer(functions: FunctionSet) -> None:
    client = functions.client
    data = zip_of({"python/a.py": "A = 1\n"})
    members = {
        "Description": "d",
        "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": ["x86_64", "arm64"],
    }
    published = client.publish_layer_version(LayerName="life", Content={"ZipFile": data}, **members)
    assert published.pop("ResponseMetadata")["HTTPStatusCode"] == 201
    content = published["Content"]
    assert content["CodeSha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert content["CodeSize"] == len(data)
    with urllib.request.urlopen(content["Location"], timeout=20) as answer:
        assert answer.read() == data
    expected = {"LayerArn": f"{ARN}:life", "LayerVersionArn": f"{ARN}:life:1", "Version": 1, **members}
    assert {name: published[name] for name in expected} == expected

    got = client.get_layer_version(LayerName="life", VersionNumber=1)
    by_arn = client.get_layer_version_by_arn(Arn=f"{ARN}:life:1")
    assert got["LayerVersionArn"] == by_arn["LayerVersionArn"] == f"{ARN}:life:1"
    item = {name: published[name] for name in published.keys() - {"Content", "LayerArn"}}
    assert client.list_layer_versions(LayerName="life")["LayerVersions"] == [item]
    asked = {"CompatibleRuntime": "python3.12", "CompatibleArchitecture": "arm64"}
    layer = {"LayerName": "life", "LayerArn": f"{ARN}:life", "LatestMatchingVersion": item}
    assert layer in client.list_layers(**asked)["Layers"]
    assert client.list_layer_versions(LayerName="life", CompatibleRuntime="python3.13")["LayerVersions"] == []

    for _ in range(2):
        answer = client.delete_layer_version(LayerName="life", VersionNumber=1)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    missing = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
    assert refused(client.get_layer_version, LayerName="life", VersionNumber=1) == missing
    assert publish(client, "life", {"a": "1"})["Version"] == 2
    client.delete_layer_version(LayerName="life", VersionNumber=2)


def test_paginators(functions: FunctionSet) -> None:
    client = functions.client
    for number in range(3):
        for _ in range(2):
            publish(client, f"paged-{number}", {"a": "1"})
    try:
        pages = client.get_paginator("list_layers").paginate(PaginationConfig={"PageSize": 2})
        names = [layer["LayerName"] for page in pages for layer in page["Layers"]]
        assert [name for name in names if name.startswith("paged-")] == ["paged-0", "paged-1", "paged-2"]
        pages = client.get_paginator("list_layer_versions").paginate(
            LayerName="paged-0", PaginationConfig={"PageSize": 1}
        )
        assert [item["Version"] for page in pages for item in page["LayerVersions"]] == [2, 1]
    finally:
        for number in range(3):
            for version in (1, 2):
                client.delete_layer_version(LayerName=f"paged-{number}", VersionNumber=version)


def test_requests_that_are_refused(functions: FunctionSet) -> None:
    client = functions.client
    too_small = (400, "InvalidParameterValueException", "Layer Version Cannot be less than 1")
    assert refused(client.get_layer_version, LayerName="l", VersionNumber=0) == too_small
    assert refused(client.delete_layer_version, LayerName="l", VersionNumber=-1) == too_small
    status, code, message = refused(client.get_layer_version_by_arn, Arn=f"{ARN}:l")
    assert (status, code) == (400, "ValidationException")
    assert message.startswith(f"1 validation error detected: Value '{ARN}:l' at 'arn' failed to satisfy constraint:")
    status, code, message = refused(client.list_layers, CompatibleRuntime="none")
    assert (status, code) == (400, "ValidationException")
    assert message.startswith("1 validation error detected: Value 'none' at 'compatibleRuntime' failed to satisfy")
    status, code, message = refused(
        client.add_layer_version_permission,
        LayerName="l",
        VersionNumber=1,
        StatementId="s",
        Action="*",
        Principal="*",
    )
    assert (status, code, message) == (
        400,
        "ValidationException",
        (
            "1 validation error detected: Value '*' at 'action' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: lambda:GetLayerVersion"
        ),
    )


def test_later_layers_win_and_the_code_wins_over_all(functions: FunctionSet) -> None:
    arns = []
    for name in "abcde":
        files = {
            "python/shared.py": f"VALUE = {name!r}\n",
            f"python/only_{name}.py": f"VALUE = {name!r}\n",
            "python/mine.py": f"VALUE = {name!r}\n",
        }
        if name in "ad":
            files["bin/layer-tool"] = f"#!/bin/sh\necho {name}\n"
        if name == "b":
            files[f"{SITE_PACKAGES}/packaged.py"] = "VALUE = 'site-packages'\n"
        if name == "e":
            files["python/packaged.py"] = "VALUE = 'python'\n"
        arns.append(publish(functions.client, f"order-{name}", files)["LayerVersionArn"])
    names = ("shared", *(f"only_{name}" for name in "abcde"), "mine", "packaged")
    function = functions.create(importing(*names), files={"mine.py": "VALUE = 'code'\n"}, Layers=arns)
    assert functions.invoke(function).value == {
        "shared": "e",
        **{f"only_{name}": name for name in "abcde"},
        "mine": "code",
        # In /opt the layers are one folder, and its site-packages come first.
        "packaged": "site-packages",
        "tool": "d",
    }
    shown = functions.client.get_function_configuration(FunctionName=function)["Layers"]
    assert [layer["Arn"] for layer in shown] == arns


def library_of_the_system() -> bytes:
    """The bytes of a shared library that every machine has."""
    ctypes.CDLL("libm.so.6")
    mapped = (line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines())
    return next(Path(path) for path in mapped if "/libm" in path).read_bytes()


@pytest.mark.parametrize("place", ["layer", "code"])
def test_shared_libraries_are_found(functions: FunctionSet, place: str) -> None:
    library = {"lib/libof-a-layer.so": library_of_the_system()}
    if place == "layer":
        arn = publish(functions.client, "with-library", library)["LayerVersionArn"]
        function = functions.create(LOADING, Layers=[arn])
    else:
        function = functions.create(LOADING, files=library)
    # Executed, not forked: a fork server's interpreter is isolated.
    assert functions.invoke(function).value == [1.0, 0]


def test_layers_without_libraries_are_forked(functions: FunctionSet) -> None:
    arn = publish(functions.client, "no-library", {"lib/readme.txt": "none", "python/a.py": ""})["LayerVersionArn"]
    assert functions.invoke(functions.create(MODE, Layers=[arn])).value == 1


def test_a_runtime_in_a_layer(functions: FunctionSet) -> None:
    runtime = (
        "#!/bin/sh\n"
        "while true; do\n"
        "  headers=$(mktemp)\n"
        '  curl -sS -D "$headers" -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"\n'
        "  id=$(tr -d '\\r' < \"$headers\" | sed -n 's/^lambda-runtime-aws-request-id: //Ip')\n"
        '  curl -sS -o /dev/null -d "\\"from a layer\\"" '
        '"http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response"\n'
        "done\n"
    )
    content = {"ZipFile": zip_of({"bootstrap": runtime})}
    arn = functions.client.publish_layer_version(LayerName="runtime", Content=content)["LayerVersionArn"]
    function = functions.create(
        files={"data.txt": "x"}, Runtime="provided.al2023", Handler="any", Layers=[arn], Timeout=20
    )
    assert functions.invoke(function).value == "from a layer"


def test_a_deleted_layer_keeps_working(start_service: Callable[..., RunningService], tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = start_service(data_dir)
    functions = first.functions()
    files = {"python/layered.py": "VALUE = 'kept'\n", "bin/layer-tool": "#!/bin/sh\necho tool\n"}
    arn = publish(first.client, "deleted", files)["LayerVersionArn"]
    name = functions.create(importing("layered"), Layers=[arn])
    first.client.delete_layer_version(LayerName="deleted", VersionNumber=1)
    expected = {"layered": "kept", "tool": "tool"}
    assert functions.invoke(name).value == expected
    first.close()

    second = start_service(data_dir)
    assert second.functions().invoke(name).value == expected
    assert second.client.list_layers()["Layers"] == []
    message = f"Layer version {arn} does not exist."
    creation = {"Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": zip_of({"app.py": ""})}}
    assert refused(second.client.create_function, FunctionName="late", Layers=[arn], **creation) == (
        400,
        "InvalidParameterValueException",
        message,
    )
    second.client.delete_function(FunctionName=name)
    second.close()
    third = start_service(data_dir)
    until(lambda: not list((data_dir / "archives").glob("*.zip")), "the archives that nobody needs are removed")
    assert publish(third.client, "deleted", files)["Version"] == 2


def test_a_layer_of_another_account(shared_service: RunningService, functions: FunctionSet) -> None:
    owner = functions.client
    arn = publish(owner, "shared", {"python/layered.py": "VALUE = 'shared'\n"})["LayerVersionArn"]
    client = client_of(shared_service.url, signed=("111122223333", "any secret"))
    others = FunctionSet(shared_service.url, client)
    denied = (
        403,
        "AccessDeniedException",
        (
            "User: arn:aws:iam::111122223333:root is not authorized to perform: lambda:GetLayerVersion on resource: "
            f"{arn} because no resource-based policy allows the lambda:GetLayerVersion action"
        ),
    )
    creation = {"Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": zip_of({"app.py": ""})}}
    try:
        assert refused(client.get_layer_version_by_arn, Arn=arn) == denied
        assert refused(client.create_function, FunctionName="denied", Layers=[arn], **creation) == denied
        assert client.list_layers()["Layers"] == []
        added = owner.add_layer_version_permission(
            LayerName="shared",
            VersionNumber=1,
            StatementId="s",
            Action="lambda:GetLayerVersion",
            Principal="111122223333",
        )
        assert added["ResponseMetadata"]["HTTPStatusCode"] == 201
        policy = owner.get_layer_version_policy(LayerName="shared", VersionNumber=1)
        assert json.loads(policy["Policy"])["Statement"] == [json.loads(added["Statement"])]
        assert client.get_layer_version_by_arn(Arn=arn)["LayerVersionArn"] == arn
        function = others.create(importing("layered"), Layers=[arn])
        assert others.invoke(function).value == {"layered": "shared", "tool": None}
        removed = owner.remove_layer_version_permission(
            LayerName="shared", VersionNumber=1, StatementId="s", RevisionId=policy["RevisionId"]
        )
        assert removed["ResponseMetadata"]["HTTPStatusCode"] == 204
        assert refused(client.get_layer_version_by_arn, Arn=arn) == denied
        # A function that has it keeps it.
        assert others.invoke(function).value["layered"] == "shared"
    finally:
        others.delete_all()
        client.close()
        owner.delete_layer_version(LayerName="shared", VersionNumber=1)
