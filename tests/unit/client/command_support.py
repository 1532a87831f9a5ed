"""A server that notes what it is sent, and what the tests of commands have in common."""

from __future__ import annotations

import socket
import threading
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.session import Session

from venturekit.client.commands import WireResponse
from venturekit.protocol.eventstream import encode_event

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.client.commands import Command

EVENT_STREAM = encode_event("InvokeComplete", b"{}", "application/json")


@cache
def model() -> Any:
    """botocore's model of the Lambda API."""
    return Session().get_service_model("lambda")


@cache
def data(kind: str) -> Any:
    """Other files of botocore about the Lambda API: ``waiters-2``, ``paginators-1``."""
    return Session().get_component("data_loader").load_service_model("lambda", kind, "2015-03-31")


class Sent(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Recorder:
    """Answers every request with 200 and ``{}``, or with an event stream where one is asked for."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(30)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Sent] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(30)
        self._listener.close()

    def take(self) -> Sent:
        """The one request that came since the last time."""
        [sent] = self.requests
        self.requests.clear()
        return sent

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(30)
                received = b""
                while b"\r\n\r\n" not in received:
                    if not (piece := connection.recv(65536)):
                        return
                    received += piece
                head, _, body = received.partition(b"\r\n\r\n")
                first, *lines = head.decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                while len(body) < int(headers.get("content-length", 0)):
                    body += connection.recv(65536)
                method, target, _ = first.split(" ")
                self.requests.append(Sent(method, target, headers, body))
                is_stream = "response-streaming" in target
                answer = EVENT_STREAM if is_stream else b"{}"
                kind = "application/vnd.amazon.eventstream" if is_stream else "application/json"
                connection.sendall(
                    f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n"
                    "Connection: close\r\n\r\n".encode()
                    + answer
                )


def json_answer(body: str | bytes, status: int = 200, **headers: str) -> WireResponse:
    return WireResponse(status, headers, body.encode() if isinstance(body, str) else body)


class Scripted:
    """Stands for ``send`` of a client: gives the next output, or raises the next error."""

    def __init__(self, *outcomes: Any) -> None:
        self.commands: list[Command[Any]] = []
        self._outcomes: Iterator[Any] = iter(outcomes)

    def __call__(self, command: Command[Any]) -> Any:
        self.commands.append(command)
        outcome = next(self._outcomes)
        if isinstance(outcome, BaseException):
            raise outcome
        return command.read(json_answer(outcome)) if isinstance(outcome, str) else outcome

    async def later(self, command: Command[Any]) -> Any:
        return self(command)

    @property
    def inputs(self) -> list[Mapping[str, Any]]:
        return [dict(command) for command in self.commands]
