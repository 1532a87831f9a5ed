"""Streamed responses of a runtime in C: their first byte, and their rate against a plain copy in the same run."""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import TYPE_CHECKING

from rig import BIN, Measured, Service, Unavailable, archive

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "streams"
PATH = f"/2021-11-15/functions/{NAME}/response-streaming-invocations"
CHUNKS = 3000
"""Of 64 KB: a little less than the 200 MB that a response may have."""


def create(running: Service) -> None:
    """Create the function that streams, and start its environment."""
    running.create(NAME, "provided.al2023", "bootstrap", archive({"bootstrap": ((BIN / "cst").read_bytes(), 0o755)}))
    running.wait_active(NAME)
    read(running, 1)


def read(running: Service, chunks: int, streams: int = 1) -> list[dict[str, float]]:
    """Read so many streams, one after the other, on one connection."""
    return _run("read", running.port, PATH, chunks, streams)


def first_byte(running: Service, streams: int) -> Measured:
    """From the moment before the runtime sends its first chunk to its arrival at the client (median, milliseconds)."""
    times = sorted(stream["first_us"] / 1e3 for stream in read(running, 1, streams))
    return Measured(
        statistics.median(times), f"median of {len(times)} streams of one chunk of 64 KB, up to {times[-1]:.2f} ms"
    )


def bulk(running: Service, rounds: int) -> Measured:
    """Rate of long streams over that of the same chunks from one C program to another on one loopback connection."""
    read(running, CHUNKS), _run("copy", CHUNKS)
    pairs = [(_rate(read(running, CHUNKS)), _rate(_run("copy", CHUNKS))) for _ in range(rounds)]
    ours, copy = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(a / b for a, b in pairs)
    return Measured(ratio, f"{ours:,.0f} MB/s against {copy:,.0f} MB/s of two C programs; events have checksums")


def _rate(found: Sequence[dict[str, float]]) -> float:
    return found[0]["bytes"] / found[0]["seconds"] / 1e6


def _run(*arguments: object) -> list[dict[str, float]]:
    command = [str(BIN / "cst"), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)} did not end in 120 s") from None
    if done.returncode:
        raise Unavailable(f"a stream failed: {done.stderr.strip()[:300]}")
    return [json.loads(line) for line in done.stdout.splitlines()]
