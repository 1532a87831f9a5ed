"""Asks the kernel for an isolation level, in a child process that really enters it."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.environments.interpreters import interpreter_files
from venturekit.service.environments.isolation.kernel import Kernel
from venturekit.service.environments.isolation.landlock import kernel_abi
from venturekit.service.environments.isolation.levels import Finding, Level, gaps_of
from venturekit.service.environments.isolation.policy import Surroundings, make_policy

if TYPE_CHECKING:
    from collections.abc import Callable

PROBE_SECONDS: Final = 20.0
_SCRIPT: Final = Path(__file__).with_name("probe_process.py")
NO_LANDLOCK: Final = "this kernel has no Landlock (it takes Linux 5.13, built and started with it: lsm=landlock,...)"
NO_NAMESPACES: Final = (
    "user namespaces must be allowed to ordinary users: look at the sysctls user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns, and in a container at its "
    "seccomp profile and at masked parts of /proc"
)


def landlock_abi() -> int:
    """The version of Landlock here, 0 for none. Raises OSError on a machine that isolation is not made for."""
    return kernel_abi(Kernel())


def prober(interpreter: str) -> Callable[[Level], Finding]:
    """A function that examines a level, each once, with an interpreter (its path) as the child."""
    known: dict[Level, Finding] = {}

    def examine(level: Level) -> Finding:
        if level not in known:
            known[level] = _examine(level, interpreter)
        return known[level]

    return examine


def _examine(level: Level, interpreter: str) -> Finding:
    try:
        abi = landlock_abi()
    except OSError as error:
        return Finding(level, error.args[0] if len(error.args) == 1 else str(error))
    if abi == 0:
        return Finding(level, NO_LANDLOCK)
    try:
        failures = _try_out(level, abi, interpreter)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        failures = [f"the probe failed: {error}"]
    if not failures:
        return Finding(level, None, gaps_of(level, abi))
    advice = f" ({NO_NAMESPACES})" if level == "namespace" else ""
    return Finding(level, "; ".join(failures) + advice)


def _try_out(level: Level, abi: int, interpreter: str) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="venturekit-probe-") as name:
        folder = Path(os.path.realpath(name))
        for part in ("code", "tmp", "runtime", "bytecode", "root", "data"):
            (folder / part).mkdir()
        secret = folder / "secret"
        secret.write_text("not for functions")
        around = Surroundings(
            # It is not looked at: the data directory of a service is checked when its own policy is made.
            data_directory=Path("/nonexistent"),
            runtime_directory=folder / "runtime",
            bytecode_directory=folder / "bytecode",
            mountpoint=folder / "root",
        )
        policy = make_policy(level, abi, around, (), ())
        tmp = folder / "tmp"
        own: dict[str, Any] = {
            "read": [str(folder / "code"), *interpreter_files(interpreter)],
            # Without the literal /tmp: the probe's folder lies there.
            "write": [str(tmp)],
            "connect_ports": [],
            "binds": [],
            "overlay": [str(folder / "code"), str(folder / "bytecode")] if level == "namespace" else [],
        }
        given = {
            "policy": policy.common,
            "own": own,
            "secret": str(secret),
            "tmp": str(tmp),
            "watch_pid": os.getpid(),
        }
        done = subprocess.run(
            [interpreter, "-I", "-S", "-B", str(_SCRIPT)],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        return [f"the probe failed: {last[0]}"]
    failures: list[str] = json.loads(done.stdout)["failures"]
    return failures
