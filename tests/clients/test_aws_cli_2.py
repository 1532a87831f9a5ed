"""Version 2 of the AWS CLI, as Debian has it: ``aws logs tail`` and what goes before it. Version 1 has no ``tail``."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import Key, create, statement, write_keys
from tests.service.harness import PYTHON, ROLE, RunningService, zip_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.full

BOUND_SECONDS = 60.0
GROUP = "/aws/lambda/hello"
KEY = Key("cli", (statement("lambda:*"), statement("logs:*")))
SOURCE = """
def handler(event, context):
    print("said", event)
    return event
"""


def find_version_2() -> str:
    """The first ``aws`` on PATH that is of version 2; that of the virtual environment is of version 1."""
    own, others = Path(sys.executable).parent, list[str]()
    for folder in os.environ["PATH"].split(os.pathsep):
        command = Path(folder, "aws")
        if not folder or Path(folder) == own or not os.access(command, os.X_OK):
            continue
        said = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=BOUND_SECONDS).stdout
        if said.startswith("aws-cli/2."):
            return str(command)
        others.append(f"{command} is {said.split()[0] if said else 'none'}")
    pytest.fail(
        "version 2 of the AWS CLI is not on PATH (Debian 12: apt-get install awscli; elsewhere AWS's installer): "
        + ("; ".join(others) or "there is no other aws than that of the virtual environment"),
        pytrace=False,
    )


class Cli:
    """Somebody who types ``aws ...`` in a folder, with the functions ``hello`` and ``followed``."""

    def __init__(self, command: str, url: str, folder: Path) -> None:
        self.folder = folder
        self._command = [command, "--endpoint-url", url]
        self._environ = {
            # Not that of this process: an interpreter of pyenv or a virtual environment must not run it.
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": KEY.access_key_id,
            "AWS_SECRET_ACCESS_KEY": KEY.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_PAGER": "",
        }

    def start(self, *arguments: str, out: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*self._command, *arguments],
            env=self._environ,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=BOUND_SECONDS)
        finally:
            process.kill()
            process.wait(BOUND_SECONDS)
        return process.returncode, out.decode(), err.decode()

    def __call__(self, *arguments: str) -> str:
        status, out, err = self.run(*arguments)
        assert (status, err) == (0, ""), (arguments, err)
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output", "json"))

    def invoke(self, name: str, event: str) -> None:
        """Invoke, with an event that is a text."""
        given = ("--cli-binary-format", "raw-in-base64-out", "--payload", json.dumps(event))
        found = self.json("lambda", "invoke", "--function-name", name, *given, "out.json")
        assert (found["StatusCode"], json.loads((self.folder / "out.json").read_text())) == (200, event)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    command = find_version_2()
    folder = tmp_path_factory.mktemp("cli2")
    write_keys(folder / "keys.json", (KEY,))
    (folder / "code.zip").write_bytes(zip_of({"app.py": SOURCE}))
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    cli = Cli(command, running.url, folder)
    made = cli.json(
        *("lambda", "create-function", "--function-name", "hello", "--runtime", PYTHON, "--role", ROLE),
        *("--handler", "app.handler", "--zip-file", "fileb://code.zip"),
    )
    assert made["State"] == "Pending"
    assert cli("lambda", "wait", "function-active-v2", "--function-name", "hello") == ""
    status, _, err = cli.run("logs", "tail", GROUP)
    assert (status, "The specified log group does not exist." in err) == (254, True)
    cli.invoke("hello", "one")
    cli.invoke("hello", "two")
    # For what comes while others read.
    client = KEY.client(running.url)
    create(client, "followed", SOURCE)
    client.invoke(FunctionName="followed", Payload=b'"two"')
    client.close()
    yield cli
    running.close()


def said(text: str) -> list[str]:
    return re.findall(r"said (\S+)", text)


def test_a_log_is_tailed(aws: Cli) -> None:
    lines = aws("logs", "tail", GROUP).splitlines()
    kinds = ["INIT_START", "START", "said", "END", "REPORT", "START", "said", "END", "REPORT"]
    detailed = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00 \d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32} (\w+) .+"
    assert [matched[1] for line in lines if (matched := re.fullmatch(detailed, line))] == kinds
    short = aws("logs", "tail", GROUP, "--since", "5m", "--format", "short").splitlines()
    assert [matched[1] for line in short if (matched := re.fullmatch(r"[0-9T:-]{19} (\w+) .+", line))] == kinds
    assert said(aws("logs", "tail", GROUP, "--format", "json", "--filter-pattern", "said -one")) == ["two"]
    assert aws("logs", "tail", GROUP, "--log-stream-names", aws.json(*STREAMS)[0], "--filter-pattern", "two").count(
        "\n"
    )
    assert aws("logs", "tail", GROUP, "--since", "2100-01-01T00:00:00Z") == ""


STREAMS = ("logs", "describe-log-streams", "--log-group-name", GROUP, "--query", "logStreams[].logStreamName")


def test_a_log_is_read(aws: Cli) -> None:
    found = aws.json("logs", "filter-log-events", "--log-group-name", GROUP, "--filter-pattern", "said")
    assert [event["message"] for event in found["events"]] == ["said one\n", "said two\n"]
    (stream,) = aws.json(*STREAMS)
    page = aws.json("logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", stream)
    assert said("".join(event["message"] for event in page["events"])) == ["one", "two"]


def test_a_log_is_followed_until_ctrl_c(aws: Cli) -> None:
    # It keeps back what it writes to a pipe.
    master, terminal = os.openpty()
    options = ("--follow", "--format", "short", "--color", "off", "--filter-pattern", "said")
    process = aws.start("logs", "tail", "/aws/lambda/followed", *options, out=terminal)
    os.close(terminal)
    seen = b""

    def read_until(wanted: bytes) -> None:
        nonlocal seen
        give_up = time.monotonic() + BOUND_SECONDS
        while wanted not in seen:
            ready, _, _ = select.select([master], [], [], max(0.0, give_up - time.monotonic()))
            piece = os.read(master, 65536) if ready else b""
            assert piece, f"no {wanted!r} in {seen!r}"
            seen += piece

    try:
        read_until(b"said two\r\n")
        for event in ("three", "four"):
            aws.invoke("followed", event)
        read_until(b"said four\r\n")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=BOUND_SECONDS)
    finally:
        process.kill()
        process.wait(BOUND_SECONDS)
        os.close(master)
    assert (process.returncode, err) == (0, b"")
    assert said(seen.decode()) == ["two", "three", "four"]
