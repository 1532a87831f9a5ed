"""Every row of docs/compatibility-venturekit.md names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility-venturekit.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line and "| Test |" not in line]


def test_there_are_rows() -> None:
    assert len(ROWS) >= 70


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_a_row_is_proved(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split(" | ")]
    assert len(cells) == 3, row
    proof = re.fullmatch(r"`(tests/[\w/]+(?:\.py)?)(?:::(\w+))?`", cells[2].strip(" |"))
    assert proof, cells[2]
    path = ROOT / proof[1]
    assert path.exists(), proof[1]
    assert proof[2] is None or f"def {proof[2]}(" in path.read_text(), proof[0]
