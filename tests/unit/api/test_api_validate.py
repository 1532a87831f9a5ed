"""The generic validator: every constraint of the model, and the recorded texts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from venturekit.service.api.errors import ApiError
from venturekit.service.api.model import Operation, Shape, service_model
from venturekit.service.api.patterns import compile_pattern
from venturekit.service.api.validate import find_violations, validate_members

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = service_model()
BAD_TEXTS = ("\n", " ", "!", "\u20ac", "", "^", "$$$", "system.x")
NUMBERS = ("integer", "long", "double", "float")


class Violation(NamedTuple):
    """Where to put which value (``keys``; None deletes), and what the message must then hold."""

    keys: tuple[Any, ...]
    value: Any
    expected: str


def bad_values(shape: Shape, sample: Any) -> Iterator[tuple[Any, str]]:
    """Values that violate one constraint of ``shape`` each, with the text of it."""
    what = "value" if shape.kind in NUMBERS else "length"
    if shape.maximum is not None:
        yield beyond(shape, sample), f"Member must have {what} less than or equal to {shape.maximum}"
    if shape.minimum is not None and (what == "value" or shape.minimum > 0):
        yield below(shape, sample), f"Member must have {what} greater than or equal to {shape.minimum}"
    if shape.enum:
        yield "no-such-value", "Member must satisfy enum value set: ["
    if shape.pattern is not None:
        compiled = compile_pattern(shape.pattern)
        assert compiled is not None
        bad = next((text for text in BAD_TEXTS if not compiled.fullmatch(text)), None)
        if bad is not None:
            yield bad, f"Member must satisfy regular expression pattern: {shape.pattern}"


def beyond(shape: Shape, sample: Any) -> Any:
    assert shape.maximum is not None
    limit = shape.maximum
    match shape.kind:
        case "list":
            return [sample(shape.element)] * (int(limit) + 1)
        case "map":
            return {f"key{number}": sample(shape.element) for number in range(int(limit) + 1)}
        case "string":
            return "a" * (int(limit) + 1)
        case "blob":
            return bytes(int(limit) + 1)
        case _:
            return limit + 1


def below(shape: Shape, sample: Any) -> Any:
    assert shape.minimum is not None
    match shape.kind:
        case "list":
            return []
        case "map":
            return {}
        case "string":
            return "a" * (int(shape.minimum) - 1)
        case _:
            return shape.minimum - 1


def violations_of(operation: Operation, sample: Any) -> Iterator[Violation]:
    yield from in_structure(operation, operation.input, (), "", sample)


def in_structure(
    operation: Operation, shape: Shape, keys: tuple[Any, ...], path: str, sample: Any
) -> Iterator[Violation]:
    for member in shape.members.values():
        inner = f"{path}{member.name[0].lower()}{member.name[1:]}"
        if member.required:
            yield Violation(
                (*keys, member.name),
                None,
                f"Value null at '{inner}' failed to satisfy constraint: Member must not be null",
            )
        yield from in_value(operation, member.shape, (*keys, member.name), inner, sample)


def in_value(operation: Operation, shape: Shape, keys: tuple[Any, ...], path: str, sample: Any) -> Iterator[Violation]:
    runtime_is_refused_elsewhere = shape.name == "Runtime" and keys[-1] == "Runtime" and operation.method != "GET"
    for value, text in () if runtime_is_refused_elsewhere else bad_values(shape, sample):
        yield Violation(keys, value, f" at '{path}' failed to satisfy constraint: {text}")
    if shape.kind == "structure":
        yield from in_structure(operation, shape, keys, f"{path}.", sample)
    for part, words in ((shape.element, "Member" if shape.kind == "list" else "Map value"), (shape.key, "Map keys")):
        if part is None:
            continue
        start = f" at '{path}' failed to satisfy constraint: {words} must satisfy constraint: ["
        for value, _ in bad_values(part, sample):
            changed = (
                [value]
                if shape.kind == "list"
                else {"1": value}
                if part is shape.element
                else {value: sample(shape.element)}
            )
            yield Violation(keys, changed, start)
    element = shape.element
    if element is not None and element.kind == "structure":
        yield from in_structure(operation, element, (*keys, 0), f"{path}.1.member.", sample)


def put(members: dict[str, Any], keys: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(members)
    holder: Any = changed
    for key in keys[:-1]:
        holder = holder[key]
    if value is None:
        del holder[keys[-1]]
    else:
        holder[keys[-1]] = value
    return changed


def test_the_generated_violations_are_many(sample: Any) -> None:
    assert sum(1 for op in MODEL.operations.values() for _ in violations_of(op, sample)) >= 900


@pytest.mark.parametrize("name", list(MODEL.operations))
def test_every_constraint_of_an_operation_is_checked(name: str, sample: Any) -> None:
    operation = MODEL.operations[name]
    members = sample(operation.input)
    assert find_violations(operation, members) == []
    for keys, value, expected in violations_of(operation, sample):
        found = find_violations(operation, put(members, keys, value))
        assert any(expected in text for text in found), (keys, value, expected, found)


def message_of(operation_name: str, members: dict[str, Any]) -> tuple[str, str | None]:
    with pytest.raises(ApiError) as caught:
        validate_members(MODEL.operations[operation_name], members)
    assert caught.value.status == 400
    return caught.value.code, caught.value.message


UNQUALIFIED = MODEL.operations["PutFunctionRecursionConfig"].input.members["FunctionName"].shape.pattern
NAMESPACED = MODEL.operations["Invoke"].input.members["FunctionName"].shape.pattern
LAYER = MODEL.operations["CreateFunction"].input.members["Layers"].shape.element.pattern  # type: ignore[union-attr]
DESTINATION = (
    MODEL.operations["PutFunctionEventInvokeConfig"]
    .input.members["DestinationConfig"]
    .shape.members["OnFailure"]
    .shape.members["Destination"]
    .shape.pattern
)
CREATE = {"FunctionName": "f", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}}
ALIAS = {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"}
FILE_SYSTEM = "arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"
NOT_NULL = "Member must not be null"
ARCHITECTURES = f"Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], {NOT_NULL}]"
PATTERN = "Member must satisfy regular expression pattern:"
LONGEST = "Member must have length less than or equal to"
SHORTEST = "Member must have length greater than or equal to"
LARGEST = "Member must have value less than or equal to"
SMALLEST = "Member must have value greater than or equal to"
TEXTS = [
    (
        "PutFunctionRecursionConfig",
        {"FunctionName": "f g", "RecursiveLoop": "Forbid"},
        [
            ("Value 'f g' at 'functionName'", f"{PATTERN} {UNQUALIFIED}"),
            ("Value 'Forbid' at 'recursiveLoop'", "Member must satisfy enum value set: [Terminate, Allow]"),
        ],
    ),
    (
        "Invoke",
        {"FunctionName": "f:" + "q" * 255},
        [(f"Value 'f:{'q' * 255}' at 'functionName'", f"{LONGEST} 256")],
    ),
    (
        "Invoke",
        {"FunctionName": "!" * 257},
        [
            (f"Value '{'!' * 257}' at 'functionName'", f"{PATTERN} {NAMESPACED}"),
            (f"Value '{'!' * 257}' at 'functionName'", f"{LONGEST} 256"),
        ],
    ),
    (
        "CreateFunction",
        {**CREATE, "Timeout": 0, "MemorySize": 32769},
        [("Value '0' at 'timeout'", f"{SMALLEST} 1"), ("Value '32769' at 'memorySize'", f"{LARGEST} 32768")],
    ),
    (
        "CreateFunction",
        {**CREATE, "Architectures": ["X86_64"]},
        [("Value '[X86_64]' at 'architectures'", ARCHITECTURES)],
    ),
    ("CreateFunction", {**CREATE, "Architectures": [None]}, [("Value '[null]' at 'architectures'", ARCHITECTURES)]),
    (
        "CreateFunction",
        {**CREATE, "Architectures": []},
        [("Value '[]' at 'architectures'", f"{SHORTEST} 1")],
    ),
    (
        "CreateFunction",
        {**CREATE, "Layers": ["nope"]},
        [
            (
                "Value '[nope]' at 'layers'",
                f"Member must satisfy constraint: [{LONGEST} 2048, {SHORTEST} 1, {PATTERN} {LAYER}, {NOT_NULL}]",
            )
        ],
    ),
    (
        "CreateFunction",
        {**CREATE, "Environment": {"Variables": {"1A": "secret"}}},
        [
            (
                "Value at 'environment.variables'",
                f"Map keys must satisfy constraint: [{PATTERN} [a-zA-Z]([a-zA-Z0-9_])+, {NOT_NULL}]",
            )
        ],
    ),
    (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "NONE", "Cors": {"AllowMethods": ["GET", "POST", "OPTIONS"]}},
        [
            (
                "Value '[GET, POST, OPTIONS]' at 'cors.allowMethods'",
                f"Member must satisfy constraint: [{LONGEST} 6, {SHORTEST} 0, {PATTERN} .*, {NOT_NULL}]",
            )
        ],
    ),
    (
        "CreateAlias",
        {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": {"2": 2.0}}},
        [
            (
                "Value '{2=2.0}' at 'routingConfig.additionalVersionWeights'",
                f"Map value must satisfy constraint: [{LARGEST} 1.0, {SMALLEST} 0.0, {NOT_NULL}]",
            )
        ],
    ),
    (
        "CreateAlias",
        {**ALIAS, "RoutingConfig": {"AdditionalVersionWeights": {"b": 0.5}}},
        [
            (
                "Value '{b=0.5}' at 'routingConfig.additionalVersionWeights'",
                f"Map keys must satisfy constraint: [{LONGEST} 1024, {SHORTEST} 1, {PATTERN} [0-9]+, {NOT_NULL}]",
            )
        ],
    ),
    (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f", "DestinationConfig": {"OnFailure": {"Destination": "nowhere"}}},
        [("Value 'nowhere' at 'destinationConfig.onFailure.destination'", f"{PATTERN} {DESTINATION}")],
    ),
    (
        "PutFunctionEventInvokeConfig",
        {"FunctionName": "f", "MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 59},
        [
            ("Value '3' at 'maximumRetryAttempts'", f"{LARGEST} 2"),
            ("Value '59' at 'maximumEventAgeInSeconds'", f"{SMALLEST} 60"),
        ],
    ),
    (
        "CreateFunction",
        {**CREATE, "FileSystemConfigs": [{"Arn": FILE_SYSTEM}]},
        [("Value null at 'fileSystemConfigs.1.member.localMountPath'", NOT_NULL)],
    ),
]


@pytest.mark.parametrize(("operation_name", "members", "violations"), TEXTS)
def test_the_wording(operation_name: str, members: dict[str, Any], violations: list[tuple[str, str]]) -> None:
    code, message = message_of(operation_name, members)
    assert code == "ValidationException"
    assert message is not None
    head, _, tail = message.partition(" detected: ")
    assert head == ("1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors")
    assert tail == "; ".join(f"{what} failed to satisfy constraint: {rule}" for what, rule in violations)


def test_the_whole_text_of_one_and_of_two_errors() -> None:
    _, one = message_of("PutFunctionRecursionConfig", {"FunctionName": "f"})
    assert one == (
        "1 validation error detected: Value null at 'recursiveLoop' failed to satisfy constraint: "
        "Member must not be null"
    )
    _, two = message_of("CreateFunction", {**CREATE, "Timeout": 5401, "MemorySize": 127})
    assert two == (
        "2 validation errors detected: Value '5401' at 'timeout' failed to satisfy constraint: "
        "Member must have value less than or equal to 5400; Value '127' at 'memorySize' failed to satisfy constraint: "
        "Member must have value greater than or equal to 128"
    )


def test_the_patterns_of_names_are_those_of_the_fact_sheet() -> None:
    assert NAMESPACED == (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
        r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
    )


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "name:q",
        "123456789012:function:name",
        "123456789012:function:name:q",
        "function:name",
        "123456789012:name",
        "us-east-1:123456789012:function:name",
        "arn:aws:lambda:us-east-1:123456789012:function:name:$LATEST.PUBLISHED",
    ],
)
def test_all_forms_of_a_function_name_pass(name: str) -> None:
    assert find_violations(MODEL.operations["Invoke"], {"FunctionName": name}) == []


def test_a_long_bare_name_is_an_invalid_parameter() -> None:
    code, message = message_of("GetFunction", {"FunctionName": "a" * 65})
    assert code == "InvalidParameterValueException"
    assert message == (
        f"1 validation error detected: Value '{'a' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )
    validate_members(MODEL.operations["GetFunction"], {"FunctionName": "a" * 64})


@pytest.mark.parametrize("name", ["CreateFunction", "UpdateFunctionConfiguration"])
def test_an_unknown_runtime_is_an_invalid_parameter(name: str) -> None:
    code, message = message_of(name, {**CREATE, "Runtime": "perl5"})
    assert code == "InvalidParameterValueException"
    assert message is not None
    assert message.startswith(
        "Value perl5 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: ["
    )
    assert "python3.13, " in message
    assert message.endswith("] or be a valid ARN")


def test_violations_of_the_model_come_before_an_unknown_runtime() -> None:
    code, _ = message_of("CreateFunction", {**CREATE, "Runtime": "perl5", "Timeout": 0})
    assert code == "ValidationException"


def test_secrets_are_not_repeated() -> None:
    update = {"Id": "1", "Type": "STEP", "Action": "SUCCEED", "Payload": "p" * 6291457}
    members = {"DurableExecutionArn": "x", "CheckpointToken": "dG9r", "Updates": [update]}
    violations = find_violations(MODEL.operations["CheckpointDurableExecution"], members)
    assert any(text.startswith("Value at 'updates.1.member.payload' failed") for text in violations)
    assert "ppp" not in "".join(violations)


def test_an_answer_is_bounded() -> None:
    long = "!" * 1_000_000
    _, message = message_of("CreateFunction", {**CREATE, "Handler": long + " "})
    assert message is not None
    assert len(message) < 20_000
    updates = [{}] * 100_000
    members = {"DurableExecutionArn": "x", "CheckpointToken": "dG9r", "Updates": updates}
    assert len(find_violations(MODEL.operations["CheckpointDurableExecution"], members)) == 100
