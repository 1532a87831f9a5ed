"""The client beside boto3 and aiobotocore: the CPU of its calls against a responder in C, and its import."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from pathlib import Path

import rig
from rig import ROOT, Measured, Unavailable, peer_environment

CASE = Path(__file__).parent / "client_case.py"
PEER_PACKAGES = ("boto3", "aiobotocore", "aiohttp")


def peers() -> Path:
    """The Python of an environment that has the peers. Raises Unavailable."""
    return peer_environment("clients", PEER_PACKAGES)


def run(client: str, what: str, port: int = 0) -> dict[str, float]:
    """What the case prints. Raises Unavailable."""
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "HOME": "/nonexistent",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    pinned = [] if what == "import" else ["taskset", "-c", "0"]
    command = [*pinned, str(peers()), str(CASE), client, what]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
    if done.returncode:
        raise Unavailable(f"{client} {what}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def imported(rounds: int) -> Measured:
    """The import in interleaved runs; the least time of each is what it takes when nothing disturbs it."""
    names = ("venturekit", "boto3", "aiobotocore.session")
    for name in names:
        run(name, "import")  # compiles
    times = {name: min(run(name, "import")["ms"] for _ in range(rounds)) for name in names}
    others = ", ".join(f"{name} {times[name]:.0f}" for name in names[1:])
    return Measured(times["venturekit"], f"least of {rounds}; others, in the same run: {others}")


def against(ours: str, theirs: str, what: str, rounds: int) -> Measured:
    """CPU of a signed call against the peer's, in turns, with the same responder and runtime in C."""
    with rig.router(pinned=False) as port:
        figures = [(run(ours, what, port)["us"], run(theirs, what, port)["us"]) for _ in range(rounds)]
    ratio = statistics.median(one / other for one, other in figures)
    one, other = (statistics.median(column) for column in zip(*figures, strict=True))
    return Measured(ratio, f"{one:.0f} us against {other:.0f} us of {theirs}, both signed")
