"""What of the framework's state of the process is a test's, and what belongs to the modules that are tested."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def between_tests() -> Iterator[None]:
    """Forgets before and after a test what tests leave: the default invoker, counts of breakers, clocks, event loops.

    The transaction provider and the limits of the breakers stay as the modules have set them up: a module does that
    when it is imported, which happens once. What a test sets in their place is taken back.
    """
    provider, limits = _settings()
    _forget_all_but(provider, limits)
    try:
        yield
    finally:
        # A module that is imported within the first test is not imported again for the second.
        set_since, limits_since = _settings()
        _forget_all_but(provider or set_since, limits or limits_since)


def _settings() -> tuple[Any, tuple[int, int] | None]:
    state = _process.state
    limits = state.breakers and (state.breakers.failure_threshold, state.breakers.reset_timeout_ms)
    return state.transactions, limits


def _forget_all_but(provider: Any, limits: tuple[int, int] | None) -> None:
    _process.reset()
    _process.state.transactions = provider
    if limits is not None:
        from venturekit.runtime.patterns.breakers import breakers

        breakers().configure(*limits)
