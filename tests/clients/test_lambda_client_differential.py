"""One suite through boto3, LambdaClient and AsyncLambdaClient: all three see the same of one service."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from botocore.exceptions import ClientError, EventStreamError

import venturekit.client
from tests.clients.client_support import OWN, Key, arn, client_with
from tests.clients.guarded_keys import EXPIRED, FULL, INVOKER, LASTING, NEIGHBOUR, NOBODY, READER, SESSION
from tests.service.harness import FunctionSet, client_of
from tests.unit.client.both_clients import Asynchronous, Blocking
from venturekit.client import Credentials, LambdaServiceException, PayloadTooLargeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import RunningService

SOURCE = """
import json, time
def handler(event, context):
    print("seen", json.dumps(event)[:100])
    do = event.get("do") if isinstance(event, dict) else None
    if do == "fail":
        raise ValueError("as told: \\u00e4\\u20ac")
    if do == "exit":
        raise SystemExit(3)
    if do == "time":
        time.sleep(5)
    if do == "stream":
        return pieces(event)
    if do == "context":
        client = context.client_context
        return {"custom": client.custom, "env": client.env, "version": context.function_version,
                "arn": context.invoked_function_arn}
    if do == "large":
        return "x" * event["size"]
    return event

def pieces(event):
    for number in range(event["count"]):
        yield ("piece %d;" % number) * event.get("times", 1)
    if event.get("fail"):
        raise LookupError("after the pieces")
"""
NODE_SOURCE = """
exports.handler = async (event) => {
  console.log('seen', JSON.stringify(event).slice(0, 100));
  if (event && event.do === 'fail') throw new RangeError('as told: \\u00e4\\u20ac');
  return event;
};
exports.streams = awslambda.streamifyResponse(async (event, stream) => {
  stream.write(Buffer.from([0, 255, 128]));
  await new Promise((resolve) => setImmediate(resolve));
  if (event.fail) throw new TypeError('after the pieces');
  stream.end('end');
});
"""
PY, JS, JS_STREAM, LIMITED, SHORT = "diff-python", "diff-node", "diff-node-streams", "diff-limited", "diff-short"
LIMIT_BYTES = 6_291_456


class Seen(NamedTuple):
    """What a client has seen of a call: the members of the output, or the code, message and status of the refusal."""

    output: dict[str, Any] | None
    refusal: tuple[str, str, int, Any] | None = None
    events: list[Any] | None = None


def tidy(output: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from call to call. Of a log what the function has written."""
    found = {name: value for name, value in output.items() if name != "ResponseMetadata" and value is not None}
    if "LogResult" in found:
        log = base64.b64decode(found["LogResult"]).decode()
        found["LogResult"] = [line for line in log.splitlines() if line.startswith(("seen", "[ERROR]"))]
        if not found["LogResult"]:
            found["LogResult"] = "seen" in log
    found.pop("LastModified", None)
    return found


def tidy_event(event: Any) -> Any:
    found = {name: dict(value) for name, value in event.items()}
    if "InvokeComplete" in found:
        found["InvokeComplete"] = tidy(found["InvokeComplete"])
    return found


def joined(events: list[Any]) -> list[Any]:
    """Chunks may be cut anywhere."""
    chunks = b"".join(event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event)
    return [chunks, *(tidy_event(event) for event in events if "PayloadChunk" not in event)]


class Boto:
    def __init__(self, url: str, key: Key | None, **options: Any) -> None:
        self.client = client_with(url, *key.triple, **options) if key else client_of(url)

    def call(self, operation: str, members: dict[str, Any]) -> Seen:
        method = "".join(f"_{char.lower()}" if char.isupper() else char for char in operation).lstrip("_")
        try:
            answer = getattr(self.client, method)(**members)
            if hasattr(answer.get("Payload"), "read"):
                answer["Payload"] = answer["Payload"].read()
            events = answer.pop("EventStream", None)
            return Seen(tidy(answer), None, None if events is None else joined(list(events)))
        except EventStreamError as error:
            return Seen(None, (error.response["Error"]["Code"], error.response["Error"]["Message"], 200, None))
        except ClientError as error:
            found = error.response
            metadata = found["ResponseMetadata"]
            retry_after = metadata["HTTPHeaders"].get("retry-after")
            return Seen(
                None,
                (
                    found["Error"]["Code"],
                    found["Error"]["Message"] or "",
                    metadata["HTTPStatusCode"],
                    (found.get("Reason"), None if retry_after is None else float(retry_after)),
                ),
            )

    def close(self) -> None:
        self.client.close()


class Ours:
    def __init__(self, kind: Any, url: str, key: Key | None, region_name: str = "us-east-1") -> None:
        options: dict[str, Any] = {"max_attempts": 1, "region": region_name}
        if key is not None:
            options |= {"unsigned": False, "credentials": Credentials(*key.triple)}
        self.client = kind(url, **options)

    def call(self, operation: str, members: dict[str, Any]) -> Seen:
        command = getattr(venturekit.client, f"{operation}Command")(**members)
        try:
            if operation == "InvokeWithResponseStream":
                return self._streamed(command)
            output = self.client.send(command)
        except LambdaServiceException as refusal:
            error = refusal
        else:
            return Seen(tidy(_plain(output)))
        assert (error.request_id is not None, error.attempts) == (True, 1)
        return Seen(None, (error.code, error.message, error.status, (error.reason, error.retry_after)))

    def _streamed(self, command: Any) -> Seen:
        if self.client.kind == "blocking":
            output = self.client.send(command)
            events = list(output.EventStream)
        else:

            async def collect() -> Any:
                output = await self.client.client.send(command)
                return output, [event async for event in output.EventStream]

            output, events = self.client.run(collect())
        members = {name: output[name] for name in output if name != "EventStream"}
        return Seen(tidy(members), None, joined(events))

    def close(self) -> None:
        self.client.close()


def _plain(output: Any) -> dict[str, Any]:
    found: dict[str, Any] = output.plain()
    # Seed 002 has it nested, the API flat.
    found.pop("RecursionConfig", None)
    return found


@pytest.fixture(scope="module")
def lab(guarded: RunningService) -> Iterator[RunningService]:
    """The service with this module's functions: version 1 and alias ``prod`` of each of the first two."""
    client = FULL.client(guarded.url)
    made = FunctionSet(guarded.url, client)
    made.create(SOURCE, name=PY, wait=False, Timeout=30)
    made.create(SOURCE, name=LIMITED, wait=False)
    made.create(SOURCE, name=SHORT, wait=False, Timeout=1)
    node = {"Runtime": "nodejs20.x", "Timeout": 30}
    made.create(files={"app.js": NODE_SOURCE}, name=JS, wait=False, **node)
    made.create(files={"app.js": NODE_SOURCE}, name=JS_STREAM, wait=False, **{**node, "Handler": "app.streams"})
    for name in made.names:
        made.wait_active(name)
    for name in (PY, JS):
        assert made.publish(name) == "1"
        client.create_alias(FunctionName=name, Name="prod", FunctionVersion="1")
    client.put_function_concurrency(FunctionName=LIMITED, ReservedConcurrentExecutions=0)
    yield guarded
    made.delete_all()
    client.close()


@pytest.fixture(scope="module")
def ask(lab: RunningService) -> Iterator[Callable[..., list[Seen]]]:
    """``ask(operation, key, **members)``: what the three have seen, boto3 first. Their clients are kept."""
    kept: dict[Any, list[Any]] = {}

    def call(operation: str, key: Key | None = FULL, *, region: str = "us-east-1", **members: Any) -> list[Seen]:
        if (key and key.triple, region) not in kept:
            kept[key and key.triple, region] = [
                Boto(lab.url, key, region_name=region) if key else Boto(lab.url, None),
                Ours(Blocking, lab.url, key, region),
                Ours(Asynchronous, lab.url, key, region),
            ]
        return [each.call(operation, members) for each in kept[key and key.triple, region]]

    yield call
    for adapters in kept.values():
        for each in adapters:
            each.close()


def same(seen: list[Seen]) -> Seen:
    """What all of them have seen."""
    theirs, *ours = seen
    for each in ours:
        assert each == theirs
    return theirs


def js(value: Any) -> bytes:
    return json.dumps(value).encode()


BOTH_RUNTIMES = pytest.mark.parametrize("name", [PY, JS])
VALUES = (
    None,
    True,
    0,
    -1.5,
    10**30,
    "",
    "text",
    "ä€😀\u2028",
    '"\\\x00\x1f',
    [],
    [1, [2, {}]],
    {},
    {"a": {"b": [None]}},
)


@BOTH_RUNTIMES
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values(ask: Callable[..., list[Seen]], name: str, value: Any) -> None:
    seen = same(ask("Invoke", FunctionName=name, Payload=js(value), LogType="Tail"))
    assert seen.output is not None
    assert (seen.output["StatusCode"], seen.output["ExecutedVersion"]) == (200, "$LATEST")
    assert seen.output["LogResult"]
    if value != 10**30:
        assert json.loads(seen.output["Payload"]) == value


@BOTH_RUNTIMES
@pytest.mark.parametrize("payload", [None, b"", "ä€".join('""').encode(), b" 7 "])
def test_payloads(ask: Callable[..., list[Seen]], name: str, payload: bytes | None) -> None:
    members = {} if payload is None else {"Payload": payload}
    assert same(ask("Invoke", FunctionName=name, **members)).output is not None


@pytest.mark.parametrize("size", [LIMIT_BYTES, 1_000_000, 65_537, 65_536, 16_385])
def test_large_payloads_go_both_ways(ask: Callable[..., list[Seen]], size: int) -> None:
    payload = b'"' + b"x" * (size - 2) + b'"'
    seen = same(ask("Invoke", FunctionName=PY, Payload=payload))
    assert seen.output is not None
    assert seen.output["Payload"] == payload


def test_a_payload_over_the_limit(ask: Callable[..., list[Seen]], lab: RunningService) -> None:
    """boto3 learns of it from the service, this client says so before anything is sent."""
    payload = b'"' + b"x" * (LIMIT_BYTES - 1) + b'"'
    boto = Boto(lab.url, FULL)
    refusal = boto.call("Invoke", {"FunctionName": PY, "Payload": payload}).refusal
    boto.close()
    assert refusal is not None
    assert refusal[0] == "RequestEntityTooLargeException"
    with pytest.raises(PayloadTooLargeError, match=f"{LIMIT_BYTES + 1} bytes"):
        venturekit.client.InvokeCommand(FunctionName=PY, Payload=payload)
    seen = same(ask("Invoke", FunctionName=PY, Payload=js({"do": "large", "size": LIMIT_BYTES + 100})))
    assert seen.output is not None
    assert seen.output["FunctionError"] == "Unhandled"
    assert b"Response payload size exceeded maximum allowed payload size" in seen.output["Payload"]


@pytest.mark.parametrize(
    ("name", "do"),
    [(PY, "fail"), (JS, "fail"), (PY, "exit"), pytest.param(SHORT, "time", marks=pytest.mark.full)],
)
def test_functions_that_fail(ask: Callable[..., list[Seen]], name: str, do: str) -> None:
    seen = ask("Invoke", FunctionName=name, Payload=js({"do": do}), LogType="Tail")
    for each in seen:
        assert each.output is not None
        assert each.output["FunctionError"] == "Unhandled"
        found = json.loads(each.output["Payload"])
        # Only they hold what differs: the id of the request.
        assert set(found) <= {"errorType", "errorMessage", "stackTrace", "trace", "requestId"}
    if do == "fail":
        same([Seen({**(each.output or {}), "LogResult": None, "Payload": _error(each)}) for each in seen])


def _error(seen: Seen) -> Any:
    found = json.loads((seen.output or {})["Payload"])
    found.pop("requestId", None)
    assert "ä€" in found["errorMessage"]
    return found


@pytest.mark.parametrize(
    "members",
    [
        {"FunctionName": f"{PY}:prod"},
        {"FunctionName": f"{PY}:1"},
        {"FunctionName": f"{PY}:$LATEST"},
        {"FunctionName": PY, "Qualifier": "prod"},
        {"FunctionName": PY, "Qualifier": "1"},
        {"FunctionName": PY, "Qualifier": "$LATEST"},
        {"FunctionName": f"{PY}:prod", "Qualifier": "prod"},
        {"FunctionName": arn(PY)},
        {"FunctionName": arn(f"{PY}:prod")},
        {"FunctionName": arn(PY), "Qualifier": "prod"},
        {"FunctionName": f"{OWN}:function:{PY}"},
        {"FunctionName": f"{OWN}:function:{PY}:1"},
        {"FunctionName": f"function:{PY}:prod"},
        {"FunctionName": f"us-east-1:{OWN}:function:{PY}"},
    ],
    ids=lambda members: "/".join(members.values()),
)
def test_name_forms(ask: Callable[..., list[Seen]], members: dict[str, str]) -> None:
    context = base64.b64encode(js({"custom": {"a": "ä"}, "env": {"b": "1"}})).decode()
    payload = js({"do": "context"})
    seen = same(ask("Invoke", Payload=payload, ClientContext=context, **members))
    assert seen.output is not None
    found = json.loads(seen.output["Payload"])
    assert (found["custom"], found["env"]) == ({"a": "ä"}, {"b": "1"})
    assert found["version"] == seen.output["ExecutedVersion"]


@pytest.mark.parametrize(("kind", "status"), [("Event", 202), ("DryRun", 204), ("RequestResponse", 200)])
def test_invocation_types(ask: Callable[..., list[Seen]], kind: str, status: int) -> None:
    seen = same(ask("Invoke", FunctionName=PY, Payload=b"{}", InvocationType=kind))
    assert seen.output is not None
    assert seen.output["StatusCode"] == status


def test_the_old_asynchronous_operation(ask: Callable[..., list[Seen]]) -> None:
    assert same(ask("InvokeAsync", FunctionName=PY, InvokeArgs=b"{}")).output == {"Status": 202}


class OtherSecret(Key):
    @property
    def secret(self) -> str:
        return "another-secret-0123456789"


REFUSALS: dict[str, tuple[str, Key | None, dict[str, Any], tuple[str, int]]] = {
    "no function": ("Invoke", FULL, {"FunctionName": "nobody"}, ("ResourceNotFoundException", 404)),
    "no version": ("Invoke", FULL, {"FunctionName": PY, "Qualifier": "99"}, ("ResourceNotFoundException", 404)),
    "no alias": ("Invoke", FULL, {"FunctionName": f"{PY}:none"}, ("ResourceNotFoundException", 404)),
    "no JSON": ("Invoke", FULL, {"FunctionName": PY, "Payload": b"{"}, ("InvalidRequestContentException", 400)),
    "no UTF-8": ("Invoke", FULL, {"FunctionName": PY, "Payload": b'"\xff"'}, ("InvalidRequestContentException", 400)),
    "no JSON in an event": (
        "Invoke",
        FULL,
        {"FunctionName": PY, "Payload": b"{", "InvocationType": "Event"},
        ("InvalidRequestContentException", 400),
    ),
    "two qualifiers": (
        "Invoke",
        FULL,
        {"FunctionName": f"{PY}:prod", "Qualifier": "1"},
        ("InvalidParameterValueException", 400),
    ),
    "another region": (
        "Invoke",
        FULL,
        {"FunctionName": f"arn:aws:lambda:eu-west-1:{OWN}:function:{PY}"},
        ("ResourceNotFoundException", 404),
    ),
    "no function to try": (
        "Invoke",
        FULL,
        {"FunctionName": "nobody", "InvocationType": "DryRun"},
        ("ResourceNotFoundException", 404),
    ),
    "throttled": ("Invoke", FULL, {"FunctionName": LIMITED}, ("TooManyRequestsException", 429)),
    "a stream that is throttled": (
        "InvokeWithResponseStream",
        FULL,
        {"FunctionName": LIMITED},
        ("TooManyRequestsException", 429),
    ),
    "a stream of nobody": (
        "InvokeWithResponseStream",
        FULL,
        {"FunctionName": "nobody"},
        ("ResourceNotFoundException", 404),
    ),
    "denied": ("Invoke", NOBODY, {"FunctionName": PY}, ("AccessDeniedException", 403)),
    "denied another function": ("Invoke", INVOKER, {"FunctionName": PY}, ("AccessDeniedException", 403)),
    "a reader may not invoke": ("Invoke", READER, {"FunctionName": PY}, ("AccessDeniedException", 403)),
    "another account": ("Invoke", NEIGHBOUR, {"FunctionName": arn(PY)}, ("AccessDeniedException", 403)),
    "expired": ("Invoke", EXPIRED, {"FunctionName": PY}, ("ExpiredTokenException", 403)),
    "unknown key": ("Invoke", Key("unknown"), {"FunctionName": PY}, ("UnrecognizedClientException", 403)),
    "another secret": ("Invoke", OtherSecret("full"), {"FunctionName": PY}, ("InvalidSignatureException", 403)),
    "not signed": ("Invoke", None, {"FunctionName": PY}, ("MissingAuthenticationTokenException", 403)),
    "no configuration": (
        "GetFunctionEventInvokeConfig",
        FULL,
        {"FunctionName": PY},
        ("ResourceNotFoundException", 404),
    ),
    "no configuration to delete": (
        "DeleteFunctionEventInvokeConfig",
        FULL,
        {"FunctionName": JS},
        ("ResourceNotFoundException", 404),
    ),
    "nobody's recursion": (
        "GetFunctionRecursionConfig",
        FULL,
        {"FunctionName": "nobody"},
        ("ResourceNotFoundException", 404),
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals(ask: Callable[..., list[Seen]], case: str) -> None:
    operation, key, members, (code, status) = REFUSALS[case]
    seen = same(ask(operation, key, **members))
    assert seen.refusal is not None
    assert (seen.refusal[0], seen.refusal[2]) == (code, status)
    if case == "throttled":
        assert seen.refusal[3][0] == "ReservedFunctionConcurrentInvocationLimitExceeded"


def test_signed_for_another_region(ask: Callable[..., list[Seen]]) -> None:
    seen = same(ask("Invoke", FULL, region="eu-west-1", FunctionName=PY))
    assert seen.refusal is not None
    assert seen.refusal[0] == "InvalidSignatureException"


@pytest.mark.parametrize("key", [SESSION, LASTING], ids=lambda key: key.user)
def test_keys_with_a_session(ask: Callable[..., list[Seen]], key: Key) -> None:
    assert same(ask("Invoke", key, FunctionName=PY, Payload=b"7")).output is not None


# --- streams ---------------------------------------------------------------------------------------------------------


def test_a_stream(ask: Callable[..., list[Seen]]) -> None:
    payload = js({"do": "stream", "count": 3})
    seen = same(ask("InvokeWithResponseStream", FunctionName=PY, Payload=payload, LogType="Tail"))
    assert seen.output is not None
    assert seen.output["ExecutedVersion"] == "$LATEST"
    assert seen.events is not None
    assert seen.events[0] == b"piece 0;piece 1;piece 2;"


def test_a_large_stream(ask: Callable[..., list[Seen]]) -> None:
    payload = js({"do": "stream", "count": 40, "times": 40_000})
    seen = same(ask("InvokeWithResponseStream", FunctionName=PY, Payload=payload))
    assert seen.events is not None
    assert len(seen.events[0]) == (10 * 8 + 30 * 9) * 40_000


@pytest.mark.parametrize(
    ("name", "event"),
    [(PY, {"do": "stream", "count": 2, "fail": True}), (JS_STREAM, {"fail": True}), (PY, {"do": "fail"})],
)
def test_a_stream_that_fails(ask: Callable[..., list[Seen]], name: str, event: Any) -> None:
    seen = ask("InvokeWithResponseStream", FunctionName=name, Payload=js(event))
    for each in seen:
        assert each.events is not None
        complete = each.events[-1]["InvokeComplete"]
        assert complete["ErrorCode"] == "Unhandled"
        details = json.loads(complete.pop("ErrorDetails"))
        assert details["errorType"] in {"LookupError", "TypeError", "ValueError"}
    same(seen)


def test_a_binary_stream(ask: Callable[..., list[Seen]]) -> None:
    seen = same(ask("InvokeWithResponseStream", FunctionName=JS_STREAM, Payload=b"{}"))
    assert seen.events == [b"\x00\xff\x80end", {"InvokeComplete": {}}]


@BOTH_RUNTIMES
def test_a_stream_of_a_function_that_does_not_stream(ask: Callable[..., list[Seen]], name: str) -> None:
    seen = same(ask("InvokeWithResponseStream", FunctionName=f"{name}:prod", Payload=js("ä€")))
    assert seen.events is not None
    assert json.loads(seen.events[0]) == "ä€"


def test_a_stream_that_is_only_tried(ask: Callable[..., list[Seen]]) -> None:
    seen = same(ask("InvokeWithResponseStream", FunctionName=PY, InvocationType="DryRun"))
    assert (seen.output or {}).get("StatusCode") == 204
    assert seen.events == [b""]


# --- configurations --------------------------------------------------------------------------------------------------

QUEUE = f"arn:aws:sqs:us-east-1:{OWN}:queue"
SEQUENCE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("PutFunctionEventInvokeConfig", {"MaximumRetryAttempts": 1}),
    ("GetFunctionEventInvokeConfig", {}),
    ("PutFunctionEventInvokeConfig", {"Qualifier": "prod", "MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}),
    ("UpdateFunctionEventInvokeConfig", {"DestinationConfig": {"OnFailure": {"Destination": QUEUE}}}),
    ("UpdateFunctionEventInvokeConfig", {"Qualifier": "prod", "MaximumRetryAttempts": 2}),
    ("GetFunctionEventInvokeConfig", {"Qualifier": "prod"}),
    ("DeleteFunctionEventInvokeConfig", {"Qualifier": "prod"}),
    ("DeleteFunctionEventInvokeConfig", {}),
    ("GetFunctionEventInvokeConfig", {"Qualifier": "prod"}),
    ("ListFunctionEventInvokeConfigs", {}),
    ("GetFunctionRecursionConfig", {}),
    ("PutFunctionRecursionConfig", {"RecursiveLoop": "Allow"}),
    ("GetFunctionRecursionConfig", {}),
    ("PutFunctionRecursionConfig", {"RecursiveLoop": "Terminate"}),
)


def test_configurations(lab: RunningService) -> None:
    found = []
    for make in (Boto, lambda *given: Ours(Blocking, *given), lambda *given: Ours(Asynchronous, *given)):
        adapter: Any = make(lab.url, FULL)
        found.append([adapter.call(operation, {"FunctionName": JS, **members}) for operation, members in SEQUENCE])
        adapter.close()
    theirs, *ours = found
    for each in ours:
        for step, expected, seen in zip(SEQUENCE, theirs, each, strict=True):
            assert seen == expected, step
    assert [seen.refusal and seen.refusal[0] for seen in theirs] == [None] * 8 + [
        "ResourceNotFoundException",
        *[None] * 5,
    ]


def test_times_are_the_same(ask: Callable[..., list[Seen]], lab: RunningService) -> None:
    put = venturekit.client.PutFunctionEventInvokeConfigCommand(FunctionName=PY, MaximumRetryAttempts=0)
    ours = Blocking(lab.url, unsigned=False, credentials=Credentials(*FULL.triple))
    output = ours.send(put)
    boto = FULL.client(lab.url)
    assert output.LastModified == boto.get_function_event_invoke_config(FunctionName=PY)["LastModified"]
    listed = same(ask("ListFunctionEventInvokeConfigs", FunctionName=PY, MaxItems=1)).output
    assert [each["FunctionArn"] for each in (listed or {})["FunctionEventInvokeConfigs"]] == [arn(f"{PY}:$LATEST")]
    boto.delete_function_event_invoke_config(FunctionName=PY)
    boto.close()
    ours.close()
