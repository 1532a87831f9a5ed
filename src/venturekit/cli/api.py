"""A client of the Lambda API and of the service's own paths that is just large enough for ``vk``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from venturekit.cli import environ
from venturekit.cli.exits import FAILED, NOT_FOUND, UNREACHABLE, USAGE, CommandError
from venturekit.protocol.http1 import request_head
from venturekit.transport.connection import Limits, Outgoing
from venturekit.transport.connections import Connections
from venturekit.transport.endpoint import parse_endpoint
from venturekit.transport.errors import (
    AnswerTimeoutError,
    ConnectError,
    ConnectionLostError,
    EndpointError,
    ExchangeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.protocol.sigv4_signer import Credentials

FUNCTIONS: Final = "/2015-03-31/functions"
HEALTH: Final = "/_venturekit/health"
CONNECT_TIMEOUT_SECONDS: Final = 5.0
ANSWER_TIMEOUT_SECONDS: Final = 60.0
HEALTH_TIMEOUT_SECONDS: Final = 2.0
INVOKE_TIMEOUT_SECONDS: Final = 960.0
"""A function may run for 900 s; starting it and moving large payloads takes time, too."""
ANSWER_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The longest answer that is read: ten times what Lambda answers."""
ADVICE: Final = {
    "MissingAuthenticationTokenException": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to a key that the service "
    "knows; vk reads no profiles",
    "UnrecognizedClientException": "the service does not know this access key, or AWS_SESSION_TOKEN does not belong "
    "to it",
}
"""What AWS's words leave open, for the errors that a first request to a service with access keys meets."""


class ApiError(CommandError):
    """The service has refused a request. ``code`` is AWS's name of the error, "" if it gave none."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message, NOT_FOUND if code == "ResourceNotFoundException" else FAILED)
        self.code = code
        self.http_status = status


class UnreachableError(CommandError):
    """Nothing that answers HTTP was found at the endpoint."""

    def __init__(self, message: str) -> None:
        super().__init__(message, UNREACHABLE)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go and what they are signed with."""

    url: str
    region: str
    credentials: Credentials | None
    certificate_bundle: str | None = None


def find_endpoint(url: str | None, region: str | None) -> Endpoint:
    """The endpoint of the options ``--endpoint-url`` and ``--region``, completed from environment variables."""
    known = environ.variables()
    return Endpoint(
        url or environ.endpoint_url(known),
        region or environ.region(known),
        environ.credentials(known),
        environ.certificate_bundle(known),
    )


class Api:
    """One connection to the endpoint, opened with the first request and used again. Not for several threads.

    Requests raise UnreachableError, and ApiError for every answer that is not a 2xx.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            address = parse_endpoint(endpoint.url)
        except EndpointError:
            raise CommandError(
                f"the endpoint {endpoint.url!r} is not an address such as http://127.0.0.1:9001", USAGE
            ) from None
        self.endpoint = endpoint
        self._prefix = address.path
        self._host = address.authority
        # A certificate file that cannot be read is said before anything is tried.
        tls = _tls_of(endpoint.certificate_bundle) if address.scheme == "https" else None
        self._connections = Connections(
            address,
            connect_seconds=CONNECT_TIMEOUT_SECONDS,
            max_open=1,
            max_idle=1,
            tls=tls,
            response_limit=ANSWER_LIMIT_BYTES,
        )

    def close(self) -> None:
        """Close the connection. A request that another thread waits for fails."""
        self._connections.interrupt()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_TIMEOUT_SECONDS,
    ) -> Answer:
        """One request and its answer. ``target`` is path and query, percent-encoded; ``timeout`` in seconds."""
        target = self._prefix + target
        # The service takes unsigned requests only with a header that no web page can send.
        sent = {"Host": self._host, "x-amz-client": "vk", **(headers or {})}
        if self.endpoint.credentials is not None:
            from venturekit.protocol.sigv4_signer import sign_headers

            now = datetime.now(UTC)
            sent |= sign_headers(
                method, target, sent, body, self.endpoint.credentials, region=self.endpoint.region, now=now
            )
        answer = self._exchange(method, target, sent, body, timeout)
        if not 200 <= answer.status < 300:
            raise _refusal(answer, self.endpoint.url)
        return answer

    def json(
        self, method: str, target: str, document: object = None, *, timeout: float = ANSWER_TIMEOUT_SECONDS
    ) -> Any:
        """Like :meth:`request`, with JSON both ways; None for an empty answer."""
        body = b"" if document is None else json.dumps(document).encode()
        headers = {"Content-Type": "application/json"} if body else None
        answer = self.request(method, target, body=body, headers=headers, timeout=timeout)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except ValueError:
            raise CommandError(f"what answers at {self.endpoint.url} is not a Lambda service: no JSON") from None

    def health(self) -> dict[str, Any]:
        """What the service says about itself. Raises UnreachableError also when it is something else that answers."""
        try:
            found = self.json("GET", HEALTH, timeout=HEALTH_TIMEOUT_SECONDS)
        except UnreachableError:
            raise
        except CommandError:
            found = None
        if not isinstance(found, dict) or "status" not in found or "version" not in found:
            raise UnreachableError(f"what answers at {self.endpoint.url} is not a VentureKit service")
        return found

    def _exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        request = Outgoing(request_head(method, target, headers, len(body)), body)
        try:
            return Answer(*self._connections.exchange(request, Limits(timeout)))
        except ExchangeError as error:
            raise _unreachable(self.endpoint.url, error, timeout) from error


def function_path(name: str, rest: str = "", *, qualifier: str | None = None) -> str:
    """Path and query of an operation on a function, whatever its name is written with."""
    query = f"?Qualifier={quote(qualifier, safe='')}" if qualifier is not None else ""
    return f"{FUNCTIONS}/{quote(name, safe='')}{rest}{query}"


def _tls_of(bundle: str | None) -> Callable[[], Any]:
    """What gives the TLS context. Raises CommandError for a file of certificates that cannot be read."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise CommandError(f"AWS_CA_BUNDLE {bundle}: {error.strerror or error}", USAGE) from error
    return lambda: context


def _unreachable(url: str, error: ExchangeError, timeout: float) -> UnreachableError:
    advice = "start one with `vk serve`, or name another --endpoint-url"
    cause = error.__cause__
    if isinstance(error, AnswerTimeoutError):
        return UnreachableError(f"no answer within {timeout:g} s from {url}")
    if isinstance(error, ConnectError):
        if error.is_timeout:
            return UnreachableError(f"no connection to {url} within {CONNECT_TIMEOUT_SECONDS:g} s")
        if isinstance(cause, ConnectionRefusedError):
            return UnreachableError(f"no service at {url}: {advice}")
        # Not by its class: ssl takes long to import, and is loaded if there is such an error.
        if type(cause).__name__ == "SSLCertVerificationError":
            why = getattr(cause, "verify_message", cause)
            return UnreachableError(
                f"the certificate of {url} is not trusted ({why}): name its authority in AWS_CA_BUNDLE"
            )
        return UnreachableError(f"no service at {url} ({error.reason}): {advice}")
    if isinstance(error, ConnectionLostError):
        return UnreachableError(f"the service at {url} closed the connection: is it ending?")
    return UnreachableError(f"no service at {url} ({error}): {advice}")


def _refusal(answer: Answer, url: str) -> ApiError:
    code = answer.headers.get("x-amzn-errortype", "").partition(":")[0]
    try:
        found = json.loads(answer.body)
        message = found.get("message") or found.get("Message") or ""
    except (ValueError, AttributeError):
        message = ""
    if code:
        # The policy of another account denies without a text.
        text = f"{code}: {message}" if message else f"{code}, without a reason"
        advice = f" ({ADVICE[code]})" if code in ADVICE else ""
        return ApiError(code, text + advice, answer.status)
    if message:
        return ApiError("", str(message), answer.status)
    return ApiError("", f"what answers at {url} is not a Lambda service: status {answer.status}", answer.status)
