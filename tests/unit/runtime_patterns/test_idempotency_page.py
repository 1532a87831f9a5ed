"""The blocks of docs/idempotency.md run, each by itself, and what it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import venturekit.runtime
from venturekit.runtime import patterns

PAGE = (Path(__file__).parents[3] / "docs" / "idempotency.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_the_page(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "app"}
    exec(compile(BLOCKS[number], f"idempotency.md, block {number}", "exec", dont_inherit=True), names)


def test_what_the_page_names_exists() -> None:
    assert len(BLOCKS) == 4
    named = set(re.findall(r"`(create_\w+_store|Idempotency\w+Error|idempotent|idempotency_middleware)\b", PAGE))
    assert len(named) >= 9
    for name in named:
        assert name in venturekit.runtime.__all__
        assert name in patterns.__all__ or name == "idempotency_middleware"
