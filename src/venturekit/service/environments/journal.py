"""The log of one execution environment, in the format of its function: what it writes, the platform's lines, the tail.

Source: AWS pages "Configuring JSON and plain text log formats" and "Log-level filtering".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from venturekit.service.environments import platform_events, platform_lines
from venturekit.service.environments.log_levels import (
    INFO,
    WARN,
    application_filter,
    level_named,
    system_level,
)
from venturekit.service.environments.log_records import render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from venturekit.service.environments.log_records import Message, Reported
    from venturekit.service.environments.log_writer import Keep
    from venturekit.service.environments.logs import LogGroup
    from venturekit.service.environments.ports import EnvironmentSpec

TAIL_BYTES: Final = 4096
OUTPUT_BYTES: Final = 65_536
"""How much of an invocation's log is collected before all but its end is dropped."""


def open_journal(spec: EnvironmentSpec, stream: str, group: LogGroup, keep: Keep | None = None) -> Journal:
    """The journal of an environment of a function; ``keep`` takes what goes to the log directory."""
    if spec.log_format != "JSON":
        return Journal(spec, stream, group, keep)
    if spec.max_concurrency:
        return MultiConcurrentJournal(spec, stream, group, keep)
    return (TenantJournal if spec.tenant_id else JsonJournal)(spec, stream, group, keep)


class Journal:
    """The log in the text format. Times are in epoch seconds."""

    __slots__ = ("_append", "_group", "_keep", "_spec", "_stream", "_tail", "_version", "begun", "shows")

    def __init__(self, spec: EnvironmentSpec, stream: str, group: LogGroup, keep: Keep | None) -> None:
        self._spec = spec
        self._stream = stream
        self._group = group
        self._keep = keep
        self._append: Callable[[float, str, Message], None] = group.append if keep is None else self._append_and_keep
        self._version = spec.function_version.encode()
        self._tail: bytearray | None = None
        self.shows: Callable[[bytes, int], bool] | None = None
        """Which records of the function the log has; None: all of them."""
        self.begun: tuple[float, str, str, str] | None = None
        """When the init phase began, and with what: runtime, version ARN, phase."""

    def init_started(self, timestamp: float, *, runtime: str, version_arn: str, phase: str, warning: str) -> None:
        """An environment begins its init phase; ``warning`` may say what is not as the function wants it."""
        self.begun = (timestamp, runtime, version_arn, phase)
        self._append(timestamp, self._stream, platform_lines.init_start_line(runtime, version_arn))
        if warning:
            self._append(timestamp, self._stream, f"[WARNING] {warning}\n".encode())

    def init_ended(
        self, timestamp: float, *, duration_ms: float, phase: str, status: str = "success", error_type: str = ""
    ) -> None:
        """The init phase is over: ``success``, ``error`` or ``timeout``."""
        if status != "success" or self._spec.initialization_type != platform_events.ON_DEMAND:
            line = platform_lines.init_report_line(duration_ms, phase, status, error_type)
            self._append(timestamp, self._stream, line)

    def started(self, timestamp: float, request_id: bytes, *, tail: bool) -> None:
        """An invocation begins; ``tail``: whoever invoked wants the end of its log."""
        message = (request_id, self._version)
        self._append(timestamp, self._stream, message)
        if tail:
            self._tail = bytearray(render(timestamp, message))

    def wrote(self, timestamp: float, message: bytes) -> None:
        """The function wrote a line or record."""
        self._append(timestamp, self._stream, message)
        if self._tail is not None:
            self._add_to_tail(timestamp, message)

    def ended(
        self, timestamp: float, report: Reported, *, status: str = "", error_type: str = "", produced_bytes: int = 0
    ) -> bytes:
        """An invocation is over: ``status`` is empty where the runtime answered. Returns the tail, if it is wanted."""
        end: Message = (report[0],)
        self._append(timestamp, self._stream, end)
        last: Message = report
        if status:
            last = platform_lines.report_line(platform_lines.Report(*report, status, error_type))
        self._append(timestamp, self._stream, last)
        if self._tail is None:
            return b""
        self._add_to_tail(timestamp, end)
        self._add_to_tail(timestamp, last)
        return self._take_tail()

    def extension(
        self, timestamp: float, *, name: str, state: str, events: Sequence[str], error_type: str = ""
    ) -> None:
        """An extension is ready, or has failed."""
        line = platform_lines.extension_line(name, state, events, error_type)
        self._append(timestamp, self._stream, line)

    def subscribed(self, timestamp: float, *, word: str, event: str, name: str, types: Sequence[str]) -> None:
        """An extension has subscribed; ``word`` and ``event`` tell to which API, in the two formats of the log."""
        self._append(timestamp, self._stream, platform_lines.subscription_line(word, name, types))

    def _append_and_keep(self, timestamp: float, stream: str, message: Message) -> None:
        self._group.append(timestamp, stream, message)
        assert self._keep is not None
        self._keep(timestamp, stream, message)

    def _add_to_tail(self, timestamp: float, message: Message) -> None:
        tail = self._tail
        assert tail is not None
        tail += render(timestamp, message)
        if len(tail) > OUTPUT_BYTES:
            del tail[:-TAIL_BYTES]

    def _take_tail(self) -> bytes:
        tail, self._tail = self._tail or b"", None
        return bytes(tail[-TAIL_BYTES:])


class JsonJournal(Journal):
    """The log in the JSON format: what its levels let through."""

    __slots__ = ("_arn", "_shows_info", "_system_level")

    def __init__(self, spec: EnvironmentSpec, stream: str, group: LogGroup, keep: Keep | None) -> None:
        super().__init__(spec, stream, group, keep)
        self.shows = application_filter(spec.application_log_level)
        self._arn = spec.function_arn.encode()
        self._system_level = level_named(spec.system_log_level)
        self._shows_info = self._system_level <= INFO

    def init_started(self, timestamp: float, *, runtime: str, version_arn: str, phase: str, warning: str) -> None:
        """As above."""
        self.begun = (timestamp, runtime, version_arn, phase)
        spec = self._spec
        record = platform_events.init_start(
            phase=phase,
            runtime=runtime,
            version_arn=version_arn,
            function_name=spec.function_name,
            version=spec.function_version,
            stream=self._stream,
            memory_size_mb=spec.memory_size_mb,
            initialization_type=spec.initialization_type,
        )
        self._event("platform.initStart", timestamp, record)
        if warning and (self.shows is None or self.shows(b"", WARN)):
            whole = {"timestamp": platform_events.timestamp_text(timestamp), "level": "WARN", "message": warning}
            self._append(timestamp, self._stream, json.dumps(whole, separators=(",", ":")).encode() + b"\n")

    def init_ended(
        self, timestamp: float, *, duration_ms: float, phase: str, status: str = "success", error_type: str = ""
    ) -> None:
        """As above."""
        kind = self._spec.initialization_type
        done = platform_events.init_runtime_done(phase, status, error_type, kind)
        self._event("platform.initRuntimeDone", timestamp, done, succeeded=status == "success")
        report = platform_events.init_report(phase, status, error_type, duration_ms, kind)
        self._event(
            "platform.initReport",
            timestamp,
            report,
            succeeded=status == "success",
            on_demand=kind == platform_events.ON_DEMAND,
        )

    def started(self, timestamp: float, request_id: bytes, *, tail: bool) -> None:
        """As above."""
        if tail:
            self._tail = bytearray()
        if self._shows_info:
            self._show(timestamp, (request_id, self._version, self._arn))

    def ended(
        self, timestamp: float, report: Reported, *, status: str = "", error_type: str = "", produced_bytes: int = 0
    ) -> bytes:
        """As above."""
        if status or self._system_level < INFO:
            done = platform_events.runtime_done(report[0], status or "success", error_type, report[1], produced_bytes)
            self._event("platform.runtimeDone", timestamp, done, succeeded=not status)
        if status or self._shows_info:
            self._show(timestamp, (*report, status, error_type))
        return b"" if self._tail is None else self._take_tail()

    def extension(
        self, timestamp: float, *, name: str, state: str, events: Sequence[str], error_type: str = ""
    ) -> None:
        """As above."""
        record = platform_events.extension(name, state, events, error_type)
        self._event("platform.extension", timestamp, record, succeeded=not error_type)

    def subscribed(self, timestamp: float, *, word: str, event: str, name: str, types: Sequence[str]) -> None:
        """As above."""
        self._event(event, timestamp, platform_events.subscription(name, types))

    def _show(self, timestamp: float, message: Message) -> None:
        self._append(timestamp, self._stream, message)
        if self._tail is not None:
            self._add_to_tail(timestamp, message)

    def _event(
        self, event: str, timestamp: float, record: dict[str, Any], *, succeeded: bool = True, on_demand: bool = True
    ) -> None:
        if system_level(event, succeeded=succeeded, on_demand=on_demand) >= self._system_level:
            self._show(timestamp, platform_events.event_line(event, timestamp, record))


class TenantJournal(JsonJournal):
    """The log in the JSON format of an environment that serves one tenant: it is named in what the platform writes.

    Source: AWS page "Lambda Telemetry API Event schema reference" for ``tenantId`` of start, runtimeDone and report.
    """

    __slots__ = ()

    def started(self, timestamp: float, request_id: bytes, *, tail: bool) -> None:
        """As above."""
        if tail:
            self._tail = bytearray()
        self._event("platform.start", timestamp, platform_events.start(request_id, self._version, self._arn))

    def ended(
        self, timestamp: float, report: Reported, *, status: str = "", error_type: str = "", produced_bytes: int = 0
    ) -> bytes:
        """As above."""
        done = platform_events.runtime_done(report[0], status or "success", error_type, report[1], produced_bytes)
        self._event("platform.runtimeDone", timestamp, done, succeeded=not status)
        reported = platform_events.report(platform_lines.Report(*report, status, error_type))
        self._event("platform.report", timestamp, reported, succeeded=not status)
        return b"" if self._tail is None else self._take_tail()

    def _event(self, event: str, timestamp: float, record: dict[str, Any], **level: bool) -> None:
        if "requestId" in record:
            record = platform_events.with_tenant(record, self._spec.tenant_id)
        super()._event(event, timestamp, record, **level)


class MultiConcurrentJournal(JsonJournal):
    """The log of an environment that has several invocations at once: the tail of each is what names its request id."""

    __slots__ = ("_tails",)

    def __init__(self, spec: EnvironmentSpec, stream: str, group: LogGroup, keep: Keep | None) -> None:
        super().__init__(spec, stream, group, keep)
        self._tails: dict[bytes, bytearray] = {}

    def started(self, timestamp: float, request_id: bytes, *, tail: bool) -> None:
        """As above."""
        if tail:
            self._tails[request_id] = bytearray()
            # Not None: somebody wants to have what is written.
            self._tail = bytearray()
        super().started(timestamp, request_id, tail=False)

    def ended(
        self, timestamp: float, report: Reported, *, status: str = "", error_type: str = "", produced_bytes: int = 0
    ) -> bytes:
        """As above."""
        super().ended(timestamp, report, status=status, error_type=error_type, produced_bytes=produced_bytes)
        tail = self._tails.pop(report[0], b"")
        if not self._tails:
            self._tail = None
        return bytes(tail[-TAIL_BYTES:])

    def _add_to_tail(self, timestamp: float, message: Message) -> None:
        text = render(timestamp, message)
        for request_id, tail in self._tails.items():
            if request_id in text:
                tail += text
                if len(tail) > OUTPUT_BYTES:
                    del tail[:-TAIL_BYTES]

    def _take_tail(self) -> bytes:
        return b""
