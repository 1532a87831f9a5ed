"""A full disk: no 202 without room for the event, work goes on where it can, and all of it when there is room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.reliability import checker
from tests.reliability.broken_service import believes_in_every_commit
from tests.reliability.full_disk_scene import (
    fills_while_running,
    full_at_the_start,
    full_at_the_start_without_a_reserve,
)

SCENE = Path(__file__).with_name("full_disk_scene.py")
SCENE_SECONDS = 100


@pytest.fixture(scope="session")
def own_mounts() -> list[str]:
    """A command before which others run with mounts of their own. Skips the test where nothing can make that."""
    command = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        tried = subprocess.run([*command, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("no unshare on PATH (Debian: apt-get install util-linux)")
    if tried.returncode:
        pytest.skip(f"no mount namespace can be made here: {tried.stderr.decode().strip()}")
    return command


def play(own_mounts: list[str], folder: Path, *arguments: str) -> Any:
    """What the scene has found."""
    command = [*own_mounts, sys.executable, str(SCENE), str(folder), *arguments]
    played = subprocess.run(command, capture_output=True, text=True, timeout=SCENE_SECONDS)
    log = folder / "data.log"
    assert played.returncode == 0, played.stderr + (log.read_text() if log.exists() else "")
    return json.loads(played.stdout)


def test_a_full_disk_loses_nothing_and_is_used_again(own_mounts: list[str], tmp_path: Path) -> None:
    found = play(own_mounts, tmp_path, fills_while_running.__name__)
    print(found["figures"])
    assert found["report"] == ""
    assert found["figures"]["answers"] == [500]
    assert found["figures"]["waited"] > 0


def test_a_service_starts_on_a_full_disk(own_mounts: list[str], tmp_path: Path) -> None:
    found = play(own_mounts, tmp_path, full_at_the_start.__name__)
    print(found["figures"])
    assert found["report"] == ""
    assert found["figures"]["waited"] > 0


@pytest.mark.full
def test_a_service_that_finds_no_room_at_all_says_so(own_mounts: list[str], tmp_path: Path) -> None:
    assert play(own_mounts, tmp_path, full_at_the_start_without_a_reserve.__name__)["report"] == ""


@pytest.mark.full
def test_the_scene_convicts_a_service_that_believes_in_every_commit(own_mounts: list[str], tmp_path: Path) -> None:
    found = play(own_mounts, tmp_path, fills_while_running.__name__, believes_in_every_commit.__name__)
    assert checker.LOST in found["kinds"]
    assert 202 in found["figures"]["answers"]
