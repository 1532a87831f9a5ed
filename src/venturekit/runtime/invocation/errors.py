"""What can go wrong with a call to another function. The tree:

InvokeError
├── TargetNotFoundError     there is no such function
├── AccessDeniedError       this function may not call it
├── ThrottledError          it has no room for the call now
├── InvokeTimeoutError      no answer in time
├── TransportError          no connection, or it broke
├── FunctionFailedError     it raised an error, timed out or crashed
├── BadResponseError        it answered what cannot be read
└── ServerStatusError       a route answered 500 or above
"""

from __future__ import annotations

from typing import Any


class InvokeError(Exception):
    """A call has failed. ``target`` is the name of the Lambda function, ``status_code`` the status that there was.

    ``details`` is what the other side said, a function's ``errorType`` and ``errorMessage`` for example. Derived
    classes say what kind of failure it is.
    """

    kind = "failed"

    def __init__(self, message: str, *, target: str = "", status_code: int | None = None, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.target = target
        self.status_code = status_code
        self.details = details


class TargetNotFoundError(InvokeError):
    """There is no such function."""

    kind = "target_not_found"


class AccessDeniedError(InvokeError):
    """This function may not call it: its role needs ``lambda:InvokeFunction``."""

    kind = "access_denied"


class ThrottledError(InvokeError):
    """It has no room for the call now; later it may."""

    kind = "throttled"


class InvokeTimeoutError(InvokeError, TimeoutError):
    """No answer in time. Whether the function ran is not known."""

    kind = "timeout"


class TransportError(InvokeError, ConnectionError):
    """No connection, or it broke. Whether the function ran is not known, unless no connection was made."""

    kind = "transport"


class FunctionFailedError(InvokeError):
    """The function raised an error, timed out or crashed; ``details`` has ``errorType`` and ``errorMessage``."""

    kind = "function_error"


class BadResponseError(InvokeError):
    """It answered, but not what was asked for."""

    kind = "bad_response"


class ServerStatusError(InvokeError):
    """A route answered 500 or above; ``details`` is the ``error`` object of its body."""

    kind = "server_status"
