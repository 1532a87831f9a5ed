"""One execution environment: a process, its Runtime API, its log, and the invocation it has.

The warm path runs in the wire's callbacks: no task and no future per invocation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from venturekit.service.environments import failures
from venturekit.service.environments.lifecycle import TABLE, Event, State, allows
from venturekit.service.environments.runtime_api import LIMITS, RuntimeApi
from venturekit.service.wire.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.environments.capture import Capture
    from venturekit.service.environments.failures import Exit
    from venturekit.service.environments.memory import TreeMemory
    from venturekit.service.environments.pool import Pool
    from venturekit.service.environments.ports import Invocation
    from venturekit.service.environments.response_body import ResponseBody
    from venturekit.service.environments.sandbox import Sandbox
    from venturekit.service.wire.exchange import Exchange

UNHANDLED: Final = b"Unhandled"
SMALL_PAYLOAD_BYTES: Final = 65_536
INIT_TIMEOUT_SECONDS: Final = 10.0
EXIT_GRACE_SECONDS: Final = 1.0
RETURN_SECONDS: Final = 10.0
"""How long a runtime whose connection closed while it waited for an event may take to ask again."""
MEBIBYTE: Final = 1024 * 1024
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

    def __init__(self, pool: Pool, number: int, sandbox: Sandbox, *, suppressed_init: bool = False) -> None:
        self.pool = pool
        self.host = pool.host
        self.spec = pool.spec
        self.number = number
        self.sandbox = sandbox
        self.sandbox_kept = False
        self.state = State.STARTING
        self.api = RuntimeApi(self)
        self.listener = Listener(self.api, self.host.clock, LIMITS)
        self.journal = self.host.logs.open(pool.spec, sandbox.log_stream)
        self.stream = sandbox.log_stream
        # A streamed response has begun: the invocation is being answered.
        self.streaming = False
        self.streamed: ResponseBody | None = None
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
        # A suppressed init counts as part of the invocation that waits for it and is not reported.
        self.suppressed_init = self.init_reported = suppressed_init
        self.started_at = self.host.monotonic()
        self.wall_started = 0.0
        init_seconds = pool.spec.timeout_ms / 1000 if suppressed_init else INIT_TIMEOUT_SECONDS
        self.deadline = self.started_at + init_seconds

    # --- what the runtime does ----------------------------------------------------------------------------------

    def next(self, exchange: Exchange) -> None:
        """The runtime asks for its next event: it is idle, or gets one that waits."""
        state = self.state
        following = _AFTER_NEXT[state]
        if state is State.IDLE and not self.listens():
            self.forsake()
            state = self.state
            following = _AFTER_NEXT[state]
        if following is None:
            self.api.refuse_transition(exchange, "Ready")
            return
        self.state = following
        self.parked = exchange
        if state is State.STARTING:
            self.init_ms = (self.host.monotonic() - self.started_at) * 1000
            self.journal.init_ended(self.host.wall(), duration_ms=self.init_ms, phase=self.phase)
            self.pool.initialised(self)
            self.suppressed_init = False
        else:
            self.pool.called_next(self)

    def answers(self, request_id: bytes) -> bool:
        """Whether this is the invocation that the runtime has and has not begun to answer."""
        invocation = self.invocation
        return invocation is not None and invocation.request_id == request_id and not self.streaming

    def answered(self, payload: bytes | bytearray, *, error: bool) -> None:
        """The runtime posted the outcome of its invocation."""
        following = _AFTER_ANSWER[self.state]
        assert following is not None  # answers() has been asked
        self.state = following
        self.pool.responded += 1
        self._settle(payload, UNHANDLED if error else b"")

    def response_too_large(self) -> None:
        """The runtime posted more than the caller may get."""
        self.answered(failures.response_too_large(), error=True)

    def cut_off(self) -> None:
        """The runtime's connection closed in the middle of its answer."""
        assert self.invocation is not None
        # Killed for its memory, it is answered for when it is gone: the cut is only how that shows.
        if not self.over_memory:
            self.answered(failures.truncated_response(self.invocation.request_id), error=True)

    def invalid_response_mode(self, mode: bytes) -> None:
        """The runtime named an unknown response mode."""
        assert self.invocation is not None
        self.answered(failures.invalid_response_mode(self.invocation.request_id, mode), error=True)

    def init_error(self, body: bytes | bytearray, error_type: str) -> bool:
        """The runtime could not initialise. False when it is too late to say so."""
        if not allows(self.state, Event.INIT_ERROR):
            return False
        self._drain()
        self._init_failed(lambda _request_id: body, error_type)
        self._leave(State.INIT_FAILED)
        # The runtime ends itself now; if it does not, it is ended.
        self.deadline = self.host.monotonic() + EXIT_GRACE_SECONDS
        self.host.watch.busy(self)
        return True

    def connection_gone(self, exchange: Exchange) -> None:
        """A connection of the runtime closed while a call of it was open."""
        if exchange is self.parked:
            self.parked = None
            if allows(self.state, Event.NEXT_GONE):
                self.state = State.RESPONDED
                self.pool.lost_idle(self)
                self.deadline = self.host.monotonic() + RETURN_SECONDS
                self.host.watch.busy(self)
        elif not exchange.complete and self.invocation is not None and not self.streaming:
            request_id = self.invocation.request_id
            if exchange.target.endswith((request_id + b"/response", request_id + b"/error")):
                self.cut_off()

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
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: %b\r\n"
            b"Lambda-Runtime-Deadline-Ms: %d\r\nLambda-Runtime-Invoked-Function-Arn: %b\r\n"
            b"Lambda-Runtime-Trace-Id: %b\r\n%bContent-Length: %d\r\n\r\n"
            % (
                request_id,
                int(wall * 1000) + timeout_ms,
                invocation.invoked_arn,
                invocation.trace,
                invocation.extra_headers,
                len(payload),
            )
        )
        host.watch.busy(self)
        if len(payload) <= SMALL_PAYLOAD_BYTES:
            exchange.respond(head + payload)
        else:
            exchange.respond_parts(head, payload)

    def out_of_time(self) -> None:
        """The deadline has passed."""
        if self.state is State.STARTING:
            self._init_out_of_time()
        elif self.state is State.INVOKE:
            assert self.invocation is not None
            body = failures.timed_out(self.invocation.request_id, self.spec.timeout_ms)
            self._keep_sandbox()
            self._leave(State.STOPPING)
            self._settle(body, UNHANDLED, status="timeout")
            self.host.kill(self)
        else:
            # It answered in time but never asked for the next event: nobody waits for it.
            self.stop()

    def sample_memory(self, now: float) -> int:
        """Measure the whole process tree. Returns the resident bytes; over the limit the environment is killed."""
        memory = self.memory
        if memory is None:
            return 0
        used = memory.sample()
        self._note_memory(used, now)
        limit = self.spec.memory_size_mb * MEBIBYTE
        # Processes that share pages count them twice in the cheap figure: the dear one decides.
        if used > limit and not self.over_memory and memory.proportional_bytes() > limit:
            self.over_memory = True
            self.host.kill(self)
        return used

    def stop(self) -> None:
        """Let the environment go. An invocation that it still has fails as if its process had been killed."""
        if not allows(self.state, Event.STOP):
            return
        self._leave(State.STOPPING)
        if self.invocation is not None:
            self._process_ended(failures.Exit(signal=9))
        self.host.kill(self)

    def launched(self, pid: int, memory: TreeMemory) -> None:
        """The launcher has started the main process."""
        self.pid = pid
        self.memory = memory

    def launch_failed(self, error_type: str, reason: str) -> None:
        """There will be no process."""
        if self.state is State.STARTING:
            self._init_failed(lambda request_id: failures.failed_to_start(request_id, error_type, reason), error_type)
            self._leave(State.TERMINATED)
        self.state = State.TERMINATED
        self._close()

    def exited(self, ended: Exit) -> None:
        """The main process is gone: whatever it owed is answered now."""
        state = self.state
        if not allows(state, Event.EXITED):
            return
        self._drain()
        if state is State.STARTING:
            self._init_failed(lambda request_id: failures.exited(request_id, self._as_killed(ended)), self._exit_type)
        if self.invocation is not None:
            self._keep_sandbox()
            self._process_ended(ended)
        if state in (State.STOPPING, State.INIT_FAILED):
            self.state = State.TERMINATED
        else:
            self._leave(State.TERMINATED)
        self._close()

    # --- inside -------------------------------------------------------------------------------------------------

    def _settle(self, payload: bytes | bytearray, error: bytes, status: str = "", error_type: str = "") -> None:
        """Log the end of the invocation and tell its outcome."""
        invocation = self.invocation
        assert invocation is not None
        self.invocation = None
        self.streaming = False
        streamed, self.streamed = self.streamed, None
        now = self.host.monotonic()
        duration_ms = (now - self.started_at) * 1000
        if self.capture is not None:
            self.capture.drain()
        if now - self.memory_sampled_at > MEMORY_SAMPLE_SECONDS and self.memory is not None:
            self._note_memory(self.memory.sample_main(), now)
        init_ms = None
        if not self.init_reported:
            self.init_reported = True
            init_ms = self.init_ms
        request_id = invocation.request_id
        ended_at = self.wall_started + duration_ms / 1000
        tail = self.journal.ended(
            ended_at,
            (request_id, duration_ms, self.spec.memory_size_mb, self.memory_mb, init_ms),
            status=status,
            error_type=error_type,
            produced_bytes=len(payload) if streamed is None else streamed.received_bytes,
        )
        invocation.settle(payload, error, tail)

    def _process_ended(self, ended: Exit) -> None:
        assert self.invocation is not None
        body = failures.exited(self.invocation.request_id, self._as_killed(ended))
        self._settle(body, UNHANDLED, status="error", error_type=self._exit_type)

    @property
    def _exit_type(self) -> str:
        return "Runtime.OutOfMemory" if self.over_memory else failures.EXIT_ERROR

    def _as_killed(self, ended: Exit) -> Exit:
        # Out of memory it was killed, whatever its last gasp was.
        return failures.Exit(signal=9) if self.over_memory else ended

    def _init_failed(self, body_for: Callable[[bytes], bytes | bytearray], error_type: str) -> None:
        """The invocation that has waited longest gets the error, as if this environment had been started for it."""
        self._log_init_report("error", error_type)
        invocation = self.pool.first_waiting()
        if invocation is not None:
            self._begin_without_runtime(invocation)
            self._settle(body_for(invocation.request_id), UNHANDLED, status="error", error_type=error_type)

    def _init_out_of_time(self) -> None:
        """Ten seconds are over: on AWS the init phase is cut and run again as part of the invocation."""
        self._log_init_report("timeout")
        invocation = self.pool.first_waiting()
        self._keep_sandbox()
        if invocation is not None and not self.suppressed_init:
            self.pool.initialise_again(invocation)
        elif invocation is not None:
            self._begin_without_runtime(invocation)
            body = failures.timed_out(invocation.request_id, self.spec.timeout_ms)
            self._settle(body, UNHANDLED, status="timeout")
        self._leave(State.STOPPING)
        self.host.kill(self)

    def _log_init_report(self, status: str, error_type: str = "") -> None:
        duration_ms = (self.host.monotonic() - self.started_at) * 1000
        self.journal.init_ended(
            self.host.wall(), duration_ms=duration_ms, phase=self.phase, status=status, error_type=error_type
        )

    def _begin_without_runtime(self, invocation: Invocation) -> None:
        # The log of an invocation whose init failed has its START, END and REPORT all the same.
        self.invocation = invocation
        if not self.suppressed_init:
            self.started_at = self.host.monotonic()
        self.init_reported = True
        self.wall_started = self.host.wall()
        self.journal.started(self.wall_started, invocation.request_id, tail=invocation.tail)

    def _keep_sandbox(self) -> None:
        """The processes go; the scratch directory and the log stream stay for the next environment."""
        self.sandbox_kept = True
        self.pool.keep_sandbox(self.sandbox)

    def _leave(self, following: State) -> None:
        """The pool loses this environment."""
        state, self.state = self.state, following
        self.pool.left(self, state)

    def _note_memory(self, used_bytes: int, now: float) -> None:
        self.memory_sampled_at = now
        used_mb = -(-used_bytes // MEBIBYTE)
        if used_mb > self.memory_mb:
            self.memory_mb = min(used_mb, self.spec.memory_size_mb)

    def _drain(self) -> None:
        if self.capture is not None:
            self.capture.drain()

    def _close(self) -> None:
        self.host.watch.rest(self)
        self.listener.close()
        if self.capture is not None:
            self.capture.close()
        if self.memory is not None:
            self.memory.close()
            self.memory = None
        self.host.ended(self)
