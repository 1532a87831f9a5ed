"""Clients that send asynchronous invocations by hand, as fast as they are accepted, and write down every 202."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECEIVE_SECONDS = 30.0


@dataclass(frozen=True)
class PlannedEvent:
    """An event to be sent. ``kind`` says what its function will do."""

    number: int
    kind: str
    function: str

    def request(self) -> bytes:
        """The whole request of an asynchronous invocation."""
        body = json.dumps({"n": self.number, "kind": self.kind}).encode()
        return (
            b"POST /2015-03-31/functions/%b/invocations HTTP/1.1\r\nHost: localhost\r\nX-Amz-Client: test\r\n"
            b"X-Amz-Invocation-Type: Event\r\nContent-Length: %d\r\n\r\n%b" % (self.function.encode(), len(body), body)
        )


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the request id of the event."""

    status: int
    request_id: str
    body: bytes


class Ledger:
    """A file with one line for each acknowledged event: ``request id, number, kind, function``.

    A line counts only after it was synchronised; as many as wait are synchronised together.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._changed = threading.Condition()
        self._pending: list[str] = []
        self._closed = False
        self.count = 0
        self._thread = threading.Thread(target=self._synchronise, name="ledger", daemon=True)
        self._thread.start()

    def add(self, answer: Answer, event: PlannedEvent) -> None:
        """Write down that this event was acknowledged."""
        with self._changed:
            self._pending.append(f"{answer.request_id} {event.number} {event.kind} {event.function}\n")
            self._changed.notify_all()

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until so many lines are on disk; False if that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, seconds)

    def close(self) -> None:
        """Write what is pending and end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(RECEIVE_SECONDS)
        os.close(self._descriptor)

    def _synchronise(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closed)
                group, self._pending = self._pending, []
            if not group:
                return
            os.write(self._descriptor, "".join(group).encode())
            os.fdatasync(self._descriptor)
            with self._changed:
                self.count += len(group)
                self._changed.notify_all()


class EventConnection:
    """One keep-alive connection."""

    def __init__(self, url: str, timeout: float = RECEIVE_SECONDS) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, event: PlannedEvent) -> Answer:
        """Send an event and read the whole answer. Raises OSError when the connection breaks."""
        self._socket.sendall(event.request())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        headers = {name.lower(): value for name, value in fields.items()}
        while len(body) < int(headers.get(b"content-length", b"0")):
            body += self._more()
        return Answer(int(head[9:12]), headers.get(b"x-amzn-requestid", b"").decode(), body)

    def _more(self) -> bytes:
        piece = self._socket.recv(65_536)
        if not piece:
            raise ConnectionResetError("the service closed the connection")
        return piece

    def close(self) -> None:
        self._socket.close()


class Flow:
    """Clients, each a thread with a connection, that send the events of a plan until it ends or the service does.

    ``refused`` are the answers other than 202.
    """

    def __init__(self, url: str, plan: Iterator[PlannedEvent], ledger: Ledger, clients: int) -> None:
        self._url = url
        self._plan = plan
        self._ledger = ledger
        self._lock = threading.Lock()
        self.refused: list[Answer] = []
        self._threads = [threading.Thread(target=self._run, name="client", daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until every client has ended."""
        for thread in self._threads:
            thread.join(2 * RECEIVE_SECONDS)
            assert not thread.is_alive(), "a client waits for an answer that does not come"

    def _run(self) -> None:
        # A broken connection is how a killed service looks like.
        with suppress(OSError):
            connection = EventConnection(self._url)
            try:
                while (event := self._next()) is not None:
                    answer = connection.send(event)
                    if answer.status == 202:
                        self._ledger.add(answer, event)
                    else:
                        with self._lock:
                            self.refused.append(answer)
            finally:
                connection.close()

    def _next(self) -> PlannedEvent | None:
        with self._lock:
            return next(self._plan, None)
