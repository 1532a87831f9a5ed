"""The policies of layer versions: which other accounts may use them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from venturekit.protocol.names import root_arn
from venturekit.service.functions import faults
from venturekit.service.functions.layer_addressing import LayerAddress, check_number
from venturekit.service.functions.layers import lock_name, own_layer
from venturekit.service.functions.policy_documents import (
    new_statement,
    policy_text,
    statement_text,
    with_statement,
    without_statement,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.layer_registry import LayerVersion
    from venturekit.service.functions.plane import ControlPlane

REVISION_SOURCE = "GetLayerPolicy"
"""As AWS names GetLayerVersionPolicy in the text about a wrong revision (recorded)."""


class LayerPermissionOperations:
    """AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("AddLayerVersionPermission")(self.add_layer_version_permission)
        operations.serve("RemoveLayerVersionPermission")(self.remove_layer_version_permission)
        operations.serve("GetLayerVersionPolicy")(self.get_layer_version_policy)

    async def add_layer_version_permission(self, call: Call) -> Mapping[str, Any]:
        """AddLayerVersionPermission: for an account, for everybody, or for an organization (which nobody is in)."""
        return await self._plane.tasks.complete(self._add(call.members))

    async def _add(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        address = self._address(members, "AddLayerVersionPermission")
        async with self._plane.lock(lock_name(address)):
            version = self._version(address, members)
            _check_revision(version, members)
            statement = layer_statement(version.arn, address, members)
            changed = await self._commit(version, with_statement(version.policy, statement))
        return {"Statement": statement_text(statement), "RevisionId": changed.policy_revision_id}

    async def remove_layer_version_permission(self, call: Call) -> Mapping[str, Any]:
        """RemoveLayerVersionPermission."""
        return await self._plane.tasks.complete(self._remove(call.members))

    async def _remove(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        address = self._address(members, "RemoveLayerVersionPermission")
        async with self._plane.lock(lock_name(address)):
            version = self._version(address, members)
            _check_revision(version, members)
            await self._commit(version, without_statement(version.policy, members["StatementId"]))
        return {}

    async def get_layer_version_policy(self, call: Call) -> Mapping[str, Any]:
        """GetLayerVersionPolicy."""
        address = self._address(call.members, "GetLayerVersionPolicy")
        version = self._version(address, call.members)
        if not version.policy:
            raise faults.no_policy_to_change()
        return {"Policy": policy_text(version.policy), "RevisionId": version.policy_revision_id}

    def _address(self, members: Mapping[str, Any], operation: str) -> LayerAddress:
        address = own_layer(self._plane, members["LayerName"], operation, members["VersionNumber"])
        check_number(members["VersionNumber"])
        return address

    def _version(self, address: LayerAddress, members: Mapping[str, Any]) -> LayerVersion:
        version = self._plane.layers.version(address.arn, members["VersionNumber"])
        if version is None:
            raise faults.layer_version_not_found(address.version_arn(members["VersionNumber"]))
        return version

    async def _commit(self, version: LayerVersion, policy: Iterable[Mapping[str, Any]]) -> LayerVersion:
        plane = self._plane
        changed = replace(version, policy=tuple(policy), policy_revision_id=plane.new_id())
        with plane.committing():
            await plane.store.change_layer_version(version.name, version.version, changed.to_document())
        plane.layers.put(changed)
        return changed


def layer_statement(arn: str, address: LayerAddress, members: Mapping[str, Any]) -> dict[str, Any]:
    """The statement of AddLayerVersionPermission on the layer version ``arn``, as AWS shows it."""
    principal: str | dict[str, str] = members["Principal"]
    if principal != "*":
        account_id = members["Principal"].split(":")[4] if ":" in members["Principal"] else members["Principal"]
        principal = {"AWS": root_arn(address.region, account_id)}
    organization = members.get("OrganizationId")
    condition = {"StringEquals": {"aws:PrincipalOrgID": organization} if organization else {}}
    return new_statement(members["StatementId"], principal, members["Action"], arn, condition)


def _check_revision(version: LayerVersion, members: Mapping[str, Any]) -> None:
    if members.get("RevisionId") not in (None, version.policy_revision_id):
        raise faults.policy_revision_mismatch(REVISION_SOURCE)
