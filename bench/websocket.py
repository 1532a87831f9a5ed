"""WebSocket APIs: what a connection takes of memory, a message to all of time, and a round trip through a function."""

from __future__ import annotations

import base64
import contextlib
import resource
import selectors
import socket
import statistics
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from rig import PYTHON_RUNTIME, ROOT, Measured, Service, Unavailable, archive, children, service

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTIONS = 5000
SENDERS = 32
BOUND_SECONDS = 30
SOURCE = """
def handler(event, context):
    where = event["requestContext"]
    return {"statusCode": 200, "body": where["connectionId"] + " " + event.get("body", "")}
"""
# The connections in a file of its own, as functions under vk have them; "ids" are noted, "domain" is written to.
FRAMEWORK_SOURCE = """
import asyncio, os, tempfile, time
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
from venturekit.runtime.ws import create_connection_store

store = create_connection_store(SqliteRecordStore(os.path.join(tempfile.mkdtemp(), "connections.db")))
runner = asyncio.Runner()

def handler(event, context):
    for identifier in event.get("ids", ()):
        store.save(identifier)
        store.authenticate(identifier, {"user_id": "bench"})
    if "domain" not in event:
        return None
    given = event["domain"], event["stage"], event["data"]
    begin = time.perf_counter()
    counts = runner.run(store.abroadcast(*given)) if event["waits"] else store.broadcast(*given)
    return {"seconds": time.perf_counter() - begin, "counts": list(counts)}
"""
FRAMEWORK_PARTS = ("protocol", "runtime", "transport")
IDS_AT_ONCE = 1000
KEY = base64.b64encode(bytes(16)).decode()
MESSAGE = b"x" * 100


def frame(data: bytes) -> bytes:
    """A text frame of a client, shorter than 126 bytes."""
    return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data


class Sockets:
    """A service with a WebSocket API, and its clients."""

    def __init__(
        self, stack: contextlib.ExitStack, *, connections: int = CONNECTIONS, samples: int, rounds: int
    ) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files < 2 * connections + 500:
            raise Unavailable(
                f"{connections:,} connections take {2 * connections + 500:,} open files, the limit is {files:,}"
            )
        self.connections = connections
        self.samples = samples
        self.rounds = rounds
        self.stack = stack
        self.running: Service = stack.enter_context(service())
        self.running.create("f", PYTHON_RUNTIME, "app.handler", archive({"app.py": (SOURCE.encode(), 0o644)}))
        self.running.wait_active("f")
        made = self.running.call(
            "PUT", "/_venturekit/websocket-apis/bench", {"routes": {"$default": "f"}, "routeResponses": ["$default"]}
        )
        parts = urlsplit(str(made["pathUrl"]))
        self.port = parts.port or 0
        self.path = parts.path
        self.first = self.connect()
        self.ids = [self.identify(self.first)]

    def connect(self) -> socket.socket:
        """One connection after its handshake."""
        made = self.stack.enter_context(socket.create_connection(("127.0.0.1", self.port), BOUND_SECONDS))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13")
        head = f"GET {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n" + "\r\n".join(lines) + "\r\n\r\n"
        made.sendall(head.encode())
        answer = made.recv(65536)
        if not answer.startswith(b"HTTP/1.1 101") or not answer.endswith(b"\r\n\r\n"):
            raise Unavailable(f"the handshake was answered with {answer[:200]!r}")
        return made

    def identify(self, client: socket.socket) -> str:
        """The id of a connection: its function tells it."""
        client.sendall(frame(b"who"))
        return client.recv(65536)[2:].decode().split()[0]

    @cached_property
    def front(self) -> int:
        """The process that holds the connections."""
        for pid in children(self.running.process.pid):
            if b"front/__main__.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise Unavailable("there is no front process")

    def rss_kb(self) -> float:
        """Resident memory of the front process, in kB (1,000 bytes)."""
        pages = int(Path(f"/proc/{self.front}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1000

    @cached_property
    def clients(self) -> tuple[list[socket.socket], float, float]:
        """All connections, what each took of memory (kB), and how many were made in a second."""
        before, begin = self.rss_kb(), time.perf_counter()
        made = [self.first, *(self.connect() for _ in range(self.connections - 1))]
        taken = time.perf_counter() - begin
        each = (self.rss_kb() - before) / (self.connections - 1)
        self.ids += [self.identify(client) for client in made[1:]]
        # A message has come from each: whatever that leaves is counted as well.
        each = max(each, (self.rss_kb() - before) / (self.connections - 1))
        return made, each, self.connections / taken

    def broadcast(self) -> float:
        """Seconds from the first post until every client has its message."""
        clients = self.clients[0]
        posts = [self._post(identifier) for identifier in self.ids]
        with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
            senders = []
            for _ in range(SENDERS):
                sender = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), BOUND_SECONDS))
                sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sender, selectors.EVENT_READ, True)
                senders.append(sender)
            for client in clients:
                selector.register(client, selectors.EVENT_READ, False)
            begin = time.perf_counter()
            for sender in senders:
                if posts:
                    sender.sendall(posts.pop())
            left, give_up = len(clients), time.monotonic() + BOUND_SECONDS
            while left:
                if time.monotonic() > give_up:
                    raise Unavailable(f"{left} of {len(clients)} clients got nothing in {BOUND_SECONDS} s")
                for key, _ in selector.select(1):
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not key.data:
                        if data[2:] != MESSAGE:
                            raise Unavailable(f"a client got {data[:100]!r}")
                        left -= 1
                    elif not data.startswith(b"HTTP/1.1 200"):
                        raise Unavailable(f"a post was answered with {data[:200]!r}")
                    elif posts:
                        key.fileobj.sendall(posts.pop())  # type: ignore[union-attr]
            return time.perf_counter() - begin

    @cached_property
    def framework(self) -> str:
        """The name of a function that has all connections in its store."""
        root = ROOT / "src"
        code = {"app.py": (FRAMEWORK_SOURCE.encode(), 0o644)}
        for path in (root / "venturekit" / "__init__.py", *(root / "venturekit").rglob("*.py")):
            parts = path.relative_to(root).parts
            if len(parts) == 2 or parts[1] in FRAMEWORK_PARTS:
                code["/".join(parts)] = (path.read_bytes(), 0o644)
        self.running.create("framework", PYTHON_RUNTIME, "app.handler", archive(code))
        self.running.wait_active("framework")
        for start in range(0, len(self.ids), IDS_AT_ONCE):
            self._invoke({"ids": self.ids[start : start + IDS_AT_ONCE]})
        return "framework"

    def framework_broadcast(self, *, waits: bool) -> float:
        """Seconds of a broadcast by the framework's store, within its function; every client has its message."""
        clients, name = self.clients[0], self.framework
        event = {"domain": f"127.0.0.1:{self.port}", "stage": "dev", "data": MESSAGE.decode(), "waits": waits}
        told = self._invoke(event)
        if told.get("counts") != [len(clients), 0, 0]:
            raise Unavailable(f"{name} answered {str(told)[:300]}, and there are {len(clients)} clients")
        for client in clients:
            if client.recv(65536)[2:] != MESSAGE:
                raise Unavailable("a client got something else")
        return float(told["seconds"])  # type: ignore[arg-type]

    def _invoke(self, event: object) -> dict[str, object]:
        return self.running.call("POST", "/2015-03-31/functions/framework/invocations", event) or {}

    def _post(self, identifier: str) -> bytes:
        path = f"{self.path}/@connections/{quote(identifier, safe='')}"
        credential = "AWS4-HMAC-SHA256 Credential=bench/20200101/us-east-1/execute-api/aws4_request, Signature=0"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: {credential}\r\n"
        return f"{head}Content-Length: {len(MESSAGE)}\r\n\r\n".encode() + MESSAGE

    def round_trips(self) -> Iterator[float]:
        """Microseconds from a message to the answer of its function."""
        sent = frame(b"round trip")
        for _ in range(self.samples):
            begin = time.perf_counter()
            self.first.sendall(sent)
            self.first.recv(65536)
            yield (time.perf_counter() - begin) * 1e6


def memory(sockets: Sockets) -> Measured:
    """What each connection takes of the front process's memory."""
    clients, each, rate = sockets.clients
    return Measured(each, f"{len(clients):,} connections, made one after the other at {rate:,.0f}/s; resident memory")


def broadcast(sockets: Sockets) -> Measured:
    """How long a message to all takes, posted one by one to @connections."""
    times = [sockets.broadcast() for _ in range(sockets.rounds + 1)][1:]
    return Measured(
        statistics.median(times),
        f"{len(sockets.ids):,} connections, {SENDERS} keep-alive senders; {min(times):.2f} to {max(times):.2f} s",
    )


def framework_broadcast(sockets: Sockets) -> Measured:
    """How long a message to all takes a function that sends it by ``connection_store.broadcast()``."""
    sockets.framework_broadcast(waits=False)
    times = [sockets.framework_broadcast(waits=False) for _ in range(sockets.rounds)]
    waited = statistics.median(sockets.framework_broadcast(waits=True) for _ in range(sockets.rounds))
    return Measured(
        statistics.median(times), f"{len(sockets.ids):,} connections, SQLite, 16 at once; abroadcast {waited:.2f} s"
    )


def round_trip(sockets: Sockets) -> Measured:
    """A message, its function, the answer."""
    direct = sockets.running.load("f", seconds=0.5).p50_us
    times = list(sockets.round_trips())
    return Measured(statistics.median(times), f"Python function; an invoke of it takes {direct:,.0f} us")
