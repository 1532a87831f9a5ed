"""A management API as a script says it: what it was sent, and how it answers each connection."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import unquote


class Posted(NamedTuple):
    """A request."""

    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def connection_id(self) -> str:
        return unquote(self.path.rpartition("/")[2])

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class ManagementServer:
    """``domain`` is where it listens. ``statuses[id]`` are the next answers for a connection, 200 without any."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.statuses: dict[str, list[int]] = {}
        # How many have to be there at once before any is answered; shows what runs concurrently.
        self.together: threading.Barrier | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                posted = Posted(self.path, body, {name.lower(): value for name, value in self.headers.items()})
                outer.posted.append(posted)
                if outer.together is not None:
                    outer.together.wait(10)
                statuses = outer.statuses.get(posted.connection_id)
                self.send_response(statuses.pop(0) if statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.domain = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def replies(self) -> list[tuple[str, Any]]:
        """Connection and message of each request."""
        return [(posted.connection_id, posted.data) for posted in self.posted]
