"""What is sent and what runs: functions that write down every run, and a plan of events that mostly succeed."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.reliability.clients import PlannedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.service.harness import FunctionSet

OK, FAILS, FAILS_ONCE, HANGS = "ok", "fails", "once", "hangs"
"""What the function of an event does."""
SYNCHRONOUS = "synchronous"
"""The kind of what is no event, but an invocation whose caller waits."""
SHARES = {FAILS: 0.05, HANGS: 0.02, FAILS_ONCE: 0.05}
QUICK_SHARES = {FAILS: 0.1, FAILS_ONCE: 0.1}
"""Without functions that run into their timeout: tests of other things need not wait for them."""
WORKERS = ("worker-a", "worker-b")
SLOW_WORKER = "worker-slow"
"""Runs what hangs, and little else: what waits behind that waits long."""
SLOW_SHARE = 0.05
ATTEMPTS = {**dict.fromkeys(WORKERS, 3), SLOW_WORKER: 2}
"""How often an event is tried that always fails."""
DESTINATION = "destination"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:records"
"""An address for the records of failed events in place of the function; only a service that is a test knows it."""
RETRY_DELAYS = (0.05, 0.1)
OPTIONS = (
    "--async-retry-delays",
    ",".join(str(delay) for delay in RETRY_DELAYS),
    "--event-history-limit",
    "10000000",
    "--log-level",
    "warning",
)
"""Of ``vk serve``: short delays between the tries, and nothing forgotten before it was looked at."""

WORKER_SOURCE = """
import os, time
from pathlib import Path
# The one with the data directory from which this file is run, wherever that was copied to.
FOLDER = next(parent for parent in Path(__file__).resolve().parents if (parent / "marks").is_dir())
LOG = os.open(FOLDER / "runs", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def handler(event, context):
    line = f"{context.aws_request_id} {event['n']} {event['kind']} {time.monotonic():.6f}\\n"
    os.write(LOG, line.encode())
    kind = event["kind"]
    if kind == "hangs":
        time.sleep(600)
    if kind == "fails" or (kind == "once" and first_run_of(event["n"])):
        raise RuntimeError("as planned")
    return event["n"]
def first_run_of(number):
    try:
        os.close(os.open(FOLDER / "marks" / str(number), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True
"""

DESTINATION_SOURCE = """
import os
from pathlib import Path
FOLDER = next(parent for parent in Path(__file__).resolve().parents if (parent / "marks").is_dir())
LOG = os.open(FOLDER / "arrived", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def handler(event, context):
    about = event["requestContext"]
    line = f"{about['requestId']} {about['condition']} {about['approximateInvokeCount']}\\n"
    os.write(LOG, line.encode())
"""


@dataclass(frozen=True)
class Run:
    """A line of a worker: which event it ran, and when (monotonic seconds)."""

    request_id: str
    number: int
    kind: str
    at: float


@dataclass(frozen=True)
class Acknowledged:
    """A line of the ledger."""

    request_id: str
    number: int
    kind: str
    function: str


@dataclass(frozen=True)
class Files:
    """Where everything is written down, below one folder."""

    folder: Path

    def __post_init__(self) -> None:
        self.marks.mkdir(parents=True, exist_ok=True)

    @property
    def data_dir(self) -> Path:
        """The service's."""
        return self.folder / "data"

    @property
    def ledger(self) -> Path:
        """What the clients were told."""
        return self.folder / "ledger"

    @property
    def runs(self) -> Path:
        """What the workers have run."""
        return self.folder / "runs"

    @property
    def arrived(self) -> Path:
        """What the destination has received."""
        return self.folder / "arrived"

    @property
    def marks(self) -> Path:
        """A file for each event that has failed as the only time it shall."""
        return self.folder / "marks"

    @property
    def database(self) -> Path:
        """The service's database."""
        return self.data_dir / "venturekit.sqlite3"

    def acknowledged(self) -> list[Acknowledged]:
        """What the clients were told."""
        rows = (line.split() for line in self._lines(self.ledger))
        return [Acknowledged(request_id, int(number), kind, function) for request_id, number, kind, function in rows]

    def all_runs(self) -> list[Run]:
        """What the workers have run."""
        rows = (line.split() for line in self._lines(self.runs))
        return [Run(request_id, int(number), kind, float(at)) for request_id, number, kind, at in rows]

    def all_arrived(self) -> Counter[str]:
        """How many records have reached the destination, by the request id that they are about."""
        return Counter(line.split()[0] for line in self._lines(self.arrived))

    def _lines(self, path: Path) -> list[str]:
        return path.read_text().splitlines() if path.exists() else []


def create_functions(functions: FunctionSet, on_failure: str = "") -> None:
    """The workers, and the destination of what they fail at: the ARN ``on_failure`` for one of them."""
    destination = functions.create(DESTINATION_SOURCE, name=DESTINATION, wait=False, Timeout=30)
    for name in ATTEMPTS:
        functions.create(WORKER_SOURCE, name=name, wait=False, Timeout=1)
    arn = functions.client.get_function_configuration(FunctionName=destination)["FunctionArn"]
    for name, target in zip(ATTEMPTS, (arn, on_failure or arn, arn), strict=True):
        functions.client.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=ATTEMPTS[name] - 1,
            DestinationConfig={"OnFailure": {"Destination": target}},
        )
    for name in (*ATTEMPTS, destination):
        functions.wait_active(name)


class Plan:
    """Numbered events without end, the same for the same seed. What is taken is taken through a :meth:`share`."""

    def __init__(self, seed: int, shares: Mapping[str, float]) -> None:
        self._random = random.Random(seed)
        self._shares = shares
        self._number = 0

    def share(self, count: int) -> Iterator[PlannedEvent]:
        """The next ``count`` events."""
        for _ in range(count):
            self._number += 1
            kind = self._kind()
            slow = self._random.random() < SLOW_SHARE or kind == HANGS
            yield PlannedEvent(self._number, kind, SLOW_WORKER if slow else self._random.choice(WORKERS))

    def _kind(self) -> str:
        drawn = self._random.random()
        for kind, share in self._shares.items():
            drawn -= share
            if drawn < 0:
                return kind
        return OK
