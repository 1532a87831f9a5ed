"""Run as a program, in a mount namespace of its own: a service whose data directory is on a small disk that fills up.

Arguments: a folder, the name of a scene, and optionally a breakage of ``broken_service.py``. Prints what was found, as
JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.reliability import checker
from tests.reliability.broken_service import BREAKAGES, broken_program
from tests.reliability.serving import VK, serve_command
from tests.reliability.stage import Stage
from tests.reliability.trials import Trials
from tests.reliability.workload import DESTINATION, FAILS, FAILS_ONCE, OPTIONS, SYNCHRONOUS, WORKERS, Files
from tests.service.harness import send, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.reliability.serving import ServedProcess

DISK_SIZE_MB = 48
SHARES = {FAILS_ONCE: 0.7, FAILS: 0.1}
RETRY_SECONDS = 1.0
EVENTS = 100
SETTLING_SECONDS = 10.0
RECOVERY_SECONDS = 5.0


class FillUp:
    """A file that takes all the room that is left."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "somebody-elses"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def fill(self) -> None:
        """Take what there is now, and not what the service gives up when it finds the disk full meanwhile."""
        disk = os.fstatvfs(self._descriptor)
        left = disk.f_bavail * disk.f_frsize
        with suppress(OSError):
            while left > 0:
                left -= os.write(self._descriptor, bytes(min(left, 1 << 16)))

    def remove(self) -> None:
        """Give all of it back."""
        os.close(self._descriptor)
        self._path.unlink()


class Scene:
    """A stage on a small disk, and what was seen on it."""

    def __init__(self, folder: Path, program: tuple[str, ...]) -> None:
        self.files = Files(folder)
        self.program = program
        self.answers: list[int] = []
        self.waited = 0
        self.files.data_dir.mkdir()
        options = ("-o", f"size={DISK_SIZE_MB}m,mode=0700")
        subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(self.files.data_dir)], check=True, timeout=30)
        # A directory that a service has owned may hold other files.
        (self.files.data_dir / "lock").touch()
        self.room = FillUp(self.files.data_dir)
        self.stage = Stage(
            self.files, seed=11, shares=SHARES, options=(*OPTIONS, "--async-retry-delays", str(RETRY_SECONDS))
        )

    def count(self, condition: str) -> int:
        """How many events there are in this condition."""
        with checker.reading(self.files.database) as connection:
            (found,) = connection.execute(f"SELECT count(*) FROM events WHERE {condition}").fetchone()
        return int(found)

    def let_wait(self, running: ServedProcess) -> None:
        """Let events wait for their second run. Some functions run for the first time when the disk is full."""
        running.wait_ready()
        with self.stage.flow(running, EVENTS):
            self.stage.wait_acknowledged(EVENTS)
        until(lambda: self.count("state = 'queued'"), "events wait for their second run")

    def fill(self) -> None:
        """Fill the disk, and see what waits then."""
        self.room.fill()
        self.waited = self.count("state = 'queued'")

    def fill_up(self) -> None:
        """Fill the disk so that SQLite does not even find the room that it needs to read."""
        self.beside("-shm").unlink(missing_ok=True)
        self.room.fill()

    def beside(self, suffix: str) -> Path:
        """A file of the database."""
        return self.files.database.with_name(f"{self.files.database.name}{suffix}")

    def wait_settled(self) -> None:
        """Wait until all that has waited has ended; the records of the failed ones need room, and wait on."""
        until(
            lambda: not self.count(f"state IN ('queued', 'running') AND function_name <> '{DESTINATION}'"),
            "what waits is worked off on a full disk",
            SETTLING_SECONDS,
            # While somebody reads, the log of the database does not begin anew.
            pause_seconds=0.05,
        )

    def recover(self, running: ServedProcess, trials: Trials) -> None:
        """Give room, and see that it is used."""
        self.room.remove()
        until(lambda: trials.send() == 202, "events are accepted again", RECOVERY_SECONDS)
        assert running.process.poll() is None


def invoke(running: ServedProcess, worker: str = WORKERS[0]) -> None:
    """A caller who waits for the answer needs no room."""
    assert running.functions.invoke(worker, {"n": 0, "kind": SYNCHRONOUS}).value == 0


def fills_while_running(scene: Scene) -> None:
    """The disk becomes full under a service that works."""
    with scene.stage.life(scene.program) as (running, _):
        scene.let_wait(running)
        scene.fill()
        trials = Trials(scene.stage, running)
        if scene.program == VK:
            until(lambda: trials.send() != 202, "what the log has room for is used up")
        scene.answers = trials.answers(30)
        invoke(running)
        if scene.program == VK:
            scene.wait_settled()
            scene.answers += trials.answers(10)
            invoke(running)
        scene.recover(running, trials)


def full_at_the_start(scene: Scene) -> None:
    """A service starts on a disk that is full, and works off what it finds."""
    with scene.stage.life(scene.program) as (running, _):
        scene.let_wait(running)
        running.kill()
    scene.waited = scene.count("state = 'queued'")
    scene.fill_up()
    with scene.stage.life(scene.program) as (running, _):
        trials = Trials(scene.stage, running.wait_ready())
        assert send(running.url, "GET", "/_venturekit/health").json["status"] == "ok"
        invoke(running)
        scene.wait_settled()
        scene.recover(running, trials)


def full_at_the_start_without_a_reserve(scene: Scene) -> None:
    """A service that finds no room at all says so, and starts when there is some."""
    with scene.stage.life(scene.program) as (running, _):
        scene.let_wait(running)
        running.kill()
    scene.beside(".reserve").unlink()
    scene.fill_up()
    ended = subprocess.run(serve_command(scene.files.data_dir), capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert f"vk: the disk is full: free some space to open the database {scene.files.database}\n" == ended.stderr
    scene.room.remove()


SCENES: dict[str, Callable[[Scene], None]] = {
    scene.__name__: scene for scene in (fills_while_running, full_at_the_start, full_at_the_start_without_a_reserve)
}


def play(folder: Path, name: str, program: tuple[str, ...]) -> checker.Findings:
    """What is found after a scene. It asserts what must hold while it plays."""
    scene = Scene(folder, program)
    with scene.stage:
        SCENES[name](scene)
        findings = scene.stage.rest(program=program, seconds=20.0)
    findings.figures |= {"answers": sorted(set(scene.answers)), "waited": scene.waited}
    return findings


if __name__ == "__main__":
    found = play(Path(sys.argv[1]), sys.argv[2], broken_program(BREAKAGES[sys.argv[3]]) if sys.argv[3:] else VK)
    print(json.dumps({"kinds": sorted(found.kinds), "report": found.report(), "figures": found.figures}))
