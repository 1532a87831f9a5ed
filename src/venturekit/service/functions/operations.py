"""All operations of the control plane of functions, in one visible place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.functions.account_settings import AccountSettingsOperations
from venturekit.service.functions.aliases import AliasOperations
from venturekit.service.functions.capacity_provider_operations import CapacityProviderOperations
from venturekit.service.functions.code import CodeOperations
from venturekit.service.functions.code_signing import CodeSigningOperations
from venturekit.service.functions.concurrency import ConcurrencyOperations
from venturekit.service.functions.event_invoke_config import EventInvokeConfigOperations
from venturekit.service.functions.functions import FunctionOperations
from venturekit.service.functions.layer_permissions import LayerPermissionOperations
from venturekit.service.functions.layers import LayerOperations
from venturekit.service.functions.permissions import PermissionOperations
from venturekit.service.functions.provisioned_concurrency import ProvisionedConcurrencyOperations
from venturekit.service.functions.recursion import RecursionOperations
from venturekit.service.functions.runtime_management import RuntimeManagementOperations
from venturekit.service.functions.scaling_config import ScalingConfigOperations
from venturekit.service.functions.tags import TagOperations
from venturekit.service.functions.urls import UrlOperations
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
    TagOperations(plane).register(operations)
    ConcurrencyOperations(plane).register(operations)
    ProvisionedConcurrencyOperations(plane).register(operations)
    AccountSettingsOperations(plane).register(operations)
    RecursionOperations(plane).register(operations)
    EventInvokeConfigOperations(plane).register(operations)
    RuntimeManagementOperations(plane).register(operations)
    CodeSigningOperations(plane).register(operations)
    UrlOperations(plane).register(operations)
    LayerOperations(plane).register(operations)
    LayerPermissionOperations(plane).register(operations)
    PermissionOperations(plane).register(operations)
    CapacityProviderOperations(plane).register(operations)
    ScalingConfigOperations(plane).register(operations)
