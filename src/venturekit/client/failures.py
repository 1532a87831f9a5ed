"""The errors of the transport as the client raises them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.client import errors
from venturekit.transport import errors as transport

if TYPE_CHECKING:
    from venturekit.client.errors import LambdaClientError

_KINDS: Final[tuple[tuple[type[transport.ExchangeError], type[LambdaClientError]], ...]] = (
    (transport.PoolError, errors.PoolError),
    (transport.ConnectError, errors.ConnectError),
    (transport.ClosedError, errors.ClientClosedError),
    (transport.AnswerTimeoutError, errors.AnswerTimeoutError),
    (transport.MalformedAnswerError, errors.MalformedAnswerError),
    (transport.ConnectionLostError, errors.ConnectionLostError),
)


def transport_error(problem: transport.ExchangeError, operation: str, url: str) -> LambdaClientError:
    """The client's error of a failed exchange."""
    kind = next((ours for theirs, ours in _KINDS if isinstance(problem, theirs)), errors.TransportError)
    return kind(f"{operation} at {url}: {problem}")
