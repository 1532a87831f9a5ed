"""Streams and connections while things happen: chunks as they come, cancelling, closing, threads, forks, loops."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.client.both_clients import BOTH
from tests.unit.client.scripted_server import Peer, ScriptedServer, answer
from venturekit.client import (
    AsyncLambdaClient,
    ClientClosedError,
    ConnectionLostError,
    GetFunctionRecursionConfigCommand,
    LambdaClient,
    LambdaClientError,
    PoolError,
    StreamInvocationError,
    TransportError,
)
from venturekit.client.event_reading import EventReader
from venturekit.client.invoke_commands import InvokeWithResponseStreamCommand
from venturekit.protocol.eventstream import encode_event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

BOUND_SECONDS = 10.0
HEAD = b"HTTP/1.1 200 OK\r\nX-Amz-Executed-Version: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
COMPLETE = encode_event("InvokeComplete", b'{"LogResult":"bG9n"}', "application/json")
STREAM = InvokeWithResponseStreamCommand(FunctionName="f")


def chunk(text: bytes) -> bytes:
    return framed(encode_event("PayloadChunk", text, "application/octet-stream"))


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Gate:
    """A server whose streams go on, chunk by chunk, when a test lets them."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.server = ScriptedServer(self._serve)
        self.url = self.server.url

    def _serve(self, peer: Peer) -> None:
        request = peer.request()
        if "streaming" not in request.target:
            peer.send(answer(b"7"))
            self._serve(peer)
            return
        peer.send(HEAD, chunk(b"0;"))
        for number in range(1, 3):
            while not self.go.acquire(timeout=0.02):
                if self._is_left(peer):
                    peer.server.seen_closed.append(peer.number)
                    return
            peer.send(chunk(b"%d;" % number))
        peer.send(framed(COMPLETE), END)
        self._serve(peer)

    @staticmethod
    def _is_left(peer: Peer) -> bool:
        peer.socket.setblocking(False)
        try:
            return peer.socket.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        finally:
            peer.socket.settimeout(BOUND_SECONDS)

    def wait_left(self, *numbers: int) -> None:
        """Wait until the client has closed these connections."""
        deadline, never = time.monotonic() + BOUND_SECONDS, threading.Event()
        while set(self.server.seen_closed) < set(numbers):
            assert time.monotonic() < deadline, f"only {self.server.seen_closed} of {numbers} were closed"
            never.wait(0.005)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.server.close()
    assert made.server.failures == []


@pytest.fixture
def client(gate: Gate) -> Iterator[LambdaClient]:
    made = LambdaClient(endpoint_url=gate.url, unsigned=True, max_connections=1, pool_timeout=0.1)
    yield made
    made.close()


def usable(client: LambdaClient) -> bool:
    """Whether its one connection is free."""
    return client.invoke("f").bytes == b"7"


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 90), min_size=1, max_size=6))
def test_events_come_whole_in_whatever_pieces(chunks: list[bytes], sizes: list[int]) -> None:
    data = b"".join(encode_event("PayloadChunk", each, "application/octet-stream") for each in chunks) + COMPLETE
    reader, found, at, turn = EventReader(), [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        found += reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    reader.end()
    assert [event.PayloadChunk.Payload for event in found[:-1] if event.PayloadChunk] == chunks
    assert (found[-1].InvokeComplete, reader.is_complete) == ({"LogResult": "bG9n"}, True)


# --- the blocking client ---------------------------------------------------------------------------------------------


def test_chunks_come_as_they_are_written(gate: Gate, client: LambdaClient) -> None:
    with client.invoke_stream("f") as stream:
        assert (stream.status_code, stream.executed_version, stream.completion) == (200, "7", None)
        assert next(stream) == b"0;"
        for expected in (b"1;", b"2;"):
            gate.go.release()
            assert next(stream) == expected
        assert stream.log_result is None
        assert list(stream) == []
        assert (stream.completion, stream.log_result) == ({"LogResult": "bG9n"}, "log")
    assert next(stream, None) is None
    assert usable(client)
    assert gate.server.connections == 1


def by_close(client: LambdaClient) -> None:
    stream = client.invoke_stream("f")
    next(stream)
    stream.close()
    assert list(stream) == []


def by_leaving(client: LambdaClient) -> None:
    with client.invoke_stream("f") as stream:
        next(stream)


def by_break(client: LambdaClient) -> None:
    for each in client.invoke_stream("f"):
        assert each == b"0;"
        break


def by_dropping(client: LambdaClient) -> None:
    next(client.invoke_stream("f"))


def by_dropping_unread(client: LambdaClient) -> None:
    client.invoke_stream("f")


def by_exception(client: LambdaClient) -> None:
    with suppress(ZeroDivisionError), client.invoke_stream("f") as stream:
        next(stream)
        raise ZeroDivisionError


def by_dropping_events(client: LambdaClient) -> None:
    next(iter(client.send(STREAM).EventStream))


def by_closing_events(client: LambdaClient) -> None:
    with client.send(STREAM).EventStream as events:
        next(events)
    assert list(events) == []


def by_dropping_a_generator(client: LambdaClient) -> None:
    def chunks() -> Iterator[bytes]:
        with client.invoke_stream("f") as stream:
            yield from stream

    next(chunks())


WAYS = (
    by_close,
    by_leaving,
    by_break,
    by_dropping,
    by_dropping_unread,
    by_exception,
    by_dropping_events,
    by_closing_events,
    by_dropping_a_generator,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_whoever_leaves_ends_the_connection(gate: Gate, client: LambdaClient, way: Callable[..., None]) -> None:
    gc.disable()
    try:
        way(client)
        gate.wait_left(0)
        assert usable(client)
    finally:
        gc.enable()


def test_another_thread_closes_the_stream(gate: Gate, client: LambdaClient) -> None:
    stream = client.invoke_stream("f")
    assert next(stream) == b"0;"
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(list, stream)
        until_waiting(reading)
        stream.close()
        assert reading.result(BOUND_SECONDS) == []
    gate.wait_left(0)
    assert usable(client)


def until_waiting(reading: Any) -> None:
    """Whoever reads has begun; that it waits cannot be seen, so it is given a moment."""
    assert reading.running() or not reading.done()
    threading.Event().wait(0.05)


def test_closing_the_client_leaves_a_stream_to_its_reader(gate: Gate, client: LambdaClient) -> None:
    stream = client.invoke_stream("f")
    assert next(stream) == b"0;"
    client.close()
    gate.go.release(2)
    assert list(stream) == [b"1;", b"2;"]
    with pytest.raises(ClientClosedError):
        client.invoke("f")


def test_two_streams_at_once(gate: Gate) -> None:
    with LambdaClient(endpoint_url=gate.url, unsigned=True, max_connections=2, pool_timeout=0.1) as client:
        first, second = client.invoke_stream("f"), client.invoke_stream("f")
        assert (next(first), next(second)) == (b"0;", b"0;")
        with pytest.raises(PoolError, match=r"all 2 connections to .* were in use for 0.1 s"):
            client.invoke("f")
        gate.go.release(4)
        assert list(first) == list(second) == [b"1;", b"2;"]
        assert usable(client)
        assert gate.server.connections == 2


def test_a_function_that_fails_behind_its_chunks() -> None:
    details = b'{"ErrorCode":"Unhandled","ErrorDetails":"{\\"errorType\\":\\"E\\",\\"errorMessage\\":\\"m\\"}"}'
    failed = encode_event("InvokeComplete", details, "application/json")

    def serve(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.send(HEAD, chunk(b"0;"), framed(failed), END)

    with ScriptedServer(serve) as server, LambdaClient(endpoint_url=server.url, unsigned=True) as client:
        for _ in range(2):
            stream = client.invoke_stream("f")
            assert next(stream) == b"0;"
            with pytest.raises(StreamInvocationError, match="Unhandled: E: m") as raised:
                next(stream)
            assert raised.value.error_type == "E"
            assert next(stream, None) is None
        assert server.connections == 1


def test_threads_share_a_client(gate: Gate) -> None:
    with (
        LambdaClient(endpoint_url=gate.url, unsigned=True, max_connections=4) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(lambda _: client.invoke("f").bytes, range(300)))
        assert answers == [b"7"] * 300
        assert gate.server.connections <= 4
        assert client._connections._free.qsize() == 4


def test_a_fork_leaves_the_connections_of_its_parent_alone(gate: Gate) -> None:
    with LambdaClient(endpoint_url=gate.url, unsigned=True, max_connections=2) as client:
        assert usable(client)
        stream = client.invoke_stream("f")
        assert next(stream) == b"0;"
        stream.close()
        gate.wait_left(0)
        assert usable(client)
        stream = client.invoke_stream("f")
        assert next(stream) == b"0;"
        child = os.fork()
        if not child:
            status = 1
            try:
                # Ending the parent's stream would be the worst; then making use of its connection.
                stream.close()
                assert usable(client)
                assert client._connections._free.qsize() == 2
                client._connections.interrupt()
                status = 0
            except BaseException:
                # The child must not go on as a second test run.
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        gate.go.release(2)
        assert list(stream) == [b"1;", b"2;"]
        assert usable(client)


# --- the asynchronous client -----------------------------------------------------------------------------------------


def run(gate: Gate, work: Callable[[AsyncLambdaClient], Awaitable[None]], **options: Any) -> None:
    """Run it with a client that has one connection; afterwards it must be free, and no task may be left."""

    async def main() -> None:
        given: dict[str, Any] = {"max_connections": 1, "pool_timeout": 0.1, **options}
        async with AsyncLambdaClient(endpoint_url=gate.url, unsigned=True, **given) as client:
            async with asyncio.timeout(BOUND_SECONDS):
                await work(client)
                while client._transport._free._value < given["max_connections"]:
                    await asyncio.sleep(0.001)
                assert (await client.invoke("f")).bytes == b"7"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_chunks_come_as_they_are_written_to_tasks(gate: Gate) -> None:
    async def work(client: AsyncLambdaClient) -> None:
        stream = client.invoke_stream("f")
        assert stream.status_code == 0
        assert await anext(stream) == b"0;"
        assert (stream.status_code, stream.executed_version, stream.completion) == (200, "7", None)
        for expected in (b"1;", b"2;"):
            gate.go.release()
            assert await anext(stream) == expected
        assert [each async for each in stream] == []
        assert (stream.completion, stream.log_result) == ({"LogResult": "bG9n"}, "log")
        assert await anext(stream, None) is None

    run(gate, work)
    assert gate.server.connections == 1


async def by_aclose(client: AsyncLambdaClient) -> None:
    stream = client.invoke_stream("f")
    await anext(stream)
    await stream.aclose()
    assert [each async for each in stream] == []


async def by_async_with(client: AsyncLambdaClient) -> None:
    async with client.invoke_stream("f") as stream:
        assert await anext(stream) == b"0;"


async def by_async_break(client: AsyncLambdaClient) -> None:
    async for each in client.invoke_stream("f"):
        assert each == b"0;"
        break


async def by_async_dropping(client: AsyncLambdaClient) -> None:
    await client.send(STREAM)


async def by_cancelling(client: AsyncLambdaClient) -> None:
    async def read() -> None:
        async for _ in client.invoke_stream("f"):
            begun.set()

    begun = asyncio.Event()
    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def by_async_generator(client: AsyncLambdaClient) -> None:
    async def chunks() -> Any:
        async with client.invoke_stream("f") as stream:
            async for each in stream:
                yield each

    async with aclosing(chunks()) as found:
        await anext(found)


async def by_timeout(client: AsyncLambdaClient) -> None:
    async with client.invoke_stream("f") as stream:
        assert await anext(stream) == b"0;"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(stream)
        assert await anext(stream, None) is None
        assert stream.completion is None


async def by_another_task(client: AsyncLambdaClient) -> None:
    stream = client.invoke_stream("f")
    assert await anext(stream) == b"0;"
    reading = asyncio.create_task(anext(stream, None))
    await asyncio.sleep(0.02)
    with pytest.raises(RuntimeError, match="another task reads"):
        await anext(stream)
    await stream.aclose()
    assert await reading is None


ASYNC_WAYS = (
    by_aclose,
    by_async_with,
    by_async_break,
    by_async_dropping,
    by_cancelling,
    by_async_generator,
    by_timeout,
    by_another_task,
)


@pytest.mark.parametrize("way", ASYNC_WAYS, ids=lambda way: way.__name__)
def test_whoever_leaves_ends_the_connection_of_the_task(gate: Gate, way: Callable[..., Awaitable[None]]) -> None:
    async def work(client: AsyncLambdaClient) -> None:
        await way(client)
        await asyncio.to_thread(gate.wait_left, 0)

    gc.disable()
    try:
        run(gate, work)
    finally:
        gc.enable()


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("what", ["invoke", "stream", "command"])
def test_a_call_may_be_cancelled_at_every_turn_of_the_loop(gate: Gate, turns: int, what: str) -> None:
    async def call(client: AsyncLambdaClient) -> None:
        if what == "invoke":
            await client.invoke("f")
        elif what == "command":
            with suppress(LambdaClientError):
                await client.send(GetFunctionRecursionConfigCommand(FunctionName="f"))
        else:
            async with client.invoke_stream("f") as stream:
                await anext(stream)

    async def work(client: AsyncLambdaClient) -> None:
        for _ in range(2):
            calling = asyncio.create_task(call(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            calling.cancel()
            await asyncio.wait([calling])

    run(gate, work)


def test_many_tasks_and_few_connections(gate: Gate) -> None:
    async def work(client: AsyncLambdaClient) -> None:
        found = await asyncio.gather(*(client.invoke("f") for _ in range(200)))
        assert {response.bytes for response in found} == {b"7"}

    run(gate, work, max_connections=10, pool_timeout=BOUND_SECONDS)
    assert gate.server.connections <= 10


def test_no_connection_for_a_task(gate: Gate) -> None:
    async def work(client: AsyncLambdaClient) -> None:
        async with client.invoke_stream("f") as stream:
            await anext(stream)
            with pytest.raises(PoolError, match=r"all 1 connections to .* were in use for 0.1 s"):
                await client.invoke("f")

    run(gate, work)


def test_two_streams_of_tasks_at_once(gate: Gate) -> None:
    async def work(client: AsyncLambdaClient) -> None:
        async def collect() -> list[bytes]:
            return [each async for each in client.invoke_stream("f")]

        gate.go.release(4)
        assert await asyncio.gather(collect(), collect()) == [[b"0;", b"1;", b"2;"]] * 2

    run(gate, work, max_connections=2)


def test_closing_while_tasks_wait(gate: Gate) -> None:
    async def main() -> None:
        client = AsyncLambdaClient(endpoint_url=gate.url, unsigned=True, max_connections=1, pool_timeout=BOUND_SECONDS)
        stream = client.invoke_stream("f")
        await anext(stream)
        reading = asyncio.create_task(anext(stream))
        waiting = asyncio.create_task(client.invoke("f"))
        await asyncio.sleep(0.02)
        await client.aclose()
        async with asyncio.timeout(BOUND_SECONDS):
            with pytest.raises(TransportError):
                await reading
            with pytest.raises(ClientClosedError):
                await waiting
            with pytest.raises(ClientClosedError):
                await client.invoke("f")
        assert client._transport._session is None

    asyncio.run(main())
    gate.wait_left(0)


def test_closing_while_a_task_waits_for_its_answer() -> None:
    async def main(url: str) -> None:
        client = AsyncLambdaClient(endpoint_url=url, unsigned=True)
        calling = asyncio.create_task(client.invoke("f"))
        await asyncio.to_thread(asked.wait, BOUND_SECONDS)
        await client.aclose()
        async with asyncio.timeout(BOUND_SECONDS):
            with pytest.raises(ConnectionLostError):
                await calling

    def serve(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.until_closed()

    asked = threading.Event()
    with ScriptedServer(serve) as server:
        asyncio.run(main(server.url))


def test_a_stream_that_could_not_begin_is_not_begun_again() -> None:
    async def main(url: str) -> None:
        async with AsyncLambdaClient(endpoint_url=url, unsigned=True) as client:
            stream = client.invoke_stream("f")
            with pytest.raises(ConnectionLostError):
                await anext(stream)
            with pytest.raises(RuntimeError, match="could not be begun"):
                await anext(stream)

    with ScriptedServer(lambda peer: peer.request()) as server:
        asyncio.run(main(server.url))
        assert len(server.requests) == 1


def test_a_second_event_loop_is_refused(gate: Gate) -> None:
    client = AsyncLambdaClient(endpoint_url=gate.url, unsigned=True)

    async def call() -> bytes:
        return (await client.invoke("f")).bytes

    async def stream() -> None:
        await anext(client.invoke_stream("f"))

    assert asyncio.run(call()) == b"7"
    for again in (call, stream):
        with pytest.raises(LambdaClientError, match="belongs to the event loop of its first call"):
            asyncio.run(again())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        asyncio.run(client.aclose())
        gc.collect()


def test_a_client_may_be_made_outside_of_its_loop(gate: Gate) -> None:
    client = AsyncLambdaClient(endpoint_url=gate.url, unsigned=True)

    async def main() -> None:
        async with client:
            assert (await client.invoke("f")).bytes == b"7"

    asyncio.run(main())


@pytest.mark.parametrize("when", ["before the loop ends", "after the loop ended"])
def test_a_client_that_is_dropped_raises_nothing(gate: Gate, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", raised.append)

    async def main() -> Any:
        client = AsyncLambdaClient(endpoint_url=gate.url, unsigned=True)
        stream = client.invoke_stream("f")
        await anext(stream)
        if when == "before the loop ends":
            del client, stream
            gc.collect()
            await asyncio.sleep(0.01)
            return None
        return client, stream

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        kept = asyncio.run(main())
        del kept
        gc.collect()
    assert raised == []


@pytest.mark.parametrize("kind", BOTH, ids=lambda kind: kind.kind)
def test_the_events_by_their_names(gate: Gate, kind: Any) -> None:
    client = kind(gate.url)
    gate.go.release(2)
    events = client.events(STREAM)
    assert [event["PayloadChunk"]["Payload"] for event in events if "PayloadChunk" in event] == [b"0;", b"1;", b"2;"]
    assert events[-1].InvokeComplete.LogResult == "bG9n"
    client.close()
