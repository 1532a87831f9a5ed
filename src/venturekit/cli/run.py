"""``vk run``: one file becomes a function, is invoked, and is gone."""

from __future__ import annotations

import asyncio
import re
import secrets
import signal
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from venturekit.cli import environ, javascript, options
from venturekit.cli.api import FUNCTIONS, Api, ApiError, Endpoint, UnreachableError, find_endpoint, function_path
from venturekit.cli.code import load_code
from venturekit.cli.exits import FAILED, USAGE, CommandError, complain
from venturekit.cli.functions import new_function, wait_ready
from venturekit.cli.invoke import call, outcome, tenant_headers
from venturekit.cli.logs import line_of, read_log
from venturekit.cli.output import write_log, write_payload
from venturekit.cli.payload import read_payload, read_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from venturekit.cli.api import Answer

TERMINATED: Final = 128 + signal.SIGTERM
JOIN_SECONDS: Final = 0.02
RUN_TIMEOUT_SECONDS: Final = 60
# What decides how a function runs. Where the service of a run listens, and with which keys, is nobody's business.
OWN_SETTINGS: Final = (
    "VENTUREKIT_PYTHON_RUNTIME",
    "VENTUREKIT_PYTHON_START",
    "VENTUREKIT_STRICT_RUNTIMES",
    "VENTUREKIT_ACCOUNT_ID",
    "VENTUREKIT_REGION",
    "VENTUREKIT_ISOLATION",
    "VENTUREKIT_REQUIRE_ISOLATION",
    "VENTUREKIT_ACCEPT_ISOLATION_GAPS",
    "VENTUREKIT_CONNECT_PORTS",
    "VENTUREKIT_BIND_PORTS",
    "VENTUREKIT_PASS_AWS_CREDENTIALS",
)


@dataclass(frozen=True, slots=True)
class Job:
    """A function to create, and the event and headers to invoke it with."""

    document: dict[str, Any]
    event: bytes
    keep: bool
    headers: dict[str, str]

    @property
    def name(self) -> str:
        """The function's name."""
        return str(self.document["FunctionName"])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:HANDLER]", help="A Python or JavaScript file, a bootstrap, a directory or a zip."
        ),
    ],
    payload: options.Payload = None,
    timeout: options.Timeout = RUN_TIMEOUT_SECONDS,
    memory: options.Memory = 128,
    env: options.Variables = None,
    runtime: options.Runtime = None,
    tenant_id: Annotated[
        str | None,
        typer.Option("--tenant-id", metavar="TENANT", help="Run it with tenant isolation, for this tenant."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the function afterwards and say where it is.")] = False,
    endpoint_url: options.EndpointUrl = None,
    region: options.Region = None,
) -> None:
    """Make a function of a file, invoke it and remove it. Its answer goes to standard output, its log to the other.

    It runs on the service of the endpoint if one is configured and answers, else on a private one.
    """
    path, handler = split_target(target)
    code = load_code(path)
    handler, runtime = code.settings(_full_handler(path, handler), runtime, f"{path}:HANDLER")
    event = read_payload(payload)
    document = new_function(_name_for(path), code.archive, handler, runtime, timeout, read_variables(env))
    if tenant_id is not None:
        document["TenancyConfig"] = {"TenantIsolationMode": "PER_TENANT"}
    job = Job(document | {"MemorySize": memory}, event, keep, tenant_headers(tenant_id))
    api = _configured_service(endpoint_url, region)
    if api is None:
        raise typer.Exit(_run_privately(job))
    with _termination():
        raise typer.Exit(_run_and_remove(api, job))


def split_target(target: str) -> tuple[str, str | None]:
    """File and handler of ``FILE[:HANDLER]``. A file whose name holds a colon is taken as it is."""
    if not Path(target).expanduser().exists():
        path, colon, handler = target.rpartition(":")
        if colon and path and handler:
            return path, handler
    return target, None


def _full_handler(path: str, handler: str | None) -> str | None:
    """``hello.py:greet`` means ``hello.greet``; a handler that names its module is complete."""
    if handler is None or "." in handler or not path.endswith((".py", *javascript.SUFFIXES)):
        return handler
    return f"{Path(path).stem}.{handler}"


def _name_for(path: str) -> str:
    stem = re.sub(r"[^a-zA-Z0-9_-]+", "-", Path(path).resolve().stem).strip("-")[:40] or "function"
    return f"{stem}-{secrets.token_hex(4)}"


def _configured_service(endpoint_url: str | None, region: str | None) -> Api | None:
    """The client of the service to use, or None for a private one. Raises UnreachableError for a --endpoint-url."""
    if endpoint_url is None and environ.configured_endpoint(environ.variables()) is None:
        return None
    api = Api(find_endpoint(endpoint_url, region))
    try:
        api.health()
    except UnreachableError as error:
        if endpoint_url is not None:
            raise
        complain(f"{error}. Using a private service.")
        return None
    return api


# --- on a service ---------------------------------------------------------------------------------------------------


def _run_and_remove(api: Api, job: Job) -> int:
    try:
        return _run(api, job, threading.Event())
    finally:
        if job.keep:
            complain(f"the function {job.name} is kept at {api.endpoint.url}")
        else:
            # An interrupted request leaves its connection unusable.
            api.close()
            with suppress(ApiError):
                api.request("DELETE", function_path(job.name))


def _run(api: Api, job: Job, abandoned: threading.Event) -> int:
    """The exit status. Nothing is written once ``abandoned`` is set."""
    api.json("POST", FUNCTIONS, job.document)
    wait_ready(api, job.name)
    with _shown_log(api.endpoint, job.name, abandoned):
        answer: Answer = call(api, job.name, job.event, job.headers)
    if abandoned.is_set():
        return FAILED
    write_payload(answer.body)
    return outcome(answer)


@contextmanager
def _shown_log(endpoint: Endpoint, name: str, abandoned: threading.Event) -> Iterator[None]:
    """Write the function's log to standard error while it runs, and what is left of it at the end."""
    follower = _Follower(endpoint, name, abandoned)
    follower.start()
    try:
        yield
        follower.finish()
    finally:
        follower.stop()


class _Follower(threading.Thread):
    def __init__(self, endpoint: Endpoint, name: str, abandoned: threading.Event) -> None:
        super().__init__(name="log", daemon=True)
        self._endpoint = endpoint
        self._api = Api(endpoint)
        self._function = name
        self._abandoned = abandoned
        self._last = -1
        self._stopped = threading.Event()

    def run(self) -> None:
        with suppress(CommandError):
            self._write(self._api, follow=True)

    def stop(self) -> None:
        """End the thread, which waits for an answer most of its life."""
        self._stopped.set()
        while self.is_alive():
            self._api.close()
            self.join(JOIN_SECONDS)

    def finish(self) -> None:
        """Stop, and write the records that the thread has not seen."""
        self.stop()
        api = Api(self._endpoint)
        try:
            self._write(api, follow=False)
        finally:
            api.close()

    def _write(self, api: Api, *, follow: bool) -> None:
        for event in read_log(api, self._function, follow=follow, after=self._last):
            if self._abandoned.is_set():
                return
            write_log(line_of(event))
            self._last = event["sequence"]
            if follow and self._stopped.is_set():
                return


@contextmanager
def _termination() -> Iterator[None]:
    """SIGTERM ends what is done here in an orderly way, as Ctrl-C does."""

    def end(*_: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# --- on a private service -------------------------------------------------------------------------------------------


def _run_privately(job: Job) -> int:
    from venturekit.cli.serve import loop_factory
    from venturekit.service.functions.trees import remove_tree

    directory = Path(tempfile.mkdtemp(prefix="vk-run-"))
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            return runner.run(_serve_job(job, directory))
    finally:
        if job.keep:
            complain(f"the function {job.name} is kept: vk serve --data-dir {directory}")
        else:
            remove_tree(directory)


async def _serve_job(job: Job, directory: Path) -> int:
    from venturekit.cli.serve import start
    from venturekit.service.app import Service
    from venturekit.service.config import ConfigurationError, load_settings

    known = environ.variables()
    try:
        settings, _ = load_settings({"port": 0, "front": False, "data_dir": directory}, _own_settings(known))
    except ConfigurationError as error:
        raise CommandError(str(error), USAGE) from None
    service = Service(settings, known)
    terminated = _cancelled_by_sigterm()
    abandoned = threading.Event()
    await start(service)
    try:
        api = Api(Endpoint(service.url, settings.region, None))
        return await asyncio.to_thread(_run, api, job, abandoned)
    except asyncio.CancelledError:
        # The service ends the function below; its last words are of no interest after Ctrl-C.
        abandoned.set()
        if terminated.is_set():
            return TERMINATED
        raise
    finally:
        await service.close()


def _cancelled_by_sigterm() -> asyncio.Event:
    terminated = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        terminated.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    return terminated


def _own_settings(known: Mapping[str, str]) -> dict[str, str]:
    return {name: known[name] for name in OWN_SETTINGS if name in known}
