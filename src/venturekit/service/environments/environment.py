"""One execution environment: a process, its Runtime API, its log, and the invocation it has.

The warm path runs in the wire's callbacks: no task and no future per invocation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments import bad_answers, early_ends, failures, memory_use
from venturekit.service.environments.extensions.shutdown import FAILURE, SPINDOWN, TIMEOUT
from venturekit.service.environments.lifecycle import TABLE, Event, State, after, allows
from venturekit.service.environments.runtime_api import EVENT_HEAD, LIMITS, RuntimeApi, answered_request_id
from venturekit.service.wire.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.capture import Capture
    from venturekit.service.environments.extensions.group import Extensions
    from venturekit.service.environments.failures import Exit
    from venturekit.service.environments.memory import TreeMemory
    from venturekit.service.environments.pool import Pool
    from venturekit.service.environments.ports import Invocation
    from venturekit.service.environments.response_body import ResponseBody
    from venturekit.service.environments.sandbox import Sandbox
    from venturekit.service.environments.seats import Seat
    from venturekit.service.wire.exchange import Exchange
    from venturekit.service.wire.limits import Limits

UNHANDLED: Final = b"Unhandled"
SMALL_PAYLOAD_BYTES: Final = 65_536
INIT_TIMEOUT_SECONDS: Final = 10.0
PROVISIONED_INIT_SECONDS: Final = 130.0
"""Of an init phase that nobody waits for, unless the function's own timeout is longer."""
EXIT_GRACE_SECONDS: Final = 1.0
RETURN_SECONDS: Final = 10.0
"""How long a runtime whose connection closed while it waited for an event may take to ask again."""
MEMORY_SAMPLE_SECONDS: Final = 0.1
"""How old the memory figure of a REPORT line may be: reading it costs as much as a tenth of a warm invoke."""

_AFTER_NEXT: Final = tuple(row[Event.NEXT] for row in TABLE)
_AFTER_ANSWER: Final = tuple(row[Event.ANSWER] for row in TABLE)


class Environment:
    """An execution environment of one pool. ``number`` is the launcher's name for it."""

    __slots__ = (
        "api",
        "capture",
        "deadline",
        "extensions",
        "host",
        "idle_since",
        "init_ms",
        "init_reported",
        "invocation",
        "journal",
        "listener",
        "memory",
        "memory_mb",
        "memory_sampled_at",
        "number",
        "over_memory",
        "parked",
        "pid",
        "pool",
        "provisioned",
        "resets",
        "sandbox",
        "sandbox_kept",
        "spec",
        "started_at",
        "state",
        "stream",
        "streamed",
        "streaming",
        "suppressed_init",
        "wall_started",
    )

    def __init__(
        self, pool: Pool, number: int, sandbox: Sandbox, *, suppressed_init: bool = False, provisioned: bool = False
    ) -> None:
        self.pool = pool
        self.host = pool.host
        self.spec = pool.provisioned_spec if provisioned else pool.spec
        # It is kept initialised, and was started for no invocation.
        self.provisioned = provisioned
        self.number = number
        self.sandbox = sandbox
        self.sandbox_kept = False
        self.state = State.STARTING
        self.api = RuntimeApi(self)
        self.listener = Listener(self.api, self.host.clock, self._limits)
        self.journal = self.host.logs.open(self.spec, sandbox.log_stream)
        self.stream = sandbox.log_stream
        # A streamed response has begun: the invocation is being answered.
        self.streaming = False
        self.streamed: ResponseBody | None = None
        # None as long as nothing has registered, and no layer has brought any.
        self.extensions: Extensions | None = None
        # The pool waits for the end of this environment before it starts the next one.
        self.resets = False
        self.capture: Capture | None = None
        self.memory: TreeMemory | None = None
        self.memory_mb = 1
        self.memory_sampled_at = 0.0
        self.over_memory = False
        self.parked: Exchange | None = None
        self.invocation: Invocation | None = None
        self.pid = 0
        self.idle_since = 0.0
        self.init_ms: float | None = None
        # A suppressed init counts as part of the invocation that waits for it and is not reported, nor is one that was
        # over before any invocation, which has a line of its own.
        self.suppressed_init = suppressed_init
        self.init_reported = suppressed_init or provisioned
        self.started_at = self.host.monotonic()
        self.wall_started = 0.0
        self.deadline = self.started_at + self._init_seconds

    # --- what the runtime does ----------------------------------------------------------------------------------

    def next(self, exchange: Exchange) -> None:
        """The runtime asks for its next event: it is idle, or gets one that waits."""
        state = self.state
        following = _AFTER_NEXT[state]
        if following is None and self.parked is not None and not self.listens():
            self.forsake()
            state = self.state
            following = _AFTER_NEXT[state]
        if following is None:
            self.api.refuse_transition(exchange, "Ready")
            return
        self.parked = exchange
        if self.extensions is not None and not self.extensions.is_ready():
            self.state = after(state, Event.WAIT)
            return
        self.state = following
        if state is State.STARTING:
            self._initialised()
        else:
            self.pool.called_next(self)

    def extensions_ready(self) -> None:
        """No extension has anything to do any more: the runtime's call may take effect, if it has come."""
        state = self.state
        if not allows(state, Event.READY):
            return
        if not self.listens():
            self.forsake()
            return
        self.state = after(state, Event.READY)
        if state is State.INIT_HELD:
            self._initialised()
        else:
            self.pool.called_next(self)

    def seat(self, request_id: bytes) -> Environment | Seat | None:
        """What is answered for if this is an invocation that the runtime has and has not begun to answer.

        An environment that has one invocation at a time is its own seat.
        """
        invocation = self.invocation
        if invocation is not None and invocation.request_id == request_id and not self.streaming:
            return self
        return None

    def is_late(self, _request_id: bytes) -> bool:
        """Whether the invocation ran out of time, and the environment goes on."""
        return False

    def answered(self, payload: bytes | bytearray, *, error: bool) -> None:
        """The runtime posted the outcome of its invocation."""
        following = _AFTER_ANSWER[self.state]
        assert following is not None  # answers() has been asked
        self.state = following
        self.pool.responded += 1
        self.settle(payload, UNHANDLED if error else b"")

    def init_error(self, body: bytes | bytearray, error_type: str) -> bool:
        """The runtime could not initialise. False when it is too late to say so."""
        if not allows(self.state, Event.INIT_ERROR):
            return False
        self.drain()
        early_ends.init_failed(self, lambda _request_id: body, error_type)
        self.leave(State.INIT_FAILED)
        # The runtime ends itself now; if it does not, it is ended.
        self.deadline = self.host.monotonic() + EXIT_GRACE_SECONDS
        self.host.watch.busy(self)
        return True

    def connection_gone(self, exchange: Exchange) -> None:
        """A connection of the runtime closed while a call of it was open."""
        if exchange is self.parked:
            self.parked = None
            if self.state in (State.INIT_HELD, State.HELD):
                self.state = after(self.state, Event.NEXT_GONE)
            elif allows(self.state, Event.NEXT_GONE):
                self.state = State.RESPONDED
                self.pool.lost_idle(self)
                self.deadline = self.host.monotonic() + RETURN_SECONDS
                self.host.watch.busy(self)
        elif self.extensions is not None and self.extensions.gone(exchange):
            return
        elif not exchange.complete:
            seat = self.seat(answered_request_id(exchange.target))
            if seat is not None:
                bad_answers.cut_off(seat)

    def listens(self) -> bool:
        """Whether the connection on which the runtime waits for an event is still open on its side.

        A runtime that gave up (a client with a read timeout) has closed it in good order, which looks like the half
        close of one that still wants its answer. Events are not risked on that.
        """
        exchange = self.parked
        return exchange is not None and not exchange.connection.eof

    def forsake(self) -> None:
        """Cut the connection on which nobody waits any more."""
        exchange = self.parked
        assert exchange is not None
        self.connection_gone(exchange)
        exchange.abort()

    def wrote(self, message: bytes) -> None:
        """A line or record of the runtime's output has been captured."""
        self.journal.wrote(self.host.wall(), message)

    @property
    def request_id(self) -> bytes:
        """The invocation that the runtime has."""
        assert self.invocation is not None
        return self.invocation.request_id

    @property
    def is_at_rest(self) -> bool:
        """Whether it can go without an invocation being the worse for it."""
        return self.state in (State.IDLE, State.RESPONDED, State.HELD)

    def trace_of(self, _request_id: bytes) -> bytes:
        """The trace header of an invocation that the runtime has."""
        return b"" if self.invocation is None else self.invocation.trace

    @property
    def phase(self) -> str:
        """Which phase of AWS's its init belongs to."""
        return "invoke" if self.suppressed_init else "init"

    # --- what the service does ----------------------------------------------------------------------------------

    def deliver(self, invocation: Invocation) -> None:
        """Hand an event to the runtime, which waits for one."""
        exchange = self.parked
        assert exchange is not None
        self.parked = None
        host = self.host
        self.state = State.INVOKE
        self.invocation = invocation
        now = host.monotonic()
        wall = host.wall()
        if self.suppressed_init:
            wall -= now - self.started_at
        else:
            self.started_at = now
        self.wall_started = wall
        timeout_ms = self.spec.timeout_ms
        self.deadline = self.started_at + timeout_ms / 1000
        request_id = invocation.request_id
        self.journal.started(wall, request_id, tail=invocation.tail)
        payload = invocation.payload
        head = EVENT_HEAD % (
            request_id,
            int(wall * 1000) + timeout_ms,
            invocation.invoked_arn,
            invocation.trace,
            invocation.extra_headers,
            len(payload),
        )
        host.watch.busy(self)
        if self.extensions is not None:
            self.extensions.invoked(invocation, int(wall * 1000) + timeout_ms)
        if len(payload) <= SMALL_PAYLOAD_BYTES:
            exchange.respond(head + payload)
        else:
            exchange.respond_parts(head, payload)

    def out_of_time(self) -> None:
        """The deadline has passed."""
        if self.state in (State.STARTING, State.INIT_HELD):
            early_ends.init_out_of_time(self)
        elif self.state is State.STOPPING:
            if self.extensions is not None:
                self.extensions.look(self.host.monotonic())
        elif self.state is State.INVOKE:
            assert self.invocation is not None
            body = failures.timed_out(self.invocation.request_id, self.spec.timeout_ms)
            self.keep_sandbox()
            self.leave(State.STOPPING)
            self.settle(body, UNHANDLED, status="timeout")
            self.end(TIMEOUT)
        else:
            # It answered in time but never asked for the next event: nobody waits for it.
            self.stop(FAILURE if self.state is State.INIT_FAILED else TIMEOUT)

    def sample_memory(self, now: float) -> int:
        """Measure the whole process tree. Returns the resident bytes; over the limit the environment is killed."""
        return 0 if self.memory is None else memory_use.sample(self, self.memory, now)

    def stop(self, reason: str = SPINDOWN) -> None:
        """Let the environment go. An invocation that it still has fails as if its process had been killed.

        ``reason`` is what extensions are told.
        """
        if not allows(self.state, Event.STOP):
            return
        self.leave(State.STOPPING)
        self._process_ended(failures.Exit(signal=9))
        self.end(reason)

    def all_gone(self) -> None:
        """Nothing of the runtime and of the extensions runs any more."""
        if self.state is State.STOPPING:
            self.state = State.TERMINATED
            self._close()

    def launched(self, pid: int, memory: TreeMemory) -> None:
        """The launcher has started the main process."""
        self.pid = pid
        self.memory = memory

    def launch_failed(self, error_type: str, reason: str) -> None:
        """There will be no process."""
        if self.state is State.STARTING:
            early_ends.init_failed(
                self, lambda request_id: failures.failed_to_start(request_id, error_type, reason), error_type, reason
            )
            self.leave(State.TERMINATED)
        self._runtime_gone()

    def exited(self, ended: Exit) -> None:
        """The main process is gone: whatever it owed is answered now."""
        state = self.state
        if not allows(state, Event.EXITED):
            return
        self.drain()
        if state in (State.STARTING, State.INIT_HELD):
            early_ends.init_failed(
                self, lambda request_id: failures.exited(request_id, self._as_killed(ended)), self._exit_type
            )
        if self.invocation is not None:
            self.keep_sandbox()
        self._process_ended(ended)
        if state not in (State.STOPPING, State.INIT_FAILED):
            self.leave(State.TERMINATED)
        self._runtime_gone()

    # --- how it ends --------------------------------------------------------------------------------------------

    def settle(self, payload: bytes | bytearray, error: bytes, status: str = "", error_type: str = "") -> None:
        """Log the end of the invocation and tell its outcome."""
        self.settle_seat(self, payload, error, status, error_type)

    def settle_seat(
        self, seat: Environment | Seat, payload: bytes | bytearray, error: bytes, status: str, error_type: str
    ) -> None:
        """The same for one of several."""
        invocation = seat.invocation
        assert invocation is not None
        seat.invocation = None
        seat.streaming = False
        streamed = seat.streamed
        now = self.host.monotonic()
        duration_ms = (now - seat.started_at) * 1000
        self.drain()
        if now - self.memory_sampled_at > MEMORY_SAMPLE_SECONDS and self.memory is not None:
            memory_use.note(self, self.memory.sample_main(), now)
        init_ms = None
        if not self.init_reported:
            self.init_reported = True
            init_ms = self.init_ms
        request_id = invocation.request_id
        ended_at = seat.wall_started + duration_ms / 1000
        tail = self.journal.ended(
            ended_at,
            (request_id, duration_ms, self.spec.memory_size_mb, self.memory_mb, init_ms),
            status=status,
            error_type=error_type,
            produced_bytes=len(payload) if streamed is None else streamed.received_bytes,
        )
        seat.streamed = None
        self.spec.statistics.settled(duration_ms, failed=bool(error))
        invocation.settle(payload, error, tail)

    def begin_without_runtime(self, invocation: Invocation) -> Environment | Seat:
        """An invocation whose init failed has its START, END and REPORT all the same."""
        self.invocation = invocation
        if not self.suppressed_init:
            self.started_at = self.host.monotonic()
        self.init_reported = True
        self.wall_started = self.host.wall()
        self.journal.started(self.wall_started, invocation.request_id, tail=invocation.tail)
        return self

    def fail_running(self, body_for: Callable[[bytes], bytes], error_type: str) -> None:
        """What the runtime has will not be answered by it; ``body_for`` gives the error of a request id."""
        if self.invocation is not None:
            self.settle(body_for(self.invocation.request_id), UNHANDLED, status="error", error_type=error_type)

    def end(self, reason: str, *, at_once: bool = False) -> None:
        """End what runs: at once, unless there are extensions, which have a shutdown phase."""
        if self.extensions is None:
            self.host.kill(self)
        else:
            self.extensions.shut_down(reason, at_once=at_once)

    def keep_sandbox(self, *, at_once: bool = False) -> None:
        """The processes go; the scratch directory and the log stream stay for the next environment.

        Extensions take their time to go, and use both until then.
        """
        self.sandbox_kept = True
        if self.extensions is None or at_once:
            self.pool.keep_sandbox(self.sandbox)
        else:
            self.resets = True
            self.pool.resetting += 1

    def leave(self, following: State) -> None:
        """The pool loses this environment."""
        state, self.state = self.state, following
        self.pool.left(self, state)

    def drain(self) -> None:
        """Take in what has been written so far."""
        if self.capture is not None:
            self.capture.drain()

    # --- inside -------------------------------------------------------------------------------------------------

    def _initialised(self) -> None:
        self.init_ms = (self.host.monotonic() - self.started_at) * 1000
        self.spec.statistics.initialised(self.init_ms)
        self.journal.init_ended(self.host.wall(), duration_ms=self.init_ms, phase=self.phase)
        if self.extensions is not None:
            self.extensions.initialised()
        self.pool.initialised(self)
        self.suppressed_init = False

    def _runtime_gone(self) -> None:
        """Nothing of the runtime runs any more: that is the end, unless there are extensions."""
        if self.extensions is None:
            self.state = State.TERMINATED
            self._close()
        else:
            self.state = State.STOPPING
            self.extensions.runtime_ended()

    @property
    def _limits(self) -> Limits:
        return LIMITS

    @property
    def initialises_again(self) -> bool:
        """Whether an init phase that runs out of time is run once more, as a part of the invocation."""
        return not self.suppressed_init

    @property
    def _init_seconds(self) -> float:
        timeout_seconds = self.spec.timeout_ms / 1000
        if self.provisioned:
            return max(PROVISIONED_INIT_SECONDS, timeout_seconds)
        return timeout_seconds if self.suppressed_init else INIT_TIMEOUT_SECONDS

    def _process_ended(self, ended: Exit) -> None:
        self.fail_running(lambda request_id: failures.exited(request_id, self._as_killed(ended)), self._exit_type)

    @property
    def _exit_type(self) -> str:
        return "Runtime.OutOfMemory" if self.over_memory else failures.EXIT_ERROR

    def _as_killed(self, ended: Exit) -> Exit:
        # Out of memory it was killed, whatever its last gasp was.
        return failures.Exit(signal=9) if self.over_memory else ended

    def _close(self) -> None:
        self.host.watch.rest(self)
        self.listener.close()
        if self.capture is not None:
            self.capture.close()
        if self.memory is not None:
            self.memory.close()
            self.memory = None
        if self.resets:
            self.pool.reset_over(self.sandbox)
        self.host.ended(self)
