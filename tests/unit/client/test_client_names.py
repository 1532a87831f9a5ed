"""Names of functions, qualifiers, tenants, executions, destinations: taken are exactly those that the model takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit.client.command_support import model
from venturekit.client import GetFunctionRecursionConfigCommand, InvokeCommand, ParameterValidationError, checks

if TYPE_CHECKING:
    from collections.abc import Callable


def destination(value: str) -> str | None:
    return checks.destination_config({"OnFailure": {"Destination": value}})


CHECKS: dict[str, Callable[[Any], str | None]] = {
    "NamespacedFunctionName": checks.function_name,
    "UnqualifiedFunctionName": checks.unqualified_name,
    "NumericLatestPublishedOrAliasQualifier": checks.qualifier,
    "TenantId": checks.tenant_id,
    "DurableExecutionName": checks.execution_name,
    "DestinationArn": destination,
}
PIECES = [
    *(
        "arn:",
        "aws",
        "aws-us-gov",
        "aws-cn",
        ":lambda:",
        "us-east-1",
        "eusc-de-east-1",
        "us-gov-west-1",
        "us-isob-east-1",
    ),
    *(":", "function:", "000000000000", "00000000000", "name", "my.name", "a_b-c", "$LATEST", "$LATEST.PUBLISHED"),
    *("prod", "7", "$", "/", " ", "\n", "\u0661", "é", "{x}", "%24", "kafka://", "topic", "sqs", ".", "-", "@", "=+"),
]
CHARACTERS = st.sampled_from("aZ09-_.:$/ \n\r\0é\u0661{}%@=+")


def accepted(shape: str, value: str) -> bool:
    """What the model says. Its regular expressions are Java's, whose digits are ASCII."""
    limits = model().shape_for(shape).metadata
    is_long_enough = limits["min"] <= len(value) <= limits["max"]
    return is_long_enough and re.fullmatch(limits["pattern"], value, re.ASCII) is not None


@pytest.mark.parametrize("shape", CHECKS)
@given(drawn=st.data())
def test_what_the_pattern_makes_is_taken(shape: str, drawn: st.DataObject) -> None:
    pattern = re.compile(model().shape_for(shape).metadata["pattern"], re.ASCII)
    value = drawn.draw(st.from_regex(pattern, fullmatch=True))
    assume(accepted(shape, value))
    assert CHECKS[shape](value) is None


@pytest.mark.parametrize("shape", CHECKS)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=9), at=st.integers(0, 60), inserted=st.none() | CHARACTERS)
@example(pieces=["name"] * 64, at=0, inserted=None)
@example(pieces=["name"] * 64, at=0, inserted="a")
@example(pieces=["name"] * 35, at=0, inserted=None)
@example(pieces=["name"] * 35, at=0, inserted="a")
@example(
    pieces=["arn:", "aws", ":lambda:", "us-east-1", ":", "000000000000", ":", "function:", "name"], at=0, inserted=None
)
def test_what_is_taken_is_what_the_model_takes(shape: str, pieces: list[str], at: int, inserted: str | None) -> None:
    value = "".join(pieces)
    value = value if inserted is None else value[:at] + inserted + value[at:]
    assert (CHECKS[shape](value) is None) == accepted(shape, value)


FORMS = [
    *("my-function", "my_function", "my.function", "f" * 64, "F", "1", "-", "_", "a" * 256),
    *("my-function:prod", "my-function:7", "my-function:$LATEST", "my-function:$LATEST.PUBLISHED"),
    *("function:my-function", "000000000000:my-function", "000000000000:function:my-function:prod"),
    "us-east-1:000000000000:function:my-function",
    "arn:aws:lambda:us-east-1:000000000000:function:my-function",
    "arn:aws:lambda:us-east-1:000000000000:function:my-function:prod",
    "arn:aws-us-gov:lambda:us-gov-west-1:000000000000:function:my-function:$LATEST",
    "arn:aws-cn:lambda:cn-north-1:000000000000:function:my-function",
    "arn:aws-eusc:lambda:eusc-de-east-1:000000000000:function:my-function",
    "arn:aws-iso-b:lambda:us-isob-east-1:000000000000:function:my-function:7",
]
NO_NAMES = [
    *("", " ", "my function", "my-function ", "my-function\n", "my/function", "my-function:", ":prod", "wärme", "f\0"),
    *("my-function:$latest", "my-function:prod:7", "{id}", "a" * 257, "\u0661:function:f:\ud800"),
    "arn:aws:lambda:us-east-1:0:function:my-function",
    "arn:aws:s3:::bucket",
    "arn:aws:lambda:us-east-1:000000000000:layer:mine:1",
    "https://lambda.us-east-1.amazonaws.com",
]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_name_is_taken(name: str) -> None:
    assert InvokeCommand(FunctionName=name).FunctionName == name
    assert accepted("NamespacedFunctionName", name)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_is_refused_with_what_is_one(name: str) -> None:
    assert not accepted("NamespacedFunctionName", name)
    with pytest.raises(ParameterValidationError) as caught:
        InvokeCommand(FunctionName=name)
    [problem] = caught.value.problems
    assert "a name (my-function)" in problem or f"has {len(name)} characters, and may have 256" in problem
    assert len(problem) < 400


@pytest.mark.parametrize("name", [form for form in FORMS if ":prod" in form or form.endswith((":7", ":$LATEST"))])
def test_operations_on_whole_functions_say_that_they_take_no_version(name: str) -> None:
    with pytest.raises(ParameterValidationError, match="this operation takes no version or alias"):
        GetFunctionRecursionConfigCommand(FunctionName=name)
