"""What of a table only the full form runs: variants of behaviour that the rows before them have shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def in_full(*rows: Any) -> list[Any]:
    """These rows in the full form only. A row of several values is a tuple or a list."""
    return [pytest.param(*(row if isinstance(row, tuple | list) else (row,)), marks=pytest.mark.full) for row in rows]


def thinned(rows: Iterable[Any], one_of: int, group: Callable[[Any], Any] = lambda _: None) -> list[Any]:
    """All rows in the full form; in the short form the first of every ``one_of`` in each group."""
    seen: dict[Any, int] = {}
    made = []
    for row in rows:
        number = seen[group(row)] = seen.get(group(row), -1) + 1
        made += in_full(row) if number % one_of else [row]
    return made
