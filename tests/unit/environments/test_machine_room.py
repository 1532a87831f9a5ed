"""Whether the machine has room for an environment that nobody waits for."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from venturekit.service.environments import machine

if TYPE_CHECKING:
    from pathlib import Path


def meminfo(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "meminfo"
    file.write_text(text)
    monkeypatch.setattr(machine, "MEMINFO", file)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("MemTotal: 8000000 kB\nMemAvailable:     131072 kB\n", False),
        ("MemTotal: 8000000 kB\nMemAvailable:     131071 kB\n", True),
        # Nobody can tell: the launch itself will.
        ("MemTotal: 8000000 kB\n", False),
        ("MemAvailable: much\n", False),
        ("MemAvailable:", False),
    ],
)
def test_memory_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, refused: bool) -> None:
    meminfo(tmp_path, text, monkeypatch)
    reason = machine.no_room_reason()
    assert ("127 MB of memory left" in reason) == refused == bool(reason)


def test_a_system_without_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MEMINFO", tmp_path / "nothing")
    assert machine.no_room_reason() == ""


@pytest.mark.parametrize(("limit", "refused"), [(resource.RLIM_INFINITY, False), (1_000_000, False), (200, True)])
def test_descriptors_that_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, refused: bool) -> None:
    meminfo(tmp_path, "MemAvailable: 8000000 kB\n", monkeypatch)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    reason = machine.no_room_reason()
    assert ("200 file descriptors" in reason) == refused == bool(reason)
