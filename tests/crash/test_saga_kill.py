"""kill -9 of the process that runs a saga, at any point of it: another process ends it, done or undone."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.crash.saga_program import LATER_SECONDS, STEPS, Order, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count(1)
# Of a run that succeeds, and of one whose last step fails.
WRITES = {"": 5, "ship": 8}
# What the process is killed at, and which step fails.
POINTS = [
    *(
        (f"write:{nth}:{when}", fails)
        for fails, last in WRITES.items()
        for nth in range(1, last + 1)
        for when in ("before", "after")
    ),
    *((f"step:{name}:{when}", "") for name in STEPS for when in ("before", "after")),
    *((f"step:-{name}:{when}", "ship") for name in STEPS[:3] for when in ("before", "after")),
]
SOME = [("write:1:after", ""), ("write:3:before", ""), ("step:pay:after", ""), ("step:-reserve:after", "ship")]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a store that processes share."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'sagas.db'}"
    url = request.getfixturevalue("moto_url")
    for name, value in {"REGION": "us-east-1", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "a"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    table = f"sagas-{next(_NUMBERS)}"
    boto3.client("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return f"dynamodb:{table}"


def process(*arguments: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.crash.saga_program", *arguments]
    return subprocess.Popen(
        command, env=environ, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def die_and_resume(store: str, kill: str, fails: str, journal: Path) -> None:
    """Kill a process at a point, go on with the saga in this one, and see that nothing was left out."""
    killed = process(store, "run", "1", fails, kill, str(journal))
    _, complaint = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, complaint
    order = Order(journal, fails, "")
    made = order.saga(store_of(store), lambda: time.time() + LATER_SECONDS)
    # Begun before its first write or not: the same call begins or goes on.
    result = made.run({"orderId": "1"}, "1")
    journaled = journal.read_text().split()
    if not fails:
        assert result.record.status == "completed"
        assert result.context == {"orderId": "1"} | dict.fromkeys(STEPS, True)
        assert set(journaled) == set(STEPS)
        assert (journaled[0], journaled[-1]) == ("reserve", "ship")
        return
    assert result.record.status == "compensated"
    undone = [name for name in journaled if name.startswith("-")]
    # The step that fails may have run, for all that its record says, if the process died in it.
    unsure = ["-ship"] if kill in ("write:4:after", "write:5:before") else []
    assert list(dict.fromkeys(undone)) == [*unsure, "-notify", "-pay", "-reserve"]
    assert journaled.index(undone[0]) == len(journaled) - len(undone), "nothing is done after the first undoing"


@pytest.mark.parametrize(
    ("store", "kill", "fails"), [("sqlite", *one) for one in SOME] + [("dynamodb", *SOME[1])], indirect=["store"]
)
def test_a_killed_saga_is_ended_by_another_process(store: str, kill: str, fails: str, tmp_path: Path) -> None:
    die_and_resume(store, kill, fails, tmp_path / "journal")


@pytest.mark.full
@pytest.mark.parametrize("store", ["sqlite", "dynamodb"], indirect=True)
@pytest.mark.parametrize(("kill", "fails"), POINTS)
def test_a_killed_saga_is_ended_wherever_it_was(store: str, kill: str, fails: str, tmp_path: Path) -> None:
    die_and_resume(store, kill, fails, tmp_path / "journal")


def test_of_two_processes_one_goes_on_with_a_saga(tmp_path: Path) -> None:
    store, journal = f"sqlite:{tmp_path / 'sagas.db'}", tmp_path / "journal"
    killed = process(store, "run", "1", "", "write:2:after", str(journal))
    killed.communicate(timeout=60)
    several = [process(store, "resume", "1", "", "", str(journal)) for _ in range(2)]
    for each in several:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    told: list[Any] = [each.communicate(timeout=60) for each in several]
    assert sorted({out.strip() for out, _ in told} | {"busy"}) == ["busy", "completed"], told
    assert journal.read_text().split().count("ship") == 1
