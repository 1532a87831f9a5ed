"""What the end of an event hands on when functions lead to one another in a loop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from venturekit.protocol.lineage import STOPPED, key_of
from venturekit.service.events.invocation_record import Outcome
from venturekit.service.events.retry import RECURSIVE_INVOCATION, ZERO_RESERVED_CONCURRENCY, Ended, EventPolicy
from venturekit.service.events.settlement import Moment, Try, given_up, settled
from venturekit.service.store.event_documents import ClaimedEvent, Settlement

SOURCE = "arn:aws:lambda:eu-west-1:123456789012:function:f:live"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:g"
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:q"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0"
MOMENT = Moment(1000.0, 2000.0)


def lineage(rounds: int) -> str:
    return f";Lineage=1:{key_of(SOURCE)}:{rounds - 1}" if rounds else ""


def event_after(rounds: int) -> ClaimedEvent:
    """An event in a chain of requests in which its function has run so often."""
    return ClaimedEvent(1, "123456789012", "f", "live", "id", b"{}", TRACE + lineage(rounds), 990.0, 0, 0)


def stopped(rounds: int, policy: EventPolicy, condition: str = RECURSIVE_INVOCATION) -> Settlement:
    return given_up(event_after(rounds), condition, STOPPED, policy=policy, source=SOURCE, moment=MOMENT)


def detail_of(settlement: Settlement) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(settlement.history[-1].detail)
    return found


@pytest.mark.parametrize("rounds", [0, 1, 15])
@pytest.mark.parametrize("error", ["", "Unhandled"])
def test_what_follows_from_a_run_has_the_trace_of_the_function(rounds: int, error: str) -> None:
    policy = EventPolicy(maximum_retry_attempts=0, on_success=FUNCTION, on_failure=FUNCTION, dead_letter=QUEUE)
    ended = Ended.FUNCTION_ERROR if error else Ended.SUCCESS
    settlement = settled(
        event_after(rounds),
        Try(ended=ended, outcome=Outcome("$LATEST", b"{}", error)),
        policy=policy,
        source=SOURCE,
        moment=MOMENT,
        delays_seconds=(60.0,),
    )
    assert [delivery.trace for delivery in settlement.deliveries] == [TRACE + lineage(rounds + 1)] * (2 if error else 1)


@pytest.mark.parametrize("rounds", [16, 17, 31])
def test_a_stopped_event_goes_to_its_destination(rounds: int) -> None:
    settlement = stopped(rounds, EventPolicy(on_failure=FUNCTION, dead_letter=QUEUE))
    assert [(each.kind, each.target) for each in settlement.deliveries] == [
        ("OnFailure", FUNCTION),
        ("DeadLetter", QUEUE),
    ]
    assert {delivery.trace for delivery in settlement.deliveries} == {TRACE + lineage(rounds + 1)}
    assert json.loads(settlement.deliveries[1].attributes)["ErrorMessage"]["StringValue"] == STOPPED
    assert detail_of(settlement) == {"condition": RECURSIVE_INVOCATION, "reason": STOPPED}


@pytest.mark.parametrize("rounds", [32, 33, 1000])
def test_a_loop_of_stopped_events_ends(rounds: int) -> None:
    settlement = stopped(rounds, EventPolicy(on_failure=FUNCTION, dead_letter=QUEUE))
    assert [(each.kind, each.target) for each in settlement.deliveries] == [("DeadLetter", QUEUE)]
    reason = detail_of(settlement)["reason"]
    assert reason == f"{STOPPED} The loop goes on through its destination: no record is sent to {FUNCTION}."


def test_only_functions_are_no_longer_told() -> None:
    settlement = stopped(1000, EventPolicy(on_failure=QUEUE))
    assert [delivery.target for delivery in settlement.deliveries] == [QUEUE]
    assert detail_of(settlement)["reason"] == STOPPED


def test_another_end_of_an_event_is_always_told() -> None:
    """A function that is allowed to loop may have many rounds behind it."""
    settlement = stopped(1000, EventPolicy(on_failure=FUNCTION), ZERO_RESERVED_CONCURRENCY)
    assert [delivery.target for delivery in settlement.deliveries] == [FUNCTION]
