"""Patterns of policies: ``*`` is any number of characters, ``?`` exactly one.

Source: AWS IAM User Guide, "IAM JSON policy elements: Action" and "Resource".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EVERYTHING: Final = "*"


class PatternSet:
    """Patterns compiled once; a text matches the set if it matches one of them, letter case included."""

    __slots__ = ("_everything", "_exact", "_wild")

    def __init__(self, patterns: Iterable[str]) -> None:
        given = frozenset(patterns)
        wild = [pattern for pattern in sorted(given) if "*" in pattern or "?" in pattern]
        self._everything = any(pattern.strip("*") == "" for pattern in wild)
        self._exact = given.difference(wild)
        self._wild: tuple[Callable[[str], object], ...] = tuple(_compile(pattern) for pattern in wild)

    def matches(self, text: str) -> bool:
        """Whether one of the patterns is the whole text."""
        return self._everything or text in self._exact or any(match(text) for match in self._wild)


def _compile(pattern: str) -> Callable[[str], object]:
    """The matcher of a pattern, in time proportional to pattern times text.

    What stands between two stars is found where it first occurs and never looked for again (an atomic group): for
    stars, first is as good as any, and an ordinary regular expression would try every combination.
    """
    first, *others = (re.escape(part).replace(r"\?", ".") for part in pattern.split("*"))
    if not others:
        return re.compile(first, re.DOTALL).fullmatch
    middle = "".join(f"(?>.*?{part})" for part in others[:-1] if part)
    return re.compile(f"{first}{middle}.*{others[-1]}", re.DOTALL).fullmatch
