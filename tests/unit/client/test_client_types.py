"""What type checkers make of the client: one program, read by mypy --strict and by pyright.

A comment ``# reveals T`` is the type that both have to find, ``# error`` where both have to object; they must not
object anywhere else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """\
from __future__ import annotations

from typing_extensions import reveal_type

from venturekit.client import (
    AsyncLambdaClient, ClientConfig, Credentials, DestinationConfig, GetFunctionCommand,
    GetFunctionRecursionConfigCommand, InvocationType, InvokeAsyncCommand, InvokeCommand, InvokeCommandOutput,
    InvokeWithResponseStreamCommand, LambdaClient, LambdaInvocationError, LambdaServiceException,
    ListFunctionEventInvokeConfigsCommand, ModelCommand, OnFailure, PutFunctionEventInvokeConfigCommand,
    PutFunctionRecursionConfigCommand, RecursionConfig, TooManyRequestsException, WaiterError,
)

client = LambdaClient(region="eu-west-1", credentials=Credentials("a", "b"), read_timeout=3)
LambdaClient(regoin="eu-west-1")  # error
LambdaClient(max_attempts="3")  # error
reveal_type(ClientConfig(region="a").replaced(max_attempts=1))  # reveals ClientConfig

output = client.send(InvokeCommand(FunctionName="f", Payload="{}", InvocationType="Event"))
reveal_type(output)  # reveals InvokeCommandOutput
reveal_type(output.Payload)  # reveals bytes
reveal_type(output.FunctionError)  # reveals str | None
reveal_type(output.metadata.request_id)  # reveals str | None
reveal_type(output["Payload"])  # reveals Any
output.Payloed  # error
output.Payload = b""  # error
InvokeCommandOutput(StatusCode=200, Payload=b"")
InvokeCommand(FunctionName="f", InvocationType=InvocationType.Event, LogType="Tail")
InvokeCommand(FunctionName="f", InvocationType="event")  # error
InvokeCommand(Payload=b"")  # error
InvokeCommand(FunctionName="f", Payload={"a": 1})  # error
InvokeCommand(FunctionName="f", Qualifer="1")  # error
InvokeCommand("f")  # error
InvokeAsyncCommand(FunctionName="f")  # error

config = client.send(PutFunctionEventInvokeConfigCommand(
    FunctionName="f", DestinationConfig=DestinationConfig(OnFailure=OnFailure(Destination="a"))
))
reveal_type(config.LastModified)  # reveals datetime | None
PutFunctionEventInvokeConfigCommand(FunctionName="f", DestinationConfig={"OnFailure": {"Destination": "a"}})
PutFunctionEventInvokeConfigCommand(FunctionName="f", DestinationConfig={"OnFailur": {}})  # error
PutFunctionEventInvokeConfigCommand(FunctionName="f", MaximumRetryAttempts="2")  # error
PutFunctionRecursionConfigCommand(FunctionName="f", RecursionConfig=RecursionConfig(RecursiveLoop="Allow"))
PutFunctionRecursionConfigCommand(FunctionName="f", RecursionConfig={"RecursiveLoop": "Terminate"})
PutFunctionRecursionConfigCommand(FunctionName="f", RecursiveLoop="allow")  # error
recursion = client.send(GetFunctionRecursionConfigCommand(FunctionName="f"))
reveal_type(recursion.RecursionConfig)  # reveals RecursionConfig | None
function = client.send(GetFunctionCommand(FunctionName="f"))
if function.Configuration is not None:
    reveal_type(function.Configuration.State)  # reveals State | None

stream = client.send(InvokeWithResponseStreamCommand(FunctionName="f", InvokeMode="RESPONSE_STREAM"))
reveal_type(stream.EventStream)  # reveals EventStream
for event in stream.EventStream:
    reveal_type(event)  # reveals InvokeWithResponseStreamResponseEvent
    if event.PayloadChunk:
        reveal_type(event.PayloadChunk.Payload)  # reveals bytes
    if event.InvokeComplete is not None:
        reveal_type(event.InvokeComplete.ErrorCode)  # reveals str | None

response = client.invoke("f", {"a": [1]}, invocation_type="RequestResponse", log_type="Tail", qualifier="1")
reveal_type(response)  # reveals InvocationResponse
reveal_type(response.payload)  # reveals str
reveal_type(response.json())  # reveals Any
reveal_type(response.log_result)  # reveals str | None
client.invoke("f", invocation_type="request")  # error
client.invoke("f", log_typ="Tail")  # error
client.invoke(5)  # error
with client.invoke_stream("f", client_context={"custom": {}}) as chunks:
    for chunk in chunks:
        reveal_type(chunk)  # reveals bytes
    reveal_type(chunks.completion)  # reveals InvokeComplete | None

pages = client.paginate(ListFunctionEventInvokeConfigsCommand(FunctionName="f"))
reveal_type(pages)  # reveals Pages[ListFunctionEventInvokeConfigsCommandOutput, FunctionEventInvokeConfig]
for page in pages:
    reveal_type(page.NextMarker)  # reveals str | None
for item in pages.items():
    reveal_type(item.FunctionArn)  # reveals str | None
client.paginate(GetFunctionCommand(FunctionName="f"))  # error
reveal_type(client.paginate("ListFunctions", MaxItems=1))  # reveals Pages[Any, Any]
made = client.send(ModelCommand("PublishVersion", FunctionName="f"))
reveal_type(made)  # reveals ModelOutput
reveal_type(made.Version)  # reveals Any
reveal_type(client.call("PublishVersion", FunctionName="f"))  # reveals Any
reveal_type(client.wait_until("function_active", FunctionName="f"))  # reveals FunctionConfiguration
exists = client.wait_until("function_exists", FunctionName="f", max_wait_seconds=1)
reveal_type(exists)  # reveals GetFunctionCommandOutput
client.wait_until("function_gone", FunctionName="f")  # error
client.wait_until("function_active")  # error

try:
    client.invoke("f")
except TooManyRequestsException as throttle:
    reveal_type(throttle.reason)  # reveals str | None
    reveal_type(throttle.retry_after)  # reveals float | None
except LambdaServiceException as refused:
    reveal_type(refused.request_id)  # reveals str | None
except LambdaInvocationError as failed:
    reveal_type(failed.response)  # reveals InvocationResponse
    reveal_type(failed.error_type)  # reveals str | None
except WaiterError as late:
    reveal_type(late.last)  # reveals object


async def calls(later: AsyncLambdaClient) -> None:
    async with AsyncLambdaClient(region="eu-west-1") as entered:
        reveal_type(entered)  # reveals AsyncLambdaClient
    reveal_type(await later.send(InvokeCommand(FunctionName="f")))  # reveals InvokeCommandOutput
    streamed = await later.send(InvokeWithResponseStreamCommand(FunctionName="f"))
    reveal_type(streamed)  # reveals AsyncInvokeWithResponseStreamCommandOutput
    async for event in streamed.EventStream:
        reveal_type(event)  # reveals InvokeWithResponseStreamResponseEvent
    for wrong in streamed.EventStream:  # error
        pass
    reveal_type((await later.invoke("f", b"")).status_code)  # reveals int
    async with later.invoke_stream("f") as chunks:
        async for chunk in chunks:
            reveal_type(chunk)  # reveals bytes
    async for item in later.paginate(ListFunctionEventInvokeConfigsCommand(FunctionName="f")).items():
        reveal_type(item)  # reveals FunctionEventInvokeConfig
    reveal_type(await later.wait_until("function_updated_v2", FunctionName="f"))  # reveals GetFunctionCommandOutput
    reveal_type(await later.call("ListFunctions"))  # reveals Any
    await later.invoke("f", tenant=1)  # error
"""


def expected() -> tuple[dict[int, str], set[int]]:
    reveals, errors = {}, set()
    for number, line in enumerate(PROGRAM.split("\n"), 1):
        if "  # reveals " in line:
            reveals[number] = line.partition("  # reveals ")[2]
        elif line.endswith("  # error"):
            errors.add(number)
    return reveals, errors


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file: Path = tmp_path_factory.mktemp("types") / "client_program.py"
    file.write_text(PROGRAM)
    return file


@pytest.mark.full
def test_mypy(program: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-pretty", "--show-absolute-path"]
    cache = ["--cache-dir", str(program.parent / "cache")]
    done = subprocess.run([*command, *cache, str(program)], capture_output=True, text=True, timeout=110)
    found = re.findall(r"^[^\n]*client_program\.py:(\d+): (error|note): (.*)$", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    reveals, errors = expected()
    types = {int(n): re.search(r'"(.*)"', text)[1] for n, _, text in found if text.startswith("Revealed")}  # type: ignore[index]
    assert {number: re.sub(r"\b(?:\w+\.)+(?=\w)", "", found_type) for number, found_type in types.items()} == reveals
    assert {int(number) for number, kind, _ in found if kind == "error"} == errors, done.stdout


def test_pyright(program: Path) -> None:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(program)]
    # Its JavaScript is in the package: with the machine's own node nothing is fetched.
    settings = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PYRIGHT_PYTHON_GLOBAL_NODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, env=os.environ | settings, cwd=program.parent
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    reveals, errors = expected()
    types, wrong = {}, set()
    for diagnostic in found:
        number = diagnostic["range"]["start"]["line"] + 1
        if diagnostic["severity"] == "information":
            types[number] = re.search(r' is "([^"]*)"$', diagnostic["message"])[1]  # type: ignore[index]
        elif diagnostic["severity"] == "error":
            wrong.add(number)
    assert types == reveals
    assert wrong == errors, done.stdout
