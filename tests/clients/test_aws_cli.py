"""The AWS CLI, unmodified, with and without signatures."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import ROLE
from tests.warm import warm_command

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import RunningService

RUNTIME = f"python3.{sys.version_info.minor}"
AWS = Path(sys.executable).with_name("aws")
# The others are commands of processes that have imported it already.
AS_A_PROGRAM = {"create-function", "list-functions", "list-capacity-providers"}


@pytest.fixture(params=[pytest.param("signed", marks=pytest.mark.full), "--no-sign-request"])
def aws(request: pytest.FixtureRequest, service: RunningService, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Run ``aws lambda ...``: status, output, errors."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_LAMBDA": service.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_PAGER": "",
    }
    options = [request.param] if request.param.startswith("--") else []
    if not options:
        environ |= {"AWS_ACCESS_KEY_ID": "AKIDANY", "AWS_SECRET_ACCESS_KEY": "any-secret"}

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [*options, "--output", "json", "lambda", *arguments]
        if arguments[0] not in AS_A_PROGRAM:
            status, out, err = warm_command("aws").run(command, cwd=tmp_path, env=environ, stdin=b"", seconds=60)
            return status, out.decode(), err.decode()
        done = subprocess.run(
            [str(AWS), *command],
            env=environ,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_a_function_by_the_command_line(
    aws: Callable[..., tuple[int, str, str]], archive: bytes, tmp_path: Path
) -> None:
    def must(*arguments: str) -> dict[str, object]:
        status, output, errors = aws(*arguments)
        assert status == 0, (arguments, errors)
        return json.loads(output) if output.strip() else {}

    (tmp_path / "code.zip").write_bytes(archive)
    # Version numbers are not given again to a function of the same name.
    function = f"by-cli-{tmp_path.name}"[:64]
    name = ("--function-name", function)
    made = must(
        "create-function",
        *name,
        *("--runtime", RUNTIME, "--handler", "app.handler", "--role", ROLE, "--zip-file", "fileb://code.zip"),
    )
    assert made["State"] == "Pending"
    must("wait", "function-active-v2", *name)
    invoked = must("invoke", *name, "--payload", '{"a": 1}', "--log-type", "Tail", "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"event": {"a": 1}, "version": "$LATEST"}
    assert (invoked["StatusCode"], invoked["ExecutedVersion"]) == (200, "$LATEST")
    tail = base64.b64decode(str(invoked["LogResult"])).decode()
    assert tail.startswith("START RequestId: ")
    assert "seen {'a': 1}\n" in tail
    failed = must("invoke", *name, "--payload", '{"fail": 1}', "out.json")
    assert failed["FunctionError"] == "Unhandled"
    listed = must("list-functions")["Functions"]
    assert isinstance(listed, list)
    assert [item["FunctionName"] for item in listed] == [function]
    assert must("publish-version", *name)["Version"] == "1"
    must("create-alias", *name, "--name", "live", "--function-version", "1")
    assert must("get-alias", *name, "--name", "live")["FunctionVersion"] == "1"
    must("invoke", *name, "--qualifier", "live", "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {"event": {}, "version": "1"}
    must("delete-function", *name)
    status, _, errors = aws("get-function", *name)
    assert status == 255
    assert "(ResourceNotFoundException) when calling the GetFunction operation: Function not found: arn:aws:" in errors


def test_what_is_not_served_is_named(aws: Callable[..., tuple[int, str, str]]) -> None:
    status, _, errors = aws("list-durable-executions-by-function", "--function-name", "f")
    assert status == 255
    assert "(NotImplementedException)" in errors
    assert "ListDurableExecutionsByFunction" in errors
