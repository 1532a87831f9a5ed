"""Unmodified boto3, signed and unsigned: every operation that is served, waiters, paginators, exceptions."""

from __future__ import annotations

import base64
import json
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from tests.service.harness import ROLE, client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import RunningService

RUNTIME = f"python3.{sys.version_info.minor}"
MEMBERS = {"Runtime": RUNTIME, "Handler": "app.handler", "Role": ROLE}


@pytest.fixture(params=["signed", "unsigned"])
def client(request: pytest.FixtureRequest, service: RunningService) -> Iterator[Any]:
    made = client_of(service.url, signed=("AKIDANY", "any-secret") if request.param == "signed" else None)
    yield made
    for item in made.list_functions()["Functions"]:
        made.delete_function(FunctionName=item["FunctionName"])
    made.close()


def test_the_life_of_a_function(client: Any, archive: bytes) -> None:
    made = client.create_function(FunctionName="f", Code={"ZipFile": archive}, **MEMBERS)
    assert made["State"] == "Pending"
    client.get_waiter("function_exists").wait(FunctionName="f")
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    client.get_waiter("function_active").wait(FunctionName="f")

    answer = client.invoke(FunctionName="f", Payload=b'{"a": 1}', LogType="Tail")
    assert answer["StatusCode"] == 200
    assert "FunctionError" not in answer
    assert answer["ExecutedVersion"] == "$LATEST"
    assert json.loads(answer["Payload"].read()) == {"event": {"a": 1}, "version": "$LATEST"}
    assert b"seen {'a': 1}\n" in base64.b64decode(answer["LogResult"])

    updated = client.update_function_code(FunctionName="f", ZipFile=archive)
    assert updated["LastUpdateStatus"] == "InProgress"
    client.get_waiter("function_updated_v2").wait(FunctionName="f")
    client.get_waiter("function_updated").wait(FunctionName="f")

    version = client.publish_version(FunctionName="f")["Version"]
    client.get_waiter("published_version_active").wait(FunctionName="f", Qualifier=version)
    client.create_alias(FunctionName="f", Name="live", FunctionVersion=version)
    assert client.get_alias(FunctionName="f", Name="live")["FunctionVersion"] == version
    through = client.invoke(FunctionName="f", Qualifier="live")
    assert (through["ExecutedVersion"], json.loads(through["Payload"].read())["version"]) == (version, version)

    assert client.get_function(FunctionName="f")["Configuration"]["FunctionName"] == "f"
    assert client.get_function_configuration(FunctionName="f")["State"] == "Active"
    client.delete_function(FunctionName="f")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="f")


def test_errors_are_the_clients_own_classes(client: Any, archive: bytes) -> None:
    errors = client.exceptions
    with pytest.raises(errors.ResourceNotFoundException) as missing:
        client.invoke(FunctionName="missing")
    assert missing.value.response["Error"]["Message"].startswith("Function not found: arn:aws:lambda:")
    client.create_function(FunctionName="f", Code={"ZipFile": archive}, **MEMBERS)
    with pytest.raises(errors.ResourceConflictException):
        client.create_function(FunctionName="f", Code={"ZipFile": archive}, **MEMBERS)
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    with pytest.raises(errors.InvalidRequestContentException):
        client.invoke(FunctionName="f", Payload=b"no json")
    with pytest.raises(errors.InvalidParameterValueException):
        client.invoke(FunctionName="f:1", Qualifier="2")
    with pytest.raises(errors.PreconditionFailedException):
        client.update_function_code(FunctionName="f", ZipFile=archive, RevisionId="another")
    failed = client.invoke(FunctionName="f", Payload=b'{"fail": true}')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    assert json.loads(failed["Payload"].read())["errorType"] == "ValueError"


def test_pages(client: Any, archive: bytes) -> None:
    for number in range(5):
        client.create_function(FunctionName=f"p{number}", Code={"ZipFile": archive}, **MEMBERS)
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    names = [[item["FunctionName"] for item in page["Functions"]] for page in pages]
    assert names == [["p0", "p1"], ["p2", "p3"], ["p4"]]


def test_what_is_not_served_says_so_once(client: Any) -> None:
    with pytest.raises(client.exceptions.ClientError) as caught:
        client.list_durable_executions_by_function(FunctionName="f")
    assert caught.value.response["Error"]["Code"] == "NotImplementedException"
    assert "ListDurableExecutionsByFunction" in caught.value.response["Error"]["Message"]


def test_default_retries_do_not_repeat_what_cannot_succeed(service: RunningService) -> None:
    session = boto3.Session("AKIDANY", "any-secret", region_name="us-east-1")
    client = session.client("lambda", endpoint_url=service.url, config=Config(retries={"mode": "standard"}))
    for call in (client.list_durable_executions_by_function, client.invoke):
        with pytest.raises(client.exceptions.ClientError) as caught:
            call(FunctionName="missing")
        assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    client.close()


def test_the_variable_of_the_readme_is_enough(
    service: RunningService, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", service.url)
    session = boto3.Session("AKIDANY", "any-secret", region_name="us-east-1")
    client = session.client("lambda")
    assert client.meta.endpoint_url == service.url
    client.create_function(FunctionName="by-variable", Code={"ZipFile": archive}, **MEMBERS)
    client.get_waiter("function_active_v2").wait(FunctionName="by-variable")
    assert client.invoke(FunctionName="by-variable")["StatusCode"] == 200
    client.delete_function(FunctionName="by-variable")
    client.close()


def test_the_newest_payload_forms(client: Any, archive: bytes, tmp_path: Any) -> None:
    client.create_function(FunctionName="f", Code={"ZipFile": archive}, **MEMBERS)
    client.get_waiter("function_active_v2").wait(FunctionName="f")
    (tmp_path / "event").write_bytes(b'["from a file"]')
    with (tmp_path / "event").open("rb") as file:
        answer = client.invoke(FunctionName="f", Payload=file)
    assert json.loads(answer["Payload"].read())["event"] == ["from a file"]
    text = client.invoke(FunctionName="f", Payload='"text ü"')
    assert json.loads(text["Payload"].read())["event"] == "text ü"
    streamed = client.invoke(FunctionName="f", Payload=json.dumps("x" * 300_000))["Payload"]
    assert sum(len(chunk) for chunk in streamed.iter_chunks(1000)) > 300_000
