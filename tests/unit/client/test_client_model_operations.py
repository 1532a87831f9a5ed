"""Operations by name: what boto3 sends for them is sent, what it gives is given; clear errors where it cannot be."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config

from tests.unit.client.command_support import Recorder, Scripted, Sent, json_answer, model
from venturekit.client import (
    AsyncLambdaClient,
    DestinationConfig,
    FunctionConfiguration,
    InvokeCommand,
    LambdaClient,
    LambdaClientError,
    MalformedAnswerError,
    ModelCommand,
    ModelOutput,
    ModelStructure,
    OnFailure,
    OperationError,
    ParameterValidationError,
    ResponseMetadata,
)
from venturekit.client.async_conveniences import AsyncConveniences
from venturekit.client.conveniences import Conveniences
from venturekit.client.operations import command_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
ROLE = "arn:aws:iam::000000000000:role/any"
INPUTS: list[tuple[str, dict[str, Any]]] = [
    ("GetAccountSettings", {}),
    ("ListFunctions", {"MaxItems": 7, "Marker": "a b", "FunctionVersion": "ALL"}),
    (
        "CreateFunction",
        {
            "FunctionName": "f",
            "Role": ROLE,
            "Runtime": "python3.11",
            "Handler": "app.handler",
            "Timeout": 3,
            "Code": {"ZipFile": b"PK\x05\x06"},
            "Environment": {"Variables": {"A": "ä"}},
            "Publish": True,
        },
    ),
    ("UpdateFunctionCode", {"FunctionName": "f:prod", "ZipFile": b"PK"}),
    ("UpdateFunctionConfiguration", {"FunctionName": "f", "Layers": [ARN], "VpcConfig": {"SubnetIds": []}}),
    ("PublishVersion", {"FunctionName": ARN}),
    ("TagResource", {"Resource": ARN, "Tags": {"team": "blue & green"}}),
    ("UntagResource", {"Resource": ARN, "TagKeys": ["a", "b c"]}),
    ("GetLayerVersionByArn", {"Arn": f"{ARN}:1"}),
    ("ListProvisionedConcurrencyConfigs", {"FunctionName": "f", "MaxItems": 2}),
    ("AddPermission", {"FunctionName": "f", "StatementId": "s", "Action": "lambda:*", "Principal": "*"}),
    ("DeleteFunction", {"FunctionName": "f", "Qualifier": "7"}),
    ("PutFunctionConcurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 0}),
    ("PutFunctionEventInvokeConfig", {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": ""}}}),
    (
        "ListDurableExecutionsByFunction",
        {"FunctionName": "f", "Statuses": ["RUNNING"], "StartedAfter": datetime(2026, 1, 2, 3, tzinfo=UTC)},
    ),
    ("GetDurableExecutionHistory", {"DurableExecutionArn": ARN, "IncludeExecutionData": True}),
    ("SendDurableExecutionCallbackSuccess", {"CallbackId": "c", "Result": b"\x00raw"}),
    ("StopDurableExecution", {"DurableExecutionArn": ARN, "Error": {"ErrorMessage": "m"}}),
    ("CreateEventSourceMapping", {"EventSourceArn": ARN, "FunctionName": "f", "StartingPositionTimestamp": 1.5}),
]
IGNORED = {"user-agent", "amz-sdk-request", "amz-sdk-invocation-id", "accept-encoding", "connection"}


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


@pytest.fixture(scope="module")
def client(recorder: Recorder) -> Iterator[LambdaClient]:
    with LambdaClient(endpoint_url=recorder.url, region="us-east-1", unsigned=True) as made:
        yield made


def comparable(sent: Sent) -> Any:
    headers = {name: value for name, value in sent.headers.items() if name not in IGNORED}
    if headers.get("content-length") == "0":
        del headers["content-length"]
    return sent.method, sent.target, headers, sent.body


@pytest.mark.parametrize(("operation", "members"), INPUTS, ids=lambda value: value if isinstance(value, str) else "")
def test_boto3_and_the_client_send_the_same(
    operation: str, members: dict[str, Any], recorder: Recorder, boto: Any, client: LambdaClient
) -> None:
    output = client.send(ModelCommand(operation, members))
    ours = recorder.take()
    boto._make_api_call(operation, members)
    assert comparable(ours) == comparable(recorder.take())
    assert output.metadata.http_status == 200


def test_a_token_is_made_once() -> None:
    members = {"DurableExecutionArn": ARN, "CheckpointToken": "t"}
    command = ModelCommand("CheckpointDurableExecution", members)
    assert len(command["ClientToken"]) == 36
    assert command.wire() is command.wire()
    assert command["ClientToken"] in command.wire().body.decode()  # type: ignore[union-attr]
    assert command.repeatable
    assert ModelCommand("CheckpointDurableExecution", members) != command
    assert ModelCommand("CheckpointDurableExecution", members, ClientToken="own")["ClientToken"] == "own"


def test_what_may_be_repeated() -> None:
    changing = ("PublishVersion", {"FunctionName": "f"}), ("AddPermission", INPUTS[10][1])
    assert not any(ModelCommand(*given).repeatable for given in changing)
    assert ModelCommand("DeleteFunction", FunctionName="f").repeatable
    assert ModelCommand("ListFunctions").repeatable


def test_members_may_be_given_in_both_ways_and_as_structures() -> None:
    target = DestinationConfig(OnFailure=OnFailure(Destination=ARN))
    command = ModelCommand(
        "PutFunctionEventInvokeConfig", {"FunctionName": "f"}, DestinationConfig=target, Qualifier=None
    )
    assert dict(command) == {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": ARN}}}
    assert command.wire().body == b'{"DestinationConfig": {"OnFailure": {"Destination": "%s"}}}' % ARN.encode()
    layered = ModelCommand("UpdateFunctionConfiguration", FunctionName="f", Layers=(ARN,))
    assert layered["Layers"] == [ARN]


@pytest.mark.parametrize("content", [b"PK", bytearray(b"PK"), memoryview(b"PK"), io.BytesIO(b"PK"), "PK"])
def test_blobs(content: Any) -> None:
    command = ModelCommand("UpdateFunctionCode", FunctionName="f", ZipFile=content)
    assert command.wire().body == b'{"ZipFile": "UEs="}'
    assert command.replaced(FunctionName="g").wire().body == b'{"ZipFile": "UEs="}'


# --- outputs ------------------------------------------------------------------------------------------------------

FUNCTIONS = json.dumps(
    {
        "Functions": [
            {
                "FunctionName": "f",
                "Timeout": 3,
                "Environment": {"Variables": {"KEY": "hidden-value"}},
                "Layers": [{"Arn": "a", "CodeSize": 5}],
                "Unknown": 1,
            }
        ],
        "NextMarker": None,
    }
)


def listed() -> ModelOutput:
    output = ModelCommand("ListFunctions").read(json_answer(FUNCTIONS))
    output.note(ResponseMetadata("id", 200, 1))
    return output


def test_an_output_has_attributes_and_items() -> None:
    output = listed()
    [function] = output.Functions
    assert output["Functions"][0] is function
    assert isinstance(function, ModelStructure)
    assert (function.FunctionName, function["Timeout"], function.Layers[0].CodeSize) == ("f", 3, 5)
    assert function.Environment.Variables == {"KEY": "hidden-value"}
    assert (function.Description, output.NextMarker) == (None, None)
    assert "Description" not in function
    assert "hidden-value" not in repr(output)
    assert repr(output).startswith("ListFunctionsResponse(Functions=[FunctionConfiguration(FunctionName='f', Timeout=3")
    with pytest.raises(AttributeError, match="Functons"):
        output.Functons
    with pytest.raises(AttributeError, match="cannot be changed"):
        output.Functions = []


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies_are_equal(again: Any) -> None:
    output, command = listed(), ModelCommand("TagResource", Resource=ARN, Tags={"a": "b"})
    assert again(output) == output
    assert again(output).metadata == ("id", 200, 1)
    assert type(again(output).Functions[0]) is type(output.Functions[0])
    assert again(command) == command
    assert again(command).wire() == command.wire()
    assert ModelCommand("ListTags", Resource=ARN) != ModelCommand("DeleteCodeSigningConfig", CodeSigningConfigArn=ARN)
    assert ModelCommand("GetFunction", FunctionName="f") != ModelCommand("DeleteFunction", FunctionName="f")


def test_values_are_those_of_boto3() -> None:
    answer = '{"EventSourceMappings":[{"UUID":"u","LastModified":1573686021.479,"BatchSize":10}]}'
    [mapping] = ModelCommand("ListEventSourceMappings").read(json_answer(answer)).EventSourceMappings
    assert mapping.LastModified == datetime(2019, 11, 13, 23, 0, 21, 479000, tzinfo=UTC)
    assert dict(ModelCommand("DeleteAlias", FunctionName="f", Name="a").read(json_answer("", 204))) == {}
    assert ModelCommand("DeleteFunction", FunctionName="f").read(json_answer("", 204)).StatusCode == 204


@pytest.mark.parametrize("body", ["<html>", "[1]", '{"Functions":5}', '{"Functions":["a"]}'])
def test_an_answer_that_the_model_does_not_know(body: str) -> None:
    with pytest.raises(MalformedAnswerError, match="answer to ListFunctions"):
        ModelCommand("ListFunctions").read(json_answer(body))


# --- by name ------------------------------------------------------------------------------------------------------


class Client(Conveniences):
    def __init__(self, *outcomes: Any) -> None:
        self.send = Scripted(*outcomes)  # type: ignore[method-assign, assignment]


class AsyncClient(AsyncConveniences):
    def __init__(self, *outcomes: Any) -> None:
        self.scripted = Scripted(*outcomes)
        self.send = self.scripted.later  # type: ignore[method-assign]


def test_operations_with_a_command_are_called_by_name() -> None:
    output = Client('{"Timeout":3}').call("GetFunctionConfiguration", FunctionName="f")
    assert isinstance(output, FunctionConfiguration)
    assert output.Timeout == 3
    assert command_for("Invoke", {"FunctionName": "f"}) == InvokeCommand(FunctionName="f")
    with pytest.raises(ParameterValidationError, match="Invoke: InvokeCommand has no member Nam"):
        Client().call("Invoke", Nam="f")
    with pytest.raises(ParameterValidationError, match="Invoke: InvokeCommand needs FunctionName"):
        Client().call("Invoke")


def test_the_asynchronous_client_calls_by_name_too() -> None:
    client = AsyncClient(FUNCTIONS, '{"Timeout":3}')
    assert asyncio.run(client.call("ListFunctions", MaxItems=3)).Functions[0].FunctionName == "f"
    assert asyncio.run(client.call("GetFunctionConfiguration", FunctionName="f")).Timeout == 3
    assert client.scripted.inputs == [{"MaxItems": 3}, {"FunctionName": "f"}]
    with pytest.raises(OperationError):
        asyncio.run(client.call("ListFunction"))


def test_both_clients_can_do_it() -> None:
    assert issubclass(LambdaClient, Conveniences)
    assert issubclass(AsyncLambdaClient, AsyncConveniences)
    public = {name for name in vars(Conveniences) if not name.startswith("_")} - {"send"}
    assert public == {"call", "paginate", "wait_until"}
    assert not public & (set(vars(LambdaClient)) | set(vars(AsyncLambdaClient)))


@pytest.mark.parametrize("operation", sorted(model().operation_names))
def test_every_operation_has_a_command(operation: str) -> None:
    found = model().operation_model(operation)
    if operation in ("Invoke", "InvokeWithResponseStream"):
        with pytest.raises(OperationError, match=f"the answer of {operation} is a stream: {operation}Command is its"):
            ModelCommand(operation, FunctionName="f")
        return
    required = found.input_shape.required_members if found.input_shape else []
    if required:
        with pytest.raises(ParameterValidationError, match=f'{operation}: Missing .* "{required[0]}"'):
            ModelCommand(operation)
    else:
        assert ModelCommand(operation).wire().method == found.http["method"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("create_function", "there is no operation 'create_function': did you mean CreateFunction?"),
        ("createfunction", "did you mean CreateFunction?"),
        ("CreateFuncton", "did you mean CreateFunction"),
        ("Frobnicate", "there is no operation 'Frobnicate' in the Lambda API"),
        ("", "there is no operation '' in the Lambda API"),
    ],
)
def test_an_operation_that_there_is_not(name: str, text: str) -> None:
    with pytest.raises(OperationError) as caught:
        command_for(name, {})
    assert text in str(caught.value)
    assert isinstance(caught.value, LambdaClientError)


@pytest.mark.parametrize(
    ("operation", "members", "texts"),
    [
        ("CreateFunction", {"FunctionName": "f", "Role": ROLE}, ['Missing required parameter in input: "Code"']),
        ("ListFunctions", {"Max": 3}, ['Unknown parameter in input: "Max", must be one of']),
        ("ListFunctions", {"MaxItems": "3"}, ["Invalid type for parameter MaxItems"]),
        ("ListFunctions", {"MaxItems": 0}, ["Invalid value for parameter MaxItems, value: 0, valid min value: 1"]),
        (
            "UpdateFunctionConfiguration",
            {"FunctionName": "f", "Environment": {"Variables": {"A": 1}}, "Timeout": "x"},
            ["Invalid type for parameter Environment.Variables.A", "Invalid type for parameter Timeout"],
        ),
        ("CreateEventSourceMapping", {"FunctionName": "f", "StartingPositionTimestamp": "soon"}, ["Starting"]),
        ("TagResource", {"Resource": ARN, "Tags": {"a": b"b"}}, ["Invalid type for parameter Tags.a"]),
    ],
)
def test_an_input_that_the_model_does_not_take(operation: str, members: dict[str, Any], texts: list[str]) -> None:
    with pytest.raises(ParameterValidationError) as caught:
        ModelCommand(operation, members)
    assert len(caught.value.problems) == len(texts)
    for text, problem in zip(sorted(texts), sorted(caught.value.problems), strict=True):
        assert text in problem
    assert caught.value.operation == operation


WITHOUT_BOTOCORE = """
import sys

class Blocker:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("botocore", "boto3"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
from venturekit.client import LambdaClient, ModelCommand, OperationError
from venturekit.client.operations import OPERATIONS, command_for

for name in OPERATIONS:
    given = {"FunctionName": "f", "InvokeArgs": b"", "RecursiveLoop": "Allow"}
    command = command_for(name, {key: given[key] for key in given if key in OPERATIONS[name].members})
    assert command.wire().method
client = LambdaClient(endpoint_url="http://127.0.0.1:9", unsigned=True)
for call in (lambda: client.call("ListFunctions"), lambda: ModelCommand("ListFunctions")):
    try:
        call()
    except OperationError as error:
        print(error)
assert "botocore" not in sys.modules
"""


def test_without_botocore() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_BOTOCORE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all("botocore is not installed: pip install botocore" in line for line in lines)


def test_what_is_loaded_late() -> None:
    code = (
        "import sys, venturekit.client as client\n"
        "heavy = {'aiohttp', 'asyncio', 'ssl', 'http', 'email', 'botocore', 'dataclasses', 'inspect', 'subprocess'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))\n"
        "print(set(client.__all__) - set(dir(client)), sorted(client.__all__) == client.__all__)\n"
        "print({getattr(client, name).__module__.partition('.')[0] for name in client.__all__})\n"
        "print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "set() True", "{'venturekit'}", "False"], done.stderr
