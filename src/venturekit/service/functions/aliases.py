"""Aliases: names for one version, or for two with weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.records import LATEST, Alias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane


class AliasOperations:
    """CreateAlias, GetAlias."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateAlias")(self.create_alias)
        operations.serve("GetAlias")(self.get_alias)

    async def create_alias(self, call: Call) -> Mapping[str, Any]:
        """CreateAlias."""
        return await self._plane.tasks.complete(self._create(call.members))

    async def _create(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        weights = (members.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        async with plane.lock(name):
            # The qualifier of a version must name a version here: an alias cannot point to an alias.
            version = plane.registry.version(name, members["FunctionVersion"]).version
            function = plane.registry.function(name)
            check_weights(version, weights)
            for additional in weights:
                plane.registry.version(name, additional)
            arn = plane.registry.arn(name, members["Name"])
            if members["Name"] in function.aliases:
                raise faults.conflict(f"Alias already exists: {arn}")
            alias = Alias(
                function_arn=plane.registry.arn(name),
                name=members["Name"],
                function_version=version,
                description=members.get("Description") or "",
                additional_version=next(iter(weights), None),
                additional_weight=next(iter(weights.values()), 0.0),
                revision_id=plane.new_id(),
            )
            await plane.commit(function, function.with_alias(alias))
        return alias.configuration()

    async def get_alias(self, call: Call) -> Mapping[str, Any]:
        """GetAlias."""
        plane = self._plane
        name = plane.unqualified_name(call.members)
        wanted = call.members["Name"]
        alias = plane.registry.function(name).aliases.get(wanted) if name in plane.registry else None
        if alias is None:
            raise faults.alias_not_found(plane.registry.arn(name, wanted))
        return alias.configuration()


def check_weights(version: str, weights: Mapping[str, float]) -> None:
    """Raise InvalidParameterValue, without ``Type`` as recorded, for a routing AWS does not take."""
    if len(weights) > 1:
        raise faults.invalid_parameter(
            "Number of items in AdditionalVersionWeights cannot be greater than 1", type_=None
        )
    if version in weights:
        raise faults.invalid_parameter(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration.",
            type_=None,
        )
    if weights and version == LATEST:
        raise faults.invalid_parameter(
            "$LATEST is not supported for an alias pointing to more than 1 version", type_=None
        )
