"""Invoke with ``Event``, and InvokeAsync: what the caller is answered, and what the function gets."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from tests.service.async_support import Ledger, Queue, recorder
from tests.service.harness import client_of, send, session_of, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.service.harness import FunctionSet, Response, RunningService

LIMIT = 1_048_576
TOO_LARGE = f"{LIMIT + 1} byte payload is too large for the Event invocation type (limit {LIMIT} bytes)"
LEGACY_LIMIT = 262_144
HEADERS = {
    "date",
    "content-length",
    "connection",
    "x-amzn-requestid",
    "x-amzn-remapped-content-length",
    "x-amzn-trace-id",
}
ARN = "arn:aws:lambda:us-east-1:000000000000:function"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"


@pytest.fixture(scope="module")
def ledger(shared_service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    functions = shared_service.functions()
    yield Ledger(functions, tmp_path_factory.mktemp("ledger"))
    functions.delete_all()


@pytest.fixture
def queue(shared_service: RunningService) -> Queue:
    return Queue(shared_service)


def post_async(
    ledger: Ledger, body: bytes | None = b"{}", *, name: str = "", end: str = "", **headers: str
) -> Response:
    """InvokeAsync by hand; ``end`` is the end of the path."""
    given = {"X-Amz-Client": "test", **{key.replace("_", "-"): value for key, value in headers.items()}}
    target = f"/2014-11-13/functions/{quote(name or ledger.name, safe='')}/invoke-async{end}"
    return send(ledger.functions.url, "POST", target, body, given)


def post(ledger: Ledger, body: bytes = b"{}", query: str = "", *, name: str = "", **headers: str) -> Response:
    return ledger.functions.post(name or ledger.name, body, query, X_Amz_Invocation_Type="Event", **headers)


def refusal(call: Callable[..., Any], **members: Any) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    answer: Any = caught.value.response
    error = answer["Error"]
    return answer["ResponseMetadata"]["HTTPStatusCode"], error["Code"], error.get("Message", "")


# --- Event --------------------------------------------------------------------------------------------------------


def test_an_event_is_accepted_and_run(ledger: Ledger, queue: Queue) -> None:
    for number in range(2):  # the second one goes the short way
        event = {"n": number, "text": "é😀", "nested": [1.5, None]}
        answer = ledger.functions.client.invoke(
            FunctionName=ledger.name, InvocationType="Event", Payload=json.dumps(event).encode()
        )
        assert answer["StatusCode"] == 202
        assert answer["Payload"].read() == b""
        assert {"ExecutedVersion", "FunctionError", "LogResult"} & set(answer) == set()
        metadata = answer["ResponseMetadata"]
        (run,) = ledger.wait(metadata["RequestId"])
        assert (run.event, run.version, run.arn) == (event, "$LATEST", f"{ARN}:{ledger.name}")
        history = queue.ended(run.id)
        assert [line.kind for line in history] == ["accepted", "started", "succeeded"]
        assert history[2].detail["executedVersion"] == "$LATEST"


def test_the_answer_has_these_headers_and_no_other(ledger: Ledger) -> None:
    for _ in range(2):
        answer = post(ledger)
        assert (answer.status, answer.body) == (202, b"")
        assert {name.lower() for name in answer.headers} == HEADERS
        assert (answer.headers["Content-Length"], answer.headers["x-amzn-Remapped-Content-Length"]) == ("0", "0")
        assert re.fullmatch(UUID, answer.headers["x-amzn-RequestId"])
        shown = re.fullmatch(r"root=(1-[0-9a-f]{8}-[0-9a-f]{24});sampled=0", answer.headers["X-Amzn-Trace-Id"])
        assert shown
        (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
        assert re.fullmatch(rf"Root={shown[1]};Parent=[0-9a-f]{{16}};Sampled=0;Lineage=1:[0-9a-f]{{8}}:0", run.trace)


def test_the_trace_and_the_request_id_of_the_caller_are_kept(ledger: Ledger) -> None:
    request_id = "DE1E7ED0-0000-4000-8000-0123456789AB".lower()
    answer = post(ledger, X_Amzn_Trace_Id=TRACE, x_amzn_RequestId=request_id)
    assert answer.headers["X-Amzn-Trace-Id"] == "root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;sampled=1"
    assert answer.headers["x-amzn-RequestId"] == request_id
    (run,) = ledger.wait(request_id)
    assert run.trace.startswith(f"{TRACE};Lineage=")


@pytest.mark.parametrize("query", ["", "?Qualifier=%24LATEST"])
def test_an_empty_body_is_an_empty_object(ledger: Ledger, query: str) -> None:
    for _ in range(2):
        (run,) = ledger.wait(post(ledger, b"", query).headers["x-amzn-RequestId"])
        assert run.event == {}


def test_the_bytes_of_the_payload_are_not_touched(functions: FunctionSet, tmp_path: Path) -> None:
    source = f"""#!/bin/bash
while true; do
  id=$(curl -sS -D - "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next" -o {tmp_path}/new \\
    | grep -i Lambda-Runtime-Aws-Request-Id | tr -d '[:space:]' | cut -d: -f2)
  mv {tmp_path}/new {tmp_path}/seen
  curl -sS -X POST "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d '{{}}' > /dev/null
done
"""
    name = functions.bootstrap(source)
    payload = b' { "a" : 1.00e1,\r\n"a":"\\u00e9\xc3\xa9" } \n'
    assert functions.post(name, payload, X_Amz_Invocation_Type="Event").status == 202
    until((tmp_path / "seen").exists, "the function has its event")
    assert (tmp_path / "seen").read_bytes() == payload


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"a":1}x', b"\xff", b" "])
def test_a_payload_that_is_no_json_is_refused(ledger: Ledger, queue: Queue, body: bytes) -> None:
    answer = post(ledger, body)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    assert answer.json["message"].startswith("Could not parse request body into json")
    # As for a synchronous invoke.
    assert answer.json["message"] == ledger.functions.post(ledger.name, body).json["message"]
    assert queue.rows("SELECT 1 FROM events WHERE request_id = ?", answer.headers["x-amzn-RequestId"]) == []


@pytest.mark.parametrize("warm", [False, True])
def test_a_megabyte_is_accepted_and_a_byte_more_is_not(ledger: Ledger, queue: Queue, warm: bool) -> None:
    query = "" if warm else f"?Qualifier=%24LATEST&any={LIMIT}"
    if warm:
        post(ledger)
    largest = b'"%b"' % (b"x" * (LIMIT - 2))
    (run,) = ledger.wait(post(ledger, largest, query).headers["x-amzn-RequestId"])
    assert len(run.event) == LIMIT - 2
    answer = post(ledger, b'"%b"' % (b"x" * (LIMIT - 1)), query)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
    assert answer.json == {"message": TOO_LARGE}
    assert queue.rows("SELECT 1 FROM events WHERE request_id = ?", answer.headers["x-amzn-RequestId"]) == []
    assert post(ledger, b"0" * (7 * 1024 * 1024)).status == 413


def test_too_much_as_boto3_sees_it(ledger: Ledger) -> None:
    call = ledger.functions.client.invoke
    status, code, message = refusal(
        call, FunctionName=ledger.name, InvocationType="Event", Payload=b'"%b"' % (b"x" * LIMIT)
    )
    assert (status, code, message) == (413, "RequestEntityTooLargeException", TOO_LARGE.replace("577", "578"))
    # A synchronous one may have six.
    assert call(FunctionName=ledger.name, Payload=b'"%b"' % (b"x" * LIMIT))["StatusCode"] == 200


@pytest.mark.parametrize("log_type", ["Tail", "None"])
def test_the_tail_of_the_log_is_not_given(ledger: Ledger, log_type: str) -> None:
    for _ in range(2):
        answer = post(ledger, X_Amz_Log_Type=log_type)
        assert answer.status == 202
        assert {name.lower() for name in answer.headers} == HEADERS
        ledger.wait(answer.headers["x-amzn-RequestId"])


def test_a_client_context_is_checked_but_not_handed_on(ledger: Ledger) -> None:
    """The documentation has it for synchronous invocations only."""
    context = base64.b64encode(b'{"custom":{"a":"b"}}').decode()
    (run,) = ledger.wait(ledger.send(ClientContext=context))
    assert not run.has_context
    answer = post(ledger, X_Amz_Client_Context="no base64 of an object")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(
    "form", ["{}", "function:{}", "000000000000:{}", "000000000000:function:{}", f"{ARN}:{{}}", "{}:$LATEST"]
)
def test_every_form_of_the_name_is_taken(ledger: Ledger, form: str) -> None:
    name = form.format(ledger.name)
    (run,) = ledger.wait(ledger.send(name=name))
    assert run.arn == f"{ARN}:{ledger.name}" + (":$LATEST" if "LATEST" in form else "")


def test_versions_and_aliases(functions: FunctionSet, queue: Queue, tmp_path: Path) -> None:
    ledger = Ledger(functions, tmp_path)
    client = functions.client
    assert functions.publish(ledger.name) == "1"
    functions.update(ledger.name, recorder(2))
    assert functions.publish(ledger.name) == "2"
    client.create_alias(FunctionName=ledger.name, Name="live", FunctionVersion="1")
    functions.update(ledger.name, recorder(3))
    for qualifier, version, code in (("1", "1", 1), ("2", "2", 2), ("live", "1", 1), ("$LATEST", "$LATEST", 3)):
        for given in ({"Qualifier": qualifier}, {"name": f"{ledger.name}:{qualifier}"}):
            (run,) = ledger.wait(ledger.send(**given))
            assert (run.version, run.arn, run.code) == (version, f"{ARN}:{ledger.name}:{qualifier}", code)
            assert queue.ended(run.id)[2].detail["executedVersion"] == version
    client.update_alias(FunctionName=ledger.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
    sent = [ledger.send(Qualifier="live") for _ in range(60)]
    drawn = Counter(ledger.wait(request_id)[0].version for request_id in sent)
    assert set(drawn) == {"1", "2"}
    assert min(drawn.values()) >= 10  # below with a chance of one in ten millions


def test_what_is_not_there_is_refused_at_once(ledger: Ledger, queue: Queue) -> None:
    client = ledger.functions.client
    call = {"InvocationType": "Event", "Payload": b"{}"}
    before = queue.rows("SELECT max(id) FROM events")
    assert refusal(client.invoke, FunctionName="missing", **call) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}:missing:$LATEST",
    )
    for qualifier in ("9", "nowhere"):
        assert refusal(client.invoke, FunctionName=ledger.name, Qualifier=qualifier, **call) == (
            404,
            "ResourceNotFoundException",
            f"Function not found: {ARN}:{ledger.name}:{qualifier}",
        )
    mismatch = refusal(client.invoke, FunctionName=f"{ledger.name}:1", Qualifier="2", **call)
    assert mismatch[:2] == (400, "InvalidParameterValueException")
    elsewhere = f"arn:aws:lambda:eu-west-1:000000000000:function:{ledger.name}"
    assert refusal(client.invoke, FunctionName=elsewhere, **call)[:2] == (404, "ResourceNotFoundException")
    assert queue.rows("SELECT max(id) FROM events") == before


def test_a_function_that_has_no_room_accepts_events(functions: FunctionSet, queue: Queue, tmp_path: Path) -> None:
    """Whether it can run is seen later: here never, for nothing is reserved for it."""
    ledger = Ledger(functions, tmp_path)
    functions.client.put_function_concurrency(FunctionName=ledger.name, ReservedConcurrentExecutions=0)
    assert functions.post(ledger.name).status == 429
    request_id = ledger.send({"a": 1})
    history = queue.ended(request_id, "failed")
    assert [line.kind for line in history] == ["accepted", "started", "failed"]
    assert history[2].detail["condition"] == "ZeroReservedConcurrency"
    assert ledger.runs() == []


def test_a_synchronous_invoke_of_the_same_address_is_synchronous(ledger: Ledger) -> None:
    for _ in range(3):
        assert post(ledger).status == 202
        assert ledger.functions.post(ledger.name).json == {"runs": 1}
        assert ledger.functions.client.invoke(FunctionName=ledger.name, InvocationType="DryRun")["StatusCode"] == 204


# --- connections --------------------------------------------------------------------------------------------------


def request_bytes(running: RunningService, name: str, body: bytes) -> bytes:
    return (
        b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Amz-Invocation-Type: Event\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (name.encode(), running.port, len(body), body)
    )


def test_requests_that_follow_one_another_without_waiting(ledger: Ledger, shared_service: RunningService) -> None:
    """Each is answered in its turn; while one waits for its commit the next one waits for it."""
    count = 60
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=20) as connection:
        connection.sendall(
            b"".join(request_bytes(shared_service, ledger.name, b'{"n":%d}' % number) for number in range(count))
        )
        received = b""
        while received.count(b"\r\n\r\n") < count:
            part = connection.recv(65_536)
            assert part, "the service closed the connection"
            received += part
    assert received.count(b"HTTP/1.1 202 Accepted\r\n") == count
    ids = [found.decode() for found in re.findall(rb"x-amzn-RequestId: (\S+)", received)]
    assert len(set(ids)) == count
    events = [ledger.wait(request_id)[0].event for request_id in ids]
    assert events == [{"n": number} for number in range(count)]


def test_callers_who_do_not_wait_for_the_answer(ledger: Ledger, shared_service: RunningService) -> None:
    marker = {"gone": ledger.name}
    before = len(ledger.runs())
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", shared_service.port), timeout=20) as connection:
            connection.sendall(request_bytes(shared_service, ledger.name, json.dumps(marker).encode()))
    # Their events are run, or never came; the service is well, and the next one is accepted.
    ledger.wait(ledger.send({"last": 1}))
    assert shared_service.health()["status"] == "ok"
    assert len(ledger.runs()) <= before + 21


# --- InvokeAsync --------------------------------------------------------------------------------------------------


def test_invoke_async_by_boto3(ledger: Ledger, queue: Queue) -> None:
    answer = ledger.functions.client.invoke_async(FunctionName=ledger.name, InvokeArgs=b'{"legacy": true}')
    assert answer["Status"] == 202
    (run,) = ledger.wait(answer["ResponseMetadata"]["RequestId"])
    assert (run.event, run.arn) == ({"legacy": True}, f"{ARN}:{ledger.name}")
    assert [line.kind for line in queue.ended(run.id)] == ["accepted", "started", "succeeded"]


@pytest.mark.parametrize("api_version", ["2014-11-11", "2015-03-31"])
def test_invoke_async_by_clients_of_both_versions_of_the_api(ledger: Ledger, api_version: str) -> None:
    session = session_of("us-east-1", "AKIDANY", "any-secret")
    client = session.client("lambda", endpoint_url=ledger.functions.url, api_version=api_version)
    answer = client.invoke_async(FunctionName=ledger.name, InvokeArgs=b'{"version": 1}')
    assert answer["Status"] == 202
    (run,) = ledger.wait(answer["ResponseMetadata"]["RequestId"])
    assert run.event == {"version": 1}
    client.close()


@pytest.mark.parametrize("end", ["", "/"])
def test_invoke_async_by_hand(ledger: Ledger, end: str) -> None:
    for _ in range(2):
        answer = post_async(ledger, b'{"by": "hand"}', end=end)
        assert (answer.status, answer.body) == (202, b"")
        assert {name.lower() for name in answer.headers} == HEADERS
        assert answer.headers["Content-Length"] == "0"
        (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
        assert run.event == {"by": "hand"}


@pytest.mark.parametrize(
    "form", ["{}", "function:{}", "000000000000:{}", "000000000000:function:{}", f"{ARN}:{{}}", f"{ARN}:{{}}:$LATEST"]
)
def test_invoke_async_takes_every_form_of_the_name(ledger: Ledger, form: str) -> None:
    answer = ledger.functions.client.invoke_async(FunctionName=form.format(ledger.name), InvokeArgs=b"{}")
    ledger.wait(answer["ResponseMetadata"]["RequestId"])


def test_invoke_async_does_not_hand_on_the_trace(ledger: Ledger) -> None:
    """As documented: tracing does not go on. Only the lineage does, or a loop would not be seen."""
    answer = post_async(ledger, X_Amzn_Trace_Id=TRACE)
    assert "5bef4de7" not in answer.headers["X-Amzn-Trace-Id"]
    (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
    assert "5bef4de7" not in run.trace
    assert answer.headers["X-Amzn-Trace-Id"].partition(";")[0] == run.trace.partition(";")[0].lower()


@pytest.mark.parametrize(
    "headers",
    [
        {"X_Amz_Invocation_Type": "RequestResponse"},
        {"X_Amz_Invocation_Type": "DryRun"},
        {"X_Amz_Log_Type": "Tail"},
        {"X_Amz_Client_Context": "e30="},
    ],
)
def test_headers_of_invoke_mean_nothing_to_invoke_async(ledger: Ledger, headers: Mapping[str, str]) -> None:
    for _ in range(2):
        answer = post_async(ledger, **headers)
        assert (answer.status, answer.body) == (202, b"")
        (run,) = ledger.wait(answer.headers["x-amzn-RequestId"])
        assert not run.has_context


def test_invoke_async_takes_a_quarter_of_a_megabyte(ledger: Ledger) -> None:
    largest = b'"%b"' % (b"x" * (LEGACY_LIMIT - 2))
    (run,) = ledger.wait(post_async(ledger, largest).headers["x-amzn-RequestId"])
    assert len(run.event) == LEGACY_LIMIT - 2
    for size in (LEGACY_LIMIT + 1, 7 * 1024 * 1024):
        answer = post_async(ledger, b'"%b"' % (b"x" * (size - 2)))
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (413, "RequestEntityTooLargeException")
        assert str(LEGACY_LIMIT) in answer.json["message"]
        assert "InvokeAsync" in answer.json["message"]


def test_errors_of_invoke_async(ledger: Ledger) -> None:
    client = ledger.functions.client
    status, code, message = refusal(client.invoke_async, FunctionName=ledger.name, InvokeArgs=b"{")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json")
    with pytest.raises(client.exceptions.InvalidRequestContentException):
        client.invoke_async(FunctionName=ledger.name, InvokeArgs=b"not json")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.invoke_async(FunctionName="missing", InvokeArgs=b"{}")
    assert caught.value.response["Error"]["Message"] == f"Function not found: {ARN}:missing:$LATEST"
    assert refusal(client.invoke_async, FunctionName=f"{ledger.name}:9", InvokeArgs=b"{}")[:2] == (
        404,
        "ResourceNotFoundException",
    )
    answer = post_async(ledger, name="no good name!")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")


# --- accounts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["invoke", "invoke_async"])
def test_a_function_of_another_account_needs_a_permission(
    shared_service: RunningService, ledger: Ledger, queue: Queue, operation: str
) -> None:
    neighbour = client_of(shared_service.url, signed=("222233334444", "any-secret"))
    target = f"{ARN}:{ledger.name}"
    members: dict[str, Any] = {"FunctionName": target}
    members |= {"InvokeArgs": b"{}"} if operation == "invoke_async" else {"InvocationType": "Event", "Payload": b"{}"}
    action = "lambda:InvokeAsync" if operation == "invoke_async" else "lambda:InvokeFunction"
    call = getattr(neighbour, operation)
    before = queue.rows("SELECT max(id) FROM events")
    assert refusal(call, **members)[:2] == (403, "AccessDeniedException")
    assert queue.rows("SELECT max(id) FROM events") == before
    owner = ledger.functions.client
    statement = {"FunctionName": ledger.name, "StatementId": f"neighbour-{operation}"}
    owner.add_permission(Action=action, Principal="222233334444", **statement)
    try:
        for _ in range(2):
            answer = call(**members)
            (run,) = ledger.wait(answer["ResponseMetadata"]["RequestId"])
            assert run.arn == target
    finally:
        with suppress(ClientError):
            owner.remove_permission(**statement)
    assert refusal(call, **members)[:2] == (403, "AccessDeniedException")
    neighbour.close()


def test_functions_of_one_name_in_two_accounts_get_their_own_events(
    shared_service: RunningService, tmp_path: Path, functions: FunctionSet
) -> None:
    own = Ledger(functions, tmp_path)
    other = shared_service.functions()
    other.client = client_of(shared_service.url, signed=("222233335555", "any-secret"))
    (tmp_path / "other").mkdir()
    theirs = Ledger(other, tmp_path / "other", name=own.name)
    try:
        (mine,) = own.wait(own.send({"to": "mine"}))
        (yours,) = theirs.wait(theirs.send({"to": "yours"}))
        assert (mine.event, yours.event) == ({"to": "mine"}, {"to": "yours"})
        assert yours.arn == f"arn:aws:lambda:us-east-1:222233335555:function:{own.name}"
        assert (len(own.runs()), len(theirs.runs())) == (1, 1)
    finally:
        other.delete_all()
        other.client.close()
