"""The IAM action and the resource of every operation."""

from __future__ import annotations

from typing import Any

import pytest

from venturekit.protocol.names import InvalidFunctionNameError
from venturekit.service.access.actions import (
    KNOWN_ACTIONS,
    account_of,
    action_and_resource,
    condition_context,
)
from venturekit.service.api.model import service_model

REGION, ACCOUNT, OTHER = "us-east-1", "123456789012", "111122223333"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
OTHER_ARN = f"arn:aws:lambda:{REGION}:{OTHER}"
UUID = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"
CONFIG = f"{ARN}:code-signing-config:csc-0123456789abcdefg"
EXECUTION = f"{ARN}:function:f:1/durable-execution/name/id"
# A value for every member that an ARN can be made from.
MEMBERS: dict[str, Any] = {
    "FunctionName": "f",
    "Qualifier": "prod",
    "LayerName": "tools",
    "VersionNumber": 3,
    "Arn": f"{ARN}:layer:tools:3",
    "UUID": UUID,
    "CodeSigningConfigArn": CONFIG,
    "CapacityProviderName": "large",
    "DurableExecutionArn": EXECUTION,
    "CallbackId": "YWJj",
    "Resource": f"{ARN}:function:f",
    "ResourceArn": f"{ARN}:function:f",
    "Name": "prod",
    "Principal": "s3.amazonaws.com",
    "AuthType": "AWS_IAM",
}
OPERATIONS = sorted(service_model().operations)
UNBOUND = {
    *("CreateCodeSigningConfig", "CreateEventSourceMapping", "GetAccountSettings", "ListCapacityProviders"),
    *("ListCodeSigningConfigs", "ListEventSourceMappings", "ListFunctions", "ListLayers", "ListLayerVersions"),
    *("SendDurableExecutionCallbackFailure", "SendDurableExecutionCallbackHeartbeat"),
    "SendDurableExecutionCallbackSuccess",
}


def of(operation: str, **members: Any) -> tuple[str, str]:
    return action_and_resource(operation, members, region=REGION, account_id=ACCOUNT)


def members_of(operation: str) -> dict[str, Any]:
    """What a request with all of these members has."""
    known = service_model().operations[operation].input.members
    return {name: value for name, value in MEMBERS.items() if name in known}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_an_action_and_a_resource(operation: str) -> None:
    action, resource = of(operation, **members_of(operation))
    assert action in KNOWN_ACTIONS
    assert action.startswith("lambda:")
    assert resource.startswith(f"{ARN}:") is (operation not in UNBOUND)
    assert operation not in UNBOUND or resource == "*"
    assert account_of(resource, ACCOUNT) == ACCOUNT


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_an_operation_names_is_what_it_is_about(operation: str) -> None:
    """A request is never about something less than what its address names."""
    members = members_of(operation)
    _, resource = of(operation, **members)
    if "DurableExecutionArn" in members:
        assert resource == EXECUTION
    elif "FunctionName" in members and "UUID" not in members and operation not in UNBOUND:
        assert resource == f"{ARN}:function:f" + (":prod" if "Qualifier" in members else "")
    elif "LayerName" in members and operation not in UNBOUND:
        assert resource == f"{ARN}:layer:tools" + (":3" if "VersionNumber" in members else "")
    elif "UUID" in members:
        assert resource == f"{ARN}:event-source-mapping:{UUID}"


@pytest.mark.parametrize(
    ("operation", "members", "action", "resource"),
    [
        ("Invoke", {"FunctionName": "f"}, "lambda:InvokeFunction", f"{ARN}:function:f"),
        ("Invoke", {"FunctionName": "f:$LATEST"}, "lambda:InvokeFunction", f"{ARN}:function:f:$LATEST"),
        (
            "Invoke",
            {"FunctionName": f"{OTHER}:f", "Qualifier": "1"},
            "lambda:InvokeFunction",
            f"{OTHER_ARN}:function:f:1",
        ),
        ("Invoke", {"FunctionName": f"{OTHER_ARN}:function:f"}, "lambda:InvokeFunction", f"{OTHER_ARN}:function:f"),
        ("InvokeWithResponseStream", {"FunctionName": "f"}, "lambda:InvokeFunction", f"{ARN}:function:f"),
        ("InvokeAsync", {"FunctionName": "f:prod"}, "lambda:InvokeAsync", f"{ARN}:function:f:prod"),
        ("UpdateFunctionCode", {"FunctionName": "f:prod"}, "lambda:UpdateFunctionCode", f"{ARN}:function:f"),
        ("CreateFunction", {"FunctionName": f"{ARN}:function:f"}, "lambda:CreateFunction", f"{ARN}:function:f"),
        ("GetAlias", {"FunctionName": "f", "Name": "prod"}, "lambda:GetAlias", f"{ARN}:function:f"),
        ("GetLayerVersionByArn", {"Arn": f"{OTHER_ARN}:layer:t:1"}, "lambda:GetLayerVersion", f"{OTHER_ARN}:layer:t:1"),
        (
            "GetLayerVersionByArn",
            {"Arn": "arn:aws:lambda:::awslayer:x"},
            "lambda:GetLayerVersion",
            "arn:aws:lambda:::awslayer:x",
        ),
        (
            "GetLayerVersion",
            {"LayerName": f"{OTHER_ARN}:layer:t", "VersionNumber": 2},
            "lambda:GetLayerVersion",
            f"{OTHER_ARN}:layer:t:2",
        ),
        (
            "ListLayerVersions",
            {"LayerName": f"{OTHER_ARN}:layer:t"},
            "lambda:ListLayerVersions",
            f"{OTHER_ARN}:layer:t",
        ),
        ("ListLayerVersions", {"LayerName": f"{ARN}:layer:t"}, "lambda:ListLayerVersions", "*"),
        (
            "GetCapacityProvider",
            {"CapacityProviderName": f"{ARN}:capacity-provider:large"},
            "lambda:GetCapacityProvider",
            f"{ARN}:capacity-provider:large",
        ),
        (
            "ListTags",
            {"Resource": f"{ARN}:event-source-mapping:{UUID}"},
            "lambda:ListTags",
            f"{ARN}:event-source-mapping:{UUID}",
        ),
        ("ListFunctions", {}, "lambda:ListFunctions", "*"),
    ],
)
def test_an_operation(operation: str, members: dict[str, Any], action: str, resource: str) -> None:
    assert of(operation, **members) == (action, resource)


@pytest.mark.parametrize("spelling", ["arn::lambda", "arn:aws-cn:lambda", "arn:aws-anything:lambda"])
def test_no_spelling_of_an_arn_evades_a_policy(spelling: str) -> None:
    # The model's patterns let a partition be any, and even left out.
    assert of("Invoke", FunctionName=f"{spelling}:{REGION}:{ACCOUNT}:function:f")[1] == f"{ARN}:function:f"
    layer = f"{spelling}:{REGION}:{ACCOUNT}:layer:t"
    assert of("DeleteLayerVersion", LayerName=layer, VersionNumber=1)[1] == f"{ARN}:layer:t:1"
    assert of("TagResource", Resource=layer.replace("layer", "function"))[1] == f"{ARN}:function:t"


def test_an_operation_that_is_not_in_the_table() -> None:
    with pytest.raises(LookupError):
        of("InvokeFunction", FunctionName="f")


def test_a_name_that_was_not_validated() -> None:
    with pytest.raises(InvalidFunctionNameError):
        of("Invoke", FunctionName="no name")


@pytest.mark.parametrize(
    ("operation", "members", "context"),
    [
        ("CreateEventSourceMapping", {"FunctionName": "f:1"}, {"lambda:FunctionArn": f"{ARN}:function:f"}),
        ("UpdateEventSourceMapping", {"UUID": UUID}, {}),
        (
            "CreateFunctionUrlConfig",
            {"FunctionName": "f", "AuthType": "NONE"},
            {"lambda:FunctionArn": f"{ARN}:function:f", "lambda:FunctionUrlAuthType": "NONE"},
        ),
        (
            "AddPermission",
            {"FunctionName": "f", "Principal": "s3.amazonaws.com", "FunctionUrlAuthType": "NONE"},
            {"lambda:Principal": "s3.amazonaws.com", "lambda:FunctionUrlAuthType": "NONE"},
        ),
        (
            "PutFunctionCodeSigningConfig",
            {"FunctionName": "f", "CodeSigningConfigArn": CONFIG},
            {"lambda:CodeSigningConfigArn": CONFIG},
        ),
        ("CreateFunction", {"FunctionName": "f", "CodeSigningConfigArn": None}, {}),
        ("Invoke", {"FunctionName": "f"}, {}),
    ],
)
def test_what_a_request_gives_to_conditions(operation: str, members: dict[str, Any], context: dict[str, str]) -> None:
    assert condition_context(operation, members, region=REGION, account_id=ACCOUNT) == context


@pytest.mark.parametrize(
    ("resource", "account"),
    [("*", "default"), (f"{OTHER_ARN}:function:f:1", OTHER), ("arn:aws:lambda:::awslayer:x", "default")],
)
def test_the_account_of_a_resource(resource: str, account: str) -> None:
    assert account_of(resource, "default") == account
