"""The record of an event that has ended, byte by byte; and the attributes of dead letters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.events.invocation_record import (
    Outcome,
    as_message,
    attributes_of,
    dead_letter_attributes,
    dead_letter_forms,
    invocation_record,
    record_forms,
)

WALL = 1573755365.568
ID = "00000000-0000-4000-8000-000000000001"
ARN = "arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def record(
    request: bytes = b"{}", outcome: Outcome | None = None, condition: str = "RetriesExhausted", count: int = 3
) -> bytes:
    return invocation_record(
        wall=WALL,
        request_id=ID,
        function_arn=ARN,
        condition=condition,
        invoke_count=count,
        request_payload=request,
        outcome=outcome,
    )


def attributes(outcome: Outcome | None, fallback: str = "") -> dict[str, tuple[str, str]]:
    made = dead_letter_attributes(ID, outcome, fallback)
    return {name: (value["DataType"], value["StringValue"]) for name, value in made.items()}


def failed(payload: bytes) -> Outcome:
    return Outcome("$LATEST", payload, "Unhandled")


def test_a_failure_as_it_stands_in_the_guide() -> None:
    assert record(b"{}", failed(b'{"errorMessage":"no"}')) == (
        b'{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z","requestContext":{"requestId":'
        b'"00000000-0000-4000-8000-000000000001","functionArn":'
        b'"arn:aws:lambda:us-east-1:123456789012:function:f:$LATEST","condition":"RetriesExhausted",'
        b'"approximateInvokeCount":3},"requestPayload":{},"responseContext":{"statusCode":200,'
        b'"executedVersion":"$LATEST","functionError":"Unhandled"},"responsePayload":{"errorMessage":"no"}}'
    )


def test_a_success_has_no_function_error() -> None:
    made = record(b"1", Outcome("7", b"null", ""), "Success", 1)
    assert made.endswith(
        b'"condition":"Success","approximateInvokeCount":1},"requestPayload":1,"responseContext":{"statusCode":200,'
        b'"executedVersion":"7"},"responsePayload":null}'
    )


def test_nothing_is_said_of_an_answer_when_the_function_never_ran() -> None:
    made = record(b"[]", None, "EventAgeExceeded", 0)
    assert made.endswith(b'"condition":"EventAgeExceeded","approximateInvokeCount":0},"requestPayload":[]}')
    assert list(json.loads(made)) == ["version", "timestamp", "requestContext", "requestPayload"]


@pytest.mark.parametrize(
    "payload",
    [
        b'{"b": 1,\n "a":1.0, "b":2}',
        b'"\\u00e9\\ud800"',
        "é\U0001f600".encode().join([b'"', b'"']),
        b" [1e400, -0.0] ",
        b"1" * 5000,
        bytearray(b'{"a":1}'),
    ],
)
def test_json_stands_in_the_record_as_it_came(payload: bytes) -> None:
    made = record(payload, Outcome("$LATEST", payload, ""))
    assert b'"requestPayload":' + payload + b',"responseContext"' in made
    assert made.endswith(b'"responsePayload":' + payload + b"}")


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"", ""),
        (b"SUCCESS", "SUCCESS"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "[Infinity]"),
        (b'{"a":1', '{"a":1'),
        (b'a"b\\\n', 'a"b\\\n'),
        (b"\xff\x00", "\ufffd\x00"),
        (b'"\xed\xa0\x80"', '"\ufffd\ufffd\ufffd"'),
        (b"[" * 100_000, "[" * 100_000),
    ],
)
def test_an_answer_that_is_no_json_becomes_a_string(payload: bytes, text: str) -> None:
    made = json.loads(record(outcome=Outcome("$LATEST", payload, "")))
    assert made["responsePayload"] == text


@given(request=VALUES, response=VALUES, spaced=st.booleans())
@settings(deadline=None, max_examples=200)
def test_whatever_json_goes_in_comes_out(request: Any, response: Any, spaced: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    sent, answered = (json.dumps(value, separators=separators).encode() for value in (request, response))
    made = json.loads(record(sent, Outcome("1", answered, "")))
    assert (made["requestPayload"], made["responsePayload"]) == (request, response)


@given(request=VALUES, answer=st.binary() | VALUES.map(lambda value: json.dumps(value).encode()), ran=st.booleans())
@settings(deadline=None, max_examples=200)
def test_smaller_forms_leave_out_one_payload_after_the_other(request: Any, answer: bytes, ran: bool) -> None:
    full = record(json.dumps(request).encode(), failed(answer) if ran else None)
    whole = json.loads(full)
    forms = list(record_forms(full))
    expected = [(), ("responsePayload",), ("responsePayload", "requestPayload")] if ran else [(), ("requestPayload",)]
    assert [form.omitted for form in forms] == expected
    for form in forms:
        kept = {name: value for name, value in whole.items() if name not in form.omitted}
        assert json.loads(form.body) == kept
        assert list(json.loads(form.body)) == list(kept)


@pytest.mark.parametrize(
    "misleading",
    [
        '{"a":{"responsePayload":1},"responsePayload":[{}]}',
        '",\\"responsePayload\\":1}"',
        '"a\\\\"',
        '[",",{"x":"]}"},[]]',
    ],
)
def test_an_event_cannot_pass_for_another_member(misleading: str) -> None:
    smaller = list(record_forms(record(misleading.encode(), failed(b'",\\"requestPayload\\":"'))))
    assert json.loads(smaller[1].body)["requestPayload"] == json.loads(misleading)
    assert list(json.loads(smaller[2].body)) == ["version", "timestamp", "requestContext", "responseContext"]


def test_a_dead_letter_says_what_the_function_said() -> None:
    assert dead_letter_attributes(ID, failed(b'{"errorMessage":"no","errorType":"T"}'), "unused") == {
        "RequestID": {"DataType": "String", "StringValue": ID},
        "ErrorCode": {"DataType": "Number", "StringValue": "200"},
        "ErrorMessage": {"DataType": "String", "StringValue": "no"},
    }


@pytest.mark.parametrize(
    ("outcome", "fallback", "message"),
    [
        (None, "too old", "too old"),
        (failed(b'{"errorMessage":""}'), "fallback", "fallback"),
        (failed(b'{"errorMessage":7}'), "", "7"),
        (failed(b'["errorMessage"]'), "", '["errorMessage"]'),
        (failed(b"no json"), "", "no json"),
        (failed(b"[" * 100_000), "", "[" * 1024),
        (failed(b'{"errorMessage":"\\u0000\\u001b[1m\\ud800\\uffff\\t"}'), "", "\ufffd\ufffd[1m\ufffd\ufffd\t"),
        (failed(json.dumps({"errorMessage": "x" * 2000}).encode()), "", "x" * 1024),
        # A character of three bytes that would begin at byte 1023 is not cut in two.
        (failed(json.dumps({"errorMessage": "x" * 1023 + "€€"}).encode()), "", "x" * 1023),
        (failed(json.dumps({"errorMessage": "€" * 2000}).encode()), "", "€" * 341),
    ],
)
def test_error_messages_are_cut_and_clean(outcome: Outcome | None, fallback: str, message: str) -> None:
    assert attributes(outcome, fallback)["ErrorMessage"] == ("String", message)


def test_no_attribute_is_empty() -> None:
    assert set(attributes(None)) == {"RequestID", "ErrorCode"}


@given(message=st.text(alphabet=st.characters(exclude_categories=()), max_size=2000))
@settings(deadline=None, max_examples=200)
def test_error_messages_are_at_most_1024_bytes_that_a_queue_takes(message: str) -> None:
    made = attributes(failed(json.dumps({"errorMessage": message}).encode()), "-")["ErrorMessage"][1]
    assert 1 <= len(made.encode()) <= 1024
    assert all(
        character in "\t\n\r" or "\x20" <= character <= "\ufffd" or character >= "\U00010000" for character in made
    )
    assert len(made.encode()) > 1020 or len(made) == max(1, len(message))


def test_a_dead_letter_too_large_for_its_target_says_so() -> None:
    event = b'{"a":"b"}'
    whole, smaller = dead_letter_forms(event)
    given_attributes = dead_letter_attributes(ID, None, "too old")
    assert (whole.body, attributes_of(given_attributes, event, whole)) == (event, given_attributes)
    assert (smaller.body, smaller.omitted) == (b"{}", ("requestPayload",))
    assert attributes_of(given_attributes, event, smaller) == {
        **given_attributes,
        "PayloadOmittedBytes": {"DataType": "Number", "StringValue": "9"},
    }


def test_characters_that_queues_refuse_are_escaped() -> None:
    value = {"a\uffff": "\ufffe\x7f\x85é\U0001f600"}
    message = as_message(json.dumps(value, ensure_ascii=False).encode())
    assert "\ufffe" not in message
    assert "\uffff" not in message
    assert json.loads(message) == value
