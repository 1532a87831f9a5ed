"""curl, by hand: with one header it may do everything, without it learns which header to add."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet, RunningService

RUNTIME = f"python3.{sys.version_info.minor}"
HEADER = ("-H", "x-amz-client: curl")


def curl(*arguments: str, data: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower case) and body."""
    command = ["curl", "-sS", "-i", "--max-time", "20", *arguments]
    done = subprocess.run(command, input=data, capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return (
        int(first.split()[1]),
        {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines},
        body,
    )


@pytest.fixture
def functions(service: RunningService) -> Iterator[FunctionSet]:
    made = service.functions()
    yield made
    made.delete_all()


@pytest.fixture
def name(functions: FunctionSet) -> str:
    return functions.create("def handler(event, context):\n    return event\n", name="by-curl")


def test_create_and_invoke(service: RunningService, functions: FunctionSet, archive: bytes) -> None:
    functions.names.append("from-curl")
    request = {
        "FunctionName": "from-curl",
        "Runtime": RUNTIME,
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": base64.b64encode(archive).decode()},
    }
    url = f"{service.url}/2015-03-31/functions"
    status, headers, body = curl(*HEADER, url, "-d", "@-", data=json.dumps(request).encode())
    assert (status, headers["content-type"], json.loads(body)["State"]) == (201, "application/json", "Pending")
    functions.wait_active("from-curl")
    status, headers, body = curl(*HEADER, f"{url}/from-curl/invocations", "-d", '{"a":1}')
    assert (status, headers["x-amz-executed-version"]) == (200, "$LATEST")
    assert json.loads(body) == {"event": {"a": 1}, "version": "$LATEST"}
    status, _, body = curl(*HEADER, f"{url}/from-curl")
    assert (status, json.loads(body)["Configuration"]["FunctionName"]) == (200, "from-curl")
    assert curl(*HEADER, "-X", "DELETE", f"{url}/from-curl")[0] == 204
    assert curl(*HEADER, f"{url}/from-curl")[0] == 404


def test_without_the_header_it_is_told_which_one_to_add(service: RunningService, name: str) -> None:
    status, headers, body = curl(f"{service.url}/2015-03-31/functions/{name}/invocations", "-d", "{}")
    assert (status, headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")
    message = json.loads(body)["message"]
    hint = message[message.index("'") + 1 : message.rindex("'")]
    # What the message says works as it stands.
    assert curl("-H", hint, f"{service.url}/2015-03-31/functions/{name}/invocations", "-d", "{}")[0] == 200


def test_a_large_upload_with_expect(service: RunningService, name: str) -> None:
    body = b'"' + b"z" * 6_291_454 + b'"'
    target = f"{service.url}/2015-03-31/functions/{name}/invocations"
    status, _, echoed = curl(*HEADER, "-H", "Expect: 100-continue", target, "--data-binary", "@-", data=body)
    assert (status, echoed == body) == (200, True)
    status, headers, _ = curl(*HEADER, "-H", "Expect: 100-continue", target, "--data-binary", "@-", data=body + b" ")
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")


def test_a_chunked_upload(service: RunningService, name: str) -> None:
    target = f"{service.url}/2015-03-31/functions/{name}/invocations"
    body = b'"' + b"z" * 500_000 + b'"'
    options = ("-H", "Transfer-Encoding: chunked", "--data-binary", "@-")
    assert curl(*HEADER, *options, target, data=body)[::2] == (200, body)


def test_http_1_0_and_head(service: RunningService, name: str) -> None:
    target = f"{service.url}/2015-03-31/functions/{name}/invocations"
    command = ["curl", "-sS", "-0", *HEADER, target, "-d", "1"]
    assert subprocess.run(command, capture_output=True, timeout=30).stdout == b"1"
    assert curl(f"{service.url}/_venturekit/health")[0] == 200


def test_it_signs_itself(service: RunningService, name: str) -> None:
    options = ("--aws-sigv4", "aws:amz:us-east-1:lambda", "--user", "AKIDANY:any")
    target = f"{service.url}/2015-03-31/functions/{name}/invocations"
    assert curl(*options, target, "-d", "[2]")[::2] == (200, b"[2]")
