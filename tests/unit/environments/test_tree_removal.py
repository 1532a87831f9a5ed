"""Scratch folders go, whatever a function made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from venturekit.service.environments.removal import remove_tree

if TYPE_CHECKING:
    from pathlib import Path


def test_a_folder_goes_with_all_that_is_below_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    victim = tmp_path / "victim"
    (victim / "a" / "b").mkdir(parents=True)
    (victim / "a" / "b" / "file").write_text("x")
    (victim / "a" / "link").symlink_to(kept)
    (victim / "outside").symlink_to(kept)
    os.mkfifo(victim / "a" / "fifo")
    (victim / "same").mkdir()
    (victim / "a" / "same").mkdir()
    remove_tree(victim)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert (kept / "file").read_text() == "kept"


def test_closed_folders_are_opened(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "closed" / "below").mkdir(parents=True)
    (victim / "closed" / "below" / "file").write_text("x")
    for path in (victim / "closed" / "below", victim / "closed", victim):
        path.chmod(0)
    remove_tree(victim)
    assert not list(tmp_path.iterdir())


def test_depth_takes_no_recursion_and_few_descriptors(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    here = os.open(victim, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    before = len(os.listdir("/proc/self/fd"))
    remove_tree(victim)
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_folder_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    link = tmp_path / "link"
    link.symlink_to(kept)
    remove_tree(link)
    remove_tree(tmp_path / "missing")
    assert link.is_symlink()
    assert kept.is_dir()
