"""Messages, batches, responses and states of event source mappings: pure decisions."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.protocol.lineage import advanced, key_of
from venturekit.service.sources.batches import (
    EVENT_LIMIT_BYTES,
    FIRST_WORKERS,
    Gathering,
    next_patience_seconds,
    pause_seconds,
    seconds_until_more,
    split,
)
from venturekit.service.sources.invoking import traced
from venturekit.service.sources.messages import Item, event_of, event_size_bytes, record_of, sorted_out
from venturekit.service.sources.responses import BadBatchResponseError, failed_ids
from venturekit.service.sources.states import TRANSITIONS, Change, InUseError, State, after
from venturekit.testing import sqs_event

ARN = "arn:aws:sqs:eu-west-1:123456789012:q"
FUNCTION = "arn:aws:lambda:us-east-1:123456789012:function:f"
NEW = b"Root=1-65000000-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=0"


def item(name: str = "m", size_bytes: int = 10, trace: bytes = b"") -> Item:
    return Item(name, f"r-{name}", b"x" * size_bytes, "", trace)


# --- messages ---------------------------------------------------------------------------------------------------------


def test_a_record_is_like_those_that_tests_of_functions_are_made_with() -> None:
    (expected,) = sqs_event("a", region="eu-west-1", attributes={"n": 1, "b": b"\xff"}, trace="Root=1")["Records"]
    message = {
        "MessageId": expected["messageId"],
        "ReceiptHandle": expected["receiptHandle"],
        "Body": "a",
        "MD5OfBody": expected["md5OfBody"],
        "Attributes": expected["attributes"],
        "MessageAttributes": {
            "n": {"DataType": "Number", "StringValue": "1"},
            "b": {"DataType": "Binary", "BinaryValue": b"\xff"},
        },
    }
    arn = expected["eventSourceARN"]
    assert record_of(message, arn) == expected
    assert record_of({**message, "MD5OfMessageAttributes": "x"}, arn) == {**expected, "md5OfMessageAttributes": "x"}


@pytest.mark.parametrize("body", ["", "\ud800", "\u2028", '"', "é" * 3, "\x00"])
def test_any_body_becomes_json(body: str) -> None:
    (made,), unwanted = sorted_out([{"MessageId": "1", "ReceiptHandle": "r", "Body": body}], ARN, ())
    assert unwanted == []
    event = event_of([made, made])
    assert len(event) == event_size_bytes([made, made])
    assert [record["body"] for record in json.loads(event)["Records"]] == [body.replace("\ud800", "?")] * 2


def test_a_group_is_one_of_fifo_queues_only() -> None:
    attributes = {"MessageGroupId": "g"}
    message = {"MessageId": "1", "ReceiptHandle": "r", "Attributes": attributes}
    assert sorted_out([message], ARN, ())[0][0].group == ""
    fifo = {**message, "Attributes": {**attributes, "SequenceNumber": "1"}}
    assert sorted_out([fifo], ARN, ())[0][0].group == "g"


# --- batches ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(60, 120))
def test_a_batch_is_split_in_order_and_no_part_is_too_large(sizes: list[int], limit_bytes: int) -> None:
    items = [item(str(number), size) for number, size in enumerate(sizes)]
    parts = split(items, limit_bytes)
    assert [each for part in parts for each in part] == items
    assert all(parts)
    assert all(event_size_bytes(part) <= limit_bytes for part in parts)
    for part, following in pairwise(parts):
        assert event_size_bytes([*part, following[0]]) > limit_bytes, "the next one would have had room"


def test_gathering_by_count() -> None:
    gathering = Gathering(25, 5)
    assert (gathering.room, gathering.is_complete(0)) == (10, False)
    gathering.add([item()] * 20, 100.0)
    assert (gathering.room, gathering.is_complete(104.9), gathering.is_complete(105)) == (5, False, True)
    gathering.add([item()] * 5, 101.0)
    assert gathering.is_complete(101)


def test_gathering_by_size() -> None:
    gathering = Gathering(100, 5)
    gathering.add([item(size_bytes=EVENT_LIMIT_BYTES)], 0)
    assert gathering.is_complete(0)


def test_without_a_window_one_request_is_all() -> None:
    gathering = Gathering(3, 0)
    gathering.add([], 5)
    assert not gathering.is_complete(1e9)
    gathering.add([item()], 7)
    assert gathering.room == 2
    assert gathering.is_complete(7)


def test_how_long_a_request_waits() -> None:
    gathering = Gathering(100, 30)
    assert gathering.wait_seconds(0, 16) == 16
    gathering.add([item()], 0)
    assert [gathering.wait_seconds(now, 20) for now in (0, 15, 28.5, 30, 31)] == [20, 15, 2, 0, 0]
    assert [next_patience_seconds(former, found=False) for former in (1, 8, 16, 20)] == [2, 16, 20, 20]
    assert next_patience_seconds(20, found=True) == 1


@pytest.mark.parametrize(
    ("workers", "looking", "limit", "since", "seconds"),
    [
        (1, 0, 1000, 0.0, 0.0),
        (1, 1, 1000, 9.0, None),
        (2, 0, 2, 9.0, None),
        (FIRST_WORKERS, 0, 1000, 0.125, 0.075),
        (FIRST_WORKERS, 0, 1000, 0.3, 0.0),
        (1000, 0, 10_000, 9.0, None),
    ],
)
def test_when_one_more_batch_is_worked_on(
    workers: int, looking: int, limit: int, since: float, seconds: float | None
) -> None:
    assert seconds_until_more(workers, looking, limit, since) == (None if seconds is None else pytest.approx(seconds))


@given(st.integers(1, 10_000))
def test_pauses_grow_up_to_a_bound(failures: int) -> None:
    assert 0.5 <= pause_seconds(failures, 30.0) <= pause_seconds(failures + 1, 30.0) <= 30.0


# --- what the function answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        ("", set()),
        ("null", set()),
        ("{}", set()),
        ('{"other": 1}', set()),
        ('{"batchItemFailures": null}', set()),
        ('{"batchItemFailures": []}', set()),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}]}', {"a"}),
        ('{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b", "x": 1}]}', {"a", "b"}),
    ],
)
def test_responses(response: str, failed: set[str]) -> None:
    assert failed_ids(response.encode(), {"a", "b"}) == failed


@pytest.mark.parametrize(
    "response",
    [
        *("{", "[" * 100_000, '"done"', "1", "[]", "true", '{"batchItemFailures": {}}', '{"batchItemFailures": ["a"]}'),
        *('{"batchItemFailures": [{"id": "a"}]}', '{"batchItemFailures": [{"itemIdentifier": ""}]}'),
        *('{"batchItemFailures": [{"itemIdentifier": null}]}', '{"batchItemFailures": [{"itemIdentifier": "c"}]}'),
        '{"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": ["b"]}]}',
    ],
)
def test_responses_that_fail_the_whole_batch(response: str) -> None:
    with pytest.raises(BadBatchResponseError):
        failed_ids(response.encode(), {"a", "b"})


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["batchItemFailures", "itemIdentifier", "x"]), inner)
        ),
    )
)
def test_any_response_names_messages_of_the_batch_or_is_refused(response: Any) -> None:
    try:
        assert failed_ids(json.dumps(response).encode(), {"a", ""}) <= {"a", ""}
    except BadBatchResponseError:
        return


# --- loops of invocations ---------------------------------------------------------------------------------------------


def gone_round(times: int) -> bytes:
    trace = NEW
    for _ in range(times):
        trace, _ = advanced(trace, key_of(FUNCTION))
    return trace


def test_a_batch_goes_on_with_the_longest_chain() -> None:
    items = [item("none"), item("few", trace=gone_round(2)), item("many", trace=gone_round(7)), item("bad", trace=b"x")]
    trace, looping = traced(items, FUNCTION, NEW)
    assert looping == []
    assert advanced(trace, key_of(FUNCTION))[1] == 8


def test_messages_that_have_gone_round_too_often() -> None:
    items = [item("last", trace=gone_round(16)), item("over", trace=gone_round(17)), item("none")]
    trace, looping = traced(items, FUNCTION, NEW)
    assert [each.message_id for each in looping] == ["last", "over"] or [each.message_id for each in looping] == [
        "over"
    ]
    assert advanced(trace, key_of(FUNCTION))[1] <= 16


@pytest.mark.parametrize("header", [b"nonsense", b"Root=1\r\nX: y", b"\xff", b"=" * 2000])
def test_what_is_no_trace_header_is_not_handed_on(header: bytes) -> None:
    trace, looping = traced([item(trace=header)], FUNCTION, NEW)
    assert looping == []
    assert trace.startswith(NEW)


def test_a_spoilt_header_does_not_end_the_counting() -> None:
    lineage = gone_round(20).partition(b"Lineage=")[2]
    _, looping = traced([item(trace=b"spoilt;Lineage=" + lineage)], FUNCTION, NEW)
    assert len(looping) == 1


# --- states -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", Change)
@pytest.mark.parametrize("state", State)
def test_states(state: State, change: Change) -> None:
    by_user = change not in (Change.WORKS, Change.RESTS)
    if (state, change) not in TRANSITIONS:
        with pytest.raises(InUseError):
            after(state, change)
        return
    following = after(state, change)
    assert (state in (State.ENABLED, State.DISABLED)) is by_user, "only what is at rest is changed"
    assert (following in (State.ENABLED, State.DISABLED)) is not by_user


@given(st.lists(st.sampled_from(list(Change)), max_size=20))
def test_a_mapping_that_is_deleted_stays_so(changes: list[Change]) -> None:
    state = State.CREATING
    for change in changes:
        former = state
        try:
            state = after(state, change)
        except InUseError:
            continue
        assert former is not State.DELETING
