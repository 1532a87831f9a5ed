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

    The transaction provider, the limits of the breakers and their store stay as the modules have set them up: a module
    does that when it is imported, which happens once. What a test sets in their place is taken back; what a store in
    memory knows of breakers is forgotten.
    """
    provider, limits = _settings()
    _forget_all_but(provider, limits)
    try:
        yield
    finally:
        # A module that is imported within the first test is not imported again for the second.
        set_since, limits_since = _settings()
        _forget_all_but(provider or set_since, limits or limits_since)


def _settings() -> tuple[Any, tuple[int, int, Any] | None]:
    state = _process.state
    made = state.breakers
    return state.transactions, made and (made.failure_threshold, made.reset_timeout_ms, made.store)


def _forget_all_but(provider: Any, limits: tuple[int, int, Any] | None) -> None:
    _process.reset()
    _process.state.transactions = provider
    if limits is not None:
        from venturekit.runtime.patterns.breakers import breakers
        from venturekit.runtime.patterns.record_stores import MemoryRecordStore

        if isinstance(limits[2], MemoryRecordStore):
            limits[2].clear()
        breakers().configure(*limits)
