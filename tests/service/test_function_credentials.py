"""The key pairs that functions get."""

from __future__ import annotations

from venturekit.service.credentials import OTHER_PREFIX, OWN_PREFIX, FunctionCredentials

ACCOUNT = "111122223333"
FIRST = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:a"
SECOND = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:b"
FOREIGN = "arn:aws:lambda:us-east-1:444455556666:function:a"


def test_every_function_has_its_own_pair_and_always_the_same() -> None:
    credentials = FunctionCredentials(b"secret", ACCOUNT)
    assert credentials.mint(FIRST) == credentials.mint(FIRST)
    assert credentials.mint(FIRST).access_key_id != credentials.mint(SECOND).access_key_id
    assert FunctionCredentials(b"other", ACCOUNT).mint(FIRST) != credentials.mint(FIRST)
    assert credentials.mint(FIRST).access_key_id.startswith(OWN_PREFIX)
    assert credentials.mint(FOREIGN).access_key_id.startswith(OTHER_PREFIX)
    assert {len(credentials.mint(arn).access_key_id) for arn in (FIRST, FOREIGN)} == {20}


def test_only_minted_pairs_of_functions_that_exist_are_found() -> None:
    credentials = FunctionCredentials(b"secret", ACCOUNT)
    minted = credentials.mint(FIRST)
    found = credentials.find(minted.access_key_id)
    assert found is not None
    assert (found.credentials, found.function_arn) == (minted, FIRST)
    assert credentials.find("ASIAUNKNOWN") is None
    credentials.forget(FIRST)
    credentials.forget(SECOND)
    assert credentials.find(minted.access_key_id) is None
    assert credentials.mint(FIRST) == minted
