"""What an operation is to a policy: its IAM action, the ARN it is about, and the values for conditions.

Source: AWS Service Authorization Reference, "Actions, resources, and condition keys for AWS Lambda".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from venturekit.protocol.names import function_arn, parse_function_reference

PREFIX: Final = "lambda:"
INVOKE_FUNCTION_URL: Final = "lambda:InvokeFunctionUrl"
"""The action of a request to a function URL, which is no operation."""
READ_LOGS: Final = "logs:FilterLogEvents"
"""The action of reading the log of a function, as that of the log group it has on AWS."""
LOGS_PREFIX: Final = "logs:"
LOG_ACTIONS: Final = ("DescribeLogGroups", "DescribeLogStreams", "FilterLogEvents", "GetLogEvents")
"""What is served of CloudWatch Logs, with this prefix."""
EVENT_PREFIX: Final = "venturekit:"
EVENT_ACTIONS: Final = ("ListEvents", "GetEvent", "RedriveEvent", "DropEvent")
"""What is done to queued events by hand, with this prefix: AWS has no such actions."""
WEBSOCKET_ACTIONS: Final = ("ListWebSocketApis", "GetWebSocketApi", "PutWebSocketApi", "DeleteWebSocketApi")
"""What is done to WebSocket APIs, with the same prefix: on AWS it is not one call."""
METRICS_ACTION: Final = "GetMetrics"
"""Reading the service's own figures, with the same prefix."""
USE_CAPACITY_PROVIDER: Final = "lambda:PassCapacityProvider"
"""The action of giving a function a capacity provider, beside that of the operation."""
MANAGE_CONNECTIONS: Final = "execute-api:ManageConnections"
"""The action of a request to ``@connections`` (Service Authorization Reference, "Amazon API Gateway")."""

Members = Mapping[str, Any]
Find = Callable[[Members, str, str], str]


def action_and_resource(operation: str, members: Members, *, region: str, account_id: str) -> tuple[str, str]:
    """The IAM action of an operation and the ARN, or ``*``, that it is about.

    ``members`` are the validated members of the request, ``region`` and ``account_id`` those of the service, which
    count where the request names no other. A function is named as it was addressed, with the qualifier if one was
    given; operations that take none are about the whole function.

    Raises LookupError for an operation that is not in the table, and ValueError for a name that was not validated.
    """
    resource = _RESOURCES[operation](members, region, account_id)
    return PREFIX + _ACTIONS.get(operation, operation), resource


def passed_capacity_provider(operation: str, members: Members) -> str | None:
    """The ARN of the capacity provider that an operation gives to a function, or None."""
    if operation not in _PASSES_CAPACITY_PROVIDER:
        return None
    config = (members.get("CapacityProviderConfig") or {}).get("LambdaManagedInstancesCapacityProviderConfig") or {}
    arn = config.get("CapacityProviderArn")
    return None if arn is None else _spelled_alike(arn)


def account_of(resource: str, default: str) -> str:
    """The account in an ARN; ``default`` for ``*`` and for ARNs without one (AWS's own layers)."""
    parts = resource.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4] else default


def condition_context(operation: str, members: Members, *, region: str, account_id: str) -> dict[str, str]:
    """The values that an operation's members give to condition keys, under the keys' names.

    Raises as :func:`action_and_resource` does.
    """
    context = {
        key: members[member]
        for key, member in _CONTEXT_MEMBERS.get(operation, ())
        if isinstance(members.get(member), str)
    }
    if operation in _NAMES_FUNCTION and members.get("FunctionName"):
        context["lambda:FunctionArn"] = _function(members, region, account_id)
    return context


def _function(members: Members, region: str, account_id: str) -> str:
    reference = parse_function_reference(members["FunctionName"])
    return function_arn(reference.region or region, reference.account_id or account_id, reference.name)


def _addressed_function(members: Members, region: str, account_id: str) -> str:
    reference = parse_function_reference(members["FunctionName"])
    # Where the two differ, the request is refused later.
    qualifier = members.get("Qualifier") or reference.qualifier
    return function_arn(reference.region or region, reference.account_id or account_id, reference.name, qualifier)


def _layer(members: Members, region: str, account_id: str) -> str:
    return _named("layer", members["LayerName"], region, account_id)


def _layer_version(members: Members, region: str, account_id: str) -> str:
    return f"{_layer(members, region, account_id)}:{members['VersionNumber']}"


def _layer_version_in_arn(members: Members, _region: str, _account_id: str) -> str:
    arn, _, number = _spelled_alike(members["Arn"]).rpartition(":")
    # Zeros in front do not make it another version, and a policy must not be evaded by them.
    return f"{arn}:{number.lstrip('0') or '0'}" if number.isdecimal() else f"{arn}:{number}"


def _listed_layer(members: Members, region: str, account_id: str) -> str:
    # The reference has no resource for it; recorded is that a refusal names the layer of another account.
    layer = _layer(members, region, account_id)
    return "*" if account_of(layer, account_id) == account_id else layer


def _event_source_mapping(members: Members, region: str, account_id: str) -> str:
    return _named("event-source-mapping", members["UUID"], region, account_id)


def _capacity_provider(members: Members, region: str, account_id: str) -> str:
    return _named("capacity-provider", members["CapacityProviderName"], region, account_id)


def _arn_in(member: str) -> Find:
    return lambda members, _region, _account_id: _spelled_alike(members[member])


def _anything(_members: Members, _region: str, _account_id: str) -> str:
    return "*"


def _named(kind: str, name: str, region: str, account_id: str) -> str:
    """The ARN of something that is addressed by its name or by its ARN."""
    return _spelled_alike(name) if name.startswith("arn:") else _arn(region, account_id, f"{kind}:{name}")


def _spelled_alike(arn: str) -> str:
    """An ARN with the partition of its region: the model lets it be any, and a policy must not be evaded by that."""
    parts = arn.split(":", 5)
    return _arn(parts[3], parts[4], parts[5]) if len(parts) == 6 and parts[3] else arn


def _arn(region: str, account_id: str, rest: str) -> str:
    return function_arn(region, account_id, "").removesuffix("function:") + rest


_ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "GetLayerVersionByArn": "GetLayerVersion",
        "Invoke": "InvokeFunction",
        "InvokeWithResponseStream": "InvokeFunction",
    }
)
"""The actions that are not called like their operation."""

_FUNCTION_OPERATIONS: Final = (
    *("CreateAlias", "CreateFunction", "DeleteAlias", "DeleteFunctionCodeSigningConfig", "DeleteFunctionConcurrency"),
    *("GetAlias", "GetFunctionCodeSigningConfig", "GetFunctionConcurrency", "GetFunctionRecursionConfig"),
    *("ListAliases", "ListFunctionEventInvokeConfigs", "ListFunctionUrlConfigs", "ListProvisionedConcurrencyConfigs"),
    *("ListVersionsByFunction", "PublishVersion", "PutFunctionCodeSigningConfig", "PutFunctionConcurrency"),
    *("PutFunctionRecursionConfig", "UpdateAlias", "UpdateFunctionCode", "UpdateFunctionConfiguration"),
)
_ADDRESSED_FUNCTION_OPERATIONS: Final = (
    *("AddPermission", "CreateFunctionUrlConfig", "DeleteFunction", "DeleteFunctionEventInvokeConfig"),
    *("DeleteFunctionUrlConfig", "DeleteProvisionedConcurrencyConfig", "GetFunction", "GetFunctionConfiguration"),
    *("GetFunctionEventInvokeConfig", "GetFunctionScalingConfig", "GetFunctionUrlConfig", "GetPolicy"),
    *("GetProvisionedConcurrencyConfig", "GetRuntimeManagementConfig", "Invoke", "InvokeAsync"),
    *("InvokeWithResponseStream", "ListDurableExecutionsByFunction", "PutFunctionEventInvokeConfig"),
    *("PutFunctionScalingConfig", "PutProvisionedConcurrencyConfig", "PutRuntimeManagementConfig", "RemovePermission"),
    *("UpdateFunctionEventInvokeConfig", "UpdateFunctionUrlConfig"),
)
_PASSES_CAPACITY_PROVIDER: Final = frozenset({"CreateFunction", "UpdateFunctionConfiguration"})
_LAYER_VERSION_OPERATIONS: Final = (
    *("AddLayerVersionPermission", "DeleteLayerVersion", "GetLayerVersion", "GetLayerVersionPolicy"),
    "RemoveLayerVersionPermission",
)
_EVENT_SOURCE_MAPPING_OPERATIONS: Final = (
    *("DeleteEventSourceMapping", "GetEventSourceMapping", "UpdateEventSourceMapping"),
)
_CODE_SIGNING_CONFIG_OPERATIONS: Final = (
    *("DeleteCodeSigningConfig", "GetCodeSigningConfig", "ListFunctionsByCodeSigningConfig"),
    "UpdateCodeSigningConfig",
)
_CAPACITY_PROVIDER_OPERATIONS: Final = (
    *("CreateCapacityProvider", "DeleteCapacityProvider", "GetCapacityProvider"),
    *("ListFunctionVersionsByCapacityProvider", "UpdateCapacityProvider"),
)
# Deleting, pausing and resuming are newer than the reference; they are taken to be like stopping.
_DURABLE_EXECUTION_OPERATIONS: Final = (
    *("CheckpointDurableExecution", "DeleteDurableExecution", "GetDurableExecution", "GetDurableExecutionHistory"),
    *("GetDurableExecutionState", "PauseDurableExecution", "ResumeDurableExecution", "StopDurableExecution"),
)
_UNBOUND_OPERATIONS: Final = (
    *("CreateCodeSigningConfig", "CreateEventSourceMapping", "GetAccountSettings", "ListCapacityProviders"),
    *("ListCodeSigningConfigs", "ListEventSourceMappings", "ListFunctions", "ListLayers"),
    # AWS looks up which execution a callback belongs to. The id alone does not tell.
    *("SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat"),
    "SendDurableExecutionCallbackSuccess",
)
_RESOURCES: Final[Mapping[str, Find]] = MappingProxyType(
    {
        **dict.fromkeys(_FUNCTION_OPERATIONS, _function),
        **dict.fromkeys(_ADDRESSED_FUNCTION_OPERATIONS, _addressed_function),
        "PublishLayerVersion": _layer,
        "ListLayerVersions": _listed_layer,
        **dict.fromkeys(_LAYER_VERSION_OPERATIONS, _layer_version),
        "GetLayerVersionByArn": _layer_version_in_arn,
        **dict.fromkeys(_EVENT_SOURCE_MAPPING_OPERATIONS, _event_source_mapping),
        **dict.fromkeys(_CODE_SIGNING_CONFIG_OPERATIONS, _arn_in("CodeSigningConfigArn")),
        **dict.fromkeys(_CAPACITY_PROVIDER_OPERATIONS, _capacity_provider),
        **dict.fromkeys(_DURABLE_EXECUTION_OPERATIONS, _arn_in("DurableExecutionArn")),
        **dict.fromkeys(("ListTags", "TagResource", "UntagResource"), _arn_in("Resource")),
        **dict.fromkeys(("DeleteResourcePolicy", "GetResourcePolicy", "PutResourcePolicy"), _arn_in("ResourceArn")),
        **dict.fromkeys(_UNBOUND_OPERATIONS, _anything),
    }
)

KNOWN_ACTIONS: Final = frozenset(
    {
        *(PREFIX + _ACTIONS.get(operation, operation) for operation in _RESOURCES),
        *(EVENT_PREFIX + action for action in (*EVENT_ACTIONS, *WEBSOCKET_ACTIONS, METRICS_ACTION)),
        *(LOGS_PREFIX + action for action in LOG_ACTIONS),
        MANAGE_CONNECTIONS,
        USE_CAPACITY_PROVIDER,
        INVOKE_FUNCTION_URL,
        READ_LOGS,
    }
)
"""Every action that something here asks about."""

_NAMES_FUNCTION: Final = frozenset(
    {
        *("CreateEventSourceMapping", "UpdateEventSourceMapping"),
        *("CreateFunctionUrlConfig", "DeleteFunctionUrlConfig", "GetFunctionUrlConfig", "UpdateFunctionUrlConfig"),
    }
)
_CONTEXT_MEMBERS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        "AddPermission": (("lambda:Principal", "Principal"), ("lambda:FunctionUrlAuthType", "FunctionUrlAuthType")),
        "CreateFunction": (("lambda:CodeSigningConfigArn", "CodeSigningConfigArn"),),
        "CreateFunctionUrlConfig": (("lambda:FunctionUrlAuthType", "AuthType"),),
        "PutFunctionCodeSigningConfig": (("lambda:CodeSigningConfigArn", "CodeSigningConfigArn"),),
        "UpdateFunctionUrlConfig": (("lambda:FunctionUrlAuthType", "AuthType"),),
    }
)
