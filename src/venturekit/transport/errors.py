"""What can happen to a request on its way. The tree:

ExchangeError
├── ConnectError            no connection: nothing was sent
│   └── PoolError           every connection that may be open is in use
├── ClosedError             the connections were closed for good: nothing was sent
├── AnswerTimeoutError      no answer, or no more of it, in time
├── ConnectionLostError     the connection broke before the answer was whole
└── MalformedAnswerError    what came is no HTTP
"""

from __future__ import annotations


class EndpointError(ValueError):
    """An address that cannot be one; the text says why."""


class ExchangeError(Exception):
    """A request has failed on its way."""


class ConnectError(ExchangeError):
    """No connection was made: nothing was sent. ``reason`` says why, ``is_timeout``: it was not made in time."""

    def __init__(self, message: str, *, reason: str = "", is_timeout: bool = False) -> None:
        super().__init__(message)
        self.reason = reason or message
        self.is_timeout = is_timeout


class PoolError(ConnectError):
    """Every connection that may be open is in use, and none came back in time."""


class ClosedError(ExchangeError):
    """The connections were closed for good: nothing was sent."""


class AnswerTimeoutError(ExchangeError):
    """No answer, or no more of it, in time."""


class ConnectionLostError(ExchangeError):
    """The connection broke before the answer was whole."""


class MalformedAnswerError(ExchangeError):
    """What came is no HTTP, or more than it may be."""
