"""What leaves for queues, topics, buses and buckets, request by request; and what their answers mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.service.events.delivery_errors import (
    DeliveryError,
    MessageRefusedError,
    MessageTooLargeError,
    NoEndpointError,
    TargetFailedError,
)
from venturekit.service.events.invocation_record import Outcome, dead_letter_attributes, invocation_record
from venturekit.service.events.senders import LIMITS_BYTES, Senders, object_key, parse_target
from venturekit.service.store.outbox import OwedMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ACCOUNT = "123456789012"
SOURCE = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f:live"
QUEUE = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:queue"
TOPIC = f"arn:aws:sns:us-west-2:{ACCOUNT}:topic"
BUS = f"arn:aws:events:us-east-1:{ACCOUNT}:event-bus/bus"
BUCKET = "arn:aws:s3:::bucket"
TRACE = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0;Lineage=1:abc123:1"
URL = "http://localhost/123456789012/queue"
WALL = 1573755365.568
ANSWERS: dict[str, dict[str, Any]] = {
    "get_queue_url": {"QueueUrl": URL},
    "send_message": {"MessageId": "m"},
    "publish": {"MessageId": "m"},
    "put_events": {"FailedEntryCount": 0, "Entries": [{"EventId": "e"}]},
    "put_object": {"ETag": '"e"'},
}


class ScriptedCalls:
    """Answers every operation; ``answers`` may hold an error or something to call instead of an answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {**ANSWERS, **answers}
        self.calls: list[tuple[str, str, str, dict[str, Any]]] = []
        self.missing: dict[str, str] = {}

    def obstacle(self, service: str) -> str:
        return self.missing.get(service, "")

    def call(self, service: str, region: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        self.calls.append((service, region, operation, dict(members)))
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        found: Mapping[str, Any] = answer(members) if callable(answer) else answer
        return found

    def members(self, operation: str) -> list[dict[str, Any]]:
        return [members for _, _, name, members in self.calls if name == operation]


def record(request: bytes = b"{}", response: bytes = b'{"errorMessage":"no"}') -> bytes:
    return invocation_record(
        wall=WALL,
        request_id="r",
        function_arn=SOURCE,
        condition="RetriesExhausted",
        invoke_count=3,
        request_payload=request,
        outcome=Outcome("1", response, "Unhandled"),
    )


def message(target: str, body: bytes | None = None, kind: str = "OnFailure", **members: Any) -> OwedMessage:
    given = {"attributes": "{}", "source": SOURCE, "trace": TRACE, "created_wall": WALL, **members}
    return OwedMessage(delivery_id=7, kind=kind, target=target, body=record() if body is None else body, **given)


def dead_letter(target: str, event: bytes = b'{"a": 1}') -> OwedMessage:
    attributes = dead_letter_attributes("r", Outcome("1", b'{"errorMessage":"no"}', "Unhandled"), "")
    return message(target, event, "DeadLetter", attributes=json.dumps(attributes))


ATTRIBUTES = {
    "RequestID": {"DataType": "String", "StringValue": "r"},
    "ErrorCode": {"DataType": "Number", "StringValue": "200"},
    "ErrorMessage": {"DataType": "String", "StringValue": "no"},
}
TRACED = {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}}
OWNER = {"QueueName": "queue", "QueueOwnerAWSAccountId": ACCOUNT}


def test_a_record_for_a_queue() -> None:
    calls = ScriptedCalls()
    senders = Senders(calls)
    assert senders.send(message(QUEUE)) == ()
    sent = {"QueueUrl": URL, "MessageBody": record().decode(), "MessageSystemAttributes": TRACED}
    assert calls.calls == [
        ("sqs", "eu-west-1", "get_queue_url", OWNER),
        ("sqs", "eu-west-1", "send_message", sent),
    ]
    # The address of a queue is asked for once.
    senders.send(message(QUEUE))
    assert len(calls.members("get_queue_url")) == 1


@pytest.mark.parametrize("trace", ["", "Root=any", "no trace at all"])
def test_a_trace_that_a_queue_would_refuse_is_left_out(trace: str) -> None:
    calls = ScriptedCalls()
    Senders(calls).send(message(QUEUE, trace=trace))
    assert "MessageSystemAttributes" not in calls.members("send_message")[0]


def test_a_dead_letter_for_a_queue() -> None:
    calls = ScriptedCalls()
    assert Senders(calls).send(dead_letter(QUEUE)) == ()
    assert calls.members("send_message") == [
        {"QueueUrl": URL, "MessageBody": '{"a": 1}', "MessageAttributes": ATTRIBUTES}
    ]


def test_a_record_and_a_dead_letter_for_a_topic() -> None:
    calls = ScriptedCalls()
    senders = Senders(calls)
    senders.send(message(TOPIC))
    senders.send(dead_letter(TOPIC))
    assert calls.calls == [
        ("sns", "us-west-2", "publish", {"TopicArn": TOPIC, "Message": record().decode()}),
        ("sns", "us-west-2", "publish", {"TopicArn": TOPIC, "Message": '{"a": 1}', "MessageAttributes": ATTRIBUTES}),
    ]


@pytest.mark.parametrize(("kind", "result"), [("OnSuccess", "Success"), ("OnFailure", "Failure")])
def test_a_record_for_an_event_bus(kind: str, result: str) -> None:
    calls = ScriptedCalls()
    Senders(calls).send(message(BUS, kind=kind))
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {result}",
        "Resources": [BUS, SOURCE],
        "Detail": record().decode(),
        "EventBusName": BUS,
    }
    assert calls.calls == [("events", "us-east-1", "put_events", {"Entries": [entry]})]


def test_a_record_for_a_bucket() -> None:
    calls = ScriptedCalls()
    Senders(calls).send(message(BUCKET))
    ((service, region, operation, members),) = calls.calls
    key = members.pop("Key")
    assert (service, region, operation) == ("s3", "", "put_object")
    assert members == {"Bucket": "bucket", "Body": record(), "ContentType": "application/json"}
    assert key.startswith("aws/lambda/async/f/2019/11/14/2019-11-14T18.16.05-")
    assert len(key.removeprefix("aws/lambda/async/f/2019/11/14/2019-11-14T18.16.05-")) == 36


def test_the_name_of_an_object_is_its_deliverys_own() -> None:
    assert object_key(message(BUCKET)) == object_key(message(BUCKET))
    other = OwedMessage(8, "OnFailure", BUCKET, b"", "{}", SOURCE, TRACE, WALL)
    keys = {object_key(message(BUCKET)), object_key(other), object_key(message(BUCKET, created_wall=WALL + 0.001))}
    assert len(keys) == 3


def refuses_over(limit_bytes: int, text: str, member: str, code: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    def answer(members: Mapping[str, Any]) -> dict[str, Any]:
        if len(members[member]) > limit_bytes:
            raise AwsRefusedError(code, text, 400)
        return {"MessageId": "m"}

    return answer


@pytest.mark.parametrize(
    ("request_bytes", "response_bytes", "omitted"),
    [
        (10, 10, ()),
        (10, 300_000, ("responsePayload",)),
        (200_000, 100_000, ("responsePayload",)),
        (300_000, 10, ("responsePayload", "requestPayload")),
        (6_000_000, 6_000_000, ("responsePayload", "requestPayload")),
    ],
)
def test_a_record_too_large_for_a_topic(request_bytes: int, response_bytes: int, omitted: tuple[str, ...]) -> None:
    calls = ScriptedCalls()
    body = record(b'"%b"' % (b"q" * request_bytes), b'"%b"' % (b"p" * response_bytes))
    assert Senders(calls).send(message(TOPIC, body)) == omitted
    (sent,) = calls.members("publish")
    kept = {name: value for name, value in json.loads(body).items() if name not in omitted}
    assert json.loads(sent["Message"]) == kept


@pytest.mark.parametrize(
    ("target", "operation", "member"),
    [(QUEUE, "send_message", "MessageBody"), (TOPIC, "publish", "Message"), (BUS, "put_events", "Entries")],
)
def test_the_limits_are_exact(target: str, operation: str, member: str) -> None:
    service = parse_target(target).service
    about = ("lambda", "Lambda Function Invocation Result - Failure", BUS, SOURCE) if service == "events" else ()
    room = LIMITS_BYTES[service] - len(record(b'""', b'"no"')) - sum(map(len, about))
    for size, omitted in ((room, ()), (room + 1, ("responsePayload",))):
        calls = ScriptedCalls()
        body = record(b'"%b"' % (b"q" * size), b'"no"')
        assert Senders(calls).send(message(target, body)) == omitted
        assert len(calls.members(operation)) == 1
        assert member in calls.members(operation)[0]


def test_a_dead_letter_too_large_for_its_target() -> None:
    calls = ScriptedCalls()
    assert Senders(calls).send(dead_letter(TOPIC, b'"%b"' % (b"q" * 300_000))) == ("requestPayload",)
    (sent,) = calls.members("publish")
    size = {"DataType": "Number", "StringValue": "300002"}
    assert (sent["Message"], sent["MessageAttributes"]) == ("{}", {**ATTRIBUTES, "PayloadOmittedBytes": size})


@pytest.mark.parametrize(
    ("target", "operation", "member", "code", "text"),
    [
        (
            QUEUE,
            "send_message",
            "MessageBody",
            "InvalidParameterValue",
            "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.",
        ),
        (TOPIC, "publish", "Message", "InvalidParameter", "Invalid parameter: Message too long"),
    ],
)
def test_a_target_may_take_even_less(target: str, operation: str, member: str, code: str, text: str) -> None:
    calls = ScriptedCalls(**{operation: refuses_over(1000, text, member, code)})
    body = record(b'"short"', b'"%b"' % (b"p" * 2000))
    assert Senders(calls).send(message(target, body)) == ("responsePayload",)
    assert len(calls.members(operation)) == 2
    calls = ScriptedCalls(**{operation: refuses_over(10, text, member, code)})
    with pytest.raises(MessageTooLargeError) as caught:
        Senders(calls).send(message(target, body))
    assert str(caught.value) == f"{code}: {text}"
    assert len(calls.members(operation)) == 3


def test_a_bus_may_take_even_less() -> None:
    text = "Total size of the entries in the request is over the limit."
    calls = ScriptedCalls(put_events=AwsRefusedError("ValidationException", text, 400))
    with pytest.raises(MessageTooLargeError):
        Senders(calls).send(message(BUS))
    assert len(calls.members("put_events")) == 3


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (AwsRefusedError("AWS.SimpleQueueService.NonExistentQueue", "no such queue", 400), TargetFailedError),
        (AwsRefusedError("RequestThrottled", "Rate exceeded", 400), TargetFailedError),
        (AwsRefusedError("ThrottlingException", "Rate exceeded", 400), TargetFailedError),
        (AwsRefusedError("AccessDenied", "no", 403), TargetFailedError),
        (AwsRefusedError("500", "", 500), TargetFailedError),
        (AwsRefusedError("ServiceUnavailable", "size limit of the fleet", 503), TargetFailedError),
        (AwsRefusedError("InvalidMessageContents", "characters", 400), MessageRefusedError),
        (AwsRefusedError("InvalidParameterValue", "an attribute", 400), MessageRefusedError),
        (AwsRefusedError("Unknown", "", 413), MessageTooLargeError),
        (AwsNotAskedError("Could not connect"), TargetFailedError),
        ({}, TargetFailedError),
        ({"MessageId": ""}, TargetFailedError),
    ],
)
def test_what_an_answer_means(answer: Any, kind: type[DeliveryError]) -> None:
    for target, operation in ((QUEUE, "send_message"), (TOPIC, "publish")):
        with pytest.raises(DeliveryError) as caught:
            Senders(ScriptedCalls(**{operation: answer})).send(message(target))
        assert type(caught.value) is kind
        assert str(caught.value)


@pytest.mark.parametrize(
    ("target", "operation", "answer"),
    [
        (QUEUE, "get_queue_url", {}),
        (QUEUE, "send_message", {"Buckets": []}),
        (TOPIC, "publish", {}),
        (BUS, "put_events", {}),
        (BUS, "put_events", {"FailedEntryCount": 0, "Entries": []}),
        (BUS, "put_events", {"FailedEntryCount": 0, "Entries": [{}]}),
        (BUCKET, "put_object", {}),
    ],
)
def test_an_answer_without_a_sign_is_none(target: str, operation: str, answer: Any) -> None:
    """Something else may listen at that address, and answer 200 to anything."""
    with pytest.raises(TargetFailedError, match="check that its address is right"):
        Senders(ScriptedCalls(**{operation: answer})).send(message(target))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ThrottlingException", TargetFailedError),
        ("InternalFailure", TargetFailedError),
        ("MalformedDetail", MessageRefusedError),
    ],
)
def test_an_entry_that_a_bus_did_not_take(code: str, kind: type[DeliveryError]) -> None:
    answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}
    with pytest.raises(kind) as caught:
        Senders(ScriptedCalls(put_events=answer)).send(message(BUS))
    assert str(caught.value) == f"{code}: no"


def test_the_address_of_a_queue_is_asked_again_after_a_failure() -> None:
    calls = ScriptedCalls(send_message=AwsRefusedError("QueueDoesNotExist", "no", 400))
    senders = Senders(calls)
    for _ in range(2):
        with pytest.raises(TargetFailedError):
            senders.send(message(QUEUE))
    assert len(calls.members("get_queue_url")) == 2


def test_without_an_address() -> None:
    calls = ScriptedCalls()
    calls.missing["sqs"] = "no endpoint is known for sqs"
    senders = Senders(calls)
    assert senders.obstacle(QUEUE) == "no endpoint is known for sqs"
    assert senders.obstacle(TOPIC) == ""
    with pytest.raises(NoEndpointError, match="no endpoint is known for sqs"):
        senders.send(message(QUEUE))
    assert calls.calls == []


def test_characters_that_a_queue_refuses_are_escaped() -> None:
    calls = ScriptedCalls()
    Senders(calls).send(dead_letter(QUEUE, '"\uffff"'.encode()))
    assert calls.members("send_message")[0]["MessageBody"] == '"\\uffff"'


@pytest.mark.parametrize("arn", ["", "arn", "kafka://topic", "arn:aws:iam::123456789012:role/r"])
def test_what_is_no_target_waits_with_a_reason(arn: str) -> None:
    with pytest.raises(MessageRefusedError, match="nothing can be sent to"):
        Senders(ScriptedCalls()).send(message(arn))
