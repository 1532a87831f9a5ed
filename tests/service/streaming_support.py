"""A runtime in the hands of a test, byte by byte, and clients that read a stream as far as the test lets them.

The runtime is a real custom runtime, a process of the service. It does nothing by itself: the test tells it over a
connection of its own what to do, and has its answer before it goes on. So what a client gets is proven to have come
before the runtime sent more.
"""

from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from botocore.eventstream import EventStreamBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service.harness import FunctionSet

BOUND_SECONDS = 20.0
ERROR = "Lambda-Runtime-Function-Error-"
MODE = "Lambda-Runtime-Function-Response-Mode: streaming"
TWO_LINES = (f"Trailer: {ERROR}Type", f"Trailer: {ERROR}Body")
ONE_LIST = (f"Trailer: {ERROR}Type, {ERROR}Body",)

BOOTSTRAP = """#!/usr/bin/env python3
import base64, json, os, select, signal, socket, sys

ADDRESS = os.environ["AWS_LAMBDA_RUNTIME_API"]
INVOCATION = "/2018-06-01/runtime/invocation/"
ERROR = "Lambda-Runtime-Function-Error-"
pid = os.getpid()

class Api:
    def __init__(self):
        host, port = ADDRESS.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.socket.makefile("rb")
        self.owed = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return "sent"

    def head(self, method, target, *fields):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {ADDRESS}", *fields, "", ""]
        return self.send("\\r\\n".join(lines))

    def answer(self):
        line = self.stream.readline()
        if not line:
            return [0, "closed"]
        size = 0
        while (field := self.stream.readline().strip().lower()):
            if field.startswith(b"content-length:"):
                size = int(field[15:])
        return [int(line.split()[1]), self.stream.read(size).decode("latin-1")]

    def ask(self):
        return self.head("GET", INVOCATION + "next")

    def event(self):
        global request_id, own
        line = self.stream.readline()
        assert b" 200 " in line, line
        size = 0
        while (field := self.stream.readline().strip()):
            name, _, value = field.decode().partition(": ")
            if name.lower() == "content-length":
                size = int(value)
            elif name.lower() == "lambda-runtime-aws-request-id":
                request_id, own = value, INVOCATION + value
        return self.stream.read(size).decode()

    def next(self):
        self.ask()
        return self.event()

    def begin(self, *fields):
        return self.head("POST", own + "/response", "Transfer-Encoding: chunked", *fields)

    def piece(self, data):
        data = data if isinstance(data, bytes) else data.encode()
        return self.send(b"%x\\r\\n%b\\r\\n" % (len(data), data))

    def end(self, *trailers):
        return self.send("0\\r\\n" + "".join(f"{line}\\r\\n" for line in trailers) + "\\r\\n")

    def post(self, action, body="", *fields):
        self.head("POST", own + action, f"Content-Length: {len(body)}", *fields)
        self.send(body)
        return self.answer()

    def push(self, size):
        # What the kernel takes of so many bytes, without waiting.
        taken = 0
        block = bytes(65536)
        while taken < size:
            try:
                taken += self.socket.send(block[: size - taken], socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
        return taken

    def close(self):
        self.stream.close()
        self.socket.close()

def trailing(kind, body, prefix=ERROR):
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    return f"{prefix}Type: {kind}", f"{prefix}Body: {encoded}"

control = socket.create_connection(("127.0.0.1", int(os.environ["CONTROL_PORT"])))
orders = control.makefile("r")
control.sendall(json.dumps(pid).encode() + b"\\n")
api = Api()
for order in orders:
    try:
        done = [True, eval(json.loads(order))]
    except Exception as error:
        done = [False, repr(error)]
    control.sendall(json.dumps(done, default=str).encode() + b"\\n")
"""


class Puppet:
    """One process of the runtime. ``do`` runs an expression in it; its names are those of the bootstrap."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(BOUND_SECONDS)
        self._socket = connection
        self._answers = connection.makefile("r")
        self.pid: int = json.loads(self._answers.readline())

    def do(self, expression: str) -> Any:
        """The value of an expression. Raises AssertionError for what it raises there."""
        self.start(expression)
        return self.finish()

    def start(self, expression: str) -> None:
        """Let it run; :meth:`finish` takes its value."""
        self._socket.sendall(json.dumps(expression).encode() + b"\n")

    def finish(self) -> Any:
        line = self._answers.readline()
        assert line, "the runtime has ended"
        good, value = json.loads(line)
        assert good, value
        return value

    def close(self) -> None:
        """Let the process end in good order."""
        self._answers.close()
        self._socket.close()


class Puppets:
    """Functions whose runtimes the test plays."""

    def __init__(self, functions: FunctionSet) -> None:
        self.functions = functions
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(BOUND_SECONDS)
        self._made: list[Puppet] = []
        self._clients: list[StreamClient] = []
        self._pool = ThreadPoolExecutor(8)

    def create(self, **members: Any) -> str:
        """A function whose processes connect to this test when they start."""
        variables = {"CONTROL_PORT": str(self._listener.getsockname()[1])}
        given = {"Timeout": 60, "Environment": {"Variables": variables}, **members}
        return self.functions.bootstrap(BOOTSTRAP, **given)

    def started(self) -> Puppet:
        """The next process that has started."""
        connection, _address = self._listener.accept()
        self._made.append(Puppet(connection))
        return self._made[-1]

    def apart(self, work: Any, *arguments: Any, **members: Any) -> Future[Any]:
        """Call something in a thread."""
        return self._pool.submit(work, *arguments, **members)

    def invoked(self, body: bytes = b"{}", **fields: str) -> tuple[str, StreamClient, Puppet]:
        """A new function, a client that has invoked it, and the runtime, which has the event."""
        name = self.create()
        client = self.client(name, body, **fields)
        runtime = self.started()
        assert runtime.do("api.next()") == body.decode()
        return name, client, runtime

    def client(self, name: str, body: bytes = b"{}", **fields: str) -> StreamClient:
        """Invoke a function on a connection whose reading is the test's."""
        self._clients.append(StreamClient(self.functions.url, name, body, fields))
        return self._clients[-1]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        for puppet in self._made:
            puppet.close()
        self._listener.close()
        self._pool.shutdown()


@dataclass(frozen=True)
class Event:
    """An event of a stream: its type and payload."""

    kind: str
    payload: bytes

    @property
    def complete(self) -> Any:
        assert self.kind == "InvokeComplete"
        return json.loads(self.payload)


class StreamClient:
    """InvokeWithResponseStream by hand: nothing is read before the test asks for it."""

    def __init__(self, url: str, name: str, body: bytes = b"{}", fields: dict[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port or 0), timeout=BOUND_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        target = f"/2021-11-15/functions/{quote(name, safe='')}/response-streaming-invocations"
        given = {"Host": parts.netloc, "X-Amz-Client": "test", "Content-Length": str(len(body)), **(fields or {})}
        lines = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in given.items())
        self.socket.sendall(f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        self.headers: dict[str, str] = {}
        self.status = 0
        self._buffer = b""
        self._events = EventStreamBuffer()

    def read_head(self) -> int:
        """Read status and headers. Returns the status."""
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return self.status

    def events(self) -> Iterator[Event]:
        """Each event as it comes, read no further than needed; ends with the answer."""
        if not self.status:
            self.read_head()
        for chunk in self._chunks():
            self._events.add_data(chunk)
            for message in self._events:
                yield Event(message.headers[":event-type"], message.payload)

    def take(self, size: int) -> bytes:
        """The payload until so many bytes of it have come."""
        taken = b""
        for event in self.events():
            taken += event.payload
            if len(taken) >= size:
                return taken
        raise AssertionError(f"the stream ended after {len(taken)} bytes of {size}")

    def rest(self) -> tuple[bytes, Any]:
        """What is left of the payload, and what InvokeComplete holds."""
        *chunks, last = self.events()
        assert all(event.kind == "PayloadChunk" for event in chunks)
        return b"".join(event.payload for event in chunks), last.complete

    def _chunks(self) -> Iterator[bytes]:
        length = self.headers.get("content-length")
        if length is not None:
            while len(self._buffer) < int(length):
                self._receive()
            whole, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
            yield whole
            return
        while True:
            while b"\r\n" not in self._buffer:
                self._receive()
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            size = int(line, 16)
            while len(self._buffer) < size + 2:
                self._receive()
            chunk, end, self._buffer = self._buffer[:size], self._buffer[size : size + 2], self._buffer[size + 2 :]
            assert end == b"\r\n"
            if not size:
                return
            yield chunk

    def _receive(self) -> None:
        data = self.socket.recv(262_144)
        if not data:
            raise EOFError("the service closed the connection")
        self._buffer += data

    def close(self) -> None:
        with suppress(OSError):
            self.socket.close()


def boto_events(answer: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The events of boto3's answer, each as its kind and its value, as they come."""
    for event in answer["EventStream"]:
        ((kind, value),) = event.items()
        yield kind, value["Payload"] if kind == "PayloadChunk" else value


class Gate:
    """Lets a handler wait for the test: it connects, the test sees that and lets it go on."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(BOUND_SECONDS)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]

    def arrived(self) -> str:
        """Wait until the handler is at the gate, and let it stand there. Returns what it says."""
        connection, _address = self._listener.accept()
        connection.settimeout(BOUND_SECONDS)
        self._open.append(connection)
        return connection.makefile("r").readline().strip()

    def let_go(self) -> None:
        """The handler that came first goes on."""
        self._open.pop(0).close()

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._listener.close()


GATE = """
import asyncio, socket

def gate(port, word=""):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(word.encode() + b"\\n")
        connection.recv(1)

async def agate(port, word=""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(word.encode() + b"\\n")
    await reader.read(1)
    writer.close()
"""


class Streams(Puppets):
    """Functions of a test, its clients, and a gate for handlers."""

    def __init__(self, functions: FunctionSet) -> None:
        super().__init__(functions)
        self.gate = Gate()

    def of(self, source: str, event: Any = None, **members: Any) -> tuple[str, StreamClient]:
        """A new function and a client that has invoked it."""
        name = self.functions.create(GATE + source, **members)
        return name, self.client(name, json.dumps(self.gate.port if event is None else event).encode())

    def again(self, name: str, event: Any = None) -> tuple[bytes, Any]:
        return self.client(name, json.dumps(event).encode()).rest()

    def close(self) -> None:
        super().close()
        self.gate.close()
