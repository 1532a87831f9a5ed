"""Published versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.functions import faults
from venturekit.service.functions.configuration import refuse_unserved

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane


class VersionOperations:
    """PublishVersion."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve this operation."""
        operations.serve("PublishVersion")(self.publish_version)

    async def publish_version(self, call: Call) -> Mapping[str, Any]:
        """PublishVersion: a numbered copy of ``$LATEST``, or the last one if nothing has changed since."""
        return await self._plane.tasks.complete(self._publish(call.members))

    async def _publish(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        refuse_unserved(members)
        async with plane.lock(name):
            function = plane.changeable(name)
            latest = function.latest
            wanted_sha256 = members.get("CodeSha256")
            if wanted_sha256 and wanted_sha256 != latest.code_sha256:
                raise faults.invalid_parameter(
                    f"CodeSHA256 ({wanted_sha256}) is different from current CodeSHA256 in $LATEST "
                    f"({latest.code_sha256}). Please try again with the CodeSHA256 in $LATEST."
                )
            if members.get("RevisionId") not in (None, latest.revision_id):
                raise faults.revision_mismatch()
            version = plane.publication(function, latest, members.get("Description"))
            if version.version not in function.versions:
                await plane.commit(function, function.with_versions(version))
        return version.configuration(qualifier=version.version)
