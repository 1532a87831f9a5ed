"""Calls of the management API, ``POST https://{domain}/{stage}/@connections/{id}``, without an SDK.

Source: API Gateway Developer Guide, "Use @connections commands in your backend service"; statuses as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime import environ
from venturekit.runtime._process import apause, pause
from venturekit.runtime.context import current_context
from venturekit.runtime.encoding import to_json
from venturekit.runtime.invocation.signed_http import SignedHttp
from venturekit.runtime.ws.errors import (
    ManagementAccessError,
    ManagementError,
    ManagementThrottledError,
    ManagementTransportError,
    MessageTooLargeError,
)
from venturekit.transport.endpoint import Endpoint, parse_endpoint
from venturekit.transport.errors import AnswerTimeoutError, ExchangeError

if TYPE_CHECKING:
    from venturekit.protocol.sigv4_signer import Credentials

MESSAGE_LIMIT_BYTES: Final = 128 * 1024
TIMEOUT_SECONDS: Final = 5.0
MARGIN_SECONDS: Final = 0.1
RETRIES: Final = 2
RETRY_DELAY_SECONDS: Final = 0.1
"""Only throttled calls are made again: of all others it is not known whether the message has arrived."""
KEPT_CONNECTIONS: Final = 32
ENDPOINTS_LIMIT: Final = 100
_SERVICE: Final = "execute-api"
_DEFAULT_REGION: Final = "us-east-1"
_GONE: Final = 410
_HEADERS: Final = {"Content-Type": "application/octet-stream"}


class Message(NamedTuple):
    """One message for one connection. ``endpoint`` has the stage as its path."""

    endpoint: Endpoint
    connection_id: str
    data: bytes


def message_bytes(data: Any) -> bytes:
    """What is sent: a text and bytes as they are, everything else as JSON.

    Raises MessageTooLargeError, and NotSerializableError for what JSON cannot hold.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        made = bytes(data)
    else:
        made = (data if isinstance(data, str) else to_json(data)).encode("utf-8", "replace")
    if len(made) > MESSAGE_LIMIT_BYTES:
        raise MessageTooLargeError(
            f"the message has {len(made)} bytes, and a WebSocket API carries {MESSAGE_LIMIT_BYTES}: send it in parts, "
            "or an address to fetch it from",
            status_code=413,
        )
    return made


def endpoint_of(domain: str, stage: str) -> Endpoint:
    """Where the connections of a domain and stage are managed: by https, by http where the domain is this machine.

    The domain may have a port and a path, or be a whole address. Raises ValueError.
    """
    address = domain if "://" in domain else f"{'https' if _speaks_tls(domain) else 'http'}://{domain}"
    try:
        endpoint = parse_endpoint(address)
    except ValueError:
        endpoint = None
    if endpoint is None or not domain.isprintable() or " " in domain:
        raise ValueError(
            f"{domain!r} is no domain of a WebSocket API: ctx.domain is one, like "
            "abc.execute-api.eu-west-1.amazonaws.com"
        ) from None
    from urllib.parse import quote

    stage = stage.strip("/")
    return endpoint._replace(path=f"{endpoint.path}/{quote(stage, safe='')}" if stage else endpoint.path)


def is_local(domain: str) -> bool:
    """Whether a domain is this machine: localhost, what ends in .localhost, 127.0.0.1 and its net, ::1."""
    host = domain.partition("/")[0]
    host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
    host = host.lower().rstrip(".")
    parts = host.split(".")
    is_loopback = len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)
    return host in ("localhost", "::1") or host.endswith(".localhost") or is_loopback


def _speaks_tls(domain: str) -> bool:
    """Everybody does but this machine, unless the service of this machine does as a whole."""
    if not is_local(domain):
        return True
    scheme, _, service = (environ.lambda_endpoint() or "").partition("://")
    return scheme.lower() == "https" and is_local(service)


def api_id_of(domain: str) -> str | None:
    """The id of an API in its own domain, ``abc`` of ``abc.execute-api.…``; None in a domain of one's own."""
    labels = domain.rpartition("//")[2].split(".")
    return labels[0] if len(labels) > 2 and labels[1] == _SERVICE else None


def region_of(host: str) -> str:
    """The region to sign for: the one in a domain of AWS, else that of the environment."""
    parts = host.split(".")
    if len(parts) >= 4 and parts[1] == _SERVICE and "amazonaws" in parts:
        return parts[2]
    return environ.region() or _DEFAULT_REGION


class ConnectionManagement:
    """Sends messages to connections. Threads and event loops may share one; connections to a host are kept."""

    def __init__(self, *, credentials: Credentials | None = None, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._credentials = credentials
        self._timeout_seconds = timeout_seconds
        self._hosts: dict[Endpoint, SignedHttp] = {}

    def post(self, message: Message) -> bool:
        """Send a message; False when the connection is gone. Raises ManagementError."""
        attempt = 0
        while True:
            seconds = self._seconds(message)
            try:
                response = self._host(message.endpoint).post(_path(message), _HEADERS, message.data, seconds)
            except ExchangeError as problem:
                raise _lost(message, problem) from problem
            delay = _outcome(message, response.status, attempt)
            if delay is None:
                return response.status != _GONE
            pause(delay)
            attempt += 1

    async def apost(self, message: Message) -> bool:
        """The same on the event loop."""
        attempt = 0
        while True:
            seconds = self._seconds(message)
            try:
                response = await self._host(message.endpoint).apost(_path(message), _HEADERS, message.data, seconds)
            except ExchangeError as problem:
                raise _lost(message, problem) from problem
            delay = _outcome(message, response.status, attempt)
            if delay is None:
                return response.status != _GONE
            await apause(delay)
            attempt += 1

    def close(self) -> None:
        """Close the connections that are kept."""
        hosts, self._hosts = self._hosts, {}
        for host in hosts.values():
            host.close()

    def _seconds(self, message: Message) -> float:
        """Raises ManagementTransportError when the invocation's own time is over."""
        seconds = min(self._timeout_seconds, _seconds_left())
        if seconds <= 0:
            raise ManagementTransportError(
                f"nothing was sent to the connection {message.connection_id}: no time is left",
                connection_id=message.connection_id,
            )
        return seconds

    def _host(self, endpoint: Endpoint) -> SignedHttp:
        host = self._hosts.get(endpoint)
        if host is None:
            if len(self._hosts) >= ENDPOINTS_LIMIT:
                self.close()
            # Not every resolver knows the names below localhost, which are this machine all the same.
            is_below = endpoint.host.endswith(".localhost")
            made = SignedHttp(
                endpoint._replace(host="localhost") if is_below else endpoint,
                region=region_of(endpoint.host),
                credentials=lambda: self._credentials or _environment_credentials(),
                service=_SERVICE,
                authority=endpoint.authority,
                kept=KEPT_CONNECTIONS,
            )
            # The threads of a first broadcast come here at once.
            host = self._hosts.setdefault(endpoint, made)
        return host


def _path(message: Message) -> str:
    from urllib.parse import quote

    return f"/@connections/{quote(message.connection_id, safe='')}"


def _seconds_left() -> float:
    ctx = current_context()
    if ctx is None or ctx.raw_context is None:
        return float("inf")
    return ctx.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS


def _outcome(message: Message, status: int, attempt: int) -> float | None:
    """None: it is settled, the connection may be gone; else the seconds after which to try again.

    Raises ManagementError.
    """
    if status == _GONE or 200 <= status < 300:
        return None
    if status == 429 and attempt < RETRIES:
        delay: float = RETRY_DELAY_SECONDS * 2**attempt
        if delay < _seconds_left():
            return delay
    kinds = {403: ManagementAccessError, 413: MessageTooLargeError, 429: ManagementThrottledError}
    raise _error(kinds.get(status, ManagementError), message, f"status {status}", status)


def _lost(message: Message, problem: ExchangeError) -> ManagementError:
    why = "no answer in time" if isinstance(problem, AnswerTimeoutError) else str(problem)
    return _error(ManagementTransportError, message, why)


def _error(kind: type[ManagementError], message: Message, why: str, status: int | None = None) -> ManagementError:
    endpoint = message.endpoint
    where = f"{endpoint.scheme}://{endpoint.authority}{endpoint.path}"
    return kind(
        f"the message to the connection {message.connection_id} was not taken by {where}: {why}",
        connection_id=message.connection_id,
        status_code=status,
    )


def _environment_credentials() -> Credentials | None:
    found = environ.credentials()
    if found is None:
        return None
    from venturekit.protocol.sigv4_signer import Credentials

    return Credentials(*found)
