"""The errors of the transport as the client raises them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.client import errors
from venturekit.transport import errors as transport

if TYPE_CHECKING:
    from venturekit.client.errors import TransportError

_KINDS: Final[tuple[tuple[type[transport.ExchangeError], type[TransportError]], ...]] = (
    (transport.PoolError, errors.PoolError),
    (transport.ConnectError, errors.ConnectError),
    (transport.AnswerTimeoutError, errors.AnswerTimeoutError),
    (transport.MalformedAnswerError, errors.MalformedAnswerError),
    (transport.ConnectionLostError, errors.ConnectionLostError),
)


def transport_error(problem: transport.ExchangeError, operation: str, url: str) -> TransportError:
    """The client's error of a failed exchange."""
    kind = next((ours for theirs, ours in _KINDS if isinstance(problem, theirs)), errors.TransportError)
    return kind(f"{operation} at {url}: {problem}")
