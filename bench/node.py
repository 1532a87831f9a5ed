"""Node.js functions: their cold start, and their invokes against serverless-offline's in the same run."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rig import BIN, Load, Measured, Service, Unavailable, answers, archive, free_port, load, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RUNTIME = "nodejs20.x"
SOURCES = {
    "CommonJS": ("app.cjs", b"exports.handler = async (event) => event;\n"),
    "ESM": ("app.mjs", b"export const handler = async (event) => event;\n"),
}
PEER_PACKAGES = ("serverless@3.40", "serverless-offline@13")
PEER_PATH = "/2015-03-31/functions/bench-dev-echo/invocations"
PEER_SETTINGS = """service: bench
frameworkVersion: "3"
provider: {name: aws, runtime: nodejs20.x}
plugins: [serverless-offline]
functions: {echo: {handler: app.handler}}
"""
INSTALL_SECONDS = 600
PAUSE_SECONDS = 0.5


def node_archive(kind: str) -> bytes:
    """A function that returns its event."""
    name, source = SOURCES[kind]
    return archive({name: (source, 0o644)})


def create(running: Service, name: str, kind: str) -> None:
    """Create a function of that kind. Raises Unavailable where there is no Node.js."""
    if shutil.which("node") is None:
        raise Unavailable("no node on PATH (Debian: apt-get install nodejs)")
    running.create(name, RUNTIME, "app.handler", node_archive(kind))
    running.wait_active(name)


def cold_start(running: Service, kind: str, functions: int, first_answer_ms: Callable[[int, str], float]) -> Measured:
    """Request to first answer of functions that nobody invoked before: with a pause between them, then without."""
    medians = []
    for pause in (PAUSE_SECONDS, 0.0):
        names = [f"cold-{kind}-{'paused' if pause else 'rushed'}-{number:03d}" for number in range(functions)]
        for name in names:
            create(running, name, kind)
        times = []
        for name in names:
            time.sleep(pause)
            times.append(first_answer_ms(running.port, f"/2015-03-31/functions/{name}/invocations"))
        medians.append(statistics.median(times))
    return Measured(
        medians[0],
        f"median of {functions} functions, {PAUSE_SECONDS} s after one another; {medians[1]:.1f} without a pause",
    )


def npm(folder: Path, *packages: str) -> None:
    """Install packages into a folder. Raises Unavailable."""
    if shutil.which("npm") is None:
        raise Unavailable("no npm on PATH (Debian: apt-get install npm)")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", *packages]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"npm took more than {INSTALL_SECONDS} s to install {' '.join(packages)}") from None
    if done.returncode:
        raise Unavailable(f"npm could not install {' '.join(packages)}: {done.stderr.strip()[-200:]}")


def peer_folder() -> Path:
    """A project with serverless-offline installed, made once. Raises Unavailable."""
    folder = BIN / "serverless-offline"
    if not folder.exists():
        partial = Path(tempfile.mkdtemp(dir=BIN))
        npm(partial, *PEER_PACKAGES)
        (partial / "serverless.yml").write_text(PEER_SETTINGS)
        (partial / "app.js").write_bytes(SOURCES["CommonJS"][1])
        partial.rename(folder)
    return folder


@contextlib.contextmanager
def peer() -> Iterator[int]:
    """serverless-offline in its default mode: the port of its Lambda API."""
    folder, port = peer_folder(), free_port()
    command = [str(folder / "node_modules/.bin/serverless"), "offline", "start", "--lambdaPort", str(port)]
    command += ["--httpPort", str(free_port()), "--noTimeout"]
    quiet = {"SLS_TELEMETRY_DISABLED": "1", "SLS_NOTIFICATIONS_MODE": "off", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    with tempfile.TemporaryDirectory() as home:
        log = Path(home, "log")
        with running(command, pinned=False, log=log, cwd=folder, env={"HOME": home, **quiet}) as process:
            wait_until(lambda: answers(port), process, log, "serverless-offline")
            yield port


def against_peer(
    running: Service,
    seconds: float,
    interleaved: Callable[[Callable[[], Load], Callable[[], Load]], list[tuple[Load, Load]]],
    rate_ratio: Callable[[list[tuple[Load, Load]]], Measured],
) -> Measured:
    """Warm invokes of one client: our rate over serverless-offline's."""
    create(running, "node-warm", "CommonJS")
    with peer() as port:
        load(port, path=PEER_PATH, requests=1)
        return rate_ratio(
            interleaved(
                lambda: running.load("node-warm", seconds=seconds), lambda: load(port, path=PEER_PATH, seconds=seconds)
            )
        )
