"""Event source mappings of the whole service, with queues at moto's server."""

from __future__ import annotations

import itertools
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import RunningService, client_of, until
from tests.service.stand_in import ACCOUNT, REGION, StandIn, stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

SETTINGS = {"account_id": ACCOUNT, "region": REGION}
# Writes what it gets to a file, and then does as it is told by the bodies of its messages.
SOURCE = """
import json, os, time
def handler(event, context):
    with open(os.environ["OUT"], "a") as out:
        out.write(json.dumps(event) + "\\n")
    bodies = {record["body"]: record["messageId"] for record in event["Records"]}
    if os.path.exists(os.environ["OUT"] + ".fail"):
        raise ValueError("as told")
    while os.path.exists(os.environ["OUT"] + ".hold"):
        time.sleep(0.01)
    if "answer" in os.environ:
        return json.loads(os.environ["answer"])
    bad = [message_id for body, message_id in bodies.items() if body.startswith("bad")]
    return {"batchItemFailures": [{"itemIdentifier": each} for each in bad]}
"""
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture(scope="module")
def running(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("sources") / "data", stand_in.environ(), **SETTINGS)
    yield service
    service.close()


class Mapped:
    """A queue, a function that writes what it gets to a file, and mappings between them."""

    def __init__(self, functions: FunctionSet, stand_in: StandIn, folder: Path) -> None:
        self.client, self.functions, self.stand_in = functions.client, functions, stand_in
        self.out = folder / "out"
        self.out.touch()
        self.mappings: list[str] = []

    def function(self, **variables: str) -> str:
        members = {"Timeout": 1, "Environment": {"Variables": {"OUT": str(self.out), **variables}}}
        return self.functions.create(SOURCE, **members)

    def queue(self, name: str = "", **attributes: str) -> str:
        kind = ".fifo" if attributes.get("FifoQueue") else ""
        return self.stand_in.queue(
            f"{name or 'source'}-{next(_NUMBERS)}{kind}", **{"VisibilityTimeout": "2", **attributes}
        )

    def map(self, queue: str, function: str, **members: Any) -> str:
        """Create a mapping; returns its UUID."""
        answer = self.client.create_event_source_mapping(EventSourceArn=queue, FunctionName=function, **members)
        self.mappings.append(answer["UUID"])
        return str(answer["UUID"])

    def get(self, uuid: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get_event_source_mapping(UUID=uuid)
        return answer

    def wait_state(self, uuid: str, state: str) -> None:
        until(lambda: self.get(uuid)["State"] == state, f"the mapping is {state}", pause_seconds=0.01)

    def wait_result(self, uuid: str, beginning: str) -> None:
        until(
            lambda: self.get(uuid).get("LastProcessingResult", "").startswith(beginning),
            f"the result is {beginning}",
            pause_seconds=0.01,
        )

    def send(self, queue: str, *bodies: str, **members: Any) -> None:
        url = self.stand_in._url(queue)
        if "MessageSystemAttributes" in members:
            # Moto takes these from single messages only.
            for body in bodies:
                self.stand_in.sqs.send_message(QueueUrl=url, MessageBody=body, **members)
            return
        for begin in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body, **members}
                for number, body in enumerate(bodies[begin : begin + 10])
            ]
            answer = self.stand_in.sqs.send_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()]

    def bodies(self) -> list[str]:
        return [record["body"] for event in self.events() for record in event["Records"]]

    def wait_bodies(self, *bodies: str) -> None:
        """Wait until all of these have come at least once."""
        until(lambda: set(bodies) <= set(self.bodies()), f"{bodies[:5]} come", pause_seconds=0.01)

    def left(self, queue: str) -> int:
        """How many messages a queue holds, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.stand_in.sqs.get_queue_attributes(QueueUrl=self.stand_in._url(queue), AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def wait_empty(self, queue: str) -> None:
        until(lambda: self.left(queue) == 0, f"{queue} is empty", pause_seconds=0.02)

    def end(self) -> None:
        for uuid in self.mappings:
            try:
                self.client.delete_event_source_mapping(UUID=uuid)
            except self.client.exceptions.ResourceNotFoundException:
                continue
        self.functions.delete_all()


@pytest.fixture
def mapped(running: RunningService, stand_in: StandIn, tmp_path: Path) -> Iterator[Mapped]:
    made = Mapped(running.functions(), stand_in, tmp_path)
    yield made
    made.end()


def refused(call: Callable[[], Any], code: str, text: str = "") -> None:
    with pytest.raises(ClientError) as raised:
        call()
    error = raised.value.response["Error"]
    assert error["Code"] == code
    assert text in error["Message"]


# --- processing -----------------------------------------------------------------------------------------------------


def test_messages_reach_the_function_and_are_deleted(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    attributes = {
        "text": {"DataType": "String", "StringValue": "é"},
        "number": {"DataType": "Number", "StringValue": "1.5"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\xff\x00"},
    }
    trace = "Root=1-65000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"
    system = {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    mapped.send(queue, '{"a": "é"}', MessageAttributes=attributes, MessageSystemAttributes=system)
    uuid = mapped.map(queue, function)
    mapped.wait_bodies('{"a": "é"}')
    mapped.wait_empty(queue)
    mapped.wait_result(uuid, "OK")
    (event,) = mapped.events()
    (record,) = event["Records"]
    assert list(event) == ["Records"]
    assert set(record) == {
        *("messageId", "receiptHandle", "body", "attributes", "messageAttributes", "md5OfMessageAttributes"),
        *("md5OfBody", "eventSource", "eventSourceARN", "awsRegion"),
    }
    assert (record["eventSource"], record["eventSourceARN"], record["awsRegion"]) == ("aws:sqs", queue, REGION)
    assert {"ApproximateReceiveCount", "SentTimestamp", "SenderId", "ApproximateFirstReceiveTimestamp"} <= set(
        record["attributes"]
    )
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["attributes"]["AWSTraceHeader"] == trace
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {
        "text": {"stringValue": "é", **lists, "dataType": "String"},
        "number": {"stringValue": "1.5", **lists, "dataType": "Number"},
        "bytes": {"binaryValue": "/wA=", **lists, "dataType": "Binary"},
    }


def test_more_messages_than_a_batch(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    bodies = [f"message {number}" for number in range(43)]
    mapped.send(queue, *bodies)
    mapped.map(queue, function, BatchSize=5)
    mapped.wait_bodies(*bodies)
    mapped.wait_empty(queue)
    assert all(1 <= len(event["Records"]) <= 5 for event in mapped.events())


def test_a_window_gathers_what_several_requests_bring(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    bodies = [f"message {number}" for number in range(25)]
    mapped.send(queue, *bodies)
    mapped.map(queue, function, BatchSize=25, MaximumBatchingWindowInSeconds=1)
    mapped.wait_bodies(*bodies)
    assert [len(event["Records"]) for event in mapped.events()] == [25]


def test_a_window_that_ends_before_the_batch_is_full(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    mapped.send(queue, "a", "b")
    mapped.map(queue, function, BatchSize=100, MaximumBatchingWindowInSeconds=1)
    mapped.wait_bodies("a", "b")
    mapped.wait_empty(queue)
    assert [len(event["Records"]) for event in mapped.events()] == [2]


def test_failed_messages_come_back_and_end_in_the_dead_letter_queue(mapped: Mapped) -> None:
    dead = mapped.queue("dead")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": 2})
    queue, function = mapped.queue(VisibilityTimeout="1", RedrivePolicy=redrive), mapped.function()
    mapped.send(queue, "bad", "good")
    mapped.map(queue, function, FunctionResponseTypes=["ReportBatchItemFailures"])
    until(lambda: mapped.left(dead) == 1, "the poison message is put aside", pause_seconds=0.05)
    assert mapped.left(queue) == 0
    bodies = mapped.bodies()
    assert (bodies.count("bad"), bodies.count("good")) == (2, 1)


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [
        ('{"batchItemFailures": null}', True),
        ('{"batchItemFailures": [{"itemIdentifier": "nobody"}]}', False),
        ('"no object"', False),
    ],
)
def test_responses_that_name_no_message(mapped: Mapped, answer: str, deleted: bool) -> None:
    queue, function = mapped.queue(), mapped.function(answer=answer)
    mapped.send(queue, "a")
    uuid = mapped.map(queue, function, FunctionResponseTypes=["ReportBatchItemFailures"])
    mapped.wait_result(uuid, "OK" if deleted else "PROBLEM: Function call failed: the ")
    assert mapped.left(queue) == (0 if deleted else 1)


def test_a_function_that_fails_keeps_its_messages(mapped: Mapped) -> None:
    queue, function = mapped.queue(VisibilityTimeout="1"), mapped.function()
    fails = mapped.out.with_name("out.fail")
    fails.touch()
    mapped.send(queue, "a")
    uuid = mapped.map(queue, function)
    mapped.wait_result(uuid, "PROBLEM: Function call failed")
    assert mapped.left(queue) == 1
    fails.unlink()
    mapped.wait_empty(queue)
    mapped.wait_result(uuid, "OK")
    counts = [event["Records"][0]["attributes"]["ApproximateReceiveCount"] for event in mapped.events()]
    assert counts == [str(number + 1) for number in range(len(counts))]


def test_only_what_a_filter_wants_is_seen_and_the_rest_deleted(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    pattern = {"body": {"temperature": [{"numeric": [">", 30]}]}, "messageAttributes": {"n": [{"exists": False}]}}
    mapped.send(queue, '{"temperature": 31}', '{"temperature": 5}', "no JSON", '{"temperature": 40}')
    uuid = mapped.map(queue, function, FilterCriteria={"Filters": [{"Pattern": json.dumps(pattern)}]})
    mapped.wait_bodies('{"temperature": 31}', '{"temperature": 40}')
    mapped.wait_empty(queue)
    assert sorted(mapped.bodies()) == ['{"temperature": 31}', '{"temperature": 40}']
    mapped.wait_state(uuid, "Enabled")
    assert "FilterCriteria" not in mapped.client.update_event_source_mapping(UUID=uuid, FilterCriteria={})
    mapped.send(queue, "any")
    mapped.wait_bodies("any")


def test_a_group_of_a_fifo_queue_keeps_its_order(mapped: Mapped) -> None:
    # Nothing comes back within the test, however busy the machine is.
    queue = mapped.queue(FifoQueue="true", ContentBasedDeduplication="true", VisibilityTimeout="60")
    function = mapped.function()
    bodies = [f"{group}{number}" for number in range(12) for group in "ab"]
    for body in bodies:
        mapped.send(queue, body, MessageGroupId=body[0])
    mapped.map(queue, function, BatchSize=3)
    mapped.wait_bodies(*bodies)
    mapped.wait_empty(queue)
    for group in "ab":
        assert [body for body in mapped.bodies() if body[0] == group] == [f"{group}{n}" for n in range(12)]
    assert mapped.events()[0]["Records"][0]["attributes"]["MessageGroupId"] in "ab"


def test_maximum_concurrency(mapped: Mapped) -> None:
    queue, function = mapped.queue(VisibilityTimeout="30"), mapped.function()
    mapped.client.update_function_configuration(FunctionName=function, Timeout=20)
    mapped.functions.wait_updated(function)
    hold = mapped.out.with_name("out.hold")
    hold.touch()
    mapped.send(queue, *[f"m{number}" for number in range(8)])
    uuid = mapped.map(queue, function, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    until(lambda: len(mapped.events()) == 2, "two run", pause_seconds=0.01)
    assert mapped.left(queue) == 8
    assert mapped.get(uuid)["ScalingConfig"] == {"MaximumConcurrency": 2}
    assert len(mapped.events()) == 2
    hold.unlink()
    mapped.wait_empty(queue)
    assert len(mapped.events()) == 8


def test_a_throttled_function_gets_its_messages_later(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    mapped.client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    mapped.send(queue, "a")
    uuid = mapped.map(queue, function)
    mapped.wait_state(uuid, "Enabled")
    names = ["ApproximateNumberOfMessages"]
    url = mapped.stand_in._url(queue)
    answer = mapped.stand_in.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
    assert answer["Attributes"] == {"ApproximateNumberOfMessages": "1"}, "what cannot be run is not received"
    mapped.client.delete_function_concurrency(FunctionName=function)
    mapped.wait_bodies("a")
    assert mapped.events()[0]["Records"][0]["attributes"]["ApproximateReceiveCount"] == "1"


def test_a_queue_that_vanishes_and_comes_back(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    uuid = mapped.map(queue, function)
    mapped.stand_in.delete_queue(queue)
    mapped.wait_result(uuid, "PROBLEM: AWS.SimpleQueueService.NonExistentQueue")
    assert mapped.get(uuid)["State"] == "Enabled"
    mapped.stand_in.queue(queue.rpartition(":")[2], VisibilityTimeout="2")
    mapped.send(queue, "again")
    mapped.wait_bodies("again")
    mapped.wait_result(uuid, "OK")


def test_messages_in_a_loop_of_invocations_are_left(mapped: Mapped, running: RunningService) -> None:
    from venturekit.protocol.lineage import key_of

    queue, function = mapped.queue(), mapped.function()
    key = key_of(f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}")
    for rounds, body in ((15, "last"), (16, "stopped")):
        trace = f"Root=1-65000000-0123456789abcdef01234567;Sampled=0;Lineage=1:{key}:{rounds - 1}"
        mapped.send(
            queue, body, MessageSystemAttributes={"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
        )
    uuid = mapped.map(queue, function)
    mapped.wait_bodies("last")
    mapped.wait_result(uuid, "PROBLEM: messages are in a loop")
    assert "stopped" not in mapped.bodies()
    until(lambda: mapped.left(queue) == 1, "the last one is deleted", pause_seconds=0.02)


# --- the life of a mapping --------------------------------------------------------------------------------------------


def test_the_shape_of_a_mapping(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    made = mapped.client.create_event_source_mapping(
        EventSourceArn=queue, FunctionName=function, Enabled=False, Tags={"a": "b"}
    )
    uuid = made["UUID"]
    mapped.mappings.append(uuid)
    assert made.pop("ResponseMetadata")["HTTPStatusCode"] == 202
    assert made.pop("LastModified").timestamp() > 0
    prefix = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
    assert made == {
        "UUID": uuid,
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "EventSourceArn": queue,
        "FunctionArn": f"{prefix}:function:{function}",
        "EventSourceMappingArn": f"{prefix}:event-source-mapping:{uuid}",
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
        "FunctionResponseTypes": [],
    }
    mapped.wait_state(uuid, "Disabled")


def test_disabled_and_enabled_again(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    uuid = mapped.map(queue, function)
    mapped.wait_state(uuid, "Enabled")
    assert mapped.client.update_event_source_mapping(UUID=uuid, Enabled=False)["State"] == "Disabling"
    mapped.wait_state(uuid, "Disabled")
    mapped.send(queue, "a")
    updated = mapped.client.update_event_source_mapping(UUID=uuid, BatchSize=3)
    assert (updated["State"], updated["BatchSize"]) == ("Updating", 3)
    mapped.wait_state(uuid, "Disabled")
    assert mapped.bodies() == []
    assert mapped.client.update_event_source_mapping(UUID=uuid, Enabled=True)["State"] == "Enabling"
    mapped.wait_bodies("a")
    mapped.wait_state(uuid, "Enabled")
    deleted = mapped.client.delete_event_source_mapping(UUID=uuid)
    assert (deleted["State"], deleted["ResponseMetadata"]["HTTPStatusCode"]) == ("Deleting", 202)

    def gone() -> bool:
        try:
            return mapped.get(uuid)["State"] != "Deleting"
        except mapped.client.exceptions.ResourceNotFoundException:
            return True

    until(gone, "the mapping is gone", pause_seconds=0.01)
    refused(lambda: mapped.get(uuid), "ResourceNotFoundException", "The resource you requested does not exist.")


def test_a_deleted_function_disables_its_mapping(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    uuid = mapped.map(queue, function)
    mapped.client.delete_function(FunctionName=function)
    mapped.wait_state(uuid, "Disabled")
    assert "does not exist any more" in mapped.get(uuid)["StateTransitionReason"]
    refused(
        lambda: mapped.client.update_event_source_mapping(UUID=uuid, FunctionName="nobody"),
        "InvalidParameterValueException",
        "Function does not exist",
    )


def test_another_function_and_an_alias(mapped: Mapped) -> None:
    queue, first, second = mapped.queue(), mapped.function(), mapped.function(answer="{}")
    version = mapped.functions.publish(second)
    mapped.client.create_alias(FunctionName=second, Name="live", FunctionVersion=version)
    uuid = mapped.map(queue, first)
    mapped.wait_state(uuid, "Enabled")
    updated = mapped.client.update_event_source_mapping(UUID=uuid, FunctionName=f"{second}:live")
    assert updated["FunctionArn"].endswith(f":function:{second}:live")
    mapped.client.delete_function(FunctionName=first)
    mapped.send(queue, "a")
    mapped.wait_bodies("a")
    mapped.client.delete_alias(FunctionName=second, Name="live")
    mapped.wait_state(uuid, "Disabled")


def test_tags(mapped: Mapped) -> None:
    uuid = mapped.map(mapped.queue(), mapped.function(), Enabled=False, Tags={"a": "b"})
    arn = mapped.get(uuid)["EventSourceMappingArn"]
    mapped.client.tag_resource(Resource=arn, Tags={"c": "d"})
    assert mapped.client.list_tags(Resource=arn)["Tags"] == {"a": "b", "c": "d"}
    mapped.client.untag_resource(Resource=arn, TagKeys=["a", "x"])
    assert mapped.client.list_tags(Resource=arn)["Tags"] == {"c": "d"}
    refused(
        lambda: mapped.client.tag_resource(Resource=arn, Tags={"aws:c": "d"}), "InvalidParameterValueException", "aws: "
    )


def test_lists(mapped: Mapped) -> None:
    function, other, queues = mapped.function(), mapped.function(), [mapped.queue() for _ in range(3)]
    made = [mapped.map(queue, function, Enabled=False) for queue in queues]
    made.append(mapped.map(queues[0], other, Enabled=False))

    def listed(**members: Any) -> list[str]:
        pages = mapped.client.get_paginator("list_event_source_mappings").paginate(**members)
        return [each["UUID"] for page in pages for each in page["EventSourceMappings"]]

    assert listed(FunctionName=function) == made[:3]
    assert listed(FunctionName=function, PaginationConfig={"PageSize": 2}) == made[:3]
    assert listed(EventSourceArn=queues[0]) == [made[0], made[3]]
    assert listed(EventSourceArn=queues[0], FunctionName=other) == [made[3]]
    assert listed(FunctionName="nobody") == []
    assert listed()[-4:] == made
    stranger = client_of(mapped.functions.url, signed=("111111111111", "any"))
    assert stranger.list_event_source_mappings()["EventSourceMappings"] == []
    refused(lambda: stranger.get_event_source_mapping(UUID=made[0]), "ResourceNotFoundException")
    stranger.close()
    refused(
        lambda: mapped.client.list_event_source_mappings(Marker="!"), "InvalidParameterValueException", "Invalid Marker"
    )


# --- what is refused --------------------------------------------------------------------------------------------------

ARN = f"arn:aws:%s:{REGION}:{ACCOUNT}:%s"
NOT_SERVED = "are not supported by this service"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"EventSourceArn": None}, "Unrecognized event source."),
        ({"EventSourceArn": ARN % ("sns", "topic")}, "Unrecognized event source."),
        ({"EventSourceArn": ARN % ("kinesis", "stream/s"), "StartingPosition": "LATEST"}, NOT_SERVED),
        ({"EventSourceArn": ARN % ("dynamodb", "table/t/stream/1")}, NOT_SERVED),
        ({"EventSourceArn": ARN % ("kafka", "cluster/c/1")}, NOT_SERVED),
        ({"EventSourceArn": ARN % ("mq", "broker:b:1")}, NOT_SERVED),
        ({"EventSourceArn": ARN % ("rds", "cluster:c")}, NOT_SERVED),
        ({"SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["a:1"]}}}, NOT_SERVED),
        ({"EventSourceArn": ARN % ("sqs", "a.b")}, "a queue has the form"),
        ({"EventSourceArn": ARN % ("sqs", "missing")}, "SQS Error Code: AWS.SimpleQueueService.NonExistentQueue"),
        ({"FunctionName": "nobody"}, "Function does not exist"),
        ({"FunctionName": "*:nobody"}, "Function does not exist"),
        ({"BatchSize": 11}, "Maximum batch window in seconds must be greater than 0"),
        ({"StartingPosition": "LATEST"}, "Unsupported StartingPosition parameter"),
        ({"BisectBatchOnFunctionError": True}, "Unsupported BisectBatchOnFunctionError parameter"),
        ({"DestinationConfig": {"OnFailure": {"Destination": ARN % ("sqs", "q")}}}, "Unsupported DestinationConfig"),
        ({"FilterCriteria": {"Filters": [{"Pattern": "{"}]}}, "Invalid filter pattern definition."),
        ({"FilterCriteria": {"Filters": [{"Pattern": '{"a":["b"]}'}] * 11}}, "more than 10 filters"),
        ({"Tags": {"aws:x": "y"}}, "aws: prefixed"),
        (
            {"ScalingConfig": {"MaximumConcurrency": 2}, "ProvisionedPollerConfig": {"MinimumPollers": 2}},
            "cannot both be given",
        ),
    ],
)
def test_what_is_refused(mapped: Mapped, members: dict[str, Any], text: str) -> None:
    queue, function = mapped.queue(), mapped.function()
    given = {"EventSourceArn": queue, "FunctionName": function, **members}
    given["FunctionName"] = given["FunctionName"].replace("*", function)
    if "SelfManagedEventSource" in members or not given["EventSourceArn"]:
        del given["EventSourceArn"]
    refused(lambda: mapped.client.create_event_source_mapping(**given), "InvalidParameterValueException", text)


def test_what_a_fifo_queue_does_not_take(mapped: Mapped) -> None:
    queue, function = mapped.queue(FifoQueue="true"), mapped.function()
    for members in ({"BatchSize": 11}, {"MaximumBatchingWindowInSeconds": 1}):
        refused(
            lambda members=members: mapped.map(queue, function, **members),  # type: ignore[misc]
            "InvalidParameterValueException",
            "FIFO queues",
        )


def test_a_queue_whose_messages_come_back_too_early(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    mapped.client.update_function_configuration(FunctionName=function, Timeout=3)
    mapped.functions.wait_updated(function)
    text = "Queue visibility timeout: 2 seconds is less than Function timeout: 3 seconds"
    refused(lambda: mapped.map(queue, function), "InvalidParameterValueException", text)


def test_a_function_with_tenants(mapped: Mapped) -> None:
    function = mapped.functions.create(SOURCE, TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    refused(lambda: mapped.map(mapped.queue(), function), "InvalidParameterValueException", "tenant isolation")


def test_a_second_mapping_of_the_same(mapped: Mapped) -> None:
    queue, function = mapped.queue(), mapped.function()
    uuid = mapped.map(queue, function, Enabled=False)
    refused(
        lambda: mapped.map(queue, function),
        "ResourceConflictException",
        f'An event source mapping with SQS arn (" {queue} ") and function (" {function} ") already exists. Please '
        f"update or delete the existing mapping with UUID {uuid}",
    )


@pytest.mark.parametrize("operation", ["get", "update", "delete"])
def test_a_mapping_that_is_not_there(mapped: Mapped, operation: str) -> None:
    call = getattr(mapped.client, f"{operation}_event_source_mapping")
    uuid = "00000000-0000-4000-8000-000000000000"
    refused(lambda: call(UUID=uuid), "ResourceNotFoundException", "The resource you requested does not exist.")


def test_without_an_endpoint(start_service: Callable[..., RunningService]) -> None:
    running = start_service(environ={"PATH": "/usr/bin:/bin"}, **SETTINGS)
    functions = running.functions()
    function = functions.create("def handler(event, context): pass")
    call = functions.client.create_event_source_mapping
    refused(
        lambda: call(EventSourceArn=ARN % ("sqs", "q"), FunctionName=function),
        "InvalidParameterValueException",
        "no endpoint is known for sqs: start the service with AWS_ENDPOINT_URL_SQS",
    )
    functions.delete_all()


# --- ends and beginnings ----------------------------------------------------------------------------------------------


def test_a_mapping_goes_on_after_a_restart(
    stand_in: StandIn, start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    first = start_service(data_dir=tmp_path / "kept", environ=stand_in.environ(), **SETTINGS)
    mapped = Mapped(first.functions(), stand_in, tmp_path)
    queue, function = mapped.queue(), mapped.function()
    uuid, idle = mapped.map(queue, function, BatchSize=7), mapped.map(mapped.queue(), function, Enabled=False)
    mapped.wait_state(uuid, "Enabled")
    first.close()
    mapped.send(queue, "while nobody looks")
    second = start_service(data_dir=tmp_path / "kept", environ=stand_in.environ(), **SETTINGS)
    mapped.client = second.client
    mapped.wait_bodies("while nobody looks")
    found = {each["UUID"]: each for each in second.client.list_event_source_mappings()["EventSourceMappings"]}
    assert list(found) == [uuid, idle]
    assert (found[uuid]["BatchSize"], found[uuid]["State"], found[idle]["State"]) == (7, "Enabled", "Disabled")
    mapped.wait_empty(queue)


def test_a_drain_lets_batches_end_and_takes_no_more(
    stand_in: StandIn, start_service: Callable[..., RunningService], tmp_path: Path
) -> None:
    running = start_service(environ=stand_in.environ(), drain_timeout=20, **SETTINGS)
    mapped = Mapped(running.functions(), stand_in, tmp_path)
    queue, function = mapped.queue(VisibilityTimeout="60"), mapped.function()
    mapped.client.update_function_configuration(FunctionName=function, Timeout=30)
    mapped.functions.wait_updated(function)
    hold = mapped.out.with_name("out.hold")
    hold.touch()
    mapped.send(queue, "a")
    mapped.map(queue, function)
    mapped.wait_bodies("a")
    drained: list[bool] = []
    thread = threading.Thread(target=lambda: drained.append(running.run(running.service.drain())))
    thread.start()
    until(lambda: not running.service._asynchronous.sources.mappings._begun, "the drain has begun")
    assert running.service._asynchronous.busy
    hold.unlink()
    thread.join(20)
    assert drained == [True]
    assert mapped.left(queue) == 0
