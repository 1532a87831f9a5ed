"""Calls of the management API, ``POST https://{domain}/{stage}/@connections/{id}``, without an SDK.

Source: API Gateway Developer Guide, "Use @connections commands in your backend service"; statuses as recorded. What is
particular to the transport is in ``_Lane`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.protocol.http1 import request_bytes
from venturekit.runtime import environ
from venturekit.runtime._process import apause, pause
from venturekit.runtime.context import current_context
from venturekit.runtime.encoding import to_json
from venturekit.runtime.invocation.errors import InvokeError, InvokeTimeoutError
from venturekit.runtime.invocation.http_transport import Endpoint, HttpInvoker, parse_endpoint
from venturekit.runtime.invocation.request import LambdaRequest
from venturekit.runtime.ws.errors import (
    ManagementAccessError,
    ManagementError,
    ManagementThrottledError,
    ManagementTransportError,
    MessageTooLargeError,
)

if TYPE_CHECKING:
    from venturekit.protocol.sigv4 import Credentials

MESSAGE_LIMIT_BYTES: Final = 128 * 1024
TIMEOUT_SECONDS: Final = 5.0
MARGIN_SECONDS: Final = 0.1
RETRIES: Final = 2
RETRY_DELAY_SECONDS: Final = 0.1
"""Only throttled calls are made again: of all others it is not known whether the message has arrived."""
KEPT_LANES: Final = 32
ENDPOINTS_LIMIT: Final = 100
_SERVICE: Final = "execute-api"
_DEFAULT_REGION: Final = "us-east-1"
_GONE: Final = 410


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
    address = domain if "://" in domain else f"{'http' if is_local(domain) else 'https'}://{domain}"
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
        self._lanes: dict[Endpoint, list[_Lane]] = {}

    def post(self, message: Message) -> bool:
        """Send a message; False when the connection is gone. Raises ManagementError."""
        attempt = 0
        while True:
            try:
                lane = self._take(message.endpoint)
                try:
                    lane.invoke(self._request(message))
                finally:
                    self._give_back(message.endpoint, lane)
                return True
            except InvokeError as problem:
                if problem.status_code == _GONE:
                    return False
                delay = _delay(problem, attempt)
                if delay is None:
                    raise _error_of(message, problem) from problem
            pause(delay)
            attempt += 1

    async def apost(self, message: Message) -> bool:
        """The same on the event loop."""
        attempt = 0
        while True:
            try:
                lane = self._take(message.endpoint)
                try:
                    await lane.ainvoke(self._request(message))
                finally:
                    self._give_back(message.endpoint, lane)
                return True
            except InvokeError as problem:
                if problem.status_code == _GONE:
                    return False
                delay = _delay(problem, attempt)
                if delay is None:
                    raise _error_of(message, problem) from problem
            await apause(delay)
            attempt += 1

    def close(self) -> None:
        """Close the connections that are kept."""
        lanes, self._lanes = self._lanes, {}
        for kept in lanes.values():
            for lane in kept:
                lane.close()

    def _request(self, message: Message) -> LambdaRequest:
        """Raises ManagementTransportError when the invocation's own time is over."""
        seconds = min(self._timeout_seconds, _seconds_left())
        if seconds <= 0:
            raise ManagementTransportError(
                f"nothing was sent to the connection {message.connection_id}: no time is left",
                connection_id=message.connection_id,
            )
        return LambdaRequest(message.connection_id, message.data, seconds)

    def _take(self, endpoint: Endpoint) -> _Lane:
        try:
            return self._lanes[endpoint].pop()
        except (KeyError, IndexError):
            return _Lane(endpoint, self._credentials)

    def _give_back(self, endpoint: Endpoint, lane: _Lane) -> None:
        if endpoint not in self._lanes and len(self._lanes) >= ENDPOINTS_LIMIT:
            self.close()
        kept = self._lanes.setdefault(endpoint, [])
        if len(kept) < KEPT_LANES:
            kept.append(lane)
        else:
            lane.close()


class _Lane(HttpInvoker):
    """One connection to a host, used by one call at a time: the HTTP of calls to functions with another request."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials | None) -> None:
        super().__init__(
            # Not every resolver knows the names below localhost, which are this machine all the same.
            endpoint._replace(host="localhost") if endpoint.host.endswith(".localhost") else endpoint,
            region=region_of(endpoint.host),
            credentials=lambda: credentials or _environment_credentials(),
        )
        self._authority = endpoint.authority

    def _request(self, request: LambdaRequest) -> bytes:
        from urllib.parse import quote

        target = f"{self._endpoint.path}/@connections/{quote(request.function_name, safe='')}"
        headers = {"Host": self._authority, "Content-Type": "application/octet-stream"}
        keys = self._credentials()
        if keys is not None:
            from datetime import UTC, datetime

            from venturekit.protocol.sigv4 import sign_headers

            headers |= sign_headers(
                "POST",
                target,
                headers,
                request.payload,
                keys,
                region=self._region,
                service=_SERVICE,
                now=datetime.now(UTC),
            )
        return request_bytes("POST", target, headers, request.payload)


def _seconds_left() -> float:
    ctx = current_context()
    if ctx is None or ctx.raw_context is None:
        return float("inf")
    return ctx.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS


def _delay(problem: InvokeError, attempt: int) -> float | None:
    """How many seconds to wait before it is tried again, None if it is not."""
    if problem.status_code != 429 or attempt >= RETRIES:
        return None
    delay = RETRY_DELAY_SECONDS * 2**attempt
    return delay if delay < _seconds_left() else None


def _error_of(message: Message, problem: InvokeError) -> ManagementError:
    endpoint = message.endpoint
    where = f"{endpoint.scheme}://{endpoint.authority}{endpoint.path}"
    kinds = {403: ManagementAccessError, 413: MessageTooLargeError, 429: ManagementThrottledError}
    kind = ManagementTransportError if problem.status_code is None else kinds.get(problem.status_code, ManagementError)
    if problem.status_code is not None:
        why = f"status {problem.status_code}"
    elif isinstance(problem, InvokeTimeoutError):
        why = "no answer in time"
    else:
        why = str(problem.__cause__ or problem.message)
    return kind(
        f"the message to the connection {message.connection_id} was not taken by {where}: {why}",
        connection_id=message.connection_id,
        status_code=problem.status_code,
    )


def _environment_credentials() -> Credentials | None:
    found = environ.credentials()
    if found is None:
        return None
    from venturekit.protocol.sigv4 import Credentials

    return Credentials(*found)
