"""A Runtime API that takes several `next` at once: a test hands out each event and sees who answers it."""

from __future__ import annotations

import os
import socket
import subprocess
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.differential.scripted_api import SOURCE_ROOT, Request, read_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LIMIT_SECONDS = 30.0
DEADLINE_MS = 4_102_444_800_000


class ParkingRuntimeApi:
    """Serves any number of connections. Every wait ends with a TimeoutError after LIMIT_SECONDS."""

    def __init__(self, most_parked: int = 1600) -> None:
        self.statuses: dict[str, int] = {}
        """What is answered to the outcome of an invocation, where it is not 202."""
        self.next_refusals = 0
        """How many requests for a next event are still to be refused."""
        self.outcomes: dict[str, list[Request]] = {}
        self.init_errors: list[Request] = []
        self.refused_nexts = 0
        self.connections: set[socket.socket] = set()
        self._most_parked = most_parked
        self._parked: list[socket.socket] = []
        self._changed = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # A listener in accept() is woken by this alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._changed:
            for connection in self.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """Wait until `condition` is true of this API; what it gave."""
        with self._changed:
            if not self._changed.wait_for(condition, LIMIT_SECONDS):
                raise TimeoutError("the runtime did not do what it was waited for")
            return condition()

    def parked(self, count: int) -> None:
        """Wait until so many requests for an event wait."""
        self.wait_for(lambda: len(self._parked) >= count)

    def give(self, request_id: str, body: bytes = b"{}", headers: Mapping[str, str] | None = None) -> None:
        """Hand an event to who asked last; wait for somebody to ask."""
        self.wait_for(lambda: self._parked)
        with self._changed:
            connection = self._parked.pop()
        fields = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(DEADLINE_MS),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:shop",
            **(headers or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        connection.sendall(f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def outcome(self, request_id: str) -> Request:
        """The first answer to an invocation; wait for it."""
        found: list[Request] = self.wait_for(lambda: self.outcomes.get(request_id))
        return found[0]

    def drop_parked(self) -> int:
        """Close all connections on which somebody waits; how many they were."""
        with self._changed:
            parked, self._parked = self._parked, []
        for connection in parked:
            connection.shutdown(socket.SHUT_RDWR)
        return len(parked)

    def drop_idle(self) -> None:
        """Close all connections on which nobody waits."""
        with self._changed:
            for connection in self.connections.difference(self._parked):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self.connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                self._read_requests(connection, stream)
        except (OSError, ValueError):
            pass  # it ended in the middle of something
        finally:
            with self._changed:
                self.connections.discard(connection)
                if connection in self._parked:
                    self._parked.remove(connection)
                self._changed.notify_all()

    def _read_requests(self, connection: socket.socket, stream: IO[bytes]) -> None:
        while (request := read_request(stream)) is not None:
            with self._changed:
                status, text = self._take(connection, request)
                self._changed.notify_all()
            if status:
                body = text.encode()
                connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))

    def _take(self, connection: socket.socket, request: Request) -> tuple[int, str]:
        path = request.line.split()[1].removeprefix("/2018-06-01/runtime/")
        if path == "invocation/next":
            if self.next_refusals or len(self._parked) >= self._most_parked:
                self.next_refusals = max(0, self.next_refusals - 1)
                self.refused_nexts += 1
                return 500, '{"errorType":"InternalServerError","errorMessage":"too many"}'
            self._parked.append(connection)
            return 0, ""
        if path == "init/error":
            self.init_errors.append(request)
            return (202, "") if len(self.init_errors) == 1 else (403, "")
        request_id = path.split("/")[1]
        self.outcomes.setdefault(request_id, []).append(request)
        return self.statuses.get(request_id, 202), ""


class LogSocket:
    """What `_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET` names: keeps what each connection wrote."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._parts: list[bytearray] = []
        self._ended = 0
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def streams(self, condition: Callable[[list[str]], Any]) -> list[str]:
        """What was written so far, by connection, once `condition` is true of it."""

        def now() -> list[str]:
            return [part.decode() for part in self._parts]

        with self._changed:
            if not self._changed.wait_for(lambda: condition(now()), LIMIT_SECONDS):
                raise TimeoutError(f"the log holds {now()}")
            return now()

    def ended(self, count: int) -> list[str]:
        """What was written to so many connections, once they are closed."""
        return self.streams(lambda _found: self._ended == count)

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            part = bytearray()
            with self._changed:
                self._parts.append(part)
            threading.Thread(target=self._read, args=(connection, part), daemon=True).start()

    def _read(self, connection: socket.socket, part: bytearray) -> None:
        with connection:
            while data := connection.recv(65536):
                with self._changed:
                    part += data
                    self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()


class Pool:
    """A runtime interface client that serves several invocations at once, as a process."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        api: ParkingRuntimeApi,
        concurrency: int | str | None,
        log: LogSocket | None = None,
        *,
        takes_input: bool = False,
        **environ: str,
    ) -> None:
        variables = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": str(SOURCE_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(directory),
            "AWS_LAMBDA_RUNTIME_API": api.address,
            **({} if concurrency is None else {"AWS_LAMBDA_MAX_CONCURRENCY": str(concurrency)}),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/shop",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef",
            **({} if log is None else {"_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET": log.path}),
            **environ,
        }
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=variables,
            stdin=subprocess.PIPE if takes_input else subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Wait for the process to end by itself: its status and what it wrote."""
        stdout, stderr = self.process.communicate(timeout=LIMIT_SECONDS)
        return self.process.returncode, stdout.decode(), stderr.decode()

    def kill(self) -> tuple[str, str]:
        """End the process and all of its workers; what it wrote."""
        self.process.terminate()
        return self.end()[1:]


def asleep(pid: int) -> None:
    """Wait until a process waits in a system call: a signal that comes just before it would not end that."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} does not wait")
        os.sched_yield()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def write_function(directory: Path, source: str) -> None:
    """The function's module, fn.py."""
    (directory / "fn.py").write_text(textwrap.dedent(source))
