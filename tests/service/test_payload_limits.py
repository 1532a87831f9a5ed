"""The largest payloads, to the byte."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from tests.service.harness import send

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

REQUEST_BYTES = 6_291_456
RESPONSE_BYTES = 6_291_556

DIGEST = """
import hashlib

def handler(event, context):
    return [len(event), hashlib.sha256(event.encode()).hexdigest()]
"""
# Answers with that many bytes of JSON, or fails with a message of that length.
SIZED = """
def handler(event, context):
    size, error = event
    if error:
        raise ValueError("x" * size)
    return "x" * (size - 2)
"""
ECHO = "def handler(event, context):\n    return event\n"


def text_of(size_bytes: int) -> bytes:
    pattern = b"0123456789abcdef" * (size_bytes // 16 + 1)
    return b'"' + pattern[: size_bytes - 2] + b'"'


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 262_144, 1_000_000, REQUEST_BYTES - 1, REQUEST_BYTES])
def test_a_request_arrives_whole(functions: FunctionSet, size: int) -> None:
    name = functions.create(DIGEST, Timeout=20)
    body = text_of(size)
    outcome = functions.invoke(name, raw=body)
    assert outcome.value == [size - 2, hashlib.sha256(body[1:-1]).hexdigest()]


@pytest.mark.parametrize("size", [REQUEST_BYTES + 1, REQUEST_BYTES + 100, 2 * REQUEST_BYTES])
@pytest.mark.parametrize("invocation_type", ["RequestResponse", "DryRun"])
def test_a_larger_request_is_refused(functions: FunctionSet, size: int, invocation_type: str) -> None:
    name = functions.create(ECHO)
    for _ in range(2):
        answer = functions.post(name, text_of(size), X_Amz_Invocation_Type=invocation_type)
        assert answer.status == 413
        assert answer.headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"
        assert answer.json == {"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"}
        assert functions.post(name, b"1").json == 1
    assert not any(line.startswith("START") and "RequestId" not in line for line in functions.log_lines(name))


def test_an_unmodified_client_sees_why(functions: FunctionSet) -> None:
    name = functions.create(ECHO)
    with pytest.raises(functions.client.exceptions.ClientError) as caught:
        functions.invoke(name, raw=text_of(REQUEST_BYTES + 1))
    assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert functions.invoke(name, 1).value == 1


@pytest.mark.parametrize("size", [65_536, 65_537, 1_000_000, RESPONSE_BYTES - 1, RESPONSE_BYTES])
def test_a_response_arrives_whole(functions: FunctionSet, size: int) -> None:
    name = functions.create(SIZED, Timeout=20)
    outcome = functions.invoke(name, [size, False])
    assert (outcome.error, len(outcome.raw)) == (None, size)
    assert set(outcome.value) == {"x"}


@pytest.mark.parametrize("size", [RESPONSE_BYTES + 1, 2 * RESPONSE_BYTES])
def test_a_larger_response_is_an_error_of_the_function(functions: FunctionSet, size: int) -> None:
    name = functions.create(SIZED, Timeout=20, MemorySize=512)
    outcome = functions.invoke(name, [size, False])
    assert (outcome.status, outcome.error) == (200, "Unhandled")
    expected = {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert outcome.raw == json.dumps(expected, separators=(",", ":")).encode()
    assert functions.invoke(name, [4, False]).value == "xx"


def test_an_error_of_megabytes_is_passed_on(functions: FunctionSet) -> None:
    name = functions.create(SIZED, Timeout=20, MemorySize=512)
    outcome = functions.invoke(name, [700_000, True])
    assert outcome.error == "Unhandled"
    assert len(outcome.value["errorMessage"]) == 700_000
    assert functions.invoke(name, [4, False]).value == "xx"


def test_six_megabytes_there_and_back(functions: FunctionSet) -> None:
    name = functions.create(ECHO, Timeout=20)
    body = text_of(REQUEST_BYTES)
    for _ in range(2):
        answer = functions.post(name, body)
        assert answer.status == 200
        assert answer.body == body


def test_other_operations_have_limits_too(functions: FunctionSet) -> None:
    body = b'{"FunctionName":"' + b"x" * 70_167_211 + b'"}'
    headers = {"X-Amz-A": "b", "Content-Type": "application/json"}
    answer = send(functions.url, "POST", "/2015-03-31/functions", body, headers)
    assert answer.status == 413
    assert answer.json == {"message": "Request must be smaller than 70167211 bytes for the CreateFunction operation"}
