"""The telemetry of one execution environment: what happens in it, and the extensions that want to hear of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.environments import platform_events
from venturekit.service.environments.telemetry import events
from venturekit.service.environments.telemetry.journal import TelemetryJournal
from venturekit.service.environments.telemetry.stream import Stream

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.telemetry.subscription import Subscription

EARLY_EVENTS: Final = 1000
"""How much of the init phase is kept for extensions that subscribe later in it; the oldest goes first."""


class Telemetry:
    """Takes in events and hands them to the streams of those that subscribed."""

    __slots__ = ("_early", "_journal", "_streams", "environment")

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._streams: dict[str, Stream] = {}
        # What an extension that subscribes now has missed; None: nobody subscribes any more.
        self._early: deque[tuple[str, float, Any]] | None = deque(maxlen=EARLY_EVENTS)
        self._journal = TelemetryJournal(environment.journal, self)

    def begin(self) -> None:
        """There are extensions: listen from now on."""
        self.environment.journal = self._journal
        if self.environment.capture is not None:
            self.environment.capture.show(self._journal.shows)
        begun = self._journal.begun
        if begun is None:
            return
        timestamp, runtime, version_arn, phase = begun
        spec = self.environment.spec
        record = platform_events.init_start(
            phase=phase,
            runtime=runtime,
            version_arn=version_arn,
            function_name=spec.function_name,
            version=spec.function_version,
            stream=self.environment.stream,
            memory_size_mb=spec.memory_size_mb,
            initialization_type=spec.initialization_type,
        )
        self.emit("platform.initStart", timestamp, record)

    # --- events -------------------------------------------------------------------------------------------------

    def emit(self, event: str, timestamp: float, record: Any) -> None:
        """Something happened. ``record`` is bytes for what was written. Never waits."""
        if self._early is not None:
            self._early.append((event, timestamp, record))
        for stream in self._streams.values():
            self._pass_on(stream, event, timestamp, record)

    def wrote(self, event: str, message: bytes) -> None:
        """The function or an extension wrote a line or record."""
        if self._streams or self._early is not None:
            self.emit(event, self.environment.host.wall(), message)

    def _pass_on(self, stream: Stream, event: str, timestamp: float, record: Any) -> None:
        if isinstance(record, bytes):
            is_json = event == "function" and self.environment.spec.log_format == "JSON"
            record = events.output_record(stream.subscription, record, is_json=is_json)
        record = events.record_for(stream.subscription, event, record)
        if record is not None:
            stream.add(events.render(event, timestamp, record))

    def latency_ms(self, duration_ms: float) -> float:
        """How long after the invocation its response began; ``duration_ms`` is when it was over."""
        streamed = self.environment.streamed
        if streamed is None:
            return duration_ms
        return min(duration_ms, (streamed.began_at - self.environment.started_at) * 1000)

    # --- those that want to hear of them ------------------------------------------------------------------------

    def subscribe(self, name: str, subscription: Subscription) -> None:
        """An extension subscribes: it hears of the init phase from its beginning. A second time replaces the first."""
        assert self._early is not None
        former = self._streams.pop(name, None)
        stream = Stream(self.environment, subscription)
        if former is None:
            for event, timestamp, record in tuple(self._early):
                self._pass_on(stream, event, timestamp, record)
        else:
            former.close()
        self._streams[name] = stream
        api = subscription.api
        self.environment.journal.subscribed(
            self.environment.host.wall(), word=api.word, event=api.event, name=name, types=subscription.types
        )

    def settle_down(self) -> None:
        """The init phase is over. Where nobody has subscribed, nothing is listened to any more."""
        self._early = None
        if not self._streams and self.environment.journal is self._journal:
            self.environment.journal = self._journal.inner
            if self.environment.capture is not None:
                self.environment.capture.show(self._journal.inner.shows)

    def hurry(self) -> None:
        """The environment ends: what there is goes out at once."""
        for stream in self._streams.values():
            stream.hurry()

    def close(self) -> None:
        """The environment has ended."""
        for stream in self._streams.values():
            stream.close()
