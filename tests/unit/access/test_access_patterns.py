"""Patterns with ``*`` and ``?``, against a matcher that is plain and slow."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from venturekit.service.access.patterns import PatternSet

PIECES = ["a", "b", "A", "*", "?", ".", "+", "\\", "[", "]", "$", "\n", ":", "é"]
patterns = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
texts = st.lists(st.sampled_from([piece for piece in PIECES if piece not in "*?"]), max_size=9).map("".join)


@cache
def matches_slowly(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return matches_slowly(pattern[1:], text) or (text != "" and matches_slowly(pattern, text[1:]))
    return text != "" and pattern[0] in ("?", text[0]) and matches_slowly(pattern[1:], text[1:])


@settings(deadline=None, max_examples=200)
@given(patterns, texts)
@example("a*a", "a")
@example("*ab*b", "aabab")
@example("a?*?b", "aab")
@example("\\?", "\\a")
def test_a_pattern_matches_as_the_reference_says(pattern: str, text: str) -> None:
    assert PatternSet((pattern,)).matches(text) is matches_slowly(pattern, text)


@settings(deadline=None, max_examples=200)
@given(patterns, st.data())
def test_what_a_pattern_was_made_of_matches_it(pattern: str, data: st.DataObject) -> None:
    text = "".join(
        data.draw(texts) if piece == "*" else data.draw(st.sampled_from("abA:\n")) if piece == "?" else piece
        for piece in pattern
    )
    assert PatternSet((pattern,)).matches(text)


@settings(deadline=None, max_examples=100)
@given(st.lists(patterns, max_size=4), texts)
def test_a_set_matches_what_one_of_its_patterns_matches(given_patterns: list[str], text: str) -> None:
    wanted = any(matches_slowly(pattern, text) for pattern in given_patterns)
    assert PatternSet(given_patterns).matches(text) is wanted


@pytest.mark.parametrize("pattern", ["*a" * 200 + "b", "*?a" * 100 + "b", "a*" * 200 + "b"])
def test_no_pattern_takes_long(pattern: str) -> None:
    # Tried in every combination, this would not end.
    assert not PatternSet((pattern,)).matches("a" * 5000)
