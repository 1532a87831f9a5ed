"""The composition root: the only place that builds the parts of the service and brings them together."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import venturekit
from venturekit.protocol.names import parse_function_reference
from venturekit.protocol.sigv4 import Credentials, SignatureVerifier
from venturekit.service.access_control import AccessControl
from venturekit.service.accounts import Account, Accounts
from venturekit.service.api.edge import Edge
from venturekit.service.api.errors import api_error
from venturekit.service.api.model import service_model
from venturekit.service.api.operations import OperationTable
from venturekit.service.asynchronous import AsynchronousInvocation
from venturekit.service.aws import AwsClients, begin_in_thread
from venturekit.service.credentials import FunctionCredentials, credentials_in
from venturekit.service.endpoint import LIMITS, Endpoint
from venturekit.service.environments import libraries
from venturekit.service.environments.host import EnvironmentHost, HostSettings, Time
from venturekit.service.environments.interpreters import find_interpreters, own_interpreter
from venturekit.service.environments.kept_logs import KeptLogs
from venturekit.service.environments.logs import LogStore
from venturekit.service.environments.nodes import find_nodes
from venturekit.service.environments.removal import remove_tree
from venturekit.service.environments.runtimes import PythonSettings, is_served
from venturekit.service.event_pages import EventPages
from venturekit.service.events.target_check import TargetCheck
from venturekit.service.extras import Extras
from venturekit.service.function_urls import FunctionUrls
from venturekit.service.functions.code_directories import CodeDirectories
from venturekit.service.functions.code_storage import AnyOf, CodeStorage
from venturekit.service.functions.layer_registry import LayerRegistry
from venturekit.service.functions.operations import register_operations
from venturekit.service.functions.plane import ControlPlane
from venturekit.service.functions.records import LATEST, STATE_ACTIVE, FunctionVersion
from venturekit.service.functions.registry import FunctionRegistry
from venturekit.service.functions.tasks import OwnedTasks
from venturekit.service.invocation.concurrency import AccountConcurrency
from venturekit.service.invocation.identifiers import Identifiers
from venturekit.service.invocation.invoke import InvokePath
from venturekit.service.isolation_choice import isolation_policy
from venturekit.service.observation import Observation
from venturekit.service.provisioning import Provisioning
from venturekit.service.s3 import S3CodeSource
from venturekit.service.served import build_registry
from venturekit.service.sources.operations import serve_sources
from venturekit.service.store import Archives, DataDirectoryLock, Store
from venturekit.service.targets import TargetFinder, environment_spec
from venturekit.service.wire.listener import Clock, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from venturekit.service.api.errors import ApiError
    from venturekit.service.config import Settings
    from venturekit.service.environments.pool import Pool
    from venturekit.service.environments.ports import EnvironmentSpec
    from venturekit.service.store import StoreFailedError
    from venturekit.service.wire.exchange import Exchange

logger = logging.getLogger("venturekit.service")
SWEEP_SECONDS: Final = 1.0
DRAIN_LOOK_SECONDS: Final = 0.02
LAST_ANSWERS_SECONDS: Final = 1.0
LOOPBACK_HOSTS: Final = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})
RIC_DIRECTORY: Final = Path(venturekit.__file__).parent / "ric"


def report(error: BaseException) -> None:
    """Log an exception that nobody expected, with its traceback."""
    logger.error("unexpected failure", exc_info=error)


def _url_host(settings: Settings) -> str:
    """The address that is listened on, as it stands in URLs and in the Host header of those who use them."""
    return f"[{settings.host}]" if ":" in settings.host else settings.host


class Service:
    """A Lambda of one's own. ``await start()``, then ``url`` is its address; ``await close()`` ends all of it.

    ``environ`` are the variables of the service's own process: where interpreters are looked for and, if the settings
    say so, where functions' AWS credentials come from. ``wall`` tells the time in epoch seconds.
    """

    def __init__(
        self, settings: Settings, environ: Mapping[str, str], *, wall: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.url = ""
        self._environ = environ
        self._wall = wall
        self._tasks = OwnedTasks(report)
        self._clock = Clock(time.monotonic(), self._wall())
        self._identifiers = Identifiers(os.urandom)
        self._secret = os.urandom(32)
        self._credentials = FunctionCredentials(os.urandom, settings.account_id)
        self._layers = LayerRegistry()
        self._aws = AwsClients(environ, region=settings.region, allow_aws=settings.allow_aws, own_url=lambda: self.url)
        self._s3 = S3CodeSource(self._aws)
        self._target_check = TargetCheck(self._aws, begin=begin_in_thread, warn=logger.warning)
        self._logs = LogStore()
        self._sweeper: asyncio.TimerHandle | None = None
        self._resources = AsyncExitStack()
        self.on_failure: Callable[[], None] = lambda: None
        """Called once when the store has failed: nothing is accepted any more, and only a restart helps."""

    async def start(self) -> None:
        """Open the data directory and listen.

        Raises DataDirectoryInUseError, the errors of the store, LogDirectoryError, FrontPortError, OSError when the
        address is taken.
        """
        data_dir = self.settings.data_dir.absolute()
        try:
            lock = DataDirectoryLock.acquire(data_dir)
            self._resources.callback(lock.release)
            self._store = Store.open(data_dir / "venturekit.sqlite3")
            self._resources.push_async_callback(asyncio.to_thread, self._store.close)
            loop = asyncio.get_running_loop()
            self._store.on_failure = lambda failure: loop.call_soon_threadsafe(self._store_failed, failure)
            await self._keep_logs()
            self._build(data_dir)
            self._resources.push_async_callback(self._close_accounts)
            self._resources.push_async_callback(self._tasks.close, LAST_ANSWERS_SECONDS)
            self._resources.callback(self._listener.close)
            self._resources.push_async_callback(self._host.close)
            # First of all at the end: what the host's end does to running functions is no outcome of their events.
            self._resources.push_async_callback(self._asynchronous.close)
            self._resources.push_async_callback(self._urls.process.close)
            self._host.warm()
            self._layers.load(await self._store.load_layers())
            self._accounts.load(await self._store.load_functions(), await self._store.load_capacity_providers())
            self._tasks.spawn(self._code.collect_all())
            await self._asynchronous.load()
            await self._urls.load()
            await self._urls.listen()
            await self._listen()
            self._provisioning.begin(self._accounts)
            self._urls.begin()
            await self._asynchronous.begin()
        except BaseException:
            await self._resources.aclose()
            raise
        self._sweep()

    async def _keep_logs(self) -> None:
        settings = self.settings
        if settings.log_dir is not None:
            kept = await asyncio.to_thread(
                KeptLogs,
                settings.log_dir.absolute(),
                limit_mb=settings.log_dir_limit_mb,
                days=settings.log_dir_days,
                wall=self._wall,
                warn=logger.warning,
            )
            self._resources.push_async_callback(asyncio.to_thread, kept.close)
            self._logs.keep_in(kept)

    @property
    def failure(self) -> StoreFailedError | None:
        """Why the store takes no more changes, or None while it does."""
        return self._store.failure

    def _store_failed(self, failure: StoreFailedError) -> None:
        logger.critical("%s", failure)
        self.on_failure()

    async def drain(self) -> bool:
        """Accept nothing more and let running invocations finish. False when some had not in time."""
        await self._urls.stop()
        self._listener.stop_accepting()
        self._extras.stop_waiting()
        self._asynchronous.stop()
        deadline = time.monotonic() + self.settings.drain_timeout
        while self._busy and time.monotonic() < deadline:  # noqa: ASYNC110 - connections raise no event
            await asyncio.sleep(DRAIN_LOOK_SECONDS)
        return not self._busy

    @property
    def _busy(self) -> bool:
        return self._listener.busy or self._asynchronous.busy or self._urls.process.is_alive

    async def close(self) -> None:
        """End every execution environment, close the store, release the data directory."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._listener.stop_accepting()
        await self._resources.aclose()

    async def _close_accounts(self) -> None:
        # All at once: each has its own time to finish what it has begun.
        await asyncio.gather(*(account.plane.close() for account in self._accounts))

    # --- building -----------------------------------------------------------------------------------------------

    def _build(self, data_dir: Path) -> None:
        settings = self.settings
        self._accounts = Accounts(settings.account_id, self._build_account)
        archives = Archives(data_dir / "archives")
        self._directories = CodeDirectories(data_dir / "code", archives.path)
        self._host = self._build_host(data_dir)
        self._code = CodeStorage(archives, self._directories, self._code_keys, self._host.running_code_keys)
        self._provisioning = Provisioning(self._host, self._pool_of)
        self._targets = TargetFinder(self._accounts, fraction=self._identifiers.fraction, pool_of=self._pool_of)
        table = OperationTable(service_model().operations.values())
        self._access = self._build_access_control()
        self._urls = FunctionUrls(
            settings,
            self._accounts,
            self._access,
            self._store,
            environ=self._environ,
            wall=self._wall,
            service_url=lambda: self.url,
        )
        self._asynchronous = AsynchronousInvocation(
            settings,
            self._store,
            targets=self._targets,
            aws=self._aws,
            invocable=self._check_invocable,
            new_id=self._identifiers.request_id,
            wall=self._wall,
            loop=asyncio.get_running_loop(),
            report=report,
            warn=logger.warning,
        )
        self._observation = Observation(
            region=settings.region,
            accounts=self._accounts,
            logs=self._logs,
            host=self._host,
            events=self._asynchronous,
            connections=lambda: len(self._listener.connections),
            wall=self._wall,
            report=report,
        )
        self._extras = Extras(
            logs=self._logs,
            archive_path=archives.path,
            status=self._status,
            events=EventPages(self._asynchronous.inspection),
            secret=self._secret,
            urls=self._urls.pages,
            websockets=self._urls.websocket_pages,
            observation=self._observation,
        )
        self._invoke = InvokePath(
            events=self._asynchronous,
            identifiers=self._identifiers,
            clock=self._clock,
            wall=self._wall,
            answer_error=self._answer_error,
            throttled=self._observation.throttled,
            spawn=self._tasks.spawn,
            loop=asyncio.get_running_loop(),
        )
        self._endpoint = Endpoint(
            table=table,
            edge=Edge(table, report=report),
            invoke=self._invoke,
            extras=self._extras,
            identifiers=self._identifiers,
            access=self._access,
            verifier=self._build_verifier(),
            observation=self._observation,
            logs_verifier=self._build_verifier("logs"),
            allowed_hosts=LOOPBACK_HOSTS
            | {name.encode() for name in (_url_host(settings).lower(), *settings.allow_host)},
            clock=self._clock,
            wall=self._wall,
            spawn=self._tasks.spawn,
        )
        self._listener = Listener(self._endpoint, self._clock, LIMITS)

    def _build_account(self, account_id: str) -> Account:
        settings = self.settings
        registry = FunctionRegistry(region=settings.region, account_id=account_id)
        plane = ControlPlane(
            store=self._store.of_account(account_id),
            registry=registry,
            code=self._code,
            layers=self._layers,
            fetch_code=self._s3.fetch_code,
            now=self._wall,
            new_id=self._identifiers.request_id,
            code_location=lambda code_key: self.url + self._extras.code_link(code_key),
            report=report,
            log=logger.warning,
            concurrent_executions=settings.concurrency,
            function_url=self._function_url,
            target_exists=self._target_check.target_exists,
            provision_state=lambda name, version: self._provisioning.state(registry, name, version),
        )
        operations = build_registry()
        register_operations(operations, plane)
        plane.mapping_tags = serve_sources(operations, registry, lambda: self._asynchronous.sources)
        account = Account(
            account_id=account_id,
            plane=plane,
            operations=operations,
            concurrency=AccountConcurrency(settings.concurrency),
        )
        registry.subscribe(lambda name: self._function_changed(account, name))
        return account

    def _build_access_control(self) -> AccessControl:
        settings = self.settings
        pair = file = None
        if settings.access_key_id:
            pair = Credentials(settings.access_key_id, settings.secret_access_key)
        if settings.credentials is not None:
            # Most services have no such file, and reading one takes a few modules more.
            from venturekit.service.access.credentials_file import CredentialsFile

            file = CredentialsFile(settings.credentials, account_id=settings.account_id)
            file.load()
        return AccessControl(
            accounts=self._accounts,
            functions=self._credentials,
            pair=pair,
            file=file,
            region=settings.region,
            resolve=self._targets.find,
            report=logger.warning,
            front=self._credentials.pair(),
        )

    def _build_host(self, data_dir: Path) -> EnvironmentHost:
        settings = self.settings
        runtime_directory = data_dir / "runtime"
        wanted = [*libraries.BOTO, *(libraries.AWSLAMBDARIC if settings.python_runtime == "awslambdaric" else ())]
        missing = libraries.link_packages(runtime_directory, wanted)
        own = own_interpreter()
        home = os.path.expanduser("~")
        interpreters = find_interpreters(self._environ, home, own)
        python = PythonSettings(
            interpreters=interpreters,
            own=own,
            runtime=settings.python_runtime,
            start=settings.python_start,
            strict=settings.strict_runtimes,
            spawn_script=Path(libraries.__file__).with_name("ric_spawn.py"),
            ric_directory=RIC_DIRECTORY,
            awslambdaric_interpreter=None if "awslambdaric" in missing else own,
        )
        environments = data_dir / "environments"
        # A service that was killed could not remove what its functions had written.
        remove_tree(environments)
        isolation = isolation_policy(settings, data_dir, runtime_directory, own.path)
        return EnvironmentHost(
            HostSettings(
                directory=environments,
                runtime_directory=runtime_directory,
                pycache_directory=data_dir / "pycache",
                ric_directory=RIC_DIRECTORY,
                records_directory=data_dir / "records" if isolation is None else None,
                region=settings.region,
                idle_seconds=settings.idle_timeout,
                starting_limit=max(8, 4 * (os.cpu_count() or 1)),
                tenant_environments_limit=max(1, settings.concurrency * 5 // 2),
                python=python,
                isolation=isolation,
                find_nodes=lambda: find_nodes(self._environ, home),
            ),
            loop=asyncio.get_running_loop(),
            clock=self._clock,
            time=Time(monotonic=time.monotonic, wall=self._wall),
            logs=self._logs,
            new_token=self._identifiers.token,
            prepare_code=self._prepare_code,
            release_code=self._release_code,
            spawn=self._tasks.spawn,
        )

    def _build_verifier(self, service: str = "lambda") -> SignatureVerifier | None:
        if not self._access.is_on:
            return None
        settings = self.settings
        ports = (80, 443, settings.port)
        return SignatureVerifier(
            self._access.credentials_of, region=settings.region, service=service, default_ports=ports
        )

    async def _listen(self) -> None:
        settings = self.settings
        tls = None
        if settings.tls_certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(settings.tls_certificate, settings.tls_key)
        await self._listener.start(settings.host, settings.port, tls=tls)
        self.url = f"{'https' if tls else 'http'}://{_url_host(settings)}:{self._listener.port}"
        self._host.service_url = self.url

    # --- what the parts ask one another ---------------------------------------------------------------------------

    def _function_url(self, url_id: str) -> str:
        return self._urls.url(url_id)

    def _pool_of(self, version: FunctionVersion, tenant_id: str = "") -> Pool:
        if version.state != STATE_ACTIVE:
            raise api_error(
                "ResourceConflictException",
                "The operation cannot be performed at this time. The function is currently in the following state: "
                f"{version.state}",
            )
        if not is_served(version.runtime):
            raise api_error(
                "InvalidRuntimeException",
                f"The runtime {version.runtime} is not served yet: python3.*, nodejs*.x, provided, provided.al2 and "
                "provided.al2023 are. docs/compatibility.md lists what is.",
            )
        return self._host.pool_for(self._environment_spec(version, tenant_id))

    def _environment_spec(self, version: FunctionVersion, tenant_id: str = "") -> EnvironmentSpec:
        if self.settings.pass_aws_credentials:
            credentials = credentials_in(self._environ)
        else:
            credentials = self._credentials.variables(version.function_arn, version.version)
        statistics = self._observation.statistics_of(version.function_arn)
        return environment_spec(version, self._directories.path, credentials, tenant_id, statistics)

    def _code_keys(self) -> Container[str]:
        return AnyOf(self._accounts.code_keys(), self._layers.code_keys())

    async def _prepare_code(self, code_key: str) -> None:
        await self._code.directory(code_key)

    async def _release_code(self) -> None:
        await self._code.collect()

    def _answer_error(self, exchange: Exchange, error: ApiError, request_id: str) -> None:
        self._endpoint.answer_error(exchange, error, request_id)

    def _check_invocable(self, source_arn: str, target_arn: str) -> None:
        """Raise ApiError unless the function ``source_arn`` may invoke ``target_arn``, which exists."""
        source = parse_function_reference(source_arn)
        caller = self._access.of_function(source.account_id or "", source.name, source.qualifier or LATEST)
        caller.resolve("Invoke", {"FunctionName": target_arn}).check_tenant()

    def _function_changed(self, account: Account, name: str) -> None:
        self._access.forget_targets()
        live: set[tuple[str, str]] = set()
        functions = account.functions
        arn = functions.arn(name)
        if name in functions:
            function = functions.function(name)
            live = {(version.version, version.identity) for version in function.versions.values()}
            self._logs.function_exists(arn)
            latest = function.versions[LATEST]
            self._host.expect(latest.runtime, latest.memory_size_mb, lambda: self._environment_spec(latest))
        else:
            self._logs.function_deleted(arn)
            self._observation.function_deleted(arn)
        self._credentials.keep_only(arn, {number for number, _ in live})
        self._provisioning.function_changed(account, name)
        self._urls.function_changed(functions, name)

    def _status(self) -> dict[str, object]:
        return {
            "status": "ok" if self.failure is None else "failed",
            "version": venturekit.__version__,
            "functions": sum(len(account.functions) for account in self._accounts),
            "executionEnvironments": len(self._host.environments),
            "queuedEvents": self._asynchronous.dispatcher.live,
            "owedDeliveries": self._asynchronous.outbox.owed,
            "runningInvocations": sum(account.concurrency.running for account in self._accounts),
            "front": self._urls.process.status(),
            "polling": self._asynchronous.pollers.process.status(),
        }

    def _sweep(self) -> None:
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        now = time.monotonic()
        self._clock.advance(now, self._wall())
        self._host.sweep(now)
        self._asynchronous.dispatcher.sweep()


async def serve_until(service: Service, stopped: asyncio.Event) -> None:
    """Run a started service until ``stopped`` is set, then drain and close it."""
    try:
        await stopped.wait()
        await service.drain()
    finally:
        with suppress(asyncio.CancelledError):
            await service.close()
