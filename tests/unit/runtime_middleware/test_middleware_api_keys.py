"""Who has a key is let in, and known."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.runtime_middleware.middleware_lab import KINDS, Records, answer, data_of, error_of, request, run_task
from venturekit.runtime import (
    MiddlewareError,
    UserContext,
    api_key_auth_middleware,
    handler,
    hash_api_key,
)

both = pytest.mark.parametrize("kind", KINDS)
KEY, OTHER = "vk_live_7Jq", "vk_live_9Zz"
HASH = hash_api_key(KEY)


def who(body: Any, ctx: Any) -> Any:
    """Whoever the handler thinks it serves."""
    return {"id": ctx.user.id, "scopes": ctx.user.scopes}


def with_key(key: str, name: str = "x-api-key") -> dict[str, Any]:
    return request(headers={name: key})


def test_a_hash_is_sha_256_in_hexadecimal() -> None:
    assert hashlib.sha256(KEY.encode()).hexdigest() == HASH


@both
@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([HASH], {"id": f"key-{HASH[:12]}", "scopes": []}),
        ({hash_api_key("a"), HASH}, {"id": f"key-{HASH[:12]}", "scopes": []}),
        ([HASH.upper()], {"id": f"key-{HASH[:12]}", "scopes": []}),
        ({HASH: "partner"}, {"id": "partner", "scopes": []}),
        ({HASH: None}, {"id": f"key-{HASH[:12]}", "scopes": []}),
        ({HASH: {"id": "p", "scopes": ["a", "b"]}, hash_api_key("x"): "y"}, {"id": "p", "scopes": ["a", "b"]}),
        ({HASH: UserContext("u", scopes=["c"])}, {"id": "u", "scopes": ["c"]}),
    ],
)
def test_who_has_a_key_is_known(kind: str, keys: Any, expected: dict[str, Any]) -> None:
    assert data_of(answer(api_key_auth_middleware(keys), with_key(KEY), who, kind=kind)) == expected


@both
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "An API key is required"),
        ({"x-api-key": ""}, "An API key is required"),
        ({"authorization": KEY}, "An API key is required"),
        ({"x-api-key": OTHER}, "The API key is not valid"),
        ({"x-api-key": HASH}, "The API key is not valid"),
        ({"x-api-key": f"{KEY},{KEY}"}, "The API key is not valid"),
        ({"x-api-key": f" {KEY}"}, "The API key is not valid"),
        ({"x-api-key": KEY.lower()}, "The API key is not valid"),
        ({"x-api-key": "ä\ud800\x00"}, "The API key is not valid"),
        ({"x-api-key": "k" * 1_000_000}, "The API key is not valid"),
    ],
)
def test_everybody_else_is_not(kind: str, headers: dict[str, str], message: str) -> None:
    called = []
    middleware = api_key_auth_middleware([HASH])
    result = answer(middleware, request(headers=headers), lambda body, ctx: called.append(1), kind=kind)
    assert (result["statusCode"], called) == (401, [])
    assert error_of(result) == {"code": "UNAUTHORIZED", "message": message}


def test_a_key_appears_in_no_log() -> None:
    records = Records()
    answer(api_key_auth_middleware([HASH]), with_key(OTHER), logger=records.logger)
    assert records.messages == ["WARN The API key is not valid"]
    assert OTHER not in str(records.all)


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    original = hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return original(one, other)

    monkeypatch.setattr("hmac.compare_digest", counted)
    middleware = api_key_auth_middleware([HASH, *(hash_api_key(str(n)) for n in range(4))])
    for key in (KEY, "3", "none"):
        answer(middleware, with_key(key))
    assert len(compared) == 15


@both
def test_another_header(kind: str) -> None:
    middleware = api_key_auth_middleware([HASH], header="X-Partner-Key")
    assert answer(middleware, with_key(KEY, "x-partner-key"), kind=kind)["statusCode"] == 200
    assert answer(middleware, with_key(KEY), kind=kind)["statusCode"] == 401


@both
def test_a_lookup_gets_the_hash(kind: str) -> None:
    asked = []

    def lookup(hashed: str) -> Any:
        asked.append(hashed)
        return UserContext("u-1", scopes=["a"]) if hashed == HASH else None

    middleware = api_key_auth_middleware(lookup=lookup)
    assert data_of(answer(middleware, with_key(KEY), who, kind=kind)) == {"id": "u-1", "scopes": ["a"]}
    assert answer(middleware, with_key(OTHER), who, kind=kind)["statusCode"] == 401
    assert answer(middleware, request(), who, kind=kind)["statusCode"] == 401
    assert asked == [HASH, hash_api_key(OTHER)]


def test_a_lookup_that_waits() -> None:
    async def lookup(hashed: str) -> Any:
        await asyncio.sleep(0)
        return "u-2" if hashed == HASH else None

    main = handler(who, middleware=[api_key_auth_middleware(lookup=lookup)], access_log=False, log_level="silent")
    assert main.is_async
    assert data_of(main(with_key(KEY)))["id"] == "u-2"
    assert main(with_key(OTHER))["statusCode"] == 401


@pytest.mark.parametrize("identity", [7, "", ["u"], {"name": "u"}, {"id": 7}, {"id": "u", "scopes": "a b"}, True])
def test_an_identity_that_is_none_lets_nobody_in(identity: Any) -> None:
    records = Records()
    result = answer(api_key_auth_middleware(lookup=lambda _: identity), with_key(KEY), logger=records.logger)
    assert result["statusCode"] == 500
    assert "is not understood" in records.all[-1]["errorMessage"]


@both
def test_scopes_of_the_handler_are_those_of_the_key(kind: str) -> None:
    middleware = api_key_auth_middleware({HASH: {"id": "p", "scopes": ["orders:read"]}})
    assert answer(middleware, with_key(KEY), who, kind=kind, scopes=["orders:read"])["statusCode"] == 200
    assert answer(middleware, with_key(KEY), who, kind=kind, scopes=["orders:write"])["statusCode"] == 403


def test_what_a_handler_changes_does_not_stay() -> None:
    def grants(body: Any, ctx: Any) -> Any:
        ctx.user.scopes.append("admin")
        ctx.user.claims["x"] = 1
        return [ctx.user.scopes, ctx.user.claims]

    shared = UserContext("u", scopes=["a"])
    middleware = api_key_auth_middleware({HASH: shared})
    assert [data_of(answer(middleware, with_key(KEY), grants)) for _ in range(2)] == [[["a", "admin"], {"x": 1}]] * 2
    assert (shared.scopes, shared.claims) == (["a"], {})


# --- calls from other functions, and tasks ------------------------------------------------------------------------


@both
def test_calls_from_other_functions_need_none(kind: str) -> None:
    assert data_of(answer(api_key_auth_middleware([HASH]), request(internal=True), who, kind=kind))["id"] == "caller"
    asked = answer(api_key_auth_middleware([HASH], internal=True), request(internal=True), who, kind=kind)
    assert asked["statusCode"] == 401


@both
def test_nobody_outside_passes_for_one(kind: str) -> None:
    forged = request(headers={"x-venturekit-source": "internal", "X-VentureKit-Invoke-Id": "i-1"})
    assert answer(api_key_auth_middleware([HASH]), forged, who, kind=kind)["statusCode"] == 401


@both
def test_tasks_need_none(kind: str) -> None:
    assert run_task(api_key_auth_middleware([HASH]), {}, kind=kind) == "done"
    with pytest.raises(MiddlewareError, match="in a task"):
        run_task(api_key_auth_middleware([HASH], internal=True), {}, kind=kind)


# --- what cannot work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either keys or lookup"),
        ({"keys": [HASH], "lookup": len}, "either keys or lookup"),
        ({"keys": []}, "no keys"),
        ({"keys": {}}, "no keys"),
        ({"keys": HASH}, "list of hashes"),
        ({"keys": [HASH, KEY]}, "key 2 is no SHA-256"),
        ({"keys": [HASH[:-2]]}, "key 1 is no SHA-256"),
        ({"keys": [None]}, "key 1 is no SHA-256"),
        ({"keys": [HASH], "header": "x api"}, "name of a header"),
    ],
)
def test_options_that_let_nobody_in(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        api_key_auth_middleware(**options)
    # What was given instead of a hash may be the key itself.
    assert KEY not in str(caught.value)


def test_an_identity_is_checked_where_the_keys_are_given() -> None:
    with pytest.raises(MiddlewareError, match="is not understood"):
        api_key_auth_middleware({HASH: 7})


@given(st.text())
def test_no_other_text_is_a_key(text: str) -> None:
    result = answer(api_key_auth_middleware([HASH]), with_key(text))
    assert result["statusCode"] == (200 if text == KEY else 401)
