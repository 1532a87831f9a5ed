"""The model's patterns, which are Java's, as Python's."""

from __future__ import annotations

import functools
import re

# What a dot does not match: Java's line terminators; Python knows the first only.
DOT = "[^\\n\\r\\x85\\u2028\\u2029]"
# The Unicode categories that occur, as they are written inside a character class. Letters and numbers together are
# what \w is (and both are always allowed together); separators are enumerated.
CATEGORIES = {
    "L": r"\w",
    "N": r"\w",
    "Z": r" \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}


class PatternError(ValueError):
    """A pattern that uses something that has no translation."""


@functools.cache
def compile_pattern(pattern: str) -> re.Pattern[str] | None:
    """The compiled form of a pattern of the model, for ``fullmatch``; None for one that cannot be translated.

    None means "not checked", so that a newer model cannot keep the service from starting; a test makes sure that the
    installed model has no such pattern.
    """
    try:
        return re.compile(translate_pattern(pattern), 0 if r"\p{" in pattern else re.ASCII)
    except (PatternError, re.error):
        return None


def translate_pattern(pattern: str) -> str:
    r"""A Java regular expression in Python's notation.

    Differences that matter here: the dot and line terminators, and ``\p{..}`` classes. ``\d``, ``\s`` and ``\w`` mean
    ASCII in Java, which is left to the flag. Raises :class:`PatternError` for other categories, for categories outside
    a character class or beside ``\d``, for ``\p{L}`` without ``\p{N}`` and ``_``, and for unions and intersections of
    classes.
    """
    if r"\p{" in pattern and re.search(r"\\[dswDSW]", pattern):
        raise PatternError(f"a category beside a class that is ASCII in Java: {pattern}")
    written: list[str] = []
    in_class = False
    position = 0
    while position < len(pattern):
        char = pattern[position]
        step = 2 if char == "\\" else 1
        if pattern.startswith((r"\p", r"\P"), position):
            step = pattern.find("}", position) + 1 - position
            char = _translate_category(pattern, pattern[position : position + step], in_class=in_class)
        elif char == "\\":
            char = pattern[position : position + 2]
        elif char == "." and not in_class:
            char = DOT
        elif char == "[":
            if in_class:
                raise PatternError(f"a class inside a class: {pattern}")
            in_class = True
        elif char == "]":
            in_class = False
        elif in_class and pattern.startswith("&&", position):
            raise PatternError(f"an intersection of classes: {pattern}")
        written.append(char)
        position += step
    return "".join(written)


def _translate_category(pattern: str, token: str, *, in_class: bool) -> str:
    replacement = CATEGORIES.get(token[3:-1]) if token.startswith(r"\p{") else None
    if replacement is None or not in_class:
        raise PatternError(f"{token} has no translation: {pattern}")
    if replacement == r"\w" and not (r"\p{L}" in pattern and r"\p{N}" in pattern and "_" in pattern):
        raise PatternError(f"{token} stands without its companions: {pattern}")
    return replacement
