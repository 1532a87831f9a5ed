"""Who may talk to the service: everything a web page can send is refused, signatures are checked where configured."""

from __future__ import annotations

import datetime
import http.client
import itertools
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.service.harness import ROLE, client_of, send, zip_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.service.harness import FunctionSet, Response, RunningService

MARKS = "import pathlib\ndef handler(event, context):\n    pathlib.Path(event['file']).touch()\n    return 1\n"

# --- what a web page can send --------------------------------------------------------------------------------------

# Header sets that browsers let a page produce without asking first. {port} is the service's.
ORIGINS = {
    "evil": "https://evil.example",
    "null": "null",
    "own": "http://127.0.0.1:{port}",
    "localhost": "http://localhost:{port}",
    "file": "file://",
    "extension": "chrome-extension://abcdef",
    "address": "http://10.0.0.1",
    "aws": "https://console.aws.amazon.com",
}
SIMPLE_TYPES = {
    "plain": "text/plain",
    "plain charset": "text/plain;charset=UTF-8",
    "form": "application/x-www-form-urlencoded",
    "multipart": "multipart/form-data; boundary=x",
    "beacon": "application/octet-stream",
}
HOSTS = {
    "rebound": "evil.example:{port}",
    "rebound bare": "evil.example",
    "subdomain": "localhost.evil.example:{port}",
    "prefix": "127.0.0.1.evil.example:{port}",
    "nip": "127.0.0.1.nip.io:{port}",
    "other address": "192.168.0.1:{port}",
    "zero": "0.0.0.0:{port}",
    "octal": "0177.0.0.1:{port}",
    "decimal": "2130706433:{port}",
    "v6 mapped": "[::ffff:127.0.0.1]:{port}",
    "user": "127.0.0.1@evil.example",
    "empty port": "127.0.0.1.:{port}evil",
}
FETCH = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "empty"}
SAFELISTED = {"Accept": "*/*", "Accept-Language": "en", "Content-Language": "en", "DPR": "2", "Save-Data": "on"}


def attacks() -> dict[str, tuple[str, dict[str, str]]]:
    """Method and headers by name. The body is a valid event, the address that of a function."""
    found: dict[str, tuple[str, dict[str, str]]] = {}
    for (type_name, content_type), (origin_name, origin) in itertools.product(SIMPLE_TYPES.items(), ORIGINS.items()):
        found[f"simple POST {type_name} from {origin_name}"] = (
            "POST",
            {"Content-Type": content_type, "Origin": origin},
        )
    for name, content_type in SIMPLE_TYPES.items():
        found[f"no origin {name}"] = ("POST", {"Content-Type": content_type})
        found[f"no-cors {name}"] = ("POST", {"Content-Type": content_type, **FETCH})
    for name, host in HOSTS.items():
        found[f"host {name}"] = ("POST", {"Host": host})
        # A rebound page is same-origin with itself: it may send any header.
        found[f"host {name} with own headers"] = (
            "POST",
            {"Host": host, "X-Amz-Client": "page", "Authorization": "AWS4-HMAC-SHA256 x"},
        )
        found[f"GET host {name}"] = ("GET", {"Host": host, "X-Amz-Client": "page"})
    for name, origin in ORIGINS.items():
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-amz-client"}
        found[f"preflight from {name}"] = ("OPTIONS", {"Origin": origin, **asked})
        found[f"private network preflight from {name}"] = (
            "OPTIONS",
            {"Origin": origin, **asked, "Access-Control-Request-Private-Network": "true"},
        )
        found[f"after a preflight from {name}"] = ("POST", {"Origin": origin, "X-Amz-Client": "page"})
        found[f"signed from {name}"] = ("POST", {"Origin": origin, "Authorization": "AWS4-HMAC-SHA256 Credential=a/b"})
        found[f"WebSocket from {name}"] = (
            "GET",
            {
                "Origin": origin,
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            },
        )
    found["safelisted headers"] = ("POST", SAFELISTED)
    found["referer only"] = ("POST", {"Referer": "https://evil.example/"})
    found["image"] = ("GET", {"Accept": "image/*", **FETCH})
    found["basic credentials"] = ("POST", {"Authorization": "Basic YTpi"})
    found["bearer"] = ("POST", {"Authorization": "Bearer AWS4-HMAC-SHA256"})
    found["trace header"] = ("POST", {"X-Amzn-Trace-Id": "Root=1-1-1"})
    found["cookie"] = ("POST", {"Cookie": "x-amz-client=1"})
    return found


ATTACKS = attacks()


def attack(functions: FunctionSet, name: str, target: str, body: bytes) -> Response:
    method, headers = ATTACKS[name]
    port = str(urlsplit(functions.url).port)
    given = {key: value.replace("{port}", port) for key, value in headers.items()}
    return send(functions.url, method, target, body if method == "POST" else None, given)


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 120


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_a_page_can_send_runs_a_function(functions: FunctionSet, tmp_path: Any, name: str) -> None:
    function = functions.create(MARKS)
    event = json.dumps({"file": str(tmp_path / "ran")}).encode()
    # What a legitimate client has called before must not open the door.
    assert functions.post(function, json.dumps({"file": str(tmp_path / "legitimate")}).encode()).status == 200
    answer = attack(functions, name, f"/2015-03-31/functions/{function}/invocations", event)
    assert answer.status in {400, 403}, (name, answer)
    assert answer.headers["x-amzn-ErrorType"] in {
        "AccessDeniedException",
        "MalformedHttpRequestException",
        "MissingAuthenticationTokenException",
    }
    assert not any(header.lower().startswith("access-control") for header in answer.headers)
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "legitimate").exists()


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name][0] == "POST"][::3])
def test_nothing_a_page_can_send_creates_a_function(functions: FunctionSet, name: str) -> None:
    body = json.dumps({"FunctionName": "planted", "Runtime": "python3.11", "Handler": "a.b", "Role": ROLE, "Code": {}})
    answer = attack(functions, name, "/2015-03-31/functions", body.encode())
    assert answer.status in {400, 403}
    assert answer.headers["x-amzn-ErrorType"] != "InvalidParameterValueException"


@pytest.mark.parametrize("name", [name for name in ATTACKS if "host" in name or "Origin" in ATTACKS[name][1]][::5])
def test_nothing_a_page_can_send_reads_logs(functions: FunctionSet, name: str) -> None:
    function = functions.create(MARKS)
    method, headers = ATTACKS[name]
    port = str(urlsplit(functions.url).port)
    given = {key: value.replace("{port}", port) for key, value in headers.items()}
    answer = send(functions.url, "GET" if method == "POST" else method, f"/_venturekit/logs/{function}", None, given)
    assert answer.status in {400, 403}


def test_two_hosts_are_refused(functions: FunctionSet) -> None:
    port = urlsplit(functions.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"GET /2015-03-31/functions HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nX-Amz-A: b\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_the_refusal_names_the_header_to_add(functions: FunctionSet) -> None:
    answer = send(functions.url, "POST", "/2015-03-31/functions/f/invocations", b"{}")
    assert answer.status == 403
    assert answer.headers["x-amzn-ErrorType"] == "MissingAuthenticationTokenException"
    assert answer.json["message"].startswith("Missing Authentication Token")
    assert "x-amz-" in answer.json["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-client": "curl"},
        {"X-AMZ-ANYTHING": ""},
        {"amz-sdk-invocation-id": "1"},
        {"Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/lambda/aws4_request"},
    ],
)
@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "localhost.", "127.0.0.1:1"]
)
def test_what_is_let_in(functions: FunctionSet, headers: dict[str, str], host: str) -> None:
    port = str(urlsplit(functions.url).port)
    given = {"Host": host.replace("{port}", port), **headers}
    assert send(functions.url, "GET", "/2015-03-31/functions", headers=given).status == 200


def test_health_is_open_but_not_to_pages(functions: FunctionSet) -> None:
    assert send(functions.url, "GET", "/_venturekit/health").json["status"] == "ok"
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        assert send(functions.url, "GET", "/_venturekit/health", headers=headers).status == 403


def test_further_host_names_are_a_setting(start_service: Callable[..., RunningService]) -> None:
    running = start_service(allow_host=("lambda.test",))
    for host, status in (("lambda.test", 200), ("LAMBDA.test:80", 200), ("other.test", 403)):
        headers = {"Host": host, "X-Amz-A": "b"}
        assert send(running.url, "GET", "/2015-03-31/functions", headers=headers).status == status
    refusal = send(running.url, "GET", "/2015-03-31/functions", headers={"Host": "other.test", "X-Amz-A": "b"})
    assert "--allow-host other.test" in json.dumps(refusal.json)


def test_the_address_that_is_listened_on_is_allowed(start_service: Callable[..., RunningService]) -> None:
    running = start_service(host="127.0.0.2")
    assert running.url.startswith("http://127.0.0.2:")
    assert running.health()["status"] == "ok"
    name = running.functions().create("def handler(event, context):\n    return 1\n")
    assert running.functions().invoke(name).value == 1


def test_the_runtime_api_is_closed_to_pages(functions: FunctionSet) -> None:
    name = functions.create(
        "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_RUNTIME_API']\n"
    )
    url = "http://" + functions.invoke(name).value
    path = "/2018-06-01/runtime/invocation/next"
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example:80"},
        {"Host": ""},
    ):
        for method, target in (("GET", path), ("POST", path.replace("next", "x/response")), ("OPTIONS", path)):
            assert send(url, method, target, headers=headers).status == 403, (headers, method)
    assert functions.invoke(name).value == url.removeprefix("http://")


# --- signatures ----------------------------------------------------------------------------------------------------

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def guarded(start_service: Callable[..., RunningService]) -> RunningService:
    return start_service(access_key_id=KEY, secret_access_key=SECRET)


def signed_get(
    running: RunningService,
    *,
    key: str = KEY,
    secret: str = SECRET,
    token: str | None = None,
    service: str = "lambda",
    region: str = "us-east-1",
    minutes: float = 0,
    spoil: Callable[[dict[str, str]], None] | None = None,
) -> Response:
    """ListFunctions, signed by botocore at another time if so wished."""
    request = AWSRequest("GET", f"{running.url}/2015-03-31/functions")

    class Clockwork(SigV4Auth):
        def _modify_request_before_signing(self, request: Any) -> None:
            moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
            request.context["timestamp"] = moment.strftime("%Y%m%dT%H%M%SZ")
            super()._modify_request_before_signing(request)

    Clockwork(Credentials(key, secret, token), service, region).add_auth(request)
    headers = dict(request.headers.items())
    if spoil is not None:
        spoil(headers)
    return send(running.url, "GET", "/2015-03-31/functions", headers=headers)


def test_the_right_key_may_do_everything(guarded: RunningService) -> None:
    client = client_of(guarded.url, signed=(KEY, SECRET))
    code = {"ZipFile": zip_of({"app.py": "def handler(event, context):\n    return len(event)\n"})}
    client.create_function(FunctionName="f", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code=code)
    client.get_waiter("function_active_v2").wait(FunctionName="f", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    for address in ("f", "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"):
        for size in (2, 300_000, 6_291_456):
            answer = client.invoke(FunctionName=address, Payload=b'"' + b"x" * (size - 2) + b'"')
            assert json.loads(answer["Payload"].read()) == size - 2
    assert [item["FunctionName"] for item in client.list_functions()["Functions"]] == ["f"]
    client.close()


@pytest.mark.parametrize(
    ("signing", "code", "message"),
    [
        ({"secret": "wrong"}, "InvalidSignatureException", "The request signature we calculated does not match the "),
        (
            {"key": "AKIDUNKNOWN"},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        (
            {"token": "surprise"},
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        ({"minutes": -6}, "InvalidSignatureException", "Signature expired: "),
        ({"minutes": 6}, "InvalidSignatureException", "Signature not yet current: "),
        ({"region": "eu-west-1"}, "InvalidSignatureException", "Credential should be scoped to a valid region"),
        ({"service": "s3"}, "InvalidSignatureException", "Credential should be scoped to correct service: 'lambda'."),
        (
            {"spoil": lambda headers: headers.update(Authorization="AWS4-HMAC-SHA256 nonsense")},
            "IncompleteSignatureException",
            "",
        ),
        (
            {"spoil": lambda headers: headers.pop("Authorization")},
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
        ),
        (
            {"spoil": lambda headers: headers.update({"X-Amz-Unsigned": "1"})},
            "InvalidSignatureException",
            "",
        ),
    ],
)
def test_other_signatures_are_refused(
    guarded: RunningService, signing: dict[str, Any], code: str, message: str
) -> None:
    answer = signed_get(guarded, **signing)
    assert answer.status == 403
    assert answer.headers["x-amzn-ErrorType"] == code, answer
    assert list(answer.json) == ["message"]
    assert answer.json["message"].startswith(message)
    assert SECRET not in answer.body.decode()


@pytest.mark.parametrize("minutes", [-4.9, 0, 4.9])
def test_clocks_may_differ_by_five_minutes(guarded: RunningService, minutes: float) -> None:
    assert signed_get(guarded, minutes=minutes).status == 200


def test_unmodified_clients_see_the_codes(guarded: RunningService) -> None:
    for signed, code in (
        ((KEY, "wrong"), "InvalidSignatureException"),
        (("AKIDUNKNOWN", SECRET), "UnrecognizedClientException"),
        (None, "MissingAuthenticationTokenException"),
    ):
        client = client_of(guarded.url, signed=signed)
        with pytest.raises(ClientError) as caught:
            client.list_functions()
        assert caught.value.response["Error"]["Code"] == code
        client.close()


def test_a_header_is_not_enough_where_signatures_are_checked(guarded: RunningService) -> None:
    for headers in ({"X-Amz-A": "b"}, {"amz-sdk-request": "1"}, {"Authorization": "AWS4-HMAC-SHA256 "}):
        assert send(guarded.url, "GET", "/2015-03-31/functions", headers=headers).status == 403
        body = b"{}"
        assert send(guarded.url, "POST", "/2015-03-31/functions/f/invocations", body, headers).status == 403
    assert send(guarded.url, "GET", "/_venturekit/health").status == 200
    assert send(guarded.url, "GET", "/_venturekit/logs/f", headers={"X-Amz-A": "b"}).status == 403


def test_the_body_is_part_of_the_signature(guarded: RunningService) -> None:
    url = f"{guarded.url}/2015-03-31/functions/f/invocations"
    for size in (10, 400_000):
        request = AWSRequest("POST", url, data=b"1" * size)
        SigV4Auth(Credentials(KEY, SECRET), "lambda", "us-east-1").add_auth(request)
        headers = dict(request.headers.items())
        target = "/2015-03-31/functions/f/invocations"
        assert send(guarded.url, "POST", target, b"1" * size, headers).status == 404
        answer = send(guarded.url, "POST", target, b"2" * size, headers)
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")


def test_a_body_over_the_limit_is_called_so_and_not_badly_signed(guarded: RunningService) -> None:
    client = client_of(guarded.url, signed=(KEY, SECRET))
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="f", Payload=b"1" * (6_291_456 + 1))
    client.close()
    assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    # Too large to be checked is no way in, neither to other paths.
    for target in ("/_venturekit/logs/f", "/2015-03-31/functions"):
        assert send(guarded.url, "GET", target, b"1" * (6_291_456 + 1)).status in (403, 404, 413)


CALLS_BACK = """
import os
import boto3

client = boto3.client("lambda")

def handler(event, context):
    if not event:
        return [os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_SESSION_TOKEN"]]
    return client.invoke(FunctionName=event["name"])["Payload"].read().decode()
"""


def test_keys_of_functions_are_accepted(guarded: RunningService) -> None:
    functions = guarded.functions()
    functions.client = client_of(guarded.url, signed=(KEY, SECRET))
    target = functions.create("def handler(event, context):\n    return 'called'\n")
    caller = functions.create(CALLS_BACK, Timeout=30, MemorySize=512)
    assert functions.invoke(caller, {"name": target}).value == '"called"'
    key, secret, token = functions.invoke(caller).value
    assert key.startswith("ASIA")
    # Who it is was accepted; a function may invoke, and not list.
    assert (
        b"is not authorized to perform: lambda:ListFunctions"
        in signed_get(guarded, key=key, secret=secret, token=token).body
    )
    assert b"security token" in signed_get(guarded, key=key, secret=secret).body
    assert b"signature we calculated" in signed_get(guarded, key=key, secret=SECRET, token=token).body
    functions.client.close()


def test_keys_of_one_service_are_nothing_to_another(guarded: RunningService, functions: FunctionSet) -> None:
    key, secret, token = functions.invoke(functions.create(CALLS_BACK, Timeout=30, MemorySize=512)).value
    assert signed_get(guarded, key=key, secret=secret, token=token).status == 403


def test_many_connections_are_held(functions: FunctionSet) -> None:
    name = functions.create("def handler(event, context):\n    return event\n")
    port = urlsplit(functions.url).port or 0
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(200)]
    try:
        for round_number in range(2):
            for number, connection in enumerate(connections):
                body = str(number + round_number)
                connection.request("POST", f"/2015-03-31/functions/{name}/invocations", body, {"X-Amz-A": "b"})
                assert connection.getresponse().read().decode() == body
    finally:
        for connection in connections:
            connection.close()
