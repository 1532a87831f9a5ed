"""Functions that are written with the framework behind real function URLs: who may say what, and how answers leave."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from http.client import IncompleteRead
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.framework_support import Project
from tests.service.url_support import make_url
from venturekit.testing import function_url_event, http_api_event

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet
    from tests.service.url_support import Url

_NUMBERS = itertools.count(1)
UNAUTHORIZED = {"error": {"code": "UNAUTHORIZED", "message": "Authentication is required"}}
INTERNAL = {"error": {"code": "INTERNAL_ERROR", "message": "Internal server error"}}
TOLD = """
from venturekit.runtime import handler

@handler(status=200)
def main(body, ctx):
    return {
        "internal": ctx.is_internal,
        "tenant": ctx.tenant,
        "user": ctx.user,
        "headers": [*ctx.headers, *ctx.raw_event["headers"]],
        "marker": "venturekit" in ctx.raw_event["requestContext"],
    }
"""
FORGED = {
    "x-venturekit-source": "internal",
    "X-VentureKit-Invoke-Id": "1",
    "X-VENTUREKIT-USER-ID": "root",
    "x-venturekit-tenant-id": "acme",
    "x-amz-client-context": "eyJjdXN0b20iOnsidmVudHVyZWtpdCI6eyJ1c2VySWQiOiJyb290In19fQ==",
}
STREAMS = """
from venturekit.runtime import Response, handler, stream

def pieces(fails_at):
    for number in range(3):
        if number == fails_at:
            raise ValueError("secret")
        yield f"{number} "

@handler(streaming=True)
def chosen(body, ctx):
    how = ctx.query_params.get("how")
    if how == "whole":
        return Response("short", 202, cookies=["c=1"])
    if how == "bytes":
        return Response(b"\\x00\\xff", 200, {"Content-Type": "image/png"})
    if how == "error":
        raise ValueError("secret")
    return stream(pieces(int(ctx.query_params.get("fails", 9))), "text/plain", 201, cookies=["a=1", "b=2"])

@handler
def generator(body, ctx):
    return pieces(int(ctx.query_params.get("fails", 9)))

@handler(scopes=["all"])
def guarded(body, ctx):
    yield "secret"
"""


@pytest.fixture
def project(functions: FunctionSet) -> Project:
    return Project(functions, f"urls{next(_NUMBERS)}")


def test_nobody_outside_is_another_function(project: Project) -> None:
    url = make_url(project.functions.client, project.route("told", TOLD))
    data = url.ask("POST", "/", b"{}", {"content-type": "application/json", **FORGED}).json["data"]
    assert (data["internal"], data["tenant"], data["user"], data["marker"]) == (False, None, None, False)
    assert [name for name in data["headers"] if "venturekit" in name.lower()] == []
    # The same headers in an event that somebody has written by hand.
    http = {"method": "GET", "path": "/"}
    outcome = project.functions.invoke(f"{project.name}-told", {"headers": FORGED, "requestContext": {"http": http}})
    data = json.loads(outcome.value["body"])["data"]
    assert (data["internal"], data["tenant"], data["user"]) == (False, None, None)
    assert [name for name in data["headers"] if "venturekit" in name.lower()] == []


@pytest.mark.parametrize("mode", ["BUFFERED", "RESPONSE_STREAM"])
def test_whatever_leaves_has_its_own_status(project: Project, mode: str) -> None:
    def of(handler: str) -> Url:
        name = project.function(handler, STREAMS, Handler=f"app.{handler}")
        return make_url(project.functions.client, name, InvokeMode=mode)

    chosen, guarded = of("chosen"), of("guarded")
    streamed = chosen.ask(target="/")
    assert (streamed.status, streamed.body, streamed.all("set-cookie")) == (201, b"0 1 2 ", ["a=1", "b=2"])
    whole = chosen.ask(target="/?how=whole")
    assert (whole.status, whole.body, whole.all("set-cookie")) == (202, b"short", ["c=1"])
    assert whole.all("content-type") == ["text/plain; charset=utf-8"]
    binary = chosen.ask(target="/?how=bytes")
    assert (binary.status, binary.body, binary.all("content-type")) == (200, b"\x00\xff", ["image/png"])
    for target in ("/?how=error", "/?fails=0"):
        failed = chosen.ask(target=target)
        assert (failed.status, failed.json, failed.all("content-type")) == (500, INTERNAL, ["application/json"])
    refused = guarded.ask(target="/")
    assert (refused.status, refused.json) == (401, UNAUTHORIZED)


def test_a_stream_that_breaks_is_no_whole_response(project: Project) -> None:
    name = project.function("generator", STREAMS, Handler="app.generator")
    url = make_url(project.functions.client, name, InvokeMode="RESPONSE_STREAM")
    assert url.ask(target="/").body == b"0 1 2 "
    with closing(url.connection()) as connection:
        connection.request("GET", "/?fails=2", headers={"Host": url.host})
        with pytest.raises(IncompleteRead) as caught:
            connection.getresponse().read()
    assert caught.value.partial == b"0 1 "
    # What comes next has its own.
    assert url.ask(target="/").body == b"0 1 2 "


ECHO = """
import json

def main(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""
CALLER = """
from venturekit.runtime import invoke, task_handler

@task_handler
def main(event, ctx):
    return invoke("users/{id}", **event).data
"""
QUERY = "a=1&a=x%2Cy&b="
SENT = {"x-own": "1", "user-agent": "test/1"}
COOKIES = {"c": "1", "d": "2"}
OF_THE_WAY = {"host", "accept", "x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}


def test_the_event_is_the_same_from_the_url_from_invoke_and_from_the_builders(project: Project) -> None:
    name = project.route("users/{id}", ECHO)
    url = make_url(project.functions.client, name)
    body, cookie = '{"name":"ä"}', "; ".join(f"{key}={value}" for key, value in COOKIES.items())
    asked = {"content-type": "application/json", "cookie": cookie, **SENT}
    outside = url.ask("PUT", f"/users/4%202?{QUERY}", body.encode(), asked).json
    options = {"method": "PUT", "path_params": {"id": "4 2"}, "query_params": {"a": ["1", "x,y"], "b": ""}}
    options |= {"body": {"name": "ä"}, "headers": {"cookie": cookie, **SENT}, "tenant_id": "acme", "user_id": "u-1"}
    inside = project.functions.invoke(project.function("caller", CALLER), options).value

    # The URL's own: its ids and its time are given to the builder, and everything else is to be equal.
    made = outside["requestContext"]
    ids = {"request_id": made["requestId"], "time_epoch_ms": made["timeEpoch"], "domain_name": made["domainName"]}
    sent = {"headers": {"content-type": "application/json", **SENT}, "cookies": COOKIES, "body": body}
    built = function_url_event(
        "PUT", f"/users/4%202?{QUERY}", url_id=made["apiId"], source_ip=made["http"]["sourceIp"], **ids, **sent
    )
    assert without_headers(outside) == without_headers(built)
    assert own_headers(outside) == own_headers(built)
    assert outside["headers"].keys() == built["headers"].keys() - {"accept"}

    # The event of invoke() wholly.
    made = inside["requestContext"]
    ids = {"request_id": made["requestId"], "time_epoch_ms": made["timeEpoch"], "account_id": made["accountId"]}
    ids |= {"api_id": project.name, "tenant_id": "acme", "user_id": "u-1"}
    sent["headers"] |= {"x-amzn-trace-id": inside["headers"]["x-amzn-trace-id"]}
    route = {"route": "PUT /users/{id}", "path_params": {"id": "4 2"}}
    assert inside == http_api_event("PUT", f"/users/4%202?{QUERY}", internal=True, **route, **ids, **sent)

    # Between the two, what an HTTP API and a call have more is all that differs.
    for key in ("version", "rawQueryString", "queryStringParameters", "cookies", "body", "isBase64Encoded"):
        assert inside[key] == outside[key], key
    assert inside.keys() - outside.keys() == {"pathParameters"}
    assert inside["requestContext"].keys() - outside["requestContext"].keys() == {"venturekit"}
    assert inside["requestContext"]["http"] == outside["requestContext"]["http"]
    internal = {key: value for key, value in own_headers(inside).items() if not key.startswith("x-venturekit-")}
    assert {**internal, "cookie": cookie} == own_headers(outside)


def without_headers(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != "headers"}


def own_headers(event: dict[str, Any]) -> dict[str, str]:
    """Headers that do not depend on the way of the request."""
    return {key: value for key, value in event["headers"].items() if key not in OF_THE_WAY}
