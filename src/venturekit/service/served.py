"""Which operations of the Lambda API are answered, and why the others are not."""

from __future__ import annotations

from functools import cache
from typing import Final

from venturekit.service.api.model import service_model
from venturekit.service.api.registry import Registry
from venturekit.service.functions.operations import register_operations
from venturekit.service.sources.operations import EventSourceMappingOperations

NOT_YET: Final = {
    "DurableExecution": "durable executions are not built: CreateFunction refuses DurableConfig",
    "ResourcePolicy": "policies are kept statement by statement: use AddPermission, RemovePermission and GetPolicy",
}
"""By part of an operation's name: why it is not served, for docs/compatibility.md."""


@cache
def not_served() -> tuple[tuple[str, str], ...]:
    """Operations of the service model that are not served, each with the reason."""
    return tuple(
        (operation, reason)
        for operation in service_model().operations
        for part, reason in NOT_YET.items()
        if part in operation
    )


def build_registry() -> Registry:
    """The registry with what is answered on other paths than handlers."""
    operations = Registry()
    operations.declare("Invoke")
    operations.declare("InvokeAsync")
    operations.declare("InvokeWithResponseStream")
    for operation, reason in not_served():
        operations.decline(operation, reason)
    return operations


def compatibility_registry() -> Registry:
    """Every operation that is served, for docs/compatibility.md; its handlers are not called."""

    class _Nothing:
        def __getattr__(self, name: str) -> object:
            return _Nothing()

    operations = build_registry()
    register_operations(operations, _Nothing())  # type: ignore[arg-type]
    EventSourceMappingOperations(_Nothing(), _Nothing()).register(operations)  # type: ignore[arg-type]
    return operations
