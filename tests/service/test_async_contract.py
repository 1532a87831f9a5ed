"""What clients may rely on in asynchronous invocation, to the byte: requests, refusals, shapes, records."""

from __future__ import annotations

import http.client
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.service.async_support import Ledger, Queue
from tests.service.harness import RunningService, send, until
from tests.service.stand_in import ACCOUNT, REGION, StandIn, stand_ins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.service.harness import FunctionSet, Response

OWN = "arn:aws:lambda:us-east-1:000000000000:function"
LIMIT = 1_048_576
LEGACY_LIMIT = 262_144
SUCCEEDS = "def handler(event, context):\n    return 1\n"
INVOCATIONS = "/2015-03-31/functions/{}/invocations"
LEGACY = "/2014-11-13/functions/{}/invoke-async/"


@pytest.fixture(scope="module")
def ledger(shared_service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    functions = shared_service.functions()
    yield Ledger(functions, tmp_path_factory.mktemp("contract"))
    functions.delete_all()


@pytest.fixture
def queue(shared_service: RunningService) -> Queue:
    return Queue(shared_service)


def newest(queue: Queue) -> int:
    return int(queue.rows("SELECT coalesce(max(id), 0) FROM events")[0][0])


def put(ledger: Ledger, body: bytes = b"{}", *, name: str = "", **headers: str) -> Response:
    return ledger.functions.post(name or ledger.name, body, X_Amz_Invocation_Type="Event", **headers)


# --- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/octet-stream",
        "application/x-amz-json-1.1",
        "application/x-www-form-urlencoded",
        "binary/octet-stream",
        "text/xml; charset=utf-16",
    ],
)
def test_any_content_type_is_taken(ledger: Ledger, content_type: str) -> None:
    answer = put(ledger, b'{"a": 1}', Content_Type=content_type)
    assert answer.status == 202
    (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
    assert run.event == {"a": 1}


def test_a_body_in_chunks_is_an_event(ledger: Ledger) -> None:
    place = urlsplit(ledger.functions.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
    connection.putrequest("POST", INVOCATIONS.format(ledger.name))
    connection.putheader("X-Amz-Invocation-Type", "Event")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders(b'5\r\n{"a":\r\n3\r\n 1}\r\n0\r\n\r\n')
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (202, b"")
    (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
    assert run.event == {"a": 1}
    connection.close()


def test_a_request_id_of_the_caller_that_is_no_uuid(ledger: Ledger, queue: Queue) -> None:
    before = newest(queue)
    answer = put(ledger, x_amzn_RequestId="not-a-uuid")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    assert "x-amzn-RequestId" in answer.json["message"]
    assert newest(queue) == before


@pytest.mark.parametrize(
    ("headers", "code", "says"),
    [
        ({"X_Amz_Log_Type": "tail"}, "ValidationException", "'tail' at 'logType'"),
        ({"X_Amz_Tenant_Id": "a"}, "InvalidParameterValueException", "X-Amz-Tenant-Id"),
        ({"X_Amz_Tenant_Id": "a#b"}, "ValidationException", "'a#b' at 'tenantId'"),
        ({"X_Amz_Tenant_Id": "a" * 257}, "ValidationException", "length less than or equal to 256"),
        ({"X_Amz_Durable_Execution_Name": "a"}, "InvalidParameterValueException", "X-Amz-Durable-Execution-Name"),
        ({"X_Amz_Durable_Execution_Name": "a.b"}, "ValidationException", "at 'durableExecutionName'"),
        ({"X_Amz_Client_Context": "A" * 3584}, "ValidationException", "length less than or equal to 3583"),
        ({"X_Amz_Client_Context": "WzFd"}, "InvalidRequestContentException", "Base64-encoded JSON object"),
    ],
)
def test_headers_are_checked_as_those_of_a_synchronous_invoke(
    ledger: Ledger, queue: Queue, headers: Mapping[str, str], code: str, says: str
) -> None:
    before = newest(queue)
    # The second request finds its target resolved.
    for _ in range(2):
        answer = put(ledger, **headers)
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, code)
        assert says in answer.json["message"]
        assert answer.json == ledger.functions.post(ledger.name, **headers).json
        assert newest(queue) == before
        assert ledger.functions.post(ledger.name).status == 200


LONG_NAME = (
    f"1 validation error detected: Value '{'x' * 65}' at 'functionName' failed to satisfy constraint: "
    "Member must have length less than or equal to 64"
)


@pytest.mark.parametrize("path", [INVOCATIONS, LEGACY])
@pytest.mark.parametrize(
    ("name", "status", "code", "message"),
    [
        ("nobody", 404, "ResourceNotFoundException", f"Function not found: {OWN}:nobody:$LATEST"),
        ("nobody:live", 404, "ResourceNotFoundException", f"Function not found: {OWN}:nobody:live"),
        (
            "arn:aws:lambda:eu-west-1:000000000000:function:f",
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        ("arn:aws:lambda:us-east-1:999999999999:function:f", 403, "AccessDeniedException", None),
        ("a*b", 400, "ValidationException", "1 validation error detected: Value 'a*b' at 'functionName' failed"),
        ("x" * 65, 400, "InvalidParameterValueException", LONG_NAME),
        ("x" * 257, 400, "ValidationException", "1 validation error detected: "),
    ],
    ids=["missing", "qualified", "region", "account", "pattern", "65", "257"],
)
def test_names_that_name_nothing(
    ledger: Ledger, queue: Queue, path: str, name: str, status: int, code: str, message: str | None
) -> None:
    before = newest(queue)
    headers = {"X-Amz-Invocation-Type": "Event"}
    answer = send(ledger.functions.url, "POST", path.format(name), b"{}", headers)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (status, code)
    said = answer.json.get("Message", answer.json.get("message"))
    assert said is None if message is None else said.startswith(message)
    assert newest(queue) == before


@pytest.mark.parametrize("path", [INVOCATIONS, LEGACY])
def test_a_function_that_is_being_created_takes_no_event(
    shared_service: RunningService,
    functions: FunctionSet,
    queue: Queue,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    plane = shared_service.service._accounts.own.plane
    held: list[Any] = []
    monkeypatch.setattr(type(plane), "schedule_activation", lambda _self, *versions: held.extend(versions))
    before = newest(queue)
    name = functions.create(SUCCEEDS, wait=False)
    answer = send(functions.url, "POST", path.format(name), b"{}", {"X-Amz-Invocation-Type": "Event"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (409, "ResourceConflictException")
    state = "The function is currently in the following state: Pending"
    assert answer.json["message"] == f"The operation cannot be performed at this time. {state}"
    assert newest(queue) == before
    monkeypatch.undo()
    shared_service.do(lambda: plane.schedule_activation(*held))
    functions.wait_active(name)
    assert send(functions.url, "POST", path.format(name), b"{}", {"X-Amz-Invocation-Type": "Event"}).status == 202


def json_of(size_bytes: int) -> bytes:
    return b'"%b"' % (b"x" * (size_bytes - 2))


@pytest.mark.parametrize("size", [LIMIT + 1, LIMIT + 2, 6_291_456])
def test_an_event_that_is_too_large_is_told_its_size(ledger: Ledger, size: int) -> None:
    expected = {"message": f"{size} byte payload is too large for the Event invocation type (limit {LIMIT} bytes)"}
    for query in ("", "", "?Qualifier=%24LATEST"):
        answer = ledger.functions.post(ledger.name, json_of(size), query, X_Amz_Invocation_Type="Event")
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
        assert answer.json == expected


def test_what_no_invoke_takes_is_refused_unread(ledger: Ledger) -> None:
    answer = put(ledger, json_of(6_291_457))
    assert answer.json == {"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"}
    answer = send(
        ledger.functions.url, "POST", LEGACY.format(ledger.name), json_of(LEGACY_LIMIT + 1), {"X-Amz-Client": "test"}
    )
    assert answer.json == {
        "message": f"Request must be smaller than {LEGACY_LIMIT} bytes for the InvokeAsync operation"
    }


# --- configurations -----------------------------------------------------------------------------------------------


def configured(
    functions: FunctionSet, method: str, name: str, body: Any = None, *, end: str = ""
) -> tuple[int, str | None, Any]:
    """A request about an event invoke configuration: status, code, and what was answered."""
    data = None if body is None else json.dumps(body).encode()
    target = f"/2019-09-25/functions/{name}/event-invoke-config{end}"
    answer = send(functions.url, method, target, data, {"X-Amz-Client": "test"})
    return answer.status, answer.headers["x-amzn-ErrorType"], answer.json if answer.body else None


def unset(name: str) -> dict[str, str]:
    return {"Type": "User", "Message": f"The function {OWN}:{name} doesn't have an EventInvokeConfig"}


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("DELETE", None), ("POST", {"MaximumRetryAttempts": 1})])
def test_what_has_no_configuration(functions: FunctionSet, method: str, body: Any) -> None:
    name = functions.create(SUCCEEDS)
    for asked, end, shown in (
        (name, "", f"{name}:$LATEST"),
        (name, "?Qualifier=live", f"{name}:live"),
        (f"{name}:7", "", f"{name}:7"),
        ("nobody", "", "nobody:$LATEST"),
    ):
        found = configured(functions, method, asked, body, end=end)
        assert found == (404, "ResourceNotFoundException", unset(shown))


def test_the_shapes_of_configurations(functions: FunctionSet) -> None:
    name = functions.create(SUCCEEDS)
    nowhere: dict[str, Any] = {"OnSuccess": {}, "OnFailure": {}}
    status, _, made = configured(functions, "PUT", name, {"MaximumRetryAttempts": 0})
    modified = made.pop("LastModified")
    assert (status, made) == (
        200,
        {"FunctionArn": f"{OWN}:{name}:$LATEST", "MaximumRetryAttempts": 0, "DestinationConfig": nowhere},
    )
    assert isinstance(modified, float | int)
    _, _, listed = configured(functions, "GET", name, end="/list")
    assert listed == {"FunctionEventInvokeConfigs": [{"LastModified": modified, **made}]}
    # The empty text is a destination, too: none.
    status, _, changed = configured(functions, "POST", name, {"DestinationConfig": {"OnFailure": {"Destination": ""}}})
    assert (status, changed["DestinationConfig"], changed["MaximumRetryAttempts"]) == (200, nowhere, 0)
    assert configured(functions, "DELETE", name) == (204, None, None)


NOTHING = {"Type": "User", "message": "You must specify at least one of error handling or destination setting."}
MISMATCH = {
    "Type": "User",
    "message": "The derived qualifier from the function name does not match the specified qualifier.",
}


def test_refused_configurations(functions: FunctionSet) -> None:
    name = functions.create(SUCCEEDS)
    one = {"MaximumRetryAttempts": 1}
    wrong = "InvalidParameterValueException"
    for method in ("PUT", "POST"):
        assert configured(functions, method, name, {}) == (400, wrong, NOTHING)
        assert configured(functions, method, f"{name}:live", one, end="?Qualifier=1") == (400, wrong, MISMATCH)
    assert configured(functions, "GET", f"{name}:live", end="?Qualifier=1") == (400, wrong, MISMATCH)
    missing = {"Type": "User", "Message": "The function doesn't exist."}
    for asked, end in (("nobody", ""), (name, "?Qualifier=7"), (f"{name}:live", "")):
        assert configured(functions, "PUT", asked, one, end=end) == (404, "ResourceNotFoundException", missing)
    for count, side in (("0", "greater than or equal to 1"), ("51", "less than or equal to 50")):
        status, code, answer = configured(functions, "GET", name, end=f"/list?MaxItems={count}")
        assert (status, code) == (400, "ValidationException")
        assert answer["message"].endswith(
            f"Value '{count}' at 'maxItems' failed to satisfy constraint: Member must have value {side}"
        )


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_the_recursion_setting_is_of_the_function_alone(functions: FunctionSet, method: str) -> None:
    name = functions.create(SUCCEEDS)
    body = b'{"RecursiveLoop": "Allow"}' if method == "PUT" else None

    def ask(whose: str) -> Response:
        target = f"/2024-08-31/functions/{whose}/recursion-config"
        return send(functions.url, method, target, body, {"X-Amz-Client": "test"})

    assert ask(f"{OWN}:{name}").json == {"RecursiveLoop": "Allow" if method == "PUT" else "Terminate"}
    for qualified in (f"{name}:live", "x" * 141):
        answer = ask(qualified)
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
        assert f"Value '{qualified}' at 'functionName' failed to satisfy constraint" in answer.json["message"]
    answer = ask("nobody")
    assert (answer.status, answer.json) == (404, {"Type": "User", "Message": f"Function not found: {OWN}:nobody"})


# --- records ------------------------------------------------------------------------------------------------------

THEIRS = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
# Does what its event says, as far as that is known by the run.
TOLD = """
import os, time

def handler(event, context):
    told = event["do"]
    if told == "sleep":
        time.sleep(30)
    if told == "fail":
        raise ValueError("é" * 600)
    if told == "fail once" and not os.path.exists(event["mark"]):
        open(event["mark"], "w").close()
        raise ValueError("once")
"""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture(scope="module")
def quick(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("records")
    delays = "0.02,90"
    running = RunningService(folder / "data", stand_in.environ(), account_id=ACCOUNT, async_retry_delays=delays)
    yield running
    running.close()


class Told:
    """A function that tells a queue of its successes, another of its failures, and a third has its dead letters."""

    def __init__(self, functions: FunctionSet, stand_in: StandIn, folder: str, **members: Any) -> None:
        self.functions, self.stand_in = functions, stand_in
        self.good, self.bad, self.dead = (stand_in.queue(f"{folder}-{end}") for end in ("good", "bad", "dead"))
        self.name = functions.create(TOLD, Timeout=1, DeadLetterConfig={"TargetArn": self.dead})
        functions.client.put_function_event_invoke_config(
            FunctionName=self.name,
            DestinationConfig={"OnSuccess": {"Destination": self.good}, "OnFailure": {"Destination": self.bad}},
            **members,
        )

    def send(self, body: bytes) -> str:
        answer = self.functions.post(self.name, body, X_Amz_Invocation_Type="Event")
        assert answer.status == 202
        return answer.headers["x-amzn-RequestId"]

    def record(self, queue: str) -> str:
        """The record that arrives, without its time."""
        (message,) = self.stand_in.received(queue)
        time = r'"timestamp":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",'
        assert re.search(time, message["Body"])
        return re.sub(time, "", message["Body"], count=1)

    def context(self, request_id: str, condition: str, count: int) -> str:
        """The beginning of a record, to the byte."""
        return (
            f'{{"version":"1.0","requestContext":{{"requestId":"{request_id}",'
            f'"functionArn":"{THEIRS}:{self.name}:$LATEST","condition":"{condition}",'
            f'"approximateInvokeCount":{count}}},"requestPayload":'
        )


@pytest.fixture
def functions_of_quick(quick: RunningService) -> Iterator[FunctionSet]:
    made = quick.functions()
    yield made
    made.delete_all()


def test_a_success_after_a_retry_counts_both(
    functions_of_quick: FunctionSet, stand_in: StandIn, tmp_path: Path
) -> None:
    told = Told(functions_of_quick, stand_in, "after-a-retry")
    event = json.dumps({"do": "fail once", "mark": str(tmp_path / "mark")})
    request_id = told.send(event.encode())
    assert told.record(told.good) == (
        f"{told.context(request_id, 'Success', 2)}{event},"
        '"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},"responsePayload":null}'
    )
    assert stand_in.messages(told.bad) == stand_in.messages(told.dead) == []


def test_an_age_that_the_next_retry_would_exceed_ends_the_event(
    functions_of_quick: FunctionSet, stand_in: StandIn
) -> None:
    """The second retry would come after 90 seconds: nobody waits for it."""
    told = Told(functions_of_quick, stand_in, "too-old", MaximumEventAgeInSeconds=60)
    request_id = told.send(b'{"do":"sleep"}')
    error = f"RequestId: {request_id} Error: Task timed out after 1.00 seconds"
    answer = json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": error}, separators=(",", ":"))
    assert told.record(told.bad) == (
        f'{told.context(request_id, "EventAgeExceeded", 2)}{{"do":"sleep"}},'
        '"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
        f'"responsePayload":{answer}}}'
    )
    (letter,) = stand_in.received(told.dead)
    assert letter["MessageAttributes"]["ErrorMessage"] == {"StringValue": error, "DataType": "String"}


@pytest.mark.parametrize("path", [INVOCATIONS, LEGACY])
def test_a_dead_letter_is_the_event_byte_for_byte(
    functions_of_quick: FunctionSet, stand_in: StandIn, path: str
) -> None:
    told = Told(functions_of_quick, stand_in, f"letter-{len(path)}", MaximumRetryAttempts=0)
    event = ' { "do" : "fail",  "do":"fail", "n": 1.00e1, "u": "\\u00e9é😀" }\n'
    headers = {"X-Amz-Invocation-Type": "Event"}
    answer = send(functions_of_quick.url, "POST", path.format(told.name), event.encode(), headers)
    request_id = answer.headers["x-amzn-RequestId"]
    (letter,) = stand_in.received(told.dead)
    assert letter["Body"] == event
    assert letter["MessageAttributes"] == {
        "RequestID": {"StringValue": request_id, "DataType": "String"},
        "ErrorCode": {"StringValue": "200", "DataType": "Number"},
        # 1 KB of whole characters, each of which has two bytes.
        "ErrorMessage": {"StringValue": "é" * 512, "DataType": "String"},
    }
    (record,) = stand_in.received(told.bad)
    assert json.loads(record["Body"])["requestContext"]["condition"] == "RetriesExhausted"
    # The record has it as it is, too.
    assert f'"requestPayload":{event},"responseContext":' in record["Body"]


def test_a_qualifier_without_a_configuration_has_the_dead_letters_alone(
    functions_of_quick: FunctionSet, stand_in: StandIn, quick: RunningService
) -> None:
    """Configurations hang on a qualifier; the dead-letter queue is part of the version."""
    told = Told(functions_of_quick, stand_in, "qualified", MaximumRetryAttempts=0)
    client = functions_of_quick.client
    version = functions_of_quick.publish(told.name)
    client.create_alias(FunctionName=told.name, Name="live", FunctionVersion=version)
    client.put_function_event_invoke_config(
        FunctionName=told.name,
        Qualifier="live",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": told.good}},
    )
    client.put_function_event_invoke_config(FunctionName=told.name, Qualifier=version, MaximumRetryAttempts=0)
    sent = {}
    for qualifier in (version, "live"):
        answer = client.invoke(
            FunctionName=told.name, Qualifier=qualifier, InvocationType="Event", Payload=b'{"do":"fail"}'
        )
        sent[qualifier] = answer["ResponseMetadata"]["RequestId"]
    letters = stand_in.received(told.dead, 2)
    assert {letter["MessageAttributes"]["RequestID"]["StringValue"] for letter in letters} == set(sent.values())
    (record,) = stand_in.received(told.good)
    context = json.loads(record["Body"])
    assert context["requestContext"]["functionArn"] == f"{THEIRS}:{told.name}:live"
    assert context["requestContext"]["requestId"] == sent["live"]
    assert context["responseContext"]["executedVersion"] == version
    until(lambda: quick.health()["owedDeliveries"] == 0, "nothing is owed any more")
    assert stand_in.messages(told.bad) == []
