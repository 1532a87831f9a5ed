"""The code of a function: what is wrong with an archive in AWS's words, UpdateFunctionCode."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults, lifecycle
from venturekit.service.functions.archive import ArchiveError
from venturekit.service.functions.archive_rules import MAX_UNZIPPED_BYTES
from venturekit.service.functions.code_source import archive_of
from venturekit.service.functions.configuration import refuse_unserved
from venturekit.service.functions.managed_instances import check_code
from venturekit.service.functions.versions import check_revision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from venturekit.service.api.errors import ApiError
    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.code_storage import StoredCode
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.records import FunctionVersion


def archive_fault(error: ArchiveError) -> ApiError:
    """The answer for an archive that cannot be used; only a well-formed one is told more than AWS tells."""
    if error.kind == "empty":
        return faults.invalid_parameter("Uploaded file must be a non-empty zip")
    if error.kind == "too_large":
        return faults.invalid_parameter(f"Unzipped size must be smaller than {MAX_UNZIPPED_BYTES} bytes")
    if error.kind == "hostile":
        return faults.invalid_parameter(f"{faults.BAD_ZIP} ({error.reason})")
    return faults.invalid_parameter(faults.BAD_ZIP)


@asynccontextmanager
async def archive_faults(log: Callable[[str], None]) -> AsyncIterator[None]:
    """Answer an ArchiveError raised in the block in AWS's words, and log its reason."""
    try:
        yield
    except ArchiveError as error:
        log(f"refused a code archive: {error.reason}")
        raise archive_fault(error) from error


def with_code(version: FunctionVersion, code: StoredCode) -> FunctionVersion:
    """``version`` with other code."""
    return replace(
        version,
        code_key=code.key,
        code_sha256=code.sha256,
        code_size_bytes=code.size_bytes,
        unzipped_size_bytes=code.unzipped_bytes,
    )


class CodeOperations:
    """UpdateFunctionCode."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve this operation."""
        operations.serve("UpdateFunctionCode", partly="code from ZipFile or S3; no container images")(
            self.update_function_code
        )

    async def update_function_code(self, call: Call) -> Mapping[str, Any]:
        """UpdateFunctionCode: answered with the update in progress, which is successful right after."""
        return await self._plane.tasks.complete(self._update(call.members))

    async def _update(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        plane.registry.function(name)
        refuse_unserved(members)
        # Fetched before the function is locked: that may take a minute.
        data = await archive_of(members, plane.fetch_code)
        async with plane.lock(name):
            function = plane.changeable(name)
            former = function.latest
            check_revision(former, members)
            wanted = replace(former, architectures=tuple(members.get("Architectures") or former.architectures))
            check_code(wanted, members, plane.capacity_providers.usable)
            publishes = bool(members.get("Publish") or members.get("PublishTo"))
            if members.get("DryRun"):
                async with archive_faults(plane.log):
                    return with_code(wanted, await plane.code.examine(data)).configuration()
            async with archive_faults(plane.log), plane.code.admitted(data) as code:
                latest = plane.changed(lifecycle.updating(with_code(wanted, code)))
                shown = plane.publication(function, latest, None, members.get("PublishTo")) if publishes else latest
                changed = [latest] if shown in (latest, function.versions.get(shown.version)) else [latest, shown]
                await plane.commit(function, function.with_versions(*changed))
        plane.schedule_activation(*changed)
        return shown.configuration(qualifier=shown.version if publishes else None)
