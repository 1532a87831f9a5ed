"""The options of ``handler()``, ``task_handler()`` and ``invoke()`` for type checkers: never imported to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from venturekit.runtime.logs import Logger

LogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal", "silent"]


class HandlerOptions(TypedDict, total=False):
    """Options of ``handler()`` but for ``body``."""

    scopes: Sequence[str]
    status: int | None
    middleware: Sequence[Any]
    log_level: LogLevel | None
    logger: Logger | None
    transactional: bool
    query: Any
    params: Any
    envelope: bool
    internal_scopes: bool
    max_body_bytes: int
    locales: tuple[Sequence[str], str] | None
    access_log: bool
    streaming: bool | None


class TaskOptions(TypedDict, total=False):
    """Options of ``task_handler()`` but for ``event``."""

    middleware: Sequence[Any]
    log_level: LogLevel | None
    logger: Logger | None
    transactional: bool
    timeout_ms: int | None
    timeout: int | None
    retries: int
    retry_delay_ms: int
    task_log: bool


class BatchOptions(TypedDict, total=False):
    """Options of ``batch_handler()`` but for ``body``."""

    on_failure: Literal["continue", "stop", "skip_group"] | None
    concurrency: int
    raise_when_all_failed: bool
    middleware: Sequence[Any]
    log_level: LogLevel | None
    logger: Logger | None
    transactional: bool
    timeout_ms: int | None
    task_log: bool


class InvokeOptions(TypedDict, total=False):
    """Options of ``invoke()`` but for ``result_type``."""

    function: str
    project: str | None
    payload: Any
    method: str
    body: Any
    path_params: Mapping[str, Any] | None
    query_params: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    mode: Literal["sync", "async"]
    trace: str | None
    tenant_id: str | None
    user_id: str | None
    fallback: Any
    timeout_ms: int | None
    retries: int
