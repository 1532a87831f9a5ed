"""Settings that hang on a version or alias of a function. Pure.

Each is a member of ``Function.settings`` that maps a qualifier to a value: ``policies`` and ``urlConfigs`` by the
version or alias they are about and by the empty text for the function itself, the others by ``$LATEST`` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.records import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.functions.registry import Function, FunctionRegistry

POLICIES: Final = "policies"
EVENT_INVOKE_CONFIGS: Final = "eventInvokeConfigs"
RUNTIME_MANAGEMENT: Final = "runtimeManagement"
URL_CONFIGS: Final = "urlConfigs"
PROVISIONED: Final = "provisionedConcurrency"
SCALING: Final = "scalingConfigs"

PER_QUALIFIER: Final = (POLICIES, EVENT_INVOKE_CONFIGS, RUNTIME_MANAGEMENT, URL_CONFIGS, PROVISIONED, SCALING)

Order = tuple[int, int, str]


def qualified_settings(function: Function, member: str) -> Mapping[str, Any]:
    """The values of one member by qualifier, empty if there are none."""
    values: Mapping[str, Any] = function.settings.get(member, {})
    return values


def find_qualified_setting(registry: FunctionRegistry, name: str, member: str, qualifier: str) -> Any:
    """The value of one member for one qualifier; None if there is none, or no such function."""
    return qualified_settings(registry.function(name), member).get(qualifier) if name in registry else None


def with_qualified_setting(function: Function, member: str, qualifier: str, value: Any) -> Function:
    """``function`` with the value of one member for one qualifier replaced; None takes it away."""
    values = {other: kept for other, kept in qualified_settings(function, member).items() if other != qualifier}
    if value is not None:
        values[qualifier] = value
    return function.with_setting(member, values)


def without_qualifier(function: Function, qualifier: str) -> Function:
    """``function`` without anything that hangs on this version or alias."""
    for member in PER_QUALIFIER:
        if qualifier in qualified_settings(function, member):
            function = with_qualified_setting(function, member, qualifier, None)
    return function


def qualifier_order(qualifier: str) -> Order:
    """The place of a qualifier in a list: the function or ``$LATEST``, versions by number, aliases by name."""
    if qualifier in ("", LATEST):
        return (0, 0, "")
    if qualifier.isdecimal():
        return (1, int(qualifier), "")
    return (2, 0, qualifier)
