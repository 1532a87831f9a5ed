"""All execution environments of the service: starts them, hears how they end, lets go of those that idle."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from venturekit.service.environments.capture import Capture
from venturekit.service.environments.exec_wrapper import wrapper_of
from venturekit.service.environments.extensions.starter import ExtensionStarter
from venturekit.service.environments.failures import Exit, exec_error_text
from venturekit.service.environments.free_port import free_port
from venturekit.service.environments.isolation.levels import IsolationUnavailableError
from venturekit.service.environments.launcher import LauncherError, LauncherSet, LaunchSpec
from venturekit.service.environments.lifecycle import State
from venturekit.service.environments.machine import no_room_reason
from venturekit.service.environments.memory import TreeMemory
from venturekit.service.environments.multi_concurrent import MultiConcurrentEnvironment
from venturekit.service.environments.multi_concurrent_pool import pool_of
from venturekit.service.environments.node_start import may_wait
from venturekit.service.environments.provisioner import Provisioner
from venturekit.service.environments.runtimes import INVALID_ENTRYPOINT, StartRefusedError, plan_start, version_names
from venturekit.service.environments.sandbox import Sandbox, has_room_for_bytecode
from venturekit.service.environments.spares import Spares
from venturekit.service.environments.start_queue import StartQueue
from venturekit.service.environments.tenants import make_room
from venturekit.service.environments.variables import execution_environment_variables
from venturekit.service.environments.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
    from pathlib import Path
    from typing import Any

    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.interpreters import Interpreter
    from venturekit.service.environments.isolation.policy import Policy
    from venturekit.service.environments.launcher import ExitStatus, Launcher, LaunchFailure
    from venturekit.service.environments.logs import LogStore
    from venturekit.service.environments.nodes import Node
    from venturekit.service.environments.pool import Pool
    from venturekit.service.environments.ports import EnvironmentSpec
    from venturekit.service.environments.runtimes import PythonSettings, StartPlan
    from venturekit.service.wire.listener import Clock

logger = logging.getLogger("venturekit.environments")
START_FAILED: Final = "Runtime.StartError"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """What all environments share. Times in seconds; ``isolation`` None is ``process``. ``find_nodes`` takes time."""

    directory: Path
    runtime_directory: Path
    pycache_directory: Path
    ric_directory: Path
    region: str
    idle_seconds: float
    starting_limit: int
    tenant_environments_limit: int = 2500
    python: PythonSettings
    isolation: Policy | None = None
    records_directory: Path | None = None
    find_nodes: Callable[[], Sequence[Node]] = tuple


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """The clocks: ``monotonic`` for durations, ``wall`` for what is shown, both in seconds."""

    monotonic: Callable[[], float]
    wall: Callable[[], float]


class EnvironmentHost:
    """Owns every execution environment. All methods are called on the event loop."""

    def __init__(
        self,
        settings: HostSettings,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        time: Time,
        logs: LogStore,
        new_token: Callable[[], str],
        prepare_code: Callable[[str], Awaitable[None]],
        release_code: Callable[[], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self.settings = settings
        self.loop = loop
        self.clock = clock
        self.monotonic = time.monotonic
        self.wall = time.wall
        self.logs = logs
        self.watch = Watch(loop.call_later, time.monotonic)
        self.service_url = ""
        self.pools: dict[tuple[str, ...], Pool] = {}
        self.environments: dict[int, Environment] = {}
        self.most_environments: dict[tuple[str, str], int] = {}  # by function ARN and version, where there is a bound
        self.starting = 0
        self.new_token = new_token
        self._prepare_code = prepare_code
        self._release_code = release_code
        self.spawn = spawn
        self.numbers = itertools.count(1)
        self._start_queue: StartQueue[Pool] = StartQueue()
        self.closing = False
        self.provisioner = Provisioner(
            lambda pool: self.spawn(self._launch(pool, pool.take_sandbox(), provisioned=True)),
            *(no_room_reason, time.monotonic, max(2, settings.starting_limit // 2)),
        )
        self.extensions = ExtensionStarter(self)
        self.launchers = LauncherSet(
            settings.ric_directory,
            on_started=self._on_started,
            on_failed=self._on_failed,
            on_exited=self._on_exited,
            on_lost=self._on_lost,
            on_dying=self._on_dying,
            policy=settings.isolation.common if settings.isolation else None,
        )
        self._compiled_for: set[str] = set()
        self._nodes: asyncio.Future[Sequence[Node]] | None = None
        self._expected: set[tuple[str, int]] = set()
        self._processors = len(os.sched_getaffinity(0))
        self.spares = Spares(
            lambda: self.launcher_for(None),
            lambda: next(self.numbers),
            loop,
            time.monotonic,
            lambda: self.starting >= self._processors,
        )

    # --- pools --------------------------------------------------------------------------------------------------

    def pool_for(self, spec: EnvironmentSpec) -> Pool:
        """The pool of this code and configuration, made when it is first asked for."""
        key = spec.pool_key
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = pool_of(self, spec)
        return pool

    def keep_only(self, function_arn: str, live: Collection[tuple[str, str]]) -> None:
        """Retire the pools of a function whose (version, identity) is no longer among ``live``."""
        for key, pool in tuple(self.pools.items()):
            if key[0] == function_arn and key[1:3] not in live:
                pool.retire()

    def settle_retired(self, pool: Pool) -> None:
        """Forget a retired pool once nothing of it is left, and a tenant's that has nothing."""
        if not (pool.retired or pool.is_spent) or pool.environments or pool.waiting:
            return
        pool.drop_sandboxes()
        if self.pools.get(pool.spec.pool_key) is pool:
            del self.pools[pool.spec.pool_key]
            if pool.retired and not self.closing:
                self.spawn(self._release_code())
            pool.retired = True

    def running_code_keys(self) -> set[str]:
        """The archives whose directories some environment works in, or will for an invocation that waits."""
        specs = [pool.spec for pool in self.pools.values() if pool.waiting]
        specs += [environment.spec for environment in self.environments.values()]
        return {key for spec in specs for key in (spec.code_key, *spec.layer_keys)}

    def warm(self) -> None:
        """Start the launcher of the interpreter that most functions will ask for: it takes a moment."""
        interpreters = self.settings.python.interpreters
        try:
            if self.settings.python.runtime == "ric" and self.settings.python.start == "fork" and interpreters:
                own = self.settings.python.own
                self.launcher_for(own if own in interpreters else interpreters[-1])
        except LauncherError as error:
            logger.warning("%s", error)

    def expect(self, runtime: str, memory_size_mb: int, spec: Callable[[], EnvironmentSpec]) -> None:
        """There is such a function: its first invocation should find what it needs prepared."""
        key = (runtime, memory_size_mb)
        if not runtime.startswith("nodejs") or key in self._expected or self.settings.isolation is not None:
            return
        expected = spec()
        if may_wait(expected):
            self._expected.add(key)
            self.spawn(self._prepare_spare(key, expected))

    async def _prepare_spare(self, key: tuple[str, int], spec: EnvironmentSpec) -> None:
        nodes = await self._found_nodes()
        with contextlib.suppress(StartRefusedError):
            plan = plan_start(spec, self.settings.python, nodes)
            if plan.may_wait:
                self.spares.want(plan.argv)
                return
        # This one cannot use such a process, another function may.
        self._expected.discard(key)

    async def _found_nodes(self) -> Sequence[Node]:
        if self._nodes is None:
            self._nodes = self.loop.run_in_executor(None, self.settings.find_nodes)
        # Whoever stops waiting must not stop the search.
        return await asyncio.shield(self._nodes)

    # --- starting -----------------------------------------------------------------------------------------------

    def start(self, pool: Pool, *, suppressed: bool = False) -> None:
        """Start an environment of a pool, or as soon as fewer are starting than may at once.

        The environment that follows one that was reset takes over its sandbox, and its init is suppressed: a part of
        the invocation that waits for it. Such an init does not count: it may take as long as the function's timeout,
        and would keep the other functions from starting.
        """
        sandbox = pool.take_sandbox()
        if suppressed or sandbox is not None:
            self.spawn(self._launch(pool, sandbox, suppressed=True))
        elif self.starting >= self.settings.starting_limit:
            self._start_queue.append(pool)
        else:
            self.starting += 1
            self.spawn(self._launch(pool))

    def start_finished(self) -> None:
        """One environment has left its init phase: the next one in line starts, if its pool still needs it."""
        self.starting -= 1
        while self._start_queue and self.starting < self.settings.starting_limit and not self.closing:
            pool = self._start_queue.popleft()
            if not pool.needs_start:
                pool.starting -= 1
                continue
            self.starting += 1
            self.spawn(self._launch(pool))
        self.spares.refill()

    async def _launch(
        self, pool: Pool, sandbox: Sandbox | None = None, *, suppressed: bool = False, provisioned: bool = False
    ) -> None:
        if self.closing or (provisioned and self.provisioner.cancels(pool)):
            if not provisioned:
                pool.starting -= 1
                self.starting -= not suppressed
            if sandbox is not None:
                self.remove_sandbox(sandbox)
            return
        make_room(pool)
        number = next(self.numbers)
        sandbox = sandbox or self._new_sandbox(pool.spec, number)
        environment = pool.make(number, sandbox, suppressed=suppressed, provisioned=provisioned)
        self.environments[number] = environment
        self.watch.busy(environment)
        try:
            sandbox.create()
            for code_key in (pool.spec.code_key, *pool.spec.layer_keys):
                await self._prepare_code(code_key)
            nodes = await self._found_nodes() if pool.spec.runtime.startswith("nodejs") else ()
            if environment.state is State.STARTING:
                policy = self.settings.isolation
                await environment.listener.start(sock=free_port(policy.connect_ports if policy else ()))
            if environment.state is State.STARTING:
                plan = plan_start(pool.spec, self.settings.python, nodes)
                environment.api.serve_on(environment.listener.port)
                self._log_init_start(environment, plan)
            if environment.state is not State.STARTING or not await self.extensions.start(environment):
                # It was stopped before there was a process.
                environment.exited(Exit(signal=9))
                if environment.state is State.TERMINATED:
                    environment.listener.close()
                return
            self._hand_to_launcher(environment, plan)
        except StartRefusedError as error:
            environment.launch_failed(error.error_type, str(error))
        except IsolationUnavailableError as error:
            environment.launch_failed(START_FAILED, str(error))
        except (LauncherError, OSError) as error:
            logger.error("cannot start an environment of %s: %s", pool.spec.function_name, error)
            environment.launch_failed(START_FAILED, str(error))
        except Exception as error:
            # Code that cannot be unpacked any more, for one: the caller waits for an answer whatever it was.
            logger.exception("cannot start an environment of %s", pool.spec.function_name)
            environment.launch_failed(START_FAILED, str(error))

    def _hand_to_launcher(self, environment: Environment, plan: StartPlan) -> None:
        policy = self.settings.isolation
        spec = policy.inside(environment.spec) if policy else environment.spec
        socket_path = environment.open_log_socket() if isinstance(environment, MultiConcurrentEnvironment) else ""
        variables = self.variables_of(environment, socket_path)
        if plan.may_wait and policy is None and self._use_spare(environment, plan, variables):
            return
        environment.capture = capture = Capture(
            self.loop, environment.wrote, framed=plan.framed_log, shows=environment.journal.shows
        )
        python_path = self._python_path(spec)
        if plan.mode == "exec" and plan.interpreter is not None:
            variables["PYTHONPATH"] = ":".join(python_path)
        launch = LaunchSpec(
            id=environment.number,
            mode=plan.mode,
            argv=[policy.shown(argument, environment.spec) for argument in plan.argv] if policy else plan.argv,
            environ=variables,
            cwd=str(spec.code_directory),
            handler=spec.handler,
            python_path=python_path,
            pycache_prefix=policy.pycache_prefix if policy else str(self.settings.pycache_directory),
            writes_bytecode=policy is None and has_room_for_bytecode(self.settings.directory),
            isolation=self.isolation_of(environment, plan),
        )
        launcher = self.launcher_for(plan.interpreter if plan.mode == "fork" else None)
        launcher.launch(launch, capture.output_write, capture.frames_write)
        capture.handed_over()

    def _use_spare(self, environment: Environment, plan: StartPlan, variables: dict[str, str]) -> bool:
        """Have the process that waits become this environment's. False when there is none, or it fails."""
        self.spares.want(plan.argv)
        spare = self.spares.take(plan.argv)
        if spare is None:
            return False
        if not spare.become(variables, str(environment.spec.code_directory)):
            spare.close()
            return False
        del self.environments[environment.number]
        environment.number = spare.number
        self.environments[spare.number] = environment
        environment.capture = Capture(
            self.loop, environment.wrote, framed=True, shows=environment.journal.shows, descriptor=spare.output
        )
        if spare.pid is not None:
            environment.launched(spare.pid, TreeMemory(spare.pid))
        return True

    def variables_of(self, environment: Environment, log_socket: str = "") -> dict[str, str]:
        """The environment variables of an environment's runtime."""
        policy = self.settings.isolation
        return execution_environment_variables(
            policy.inside(environment.spec) if policy else environment.spec,
            runtime_api=f"127.0.0.1:{environment.listener.port}",
            service_url=self.service_url,
            region=self.settings.region,
            runtime_directory=policy.runtime_root if policy else self.settings.runtime_directory,
            tmp=None if policy and policy.has_own_tmp else environment.sandbox.tmp,
            log_stream=environment.stream,
            records=self.settings.records_directory,
            log_socket=log_socket,
            processors=self._processors,
        )

    def isolation_of(self, environment: Environment, plan: StartPlan | None = None) -> dict[str, Any] | None:
        """How a process of an environment is isolated: its runtime by its plan, or an extension."""
        policy = self.settings.isolation
        if policy is None:
            return None
        ports = (environment.listener.port, urlsplit(self.service_url).port or 0)
        needed, extras = (plan.needed, plan.extras) if plan else ((), ())
        return policy.own_part(environment.spec, tmp=environment.sandbox.tmp, ports=ports, needed=needed, extras=extras)

    def launcher_for(self, interpreter: Interpreter | None) -> Launcher:
        """The launcher of an interpreter; None is the one that only executes."""
        launcher = self.launchers.get(interpreter)
        if self.settings.isolation and interpreter and interpreter.path not in self._compiled_for:
            self._compiled_for.add(interpreter.path)
            self._compile_libraries(launcher, interpreter.path, self.settings.isolation.bytecode_directory)
        return launcher

    def _compile_libraries(self, launcher: Launcher, interpreter: str, directory: Path) -> None:
        """Compile what all functions may import: a function that could write it itself could plant code in others."""
        libraries = [str(path) for path in self.settings.runtime_directory.iterdir()]
        argv = [interpreter, "-I", "-S", "-X", f"pycache_prefix={directory}", "-m", "compileall", "-q", *libraries]
        with open(os.devnull, "wb") as sink:
            launcher.launch(
                LaunchSpec(id=next(self.numbers), mode="exec", argv=argv, environ={}, cwd="/"), sink.fileno()
            )

    def _python_path(self, spec: EnvironmentSpec) -> list[str]:
        # In /opt the layers are one folder: what lies in site-packages of any of them comes before the rest.
        layers = [layer / "python" for layer in reversed(spec.layers)]
        paths = [*(str(layer / "lib" / spec.runtime / "site-packages") for layer in layers), *map(str, layers)]
        customers = spec.variables.get("PYTHONPATH", "").split(":")
        policy = self.settings.isolation
        runtime_root = policy.runtime_root if policy else self.settings.runtime_directory
        return [*paths, *filter(None, customers), str(runtime_root)]

    def _log_init_start(self, environment: Environment, plan: StartPlan) -> None:
        spec = environment.spec
        family, arn = version_names(spec.runtime, self.settings.region)
        environment.journal.init_started(
            self.wall(), runtime=family, version_arn=arn, phase=environment.phase, warning=plan.warning or ""
        )

    def _new_sandbox(self, spec: EnvironmentSpec, number: int) -> Sandbox:
        token = self.new_token()
        day = datetime.fromtimestamp(self.wall(), UTC)
        # Functions may share a log group of one's own choice: only there does a stream name its function.
        named = "" if spec.log_group == f"/aws/lambda/{spec.function_name}" else spec.function_name
        stream = f"{day:%Y/%m/%d}/{named}[{spec.function_version}]{token}"
        return Sandbox(self.settings.directory / f"{number}-{token[:8]}", stream)

    # --- ending -------------------------------------------------------------------------------------------------

    def kill(self, environment: Environment) -> None:
        """Kill the whole process tree of an environment. Its exit is reported later."""
        launcher = self.launchers.holding(environment.number)
        if launcher is not None:
            launcher.kill(environment.number)

    def ended(self, environment: Environment) -> None:
        """Nothing of the environment runs any more."""
        if self.environments.pop(environment.number, None) is None:
            return
        if not environment.sandbox_kept:
            self.remove_sandbox(environment.sandbox)
        pool = environment.pool
        if pool.retired and environment.extensions is not None and not self.closing:
            # The pool may have been forgotten long before its extensions have let go of the code.
            self.spawn(self._release_code())
        self.settle_retired(pool)

    def sweep(self, now: float) -> None:
        """Let go of what has been idle for too long. ``now`` is the coarse monotonic time, in seconds."""
        for pool in tuple(self.pools.values()):
            pool.sweep(now, self.settings.idle_seconds)
        self.spares.sweep()
        self.provisioner.fill()

    async def close(self) -> None:
        """Stop every environment and every launcher; returns when no process of theirs is left."""
        self.closing = True
        self._start_queue.clear()
        self.provisioner.close()
        for pool in tuple(self.pools.values()):
            pool.stop()
        await self.extensions.wait_ended()
        self.watch.close()
        self.spares.close()
        await self.launchers.close()
        self.extensions.bury()
        for environment in tuple(self.environments.values()):
            environment.exited(Exit(signal=9))
        self.pools.clear()

    def remove_sandbox(self, sandbox: Sandbox) -> None:
        """Delete a scratch directory, in a thread."""
        self.loop.run_in_executor(None, sandbox.remove)

    # --- the launchers' reports ---------------------------------------------------------------------------------

    def _on_started(self, number: int, pid: int, baseline_bytes: int) -> None:
        self.spares.started(number, pid)
        self.extensions.started(number, pid)
        environment = self.environments.get(number)
        if environment is not None:
            environment.launched(pid, TreeMemory(pid, baseline_bytes))

    def _on_failed(self, number: int, failure: LaunchFailure) -> None:
        self.spares.ended(number)
        self.extensions.failed(number, failure)
        environment = self.environments.get(number)
        if environment is None:
            return
        if failure.stage == "exec":
            reason = exec_error_text(self._shown_path(environment), failure.errno_name, failure.message)
            environment.launch_failed(INVALID_ENTRYPOINT, reason)
        else:
            environment.launch_failed(START_FAILED, failure.message)

    def _shown_path(self, environment: Environment) -> str:
        spec = environment.spec
        return "/var/task/bootstrap" if spec.runtime.startswith("provided") else wrapper_of(spec) or spec.runtime

    def _on_exited(self, number: int, status: ExitStatus) -> None:
        self.spares.ended(number)
        ended = Exit(code=status.code or 0, signal=status.signal or 0)
        self.extensions.exited(number, ended)
        environment = self.environments.get(number)
        if environment is not None:
            environment.exited(ended)

    def _on_dying(self, numbers: list[int]) -> None:
        # They may still answer for a moment, but nothing new is handed to them. What they have is answered when they
        # are gone.
        for number in numbers:
            self.spares.ended(number)
            environment = self.environments.get(number)
            if environment is not None:
                environment.pool.losing(environment)

    def _on_lost(self, numbers: list[int]) -> None:
        for number in numbers:
            self.spares.ended(number)
            self.extensions.exited(number, Exit(signal=9))
            environment = self.environments.get(number)
            if environment is not None:
                environment.exited(Exit(signal=9))
