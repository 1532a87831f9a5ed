"""A service with ``--credentials``: unmodified boto3 with every kind of key, and requests signed by hand."""

from __future__ import annotations

import datetime
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import botocore.auth
import pytest

from tests.clients.access_keys import (
    ECHO,
    OTHER,
    OWN,
    Key,
    arn,
    client_with,
    create,
    not_allowed,
    refused,
    send_signed,
    signed_headers,
    statement,
    wait,
    write_keys,
)
from tests.service.harness import PYTHON, ROLE, RunningService, client_of, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FULL = Key("full", (statement("lambda:*"), statement("logs:*")))
READER = Key("reader", (statement(["lambda:Get*", "lambda:List*"]),))
INVOKER = Key("invoker", (statement("lambda:InvokeFunction", arn("target")),))
QUALIFIED = Key("qualified", (statement("lambda:invokefunction", arn("targ?t:*")),))
CAREFUL = Key(
    "careful",
    (statement("lambda:*"), statement(["lambda:DeleteFunction", "lambda:InvokeFunction"], arn("guarded-*"), "Deny")),
)
SESSION = Key("session", (statement("lambda:*"),), token="token-0123456789/+=")
LASTING = Key("lasting", (statement("lambda:*"),), token="token-of-lasting-0", expires="2999-01-01T00:00:00Z")
EXPIRED = Key("expired", (statement("lambda:*"),), expires="2020-01-01T00:00:00Z")
NOBODY = Key("nobody")
NEIGHBOUR = Key("neighbour", (statement("lambda:*"),), account_id=OTHER)
STRANGER = Key("stranger", account_id=OTHER)
KEYS = (FULL, READER, INVOKER, QUALIFIED, CAREFUL, SESSION, LASTING, EXPIRED, NOBODY, NEIGHBOUR, STRANGER)

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
BAD_SIGNATURE = (403, "InvalidSignatureException", MISMATCH)
BAD_TOKEN = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
BY_DENY = "with an explicit deny in an identity-based policy"
INVOCATIONS = "/2015-03-31/functions/{}/invocations"
TARGET = "/2015-03-31/functions/target"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with all these keys, and the functions ``target`` (version 1, alias ``live``) and ``guarded-f``."""
    folder = tmp_path_factory.mktemp("guarded")
    write_keys(folder / "keys.json", KEYS)
    running = RunningService(folder / "data", credentials=folder / "keys.json")
    client = FULL.client(running.url)
    create(client, "target")
    create(client, "guarded-f")
    client.publish_version(FunctionName="target")
    client.create_alias(FunctionName="target", Name="live", FunctionVersion="1")
    wait(client, "published_version_active", FunctionName="target", Qualifier="1")
    yield running
    client.close()
    running.close()


@pytest.fixture
def client_for(guarded: RunningService) -> Iterator[Callable[..., Any]]:
    """``client_for(key)``: boto3 with that key."""
    made: list[Any] = []

    def make(key: Key, **options: Any) -> Any:
        made.append(key.client(guarded.url, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def value_of(answer: Any) -> Any:
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())


# --- what keys may do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [FULL, SESSION, LASTING], ids=lambda key: key.user)
def test_a_key_that_may_do_everything(client_for: Callable[..., Any], key: Key) -> None:
    client, name = client_for(key), f"of-{key.user}"
    create(client, name)
    assert value_of(client.invoke(FunctionName=name, Payload=b"[1]")) == [1]
    client.update_function_configuration(FunctionName=name, Timeout=7)
    wait(client, "function_updated_v2", FunctionName=name)
    assert client.get_function(FunctionName=name)["Configuration"]["Timeout"] == 7
    assert name in {item["FunctionName"] for item in client.list_functions()["Functions"]}
    client.delete_function(FunctionName=name)
    assert refused(client.get_function, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn(name)}",
    )


READS: dict[str, dict[str, Any]] = {
    "get_function": {"FunctionName": "target"},
    "get_function_configuration": {"FunctionName": "target", "Qualifier": "live"},
    "list_functions": {},
    "get_alias": {"FunctionName": "target", "Name": "live"},
}
WRITES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "create_function": (
        "CreateFunction",
        arn("new"),
        {"FunctionName": "new", "Runtime": PYTHON, "Handler": "a.b", "Role": ROLE, "Code": {"ZipFile": b"x"}},
    ),
    "update_function_code": ("UpdateFunctionCode", arn("target"), {"FunctionName": "target", "ZipFile": b"x"}),
    "update_function_configuration": (
        "UpdateFunctionConfiguration",
        arn("target"),
        {"FunctionName": arn("target"), "Timeout": 9},
    ),
    "publish_version": ("PublishVersion", arn("target"), {"FunctionName": "target"}),
    "create_alias": (
        "CreateAlias",
        arn("target"),
        {"FunctionName": "target", "Name": "other", "FunctionVersion": "1"},
    ),
    "delete_function": ("DeleteFunction", arn("target"), {"FunctionName": "target"}),
    "delete_function-version": ("DeleteFunction", arn("target:1"), {"FunctionName": "target", "Qualifier": "1"}),
    "invoke": ("InvokeFunction", arn("target"), {"FunctionName": "target"}),
    "invoke-version": ("InvokeFunction", arn("target:1"), {"FunctionName": "target:1"}),
    "invoke-alias": ("InvokeFunction", arn("target:live"), {"FunctionName": "target", "Qualifier": "live"}),
    "invoke-event": ("InvokeFunction", arn("target"), {"FunctionName": "target", "InvocationType": "Event"}),
}


@pytest.mark.parametrize("method", READS)
def test_a_key_that_may_only_read_reads(client_for: Callable[..., Any], method: str) -> None:
    answer = getattr(client_for(READER), method)(**READS[method])
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


@pytest.mark.parametrize("case", WRITES)
def test_a_key_that_may_only_read_changes_nothing_and_runs_nothing(client_for: Callable[..., Any], case: str) -> None:
    action, resource, members = WRITES[case]
    before = client_for(FULL).get_function_configuration(FunctionName="target")["RevisionId"]
    call = getattr(client_for(READER), case.partition("-")[0])
    assert refused(call, **members) == not_allowed(READER, action, resource)
    assert client_for(FULL).get_function_configuration(FunctionName="target")["RevisionId"] == before
    assert refused(client_for(FULL).get_function, FunctionName="new")[0] == 404


@pytest.mark.parametrize("name", ["target", arn("target"), f"{OWN}:function:target", "function:target"])
def test_a_key_for_one_function_may_be_used_with_every_form_of_its_name(
    client_for: Callable[..., Any], name: str
) -> None:
    client = client_for(INVOKER)
    # The second one goes the short way.
    for number in range(2):
        assert value_of(client.invoke(FunctionName=name, Payload=b"%d" % number)) == number


def test_a_key_for_one_function_may_do_nothing_else(client_for: Callable[..., Any]) -> None:
    client = client_for(INVOKER)
    assert value_of(client.invoke(FunctionName="target", Payload=b'"first"')) == "first"
    cases = {
        arn("guarded-f"): {"FunctionName": "guarded-f"},
        arn("missing"): {"FunctionName": "missing"},
        arn("target:1"): {"FunctionName": "target", "Qualifier": "1"},
        arn("target:live"): {"FunctionName": "target:live"},
        arn("target:$LATEST"): {"FunctionName": "target", "Qualifier": "$LATEST"},
    }
    for resource, members in cases.items():
        assert refused(client.invoke, **members) == not_allowed(INVOKER, "InvokeFunction", resource)
    assert refused(client.get_function, FunctionName="target") == not_allowed(INVOKER, "GetFunction", arn("target"))
    assert refused(client.list_functions) == not_allowed(INVOKER, "ListFunctions", "*")


def test_qualified_and_unqualified_names_are_different_resources(client_for: Callable[..., Any]) -> None:
    client = client_for(QUALIFIED)
    for qualifier in ("1", "live", "$LATEST"):
        assert value_of(client.invoke(FunctionName="target", Qualifier=qualifier, Payload=b"1")) == 1
    assert refused(client.invoke, FunctionName="target") == not_allowed(QUALIFIED, "InvokeFunction", arn("target"))


def test_an_explicit_deny_wins(client_for: Callable[..., Any]) -> None:
    client = client_for(CAREFUL)
    assert value_of(client.invoke(FunctionName="target", Payload=b"2")) == 2
    assert client.get_function(FunctionName="guarded-f")["Configuration"]["State"] == "Active"
    for call, action in ((client.invoke, "InvokeFunction"), (client.delete_function, "DeleteFunction")):
        status, code, message = refused(call, FunctionName="guarded-f")
        assert (status, code) == (403, "AccessDeniedException")
        assert message == (
            f"User: {CAREFUL.arn} is not authorized to perform: lambda:{action} on resource: {arn('guarded-f')} "
            f"{BY_DENY}"
        )


def test_a_dry_run_tells_who_may_invoke(client_for: Callable[..., Any]) -> None:
    dry = {"FunctionName": "target", "InvocationType": "DryRun"}
    for key in (FULL, INVOKER, CAREFUL):
        assert client_for(key).invoke(**dry)["StatusCode"] == 204
    for key in (READER, QUALIFIED, NOBODY):
        assert refused(client_for(key).invoke, **dry) == not_allowed(key, "InvokeFunction", arn("target"))
    # Who may not invoke a function does not learn that there is none.
    missing = {"FunctionName": "missing", "InvocationType": "DryRun"}
    assert refused(client_for(NOBODY).invoke, **missing) == not_allowed(NOBODY, "InvokeFunction", arn("missing"))
    assert refused(client_for(FULL).invoke, **missing)[:2] == (404, "ResourceNotFoundException")


def test_the_refusal_as_it_is_on_the_wire(guarded: RunningService) -> None:
    answer = send_signed(guarded, NOBODY, "POST", INVOCATIONS.format("target"), b"{}")
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "AccessDeniedException")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json == {"Message": not_allowed(NOBODY, "InvokeFunction", arn("target"))[2]}
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["x-amzn-RequestId"])


# --- who is who ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["list_functions", "invoke"])
@pytest.mark.parametrize(
    ("credentials", "answer"),
    [
        pytest.param(("AKIDUNKNOWN", FULL.secret), BAD_TOKEN, id="unknown key"),
        pytest.param((FULL.access_key_id, "another-secret-0123"), BAD_SIGNATURE, id="another secret"),
        pytest.param((*SESSION.triple[:2],), BAD_TOKEN, id="no token"),
        pytest.param((*SESSION.triple[:2], "token-of-somebody"), BAD_TOKEN, id="another token"),
        pytest.param((*FULL.triple[:2], "token-of-somebody"), BAD_TOKEN, id="needless token"),
        pytest.param(
            EXPIRED.triple[:2],
            (403, "ExpiredTokenException", "The security token included in the request is expired"),
            id="expired",
        ),
        pytest.param(
            (EXPIRED.access_key_id, "another-secret-0123"),
            BAD_SIGNATURE,
            id="expired and not its holder",
        ),
    ],
)
def test_credentials_that_are_not_accepted(
    guarded: RunningService, credentials: tuple[str, ...], answer: tuple[int, str, str], operation: str
) -> None:
    client = client_with(guarded.url, *credentials)
    members = {"FunctionName": "target"} if operation == "invoke" else {}
    assert refused(getattr(client, operation), **members) == answer
    client.close()


def test_another_region(client_for: Callable[..., Any]) -> None:
    client = client_for(FULL, region_name="eu-west-1")
    assert refused(client.list_functions) == (
        403,
        "InvalidSignatureException",
        "Credential should be scoped to a valid region. ",
    )


def test_another_service(guarded: RunningService) -> None:
    headers = signed_headers(guarded, FULL, "GET", TARGET, service="s3")
    answer = send(guarded.url, "GET", TARGET, headers=headers)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    assert answer.json == {"message": "Credential should be scoped to correct service: 'lambda'. "}


def shift_clock(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """Let botocore, and nothing else, see another time."""
    real = botocore.auth.get_current_datetime
    delta = datetime.timedelta(seconds=seconds)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *args, **kwargs: real(*args, **kwargs) + delta)


TIME = r"(\d{8}T\d{6}Z)"
EXPIRED_TEXT = rf"Signature expired: {TIME} is now earlier than {TIME} \({TIME} - 5 min\.\)"
NOT_YET_TEXT = rf"Signature not yet current: {TIME} is still later than {TIME} \({TIME} \+ 5 min\.\)"


@pytest.mark.parametrize(("seconds", "text"), [(-360, EXPIRED_TEXT), (360, NOT_YET_TEXT)])
def test_a_clock_that_is_more_than_five_minutes_off(
    client_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seconds: int, text: str
) -> None:
    shift_clock(monkeypatch, seconds)
    status, code, message = refused(client_for(FULL).list_functions)
    assert (status, code) == (403, "InvalidSignatureException")
    found = re.fullmatch(text, message or "")
    assert found is not None, message
    signed, bound, now = (datetime.datetime.strptime(part, "%Y%m%dT%H%M%SZ") for part in found.groups())
    assert abs(now - bound) == datetime.timedelta(minutes=5)
    assert (signed < bound) is (seconds < 0)


@pytest.mark.parametrize("seconds", [-240, 240])
def test_a_clock_that_is_a_little_off(
    client_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    shift_clock(monkeypatch, seconds)
    assert client_for(FULL).list_functions()["Functions"]


@pytest.mark.parametrize(
    ("method", "target", "headers", "body"),
    [
        ("GET", "/2015-03-31/functions", {}, None),
        ("GET", TARGET, {"x-amz-client": "curl"}, None),
        ("POST", INVOCATIONS.format("target"), {"x-amz-invocation-type": "RequestResponse"}, b"{}"),
        ("POST", INVOCATIONS.format("missing"), {"amz-sdk-invocation-id": "1"}, b"{}"),
        ("GET", "/_venturekit/logs/target", {"x-amz-client": "curl"}, None),
        ("DELETE", TARGET, {}, None),
    ],
)
def test_a_request_without_a_signature(
    guarded: RunningService, method: str, target: str, headers: dict[str, str], body: bytes | None
) -> None:
    answer = send(guarded.url, method, target, body, headers)
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
    assert answer.json == {"message": "Missing Authentication Token"}


def test_boto3_without_credentials(guarded: RunningService) -> None:
    client = client_of(guarded.url)
    for call, members in ((client.list_functions, {}), (client.invoke, {"FunctionName": "target"})):
        assert refused(call, **members) == (
            403,
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        )
    client.close()


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ("AWS4-HMAC-SHA256 Credential", "not a valid key=value pair (missing equal-sign) in Authorization header"),
        ("AWS4-HMAC-SHA256 Signature=0", "Authorization header requires 'Credential' parameter."),
    ],
)
def test_a_signature_that_cannot_be_read(guarded: RunningService, authorization: str, text: str) -> None:
    answer = send(guarded.url, "GET", TARGET, headers={"Authorization": authorization})
    assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "IncompleteSignatureException")
    assert list(answer.json) == ["message"]
    assert text in answer.json["message"]


def test_health_is_open_and_logs_are_not(guarded: RunningService, client_for: Callable[..., Any]) -> None:
    client_for(FULL).invoke(FunctionName="target")
    assert send(guarded.url, "GET", "/_venturekit/health").json["status"] == "ok"
    logs = "/_venturekit/logs/target"
    page = send_signed(guarded, FULL, "GET", logs)
    assert (page.status, page.json["events"][0]["message"].startswith("INIT_START")) == (200, True)
    for key in (READER, NOBODY):
        answer = send_signed(guarded, key, "GET", logs)
        assert answer.status == 403
        assert f"User: {key.arn} is not authorized to perform: logs:FilterLogEvents" in answer.json["message"]


def test_the_link_to_the_code_carries_its_own_permission(
    guarded: RunningService, client_for: Callable[..., Any]
) -> None:
    location = client_for(READER).get_function(FunctionName="target")["Code"]["Location"]
    path = location.removeprefix(guarded.url)
    assert send(guarded.url, "GET", path).body == zip_of({"app.py": ECHO})
    assert send(guarded.url, "GET", path.partition("?")[0]).status == 403


# --- signatures in the query -----------------------------------------------------------------------------------------


def presigned(client: Any, guarded: RunningService, method: str = "get_function", **members: Any) -> str:
    """Path and query of a presigned URL."""
    url = client.generate_presigned_url(method, Params={"FunctionName": "target", **members}, ExpiresIn=60)
    assert url.startswith(guarded.url)
    return str(url.removeprefix(guarded.url))


@pytest.mark.parametrize("key", [FULL, READER, SESSION], ids=lambda key: key.user)
def test_a_presigned_get(guarded: RunningService, client_for: Callable[..., Any], key: Key) -> None:
    target = presigned(client_for(key), guarded, Qualifier="live")
    answer = send(guarded.url, "GET", target)
    assert (answer.status, answer.json["Configuration"]["FunctionArn"]) == (200, arn("target:live"))
    # Twice within its time; but for nothing else.
    assert send(guarded.url, "GET", target).status == 200
    for changed in (target.replace("live", "1"), target.replace("target", "guarded-f", 1)):
        refusal = send(guarded.url, "GET", changed)
        assert (refusal.status, refusal.json) == (403, {"message": MISMATCH})
    assert send(guarded.url, "DELETE", target).json == {"message": MISMATCH}


def test_a_presigned_invocation(guarded: RunningService, client_for: Callable[..., Any]) -> None:
    target = presigned(client_for(INVOKER), guarded, "invoke")
    assert send(guarded.url, "POST", target).json == {}
    # That there is no payload is signed, too.
    assert send(guarded.url, "POST", target, b"[4]").json == {"message": MISMATCH}


def test_a_presigned_url_does_not_say_more_than_its_key(
    guarded: RunningService, client_for: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = send(guarded.url, "GET", presigned(client_for(INVOKER), guarded))
    assert (answer.status, answer.json) == (403, {"Message": not_allowed(INVOKER, "GetFunction", arn("target"))[2]})
    shift_clock(monkeypatch, -90)
    late = send(guarded.url, "GET", presigned(client_for(FULL), guarded))
    assert late.status == 403
    assert late.json["message"].startswith("Signature expired: ")


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [0, 1_000, 262_144, 262_145, 1_000_000, 6_291_456])
def test_bodies_of_all_sizes_are_signed(client_for: Callable[..., Any], size_bytes: int) -> None:
    body = b'"' + b"x" * (size_bytes - 2) + b'"' if size_bytes else b""
    client = client_for(INVOKER)
    assert client.invoke(FunctionName="target", Payload=body)["Payload"].read() == (body or b"{}")
    assert refused(client.invoke, FunctionName="guarded-f", Payload=body)[0] == 403


@pytest.mark.parametrize("size_bytes", [100, 300_000])
def test_a_body_that_is_not_the_one_that_was_signed(guarded: RunningService, size_bytes: int) -> None:
    target = INVOCATIONS.format("target")
    body = b'"' + b"x" * size_bytes + b'"'
    headers = signed_headers(guarded, FULL, "POST", target, body)
    assert send(guarded.url, "POST", target, body, headers).status == 200
    answer = send(guarded.url, "POST", target, body.replace(b"xx", b"xy", 1), headers)
    assert (answer.status, answer.json) == (403, {"message": MISMATCH})


def test_a_body_over_the_limit_is_too_large_whoever_sends_it(client_for: Callable[..., Any]) -> None:
    body = b'"' + b"x" * 6_291_456 + b'"'
    for key in (FULL, NOBODY):
        status, code, message = refused(client_for(key).invoke, FunctionName="target", Payload=body)
        assert (status, code) == (413, "RequestEntityTooLargeException")
        assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def test_names_that_have_to_be_escaped_are_signed_as_they_are_sent(
    guarded: RunningService, client_for: Callable[..., Any]
) -> None:
    client = client_for(FULL)
    for name in ("target:$LATEST", arn("target:live"), "target"):
        assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == "target"
    raw = f"/2015-03-31/functions/{arn('target:1')}"
    for target in (raw, f"/2015-03-31/functions/{quote(arn('target:1'), safe='')}"):
        assert send_signed(guarded, FULL, "GET", target).json["Configuration"]["Version"] == "1"


# --- other accounts --------------------------------------------------------------------------------------------------


def test_another_account_sees_nothing_of_this_one(client_for: Callable[..., Any]) -> None:
    client = client_for(NEIGHBOUR)
    assert client.list_functions()["Functions"] == []
    assert refused(client.get_function, FunctionName="target") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {arn('target', OTHER)}",
    )
    nothing = (403, "AccessDeniedException", None)
    for call in (client.invoke, client.get_function, client.delete_function, client.get_function_configuration):
        assert refused(call, FunctionName=arn("target")) == nothing
    # Its own account does not even let it ask.
    stranger = client_for(STRANGER)
    assert refused(stranger.invoke, FunctionName=arn("target")) == not_allowed(
        STRANGER, "InvokeFunction", arn("target")
    )


def test_functions_of_the_same_name_in_two_accounts(client_for: Callable[..., Any]) -> None:
    client = client_for(NEIGHBOUR)
    create(client, "target", "def handler(event, context):\n    return context.invoked_function_arn\n")
    assert value_of(client.invoke(FunctionName="target")) == arn("target", OTHER)
    assert value_of(client_for(FULL).invoke(FunctionName="target", Payload=b"5")) == 5
    client.delete_function(FunctionName="target")
    assert value_of(client_for(FULL).invoke(FunctionName="target", Payload=b"6")) == 6


def test_the_statements_of_a_key_are_about_its_own_account(client_for: Callable[..., Any]) -> None:
    """The invoker's key names the function of account 000000000000 only."""
    client = client_for(INVOKER)
    foreign = arn("target", OTHER)
    assert refused(client.invoke, FunctionName=foreign) in (
        not_allowed(INVOKER, "InvokeFunction", foreign),
        (403, "AccessDeniedException", None),
    )
