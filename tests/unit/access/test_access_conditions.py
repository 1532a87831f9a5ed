"""Conditions of statements: served operators and keys, and what happens to others."""

from __future__ import annotations

from typing import Any

import pytest

from venturekit.service.access.conditions import parse_conditions
from venturekit.service.access.faults import StatementError


def holds(block: dict[str, Any], context: dict[str, str], *, strict: bool = True) -> bool:
    return all(condition.holds(context) for condition in parse_conditions(block, place="p", strict=strict))


@pytest.mark.parametrize(
    ("operator", "values", "value", "expected"),
    [
        ("StringEquals", "AWS_IAM", "AWS_IAM", True),
        ("StringEquals", "AWS_IAM", "aws_iam", False),
        ("StringEquals", ["NONE", "AWS_IAM"], "AWS_IAM", True),
        ("StringEquals", "AWS*", "AWS_IAM", False),
        ("StringLike", "AWS*", "AWS_IAM", True),
        ("StringLike", "AWS_IA?", "AWS_IAM", True),
        ("StringLike", "aws*", "AWS_IAM", False),
        ("Bool", True, "true", True),
        ("Bool", "True", "true", True),
        ("Bool", False, "true", False),
        ("Bool", "false", "False", True),
        ("StringEquals", 12, "12", True),
        ("ArnLike", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("ArnEquals", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("ArnLike", "arn:aws:s3:::b", "arn:aws:s3:::bucket", False),
        ("ArnLike", "*", "arn:aws:s3:::bucket", True),
        ("ArnLike", "arn:*:*:*:*:*", "arn:aws:sqs:us-east-1:1:q", True),
        ("ArnLike", "arn:*:q", "arn:aws:sqs:us-east-1:1:q", False),
        ("ArnLike", "arn:aws:sqs:*:1:q", "arn:aws:sqs:us-east-1:2:1:q", False),
        ("ArnLike", "arn:aws:lambda:*:*:function:f", "arn:aws:lambda:us-east-1:1:function:f", True),
        ("ArnLike", "arn:aws:s3:::b*", "bucket", False),
        ("ArnLike", ["arn:aws:s3:::a", "arn:aws:s3:::b"], "arn:aws:s3:::b", True),
    ],
)
def test_an_operator(operator: str, values: object, value: str, expected: bool) -> None:
    # Which key it is does not matter to an operator. A pattern of too few parts is refused where it can be.
    assert holds({operator: {"aws:SourceArn": values}}, {"aws:sourcearn": value}, strict=False) is expected


@pytest.mark.parametrize("operator", ["StringEquals", "StringLike", "ArnLike", "ArnEquals", "Bool"])
def test_a_key_that_the_request_has_not_is_not_met(operator: str) -> None:
    values = "*" if operator != "Bool" else "false"
    assert not holds({operator: {"aws:SourceArn": values}}, {})


def test_keys_are_compared_without_regard_to_case() -> None:
    assert holds({"StringEquals": {"AWS:sourceACCOUNT": "1"}}, {"aws:sourceaccount": "1"})


def test_all_operators_and_keys_must_be_met() -> None:
    block = {
        "StringEquals": {"aws:SourceAccount": "1", "aws:username": "alice"},
        "ArnLike": {"aws:SourceArn": "arn:aws:s3:::b*"},
    }
    context = {"aws:sourceaccount": "1", "aws:username": "alice", "aws:sourcearn": "arn:aws:s3:::b"}
    assert holds(block, context)
    for key in context:
        assert not holds(block, {**context, key: "other"})


def test_without_conditions_everything_is_met() -> None:
    assert holds({}, {})
    assert holds({"StringEquals": {}}, {})


@pytest.mark.parametrize(
    "block",
    [
        {"StringNotEquals": {"aws:SourceAccount": "2"}},
        {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}},
        {"StringEqualsIfExists": {"aws:SourceAccount": "1"}},
        {"ForAnyValue:StringEquals": {"aws:SourceAccount": "1"}},
        {"ArnLike": {"aws:SourceArn": "arn:aws:s3"}},
    ],
)
def test_what_is_not_served_is_refused_or_never_met(block: dict[str, Any]) -> None:
    context = {"aws:sourceaccount": "1", "aws:sourceip": "127.0.0.1", "aws:sourcearn": "arn:aws:s3:::b"}
    assert not holds(block, context, strict=False)
    with pytest.raises(StatementError, match=r"^p: "):
        holds(block, context)
