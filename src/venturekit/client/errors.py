"""Everything that can go wrong with a call. The tree:

LambdaClientError
├── ClientConfigError                       the configuration makes no client (a ValueError)
│   └── CredentialsError                    no access key, or none that is still valid
├── ParameterValidationError                refused before anything was sent (a ValueError)
│   ├── PayloadError                        the payload cannot be serialized
│   └── PayloadTooLargeError                it is larger than Lambda takes
├── TransportError                          the request or its answer was lost (a ConnectionError)
│   ├── ConnectError                        no connection: nothing was sent
│   │   └── PoolError                       all connections that may be open are in use
│   ├── AnswerTimeoutError                  no answer in time (a TimeoutError)
│   ├── ConnectionLostError                 the connection broke before the answer was whole
│   ├── MalformedAnswerError                what answered is no Lambda service
│   └── StreamError                         a stream of events is damaged, or ended without its last event
├── LambdaServiceException                  the service refused; those below are in service_errors.py
│   ├── ThrottledError                      later it may do it
│   │   ├── EC2ThrottledException
│   │   ├── ThrottlingException
│   │   └── TooManyRequestsException
│   ├── SignatureError                      it does not know who asks
│   │   ├── ExpiredTokenException
│   │   ├── IncompleteSignature
│   │   ├── IncompleteSignatureException
│   │   ├── InvalidSignatureException
│   │   ├── MissingAuthenticationTokenException
│   │   ├── RequestExpired
│   │   └── UnrecognizedClientException
│   │   (the errors of the model)
│   ├── AliasLimitExceededException
│   ├── CallbackTimeoutException
│   ├── CapacityProviderLimitExceededException
│   ├── CodeArtifactUserDeletedException
│   ├── CodeArtifactUserFailedException
│   ├── CodeArtifactUserPendingException
│   ├── CodeSigningConfigNotFoundException
│   ├── CodeStorageExceededException
│   ├── CodeVerificationFailedException
│   ├── DurableExecutionAlreadyStartedException
│   ├── EC2AccessDeniedException
│   ├── EC2UnexpectedException
│   ├── EFSIOException
│   ├── EFSMountConnectivityException
│   ├── EFSMountFailureException
│   ├── EFSMountTimeoutException
│   ├── ENILimitReachedException
│   ├── ENINotReadyException
│   ├── FunctionVersionsPerCapacityProviderLimitExceededException
│   ├── InvalidCodeSignatureException
│   ├── InvalidParameterValueException
│   ├── InvalidRequestContentException
│   ├── InvalidRuntimeException
│   ├── InvalidSecurityGroupIDException
│   ├── InvalidSubnetIDException
│   ├── InvalidZipFileException
│   ├── KMSAccessDeniedException
│   ├── KMSDisabledException
│   ├── KMSInvalidStateException
│   ├── KMSNotFoundException
│   ├── ModeNotSupportedException
│   ├── NoPublishedVersionException
│   ├── PolicyLengthExceededException
│   ├── PreconditionFailedException
│   ├── ProvisionedConcurrencyConfigNotFoundException
│   ├── PublicPolicyException
│   ├── RecursiveInvocationException
│   ├── RequestTooLargeException
│   ├── ResourceConflictException
│   ├── ResourceInUseException
│   ├── ResourceNotFoundException
│   ├── ResourceNotReadyException
│   ├── RuntimeAliasDeletedException
│   ├── RuntimeVersionDeletedException
│   ├── S3FilesMountConnectivityException
│   ├── S3FilesMountFailureException
│   ├── S3FilesMountTimeoutException
│   ├── SerializedRequestEntityTooLargeException
│   ├── ServiceException
│   ├── ServiceQuotaExceededException
│   ├── SnapStartException
│   ├── SnapStartNotReadyException
│   ├── SnapStartRegenerationFailureException
│   ├── SnapStartTimeoutException
│   ├── SubnetIPAddressLimitReachedException
│   ├── UnsupportedMediaTypeException
│   │   (what the model does not name and the service answers)
│   ├── AccessDeniedException
│   ├── InternalFailure
│   ├── MalformedHttpRequestException
│   ├── NotAuthorized
│   ├── OptInRequired
│   ├── RequestAbortedException
│   ├── RequestEntityTooLargeException
│   ├── RequestTimeoutException
│   ├── ServiceUnavailable
│   ├── UnknownOperationException
│   └── ValidationException
├── LambdaInvocationError                   the function failed
│   └── StreamInvocationError               after its stream had begun
├── OperationError                          there is no such operation, or none that can be called by name
├── PaginationError                         the pages of a list have no end
├── WaiterError                             what was waited for has not come, or cannot come any more
└── ClientClosedError                       the client was closed

Sources: the botocore model ``lambda/2015-03-31``; AWS Lambda API reference, "Common Error Types"; seeds 002 and 003.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.client.invocation import InvocationResponse


_FAILURES: Final = (500, 502, 503, 504)


class LambdaClientError(Exception):
    """A call has failed. ``retryable``: another try may succeed.

    ``outcome_unknown``: this one may have been carried out all the same; an invocation that is repeated may run twice.
    """

    retryable = False
    outcome_unknown = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        # Derived classes are made of other arguments than of a message, and have to pass from process to process.
        return _rebuilt, (type(self), self.args, self.__dict__)


class ClientConfigError(LambdaClientError, ValueError):
    """The configuration makes no client; the text says what is missing or wrong."""


class CredentialsError(ClientConfigError):
    """There is no access key to sign with, or none that is still valid."""


class ParameterValidationError(LambdaClientError, ValueError):
    """An input breaks a constraint: nothing was sent. ``problems`` has one sentence for each."""

    def __init__(self, operation: str, problems: list[str]) -> None:
        super().__init__(f"{operation}: {'; '.join(problems)}")
        self.operation = operation
        self.problems = problems


class PayloadError(ParameterValidationError):
    """The payload cannot be serialized."""


class PayloadTooLargeError(ParameterValidationError):
    """The payload is larger than Lambda takes."""


class TransportError(LambdaClientError, ConnectionError):
    """The request or its answer was lost. ``outcome_unknown``: it may have been carried out all the same."""

    outcome_unknown = True


class ConnectError(TransportError):
    """No connection was made: nothing was sent."""

    outcome_unknown = False
    retryable = True


class PoolError(ConnectError):
    """All connections that may be open are in use, and none came back in time."""


class AnswerTimeoutError(TransportError, TimeoutError):
    """No answer came in time, or no more of it."""


class ConnectionLostError(TransportError):
    """The connection broke before the answer was whole."""


class MalformedAnswerError(TransportError):
    """What answered is no Lambda service."""


class StreamError(TransportError):
    """A stream of events is damaged, or ended without its last event."""


class LambdaServiceException(LambdaClientError):
    """The service refused the request, or failed (seed 002). Codes that have no class of their own have this one.

    ``code`` is AWS's name of the error (``name`` is the same, as seed 002 has it), ``status`` the HTTP status,
    ``request_id`` AWS's id of the request or None, ``details`` the body of the answer, ``retry_after`` the seconds that
    the service wants one to wait, or None. ``is_throttle``: it was refused for its rate; ``is_transient``: another time
    it may go. For an Invoke of both kinds the function has not run.
    """

    status: int = 0
    is_throttle: ClassVar[bool] = False
    is_transient: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = type(self).__name__ if code is None else code
        if status is not None:
            self.status = status
        self.request_id = request_id
        self.details = {} if details is None else dict(details)
        self.retry_after = retry_after
        self.attempts = 1

    @property
    def name(self) -> str:
        """The same as ``code``."""
        return self.code

    @property
    def retryable(self) -> bool:  # type: ignore[override]
        """Whether another try may succeed."""
        return self.is_throttle or self.is_transient or self.outcome_unknown

    @property
    def outcome_unknown(self) -> bool:  # type: ignore[override]
        """Whether the request may have been carried out all the same: the service failed, and not before it began."""
        return self.status in _FAILURES and not (self.is_throttle or self.is_transient)

    @property
    def reason(self) -> str | None:
        """Which limit was met, of a throttle: ``ReservedFunctionConcurrentInvocationLimitExceeded`` for example."""
        reason = self.details.get("Reason")
        return reason if isinstance(reason, str) else None

    def __str__(self) -> str:
        described = f"{self.code}: {self.message}" if self.message else f"{self.code}, without a reason"
        tries = f" (after {self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{described}{tries}"


class ThrottledError(LambdaServiceException):
    """The service refused for the rate or the number of requests; later it may do it."""

    is_throttle = True


class SignatureError(LambdaServiceException):
    """The service does not know who asks."""


class LambdaInvocationError(LambdaClientError):
    """The function failed: it raised an error, timed out or crashed (seed 003). ``response`` is its answer.

    ``error_type``, ``error_message`` and ``stack_trace`` are what the answer says, where it does.
    """

    def __init__(self, message: str, response: InvocationResponse, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.response = response
        self.function_error = response.function_error
        found = {} if details is None else details
        self.error_type = _text_of(found.get("errorType"))
        self.error_message = _text_of(found.get("errorMessage"))
        trace = found.get("stackTrace") or found.get("trace")
        self.stack_trace: list[Any] = trace if isinstance(trace, list) else []


class StreamInvocationError(LambdaInvocationError):
    """The function failed after its stream had begun; ``response.payload`` is empty, for the chunks were handed out."""


class OperationError(LambdaClientError, ValueError):
    """There is no operation of this name, or it cannot be called by its name; the text says which can."""


class PaginationError(LambdaClientError):
    """The service has given one marker twice: the pages of its list would have no end."""


class WaiterError(LambdaClientError):
    """What was waited for has not come in time, or cannot come any more. ``last`` is what was last seen."""

    def __init__(self, message: str, last: object = None) -> None:
        super().__init__(message)
        self.last = last


class ClientClosedError(LambdaClientError):
    """The client was closed."""


def _text_of(value: Any) -> str | None:
    # Functions may answer anything.
    return value if value is None or isinstance(value, str) else str(value)


def _rebuilt(kind: type[LambdaClientError], args: tuple[Any, ...], state: Mapping[str, Any]) -> LambdaClientError:
    made = kind.__new__(kind, *args)
    made.args = args
    made.__dict__.update(state)
    return made
