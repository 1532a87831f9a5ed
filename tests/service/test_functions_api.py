"""The control plane through an unmodified client: create, read, list, change, publish, alias, delete."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import urllib.request
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import PYTHON, ROLE, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet, RunningService

ARN = "arn:aws:lambda:us-east-1:000000000000:function"
SOURCE = "def handler(event, context):\n    return 1\n"


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]


def test_create_answers_pending_with_the_defaults(functions: FunctionSet) -> None:
    code = zip_of({"app.py": SOURCE})
    answer = functions.client.create_function(
        FunctionName="created", Runtime=PYTHON, Handler="app.handler", Role=ROLE, Code={"ZipFile": code}
    )
    functions.names.append("created")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    expected = {
        "FunctionName": "created",
        "FunctionArn": f"{ARN}:created",
        "Runtime": PYTHON,
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(code),
        "CodeSha256": base64.b64encode(hashlib.sha256(code).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/created"},
        "TracingConfig": {"Mode": "PassThrough"},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
    }
    assert {name: answer.get(name) for name in expected} == expected
    assert "LastUpdateStatus" not in answer
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answer["LastModified"])
    assert re.fullmatch(r"[0-9a-f-]{36}", answer["RevisionId"])
    functions.wait_active("created")
    active = functions.client.get_function_configuration(FunctionName="created")
    assert (active["State"], active["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in active
    assert active["RevisionId"] != answer["RevisionId"]


def test_everything_given_is_echoed(functions: FunctionSet) -> None:
    given = {
        "Description": "about ü",
        "Timeout": 7,
        "MemorySize": 256,
        "Environment": {"Variables": {"NAME": "värde"}},
        "EphemeralStorage": {"Size": 1024},
        "Architectures": ["x86_64"],
        "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO"},
    }
    name = functions.create(SOURCE, **given)
    answer = functions.client.get_function_configuration(FunctionName=name)
    for member, value in given.items():
        shown = answer[member]
        assert shown == value or value.items() <= shown.items(), member


def test_get_function_links_to_the_code(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, Tags={"team": "a"})
    answer = functions.client.get_function(FunctionName=name)
    assert answer["Code"]["RepositoryType"] == "S3"
    assert answer["Tags"] == {"team": "a"}
    with urllib.request.urlopen(answer["Code"]["Location"], timeout=10) as download:
        archive = zipfile.ZipFile(io.BytesIO(download.read()))
    assert archive.read("app.py").decode() == SOURCE
    broken = answer["Code"]["Location"][:-1] + ("0" if answer["Code"]["Location"][-1] != "0" else "1")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(broken, timeout=10)
    assert caught.value.code == 403
    caught.value.close()


@pytest.mark.parametrize("operation", ["get_function", "get_function_configuration", "delete_function"])
def test_a_missing_function_has_no_suffix(functions: FunctionSet, operation: str) -> None:
    found = refused(getattr(functions.client, operation), FunctionName="nobody")
    assert found == (404, "ResourceNotFoundException", f"Function not found: {ARN}:nobody")


@pytest.mark.parametrize("form", ["{name}", "function:{name}", "000000000000:{name}", f"{ARN}:{{name}}"])
def test_management_takes_every_form_of_a_name(functions: FunctionSet, form: str) -> None:
    name = functions.create(SOURCE)
    version = functions.publish(name)
    address = form.format(name=name)
    assert functions.client.get_function_configuration(FunctionName=address)["FunctionArn"] == f"{ARN}:{name}"
    by_name = functions.client.get_function_configuration(FunctionName=f"{address}:{version}")
    by_query = functions.client.get_function_configuration(FunctionName=address, Qualifier=version)
    assert by_name["FunctionArn"] == by_query["FunctionArn"] == f"{ARN}:{name}:{version}"
    functions.client.delete_function(FunctionName=address)


def test_a_name_is_taken_once(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    members = {"FunctionName": name, "Runtime": PYTHON, "Handler": "app.handler", "Role": ROLE}
    found = refused(functions.client.create_function, Code={"ZipFile": zip_of({"app.py": SOURCE})}, **members)
    assert found == (409, "ResourceConflictException", f"Function already exist: {name}")


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        (
            {"Runtime": "cobol"},
            "InvalidParameterValueException",
            "Value cobol at 'runtime' failed to satisfy constraint",
        ),
        ({"Runtime": "python2.7"}, "InvalidParameterValueException", "is no longer supported for creating"),
        ({"Timeout": 901}, "ValidationException", "value less than or equal to 900"),
        ({"MemorySize": 10_241}, "InvalidParameterValueException", "less than or equal to 10240"),
        ({"Handler": "has blank"}, "ValidationException", "at 'handler' failed to satisfy constraint"),
        ({"Role": "me"}, "ValidationException", "Value 'me' at 'role' failed to satisfy constraint"),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file."),
        ({"Code": {"ZipFile": zip_of({})}}, "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        ({"Code": {"ZipFile": zip_of({"../up.py": ""})}}, "InvalidParameterValueException", "leaves the archive"),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "AWS_REGION"),
        ({"Environment": {"Variables": {"_X": "x"}}}, "ValidationException", "at 'environment.variables' failed"),
        ({"Environment": {"Variables": {"BIG": "x" * 4096}}}, "InvalidParameterValueException", "4KB limit"),
        (
            {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:x:1"]},
            "InvalidParameterValueException",
            "not exist",
        ),
        ({"PackageType": "Image"}, "InvalidParameterValueException", "PackageType Image is not supported"),
    ],
)
def test_what_create_refuses(functions: FunctionSet, changes: dict[str, Any], code: str, text: str) -> None:
    members: dict[str, Any] = {
        "FunctionName": "refused",
        "Runtime": PYTHON,
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": zip_of({"app.py": SOURCE})},
    }
    status, found, message = refused(functions.client.create_function, **{**members, **changes})
    assert (status, found) == (400, code), message
    assert text in message
    assert refused(functions.client.get_function, FunctionName="refused")[0] == 404


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({}, "Code from a container image (ImageUri) is not supported by this service"),
        ({"PackageType": "Image"}, "PackageType Image is not supported by this service"),
        (
            {"PackageType": "Image", "ImageConfig": {"Command": ["app.handler"]}},
            "ImageConfig is not supported by this service",
        ),
    ],
)
def test_an_image_is_refused_as_such(functions: FunctionSet, members: dict[str, Any], text: str) -> None:
    """As tools send it: without runtime and handler, whose absence is not what is wrong."""
    code = {"ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/shop:latest"}
    status, found, message = refused(
        functions.client.create_function, FunctionName="refused", Role=ROLE, Code=code, **members
    )
    assert (status, found) == (400, "InvalidParameterValueException")
    assert text in message
    assert "send a zip archive" in message


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "ValidationException"),
        (b"{}", 400, "ValidationException"),
        (b"{", 400, "SerializationException"),
        (b"[]", 400, "SerializationException"),
        (b"\xff", 400, "SerializationException"),
        (b'{"FunctionName":1}', 400, "SerializationException"),
        (b'{"FunctionName":"a","Code":{"ZipFile":"%%%"}}', 400, "SerializationException"),
    ],
)
def test_a_create_request_by_hand(functions: FunctionSet, body: bytes, status: int, code: str) -> None:
    answer = send(functions.url, "POST", "/2015-03-31/functions", body, {"X-Amz-A": "b"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, code)
    assert answer.json["message"]


def test_ranges_that_clients_check_themselves(functions: FunctionSet) -> None:
    body = b'{"FunctionName":"a","Role":"%b","Code":{},"Timeout":0,"MemorySize":127}' % ROLE.encode()
    answer = send(functions.url, "POST", "/2015-03-31/functions", body, {"X-Amz-A": "b"})
    assert answer.json["message"] == (
        "2 validation errors detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value "
        "greater than or equal to 1; Value '127' at 'memorySize' failed to satisfy constraint: Member must have value "
        "greater than or equal to 128"
    )


def test_update_answers_in_progress(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    code = zip_of({"app.py": SOURCE + "# new\n"})
    answer = functions.client.update_function_code(FunctionName=name, ZipFile=code)
    assert answer["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    assert (answer["LastUpdateStatus"], answer["LastUpdateStatusReasonCode"]) == ("InProgress", "Creating")
    functions.wait_updated(name)
    stale = {"FunctionName": name, "ZipFile": code, "RevisionId": answer["RevisionId"]}
    assert refused(functions.client.update_function_code, **stale)[:2] == (412, "PreconditionFailedException")


def test_versions_are_numbered_and_not_repeated(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    client = functions.client
    first = client.publish_version(FunctionName=name)
    assert (first["Version"], first["FunctionArn"]) == ("1", f"{ARN}:{name}:1")
    assert client.publish_version(FunctionName=name)["Version"] == "1"
    functions.wait_active(f"{name}:1")
    functions.update(name, SOURCE + "# 2\n")
    assert functions.publish(name) == "2"
    client.delete_function(FunctionName=name, Qualifier="2")
    assert refused(client.get_function, FunctionName=name, Qualifier="2")[2] == f"Function not found: {ARN}:{name}:2"
    functions.update(name, SOURCE + "# 3\n")
    assert functions.publish(name) == "3"
    status, code, message = refused(client.publish_version, FunctionName=name, CodeSha256="A" * 43 + "=")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message.startswith("CodeSHA256 (AAAA")
    assert refused(client.delete_function, FunctionName=name, Qualifier="$LATEST")[2] == (
        "$LATEST version cannot be deleted without deleting the function."
    )


def test_create_with_publish(functions: FunctionSet) -> None:
    name = functions.create(SOURCE, Publish=True)
    functions.wait_active(f"{name}:1")
    assert functions.invoke(name, Qualifier="1").version == "1"


def test_aliases(functions: FunctionSet) -> None:
    name = functions.create(SOURCE)
    functions.publish(name)
    client = functions.client
    made = client.create_alias(FunctionName=name, Name="live", FunctionVersion="1", Description="d")
    read = client.get_alias(FunctionName=name, Name="live")
    for answer in (made, read):
        assert (answer["AliasArn"], answer["FunctionVersion"]) == (f"{ARN}:{name}:live", "1")
    assert made["RevisionId"] == read["RevisionId"]
    again = refused(client.create_alias, FunctionName=name, Name="live", FunctionVersion="1")
    assert again == (409, "ResourceConflictException", f"Alias already exists: {ARN}:{name}:live")
    missing = refused(client.get_alias, FunctionName=name, Name="gone")
    assert missing == (404, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:{name}:gone")
    assert refused(client.create_alias, FunctionName=name, Name="1", FunctionVersion="1")[1] == "ValidationException"
    assert refused(client.create_alias, FunctionName=name, Name="a", FunctionVersion="9")[:2] == (
        404,
        "ResourceNotFoundException",
    )
    configuration = client.get_function_configuration(FunctionName=name, Qualifier="live")
    assert (configuration["Version"], configuration["FunctionArn"]) == ("1", f"{ARN}:{name}:live")


def test_lists_come_in_pages(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    names = [functions.create(SOURCE, name=f"listed-{number:02d}", wait=False) for number in range(7)]
    for name in names:
        functions.wait_active(name)
    functions.publish(names[3])
    pages = list(running.client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Functions"]) for page in pages] == [3, 3, 1]
    listed = [item for page in pages for item in page["Functions"]]
    assert [item["FunctionName"] for item in listed] == names
    assert not any({"State", "LastUpdateStatus", "RuntimeVersionConfig"} & item.keys() for item in listed)
    every = running.client.list_functions(FunctionVersion="ALL")["Functions"]
    assert [(item["FunctionName"], item["Version"]) for item in every].count((names[3], "1")) == 1
    assert len(every) == 8
    assert refused(running.client.list_functions, Marker="nonsense")[1] == "InvalidParameterValueException"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/2015-03-31/functions/", 200),
        ("GET", "/2015-03-31/functions", 200),
        ("GET", "/", 404),
        ("GET", "/2015-03-31/nothing", 404),
        ("PATCH", "/2015-03-31/functions", 404),
        ("GET", "/_venturekit/nothing", 404),
        ("POST", "/_venturekit/health", 405),
    ],
)
def test_addresses(functions: FunctionSet, method: str, target: str, status: int) -> None:
    answer = send(functions.url, method, target, headers={"X-Amz-A": "b"})
    assert answer.status in ({404, 405} if status == 404 else {status})
    if status == 404 and "_venturekit" not in target:
        assert answer.headers["x-amzn-ErrorType"]


def test_health_counts(start_service: Callable[..., RunningService]) -> None:
    running = start_service()
    functions = running.functions()
    assert running.health()["functions"] == 0
    functions.invoke(functions.create(SOURCE))
    health = running.health()
    assert (health["status"], health["functions"], health["executionEnvironments"]) == ("ok", 1, 1)
