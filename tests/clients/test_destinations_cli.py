"""Destinations, dead letters and the recursion setting by the AWS CLI, unmodified."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.clients.client_support import client_with
from tests.clients.command_line import Shell
from tests.service.harness import FunctionSet, RunningService
from tests.service.stand_in import StandIn, bodies, stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FAILS = "def handler(event, context):\n    raise ValueError('no')\n"


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture(scope="module")
def sending(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that has somebody to send to."""
    running = RunningService(tmp_path_factory.mktemp("sending") / "data", stand_in.environ(), async_retry_delays="0,0")
    yield running
    running.close()


@pytest.fixture
def aws(sending: RunningService, tmp_path: Path) -> Iterator[Shell]:
    """The account of this shell has the function ``f``."""
    shell = Shell(sending.url, tmp_path)
    functions = FunctionSet(sending.url, client_with(sending.url, shell.account_id, "any-secret"))
    functions.create(FAILS, name="f")
    yield shell
    functions.delete_all()
    functions.client.close()


def test_a_failure_is_told_to_a_queue_and_the_event_kept_in_another(aws: Shell, stand_in: StandIn) -> None:
    bad, dead = stand_in.queue("cli-bad"), stand_in.queue("cli-dead")
    changed = aws(f"update-function-configuration --function-name f --dead-letter-config TargetArn={dead}")
    assert changed["DeadLetterConfig"] == {"TargetArn": dead}
    put = "put-function-event-invoke-config --function-name f --destination-config OnFailure={Destination="
    assert aws(f"{put}{bad}}}")["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": bad}}
    refused = aws.fails(f"{put}{bad}-that-is-not-there}}")
    assert f"The destination ARN {bad}-that-is-not-there is invalid." in refused
    sent = aws("invoke --function-name f --invocation-type Event out.json", "--payload", '{"a": 1}')
    assert sent == {"StatusCode": 202}
    (record,) = bodies(stand_in.received(bad))
    context = record["requestContext"]
    assert context["functionArn"] == aws.arn("f:$LATEST")
    assert (context["condition"], context["approximateInvokeCount"]) == ("RetriesExhausted", 3)
    assert record["requestPayload"] == {"a": 1}
    (letter,) = stand_in.received(dead)
    assert json.loads(letter["Body"]) == {"a": 1}
    said = {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()}
    assert said == {"RequestID": context["requestId"], "ErrorCode": "200", "ErrorMessage": "no"}


def test_the_recursion_setting_by_the_command_line(aws: Shell) -> None:
    put = "put-function-recursion-config --function-name f --recursive-loop"
    assert aws(f"{put} Allow") == {"RecursiveLoop": "Allow"}
    assert aws("get-function-recursion-config --function-name f") == {"RecursiveLoop": "Allow"}
    assert "Member must satisfy enum value set: [Terminate, Allow]" in aws.fails(f"{put} allow")
