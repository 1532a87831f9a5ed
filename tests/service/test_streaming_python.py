"""Python functions that stream: what a handler may be, what it may write, and how it ends."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.harness import until
from tests.service.streaming_support import GATE, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.service.harness import FunctionSet, RunningService


@pytest.fixture
def streams(leak_free: FunctionSet) -> Iterator[Streams]:
    made = Streams(leak_free)
    yield made
    made.close()


OWN = """
class Three:
    number = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.number += 1
        if self.number > 3:
            raise StopIteration
        return str(self.number)
"""
ASYNC_OWN = (
    OWN.replace("__iter__", "__aiter__").replace("def __next__", "async def __anext__").replace("StopI", "StopAsyncI")
)
BOTH = "s = c.response_stream\n s.write('a')\n await s.awrite('b')\n s.write('c')"
THREAD = """
import threading

def handler(event, context):
    thread = threading.Thread(target=lambda: context.response_stream.write("t"))
    thread.start()
    thread.join()
"""

# --- handlers ---------------------------------------------------------------------------------------------------------

HANDLERS = {
    "a generator": ("def handler(e, c):\n yield b'one '\n yield 'tw\u00f6 '\n yield bytearray(b'3')", "one tw\u00f6 3"),
    "a memory view": ("def handler(e, c):\n yield memoryview(b'abcdef')[::2]", "ace"),
    "a view of numbers": ("import array\ndef handler(e, c):\n yield memoryview(array.array('H', [97]))", "a\0"),
    "empty pieces": ("def handler(e, c):\n yield b''\n yield ''\n yield 'x'\n yield b''", "x"),
    "an asynchronous generator": ("async def handler(e, c):\n yield 'a'\n await asyncio.sleep(0)\n yield b'b'", "ab"),
    "no piece at all": ("def handler(e, c):\n if e == 'never': yield", ""),
    "no asynchronous piece": ("async def handler(e, c):\n if e == 'never': yield", ""),
    "returns a generator": ("def handler(e, c):\n return (str(n) for n in range(3))", "012"),
    "returns an asynchronous generator": ("async def f():\n yield 'x'\ndef handler(e, c): return f()", "x"),
    "a coroutine with a generator": ("def f():\n yield 'x'\nasync def handler(e, c): return f()", "x"),
    "a coroutine with an asynchronous one": ("async def f():\n yield 'x'\nasync def handler(e, c): return f()", "x"),
    "returns an iterator": ("def handler(e, c): return map(str, range(3))", "012"),
    "returns a file": ("import io\ndef handler(e, c): return io.BytesIO(b'line\\nother')", "line\nother"),
    "returns an open file": ("def handler(e, c): return open('/proc/sys/kernel/ostype', 'rb')", "Linux\n"),
    "an iterator of one's own": (f"{OWN}\ndef handler(e, c): return Three()", "123"),
    "an asynchronous iterator": (f"{ASYNC_OWN}\ndef handler(e, c): return Three()", "123"),
    "an object": ("class H:\n def __call__(self, e, c):\n  yield 'called'\nhandler = H()", "called"),
    "an object with acall": ("class H:\n async def acall(self, e, c):\n  yield 'acall'\nhandler = H()", "acall"),
    "a partial": ("import functools\ndef f(x, e, c):\n yield x\nhandler = functools.partial(f, 'p')", "p"),
    "a wrapper": ("def log(f):\n return lambda e, c: f(e, c)\n@log\ndef handler(e, c):\n yield 'inner'", "inner"),
    "what a generator returns": ("def handler(e, c):\n yield 'x'\n return {'ignored': 1}", "x"),
    "a writer": ("def handler(e, c):\n s = c.response_stream\n assert s.write('ab') == 2\n s.write(b'c')", "abc"),
    "a writer, and a result": ("def handler(e, c):\n c.response_stream.write('w')\n return 'ignored'", "w"),
    "an asynchronous writer": ("async def handler(e, c):\n assert await c.response_stream.awrite('ab') == 2", "ab"),
    "both kinds of writing": (f"async def handler(e, c):\n {BOTH}", "abc"),
    "a writer and a generator": ("def handler(e, c):\n c.response_stream.write('w')\n yield 'y'", "wy"),
    "a print": ("def handler(e, c): print('x', 1, file=c.response_stream, flush=True)", "x 1\n"),
    "a table": ("import csv\ndef handler(e, c): csv.writer(c.response_stream).writerow([1, 2])", "1,2\r\n"),
    "a document": ("import json\ndef handler(e, c): json.dump({'a': [1]}, c.response_stream)", '{"a": [1]}'),
    "a copy": ("import io, shutil\ndef handler(e, c): shutil.copyfileobj(io.BytesIO(b'x'), c.response_stream)", "x"),
    "begun and not written": ("def handler(e, c): c.response_stream.flush()", ""),
    "ended early": ("def handler(e, c):\n s = c.response_stream\n s.write('x')\n s.close()\n s.close()", "x"),
    "ended at once": ("def handler(e, c): c.response_stream.close()", ""),
    "from a thread": (THREAD, "t"),
}


@pytest.mark.parametrize(("source", "expected"), HANDLERS.values(), ids=HANDLERS)
def test_a_handler_streams(functions: FunctionSet, source: str, expected: str) -> None:
    name = functions.create(GATE + source)
    for _ in range(2):
        answer = functions.client.invoke_with_response_stream(FunctionName=name, Payload=b"1")
        events = list(answer["EventStream"])
        assert events.pop() == {"InvokeComplete": {}}
        assert b"".join(event["PayloadChunk"]["Payload"] for event in events) == expected.encode()
        # To a caller who wants it in one piece it is one, and nothing of it is JSON.
        outcome = functions.invoke(name, 1)
        assert (outcome.error, outcome.raw) == (None, expected.encode())


@pytest.mark.parametrize(
    ("source", "raw"),
    [
        ("def handler(e, c):\n c.response_stream.content_type = 'text/html'\n return e", b"1"),
        ("def handler(e, c):\n c.response_stream.write('')\n return [e]", b"[1]"),
        ("def handler(e, c):\n c.response_stream.begin_http(404)\n return None", b"null"),
        ("def handler(e, c): return [str(c.response_stream.started), c.response_stream.closed]", b'["False", false]'),
        ("def handler(e, c): return ['a', 'b']", b'["a", "b"]'),
        ("def handler(e, c): return b'raw'", b"raw"),
    ],
)
def test_a_handler_that_writes_nothing_does_not_stream(functions: FunctionSet, source: str, raw: bytes) -> None:
    name = functions.create(source)
    for _ in range(2):
        outcome = functions.invoke(name, 1)
        assert (outcome.error, outcome.raw) == (None, raw)


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_the_first_piece_of_a_new_process(start_service: Callable[..., RunningService], start: str) -> None:
    running = start_service(python_start=start)
    functions = running.functions()
    name = functions.create("def handler(e, c):\n yield 'x'")
    assert functions.invoke(name).raw == b"x"


def test_awss_own_client_does_not_stream(start_service: Callable[..., RunningService]) -> None:
    functions = start_service(python_runtime="awslambdaric").functions()
    name = functions.create("def handler(e, c):\n yield 'x'")
    outcome = functions.invoke(name)
    assert outcome.error == "Unhandled"
    assert outcome.value["errorType"] == "Runtime.MarshalError"
    assert outcome.value["errorMessage"] == (
        "Unable to marshal response: Object of type generator is not JSON serializable"
    )


# --- the page ---------------------------------------------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[2] / "docs" / "streaming.md"
PRELUDE = b'{"statusCode":200,"headers":{"Content-Type":"text/html"},"cookies":["seen=1; Secure"]}' + bytes(8)
SHOWN = [
    b"0\n1\n2\n",
    b"0\n1\n2\n",
    b"0,0\r\n1,1\r\n2,4\r\n",
    PRELUDE + b"<h1>Counting</h1><p>0</p><p>1</p><p>2</p>",
]


def test_the_examples_of_the_page(functions: FunctionSet) -> None:
    client, *handlers = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for source, expected in zip(handlers, SHOWN, strict=True):
        assert functions.invoke(functions.create(source), {"to": 3}).raw == expected
    # The client of the page reads the first of them.
    functions.create(handlers[0], name="count")
    printed: list[Any] = []
    module = types.SimpleNamespace(client=lambda _service: functions.client)
    exec(client.replace("import boto3\n", ""), {"boto3": module, "print": printed.append})
    assert (b"".join(printed[:-1]), printed[-1]) == (b"0\n1\n2\n", {})


# --- as it comes ------------------------------------------------------------------------------------------------------

STEPS = {
    "generator": "def handler(port, c):\n for n in range(3):\n  yield str(n)\n  gate(port)",
    "asynchronous generator": "async def handler(port, c):\n for n in range(3):\n  yield str(n)\n  await agate(port)",
    "writer": "def handler(port, c):\n for n in range(3):\n  c.response_stream.write(str(n))\n  gate(port)",
    "asynchronous writer": (
        "async def handler(port, c):\n s = c.response_stream\n for n in range(3):\n"
        "  await s.awrite(str(n))\n  await agate(port)"
    ),
}


@pytest.mark.parametrize("source", STEPS.values(), ids=STEPS)
def test_every_piece_is_there_while_the_handler_waits(streams: Streams, source: str) -> None:
    _name, client = streams.of(source)
    events = client.events()
    for number in range(3):
        streams.gate.arrived()
        assert next(events).payload == b"%d" % number
        streams.gate.let_go()
    assert next(events).complete == {}


def test_the_head_is_there_before_a_piece(streams: Streams) -> None:
    source = """
def handler(port, context):
    context.response_stream.content_type = "text/event-stream"
    context.response_stream.flush()
    gate(port)
    yield "x"
"""
    _name, client = streams.of(source)
    assert client.read_head() == 200
    assert client.headers["x-venturekit-response-content-type"] == "text/event-stream"
    streams.gate.arrived()
    streams.gate.let_go()
    assert client.rest() == (b"x", {})


def test_a_stream_that_is_ended_early_lets_the_caller_go(streams: Streams) -> None:
    source = (
        "def handler(port, c):\n c.response_stream.write('all')\n c.response_stream.close()\n gate(port, 'still busy')"
    )
    name, client = streams.of(source)
    assert client.rest() == (b"all", {})
    assert streams.gate.arrived() == "still busy"
    streams.gate.let_go()
    client = streams.client(name, str(streams.gate.port).encode())
    assert client.rest() == (b"all", {})
    streams.gate.arrived()
    streams.gate.let_go()


def test_large_pieces_arrive_whole(streams: Streams) -> None:
    source = """
def handler(event, context):
    yield bytes(range(256)) * 80_000
    yield "x" * 5_000_000
    yield memoryview(bytearray(b"y" * 3_000_000))
"""
    expected = bytes(range(256)) * 80_000 + b"x" * 5_000_000 + b"y" * 3_000_000
    name, client = streams.of(source)
    payload, complete = client.rest()
    assert (payload == expected, complete) == (True, {})
    _name, client = streams.of(source.replace("def", "async def"))
    payload, complete = client.rest()
    assert (payload == expected, complete) == (True, {})
    assert streams.functions.invoke(name).value["errorType"] == "Function.ResponseSizeTooLarge"
    assert streams.again(name)[1] == {}


BIG = """
async def other(port):
    await agate(port, "ready")
    await agate(port, "alive")

async def handler(port, context):
    task = asyncio.ensure_future(other(port))
    {first}
    {second}
    await task
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("yield 'first'", "yield bytes(100_000_000)"),
        ("await context.response_stream.awrite('first')", "await context.response_stream.awrite(bytes(100_000_000))"),
    ],
    ids=["yielded", "written"],
)
def test_the_event_loop_goes_on_while_the_caller_does_not_read(
    streams: Streams, shared_service: RunningService, first: str, second: str
) -> None:
    _name, client = streams.of(BIG.format(first=first, second=second), MemorySize=1024)
    taken = client.take(5)
    assert taken.startswith(b"first")
    assert streams.gate.arrived() == "ready"
    # No buffer of a kernel holds the second piece: from here on it is stuck, until the caller reads.
    until(lambda: is_held_up(shared_service), "the runtime is held up")
    streams.gate.let_go()
    assert streams.gate.arrived() == "alive"
    streams.gate.let_go()
    payload, complete = client.rest()
    assert (len(taken) + len(payload), complete) == (100_000_005, {})


def is_held_up(running: RunningService) -> bool:
    def paused() -> bool:
        environments = running.service._host.environments.values()
        return any(each.reading_paused and each.body_paused for it in environments for each in it.listener.connections)

    return bool(running.do(paused))


def test_writers_at_the_same_time_do_not_mix_their_pieces(streams: Streams) -> None:
    source = """
async def handler(event, context):
    write = context.response_stream.awrite
    await asyncio.gather(*(write(letter * 3_000_000) for letter in (b"a", b"b", b"c", b"d")))
"""
    name, client = streams.of(source)
    for _ in range(2):
        payload, complete = client.rest()
        assert (payload == b"".join(letter * 3_000_000 for letter in (b"a", b"b", b"c", b"d")), complete) == (True, {})
        client = streams.client(name)
    client.rest()


def test_a_write_that_is_cancelled_leaves_the_stream_whole(streams: Streams, shared_service: RunningService) -> None:
    source = """
async def handler(port, context):
    stream = context.response_stream
    task = asyncio.ensure_future(stream.awrite(bytes(60_000_000)))
    await agate(port)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await stream.awrite("after ")
        stream.write("all")
"""
    _name, client = streams.of(source, MemorySize=1024)
    client.take(1)
    streams.gate.arrived()
    until(lambda: is_held_up(shared_service), "the runtime is held up")
    streams.gate.let_go()
    payload, complete = client.rest()
    assert complete == {}
    assert payload.endswith(b"\0after all")


def test_a_second_event_loop_writes_behind_what_the_first_one_left(
    streams: Streams, shared_service: RunningService
) -> None:
    source = """
async def first(stream, port):
    task = asyncio.ensure_future(stream.awrite(bytes(60_000_000)))
    await agate(port)
    task.cancel()

def handler(port, context):
    asyncio.run(first(context.response_stream, port))
    asyncio.run(context.response_stream.awrite("second"))
"""
    _name, client = streams.of(source, MemorySize=1024)
    client.take(1)
    streams.gate.arrived()
    until(lambda: is_held_up(shared_service), "the runtime is held up")
    streams.gate.let_go()
    payload, complete = client.rest()
    assert complete == {}
    assert payload.endswith(b"\0second")
