"""Published versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults, lifecycle
from venturekit.service.functions.listing import list_versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.records import FunctionVersion


class VersionOperations:
    """PublishVersion, ListVersionsByFunction."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PublishVersion")(self.publish_version)
        operations.serve("ListVersionsByFunction")(self.list_versions_by_function)

    async def publish_version(self, call: Call) -> Mapping[str, Any]:
        """PublishVersion: a numbered copy of ``$LATEST``, or the last one if nothing has changed since.

        With ``PublishTo`` it is the copy ``$LATEST.PUBLISHED``, which takes the place of the one before.
        """
        return await self._plane.tasks.complete(self._publish(call.members))

    async def _publish(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        async with plane.lock(name):
            function = plane.changeable(name)
            latest = function.latest
            wanted_sha256 = members.get("CodeSha256")
            if wanted_sha256 and wanted_sha256 != latest.code_sha256:
                raise faults.invalid_parameter(
                    f"CodeSHA256 ({wanted_sha256}) is different from current CodeSHA256 in $LATEST "
                    f"({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            check_revision(latest, members)
            version = plane.publication(function, latest, members.get("Description"), members.get("PublishTo"))
            if function.versions.get(version.version) is not version:
                # As recorded, publishing gives $LATEST a new revision too.
                await plane.commit(function, function.with_versions(version, plane.revised(latest)))
                if lifecycle.is_unsettled(version):
                    plane.schedule_activation(version)
        return version.configuration(qualifier=version.version)

    async def list_versions_by_function(self, call: Call) -> Mapping[str, Any]:
        """ListVersionsByFunction, in pages of at most 50: see ``list_versions``."""
        plane = self._plane
        return list_versions(plane.registry.function(plane.unqualified_name(call.members)), call.members)


def check_revision(latest: FunctionVersion, members: Mapping[str, Any]) -> None:
    """Raise PreconditionFailed if the request names another revision than that of ``latest``."""
    if members.get("RevisionId") not in (None, latest.revision_id):
        raise faults.revision_mismatch()
