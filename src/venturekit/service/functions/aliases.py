"""Aliases: names for one version, or for two with weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.records import LATEST, Alias
from venturekit.service.functions.settings import without_qualifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane


class AliasOperations:
    """CreateAlias, UpdateAlias, DeleteAlias, GetAlias, ListAliases."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateAlias")(self.create_alias)
        operations.serve("UpdateAlias")(self.update_alias)
        operations.serve("DeleteAlias")(self.delete_alias)
        operations.serve("GetAlias")(self.get_alias)
        operations.serve("ListAliases")(self.list_aliases)

    async def create_alias(self, call: Call) -> Mapping[str, Any]:
        """CreateAlias."""
        return await self._plane.tasks.complete(self._create(call.members))

    async def _create(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        async with plane.lock(name):
            alias = self._routed(
                Alias(
                    function_arn=plane.registry.arn(name),
                    name=members["Name"],
                    function_version="",
                    description=members.get("Description") or "",
                    revision_id=plane.new_id(),
                ),
                name,
                members,
            )
            function = plane.registry.function(name)
            if alias.name in function.aliases:
                raise faults.conflict(f"Alias already exists: {alias.arn}")
            await plane.commit(function, function.with_alias(alias))
        return alias.configuration()

    async def update_alias(self, call: Call) -> Mapping[str, Any]:
        """UpdateAlias: members that are absent stay; an empty ``RoutingConfig`` takes the weights away.

        As recorded, the revision id is a new one even if nothing differs.
        """
        return await self._plane.tasks.complete(self._update(call.members))

    async def _update(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        async with plane.lock(name):
            function = plane.registry.function(name) if name in plane.registry else None
            former = None if function is None else function.aliases.get(members["Name"])
            if function is None or former is None:
                raise faults.alias_to_update_not_found(plane.registry.arn(name, members["Name"]))
            if members.get("RevisionId") not in (None, former.revision_id):
                raise faults.revision_mismatch()
            description = members.get("Description")
            alias = self._routed(
                replace(
                    former,
                    description=former.description if description is None else description,
                    revision_id=plane.new_id(),
                ),
                name,
                members,
            )
            await plane.commit(function, function.with_alias(alias))
        return alias.configuration()

    async def delete_alias(self, call: Call) -> Mapping[str, Any]:
        """DeleteAlias, with everything that hangs on it; as on AWS it succeeds also when there is no such alias.

        A function that does not exist is an error; AWS's answer to that is not known.
        """
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        async with plane.lock(name):
            function = plane.registry.function(name)
            if members["Name"] in function.aliases:
                changed = without_qualifier(function.without_alias(members["Name"]), members["Name"])
                await plane.commit(function, changed)
        return {}

    async def get_alias(self, call: Call) -> Mapping[str, Any]:
        """GetAlias."""
        plane = self._plane
        name = plane.unqualified_name(call.members)
        wanted = call.members["Name"]
        alias = plane.registry.function(name).aliases.get(wanted) if name in plane.registry else None
        if alias is None:
            raise faults.alias_not_found(plane.registry.arn(name, wanted))
        return alias.configuration()

    async def list_aliases(self, call: Call) -> Mapping[str, Any]:
        """ListAliases by name; with ``FunctionVersion`` those that may invoke that version, weighted or not."""
        plane = self._plane
        aliases = plane.registry.function(plane.unqualified_name(call.members)).aliases
        version = call.members.get("FunctionVersion")
        names = [name for name, alias in aliases.items() if version is None or version in alias.versions()]
        page, marker = page_of_qualifiers(names, call.members)
        return {"Aliases": [aliases[name].configuration() for name in page], "NextMarker": marker}

    def _routed(self, alias: Alias, name: str, members: Mapping[str, Any]) -> Alias:
        """``alias`` of the function ``name`` with the version and weights of a request; what is absent stays.

        Raises what ``check_weights`` does, and ResourceNotFound for a version that does not exist.
        """
        version = alias.function_version if members.get("FunctionVersion") is None else members["FunctionVersion"]
        if members.get("RoutingConfig") is not None:
            weights = members["RoutingConfig"].get("AdditionalVersionWeights") or {}
        else:
            weights = {} if alias.additional_version is None else {alias.additional_version: alias.additional_weight}
        # A version here is never an alias: the service model takes numbers and $LATEST only.
        version = self._plane.registry.version(name, version).version
        check_weights(version, weights)
        for additional in weights:
            self._plane.registry.version(name, additional)
        return replace(
            alias,
            function_version=version,
            additional_version=next(iter(weights), None),
            additional_weight=next(iter(weights.values()), 0.0),
        )


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
