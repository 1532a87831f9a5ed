"""Reading policy statements: what is refused, with the place, and what a statement is about."""

from __future__ import annotations

from typing import Any

import pytest

from venturekit.service.access.faults import StatementError
from venturekit.service.access.grantees import Naming
from venturekit.service.access.principals import Principal, anonymous, function, root, service, user
from venturekit.service.access.statements import Statement, parse_statements

ACCOUNT, OTHER = "123456789012", "111122223333"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:orders"
GOOD: dict[str, Any] = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "*"}


def parse_one(statement: dict[str, Any], *, principal_allowed: bool = False) -> Statement:
    (parsed,) = parse_statements([statement], place="key AKIA", principal_allowed=principal_allowed)
    return parsed


def covers(statement: dict[str, Any], action: str, resource: str = FUNCTION, **context: str) -> bool:
    return parse_one(statement).covers(action.lower(), resource, context)


# --- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Effect": "allow"}, 'Effect must be Allow or Deny, not "allow"'),
        ({"Effect": None}, "Effect must be Allow or Deny, not null"),
        ({"Sid": 1}, "Sid must be a text, not 1"),
        ({"Actions": []}, "unknown member Actions; a statement here has Sid, Effect, Action"),
        ({"Principal": "*"}, "unknown member Principal; a statement here has"),
        ({"NotAction": "lambda:*"}, "must have either Action or NotAction"),
        ({"NotResource": "*"}, "must have either Resource or NotResource"),
        ({"Action": []}, "Action must be a text or a list of texts, not []"),
        ({"Action": ["lambda:*", 1]}, 'Action must be a text or a list of texts, not ["lambda:*", 1]'),
        ({"Action": "InvokeFunction"}, '"InvokeFunction" is not an action such as lambda:InvokeFunction, or *'),
        ({"Action": "lambda:Invoke Function"}, "is not an action such as"),
        ({"Resource": {}}, "Resource must be a text or a list of texts, not {}"),
        ({"Resource": ""}, 'Resource must be a text or a list of texts, not ""'),
        ({"Resource": "orders"}, '"orders" is neither * nor an ARN such as arn:aws:lambda:*:*:function:f'),
        ({"Resource": "arn:aws:lambda:*:*:function:${aws:username}"}, 'variables are not served: "${aws:username}"'),
        ({"Condition": []}, "Condition must be an object of operators, not []"),
        ({"Condition": {"StringEquals": "x"}}, 'Condition StringEquals must be an object of keys, not "x"'),
        (
            {"Condition": {"StringNotEquals": {"aws:username": "x"}}},
            "operator StringNotEquals is not served; these are: ArnEquals, ArnLike, Bool, StringEquals, StringLike",
        ),
        ({"Condition": {"StringEquals": {"aws:SourceIp": "x"}}}, "Condition StringEquals aws:SourceIp: no request has"),
        ({"Condition": {"StringEquals": {"aws:username": []}}}, "must be a text or a list of texts, not []"),
        ({"Condition": {"StringEquals": {"aws:username": [None]}}}, "must be a text or a list of texts, not [null]"),
        ({"Condition": {"Bool": {"lambda:InvokedViaFunctionUrl": "yes"}}}, "must be true or false"),
        ({"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3"}}}, '"arn:aws:s3" is not an ARN of 6 parts'),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_statement_that_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(StatementError) as caught:
        parse_statements([GOOD, {**GOOD, **change}], place="key AKIA", principal_allowed=False)
    assert str(caught.value).startswith("key AKIA: statement 2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["Effect", "Action", "Resource"])
def test_a_statement_without_a_part(missing: str) -> None:
    with pytest.raises(StatementError, match=f"statement 1: .*{missing}"):
        parse_one({name: value for name, value in GOOD.items() if name != missing})


@pytest.mark.parametrize(
    ("principal", "message"),
    [
        (None, 'Principal must be "*" or an object such as {"AWS": ...}, not null'),
        ("arn:aws:iam::111122223333:root", 'Principal must be "*" or an object'),
        ({}, 'Principal must be "*" or an object'),
        ({"Aws": "*"}, "Principal has the unknown type Aws; there are AWS, Service, Federated, CanonicalUser"),
        ({"AWS": []}, "Principal AWS: must be a text or a list of texts, not []"),
        ({"AWS": [1]}, "Principal AWS: must be a text or a list of texts, not [1]"),
    ],
)
def test_a_principal_that_is_refused(principal: object, message: str) -> None:
    with pytest.raises(StatementError) as caught:
        parse_one({**GOOD, "Principal": principal}, principal_allowed=True)
    assert str(caught.value).startswith("key AKIA: statement 1: ")
    assert message in str(caught.value)


def test_a_resource_based_statement_says_whom_it_is_about() -> None:
    with pytest.raises(StatementError, match="has no Principal"):
        parse_one(GOOD, principal_allowed=True)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("x", 'key AKIA: the statements must be a list, not "x"'),
        ({"Statement": "x"}, 'key AKIA: the statements must be a list, not "x"'),
        ({"Statement": [], "Statements": []}, "key AKIA: unknown member Statements"),
        ({"Statement": [], "Version": "2012-10-18"}, 'key AKIA: Version must be 2012-10-17, not "2012-10-18"'),
        ([GOOD, "x"], 'key AKIA: statement 2: must be an object, not "x"'),
    ],
)
def test_a_document_that_is_refused(document: Any, message: str) -> None:
    with pytest.raises(StatementError) as caught:
        parse_statements(document, place="key AKIA", principal_allowed=False)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        GOOD,
        [GOOD],
        {"Statement": GOOD},
        {"Version": "2012-10-17", "Id": "default", "Statement": [GOOD]},
    ],
)
def test_the_forms_of_a_document(document: Any) -> None:
    (statement,) = parse_statements(document, place="p", principal_allowed=False)
    assert statement.covers("lambda:invokefunction", FUNCTION, {})
    assert not statement.denies


def test_a_long_value_is_cut_in_a_message() -> None:
    with pytest.raises(StatementError) as caught:
        parse_one({**GOOD, "Resource": "x" * 10_000})
    assert len(str(caught.value)) < 300


# --- what a statement is about


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("lambda:InvokeFunction", "lambda:InvokeFunction", True),
        ("LAMBDA:invokefunction", "lambda:InvokeFunction", True),
        ("lambda:Invoke*", "lambda:InvokeFunction", True),
        ("lambda:Get?unction", "lambda:GetFunction", True),
        ("lambda:GetFunction", "lambda:GetFunctionConfiguration", False),
        ("*", "lambda:GetFunction", True),
        ("*:*", "lambda:GetFunction", True),
        ("s3:*", "lambda:GetFunction", False),
    ],
)
def test_actions_are_compared_without_regard_to_case(pattern: str, action: str, expected: bool) -> None:
    assert covers({**GOOD, "Action": pattern}, action) is expected
    negated = {"Effect": "Allow", "NotAction": ["iam:*", pattern], "Resource": "*"}
    assert covers(negated, action) is not expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (FUNCTION, True),
        (FUNCTION.upper().replace("ARN", "arn"), False),
        ("arn:aws:lambda:*:*:function:ord*", True),
        ("arn:aws:lambda:us-east-?:123456789012:function:*", True),
        (f"{FUNCTION}:*", False),
        ("arn:*", True),
        ("*", True),
    ],
)
def test_resources_are_compared_with_their_case(pattern: str, expected: bool) -> None:
    assert covers({**GOOD, "Resource": pattern}, "lambda:InvokeFunction") is expected
    negated = {"Effect": "Allow", "Action": "*", "NotResource": [pattern]}
    assert covers(negated, "lambda:InvokeFunction") is not expected


# --- whom a statement is about

USER = user(ACCOUNT, "alice", ())
WORKER = function(ACCOUNT, f"arn:aws:iam::{OTHER}:role/service-role/worker", "orders", ())


@pytest.mark.parametrize(
    ("principal", "whom", "naming"),
    [
        ("*", USER, Naming.ITSELF),
        ("*", anonymous(), Naming.ITSELF),
        ("*", service("s3.amazonaws.com"), Naming.ITSELF),
        ({"AWS": "*"}, WORKER, Naming.ITSELF),
        ({"AWS": ACCOUNT}, USER, Naming.ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, USER, Naming.ACCOUNT),
        ({"AWS": f"arn:aws-cn:iam::{ACCOUNT}:root"}, WORKER, Naming.ACCOUNT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, root(ACCOUNT), Naming.ITSELF),
        ({"AWS": OTHER}, USER, Naming.NOT),
        ({"AWS": [OTHER, ACCOUNT]}, root(ACCOUNT), Naming.ITSELF),
        ({"AWS": ACCOUNT}, anonymous(), Naming.NOT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/alice"}, USER, Naming.ITSELF),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/al*"}, USER, Naming.NOT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:user/bob"}, USER, Naming.NOT),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/worker"}, WORKER, Naming.ITSELF),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/any/path/worker"}, WORKER, Naming.ITSELF),
        ({"AWS": f"arn:aws:iam::{OTHER}:role/worker"}, WORKER, Naming.NOT),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/orders"}, WORKER, Naming.ITSELF),
        ({"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/other"}, WORKER, Naming.NOT),
        ({"Service": "s3.amazonaws.com"}, service("s3.amazonaws.com"), Naming.ITSELF),
        ({"Service": ["sns.amazonaws.com"]}, service("s3.amazonaws.com"), Naming.NOT),
        ({"Service": "s3.amazonaws.com"}, USER, Naming.NOT),
        ({"AWS": ACCOUNT, "Service": "s3.amazonaws.com"}, service("s3.amazonaws.com"), Naming.ITSELF),
        ({"Federated": "cognito-identity.amazonaws.com"}, USER, Naming.NOT),
        ({"CanonicalUser": "79a5"}, USER, Naming.NOT),
    ],
)
def test_whom_a_policy_names(principal: Any, whom: Principal, naming: Naming) -> None:
    assert parse_one({**GOOD, "Principal": principal}, principal_allowed=True).naming(whom) is naming


def test_an_identity_based_statement_is_about_its_owner() -> None:
    assert parse_one(GOOD).naming(USER) is Naming.ITSELF


def test_the_principals_arns() -> None:
    assert root(ACCOUNT).arn == f"arn:aws:iam::{ACCOUNT}:root"
    assert USER.arn == f"arn:aws:iam::{ACCOUNT}:user/alice"
    assert WORKER.arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/orders"
    assert WORKER.role_arn == f"arn:aws:iam::{ACCOUNT}:role/worker"
    assert function(ACCOUNT, "any text", "f", None).arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/unknown/f"
