"""Runtimes other than Python's that have several invocations at once, through the whole service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.service.harness import until
from tests.service.managed_support import LATEST_PUBLISHED, Managed, Providers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

BOOTSTRAP = r"""#!/bin/bash
# As many workers as there may be invocations: each waits for an event, and answers with its number and the payload.
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
work() {
    while true; do
        head=$(mktemp)
        event=$(curl -sS -D "$head" "$api/next") || exit 1
        id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *//Ip' "$head" | tr -d '\r')
        folder=$(printf %s "$event" | sed 's/.*"folder": "\([^"]*\)".*/\1/')
        touch "$folder/$1"
        while [ "$(ls "$folder" | wc -l)" -lt 3 ]; do sleep 0.01; done
        echo "{\"requestId\": \"$id\", \"worker\": $1}"
        curl -sS -o /dev/null -d "$1" "$api/$id/response" || exit 1
    done
}
for number in 1 2 3; do work $number & done
wait
"""


@pytest.fixture
def provider(functions: FunctionSet) -> Iterator[str]:
    providers = Providers(functions.client)
    yield providers.create()
    functions.delete_all()
    providers.delete_all()


def test_a_bootstrap_in_bash(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, None, 3, files={"bootstrap": BOOTSTRAP}, Runtime="provided.al2023")
    outcomes = call.all(3, folder=str(tmp_path))
    assert sorted(outcome.value for outcome in outcomes) == [1, 2, 3]


WAITING = """
import time
from pathlib import Path

def handler(event, context):
    Path(event["folder"], context.aws_request_id).touch()
    while not Path(event["folder"], "go").exists():
        time.sleep(0.002)
    return "gone"
"""


def scale(functions: FunctionSet, name: str, **bounds: int) -> None:
    functions.client.put_function_scaling_config(
        FunctionName=name,
        Qualifier=LATEST_PUBLISHED,
        FunctionScalingConfig={f"{word}ExecutionEnvironments": number for word, number in bounds.items()},
    )


def test_no_more_environments_than_there_may_be(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, WAITING, 2)
    scale(functions, call.name, Max=2)
    begun = [call.begin(folder=str(tmp_path)) for _ in range(4)]
    until(lambda: len([*tmp_path.iterdir()]) == 4, "all run")
    with pytest.raises(functions.client.exceptions.TooManyRequestsException) as caught:
        call(folder=str(tmp_path))
    assert caught.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"
    (tmp_path / "go").touch()
    assert [outcome().value for outcome in begun] == ["gone"] * 4
    assert call(folder=str(tmp_path)).value == "gone"
    starts = [line for line in functions.log_lines(call.name) if "platform.initStart" in line]
    assert len(starts) == 2


def test_those_that_are_kept_are_of_the_same_kind(functions: FunctionSet, provider: str, tmp_path: Path) -> None:
    call = Managed(functions, provider, WAITING, 2)
    scale(functions, call.name, Min=1, Max=1)
    until(lambda: any("platform.initReport" in line for line in functions.log_lines(call.name)), "it is initialised")
    (tmp_path / "go").touch()
    assert call(folder=str(tmp_path)).value == "gone"
    starts = [line for line in functions.log_lines(call.name) if "platform.initStart" in line]
    assert len(starts) == 1
    assert '"initializationType":"lambda-managed-instances"' in starts[0]
