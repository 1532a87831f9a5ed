"""What access control keeps in memory, and how long what it gives away is good."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from venturekit.protocol.sigv4 import Credentials
from venturekit.service import access_control
from venturekit.service.access.principals import Kind
from venturekit.service.access_control import AccessControl
from venturekit.service.accounts import EMPTY_LIMIT, Accounts
from venturekit.service.api.errors import ApiError
from venturekit.service.credentials import FunctionCredentials
from venturekit.service.event_pages import EventPages
from venturekit.service.extras import CODE_LINK_SECONDS, Extras

if TYPE_CHECKING:
    from pathlib import Path

OWN = "000000000000"
OTHER = "111122223333"
PAIR = Credentials("AKIDPAIR", "secret-of-the-pair")


class Functions(dict[str, Any]):
    """Functions that have policies and nothing else."""

    def function(self, name: str) -> Any:
        return self[name]


class FakeAccount(SimpleNamespace):
    """An account that counts how often it is asked whether it is idle."""

    looks = 0

    @property
    def is_idle(self) -> bool:
        FakeAccount.looks += 1
        return bool(self.idle)


def accounts_of(*, idle: bool = True) -> Accounts:
    def build(account_id: str) -> Any:
        return FakeAccount(account_id=account_id, idle=idle, functions=Functions())

    return Accounts(OWN, build)


def resolve_nothing(account: object, function_name: str, qualifier: str | None) -> Any:
    assert account is not None
    assert qualifier is None
    return function_name


def control_of(accounts: Accounts, *, pair: Credentials | None = PAIR) -> AccessControl:
    return AccessControl(
        accounts=accounts,
        functions=FunctionCredentials(b"secret", OWN),
        pair=pair,
        file=None,
        region="us-east-1",
        resolve=resolve_nothing,
        report=lambda _text: None,
    )


def request_of(access_key_id: str) -> Any:
    authorization = f"AWS4-HMAC-SHA256 Credential={access_key_id}/20261121/us-east-1/lambda/aws4_request".encode()
    return SimpleNamespace(headers={b"authorization": authorization}, target=b"/")


# --- callers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("access_key_id", [PAIR.access_key_id, OTHER, OWN, "AKIDUNKNOWN"])
def test_with_access_control_an_unverified_request_is_nobodys(access_key_id: str) -> None:
    control = control_of(accounts_of())
    caller = control.unverified(request_of(access_key_id))
    assert caller.principal.kind is Kind.ANONYMOUS
    for operation, members in (("ListFunctions", {}), ("GetFunction", {"FunctionName": "f"})):
        with pytest.raises(ApiError) as refusal:
            caller.authorize(operation, members)
        assert refusal.value.code == "AccessDeniedException"
    for call in (lambda: caller.authorize_logs("f"), lambda: caller.resolve("Invoke", {"FunctionName": "f"})):
        with pytest.raises(ApiError):
            call()


def test_a_key_that_is_gone_since_it_was_verified_is_nobodys() -> None:
    control = control_of(accounts_of())
    assert control.verified("AKIDGONE").principal.kind is Kind.ANONYMOUS
    assert control.verified(PAIR.access_key_id).principal.arn == f"arn:aws:iam::{OWN}:root"


def test_a_change_of_a_function_makes_everybody_look_again() -> None:
    control = control_of(accounts_of())
    for caller in (control.own, control.nobody):
        caller.targets[b"/2015-03-31/functions/f/invocations"] = SimpleNamespace()
    control.forget_targets()
    assert [control.own.targets, control.nobody.targets] == [{}, {}]


def test_without_access_control_the_key_selects_the_account() -> None:
    control = control_of(accounts_of(), pair=None)
    assert control.unverified(request_of(OTHER)).principal.account_id == OTHER
    assert control.unverified(request_of("AKIDUNKNOWN")) is control.own


# --- policies --------------------------------------------------------------------------------------------------------


def statement_of(number: int, name: str) -> dict[str, Any]:
    return {
        "Sid": f"s{number}",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"},
        "Action": "lambda:InvokeFunction",
        "Resource": f"arn:aws:lambda:us-east-1:{OWN}:function:{name}",
    }


def test_compiled_policies_are_bounded_by_their_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_control, "STATEMENTS_LIMIT", limit := 200)
    accounts = accounts_of()
    functions: Any = accounts.own.functions
    control = control_of(accounts, pair=None)
    friend = control.unverified(request_of(OTHER))
    size = 10
    for number in range(3 * limit // size):
        name = f"f{number}"
        policy = [statement_of(each, name) for each in range(size)]
        functions[name] = SimpleNamespace(settings={"policies": {"": policy}})
        target = {"FunctionName": f"arn:aws:lambda:us-east-1:{OWN}:function:{name}"}
        resolved: object = friend.resolve("Invoke", target)
        assert resolved == target["FunctionName"]
        kept = sum(len(statements) for _, statements in control._policies.values())
        assert kept == control._statements_kept <= limit
        # A policy that has changed is not counted twice, and counts at once.
        if number % 7 == 0:
            functions[name].settings = {"policies": {"": policy[:0]}}
            with pytest.raises(ApiError):
                friend.resolve("Invoke", target)
            kept = sum(len(statements) for _, statements in control._policies.values())
            assert kept == control._statements_kept


# --- accounts --------------------------------------------------------------------------------------------------------


def test_many_accounts_that_are_used_are_not_looked_at_again_and_again() -> None:
    accounts = accounts_of(idle=False)
    FakeAccount.looks = 0
    count = 20 * EMPTY_LIMIT
    for number in range(count):
        accounts.get(f"{number:012d}")
    assert len(list(accounts)) == count
    # Each was looked at once for every 256 that came after it; not for each.
    assert FakeAccount.looks <= count * count / EMPTY_LIMIT


def test_accounts_that_nobody_uses_are_bounded() -> None:
    accounts = accounts_of(idle=True)
    for number in range(4 * EMPTY_LIMIT):
        accounts.get(f"{number:012d}")
        assert len(list(accounts)) <= EMPTY_LIMIT + 1


# --- links to code ---------------------------------------------------------------------------------------------------


class Exchange:
    """A request for a link, and its answer."""

    gone = False
    method = b"GET"

    def __init__(self, target: str) -> None:
        self.target = target.encode()
        self.answer = b""

    def respond(self, answer: bytes) -> None:
        self.answer = answer

    @property
    def status(self) -> int:
        return int(self.answer.split()[1])


async def fetch(extras: Extras, target: str) -> Exchange:
    exchange = Exchange(target)
    await extras.answer(exchange, None)  # type: ignore[arg-type]
    return exchange


def test_a_link_to_code_is_good_for_ten_minutes_and_for_this_code(tmp_path: Path) -> None:
    now = [1_000_000.5]
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    extras = Extras(
        logs=None,  # type: ignore[arg-type]
        archive_path=lambda key: tmp_path / key,
        status=dict,
        events=EventPages(None),  # type: ignore[arg-type]
        secret=b"secret",
        wall=lambda: now[0],
    )
    link = extras.code_link("a")
    later = f"expires={int(now[0]) + 2 * CODE_LINK_SECONDS}"

    async def scenario() -> None:
        assert (await fetch(extras, link)).answer.endswith(b"\r\n\r\na")
        query = link.partition("?")[2]
        for changed in (
            link.replace("/a.zip", "/b.zip"),
            link.replace(query.partition("&")[0], later),
            link.replace(query.partition("&")[0] + "&", ""),
            link.replace("expires=", "expires=0"),
            link[:-1],
            link.partition("&")[0],
        ):
            assert (await fetch(extras, changed)).status == 403
        now[0] += CODE_LINK_SECONDS - 1
        assert (await fetch(extras, link)).status == 200
        now[0] += 1
        refused = await fetch(extras, link)
        assert (refused.status, b"has expired" in refused.answer) == (403, True)

    asyncio.run(scenario())
