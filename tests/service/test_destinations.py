"""Destinations and dead letters of the whole service, at moto's server: what arrives, and what waits."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import RunningService, client_of, until
from tests.service.stand_in import ACCOUNT, REGION, StandIn, bodies, stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.service.harness import FunctionSet

SUCCEEDS = "def handler(event, context):\n    return {'got': event}\n"
FAILS = "def handler(event, context):\n    raise ValueError('no ' + str(event))\n"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
EVENT = {"a": ["é", 1.0]}
SETTINGS = {"account_id": ACCOUNT, "region": REGION, "async_retry_delays": "0.02,0.02"}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture(scope="module")
def running(stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    service = RunningService(tmp_path_factory.mktemp("destinations") / "data", stand_in.environ(), **SETTINGS)
    yield service
    service.close()


@pytest.fixture
def functions(running: RunningService) -> Iterator[FunctionSet]:
    made = running.functions()
    yield made
    made.delete_all()


def configure(functions: FunctionSet, name: str, **targets: str) -> None:
    """Set destinations: ``OnSuccess`` and ``OnFailure``. What fails is tried twice."""
    functions.client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=1,
        DestinationConfig={side: {"Destination": arn} for side, arn in targets.items()},
    )


def send(functions: FunctionSet, name: str, event: Any = None, **members: Any) -> str:
    """Invoke asynchronously; returns the request id."""
    payload = json.dumps(EVENT if event is None else event).encode()
    answer = functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=payload, **members)
    assert answer["StatusCode"] == 202
    return str(answer["ResponseMetadata"]["RequestId"])


def success_of(name: str, request_id: str, event: Any = None) -> dict[str, Any]:
    """The record of an event that succeeded, but for its time."""
    event = EVENT if event is None else event
    return {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"{ARN}:{name}:$LATEST",
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": event,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"got": event},
    }


def check(record: Any, expected: dict[str, Any]) -> None:
    record = dict(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("timestamp"))
    assert record == expected


def check_failure(record: Any, name: str, request_id: str) -> None:
    record = dict(record)
    assert record["responsePayload"].pop("stackTrace")
    check(
        record,
        {
            **success_of(name, request_id),
            "requestContext": {
                "requestId": request_id,
                "functionArn": f"{ARN}:{name}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 2,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            "responsePayload": {
                "errorMessage": f"no {EVENT}",
                "errorType": "ValueError",
                "requestId": request_id,
            },
        },
    )


def test_a_queue(functions: FunctionSet, stand_in: StandIn) -> None:
    good, bad = stand_in.queue("q-good"), stand_in.queue("q-bad")
    name, failing = functions.create(SUCCEEDS), functions.create(FAILS)
    for function in (name, failing):
        configure(functions, function, OnSuccess=good, OnFailure=bad)
    request_id, failed_id = send(functions, name), send(functions, failing)
    (message,) = stand_in.received(good)
    check(json.loads(message["Body"]), success_of(name, request_id))
    assert message["Attributes"]["AWSTraceHeader"].startswith("Root=1-")
    assert "MessageAttributes" not in message
    (record,) = bodies(stand_in.received(bad))
    check_failure(record, failing, failed_id)
    assert stand_in.messages(good) == []


def test_a_topic(functions: FunctionSet, stand_in: StandIn) -> None:
    topic, queue = stand_in.topic("t")
    name, failing = functions.create(SUCCEEDS), functions.create(FAILS)
    for function in (name, failing):
        configure(functions, function, OnSuccess=topic, OnFailure=topic)
    request_id = send(functions, name)
    (notification,) = bodies(stand_in.received(queue))
    assert notification["TopicArn"] == topic
    check(json.loads(notification["Message"]), success_of(name, request_id))
    failed_id = send(functions, failing)
    (notification,) = bodies(stand_in.received(queue))
    check_failure(json.loads(notification["Message"]), failing, failed_id)


def test_an_event_bus(functions: FunctionSet, stand_in: StandIn) -> None:
    bus, queue = stand_in.bus("b")
    name, failing = functions.create(SUCCEEDS), functions.create(FAILS)
    for function in (name, failing):
        configure(functions, function, OnSuccess=bus, OnFailure=bus)
    request_id = send(functions, name)
    (put,) = bodies(stand_in.received(queue))
    assert (put["source"], put["detail-type"]) == ("lambda", "Lambda Function Invocation Result - Success")
    assert put["resources"] == [bus, f"{ARN}:{name}:$LATEST"]
    check(put["detail"], success_of(name, request_id))
    failed_id = send(functions, failing)
    (put,) = bodies(stand_in.received(queue))
    assert put["detail-type"] == "Lambda Function Invocation Result - Failure"
    check_failure(put["detail"], failing, failed_id)


def test_a_bucket_for_failures(functions: FunctionSet, stand_in: StandIn) -> None:
    bucket = stand_in.bucket("for-failures")
    failing = functions.create(FAILS)
    configure(functions, failing, OnFailure=bucket)
    request_id = send(functions, failing)
    until(lambda: stand_in.objects(bucket), "a record lies in the bucket")
    ((key, record),) = stand_in.objects(bucket).items()
    day = r"(\d{4})/(\d\d)/(\d\d)/\1-\2-\3T\d\d\.\d\d\.\d\d"
    assert re.fullmatch(rf"aws/lambda/async/{failing}/{day}-[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}", key)
    check_failure(record, failing, request_id)


def test_another_function(functions: FunctionSet, stand_in: StandIn) -> None:
    """The record is its event, under a request id of its own; what it gives goes to its own destination."""
    queue = stand_in.queue("q-chain")
    name, next_name, failing = functions.create(SUCCEEDS), functions.create(SUCCEEDS), functions.create(FAILS)
    version = functions.publish(next_name)
    functions.client.create_alias(FunctionName=next_name, Name="live", FunctionVersion=version)
    functions.client.put_function_event_invoke_config(
        FunctionName=next_name, Qualifier="live", DestinationConfig={"OnSuccess": {"Destination": queue}}
    )
    configure(functions, name, OnSuccess=f"{ARN}:{next_name}:live")
    configure(functions, failing, OnFailure=f"{ARN}:{next_name}:live")
    request_id = send(functions, name)
    (outer,) = bodies(stand_in.received(queue))
    assert outer["requestContext"]["functionArn"] == f"{ARN}:{next_name}:live"
    assert outer["responseContext"]["executedVersion"] == version
    assert outer["requestContext"]["requestId"] != request_id
    check(outer["requestPayload"], success_of(name, request_id))
    failed_id = send(functions, failing)
    (outer,) = bodies(stand_in.received(queue))
    check_failure(outer["requestPayload"], failing, failed_id)


ERROR_CODE = {"StringValue": "200", "DataType": "Number"}


def check_dead_letter(message: dict[str, Any], request_id: str, error: str = f"no {EVENT}") -> None:
    assert json.loads(message["Body"]) == EVENT
    assert message["MessageAttributes"] == {
        "RequestID": {"StringValue": request_id, "DataType": "String"},
        "ErrorCode": ERROR_CODE,
        "ErrorMessage": {"StringValue": error, "DataType": "String"},
    }


def test_dead_letters_in_a_queue_and_a_record_too(functions: FunctionSet, stand_in: StandIn) -> None:
    dead, records = stand_in.queue("q-dead"), stand_in.queue("q-records")
    failing = functions.create(FAILS, DeadLetterConfig={"TargetArn": dead})
    configure(functions, failing, OnFailure=records)
    request_id = send(functions, failing)
    (message,) = stand_in.received(dead)
    check_dead_letter(message, request_id)
    (record,) = bodies(stand_in.received(records))
    check_failure(record, failing, request_id)


def test_dead_letters_at_a_topic(functions: FunctionSet, stand_in: StandIn) -> None:
    topic, queue = stand_in.topic("t-dead")
    failing = functions.create(FAILS, DeadLetterConfig={"TargetArn": topic})
    configure(functions, failing)
    request_id = send(functions, failing)
    (notification,) = bodies(stand_in.received(queue))
    assert json.loads(notification["Message"]) == EVENT
    assert notification["MessageAttributes"] == {
        "RequestID": {"Type": "String", "Value": request_id},
        "ErrorCode": {"Type": "Number", "Value": "200"},
        "ErrorMessage": {"Type": "String", "Value": f"no {EVENT}"},
    }


def test_an_event_that_was_never_run(functions: FunctionSet, stand_in: StandIn) -> None:
    """Reserved concurrency 0: the record says nothing of an answer."""
    dead, records = stand_in.queue("q-dead-0"), stand_in.queue("q-records-0")
    name = functions.create(SUCCEEDS, DeadLetterConfig={"TargetArn": dead})
    configure(functions, name, OnSuccess=records, OnFailure=records)
    functions.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    request_id = send(functions, name)
    (record,) = bodies(stand_in.received(records))
    context = {
        "requestId": request_id,
        "functionArn": f"{ARN}:{name}:$LATEST",
        "condition": "ZeroReservedConcurrency",
        "approximateInvokeCount": 0,
    }
    check(record, {"version": "1.0", "requestContext": context, "requestPayload": EVENT})
    (message,) = stand_in.received(dead)
    assert message["MessageAttributes"]["RequestID"]["StringValue"] == request_id


def test_payloads_that_a_topic_does_not_take(functions: FunctionSet, stand_in: StandIn) -> None:
    topic, queue = stand_in.topic("t-large")
    name = functions.create(SUCCEEDS)
    configure(functions, name, OnSuccess=topic)
    event = "x" * 200_000
    request_id = send(functions, name, event)
    (notification,) = bodies(stand_in.received(queue))
    expected = success_of(name, request_id, event)
    del expected["responsePayload"]
    check(json.loads(notification["Message"]), expected)


# --- configurations --------------------------------------------------------------------------------------------------


def targets_named(name: str) -> dict[str, str]:
    return {
        "sqs": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}",
        "sns": f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}",
        "events": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{name}",
        "s3": f"arn:aws:s3:::{name}",
    }


@pytest.mark.parametrize("service", targets_named(""))
def test_a_destination_that_is_nowhere(functions: FunctionSet, service: str) -> None:
    arn = targets_named("nowhere")[service]
    name = functions.create(SUCCEEDS)
    with pytest.raises(ClientError) as caught:
        configure(functions, name, OnFailure=arn)
    answer = caught.value.response
    assert (answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]) == (
        400,
        "InvalidParameterValueException",
        f"The destination ARN {arn} is invalid.",
    )
    assert functions.client.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"] == []


# --- targets that come later -----------------------------------------------------------------------------------------


def owed(service: RunningService) -> Any:
    return service.do(service.service._asynchronous.outbox.waiting)


def test_a_queue_that_is_made_again(functions: FunctionSet, running: RunningService, stand_in: StandIn) -> None:
    queue = stand_in.queue("made-again")
    name = functions.create(SUCCEEDS)
    configure(functions, name, OnSuccess=queue)
    stand_in.delete_queue(queue)
    request_id = send(functions, name)
    assert "The specified queue does not exist" in until(lambda: owed(running).get(queue), "the record waits")
    stand_in.queue("made-again")
    # The next look is within two seconds.
    (record,) = bodies(stand_in.received(queue))
    check(record, success_of(name, request_id))
    until(lambda: queue not in owed(running), "the queue is no longer waited for")


def test_without_an_endpoint_the_record_waits_and_arrives_after_a_restart_with_one(
    stand_in: StandIn, tmp_path: Path, start_service: Callable[..., RunningService]
) -> None:
    queue, dead = stand_in.queue("later"), stand_in.queue("later-dead")
    data_dir = tmp_path / "data"
    first = RunningService(data_dir, {}, **SETTINGS)
    functions = first.functions()
    name = functions.create(FAILS, DeadLetterConfig={"TargetArn": dead})
    # Nobody can be asked whether it is there: it is taken as it is.
    configure(functions, name, OnFailure=queue)
    request_id = send(functions, name)
    reason = until(lambda: owed(first).get(queue) and owed(first).get(dead), "both have a reason to wait")
    assert "AWS_ENDPOINT_URL_SQS" in reason
    assert "--allow-aws" in reason
    first.close()
    assert stand_in.messages(queue) == []
    second = start_service(data_dir, environ=stand_in.environ(), **SETTINGS)
    (record,) = bodies(stand_in.received(queue))
    check_failure(record, name, request_id)
    (message,) = stand_in.received(dead)
    check_dead_letter(message, request_id)
    until(lambda: second.service._asynchronous.outbox.owed == 0, "nothing is owed any more")


def test_the_services_own_address_is_no_place_for_records(tmp_path: Path) -> None:
    """Callers of its functions set AWS_ENDPOINT_URL to it."""
    environ: dict[str, str] = {}
    service = RunningService(tmp_path / "data", environ, **SETTINGS)
    try:
        service._environ["AWS_ENDPOINT_URL"] = service.url
        functions = service.functions()
        functions.client = client_of(service.url)
        name = functions.create(SUCCEEDS)
        queue = targets_named("own")["sqs"]
        configure(functions, name, OnSuccess=queue)
        send(functions, name)
        assert "AWS_ENDPOINT_URL_SQS" in until(lambda: owed(service).get(queue), "the record has a reason to wait")
        functions.client.close()
    finally:
        service.close()
