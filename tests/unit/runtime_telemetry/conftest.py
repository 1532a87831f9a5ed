"""Every test starts in a process that knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.unit.runtime_telemetry.exported import Spans
from venturekit.runtime import _process

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in ("AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION", "VENTURE_LOG_LEVEL", "_X_AMZN_TRACE_ID"):
        monkeypatch.delenv(variable, raising=False)
    _process.reset()
    yield
    _process.reset()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """A tracer provider as somebody has set it up; what it exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # It can be set once in a process, and belongs to one test here.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return Spans(exporter)
