"""From the end of a try to what the store is told."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.events.invocation_record import Outcome
from venturekit.service.events.retry import Ended, EventPolicy
from venturekit.service.events.settlement import MESSAGE_LIMIT, Moment, Try, given_up, settled, succeeded
from venturekit.service.store.event_documents import FAILED, QUEUED, SUCCEEDED, ClaimedEvent, Settlement

SOURCE = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failures"
OTHER_QUEUE = "arn:aws:sqs:us-east-1:000000000000:successes"
LETTERS = "arn:aws:sqs:us-east-1:000000000000:letters"
EVENT = ClaimedEvent(
    7, "000000000000", "f", "", "8d2e93c3-92a5-43b8-8a8f-00c0ce9d9b5e", b'{"a":1}', "Root=1-2-3", 1000.0, 0, 0
)
MOMENT = Moment(1000.5, 1_800_000_000.5)
ALL = EventPolicy(on_success=OTHER_QUEUE, on_failure=QUEUE, dead_letter=LETTERS)
ERROR = Try(
    ended=Ended.FUNCTION_ERROR,
    outcome=Outcome("$LATEST", b'{"errorMessage":"no","errorType":"ValueError"}', "Unhandled"),
    duration_ms=1.2345,
)


def settle(made: Try, *, event: ClaimedEvent = EVENT, policy: EventPolicy = ALL) -> Settlement:
    return settled(event, made, policy=policy, source=SOURCE, moment=MOMENT, delays_seconds=(60.0, 120.0))


def lines(settlement: Settlement) -> list[tuple[str, Any]]:
    assert all(line.wall == MOMENT.wall for line in settlement.history)
    return [(line.kind, json.loads(line.detail) if line.detail else {}) for line in settlement.history]


def owed(settlement: Settlement) -> list[tuple[str, str]]:
    for delivery in settlement.deliveries:
        assert (delivery.source, delivery.due_at) == (SOURCE, MOMENT.steady)
        assert delivery.created_wall == MOMENT.wall
    return [(delivery.kind, delivery.target) for delivery in settlement.deliveries]


def test_a_success_ends_the_event_and_owes_its_record() -> None:
    made = settle(Try(ended=Ended.SUCCESS, outcome=Outcome("3", b"[1]", ""), duration_ms=14.6512))
    assert (made.event_id, made.state, made.attempts, made.backoffs) == (7, SUCCEEDED, 1, 0)
    assert made.finished_wall == MOMENT.wall
    assert lines(made) == [("succeeded", {"executedVersion": "3", "durationMs": 14.65})]
    assert owed(made) == [("OnSuccess", OTHER_QUEUE)]
    record = json.loads(made.deliveries[0].body)
    assert record["requestContext"]["condition"] == "Success"
    assert record["responsePayload"] == [1]


@given(
    version=st.sampled_from(["$LATEST", "1", "1204"]),
    duration_ms=st.floats(0, 900_000),
    attempts=st.integers(0, 2),
    backoffs=st.integers(0, 40),
)
def test_a_success_nobody_is_told_of_is_the_same_at_less_expense(
    version: str, duration_ms: float, attempts: int, backoffs: int
) -> None:
    event = replace(EVENT, attempts=attempts, backoffs=backoffs)
    made = Try(ended=Ended.SUCCESS, outcome=Outcome(version, b"", ""), duration_ms=duration_ms)
    expected = settle(made, event=event, policy=EventPolicy(on_failure=QUEUE, dead_letter=LETTERS))
    found = succeeded(event, version, duration_ms, MOMENT)
    assert replace(found, deliveries=[]) == expected


def test_a_function_error_is_tried_again_after_its_delay() -> None:
    made = settle(ERROR)
    assert (made.state, made.attempts, made.due_at, made.finished_wall) == (QUEUED, 1, 1060.5, None)
    assert lines(made) == [
        (
            "error",
            {
                "executedVersion": "$LATEST",
                "durationMs": 1.23,
                "errorType": "ValueError",
                "errorMessage": "no",
                "nextDelaySeconds": 60.0,
            },
        )
    ]
    assert owed(made) == []


def test_the_last_function_error_owes_a_record_and_a_dead_letter() -> None:
    made = settle(ERROR, event=replace(EVENT, attempts=2))
    assert (made.state, made.attempts) == (FAILED, 3)
    assert [kind for kind, _ in lines(made)] == ["error", "failed"]
    assert lines(made)[1][1] == {"condition": "RetriesExhausted"}
    assert owed(made) == [("OnFailure", QUEUE), ("DeadLetter", LETTERS)]
    record, letter = made.deliveries
    assert json.loads(record.body)["requestContext"] == {
        "requestId": EVENT.request_id,
        "functionArn": SOURCE,
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert letter.body == EVENT.payload
    assert set(json.loads(letter.attributes)) == {"RequestID", "ErrorCode", "ErrorMessage"}


@pytest.mark.parametrize("kind", [Ended.THROTTLED, Ended.SYSTEM_ERROR])
def test_what_did_not_run_is_not_counted_and_says_why(kind: Ended) -> None:
    made = settle(Try(ended=kind, reason="no room"), event=replace(EVENT, backoffs=2))
    assert (made.state, made.attempts, made.backoffs, made.due_at) == (QUEUED, 0, 3, 1004.5)
    name = "throttled" if kind is Ended.THROTTLED else "system-error"
    assert lines(made) == [(name, {"reason": "no room", "nextDelaySeconds": 4.0})]


def test_a_throttle_too_late_for_another_try_is_the_end_without_an_answer() -> None:
    made = settle(Try(ended=Ended.THROTTLED, reason="no room"), event=replace(EVENT, accepted_at=-20_599.0))
    assert (made.state, made.attempts) == (FAILED, 0)
    assert lines(made) == [
        ("throttled", {"reason": "no room"}),
        ("failed", {"condition": "EventAgeExceeded", "reason": "no room"}),
    ]
    record = json.loads(made.deliveries[0].body)
    assert record["requestContext"]["condition"] == "EventAgeExceeded"
    assert "responseContext" not in record
    assert "responsePayload" not in record


def test_what_is_given_up_was_not_tried_again() -> None:
    event = replace(EVENT, attempts=1, backoffs=4)
    made = given_up(event, "ZeroReservedConcurrency", "the reserve is 0", policy=ALL, source=SOURCE, moment=MOMENT)
    assert (made.state, made.attempts, made.backoffs, made.finished_wall) == (FAILED, 1, 4, MOMENT.wall)
    assert lines(made) == [("failed", {"condition": "ZeroReservedConcurrency", "reason": "the reserve is 0"})]
    assert owed(made) == [("OnFailure", QUEUE), ("DeadLetter", LETTERS)]


@pytest.mark.parametrize(
    ("policy", "failed", "expected"),
    [
        (EventPolicy(), False, []),
        (EventPolicy(), True, []),
        (EventPolicy(on_success=QUEUE), True, []),
        (EventPolicy(on_failure=QUEUE, dead_letter=LETTERS), False, []),
        (EventPolicy(dead_letter=LETTERS), True, [("DeadLetter", LETTERS)]),
        (EventPolicy(on_failure=QUEUE), True, [("OnFailure", QUEUE)]),
    ],
)
def test_only_what_is_configured_is_owed(policy: EventPolicy, failed: bool, expected: list[tuple[str, str]]) -> None:
    success = Try(ended=Ended.SUCCESS, outcome=Outcome("$LATEST", b"", ""))
    made = settle(ERROR if failed else success, event=replace(EVENT, attempts=2), policy=policy)
    assert owed(made) == expected


HOSTILE = [
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"[1]",
    b'"text"',
    b"{",
    b"[" * 200_000,
    b'{"errorMessage":' + b"[" * 100_000,
    b"1" * 100_000,
    b'{"errorMessage":"\\ud800","errorType":"\\udfff"}',
    b'{"errorMessage":"\\u0000","errorType":5}',
    b'{"errorMessage":null}',
    b'{"errorMessage":"' + b"x" * 300_000 + b'"}',
    '{"errorMessage":"é😀"}'.encode("utf-16"),
]


def must_be_storable(settlement: Settlement) -> None:
    """SQLite takes text that is UTF-8; readers of the history take JSON objects."""
    for line in settlement.history:
        line.detail.encode()
        assert isinstance(json.loads(line.detail), dict)
        assert len(line.detail) < 20 * MESSAGE_LIMIT
    for delivery in settlement.deliveries:
        assert isinstance(delivery.body, bytes)
        assert isinstance(json.loads(delivery.attributes.encode()), dict)
        if delivery.kind != "DeadLetter":
            assert delivery.body.startswith(b'{"version":"1.0"')
            assert delivery.body.endswith(b"}")


@pytest.mark.parametrize("payload", HOSTILE, ids=lambda payload: payload[:20].hex() or "empty")
@pytest.mark.parametrize("attempts", [0, 2])
def test_no_answer_of_a_function_keeps_its_event_from_being_settled(payload: bytes, attempts: int) -> None:
    made = Try(ended=Ended.FUNCTION_ERROR, outcome=Outcome("$LATEST", payload, "Unhandled"))
    must_be_storable(settle(made, event=replace(EVENT, attempts=attempts)))


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: json.dumps({"errorMessage": text}).encode()))
def test_any_answer_of_a_function_can_be_stored(payload: bytes) -> None:
    for ended in (Ended.FUNCTION_ERROR, Ended.SUCCESS):
        error = "Unhandled" if ended is Ended.FUNCTION_ERROR else ""
        made = Try(ended=ended, outcome=Outcome("$LATEST", payload, error))
        must_be_storable(settle(made, event=replace(EVENT, attempts=2)))


def test_messages_are_cut() -> None:
    payload = json.dumps({"errorMessage": "m" * 5000, "errorType": "t" * 5000}).encode()
    ((_, detail),) = lines(settle(replace(ERROR, outcome=Outcome("$LATEST", payload, "Unhandled"))))
    assert (len(detail["errorMessage"]), len(detail["errorType"])) == (MESSAGE_LIMIT, MESSAGE_LIMIT)


def test_an_error_of_another_form_is_told_as_far_as_it_goes() -> None:
    ((_, detail),) = lines(settle(replace(ERROR, outcome=Outcome("$LATEST", b'"just text"', "Unhandled"))))
    assert detail["errorMessage"] == '"just text"'
    assert "errorType" not in detail
