"""The commands are those of botocore's model, and send what boto3 sends."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

import venturekit.client
from tests.unit.client.command_support import Recorder, Sent, json_answer, model
from venturekit.client import (
    DestinationConfig,
    GetFunctionRecursionConfigCommand,
    InvocationType,
    InvokeAsyncCommand,
    InvokeCommand,
    InvokeMode,
    InvokeWithResponseStreamCommand,
    LambdaClient,
    LastUpdateStatus,
    ListFunctionEventInvokeConfigsCommand,
    LogType,
    OnFailure,
    OnSuccess,
    ParameterValidationError,
    PayloadTooLargeError,
    PutFunctionEventInvokeConfigCommand,
    PutFunctionRecursionConfigCommand,
    RecursionConfig,
    RecursiveLoop,
    State,
    shapes,
)
from venturekit.client.commands import DROPPED, HEADER, JSON, PATH, PAYLOAD, QUERY
from venturekit.client.operations import OPERATIONS, command_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the seed has and the API has not.
SEED_ONLY = {("InvokeWithResponseStream", "InvokeMode"), ("PutFunctionRecursionConfig", "RecursionConfig")}
LOCATIONS = {"uri": PATH, "querystring": QUERY, "header": HEADER, None: JSON}
MEMBERS = [
    pytest.param(operation, name, id=f"{operation}-{name}")
    for operation, kind in OPERATIONS.items()
    for name in kind.members
    if (operation, name) not in SEED_ONLY
]
LEGAL = {
    "FunctionName": "f",
    "InvokeArgs": b"{}",
    "RecursiveLoop": "Allow",
}


def required(kind: Any) -> dict[str, Any]:
    """The least that a command takes."""
    given = {name: LEGAL[name] for name in kind.required}
    return given | ({"RecursiveLoop": "Allow"} if kind is PutFunctionRecursionConfigCommand else {})


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_command_is_an_operation_of_the_model(operation: str) -> None:
    kind, shape = OPERATIONS[operation], model().operation_model(operation)
    members = set(kind.members) - {name for other, name in SEED_ONLY if other == operation}
    assert members == set(shape.input_shape.members)
    assert set(kind.fields) == set(kind.members)
    assert set(required(kind)) == set(shape.input_shape.required_members)
    assert (kind.method, kind.path) == (shape.http["method"], shape.http["requestUri"])
    assert 200 <= shape.http["responseCode"] < 300
    assert getattr(venturekit.client, f"{operation}Command") is kind


@pytest.mark.parametrize(("operation", "name"), MEMBERS)
def test_a_member_goes_where_the_model_says(operation: str, name: str) -> None:
    shape = model().operation_model(operation).input_shape
    member = shape.members[name]
    place, _, wire = OPERATIONS[operation].fields[name]
    if shape.serialization.get("payload") == name:
        assert place == PAYLOAD
    else:
        assert place == LOCATIONS[member.serialization.get("location")]
    if place == HEADER:
        assert wire == member.serialization["name"]
    elif place in (QUERY, PATH):
        assert (wire or name) == member.serialization["name"]


@pytest.mark.parametrize(("operation", "name"), MEMBERS)
def test_a_member_is_checked_as_the_model_says(operation: str, name: str) -> None:
    member = model().operation_model(operation).input_shape.members[name]
    check = OPERATIONS[operation].fields[name].check
    limits = member.metadata
    if "enum" in limits:
        assert [check(value) for value in limits["enum"]] == [None] * len(limits["enum"])
        assert all(check(value) for value in ("", "Other", limits["enum"][0].lower(), None, 1, ["Tail"], {}))
    elif member.type_name == "integer":
        least, most = limits["min"], limits["max"]
        assert [check(value) for value in (least, most)] == [None, None]
        assert all(check(value) for value in (least - 1, most + 1, str(least), float(least), True, None))
    elif "max" in limits:
        assert check("a" * limits["max"]) is None
        assert check("a" * (limits["max"] + 1)) is not None
        assert (check("") is None) is (limits["min"] == 0)
        assert all(check(value) for value in (None, 1, b"a", ["a"], {"a": 1}, object()))
    else:
        assert check(5) is not None
        assert check(None) is not None
    if "enum" not in limits and "pattern" in limits:
        for value in ("a\n", "a b c!", "\u0661", "a/b", "$", "$LATEST.PUBLISHED", "{a}", "a:b:c"):
            assert (check(value) is None) == bool(re.fullmatch(limits["pattern"], value, re.ASCII)), value


def test_what_the_seed_has_beside_the_model() -> None:
    assert InvokeWithResponseStreamCommand.fields["InvokeMode"].place == DROPPED
    with pytest.raises(ParameterValidationError, match="InvokeMode is 'Fast', and must be one of BUFFERED"):
        InvokeWithResponseStreamCommand(FunctionName="f", InvokeMode="Fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        ("InvokeCommandOutput", "Invoke"),
        ("InvokeWithResponseStreamCommandOutput", "InvokeWithResponseStream"),
        ("AsyncInvokeWithResponseStreamCommandOutput", "InvokeWithResponseStream"),
        ("InvokeAsyncCommandOutput", "InvokeAsync"),
        ("FunctionEventInvokeConfig", "PutFunctionEventInvokeConfig"),
        ("FunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig"),
        ("FunctionEventInvokeConfig", "GetFunctionEventInvokeConfig"),
        ("ListFunctionEventInvokeConfigsCommandOutput", "ListFunctionEventInvokeConfigs"),
        ("FunctionConfiguration", "GetFunctionConfiguration"),
        ("GetFunctionCommandOutput", "GetFunction"),
    ],
)
def test_an_output_has_the_members_of_the_model(kind: str, operation: str) -> None:
    output = getattr(venturekit.client, kind)
    assert set(output.members) == set(model().operation_model(operation).output_shape.members)
    assert model().operation_model("DeleteFunctionEventInvokeConfig").output_shape is None


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *((name, name) for name in ("DestinationConfig", "OnSuccess", "OnFailure", "EnvironmentResponse")),
        *((name, name) for name in ("FunctionCodeLocation", "Concurrency", "FunctionEventInvokeConfig")),
        ("InvokeWithResponseStreamResponseEvent", "InvokeWithResponseStreamResponseEvent"),
        ("PayloadChunk", "InvokeResponseStreamUpdate"),
        ("InvokeComplete", "InvokeWithResponseStreamCompleteEvent"),
    ],
)
def test_a_structure_has_the_members_of_the_model(name: str, shape: str) -> None:
    kind: Any = getattr(venturekit.client, name, None) or getattr(shapes, name)
    assert set(kind.members) == set(model().shape_for(shape).members)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [(kind, kind.__name__) for kind in (InvocationType, LogType, InvokeMode, State, RecursiveLoop, LastUpdateStatus)],
)
def test_an_enumeration_is_that_of_the_model(kind: Any, shape: str) -> None:
    assert {str(member) for member in kind} == set(model().shape_for(shape).enum)
    assert all(kind(value) == value for value in kind)


# --- what is sent -------------------------------------------------------------------------------------------------

CONTEXT = "eyJjdXN0b20iOnt9fQ=="
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
INPUTS: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("Invoke", {"FunctionName": "f"}, None),
    ("Invoke", {"FunctionName": "my.function"}, None),
    ("Invoke", {"FunctionName": "f:$LATEST", "Payload": b""}, None),
    ("Invoke", {"FunctionName": "arn:aws:lambda:us-east-1:000000000000:function:f:7", "Payload": b"{}"}, None),
    ("Invoke", {"FunctionName": "f", "InvocationType": "Event", "Payload": b'{"a":1}', "Qualifier": "$LATEST"}, None),
    ("Invoke", {"FunctionName": "f", "InvocationType": InvocationType.DryRun, "LogType": LogType.None_}, None),
    ("Invoke", {"FunctionName": "f", "LogType": "Tail", "ClientContext": CONTEXT, "Payload": b"\x00\xff"}, None),
    ("Invoke", {"FunctionName": "f", "TenantId": "a b/c:d", "DurableExecutionName": "run-1", "Qualifier": "a_b"}, None),
    ("Invoke", {"FunctionName": "f", "Payload": '{"key":"wärme"}'}, None),
    ("Invoke", {"FunctionName": "f", "Payload": bytearray(b"[1]")}, None),
    ("Invoke", {"FunctionName": "f", "Payload": b"x" * 70_000}, None),
    ("InvokeWithResponseStream", {"FunctionName": "f", "Payload": b"1", "LogType": "Tail", "Qualifier": "p"}, None),
    (
        "InvokeWithResponseStream",
        {"FunctionName": "f", "InvokeMode": "RESPONSE_STREAM", "Payload": '{"prompt":"a story"}'},
        {"FunctionName": "f", "Payload": b'{"prompt":"a story"}'},
    ),
    ("InvokeWithResponseStream", {"FunctionName": "f", "InvokeMode": InvokeMode.BUFFERED}, {"FunctionName": "f"}),
    ("InvokeAsync", {"FunctionName": "f", "InvokeArgs": b'{"a":1}'}, None),
    ("InvokeAsync", {"FunctionName": "f", "InvokeArgs": '{"a":1}'}, {"FunctionName": "f", "InvokeArgs": b'{"a":1}'}),
    ("PutFunctionEventInvokeConfig", {"FunctionName": "f"}, None),
    (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f:p", "Qualifier": "p", "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
        None,
    ),
    (
        "PutFunctionEventInvokeConfig",
        {
            "FunctionName": "f",
            "DestinationConfig": DestinationConfig(
                OnSuccess=OnSuccess(Destination=QUEUE), OnFailure=OnFailure(Destination="")
            ),
        },
        {
            "FunctionName": "f",
            "DestinationConfig": {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {"Destination": ""}},
        },
    ),
    (
        "UpdateFunctionEventInvokeConfig",
        {
            "FunctionName": "f",
            "DestinationConfig": {"OnFailure": OnFailure(Destination=QUEUE), "OnSuccess": None},
        },
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": QUEUE}}},
    ),
    ("UpdateFunctionEventInvokeConfig", {"FunctionName": "f", "DestinationConfig": {}}, None),
    ("GetFunctionEventInvokeConfig", {"FunctionName": "f", "Qualifier": "$LATEST"}, None),
    ("DeleteFunctionEventInvokeConfig", {"FunctionName": "function:f"}, None),
    ("ListFunctionEventInvokeConfigs", {"FunctionName": "f", "Marker": "a+b/c= &ü", "MaxItems": 50}, None),
    ("ListFunctionEventInvokeConfigs", {"FunctionName": "f", "Marker": ""}, None),
    ("PutFunctionRecursionConfig", {"FunctionName": "f", "RecursiveLoop": RecursiveLoop.Allow}, None),
    (
        "PutFunctionRecursionConfig",
        {"FunctionName": "f", "RecursionConfig": {"RecursiveLoop": "Terminate"}},
        {"FunctionName": "f", "RecursiveLoop": "Terminate"},
    ),
    (
        "PutFunctionRecursionConfig",
        {"FunctionName": "f", "RecursionConfig": RecursionConfig(RecursiveLoop="Allow"), "RecursiveLoop": "Allow"},
        {"FunctionName": "f", "RecursiveLoop": "Allow"},
    ),
    ("GetFunctionRecursionConfig", {"FunctionName": "f"}, None),
    ("GetFunctionConfiguration", {"FunctionName": "f", "Qualifier": "1"}, None),
    ("GetFunction", {"FunctionName": "f", "Qualifier": "1"}, None),
]
OUR_OWN = {"user-agent", "amz-sdk-request", "amz-sdk-invocation-id", "accept-encoding", "connection"}
BY_SIGNING = {"authorization", "x-amz-date", "x-amz-security-token"}


@pytest.fixture(scope="module")
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


@pytest.fixture(scope="module")
def boto(recorder: Recorder) -> Any:
    return boto3.Session(region_name="us-east-1").client(
        "lambda",
        endpoint_url=recorder.url,
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )


def comparable(sent: Sent) -> Any:
    """A request without what is each client's own."""
    headers = {name: value for name, value in sent.headers.items() if name not in OUR_OWN | BY_SIGNING}
    # Both say the length; boto3 does not where there is no body, and of payloads it does not say what they are.
    if headers.get("content-length") == "0":
        del headers["content-length"]
    body: Any = sent.body
    if "event-invoke-config" in sent.target or "recursion-config" in sent.target:
        body = json.loads(body or b"null")
        headers.pop("content-length", None)
    elif headers.get("content-type") == "application/json":
        del headers["content-type"]
    return sent.method, sent.target, headers, body


@pytest.mark.parametrize(("operation", "members", "of_boto"), INPUTS)
def test_a_command_sends_what_boto3_sends(
    operation: str, members: dict[str, Any], of_boto: dict[str, Any] | None, recorder: Recorder, boto: Any
) -> None:
    with LambdaClient(endpoint_url=recorder.url, region="us-east-1", unsigned=True) as client:
        output = client.send(command_for(operation, members))
        if operation == "InvokeWithResponseStream":
            assert [list(event) for event in output.EventStream] == [["InvokeComplete"]]
    ours = recorder.take()
    getattr(boto, re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower())(**(of_boto or members))
    assert comparable(ours) == comparable(recorder.take())


def test_every_operation_is_compared() -> None:
    assert {operation for operation, _, _ in INPUTS} == set(OPERATIONS)


# --- inputs that are not taken ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: InvokeCommand(FunctionName=""), "FunctionName is empty"),
        (lambda: InvokeCommand(FunctionName=[]), "FunctionName must be a text, and not list"),  # type: ignore[arg-type]
        (lambda: InvokeCommand(FunctionName="f", Payload={}), "must be bytes or a text, and not dict: json.dumps"),  # type: ignore[arg-type]
        (lambda: InvokeCommand(FunctionName="f", Payload="\ud800"), "half a character"),
        (
            lambda: InvokeCommand(FunctionName="f", Payload=memoryview(b"12345678").cast("I")),
            "a memoryview of something else than bytes",
        ),
        (lambda: InvokeCommand(FunctionName="f", Payload=memoryview(b"1234")[::2]), "memoryview of something else"),
        (lambda: InvokeCommand(FunctionName="f", ClientContext="{}"), "ClientContext is not base64"),
        (lambda: InvokeCommand(FunctionName="f", ClientContext="A" * 3584), "has 3584 bytes of base64, and may have"),
        (lambda: InvokeCommand(FunctionName="f", LogType="tail"), "LogType is 'tail', and must be one of None, Tail"),  # type: ignore[arg-type]
        (
            lambda: InvokeCommand(FunctionName="f", InvocationType="x" * 5000),  # type: ignore[arg-type]
            "InvocationType is 'x{79}, and must be one of",
        ),
        (
            lambda: InvokeWithResponseStreamCommand(FunctionName="f", InvocationType="Event"),  # type: ignore[arg-type]
            "InvocationType is 'Event', and must be one of DryRun, RequestResponse",
        ),
        (lambda: GetFunctionRecursionConfigCommand(FunctionName="f:7"), "takes no version or alias"),
        (lambda: PutFunctionRecursionConfigCommand(FunctionName="f"), "RecursiveLoop must be given"),
        (
            lambda: PutFunctionRecursionConfigCommand(
                FunctionName="f", RecursiveLoop="Allow", RecursionConfig={"RecursiveLoop": "Terminate"}
            ),
            "RecursiveLoop is 'Allow', and RecursionConfig says otherwise",
        ),
        (
            lambda: PutFunctionRecursionConfigCommand(FunctionName="f", RecursionConfig=RecursionConfig()),
            "RecursionConfig must be a RecursionConfig or a dictionary, with RecursiveLoop",
        ),
        (
            lambda: PutFunctionRecursionConfigCommand(FunctionName="f", RecursionConfig={"RecursiveLoop": "allow"}),  # type: ignore[typeddict-item]
            "RecursionConfig RecursiveLoop is 'allow', and must be one of Allow, Terminate",
        ),
        (
            lambda: PutFunctionEventInvokeConfigCommand(FunctionName="f", DestinationConfig={"OnSucces": {}}),  # type: ignore[typeddict-unknown-key]
            "DestinationConfig has 'OnSucces': OnSuccess and OnFailure are",
        ),
        (
            lambda: PutFunctionEventInvokeConfigCommand(
                FunctionName="f", DestinationConfig={"OnSuccess": {"Destination": "queue"}}
            ),
            "OnSuccess.Destination is 'queue', and must be an ARN",
        ),
        (
            lambda: PutFunctionEventInvokeConfigCommand(FunctionName="f", DestinationConfig={"OnSuccess": "arn"}),  # type: ignore[typeddict-item]
            "OnSuccess must have Destination and nothing else",
        ),
        (
            lambda: PutFunctionEventInvokeConfigCommand(FunctionName="f", DestinationConfig="arn"),  # type: ignore[arg-type]
            "must be a DestinationConfig or a dictionary, and not str",
        ),
        (
            lambda: ListFunctionEventInvokeConfigsCommand(FunctionName="f", MaxItems=51),
            "MaxItems is 51, and must be 1 to 50",
        ),
    ],
)
def test_a_wrong_input_is_refused_before_it_is_sent(make: Any, text: str) -> None:
    with pytest.raises(ParameterValidationError, match=text) as caught:
        make()
    assert isinstance(caught.value, ValueError)
    assert len(caught.value.problems) == 1


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ParameterValidationError) as caught:
        InvokeCommand(FunctionName="a b", LogType="x", Qualifier="")  # type: ignore[arg-type]
    assert [problem.split()[0] for problem in caught.value.problems] == ["FunctionName", "LogType", "Qualifier"]


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda payload: InvokeCommand(FunctionName="f", Payload=payload), 6_291_456),
        (lambda payload: InvokeCommand(FunctionName="f", Payload=payload, InvocationType="Event"), 1_048_576),
        (lambda payload: InvokeWithResponseStreamCommand(FunctionName="f", Payload=payload), 6_291_456),
        (lambda payload: InvokeAsyncCommand(FunctionName="f", InvokeArgs=payload), 262_144),
    ],
)
def test_a_payload_that_is_too_large_is_said_before_it_is_sent(make: Any, limit: int) -> None:
    largest = b"x" * limit
    make(largest)
    make(memoryview(largest))
    for payload in (largest + b"x", memoryview(largest + b"x"), "ä" * (limit // 2) + "x"):
        with pytest.raises(PayloadTooLargeError, match=f"has {limit + 1} bytes, and .* takes {limit}"):
            make(payload)


def test_required_members_and_unknown_ones() -> None:
    with pytest.raises(TypeError, match="InvokeCommand needs FunctionName"):
        InvokeCommand()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="InvokeAsyncCommand needs InvokeArgs"):
        InvokeAsyncCommand(FunctionName="f")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="has no member Functionname; did you mean FunctionName"):
        InvokeCommand(Functionname="f")  # type: ignore[call-arg]


# --- outputs ------------------------------------------------------------------------------------------------------


def test_the_output_of_invoke_has_the_names_of_the_seed() -> None:
    headers = {"x-amz-executed-version": "7", "x-amz-log-result": "bG9n", "x-amz-function-error": "Unhandled"}
    output = InvokeCommand(FunctionName="f").read(json_answer("3", **headers))
    assert (output.StatusCode, output.Payload, output.ExecutedVersion) == (200, b"3", "7")
    assert (output.LogResult, output["LogResult"], output.FunctionError) == ("bG9n", "bG9n", "Unhandled")
    assert "DurableExecutionArn" not in output
    assert output.DurableExecutionArn is None
    assert json.loads(output["Payload"]) == 3


def test_the_output_of_configurations() -> None:
    put = command_for("PutFunctionEventInvokeConfig", {"FunctionName": "f"})
    answer = '{"LastModified":1573686021.479,"DestinationConfig":{"OnSuccess":{},"OnFailure":{"Destination":"a"}}}'
    output = put.read(json_answer(answer))
    assert output.LastModified.isoformat() == "2019-11-13T23:00:21.479000+00:00"
    assert output.DestinationConfig.OnFailure.Destination == "a"
    assert output["DestinationConfig"]["OnSuccess"] == {}
    page = command_for("ListFunctionEventInvokeConfigs", {"FunctionName": "f"})
    assert page.read(json_answer("{}")).FunctionEventInvokeConfigs == []
    [config] = page.read(json_answer(f'{{"FunctionEventInvokeConfigs":[{answer}]}}')).FunctionEventInvokeConfigs
    assert config == output
    empty = command_for("DeleteFunctionEventInvokeConfig", {"FunctionName": "f"}).read(json_answer("", 204))
    assert dict(empty) == {}
    assert command_for("InvokeAsync", {"FunctionName": "f", "InvokeArgs": ""}).read(json_answer("", 202)).Status == 202


@pytest.mark.parametrize("operation", ["GetFunctionRecursionConfig", "PutFunctionRecursionConfig"])
def test_the_output_of_recursion_has_both_spellings(operation: str) -> None:
    command = command_for(operation, required(OPERATIONS[operation]))
    output = command.read(json_answer('{"RecursiveLoop":"Allow"}'))
    assert output.RecursiveLoop is RecursiveLoop.Allow
    assert output.RecursionConfig.RecursiveLoop is RecursiveLoop.Allow
    assert output["RecursionConfig"]["RecursiveLoop"] == "Allow"
    assert command.read(json_answer('{"RecursiveLoop":"Warn"}')).RecursiveLoop == "Warn"


def test_enumerations_in_outputs_are_members_and_texts_that_are_not_known_stay() -> None:
    command = command_for("GetFunctionConfiguration", {"FunctionName": "f"})
    known = command.read(json_answer('{"State":"Active","LastUpdateStatus":"InProgress","LastModified":"2026"}'))
    assert known.State is State.Active
    assert known.State == "Active"
    assert known["LastUpdateStatus"] is LastUpdateStatus.InProgress
    assert known.LastModified == "2026"
    assert command.read(json_answer('{"State":"Dreaming"}')).State == "Dreaming"
