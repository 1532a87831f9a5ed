"""Function URLs through the whole service: configuration with boto3, calls over HTTP, the front process between."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.service.harness import send, until
from tests.service.url_support import ECHO, PERMISSIONS, Url, make_url

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet, RunningService

SCOPE = "20200101/us-east-1/lambda/aws4_request"
FORBIDDEN = "Forbidden. For troubleshooting Function URL authorization issues, see: "


def test_a_url_serves_its_function(functions: FunctionSet) -> None:
    name = functions.create(ECHO)
    url = make_url(functions.client, name)
    assert re.fullmatch(r"[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:\d+", url.host)
    answer = url.ask("POST", "/orders/7?full=1", b'{"a": 1}', {"Content-Type": "application/json", "Cookie": "c=1"})
    assert answer.status == 200
    event = answer.json["event"]
    assert (event["rawPath"], event["rawQueryString"], event["body"], event["cookies"]) == (
        *("/orders/7", "full=1"),
        '{"a": 1}',
        ["c=1"],
    )
    # The request id is one and the same everywhere.
    assert answer.all("x-amzn-requestid") == [event["requestContext"]["requestId"]] == [answer.json["id"]]
    (trace,) = answer.all("x-amzn-trace-id")
    assert trace == event["headers"]["x-amzn-trace-id"].replace("Root", "root") + ";sampled=0"
    assert f"START RequestId: {answer.json['id']} " in "".join(functions.log_lines(name))


def test_by_path(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO))
    answer = url.ask(target=f"/_url/{url.id}/a?b=c", host=f"127.0.0.1:{url.port}")
    assert (answer.status, answer.json["event"]["rawPath"]) == (200, "/a")
    assert answer.json["event"]["requestContext"]["domainName"] == url.host.partition(":")[0]


def test_changes_take_effect_at_once(functions: FunctionSet) -> None:
    client, name = functions.client, functions.create(ECHO)
    url = make_url(client, name, public=False)
    origin = {"Origin": "https://a.example"}
    for number in range(3):
        answer = url.ask()
        assert (answer.status, answer.json["Message"].startswith(FORBIDDEN)) == (403, True)
        client.add_permission(FunctionName=name, Principal="*", **PERMISSIONS[0])
        # One of the two is not enough.
        assert url.ask().status == 403
        client.add_permission(FunctionName=name, Principal="*", **PERMISSIONS[1])
        assert url.ask(headers=origin).all("access-control-allow-origin") == []
        cors = {"AllowOrigins": [f"https://{'a' if number % 2 else '*'}.example", "https://a.example"]}
        client.update_function_url_config(FunctionName=name, Cors=cors)
        until(lambda: url.ask(headers=origin).all("access-control-allow-origin"), "the rules are known")
        client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
        until(lambda: url.ask().status == 403, "a signature is asked for")
        client.update_function_url_config(FunctionName=name, AuthType="NONE", Cors={})
        assert url.ask(headers=origin).status == 200
        for permission in PERMISSIONS:
            client.remove_permission(FunctionName=name, StatementId=permission["StatementId"])
        until(lambda: url.ask().status == 403, "it is closed again")
    client.delete_function_url_config(FunctionName=name)
    until(lambda: url.ask().json == {"Message": None}, "it is gone")
    # Made again it has the address that it had.
    assert make_url(client, name).url == url.url
    assert url.ask().status == 200
    client.delete_function(FunctionName=name)
    until(lambda: url.ask().json == {"Message": None}, "it is gone with its function")


def test_an_alias_has_a_url_of_its_own(functions: FunctionSet) -> None:
    client = functions.client
    name = functions.create("def handler(event, context):\n    return context.function_version\n")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=functions.publish(name))
    own = make_url(client, name)
    alias = make_url(client, name, qualifier="live")
    assert own.url != alias.url
    assert (own.ask().body, alias.ask().body) == (b"$LATEST", b"1")
    functions.update(name, "def handler(event, context):\n    return 'v' + context.function_version\n")
    client.update_alias(FunctionName=name, Name="live", FunctionVersion=functions.publish(name))
    assert (own.ask().body, alias.ask().body) == (b"v$LATEST", b"v2")
    client.delete_alias(FunctionName=name, Name="live")
    until(lambda: alias.ask().json == {"Message": None}, "it is gone with its alias")


def test_unknown_urls_and_hosts(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO))
    unknown = url.ask(host=url.host.replace(url.id, "a" * 32))
    assert (unknown.status, unknown.json) == (403, {"Message": None})
    assert unknown.all("x-amzn-errortype") == ["AccessDeniedException"]
    assert url.ask(host="evil.example").status == 403
    # Not even the service itself answers to a function's name.
    assert send(functions.url, "GET", "/", headers={"Host": url.host, "X-Amz-Client": "test"}).status == 403


def test_function_errors_and_results_that_are_no_responses(functions: FunctionSet) -> None:
    name = functions.create(
        """
def handler(event, context):
    path = event["rawPath"]
    if path == "/raise": raise ValueError("secret")
    if path == "/exit": import os; os._exit(3)
    if path == "/inject": return {"statusCode": 200, "headers": {"x": "a\\r\\nset-cookie: evil=1"}}
    if path == "/large": return "x" * 7_000_000
    return {"statusCode": 200, "body": path}
"""
    )
    url = make_url(functions.client, name)
    for path in ("/raise", "/exit", "/inject", "/large"):
        answer = url.ask(target=path)
        assert (answer.status, answer.body) == (502, b"Internal Server Error"), path
        assert answer.all("set-cookie") == []
    assert url.ask(target="/fine").body == b"/fine"


def test_throttling_and_functions_that_cannot_run(functions: FunctionSet) -> None:
    client, name = functions.client, functions.create(ECHO)
    url = make_url(client, name)
    assert url.ask().status == 200
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    answer = url.ask()
    assert (answer.status, answer.json) == (429, {"Message": "Rate Exceeded."})
    client.delete_function_concurrency(FunctionName=name)
    assert url.ask().status == 200
    late = make_url(client, functions.create("import time\ndef handler(e, c): time.sleep(30)\n", Timeout=1))
    assert late.ask().status == 502


def test_binary_bodies_and_cookies(functions: FunctionSet) -> None:
    name = functions.create(
        """
def handler(event, context):
    headers = {"content-type": event["headers"]["content-type"]}
    return {"statusCode": 200, "headers": headers, "cookies": ["a=1; HttpOnly", "b=2"], "body": event["body"],
            "isBase64Encoded": event["isBase64Encoded"]}
"""
    )
    url = make_url(functions.client, name)
    body = bytes(range(256)) * 2000
    answer = url.ask("PUT", "/", body, {"Content-Type": "application/octet-stream"})
    assert answer.body == body
    assert answer.all("set-cookie") == ["a=1; HttpOnly", "b=2"]
    text = "schön ".encode() + b"large " * 999_000
    assert url.ask("PUT", "/", text, {"Content-Type": "text/plain"}).body == text


def test_a_body_over_the_limit(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO))
    answer = url.ask("POST", "/", b"x" * 6_291_457, {"Content-Type": "text/plain"})
    assert (answer.status, answer.all("connection")) == (413, ["close"])
    assert url.ask("POST", "/", bytes(5_000_000)).status == 413


def test_one_connection_serves_many_requests(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO))
    with closing(url.connection()) as connection:
        for number in range(30):
            connection.request("POST", f"/{number}", b"x" * number, {"Host": url.host})
            answer = connection.getresponse()
            event = json.loads(answer.read())["event"]
            assert event["rawPath"] == f"/{number}"
            assert base64.b64decode(event.get("body", "")) == b"x" * number


def test_many_clients_at_once(functions: FunctionSet) -> None:
    names = [functions.create(ECHO) for _ in range(3)]
    urls = [make_url(functions.client, name) for name in names]

    async def ask_all() -> list[tuple[str, str]]:
        async with aiohttp.ClientSession() as session:

            async def ask(number: int) -> tuple[str, str]:
                url = urls[number % 3]
                where = f"http://127.0.0.1:{url.port}/{number}"
                async with session.get(where, headers={"Host": url.host}) as answer:
                    event = (await answer.json(content_type=None))["event"]
                    return event["rawPath"], event["requestContext"]["apiId"]

            return await asyncio.gather(*(ask(number) for number in range(60)))

    found = asyncio.run(ask_all())
    assert found == [(f"/{number}", urls[number % 3].id) for number in range(60)]


def test_a_client_that_goes_does_not_stop_its_function(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    print('ran', event['rawPath'])\n    return 1\n")
    url = make_url(functions.client, name)
    with closing(url.connection()) as connection:
        connection.request("GET", "/gone", headers={"Host": url.host})
    until(lambda: any("ran /gone" in line for line in functions.log_lines(name)), "the function runs")
    assert url.ask().status == 200


def test_preflights_are_not_the_functions(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    print(event['requestContext']['http']['method'])\n")
    cors = {"AllowOrigins": ["https://page.example"], "AllowMethods": ["PUT"], "AllowHeaders": ["x-a"], "MaxAge": 60}
    url = make_url(functions.client, name, Cors=cors)
    headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "PUT"}
    answer = url.ask("OPTIONS", "/", headers=headers)
    assert [(name, value) for name, value in answer.lines if name.startswith("access-control")] == [
        ("access-control-allow-origin", "https://page.example"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-max-age", "60"),
    ]
    assert url.ask("PUT", "/", b"", headers).all("access-control-allow-origin") == ["https://page.example"]
    assert [line.strip() for line in functions.log_lines(name) if line.strip() in ("OPTIONS", "PUT")] == ["PUT"]


# --- the service's pages ----------------------------------------------------------------------------------------------


def table(running: RunningService, query: str = "", **headers: str) -> tuple[int, object]:
    answer = send(running.url, "GET", f"/_venturekit/function-urls{query}", headers={"X-Amz-Client": "t", **headers})
    return answer.status, answer.json


def test_the_table_of_urls(shared_service: RunningService, functions: FunctionSet) -> None:
    _, before = table(shared_service, "?after=0")
    name = functions.create(ECHO)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(table, shared_service, f"?after={before['revision']}&wait=20")
        url = make_url(functions.client, name, public=False)
        status, page = waiting.result(20)
    assert status == 200
    assert [entry["id"] for entry in page["urls"]] == [url.id]
    assert page["urls"][0]["publicAllowed"] is False
    assert "lambda:InvokeFunctionUrl" in page["urls"][0]["refusal"]
    # Nothing changes within the time: the same page again.
    assert table(shared_service, f"?after={page['revision']}&wait=0.01")[1]["urls"] == []


@pytest.mark.parametrize("query", ["?after=x", "?wait=x", "?after=1.5"])
def test_a_wrong_question(shared_service: RunningService, query: str) -> None:
    status, answer = table(shared_service, query)
    assert (status, answer["message"]) == (400, "after must be a revision, wait a number of seconds")


def test_the_table_is_not_for_everybody(shared_service: RunningService, functions: FunctionSet) -> None:
    name = functions.create(ECHO)
    url = make_url(functions.client, name)
    other = f"AWS4-HMAC-SHA256 Credential=111122223333/{SCOPE}, SignedHeaders=h, Signature=0"
    assert table(shared_service, "", Authorization=other)[0] == 403
    client = {"X-Amz-Client": "test", "Authorization": other}
    page = f"/_venturekit/function-urls/{url.id}/authorize"
    assert send(shared_service.url, "POST", page, b"{}", client).status == 403
    mine = {"X-Amz-Client": "test"}
    assert send(shared_service.url, "POST", page, b"[]", mine).status == 400
    assert send(shared_service.url, "POST", page.replace(url.id, "x"), b"{}", mine).status == 404
    assert send(shared_service.url, "GET", page, headers=mine).status == 404


def test_the_url_of_a_function_whose_url_was_never_made(functions: FunctionSet) -> None:
    url = make_url(functions.client, functions.create(ECHO))
    assert Url(url.url.replace(url.id, "b" * 32)).ask("POST", "/", b"x" * 70_000).json == {"Message": None}
