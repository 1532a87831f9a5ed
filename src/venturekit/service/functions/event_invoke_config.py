"""How asynchronous invocations of a function are retried, and where their results go: the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.destinations import Destinations
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.records import LATEST
from venturekit.service.functions.settings import (
    EVENT_INVOKE_CONFIGS,
    find_qualified_setting,
    qualified_settings,
    with_qualified_setting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.addressing import Address
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function

_NUMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
_SIDES = ("OnSuccess", "OnFailure")


class EventInvokeConfigOperations:
    """PutFunctionEventInvokeConfig and Update, Get, Delete and List of the same.

    A configuration hangs on a version or alias; without a qualifier, on ``$LATEST``. Shapes and texts as recorded.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._destinations = Destinations(plane)

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PutFunctionEventInvokeConfig")(self.put_config)
        operations.serve("UpdateFunctionEventInvokeConfig")(self.update_config)
        operations.serve("GetFunctionEventInvokeConfig")(self.get_config)
        operations.serve("DeleteFunctionEventInvokeConfig")(self.delete_config)
        operations.serve("ListFunctionEventInvokeConfigs")(self.list_configs)

    async def put_config(self, call: Call) -> Mapping[str, Any]:
        """PutFunctionEventInvokeConfig: replaces the whole configuration."""
        return await self._plane.tasks.complete(self._put(call.members, merge=False))

    async def update_config(self, call: Call) -> Mapping[str, Any]:
        """UpdateFunctionEventInvokeConfig: what is absent stays, each of the two destinations by itself.

        The empty text as destination takes it away.
        """
        return await self._plane.tasks.complete(self._put(call.members, merge=True))

    async def _put(self, members: Mapping[str, Any], *, merge: bool) -> Mapping[str, Any]:
        plane = self._plane
        address, qualifier = self._addressed(members)
        if all(members.get(member) is None for member in (*_NUMBERS, "DestinationConfig")):
            raise faults.nothing_to_configure()
        self._changeable(address.name, qualifier, members, merge=merge)
        # Others are asked, which can take seconds: not under the lock.
        await self._destinations.check_existence(members.get("DestinationConfig") or {})
        async with plane.lock(address.name):
            function, former = self._changeable(address.name, qualifier, members, merge=merge)
            config = merged(former if merge else {}, members) | {"LastModified": plane.now()}
            await plane.commit(function, with_qualified_setting(function, EVENT_INVOKE_CONFIGS, qualifier, config))
        return self._shown(address.name, qualifier, config)

    def _changeable(
        self, name: str, qualifier: str, members: Mapping[str, Any], *, merge: bool
    ) -> tuple[Function, Mapping[str, Any]]:
        """The function and its configuration, if that may be changed so. Raises what callers are answered."""
        registry = self._plane.registry
        function = registry.function(name) if name in registry else None
        former = qualified_settings(function, EVENT_INVOKE_CONFIGS).get(qualifier) if function else None
        if merge and former is None:
            raise faults.no_event_invoke_config(registry.arn(name, qualifier))
        if function is None or (qualifier not in function.versions and qualifier not in function.aliases):
            raise faults.event_invoke_target_not_found()
        self._destinations.check(members.get("DestinationConfig") or {}, name)
        return function, former or {}

    async def get_config(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionEventInvokeConfig."""
        address, qualifier = self._addressed(call.members)
        return self._shown(address.name, qualifier, self._config(address.name, qualifier))

    async def delete_config(self, call: Call) -> Mapping[str, Any]:
        """DeleteFunctionEventInvokeConfig."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address, qualifier = self._addressed(members)
        async with plane.lock(address.name):
            self._config(address.name, qualifier)
            function = plane.registry.function(address.name)
            await plane.commit(function, with_qualified_setting(function, EVENT_INVOKE_CONFIGS, qualifier, None))
        return {}

    async def list_configs(self, call: Call) -> Mapping[str, Any]:
        """ListFunctionEventInvokeConfigs: ``$LATEST``, versions, aliases; a qualifier in the name plays no role."""
        plane = self._plane
        name = plane.registry.address(call.members["FunctionName"]).name
        if name not in plane.registry:
            raise faults.event_invoke_target_not_found()
        configs = qualified_settings(plane.registry.function(name), EVENT_INVOKE_CONFIGS)
        page, marker = page_of_qualifiers(configs, call.members)
        shown = [self._shown(name, qualifier, configs[qualifier]) for qualifier in page]
        return {"FunctionEventInvokeConfigs": shown, "NextMarker": marker}

    def _addressed(self, members: Mapping[str, Any]) -> tuple[Address, str]:
        address = self._plane.registry.address(members["FunctionName"], members.get("Qualifier"))
        return address, address.qualifier or LATEST

    def _config(self, name: str, qualifier: str) -> Mapping[str, Any]:
        registry = self._plane.registry
        config: Mapping[str, Any] | None = find_qualified_setting(registry, name, EVENT_INVOKE_CONFIGS, qualifier)
        if config is None:
            raise faults.no_event_invoke_config(registry.arn(name, qualifier))
        return config

    def _shown(self, name: str, qualifier: str, config: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "LastModified": config["LastModified"],
            "FunctionArn": self._plane.registry.arn(name, qualifier),
            **{member: config.get(member) for member in _NUMBERS},
            "DestinationConfig": {side: {"Destination": config[side]} if config.get(side) else {} for side in _SIDES},
        }


def merged(former: Mapping[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as it is kept: the numbers, and the destination ARN of each side; ``former`` where absent."""
    config = dict(former)
    config |= {member: members[member] for member in _NUMBERS if members.get(member) is not None}
    for side, target in (members.get("DestinationConfig") or {}).items():
        if target is not None:
            config[side] = target.get("Destination") or ""
    return {member: value for member, value in config.items() if value != ""}
