"""Who may use which layer: the owner, and the accounts that a version's policy names. Pure.

Source: AWS Lambda Developer Guide, "Managing layers", "Granting layer access to other accounts"; texts as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import root_arn
from venturekit.service.functions import faults
from venturekit.service.functions.layer_addressing import region_of_layer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.errors import ApiError
    from venturekit.service.functions.layer_registry import LayerRegistry, LayerVersion

GET_LAYER_VERSION: Final = "lambda:GetLayerVersion"


def is_granted(version: LayerVersion, account_id: str) -> bool:
    """Whether the version's policy lets this other account use it.

    A statement for an organization lets nobody in: accounts are in none here.
    """
    return any(_names(statement, account_id) for statement in version.policy)


def refusal(region: str, account_id: str, action: str, resource: str) -> ApiError:
    """403 for something of another account. The caller is named by its account, of which it is the root."""
    return faults.no_resource_policy_allows(root_arn(region, account_id), action, resource)


def readable_version(
    layers: LayerRegistry, layer_version_arn: str, *, region: str, account_id: str, owner: str
) -> LayerVersion | None:
    """A version that ``account_id`` may get; None for one of its own that does not exist.

    ``owner`` is the account in the ARN. Raises AccessDenied, which does not tell whether another account has it.
    """
    version = layers.find(layer_version_arn)
    if owner == account_id:
        return version
    if version is None or not is_granted(version, account_id):
        raise refusal(region, account_id, GET_LAYER_VERSION, layer_version_arn)
    return version


def layer_for_function(layers: LayerRegistry, arn: str, *, region: str, account_id: str) -> LayerVersion:
    """The layer version that a function of ``account_id`` asks for.

    Raises InvalidParameterValue (of another region, or not there) and AccessDenied.
    """
    layer_region = region_of_layer(arn)
    if layer_region is None:
        raise faults.layer_of_function_not_found(arn)
    if layer_region != region:
        raise faults.layers_not_in_region(region)
    version = readable_version(layers, arn, region=region, account_id=account_id, owner=arn.split(":", 5)[4])
    if version is None:
        raise faults.layer_of_function_not_found(arn)
    return version


def _names(statement: Mapping[str, Any], account_id: str) -> bool:
    if statement["Action"] != GET_LAYER_VERSION or statement.get("Condition"):
        return False
    principal: str | Mapping[str, str] = statement["Principal"]
    return isinstance(principal, str) or principal["AWS"].split(":")[4] == account_id
