"""A real service in tests, and one event whoever makes it: the front door, ``invoke()``, the builders."""

from __future__ import annotations

import gc
import http.client
import json
import os
import select
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from venturekit.runtime import _process, ainvoke, handler, invoke
from venturekit.testing import Client, LocalService, ServiceUnavailableError, function_url_event, http_api_event
from venturekit.testing.service import archive_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ECHO = """
import json

def main(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}
"""
FRAMEWORK = """
from venturekit.runtime import handler, invoke

@handler
def main(body, ctx):
    called = invoke("echo/{id}", method="GET", path_params={"id": body["id"]}).data
    return {"sent": called["requestContext"]["venturekit"]["tenantId"], "by": ctx.user and ctx.user.id}
"""
SENT = {"Accept": "text/plain", "User-Agent": "tests", "Content-Type": "application/json", "X-One": "1"}
BODY = {"x": "ä", "n": [1, None]}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with LocalService(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def reachable(service: LocalService, vk_reset: None, monkeypatch: pytest.MonkeyPatch) -> LocalService:
    for name, value in {**service.variables, "VENTURE_PROJECT_NAME": "shop", "VENTURE_STAGE": "test"}.items():
        monkeypatch.setenv(name, value)
    return service


def open_url(service: LocalService, name: str) -> SplitResult:
    """Give a function a URL that anybody may call."""
    client = service.client
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"]
    allowed: dict[str, Any] = {"FunctionName": name, "Principal": "*"}
    client.add_permission(StatementId="url", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE", **allowed)
    client.add_permission(StatementId="any", Action="lambda:InvokeFunction", InvokedViaFunctionUrl=True, **allowed)
    return urlsplit(url)


def by_function_url(service: LocalService, name: str) -> dict[str, Any]:
    """The event that the front door makes of a request of a client that knows nothing of us."""
    parts = open_url(service, name)
    with closing(http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)) as connection:
        body = json.dumps(BODY, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {"Host": parts.netloc, **SENT, "Cookie": "c=1; d=2"}
        connection.putrequest("POST", "/echo/a%20b?q=1&q=2%26", skip_host=True, skip_accept_encoding=True)
        for name_, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name_, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        assert answer.status == 200
        event: dict[str, Any] = json.loads(answer.read())
        return event


def test_one_event_field_by_field_by_front_door_builder_and_invoke(reachable: LocalService) -> None:
    reachable.create_function("shop-echo-_id_", {"app.py": ECHO}, framework=False)
    front = by_function_url(reachable, "shop-echo-_id_")
    context = front["requestContext"]

    # What only this request has is taken from it; everything else the builder has to find out by itself.
    headers = {name: front["headers"][name] for name in ("x-amzn-trace-id", "x-forwarded-proto", "x-forwarded-port")}
    built = function_url_event(
        "POST",
        "/echo/a%20b?q=1&q=2%26",
        headers={**SENT, **headers, "Host": front["headers"]["host"]},
        cookies={"c": "1", "d": "2"},
        body=BODY,
        url_id=context["apiId"],
        domain_name=context["domainName"],
        request_id=context["requestId"],
        time_epoch_ms=context["timeEpoch"],
    )
    assert built == front

    called = invoke(
        "echo/{id}",
        path_params={"id": "a b"},
        query_params={"q": ["1", "2&"]},
        headers={**SENT, "Cookie": "c=1; d=2"},
        body=BODY,
        tenant_id="t",
        user_id="u",
    ).data
    given: dict[str, Any] = {
        "query": {"q": ["1", "2&"]},
        "headers": SENT,
        "cookies": {"c": "1", "d": "2"},
        "body": BODY,
        "route": "/echo/{id}",
        "path_params": {"id": "a b"},
    }
    internal = http_api_event(
        "POST",
        **given,
        internal=True,
        tenant_id="t",
        user_id="u",
        api_id="shop",
        account_id=called["requestContext"]["accountId"],
        request_id=called["requestContext"]["requestId"],
        time_epoch_ms=called["requestContext"]["timeEpoch"],
    )
    assert internal == called

    # An outside call of an HTTP API and the function URL: but for what tells the doors apart, they are one event.
    outside = http_api_event("POST", **given)
    assert same(called) == same(outside) == same(front)


def same(event: dict[str, Any]) -> dict[str, Any]:
    """An event, less what tells one front door and one request from another: each of these is listed here."""
    copied = json.loads(json.dumps(event))
    context = copied["requestContext"]
    marker = context.pop("venturekit", None)
    assert (marker is None) == ("x-venturekit-source" not in copied["headers"])
    for name in ("accountId", "apiId", "domainName", "domainPrefix", "requestId", "time", "timeEpoch", "routeKey"):
        del context[name]
    for name in ("host", "cookie"):
        copied["headers"].pop(name, None)
    copied["headers"] = {
        name: value for name, value in copied["headers"].items() if not name.startswith("x-venturekit-")
    }
    for name in ("x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"):
        copied["headers"].pop(name, None)
    # A function URL gives the path as it was sent, and has no routes, whose parameters these are.
    copied["rawPath"] = context["http"]["path"]
    del copied["routeKey"]
    copied.pop("pathParameters", None)
    return dict(copied)


AS_ASKED = """
import json

def main(event, context):
    asked = json.loads(event["body"])
    if "raise" in asked:
        raise LookupError(asked["raise"])
    return asked["result"]
"""
RESULTS: dict[str, Any] = {
    "text": "text",
    "null": None,
    "a list": [1, "ä"],
    "an object": {"a": {"b": 1.5}},
    "a status": {"statusCode": 201},
    "digits": {"statusCode": "404", "body": "gone"},
    "headers": {"statusCode": 200, "headers": {"X-A": "b", "Content-Type": "text/html", "X-N": 3}, "body": "<p>"},
    "cookies": {"statusCode": 200, "cookies": ["a=1; Path=/", "b=2"], "body": ""},
    "base64": {"statusCode": 200, "body": "/wA=", "isBase64Encoded": True},
    "no content": {"statusCode": 204, "body": "dropped"},
    "odd status": {"statusCode": 99},
    "odd headers": {"statusCode": 200, "headers": {"a b": "c"}},
    "odd body": {"statusCode": 200, "body": {"a": 1}},
    "odd base64": {"statusCode": 200, "body": "!", "isBase64Encoded": True},
    "odd cookie": {"statusCode": 200, "cookies": ["a=1\r\nb: c"]},
    "renamed": {"statusCode": 401, "headers": {"WWW-Authenticate": "Basic"}, "body": ""},
}


def test_the_client_reads_results_as_the_real_front_door_does(service: LocalService) -> None:
    service.create_function("as-asked", {"app.py": AS_ASKED}, framework=False)
    parts = open_url(service, "as-asked")
    module: dict[str, Any] = {}
    exec(AS_ASKED, module)
    client = Client(module["main"], gateway="function-url", raise_errors=False)
    with closing(http.client.HTTPConnection("127.0.0.1", parts.port, timeout=30)) as connection:
        for name, asked in {
            **{key: {"result": value} for key, value in RESULTS.items()},
            "raised": {"raise": "x"},
        }.items():
            headers = {"Host": parts.netloc, "Content-Type": "application/json"}
            connection.request("POST", "/", json.dumps(asked).encode(), headers)
            answer = connection.getresponse()
            body = answer.read()
            made = client.post("/", json=asked)
            assert (made.status_code, made.bytes) == (answer.status, body), name
            assert made.set_cookies == (answer.headers.get_all("set-cookie") or []), name
            for header in ("content-type", "x-a", "x-n", "www-authenticate", "x-amzn-remapped-www-authenticate"):
                assert made.headers.get(header) == answer.headers.get(header), (name, header)


def test_functions_with_the_framework_call_one_another(reachable: LocalService) -> None:
    if "shop-echo-_id_" not in {f["FunctionName"] for f in reachable.client.list_functions()["Functions"]}:
        reachable.create_function("shop-echo-_id_", {"app.py": ECHO}, framework=False)
    reachable.create_function("shop-orders", {"app.py": FRAMEWORK}, environment={"VENTURE_PROJECT_NAME": "shop"})
    result = invoke("orders", body={"id": "1"}, tenant_id="t", user_id="u")
    assert result.data == {"sent": "t", "by": "u"}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("is_async", [False, True])
def test_no_connection_is_left_open(reachable: LocalService, is_async: bool) -> None:
    """A connection that is forgotten, not closed, is a ResourceWarning when it is collected."""
    if "shop-job" not in {f["FunctionName"] for f in reachable.client.list_functions()["Functions"]}:
        reachable.create_function("shop-job", {"app.py": ECHO}, framework=False)

    @handler(access_log=False)
    def main() -> int:
        return invoke("job").status_code

    @handler(access_log=False)
    async def amain() -> int:
        return (await ainvoke("job")).status_code

    assert Client(amain if is_async else main).get("/").data == 200
    _process.reset()
    gc.collect()


def test_a_function_that_cannot_be_created(service: LocalService) -> None:
    with pytest.raises(service.client.exceptions.InvalidParameterValueException):
        service.create_function("empty", {}, framework=False)


def test_settings_and_the_end_of_a_service(tmp_path: Path) -> None:
    with LocalService(tmp_path, {"account-id": "111122223333"}) as service:
        arn = service.create_function("f", {"app.py": ECHO}, framework=False)
        assert arn == "arn:aws:lambda:us-east-1:111122223333:function:f"
        client, url = service.client, service.url
        assert client.invoke(FunctionName="f", Payload=b"{}")["StatusCode"] == 200
    service.close()
    session = boto3.Session("any", "any", region_name="us-east-1")
    with pytest.raises(EndpointConnectionError):
        session.client("lambda", endpoint_url=url).list_functions()


def test_a_service_ends_when_its_test_is_killed(tmp_path: Path) -> None:
    source = """
import sys
from pathlib import Path
from venturekit.testing import LocalService

service = LocalService(Path(sys.argv[1]))
service.create_function("f", {"app.py": "def main(event, context): pass"}, framework=False)
print(service._process.pid, flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", source, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as test:
        assert test.stdout is not None
        pid = int(test.stdout.readline())
        fd = os.pidfd_open(pid)
        test.kill()
        ready, _, _ = select.select([fd], [], [], 20)
        os.close(fd)
    assert ready, f"the service, process {pid}, still runs"


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"(?s)did not start:\n.*--colour"):
        LocalService(tmp_path, {"colour": "red"})


def test_without_what_it_needs_a_service_says_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("venturekit.testing.service._NEEDED", ("boto3", "not_installed"))
    with pytest.raises(ServiceUnavailableError, match=r"\(not_installed\): pip install 'venturekit\[local\]'"):
        LocalService(tmp_path)


def test_an_archive_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    (tmp_path / "inner" / "__pycache__" / "a.pyc").write_bytes(b"")
    (tmp_path / "inner" / "a.py").write_text("A = 1")
    import io
    import zipfile

    names = zipfile.ZipFile(io.BytesIO(archive_of(tmp_path))).namelist()
    assert "inner/a.py" in names
    assert "venturekit/runtime/http_handlers.py" in names
    assert "venturekit/__init__.py" in names
    assert not any("__pycache__" in name or "service" in name.split("/")[:2] for name in names)
    with pytest.raises(NotADirectoryError, match="is no directory"):
        archive_of(tmp_path / "none")
