"""Code signing: there are no code signing configurations, and this is how that reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

DECLINED: Final = (
    "CreateCodeSigningConfig",
    "UpdateCodeSigningConfig",
    "DeleteCodeSigningConfig",
    "PutFunctionCodeSigningConfig",
    "DeleteFunctionCodeSigningConfig",
)


class CodeSigningOperations:
    """GetFunctionCodeSigningConfig, GetCodeSigningConfig, ListCodeSigningConfigs, ListFunctionsByCodeSigningConfig."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve what can be read, and say why nothing can be written."""
        partly = "there are no code signing configurations"
        operations.serve("GetFunctionCodeSigningConfig", partly=partly)(self.get_function_code_signing_config)
        operations.serve("GetCodeSigningConfig", partly=partly)(self.get_code_signing_config)
        operations.serve("ListCodeSigningConfigs", partly=partly)(self.list_code_signing_configs)
        operations.serve("ListFunctionsByCodeSigningConfig", partly=partly)(self.get_code_signing_config)
        for operation in DECLINED:
            operations.decline(operation, "signatures are not checked, so no code is ever refused for the lack of one")

    async def get_function_code_signing_config(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionCodeSigningConfig: no member at all for a function without one, as recorded."""
        plane = self._plane
        plane.registry.function(plane.unqualified_name(call.members))
        return {}

    async def get_code_signing_config(self, call: Call) -> Mapping[str, Any]:
        """GetCodeSigningConfig and ListFunctionsByCodeSigningConfig: there is none."""
        raise faults.code_signing_config_not_found(call.members["CodeSigningConfigArn"])

    async def list_code_signing_configs(self, call: Call) -> Mapping[str, Any]:
        """ListCodeSigningConfigs: an empty page."""
        return {"CodeSigningConfigs": []}
