"""One call from its command to its output or error, without I/O: what the two clients have in common."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from venturekit import __version__
from venturekit.client.answers import check_coding, service_error, skew_of
from venturekit.client.commands import Command, Output, ResponseMetadata, WireResponse
from venturekit.client.config import INVOCATION_SECONDS, READ_SECONDS
from venturekit.client.errors import CredentialsError, LambdaClientError, LambdaServiceException, SignatureError
from venturekit.client.failures import transport_error
from venturekit.client.retries import Attempts, RetryQuota
from venturekit.protocol.sigv4_signer import RequestSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.client.resolution import ResolvedConfig
    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.transport.errors import ExchangeError

OutputT = TypeVar("OutputT")
_USER_AGENT: Final = f"venturekit/{__version__}"
RESPONSE_LIMIT_BYTES: Final = 64 * 1024 * 1024
"""The longest answer that is read whole: ten times what Lambda answers."""


class SignedRequest:
    """A request as it is to be sent. What signs it is not in the repr."""

    __slots__ = ("body", "headers", "method", "target")

    def __init__(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | bytearray | memoryview
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body


class Caller:
    """What the calls of one client share: configuration, signer, and how many retries are left."""

    def __init__(self, resolved: ResolvedConfig) -> None:
        self.resolved = resolved
        self.signer = RequestSigner(resolved.region)
        self.quota = RetryQuota()
        self.chance: Callable[[], float] = random.random
        self.skew_seconds = 0.0
        self._stamp: tuple[int, str] = -1, ""

    def begin(self, command: Command[OutputT]) -> Call[OutputT]:
        """A call of a command."""
        return Call(self, command)

    def timestamp(self) -> str:
        """The time of a signature, by the clock of the service as far as it is known."""
        now = int(time.time() + self.skew_seconds)
        second, text = self._stamp
        if second != now:
            text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            self._stamp = now, text
        return text


class Again(NamedTuple):
    """The call is to be tried again after so many seconds."""

    seconds: float


class Call(Generic[OutputT]):
    """One call. Ask for ``signed``, send it, and tell what became of it: ``answered`` or ``failed``."""

    __slots__ = ("_attempts", "_caller", "_has_recovered", "_wire", "command", "wait_seconds")

    def __init__(self, caller: Caller, command: Command[OutputT]) -> None:
        config = caller.resolved.config
        self._caller = caller
        self.command = command
        self._wire = command.wire()
        self._attempts = Attempts(
            config.max_attempts,
            caller.quota,
            may_repeat=config.retry_invokes or command.may_repeat(),
            chance=caller.chance,
        )
        self._has_recovered = False
        self.wait_seconds = config.read_timeout or (INVOCATION_SECONDS if command.is_invocation else READ_SECONDS)

    def signed(self, credentials: Credentials | None) -> SignedRequest:
        """The request, signed for now. Raises CredentialsError for credentials that have expired."""
        caller, wire = self._caller, self._wire
        endpoint = caller.resolved.endpoint
        headers = {
            "Host": endpoint.authority,
            "User-Agent": _USER_AGENT,
            "amz-sdk-request": f"attempt={self._attempts.made}; max={caller.resolved.config.max_attempts}",
            **wire.headers,
        }
        target = endpoint.path + wire.target
        if credentials is not None:
            _check_expiry(credentials)
            headers.update(
                caller.signer.sign(wire.method, target, headers, wire.body, credentials, timestamp=caller.timestamp())
            )
        return SignedRequest(wire.method, target, headers, wire.body)

    def answered(self, response: WireResponse) -> OutputT | Again:
        """The output of a response, or when to try again. Raises LambdaClientError."""
        if not 200 <= response.status < 300:
            return self.failed(self.refusal(response), response)
        try:
            if "content-encoding" in response.headers:
                check_coding(self.command.operation, response.headers)
            output = self.command.read(response)
        except LambdaClientError as error:
            return self.failed(error)
        self.succeeded(output, response.status, response.headers)
        return output

    def refusal(self, response: WireResponse) -> LambdaClientError:
        """The error that a response stands for which is none of success."""
        try:
            check_coding(self.command.operation, response.headers)
        except LambdaClientError as error:
            return error
        return service_error(self.command.operation, response, self._caller.resolved.endpoint.url, time.time())

    def succeeded(self, output: Any, status: int, headers: Mapping[str, str]) -> None:
        """Note that the call went well."""
        self._attempts.succeeded()
        if isinstance(output, Output):
            output.note(ResponseMetadata(headers.get("x-amzn-requestid"), status, self._attempts.made))

    def failed(self, error: LambdaClientError, response: WireResponse | None = None) -> Again:
        """When to try again. Raises the error if that is not to be."""
        if isinstance(error, SignatureError) and response is not None and self._recovers(error, response):
            return Again(0.0)
        seconds = self._attempts.delay(error)
        if seconds is None:
            if isinstance(error, LambdaServiceException):
                error.attempts = self._attempts.made
            raise error
        return Again(seconds)

    def lost(self, problem: ExchangeError) -> Again:
        """When to try again after the request or its answer was lost. Raises TransportError if that is not to be."""
        error = transport_error(problem, self.command.operation, self._caller.resolved.endpoint.url)
        try:
            return self.failed(error)
        except type(error) as raised:
            raise raised from problem

    def _recovers(self, error: SignatureError, response: WireResponse) -> bool:
        """Whether the request may be right if it is signed once more: by the right clock, or with renewed keys."""
        if self._has_recovered:
            return False
        self._has_recovered = True
        skew = skew_of(response, time.time())
        caller = self._caller
        if skew is not None and abs(skew - caller.skew_seconds) > _TOLERATED_SECONDS:
            caller.skew_seconds = skew
            return True
        renew = getattr(caller.resolved.provider, "renew", None)
        if error.code in ("ExpiredTokenException", "UnrecognizedClientException") and renew is not None:
            renew()
            return True
        return False


_TOLERATED_SECONDS: Final = 240.0
"""Services take five minutes."""


def _check_expiry(credentials: Credentials) -> None:
    expires = credentials.expires_epoch_s
    if expires is not None and time.time() >= expires:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires))
        raise CredentialsError(f"the credentials of {credentials.access_key_id} expired at {when}: renew them")
