"""A disk that refuses: never a 202 for what is not on it, and back to work when it takes data again. A disk that loses
what it was told to keep: the end of the service."""

from __future__ import annotations

import errno
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.reliability import checker
from tests.reliability.broken_service import (
    believes_in_every_commit,
    broken_program,
    takes_a_failed_sync_for_a_refusal,
)
from tests.reliability.disk_faults import Action, DiskFaults, Operation
from tests.reliability.serving import END_SECONDS
from tests.reliability.stage import Stage
from tests.reliability.trials import Trials
from tests.reliability.workload import QUICK_SHARES, SYNCHRONOUS, WORKERS, Files
from tests.service.harness import RunningService, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.reliability.serving import ServedProcess

DATABASE = "/venturekit.sqlite3"
LOG = "/venturekit.sqlite3-wal"
BEFORE = 60
RECOVERY_SECONDS = 5.0


@pytest.fixture
def stage(tmp_path: Path, prepared: Path) -> Iterator[Stage]:
    with Stage(Files(tmp_path), seed=7, shares=QUICK_SHARES, prepared=prepared) as stage:
        yield stage


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (errno.EIO, Action.FAIL),
        (errno.EIO, Action.FAIL_TORN),
        (errno.ENOSPC, Action.FAIL_TORN),
    ],
    ids=["EIO", "EIO-torn", "ENOSPC-torn"],
)
def test_a_disk_that_refuses_writes_gets_no_202_and_is_used_again(
    stage: Stage, faults: DiskFaults, error: int, action: Action
) -> None:
    with stage.life(environ=faults.environ) as (running, _):
        trials = Trials(stage, running.wait_ready())
        with stage.flow(running, BEFORE):
            stage.wait_acknowledged(BEFORE)
        # In the midst of the work: what runs now cannot be settled.
        faults.begin(Operation.WRITES, LOG, error, action=action)
        until(lambda: faults.hits, "the disk refuses something")
        assert set(trials.answers(20)) == {500}
        assert running.functions.invoke(WORKERS[0], {"n": 0, "kind": SYNCHRONOUS}).value == 0
        faults.end()
        until(lambda: trials.send() == 202, "events are accepted again", RECOVERY_SECONDS)
        checker.wait_at_rest(stage.files.database, RECOVERY_SECONDS)
        assert running.process.poll() is None
        print(running.complaint())
    assert stage.rest().report() == ""


@pytest.mark.parametrize("operation", [Operation.WRITES, Operation.SYNCS], ids=["writes", "syncs"])
def test_a_checkpoint_that_fails_loses_nothing(stage: Stage, faults: DiskFaults, operation: Operation) -> None:
    """The log keeps what could not be moved into the database."""
    with stage.life(environ=faults.environ) as (running, _):
        faults.begin(operation, DATABASE, errno.EIO)
        with stage.flow(running.wait_ready(), 400):
            until(lambda: faults.hits > 2, "checkpoints fail")
            stage.wait_acknowledged(400)
    assert stage.rest(50).report() == ""


def answers_until_the_end(trials: Trials, running: ServedProcess) -> set[int]:
    """How events are answered until the service is gone; 0 stands for a connection that it has closed."""
    answers = set()
    deadline = time.monotonic() + END_SECONDS
    while running.process.poll() is None:
        assert time.monotonic() < deadline, "the service goes on"
        try:
            answers.add(trials.send())
        except OSError:
            answers.add(0)
    return answers


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Operation.SYNCS, "disk I/O error). Look for errors of its disk"),
        (Operation.READS | Operation.WRITES, "is damaged, or its disk cannot be read ("),
    ],
    ids=["syncs", "reads-and-writes"],
)
def test_what_cannot_be_mended_ends_the_service(
    stage: Stage, faults: DiskFaults, operation: Operation, reason: str
) -> None:
    """A failed sync, because nobody knows what is on the disk; a failed read, because SQLite calls that damage."""
    with stage.life(environ=faults.environ) as (running, _):
        trials = Trials(stage, running.wait_ready())
        with stage.flow(running, BEFORE):
            stage.wait_acknowledged(BEFORE)
            faults.begin(operation, LOG, errno.EIO)
        answers = answers_until_the_end(trials, running)
        assert faults.hits
        # Not one more: neither of those that failed with it, nor of those that came later.
        assert answers <= {500, 0}
        assert stage.ledger.count == BEFORE
        assert running.process.wait(END_SECONDS) == 1
        said = running.complaint()
        assert str(stage.files.database) in said
        assert reason in said
        assert "vk: the service has ended: the store failed" in said
        assert "Traceback" not in said
    assert stage.rest(50).report() == ""


def test_nothing_is_acknowledged_after_a_failed_sync_though_the_next_would_go_well(
    stage: Stage, faults: DiskFaults
) -> None:
    with stage.life(environ=faults.environ) as (running, _):
        trials = Trials(stage, running.wait_ready())
        faults.begin(Operation.SYNCS, LOG, errno.EIO)
        assert trials.send() == 500
        faults.end()
        assert answers_until_the_end(trials, running) <= {500, 0}
        assert running.process.wait(END_SECONDS) == 1
    assert stage.rest(50).report() == ""


def test_a_disk_that_fails_at_the_start_is_named(stage: Stage, faults: DiskFaults) -> None:
    faults.begin(Operation.READS, DATABASE, errno.EIO)
    running = stage.serve(environ=faults.environ)
    assert running.process.wait(END_SECONDS) == 1
    assert f"the disk refused to read {stage.files.database}: disk I/O error" in running.complaint()
    faults.end()
    assert stage.rest(10).report() == ""


# --- controls, and what a service in this process shows ----------------------------------------------------------


@pytest.mark.full
def test_the_check_convicts_a_service_that_believes_in_every_commit(stage: Stage, faults: DiskFaults) -> None:
    with stage.life(broken_program(believes_in_every_commit), environ=faults.environ) as (running, _):
        trials = Trials(stage, running.wait_ready())
        faults.begin(Operation.WRITES, LOG, errno.EIO)
        assert trials.answers(5) == [202] * 5
        stage.wait_acknowledged(5)
    assert checker.LOST in stage.rest(10).kinds


def test_a_service_that_goes_on_after_a_failed_sync_is_convicted(stage: Stage, faults: DiskFaults) -> None:
    with stage.life(broken_program(takes_a_failed_sync_for_a_refusal), environ=faults.environ) as (running, _):
        trials = Trials(stage, running.wait_ready())
        faults.begin(Operation.SYNCS, LOG, errno.EIO)
        assert trials.send() == 500
        faults.end()
        # What the tests above do not let pass.
        until(lambda: trials.send() == 202, "it acknowledges again", RECOVERY_SECONDS)


class FailingSync:
    """The writer's connection, on a disk that does not keep what it was told to keep."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        """As the connection does, but for commits."""
        if sql == "COMMIT":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error
        return self._connection.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_health_tells_of_a_failed_sync_and_running_functions_go_on(tmp_path: Path) -> None:
    running = RunningService(tmp_path / "data")
    functions = running.functions()
    name = functions.create("def handler(event, context): return event")
    assert running.health()["status"] == "ok"
    writer = running.service._store._writer
    writer._connection = FailingSync(writer._connection)
    for _ in range(3):
        refused = functions.post(name, X_Amz_Invocation_Type="Event")
        assert (refused.status, refused.headers["x-amzn-ErrorType"]) == (500, "ServiceException")
        assert "was not accepted" in refused.json["Message"]
    assert running.health()["status"] == "failed"
    assert functions.invoke(name, 7).value == 7
    assert "the store failed and takes no more changes until a restart" in "".join(running.trouble.found)
    running.trouble.found.clear()
    running.close()
