"""The log of an environment whose extensions may want to hear of what is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.service.environments import platform_events
from venturekit.service.environments.journal import Journal
from venturekit.service.environments.platform_lines import Report
from venturekit.service.environments.telemetry import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from venturekit.service.environments.log_records import Reported
    from venturekit.service.environments.telemetry.telemetry import Telemetry


class TelemetryJournal(Journal):
    """Writes to ``inner`` and tells ``telemetry``, to which no log level applies."""

    __slots__ = ("_telemetry", "_traces", "inner")

    def __init__(self, inner: Journal, telemetry: Telemetry) -> None:
        # None of the fields of a journal of its own: everything is handed on.
        self.inner = inner
        self.begun = inner.begun
        self._telemetry = telemetry
        self._traces: dict[bytes, bytes] = {}
        self.shows = self._overhear

    def _overhear(self, message: bytes, level: int) -> bool:
        self._telemetry.wrote("function", message)
        shows = self.inner.shows
        return shows is None or shows(message, level)

    def init_started(self, timestamp: float, *, runtime: str, version_arn: str, phase: str, warning: str) -> None:
        """As above."""
        self.inner.init_started(timestamp, runtime=runtime, version_arn=version_arn, phase=phase, warning=warning)
        self.begun = self.inner.begun

    def init_ended(
        self, timestamp: float, *, duration_ms: float, phase: str, status: str = "success", error_type: str = ""
    ) -> None:
        """As above."""
        self.inner.init_ended(timestamp, duration_ms=duration_ms, phase=phase, status=status, error_type=error_type)
        kind = self._telemetry.environment.spec.initialization_type
        done = platform_events.init_runtime_done(phase, status, error_type, kind)
        self._telemetry.emit("platform.initRuntimeDone", timestamp, done)
        report = platform_events.init_report(phase, status, error_type, duration_ms, kind)
        self._telemetry.emit("platform.initReport", timestamp, report)

    def started(self, timestamp: float, request_id: bytes, *, tail: bool) -> None:
        """As above."""
        self.inner.started(timestamp, request_id, tail=tail)
        trace = self._traces[request_id] = self._telemetry.environment.trace_of(request_id)
        spec = self._telemetry.environment.spec
        record = {"requestId": request_id.decode(), "version": spec.function_version}
        tracing = {"tracing": events.tracing(trace)}
        self._telemetry.emit("platform.start", timestamp, platform_events.with_tenant(record | tracing, spec.tenant_id))

    def wrote(self, timestamp: float, message: bytes) -> None:
        """As above."""
        self.inner.wrote(timestamp, message)

    def ended(
        self, timestamp: float, report: Reported, *, status: str = "", error_type: str = "", produced_bytes: int = 0
    ) -> bytes:
        """As above."""
        tail = self.inner.ended(timestamp, report, status=status, error_type=error_type, produced_bytes=produced_bytes)
        tracing = platform_events.with_tenant(
            {"tracing": events.tracing(self._traces.pop(report[0], b""))}, self._telemetry.environment.spec.tenant_id
        )
        request_id, duration_ms = report[:2]
        done = platform_events.runtime_done(request_id, status or "success", error_type, duration_ms, produced_bytes)
        if not status:
            latency_ms = self._telemetry.latency_ms(duration_ms)
            done["spans"] = events.spans(timestamp - duration_ms / 1000, latency_ms, duration_ms)
        self._telemetry.emit("platform.runtimeDone", timestamp, done | tracing)
        self._telemetry.emit("platform.end", timestamp, {"requestId": request_id.decode()})
        reported = platform_events.report(Report(*report, status, error_type))
        self._telemetry.emit("platform.report", timestamp, reported | tracing)
        return tail

    def extension(
        self, timestamp: float, *, name: str, state: str, events: Sequence[str], error_type: str = ""
    ) -> None:
        """As above."""
        self.inner.extension(timestamp, name=name, state=state, events=events, error_type=error_type)
        record = platform_events.extension(name, state, events, error_type)
        self._telemetry.emit("platform.extension", timestamp, record)

    def subscribed(self, timestamp: float, *, word: str, event: str, name: str, types: Sequence[str]) -> None:
        """As above."""
        self.inner.subscribed(timestamp, word=word, event=event, name=name, types=types)
        self._telemetry.emit(event, timestamp, platform_events.subscription(name, types))
