"""Which of the supported languages a caller likes best.

Sources: RFC 9110, section 12.5.4 (``Accept-Language``, weights); RFC 4647, sections 3.3 and 3.4 (a range matches what
begins with it, and falls back by losing its last part).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

from venturekit.runtime.request_event import read_event

MAX_RANGES: Final = 50
"""More languages than this nobody speaks: the rest of a header is not looked at."""


def extract_locale(event: dict[str, Any], supported: Sequence[str], fallback: str) -> str:
    """The supported locale that the header ``Accept-Language`` of an event prefers, else ``fallback`` (seed 001).

    Weights count (``de;q=0.5, en``), ``en-GB`` falls back to ``en``, and ``en`` is content with ``en-US``; ``*`` is the
    fallback. Raises InvalidEventError for what is no event of an HTTP request::

        extract_locale(event, ["en", "de"], "en")
    """
    return best_locale(read_event(event).headers.get("accept-language", ""), supported, fallback)


def best_locale(header: str, supported: Sequence[str], fallback: str) -> str:
    """The same for the text of a header."""
    known = {locale.lower().replace("_", "-"): locale for locale in supported}
    excluded = set()
    wanted = []
    for position, part in enumerate(header.split(",")[:MAX_RANGES]):
        language, weight = _weighed(part)
        if weight > 0:
            wanted.append((-weight, position, language))
        elif language:
            excluded.add(language)
    for _, _, language in sorted(wanted):
        found = _any(known, fallback, excluded) if language == "*" else _match(language, known, excluded)
        if found is not None:
            return found
    return fallback


def _weighed(part: str) -> tuple[str, float]:
    language, _, parameters = part.partition(";")
    weight = 1.0
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            # float() knows more ways to write a number than the header has: nan, 1e-1, 0_1.
            digits = value.strip()
            weight = float(digits) if digits.isascii() and digits.replace(".", "", 1).isdigit() else 0.0
    language = language.strip().lower()
    return (language, weight if 0 < weight <= 1 else 0.0) if language else ("", 0.0)


def _any(known: dict[str, str], fallback: str, excluded: set[str]) -> str | None:
    """What ``*`` stands for: the fallback, unless the caller does not want it."""
    for candidate in (fallback, *known.values()):
        normal = candidate.lower().replace("_", "-")
        if not any(normal == language or normal.startswith(f"{language}-") for language in excluded):
            return candidate
    return None


def _match(language: str, known: dict[str, str], excluded: set[str]) -> str | None:
    shortened = language
    while shortened:
        if shortened in known and shortened not in excluded:
            return known[shortened]
        for candidate, locale in known.items():
            if candidate.startswith(f"{shortened}-") and candidate not in excluded:
                return locale
        shortened = shortened.rpartition("-")[0]
    return None
