"""What a handler raises to answer with an error. The tree:

    VentureError                     500  (base: status and code are its arguments)
    ├── BadRequestError              400  BAD_REQUEST
    ├── UnauthorizedError            401  UNAUTHORIZED
    ├── ForbiddenError               403  FORBIDDEN
    ├── NotFoundError                404  NOT_FOUND
    ├── ConflictError                409  CONFLICT
    ├── PayloadTooLargeError         413  PAYLOAD_TOO_LARGE
    ├── ValidationError              422  VALIDATION_ERROR
    ├── RateLimitError               429  RATE_LIMITED
    ├── InternalError                500  INTERNAL_ERROR
    └── ServiceUnavailableError      503  SERVICE_UNAVAILABLE

    TaskError                             what goes wrong with a task
    ├── TaskValidationError               its event is not what its schema says
    └── TaskTimeoutError                  one attempt took longer than it may

Source: seed 001, table of errors, and the error handling guide: names, statuses, codes, the texts of NotFoundError and
ServiceUnavailableError, ``details``. The other default texts are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self, TypeGuard

    from venturekit.runtime.schema import Issue


class VentureError(Exception):
    """An error that a caller may see: message, code and details are sent, the traceback never is.

    ``status_code`` is the HTTP status, ``code`` a word for programs, ``details`` anything JSON holds, ``headers`` what
    the response gets besides. Make your own by deriving from it::

        class OutOfStockError(VentureError):
            status_code = 409
            code = "OUT_OF_STOCK"

    Source: seed 001, ``VentureError``.
    """

    status_code: int = 500
    code: str = "INTERNAL_ERROR"
    message: str
    details: dict[str, Any]
    headers: dict[str, str]

    def __new__(cls, *arguments: object, **_: object) -> Self:
        # A derived class whose constructor forgets to call this one's is an error that can be answered all the same.
        made = super().__new__(cls, *arguments)
        made.message, made.details, made.headers = "Internal server error", {}, {}
        return made

    def __init__(
        self,
        message: str = "Internal server error",
        *,
        status_code: int | None = None,
        code: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if status_code is not None:
            self.status_code = status_code
        if code is not None:
            self.code = code
        self.details = dict(details or {})
        self.headers = dict(headers or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)

    def to_dict(self) -> dict[str, Any]:
        """The ``error`` object of the response: ``code``, ``message`` and, where there are any, ``details``."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.details:
            error["details"] = self.details
        return error


class BadRequestError(VentureError):
    """400: the request cannot be understood. ``raise BadRequestError("The date is in the past")``"""

    status_code = 400
    code = "BAD_REQUEST"

    def __init__(self, message: str = "Bad request", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class UnauthorizedError(VentureError):
    """401: nobody knows who asks. ``raise UnauthorizedError("The token has expired")``"""

    status_code = 401
    code = "UNAUTHORIZED"

    def __init__(self, message: str = "Unauthorized", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class ForbiddenError(VentureError):
    """403: whoever asks may not. ``raise ForbiddenError("Only owners delete projects")``"""

    status_code = 403
    code = "FORBIDDEN"

    def __init__(self, message: str = "Forbidden", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class NotFoundError(VentureError):
    """404: ``raise NotFoundError("Task", "123")`` says ``Task '123' not found``."""

    status_code = 404
    code = "NOT_FOUND"

    def __init__(self, resource: str = "Resource", id: object = None) -> None:
        details: dict[str, Any] = {"resource": resource}
        if id is not None:
            details["id"] = id
        super().__init__(f"{resource} not found" if id is None else f"{resource} '{id}' not found", details=details)


class ConflictError(VentureError):
    """409: it contradicts what there is. ``raise ConflictError("This address is taken")``"""

    status_code = 409
    code = "CONFLICT"

    def __init__(self, message: str = "Conflict", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class PayloadTooLargeError(VentureError):
    """413: more than is taken. ``raise PayloadTooLargeError("Images have 2 MB at most")``"""

    status_code = 413
    code = "PAYLOAD_TOO_LARGE"

    def __init__(self, message: str = "Payload too large", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class ValidationError(VentureError):
    """422: ``raise ValidationError("Validation failed", {"email": ["is taken"]})``, sent as ``details.fields``."""

    status_code = 422
    code = "VALIDATION_ERROR"

    def __init__(
        self, message: str = "Validation failed", fields: Mapping[str, str | Sequence[str]] | None = None
    ) -> None:
        # One message need not be put into a list.
        self.fields = {
            name: [messages] if isinstance(messages, str) else list(messages)
            for name, messages in (fields or {}).items()
        }
        super().__init__(message, details={"fields": self.fields} if self.fields else None)


class RateLimitError(VentureError):
    """429: ``raise RateLimitError(30)`` asks to come back in 30 seconds, by the header ``Retry-After`` too."""

    status_code = 429
    code = "RATE_LIMITED"

    def __init__(self, retry_after_seconds: float | None = None, message: str = "Too many requests") -> None:
        self.retry_after_seconds = retry_after_seconds
        # Whole seconds, rounded up: whoever comes back a moment too early is refused again.
        seconds = None if retry_after_seconds is None else max(0, -int(-retry_after_seconds // 1))
        super().__init__(
            message,
            details=None if seconds is None else {"retryAfter": seconds},
            headers=None if seconds is None else {"Retry-After": str(seconds)},
        )


class InternalError(VentureError):
    """500: ``raise InternalError()``. Its message is sent, so it should say nothing that is nobody's business."""

    status_code = 500
    code = "INTERNAL_ERROR"

    def __init__(self, message: str = "Internal server error", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, details=details)


class ServiceUnavailableError(VentureError):
    """503: ``raise ServiceUnavailableError("Payments")`` says ``Payments is currently unavailable``."""

    status_code = 503
    code = "SERVICE_UNAVAILABLE"

    def __init__(self, name: str = "Service", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{name} is currently unavailable", details=details)


class TaskError(Exception):
    """What goes wrong with a task before or around its function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self.args, self.__dict__)


class TaskValidationError(TaskError):
    """The event of a task is not what its schema says; ``issues`` tells where. Never retried.

    Source: seed 001, ``TaskValidationError``.
    """

    def __init__(self, issues: Sequence[Issue], message: str | None = None) -> None:
        self.issues = list(issues)
        if message is None:
            told = "; ".join(f"{issue.field or 'the event'}: {issue.message}" for issue in self.issues[:5])
            message = f"the event is not valid: {told}" if told else "the event is not valid"
        super().__init__(message)


class TaskTimeoutError(TaskError, TimeoutError):
    """One attempt of a task took longer than its ``timeout_ms``."""

    def __init__(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms
        super().__init__(f"the task did not end within {timeout_ms} ms")


def _restored(kind: type[Exception], arguments: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    """An error that was pickled: its constructor has other parameters than what it keeps."""
    made = kind.__new__(kind)
    made.args = arguments
    made.__dict__.update(state)
    return made


def is_venture_error(error: object) -> TypeGuard[VentureError]:
    """Whether something is an error of this tree: ``if is_venture_error(error): print(error.code)`` (seed 001)."""
    return isinstance(error, VentureError)
