"""Patterns for calls that may fail or come too often: circuit breakers, and rate limiters with their stores.

Source: seed 001, ``@venturekit/runtime/patterns``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.breakers import (
    BreakerReport,
    CircuitBreaker,
    CircuitOpenError,
    configure_circuit_breaker,
    list_circuit_breakers,
)
from venturekit.runtime.patterns.breakers import create_circuit_breaker as create_circuit_breaker

if TYPE_CHECKING:
    from venturekit.runtime.patterns.breaker_stores import (
        create_default_breaker_store,
        create_dynamodb_breaker_store,
        create_memory_breaker_store,
        create_redis_breaker_store,
        create_sqlite_breaker_store,
    )
    from venturekit.runtime.patterns.idempotency_errors import (
        IdempotencyKeyReusedError,
        IdempotencyPendingError,
        IdempotencyResultError,
    )
    from venturekit.runtime.patterns.idempotency_stores import (
        create_default_idempotency_store,
        create_dynamodb_idempotency_store,
        create_memory_idempotency_store,
        create_redis_idempotency_store,
        create_sqlite_idempotency_store,
    )
    from venturekit.runtime.patterns.idempotent_functions import idempotent
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
    from venturekit.runtime.patterns.record_checks import (
        ForeignRecordError,
        RecordStoreError,
        RecordValueError,
        StoreFullError,
    )
    from venturekit.runtime.patterns.record_stores import MemoryRecordStore
    from venturekit.runtime.patterns.record_stores_dynamodb import DynamoDbRecordStore
    from venturekit.runtime.patterns.record_stores_redis import RedisRecordStore
    from venturekit.runtime.patterns.record_stores_sqlite import SqliteRecordStore
    from venturekit.runtime.patterns.records import Record, RecordPage, RecordStore
    from venturekit.runtime.patterns.saga_definition import SagaGroup, SagaStep, parallel, step
    from venturekit.runtime.patterns.saga_errors import (
        SagaBusyError,
        SagaChangedError,
        SagaCompensationError,
        SagaContextError,
        SagaDefinitionError,
        SagaError,
        SagaIdInUseError,
        SagaNotFoundError,
        SagaRecordError,
        SagaStepTimeoutError,
        SagaSuspendedError,
    )
    from venturekit.runtime.patterns.saga_record import SagaRecord, SagaResult, SagaStatus, StepRecord, StepState
    from venturekit.runtime.patterns.saga_runs import Saga, SagaPage, saga
    from venturekit.runtime.patterns.saga_stores import (
        create_default_saga_store,
        create_dynamodb_saga_store,
        create_memory_saga_store,
        create_redis_saga_store,
        create_sqlite_saga_store,
    )
    from venturekit.runtime.patterns.shared_breakers import (
        SharedBreakerReport,
        alist_shared_breakers,
        list_shared_breakers,
    )

_LATER: Final = {
    "DynamoDbRateLimitStore": "rate_limit_stores_dynamodb",
    "DynamoDbRecordStore": "record_stores_dynamodb",
    "ForeignRecordError": "record_checks",
    "IdempotencyKeyReusedError": "idempotency_errors",
    "IdempotencyPendingError": "idempotency_errors",
    "IdempotencyResultError": "idempotency_errors",
    "MemoryRateLimitStore": "rate_limit_stores",
    "MemoryRecordStore": "record_stores",
    "RateLimitDecision": "rate_limiter",
    "RateLimitStore": "rate_limit_stores",
    "RateLimiter": "rate_limiter",
    "Record": "records",
    "RecordPage": "records",
    "RecordStore": "records",
    "RecordStoreError": "record_checks",
    "RecordValueError": "record_checks",
    "RedisRecordStore": "record_stores_redis",
    "Saga": "saga_runs",
    "SagaBusyError": "saga_errors",
    "SagaChangedError": "saga_errors",
    "SagaCompensationError": "saga_errors",
    "SagaContextError": "saga_errors",
    "SagaDefinitionError": "saga_errors",
    "SagaError": "saga_errors",
    "SagaGroup": "saga_definition",
    "SagaIdInUseError": "saga_errors",
    "SagaNotFoundError": "saga_errors",
    "SagaPage": "saga_runs",
    "SagaRecord": "saga_record",
    "SagaRecordError": "saga_errors",
    "SagaResult": "saga_record",
    "SagaStatus": "saga_record",
    "SagaStep": "saga_definition",
    "SagaStepTimeoutError": "saga_errors",
    "SagaSuspendedError": "saga_errors",
    "SharedBreakerReport": "shared_breakers",
    "SqliteRateLimitStore": "rate_limit_stores",
    "SqliteRecordStore": "record_stores_sqlite",
    "StepRecord": "saga_record",
    "StepState": "saga_record",
    "StoreFullError": "record_checks",
    "alist_shared_breakers": "shared_breakers",
    "create_default_breaker_store": "breaker_stores",
    "create_default_idempotency_store": "idempotency_stores",
    "create_default_rate_limiter": "rate_limiter",
    "create_default_saga_store": "saga_stores",
    "create_dynamodb_breaker_store": "breaker_stores",
    "create_dynamodb_idempotency_store": "idempotency_stores",
    "create_dynamodb_saga_store": "saga_stores",
    "create_memory_breaker_store": "breaker_stores",
    "create_memory_idempotency_store": "idempotency_stores",
    "create_memory_saga_store": "saga_stores",
    "create_rate_limiter": "rate_limiter",
    "create_redis_breaker_store": "breaker_stores",
    "create_redis_idempotency_store": "idempotency_stores",
    "create_redis_saga_store": "saga_stores",
    "create_sqlite_breaker_store": "breaker_stores",
    "create_sqlite_idempotency_store": "idempotency_stores",
    "create_sqlite_saga_store": "saga_stores",
    "idempotent": "idempotent_functions",
    "list_shared_breakers": "shared_breakers",
    "parallel": "saga_definition",
    "saga": "saga_runs",
    "step": "saga_definition",
}

__all__ = [
    "BreakerReport",
    "CircuitBreaker",
    "CircuitOpenError",
    "DynamoDbRateLimitStore",
    "DynamoDbRecordStore",
    "ForeignRecordError",
    "IdempotencyKeyReusedError",
    "IdempotencyPendingError",
    "IdempotencyResultError",
    "MemoryRateLimitStore",
    "MemoryRecordStore",
    "RateLimitDecision",
    "RateLimitStore",
    "RateLimiter",
    "Record",
    "RecordPage",
    "RecordStore",
    "RecordStoreError",
    "RecordValueError",
    "RedisRecordStore",
    "Saga",
    "SagaBusyError",
    "SagaChangedError",
    "SagaCompensationError",
    "SagaContextError",
    "SagaDefinitionError",
    "SagaError",
    "SagaGroup",
    "SagaIdInUseError",
    "SagaNotFoundError",
    "SagaPage",
    "SagaRecord",
    "SagaRecordError",
    "SagaResult",
    "SagaStatus",
    "SagaStep",
    "SagaStepTimeoutError",
    "SagaSuspendedError",
    "SharedBreakerReport",
    "SqliteRateLimitStore",
    "SqliteRecordStore",
    "StepRecord",
    "StepState",
    "StoreFullError",
    "alist_shared_breakers",
    "configure_circuit_breaker",
    "create_circuit_breaker",
    "create_default_breaker_store",
    "create_default_idempotency_store",
    "create_default_rate_limiter",
    "create_default_saga_store",
    "create_dynamodb_breaker_store",
    "create_dynamodb_idempotency_store",
    "create_dynamodb_saga_store",
    "create_memory_breaker_store",
    "create_memory_idempotency_store",
    "create_memory_saga_store",
    "create_rate_limiter",
    "create_redis_breaker_store",
    "create_redis_idempotency_store",
    "create_redis_saga_store",
    "create_sqlite_breaker_store",
    "create_sqlite_idempotency_store",
    "create_sqlite_saga_store",
    "idempotent",
    "list_circuit_breakers",
    "list_shared_breakers",
    "parallel",
    "saga",
    "step",
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
