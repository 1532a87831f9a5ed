"""Invoke, seen by unmodified clients: what goes in, what comes out, byte for byte where clients look."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections import Counter
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.service.harness import send
from venturekit.protocol.lineage import key_of
from venturekit.service.api.registry import Level
from venturekit.service.served import compatibility_registry

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet, RunningService

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
ACCOUNT = "000000000000"
ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function"

ECHO = """
import os

def handler(event, context):
    client = context.client_context
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "version": context.function_version,
        "trace": os.environ.get("_X_AMZN_TRACE_ID"),
        "custom": client.custom if client else None,
        "env": client.env if client else None,
    }
"""
VERSION = "def handler(event, context):\n    return context.function_version\n"
PLAIN = "def handler(event, context):\n    return event\n"


@pytest.fixture
def echo(functions: FunctionSet) -> str:
    return functions.create(ECHO)


def refusal(functions: FunctionSet, name: str, **members: Any) -> tuple[int, str, str]:
    """Status, code and message of an invocation that is refused."""
    with pytest.raises(ClientError) as caught:
        functions.invoke(name, **members)
    answer = caught.value.response
    message = answer["Error"].get("Message") or answer.get("Message") or answer.get("message") or ""
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], message


# --- headers out ---------------------------------------------------------------------------------------------------


def test_answer_has_exactly_the_headers_of_aws(functions: FunctionSet, echo: str) -> None:
    answer = functions.post(echo)
    assert answer.status == 200
    assert {name.lower() for name in answer.headers} == {
        "date",
        "content-type",
        "content-length",
        "connection",
        "x-amzn-requestid",
        "x-amzn-remapped-content-length",
        "x-amz-executed-version",
        "x-amzn-trace-id",
    }
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.headers["x-amzn-Remapped-Content-Length"] == "0"
    assert answer.headers["Connection"] == "keep-alive"
    assert answer.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert parsedate_to_datetime(answer.headers["Date"]).utcoffset() is not None


def test_request_id_is_the_one_of_the_function(functions: FunctionSet, echo: str) -> None:
    answers = [functions.post(echo) for _ in range(5)]
    for answer in answers:
        assert UUID.fullmatch(answer.headers["x-amzn-RequestId"])
        assert answer.json["request_id"] == answer.headers["x-amzn-RequestId"]
    assert len({answer.headers["x-amzn-RequestId"] for answer in answers}) == 5


@pytest.mark.parametrize("given", ["8476a536-e9f4-11e8-9739-2dfe598c3fcd", "8476A536-E9F4-11E8-9739-2DFE598C3FCD"])
def test_caller_may_choose_the_request_id(functions: FunctionSet, echo: str, given: str) -> None:
    answer = functions.post(echo, x_amzn_RequestId=given)
    assert answer.json["request_id"] == answer.headers["x-amzn-RequestId"] == given.lower()


@pytest.mark.parametrize("given", ["1", "8476a536e9f411e897392dfe598c3fcd", "x" * 36])
def test_malformed_request_id_is_refused(functions: FunctionSet, echo: str, given: str) -> None:
    answer = functions.post(echo, x_amzn_RequestId=given)
    assert answer.status == 400
    assert answer.headers["x-amzn-ErrorType"] == "InvalidRequestContentException"
    assert "not a UUID" in answer.json["message"]


def test_function_error_is_a_header_of_a_success(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    raise ValueError('no')\n")
    answer = functions.post(name)
    assert (answer.status, answer.headers["X-Amz-Function-Error"]) == (200, "Unhandled")
    assert answer.headers["X-Amz-Executed-Version"] == "$LATEST"


def test_error_answer_names_its_code_in_a_header(functions: FunctionSet) -> None:
    answer = functions.post("nobody")
    assert answer.status == 404
    assert answer.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
    assert answer.headers["Content-Type"] == "application/json"
    assert UUID.fullmatch(answer.headers["x-amzn-RequestId"])
    assert answer.headers["Date"]
    assert (
        answer.body
        == json.dumps(
            {"Type": "User", "Message": f"Function not found: {ARN}:nobody:$LATEST"}, separators=(",", ":")
        ).encode()
    )


# --- trace ---------------------------------------------------------------------------------------------------------


def test_a_trace_is_begun(functions: FunctionSet, echo: str) -> None:
    lineage = f";Lineage=1:{key_of(f'{ARN}:{echo}')}:0"
    for _ in range(2):
        answer = functions.post(echo)
        inside = re.fullmatch(
            rf"Root=(1-[0-9a-f]{{8}}-[0-9a-f]{{24}});Parent=[0-9a-f]{{16}};Sampled=0{lineage}", answer.json["trace"]
        )
        assert inside
        assert answer.headers["X-Amzn-Trace-Id"] == f"root={inside[1]};sampled=0"


@pytest.mark.parametrize(
    ("given", "lineage", "answered"),
    [
        (
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
            ";Lineage=",
            "root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;sampled=1",
        ),
        (
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0;Lineage=1:abc123:1",
            "|",
            "root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;sampled=0",
        ),
    ],
)
def test_a_trace_of_the_caller_is_passed_on(
    functions: FunctionSet, echo: str, given: str, lineage: str, answered: str
) -> None:
    for _ in range(2):
        answer = functions.post(echo, X_Amzn_Trace_Id=given)
        assert answer.json["trace"] == f"{given}{lineage}1:{key_of(f'{ARN}:{echo}')}:0"
        assert answer.headers["X-Amzn-Trace-Id"] == answered


def test_a_trace_without_a_root_is_replaced(functions: FunctionSet, echo: str) -> None:
    answer = functions.post(echo, X_Amzn_Trace_Id="Parent=9a9197af755a6419;Sampled=1")
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=", answer.json["trace"])
    assert re.fullmatch(r"root=1-[0-9a-f]{8}-[0-9a-f]{24};sampled=0", answer.headers["X-Amzn-Trace-Id"])


def test_a_trace_that_is_no_header_text_is_replaced(functions: FunctionSet, echo: str) -> None:
    for _ in range(2):
        answer = functions.post(echo, X_Amzn_Trace_Id="Root=1-2 3;\tSampled=1")
        assert answer.json["trace"].startswith("Root=1-")
        assert " " not in answer.json["trace"]


# --- invocation types ----------------------------------------------------------------------------------------------


def test_dry_run_runs_nothing(functions: FunctionSet, echo: str) -> None:
    before = functions.log_lines(echo)
    answer = functions.post(echo, X_Amz_Invocation_Type="DryRun")
    assert (answer.status, answer.body) == (204, b"")
    assert "X-Amz-Executed-Version" not in answer.headers
    assert "Content-Type" not in answer.headers
    assert UUID.fullmatch(answer.headers["x-amzn-RequestId"])
    assert answer.headers["X-Amzn-Trace-Id"].startswith("root=1-")
    assert functions.client.invoke(FunctionName=echo, InvocationType="DryRun")["StatusCode"] == 204
    assert functions.log_lines(echo) == before


def test_dry_run_finds_what_an_invocation_would_refuse(functions: FunctionSet, echo: str) -> None:
    assert refusal(functions, echo, InvocationType="DryRun", raw=b"not json")[:2] == (
        400,
        "InvalidRequestContentException",
    )
    assert refusal(functions, echo, InvocationType="DryRun", Qualifier="9")[:2] == (404, "ResourceNotFoundException")


@pytest.mark.parametrize(
    ("header", "value", "member", "allowed"),
    [
        ("X-Amz-Invocation-Type", "Later", "invocationType", "[Event, RequestResponse, DryRun]"),
        ("X-Amz-Invocation-Type", "event", "invocationType", "[Event, RequestResponse, DryRun]"),
        ("X-Amz-Log-Type", "All", "logType", "[None, Tail]"),
    ],
)
def test_unknown_types_are_validation_errors(
    functions: FunctionSet, echo: str, header: str, value: str, member: str, allowed: str
) -> None:
    # The second request finds its target resolved.
    for _ in range(2):
        answer = functions.post(echo, **{header: value})
        assert answer.status == 400
        assert answer.headers["x-amzn-ErrorType"] == "ValidationException"
        assert answer.json == {
            "message": f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: {allowed}"
        }
        assert functions.post(echo).status == 200


# --- names and qualifiers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "{name}",
        "function:{name}",
        f"{ACCOUNT}:{{name}}",
        f"{ACCOUNT}:function:{{name}}",
        f"us-east-1:{ACCOUNT}:function:{{name}}",
        f"{ARN}:{{name}}",
    ],
)
def test_every_form_of_a_name(functions: FunctionSet, form: str) -> None:
    name = functions.create(ECHO)
    version = functions.publish(name)
    address = form.format(name=name)
    assert functions.invoke(address).value["arn"] == f"{ARN}:{name}"
    assert functions.invoke(f"{address}:{version}").value["arn"] == f"{ARN}:{name}:{version}"
    latest = functions.invoke(f"{address}:$LATEST")
    assert (latest.value["arn"], latest.version) == (f"{ARN}:{name}:$LATEST", "$LATEST")


def test_a_name_in_the_path_is_decoded_once(functions: FunctionSet, echo: str) -> None:
    raw = f"{ARN}:{echo}:$LATEST"
    for path in (raw, raw.replace(":", "%3A").replace("$", "%24")):
        answer = send(functions.url, "POST", f"/2015-03-31/functions/{path}/invocations", b"{}", {"X-Amz-A": "b"})
        assert answer.status == 200, answer
    twice = raw.replace(":", "%253A")
    answer = send(functions.url, "POST", f"/2015-03-31/functions/{twice}/invocations", b"{}", {"X-Amz-A": "b"})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")


def test_qualifier_in_name_and_query(functions: FunctionSet) -> None:
    name = functions.create(ECHO)
    version = functions.publish(name)
    assert functions.invoke(f"{name}:{version}", Qualifier=version).version == version
    assert functions.invoke(name, Qualifier="$LATEST").version == "$LATEST"
    status, code, message = refusal(functions, f"{name}:{version}", Qualifier="$LATEST")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message == "The derived qualifier from the function name does not match the specified qualifier."


def test_version_and_alias_tell_the_function_how_it_was_addressed(functions: FunctionSet) -> None:
    name = functions.create(ECHO)
    version = functions.publish(name)
    functions.client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    by_version = functions.invoke(name, Qualifier=version)
    assert by_version.version == by_version.value["version"] == version
    by_alias = functions.invoke(name, Qualifier="live")
    assert by_alias.version == by_alias.value["version"] == version
    assert by_alias.value["arn"] == f"{ARN}:{name}:live"
    assert functions.invoke(f"{name}:live").value["arn"] == f"{ARN}:{name}:live"


def test_a_published_version_keeps_its_code(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    return 'first'\n")
    version = functions.publish(name)
    functions.update(name, "def handler(event, context):\n    return 'second'\n")
    assert functions.invoke(name).value == "second"
    assert functions.invoke(name, Qualifier=version).value == "first"


def test_a_weighted_alias_draws_for_every_invocation(functions: FunctionSet) -> None:
    name = functions.create(VERSION)
    first = functions.publish(name)
    functions.update(name, VERSION + "# changed\n")
    second = functions.publish(name)
    assert (first, second) == ("1", "2")
    functions.client.create_alias(
        FunctionName=name,
        Name="split",
        FunctionVersion=first,
        RoutingConfig={"AdditionalVersionWeights": {second: 0.3}},
    )
    outcomes = [functions.invoke(name, Qualifier="split", LogType="None") for _ in range(300)]
    assert all(outcome.value == outcome.version for outcome in outcomes)
    drawn = Counter(outcome.version for outcome in outcomes)
    # 300 draws at 0.3: six standard deviations to either side.
    assert 90 - 48 <= drawn["2"] <= 90 + 48
    assert drawn["1"] + drawn["2"] == 300


@pytest.mark.parametrize(("weight", "version"), [(0.0, "1"), (1.0, "2")])
def test_extreme_weights_draw_one_version_only(functions: FunctionSet, weight: float, version: str) -> None:
    name = functions.create(VERSION)
    functions.publish(name)
    functions.update(name, VERSION + "# changed\n")
    functions.publish(name)
    routing = {"AdditionalVersionWeights": {"2": weight}}
    functions.client.create_alias(FunctionName=name, Name="a", FunctionVersion="1", RoutingConfig=routing)
    assert {functions.invoke(name, Qualifier="a", LogType="None").version for _ in range(30)} == {version}


@pytest.mark.parametrize(
    ("address", "members", "status", "code", "message"),
    [
        ("nobody", {}, 404, "ResourceNotFoundException", f"Function not found: {ARN}:nobody:$LATEST"),
        ("nobody:7", {}, 404, "ResourceNotFoundException", f"Function not found: {ARN}:nobody:7"),
        ("{name}:7", {}, 404, "ResourceNotFoundException", f"Function not found: {ARN}:{{name}}:7"),
        ("{name}", {"Qualifier": "gone"}, 404, "ResourceNotFoundException", f"Function not found: {ARN}:{{name}}:gone"),
        (
            f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:{{name}}",
            {},
            404,
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        ("arn:aws:lambda:us-east-1:123456789012:function:{name}", {}, 403, "AccessDeniedException", ""),
        ("123456789012:{name}", {}, 403, "AccessDeniedException", ""),
        (
            "n" * 65,
            {},
            400,
            "InvalidParameterValueException",
            (
                f"1 validation error detected: Value '{'n' * 65}' at 'functionName' failed to satisfy constraint: "
                "Member must have length less than or equal to 64"
            ),
        ),
    ],
)
def test_who_cannot_be_invoked(
    functions: FunctionSet, echo: str, address: str, members: dict[str, str], status: int, code: str, message: str
) -> None:
    found = refusal(functions, address.format(name=echo), **members)
    assert found == (status, code, message.format(name=echo))


def test_another_account_gets_no_reason(functions: FunctionSet, echo: str) -> None:
    answer = functions.post(f"123456789012:{echo}")
    assert (answer.status, answer.body) == (403, b'{"Message":null}')


def test_names_outside_the_pattern_are_validation_errors(functions: FunctionSet) -> None:
    answer = functions.post("what is this?")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    message = answer.json["message"]
    assert message.startswith(
        "1 validation error detected: Value 'what is this?' at 'functionName' failed to satisfy constraint: Member "
        "must satisfy regular expression pattern: "
    )
    assert "Type" not in answer.json


def test_two_violations_are_counted(functions: FunctionSet) -> None:
    answer = functions.post("what is this?", X_Amz_Log_Type="Loud")
    assert answer.json["message"].startswith("2 validation errors detected: Value ")
    assert answer.json["message"].count("failed to satisfy constraint") == 2


@pytest.mark.parametrize("qualifier", ["a b", "x" * 129, "%21"])
def test_qualifiers_outside_the_pattern_are_validation_errors(
    functions: FunctionSet, echo: str, qualifier: str
) -> None:
    answer = functions.post(echo, query=f"?Qualifier={qualifier.replace(' ', '%20')}")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert "at 'qualifier' failed" in answer.json["message"]


def test_a_function_that_is_pending_cannot_be_invoked(
    shared_service: RunningService, functions: FunctionSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = shared_service.service._accounts.own.plane
    held: list[Any] = []
    monkeypatch.setattr(type(plane), "schedule_activation", lambda _self, *versions: held.extend(versions))
    name = functions.create(PLAIN, wait=False)
    assert refusal(functions, name) == (
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. The function is currently in the following state: Pending",
    )
    monkeypatch.undo()
    shared_service.do(lambda: plane.schedule_activation(*held))
    functions.wait_active(name)
    assert functions.invoke(name, 1).value == 1


# --- client context ------------------------------------------------------------------------------------------------


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def test_client_context_reaches_the_function_decoded(functions: FunctionSet, echo: str) -> None:
    context = {"custom": {"a": "ü", "n": [1, None]}, "env": {"k": "v"}, "client": {"app_title": "t"}}
    answer = functions.invoke(echo, ClientContext=encoded(context)).value
    assert (answer["custom"], answer["env"]) == (context["custom"], context["env"])
    assert functions.invoke(echo).value["custom"] is None


@pytest.mark.parametrize(
    "given", ["%%%", "e30", encoded([1]), encoded("text"), base64.b64encode(b"{").decode(), encoded(None), "e30=="]
)
def test_client_context_must_be_a_json_object_in_base64(functions: FunctionSet, echo: str, given: str) -> None:
    answer = functions.post(echo, X_Amz_Client_Context=given)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    assert answer.json == {"Type": "User", "message": "Client context must be a valid Base64-encoded JSON object."}


def test_client_context_has_a_longest_length(functions: FunctionSet, echo: str) -> None:
    for length, status in ((3583, 400), (3584, 400)):
        answer = functions.post(echo, X_Amz_Client_Context="A" * length)
        assert answer.status == status
        text = "have length less than or equal to 3583" in answer.json["message"]
        assert text == (length == 3584)
    fits = encoded({"custom": {"a": "x" * (3580 // 4 * 3 - 30)}})
    assert len(fits) <= 3583
    assert functions.post(echo, X_Amz_Client_Context=fits).status == 200


@pytest.mark.parametrize(
    ("header", "value", "word"),
    [("X-Amz-Tenant-Id", "t1", "TenancyConfig"), ("X-Amz-Durable-Execution-Name", "d1", "DurableConfig")],
)
def test_headers_for_other_kinds_of_functions_are_refused(
    functions: FunctionSet, echo: str, header: str, value: str, word: str
) -> None:
    for _ in range(2):
        answer = functions.post(echo, **{header: value})
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidParameterValueException")
        assert word in answer.json["message"]


# --- bodies --------------------------------------------------------------------------------------------------------


def test_an_empty_body_is_an_empty_object(functions: FunctionSet, echo: str) -> None:
    assert functions.post(echo, b"").json["event"] == {}
    assert functions.client.invoke(FunctionName=echo)["StatusCode"] == 200


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "text", "ü\u2028\U0001f600", [], [1, [2]], {}, {"a": {"b": None}}, 10**30]
)
def test_any_json_value_is_an_event(functions: FunctionSet, echo: str, value: Any) -> None:
    assert functions.invoke(echo, raw=json.dumps(value).encode()).value["event"] == value
    assert functions.invoke(echo, raw=json.dumps(value, ensure_ascii=False).encode()).value["event"] == value


def test_a_handler_that_returns_nothing_answers_null(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    pass\n")
    assert functions.invoke(name).raw == b"null"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
        "nonsense",
    ],
)
def test_every_content_type_is_taken(functions: FunctionSet, echo: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = functions.post(echo, b'{"a":1}', **headers)
    assert (answer.status, answer.json["event"]) == (200, {"a": 1})


def test_a_chunked_request_is_taken(functions: FunctionSet, echo: str) -> None:
    target = f"/2015-03-31/functions/{echo}/invocations"
    headers = {"X-Amz-A": "b", "Transfer-Encoding": "chunked"}
    connection = http.client.HTTPConnection("127.0.0.1", int(functions.url.rpartition(":")[2]), timeout=10)
    connection.putrequest("POST", target)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\nX-Trailer: 1\r\n\r\n')
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["event"]) == (200, {"a": 1})
    connection.close()


TAIL = (
    "\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
)
UNEXPECTED = "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"m", "Unrecognized token 'm': was expecting ('true', 'false' or 'null')"),
        (b"\x99", f"Unexpected character ((CTRL-CHAR, code 153)): {UNEXPECTED}"),
        (b'"\x87"', "Invalid UTF-8 start byte 0x87"),
    ],
)
def test_recorded_texts_for_what_is_no_json(functions: FunctionSet, echo: str, body: bytes, detail: str) -> None:
    answer = functions.post(echo, body)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    assert answer.json["Type"] == "User"
    message = answer.json["message"]
    prefix = "Could not parse request body into json: Could not parse payload into json: "
    assert message.startswith(f"{prefix}{detail}\n at [Source: REDACTED (`StreamReadFeature."), message
    assert re.search(r"line: 1, column: \d+\]$", message)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1,]",
        b"{'a':1}",
        b'{"a":1}}',
        b"nul",
        b'"\xff"',
        b"01",
        b'"\\x"',
        b'"\n"',
        b"SUCCESS",
        b"\xef\xbb\xbf1x",
    ],
)
def test_what_is_no_json_never_reaches_the_function(functions: FunctionSet, echo: str, body: bytes) -> None:
    functions.invoke(echo)
    starts = sum(line.startswith("START") for line in functions.log_lines(echo))
    answer = functions.post(echo, body)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")
    assert sum(line.startswith("START") for line in functions.log_lines(echo)) == starts


def test_a_large_body_that_is_no_json_is_diagnosed_too(functions: FunctionSet, echo: str) -> None:
    answer = functions.post(echo, b'"' + b"x" * 2_000_000)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (400, "InvalidRequestContentException")


# --- log tail ------------------------------------------------------------------------------------------------------


def test_log_result_only_on_request(functions: FunctionSet, echo: str) -> None:
    assert "X-Amz-Log-Result" not in functions.post(echo).headers
    assert "X-Amz-Log-Result" not in functions.post(echo, X_Amz_Log_Type="None").headers
    tail = base64.b64decode(functions.post(echo, X_Amz_Log_Type="Tail").headers["X-Amz-Log-Result"]).decode()
    assert tail.startswith("START RequestId: ")
    assert "\nREPORT RequestId: " in tail


# --- what is not served --------------------------------------------------------------------------------------------

STATUS = compatibility_registry()
VALUES = {"integer": 1, "long": 1, "boolean": True, "double": 1.0, "timestamp": 0, "blob": b"{}"}


def smallest(shape: Any) -> Any:
    """A value that botocore can send."""
    if shape.type_name == "structure":
        return {name: smallest(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [smallest(shape.member)]
    if shape.type_name == "map":
        return {"key": smallest(shape.value)}
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))
    return VALUES[shape.type_name]


def test_every_other_operation_answers_501_naming_itself(functions: FunctionSet) -> None:
    model = functions.client.meta.service_model
    asked = []
    methods = {operation: method for method, operation in functions.client.meta.method_to_api_mapping.items()}
    for name in model.operation_names:
        if STATUS.status(name).level is not Level.NOT:
            continue
        shape = model.operation_model(name).input_shape
        with pytest.raises(ClientError) as caught:
            getattr(functions.client, methods[name])(**(smallest(shape) if shape else {}))
        answer = caught.value.response
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 501, (name, answer)
        assert answer["Error"]["Code"] == "NotImplementedException"
        message = answer["Error"]["Message"]
        assert re.search(rf"\b{name}\b", message), message
        assert "docs/compatibility.md" in message
        asked.append(name)
    assert "GetDurableExecution" in asked
