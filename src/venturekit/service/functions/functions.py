"""Operations on functions as a whole: create, get, list, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults, lifecycle
from venturekit.service.functions.changes import version_row
from venturekit.service.functions.code import archive_faults, with_code
from venturekit.service.functions.code_source import archive_of, refuse_image
from venturekit.service.functions.configuration import configured, refuse_unserved, require_runtime_and_handler
from venturekit.service.functions.listing import list_functions
from venturekit.service.functions.managed_instances import check_code, with_provider
from venturekit.service.functions.records import LATEST, FunctionVersion
from venturekit.service.functions.registry import Function
from venturekit.service.functions.settings import RUNTIME_MANAGEMENT, qualified_settings, without_qualifier
from venturekit.service.functions.tags import TAGS, check_tags
from venturekit.service.functions.usage import reserved_executions
from venturekit.service.functions.versions import check_revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane


_LEFT_OUT: Final = (
    "no container images, durable functions, RuntimeConfig, AcceleratorConfig, code signing or file systems; "
    "VpcConfig, TracingConfig, KMSKeyArn and SnapStart are kept and change nothing"
)


class FunctionOperations:
    """Create, get, list and delete functions, get and update their configuration.

    What this service leaves out is refused by name: see ``configuration.refuse_unserved``.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("CreateFunction", partly=f"code from Code.ZipFile or S3; {_LEFT_OUT}")(self.create_function)
        operations.serve("UpdateFunctionConfiguration", partly=_LEFT_OUT)(self.update_function_configuration)
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
        # A function made of an image has neither runtime nor handler: what is missing is not them.
        refuse_unserved(members)
        refuse_image(members["Code"])
        require_runtime_and_handler(members)
        blank = FunctionVersion(
            name=name,
            function_arn=plane.registry.arn(name),
            architectures=tuple(members.get("Architectures") or ("x86_64",)),
            log_group=f"/aws/lambda/{name}",
        )
        blank = with_provider(blank, members, plane.capacity_providers.usable, creating=True)
        version = configured(blank, members, plane.layer)
        check_code(version, members, plane.capacity_providers.usable)
        check_tags(members.get("Tags") or {})
        settings = {TAGS: dict(members["Tags"])} if members.get("Tags") else {}
        self._refuse_taken(name)
        # Fetched before the name is locked: that may take a minute.
        data = await archive_of(members["Code"], plane.fetch_code)
        async with plane.lock(name):
            self._refuse_taken(name)
            async with archive_faults(plane.log), plane.code.admitted(data) as code:
                latest = plane.changed(lifecycle.created(with_code(version, code)))
                function = Function(
                    name=name,
                    versions={LATEST: latest},
                    settings=settings,
                    last_version=plane.registry.last_version(name),
                )
                shown = latest
                if members.get("Publish") or members.get("PublishTo"):
                    shown = plane.publication(function, latest, None, members.get("PublishTo"))
                function = function.with_versions(latest, shown)
                rows = [version_row(item) for item in function.versions.values()]
                async with plane.keeping_layers(latest):
                    with plane.committing():
                        await plane.store.create_function(name, settings, rows)
                    plane.registry.put(function)
        plane.schedule_activation(*function.versions.values())
        return shown.configuration()

    def _refuse_taken(self, name: str) -> None:
        if name in self._plane.registry:
            raise faults.function_exists(name)

    async def update_function_configuration(self, call: Call) -> Mapping[str, Any]:
        """UpdateFunctionConfiguration: answered with the update in progress, which is successful right after.

        As recorded, an update that changes nothing is an update like any other.
        """
        return await self._plane.tasks.complete(self._update_configuration(call.members))

    async def _update_configuration(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        async with plane.lock(name):
            function = plane.changeable(name)
            check_revision(function.latest, members)
            former = with_provider(function.latest, members, plane.capacity_providers.usable, creating=False)
            latest = plane.changed(lifecycle.updating(configured(former, members, plane.layer)))
            check_code(latest, members, plane.capacity_providers.usable)
            await plane.commit(function, function.with_versions(latest))
        plane.schedule_activation(latest)
        return latest.configuration()

    async def get_function(self, call: Call) -> Mapping[str, Any]:
        """GetFunction: configuration, where to download the code, tags, reserved concurrency."""
        function, version, qualifier = self._addressed(call.members)
        answer: dict[str, Any] = {
            "Configuration": _configuration(function, version, qualifier),
            "Code": {"RepositoryType": "S3", "Location": self._plane.code_location(version.code_key)},
        }
        if function.tags:
            answer["Tags"] = dict(function.tags)
        reserved = reserved_executions(function)
        if reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved}
        return answer

    async def get_function_configuration(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionConfiguration."""
        return _configuration(*self._addressed(call.members))

    async def list_functions(self, call: Call) -> Mapping[str, Any]:
        """ListFunctions, in pages of at most 50."""
        return list_functions(self._plane.registry, call.members)

    async def delete_function(self, call: Call) -> Mapping[str, Any]:
        """DeleteFunction: the function with everything that hangs on it, or one published version.

        As recorded, a version that is not there is no error, and the 404 for a function names no qualifier.
        """
        return await self._plane.tasks.complete(self._delete(call.members))

    async def _delete(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        address = plane.registry.address(members["FunctionName"], members.get("Qualifier"))
        if address.qualifier == LATEST:
            raise faults.invalid_parameter("$LATEST version cannot be deleted without deleting the function.")
        async with plane.lock(address.name):
            function = plane.registry.function(address.name)
            if address.qualifier is None:
                await self._delete_whole(function)
            else:
                await self._delete_version(function, address.qualifier)
        return {"StatusCode": 204}

    async def _delete_whole(self, function: Function) -> None:
        plane = self._plane
        with plane.committing():
            await plane.store.delete_function(function.name)
        plane.registry.remove(function.name)
        plane.tasks.spawn(plane.code.collect(*function.code_keys()))

    async def _delete_version(self, function: Function, qualifier: str) -> None:
        if qualifier in function.aliases:
            raise faults.invalid_parameter("Deletion of aliases is not currently supported.")
        if qualifier not in function.versions:
            return
        aliases = sorted(alias.name for alias in function.aliases.values() if qualifier in alias.versions())
        if aliases:
            raise faults.conflict(
                f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]"
            )
        await self._plane.commit(function, without_qualifier(function.without_version(qualifier), qualifier))

    def _addressed(self, members: Mapping[str, Any]) -> tuple[Function, FunctionVersion, str | None]:
        registry = self._plane.registry
        address = registry.address(members["FunctionName"], members.get("Qualifier"))
        version = registry.version(address.name, address.qualifier)
        return registry.function(address.name), version, address.qualifier


def _configuration(function: Function, version: FunctionVersion, qualifier: str | None) -> dict[str, Any]:
    """The configuration with the runtime version that PutRuntimeManagementConfig has set, if it has."""
    members = version.configuration(qualifier=qualifier)
    arn = qualified_settings(function, RUNTIME_MANAGEMENT).get(version.version, {}).get("RuntimeVersionArn")
    if arn is not None:
        members["RuntimeVersionConfig"] = {"RuntimeVersionArn": arn}
    return members
