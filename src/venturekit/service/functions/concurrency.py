"""Reserved concurrency: the share of the account's concurrency that is one function's own, and its bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import capacity_faults, faults
from venturekit.service.functions.usage import (
    RESERVED,
    executions_set_aside,
    provisioned_executions,
    reserved_executions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

MINIMUM_UNRESERVED: Final = 100
RESERVED_MEMBER: Final = "ReservedConcurrentExecutions"


class ConcurrencyOperations:
    """PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PutFunctionConcurrency")(self.put_function_concurrency)
        operations.serve("GetFunctionConcurrency")(self.get_function_concurrency)
        operations.serve("DeleteFunctionConcurrency")(self.delete_function_concurrency)

    async def put_function_concurrency(self, call: Call) -> Mapping[str, Any]:
        """PutFunctionConcurrency; 0 lets the function run no more."""
        return await self._plane.tasks.complete(self._put(call.members))

    async def _put(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = self._function_name(members)
        wanted: int = members["ReservedConcurrentExecutions"]
        async with plane.lock(name):
            if name not in plane.registry:
                # Recorded with this qualifier, though none is allowed.
                raise faults.function_not_found(plane.registry.arn(name, "$LATEST"))
            async with plane.concurrency_lock:
                function = plane.registry.function(name)
                if function.latest.is_managed:
                    raise capacity_faults.not_with_managed("ReservedConcurrentExecutions")
                provisioned = provisioned_executions(function)
                if wanted < provisioned:
                    raise faults.reserved_below_provisioned(wanted, provisioned)
                check_reservation(
                    wanted,
                    former=executions_set_aside(function),
                    total=plane.usage.reserved_executions,
                    limit=plane.concurrent_executions,
                )
                await plane.commit(function, function.with_setting(RESERVED, wanted))
        return {RESERVED_MEMBER: wanted}

    async def get_function_concurrency(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionConcurrency: no member when nothing is reserved."""
        function = self._plane.registry.function(self._function_name(call.members))
        reserved = reserved_executions(function)
        return {} if reserved is None else {RESERVED_MEMBER: reserved}

    async def delete_function_concurrency(self, call: Call) -> Mapping[str, Any]:
        """DeleteFunctionConcurrency: succeeds also when nothing is reserved."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = self._function_name(members)
        async with plane.lock(name):
            function = plane.registry.function(name)
            if reserved_executions(function) is not None:
                await plane.commit(function, function.with_setting(RESERVED, None))
        return {}

    def _function_name(self, members: Mapping[str, Any]) -> str:
        address = self._plane.registry.address(members["FunctionName"])
        if address.qualifier is not None:
            raise faults.reserved_concurrency_on_a_qualifier()
        return address.name


def check_reservation(wanted: int, *, former: int, total: int, limit: int) -> None:
    """Raise InvalidParameterValue for a reservation that leaves too little of the account's concurrency to the others.

    ``former`` is what the function had for itself, ``total`` what all functions have with it, ``limit`` the account's
    concurrency. At least 100 stay unreserved, as recorded; an account with less than that has nothing to reserve (its
    minimum is then its limit: published errors of accounts limited to 10 and 50 say so). What does not grow passes: a
    function can always be stopped.
    """
    minimum = min(MINIMUM_UNRESERVED, limit)
    if wanted > former and limit - (total - former + wanted) < minimum:
        raise faults.too_little_unreserved(minimum)
