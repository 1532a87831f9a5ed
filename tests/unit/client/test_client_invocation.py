"""``invoke()`` without I/O: payloads and answers of every kind; and what large ones cost in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.both_clients import BOTH
from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.client import (
    AsyncLambdaClient,
    LambdaClient,
    LambdaInvocationError,
    ParameterValidationError,
    PayloadError,
    PayloadTooLargeError,
)
from venturekit.client.commands import ResponseMetadata
from venturekit.client.invocation import decoded_log, invoke_command, response_of, stream_command
from venturekit.client.invoke_commands import InvokeCommandOutput

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_BYTES = 6_291_456
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


def payload_of(value: Any) -> Any:
    return invoke_command("f", value, None, None, {}).get("Payload")


@given(values)
def test_a_value_is_sent_as_json(value: Any) -> None:
    payload = payload_of(value)
    if value is None:
        assert payload is None
    elif isinstance(value, str):
        assert payload == value
    else:
        assert isinstance(payload, bytes)
        assert json.loads(payload) == value


def test_half_a_character_is_sent_escaped() -> None:
    assert payload_of(["\ud800"]) == b'["\\ud800"]'
    with pytest.raises(ParameterValidationError, match="half a character"):
        payload_of("\ud800")


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [{1, 2}, object(), {"a": b"bytes"}, float("nan"), [float("inf")], nested, circular])
def test_what_is_no_json_is_not_sent(value: Any) -> None:
    with pytest.raises(PayloadError, match="Invoke: the payload is no JSON value: "):
        payload_of(value() if callable(value) else value)


@pytest.mark.parametrize("kind", [None, "Event", "stream"])
@pytest.mark.parametrize("make", [lambda n: b"x" * n, bytearray, lambda n: memoryview(bytes(n)), lambda n: "x" * n])
def test_the_limits_are_known_before_anything_is_sent(kind: str | None, make: Any) -> None:
    limit = 1_048_576 if kind == "Event" else LIMIT_BYTES

    def command(size: int) -> Any:
        if kind == "stream":
            return stream_command("f", make(size), {})
        return invoke_command("f", make(size), kind, None, {})  # type: ignore[arg-type]

    assert command(limit).wire().body is not None
    with pytest.raises(PayloadTooLargeError, match=f"the payload has {limit + 1} bytes, and .* takes {limit}"):
        command(limit + 1)


def test_the_limit_is_one_of_bytes() -> None:
    with pytest.raises(PayloadTooLargeError, match=f"{2 * LIMIT_BYTES} bytes"):
        payload_of("é" * LIMIT_BYTES)
    with pytest.raises(PayloadTooLargeError, match=f"{2 * LIMIT_BYTES + 2} bytes"):
        payload_of(["é" * (LIMIT_BYTES - 1)])


@pytest.mark.parametrize(
    "context", [{"custom": {"ä": 1}}, base64.b64encode('{"custom":{"ä":1}}'.encode()).decode()], ids=["mapping", "text"]
)
def test_the_client_context(context: Any) -> None:
    sent = invoke_command("f", None, None, None, {"client_context": context})["ClientContext"]
    assert json.loads(base64.b64decode(sent)) == {"custom": {"ä": 1}}


def test_a_client_context_that_is_too_long() -> None:
    with pytest.raises(ParameterValidationError, match=r"ClientContext has \d+ bytes of base64, and may have 3583"):
        invoke_command("f", None, None, None, {"client_context": {"custom": "x" * 2700}})


def output(body: bytes, **members: Any) -> InvokeCommandOutput:
    made = InvokeCommandOutput.of({"StatusCode": 200, "Payload": body, **members})
    made.note(ResponseMetadata("an-id", 200, 1))
    return made


@pytest.mark.parametrize(
    ("body", "text", "error_type"),
    [
        (b'{"errorType":"E","errorMessage":"m","stackTrace":["a"]}', "Unhandled: E: m", "E"),
        (b'{"errorMessage":"m"}', "Unhandled: m", None),
        (b"", "Unhandled", None),
        (b"null", "Unhandled: null", None),
        (b"\xff", "Unhandled: \ufffd", None),
        (b"[" * 200_000, "Unhandled: " + "[" * 200, None),
        (b'{"errorType":', 'Unhandled: {"errorType":', None),
    ],
    ids=range(7),
)
def test_a_function_that_has_failed(body: bytes, text: str, error_type: str | None) -> None:
    with pytest.raises(LambdaInvocationError) as failed:
        response_of(output(body, FunctionError="Unhandled"))
    assert (str(failed.value), failed.value.error_type) == (text, error_type)
    assert (failed.value.response.bytes, failed.value.response.request_id) == (body, "an-id")


@pytest.mark.parametrize(("log", "text"), [(None, None), ("bG9n", "log"), ("A", "A"), ("ä", "ä")])
def test_logs(log: str | None, text: str | None) -> None:
    assert decoded_log(log) == text


def test_answers() -> None:
    response = response_of(output('"ä"'.encode(), ExecutedVersion="7"))
    assert (response.payload, response.json(), response.executed_version) == ('"ä"', "ä", "7")
    assert response_of(output(b"")).json() is None
    assert repr(response_of(output(b"secret"))) == "InvocationResponse(status_code=200, 6 bytes)"
    with pytest.raises(ValueError, match="Expecting"):
        response_of(output(b"no")).json()


# --- on the wire -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=BOTH, ids=lambda kind: kind.kind)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_both_send_the_same(kind: Any) -> None:
    """All but the order of headers: what is signed, no more and no less."""
    with ScriptedServer(lambda peer: [peer.answer(b"7") for _ in range(2)]) as server:
        client = kind(f"{server.url}/base")
        client.invoke(
            "f:prod", {"a": "ä"}, log_type="Tail", qualifier="prod", tenant_id="t 1", invocation_type="DryRun"
        )
        client.invoke("f")
        client.close()
    first, second = server.requests
    assert first.target == "/base/2015-03-31/functions/f%3Aprod/invocations?Qualifier=prod"
    assert first.body == '{"a":"ä"}'.encode()
    expected = {
        *("host", "user-agent", "amz-sdk-request", "content-length", "content-type"),
        *("x-amz-log-type", "x-amz-tenant-id", "x-amz-invocation-type"),
    }
    assert set(first.headers) == expected
    assert first.headers["x-amz-tenant-id"] == "t 1"
    assert set(second.headers) == {"host", "user-agent", "amz-sdk-request", "content-length"}
    assert (second.body, second.headers["content-length"]) == (b"", "0")


# --- memory ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sink() -> Iterator[ScriptedServer]:
    """Drops what is sent to ``in``, answers 6 MB to ``out``; both without memory of their own worth a word."""
    body, buffer = bytes(LIMIT_BYTES), bytearray(65_536)

    def serve(peer: Peer) -> None:
        while True:
            request = peer.head()
            left = int(request.headers["content-length"]) - len(peer._received)
            peer._received = b""
            while left > 0:
                received = peer.socket.recv_into(buffer)
                if not received:
                    return
                left -= received
            peer.send(answer(b"7"))

    def serve_out(peer: Peer) -> None:
        if peer.number % 2:
            serve(peer)
            return
        head = answer(b"").replace(b"Length: 0", b"Length: %d" % LIMIT_BYTES)
        while True:
            peer.head()
            peer._received = b""
            peer.send(head, body)

    with ScriptedServer(serve_out) as server:
        yield server


def peak_of(work: Any) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_large_payloads_are_not_copied(sink: ScriptedServer) -> None:
    payload = bytes(LIMIT_BYTES)
    with (
        LambdaClient(endpoint_url=sink.url, unsigned=True) as out,
        LambdaClient(endpoint_url=sink.url, unsigned=True) as into,
    ):
        assert out.invoke("out").bytes == payload
        assert into.invoke("in", payload).bytes == b"7"
        assert peak_of(lambda: out.invoke("out")) <= 1.2 * LIMIT_BYTES
        # The payload itself was there before.
        assert peak_of(lambda: into.invoke("in", payload)) <= 0.2 * LIMIT_BYTES
        assert peak_of(lambda: into.invoke("in", memoryview(payload))) <= 0.2 * LIMIT_BYTES


def test_large_payloads_of_tasks(sink: ScriptedServer) -> None:
    """aiohttp gathers an answer in pieces, which are there beside the whole for a moment."""
    payload = bytes(LIMIT_BYTES)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with (
            AsyncLambdaClient(endpoint_url=sink.url, unsigned=True) as out,
            AsyncLambdaClient(endpoint_url=sink.url, unsigned=True) as into,
        ):
            assert (await out.invoke("out")).bytes == payload
            assert (await into.invoke("in", payload)).bytes == b"7"
            for client, given, most in ((out, None, 2.3), (into, payload, 0.2)):
                tracemalloc.start()
                before = tracemalloc.get_traced_memory()[0]
                await client.invoke("f", given)
                peak = tracemalloc.get_traced_memory()[1] - before
                tracemalloc.stop()
                assert peak <= most * LIMIT_BYTES
        assert loop.is_running()

    asyncio.run(main())
