"""The seeds' examples run in a project that is called myapp, at the stage dev."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.seeds.recorder import Recorder
from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """What invoke() calls."""
    monkeypatch.setenv("VENTURE_PROJECT_NAME", "myapp")
    monkeypatch.setenv("VENTURE_STAGE", "dev")
    monkeypatch.setenv("VENTURE_LOG_LEVEL", "silent")
    _process.reset()
    recorder = Recorder()
    _process.state.invoker = recorder
    yield recorder
    _process.reset()
