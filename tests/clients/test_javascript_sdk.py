"""AWS's SDK for JavaScript, version 3, unmodified: every usage example of its pages, and what is around."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clients.client_support import client_with
from tests.clients.guarded_keys import NOBODY
from tests.clients.javascript import JavaScript
from tests.service.harness import PYTHON, ROLE, FunctionSet, send, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import RunningService

ACCOUNT = "710000000000"
SOURCE = """
def handler(event, context):
    if isinstance(event, dict):
        print("seen", event.get("message"))
        for number in range(event.get("lines", 0)):
            print("line", number)
        if event.get("fail"):
            raise ValueError("as told")
    custom = context.client_context and context.client_context.custom
    return {"event": event, "version": context.function_version, "custom": custom}
"""
STORY = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const piece of [event.prompt, ': once ', 'upon a time']) {
    stream.write(piece);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  stream.end();
});
"""
GATED = """
const net = require('net');
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const gate = net.connect(event.port, '127.0.0.1');
  let number = 0;
  for await (const _ of gate) stream.write(`piece ${number++}`);
  stream.end();
});
"""
BREAKS = """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('part');
  await new Promise((resolve) => setTimeout(resolve, 20));
  throw new RangeError('in the middle');
});
"""
SLOW = "import time\ndef handler(event, context):\n    time.sleep(30)\n"
GREEDY = "def handler(event, context):\n    return len(b'x' * (1 << 30))\n"


def arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{name}"


@pytest.fixture(scope="module")
def account(service: RunningService) -> Iterator[FunctionSet]:
    """The account of these tests, with their functions."""
    client = client_with(service.url, ACCOUNT, "any-secret")
    functions = FunctionSet(service.url, client)
    functions.create(SOURCE, name="my-function", wait=False)
    node = {"Runtime": "nodejs20.x", "wait": False, "Timeout": 30}
    for name, source in {"my-streaming-function": STORY, "gated": GATED, "breaks": BREAKS}.items():
        functions.create(files={"app.js": source}, name=name, **node)
    functions.create(SLOW, name="slow", wait=False, Timeout=1)
    functions.create(GREEDY, name="greedy", wait=False, Timeout=30)
    for name in functions.names:
        functions.wait_active(name)
    client.publish_version(FunctionName="my-function")
    functions.wait_active("my-function:1")
    client.create_alias(FunctionName="my-function", Name="live", FunctionVersion="1")
    client.create_alias(FunctionName="my-function", Name="next", FunctionVersion="$LATEST")
    yield functions
    functions.delete_all()
    client.close()


@pytest.fixture(scope="module")
def javascript(service: RunningService, account: FunctionSet) -> Iterator[JavaScript]:
    """One process of node's for all tests of this module."""
    running = JavaScript(service.url, ACCOUNT)
    yield running
    running.close()


def seen(account: FunctionSet, message: str) -> bool:
    """Whether my-function has got an event with this message."""
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/us-east-1/lambda/aws4_request"}
    page = send(account.url, "GET", "/_venturekit/logs/my-function", headers=headers).json["events"]
    return any(event["message"] == f"seen {message}\n" for event in page)


# --- the usage examples -----------------------------------------------------------------------------------------------


def test_synchronous_invocation(javascript: JavaScript) -> None:
    found = javascript.run("synchronous")
    assert found["result"]["event"] == {"key1": "value1", "key2": "value2"}
    assert (found["status"], found["version"], found.get("error")) == (200, "$LATEST", None)
    first, *_, last = found["logs"].splitlines()
    assert first == f"START RequestId: {found['requestId']} Version: $LATEST"
    assert "seen None" in found["logs"]
    assert last.startswith(f"REPORT RequestId: {found['requestId']}\t")


def test_asynchronous_invocation(javascript: JavaScript, account: FunctionSet) -> None:
    assert javascript.run("asynchronous", message="Process this later") == {"StatusCode": 202, "Payload": None}
    until(lambda: seen(account, "Process this later"), "the function is invoked")


def test_response_stream_invocation(javascript: JavaScript) -> None:
    found = javascript.run("responseStream")
    assert "".join(found["chunks"]) == "Generate a story: once upon a time"
    assert len(found["chunks"]) > 1
    assert (found["status"], found["version"], found["complete"]) == (200, "$LATEST", {})


def test_deprecated_asynchronous_invocation(javascript: JavaScript, account: FunctionSet) -> None:
    assert javascript.run("invokeAsync", message="the old way") == {"Status": 202}
    until(lambda: seen(account, "the old way"), "the function is invoked")


def test_event_invoke_configuration(javascript: JavaScript) -> None:
    destination = {"OnSuccess": {}, "OnFailure": {"Destination": arn("slow")}}
    found = javascript.run("eventInvokeConfig", destination=arn("slow"))
    numbers = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    assert [found["put"][name] for name in numbers] == [1, 3600]
    # What an update does not name stays as it was.
    assert [found["updated"][name] for name in numbers] == [0, 3600]
    assert found["got"] == found["updated"] == found["listed"][0]
    assert (found["got"]["FunctionArn"], found["got"]["DestinationConfig"]) == (arn("my-function:$LATEST"), destination)
    assert found["got"]["LastModified"]["date"] >= found["put"]["LastModified"]["date"]
    assert found["deleted"] == 204
    assert (found["gone"]["name"], found["gone"]["isOwnClass"]) == ("ResourceNotFoundException", True)


def test_recursion_control(javascript: JavaScript) -> None:
    assert javascript.run("recursionConfig") == ["Terminate", "Allow", "Allow", "Terminate", "Terminate"]


def test_recursion_control_nested_as_the_page_shows_it(javascript: JavaScript) -> None:
    # The member of the page is none of the operation: the SDK leaves it out, and the required one is missing.
    refused = javascript.run("nestedRecursionConfig")
    assert (refused["name"], refused["status"], refused["isService"]) == ("ValidationException", 400, True)
    assert refused["message"] == (
        "1 validation error detected: "
        "Value null at 'recursiveLoop' failed to satisfy constraint: Member must not be null"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my-function", ["Success:", {"event": {"data": "test"}, "version": "$LATEST", "custom": None}]),
        ("nobody", [f"Service error: ResourceNotFoundException - Function not found: {arn('nobody')}:$LATEST"]),
    ],
)
def test_error_handling(javascript: JavaScript, name: str, expected: list[Any]) -> None:
    assert javascript.run("errorHandling", name=name) == expected


def test_error_handling_of_an_invalid_name(javascript: JavaScript) -> None:
    (said,) = javascript.run("errorHandling", name="bad name")
    assert said.startswith("Service error: ValidationException - 1 validation error detected: Value 'bad name' at")


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("slow", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("greedy", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
        ("breaks", "RangeError", "in the middle"),
    ],
)
def test_error_handling_of_function_errors(javascript: JavaScript, name: str, error_type: str, message: str) -> None:
    word, payload = javascript.run("errorHandling", name=name)
    error = json.loads(payload)
    assert word == "Function error (Unhandled):"
    assert error["errorType"] == error_type
    assert error["errorMessage"].endswith(message)


# --- invoking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", ["null", "[1, 2]", '"täxt"', '{"a": {"b": [null, true]}}'])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_payloads_as_text_and_as_bytes(javascript: JavaScript, payload: str, as_bytes: bool) -> None:
    given: dict[str, Any] = {"bytes": list(payload.encode())} if as_bytes else {"Payload": payload}
    found = javascript.run("invoke", **given)
    assert (found["StatusCode"], found.get("FunctionError"), found.get("LogResult")) == (200, None, None)
    assert json.loads(found["Payload"])["event"] == json.loads(payload)


def test_no_payload_at_all(javascript: JavaScript) -> None:
    assert json.loads(javascript.run("invoke")["Payload"])["event"] == {}


@pytest.mark.parametrize(
    ("members", "version"),
    [
        ({"Qualifier": "live"}, "1"),
        ({"Qualifier": "1"}, "1"),
        ({"Qualifier": "$LATEST"}, "$LATEST"),
        ({"FunctionName": "my-function:live"}, "1"),
        ({"FunctionName": arn("my-function")}, "$LATEST"),
        ({"FunctionName": arn("my-function:live")}, "1"),
        ({"FunctionName": f"{ACCOUNT}:function:my-function", "Qualifier": "live"}, "1"),
    ],
)
def test_versions_and_aliases(javascript: JavaScript, members: dict[str, str], version: str) -> None:
    found = javascript.run("invoke", **members)
    assert (found["ExecutedVersion"], json.loads(found["Payload"])["version"]) == (version, version)


def test_client_context(javascript: JavaScript) -> None:
    context = base64.b64encode(json.dumps({"custom": {"who": "jürgen"}}).encode()).decode()
    found = javascript.run("invoke", ClientContext=context)
    assert json.loads(found["Payload"])["custom"] == {"who": "jürgen"}


def test_log_types(javascript: JavaScript) -> None:
    assert "LogResult" not in javascript.run("invoke", LogType="None")
    assert "seen x" in javascript.run("invoke", LogType="Tail", Payload='{"message": "x"}')["LogResult"]


def test_the_log_tail_is_four_kilobytes(javascript: JavaScript) -> None:
    size, last = javascript.run("tail")
    assert size == 4096
    assert last.startswith("REPORT RequestId: ")


def test_a_function_error(javascript: JavaScript) -> None:
    found = javascript.run("invoke", Payload='{"fail": true}', LogType="Tail")
    assert (found["StatusCode"], found["FunctionError"], found["ExecutedVersion"]) == (200, "Unhandled", "$LATEST")
    assert json.loads(found["Payload"])["errorMessage"] == "as told"
    assert "[ERROR] ValueError: as told" in found["LogResult"]


def test_dry_run(javascript: JavaScript) -> None:
    assert javascript.run("dryRun", name="my-function")["answered"] == {"StatusCode": 204, "Payload": None}
    assert javascript.run("dryRun", name="nobody")["name"] == "ResourceNotFoundException"


def test_many_at_once(javascript: JavaScript) -> None:
    assert javascript.run("manyAtOnce", count=30) == list(range(30))


# --- streams ----------------------------------------------------------------------------------------------------------


def test_every_chunk_is_here_before_the_next_is_written(javascript: JavaScript) -> None:
    assert javascript.run("streamOneByOne", name="gated", count=5) == [*(f"piece {n}" for n in range(5)), {}]


def test_a_stream_that_fails_in_the_middle(javascript: JavaScript) -> None:
    found = javascript.run("stream", name="breaks")
    chunk, (kind, complete) = found["events"]
    assert (found["status"], chunk, kind) == (200, ["PayloadChunk", "part"], "InvokeComplete")
    assert complete["ErrorCode"] == "Unhandled"
    details = json.loads(complete["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("RangeError", "in the middle")


def test_the_log_comes_with_the_end_of_a_stream(javascript: JavaScript) -> None:
    found = javascript.run("stream", name="my-streaming-function", event={"prompt": "x"}, LogType="Tail")
    assert "".join(text for kind, text in found["events"] if kind == "PayloadChunk") == "x: once upon a time"
    complete = found["events"][-1][1]
    assert set(complete) == {"LogResult"}
    assert complete["LogResult"].splitlines()[-1].startswith("REPORT RequestId: ")


@pytest.mark.parametrize(("qualifier", "version"), [("live", "1"), ("next", "$LATEST")])
def test_a_function_that_does_not_stream(javascript: JavaScript, qualifier: str, version: str) -> None:
    found = javascript.run("stream", name="my-function", event={"n": 1}, Qualifier=qualifier)
    (kind, text), complete = found["events"]
    assert (found["version"], kind, complete) == (version, "PayloadChunk", ["InvokeComplete", {}])
    assert json.loads(text) == {"event": {"n": 1}, "version": version, "custom": None}


def test_a_dry_run_of_a_stream(javascript: JavaScript) -> None:
    found = javascript.run("stream", name="my-streaming-function", InvocationType="DryRun")
    assert (found["status"], found["events"]) == (204, [])


def test_a_stream_that_cannot_begin(javascript: JavaScript) -> None:
    refused = javascript.run("streamError", name="nobody")
    assert (refused["name"], refused["isOwnClass"], refused["status"]) == ("ResourceNotFoundException", True, 404)


def test_a_caller_who_has_had_enough(javascript: JavaScript) -> None:
    assert javascript.run("streamLeftEarly", name="gated") == ["piece 0"]
    assert javascript.run("streamOneByOne", name="gated", count=2) == ["piece 0", "piece 1", {}]


# --- errors -----------------------------------------------------------------------------------------------------------

REFUSED = {
    "no function": ("InvokeCommand", {"FunctionName": "nobody"}, "ResourceNotFoundException", 404),
    "no version": (
        "InvokeCommand",
        {"FunctionName": "my-function", "Qualifier": "9"},
        "ResourceNotFoundException",
        404,
    ),
    "no JSON": (
        "InvokeCommand",
        {"FunctionName": "my-function", "Payload": "no JSON"},
        "InvalidRequestContentException",
        400,
    ),
    "two qualifiers": (
        "InvokeCommand",
        {"FunctionName": "my-function:live", "Qualifier": "1"},
        "InvalidParameterValueException",
        400,
    ),
    "an alias that is there": (
        "CreateAliasCommand",
        {"FunctionName": "my-function", "Name": "live", "FunctionVersion": "1"},
        "ResourceConflictException",
        409,
    ),
    "no policy": ("GetPolicyCommand", {"FunctionName": "my-function"}, "ResourceNotFoundException", 404),
    "another revision": (
        "UpdateAliasCommand",
        {"FunctionName": "my-function", "Name": "live", "RevisionId": "none"},
        "PreconditionFailedException",
        412,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_are_of_their_own_class(javascript: JavaScript, case: str) -> None:
    command, members, name, status = REFUSED[case]
    refused = javascript.run("thrown", command=command, members=members)
    assert (refused["name"], refused["status"], refused["fault"]) == (name, status, "client")
    assert (refused["isOwnClass"], refused["isService"]) == (True, True)
    assert refused["message"]


def test_a_request_that_is_too_large(javascript: JavaScript) -> None:
    refused = javascript.run("thrown", command="InvokeCommand", members={"FunctionName": "my-function"}, size=6_291_600)
    assert (refused["name"], refused["isService"], refused["status"]) == ("RequestEntityTooLargeException", True, 413)


def test_a_throttled_call(javascript: JavaScript, account: FunctionSet) -> None:
    name = account.create(SOURCE, name="throttled")
    account.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    refused = javascript.run("thrown", command="InvokeCommand", members={"FunctionName": name})
    assert (refused["name"], refused["isOwnClass"], refused["status"]) == ("TooManyRequestsException", True, 429)
    assert refused["reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_access_denied(javascript: JavaScript, guarded: RunningService) -> None:
    key = {"endpoint": guarded.url, "accessKeyId": NOBODY.access_key_id, "secretAccessKey": NOBODY.secret}
    refused = javascript.run("thrown", command="InvokeCommand", members={"FunctionName": "target"}, **key)
    assert (refused["name"], refused["status"], refused["isService"]) == ("AccessDeniedException", 403, True)
    assert refused["message"].startswith(f"User: {NOBODY.arn} is not authorized to perform: lambda:InvokeFunction")


@pytest.mark.parametrize(
    ("secret", "access_key_id", "name"),
    [
        ("another", NOBODY.access_key_id, "InvalidSignatureException"),
        (NOBODY.secret, "AKIDUNKNOWN", "UnrecognizedClientException"),
    ],
)
def test_credentials_that_are_not_right(
    javascript: JavaScript, guarded: RunningService, secret: str, access_key_id: str, name: str
) -> None:
    key = {"endpoint": guarded.url, "accessKeyId": access_key_id, "secretAccessKey": secret}
    refused = javascript.run("thrown", command="InvokeCommand", members={"FunctionName": "target"}, **key)
    assert (refused["name"], refused["status"], refused["isService"]) == (name, 403, True)


def test_what_is_no_error_of_the_service(javascript: JavaScript) -> None:
    # Port 9 of this machine: nobody listens there.
    assert javascript.run("nobodyListens", endpoint="http://127.0.0.1:9") is False


# --- waiters and pages ------------------------------------------------------------------------------------------------


def test_the_life_of_a_function_with_every_waiter(javascript: JavaScript, archive: bytes) -> None:
    found = javascript.run("life", zip=base64.b64encode(archive).decode(), runtime=PYTHON, role=ROLE)
    assert found == {
        "made": "Pending",
        "states": ["SUCCESS"] * 6,
        "version": "1",
        "description": "changed",
        "gone": "ResourceNotFoundException",
    }


PAGES = {
    "paginateListAliases": ("Aliases", "Name", [["live"], ["next"]]),
    "paginateListVersionsByFunction": ("Versions", "Version", [["$LATEST"], ["1"]]),
}


@pytest.mark.parametrize("paginator", PAGES)
def test_pages_of_one_item(javascript: JavaScript, paginator: str) -> None:
    member, key, expected = PAGES[paginator]
    given = {"paginator": paginator, "input": {"FunctionName": "my-function"}, "member": member, "key": key}
    assert [page for page in javascript.run("pages", **given) if page] == expected


def test_pages_of_functions(javascript: JavaScript, account: FunctionSet) -> None:
    given = {"paginator": "paginateListFunctions", "input": {}, "member": "Functions", "key": "FunctionName"}
    pages = javascript.run("pages", **given)
    assert [page for page in pages if page] == [[name] for name in sorted(account.names)]


def test_pages_of_event_invoke_configurations(javascript: JavaScript, account: FunctionSet) -> None:
    for qualifier in ("live", "1"):
        account.client.put_function_event_invoke_config(
            FunctionName="my-function", Qualifier=qualifier, MaximumRetryAttempts=0
        )
    given = {
        "paginator": "paginateListFunctionEventInvokeConfigs",
        "input": {"FunctionName": "my-function"},
        "member": "FunctionEventInvokeConfigs",
        "key": "FunctionArn",
    }
    pages = javascript.run("pages", **given)
    assert sorted(page for page in pages if page) == [[arn("my-function:1")], [arn("my-function:live")]]
