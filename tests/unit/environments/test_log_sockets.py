"""The socket on which workers write their logs."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.service.environments import log_sockets
from venturekit.service.environments.log_sockets import LogSocket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run(scenario: Callable[[LogSocket, list[bytes]], Any], own_tmp: Path | None = None) -> list[bytes]:
    """The lines that a scenario has written, its socket closed."""
    lines: list[bytes] = []

    async def body() -> None:
        opened = LogSocket(asyncio.get_running_loop(), lines.append, lambda: None, own_tmp)
        await scenario(opened, lines)
        opened.close()

    asyncio.run(asyncio.wait_for(body(), 20))
    return lines


def connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_lines_come_by_themselves_and_the_rest_at_the_end() -> None:
    async def scenario(opened: LogSocket, lines: list[bytes]) -> None:
        one, two = connected(opened.shown_path), connected(opened.shown_path)
        one.sendall(b"a\nhalf")
        await until(lambda: lines == [b"a\n"])
        two.sendall(b"b\n")
        await until(lambda: lines == [b"a\n", b"b\n"])
        one.close()
        await until(lambda: len(lines) == 3)
        two.sendall(b"end")
        two.close()

    assert run(scenario) == [b"a\n", b"b\n", b"half\n", b"end\n"]


def test_a_path_that_is_too_long_for_a_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)

    async def scenario(opened: LogSocket, lines: list[bytes]) -> None:
        assert opened.shown_path == f"/tmp/{log_sockets.NAME}"
        folder = os.open(deep, os.O_RDONLY)
        connection = connected(f"/proc/self/fd/{folder}/{log_sockets.NAME}")
        os.close(folder)
        connection.sendall(b"line\n")
        connection.close()
        await until(lambda: lines)

    assert run(scenario, deep) == [b"line\n"]


def test_nothing_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    paths = []

    async def scenario(opened: LogSocket, _lines: list[bytes]) -> None:
        paths.append(opened.shown_path)
        connected(opened.shown_path).close()
        open_end = connected(opened.shown_path)
        await until(lambda: len(opened._connections) == 1)
        open_end.close()

    run(scenario)
    assert not os.path.exists(os.path.dirname(paths[0]))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_without_descriptors_connections_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sockets, "PAUSE_SECONDS", 0.01)

    class Listener:
        """A listening socket that has no descriptors at first."""

        def __init__(self, inner: socket.socket) -> None:
            self.inner = inner
            self.refusals = 3

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        def fileno(self) -> int:
            return self.inner.fileno()

        def accept(self) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self.inner.accept()

    async def scenario(opened: LogSocket, lines: list[bytes]) -> None:
        opened._listener = listener = Listener(opened._listener)  # type: ignore[assignment]
        connection = connected(opened.shown_path)
        connection.sendall(b"late\n")
        await until(lambda: lines)
        assert listener.refusals == 0
        connection.close()

    assert run(scenario) == [b"late\n"]


def test_nothing_is_left_of_one_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "no descriptors")

    async def scenario(_opened: LogSocket, _lines: list[bytes]) -> None: ...

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(log_sockets, "_listen", fails)
    with pytest.raises(OSError, match="no descriptors"):
        run(scenario)
    assert [*tmp_path.iterdir()] == []
