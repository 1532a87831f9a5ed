"""Requests to function URLs: the event that is made of them, what is answered, and who is let in."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.front.front_lab import ACCOUNT, DOMAIN, ID, TRACE, entry
from venturekit.front import answers
from venturekit.front.http_client import Response, ServerGoneError, TooManyRequestsError

if TYPE_CHECKING:
    from tests.front.front_lab import Lab

FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


def returns(lab: Lab, value: Any) -> None:
    lab.api.result = lambda _event: json.dumps(value).encode()


# --- the event --------------------------------------------------------------------------------------------------------


def test_the_event_of_a_request(lab: Lab) -> None:
    returns(lab, {"statusCode": 200})
    answer = lab.ask(
        "POST",
        "/a%20b/c?x=1&x=2&y=%C3%A4",
        b'{"k": 1}',
        [("Content-Type", "application/json"), ("Cookie", "a=1; b=2"), ("X-Two", "1"), ("x-two", "2")],
    )
    (event,) = lab.api.events
    assert answer.status == 200
    assert answer["x-amzn-requestid"] == event["requestContext"]["requestId"]
    assert answer["x-amzn-trace-id"] == TRACE[1].decode()
    headers = event["headers"]
    assert re.fullmatch(r"Root=1-6553f100-[0-9a-f]{24}", headers.pop("x-amzn-trace-id"))
    assert headers == {
        "host": f"{ID}.{DOMAIN}:9002",
        "content-type": "application/json",
        "content-length": "8",
        "cookie": "a=1; b=2",
        "x-two": "1,2",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-port": "9002",
        "x-forwarded-proto": "http",
    }
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b/c", "x=1&x=2&y=%C3%A4")
    assert event["queryStringParameters"] == {"x": "1,2", "y": "ä"}
    assert (event["body"], event["isBase64Encoded"]) == ('{"k": 1}', False)
    context = event["requestContext"]
    assert (context["accountId"], context["apiId"], context["domainName"]) == ("anonymous", ID, f"{ID}.{DOMAIN}")
    assert (context["timeEpoch"], context["time"]) == (1_700_000_000_500, "14/Nov/2023:22:13:20 +0000")
    assert "authorizer" not in context
    # What the invocation is called with is what the event says.
    arn, request_id, trace = lab.api.calls[0]
    assert arn == f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
    assert request_id == context["requestId"]
    assert re.fullmatch(r"Root=1-6553f100-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", trace)


def test_a_binary_body_goes_and_comes_whole(lab: Lab) -> None:
    body = bytes(range(256)) * 40
    lab.api.result = lambda event: json.dumps(
        {
            "statusCode": 200,
            "headers": {"content-type": "image/png"},
            "body": event["body"],
            "isBase64Encoded": event["isBase64Encoded"],
        }
    ).encode()
    answer = lab.ask("PUT", "/", body, [("Content-Type", "image/png")])
    assert lab.api.events[0]["body"] == base64.b64encode(body).decode()
    assert (answer["content-type"], answer.body) == ("image/png", body)


def test_a_chunked_body(lab: Lab) -> None:
    returns(lab, {"statusCode": 204})
    client = lab.connect()
    lines = f"Host: {ID}.{DOMAIN}\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain"
    client.send(f"POST / HTTP/1.1\r\n{lines}\r\n\r\n".encode())
    for piece in (b"one ", b"two"):
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    client.send(b"0\r\n\r\n")
    assert client.answer().status == 204
    assert lab.api.events[0]["body"] == "one two"
    assert "transfer-encoding" not in lab.api.events[0]["headers"]


def test_by_path_the_function_sees_the_same(lab: Lab) -> None:
    returns(lab, 1)
    lab.ask(path=f"/_url/{ID}/a/b?c=d", host="127.0.0.1:9002")
    lab.ask(path=f"/_url/{ID}", host="localhost")
    first, second = lab.api.events
    assert (first["rawPath"], first["requestContext"]["http"]["path"], first["rawQueryString"]) == (
        *("/a/b", "/a/b"),
        "c=d",
    )
    assert first["requestContext"]["domainName"] == f"{ID}.{DOMAIN}"
    assert second["rawPath"] == "/"


def test_a_clients_trace_is_kept_and_a_spoilt_one_is_not(lab: Lab) -> None:
    returns(lab, 1)
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:abc:3"
    lab.ask(headers=[("X-Amzn-Trace-Id", trace)])
    lab.ask(headers=[("X-Amzn-Trace-Id", "nonsense")])
    lab.ask(headers=[("X-Amzn-Trace-Id", "Root=" + "x" * 2000)])
    assert lab.api.calls[0][2] == trace
    assert all(call[2].startswith("Root=1-6553f100-") for call in lab.api.calls[1:])


def test_the_way_a_request_came_is_kept(lab: Lab) -> None:
    returns(lab, 1)
    lab.ask(headers=[("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Port", "1")])
    headers = lab.api.events[0]["headers"]
    assert headers["x-forwarded-for"] == "1.2.3.4, 127.0.0.1"
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("http", "9002")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "DELETE", "PURGE", "PROPFIND"])
def test_any_method_reaches_the_function(lab: Lab, method: str) -> None:
    returns(lab, {"statusCode": 200, "body": "four"})
    answer = lab.ask(method)
    assert lab.api.events[0]["requestContext"]["http"]["method"] == method
    assert answer["content-length"] == "4"
    assert answer.body == (b"" if method == "HEAD" else b"four")


# --- the response -----------------------------------------------------------------------------------------------------


def test_a_whole_response(lab: Lab) -> None:
    returns(
        lab,
        {
            "statusCode": 201,
            "headers": {"X-A": "b", "X-N": 5, "x-amzn-requestid": "mine", "Connection": "close"},
            "cookies": ["a=1; Path=/", "b=2"],
            "body": "schön",
        },
    )
    answer = lab.ask()
    assert (answer.status, answer.body) == (201, "schön".encode())
    assert (answer["x-a"], answer["x-n"]) == ("b", "5")
    assert answer.all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer["x-amzn-requestid"] == lab.api.events[0]["requestContext"]["requestId"]
    assert answer.all("connection") == answer.all("server") == []


@pytest.mark.parametrize(
    ("result", "body"), [({"a": [1, "x"]}, b'{"a":[1,"x"]}'), ("text", b"text"), (None, b"null"), (7, b"7")]
)
def test_json_without_a_status_is_the_body(lab: Lab, result: Any, body: bytes) -> None:
    returns(lab, result)
    answer = lab.ask()
    assert (answer.status, answer["content-type"], answer.body) == (200, "application/json", body)


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body(lab: Lab, status: int) -> None:
    returns(lab, {"statusCode": status, "body": "ignored"})
    client = lab.connect()
    for _ in range(2):
        client.send(f"GET / HTTP/1.1\r\nHost: {ID}.{DOMAIN}\r\n\r\n".encode())
        assert client.answer().status == status


@pytest.mark.parametrize(
    "result",
    [
        b"not JSON",
        b'{"statusCode": 99}',
        b'{"statusCode": 200, "headers": {"x": "a\\r\\nSet-Cookie: evil=1"}}',
        b'{"statusCode": 200, "headers": {"x\\r\\ny": "a"}}',
        b'{"statusCode": 200, "cookies": ["a=1\\r\\nx: y"]}',
        b'{"statusCode": 200, "body": 5}',
        b'{"statusCode": 200, "body": "%%%", "isBase64Encoded": true}',
        json.dumps({"statusCode": 200, "headers": {f"x-{number}": "y" * 500 for number in range(200)}}).encode(),
    ],
)
def test_a_result_that_is_no_response_is_a_502(lab: Lab, result: bytes, caplog: pytest.LogCaptureFixture) -> None:
    lab.api.result = lambda _event: result
    answer = lab.ask()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")
    assert answer.all("set-cookie") == []
    assert "answers 502" in caplog.text


def test_a_function_error_is_a_502(lab: Lab) -> None:
    lab.api.response = Response(200, {b"x-amz-function-error": b"Unhandled"}, b'{"errorMessage":"secret"}')
    answer = lab.ask()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


def test_a_collected_stream_with_a_prelude_is_read(lab: Lab) -> None:
    lab.api.result = lambda _event: b'{"statusCode":418,"headers":{"x":"y"}}' + bytes(8) + b"tea"
    answer = lab.ask()
    assert (answer.status, answer["x"], answer.body) == (418, "y", b"tea")


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        (Response(429, {}, b"{}"), 429, "Rate Exceeded."),
        (
            Response(413, {}, b"{}"),
            413,
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        ),
        (Response(404, {}, b"{}"), 403, None),
        (Response(503, {}, b"{}"), 503, "Service Unavailable"),
        (ServerGoneError("gone"), 503, "Service Unavailable"),
        (TooManyRequestsError("full"), 429, "Rate Exceeded."),
    ],
)
def test_what_the_lambda_api_refuses(lab: Lab, given: Any, status: int, text: str | None) -> None:
    lab.api.response = given
    answer = lab.ask()
    assert (answer.status, answer.json) == (status, {"Message": text})


@pytest.mark.parametrize("status", [400, 409, 500, 502])
def test_other_refusals_are_a_502(lab: Lab, status: int, caplog: pytest.LogCaptureFixture) -> None:
    lab.api.response = Response(status, {}, b'{"Message":"InvalidRuntime"}')
    answer = lab.ask()
    assert (answer.status, answer.body) == (502, b"Internal Server Error")
    assert "InvalidRuntime" in caplog.text


# --- who is let in ----------------------------------------------------------------------------------------------------


def test_an_unknown_url_is_looked_for_once_more(lab: Lab) -> None:
    answer = lab.ask(host=f"nobody.{DOMAIN}", body=b"x" * 100_000, method="POST")
    assert (answer.status, answer.json) == (403, {"Message": None})
    assert answer["x-amzn-errortype"] == "AccessDeniedException"
    assert lab.api.refreshed == 2
    # One that was made a moment ago is found.
    lab.configure(entry(), entry(id="nobody"))
    assert lab.ask(host=f"nobody.{DOMAIN}").status == 200


def test_a_url_without_the_permissions(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.configure(entry(id="closed", publicAllowed=False, refusal="nobody may"))
    for _ in range(2):
        answer = lab.ask(host=f"closed.{DOMAIN}", method="POST", body=b"data")
        assert (answer.status, answer.json) == (403, {"Message": FORBIDDEN})
    assert caplog.text.count("nobody may") == 1
    assert lab.api.events == []
    lab.configure(entry(id="closed"))
    assert lab.ask(host=f"closed.{DOMAIN}").status == 200


def test_a_signed_request_is_shown_to_the_service(lab: Lab) -> None:
    lab.configure(entry(id="signed", authType="AWS_IAM", publicAllowed=False))
    host = f"signed.{DOMAIN}:9002"
    answer = lab.ask("POST", "/p%20q?a=b", b"body", [("X-Amz-Date", "20200101T000000Z"), ("X-A", "ä")], host=host)
    assert (answer.status, answer.json) == (403, {"Message": FORBIDDEN})
    assert lab.api.events == []
    identity = {"accessKey": "AKID", "accountId": ACCOUNT, "userArn": "arn:aws:iam::1:user/u"}
    lab.api.decision = {"allowed": True, "identity": identity}
    assert lab.ask("POST", "/p%20q?a=b", b"body", [("X-Amz-Date", "20200101T000000Z")], host=host).status == 200
    context = lab.api.events[0]["requestContext"]
    assert context["authorizer"] == {"iam": identity}
    assert context["accountId"] == ACCOUNT
    url_id, request = lab.api.authorized[0]
    assert url_id == "signed"
    assert (request["method"], request["target"]) == ("POST", "/p%20q?a=b")
    assert request["bodySha256"] == "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"
    assert ("host", host) in request["headers"]
    assert ("x-a", "ä".encode().decode("latin-1")) in request["headers"] or ("x-a", "ä") in request["headers"]


def test_a_url_that_is_gone_when_the_service_is_asked(lab: Lab) -> None:
    lab.configure(entry(id="signed", authType="AWS_IAM", publicAllowed=False))
    lab.api.decision = None
    answer = lab.ask(host=f"signed.{DOMAIN}")
    assert (answer.status, answer.json) == (403, {"Message": None})


def test_the_path_form_is_signed_as_it_was_sent(lab: Lab) -> None:
    lab.configure(entry(id="signed", authType="AWS_IAM", publicAllowed=False))
    lab.api.decision = {"allowed": True, "identity": {}}
    lab.ask(path="/_url/signed/x?y", host="localhost:9002")
    assert lab.api.authorized[0][1]["target"] == "/_url/signed/x?y"
    assert lab.api.events[0]["rawPath"] == "/x"


# --- CORS -------------------------------------------------------------------------------------------------------------

CORS = {"AllowOrigins": ["https://page.example"], "AllowMethods": ["GET"], "ExposeHeaders": ["x-a"], "MaxAge": 9}
PREFLIGHT = [("Origin", "https://page.example"), ("Access-Control-Request-Method", "GET")]


@pytest.mark.parametrize("kind", ["NONE", "AWS_IAM"])
def test_a_preflight_is_answered_without_the_function(lab: Lab, kind: str) -> None:
    lab.configure(entry(id="cors", cors=CORS, authType=kind, publicAllowed=False))
    answer = lab.ask("OPTIONS", headers=PREFLIGHT, host=f"cors.{DOMAIN}")
    assert (answer.status, answer.body, answer["content-length"]) == (200, b"", "0")
    assert answer["access-control-allow-origin"] == "https://page.example"
    assert (answer["access-control-allow-methods"], answer["access-control-max-age"]) == ("GET", "9")
    assert answer["vary"] == "Origin"
    refused = lab.ask("OPTIONS", headers=[("Origin", "https://evil.example"), PREFLIGHT[1]], host=f"cors.{DOMAIN}")
    assert refused.status == 200
    assert [name for name, _ in refused.lines if name.startswith("access-control")] == []
    assert lab.api.events == []


def test_without_cors_a_preflight_reaches_the_function(lab: Lab) -> None:
    returns(lab, {"statusCode": 204, "headers": {"access-control-allow-origin": "https://own.example"}})
    answer = lab.ask("OPTIONS", headers=PREFLIGHT)
    assert (answer.status, answer["access-control-allow-origin"]) == (204, "https://own.example")
    assert lab.api.events[0]["headers"]["access-control-request-method"] == "GET"


def test_responses_get_the_headers_errors_too(lab: Lab) -> None:
    lab.configure(entry(id="cors", cors=CORS))
    for response, status in ((None, 200), (Response(429, {}, b""), 429), (Response(500, {}, b""), 502)):
        lab.api.response = response
        answer = lab.ask(headers=PREFLIGHT[:1], host=f"cors.{DOMAIN}")
        assert (answer.status, answer["access-control-allow-origin"]) == (status, "https://page.example")
        assert answer["access-control-expose-headers"] == "x-a"
    lab.api.response = None
    assert lab.ask(host=f"cors.{DOMAIN}").all("access-control-allow-origin") == []


def test_a_functions_own_header_is_sent_as_well(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.configure(entry(id="cors", cors=CORS))
    returns(lab, {"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}})
    answer = lab.ask(headers=PREFLIGHT[:1], host=f"cors.{DOMAIN}")
    assert answer.all("access-control-allow-origin") == ["*", "https://page.example"]
    assert "browsers refuse both" in caplog.text


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_the_largest_body_and_one_that_is_too_large(lab: Lab) -> None:
    returns(lab, {"statusCode": 200})
    kind = [("Content-Type", "text/plain")]
    room = answers.REQUEST_LIMIT_BYTES - 5000
    assert lab.ask("POST", "/", b"a" * room, kind).status == 200
    assert len(lab.api.events[0]["body"]) == room
    for size in (answers.REQUEST_LIMIT_BYTES, answers.REQUEST_LIMIT_BYTES + 1, 3 * answers.REQUEST_LIMIT_BYTES):
        answer = lab.ask("POST", "/", b"a" * size, kind)
        assert (answer.status, answer["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")
    # In base64 it is larger.
    assert lab.ask("POST", "/", bytes(5_000_000)).status == 413
    assert len(lab.api.events) == 1


def test_a_large_response(lab: Lab) -> None:
    body = "x" * 6_000_000
    returns(lab, {"statusCode": 200, "body": body})
    assert lab.ask().body == body.encode()


# --- not function URLs ------------------------------------------------------------------------------------------------


def test_the_front_process_has_pages_of_its_own(lab: Lab) -> None:
    health = lab.ask(path="/_venturekit/health", host="127.0.0.1:9002")
    assert (health.status, health.json["status"], health.json["functionUrls"]) == (200, "ok", 1)
    assert lab.ask(path="/", host="localhost").status == 404
    assert "/_url/" in lab.ask(path="/", host="localhost").json["message"]
    # On a function's host it is the function's path.
    assert lab.ask(path="/_venturekit/health").json["rawPath"] == "/_venturekit/health"


@pytest.mark.parametrize(("host", "status"), [("evil.example", 403), ("localhost, localhost", 400)])
def test_other_hosts_are_refused(lab: Lab, host: str, status: int) -> None:
    answer = lab.ask(path=f"/_url/{ID}/", host=host)
    assert answer.status == status
    assert lab.api.events == []
