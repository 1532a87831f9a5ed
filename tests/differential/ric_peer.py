"""A Runtime API in the hands of a test, for one real process of our client."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

from tests.differential.scripted_api import SOURCE_ROOT

if TYPE_CHECKING:
    from pathlib import Path

EVENT = b"Lambda-Runtime-Aws-Request-Id: 1-2\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n"
NEXT = b"HTTP/1.1 200 OK\r\n" + EVENT + b"Content-Length: 3\r\n\r\n"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


def is_next(request: bytes) -> bool:
    return request.startswith(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n") and request.endswith(b"\r\n\r\n")


class Peer:
    """A Runtime API in the hands of a test: one connection at a time, byte by byte."""

    def __init__(self, directory: Path, source: str) -> None:
        (directory / "fn.py").write_text(textwrap.dedent(source))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(30)
        environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE_ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.listener.getsockname()[1]}",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "venturekit.ric", "fn.handler"],
            cwd=directory,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.connection = self.accept()

    def accept(self) -> socket.socket:
        self.connection, _address = self.listener.accept()
        self.connection.settimeout(30)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.connection

    def receive(self) -> bytes:
        return self.connection.recv(1 << 20)

    def end(self) -> tuple[int, str]:
        _stdout, stderr = self.process.communicate(timeout=30)
        return self.process.returncode, stderr.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)
        self.connection.close()
        self.listener.close()
