"""What can go wrong with connections. The tree:

ConnectionNotFoundError     nobody knows such a connection (any more)
TokenError                  a token that is not accepted; the client is told its ``reason``
ManagementError             the management API of the connections did not do what it was asked
├── MessageTooLargeError    more than it carries
├── ManagementAccessError   this function may not call it
├── ManagementThrottledError  it has no room for the call now
└── ManagementTransportError  no connection, it broke, or no answer in time
"""

from __future__ import annotations


class ConnectionNotFoundError(LookupError):
    """There is no such connection, or its time is over: what never authenticates is forgotten after 30 seconds."""

    def __init__(self, connection_id: str) -> None:
        super().__init__(connection_id)
        self.connection_id = connection_id

    def __str__(self) -> str:
        return f"there is no connection {self.connection_id!r}, or it has expired"


class TokenError(Exception):
    """A token is not accepted: raised by a function that verifies tokens, like ``TokenError("revoked_token")``.

    ``reason`` is one word for the client: it should say nothing that helps to forge one.
    """

    def __init__(self, reason: str = "invalid_token") -> None:
        super().__init__(reason)
        self.reason = reason


class ManagementError(Exception):
    """A call of the management API has failed; ``status_code`` is what it answered, None when it did not."""

    def __init__(self, message: str, *, connection_id: str = "", status_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.connection_id = connection_id
        self.status_code = status_code


class MessageTooLargeError(ManagementError):
    """A message has more bytes than a WebSocket API carries: 128 KB."""


class ManagementAccessError(ManagementError):
    """This function may not call it: its role needs ``execute-api:ManageConnections``."""


class ManagementThrottledError(ManagementError):
    """It has no room for the call now, and had none when the call was tried again."""


class ManagementTransportError(ManagementError, ConnectionError):
    """No connection, it broke, or no answer in time. Whether the message arrived is not known."""
