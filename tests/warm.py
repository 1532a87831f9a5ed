"""Runs commands in processes that ``warm_commands.py`` forks: no interpreter starts and nothing is imported."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NUMBER_BYTES = 20


def feed(descriptor: int, data: bytes) -> None:
    with suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(data)


def drain(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


class WarmCommand:
    """The program for ``vk`` or ``aws``. ``env`` are the variables it starts with."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"{name}-")
        self._path = f"{self._folder.name}/socket"
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("warm_commands.py")), name, self._path],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A Ctrl-C at the terminal is meant for the tests.
            start_new_session=True,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"
        self._pool = ThreadPoolExecutor(100)

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: bytes, seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Exit status, standard output and standard error of a command. Raises TimeoutError after ``seconds``."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(seconds)
            connection.connect(self._path)
            (in_read, in_write), (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe(), os.pipe()
            theirs = [in_read, out_write, err_write]
            socket.send_fds(connection, [request], theirs)
            for descriptor in theirs:
                os.close(descriptor)
            fed = self._pool.submit(feed, in_write, stdin)
            out, err = self._pool.submit(drain, out_read), self._pool.submit(drain, err_read)
            process = int(connection.recv(NUMBER_BYTES))
            try:
                status = int(connection.recv(NUMBER_BYTES))
                fed.result(seconds)
                return status, out.result(seconds), err.result(seconds)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
                raise

    def close(self) -> None:
        """End the program."""
        self._server.communicate()
        self._pool.shutdown()
        self._folder.cleanup()


@cache
def warm_command(name: str) -> WarmCommand:
    """The program of this process's tests; it ends with the process."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "VENTUREKIT_"))}
    warm = WarmCommand(name, kept)
    atexit.register(warm.close)
    return warm
