"""All operations of the control plane of functions, in one visible place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.functions.aliases import AliasOperations
from venturekit.service.functions.code import CodeOperations
from venturekit.service.functions.functions import FunctionOperations
from venturekit.service.functions.versions import VersionOperations

if TYPE_CHECKING:
    from venturekit.service.api.registry import Registry
    from venturekit.service.functions.plane import ControlPlane


def register_operations(operations: Registry, plane: ControlPlane) -> None:
    """Serve every operation of this package."""
    FunctionOperations(plane).register(operations)
    CodeOperations(plane).register(operations)
    VersionOperations(plane).register(operations)
    AliasOperations(plane).register(operations)
