"""Function URLs in tests: made with boto3, called by a client that knows nothing of them."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ECHO = """
import json

def handler(event, context):
    return {"statusCode": 200, "body": json.dumps({"event": event, "id": context.aws_request_id})}
"""
PERMISSIONS = (
    {"StatementId": "url", "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    {"StatementId": "invoke", "Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
)


@dataclass(frozen=True)
class Answer:
    """A whole response; ``lines`` are its headers, names in lower case."""

    status: int
    lines: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        return [value for given, value in self.lines if given == name]


@dataclass(frozen=True)
class Url:
    """A function URL. Its name is not looked up: all of them are on 127.0.0.1."""

    url: str

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def id(self) -> str:
        return self.host.partition(".")[0]

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(
        self,
        method: str = "GET",
        target: str = "/",
        body: bytes | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        *,
        host: str | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        with closing(self.connection()) as connection:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", host or self.host)
            for name, value in dict(headers).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            lines = [(name.lower(), value) for name, value in answer.getheaders()]
            return Answer(answer.status, lines, answer.read())

    def ask_signed(
        self,
        keys: tuple[str, str] | tuple[str, str, str],
        method: str = "GET",
        target: str = "/",
        body: bytes = b"",
        *,
        service: str = "lambda",
        region: str = "us-east-1",
        **changed: str,
    ) -> Answer:
        """The same, signed by botocore; ``changed`` are headers that are sent otherwise than they were signed."""
        headers = self.signature(keys, method, target, body, service=service, region=region)
        return self.ask(method, target, body, headers | changed)

    def signature(
        self,
        keys: tuple[str, str] | tuple[str, str, str],
        method: str,
        target: str,
        body: bytes,
        *,
        service: str = "lambda",
        region: str = "us-east-1",
    ) -> dict[str, str]:
        """The headers with which botocore signs a request."""
        request = AWSRequest(method, f"http://{self.host}{target}", data=body, headers={"Host": self.host})
        SigV4Auth(Credentials(*keys), service, region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name != "Host"}


def make_url(client: Any, name: str, *, public: bool = True, qualifier: str | None = None, **members: Any) -> Url:
    """A URL of a function, by default one that everybody may call."""
    where = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
    made = client.create_function_url_config(**where, **{"AuthType": "NONE", **members})
    if public:
        for permission in PERMISSIONS:
            client.add_permission(**where, Principal="*", **permission)
    return Url(made["FunctionUrl"])
