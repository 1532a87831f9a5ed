"""What tests of asynchronous invocation share: functions that keep a ledger of their runs, and a look at the queue."""

from __future__ import annotations

import json
import os
import select
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.service.harness import WAIT_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.service.harness import FunctionSet, RunningService

# Writes a line for every run, then does what its event says: waits for a word, fails so often, sleeps, exits.
RECORDER = """
import json, os, time

def handler(event, context):
    told = event if isinstance(event, dict) else {}
    path = os.environ["LEDGER"]
    line = {
        "id": context.aws_request_id,
        "event": event,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "has_context": context.client_context is not None,
        "at": time.time(),
        "code": CODE,
    }
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\\n")
    if "wait" in told:
        here, go = os.open(told["wait"] + "/here", os.O_WRONLY), os.open(told["wait"] + "/go", os.O_RDONLY)
        os.write(here, b"x")
        os.read(go, 1)
    with open(path) as file:
        runs = sum(json.loads(each)["id"] == line["id"] for each in file)
    if runs <= told.get("fail", 0):
        if "exit" in told:
            os._exit(told["exit"])
        time.sleep(told.get("sleep", 0))
        raise ValueError(f"run {runs} fails as told")
    return {"runs": runs}
"""


def recorder(code: int = 1) -> str:
    """The source of a function that keeps a ledger; ``code`` tells its editions apart."""
    return f"CODE = {code}\n{RECORDER}"


@dataclass(frozen=True)
class Recorded:
    """One run of a function, as it saw it."""

    id: str
    event: Any
    version: str
    arn: str
    trace: str
    has_context: bool
    at: float
    code: int


class Ledger:
    """A function that writes down its runs, and what it has written."""

    def __init__(self, functions: FunctionSet, folder: Path, **members: Any) -> None:
        self.functions = functions
        self.path = folder / "ledger"
        self.path.touch()
        variables = {"LEDGER": str(self.path)}
        self.name = functions.create(recorder(), **{"Environment": {"Variables": variables}, "Timeout": 20, **members})

    def send(self, event: Any = None, *, name: str | None = None, **members: Any) -> str:
        """Invoke it asynchronously; gives the request id."""
        payload = json.dumps({} if event is None else event).encode()
        answer = self.functions.client.invoke(
            FunctionName=name or self.name, InvocationType="Event", Payload=payload, **members
        )
        assert answer["StatusCode"] == 202
        return str(answer["ResponseMetadata"]["RequestId"])

    def runs(self, request_id: str | None = None) -> list[Recorded]:
        """What has run up to now; the last line may be half written."""
        lines = [line for line in self.path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        found = [Recorded(**json.loads(line)) for line in lines]
        return [each for each in found if request_id in (None, each.id)]

    def wait(self, request_id: str | None = None, count: int = 1, seconds: float = WAIT_SECONDS) -> list[Recorded]:
        """Until it has run so often."""
        until(lambda: len(self.runs(request_id)) >= count, f"{count} runs", seconds)
        return self.runs(request_id)


class Meeting:
    """Holds runs that were told to wait here: two named pipes are the events."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.event = {"wait": str(folder)}
        os.mkfifo(folder / "here")
        os.mkfifo(folder / "go")
        # Both ends are kept open, so that nobody waits for the other side to open.
        self._here = os.open(folder / "here", os.O_RDWR)
        self._go = os.open(folder / "go", os.O_RDWR)

    def wait_for(self, count: int, seconds: float = WAIT_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while count:
            ready, _, _ = select.select([self._here], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{count} runs have not begun"
            count -= len(os.read(self._here, count))

    def release(self, count: int) -> None:
        os.write(self._go, b"x" * count)

    def close(self) -> None:
        os.close(self._here)
        os.close(self._go)


@dataclass(frozen=True)
class Line:
    """One line of an event's history."""

    kind: str
    wall: float
    detail: Mapping[str, Any]


class Queue:
    """The events of a service as they are on disk."""

    def __init__(self, running: RunningService) -> None:
        self._path = running.data_dir / "venturekit.sqlite3"

    def rows(self, query: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            return connection.execute(query, values).fetchall()

    def states(self, function: str) -> dict[str, int]:
        """How many events of a function there are in which state."""
        return dict(self.rows("SELECT state, count(*) FROM events WHERE function_name = ? GROUP BY 1", function))

    def state(self, request_id: str) -> str:
        ((state,),) = self.rows("SELECT state FROM events WHERE request_id = ?", request_id)
        return str(state)

    def history(self, request_id: str) -> list[Line]:
        found = self.rows(
            "SELECT kind, wall, detail FROM event_history JOIN events ON id = event_id WHERE request_id = ? "
            "ORDER BY number",
            request_id,
        )
        return [Line(kind, wall, json.loads(detail) if detail else {}) for kind, wall, detail in found]

    def kinds(self, request_id: str) -> list[str]:
        return [line.kind for line in self.history(request_id)]

    def ended(self, request_id: str, state: str = "succeeded", seconds: float = WAIT_SECONDS) -> list[Line]:
        """The history of an event that must come to end so."""
        until(lambda: self.state(request_id) not in ("queued", "running"), f"{request_id} ends", seconds)
        assert self.state(request_id) == state, self.history(request_id)
        return self.history(request_id)

    def all_ended(self, function: str, seconds: float = WAIT_SECONDS) -> dict[str, int]:
        """The states of a function's events when none of them waits or runs any more."""
        until(lambda: not {"queued", "running"} & set(self.states(function)), f"all of {function} end", seconds)
        return self.states(function)
