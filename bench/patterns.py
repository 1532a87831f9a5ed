"""What the patterns add to a call: CPU of an idempotent call and of a saga over plain ones.

One process, pinned to one CPU; the plain call and the others in turns, and the least of each. Prints JSON when run by
itself: python bench/patterns.py.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rig import ROOT, Measured, Unavailable

CALLS = 200
ROUNDS = 12


def measured(what: str) -> dict[str, float]:
    """What this file prints for one pattern, in a process of its own. Raises Unavailable."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": os.environ.get("HOME", "/")}
    command = ["taskset", "-c", "0", sys.executable, str(Path(__file__)), what]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120)
    if done.returncode:
        raise Unavailable(f"{what}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def idempotent_call(kind: str, rounds: int) -> Measured:
    """CPU that ``@idempotent`` adds to a function with a SQLite store; kind is "first" or "replay"."""
    figures = [measured("idempotent") for _ in range(rounds)]
    value = statistics.median(figure[kind] - figure["plain"] for figure in figures)
    wall = statistics.median(figure[f"{kind} wall"] for figure in figures)
    return Measured(
        value, f"CPU, SQLite file; by the clock {wall:.0f} us; Python {sys.version_info[0]}.{sys.version_info[1]}"
    )


def saga_run(store: str, rounds: int) -> Measured:
    """CPU that a saga adds to three functions that it calls; store is "memory" or "sqlite"."""
    figures = [measured("saga") for _ in range(rounds)]
    value = statistics.median(figure[store] - figure["plain"] for figure in figures) / 1000
    wall = statistics.median(figure[f"{store} wall"] for figure in figures) / 1000
    return Measured(value, f"CPU, {store}; by the clock {wall:.2f} ms, {1000 * value / 4:.0f} us for each write")


# --- in the process that is measured --------------------------------------------------------------------------------


def least(ways: dict[str, object]) -> dict[str, float]:
    """CPU and, as "... wall", time of a call of each, in microseconds."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            for _ in range(CALLS):
                call()
            taken = (time.process_time() - cpu) / CALLS * 1e6, (time.perf_counter() - wall) / CALLS * 1e6
            for key, value in zip((name, f"{name} wall"), taken, strict=True):
                best[key] = min(best.get(key, float("inf")), value)
    return best


def idempotent_case(folder: str) -> dict[str, float]:
    from itertools import count

    from venturekit.runtime.patterns import create_sqlite_idempotency_store, idempotent

    def charge(order):
        return {"receipt": order["id"], "amount": order["amount"]}

    store = create_sqlite_idempotency_store(os.path.join(folder, "idempotency.db"))
    once, numbers = idempotent(key=lambda order: order["id"], store=store)(charge), count()
    known = {"id": "known", "amount": 1}
    assert once(known) == once(known) == charge(known)
    return least(
        {
            "plain": lambda: charge({"id": f"o-{next(numbers)}", "amount": 1}),
            "first": lambda: once({"id": f"o-{next(numbers)}", "amount": 1}),
            "replay": lambda: once(known),
        }
    )


def saga_case(folder: str) -> dict[str, float]:
    from venturekit.runtime import create_memory_saga_store, create_sqlite_saga_store, saga, step

    def plain(order):
        for function in (reserve, charge, send):
            order = function(order)
        return order

    def reserve(order):
        return {**order, "reserved": order["count"]}

    def charge(order):
        return {**order, "payment": "p-1"}

    def send(order):
        return {**order, "parcel": "s-1"}

    order = {"orderId": "42", "count": 2, "card": "4111", "address": "Main Street 1"}
    steps = [step("reserve", reserve, print), step("charge", charge, print), step("send", send)]
    memory = saga("order", steps, store=create_memory_saga_store())
    sqlite = saga("order", steps, store=create_sqlite_saga_store(os.path.join(folder, "sagas.db")))
    assert memory.run(order).context == sqlite.run(order).context == plain(order)
    ways = {"plain": lambda: plain(order), "memory": lambda: memory.run(order), "sqlite": lambda: sqlite.run(order)}
    return least(ways)


CASES = {"idempotent": idempotent_case, "saga": saga_case}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(CASES[sys.argv[1] if len(sys.argv) > 1 else "idempotent"](folder)))


if __name__ == "__main__":
    main()
