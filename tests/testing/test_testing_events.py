"""Event builders: the shapes of AWS, the values that a test gives, and bad input."""

from __future__ import annotations

import base64
import hashlib
import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

import venturekit.testing as kit
from tests.testing import golden_shapes as golden
from venturekit.runtime import build_context
from venturekit.testing.events.streams import attribute_value

if TYPE_CHECKING:
    from collections.abc import Callable

TIME_MS = 1_583_348_638_390
TIME = {"time_epoch_ms": TIME_MS}
FULL_REQUEST: dict[str, Any] = {
    "query": {"a": ["1", "2"]},
    "cookies": {"c": "1"},
    "body": {"x": 1},
    **TIME,
}
SHAPES: dict[str, tuple[Callable[[], dict[str, Any]], Any]] = {
    "http-api": (lambda: kit.http_api_event("GET", "/p"), golden.V2),
    "http-api-full": (
        lambda: kit.http_api_event(
            "POST",
            "/p/1",
            route="/p/{x}",
            claims={"sub": "1"},
            scopes=["a"],
            stage_variables={"v": "1"},
            **FULL_REQUEST,
        ),
        golden.V2_FULL,
    ),
    "function-url": (lambda: kit.function_url_event("GET", "/p"), golden.V2),
    "function-url-full": (
        lambda: kit.function_url_event("POST", "/p", iam={"userArn": "arn"}, **FULL_REQUEST),
        golden.URL_FULL,
    ),
    "rest-api": (lambda: kit.rest_api_event("GET", "/p"), golden.V1),
    "alb": (lambda: kit.alb_event("GET", "/p"), golden.ALB),
    "alb-multi-value": (lambda: kit.alb_event("GET", "/p", multi_value=True), golden.ALB_MULTI_VALUE),
    "sqs": (lambda: kit.sqs_event({"a": 1}, "text"), golden.SQS),
    "sns": (lambda: kit.sns_event("text", subject="s"), golden.SNS),
    "s3": (lambda: kit.s3_event("a", "b", version_id="1"), golden.S3),
    "eventbridge": (lambda: kit.eventbridge_event("T", {"a": 1}, resources=["arn"]), golden.EVENTBRIDGE),
    "schedule": (lambda: kit.schedule_event("nightly"), golden.EVENTBRIDGE),
    "kinesis": (lambda: kit.kinesis_event("a", {"b": 1}), golden.KINESIS),
    "dynamodb": (lambda: kit.dynamodb_stream_event(new={"id": "1"}, old={"id": "1"}), golden.DYNAMODB),
    "msk": (lambda: kit.msk_event("a", "b", key="k", headers={"h": "v"}), golden.MSK),
    "kafka": (lambda: kit.kafka_event("a", key="k", headers={"h": "v"}), golden.KAFKA),
    "activemq": (lambda: kit.mq_event("a", b"b"), golden.ACTIVEMQ),
    "rabbitmq": (lambda: kit.mq_event("a", engine="rabbitmq"), golden.RABBITMQ),
    "cognito": (lambda: kit.cognito_event(user_name="u"), golden.COGNITO),
    "websocket-connect": (lambda: kit.websocket_connect_event(query={"a": "1"}), golden.CONNECT),
    "websocket-message": (lambda: kit.websocket_message_event({"action": "x"}), golden.MESSAGE),
    "websocket-disconnect": (lambda: kit.websocket_disconnect_event(reason=""), golden.DISCONNECT),
}


@pytest.mark.parametrize("name", SHAPES)
def test_an_event_has_the_shape_of_aws(name: str) -> None:
    make, shape = SHAPES[name]
    event = make()
    assert golden.misfits(shape, event) == []
    assert json.loads(json.dumps(event)) == event


@pytest.mark.parametrize(
    ("shape", "value"),
    [({"a": "str"}, {}), ({}, {"a": 1}), ({"a": "str"}, {"a": 1}), (["str"], []), (["str"], ["a", 1]), ({}, [])],
)
def test_a_difference_of_shape_is_found(shape: Any, value: Any) -> None:
    assert golden.misfits(shape, value) != []


def test_every_builder_is_tested_for_its_shape() -> None:
    builders = {name for name in kit.__all__ if name.endswith("_event")}
    source = Path(__file__).read_text().partition("SHAPES")[2].partition("@pytest")[0]
    assert {name for name in builders if f"kit.{name}(" not in source} == set()


def test_ids_are_new_each_time() -> None:
    records = kit.sqs_event("a", "a")["Records"]
    assert records[0]["messageId"] != records[1]["messageId"]
    ids = {kit.http_api_event()["requestContext"]["requestId"] for _ in range(2)}
    assert len(ids) == 2


# --- HTTP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "path", "parameters", "key"),
    [
        ({"path": "/users/42", "route": "/users/{id}"}, "/users/42", {"id": "42"}, "GET /users/{id}"),
        ({"path": "users/a%2Fb", "route": "GET /users/{id}"}, "/users/a/b", {"id": "a/b"}, "GET /users/{id}"),
        ({"route": "/users/{id}", "path_params": {"id": 42}}, "/users/42", {"id": "42"}, "GET /users/{id}"),
        ({"path": "/f/a/b", "route": "ANY /f/{path+}"}, "/f/a/b", {"path": "a/b"}, "ANY /f/{path+}"),
        ({"path": "/x"}, "/x", None, "$default"),
        ({}, "/", None, "$default"),
        ({"path": "/x", "path_params": {"id": "1"}}, "/x", {"id": "1"}, "$default"),
        ({"path": "/x", "stage": "dev"}, "/dev/x", None, "$default"),
        ({"path": "/ä b"}, "/ä b", None, "$default"),
    ],
)
def test_paths_and_routes(given: dict[str, Any], path: str, parameters: dict[str, str] | None, key: str) -> None:
    event = kit.http_api_event("GET", **given)
    assert (event["rawPath"], event.get("pathParameters"), event["routeKey"]) == (path, parameters, key)
    assert event["requestContext"]["routeKey"] == key


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"path": "/users/42", "route": "/orders/{id}"}, "does not fit"),
        ({"route": "/users/{id}"}, "needs a path"),
        ({"route": "/users/{id}", "path_params": {"no": "1"}}, "needs id"),
        ({"path": "/a?b=1", "query": {"c": "2"}}, "give one of them"),
        ({"route": "users/{id"}, "is no route"),
        ({"path": "/a", "route": "/{a+}/b"}, "only its last part"),
    ],
)
def test_a_request_that_contradicts_itself_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        kit.http_api_event("GET", **given)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"body": "a", "form": {"b": "1"}}, "one body"),
        ({"headers": {"a": 1}}, "are texts"),
        ({"scopes": "read"}, r"\['read'\]"),
        ({"claims": {}, "authorizer": {"lambda": {}}}, "JWT authorizer"),
        ({"tenant_id": "1"}, "internal=True"),
        ({"internal": True, "claims": {"sub": "1"}}, "user_id="),
        ({"body": object()}, "JSON cannot hold"),
    ],
)
def test_what_cannot_be_in_a_request_is_refused(given: dict[str, Any], what: str) -> None:
    with pytest.raises(TypeError, match=what):
        kit.http_api_event("POST", "/", **given)


@pytest.mark.parametrize(
    ("given", "content_type", "body", "encoded"),
    [
        ({"body": {"ä": 1}}, "application/json", '{"ä":1}', False),
        ({"body": [1, None]}, "application/json", "[1,null]", False),
        ({"body": "text"}, "text/plain; charset=utf-8", "text", False),
        ({"body": b"\xff"}, "application/octet-stream", "/w==", True),
        ({"form": {"a": "1 2", "b": ["x", "y"]}}, "application/x-www-form-urlencoded", "YT0xKzImYj14JmI9eQ==", True),
        ({"body": "<a/>", "headers": {"Content-Type": "application/xml"}}, "application/xml", "<a/>", False),
        ({}, None, None, False),
        ({"body": b""}, None, None, False),
    ],
)
@pytest.mark.parametrize("make", [kit.http_api_event, kit.function_url_event])
def test_bodies(make: Any, given: dict[str, Any], content_type: str | None, body: str | None, encoded: bool) -> None:
    event = make("POST", "/", **given)
    assert event["headers"].get("content-type") == content_type
    assert (event.get("body"), event["isBase64Encoded"]) == (body, encoded)


def test_claims_are_texts_as_api_gateway_has_them() -> None:
    claims = {"sub": 7, "email_verified": True, "groups": ["a", "b"], "none": None}
    event = kit.http_api_event(claims=claims, scopes=["x", "y"])
    jwt = event["requestContext"]["authorizer"]["jwt"]
    assert jwt["claims"] == {"sub": "7", "email_verified": "true", "groups": "[a b]", "scope": "x y"}
    user = build_context(event).user
    assert user is not None
    assert (user.id, user.scopes) == ("7", ["x", "y"])


@pytest.mark.parametrize("make", [kit.http_api_event, kit.rest_api_event])
def test_scopes_alone_make_a_user(make: Any) -> None:
    user = build_context(make("GET", "/", scopes=["read"])).user
    assert user is not None
    assert (user.id, user.scopes) == ("test-user", ["read"])


def test_the_framework_reads_every_kind_of_http_event_alike() -> None:
    given: dict[str, Any] = {
        "query": {"a": ["1 2", "3&4"], "b": "ä"},
        "headers": {"X-One": "1"},
        "cookies": {"c": "d"},
        "body": {"x": "ä"},
        "source_ip": "203.0.113.9",
    }
    made = [
        kit.http_api_event("POST", "/p", **given),
        kit.function_url_event("POST", "/p", **given),
        kit.rest_api_event("POST", "/p", **given),
        kit.alb_event("POST", "/p", multi_value=True, **given),
    ]
    for ctx in map(build_context, made):
        assert (ctx.method, ctx.path, ctx.source_ip, ctx.body) == ("POST", "/p", "203.0.113.9", {"x": "ä"})
        assert ctx.query_lists == {"a": ["1 2", "3&4"], "b": ["ä"]}
        assert (ctx.headers["x-one"], ctx.cookies) == ("1", {"c": "d"})
        assert ctx.trace is not None


@given(
    st.dictionaries(st.text("abc", min_size=1), st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=3)),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
def test_any_query_and_body_arrive(query: dict[str, list[str]], body: str) -> None:
    query = {name: [value.encode("utf-8", "replace").decode() for value in values] for name, values in query.items()}
    for make in (kit.http_api_event, kit.function_url_event, kit.rest_api_event):
        ctx = build_context(make("POST", "/", query=query, body=body))
        assert ctx.query_lists == query
        assert ctx.body == (body or None)


def test_an_internal_event_has_the_marker_and_the_headers_of_invoke() -> None:
    event = kit.http_api_event(
        "GET", route="users/{id}", path_params={"id": "1"}, internal=True, tenant_id="t", user_id="u"
    )
    ctx = build_context(event)
    assert ctx.is_internal
    assert ctx.tenant is not None
    assert ctx.user is not None
    assert (ctx.tenant.id, ctx.user.id) == ("t", "u")
    assert event["headers"]["x-venturekit-source"] == "internal"
    assert event["requestContext"]["venturekit"]["invokeId"] == ctx.invoke_id


def test_a_rest_api_has_a_proxy_resource_and_binary_bodies() -> None:
    event = kit.rest_api_event("PUT", "/a/b", body=b"\xff", headers=[("x-a", "1"), ("X-A", "2")])
    assert (event["resource"], event["pathParameters"]) == ("/{proxy+}", {"proxy": "a/b"})
    assert (event["body"], event["isBase64Encoded"]) == ("/w==", True)
    assert event["multiValueHeaders"]["x-a"] == ["1", "2"]
    assert event["headers"]["x-a"] == "2"
    assert event["requestContext"]["path"] == "/prod/a/b"


# --- everything else --------------------------------------------------------------------------------------------------


def test_sqs_messages() -> None:
    event = kit.sqs_event(
        {"a": "ä"},
        queue="q.fifo",
        group_id="g",
        attributes={"n": 1, "s": "x", "b": b"\xff"},
        receive_count=3,
        trace="Root=1",
    )
    record = event["Records"][0]
    assert record["md5OfBody"] == hashlib.md5('{"a":"ä"}'.encode()).hexdigest()
    assert record["attributes"]["MessageGroupId"] == "g"
    assert record["attributes"]["ApproximateReceiveCount"] == "3"
    assert record["attributes"]["AWSTraceHeader"] == "Root=1"
    assert {name: value["dataType"] for name, value in record["messageAttributes"].items()} == {
        "n": "Number",
        "s": "String",
        "b": "Binary",
    }
    with pytest.raises(ValueError, match="fifo"):
        kit.sqs_event("a", queue="q", group_id="g")


@pytest.mark.parametrize("key", ["a b/ü+1.jpg", "plain", "%41"])
def test_s3_keys_are_encoded(key: str) -> None:
    record = kit.s3_event(key, event_name="ObjectRemoved:Delete")["Records"][0]
    assert unquote_plus(record["s3"]["object"]["key"]) == key
    assert "size" not in record["s3"]["object"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a", {"S": "a"}),
        (1, {"N": "1"}),
        (Decimal("1.50"), {"N": "1.50"}),
        (True, {"BOOL": True}),
        (None, {"NULL": True}),
        (b"\xff", {"B": "/w=="}),
        ([1, "a"], {"L": [{"N": "1"}, {"S": "a"}]}),
        ({"a": {"b": 1}}, {"M": {"a": {"M": {"b": {"N": "1"}}}}}),
        ({"b", "a"}, {"SS": ["a", "b"]}),
        ({2, 1}, {"NS": ["1", "2"]}),
    ],
)
def test_dynamodb_values(value: Any, written: dict[str, Any]) -> None:
    from boto3.dynamodb.types import TypeDeserializer

    made = attribute_value(value)
    assert made == written
    wire = {"B": base64.b64decode(made["B"])} if "B" in made else made
    found = TypeDeserializer().deserialize(wire)
    assert (found.value if "B" in made else found) == value


@pytest.mark.parametrize("value", [object(), {1, "a"}, set(), [object()]])
def test_what_dynamodb_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="DynamoDB cannot hold"):
        attribute_value(value)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"new": {"id": "1"}}, "INSERT"),
        ({"old": {"id": "1"}}, "REMOVE"),
        ({"new": {"id": "1"}, "old": {"id": "1"}}, "MODIFY"),
    ],
)
def test_dynamodb_changes(given: dict[str, Any], name: str) -> None:
    record = kit.dynamodb_stream_event(**given, expired=name == "REMOVE")["Records"][0]
    assert record["eventName"] == name
    assert record["dynamodb"]["Keys"] == {"id": {"S": "1"}}
    assert ("userIdentity" in record) == (name == "REMOVE")
    with pytest.raises(ValueError, match="has no order"):
        kit.dynamodb_stream_event(**given, keys=["order"])


def test_a_change_needs_an_image() -> None:
    with pytest.raises(ValueError, match="new=, old="):
        kit.dynamodb_stream_event()


def test_kinesis_sequence_numbers_belong_to_their_event_ids() -> None:
    records = kit.kinesis_event("a", "b", shard=6)["Records"]
    for record in records:
        number = record["kinesis"]["sequenceNumber"]
        assert number.isdigit()
        assert len(number) == 56
        assert record["eventID"] == f"shardId-000000000006:{number}"


def test_kafka_headers_are_the_bytes_of_java() -> None:
    record = kit.kafka_event("v", headers={"h": b"\xc3\xa4"})["records"]["topic-0"][0]
    assert record["headers"] == [{"h": [-61, -92]}]
    assert "key" not in record


def test_kafka_offsets_count() -> None:
    assert [r["offset"] for r in kit.msk_event("a", "b", first_offset=5)["records"]["topic-0"]] == [5, 6]


def test_rabbitmq_headers_and_engines() -> None:
    made = kit.mq_event(b"abc", engine="rabbitmq", queue="q", virtual_host="v", properties={"h": "x", "n": 10})
    message = made["rmqMessagesByQueue"]["q::v"][0]
    assert message["basicProperties"]["headers"] == {"h": {"bytes": [120]}, "n": 10}
    assert message["basicProperties"]["bodySize"] == 3
    wrong: Any = "kafka"
    with pytest.raises(ValueError, match="is no engine"):
        kit.mq_event("a", engine=wrong)


@pytest.mark.parametrize(
    "trigger",
    [
        *("PreSignUp_SignUp", "PreSignUp_AdminCreateUser", "PreSignUp_ExternalProvider"),
        *("PostConfirmation_ConfirmSignUp", "PreAuthentication_Authentication", "PostAuthentication_Authentication"),
        *("TokenGeneration_HostedAuth", "UserMigration_Authentication", "CustomMessage_SignUp"),
        *("DefineAuthChallenge_Authentication", "CreateAuthChallenge_Authentication"),
        *("VerifyAuthChallengeResponse_Authentication", "CustomEmailSender_SignUp", "CustomSMSSender_SignUp"),
    ],
)
def test_cognito_triggers(trigger: str) -> None:
    event = kit.cognito_event(trigger, attributes={"email": "a@example.com"}, request={"extra": 1})
    assert golden.misfits(golden.COGNITO, event) == []
    assert event["triggerSource"] == trigger
    assert event["request"]["extra"] == 1
    event["response"]["changed"] = True
    assert "changed" not in kit.cognito_event(trigger)["response"]


@pytest.mark.parametrize("trigger", ["PreSignUp", "SignUp_PreSignUp", ""])
def test_a_trigger_there_is_not_is_refused(trigger: str) -> None:
    with pytest.raises(ValueError, match="is no trigger source"):
        kit.cognito_event(trigger)


def test_websocket_events_tell_of_one_connection() -> None:
    made = [
        kit.websocket_connect_event(connection_id="c", authorizer={"principalId": "p"}, **TIME),
        kit.websocket_message_event("not JSON", connection_id="c", connected_at_ms=1, **TIME),
        kit.websocket_disconnect_event(connection_id="c", connected_at_ms=1, **TIME),
    ]
    contexts = [event["requestContext"] for event in made]
    assert {context["connectionId"] for context in contexts} == {"c"}
    assert [context["eventType"] for context in contexts] == ["CONNECT", "MESSAGE", "DISCONNECT"]
    assert [context["connectedAt"] for context in contexts] == [TIME_MS, 1, 1]
    assert contexts[0]["requestTime"] == "04/Mar/2020:19:03:58 +0000"
    assert contexts[0]["authorizer"] == {"principalId": "p"}
    assert made[1]["body"] == "not JSON"


def test_a_schedule_is_an_event_of_eventbridge() -> None:
    event = kit.schedule_event("nightly", time_epoch_ms=TIME_MS)
    assert (event["detail-type"], event["source"], event["detail"]) == ("Scheduled Event", "aws.events", {})
    assert event["time"] == "2020-03-04T19:03:58Z"


def test_the_exports_are_these() -> None:
    tools = {
        "Client",
        "ClientResponse",
        "FakeInvoker",
        "FakeLambdaContext",
        "LocalService",
        "LogCapture",
        "ManualClock",
    }
    tools |= {"RecordedCall", "ResponseRecorder", "ServiceUnavailableError"}
    http = {"alb_event", "function_url_event", "http_api_event", "rest_api_event"}
    sockets = {f"websocket_{name}_event" for name in ("connect", "disconnect", "message")}
    others = {
        "cognito",
        "dynamodb_stream",
        "eventbridge",
        "kafka",
        "kinesis",
        "mq",
        "msk",
        "s3",
        "schedule",
        "sns",
        "sqs",
    }
    assert set(kit.__all__) == tools | http | sockets | {f"{name}_event" for name in others}
    assert len(kit.__all__) == len(set(kit.__all__))
    assert [name for name in kit.__all__ if getattr(kit, name).__name__ != name] == []


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ftp_event'"):
        _ = kit.ftp_event  # type: ignore[attr-defined]
    assert set(kit.__all__) <= set(dir(kit))
