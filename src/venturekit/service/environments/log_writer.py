"""Keeping logs on disk beside the service's loop: a queue with bounds, and one thread that writes.

An invocation pays for one append to the queue. A disk that is slow, full or gone costs log records, nothing else.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.log_disk import LogDisk
    from venturekit.service.environments.log_names import LogName
    from venturekit.service.environments.log_records import Message, Record

    Keep = Callable[[float, str, Message], None]
    """Takes a record of one log: time in epoch seconds, stream, message."""

QUEUE_LIMIT_RECORDS: Final = 50_000
QUEUE_LIMIT_BYTES: Final = 32 * 1024 * 1024
BATCH_RECORDS: Final = 32
"""How many records are rendered in a row: meanwhile the loop waits for the interpreter's lock."""
BATCHES_BEHIND: Final = 50
"""In how many batches a queue is worked off that has grown long: to keep up is more then than a short wait."""
PAUSE_SECONDS: Final = 0.0002
"""Between two batches: whoever lets go of the interpreter's lock only to write has it back before the loop wakes."""
LINGER_SECONDS: Final = 0.1
"""How long records gather: to wake a thread costs more than a warm invocation's bookkeeping."""
CLOSE_SECONDS: Final = 5.0


class LogWriter:
    """Writes to ``disk``, which it owns, what :meth:`keep` takes. ``warn`` is called from the thread."""

    def __init__(self, disk: LogDisk, *, wall: Callable[[], float], warn: Callable[..., None]) -> None:
        self.disk = disk
        self._wall = wall
        self._warn = warn
        self._queue: deque[tuple[LogName, Record, int]] = deque()
        # Each is changed by one thread alone: the difference is what waits.
        self._queued = self._queued_bytes = 0
        self._taken = self._taken_bytes = 0
        self._dropped: dict[LogName, int] = {}
        self._dropping = threading.Lock()
        self._failing = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def keep(self, name: LogName) -> Keep:
        """What takes the records of one log. To be called by one thread."""
        return partial(self._keep, name)

    def close(self) -> None:
        """Write what is queued, as far as the disk takes it in time, and close the disk."""
        self._closing.set()
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn("the disk of the log directory does not answer: the end of some logs may be missing")

    def _keep(self, name: LogName, timestamp: float, stream: str, message: Message) -> None:
        size = len(message) if type(message) is bytes else 0
        if (
            self._queued - self._taken >= QUEUE_LIMIT_RECORDS
            or self._queued_bytes - self._taken_bytes + size > QUEUE_LIMIT_BYTES
        ):
            self._drop(name, 1)
            return
        self._queued += 1
        self._queued_bytes += size
        self._queue.append((name, (timestamp, stream, message), size))
        if not self._wake.is_set():
            self._wake.set()

    def _drop(self, name: LogName, records: int) -> None:
        with self._dropping:
            self._dropped[name] = self._dropped.get(name, 0) + records

    # --- the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(LINGER_SECONDS)
            self._wake.clear()
            self.drain()
        self.drain()
        self.disk.close()

    def drain(self) -> None:
        """Write all that is queued: what the thread does."""
        while self._queue:
            self._write(self._take())
            self._closing.wait(PAUSE_SECONDS)
        if self._dropped and not self._failing:
            self._tell_of_dropped()

    def _take(self) -> dict[LogName, list[Record]]:
        """The next records, by their logs."""
        taken: dict[LogName, list[Record]] = {}
        size = 0
        waiting = len(self._queue)
        count = min(waiting, max(BATCH_RECORDS, waiting // BATCHES_BEHIND))
        for _ in range(count):
            name, record, record_bytes = self._queue.popleft()
            taken.setdefault(name, []).append(record)
            size += record_bytes
        self._taken += count
        self._taken_bytes += size
        return taken

    def _write(self, batch: dict[LogName, list[Record]]) -> None:
        for name, records in batch.items():
            try:
                self.disk.write(name, records)
                self.disk.prune_if_due(self._wall())
            except Exception as error:
                # Whatever it is, the thread goes on: one warning for as long as it lasts.
                self._drop(name, len(records))
                if not self._failing:
                    self._failing = True
                    self._warn("function logs are not kept in %s for now: %s", self.disk.directory, error)
            else:
                if self._failing:
                    self._failing = False
                    self._warn("function logs are kept in %s again", self.disk.directory)

    def _tell_of_dropped(self) -> None:
        with self._dropping:
            dropped, self._dropped = self._dropped, {}
        now = self._wall()
        for name, count in dropped.items():
            text = f"[WARNING] {count} log records before this one are missing: the log directory could not take them\n"
            self._write({name: [(now, "", text.encode())]})
            if self._failing:
                # Not told: the count stays, less the line that was lost just now.
                self._drop(name, count - 1)
