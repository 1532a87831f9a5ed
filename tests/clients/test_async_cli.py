"""Asynchronous invocation by the AWS CLI, unmodified."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.clients.client_support import client_with
from tests.clients.command_line import Shell
from tests.service.async_support import Queue, recorder
from tests.service.harness import FunctionSet, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.harness import RunningService

EMPTY = {"OnSuccess": {}, "OnFailure": {}}


@pytest.fixture
def aws(service: RunningService, tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(service.url, tmp_path)
    functions = FunctionSet(service.url, client_with(service.url, shell.account_id, "any-secret"))
    functions.create(recorder(), name="f", Environment={"Variables": {"LEDGER": str(tmp_path / "ledger")}}, Timeout=20)
    yield shell
    functions.delete_all()
    functions.client.close()


def recorded(aws: Shell) -> dict[str, object]:
    """The first run that the function has written down."""
    ledger = aws.folder / "ledger"
    until(lambda: ledger.exists() and ledger.read_text().endswith("\n"), "the function has run")
    found: dict[str, object] = json.loads(ledger.read_text().splitlines()[0])
    return found


def test_an_event_by_the_command_line(aws: Shell, service: RunningService) -> None:
    answer = aws("invoke --function-name f --invocation-type Event out.json", "--payload", '{"a": "é"}')
    assert answer == {"StatusCode": 202}
    assert (aws.folder / "out.json").read_bytes() == b""
    run = recorded(aws)
    assert (run["event"], run["version"]) == ({"a": "é"}, "$LATEST")
    assert Queue(service).ended(str(run["id"]))[-1].kind == "succeeded"
    refused = aws.fails("invoke --function-name f --invocation-type Event --payload { out.json")
    assert "(InvalidRequestContentException)" in refused
    refused = aws.fails("invoke --function-name missing --invocation-type Event out.json")
    assert "(ResourceNotFoundException) when calling the Invoke operation: Function not found: arn:aws:" in refused


@pytest.mark.full
def test_an_event_for_an_alias_by_the_command_line(aws: Shell) -> None:
    aws("publish-version --function-name f")
    aws("create-alias --function-name f --name live --function-version 1")
    assert aws("invoke --function-name f --qualifier live --invocation-type Event out.json") == {"StatusCode": 202}
    run = recorded(aws)
    assert (run["event"], run["version"], run["arn"]) == ({}, "1", aws.arn("f:live"))


def test_invoke_async_by_the_command_line(aws: Shell) -> None:
    (aws.folder / "args.json").write_text('{"legacy": [1, 2]}')
    assert aws("invoke-async --function-name f --invoke-args args.json") == {"Status": 202}
    assert recorded(aws)["event"] == {"legacy": [1, 2]}
    (aws.folder / "args.json").write_text("no json")
    refused = aws.fails("invoke-async --function-name f --invoke-args args.json")
    assert "(InvalidRequestContentException) when calling the InvokeAsync operation: Could not parse" in refused


@pytest.mark.full
def test_the_event_invoke_config_by_the_command_line(aws: Shell) -> None:
    aws("publish-version --function-name f")
    missing = aws.fails("get-function-event-invoke-config --function-name f")
    assert f"The function {aws.arn('f:$LATEST')} doesn't have an EventInvokeConfig" in missing
    made = aws(
        "put-function-event-invoke-config --function-name f --maximum-retry-attempts 1 "
        "--maximum-event-age-in-seconds 3600"
    )
    assert (made["FunctionArn"], made["DestinationConfig"]) == (aws.arn("f:$LATEST"), EMPTY)
    assert (made["MaximumRetryAttempts"], made["MaximumEventAgeInSeconds"]) == (1, 3600)
    changed = aws("update-function-event-invoke-config --function-name f --maximum-retry-attempts 0")
    assert (changed["MaximumRetryAttempts"], changed["MaximumEventAgeInSeconds"]) == (0, 3600)
    assert aws("get-function-event-invoke-config --function-name f") == changed
    replaced = aws("put-function-event-invoke-config --function-name f --qualifier 1 --maximum-retry-attempts 2")
    assert (replaced["FunctionArn"], "MaximumEventAgeInSeconds" in replaced) == (aws.arn("f:1"), False)
    listed = aws("list-function-event-invoke-configs --function-name f")["FunctionEventInvokeConfigs"]
    assert sorted(item["FunctionArn"] for item in listed) == [aws.arn("f:$LATEST"), aws.arn("f:1")]
    assert aws("delete-function-event-invoke-config --function-name f") is None
    listed = aws("list-function-event-invoke-configs --function-name f")["FunctionEventInvokeConfigs"]
    assert [item["FunctionArn"] for item in listed] == [aws.arn("f:1")]


def test_refusals_of_the_event_invoke_config_by_the_command_line(aws: Shell) -> None:
    put = "put-function-event-invoke-config --function-name"
    assert "You must specify at least one of error handling or destination setting." in aws.fails(f"{put} f")
    assert "The function doesn't exist." in aws.fails(f"{put} missing --maximum-retry-attempts 1")
    assert re.search(r"maximumRetryAttempts.*less than or equal to 2", aws.fails(f"{put} f --maximum-retry-attempts 3"))
    itself = aws.run(f"{put} f --destination-config", json.dumps({"OnFailure": {"Destination": aws.arn("f")}}))
    assert "You can't specify the function as a destination for itself." in itself[2]


@pytest.mark.full
def test_the_config_that_was_put_decides_about_retries(aws: Shell, service: RunningService) -> None:
    aws("put-function-event-invoke-config --function-name f --maximum-retry-attempts 0")
    aws("invoke --function-name f --invocation-type Event out.json", "--payload", '{"fail": 9}')
    run = recorded(aws)
    history = Queue(service).ended(str(run["id"]), "failed")
    assert [line.kind for line in history] == ["accepted", "started", "error", "failed"]
