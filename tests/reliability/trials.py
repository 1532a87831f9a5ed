"""Events that are sent one by one, to see how each is answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.reliability.clients import EventConnection, PlannedEvent
from tests.reliability.workload import OK, WORKERS

if TYPE_CHECKING:
    from tests.reliability.serving import ServedProcess
    from tests.reliability.stage import Stage

ANSWER_SECONDS = 1.0
FIRST_NUMBER = 1_000_000


class Trials:
    """Sends single events to a service of a stage; what is acknowledged goes into its ledger."""

    def __init__(self, stage: Stage, running: ServedProcess) -> None:
        self._stage = stage
        self._running = running
        self._sent = 0

    def send(self) -> int:
        """The status that one more event is answered with. Raises OSError when the service is gone."""
        self._sent += 1
        event = PlannedEvent(FIRST_NUMBER + self._sent, OK, WORKERS[0])
        connection = EventConnection(self._running.url)
        try:
            answer = connection.send(event)
        finally:
            connection.close()
        if answer.status == 202:
            self._stage.ledger.add(answer, event)
        return answer.status

    def answers(self, count: int) -> list[int]:
        """The answers to so many events, each of which came soon."""
        statuses = []
        for _ in range(count):
            began = time.monotonic()
            statuses.append(self.send())
            assert time.monotonic() - began < ANSWER_SECONDS, "an answer took too long"
        return statuses
