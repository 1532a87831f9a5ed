"""Runtimes other than Python's that have several invocations at once, through the whole service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import until
from tests.service.managed_support import LATEST_PUBLISHED, Managed, Providers
from tests.service.node_clients import publish_client
from tests.service.node_support import NEW

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


NODE = """
const fs = require('fs');
let inFlight = 0, most = 0;

exports.handler = async (event, context) => {
  most = Math.max(most, ++inFlight);
  fs.writeFileSync(`${event.folder}/${context.awsRequestId}`, '');
  console.error('of', context.awsRequestId);
  while (fs.readdirSync(event.folder).length < event.count) await new Promise((resolve) => setTimeout(resolve, 2));
  inFlight--;
  return { most, worker: require('worker_threads').threadId, id: context.awsRequestId };
};
"""


@pytest.mark.parametrize("client", ["ours", "AWS's"])
def test_node(functions: FunctionSet, provider: str, tmp_path: Path, client: str) -> None:
    layers = {} if client == "ours" else {"Layers": [publish_client(functions, NEW)]}
    members = {"Runtime": "nodejs24.x", "Environment": {"Variables": {"AWS_LAMBDA_NODEJS_WORKER_COUNT": "2"}}, **layers}
    call = Managed(functions, provider, None, 6, files={"app.js": NODE}, **members)
    outcomes = call.all(6, folder=str(tmp_path), count=6)
    assert [outcome.error for outcome in outcomes] == [None] * 6
    values = [outcome.value for outcome in outcomes]
    # Six at once in at most two threads: some of them shared the globals of one.
    assert max(value["most"] for value in values) >= 3
    threads = {value["worker"] for value in values}
    until(lambda: threads.add(call(folder=str(tmp_path), count=0).value["worker"]) or len(threads) == 2, "both work")
    assert len([line for line in functions.log_lines(call.name) if "platform.initStart" in line]) == 1
    logged = [json.loads(line) for line in functions.log_lines(call.name)]
    said = {each["requestId"] for each in logged if each.get("level") == "ERROR"}
    assert said >= {value["id"] for value in values}


EXITS = """
import os

def handler(event, context):
    if event.get("do") == "exit":
        os._exit(3)
    return os.getpid()
"""


def test_a_worker_that_dies_takes_its_own_invocation_only(functions: FunctionSet, provider: str) -> None:
    call = Managed(functions, provider, EXITS, 2)
    before: set[int] = set()
    until(lambda: before.add(call().value) or len(before) == 2, "both workers are there")
    dead = call(do="exit")
    assert dead.value["errorType"] == "Runtime.ExitError"
    assert dead.value["errorMessage"].endswith("Error: Runtime exited with error: exit status 3")
    after: set[int] = set()
    until(lambda: after.add(call().value) or len(after) == 2, "another worker takes its place")
    assert len(before & after) == 1
    assert len([line for line in functions.log_lines(call.name) if "platform.initStart" in line]) == 1


BLOCKS = """
const fs = require('fs');

exports.handler = async (event) => {
  while (!fs.existsSync(`${event.folder}/go`));
  process.exit(3);
};
"""


def test_an_event_that_a_dead_worker_had_not_read_fails_at_once(
    functions: FunctionSet, provider: str, tmp_path: Path
) -> None:
    variables = {"Variables": {"AWS_LAMBDA_NODEJS_WORKER_COUNT": "1"}}
    members = {"Runtime": "nodejs24.x", "Environment": variables, "Timeout": 600}
    call = Managed(functions, provider, None, 2, files={"app.js": BLOCKS}, **members)
    begun = [call.begin(folder=str(tmp_path)) for _ in range(2)]
    log = functions.log_lines
    until(lambda: sum("platform.start" in line for line in log(call.name)) == 2, "both have been handed over")
    (tmp_path / "go").touch()
    assert [outcome().value["errorType"] for outcome in begun] == ["Runtime.ExitError"] * 2
