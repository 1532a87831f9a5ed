"""What the functions of an account use of its quotas: totals that follow every change, so they are cheap to read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.functions.settings import PROVISIONED, qualified_settings

if TYPE_CHECKING:
    from venturekit.service.functions.registry import Function, FunctionRegistry

RESERVED: Final = "reservedConcurrentExecutions"
"""The member of a function's settings that holds its reserved concurrency."""


def reserved_executions(function: Function) -> int | None:
    """The reserved concurrency of a function, None when it has none."""
    reserved: int | None = function.settings.get(RESERVED)
    return reserved


def provisioned_executions(function: Function) -> int:
    """The provisioned concurrency of all versions and aliases of a function together, as requested."""
    return sum(config["Requested"] for config in qualified_settings(function, PROVISIONED).values())


def executions_set_aside(function: Function) -> int:
    """What of the account's concurrency is this function's own: provisioned concurrency is part of a reservation."""
    reserved = reserved_executions(function)
    return provisioned_executions(function) if reserved is None else reserved


class AccountUsage:
    """Totals over all functions of a registry.

    They are counted at the first question and kept up to date from then on: an account of ten thousand functions is
    walked once.
    """

    __slots__ = ("_code_sizes", "_counted", "_registry", "_reserved", "_total_code_size_bytes", "_total_reserved")

    def __init__(self, registry: FunctionRegistry) -> None:
        self._registry = registry
        self._counted = False
        self._code_sizes: dict[str, int] = {}
        self._reserved: dict[str, int] = {}
        self._total_code_size_bytes = 0
        self._total_reserved = 0

    @property
    def total_code_size_bytes(self) -> int:
        """The size of all archives, counted once for every version that has one."""
        self._count()
        return self._total_code_size_bytes

    @property
    def reserved_executions(self) -> int:
        """What all functions together have for themselves, reserved or provisioned."""
        self._count()
        return self._total_reserved

    def _count(self) -> None:
        if not self._counted:
            self._counted = True
            for function in self._registry.functions():
                self._add(function)
            self._registry.subscribe(self._changed)

    def _changed(self, name: str) -> None:
        self._total_code_size_bytes -= self._code_sizes.pop(name, 0)
        self._total_reserved -= self._reserved.pop(name, 0)
        if name in self._registry:
            self._add(self._registry.function(name))

    def _add(self, function: Function) -> None:
        size_bytes = sum(version.code_size_bytes for version in function.versions.values())
        self._code_sizes[function.name] = size_bytes
        self._total_code_size_bytes += size_bytes
        reserved = executions_set_aside(function)
        if reserved:
            self._reserved[function.name] = reserved
            self._total_reserved += reserved
