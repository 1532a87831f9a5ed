"""Every example of seeds 002 and 003, line by line, with both clients, against a service with Python and Node.js."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import FunctionSet, RunningService
from venturekit.client import (
    AsyncLambdaClient,
    Credentials,
    InvokeAsyncCommand,
    InvokeCommand,
    InvokeWithResponseStreamCommand,
    LambdaClient,
    LambdaInvocationError,
    LambdaServiceException,
    ResourceNotFoundException,
)
from venturekit.client.enums import InvocationType, InvokeMode, LogType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from venturekit.client import InvocationResponse

PYTHON_SOURCES = {
    "my-function": """
def handler(event, context):
    print("asked for", sorted(event))
    if event.get("data") == "fail":
        raise ValueError("as told")
    return {"seen": event}
""",
    "my-streaming-function": """
def handler(event, context):
    return (f"{word} " for word in ("Once", "upon", "a", "time", event["prompt"]))
""",
    "add-numbers": "def handler(event, context):\n    return event['x'] + event['y']\n",
}
NODE_SOURCES = {
    "my-function": """
exports.handler = async (event) => {
  console.log('asked for', Object.keys(event).sort());
  if (event.data === 'fail') throw new RangeError('as told');
  return { seen: event };
};
""",
    "my-streaming-function": """
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  for (const word of ['Once', 'upon', 'a', 'time', event.prompt]) stream.write(`${word} `);
  stream.end();
});
""",
    "add-numbers": "exports.handler = async (event) => event.x + event.y;\n",
}


@pytest.fixture(scope="module", params=["python", "node"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service with the functions that the examples call."""
    running = RunningService(tmp_path_factory.mktemp("seeds") / "data")
    made = FunctionSet(running.url, running.client)
    if request.param == "python":
        for name, source in PYTHON_SOURCES.items():
            made.create(source, name=name, wait=False)
    else:
        for name, source in NODE_SOURCES.items():
            made.create(files={"app.js": source}, name=name, wait=False, Runtime="nodejs20.x", Timeout=30)
    for name in made.names:
        made.wait_active(name)
    yield running.url
    made.delete_all()
    running.close()


@pytest.fixture
def client(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LambdaClient]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    # const client = new LambdaClient({ region: "us-east-1" });
    with LambdaClient(region="us-east-1") as made:
        yield made


def awaited(url: str, work: Any) -> Any:
    """What a coroutine function gives that is called with an asynchronous client."""

    async def main() -> Any:
        async with AsyncLambdaClient(region="us-east-1", endpoint_url=url) as client:
            return await work(client)

    return asyncio.run(main())


# --- seed 002, "Synchronous Invocation" ------------------------------------------------------------------------------


def check_synchronous(response: Any, printed: list[Any]) -> None:
    # const result = JSON.parse(new TextDecoder().decode(response.Payload));
    result = json.loads(response.Payload.decode())
    # console.log('Function result:', result);
    printed.append(result)
    # if (response.FunctionError) {
    if response.FunctionError:
        # console.error('Function error:', response.FunctionError);
        printed.append(response.FunctionError)
    # if (response.LogResult) {
    if response.LogResult:
        # const logs = Buffer.from(response.LogResult, 'base64').toString();
        logs = base64.b64decode(response.LogResult).decode()
        # console.log('Execution logs:', logs);
        printed.append(logs)
    assert printed[0] == {"seen": {"key1": "value1", "key2": "value2"}}
    assert "asked for" in printed[1]
    assert len(printed) == 2
    assert (response.StatusCode, response.ExecutedVersion) == (200, "$LATEST")


SYNCHRONOUS: dict[str, Any] = {
    # FunctionName: "my-function", InvocationType: "RequestResponse", LogType: "Tail",
    "FunctionName": "my-function",
    "InvocationType": "RequestResponse",
    "LogType": "Tail",
    # Payload: JSON.stringify({ key1: "value1", key2: "value2" })
    "Payload": json.dumps({"key1": "value1", "key2": "value2"}),
}


def test_synchronous_invocation(client: LambdaClient) -> None:
    # const command = new InvokeCommand({...});
    command = InvokeCommand(**SYNCHRONOUS)
    # const response = await client.send(command);
    response = client.send(command)
    check_synchronous(response, [])


def test_synchronous_invocation_awaited(url: str) -> None:
    check_synchronous(awaited(url, lambda client: client.send(InvokeCommand(**SYNCHRONOUS))), [])


def test_synchronous_invocation_with_the_enums(client: LambdaClient) -> None:
    members = {**SYNCHRONOUS, "InvocationType": InvocationType.RequestResponse, "LogType": LogType.Tail}
    check_synchronous(client.send(InvokeCommand(**members)), [])


# --- seed 002, "Asynchronous Invocation" and its deprecated form -----------------------------------------------------


def test_asynchronous_invocation(client: LambdaClient) -> None:
    # const asyncCommand = new InvokeCommand({ FunctionName: "my-function", InvocationType: "Event",
    #   Payload: JSON.stringify({ message: "Process this later" }) });
    async_command = InvokeCommand(
        FunctionName="my-function", InvocationType="Event", Payload=json.dumps({"message": "Process this later"})
    )
    # const asyncResponse = await client.send(asyncCommand);
    async_response = client.send(async_command)
    # Response will have StatusCode 202 for accepted
    assert (async_response.StatusCode, async_response.Payload) == (202, b"")
    deprecated = InvokeAsyncCommand(FunctionName="my-function", InvokeArgs=b"{}")
    assert client.send(deprecated).Status == 202


def test_asynchronous_invocation_awaited(url: str) -> None:
    command = InvokeCommand(FunctionName="my-function", InvocationType=InvocationType.Event, Payload="{}")
    assert awaited(url, lambda client: client.send(command)).StatusCode == 202


# --- seed 002, "Response Stream Invocation" --------------------------------------------------------------------------

STORY = "Once upon a time Generate a story "


def stream_command(mode: Any) -> InvokeWithResponseStreamCommand:
    # const command = new InvokeWithResponseStreamCommand({ FunctionName: "my-streaming-function",
    #   InvokeMode: "RESPONSE_STREAM", Payload: JSON.stringify({ prompt: "Generate a story" }) });
    return InvokeWithResponseStreamCommand(
        FunctionName="my-streaming-function", InvokeMode=mode, Payload=json.dumps({"prompt": "Generate a story"})
    )


@pytest.mark.parametrize("mode", ["RESPONSE_STREAM", InvokeMode.RESPONSE_STREAM])
def test_response_stream(client: LambdaClient, mode: Any) -> None:
    written: list[str] = []
    # const response = await client.send(command);
    response = client.send(stream_command(mode))
    # if (response.EventStream) {
    if response.EventStream:
        # for await (const event of response.EventStream) {
        for event in response.EventStream:
            # if ('PayloadChunk' in event && event.PayloadChunk) {
            if "PayloadChunk" in event and event.PayloadChunk:
                # const chunk = new TextDecoder().decode(event.PayloadChunk.Payload);
                chunk = event.PayloadChunk.Payload.decode()
                # process.stdout.write(chunk);
                written.append(chunk)
            # if ('InvokeComplete' in event) {
            if "InvokeComplete" in event:
                # console.log('\nStreaming complete'); break;
                written.append("\nStreaming complete")
                break
    assert "".join(written) == f"{STORY}\nStreaming complete"


def test_response_stream_awaited(url: str) -> None:
    async def work(client: AsyncLambdaClient) -> str:
        written: list[str] = []
        response = await client.send(stream_command("RESPONSE_STREAM"))
        if response.EventStream:
            async for event in response.EventStream:
                if "PayloadChunk" in event and event.PayloadChunk:
                    written.append(event.PayloadChunk.Payload.decode())
                if "InvokeComplete" in event:
                    written.append("\nStreaming complete")
                    break
        return "".join(written)

    assert awaited(url, work) == f"{STORY}\nStreaming complete"


# --- seed 002, "Error Handling" --------------------------------------------------------------------------------------


def told(name: str, data: str, send: Any) -> str:
    """What the example writes to the console."""
    # try {
    try:
        # const command = new InvokeCommand({ FunctionName: "my-function", Payload: JSON.stringify({ data: "test" }) });
        command = InvokeCommand(FunctionName=name, Payload=json.dumps({"data": data}))
        # const response = await client.send(command);
        response = send(command)
        # if (response.FunctionError) {
        if response.FunctionError:
            # console.error(`Function error (${response.FunctionError}):`, new TextDecoder().decode(response.Payload));
            return f"Function error ({response.FunctionError}): {response.Payload.decode()}"
        # } else { const result = JSON.parse(new TextDecoder().decode(response.Payload));
        result = json.loads(response.Payload)
        # console.log('Success:', result);
        return f"Success: {result}"
    # } catch (error) { if (error instanceof LambdaServiceException) {
    except LambdaServiceException as error:
        # console.error(`Service error: ${error.name} - ${error.message}`);
        return f"Service error: {error.name} - {error.message}"
    # } else { console.error('Unexpected error:', error);
    except Exception as error:
        return f"Unexpected error: {error}"


def check_errors(send: Any) -> None:
    assert told("my-function", "test", send) == "Success: {'seen': {'data': 'test'}}"
    assert told("my-function", "fail", send).startswith('Function error (Unhandled): {"error')
    assert told("nobody", "test", send) == (
        "Service error: ResourceNotFoundException - "
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody:$LATEST"
    )
    assert told("no name at all", "test", send).startswith("Unexpected error: Invoke: FunctionName is 'no name at all'")


def test_error_handling(client: LambdaClient) -> None:
    check_errors(client.send)


def test_error_handling_awaited(url: str) -> None:
    check_errors(lambda command: awaited(url, lambda client: client.send(command)))


# --- seed 003 --------------------------------------------------------------------------------------------------------


def environment(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the example: region and keys of the environment."""
    import os

    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDSEED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-seed")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-the-seed")
    # const awsConfig = new AWSConfig({ region: __ENV.AWS_REGION, accessKeyId: __ENV.AWS_ACCESS_KEY_ID,
    #   secretAccessKey: __ENV.AWS_SECRET_ACCESS_KEY, sessionToken: __ENV.AWS_SESSION_TOKEN });
    credentials = Credentials(
        os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]
    )
    return {"region": os.environ["AWS_REGION"], "credentials": credentials, "endpoint_url": url}


@pytest.fixture
def signed(url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The configuration, for a service where the key's account has the functions."""
    return environment(url, monkeypatch)


def check(response: InvocationResponse) -> None:
    # check(response, {'status is 200': (r) => r.statusCode === 200, 'payload is 3': (r) => r.payload === 3});
    assert response.status_code == 200
    # The payload is a text; so the seed's check is false with k6, too.
    assert (response.payload, response.json()) == ("3", 3)
    assert (response.executed_version, response.log_result, response.function_error) == ("$LATEST", None, None)


def test_invoke(signed: dict[str, Any]) -> None:
    # const lambdaClient = new LambdaClient(awsConfig);
    with LambdaClient(**signed) as lambda_client:
        # const response = await lambdaClient.invoke('add-numbers', JSON.stringify({ x: 1, y: 2 }));
        check(lambda_client.invoke("add-numbers", json.dumps({"x": 1, "y": 2})))
        check(lambda_client.invoke("add-numbers", {"x": 1, "y": 2}))


def test_invoke_awaited(signed: dict[str, Any]) -> None:
    async def main() -> None:
        async with AsyncLambdaClient(**signed) as lambda_client:
            check(await lambda_client.invoke("add-numbers", json.dumps({"x": 1, "y": 2})))

    asyncio.run(main())


OPTIONS: dict[str, tuple[dict[str, Any], int]] = {
    "invocationType RequestResponse": ({"invocation_type": "RequestResponse"}, 200),
    "invocationType Event": ({"invocation_type": "Event"}, 202),
    "invocationType DryRun": ({"invocation_type": "DryRun"}, 204),
    "logType None": ({"log_type": "None"}, 200),
    "logType Tail": ({"log_type": "Tail"}, 200),
    "clientContext": ({"client_context": base64.b64encode(b'{"custom":{"a":"b"}}').decode()}, 200),
    "qualifier": ({"qualifier": "$LATEST"}, 200),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_the_options_of_invoke(client: LambdaClient, url: str, option: str) -> None:
    options, status = OPTIONS[option]
    for response in (
        client.invoke("add-numbers", '{"x": 1, "y": 2}', **options),
        awaited(url, lambda each: each.invoke("add-numbers", '{"x": 1, "y": 2}', **options)),
    ):
        assert response.status_code == status
        assert response.payload == ("3" if status == 200 else "")
        assert (response.log_result is not None) is (option == "logType Tail")


def test_a_function_that_fails_raises(client: LambdaClient, url: str) -> None:
    with pytest.raises(LambdaInvocationError, match=r"Unhandled: (Value|Range)Error: as told") as failed:
        client.invoke("my-function", {"data": "fail"}, log_type="Tail")
    assert (failed.value.error_message, failed.value.response.status_code) == ("as told", 200)
    assert "asked for" in (failed.value.response.log_result or "")
    with pytest.raises(LambdaInvocationError):
        awaited(url, lambda each: each.invoke("my-function", {"data": "fail"}))
    with pytest.raises(ResourceNotFoundException):
        awaited(url, lambda each: each.invoke("nobody"))
