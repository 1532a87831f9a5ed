"""Decisions: AWS's logic by table, by properties, and against a slow evaluator that reads the JSON itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.access.decision import Decision, Denial, Request, authorize, decide
from venturekit.service.access.principals import Principal, anonymous, function, root, service, user
from venturekit.service.access.statements import Statement, parse_statements

OWN, OTHER = "123456789012", "111122223333"
FUNCTION = f"arn:aws:lambda:us-east-1:{OWN}:function:orders"
LAYER = f"arn:aws:lambda:us-east-1:{OWN}:layer:tools:1"
INVOKE = "lambda:InvokeFunction"
ALLOW: dict[str, Any] = {"Effect": "Allow", "Action": INVOKE, "Resource": FUNCTION}
DENY = {**ALLOW, "Effect": "Deny"}
EVERYBODY = {**ALLOW, "Principal": "*"}
OWN_ACCOUNT = {**ALLOW, "Principal": {"AWS": f"arn:aws:iam::{OWN}:root"}}
OTHER_ACCOUNT = {**ALLOW, "Principal": {"AWS": OTHER}}
ALICE = {**ALLOW, "Principal": {"AWS": f"arn:aws:iam::{OWN}:user/alice"}}


def identity(*statements: dict[str, Any]) -> tuple[Statement, ...]:
    return parse_statements(list(statements), place="user", principal_allowed=False)


def policy(*statements: dict[str, Any]) -> tuple[Statement, ...]:
    return parse_statements(list(statements), place="policy", principal_allowed=True)


def decision_of(denial: Denial | None) -> Decision:
    return Decision.ALLOWED if denial is None else denial.decision


# --- the table

YES, DENIED, DENIED_THERE = Decision.ALLOWED, Decision.DENIED_BY_IDENTITY, Decision.DENIED_BY_RESOURCE
NO, NO_THERE = Decision.NOT_ALLOWED_BY_IDENTITY, Decision.NOT_ALLOWED_BY_RESOURCE


@pytest.mark.parametrize(
    ("account_id", "own_statements", "policy_statements", "expected"),
    [
        # The same account: one of the two is enough.
        (OWN, [], [], NO),
        (OWN, [ALLOW], [], YES),
        (OWN, [], [EVERYBODY], YES),
        (OWN, [], [ALICE], YES),
        (OWN, [ALLOW], [ALICE], YES),
        (OWN, [{**ALLOW, "Action": "lambda:GetFunction"}], [], NO),
        (OWN, [{**ALLOW, "Resource": FUNCTION + ":*"}], [], NO),
        # Its account as a whole lets the account's own policies decide.
        (OWN, [], [OWN_ACCOUNT], NO),
        (OWN, [ALLOW], [OWN_ACCOUNT], YES),
        # An explicit deny wins wherever it stands.
        (OWN, [ALLOW, DENY], [], DENIED),
        (OWN, [DENY, ALLOW], [EVERYBODY], DENIED),
        (OWN, [DENY], [], DENIED),
        (OWN, [ALLOW], [{**EVERYBODY, "Effect": "Deny"}], DENIED_THERE),
        (OWN, [ALLOW], [ALICE, {**OWN_ACCOUNT, "Effect": "Deny"}], DENIED_THERE),
        (OWN, [DENY], [{**EVERYBODY, "Effect": "Deny"}], DENIED),
        (OWN, [ALLOW], [{**OTHER_ACCOUNT, "Effect": "Deny"}], YES),
        # Another account: both are needed.
        (OTHER, [], [], NO),
        (OTHER, [ALLOW], [], NO_THERE),
        (OTHER, [], [OTHER_ACCOUNT], NO),
        (OTHER, [], [EVERYBODY], NO),
        (OTHER, [ALLOW], [OTHER_ACCOUNT], YES),
        (OTHER, [ALLOW], [EVERYBODY], YES),
        (OTHER, [ALLOW], [ALICE], NO_THERE),
        (OTHER, [ALLOW], [OWN_ACCOUNT], NO_THERE),
        (OTHER, [ALLOW, DENY], [OTHER_ACCOUNT], DENIED),
        (OTHER, [ALLOW], [OTHER_ACCOUNT, {**EVERYBODY, "Effect": "Deny"}], DENIED_THERE),
    ],
)
def test_a_user(
    account_id: str, own_statements: list[dict[str, Any]], policy_statements: list[dict[str, Any]], expected: Decision
) -> None:
    alice = user(account_id, "alice", identity(*own_statements))
    assert decision_of(authorize(alice, INVOKE, FUNCTION, OWN, policy(*policy_statements))) is expected


@pytest.mark.parametrize(
    ("principal", "policy_statements", "expected"),
    [
        (root(OWN), [], YES),
        (root(OWN), [{**EVERYBODY, "Effect": "Deny"}], DENIED_THERE),
        (root(OTHER), [], NO_THERE),
        (root(OTHER), [OTHER_ACCOUNT], YES),
        (root(OTHER), [{**OTHER_ACCOUNT, "Action": "lambda:GetFunction"}], NO_THERE),
        (service("s3.amazonaws.com"), [], NO_THERE),
        (service("s3.amazonaws.com"), [{**ALLOW, "Principal": {"Service": "s3.amazonaws.com"}}], YES),
        (service("s3.amazonaws.com"), [{**ALLOW, "Principal": {"Service": "sns.amazonaws.com"}}], NO_THERE),
        (anonymous(), [], NO_THERE),
        (anonymous(), [OWN_ACCOUNT], NO_THERE),
        (anonymous(), [EVERYBODY], YES),
        (anonymous(), [EVERYBODY, {**EVERYBODY, "Effect": "Deny"}], DENIED_THERE),
    ],
)
def test_principals_without_statements(
    principal: Principal, policy_statements: list[dict[str, Any]], expected: Decision
) -> None:
    assert decision_of(authorize(principal, INVOKE, FUNCTION, OWN, policy(*policy_statements))) is expected


def test_a_function_is_named_by_its_role() -> None:
    worker = function(OWN, f"arn:aws:iam::{OWN}:role/worker", "billing", identity())
    named = {**ALLOW, "Principal": {"AWS": f"arn:aws:iam::{OWN}:role/worker"}}
    assert authorize(worker, INVOKE, FUNCTION, OWN, policy(named)) is None
    assert authorize(replace(worker, role_arn=f"{worker.role_arn}2"), INVOKE, FUNCTION, OWN, policy(named)) is not None


# --- the text


def test_the_texts_of_refusals() -> None:
    alice = user(OWN, "alice", identity(DENY))
    begin = f"User: arn:aws:iam::{OWN}:user/alice is not authorized to perform: lambda:InvokeFunction on resource: "
    denial = authorize(alice, INVOKE, FUNCTION, OWN)
    assert denial is not None
    assert denial.message == begin + f"{FUNCTION} with an explicit deny in an identity-based policy"
    denial = authorize(replace(alice, statements=()), INVOKE, FUNCTION + ":prod", OWN)
    assert denial is not None
    assert denial.message == begin + (
        f"{FUNCTION}:prod because no identity-based policy allows the lambda:InvokeFunction action"
    )
    denial = authorize(replace(alice, statements=None), INVOKE, FUNCTION, OWN, policy({**EVERYBODY, "Effect": "Deny"}))
    assert denial is not None
    assert denial.message == begin + f"{FUNCTION} with an explicit deny in a resource-based policy"


def test_a_function_of_another_account_is_refused_without_a_text() -> None:
    denial = authorize(root(OTHER), INVOKE, FUNCTION, OWN)
    assert denial == Denial(NO_THERE, None)


def test_a_layer_of_another_account_is_refused_with_a_text() -> None:
    denial = authorize(root(OTHER), "lambda:GetLayerVersion", LAYER, OWN)
    assert denial is not None
    assert denial.message == (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:GetLayerVersion on resource: {LAYER} "
        "because no resource-based policy allows the lambda:GetLayerVersion action"
    )


def test_a_function_is_called_by_its_session_in_the_text() -> None:
    worker = function(OWN, f"arn:aws:iam::{OWN}:role/worker", "billing", ())
    denial = authorize(worker, "lambda:ListFunctions", "*", OWN)
    assert denial is not None
    assert denial.message == (
        f"User: arn:aws:sts::{OWN}:assumed-role/worker/billing is not authorized to perform: lambda:ListFunctions on "
        "resource: * because no identity-based policy allows the lambda:ListFunctions action"
    )


# --- conditions


def allows(statement: dict[str, Any], principal: Principal, **context: str) -> bool:
    given = {key.replace("_", ":", 1): value for key, value in context.items()}
    return authorize(principal, INVOKE, FUNCTION, OWN, policy({**statement}), given) is None


def test_conditions_are_met_by_the_context() -> None:
    source = {**EVERYBODY, "Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket*"}}}
    assert allows(source, service("s3.amazonaws.com"), aws_SourceArn="arn:aws:s3:::bucket-1")
    assert not allows(source, service("s3.amazonaws.com"), aws_SourceArn="arn:aws:s3:::other")
    assert not allows(source, service("s3.amazonaws.com"))


@pytest.mark.parametrize(
    ("key", "value", "principal"),
    [
        ("aws:PrincipalAccount", OTHER, root(OTHER)),
        ("aws:PrincipalArn", f"arn:aws:iam::{OTHER}:root", root(OTHER)),
        ("aws:username", "alice", user(OWN, "alice", ())),
        (
            "aws:PrincipalArn",
            f"arn:aws:iam::{OWN}:role/worker",
            function(OWN, f"arn:aws:iam::{OWN}:role/worker", "f", ()),
        ),
    ],
)
def test_what_is_known_of_the_principal_comes_from_nobody_else(key: str, value: str, principal: Principal) -> None:
    statement = {**EVERYBODY, "Condition": {"StringEquals": {key: value}}}
    assert allows(statement, principal)
    assert not allows(statement, anonymous(), **{key.replace(":", "_"): value})
    assert not allows(
        {**statement, "Condition": {"StringEquals": {key: "forged"}}},
        principal,
        **{key.replace(":", "_").lower(): "forged"},
    )


def test_a_deny_under_a_condition_denies_only_then() -> None:
    only_iam = {**DENY, "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}}
    alice = user(OWN, "alice", identity(ALLOW, only_iam))
    assert authorize(alice, INVOKE, FUNCTION, OWN, (), {"lambda:FunctionUrlAuthType": "AWS_IAM"}) is None
    denial = authorize(alice, INVOKE, FUNCTION, OWN, (), {"lambda:FunctionUrlAuthType": "NONE"})
    assert decision_of(denial) is DENIED


# --- properties

ACTIONS = ["lambda:InvokeFunction", "lambda:GetFunction", "lambda:ListFunctions"]
RESOURCES = [FUNCTION, f"{FUNCTION}:prod", LAYER, "*"]
ARNS = [f"arn:aws:iam::{OWN}:user/alice", f"arn:aws:iam::{OTHER}:root", OWN, OTHER, "*"]
CONTEXT_KEYS = ["aws:SourceAccount", "aws:PrincipalAccount", "lambda:FunctionUrlAuthType"]
CONTEXT_VALUES = [OWN, OTHER, "NONE", "AWS_IAM"]


def some(values: list[str]) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(values), st.lists(st.sampled_from(values), min_size=1, max_size=3))


conditions = st.dictionaries(
    st.sampled_from(["StringEquals", "StringLike"]),
    st.dictionaries(st.sampled_from(CONTEXT_KEYS), some([*CONTEXT_VALUES, "*", "1*"]), max_size=2),
    max_size=2,
)


@st.composite
def statements(draw: st.DrawFn, *, with_principal: bool) -> dict[str, Any]:
    actions = some([*ACTIONS, "lambda:*", "lambda:Get*", "LAMBDA:invoke?unction", "*", "s3:*"])
    resources = some([FUNCTION, f"{FUNCTION}*", f"{FUNCTION}:pro?", "arn:*", "*", LAYER])
    statement = {
        "Effect": draw(st.sampled_from(["Allow", "Allow", "Deny"])),
        draw(st.sampled_from(["Action", "Action", "NotAction"])): draw(actions),
        draw(st.sampled_from(["Resource", "Resource", "NotResource"])): draw(resources),
    }
    if draw(st.booleans()):
        statement["Condition"] = draw(conditions)
    if with_principal:
        statement["Principal"] = draw(st.one_of(st.just("*"), st.builds(lambda arn: {"AWS": arn}, some(ARNS))))
    return statement


identities = st.lists(statements(with_principal=False), max_size=4)
policies = st.lists(statements(with_principal=True), max_size=4)
contexts = st.dictionaries(st.sampled_from(CONTEXT_KEYS), st.sampled_from(CONTEXT_VALUES))
principals = st.sampled_from([user(OWN, "alice", ()), user(OTHER, "bob", ()), root(OWN), root(OTHER), anonymous()])
requests = st.builds(
    Request,
    principal=principals,
    action=st.sampled_from(ACTIONS),
    resource=st.sampled_from(RESOURCES),
    resource_account=st.just(OWN),
    context=contexts,
)


def decided(own: list[dict[str, Any]] | None, there: list[dict[str, Any]], request: Request) -> Decision:
    return decide(None if own is None else identity(*own), policy(*there), request)


@settings(deadline=None, max_examples=120)
@given(identities, policies, requests, st.data())
def test_a_deny_more_never_grants(
    own: list[dict[str, Any]], there: list[dict[str, Any]], request: Request, data: st.DataObject
) -> None:
    more = {**data.draw(statements(with_principal=False)), "Effect": "Deny"}
    more_there = {**data.draw(statements(with_principal=True)), "Effect": "Deny"}
    if decided(own, there, request) is not YES:
        assert decided([*own, more], there, request) is not YES
        assert decided([more, *own], there, request) is not YES
        assert decided(own, [*there, more_there], request) is not YES


@settings(deadline=None, max_examples=120)
@given(identities, policies, requests)
def test_an_allow_less_never_grants(own: list[dict[str, Any]], there: list[dict[str, Any]], request: Request) -> None:
    if decided(own, there, request) is not YES:
        for each in [statement for statement in own if statement["Effect"] == "Allow"]:
            assert decided([other for other in own if other is not each], there, request) is not YES
        for each in [statement for statement in there if statement["Effect"] == "Allow"]:
            assert decided(own, [other for other in there if other is not each], request) is not YES


@settings(deadline=None, max_examples=120)
@given(identities, policies, requests, st.randoms(use_true_random=False))
def test_the_order_of_statements_does_not_matter(
    own: list[dict[str, Any]], there: list[dict[str, Any]], request: Request, random: Any
) -> None:
    expected = decided(own, there, request)
    random.shuffle(own)
    random.shuffle(there)
    assert decided(own, there, request) is expected


@settings(deadline=None, max_examples=250)
@given(st.none() | identities, policies, requests)
def test_a_decision_is_that_of_the_slow_evaluator(
    own: list[dict[str, Any]] | None, there: list[dict[str, Any]], request: Request
) -> None:
    assert (decided(own, there, request) is YES) is is_allowed_slowly(own, there, request)


# --- the slow evaluator


def is_allowed_slowly(own: list[dict[str, Any]] | None, there: list[dict[str, Any]], request: Request) -> bool:
    here = [statement for statement in own or [] if applies(statement, request)]
    named = [
        (statement, how)
        for statement in there
        if applies(statement, request)
        for how in [named_as(statement, request)]
        if how
    ]
    if any(statement["Effect"] == "Deny" for statement in [*here, *(statement for statement, _ in named)]):
        return False
    if request.principal.account_id == "":
        return bool(named)
    allowed_here = own is None or bool(here)
    if request.principal.account_id == request.resource_account:
        return allowed_here or "itself" in {how for _, how in named}
    return allowed_here and bool(named)


def applies(statement: dict[str, Any], request: Request) -> bool:
    context = dict(request.context)
    context.pop("aws:PrincipalAccount", None)
    if request.principal.account_id:
        context["aws:PrincipalAccount"] = request.principal.account_id
    for name, value, flags in (("Action", request.action, re.IGNORECASE), ("Resource", request.resource, 0)):
        if name in statement and not any(glob(pattern, value, flags) for pattern in listed(statement[name])):
            return False
        negated = statement.get(f"Not{name}")
        if negated is not None and any(glob(pattern, value, flags) for pattern in listed(negated)):
            return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            if key not in context:
                return False
            if operator == "StringEquals" and context[key] not in listed(values):
                return False
            if operator == "StringLike" and not any(glob(value, context[key], 0) for value in listed(values)):
                return False
    return True


def named_as(statement: dict[str, Any], request: Request) -> str:
    principal = request.principal
    named = "*" if statement["Principal"] == "*" else statement["Principal"]["AWS"]
    if "*" in listed(named) or (principal.arn in listed(named) and principal.account_id):
        return "itself"
    accounts = [name.split(":")[4] if ":root" in name else name for name in listed(named)]
    if principal.account_id and principal.account_id in accounts:
        return "itself" if principal.arn.endswith(":root") else "account"
    return ""


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def glob(pattern: str, text: str, flags: int) -> bool:
    expression = "".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern)
    return re.fullmatch(expression, text, flags) is not None
