"""What can go wrong, by whose fault it is.

ClientError
├─ FaultError               the function's or the event's: reported to the Runtime API in AWS's words, the loop goes on
├─ ResponseStreamError      raised in the function: its response stream takes nothing more
└─ RuntimeApiError          the Runtime API's: the execution environment cannot go on
   ├─ ConnectionLostError   it went away in the middle of an exchange
   │  └─ ApiGoneError       it went away before it began to answer: while idle, an ordinary end
   ├─ ProtocolError         it answered something that is not its protocol
   └─ RequestRefusedError   it answered with a status that leaves nothing to do
"""

from __future__ import annotations

MARSHAL_ERROR = "Runtime.MarshalError"
UNMARSHAL_ERROR = "Runtime.UnmarshalError"
CONTEXT_UNMARSHAL_ERROR = "Runtime.LambdaContextUnmarshalError"
IMPORT_MODULE_ERROR = "Runtime.ImportModuleError"
BUILT_IN_MODULE_CONFLICT = "Runtime.BuiltInModuleConflict"
HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
MALFORMED_HANDLER_NAME = "Runtime.MalformedHandlerName"
USER_CODE_SYNTAX_ERROR = "Runtime.UserCodeSyntaxError"
BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"


class ClientError(Exception):
    """Base of everything this package raises by itself."""


class FaultError(ClientError):
    """A failure the runtime found itself, reported under one of the `Runtime.*` error types."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace or []


class ResponseStreamError(ClientError, OSError):
    """The response stream is closed, or it is too late for what was asked of it."""


class RuntimeApiError(ClientError):
    """The Runtime API cannot be talked to any more."""


class ConnectionLostError(RuntimeApiError):
    """The connection broke in the middle of an exchange, or could not be made."""


class ApiGoneError(ConnectionLostError):
    """The Runtime API closed the connection instead of beginning an answer."""


class ProtocolError(RuntimeApiError):
    """The answer was not what HTTP/1.1 or the Runtime API allows."""


class RequestRefusedError(RuntimeApiError):
    """The Runtime API refused a request and the environment cannot go on without it."""
