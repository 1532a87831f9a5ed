"""A Runtime API that plays a list of events to one real process and records everything that can be observed."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SOURCE_ROOT = Path(__file__).resolve().parents[2] / "src"
DEADLINE_MS = 4_102_444_800_000
"""The first second of 2100: far away, and small enough for AWS's client to count in nanoseconds."""
TIME_LIMIT_SECONDS = 60.0


@dataclass(frozen=True)
class Event:
    """One answer of invocation/next. A header of None is left out."""

    body: bytes = b"{}"
    headers: dict[str, str | None] = field(default_factory=dict)
    acknowledgement: bytes = b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
    acknowledgement_body: bytes = b'{"status":"OK"}\n'

    def to_bytes(self, number: int) -> bytes:
        headers: dict[str, str | None] = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": f"8476a536-e9f4-11e8-9739-2dfe598c{number:04d}",
            "Lambda-Runtime-Deadline-Ms": str(DEADLINE_MS),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:shop",
            **self.headers,
        }
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
        head = "HTTP/1.1 200 OK\r\n" + "".join(lines) + f"Content-Length: {len(self.body)}\r\n\r\n"
        return head.encode() + self.body

    def acknowledge(self) -> bytes:
        size = len(self.acknowledgement_body)
        return self.acknowledgement + b"Content-Length: %d\r\n\r\n" % size + self.acknowledgement_body


@dataclass(frozen=True)
class Request:
    """A request as it arrived: header names in lower case, trailers among the headers."""

    line: str
    headers: dict[str, str]
    body: bytes


class ScriptedRuntimeApi:
    """Serves any number of connections; `exhausted` is set when more events are asked for than there are."""

    def __init__(self, events: list[Event]) -> None:
        self.requests: list[Request] = []
        self.exhausted = threading.Event()
        self._events = events
        self._served = 0
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection.makefile("rb") as stream:
                while (request := read_request(stream)) is not None:
                    with self._lock:
                        self.requests.append(request)
                    answer = self._answer(request)
                    if answer is None:
                        return
                    connection.sendall(answer)
        except OSError:
            return

    def _answer(self, request: Request) -> bytes | None:
        if "/invocation/next" in request.line:
            if self._served >= len(self._events):
                self.exhausted.set()
                return None
            self._served += 1
            return self._events[self._served - 1].to_bytes(self._served)
        if "/restore/next" in request.line:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        current = self._events[max(0, self._served - 1)] if self._events else Event()
        return current.acknowledge()


def read_request(stream: IO[bytes]) -> Request | None:
    line = stream.readline().decode("latin-1").strip()
    if not line:
        return None
    headers = {}
    while (header := stream.readline().strip()) != b"":
        name, _colon, value = header.partition(b":")
        headers[name.decode("latin-1").lower()] = value.strip().decode("utf-8", "surrogateescape")
    if headers.get("transfer-encoding") != "chunked":
        return Request(line, headers, stream.read(int(headers.get("content-length", "0"))))
    body = b""
    while size := int(stream.readline(), 16):
        body += stream.read(size)
        stream.readline()
    while trailer := stream.readline().strip():
        name, _colon, value = trailer.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return Request(line, headers, body)


@dataclass(frozen=True)
class Observation:
    """Everything a process did that somebody outside can see, with what must differ between two runs made equal."""

    answers: list[dict[str, Any]]
    events_taken: int
    status: int | str
    """The exit status, or "waiting" for a process that asked for one event more than there were."""
    stdout: str
    stderr: str
    frames: list[tuple[str, str]]
    wire: list[Request]


def observe(
    module: str,
    directory: Path,
    handler: str,
    events: list[Event],
    environ: dict[str, str],
    framed: bool,
    interpreter: str,
) -> Observation:
    """Run `python -m module handler` in `directory` against a scripted Runtime API until it ends or waits for more."""
    api = ScriptedRuntimeApi(events)
    read_end, write_end = os.pipe()
    variables = _base_environ(api.address) | environ
    if framed:
        variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(write_end)
    process = subprocess.Popen(
        [interpreter, "-m", module, handler],
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[write_end] if framed else [],
    )
    os.close(write_end)
    collected = threading.Thread(target=_kill_when_exhausted, args=(api, process), daemon=True)
    collected.start()
    log = bytearray()
    reader = threading.Thread(target=_drain, args=(read_end, log), daemon=True)
    reader.start()
    stdout, stderr = process.communicate(timeout=TIME_LIMIT_SECONDS)
    waited = api.exhausted.is_set()
    api.exhausted.set()
    collected.join(TIME_LIMIT_SECONDS)
    reader.join(TIME_LIMIT_SECONDS)
    api.close()
    taken = sum("/invocation/next" in request.line for request in api.requests) - waited
    return Observation(
        answers=[_answer_of(request, api.address) for request in api.requests if request.line.startswith("POST")],
        events_taken=taken,
        status="waiting" if waited else process.returncode,
        stdout=normalised(stdout.decode("utf-8", "backslashreplace"), api.address),
        stderr=without_client_frames(normalised(stderr.decode("utf-8", "backslashreplace"), api.address)),
        frames=[(kind, normalised(text, api.address)) for kind, text in _frames(bytes(log))],
        wire=api.requests,
    )


def _base_environ(address: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": str(SOURCE_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_RUNTIME_API": address,
        "AWS_LAMBDA_FUNCTION_NAME": "shop",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/shop",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11",
    }


def _kill_when_exhausted(api: ScriptedRuntimeApi, process: subprocess.Popen[bytes]) -> None:
    api.exhausted.wait(TIME_LIMIT_SECONDS)
    process.kill()


def _drain(file_descriptor: int, into: bytearray) -> None:
    with open(file_descriptor, "rb") as stream:
        into += stream.read()


def _frames(log: bytes) -> list[tuple[str, str]]:
    frames = []
    while log:
        kind, length, _timestamp_us = struct.unpack(">IIQ", log[:16])
        frames.append((f"{kind:08x}", log[16 : 16 + length].decode()))
        log = log[16 + length :]
    return frames


def _answer_of(request: Request, address: str) -> dict[str, Any]:
    cause = request.headers.get("lambda-runtime-function-xray-error-cause")
    return {
        "path": request.line.split()[1],
        "content_type": request.headers.get("content-type"),
        "error_type": request.headers.get("lambda-runtime-function-error-type"),
        "invocation_id": request.headers.get("lambda-runtime-invocation-id"),
        "xray_cause": None if not cause else _cause_of(normalised(cause, address)),
        "body": normalised(request.body.decode("utf-8", "backslashreplace"), address),
    }


def _cause_of(text: str) -> dict[str, Any]:
    cause: dict[str, Any] = json.loads(text)
    cause["paths"].sort()
    for exception in cause["exceptions"]:
        # How many frames an endless recursion has depends on the depth it started from.
        exception["stack"] = [frame for frame, _same in itertools.groupby(exception["stack"])]
    return cause


def normalised(text: str, address: str) -> str:
    """`text` without times, ports, object addresses and the wording of the warning before an init error."""
    text = text.replace(address, "<api>")
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", "<time>", text)
    text = re.sub(r"(LAMBDA_WARNING: Unhandled exception\.)[^\r\"]*", r"\1 <text>", text)
    text = re.sub(r"(\[Previous line repeated )\d+( more times\])", r"\1many\2", text)
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "<address>", text)


def without_client_frames(text: str) -> str:
    """A traceback without the frames of either client and of what started it."""
    kept = []
    inside = False
    for line in text.splitlines(keepends=True):
        if line.startswith('  File "'):
            inside = bool(re.match(r'  File "(<frozen runpy>|.*/awslambdaric/|.*/venturekit/ric/)', line))
        elif not line.startswith("    "):
            inside = False
        if not inside:
            kept.append(line)
    return "".join(kept)
