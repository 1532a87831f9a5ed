"""The lock of a data directory and the archives in it."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from venturekit.service.store import (
    Archives,
    DataDirectoryForeignError,
    DataDirectoryInUseError,
    DataDirectoryLock,
    Store,
)

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from venturekit.service.store import DataDirectoryLock
lock = DataDirectoryLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_service_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryInUseError, match=f"pid {holder.pid}, started 20"):
            DataDirectoryLock.acquire(data_dir)
        holder.kill()
        holder.wait(30)
    # The lock died with its holder, and its stale text misleads nobody.
    lock = DataDirectoryLock.acquire(data_dir, now=lambda: 0.0)
    assert (data_dir / "lock").read_text() == f"pid {os.getpid()}, started 1970-01-01T00:00:00+00:00\n"
    lock.release()
    lock.release()
    DataDirectoryLock.acquire(data_dir).release()


def test_only_directories_of_a_service_or_empty_ones_are_taken(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*")
    (tmp_path / "lost+found").mkdir()
    DataDirectoryLock.acquire(tmp_path).release()
    (tmp_path / "code").mkdir()
    DataDirectoryLock.acquire(tmp_path).release()
    (tmp_path / "lock").unlink()
    with pytest.raises(DataDirectoryForeignError, match=r"holds other files \(code\)"):
        DataDirectoryLock.acquire(tmp_path)
    assert not (tmp_path / "lock").exists()


def test_nobody_else_reads_the_database(tmp_path: Path) -> None:
    """Also in a directory that was made by hand, for all to read."""
    tmp_path.chmod(0o755)
    store = Store.open(tmp_path / "db", reserve_size_bytes=4096)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("db", "db-wal", "db-shm", "db.reserve"), 0o600)
    assert store.close()


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = DataDirectoryLock.acquire(tmp_path)
    program = "print('up', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=False
    ) as child:
        assert child.stdout is not None
        # Descriptors are closed somewhat after the parent goes on, so only a running child shows the end state.
        assert child.stdout.readline() == "up\n"
        lock.release()
        DataDirectoryLock.acquire(tmp_path).release()
        child.communicate("\n", timeout=30)


def test_an_archive_is_kept_under_its_hash(tmp_path: Path) -> None:
    archives = Archives(tmp_path / "archives")
    key = archives.put(b"content")
    assert key == hashlib.sha256(b"content").hexdigest()
    assert archives.path(key).read_bytes() == b"content"
    assert archives.put(b"content") == key
    assert archives.keys() == {key}
    archives.remove(key)
    archives.remove(key)
    assert archives.keys() == set()


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".incoming-abc").write_bytes(b"half")
    Archives(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_keys_become_paths(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not the key"):
        Archives(tmp_path).path(key)


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = Archives(tmp_path)

    def fail(_: int) -> None:
        raise OSError("no sync")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="no sync"):
        archives.put(b"content")
    assert list(tmp_path.iterdir()) == []


def test_concurrent_puts_of_one_content(tmp_path: Path) -> None:
    archives = Archives(tmp_path)
    threads = [threading.Thread(target=archives.put, args=(b"x" * 100_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"x" * 100_000
