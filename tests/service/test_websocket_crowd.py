"""Many connections of one API, reached through the framework's store: on a service that checks every signature."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.clients.client_support import Key, statement, write_keys
from tests.front.websocket_client import HANDSHAKE, TEXT, frame
from tests.service.framework_support import Project
from tests.service.harness import FunctionSet, RunningService, send, until
from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
from venturekit.runtime.ws import create_connection_store
from venturekit.testing import websocket_message_event

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = Key("full", (statement(["lambda:*", "venturekit:*", "execute-api:*"]),))
SOURCE = """
from venturekit.runtime.ws import auth_handler, connection_store, ws_handler, ws_routes

def cast(message, ctx):
    size, times = message["size"], message.get("times", 1)
    for number in range(times):
        counts = connection_store.broadcast(ctx.domain, ctx.stage, "x" * size)
        if counts.failed:
            break
    return {"counts": counts._asdict(), "number": number}

async def acast(message, ctx):
    counts = await connection_store.abroadcast(ctx.domain, ctx.stage, "x" * message["size"])
    return {"counts": counts._asdict()}

open_to_all = {"require_auth": False}
main = ws_routes({"auth": auth_handler(str), "cast": ws_handler(cast, **open_to_all)})
amain = ws_routes({"acast": ws_handler(acast, **open_to_all)})
"""


class Crowd:
    """The functions, their connections, and what is known of them."""

    def __init__(self, running: RunningService, folder: Path) -> None:
        self.running = running
        self.functions = FunctionSet(running.url, FULL.client(running.url))
        project = Project(self.functions, "crowd")
        given = {"variables": {"VENTURE_RECORDS_DIRECTORY": str(folder)}, "MemorySize": 512, "Timeout": 60}
        self.names = {
            "cast": project.function("ws", SOURCE, **given),
            "acast": project.function("aws", SOURCE, Handler="app.amain", **json.loads(json.dumps(given))),
        }
        document = {"routes": dict.fromkeys(("$connect", "$disconnect", "$default"), self.names["cast"])}
        body = json.dumps(document).encode()
        target = "/_venturekit/websocket-apis/crowd"
        self.api = send(running.url, "PUT", target, body, _signed(running.url + target, body)).json
        self.known = create_connection_store(SqliteRecordStore(folder / "crowd-dev-connections.db"))
        self._open: list[socket.socket] = []

    @property
    def count(self) -> int:
        return sum(1 for _ in self.known.get_all())

    @property
    def front(self) -> int:
        return int(self.running.health()["front"]["pid"])

    @property
    def port(self) -> int:
        return urlsplit(self.api["pathUrl"]).port or 0

    def join(self, count: int, *, receive_buffer: int = 0) -> list[socket.socket]:
        """So many connections, authenticated."""
        made = []
        for _ in range(count):
            client = socket.socket()
            if receive_buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            client.settimeout(20)
            client.connect(("127.0.0.1", self.port))
            parts = urlsplit(self.api["pathUrl"])
            lines = [f"GET {parts.path} HTTP/1.1", f"Host: {parts.netloc}", *(f"{n}: {v}" for n, v in HANDSHAKE)]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            made.append(client)
        self._open += made
        for client in made:
            assert client.recv(4096).startswith(b"HTTP/1.1 101")
            client.sendall(frame(TEXT, b'{"action": "auth", "token": "somebody"}'))
        for client in made:
            assert b'"success":true' in client.recv(4096)
        return made

    def cast(self, action: str, **message: Any) -> Any:
        """What a broadcast gives, asked for by an invocation and not by a message."""
        event = websocket_message_event({"action": action, **message}, connection_id="nobody")
        where = {"domainName": f"127.0.0.1:{self.port}", "apiId": self.api["apiId"], "stage": "dev"}
        event["requestContext"] |= where
        outcome = self.functions.invoke(self.names[action], event)
        assert outcome.error is None, outcome.raw
        assert outcome.value["statusCode"] == 200, outcome.log
        return json.loads(outcome.value["body"])

    def leave(self) -> None:
        for client in self._open:
            client.close()
        self._open.clear()
        until(lambda: self.count == 0, "all have left", pause_seconds=0.02)


def _signed(url: str, body: bytes) -> dict[str, str]:
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("PUT", url, data=body)
    SigV4Auth(Credentials(*FULL.triple), "lambda", "us-east-1").add_auth(request)
    return dict(request.headers)


@pytest.fixture(scope="module")
def made_crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("crowd")
    write_keys(folder / "keys.json", (FULL,))
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    yield Crowd(running, folder)
    running.close()


@pytest.fixture
def crowd(made_crowd: Crowd) -> Iterator[Crowd]:
    yield made_crowd
    made_crowd.leave()


def received(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += client.recv(size - len(data)) or pytest.fail("closed")
    return data


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.full)])
def test_a_broadcast_reaches_everybody_and_forgets_who_has_left(crowd: Crowd, count: int) -> None:
    clients = crowd.join(count)
    for action in ("cast", "acast"):
        assert crowd.cast(action, size=100)["counts"] == {"sent": count, "gone": 0, "failed": 0}
        for client in clients:
            assert received(client, 102) == b"\x81\x64" + b"x" * 100
    # All at once: each of them is told to $disconnect.
    for client in clients[count // 2 :]:
        client.close()
    until(lambda: crowd.count == count // 2, "half of them are gone", pause_seconds=0.02)
    assert crowd.cast("cast", size=100)["counts"]["sent"] == count // 2


def test_who_does_not_read_fails_alone(crowd: Crowd) -> None:
    readers = crowd.join(3)
    (deaf,) = crowd.join(1, receive_buffer=4096)
    read = [threading.Thread(target=_read, args=(client,), daemon=True) for client in readers]
    for thread in read:
        thread.start()
    told = crowd.cast("cast", size=120_000, times=200)
    assert told["counts"] == {"sent": 3, "gone": 0, "failed": 1}
    # It is not forgotten: it may read on.
    assert crowd.count == 4
    deaf.close()
    for client in readers:
        client.shutdown(socket.SHUT_RDWR)
    for thread in read:
        thread.join(20)


def _read(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(1 << 18):
            pass


def test_a_front_process_that_is_killed_while_a_function_posts(crowd: Crowd) -> None:
    crowd.join(50)
    # So that its connections to the front process are there.
    assert crowd.cast("cast", size=10)["counts"]["sent"] == 50
    front = crowd.front
    told: list[Any] = []
    caller = threading.Thread(target=lambda: told.append(crowd.cast("cast", size=10)))
    os.kill(front, signal.SIGSTOP)
    try:
        caller.start()
        until(lambda: _waiting(crowd.port) >= 2, "posts are under way")
    finally:
        os.kill(front, signal.SIGKILL)
    caller.join(20)
    counts = told[0]["counts"]
    # What was under way is not known to be gone; the next process knows of none of the others.
    assert counts["sent"] == 0
    assert counts["failed"] >= 2
    assert counts["gone"] + counts["failed"] == 50
    assert crowd.count == counts["failed"]
    assert crowd.cast("cast", size=10)["counts"] == {"sent": 0, "gone": counts["failed"], "failed": 0}
    assert crowd.count == 0
    assert crowd.front != front


def _waiting(port: int) -> int:
    """On how many connections to a port bytes wait for its process."""
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "01":
            found += int(fields[4].rpartition(":")[2], 16) > 0
    return found
