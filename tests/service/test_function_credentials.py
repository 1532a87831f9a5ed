"""The key pairs that functions get."""

from __future__ import annotations

from venturekit.service.credentials import FunctionCredentials


def test_every_function_has_its_own_pair_and_always_the_same() -> None:
    credentials = FunctionCredentials(b"secret")
    assert credentials.mint("a") == credentials.mint("a")
    assert credentials.mint("a").access_key_id != credentials.mint("b").access_key_id
    assert FunctionCredentials(b"other").mint("a") != credentials.mint("a")
    assert credentials.mint("a").access_key_id.startswith("ASIA")


def test_only_minted_pairs_of_functions_that_exist_are_found() -> None:
    credentials = FunctionCredentials(b"secret")
    minted = credentials.mint("a")
    assert credentials.find(minted.access_key_id) == minted
    assert credentials.find("ASIAUNKNOWN") is None
    credentials.forget("a")
    credentials.forget("never minted")
    assert credentials.find(minted.access_key_id) is None
    assert credentials.mint("a") == minted
