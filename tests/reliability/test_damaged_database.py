"""A database that is damaged when the service starts: a clear error, and not a byte of it changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.forms import in_full
from tests.reliability.serving import END_SECONDS, ServedProcess, serve_command
from venturekit.service.store.damage import WHOLE_CHECK_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DATABASE = "venturekit.sqlite3"
LOG = f"{DATABASE}-wal"
LOG_HEADER_BYTES = 32
# What a start may write: the lock's text, and the index of the log, which SQLite makes anew from it.
NOT_COMPARED = {"lock", f"{DATABASE}-shm"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a service that was killed: functions in its database, and more of them in the log."""
    data_dir = tmp_path_factory.mktemp("damage") / "data"
    for round_number, end in enumerate((signal.SIGTERM, signal.SIGKILL)):
        with ServedProcess(data_dir) as running:
            for number in range(6):
                running.functions.create(
                    "def handler(event, context): return 1\n", name=f"f-{round_number}-{number}", Description="x" * 200
                )
            running.process.send_signal(end)
            running.process.wait(20)
    assert (data_dir / DATABASE).stat().st_size >= 10 * 4096
    assert commits_in(data_dir / LOG) > 6
    return data_dir


@pytest.fixture
def data_dir(whole: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "data"
    shutil.copytree(whole, copy, symlinks=True)
    return copy


def digests(folder: Path) -> dict[str, str]:
    contents = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.name not in NOT_COMPARED
    }
    # To look at the database makes an empty log where there is none.
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents.items() if data or name != LOG}


def overwrite(path: Path, offset: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes((7 * place + 13) % 256 for place in range(length)))


def page_of(path: Path, table: str) -> int:
    """The number of a table's root page."""
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    connection.close()
    return int(page)


def frames_of(log: Path) -> list[tuple[int, bool]]:
    """Where each frame of a log begins, and whether it ends a transaction."""
    data = log.read_bytes()
    (page_size,) = struct.unpack_from(">I", data, 8)
    starts = range(LOG_HEADER_BYTES, len(data), 24 + page_size)
    return [(start, struct.unpack_from(">I", data, start + 4)[0] > 0) for start in starts]


def commits_in(log: Path) -> int:
    return sum(commit for _, commit in frames_of(log))


def closed(data_dir: Path) -> None:
    """As an orderly end leaves it: everything in the database, no log."""
    connection = sqlite3.connect(data_dir / DATABASE)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.close()
    for name in (LOG, f"{DATABASE}-shm"):
        (data_dir / name).unlink(missing_ok=True)


def garbage_in_the_header(data_dir: Path) -> None:
    closed(data_dir)
    overwrite(data_dir / DATABASE, 0, 100)


def garbage_all_over(data_dir: Path) -> None:
    closed(data_dir)
    overwrite(data_dir / DATABASE, 0, (data_dir / DATABASE).stat().st_size)


def cut_in_half(data_dir: Path) -> None:
    closed(data_dir)
    os.truncate(data_dir / DATABASE, (data_dir / DATABASE).stat().st_size // 2)


def cut_within_the_first_page(data_dir: Path) -> None:
    closed(data_dir)
    os.truncate(data_dir / DATABASE, 300)


def cut_while_a_log_is_there(data_dir: Path) -> None:
    os.truncate(data_dir / DATABASE, 3 * 4096)


def a_page_of_functions_overwritten(data_dir: Path) -> None:
    closed(data_dir)
    overwrite(data_dir / DATABASE, 4096 * (page_of(data_dir / DATABASE, "functions") - 1), 4096)


def a_page_of_events_overwritten(data_dir: Path) -> None:
    closed(data_dir)
    overwrite(data_dir / DATABASE, 4096 * (page_of(data_dir / DATABASE, "events") - 1), 4096)


def change_a_document(data_dir: Path, to: str) -> None:
    connection = sqlite3.connect(data_dir / DATABASE)
    connection.execute(f"UPDATE functions SET document = {to} WHERE name = 'f-0-3'")
    connection.commit()
    connection.close()
    closed(data_dir)


def a_document_that_is_no_json(data_dir: Path) -> None:
    change_a_document(data_dir, "'{'")


def a_document_that_is_no_text(data_dir: Path) -> None:
    change_a_document(data_dir, "cast(x'7b22ff22' AS TEXT)")


def emptied(data_dir: Path) -> None:
    closed(data_dir)
    os.truncate(data_dir / DATABASE, 0)


def emptied_while_a_log_is_there(data_dir: Path) -> None:
    os.truncate(data_dir / DATABASE, 0)


def gone_while_a_log_is_there(data_dir: Path) -> None:
    (data_dir / DATABASE).unlink()


def garbage_in_the_header_of_the_log(data_dir: Path) -> None:
    overwrite(data_dir / LOG, 0, LOG_HEADER_BYTES)


def a_changed_salt_in_the_header_of_the_log(data_dir: Path) -> None:
    overwrite(data_dir / LOG, 16, 4)


def garbage_in_the_midst_of_the_log(data_dir: Path) -> None:
    frames = frames_of(data_dir / LOG)
    overwrite(data_dir / LOG, frames[len(frames) // 3][0] + 24 + 100, 2000)


DAMAGES = [
    garbage_in_the_header,
    cut_in_half,
    cut_while_a_log_is_there,
    a_page_of_functions_overwritten,
    a_document_that_is_no_json,
    emptied,
    gone_while_a_log_is_there,
    garbage_in_the_header_of_the_log,
    garbage_in_the_midst_of_the_log,
    *in_full(
        garbage_all_over,
        cut_within_the_first_page,
        a_page_of_events_overwritten,
        a_document_that_is_no_text,
        emptied_while_a_log_is_there,
        a_changed_salt_in_the_header_of_the_log,
    ),
]


def start_once(data_dir: Path) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    return subprocess.run(serve_command(data_dir), capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_nothing_is_overwritten(data_dir: Path, damage: Callable[[Path], None]) -> None:
    damage(data_dir)
    before = digests(data_dir)
    ended = start_once(data_dir)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert f"the database {data_dir / DATABASE} is damaged (" in ended.stderr
    assert ".recover" in ended.stderr
    assert "to begin anew" in ended.stderr
    assert digests(data_dir) == before


def test_moving_the_database_away_begins_anew(data_dir: Path) -> None:
    garbage_in_the_header(data_dir)
    (data_dir / DATABASE).rename(data_dir.parent / DATABASE)
    with ServedProcess(data_dir) as running:
        assert running.functions.client.list_functions()["Functions"] == []


# --- what is no damage -----------------------------------------------------------------------------------------------


def names_served(data_dir: Path) -> set[str]:
    with ServedProcess(data_dir) as running:
        return {item["FunctionName"] for item in running.functions.client.list_functions()["Functions"]}


ALL = {f"f-{round_number}-{number}" for round_number in range(2) for number in range(6)}


def test_a_killed_service_has_left_no_damage(data_dir: Path) -> None:
    assert names_served(data_dir) == ALL


def test_a_torn_last_transaction_is_no_damage(data_dir: Path) -> None:
    frames = frames_of(data_dir / LOG)
    assert frames[-1][1]
    overwrite(data_dir / LOG, frames[-1][0] + 24 + 100, 2000)
    # Nobody was told of it: it would have been synchronised first.
    assert names_served(data_dir) >= ALL - {"f-1-5"}


def test_a_log_that_was_never_begun_is_no_damage(data_dir: Path) -> None:
    closed(data_dir)
    (data_dir / LOG).write_bytes(b"")
    assert names_served(data_dir) == ALL


def test_a_start_that_was_killed_at_its_beginning_is_no_damage(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "lock").touch()
    (data_dir / DATABASE).touch()
    assert names_served(data_dir) == set()


def test_a_database_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / DATABASE).mkdir(parents=True)
    (data_dir / "lock").touch()
    ended = start_once(data_dir)
    assert ended.returncode == 1
    assert f"the disk refused to read {data_dir / DATABASE}: " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_damage_that_a_start_does_not_see_ends_the_service_when_it_is_met_with(data_dir: Path) -> None:
    """A large database is not looked at as a whole."""
    closed(data_dir)
    database = data_dir / DATABASE
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO event_payloads SELECT -1 - value, zeroblob(1000000) FROM json_each(?)",
            (json.dumps([*range(18)]),),
        )
    connection.close()
    assert database.stat().st_size > WHOLE_CHECK_BYTES
    overwrite(database, 4096 * (page_of(database, "event_history") - 1), 4096)
    with ServedProcess(data_dir) as running:
        assert running.functions.post("f-0-0", X_Amz_Invocation_Type="Event").status == 500
        assert running.process.wait(END_SECONDS) == 1
        said = running.complaint()
    assert f"vk: the service has ended: the store failed and takes no more changes until a restart: {database} " in said
    assert ".recover" in said
    assert "Traceback" not in said
