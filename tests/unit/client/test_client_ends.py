"""Clients that end, or are given up, in the middle of things; and answers whose members are not what they should be."""

from __future__ import annotations

import asyncio
import enum
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.client.both_clients import BOTH, Blocking
from tests.unit.client.scripted_server import Peer, ScriptedServer
from venturekit.client import (
    AsyncLambdaClient,
    ClientClosedError,
    Credentials,
    GetFunctionCommand,
    GetFunctionEventInvokeConfigCommand,
    GetFunctionRecursionConfigCommand,
    InvokeCommand,
    LambdaClient,
    LambdaInvocationError,
    LambdaServiceException,
    ListFunctionEventInvokeConfigsCommand,
    MalformedAnswerError,
    ResponseMetadata,
    StreamError,
    ThrottledError,
)
from venturekit.client.commands import WireResponse
from venturekit.client.event_reading import EventReader
from venturekit.client.invocation import response_of
from venturekit.protocol.eventstream import encode_event

BOUND_SECONDS = 10.0


def always(peer: Peer) -> None:
    while True:
        peer.answer(b"7")


# --- closing ---------------------------------------------------------------------------------------------------------


def test_a_call_that_is_signed_while_its_client_is_closed_is_not_sent() -> None:
    def keys() -> Credentials:
        client.close()
        return Credentials("AKIDEXAMPLE", "secret")

    with ScriptedServer(always) as server:
        client = LambdaClient(endpoint_url=server.url, credentials=keys)
        with pytest.raises(ClientClosedError):
            client.invoke("f")
        assert (server.connections, len(client._connections._idle)) == (0, 0)


def test_calls_that_wait_for_a_connection_are_not_sent_when_the_client_is_closed() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        asked.set()
        assert go.wait(BOUND_SECONDS)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")
        peer.until_closed()

    asked, go = threading.Event(), threading.Event()
    with ScriptedServer(script) as server, ThreadPoolExecutor(4) as pool:
        client = LambdaClient(endpoint_url=server.url, unsigned=True, max_connections=1)
        first = pool.submit(client.invoke, "f")
        assert asked.wait(BOUND_SECONDS)
        others = [pool.submit(client.invoke, "f") for _ in range(3)]
        client.close()
        for each in others:
            with pytest.raises(ClientClosedError, match="Invoke"):
                each.result(BOUND_SECONDS)
        go.set()
        assert first.result(BOUND_SECONDS).bytes == b"7"
        server.join()
        assert (len(server.requests), server.seen_closed) == (1, [0])


def test_closing_ends_the_pause_before_another_attempt() -> None:
    seen = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer(
            b'{"message":"no"}', "x-amzn-ErrorType: TooManyRequestsException", "Retry-After: 19", status="429 No"
        )
        seen.set()
        peer.until_closed()

    async def main(url: str) -> None:
        client = AsyncLambdaClient(endpoint_url=url, unsigned=True)
        call = asyncio.create_task(client.invoke("f"))
        assert await asyncio.to_thread(seen.wait, BOUND_SECONDS)
        await client.aclose()
        async with asyncio.timeout(BOUND_SECONDS):
            with pytest.raises(ClientClosedError):
                await call

    with ScriptedServer(script) as server:
        asyncio.run(main(server.url))
        assert len(server.requests) == 1
        # The other client is asked the same.
        seen.clear()
        with ThreadPoolExecutor(1) as pool:
            client = LambdaClient(endpoint_url=server.url, unsigned=True)
            waiting = pool.submit(client.invoke, "f")
            assert seen.wait(BOUND_SECONDS)
            client.close()
            with pytest.raises(ClientClosedError):
                waiting.result(BOUND_SECONDS)
        assert len(server.requests) == 2


class Interrupted(BaseException):
    """What Ctrl-C raises, but of the test's own."""


@pytest.mark.parametrize("moment", ["sendall", "recv_into"])
def test_an_interrupted_call_leaves_nothing_to_the_next_one(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(socket.socket):
        def sendall(self, *arguments: Any) -> None:
            super().sendall(*arguments)
            interrupt("sendall")

        def recv_into(self, *arguments: Any) -> int:
            interrupt("recv_into")
            return super().recv_into(*arguments)

    def interrupt(now: str) -> None:
        # The server has its sockets of the same class.
        if now == moment and interruptions and threading.current_thread() is threading.main_thread():
            raise interruptions.pop()

    interruptions: list[BaseException] = []
    with ScriptedServer(always) as server:
        client = Blocking(server.url, max_connections=1, pool_timeout=0.1)
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", Interrupting)
            assert client.invoke("f").bytes == b"7"
        interruptions.append(Interrupted())
        with pytest.raises(Interrupted):
            client.invoke("f")
        assert client.taken() == 0
        assert client.invoke("f").bytes == b"7"
        assert server.connections == 2
        client.close()


def test_two_threads_do_not_read_one_stream() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        peer.until_closed()

    with ScriptedServer(script) as server, ThreadPoolExecutor(1) as pool:
        client = LambdaClient(endpoint_url=server.url, unsigned=True)
        stream = client.invoke_stream("f")
        reading = pool.submit(list, stream)
        while not stream._events._is_reading:
            threading.Event().wait(0.001)
        with pytest.raises(RuntimeError, match="another thread reads this stream"):
            next(stream)
        assert not reading.done()
        stream.close()
        assert reading.result(BOUND_SECONDS) == []
        client.close()


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (GetFunctionEventInvokeConfigCommand(FunctionName="f"), b'{"LastModified":"yesterday"}'),
        (GetFunctionEventInvokeConfigCommand(FunctionName="f"), b'{"LastModified":1e300}'),
        (GetFunctionEventInvokeConfigCommand(FunctionName="f"), b'{"DestinationConfig":"x"}'),
        (GetFunctionEventInvokeConfigCommand(FunctionName="f"), b'{"DestinationConfig":{"OnSuccess":7}}'),
        (ListFunctionEventInvokeConfigsCommand(FunctionName="f"), b'{"FunctionEventInvokeConfigs":7}'),
        (ListFunctionEventInvokeConfigsCommand(FunctionName="f"), b'{"FunctionEventInvokeConfigs":[7]}'),
        (GetFunctionCommand(FunctionName="f"), b'{"Configuration":[]}'),
    ],
)
def test_members_of_another_type(command: Any, body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match=f"the answer to {command.operation} is not what the API says: "):
        command.read(WireResponse(200, {}, body))


@pytest.mark.parametrize(
    "document", [b'{"ErrorCode":5}', b'{"ErrorCode":"x","ErrorDetails":{"a":1}}', b'{"LogResult":5}']
)
def test_a_last_event_that_holds_no_texts(document: bytes) -> None:
    with pytest.raises(StreamError, match="holds what is no text"):
        list(EventReader().feed(encode_event("InvokeComplete", document, "application/json")))


@pytest.mark.parametrize(
    ("error", "is_unknown"),
    [
        (LambdaServiceException("", code="X", status=503), True),
        (LambdaServiceException("", code="X", status=400), False),
        (ThrottledError("", status=503), False),
    ],
)
def test_whether_a_refused_request_may_have_been_carried_out(error: LambdaServiceException, is_unknown: bool) -> None:
    assert error.outcome_unknown is is_unknown


class Kind(str, enum.Enum):  # noqa: UP042 - its str() is what is tested
    """An enumeration of somebody else, whose ``str()`` is not its text."""

    Event = "Event"
    prod = "prod"


def test_enumerations_of_others_are_sent_as_their_texts() -> None:
    wire = InvokeCommand(FunctionName="f", InvocationType=Kind.Event, Qualifier=Kind.prod).wire()  # type: ignore[arg-type]
    assert (wire.headers["X-Amz-Invocation-Type"], wire.target.partition("?")[2]) == ("Event", "Qualifier=prod")


def test_a_function_that_says_anything_of_its_error() -> None:
    command = InvokeCommand(FunctionName="f")
    output = command.read(
        WireResponse(200, {"x-amz-function-error": "Unhandled"}, b'{"errorType":5,"errorMessage":[],"stackTrace":7}')
    )
    output.note(ResponseMetadata(None, 200, 1))
    with pytest.raises(LambdaInvocationError) as failed:
        response_of(output)
    assert (failed.value.error_type, failed.value.error_message, failed.value.stack_trace) == ("5", "[]", [])


@pytest.mark.parametrize("kind", BOTH)
def test_an_answer_of_another_type_is_asked_for_again(kind: Any) -> None:
    with ScriptedServer(lambda peer: [peer.answer(body) for body in (b'{"RecursiveLoop":[', b"{}")]) as server:
        client = kind(server.url)
        assert client.send(GetFunctionRecursionConfigCommand(FunctionName="f")).metadata.attempts == 2
        client.close()
