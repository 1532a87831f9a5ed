"""When a version of a function gets a new build of its runtime: the setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.records import LATEST
from venturekit.service.functions.settings import RUNTIME_MANAGEMENT, qualified_settings, with_qualified_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

_DEFAULT = {"UpdateRuntimeOn": "Auto"}


class RuntimeManagementOperations:
    """GetRuntimeManagementConfig, PutRuntimeManagementConfig: per version, ``$LATEST`` without a qualifier."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        partly = "the setting is kept; functions run on the runtime that this machine has"
        operations.serve("PutRuntimeManagementConfig", partly=partly)(self.put_runtime_management_config)
        operations.serve("GetRuntimeManagementConfig", partly=partly)(self.get_runtime_management_config)

    async def put_runtime_management_config(self, call: Call) -> Mapping[str, Any]:
        """PutRuntimeManagementConfig."""
        return await self._plane.tasks.complete(self._put(call.members))

    async def _put(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        setting = setting_of(members)
        address = plane.registry.address(members["FunctionName"], members.get("Qualifier"))
        async with plane.lock(address.name):
            version = self._version(address.name, address.qualifier)
            function = plane.registry.function(address.name)
            # The default is not kept: a version without a setting reads the same.
            kept = None if setting == _DEFAULT else setting
            await plane.commit(function, with_qualified_setting(function, RUNTIME_MANAGEMENT, version, kept))
        return {**setting, "FunctionArn": plane.registry.arn(address.name, version)}

    async def get_runtime_management_config(self, call: Call) -> Mapping[str, Any]:
        """GetRuntimeManagementConfig: ``RuntimeVersionArn`` is there in the mode ``Manual`` only."""
        plane = self._plane
        address = plane.registry.address(call.members["FunctionName"], call.members.get("Qualifier"))
        version = self._version(address.name, address.qualifier)
        setting = qualified_settings(plane.registry.function(address.name), RUNTIME_MANAGEMENT).get(version, _DEFAULT)
        return {**setting, "FunctionArn": plane.registry.arn(address.name, version)}

    def _version(self, name: str, qualifier: str | None) -> str:
        """The version that is meant; raises ResourceNotFound, and InvalidParameterValue for an alias as published."""
        plane = self._plane
        if qualifier is not None and name in plane.registry and qualifier in plane.registry.function(name).aliases:
            raise faults.runtime_management_on_an_alias(plane.registry.arn(name, qualifier))
        plane.registry.version(name, qualifier)
        return qualifier or LATEST


def setting_of(members: Mapping[str, Any]) -> dict[str, str]:
    """What is kept of a request. Raises InvalidParameterValue, in words of our own, when mode and ARN do not agree.

    Source of the rule: API reference, "PutRuntimeManagementConfig": the mode ``Manual`` needs the ARN of a runtime
    version, the others have none.
    """
    mode, arn = members["UpdateRuntimeOn"], members.get("RuntimeVersionArn")
    if mode == "Manual" and not arn:
        raise faults.invalid_parameter("RuntimeVersionArn is required when UpdateRuntimeOn is Manual: add it")
    if mode != "Manual" and arn:
        raise faults.invalid_parameter(
            f"RuntimeVersionArn goes with UpdateRuntimeOn Manual only: leave it out, or use Manual instead of {mode}"
        )
    return {"UpdateRuntimeOn": mode, "RuntimeVersionArn": arn} if arn else {"UpdateRuntimeOn": mode}
