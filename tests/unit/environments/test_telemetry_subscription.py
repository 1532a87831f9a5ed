"""What a subscription may say, what is wrong with others, and which events each schema has."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from venturekit.service.environments.extensions.roster import RefusedError
from venturekit.service.environments.telemetry.events import output_record, record_for, spans
from venturekit.service.environments.telemetry.subscription import (
    LOGS,
    TELEMETRY,
    Api,
    Subscription,
    parse_subscription,
)

HTTP = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/in?a=b"}
SAMPLE: dict[str, Any] = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function", "extension"],
    "buffering": {"maxItems": 1000, "maxBytes": 256 * 1024, "timeoutMs": 100},
    "destination": HTTP,
}


def parse(api: Api = TELEMETRY, **changes: Any) -> Subscription:
    members = {name: value for name, value in {**SAMPLE, **changes}.items() if value is not None}
    return parse_subscription(api, json.dumps(members).encode())


def test_the_sample_of_the_guide() -> None:
    types = ("platform", "function", "extension")
    expected = Subscription(TELEMETRY, "2022-12-13", types, "HTTP", 8080, "/in?a=b", "POST", 1000, 262_144, 100)
    assert parse() == expected


def test_defaults() -> None:
    found = parse(LOGS, schemaVersion=None, buffering=None, types=["function"])
    assert (found.schema, found.max_items, found.max_bytes, found.timeout_ms) == ("2020-08-15", 10_000, 262_144, 1000)
    assert parse(destination={"protocol": "HTTP", "URI": "http://sandbox:1", "method": "PUT"}).path == "/"
    assert parse(buffering={"maxItems": 10_000, "timeoutMs": 30_000}).max_bytes == 262_144


@pytest.mark.parametrize(
    "destination",
    [
        {"protocol": "TCP", "URI": "http://sandbox.localdomain:99"},
        {"protocol": "TCP", "URI": "tcp://sandbox:99"},
        {"protocol": "TCP", "port": 99},
    ],
)
def test_tcp(destination: dict[str, Any]) -> None:
    found = parse(destination=destination)
    assert (found.protocol, found.port) == ("TCP", 99)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"schemaVersion": None}, "schemaVersion"),
        ({"schemaVersion": "2020-08-15"}, "schemaVersion"),
        ({"schemaVersion": 5}, "schemaVersion"),
        ({"types": None}, "types should not be empty"),
        ({"types": []}, "types should not be empty"),
        ({"types": ["platform", "runtime"]}, "'runtime'"),
        ({"types": [{}]}, "there is no type {}"),
        ({"types": "platform"}, "types"),
        ({"buffering": {"maxItems": 999}}, "maxItems has to be a whole number from 1000 to 10000"),
        ({"buffering": {"maxItems": 10_001}}, "maxItems"),
        ({"buffering": {"maxBytes": 262_143}}, "maxBytes"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": 30_001}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": True}}, "timeoutMs"),
        ({"buffering": {"timeoutMs": 100.5}}, "timeoutMs"),
        ({"buffering": []}, "buffering has to be an object"),
        ({"destination": None}, "destination is not provided"),
        ({"destination": {"protocol": "UDP", "port": 5}}, "protocol"),
        ({"destination": {"protocol": "HTTP", "port": 5}}, "URI"),
        ({"destination": {"protocol": "TCP", "port": 0}}, "port"),
        ({"destination": {"protocol": "TCP", "port": "5"}}, "port"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}}, "URI port is not provided"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:0"}}, "port"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:70000"}}, "port"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox.localdomain:1"}}, "scheme"),
        ({"destination": {"protocol": "HTTP", "URI": "http://127.0.0.1:1"}}, "host"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox@evil.example:1"}}, "host"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/\r\nX: y"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:1/ü"}}, "URI"),
        ({"destination": {**HTTP, "method": "GET"}}, "method"),
        ({"destination": {**HTTP, "encoding": "XML"}}, "encoding"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse(**changes)
    assert (caught.value.error_type, caught.value.status) == ("ValidationError", 400)
    assert part in str(caught.value)


def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(RefusedError, match=r"types should not be empty; URI port is not provided"):
        parse(types=[], destination={"protocol": "HTTP", "URI": "http://sandbox"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["HTTP", "http://sandbox:1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SAMPLE, *HTTP, "x"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()), st.sampled_from([TELEMETRY, LOGS]))
def test_any_body_is_a_subscription_or_refused(body: bytes, api: Api) -> None:
    try:
        found = parse_subscription(api, body)
    except RefusedError:
        return
    assert found.types
    assert 0 < found.port < 65_536


INIT_START = {"phase": "init", "runtimeVersion": "r", "functionName": "f", "instanceId": "i"}
START = {"requestId": "1", "version": "2", "tracing": {}}


@pytest.mark.parametrize(
    ("api", "schema", "event", "record", "expected"),
    [
        (TELEMETRY, "2022-12-13", "platform.initStart", INIT_START, INIT_START),
        (TELEMETRY, "2022-07-01", "platform.initStart", INIT_START, {"phase": "init", "runtimeVersion": "r"}),
        (TELEMETRY, "2022-07-01", "platform.start", START, START),
        (TELEMETRY, "2022-12-13", "platform.end", {}, None),
        (TELEMETRY, "2022-12-13", "extension", "text", None),
        (LOGS, "2021-03-18", "platform.initStart", INIT_START, None),
        (LOGS, "2021-03-18", "platform.initReport", {}, None),
        (LOGS, "2021-03-18", "platform.start", START, {"requestId": "1", "version": "2"}),
        (LOGS, "2021-03-18", "platform.end", {"requestId": "1"}, {"requestId": "1"}),
        (LOGS, "2021-03-18", "platform.runtimeDone", {"requestId": "1", "status": "success", "metrics": 1},
         {"requestId": "1", "status": "success"}),
        (LOGS, "2020-08-15", "platform.runtimeDone", {"requestId": "1", "status": "success"}, None),
        (LOGS, "2020-08-15", "platform.report", {"requestId": "1", "metrics": {}, "status": "success"},
         {"requestId": "1", "metrics": {}}),
        (LOGS, "2020-08-15", "function", "text", "text"),
    ],
)  # fmt: skip
def test_records_of_a_schema(api: Api, schema: str, event: str, record: Any, expected: Any) -> None:
    subscription = Subscription(api, schema, ("platform", "function"), "HTTP", 1)
    assert record_for(subscription, event, record) == expected


@pytest.mark.parametrize(
    ("schema", "message", "is_json", "expected"),
    [
        ("2022-12-13", b'{"a":1}\n', True, {"a": 1}),
        ("2022-12-13", b'{"a":1}\n', False, '{"a":1}'),
        ("2022-07-01", b'{"a":1}', True, '{"a":1}'),
        ("2022-12-13", b"[1]\n", True, "[1]"),
        ("2022-12-13", b"{a\n\n", True, "{a\n"),
        ("2022-12-13", b"\xff\n", True, "\ufffd"),
    ],
)
def test_records_of_output(schema: str, message: bytes, is_json: bool, expected: Any) -> None:
    subscription = Subscription(TELEMETRY, schema, ("function",), "HTTP", 1)
    assert output_record(subscription, message, is_json=is_json) == expected


def test_spans() -> None:
    assert spans(1_700_000_000.0, 20.0, 50.5) == [
        {"name": "responseLatency", "start": "2023-11-14T22:13:20.000Z", "durationMs": 20.0},
        {"name": "responseDuration", "start": "2023-11-14T22:13:20.020Z", "durationMs": 30.5},
    ]
