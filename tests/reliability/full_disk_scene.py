"""Run as a program, in a mount namespace of its own: a service whose data directory is on a small disk that fills up.

Arguments: a folder, and optionally a breakage of ``broken_service.py``. Prints what was found, as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.reliability import checker  # noqa: E402 - found by the line above
from tests.reliability.serving import VK  # noqa: E402
from tests.reliability.stage import Stage  # noqa: E402
from tests.reliability.trials import Trials  # noqa: E402
from tests.reliability.workload import FAILS, FAILS_ONCE, OPTIONS, SYNCHRONOUS, WORKERS, Files  # noqa: E402
from tests.service.harness import until  # noqa: E402

DISK_SIZE_MB = 48
SHARES = {FAILS_ONCE: 0.7, FAILS: 0.1}
RETRY_SECONDS = 1.5
EVENTS = 100
SETTLING_SECONDS = 10.0
RECOVERY_SECONDS = 5.0


class FillUp:
    """A file that takes all the room that is left."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "somebody-elses"
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def fill(self) -> None:
        """Take what there is."""
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while True:
                    os.write(self._descriptor, bytes(size))

    def remove(self) -> None:
        """Give all of it back."""
        os.close(self._descriptor)
        self._path.unlink()


def count(files: Files, condition: str) -> int:
    with checker.reading(files.database) as connection:
        (found,) = connection.execute(f"SELECT count(*) FROM events WHERE {condition}").fetchone()
    return int(found)


def play(folder: Path, program: tuple[str, ...]) -> checker.Findings:
    """What happens; asserts what must hold while it does."""
    files = Files(folder)
    files.data_dir.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE_MB}m,mode=0700", "tmpfs", str(files.data_dir)]
    subprocess.run(mount, check=True, timeout=30)
    # A directory that a service has owned may hold other files.
    (files.data_dir / "lock").touch()
    room = FillUp(files.data_dir)
    with Stage(files, seed=11, shares=SHARES, options=(*OPTIONS, "--async-retry-delays", str(RETRY_SECONDS))) as stage:
        with stage.life(program) as (running, _):
            trials = Trials(stage, running.wait_ready())
            with stage.flow(running, EVENTS):
                stage.wait_acknowledged(EVENTS)
            until(lambda: count(files, "state = 'queued'"), "events wait for their second run")
            room.fill()
            waited = count(files, "state = 'queued'")
            if program == VK:
                until(lambda: trials.send() != 202, "what the log has room for is used up")
            answers = trials.answers(30)
            assert running.functions.invoke(WORKERS[0], {"n": 0, "kind": SYNCHRONOUS}).value == 0
            if program == VK:
                until(
                    lambda: not count(files, f"state IN ('queued', 'running') AND function_name IN {WORKERS}"),
                    "what waits is worked off on a full disk",
                    SETTLING_SECONDS,
                )
                answers += trials.answers(10)
            room.remove()
            until(lambda: trials.send() == 202, "events are accepted again", RECOVERY_SECONDS)
            assert running.process.poll() is None
        findings = stage.rest(20, program=program, seconds=20.0)
    findings.figures |= {"answers": sorted(set(answers)), "waited": waited}
    return findings


if __name__ == "__main__":
    breakage = sys.argv[2:3]
    broken = (sys.executable, str(Path(__file__).with_name("broken_service.py")), *breakage)
    found = play(Path(sys.argv[1]), broken if breakage else VK)
    print(json.dumps({"kinds": sorted(found.kinds), "report": found.report(), "figures": found.figures}))
