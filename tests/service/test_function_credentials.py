"""The key pairs that functions get."""

from __future__ import annotations

import os

from venturekit.service.credentials import OTHER_PREFIX, OWN_PREFIX, FunctionCredentials

ACCOUNT = "111122223333"
FIRST = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:a"
SECOND = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:b"
FOREIGN = f"arn:aws:lambda:us-east-1:444455556666:function:{ACCOUNT}"


def test_every_version_has_its_own_pair_and_always_the_same() -> None:
    credentials = FunctionCredentials(os.urandom, ACCOUNT)
    pairs = [credentials.mint(*of) for of in ((FIRST, "$LATEST"), (FIRST, "1"), (SECOND, "$LATEST"))]
    assert credentials.mint(FIRST, "1") == pairs[1]
    for attribute in ("access_key_id", "secret_access_key", "session_token"):
        assert len({getattr(pair, attribute) for pair in pairs}) == 3
    assert credentials.mint(FIRST, "1").access_key_id.startswith(OWN_PREFIX)
    assert credentials.mint(FOREIGN, "1").access_key_id.startswith(OTHER_PREFIX)
    assert {len(credentials.mint(arn, "1").access_key_id) for arn in (FIRST, FOREIGN)} == {20}


def test_only_pairs_of_versions_that_exist_are_found() -> None:
    credentials = FunctionCredentials(os.urandom, ACCOUNT)
    latest, first = credentials.mint(FIRST, "$LATEST"), credentials.mint(FIRST, "1")
    found = credentials.find(first.access_key_id)
    assert found is not None
    assert (found.credentials, found.function_arn, found.version) == (first, FIRST, "1")
    assert (found.account_id, found.function_name) == (ACCOUNT, "a")
    assert credentials.find("ASIAUNKNOWN") is None
    credentials.keep_only(FIRST, {"$LATEST"})
    credentials.keep_only(SECOND, set())
    assert credentials.find(first.access_key_id) is None
    assert credentials.find(latest.access_key_id) is not None


def test_a_function_that_is_created_again_gets_another_pair() -> None:
    credentials = FunctionCredentials(os.urandom, ACCOUNT)
    stolen = credentials.mint(FIRST, "$LATEST")
    credentials.keep_only(FIRST, ())
    assert credentials.mint(FIRST, "$LATEST") != stolen
    assert credentials.find(stolen.access_key_id) is None
