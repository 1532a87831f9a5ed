"""Events as the front doors send them, AWS's context object, and loggers that keep their lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.runtime import create_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.runtime import Logger

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:shop-users"


def v2(
    method: str = "GET",
    path: str = "/users/42",
    *,
    headers: Mapping[str, Any] | None = None,
    body: Any = None,
    query: str = "",
    claims: Mapping[str, Any] | None = None,
    marker: Any = None,
    **more: Any,
) -> dict[str, Any]:
    """An event of payload format 2.0."""
    context: dict[str, Any] = {
        "accountId": "123456789012",
        "apiId": "api",
        "domainName": "api.example.com",
        "http": {
            "method": method,
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": "203.0.113.7",
            "userAgent": "test/1",
        },
        "requestId": "request-1",
        "routeKey": f"{method} {path}",
        "stage": "$default",
        "timeEpoch": 1_700_000_000_000,
    }
    if claims is not None:
        context["authorizer"] = {"jwt": {"claims": dict(claims), "scopes": None}}
    if marker is not None:
        context["venturekit"] = marker
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json", "user-agent": "test/1", **(headers or {})},
        "requestContext": context,
        "isBase64Encoded": False,
    }
    if query:
        pairs = [pair.partition("=") for pair in query.split("&")]
        event["queryStringParameters"] = {name: value for name, _, value in pairs}
    if body is not None:
        event["body"] = body if isinstance(body, str) else json.dumps(body)
    return event | more


def v1(method: str = "GET", path: str = "/users/42", **more: Any) -> dict[str, Any]:
    """An event of payload format 1.0, as a REST API sends it."""
    event = {
        "version": "1.0",
        "resource": "/users/{id}",
        "path": path,
        "httpMethod": method,
        "headers": {"Content-Type": "application/json", "User-Agent": "test/1"},
        "multiValueHeaders": {"Content-Type": ["application/json"], "X-Many": ["a", "b"]},
        "queryStringParameters": {"tag": "b"},
        "multiValueQueryStringParameters": {"tag": ["a", "b"]},
        "pathParameters": {"id": "42"},
        "requestContext": {
            "requestId": "request-1",
            "requestTimeEpoch": 1_700_000_000_000,
            "identity": {"sourceIp": "203.0.113.7"},
        },
        "body": None,
        "isBase64Encoded": False,
    }
    return event | more


def alb(method: str = "GET", path: str = "/users/42", *, many: bool = False, **more: Any) -> dict[str, Any]:
    """An event of an Application Load Balancer, with values by name or lists of them."""
    event: dict[str, Any] = {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-central-1:1:targetgroup/a/b"}},
        "httpMethod": method,
        "path": path,
        "body": "",
        "isBase64Encoded": False,
    }
    headers = {"content-type": "application/json", "x-forwarded-for": "198.51.100.1, 203.0.113.7"}
    query = {"tag": ["a%20b", "c"]}
    if many:
        event["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
        event["multiValueQueryStringParameters"] = query
    else:
        event["headers"] = headers
        event["queryStringParameters"] = {name: values[-1] for name, values in query.items()}
    return event | more


class Context:
    """AWS's second argument, with a time that is left."""

    aws_request_id = "aws-request-1"
    function_name = "shop-users"
    invoked_function_arn = ARN
    client_context: Any = None

    def __init__(self, remaining_ms: int = 30_000, custom: Any = None) -> None:
        self.remaining_ms = remaining_ms
        if custom is not None:
            self.client_context = type("ClientContext", (), {"custom": custom})()

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


class Stream:
    """What a runtime that streams offers; ``fails_at`` is the number of the write that fails."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.head: tuple[int, dict[str, str], list[str]] | None = None
        self.pieces: list[Any] = []
        self.flushed = False
        self._fails_at = fails_at

    def begin_http(self, status_code: int, headers: dict[str, str], cookies: list[str]) -> None:
        self.head = status_code, dict(headers), list(cookies)

    def write(self, piece: Any) -> None:
        if len(self.pieces) == self._fails_at:
            raise BrokenPipeError("the caller is gone")
        self.pieces.append(piece)

    async def awrite(self, piece: Any) -> None:
        self.write(piece)

    def flush(self) -> None:
        self.flushed = True


class StreamingContext(Context):
    """A context of a runtime that streams."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.response_stream = stream


class Lines(list[str]):
    """The lines of a logger, as text and as records."""

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self]

    def logger(self, **options: Any) -> Logger:
        return create_logger(write=self.append, **options)


def data(result: Mapping[str, Any]) -> Any:
    """What a handler's result holds in its envelope."""
    return json.loads(result["body"])["data"]


def failure(result: Mapping[str, Any]) -> Any:
    """The error object of a handler's result."""
    return json.loads(result["body"])["error"]
