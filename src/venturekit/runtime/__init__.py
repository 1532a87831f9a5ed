"""The framework: what the author of a function imports.

    from venturekit.runtime import handler, invoke

    @handler(scopes=["orders:write"])
    def main(body, ctx, logger):
        user = invoke("users/{id}", method="GET", path_params={"id": body["userId"]}).data
        return {"orderedBy": user["name"]}

What every function needs is loaded at once; calls to other functions and the middleware when they are first asked for.
Source: seeds 000 and 001, their names in snake_case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import (
    BaseContext,
    RequestContext,
    TaskContext,
    TenantContext,
    UserContext,
    current_context,
)
from venturekit.runtime.errors import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InternalError,
    NotFoundError,
    PayloadTooLargeError,
    RateLimitError,
    ServiceUnavailableError,
    TaskError,
    TaskTimeoutError,
    TaskValidationError,
    UnauthorizedError,
    ValidationError,
    VentureError,
    is_venture_error,
)
from venturekit.runtime.http_handlers import Handler, build_context, handler
from venturekit.runtime.identity import extract_user_context
from venturekit.runtime.locale import extract_locale
from venturekit.runtime.logs import Logger, create_logger, logger
from venturekit.runtime.middleware.base import Middleware, MiddlewareError, compose
from venturekit.runtime.request_event import InvalidEventError
from venturekit.runtime.responses import (
    Response,
    created,
    error,
    error_response,
    no_content,
    redirect,
    stream,
    success,
)
from venturekit.runtime.schema import Issue, Schema, SchemaError
from venturekit.runtime.tasks import TaskHandler, task_handler
from venturekit.runtime.transactions import (
    DbApiTransactions,
    SqlAlchemyTransactions,
    TransactionError,
    TransactionProvider,
    set_transaction_provider,
)
from venturekit.runtime.wrapped import HandlerConfigError

if TYPE_CHECKING:
    from venturekit.runtime.batch_records import BatchFailedError, BatchRecord
    from venturekit.runtime.batches import BatchHandler, batch_handler
    from venturekit.runtime.invocation.call import (
        Invoker,
        ainvoke,
        create_invoker,
        default_function_name_resolver,
        invoke,
    )
    from venturekit.runtime.invocation.errors import InvokeError
    from venturekit.runtime.invocation.invokers import create_lambda_invoker, create_local_invoker
    from venturekit.runtime.invocation.request import LambdaInvoker
    from venturekit.runtime.invocation.result import InvokeResult
    from venturekit.runtime.logging_bridge import bridge_logging
    from venturekit.runtime.middleware.api_keys import api_key_auth_middleware, hash_api_key
    from venturekit.runtime.middleware.cors import cors_middleware
    from venturekit.runtime.middleware.error_boundaries import error_boundary_middleware
    from venturekit.runtime.middleware.idempotency import idempotency_middleware
    from venturekit.runtime.middleware.rate_limits import rate_limit_middleware
    from venturekit.runtime.middleware.request_ids import request_id_middleware
    from venturekit.runtime.middleware.request_logs import logging_middleware
    from venturekit.runtime.middleware.timeouts import RequestTimeoutError, timeout_middleware
    from venturekit.runtime.middleware.timings import timing_middleware
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
    from venturekit.runtime.patterns.rate_limiter import (
        RateLimitDecision,
        RateLimiter,
        create_default_rate_limiter,
        create_rate_limiter,
    )
    from venturekit.runtime.patterns.saga_definition import parallel, step
    from venturekit.runtime.patterns.saga_errors import (
        SagaBusyError,
        SagaCompensationError,
        SagaError,
        SagaSuspendedError,
    )
    from venturekit.runtime.patterns.saga_record import SagaResult
    from venturekit.runtime.patterns.saga_runs import saga
    from venturekit.runtime.patterns.saga_stores import (
        create_default_saga_store,
        create_dynamodb_saga_store,
        create_memory_saga_store,
        create_redis_saga_store,
        create_sqlite_saga_store,
    )
    from venturekit.runtime.telemetry.embedded_metrics import (
        MetricError,
        Metrics,
        create_metrics,
        metrics_middleware,
    )

_LATER: Final = {
    "BatchFailedError": "batch_records",
    "BatchHandler": "batches",
    "BatchRecord": "batch_records",
    "MetricError": "telemetry.embedded_metrics",
    "Metrics": "telemetry.embedded_metrics",
    "batch_handler": "batches",
    "create_metrics": "telemetry.embedded_metrics",
    "metrics_middleware": "telemetry.embedded_metrics",
    "bridge_logging": "logging_bridge",
    "Invoker": "invocation.call",
    "ainvoke": "invocation.call",
    "create_invoker": "invocation.call",
    "default_function_name_resolver": "invocation.call",
    "invoke": "invocation.call",
    "InvokeError": "invocation.errors",
    "create_lambda_invoker": "invocation.invokers",
    "create_local_invoker": "invocation.invokers",
    "LambdaInvoker": "invocation.request",
    "InvokeResult": "invocation.result",
    "RateLimitDecision": "patterns.rate_limiter",
    "RateLimiter": "patterns.rate_limiter",
    "RequestTimeoutError": "middleware.timeouts",
    "api_key_auth_middleware": "middleware.api_keys",
    "hash_api_key": "middleware.api_keys",
    "cors_middleware": "middleware.cors",
    "error_boundary_middleware": "middleware.error_boundaries",
    "logging_middleware": "middleware.request_logs",
    "rate_limit_middleware": "middleware.rate_limits",
    "request_id_middleware": "middleware.request_ids",
    "timeout_middleware": "middleware.timeouts",
    "timing_middleware": "middleware.timings",
    "create_default_rate_limiter": "patterns.rate_limiter",
    "create_rate_limiter": "patterns.rate_limiter",
    "IdempotencyKeyReusedError": "patterns.idempotency_errors",
    "IdempotencyPendingError": "patterns.idempotency_errors",
    "IdempotencyResultError": "patterns.idempotency_errors",
    "create_default_idempotency_store": "patterns.idempotency_stores",
    "create_dynamodb_idempotency_store": "patterns.idempotency_stores",
    "create_memory_idempotency_store": "patterns.idempotency_stores",
    "create_redis_idempotency_store": "patterns.idempotency_stores",
    "create_sqlite_idempotency_store": "patterns.idempotency_stores",
    "idempotent": "patterns.idempotent_functions",
    "idempotency_middleware": "middleware.idempotency",
    "SagaBusyError": "patterns.saga_errors",
    "SagaCompensationError": "patterns.saga_errors",
    "SagaError": "patterns.saga_errors",
    "SagaResult": "patterns.saga_record",
    "SagaSuspendedError": "patterns.saga_errors",
    "create_default_saga_store": "patterns.saga_stores",
    "create_dynamodb_saga_store": "patterns.saga_stores",
    "create_memory_saga_store": "patterns.saga_stores",
    "create_redis_saga_store": "patterns.saga_stores",
    "create_sqlite_saga_store": "patterns.saga_stores",
    "parallel": "patterns.saga_definition",
    "saga": "patterns.saga_runs",
    "step": "patterns.saga_definition",
}

__all__ = [
    "BadRequestError",
    "BaseContext",
    "BatchFailedError",
    "BatchHandler",
    "BatchRecord",
    "ConflictError",
    "DbApiTransactions",
    "ForbiddenError",
    "Handler",
    "HandlerConfigError",
    "IdempotencyKeyReusedError",
    "IdempotencyPendingError",
    "IdempotencyResultError",
    "InternalError",
    "InvalidEventError",
    "InvokeError",
    "InvokeResult",
    "Invoker",
    "Issue",
    "LambdaInvoker",
    "Logger",
    "MetricError",
    "Metrics",
    "Middleware",
    "MiddlewareError",
    "NotFoundError",
    "PayloadTooLargeError",
    "RateLimitDecision",
    "RateLimitError",
    "RateLimiter",
    "RequestContext",
    "RequestTimeoutError",
    "Response",
    "SagaBusyError",
    "SagaCompensationError",
    "SagaError",
    "SagaResult",
    "SagaSuspendedError",
    "Schema",
    "SchemaError",
    "ServiceUnavailableError",
    "SqlAlchemyTransactions",
    "TaskContext",
    "TaskError",
    "TaskHandler",
    "TaskTimeoutError",
    "TaskValidationError",
    "TenantContext",
    "TransactionError",
    "TransactionProvider",
    "UnauthorizedError",
    "UserContext",
    "ValidationError",
    "VentureError",
    "ainvoke",
    "api_key_auth_middleware",
    "batch_handler",
    "bridge_logging",
    "build_context",
    "compose",
    "cors_middleware",
    "create_default_idempotency_store",
    "create_default_rate_limiter",
    "create_default_saga_store",
    "create_dynamodb_idempotency_store",
    "create_dynamodb_saga_store",
    "create_invoker",
    "create_lambda_invoker",
    "create_local_invoker",
    "create_logger",
    "create_memory_idempotency_store",
    "create_memory_saga_store",
    "create_metrics",
    "create_rate_limiter",
    "create_redis_idempotency_store",
    "create_redis_saga_store",
    "create_sqlite_idempotency_store",
    "create_sqlite_saga_store",
    "created",
    "current_context",
    "default_function_name_resolver",
    "error",
    "error_boundary_middleware",
    "error_response",
    "extract_locale",
    "extract_user_context",
    "handler",
    "hash_api_key",
    "idempotency_middleware",
    "idempotent",
    "invoke",
    "is_venture_error",
    "logger",
    "logging_middleware",
    "metrics_middleware",
    "no_content",
    "parallel",
    "rate_limit_middleware",
    "redirect",
    "request_id_middleware",
    "saga",
    "set_transaction_provider",
    "step",
    "stream",
    "success",
    "task_handler",
    "timeout_middleware",
    "timing_middleware",
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
