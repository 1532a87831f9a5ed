"""GetAccountSettings: the quotas of the account and what of them is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import layer_arn
from venturekit.service.functions.archive_rules import MAX_UNZIPPED_BYTES
from venturekit.service.functions.code_source import MAX_ZIPPED_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

TOTAL_CODE_SIZE_BYTES: Final = 80_530_636_800
"""Developer Guide, "Lambda quotas"."""


class AccountSettingsOperations:
    """GetAccountSettings."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve this operation."""
        operations.serve("GetAccountSettings")(self.get_account_settings)

    async def get_account_settings(self, call: Call) -> Mapping[str, Any]:
        """GetAccountSettings. ``TotalCodeSize`` is AWS's quota; nothing here is refused on its account."""
        plane = self._plane
        unreserved = plane.concurrent_executions - plane.usage.reserved_executions
        return {
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_SIZE_BYTES,
                "CodeSizeUnzipped": MAX_UNZIPPED_BYTES,
                "CodeSizeZipped": MAX_ZIPPED_BYTES,
                "ConcurrentExecutions": plane.concurrent_executions,
                # The account's concurrency can have been made smaller than what was reserved of it before.
                "UnreservedConcurrentExecutions": max(0, unreserved),
            },
            "AccountUsage": {
                "TotalCodeSize": plane.usage.total_code_size_bytes + self._layers_size_bytes(),
                "FunctionCount": len(plane.registry),
            },
        }

    def _layers_size_bytes(self) -> int:
        """The size of the archives of the account's layer versions, of which there are few."""
        plane = self._plane
        prefix = layer_arn(plane.registry.region, plane.registry.account_id, "")
        return sum(
            version.code_size_bytes for arn in plane.layers.layer_arns(prefix) for version in plane.layers.versions(arn)
        )
