"""What was acknowledged survives kill -9 at any instant."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from venturekit.service.store import Store

WRITER = Path(__file__).with_name("store_writer_process.py")


def acknowledged_until_killed(database: Path, prefix: str, lines: int) -> list[str]:
    """Names a writer acknowledged before it was killed, while at work, after about ``lines`` of them."""
    with subprocess.Popen(
        [sys.executable, str(WRITER), str(database), prefix], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        names = [process.stdout.readline().strip() for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split("\n")
    # The last piece was not finished: its acknowledgement never arrived.
    return names + [name for name in rest[:-1] if name]


def test_kills_lose_no_acknowledged_function(tmp_path: Path, full_counts: bool) -> None:
    database = tmp_path / "store.db"
    random_counts = random.Random(20)
    acknowledged: set[str] = set()
    for kill in range(20 if full_counts else 8):
        acknowledged.update(acknowledged_until_killed(database, f"k{kill}", random_counts.randint(1, 60)))
        with sqlite3.connect(database) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    store = Store.open(database, reserve_size_bytes=4096)
    try:
        stored = asyncio.run(store.load_functions())
    finally:
        store.close()
    assert len(acknowledged) >= 20
    assert acknowledged <= {function.name for function in stored.functions}
    assert all(len(function.versions) == 1 for function in stored.functions)


PROGRAM_WITH_SMALL_FILES = """
import os, resource, sys
from pathlib import Path
from venturekit.service.store import Store, StoreUnavailableError
store = Store.open(Path(sys.argv[1]), reserve_size_bytes=4096)
def put(name, connection):
    connection.execute("INSERT INTO functions VALUES ('1', ?, hex(randomblob(20000)))", (name,))
def try_to_put(name):
    try:
        store.submit(lambda connection: put(name, connection)).result(30)
        return "stored"
    except StoreUnavailableError as error:
        return type(error).__name__
try_to_put("first")
# Room for a few more writes: a WAL file grows with each.
limit = os.path.getsize(sys.argv[1] + "-wal") + 100_000
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
print(*[try_to_put(f"limited-{number}") for number in range(10)])
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(*[try_to_put(f"free-{number}") for number in range(3)], store.failure)
store.close()
"""


def test_a_write_the_kernel_refuses_is_undone_and_the_next_ones_go_on(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM_WITH_SMALL_FILES, str(database)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    limited, free = (line.split() for line in result.stdout.splitlines())
    first = limited.index("StoreDiskError")
    assert 0 < first < 9
    assert limited == ["stored"] * first + ["StoreDiskError"] * (10 - first)
    assert free == ["stored"] * 3 + ["None"]
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        names = {name for (name,) in connection.execute("SELECT name FROM functions")}
    assert names == {"first", *(f"limited-{n}" for n in range(first)), *(f"free-{n}" for n in range(3))}
