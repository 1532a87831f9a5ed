"""k6 invokes functions in the request shapes of its AWS library, with signatures that the service checks."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import arn, create, send_signed, wait
from tests.clients.guarded_keys import FULL, INVOKER, SESSION, Key
from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import RunningService

COMMAND = Path(sys.executable).with_name("k6")
SCRIPTS = Path(__file__).parents[1] / "javascript"
RUN_SECONDS = 60
ADD = """
def handler(event, context):
    if event.get("fail"):
        raise ValueError("as told")
    print("adding", event.get("note"))
    custom = context.client_context and context.client_context.custom
    return custom or event["x"] + event["y"]
"""
CONTEXT = base64.b64encode(b'{"custom": {"who": "k6"}}').decode()
ONE_AND_TWO = {"x": 1, "y": 2}
# Calls by name: function, payload, options and, where they are others, key or secret.
CALLS: dict[str, tuple[str, Any, dict[str, str], dict[str, str]]] = {
    "a text": ("add-numbers", '{"x": 1, "y": 2}', {}, {}),
    "an object": ("add-numbers", ONE_AND_TWO, {}, {}),
    "by its kind": ("add-numbers", ONE_AND_TWO, {"invocationType": "RequestResponse", "logType": "None"}, {}),
    "an event": ("add-numbers", {**ONE_AND_TWO, "note": "later"}, {"invocationType": "Event"}, {}),
    "a dry run": ("add-numbers", ONE_AND_TWO, {"invocationType": "DryRun"}, {}),
    "with the log": ("add-numbers", {**ONE_AND_TWO, "note": "now"}, {"logType": "Tail"}, {}),
    "with a client context": ("add-numbers", ONE_AND_TWO, {"clientContext": CONTEXT}, {}),
    "a version": ("add-numbers", ONE_AND_TWO, {"qualifier": "1"}, {}),
    "the newest": ("add-numbers", ONE_AND_TWO, {"qualifier": "$LATEST"}, {}),
    "a name with a version": ("add-numbers:1", ONE_AND_TWO, {}, {}),
    "an ARN": (arn("add-numbers"), ONE_AND_TWO, {}, {}),
    "an ARN with a version": (arn("add-numbers:1"), ONE_AND_TWO, {"qualifier": "1"}, {}),
    "a session": ("add-numbers", ONE_AND_TWO, {}, {"sessionToken": SESSION.token or "", "key": "session"}),
    "a function error": ("add-numbers", {"fail": True}, {}, {}),
    "no such function": ("nobody", ONE_AND_TWO, {}, {}),
    "no JSON": ("add-numbers", "no JSON", {}, {}),
    "another secret": ("add-numbers", ONE_AND_TWO, {}, {"secretAccessKey": "another"}),
    "not allowed": ("add-numbers", ONE_AND_TWO, {}, {"key": "invoker"}),
}
KEYS = {"session": SESSION, "invoker": INVOKER}


def credentials_of(key: Key) -> dict[str, str]:
    return {"accessKeyId": key.access_key_id, "secretAccessKey": key.secret}


def run(script: str, running: RunningService, folder: Path, **variables: str) -> str:
    """What a script prints. Raises AssertionError when it fails or a threshold is crossed."""
    config = {"region": "us-east-1", "endpoint": running.url, **credentials_of(FULL)}
    options = ["--no-usage-report", "--quiet", "--no-color", "--log-format", "raw", "--log-output", "stdout"]
    # Nothing of k6's own listens, and it finds no configuration.
    done = subprocess.run(
        [COMMAND, "run", *options, "--address", "", SCRIPTS / script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "CONFIG": json.dumps(config), **variables},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def adding(guarded: RunningService) -> Iterator[RunningService]:
    """The service with a function of two numbers, and its version 1."""
    client = FULL.client(guarded.url)
    create(client, "add-numbers", ADD)
    client.publish_version(FunctionName="add-numbers")
    wait(client, "published_version_active", FunctionName="add-numbers", Qualifier="1")
    yield guarded
    client.delete_function(FunctionName="add-numbers")
    client.close()


@pytest.fixture(scope="module")
def found(adding: RunningService, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each call of CALLS gave, in one run."""
    calls = []
    for case, (name, payload, options, other) in CALLS.items():
        config = {name: value for name, value in other.items() if name != "key"}
        if "key" in other:
            config |= credentials_of(KEYS[other["key"]])
        calls.append({"case": case, "name": name, "payload": payload, "options": options, "config": config})
    printed = run(
        "k6_contract.js", adding, tmp_path_factory.mktemp("k6"), CALLS=json.dumps(calls), K6_NO_SUMMARY="true"
    )
    told = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return {call.pop("case"): call for call in told}


@pytest.mark.parametrize(
    ("case", "version"),
    [
        ("a text", "$LATEST"),
        ("an object", "$LATEST"),
        ("by its kind", "$LATEST"),
        ("a version", "1"),
        ("the newest", "$LATEST"),
        ("a name with a version", "1"),
        ("an ARN", "$LATEST"),
        ("an ARN with a version", "1"),
        ("a session", "$LATEST"),
    ],
)
def test_what_a_function_returns_is_a_text(found: dict[str, Any], case: str, version: str) -> None:
    assert found[case] == {"result": {"statusCode": 200, "executedVersion": version, "payload": "3"}}


def test_an_event(found: dict[str, Any], adding: RunningService) -> None:
    result = found["an event"]["result"]
    assert (result["statusCode"], result["payload"] or None) == (202, None)

    def is_seen() -> bool:
        events = send_signed(adding, FULL, "GET", "/_venturekit/logs/add-numbers").json["events"]
        return any(event["message"] == "adding later\n" for event in events)

    until(is_seen, "the function is invoked")


def test_a_dry_run(found: dict[str, Any]) -> None:
    result = found["a dry run"]["result"]
    assert (result["statusCode"], result["payload"] or None) == (204, None)


def test_the_log(found: dict[str, Any]) -> None:
    log = found["with the log"]["result"]["logResult"]
    assert log.startswith("START RequestId: ")
    assert "\nadding now\n" in log
    assert log.splitlines()[-1].startswith("REPORT RequestId: ")


def test_a_client_context(found: dict[str, Any]) -> None:
    assert json.loads(found["with a client context"]["result"]["payload"]) == {"who": "k6"}


def test_a_function_error_rejects(found: dict[str, Any]) -> None:
    failed = found["a function error"]
    assert failed["name"] == "LambdaInvocationError"
    word, _, payload = failed["message"].partition(": ")
    assert (word, json.loads(payload)["errorMessage"]) == ("Unhandled", "as told")
    assert failed["response"] == {"statusCode": 200, "executedVersion": "$LATEST", "payload": payload}


@pytest.mark.parametrize(
    ("case", "name", "code", "message"),
    [
        (
            "no such function",
            "AWSError",
            "ResourceNotFoundException",
            f"Function not found: {arn('nobody')}:$LATEST",
        ),
        ("no JSON", "AWSError", "InvalidRequestContentException", "Could not parse request body into json"),
        (
            "another secret",
            "InvalidSignatureError",
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided.",
        ),
        (
            "not allowed",
            "AWSError",
            "AccessDeniedException",
            f"User: {INVOKER.arn} is not authorized to perform: lambda:InvokeFunction",
        ),
    ],
)
def test_what_the_service_refuses(found: dict[str, Any], case: str, name: str, code: str, message: str) -> None:
    refused = found[case]
    assert (refused["name"], refused["code"]) == (name, code)
    assert refused["message"].startswith(message)


def test_a_load(adding: RunningService, tmp_path: Path, full_counts: bool) -> None:
    iterations = 2000 if full_counts else 200
    printed = run("k6_load.js", adding, tmp_path, USERS="4", ITERATIONS=str(iterations))
    summary = json.loads(printed[printed.index("{") :])
    assert summary["iterations"] == iterations
    assert summary["checks"] == {"rate": 1, "passes": 2 * iterations, "fails": 0}
