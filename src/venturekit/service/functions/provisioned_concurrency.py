"""Provisioned concurrency: the operations on its configurations. What is configured, others carry out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from venturekit.service.functions import capacity_faults, faults
from venturekit.service.functions.concurrency import MINIMUM_UNRESERVED
from venturekit.service.functions.paging import page_of_qualifiers
from venturekit.service.functions.provisioned import IN_PROGRESS, standing
from venturekit.service.functions.records import LATEST, SNAP_START_NONE
from venturekit.service.functions.settings import PROVISIONED, qualified_settings, with_qualified_setting
from venturekit.service.functions.usage import executions_set_aside, provisioned_executions, reserved_executions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function


class ProvisionedConcurrencyOperations:
    """PutProvisionedConcurrencyConfig and Get, Delete and List of the same.

    Texts as recorded, where :mod:`~venturekit.service.functions.faults` says nothing else. Choices: the 404 for an
    alias is that of the alias operations, the text for SnapStart that of other settings.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PutProvisionedConcurrencyConfig")(self.put_config)
        operations.serve("GetProvisionedConcurrencyConfig")(self.get_config)
        operations.serve("DeleteProvisionedConcurrencyConfig")(self.delete_config)
        operations.serve("ListProvisionedConcurrencyConfigs")(self.list_configs)

    async def put_config(self, call: Call) -> Mapping[str, Any]:
        """PutProvisionedConcurrencyConfig: answered while the environments are still being initialised.

        The same number once more is a new request: what had failed is tried again.
        """
        return await self._plane.tasks.complete(self._put(call.members))

    async def _put(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name, qualifier = self._addressed(members)
        if qualifier == LATEST:
            raise faults.provisioned_for_latest()
        wanted: int = members["ProvisionedConcurrentExecutions"]
        async with plane.lock(name), plane.concurrency_lock:
            function = self._existing(name, qualifier)
            check_target(function, qualifier)
            check_amount(
                function,
                qualifier,
                wanted,
                set_aside=plane.usage.reserved_executions,
                limit=plane.concurrent_executions,
            )
            config = {"Requested": wanted, "LastModified": plane.now(), "Token": plane.new_id()}
            function = await plane.commit(function, with_qualified_setting(function, PROVISIONED, qualifier, config))
        return self._shown(function, qualifier) | {"Status": IN_PROGRESS}

    async def get_config(self, call: Call) -> Mapping[str, Any]:
        """GetProvisionedConcurrencyConfig."""
        name, qualifier = self._addressed(call.members)
        if qualifier == LATEST:
            raise faults.provisioned_without_version()
        function = self._existing(name, qualifier)
        if qualifier not in qualified_settings(function, PROVISIONED):
            raise faults.no_provisioned_concurrency()
        return self._shown(function, qualifier)

    async def delete_config(self, call: Call) -> Mapping[str, Any]:
        """DeleteProvisionedConcurrencyConfig: succeeds also when there is none; the model has no error for that."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name, qualifier = self._addressed(members)
        if qualifier == LATEST:
            raise faults.provisioned_without_version()
        async with plane.lock(name):
            function = self._existing(name, qualifier)
            if qualifier in qualified_settings(function, PROVISIONED):
                await plane.commit(function, with_qualified_setting(function, PROVISIONED, qualifier, None))
        return {}

    async def list_configs(self, call: Call) -> Mapping[str, Any]:
        """ListProvisionedConcurrencyConfigs: versions by number, then aliases by name."""
        plane = self._plane
        function = plane.registry.function(plane.unqualified_name(call.members))
        page, marker = page_of_qualifiers(qualified_settings(function, PROVISIONED), call.members)
        shown = [
            {"FunctionArn": plane.registry.arn(function.name, qualifier), **self._shown(function, qualifier)}
            for qualifier in page
        ]
        return {"ProvisionedConcurrencyConfigs": shown, "NextMarker": marker}

    def _addressed(self, members: Mapping[str, Any]) -> tuple[str, str]:
        address = self._plane.registry.address(members["FunctionName"], members["Qualifier"])
        return address.name, address.qualifier or LATEST

    def _existing(self, name: str, qualifier: str) -> Function:
        """The function, which has this version or alias. Raises ResourceNotFound."""
        registry = self._plane.registry
        function = registry.function(name) if name in registry else None
        if function is None or (qualifier not in function.versions and qualifier not in function.aliases):
            arn = registry.arn(name, qualifier)
            if function is None or qualifier.isdecimal():
                raise faults.function_not_found(arn)
            raise faults.alias_not_found(arn)
        return function

    def _shown(self, function: Function, qualifier: str) -> dict[str, Any]:
        found = standing(function, qualifier, lambda version: self._plane.provision_state(function.name, version))
        config = qualified_settings(function, PROVISIONED)[qualifier]
        shown: dict[str, Any] = {
            "RequestedProvisionedConcurrentExecutions": found.requested,
            "AvailableProvisionedConcurrentExecutions": found.available,
            "AllocatedProvisionedConcurrentExecutions": found.allocated,
            "Status": found.status,
            "LastModified": f"{datetime.fromtimestamp(config['LastModified'], UTC):%Y-%m-%dT%H:%M:%S}+0000",
        }
        if found.failure and found.status != IN_PROGRESS and found.allocated < found.requested:
            shown["StatusReason"] = found.failure
        return shown


def check_target(function: Function, qualifier: str) -> None:
    """Raise what a version or alias is refused with that may have no provisioned concurrency."""
    configs = qualified_settings(function, PROVISIONED)
    alias = function.aliases.get(qualifier)
    version = function.versions[qualifier if alias is None else alias.function_version]
    if version.snap_start_apply_on != SNAP_START_NONE:
        raise faults.no_snap_start("ProvisionedConcurrency")
    if version.is_managed:
        raise capacity_faults.not_with_managed("Provisioned Concurrency")
    if version.isolates_tenants:
        raise faults.not_with_tenants("provisioned concurrency")
    if alias is None:
        if any(qualifier in other.versions() and other.name in configs for other in function.aliases.values()):
            raise faults.version_of_provisioned_alias()
        return
    if alias.additional_version is not None:
        raise faults.provisioned_with_weights()
    if alias.function_version == LATEST:
        raise faults.provisioned_for_latest()
    if alias.function_version in configs:
        raise faults.alias_of_provisioned_version()


def check_amount(function: Function, qualifier: str, wanted: int, *, set_aside: int, limit: int) -> None:
    """Raise InvalidParameterValue for more than the function's reservation, or the account, has room for.

    ``set_aside`` is what all functions have for themselves, ``limit`` the account's concurrency. As with reservations,
    what does not grow passes.
    """
    former = qualified_settings(function, PROVISIONED).get(qualifier, {}).get("Requested", 0)
    total = provisioned_executions(function) - former + wanted
    reserved = reserved_executions(function)
    if reserved is not None:
        if total > reserved:
            raise faults.provisioned_above_reserved()
        return
    if wanted <= former:
        return
    unreserved = limit - (set_aside - executions_set_aside(function))
    if total > unreserved:
        raise faults.provisioned_above_account(unreserved)
    minimum = min(MINIMUM_UNRESERVED, limit)
    if unreserved - total < minimum:
        raise faults.provisioned_leaves_too_little(minimum)
