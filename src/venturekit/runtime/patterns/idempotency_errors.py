"""What keeps a call with an idempotency key from running, and what is said when its result cannot be given again."""

from __future__ import annotations

from typing import Final

from venturekit.runtime.errors import ConflictError, VentureError

RETRY_AFTER_SECONDS: Final = "1"


class IdempotencyPendingError(ConflictError):
    """409: another call with this key is running; ``Retry-After`` says when to ask again.

    Source: the idempotency guide, a pending record.
    """

    code = "IDEMPOTENCY_PENDING"

    def __init__(self) -> None:
        super().__init__("A call with this idempotency key is running: ask again when it has ended")
        self.headers = {"Retry-After": RETRY_AFTER_SECONDS}


class IdempotencyKeyReusedError(VentureError):
    """422: this key was used for something else: the payload is not that of the first call."""

    status_code = 422
    code = "IDEMPOTENCY_KEY_REUSED"

    def __init__(self) -> None:
        super().__init__("This idempotency key belongs to a call with another payload: use a new key")


class IdempotencyResultError(Exception):
    """The call of this key has run, once, but its result could not be kept; the text says why. Nothing ran now."""
