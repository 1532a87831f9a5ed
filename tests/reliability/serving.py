"""``vk serve`` as a process, or a program in its place that breaks it in one point."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from tests.service.harness import FunctionSet, client_of, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

END_SECONDS = 30.0
VK = (sys.executable, "-m", "venturekit", "serve")


def serve_command(data_dir: Path, *options: str, program: Sequence[str] = VK) -> list[str]:
    """The command that serves this data directory on any free port."""
    return [*program, "--port", "0", "--data-dir", str(data_dir), *options]


class ServedProcess:
    """A service in a process of its own. Use it as a context: it ends with it.

    ``ready_at`` is when it was ready, in monotonic seconds. What it logs goes to a file beside the data directory, so
    that no full pipe can hold it up.
    """

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        program: Sequence[str] = VK,
        environ: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._said = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._ready_file = data_dir.with_name(f"{data_dir.name}.ready")
        self._ready_file.unlink(missing_ok=True)
        command = serve_command(data_dir, "--ready-file", str(self._ready_file), *options, program=program)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **(environ or {})}, **more
            )
        self.url = ""
        self.ready_at: float | None = None
        self._functions: FunctionSet | None = None

    def wait_ready(self) -> ServedProcess:
        """Wait until it serves. Raises AssertionError, with what it said, when it has ended instead."""
        assert self.becomes_ready(), f"status {self.process.poll()}: {self.complaint()}"
        return self

    def becomes_ready(self) -> bool:
        """Wait until it serves; False when it has ended instead."""
        until(lambda: self._ready_file.exists() or self.process.poll() is not None, "the service is ready")
        if not self._ready_file.exists():
            return False
        self.ready_at = time.monotonic()
        self.url = self._ready_file.read_text().strip()
        return True

    @property
    def functions(self) -> FunctionSet:
        """Its functions, through boto3."""
        if self._functions is None:
            self._functions = FunctionSet(self.url, client_of(self.url))
        return self._functions

    def complaint(self) -> str:
        """What it has logged."""
        return self.log_path.read_text()[self._said :]

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        self.process.wait(END_SECONDS)

    def __enter__(self) -> Self:
        return self.wait_ready()

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """In order, if it has not ended yet."""
        if self._functions is not None:
            self._functions.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(END_SECONDS)
