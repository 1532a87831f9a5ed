"""The framework beside others: what its import adds to a cold start, and what it adds to a call."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from rig import ROOT, Measured, Service, Unavailable, c_archive, peer_environment

CASE = Path(__file__).parent / "framework_case.py"
PEERS = ("powertools", "chalice", "starlette", "fastapi")
PEER_PACKAGES = (
    "aws-lambda-powertools",
    "chalice",
    "setuptools<81",
    "mangum",
    "starlette",
    "fastapi",
    "pydantic",
    "boto3",
)


def peers() -> Path:
    """The Python of an environment that has the peers and Pydantic. Raises Unavailable."""
    return peer_environment("frameworks", PEER_PACKAGES)


def run(*arguments: str) -> dict[str, float]:
    """What the case prints. Raises Unavailable."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": os.environ.get("HOME", "/")}
    pinned = ["taskset", "-c", "0"] if arguments[1] == "call" else []
    command = [*pinned, str(peers()), str(CASE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
    if done.returncode:
        raise Unavailable(f"{' '.join(arguments)}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def imported(rounds: int) -> Measured:
    """The import in interleaved runs; the least time of each is what it takes when nothing disturbs it."""
    names = ("venturekit", *PEERS)
    for name in names:
        run(name, "import")  # compiles
    times = {name: min(run(name, "import")["ms"] for _ in range(rounds)) for name in names}
    others = ", ".join(f"{name} {times[name]:.0f}" for name in PEERS)
    return Measured(times["venturekit"], f"least of {rounds}; others, in the same run: {others}")


def called(kind: str, rounds: int, *, log: bool = False, beside: tuple[str, ...] = ()) -> Measured:
    """CPU of one call, of an event in payload format 2.0."""
    names = (f"venturekit-{kind}", *beside)
    options = ["--log"] if log else []
    times = {name: statistics.median(run(name, "call", *options)["us"] for _ in range(rounds)) for name in names}
    others = ", ".join(f"{name} {times[name]:.0f}" for name in beside)
    how = "with its log lines to a pipe" if log else "silent"
    return Measured(
        times[names[0]],
        f"{how}; Python {sys.version_info[0]}.{sys.version_info[1]}" + (f"; others: {others}" if others else ""),
    )


def calling(running: Service, rounds: int) -> Measured:
    """CPU that a call of another function costs its caller, against the same call by boto3 in the same process."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{running.port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "VENTURE_PROJECT_NAME": "app",
        "VENTURE_STAGE": "dev",
    }
    if not hasattr(running, "framework_target"):
        running.create("app-dev-fn-echo", "provided.al2023", "bootstrap", c_archive())
        running.wait_active("app-dev-fn-echo")
        running.framework_target = True  # type: ignore[attr-defined]
    command = ["taskset", "-c", "0", str(peers()), str(CASE), "venturekit", "invoke"]
    figures = []
    for _ in range(rounds):
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
        if done.returncode:
            raise Unavailable(done.stderr.strip()[-300:])
        figures.append(json.loads(done.stdout))
    ours, theirs = (statistics.median(figure[key] for figure in figures) for key in ("invoke", "boto3"))
    ratio = statistics.median(figure["invoke"] / figure["boto3"] for figure in figures)
    return Measured(ratio, f"{ours:.0f} us against {theirs:.0f} us, both signed")
