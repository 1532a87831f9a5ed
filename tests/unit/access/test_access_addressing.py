"""What a policy is asked about is what the operation then works on, however the request writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from venturekit.service.access.actions import action_and_resource
from venturekit.service.api.errors import ApiError
from venturekit.service.api.model import service_model
from venturekit.service.api.validate import validate_members
from venturekit.service.functions.layer_addressing import parse_layer, parse_layer_version
from venturekit.service.functions.registry import FunctionRegistry

if TYPE_CHECKING:
    from typing import Any

REGION, OWN = "us-east-1", "000000000000"
REGISTRY = FunctionRegistry(region=REGION, account_id=OWN)

NAMES = st.sampled_from(
    [
        *("f", "F", "function", "us-east-1", OWN, "111122223333", "1", "01"),
        *("arn", "lambda", "layer", "a_b-c", "f.g", "$LATEST"),
    ]
)
PIECES = st.sampled_from(
    ["arn:aws:lambda:", "arn:aws-cn:lambda:", "arn::lambda:", f"{REGION}:", "eu-west-1:", f"{OWN}:", "111122223333:"]
)
TEXTS = st.builds(
    lambda pieces, kind, names: "".join(pieces) + kind + ":".join(names),
    st.lists(PIECES, max_size=3),
    st.sampled_from(["", "function:", "FUNCTION:", "layer:"]),
    st.lists(NAMES, min_size=1, max_size=4),
)
QUALIFIERS = st.none() | st.sampled_from(["1", "01", "live", "$LATEST", "f"])
WITH_QUALIFIER = ("GetFunction", "DeleteFunction", "AddPermission", "PutFunctionEventInvokeConfig", "Invoke")
WHOLE = ("UpdateFunctionCode", "PublishVersion", "CreateAlias", "PutFunctionConcurrency", "CreateFunction")


def is_valid(operation: str, members: dict[str, Any]) -> bool:
    """Whether these members pass the model; others that the operation requires do not count."""
    model = service_model().operations[operation]
    try:
        validate_members(model, members)
    except ApiError as error:
        return not any(f"at '{name[0].lower()}{name[1:]}' failed" in str(error.message) for name in members)
    return True


def resource_of(operation: str, members: dict[str, Any]) -> str:
    return action_and_resource(operation, members, region=REGION, account_id=OWN)[1]


@given(operation=st.sampled_from([*WITH_QUALIFIER, *WHOLE]), text=TEXTS, qualifier=QUALIFIERS)
@example(operation="Invoke", text="function:function:f", qualifier=None)
@example(operation="Invoke", text=f"{OWN}:function", qualifier="live")
@settings(deadline=None, max_examples=200)
def test_functions(operation: str, text: str, qualifier: str | None) -> None:
    members: dict[str, Any] = {"FunctionName": text}
    if operation in WHOLE:
        qualifier = None
    if qualifier is not None:
        members["Qualifier"] = qualifier
    if not is_valid(operation, members):
        return
    resource = resource_of(operation, members)
    try:
        address = REGISTRY.address(text, qualifier)
    except ApiError:
        # Refused, whoever asks; but never because of another function than the policy was asked about.
        return
    assert resource == REGISTRY.arn(address.name, None if operation in WHOLE else address.qualifier)


@given(text=TEXTS, number=st.integers(0, 20), zeros=st.integers(0, 3))
@example(text=f"arn:aws-cn:lambda:{REGION}:{OWN}:layer:f", number=1, zeros=2)
@example(text=f"arn:aws:lambda:{REGION}:111122223333:layer:f", number=0, zeros=1)
@settings(deadline=None, max_examples=200)
def test_layers(text: str, number: int, zeros: int) -> None:
    members = {"LayerName": text, "VersionNumber": number}
    if is_valid("GetLayerVersion", members):
        try:
            address = parse_layer(text, region=REGION, account_id=OWN)
        except ApiError:
            return
        assert resource_of("GetLayerVersion", members) == address.version_arn(number)
        assert resource_of("PublishLayerVersion", members) == address.arn
    arn = {"Arn": f"{text}:{'0' * zeros}{number}"}
    if is_valid("GetLayerVersionByArn", arn):
        try:
            address, found = parse_layer_version(arn["Arn"], region=REGION)
        except ApiError:
            return
        assert resource_of("GetLayerVersionByArn", arn) == address.version_arn(found)
