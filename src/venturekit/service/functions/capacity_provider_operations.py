"""The operations on capacity providers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.paging import decode_marker, encode_marker, page_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

_PARTLY: Final = "there are no instances: functions run in processes of this machine, what says which is kept and shown"


class CapacityProviderOperations:
    """CreateCapacityProvider and Get, List, Update and Delete of the same, ListFunctionVersionsByCapacityProvider."""

    def __init__(self, plane: ControlPlane) -> None:
        self._tasks = plane.tasks
        self._providers = plane.capacity_providers

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateCapacityProvider", partly=_PARTLY)(self.create_capacity_provider)
        operations.serve("UpdateCapacityProvider", partly=_PARTLY)(self.update_capacity_provider)
        operations.serve("GetCapacityProvider")(self.get_capacity_provider)
        operations.serve("ListCapacityProviders")(self.list_capacity_providers)
        operations.serve("DeleteCapacityProvider")(self.delete_capacity_provider)
        operations.serve("ListFunctionVersionsByCapacityProvider")(self.list_function_versions)

    async def create_capacity_provider(self, call: Call) -> Mapping[str, Any]:
        """CreateCapacityProvider: answered Pending, and Active right after."""
        provider = await self._tasks.complete(self._providers.create(call.members))
        return {"CapacityProvider": provider.shown()}

    async def update_capacity_provider(self, call: Call) -> Mapping[str, Any]:
        """UpdateCapacityProvider: what is absent stays."""
        provider = await self._tasks.complete(self._providers.update(call.members))
        return {"CapacityProvider": provider.shown()}

    async def get_capacity_provider(self, call: Call) -> Mapping[str, Any]:
        """GetCapacityProvider."""
        return {"CapacityProvider": self._providers.find(call.members["CapacityProviderName"]).shown()}

    async def delete_capacity_provider(self, call: Call) -> Mapping[str, Any]:
        """DeleteCapacityProvider: answered Deleting, and gone right after; not while function versions have it."""
        provider = await self._tasks.complete(self._providers.delete(call.members["CapacityProviderName"]))
        return {"CapacityProvider": provider.shown()}

    async def list_capacity_providers(self, call: Call) -> Mapping[str, Any]:
        """ListCapacityProviders by name, in pages of at most 50; with ``State`` those in that state."""
        members = call.members
        marker, state, limit = members.get("Marker"), members.get("State"), page_size(members)
        after = decode_marker(marker)[0] if marker else ""
        found = [each for each in self._providers.after(after) if state in (None, each.state)]
        answer: dict[str, Any] = {"CapacityProviders": [each.shown() for each in found[:limit]]}
        if len(found) > limit:
            answer["NextMarker"] = encode_marker(found[limit - 1].name)
        return answer

    async def list_function_versions(self, call: Call) -> Mapping[str, Any]:
        """ListFunctionVersionsByCapacityProvider: by function, then by version, in pages of at most 50.

        ``$LATEST`` is among them (a choice): it keeps the provider from being deleted, too.
        """
        members = call.members
        marker, limit = members.get("Marker"), page_size(members)
        provider = self._providers.find(members["CapacityProviderName"])
        found = [(version.name, version.rank, version) for version in self._providers.versions(provider.arn)]
        if marker:
            after = decode_marker(marker)
            found = [item for item in found if item[:2] > after]
        answer: dict[str, Any] = {
            "CapacityProviderArn": provider.arn,
            "FunctionVersions": [
                {"FunctionArn": version.qualified_arn, "State": version.state} for _, _, version in found[:limit]
            ],
        }
        if len(found) > limit:
            answer["NextMarker"] = encode_marker(*found[limit - 1][:2])
        return answer
