"""The front process as a caller, and who may call a function URL."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from venturekit.protocol.sigv4 import Credentials
from venturekit.service.access import principals
from venturekit.service.access.statements import parse_statements
from venturekit.service.access_control import AccessControl, Caller
from venturekit.service.accounts import Accounts
from venturekit.service.api.errors import ApiError
from venturekit.service.credentials import OTHER_PREFIX, FunctionCredentials
from venturekit.service.functions.settings import POLICIES

OWN, OTHER = "000000000000", "111122223333"
FRONT = Credentials("ASIAXFRONT", "secret-of-the-front")
URL, INVOKE = "lambda:InvokeFunctionUrl", "lambda:InvokeFunction"
AUTH, VIA = "lambda:FunctionUrlAuthType", "lambda:InvokedViaFunctionUrl"


class Functions(dict[str, Any]):
    """Functions that have policies and nothing else."""

    def function(self, name: str) -> Any:
        return self[name]


def control(*, pair: Credentials | None = None, **policies: list[dict[str, Any]]) -> AccessControl:
    """With a function ``f`` in the service's account; ``policies`` by qualifier, ``own`` for the function itself."""
    found = {"" if qualifier == "own" else qualifier: statements for qualifier, statements in policies.items()}
    functions = Functions(f=SimpleNamespace(settings={POLICIES: found}))
    build: Any = lambda account_id: SimpleNamespace(  # noqa: E731 - an account is only this here
        account_id=account_id, functions=functions if account_id == OWN else Functions(), is_idle=False
    )
    return AccessControl(
        accounts=Accounts(OWN, build),
        functions=FunctionCredentials(os.urandom, OWN),
        pair=pair,
        file=None,
        region="us-east-1",
        resolve=lambda _account, name, _qualifier: name,  # type: ignore[arg-type,return-value]
        report=lambda _text: None,
        front=FRONT,
    )


def arn(account: str = OWN, qualifier: str = "") -> str:
    return f"arn:aws:lambda:us-east-1:{account}:function:f{qualifier}"


def allow(
    action: str, principal: str = "*", *, effect: str = "Allow", auth: str | None = None, via: str | None = None
) -> dict[str, Any]:
    who = principal if principal == "*" else {"AWS": principal}
    made = {"Sid": action, "Effect": effect, "Principal": who, "Action": action, "Resource": arn()}
    condition = {"StringEquals": {AUTH: auth}} if auth else {"Bool": {VIA: via}} if via else None
    return made | ({"Condition": condition} if condition else {})


BOTH = [
    allow(URL, auth="NONE"),
    allow(INVOKE, via="true"),
]


@pytest.mark.parametrize("pair", [None, Credentials("AKIDPAIR", "secret-of-the-pair")])
def test_the_front_process_invokes_anywhere_and_does_nothing_else(pair: Credentials | None) -> None:
    made = control(pair=pair)
    assert made.credentials_of(FRONT.access_key_id) is FRONT
    caller = made.verified(FRONT.access_key_id) if pair else made.claimed(FRONT.access_key_id)
    assert caller is made.front
    assert caller.writes_json
    for account in (OWN, OTHER):
        for operation in ("Invoke", "InvokeWithResponseStream"):
            assert caller.resolve(operation, {"FunctionName": arn(account)}) == arn(account)
    for operation in ("GetFunction", "DeleteFunction", "InvokeAsync", "UpdateFunctionCode", "ListFunctions"):
        with pytest.raises(ApiError) as refusal:
            caller.authorize(operation, {"FunctionName": "f"})
        assert refusal.value.code == "AccessDeniedException"
    with pytest.raises(ApiError):
        caller.authorize_logs("f")
    with pytest.raises(ApiError):
        caller.authorize_events("ListEvents", "")


def test_it_looks_again_when_a_function_has_changed() -> None:
    made = control()
    made.front.targets[b"/x"] = SimpleNamespace()  # type: ignore[assignment]
    made.forget_targets()
    assert made.front.targets == {}


def test_nobody_else_writes_json() -> None:
    made = control(pair=Credentials("AKIDPAIR", "secret-of-the-pair"))
    assert not any(caller.writes_json for caller in (made.own, made.nobody, made.verified("AKIDPAIR")))


def test_its_key_pair_is_like_that_of_a_function_and_no_functions() -> None:
    minted = FunctionCredentials(os.urandom, OWN)
    pair = minted.pair()
    assert pair.access_key_id.startswith(OTHER_PREFIX)
    assert (len(pair.access_key_id), len(pair.secret_access_key), pair.session_token) == (20, 40, None)
    assert minted.find(pair.access_key_id) is None
    assert minted.pair() != pair


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        (BOTH, None),
        ([], URL),
        (BOTH[:1], INVOKE),
        (BOTH[1:], URL),
        ([allow(URL), allow(INVOKE)], None),
        ([allow("lambda:*")], None),
        ([allow(URL, OTHER), allow(INVOKE, OTHER)], URL),
        ([allow(URL, auth="AWS_IAM"), BOTH[1]], URL),
        ([BOTH[0], allow(INVOKE, via="false")], INVOKE),
        ([*BOTH, allow(URL, effect="Deny")], URL),
    ],
)
def test_a_public_url_takes_both_permissions(policy: list[dict[str, Any]], missing: str | None) -> None:
    reason = control(own=policy).nobody.url_refusal(arn(), "NONE")
    if missing is None:
        assert reason is None
    else:
        assert reason is not None
        assert reason.startswith(f"everybody is not authorized to perform {missing} on {arn()} with ")


def test_an_alias_has_a_policy_of_its_own() -> None:
    live = [{**statement, "Resource": arn(qualifier=":live")} for statement in BOTH]
    made = control(live=live)
    assert made.nobody.url_refusal(arn(qualifier=":live"), "NONE") is None
    assert made.nobody.url_refusal(arn(), "NONE") is not None


@pytest.mark.parametrize(
    ("account", "own", "policy", "allowed"),
    [
        (OWN, None, [], True),
        (OWN, [URL, INVOKE], [], True),
        (OWN, [URL], [], False),
        (OWN, [], BOTH, False),
        (OWN, [], [allow(URL, f"arn:aws:iam::{OWN}:user/u"), allow(INVOKE, f"arn:aws:iam::{OWN}:user/u")], True),
        (OTHER, None, [], False),
        (OTHER, None, [allow(URL, OTHER), allow(INVOKE, OTHER)], True),
        (OTHER, [URL, INVOKE], [allow(URL, OTHER), allow(INVOKE, OTHER)], True),
        (OTHER, [URL], [allow(URL, OTHER), allow(INVOKE, OTHER)], False),
        (OTHER, [URL, INVOKE], [allow(URL, OTHER)], False),
    ],
)
def test_a_signed_call(account: str, own: list[str] | None, policy: list[dict[str, Any]], allowed: bool) -> None:
    made = control(own=policy)
    if own is None:
        principal = principals.root(account)
    else:
        document = [{"Effect": "Allow", "Action": own, "Resource": "*"}] if own else []
        principal = principals.user(account, "u", parse_statements(document, place="u", principal_allowed=False))
    assert (Caller(made, account, principal).url_refusal(arn(), "AWS_IAM") is None) is allowed
