"""Calls of the SQS API without botocore, which takes a millisecond of CPU for each. Blocks: for threads.

Sources: Smithy, "AWS JSON 1.0 protocol" and, for the header with the error codes of the former protocol, which callers
know, "awsQueryCompatible". Addresses and keys are found by ``service.aws``, and by botocore where these are not in
variables.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from venturekit import __version__
from venturekit.protocol.sigv4_signer import RequestSigner
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError
from venturekit.transport.connection import Limits, Outgoing
from venturekit.transport.connections import Connections
from venturekit.transport.endpoint import Endpoint, parse_endpoint, parse_proxy
from venturekit.transport.errors import EndpointError, ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.service.aws import AwsClients
    from venturekit.transport.endpoint import Proxy

CONNECT_SECONDS: Final = 3.0
WAIT_SECONDS: Final = 30.0
"""For an answer: a request for messages waits for 20 seconds at most."""
CONNECTIONS: Final = 160
"""How many are open: as many as there are threads that receive and settle messages."""
ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""Ten messages have 10 MiB at most, in JSON maybe six times as much."""
SERVICE: Final = "sqs"


class Server:
    """Where the requests of one region go."""

    def __init__(self, endpoint: Endpoint, region: str, proxy: Proxy | None, tls: Callable[[], Any]) -> None:
        self._path = endpoint.path or "/"
        self._host = endpoint.authority
        self._signer = RequestSigner(region, SERVICE)
        # A proxy is asked for the whole address (RFC 9112, "absolute-form"); the signature is of the path.
        absolute = proxy is not None and endpoint.scheme == "http"
        self._target = f"http://{self._host}{self._path}" if absolute else self._path
        key = proxy.authorization if absolute and proxy is not None else None
        self._more = f"Proxy-Authorization: {key}\r\n" if key else ""
        self._connections = Connections(
            endpoint,
            connect_seconds=CONNECT_SECONDS,
            max_open=CONNECTIONS,
            max_idle=CONNECTIONS,
            pool_seconds=WAIT_SECONDS,
            proxy=proxy,
            tls=tls,
            response_limit=ANSWER_LIMIT_BYTES,
        )

    def exchange(self, operation: str, body: bytes, credentials: Credentials, timestamp: str) -> tuple[int, Any, bytes]:
        """Status, headers and body of the answer. Raises ExchangeError."""
        headers = {
            "Host": self._host,
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{operation}",
            "X-Amzn-Query-Mode": "true",
        }
        headers |= self._signer.sign("POST", self._path, headers, body, credentials, timestamp=timestamp)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self._target} HTTP/1.1\r\n{lines}{self._more}User-Agent: venturekit/{__version__}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        response = self._connections.exchange(Outgoing(head.encode("latin-1"), body), Limits(WAIT_SECONDS))
        return response.status, response.headers, response.body


class SqsApi:
    """Operations of SQS in all regions. ``wall`` tells epoch seconds."""

    def __init__(self, aws: AwsClients, *, wall: Callable[[], float]) -> None:
        self._aws = aws
        self._wall = wall
        self._making = threading.Lock()
        self._servers: dict[str, Server] = {}

    def call(self, region: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call an operation once, by its name in the API. Raises AwsRefusedError and AwsNotAskedError."""
        try:
            credentials = self._aws.credentials(SERVICE)
            server = self._servers.get(region) or self._make(region)
            timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._wall()))
            body = json.dumps(members).encode()
            status, headers, content = server.exchange(operation, body, credentials, timestamp)
        except (ExchangeError, OSError, ValueError) as error:
            raise AwsNotAskedError(str(error)) from error
        answer = _document(content)
        if 200 <= status < 300 and answer is not None:
            return answer
        refusal = _refusal(headers, answer) if status >= 300 and answer is not None else None
        if refusal is not None:
            raise AwsRefusedError(*refusal, status)
        raise AwsNotAskedError(f"what answers for sqs answered {status}, and not as SQS does: check its address")

    def _make(self, region: str) -> Server:
        with self._making:
            if (server := self._servers.get(region)) is not None:
                return server
            url = self._aws.endpoint_url(SERVICE, region)
            try:
                endpoint = parse_endpoint(url)
                proxy = self._proxy(endpoint)
            except EndpointError as error:
                raise AwsNotAskedError(str(error)) from error
            server = self._servers[region] = Server(endpoint, region, proxy, lambda: self._aws.tls_context(SERVICE))
            return server

    def _proxy(self, endpoint: Endpoint) -> Proxy | None:
        """As other tools find it: by variables in lower or upper case. Raises EndpointError."""

        def variable(name: str) -> str:
            environ = self._aws.environ
            return environ.get(name) or environ.get(name.upper()) or ""

        url = variable(f"{endpoint.scheme}_proxy")
        if not url:
            return None
        from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

        bypassed = proxy_bypass_environment(endpoint.authority, {"no": variable("no_proxy")})
        return None if bypassed else parse_proxy(url)


def _document(content: bytes) -> Mapping[str, Any] | None:
    """The answer as JSON; None for what is no object. Some answer nothing where there is nothing to tell."""
    if not content:
        return {}
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refusal(headers: Mapping[str, str], answer: Mapping[str, Any]) -> tuple[str, str] | None:
    """Code and message of an error; None where the answer holds none."""
    code = headers.get("x-amzn-query-error", "").partition(";")[0]
    if not code:
        code = str(answer.get("__type") or answer.get("code") or "").rpartition("#")[2].partition(":")[0]
    return (code, str(answer.get("message") or answer.get("Message") or "")) if code else None
