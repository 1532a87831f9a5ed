"""Every test starts in a process that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("AWS_LAMBDA_FUNCTION_NAME", "VENTURE_LOG_LEVEL", "_X_AMZN_TRACE_ID"):
        monkeypatch.delenv(variable, raising=False)
    _process.reset()
    yield
    _process.reset()
