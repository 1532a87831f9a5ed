"""A service with ``--credentials``: signatures and credentials, as boto3 and botocore's own signer make them."""

from __future__ import annotations

import datetime
import http.client
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import botocore.auth
import pytest

from tests.clients.client_support import (
    Key,
    arn,
    client_with,
    not_allowed,
    refused,
    send_signed,
    signed_headers,
)
from tests.clients.guarded_keys import EXPIRED, FULL, INVOKER, NOBODY, READER, SESSION
from tests.service.harness import RunningService, client_of, send

if TYPE_CHECKING:
    from collections.abc import Callable

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
BAD_SIGNATURE = (403, "InvalidSignatureException", MISMATCH)
BAD_TOKEN = (403, "UnrecognizedClientException", "The security token included in the request is invalid.")
INVOCATIONS = "/2015-03-31/functions/{}/invocations"
TARGET = "/2015-03-31/functions/target"


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


def test_paths_of_older_clients_end_with_a_slash(guarded: RunningService) -> None:
    for target in ("/2015-03-31/functions", "/2015-03-31/functions/"):
        answer = send_signed(guarded, READER, "GET", target)
        assert "target" in {item["FunctionName"] for item in answer.json["Functions"]}


def test_queries_are_signed_as_they_are_sent(client_for: Callable[..., Any]) -> None:
    client = client_for(FULL)
    odd = {"a b": "1", "k=x": "2", "ü+/:": "3", "@.-_": "4"}
    client.tag_resource(Resource=arn("target"), Tags={**odd, "kept": "5"})
    client.untag_resource(Resource=arn("target"), TagKeys=list(odd))
    assert client.list_tags(Resource=arn("target"))["Tags"] == {"kept": "5"}
    pages = client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
    assert {item["FunctionName"] for page in pages for item in page["Functions"]} >= {"target", "guarded-f"}


def test_one_connection_may_carry_requests_of_several_keys(guarded: RunningService) -> None:
    target = INVOCATIONS.format("target")
    connection = http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=30)
    try:
        for key, status in ((FULL, 200), (NOBODY, 403), (INVOKER, 200), (READER, 403), (FULL, 200)):
            connection.request("POST", target, b"8", signed_headers(guarded, key, "POST", target, b"8"))
            answer = connection.getresponse()
            body = answer.read()
            assert (answer.status, body == b"8") == (status, status == 200), key.user
            assert not answer.will_close
        # Who has just been let in is not let in without a signature.
        connection.request("POST", target, b"8", {"x-amz-client": "test"})
        assert connection.getresponse().status == 403
    finally:
        connection.close()
