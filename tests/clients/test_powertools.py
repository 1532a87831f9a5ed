"""AWS's Lambda Powertools for Python, unmodified, in functions of the service."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.clients.powertools_functions import (
    BATCH,
    HTTP,
    IDEMPOTENT,
    OBSERVED,
    VALIDATED,
    files_of,
    powertools_layer,
)
from tests.service.harness import FunctionSet, Outcome, RunningService, until
from tests.service.stand_in import ACCOUNT, REGION, StandIn, stand_ins
from tests.service.url_support import Url, make_url

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = "1-5759e988-bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"
_NUMBERS = itertools.count(1)
ORDER = {"order": {"id": "order-7", "amount": 21}}


class Powertools:
    """Functions of one service that have Powertools in a layer."""

    def __init__(self, running: RunningService, stand_in: StandIn) -> None:
        self.functions: FunctionSet = running.functions()
        self.client = self.functions.client
        self.stand_in = stand_in
        content = {"ZipFile": powertools_layer()}
        self.layer = self.client.publish_layer_version(LayerName="powertools", Content=content)["LayerVersionArn"]

    def create(self, source: str, *, variables: dict[str, str] | None = None, **members: Any) -> str:
        """Create a function that Powertools knows as the service ``shop``."""
        given = {
            "POWERTOOLS_SERVICE_NAME": "shop",
            "POWERTOOLS_METRICS_NAMESPACE": "Shop",
            "DAEMON": "127.0.0.1:2000",
            **(variables or {}),
        }
        defaults = {"Timeout": 30, "MemorySize": 512, "Layers": [self.layer]}
        return self.functions.create(source, Environment={"Variables": given}, **{**defaults, **members})


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    yield from stand_ins()


@pytest.fixture(scope="module", params=["venturekit", pytest.param("awslambdaric", marks=pytest.mark.full)])
def runtime(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of the service for one of the runtime interface clients."""
    return {"python_runtime": request.param} if request.param == "awslambdaric" else {}


@pytest.fixture(scope="module")
def tools(runtime: dict[str, Any], stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Powertools]:
    settings = {"account_id": ACCOUNT, "region": REGION, **runtime}
    running = RunningService(tmp_path_factory.mktemp("powertools") / "data", stand_in.environ(), **settings)
    made = Powertools(running, stand_in)
    yield made
    made.functions.delete_all()
    running.close()


def documents(text: str) -> list[dict[str, Any]]:
    """The lines of a log that are JSON."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def succeeded(outcome: Outcome) -> Any:
    assert outcome.error is None, outcome.value
    return outcome.value


# --- logger, metrics, tracer ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon() -> Iterator[socket.socket]:
    """Takes the place of the X-Ray daemon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.settimeout(20)
        yield bound


@pytest.fixture(scope="module")
def observed(tools: Powertools, daemon: socket.socket) -> tuple[str, list[Outcome]]:
    """A function with logger, metrics and tracer, and what two invocations of it gave."""
    name = tools.create(OBSERVED, variables={"DAEMON": f"127.0.0.1:{daemon.getsockname()[1]}"})
    return name, [tools.functions.invoke(name, ORDER) for _ in range(2)]


def test_the_logger_tells_of_the_invocation(observed: tuple[str, list[Outcome]]) -> None:
    name, outcomes = observed
    for number, outcome in enumerate(outcomes):
        assert succeeded(outcome) == {"paid": 42, "correlation": "order-7"}
        paying, paid = [line for line in documents(outcome.log) if "_aws" not in line]
        assert (paying["level"], paying["message"], paying["amount"]) == ("INFO", "paying", 21)
        expected = {
            "level": "WARNING",
            "message": "paid",
            "paid": 42,
            "service": "shop",
            "correlation_id": "order-7",
            "cold_start": number == 0,
            "function_name": name,
            "function_memory_size": "512",
            "function_arn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}",
            "function_request_id": outcome.request_id,
        }
        assert {key: paid[key] for key in expected} == expected
        assert paid["xray_trace_id"].startswith("1-")


def test_metrics_are_embedded_in_the_log_and_the_first_is_of_the_cold_start(
    observed: tuple[str, list[Outcome]],
) -> None:
    name, outcomes = observed
    first, second = ([line for line in documents(outcome.log) if "_aws" in line] for outcome in outcomes)
    (cold,) = [line for line in first if "ColdStart" in line]
    assert (cold["ColdStart"], cold["function_name"], cold["service"]) == ([1.0], name, "shop")
    assert [line for line in second if "ColdStart" in line] == []
    for lines in (first, second):
        (orders,) = [line for line in lines if "Orders" in line]
        (directive,) = orders["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Shop"
        assert {frozenset(each) for each in directive["Dimensions"]} == {frozenset({"service", "kind"})}
        assert directive["Metrics"] == [{"Name": "Orders", "Unit": "Count"}]
        assert (orders["Orders"], orders["kind"], orders["order"]) == ([1.0], "test", "order-7")


def test_an_exception_is_logged_with_its_traceback(tools: Powertools, observed: tuple[str, list[Outcome]]) -> None:
    outcome = tools.functions.invoke(observed[0], {"order": {"id": "bad", "amount": {}}})
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "TypeError")

    # The tail of the log has 4 KB, and two tracebacks may be longer.
    def logged() -> list[dict[str, Any]]:
        lines = documents("\n".join(tools.functions.log_lines(observed[0])))
        return [line for line in lines if line.get("level") == "ERROR" and line.get("correlation_id") == "bad"]

    (line,) = until(logged, "the function logs its error", pause_seconds=0.02)
    assert (line["exception_name"], line["correlation_id"]) == ("TypeError", "bad")
    assert "Traceback" in line["exception"]


def test_the_tracer_sends_subsegments_of_the_trace(
    tools: Powertools, observed: tuple[str, list[Outcome]], daemon: socket.socket
) -> None:
    header = f"Root={TRACE};Parent={PARENT};Sampled=1"
    answer = tools.functions.post(observed[0], json.dumps(ORDER).encode(), X_Amzn_Trace_Id=header)
    assert answer.json["paid"] == 42
    sent: dict[str, dict[str, Any]] = {}
    while len(sent) < 2:
        # A header in JSON, a line break, and the segment.
        segment = json.loads(daemon.recv(65536).partition(b"\n")[2])
        if segment["trace_id"] == TRACE:
            sent[segment["name"]] = segment
    whole, paying = sent["## handler"], sent["## app.pay"]
    assert (whole["type"], whole["parent_id"]) == ("subsegment", PARENT)
    assert whole["annotations"]["Service"] == "shop"
    assert whole["metadata"]["shop"]["handler response"] == answer.json
    assert (paying["parent_id"], paying["annotations"]) == (whole["id"], {"amount": 21})
    assert paying["metadata"]["shop"] == {"app.pay response": 42}


def test_an_asynchronous_invocation(tools: Powertools, observed: tuple[str, list[Outcome]]) -> None:
    name = observed[0]
    event = {"order": {"id": "later", "amount": 1}}
    outcome = tools.functions.invoke(name, event, InvocationType="Event", LogType="None")
    assert outcome.status == 202

    def logged() -> list[dict[str, Any]]:
        lines = documents("\n".join(tools.functions.log_lines(name)))
        return [line for line in lines if line.get("correlation_id") == "later" and line["message"] == "paid"]

    (line,) = until(logged, "the function logs that it has paid", pause_seconds=0.02)
    assert (line["paid"], line["function_request_id"]) == (2, outcome.request_id)


def test_the_logger_keeps_to_the_level_of_the_functions_logging_config(tools: Powertools) -> None:
    config = {"LogFormat": "JSON", "ApplicationLogLevel": "WARN"}
    name = tools.create(OBSERVED, LoggingConfig=config, variables={"POWERTOOLS_TRACE_DISABLED": "true"})
    outcome = tools.functions.invoke(name, ORDER)
    assert succeeded(outcome)["paid"] == 42
    said = [line for line in documents(outcome.log) if line.get("service") == "shop" and "_aws" not in line]
    assert [(line["level"], line["message"]) for line in said] == [("WARNING", "paid")]


# --- event handler ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(tools: Powertools) -> Url:
    return make_url(tools.client, tools.create(HTTP))


def test_a_route_with_parameters(url: Url) -> None:
    answer = url.ask(target="/orders/7?fields=a&fields=b", headers={"Origin": "https://shop.example"})
    assert (answer.status, answer.json) == (200, {"id": 7, "fields": ["a", "b"], "ip": "127.0.0.1"})
    assert answer.all("access-control-allow-origin") == ["https://shop.example"]


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "expected"),
    [
        ("POST", "/orders", b'{"item": "cup", "count": 2}', 200, {"item": "cup", "count": 2}),
        ("GET", "/orders/404", None, 404, {"statusCode": 404, "message": "no such order"}),
        ("GET", "/orders/500", None, 418, {"missing": True}),
        ("GET", "/nowhere", None, 404, {"statusCode": 404, "message": "Not found"}),
    ],
)
def test_answers(url: Url, method: str, target: str, body: bytes | None, status: int, expected: Any) -> None:
    answer = url.ask(method, target, body, {"Content-Type": "application/json"})
    assert (answer.status, answer.json) == (status, expected)


def test_what_is_not_valid_is_refused_and_says_where(url: Url) -> None:
    answer = url.ask("POST", "/orders", b'{"item": "cup", "count": 0}', {"Content-Type": "application/json"})
    assert answer.status == 422
    assert [each["loc"] for each in answer.json["detail"]] == [["body", "count"]]


def test_cookies_and_a_status(url: Url) -> None:
    answer = url.ask(target="/login")
    assert (answer.status, answer.body) == (201, b"hello")
    assert [line.partition(";")[0] for line in answer.all("set-cookie")] == ["a=1", "b=2"]


def test_bodies_in_base64(url: Url) -> None:
    compressed = url.ask(target="/large", headers={"Accept-Encoding": "gzip"})
    assert compressed.all("content-encoding") == ["gzip"]
    assert json.loads(gzip.decompress(compressed.body)) == {"text": "x" * 5000}
    assert url.ask(target="/bytes").body == bytes(range(256))


# --- batches ----------------------------------------------------------------------------------------------------


def test_a_batch_from_a_queue_fails_in_part(tools: Powertools) -> None:
    stand_in = tools.stand_in
    number = next(_NUMBERS)
    dead = stand_in.queue(f"powertools-dead-{number}")
    redrive = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "1"})
    attributes = {"VisibilityTimeout": "1", "RedrivePolicy": redrive}
    queue = stand_in.queue(f"powertools-{number}", **attributes)
    name = tools.create(BATCH, Timeout=1)
    bodies = [json.dumps({"number": number}) for number in (1, 13, 3)] + ["no JSON"]
    entries = [{"Id": str(index), "MessageBody": body} for index, body in enumerate(bodies)]
    stand_in.sqs.send_message_batch(QueueUrl=stand_in._url(queue), Entries=entries)
    members = {"FunctionResponseTypes": ["ReportBatchItemFailures"], "BatchSize": 10}
    mapping = tools.client.create_event_source_mapping(EventSourceArn=queue, FunctionName=name, **members)
    failed = stand_in.received(dead, 2)
    tools.client.delete_event_source_mapping(UUID=mapping["UUID"])
    assert sorted(message["Body"] for message in failed) == sorted([bodies[1], bodies[3]])
    lines = documents("\n".join(tools.functions.log_lines(name)))
    assert sorted(line["number"] for line in lines if line.get("message") == "taken") == [1, 3]
    assert stand_in.messages(queue) == []


def test_a_batch_that_fails_whole(tools: Powertools) -> None:
    record = {
        "messageId": "m-1",
        "receiptHandle": "r",
        "body": '{"number": 13}',
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1545082649183",
            "SenderId": "AIDA",
            "ApproximateFirstReceiveTimestamp": "1545082649185",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:any",
        "awsRegion": REGION,
    }
    outcome = tools.functions.invoke(tools.create(BATCH), {"Records": [record]})
    assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "BatchProcessingError")
    assert "unlucky" in outcome.value["errorMessage"]


# --- idempotency ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def idempotent(tools: Powertools) -> Iterator[tuple[str, Any]]:
    """An idempotent function that has Powertools in its own archive, and the items of its table."""
    session = boto3.Session("a", "b", region_name=REGION)
    dynamodb = session.client("dynamodb", endpoint_url=tools.stand_in.url)
    table = f"idempotency-{next(_NUMBERS)}"
    dynamodb.create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    variables = {"TABLE": table, "AWS_ENDPOINT_URL_DYNAMODB": tools.stand_in.url}
    files = files_of("aws-lambda-powertools", "jmespath", "typing-extensions", folder="")
    name = tools.create(IDEMPOTENT, variables=variables, files=files, Layers=[])
    yield name, lambda: dynamodb.scan(TableName=table)["Items"]
    dynamodb.close()


def test_the_same_event_is_handled_once(tools: Powertools, idempotent: tuple[str, Any]) -> None:
    name, items = idempotent
    before = len(items())
    failed = tools.functions.invoke(name, {"id": "one", "amount": 5, "fail": True})
    assert (failed.error, failed.value["errorType"]) == ("Unhandled", "RuntimeError")
    assert len(items()) == before
    first = tools.functions.invoke(name, {"id": "one", "amount": 5, "fail": True})
    again = tools.functions.invoke(name, {"id": "one", "amount": 5})
    other = tools.functions.invoke(name, {"id": "two", "amount": 5})
    assert succeeded(first) == {"request": first.request_id, "greeting": "hello one"}
    assert succeeded(again) == first.value
    assert again.request_id != first.request_id
    assert succeeded(other)["request"] == other.request_id
    # One of the handler and one of the greeting, for each of the two.
    assert [item["status"]["S"] for item in items()] == ["COMPLETED"] * (before + 4)


def test_the_same_key_with_another_payload_is_refused(tools: Powertools, idempotent: tuple[str, Any]) -> None:
    name, _ = idempotent
    succeeded(tools.functions.invoke(name, {"id": "three", "amount": 5}))
    changed = tools.functions.invoke(name, {"id": "three", "amount": 6})
    assert (changed.error, changed.value["errorType"]) == ("Unhandled", "IdempotencyValidationError")


# --- parser and validation --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(tools: Powertools) -> str:
    return tools.create(VALIDATED)


def bridged(detail: Any) -> dict[str, Any]:
    """An event as EventBridge gives it to a function."""
    return {
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": "OrderPurchased",
        "source": "shop",
        "account": ACCOUNT,
        "time": "2026-10-22T18:43:48Z",
        "region": REGION,
        "resources": [],
        "detail": detail,
    }


def test_the_parser(tools: Powertools, checked: str) -> None:
    event = {"use": "parser", "event": bridged({"id": "41", "item": "cup"})}
    assert succeeded(tools.functions.invoke(checked, event)) == {"id": 42, "item": "cup"}
    bad = tools.functions.invoke(checked, {"use": "parser", "event": bridged({"id": "x", "item": "cup"})})
    assert (bad.error, bad.value["errorType"]) == ("Unhandled", "ValidationError")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("you", None), (7, "data.name must be string"), ("nobody", "data must contain ['greeting'] properties")],
)
def test_validation(tools: Powertools, checked: str, name: Any, complaint: str | None) -> None:
    outcome = tools.functions.invoke(checked, {"use": "validator", "event": {"detail": {"name": name}}})
    if complaint is None:
        assert succeeded(outcome) == {"greeting": "hello you"}
    else:
        assert (outcome.error, outcome.value["errorType"]) == ("Unhandled", "SchemaValidationError")
        assert complaint in outcome.value["errorMessage"]
