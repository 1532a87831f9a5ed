"""An execution environment that has several invocations at once: Lambda Managed Instances.

Source: AWS page "Understanding the Lambda Managed Instances execution environment". Its runtime keeps several calls of
``next`` waiting, each of which gets an invocation; timeouts are each invocation's own, and interrupt nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from venturekit.service.environments import failures
from venturekit.service.environments.environment import (
    PROVISIONED_INIT_SECONDS,
    SMALL_PAYLOAD_BYTES,
    UNHANDLED,
    Environment,
)
from venturekit.service.environments.failures import Exit
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.log_sockets import LogSocket
from venturekit.service.environments.runtime_api import EVENT_HEAD, LIMITS
from venturekit.service.environments.seats import Seat

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.multi_concurrent_pool import MultiConcurrentPool
    from venturekit.service.environments.ports import Invocation
    from venturekit.service.environments.sandbox import Sandbox
    from venturekit.service.wire.exchange import Exchange
    from venturekit.service.wire.limits import Limits

MOST_INIT_SECONDS: Final = 900.0
LATE_IDS: Final = 1000
"""How many invocations that ran out of time are remembered: an answer to one is refused as late, not as unknown."""
CONNECTIONS_EACH: Final = 4
"""How many connections a worker of the runtime may have: AWS's clients have one or two."""


class MultiConcurrentEnvironment(Environment):
    """Has at most ``spec.max_concurrency`` invocations at once, and as many calls of ``next`` waiting.

    It is in the state IDLE from the end of its init phase on, whatever it has to do.
    """

    __slots__ = ("_late", "_waiting_calls", "is_doomed", "log_socket", "returning", "running")

    pool: MultiConcurrentPool

    def __init__(self, pool: MultiConcurrentPool, number: int, sandbox: Sandbox, *, provisioned: bool) -> None:
        super().__init__(pool, number, sandbox, provisioned=provisioned)
        # Nobody waits for an init phase in the sense of AWS: environments start ahead of invocations there.
        self.init_reported = True
        # First come, first served: workers share the work.
        self._waiting_calls: deque[Exchange] = deque()
        # In the order in which they began, which is that of their deadlines.
        self.running: dict[bytes, Seat] = {}
        # Workers that are trusted to ask for an event soon: they have answered, or finish their init phase.
        self.returning = 0
        # It ends, or is about to: it gets no invocation any more.
        self.is_doomed = False
        self._late: deque[bytes] = deque(maxlen=LATE_IDS)
        self.log_socket: LogSocket | None = None

    # --- what the runtime does ----------------------------------------------------------------------------------

    def next(self, exchange: Exchange) -> None:
        """A worker of the runtime asks for an event: from the first such call on the environment is initialised."""
        if self.state not in (State.STARTING, State.INIT_HELD, State.IDLE):
            self.api.refuse_transition(exchange, "Ready")
            return
        limit = self.spec.max_concurrency
        if len(self._waiting_calls) >= limit and not self._drop_closed():
            self.api.refuse_crowd(exchange, limit)
            return
        self._waiting_calls.append(exchange)
        # Only now: where the last one that waited has gone, it is in its init phase again.
        state = self.state
        if state is State.STARTING:
            self.state = State.INIT_HELD
            if self.extensions is None or self.extensions.is_ready():
                self.extensions_ready()
        elif state is State.IDLE:
            self.pool.called_next(self)

    def extensions_ready(self) -> None:
        """No extension has anything to initialise any more: the runtime's calls may take effect, if one has come."""
        if self.state is State.INIT_HELD and self.listens():
            self.state = State.IDLE
            self._initialised()

    def seat(self, request_id: bytes) -> Seat | None:
        """The invocation of this id, if the runtime has it and has not begun to answer."""
        seat = self.running.get(request_id)
        return None if seat is None or seat.streaming else seat

    def is_late(self, request_id: bytes) -> bool:
        """Whether the invocation ran out of time."""
        return request_id in self._late

    def seat_answered(self, seat: Seat, payload: bytes | bytearray, *, error: bool) -> None:
        """The runtime posted the outcome of one of its invocations."""
        self.pool.seat_answered(self)
        self._give_up(seat)
        self.settle_seat(seat, payload, UNHANDLED if error else b"", "", "")
        self.pool.seat_over(self)

    def connection_gone(self, exchange: Exchange) -> None:
        """A connection of the runtime closed while a call of it was open."""
        if exchange in self._waiting_calls:
            self._waiting_calls.remove(exchange)
            self._call_lost()
        else:
            super().connection_gone(exchange)

    # --- what the pool asks -------------------------------------------------------------------------------------

    def listens(self) -> bool:
        """Whether a worker waits for an event, on a connection that is open on its side."""
        self._drop_closed()
        return bool(self._waiting_calls)

    @property
    def is_free(self) -> bool:
        """Whether it can have one more invocation."""
        return bool(self._waiting_calls) and len(self.running) < self.spec.max_concurrency and not self.is_doomed

    @property
    def places(self) -> int:
        """How many more invocations it can have now: each needs a worker that waits."""
        return min(len(self._waiting_calls), self.spec.max_concurrency - len(self.running))

    @property
    def hangs(self) -> bool:
        """Whether it has no invocation, and no worker that asks for one."""
        return self.is_at_rest and not self._waiting_calls

    @property
    def is_at_rest(self) -> bool:
        """Whether it has no invocation."""
        return self.state is State.IDLE and not self.running

    def trace_of(self, request_id: bytes) -> bytes:
        """The trace header of an invocation that the runtime has."""
        seat = self.running.get(request_id)
        return b"" if seat is None else seat.trace

    # --- what the service does ----------------------------------------------------------------------------------

    def deliver(self, invocation: Invocation) -> None:
        """Hand an event to the worker that has waited longest."""
        exchange = self._waiting_calls.popleft()
        seat = self._take(invocation)
        seat.connection = exchange.connection
        timeout_ms = self.spec.timeout_ms
        payload = invocation.payload
        head = EVENT_HEAD % (
            seat.request_id,
            int(seat.wall_started * 1000) + timeout_ms,
            invocation.invoked_arn,
            invocation.trace,
            invocation.extra_headers,
            len(payload),
        )
        self.deadline = next(iter(self.running.values())).deadline
        self.host.watch.busy(self)
        if len(payload) <= SMALL_PAYLOAD_BYTES:
            exchange.respond(head + payload)
        else:
            exchange.respond_parts(head, payload)

    def out_of_time(self) -> None:
        """The earliest deadline has passed."""
        if self.state is not State.IDLE:
            super().out_of_time()
            return
        now = self.host.monotonic()
        for seat in [each for each in self.running.values() if each.deadline <= now]:
            self._late.append(seat.request_id)
            self._give_up(seat)
            body = failures.timed_out(seat.request_id, self.spec.timeout_ms)
            self.settle_seat(seat, body, UNHANDLED, "timeout", "")
        self.pool.seat_over(self)

    def sample_memory(self, now: float) -> int:
        """As its parent; that is a good time to find workers that have ended before they had read their event.

        Nobody but the kernel knows what they had: it resets a connection on which something has not been read.
        """
        lost = [] if self.over_memory or self.is_doomed else [each for each in self.running.values() if each.was_reset]
        for seat in lost:
            self._give_up(seat)
            self.settle_seat(seat, failures.exited(seat.request_id, Exit()), UNHANDLED, "error", failures.EXIT_ERROR)
        if lost:
            self.pool.seat_over(self)
        return super().sample_memory(now)

    def begin_without_runtime(self, invocation: Invocation) -> Seat:
        """An invocation whose init failed has its START, END and REPORT all the same."""
        seat = self._take(invocation)
        del self.running[seat.request_id]
        return seat

    def fail_running(self, body_for: Callable[[bytes], bytes], error_type: str) -> None:
        """What the runtime has will not be answered by it."""
        # Whoever hears of that may have more to be done at once.
        self.pool.losing(self)
        seats = tuple(self.running.values())
        self.running.clear()
        for seat in seats:
            self.settle_seat(seat, body_for(seat.request_id), UNHANDLED, "error", error_type)

    def keep_sandbox(self, *, at_once: bool = False) -> None:
        """There is no environment that goes on as another one: each starts with a sandbox of its own."""

    @property
    def initialises_again(self) -> bool:
        """An init phase that runs out of time has failed: its limit is long."""
        return False

    def drain(self) -> None:
        """Take in what has been written so far: a line that was begun may be of another invocation."""
        if self.capture is not None:
            self.capture.take()
        if self.log_socket is not None:
            self.log_socket.drain()

    def open_log_socket(self) -> str:
        """The path, as the function sees it, of the socket on which the runtime's workers write their logs.

        Empty where functions may connect to no socket: lines of more than 4 KiB may mix then.
        """
        policy = self.host.settings.isolation
        if policy and policy.level == "confined":
            return ""
        own_tmp = self.sandbox.tmp if policy and policy.has_own_tmp else None
        self.log_socket = LogSocket(self.host.loop, self.wrote, lambda: self.journal.shows, own_tmp)
        return self.log_socket.shown_path

    # --- inside -------------------------------------------------------------------------------------------------

    def _take(self, invocation: Invocation) -> Seat:
        seat = self.running[invocation.request_id] = Seat(self, invocation)
        self.journal.started(seat.wall_started, seat.request_id, tail=invocation.tail)
        return seat

    def _give_up(self, seat: Seat) -> None:
        del self.running[seat.request_id]
        if self.running:
            self.deadline = next(iter(self.running.values())).deadline
        else:
            self.idle_since = self.host.clock.now
            self.host.watch.rest(self)

    def _drop_closed(self) -> bool:
        """Cut the connections on which no worker waits any more. Whether there was one."""
        closed = [each for each in self._waiting_calls if each.connection.eof]
        for exchange in closed:
            self._waiting_calls.remove(exchange)
            exchange.abort()
        if closed:
            self._call_lost()
        return bool(closed)

    def _call_lost(self) -> None:
        if self._waiting_calls:
            return
        if self.state is State.INIT_HELD:
            self.state = State.STARTING
        elif self.state is State.IDLE:
            self.pool.lost_idle(self)

    @property
    def _limits(self) -> Limits:
        usual = LIMITS.connections or 0
        return replace(LIMITS, connections=max(usual, CONNECTIONS_EACH * self.spec.max_concurrency))

    @property
    def _init_seconds(self) -> float:
        return min(max(PROVISIONED_INIT_SECONDS, self.spec.timeout_ms / 1000), MOST_INIT_SECONDS)

    def _close(self) -> None:
        if self.log_socket is not None:
            self.log_socket.close()
        super()._close()
