"""InvokeWithResponseStream as boto3 reads it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import send

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet

CODE = """
def handler(event, context):
    print("asked for", event)
    if event == "fail":
        raise ValueError("no")
    return "x" * event["size"] if isinstance(event, dict) else event
"""


def read(answer: dict[str, Any]) -> tuple[bytes, list[dict[str, Any]]]:
    events = list(answer["EventStream"])
    payload = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    return payload, [event["InvokeComplete"] for event in events if "InvokeComplete" in event]


def test_the_response_comes_in_chunks_and_is_complete(functions: FunctionSet) -> None:
    name = functions.create(CODE)
    client = functions.client
    answer = client.invoke_with_response_stream(FunctionName=name, Payload=b'{"size": 200000}')
    payload, complete = read(answer)
    assert json.loads(payload) == "x" * 200_000
    assert complete == [{}]
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    # An ordinary invoke of the same function is answered in the ordinary form, and the other way round.
    assert client.invoke(FunctionName=name, Payload=b"7")["Payload"].read() == b"7"
    assert read(client.invoke_with_response_stream(FunctionName=name, Payload=b"7")) == (b"7", [{}])


def test_a_function_error_is_the_last_event(functions: FunctionSet) -> None:
    name = functions.create(CODE)
    answer = functions.client.invoke_with_response_stream(FunctionName=name, Payload=b'"fail"', LogType="Tail")
    payload, (complete,) = read(answer)
    assert payload == b""
    assert complete["ErrorCode"] == "Unhandled"
    assert json.loads(complete["ErrorDetails"])["errorType"] == "ValueError"
    assert b"asked for fail" in base64.b64decode(complete["LogResult"])


def test_what_is_known_before_is_an_ordinary_error(functions: FunctionSet) -> None:
    name = functions.create(CODE)
    client = functions.client
    assert client.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    with pytest.raises(ClientError) as missing:
        client.invoke_with_response_stream(FunctionName="nowhere")
    assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"
    target = f"/2021-11-15/functions/{name}/response-streaming-invocations"
    answer = send(functions.url, "POST", target, b"{}", {"X-Amz-Invocation-Type": "Event"})
    assert answer.status == 400
    assert "Member must satisfy enum value set: [RequestResponse, DryRun]" in answer.json["message"]
