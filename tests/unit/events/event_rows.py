"""Events of every state in a real store."""

from __future__ import annotations

import itertools
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

from venturekit.service.store import event_changes
from venturekit.service.store.event_documents import NewDelivery, NewEvent, Settlement, Transition
from venturekit.service.store.events import insert_events, take_turn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from venturekit.service.store import Store

OWN = "000000000000"
OTHER = "111122223333"
LEASE = "this process"
NOW = 1_000.0
WALL = 1_700_000_000.0
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failed"
TOPIC = "arn:aws:sns:us-east-1:000000000000:failed"
FUTURE = NOW + 60.0
_NUMBERS = itertools.count(1)


def delivery(target: str = QUEUE, due_at: float = FUTURE, kind: str = "OnFailure") -> NewDelivery:
    return NewDelivery(
        kind=kind,
        target=target,
        body=b"record",
        attributes="{}",
        source="arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
        trace="",
        due_at=due_at,
        created_wall=WALL,
    )


class Rows:
    """Puts events into a store as the service does, and looks at the tables."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def do(self, intention: Any) -> Any:
        return self.store.submit(intention).result(30)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.do(lambda connection: connection.execute(statement, values).fetchall())
        return found

    def add(
        self,
        state: str = "queued",
        *,
        account_id: str = OWN,
        function: str = "f",
        owed: Sequence[NewDelivery] = (),
        request_id: str | None = None,
        payload: bytes = b'{"a":1}',
        ended: float = NOW,
    ) -> int:
        """An event that has come to this state; ``ended`` is when, on both clocks."""
        event = NewEvent(
            account_id, function, "", request_id or str(uuid.UUID(int=next(_NUMBERS))), payload, "Root=1", NOW, WALL
        )
        self.do(partial(insert_events, events=[event]))
        ((number,),) = self.query("SELECT max(id) FROM events")
        if state == "dropped":
            self.do(partial(event_changes.drop, account_id=account_id, event_ids=[number], now=ended, wall=WALL))
        elif state != "queued":
            self.claim(number)
        if state in ("succeeded", "failed"):
            self.settle(number, state, owed, ended=ended)
        return int(number)

    def claim(self, number: int) -> None:
        """What the dispatcher does, for this very event."""

        def hold(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE events SET state = 'running', lease = ? WHERE id = ?", (LEASE, number))

        self.do(hold)

    def settle(
        self, number: int, state: str, owed: Sequence[NewDelivery] = (), *, due_at: float = FUTURE, ended: float = NOW
    ) -> bool:
        """The end of a run; ``queued`` is one that is to be run again at ``due_at``. False when it came too late."""
        is_final = state != "queued"
        settlement = Settlement(
            event_id=number,
            state=state,
            attempts=2,
            backoffs=1,
            due_at=ended if is_final else due_at,
            history=[Transition(WALL + 1, {"queued": "error"}.get(state, state), '{"errorMessage":"no"}')],
            deliveries=owed,
            finished_wall=WALL + ended - NOW if is_final else None,
        )
        turn = self.do(partial(take_turn, lease=LEASE, settlements=[settlement], claims=[], now=NOW, wall=WALL))
        return not turn.stale

    def waiting(self, **members: Any) -> int:
        """An event that failed once and waits for its retry."""
        number = self.add("running", **members)
        self.settle(number, "queued")
        return number

    def state(self, number: int) -> str:
        ((state,),) = self.query("SELECT state FROM events WHERE id = ?", number)
        return str(state)

    def row(self, number: int, *columns: str) -> tuple[Any, ...]:
        (row,) = self.query(f"SELECT {', '.join(columns)} FROM events WHERE id = ?", number)
        return row

    def kinds(self, number: int) -> list[str]:
        """The kinds of the lines of its history."""
        return [
            kind for (kind,) in self.query("SELECT kind FROM event_history WHERE event_id = ? ORDER BY number", number)
        ]

    def owed(self, number: int) -> list[tuple[str, float]]:
        """Targets that something is owed to, and when it is due."""
        return [
            (target, due_at)
            for target, due_at in self.query(
                "SELECT target, due_at FROM deliveries WHERE event_id = ? ORDER BY id", number
            )
        ]
