"""Patterns for calls that may fail: circuit breakers. Source: seed 001, ``@venturekit/runtime/patterns``."""

from __future__ import annotations

from venturekit.runtime.patterns.breakers import CircuitBreaker, CircuitOpenError, configure_circuit_breaker
from venturekit.runtime.patterns.breakers import create_circuit_breaker as create_circuit_breaker

__all__ = ["CircuitBreaker", "CircuitOpenError", "configure_circuit_breaker", "create_circuit_breaker"]
