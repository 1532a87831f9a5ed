"""The extensions of one execution environment at work: their calls, their processes, their part in its life."""

from __future__ import annotations

import signal
import uuid
from typing import TYPE_CHECKING

from venturekit.service.environments.early_ends import extension_failed
from venturekit.service.environments.extensions import failures, messages
from venturekit.service.environments.extensions.roster import INVOKE, READY, SHUTDOWN, Extension, Roster, Stage, Step
from venturekit.service.environments.extensions.shutdown import FAILURE, Act, Shutdown
from venturekit.service.environments.telemetry.telemetry import Telemetry
from venturekit.service.wire.answers import answer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.extensions.process import ExtensionProcess
    from venturekit.service.environments.failures import Exit
    from venturekit.service.environments.host import EnvironmentHost
    from venturekit.service.environments.ports import Invocation
    from venturekit.service.wire.exchange import Exchange


class Extensions:
    """All extensions of ``environment``, which has one of these only when it has extensions."""

    __slots__ = (
        "_events",
        "_parked",
        "_reason",
        "_shutdown",
        "environment",
        "host",
        "processes",
        "registered",
        "roster",
        "runtime_lives",
        "telemetry",
    )

    def __init__(self, environment: Environment, *, runtime_lives: bool) -> None:
        self.environment = environment
        self.host: EnvironmentHost = environment.host
        self.roster = Roster(tells_invocations=not environment.spec.max_concurrency)
        self.runtime_lives = runtime_lives
        self.telemetry = Telemetry(environment)
        self.processes: dict[Extension, ExtensionProcess] = {}
        # Done when all external ones have registered, or the environment ends before.
        self.registered: asyncio.Future[None] | None = None
        self._parked: dict[Extension, Exchange] = {}
        self._events: dict[Extension, list[bytes]] = {}
        self._shutdown: Shutdown | None = None
        self._reason = FAILURE

    # --- calls of extensions ------------------------------------------------------------------------------------

    def register(self, name: str, events: list[object], identifier: str) -> Extension:
        """An extension registers. Raises RefusedError."""
        return self.roster.register(name, events, identifier)

    def released(self) -> None:
        """An extension has been told that it is registered: the runtime starts when all have been."""
        if not self.roster.unregistered:
            self.release()

    def release(self) -> None:
        """Whoever waits until all have registered may go on."""
        if self.registered is not None and not self.registered.done():
            self.registered.set_result(None)

    def next(self, extension: Extension, exchange: Exchange) -> None:
        """An extension asks for its next event. Raises RefusedError."""
        if extension.stage is Stage.WAITING and self._parked[extension].connection.eof:
            # It gave up on that connection in good order, as a client with a read timeout does.
            self._forsake(self._parked[extension])
        extension.take(Step.NEXT)
        self._parked[extension] = exchange
        waiting = self._events.get(extension)
        if waiting:
            extension.stage = Stage.BUSY
            self._hand_over(extension, waiting.pop(0))
            if waiting:
                extension.stage = Stage.OWED
        elif self.is_ready():
            self.environment.extensions_ready()

    def init_error(self, extension: Extension, error_type: str, accept: Callable[[], None]) -> None:
        """An extension could not be initialised; ``accept`` tells it that this was taken in. Raises RefusedError."""
        extension.take(Step.INIT_ERROR)
        accept()
        self._failed(extension, failures.INIT_ERROR, error_type)

    def exit_error(self, extension: Extension, error_type: str, accept: Callable[[], None]) -> None:
        """An extension is about to end itself; as above."""
        extension.take(Step.EXIT_ERROR)
        accept()
        self._failed(extension, failures.EXIT_ERROR, error_type)

    def _failed(self, extension: Extension, error_type: str, reported_type: str) -> None:
        self._log(extension, error_type.partition(".")[2], reported_type)
        extension_failed(self.environment, error_type, f"the extension {extension.name} reported {reported_type}")

    def gone(self, exchange: Exchange) -> bool:
        """A connection closed. Whether an extension waited on it."""
        for extension, parked in self._parked.items():
            if parked is exchange:
                del self._parked[extension]
                if extension.allows(Step.NEXT_GONE):
                    extension.take(Step.NEXT_GONE)
                return True
        return False

    def _forsake(self, parked: Exchange) -> None:
        self.gone(parked)
        parked.abort()

    # --- what the environment tells -----------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether no extension keeps the environment from taking its next invocation."""
        return self.roster.is_done if self.roster.is_closed else self.roster.is_initialised

    def initialised(self) -> None:
        """The init phase is over: nobody registers or subscribes any more."""
        self.roster.is_closed = True
        for extension in self.roster.extensions:
            self._log(extension, "Ready")
        self.telemetry.settle_down()

    def invoked(self, invocation: Invocation, deadline_ms: int) -> None:
        """An invocation is handed to the runtime. ``deadline_ms`` in milliseconds of Unix time."""
        event = b""
        for extension in self.roster.extensions:
            if INVOKE in extension.events:
                event = event or messages.invoke_event(invocation, deadline_ms)
                self._deliver(extension, event)

    def _deliver(self, extension: Extension, event: bytes) -> None:
        parked = self._parked.get(extension)
        if parked is not None and parked.connection.eof:
            self._forsake(parked)
        waits = extension.stage is Stage.WAITING
        extension.take(Step.DELIVER)
        if waits:
            self._hand_over(extension, event)
        else:
            self._events.setdefault(extension, []).append(event)

    def _hand_over(self, extension: Extension, event: bytes) -> None:
        fields = [
            (b"Content-Type", b"application/json"),
            (b"Lambda-Extension-Event-Identifier", str(uuid.UUID(self.host.new_token())).encode()),
        ]
        self._parked.pop(extension).respond(answer(200, fields, event))

    def memory_bytes(self, *, proportional: bool = False) -> int:
        """Resident bytes of all external extensions."""
        memories = [process.memory for process in self.processes.values() if process.memory is not None]
        return sum(memory.proportional_bytes() if proportional else memory.sample() for memory in memories)

    # --- the end ------------------------------------------------------------------------------------------------

    @property
    def remain(self) -> bool:
        """Whether something of the environment is still there."""
        return self.runtime_lives or bool(self.processes)

    def shut_down(self, reason: str, *, at_once: bool = False) -> None:
        """Begin the shutdown phase, if it has not begun: spindown, timeout or failure."""
        if self._shutdown is None:
            self.release()
            self.telemetry.hurry()
            now = self.host.monotonic()
            self._shutdown = Shutdown(now, has_external=bool(self.processes), at_once=at_once)
            self._reason = reason
            self._act(self._shutdown.begin(runtime_lives=self.runtime_lives, now=now))
        self._end_if_all_gone()

    def runtime_ended(self) -> None:
        """Nothing of the runtime is left, or there never was any of it."""
        self.runtime_lives = False
        self.telemetry.hurry()
        if self._shutdown is None:
            self.shut_down(FAILURE)
            return
        self._act(self._shutdown.runtime_ended())
        self._end_if_all_gone()

    def look(self, now: float) -> None:
        """A deadline of the shutdown phase has passed."""
        assert self._shutdown is not None
        self._act(self._shutdown.look(now))
        self._end_if_all_gone()

    def _act(self, acts: tuple[Act, ...]) -> None:
        environment = self.environment
        for act in acts:
            if act is Act.ASK_RUNTIME:
                launcher = self.host.launchers.holding(environment.number)
                if launcher is not None:
                    launcher.signal(environment.number, signal.SIGTERM)
            elif act is Act.ASK_EXTENSIONS:
                self._ask_extensions()
            else:
                self.host.kill(environment)
                if act is Act.KILL_ALL:
                    for process in self.processes.values():
                        process.kill()
        assert self._shutdown is not None
        environment.deadline = self._shutdown.deadline
        self.host.watch.busy(environment)

    def _ask_extensions(self) -> None:
        assert self._shutdown is not None
        left_ms = max(0.0, self._shutdown.ends_at - self.host.monotonic()) * 1000
        event = messages.shutdown_event(self._reason, int(self.host.wall() * 1000 + left_ms))
        for extension, process in self.processes.items():
            if SHUTDOWN in extension.events and extension.allows(Step.DELIVER):
                self._deliver(extension, event)
            elif extension.stage is not Stage.FAILED:
                process.kill()

    def _end_if_all_gone(self) -> None:
        if not self.remain:
            self.telemetry.close()
            self.environment.all_gone()

    # --- their processes ----------------------------------------------------------------------------------------

    def launch_failed(self, extension: Extension, reason: str) -> None:
        """There will be no process."""
        self._process_gone(extension)
        self._log(extension, "LaunchError", failures.LAUNCH_ERROR)
        extension_failed(self.environment, failures.LAUNCH_ERROR, reason)
        self._end_if_all_gone()

    def process_exited(self, extension: Extension, ended: Exit) -> None:
        """The process of an extension has ended."""
        had_failed = extension.stage is Stage.FAILED
        self._process_gone(extension)
        if self._shutdown is None and not had_failed:
            self._log(extension, "ExitError", failures.CRASH)
            extension_failed(self.environment, failures.CRASH, failures.ended_text(ended))
        if self._shutdown is not None:
            self._end_if_all_gone()

    def _process_gone(self, extension: Extension) -> None:
        del self.processes[extension]
        extension.stage = Stage.GONE

    def _log(self, extension: Extension, state: str, error_type: str = "") -> None:
        events = extension.events if extension.stage in READY else ()
        self.environment.journal.extension(
            self.host.wall(), name=extension.name, state=state, events=events, error_type=error_type
        )
