"""Operations on functions as a whole: create, get, list, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults, lifecycle
from venturekit.service.functions.code import archive_faults, code_source, with_code
from venturekit.service.functions.configuration import configured, require_runtime_and_handler
from venturekit.service.functions.listing import list_functions
from venturekit.service.functions.plane import ControlPlane, version_row
from venturekit.service.functions.records import LATEST, FunctionVersion
from venturekit.service.functions.registry import Function

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry


class FunctionOperations:
    """CreateFunction, GetFunction, GetFunctionConfiguration, ListFunctions, DeleteFunction."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        code_only = "code from Code.ZipFile only; no container images, durable functions or tenant isolation"
        operations.serve("CreateFunction", partly=code_only)(self.create_function)
        operations.serve("GetFunction")(self.get_function)
        operations.serve("GetFunctionConfiguration")(self.get_function_configuration)
        operations.serve("ListFunctions")(self.list_functions)
        operations.serve("DeleteFunction")(self.delete_function)

    async def create_function(self, call: Call) -> Mapping[str, Any]:
        """CreateFunction: the function is answered Pending and becomes Active right after."""
        return await self._plane.tasks.complete(self._create(call.members))

    async def _create(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        data = code_source(members["Code"])
        require_runtime_and_handler(members)
        blank = FunctionVersion(
            name=name,
            function_arn=plane.registry.arn(name),
            architectures=tuple(members.get("Architectures") or ("x86_64",)),
            log_group=f"/aws/lambda/{name}",
        )
        version = configured(blank, members, plane.layer_size)
        settings = {"tags": dict(members["Tags"])} if members.get("Tags") else {}
        async with plane.lock(name):
            if name in plane.registry:
                raise faults.function_exists(name)
            async with archive_faults(plane.log), plane.code.admitted(data) as code:
                latest = plane.changed(lifecycle.created(with_code(version, code)))
                function = Function(
                    name=name,
                    versions={LATEST: latest},
                    settings=settings,
                    last_version=plane.registry.last_version(name),
                )
                shown = plane.publication(function, latest, None) if members.get("Publish") else latest
                function = function.with_versions(latest, shown)
                rows = [version_row(item) for item in function.versions.values()]
                with plane.committing():
                    await plane.store.create_function(name, settings, rows)
                plane.registry.put(function)
        plane.schedule_activation(*function.versions.values())
        return shown.configuration()

    async def get_function(self, call: Call) -> Mapping[str, Any]:
        """GetFunction: configuration, where to download the code, tags."""
        version, qualifier = self._addressed(call.members)
        answer: dict[str, Any] = {
            "Configuration": version.configuration(qualifier=qualifier),
            "Code": {"RepositoryType": "S3", "Location": self._plane.code_location(version.code_key)},
        }
        tags = self._plane.registry.function(version.name).tags
        if tags:
            answer["Tags"] = dict(tags)
        return answer

    async def get_function_configuration(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionConfiguration."""
        version, qualifier = self._addressed(call.members)
        return version.configuration(qualifier=qualifier)

    async def list_functions(self, call: Call) -> Mapping[str, Any]:
        """ListFunctions, in pages of at most 50."""
        return list_functions(self._plane.registry, call.members)

    async def delete_function(self, call: Call) -> Mapping[str, Any]:
        """DeleteFunction: the function with everything that hangs on it, or one published version."""
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = plane.registry.address(members["FunctionName"], members.get("Qualifier"))
        if address.qualifier == LATEST:
            raise faults.invalid_parameter("$LATEST version cannot be deleted without deleting the function.")
        async with plane.lock(address.name):
            if address.qualifier is None:
                retired = await self._delete_whole(address.name)
            else:
                retired = await self._delete_version(address.name, address.qualifier)
        plane.tasks.spawn(plane.code.collect(*retired))
        return {"StatusCode": 204}

    async def _delete_whole(self, name: str) -> set[str]:
        function = self._plane.registry.function(name)
        with self._plane.committing():
            await self._plane.store.delete_function(name)
        self._plane.registry.remove(name)
        return {version.code_key for version in function.versions.values()}

    async def _delete_version(self, name: str, qualifier: str) -> set[str]:
        plane = self._plane
        version = plane.registry.version(name, qualifier)
        function = plane.registry.function(name)
        if qualifier in function.aliases:
            raise faults.invalid_parameter("Deletion of aliases is not currently supported.")
        aliases = sorted(alias.name for alias in function.aliases.values() if qualifier in alias.versions())
        if aliases:
            raise faults.conflict(
                f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]"
            )
        await plane.commit(function, function.without_version(qualifier))
        return {version.code_key}

    def _addressed(self, members: Mapping[str, Any]) -> tuple[FunctionVersion, str | None]:
        address = self._plane.registry.address(members["FunctionName"], members.get("Qualifier"))
        return self._plane.registry.version(address.name, address.qualifier), address.qualifier
