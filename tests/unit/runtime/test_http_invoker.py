"""Calls over HTTP, against a server that does what it is told: keep-alive, stale connections, timeouts, garbage."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.protocol.sigv4 import Credentials
from venturekit.runtime.invocation import signed_http
from venturekit.runtime.invocation.errors import (
    AccessDeniedError,
    InvokeError,
    InvokeTimeoutError,
    TargetNotFoundError,
    ThrottledError,
    TransportError,
)
from venturekit.runtime.invocation.http_transport import HttpInvoker
from venturekit.runtime.invocation.invokers import (
    ClientInvoker,
    DefaultInvoker,
    InvokerConfigError,
    create_lambda_invoker,
    create_local_invoker,
)
from venturekit.runtime.invocation.request import LambdaReply, LambdaRequest
from venturekit.transport import connection as transport_connection
from venturekit.transport.endpoint import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull"
HANG = object()


class Server:
    """Answers every request with the next answer of its script: bytes, HANG, or None to close the connection."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._over = threading.Event()
        self.closed = threading.Semaphore(0)
        self._open: list[socket.socket] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while (request := self._read(connection)) is not None:
                self.requests.append(request)
                answer = self.script.pop(0) if self.script else OK
                if answer is HANG:
                    self._over.wait(30)
                    break
                if answer is None:
                    break
                close = isinstance(answer, tuple)
                for piece in answer if close else [answer]:
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
                if close:
                    break
        self.closed.release()

    def _read(self, connection: socket.socket) -> bytes | None:
        received = b""
        while b"\r\n\r\n" not in received:
            try:
                piece = connection.recv(65536)
            except OSError:
                return None
            if not piece:
                return None
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += connection.recv(65536)
        return head + b"\r\n\r\n" + body

    def stop(self) -> None:
        self._over.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


class Caller:
    """An invoker, called in one of the two ways; asynchronous calls on one event loop."""

    def __init__(self, waits: bool) -> None:
        self._loop = asyncio.new_event_loop() if waits else None
        self.invokers: list[HttpInvoker] = []

    def of(self, url: str, keys: Credentials | None = None) -> Callable[..., LambdaReply]:
        invoker = HttpInvoker(parse_endpoint(url), region="eu-central-1", credentials=lambda: keys)
        self.invokers.append(invoker)

        def call(payload: bytes = b"{}", seconds: float = 20.0, **more: Any) -> LambdaReply:
            request = LambdaRequest("shop-dev-fn-job", payload, seconds, **more)
            if self._loop is None:
                return invoker.invoke(request)
            return self._loop.run_until_complete(invoker.ainvoke(request))

        return call

    def close(self) -> None:
        for invoker in self.invokers:
            invoker.close()
        if self._loop is not None:
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


@pytest.fixture(params=[False, True], ids=["blocking", "asynchronous"])
def caller(request: pytest.FixtureRequest) -> Iterator[Caller]:
    made = Caller(request.param)
    yield made
    made.close()


def answer(status: int, body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# --- requests -------------------------------------------------------------------------------------------------------


def test_a_request_is_what_the_lambda_api_takes(server: Server, caller: Caller) -> None:
    call = caller.of(server.url)
    assert call(b'{"a":1}', client_context='{"custom":{}}', trace="Root=1-a-b") == LambdaReply(200, b"null")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /2015-03-31/functions/shop-dev-fn-job/invocations HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert headers["host"] == server.url.removeprefix("http://")
    assert headers["x-amz-invocation-type"] == "RequestResponse"
    assert headers["x-amz-client-context"] == "eyJjdXN0b20iOnt9fQ=="
    assert headers["x-amzn-trace-id"] == "Root=1-a-b"
    assert "authorization" not in headers
    assert body == b'{"a":1}'


def test_a_request_is_signed_where_there_are_keys(server: Server, caller: Caller) -> None:
    caller.of(server.url, Credentials("AKID", "secret", "token"))()
    head = server.requests[0].partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nauthorization: aws4-hmac-sha256 credential=akid/" in head
    assert b"\r\nx-amz-security-token: token" in head
    assert b"secret" not in head.replace(b"security", b"")


def test_a_connection_carries_one_call_after_the_other(server: Server, caller: Caller) -> None:
    call = caller.of(server.url)
    for _ in range(4):
        call()
    assert (server.connections, len(server.requests)) == (1, 4)


@pytest.mark.parametrize(
    "first",
    [
        (OK,),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nnull",
        (b"HTTP/1.1 200 OK\r\n\r\nnull",),
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnullHTTP/1.1 200 OK",
    ],
)
def test_a_connection_that_is_over_is_not_used_again(first: Any, server: Server, caller: Caller) -> None:
    server.script = [first]
    call = caller.of(server.url)
    assert call().payload == b"null"
    if isinstance(first, tuple):
        assert server.closed.acquire(timeout=20)
    assert call().payload == b"null"
    assert server.connections == 2


def test_a_connection_that_has_rested_too_long_is_not_used_again(
    server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_connection, "IDLE_SECONDS", 0.0)
    call = caller.of(server.url)
    call()
    call()
    assert server.connections == 2


def test_a_connection_that_breaks_is_not_kept(server: Server, caller: Caller) -> None:
    call = caller.of(server.url)
    server.script = [OK, None, OK]
    call()
    with pytest.raises(TransportError, match=r"the connection was closed before the (response|answer)"):
        call()
    assert call().payload == b"null"


def test_threads_share_an_invoker(server: Server) -> None:
    invoker = HttpInvoker(parse_endpoint(server.url), region="r", credentials=lambda: None)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert invoker.invoke(LambdaRequest("f", b"{}", 20.0)).payload == b"null"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    invoker.close()
    assert failures == []
    assert (len(server.requests), server.connections <= 4) == (80, True)


def test_every_event_loop_has_its_own_connections(server: Server) -> None:
    invoker = HttpInvoker(parse_endpoint(server.url), region="r", credentials=lambda: None)
    request = LambdaRequest("f", b"{}", 20.0)
    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    for loop in (loops[0], loops[1], loops[0], loops[1]):
        assert loop.run_until_complete(invoker.ainvoke(request)).payload == b"null"
    assert server.connections == 2
    invoker.close()
    for loop in loops:
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert asyncio.run(invoker.ainvoke(request)).payload == b"null"
    assert server.connections == 3


def test_calls_at_the_same_time_have_connections_of_their_own(server: Server) -> None:
    async def together() -> list[LambdaReply]:
        invoker = HttpInvoker(parse_endpoint(server.url), region="r", credentials=lambda: None)
        replies = await asyncio.gather(*(invoker.ainvoke(LambdaRequest("f", b"{}", 20.0)) for _ in range(12)))
        invoker.close()
        return replies

    assert [reply.payload for reply in asyncio.run(together())] == [b"null"] * 12
    assert server.connections == 12


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answer(200, b'{"a":1}'), LambdaReply(200, b'{"a":1}')),
        (answer(200, b"e", b"X-Amz-Function-Error: Unhandled"), LambdaReply(200, b"e", "Unhandled")),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nT: u\r\n\r\n",
            LambdaReply(200, b"abcd"),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, LambdaReply(200, b"null")),
        (answer(200, b"x" * 6_000_000), LambdaReply(200, b"x" * 6_000_000)),
    ],
)
def test_an_answer_is_read(given: bytes, expected: LambdaReply, server: Server, caller: Caller) -> None:
    server.script = [given]
    assert caller.of(server.url)() == expected


def test_a_call_that_nobody_waits_for_is_accepted(server: Server, caller: Caller) -> None:
    server.script = [answer(202), answer(200)]
    call = caller.of(server.url)
    assert call(invocation_type="Event") == LambdaReply(202, b"")
    with pytest.raises(InvokeError):
        call(invocation_type="Event")


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "text"),
    [
        (
            404,
            [b"x-amzn-ErrorType: ResourceNotFoundException"],
            b'{"Message":"Function not found: arn"}',
            TargetNotFoundError,
            "ResourceNotFoundException: Function not found: arn",
        ),
        (404, [], b"", TargetNotFoundError, "HTTP status 404"),
        (
            403,
            [b"x-amzn-errortype: AccessDeniedException:http://internal"],
            b'{"message":"not you"}',
            AccessDeniedError,
            "AccessDeniedException: not you",
        ),
        (403, [], b"<html>", AccessDeniedError, "403: <html>"),
        (
            429,
            [b"x-amzn-errortype: TooManyRequestsException"],
            b'{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}',
            ThrottledError,
            "TooManyRequestsException",
        ),
        (502, [b"x-amzn-errortype: EC2ThrottledException"], b"{}", ThrottledError, "EC2Throttled"),
        (500, [b"x-amzn-errortype: ServiceException"], b'{"Message":"m"}', InvokeError, "ServiceException: m"),
        (413, [b"x-amzn-errortype: RequestTooLargeException"], b'{"message":"too large"}', InvokeError, "too large"),
        (301, [], b"", InvokeError, "HTTP status 301"),
        (204, [], b"", InvokeError, "HTTP status 204"),
        (400, [], b"[1]", InvokeError, "HTTP status 400"),
        (400, [], b"\xff\xfe", InvokeError, "400"),
        (503, [], b"x" * 5000, InvokeError, "503: xxx"),
    ],
)
def test_a_refusal_says_why(
    status: int, headers: list[bytes], body: bytes, kind: Any, text: str, server: Server, caller: Caller
) -> None:
    server.script = [answer(status, b"" if status == 204 else body, *headers)]
    with pytest.raises(InvokeError) as caught:
        caller.of(server.url)()
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert len(str(caught.value)) < 500
    assert (caught.value.target, caught.value.status_code) == ("shop-dev-fn-job", status)


@pytest.mark.parametrize(
    "given",
    [
        None,
        (b"",),
        (b"garbage\r\n\r\n",),
        (b"\x16\x03\x01\x02\x00\x01",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nnull",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,),
        (b"HTTP/2 200\r\n\r\n",),
    ],
)
def test_garbage_is_a_transport_error(given: Any, server: Server, caller: Caller) -> None:
    server.script = [given]
    with pytest.raises(TransportError, match=r"shop-dev-fn-job could not be invoked at http://127\.0\.0\.1:"):
        caller.of(server.url)()


def test_an_answer_without_an_end_is_given_up(server: Server, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_http, "REPLY_LIMIT_BYTES", 100_000)
    server.script = [(b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65_536] * 4)]
    with pytest.raises(TransportError, match="is longer than"):
        caller.of(server.url)()


@pytest.mark.parametrize("given", [HANG, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnu"])
def test_a_target_that_hangs_is_not_waited_for(given: Any, server: Server, caller: Caller) -> None:
    server.script = [given]
    with pytest.raises(InvokeTimeoutError, match=r"has not answered within 0\.1 s"):
        caller.of(server.url)(seconds=0.05)


def test_where_nobody_listens_there_is_no_connection(caller: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(TransportError, match="Errno 111") as caught:
        caller.of(f"http://127.0.0.1:{port}")()
    assert isinstance(caught.value, ConnectionError)


@pytest.mark.parametrize("host", ["a" * 70 + ".invalid", "no-such-host.invalid"])
def test_a_host_that_there_is_not(host: str, caller: Caller) -> None:
    with pytest.raises(TransportError):
        caller.of(f"http://{host}:9")(seconds=10)


def test_a_server_without_tls_is_no_https(server: Server, caller: Caller) -> None:
    with pytest.raises((TransportError, InvokeTimeoutError)):
        caller.of(server.url.replace("http:", "https:"))(seconds=0.3)


def test_a_torn_header_is_not_sent(server: Server, caller: Caller) -> None:
    with pytest.raises(ValueError, match="would be torn"):
        caller.of(server.url)(trace="a\r\nb: c")
    assert server.requests == []


def test_a_cancelled_call_closes_its_connection(server: Server) -> None:
    server.script = [HANG]

    async def run() -> None:
        invoker = HttpInvoker(parse_endpoint(server.url), region="r", credentials=lambda: None)
        task = asyncio.create_task(invoker.ainvoke(LambdaRequest("f", b"{}", 20.0)))
        while not server.requests:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert invoker._http._streams == []

    asyncio.run(asyncio.wait_for(run(), 20))


# --- which one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://localhost:3000", "localhost:3000", ""),
        ("https://lambda.eu-central-1.amazonaws.com/", "lambda.eu-central-1.amazonaws.com", ""),
        ("http://[::1]:9001/base/", "[::1]:9001", "/base"),
        ("http://localhost", "localhost", ""),
    ],
)
def test_endpoints(url: str, authority: str, path: str) -> None:
    endpoint = parse_endpoint(url)
    assert (endpoint.authority, endpoint.path) == (authority, path)


@pytest.mark.parametrize("url", ["", "localhost:3000", "ftp://a", "http://", "http://a:b", "http://[::1"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError):
        parse_endpoint(url)


def test_the_order_of_targets(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    local, billing = Server(), Server()
    try:
        monkeypatch.setenv("VENTURE_LOCAL_URLS", f"app={local.url},app-billing={billing.url}")
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        invoker = DefaultInvoker()
        for name in ("app-users", "app-billing-users", "other-users", "application-users"):
            invoker.invoke(LambdaRequest(name, b"{}", 20.0))
        asked = [[r.split(b"/functions/")[1].split(b"/")[0] for r in s.requests] for s in (local, billing, server)]
        assert asked == [[b"app-users"], [b"app-billing-users"], [b"other-users", b"application-users"]]
    finally:
        local.stop()
        billing.stop()


def test_a_dev_server_never_leads_to_aws_by_a_missing_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VENTURE_LOCAL", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(InvokerConfigError, match="no dev server is known for app-users"):
        DefaultInvoker().invoke(LambdaRequest("app-users", b"{}", 1.0))
    with pytest.raises(InvokerConfigError):
        asyncio.run(DefaultInvoker().ainvoke(LambdaRequest("app-users", b"{}", 1.0)))


def test_an_invoker_of_lambda_needs_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvokerConfigError, match="give region=, or set AWS_REGION"):
        create_lambda_invoker()
    for region, host in (
        ("eu-central-1", "lambda.eu-central-1.amazonaws.com"),
        ("cn-north-1", "lambda.cn-north-1.amazonaws.com.cn"),
    ):
        invoker = create_lambda_invoker(region=region)
        assert isinstance(invoker, HttpInvoker)
        assert invoker._http.endpoint == parse_endpoint(f"https://{host}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:9001")
    assert create_lambda_invoker()._http.endpoint.port == 9001  # type: ignore[attr-defined]


def test_keys_of_the_environment_sign(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    create_lambda_invoker(endpoint_url=server.url).invoke(LambdaRequest("f", b"{}", 20.0))
    assert b"Credential=AKID/" in server.requests[0]


def test_local_invokers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvokerConfigError, match="VENTURE_LOCAL_URLS"):
        create_local_invoker()
    invoker = create_local_invoker({"app": server.url})
    assert invoker.invoke(LambdaRequest("app-x", b"{}", 20.0)).payload == b"null"
    assert asyncio.run(invoker.ainvoke(LambdaRequest("app-x", b"{}", 20.0))).payload == b"null"
    with pytest.raises(TransportError, match="no dev server is known for other-x, but for app"):
        invoker.invoke(LambdaRequest("other-x", b"{}", 20.0))


class Boto:
    """The one method of boto3's client."""

    def __init__(self, answer: Any) -> None:
        self.calls: list[dict[str, Any]] = []
        self._answer = answer

    def invoke(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


class Body:
    def read(self) -> bytes:
        return b"null"


class ClientError(Exception):
    def __init__(self, code: str, status: int) -> None:
        self.response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}


class ReadTimeoutError(Exception):
    pass


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_of_boto3_carries_calls_too(waits: bool) -> None:
    boto = Boto({"StatusCode": 200, "Payload": Body(), "FunctionError": "Unhandled"})
    invoker = create_lambda_invoker(client=boto)
    assert isinstance(invoker, ClientInvoker)
    request = LambdaRequest("f", b"{}", 20.0, client_context="{}")
    reply = asyncio.run(invoker.ainvoke(request)) if waits else invoker.invoke(request)
    assert reply == LambdaReply(200, b"null", "Unhandled")
    assert boto.calls == [
        {"FunctionName": "f", "InvocationType": "RequestResponse", "Payload": b"{}", "ClientContext": "e30="}
    ]


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (ClientError("ResourceNotFoundException", 404), TargetNotFoundError),
        (ClientError("TooManyRequestsException", 429), ThrottledError),
        (ClientError("Strange", 500), InvokeError),
        (ReadTimeoutError("slow"), InvokeTimeoutError),
        (OSError("no route"), TransportError),
    ],
)
def test_errors_of_boto3_are_ours(problem: Exception, kind: Any) -> None:
    with pytest.raises(InvokeError) as caught:
        ClientInvoker(Boto(problem)).invoke(LambdaRequest("f", b"{}", 20.0))
    assert type(caught.value) is kind


@pytest.mark.parametrize("waits", [False, True])
def test_a_client_of_boto3_is_not_waited_for_past_the_time(waits: bool) -> None:
    over = threading.Event()

    class Hanging(Boto):
        def invoke(self, **arguments: Any) -> Any:
            assert over.wait(20)
            return super().invoke(**arguments)

    invoker = ClientInvoker(Hanging({"StatusCode": 200, "Payload": Body()}))
    request = LambdaRequest("f", b"{}", 0.05)
    try:
        with pytest.raises(InvokeTimeoutError, match=r"f has not answered within 0\.1 s") as caught:
            asyncio.run(invoker.ainvoke(request)) if waits else invoker.invoke(request)
        assert caught.value.target == "f"
    finally:
        over.set()
