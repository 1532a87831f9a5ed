"""One of the invocations that an environment has at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment
    from venturekit.service.environments.ports import Invocation
    from venturekit.service.environments.response_body import ResponseBody
    from venturekit.service.wire.connection import Connection


class Seat:
    """An invocation that the runtime of ``environment`` has: its deadline, and what has come of its answer.

    It stands where an environment stands that has one invocation at a time. Times are monotonic seconds, but
    ``wall_started``, which is epoch seconds. ``invocation`` is None when it has been answered for.
    """

    __slots__ = (
        "connection",
        "deadline",
        "environment",
        "invocation",
        "request_id",
        "started_at",
        "streamed",
        "streaming",
        "trace",
        "wall_started",
    )

    def __init__(self, environment: MultiConcurrentEnvironment, invocation: Invocation) -> None:
        self.environment = environment
        self.invocation: Invocation | None = invocation
        self.request_id = invocation.request_id
        self.trace = invocation.trace
        self.started_at = environment.host.monotonic()
        self.wall_started = environment.host.wall()
        self.deadline = self.started_at + environment.spec.timeout_ms / 1000
        # On which the event was handed over, None before.
        self.connection: Connection | None = None
        self.streaming = False
        self.streamed: ResponseBody | None = None

    @property
    def host(self) -> EnvironmentHost:
        """Whose clocks count."""
        return self.environment.host

    def answered(self, payload: bytes | bytearray, *, error: bool) -> None:
        """The runtime posted the outcome."""
        self.environment.seat_answered(self, payload, error=error)

    @property
    def was_reset(self) -> bool:
        """Whether the worker's connection ended before the worker had read its event, or it had it cut."""
        return self.connection is not None and self.connection.was_reset and not self.streaming

    @property
    def over_memory(self) -> bool:
        """Whether the environment is being killed for its memory."""
        return self.environment.over_memory
