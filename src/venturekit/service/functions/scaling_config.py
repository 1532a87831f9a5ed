"""The operations on the scaling of managed functions. What is configured, others carry out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from venturekit.service.functions import capacity_faults, faults
from venturekit.service.functions.managed_instances import resting_state
from venturekit.service.functions.records import STATE_ACTIVE, STATE_DEACTIVATED
from venturekit.service.functions.scaling import applied_to, bounds_of, requested, setting_of
from venturekit.service.functions.settings import SCALING, with_qualified_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function


class ScalingConfigOperations:
    """PutFunctionScalingConfig, GetFunctionScalingConfig."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        partly = "the default minimum is 0 instead of 3; MaxExecutionEnvironments is a bound of this machine"
        operations.serve("PutFunctionScalingConfig", partly=partly)(self.put_config)
        operations.serve("GetFunctionScalingConfig")(self.get_config)

    async def put_config(self, call: Call) -> Mapping[str, Any]:
        """PutFunctionScalingConfig: 0 to 0 deactivates the version, anything else activates it again."""
        return await self._plane.tasks.complete(self._put(call.members))

    async def _put(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        number = members["Qualifier"]
        async with plane.lock(name):
            function = self._managed(name, number)
            bounds = requested(members.get("FunctionScalingConfig") or {}, plane.new_id())
            setting = setting_of(bounds, applied_to(function, number, self._allocated(function, number)))
            changed = with_qualified_setting(function, SCALING, number, setting)
            version = changed.versions[number]
            state = resting_state(changed, version)
            if version.state in (STATE_ACTIVE, STATE_DEACTIVATED) and version.state != state:
                changed = changed.with_versions(plane.revised(replace(version, state=state)))
            function = await plane.commit(function, changed)
        return {"FunctionState": function.versions[number].state}

    async def get_config(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionScalingConfig."""
        name = self._plane.unqualified_name(call.members)
        number = call.members["Qualifier"]
        function = self._managed(name, number)
        return {
            "FunctionArn": self._plane.registry.arn(name, number),
            "RequestedFunctionScalingConfig": bounds_of(function, number).shown(),
            "AppliedFunctionScalingConfig": applied_to(function, number, self._allocated(function, number)).shown(),
        }

    def _managed(self, name: str, number: str) -> Function:
        """The managed function, which has this version. Raises ResourceNotFound and InvalidParameterValue."""
        registry = self._plane.registry
        function = registry.function(name)
        if not function.latest.is_managed:
            raise capacity_faults.scaling_of_default()
        if number not in function.versions:
            raise faults.function_not_found(registry.arn(name, number))
        return function

    def _allocated(self, function: Function, number: str) -> int:
        return self._plane.provision_state(function.name, number).allocated
