"""Patterns for calls that may fail or come too often: circuit breakers, and rate limiters with their stores.

Source: seed 001, ``@venturekit/runtime/patterns``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.breakers import CircuitBreaker, CircuitOpenError, configure_circuit_breaker
from venturekit.runtime.patterns.breakers import create_circuit_breaker as create_circuit_breaker

if TYPE_CHECKING:
    from venturekit.runtime.patterns.rate_limit_stores import (
        MemoryRateLimitStore,
        RateLimitStore,
        SqliteRateLimitStore,
    )
    from venturekit.runtime.patterns.rate_limit_stores_dynamodb import DynamoDbRateLimitStore
    from venturekit.runtime.patterns.rate_limiter import (
        RateLimitDecision,
        RateLimiter,
        create_default_rate_limiter,
        create_rate_limiter,
    )

_LATER: Final = {
    "DynamoDbRateLimitStore": "rate_limit_stores_dynamodb",
    "MemoryRateLimitStore": "rate_limit_stores",
    "RateLimitDecision": "rate_limiter",
    "RateLimitStore": "rate_limit_stores",
    "RateLimiter": "rate_limiter",
    "SqliteRateLimitStore": "rate_limit_stores",
    "create_default_rate_limiter": "rate_limiter",
    "create_rate_limiter": "rate_limiter",
}

__all__ = [
    "CircuitBreaker",
    "CircuitOpenError",
    "DynamoDbRateLimitStore",
    "MemoryRateLimitStore",
    "RateLimitDecision",
    "RateLimitStore",
    "RateLimiter",
    "SqliteRateLimitStore",
    "configure_circuit_breaker",
    "create_circuit_breaker",
    "create_default_rate_limiter",
    "create_rate_limiter",
]


def __getattr__(name: str) -> Any:
    """What is loaded when it is first asked for."""
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
