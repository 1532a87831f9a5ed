"""What the caller gets when a runtime does not answer an invocation as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.environments import failures
from venturekit.service.environments.failures import RESPONSE_LIMIT_BYTES

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.seats import Seat


def too_large(seat: Environment | Seat, limit_bytes: int = RESPONSE_LIMIT_BYTES) -> None:
    """The runtime posted more than the caller may get."""
    seat.answered(failures.response_too_large(limit_bytes), error=True)


def cut_off(seat: Environment | Seat) -> None:
    """The runtime's connection closed in the middle of its answer."""
    # Killed for its memory, it is answered for when it is gone: the cut is only how that shows.
    if not seat.over_memory:
        seat.answered(failures.truncated_response(seat.request_id), error=True)


def invalid_mode(seat: Environment | Seat, mode: bytes) -> None:
    """The runtime named an unknown response mode."""
    seat.answered(failures.invalid_response_mode(seat.request_id, mode), error=True)
