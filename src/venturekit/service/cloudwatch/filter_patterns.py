"""Filter patterns: from their text to a function that says which log events match. Pure.

Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, and filter log
events".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from venturekit.service.cloudwatch.comparisons import PatternError, refuse_expression, unquoted
from venturekit.service.cloudwatch.field_patterns import parse_fields
from venturekit.service.cloudwatch.json_patterns import parse_json_pattern

Matches: TypeAlias = Callable[[str], bool]
_TERM: Final = re.compile(r'([?-]?)("(?:[^"\\]|\\.)*"|[^\s"]+)\s*', re.DOTALL)


def parse_pattern(text: str) -> Matches | None:
    """What tells whether the text of a log event matches; None for the empty pattern, which all events match.

    Raises PatternError.
    """
    text = text.strip()
    if not text:
        return None
    if text.startswith("{"):
        return parse_json_pattern(text)
    if text.startswith("["):
        return parse_fields(text)
    return _parse_terms(text)


def _parse_terms(text: str) -> Matches:
    """Terms: all must be in the text, none of those with ``-``; of those with ``?``, where there are no others, one.

    As AWS's page says, ``?`` counts for nothing beside other terms. Choice: a term is found within a word, too.
    """
    wanted: dict[str, list[str]] = {"": [], "-": [], "?": []}
    position = 0
    while position < len(text):
        found = _TERM.match(text, position)
        if found is None:
            raise PatternError("a quotation mark has no counterpart")
        mark, term = found.groups()
        wanted[mark].append(_term(term))
        position = found.end()
    included, excluded, optional = wanted[""], wanted["-"], wanted["?"]
    if not included and not excluded:
        return lambda message: any(term in message for term in optional)
    return lambda message: all(term in message for term in included) and not any(term in message for term in excluded)


def _term(text: str) -> str:
    if text.startswith('"'):
        return unquoted(text)
    if text.startswith("%"):
        raise refuse_expression()
    if re.fullmatch(r"\w+", text) is None:
        raise PatternError(f"Invalid character(s) in term '{text}': put it in quotation marks")
    return text
