"""``vk serve``: the service until a signal ends it.

Its options are made from the service's own table of settings and read by argparse: the service is ready before Typer
would have been imported.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import logging
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from venturekit.cli.environ import variables
from venturekit.cli.exits import FAILED, INTERRUPTED, OK, USAGE, CommandError
from venturekit.service.config import SETTINGS, ConfigurationError, Setting, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from venturekit.service.app import Service

logger = logging.getLogger("venturekit.cli")

READY_FILE: Final = "--ready-file"
READY_FILE_HELP: Final = "File that holds the address while the service is ready. It is removed at the end."
SUMMARY: Final = "Serve the Lambda API on this machine until Ctrl-C."
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (vk serve --help lists the options)", USAGE)


def serve(arguments: Sequence[str]) -> int:
    """Run ``vk serve`` with these arguments. Returns the exit status.

    Raises CommandError for a wrong option or setting, for a service that cannot start, and for one whose store failed.
    """
    flags = vars(build_parser().parse_args(list(arguments)))
    ready_file: Path | None = flags.pop("ready_file")
    try:
        settings, _ = load_settings(flags, variables())
    except ConfigurationError as error:
        raise CommandError(str(error), USAGE) from None
    _allow_many_files()
    logging.basicConfig(stream=sys.stderr, level=settings.log_level.upper(), format=LOG_FORMAT)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(settings, ready_file))


def _allow_many_files() -> None:
    # The usual soft limit of 1024 is for programs that call select(): each client and each environment needs some.
    # Functions get AWS's limit all the same.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def build_parser() -> argparse.ArgumentParser:
    """The parser with one option per setting. A setting that was not given is None."""
    parser = _Parser(
        prog="vk serve",
        description=SUMMARY,
        epilog="An option wins over its variable, a variable over the default.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults = Settings()
    for setting in SETTINGS:
        _add_option(parser, setting, getattr(defaults, setting.name))
    parser.add_argument(READY_FILE, type=Path, metavar="PATH", help=READY_FILE_HELP)
    return parser


def _add_option(parser: argparse.ArgumentParser, setting: Setting, default: Any) -> None:
    shown = f" [{setting.variable}" + ("" if default in ("", None, ()) else f"; {shown_default(default)}") + "]"
    more: dict[str, Any] = {"metavar": setting.name.upper()}
    if isinstance(default, bool):
        more = {"action": argparse.BooleanOptionalAction}
    parser.add_argument(
        setting.flag, dest=setting.name, default=None, help=(setting.help + shown).replace("%", "%%"), **more
    )


def shown_default(value: object) -> str:
    """A default for people, as it would be given on the command line."""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes event loops: uvloop where it is installed, else None for the stock one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class _Ending:
    """What signals do: the first one asks for an orderly end, the second ends the process at once."""

    def __init__(self, settings: Settings, ready_file: Path | None) -> None:
        self.stopped = asyncio.Event()
        self._drain_seconds = settings.drain_timeout
        self._ready_file = ready_file

    def install(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        # Under nohup a hang-up is ignored, and stays so.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGHUP, self._signalled, signal.SIGHUP)

    def _signalled(self, number: signal.Signals) -> None:
        if not self.stopped.is_set():
            logger.info(
                "%s: running invocations have %g s to finish; another signal ends them now",
                number.name,
                self._drain_seconds,
            )
            self.stopped.set()
            return
        remove(self._ready_file)
        # The launchers kill every process of the functions as soon as this one is gone; nothing needs to be closed.
        os._exit(INTERRUPTED)


async def _serve(settings: Settings, ready_file: Path | None) -> int:
    # What a service that was killed has left must not be taken for this one's.
    remove(ready_file)
    ending = _Ending(settings, ready_file)
    ending.install()

    # By far the most of a start: signals are taken care of before.
    from venturekit.service.app import Service, serve_until

    service = Service(settings, variables())
    service.on_failure = ending.stopped.set
    await start(service)
    try:
        announce(service.url, ready_file)
        # What is alive now lives as long as the service: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        await serve_until(service, ending.stopped)
    finally:
        remove(ready_file)
        await service.close()
    if service.failure is not None:
        raise CommandError(f"the service has ended: {service.failure}")
    return OK


async def start(service: Service) -> None:
    """Start a service. Raises CommandError, in words that say what to do."""
    from venturekit.service.access.faults import CredentialsFileError
    from venturekit.service.environments.isolation.levels import IsolationUnavailableError
    from venturekit.service.environments.log_disk import LogDirectoryError
    from venturekit.service.front_process import FrontPortError
    from venturekit.service.store import StoreError

    settings = service.settings
    try:
        await service.start()
    except (StoreError, CredentialsFileError, IsolationUnavailableError, LogDirectoryError, FrontPortError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(_start_failure(error, settings)) from error


def _start_failure(error: OSError, settings: Settings) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {settings.port} of {settings.host} is in use by another program: stop it, choose another --port, "
            "or let --port 0 take any free one"
        )
    if error.errno == errno.EACCES and 0 < settings.port < 1024 and error.filename is None:
        return f"port {settings.port} needs privileges: choose a --port from 1024 on, or 0 for any free one"
    return f"the service cannot start (data directory {settings.data_dir}): {error}"


def announce(url: str, ready_file: Path | None) -> None:
    """Say that the service is ready: on standard output and in the file. Raises CommandError if that fails."""
    if ready_file is not None:
        _write_ready_file(ready_file, url)
    try:
        sys.stdout.write(f"Serving the Lambda API at {url}\nexport AWS_ENDPOINT_URL_LAMBDA={url}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads it. What Python still holds goes nowhere, or it would fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _write_ready_file(ready_file: Path, url: str) -> None:
    # Renamed into place: whoever sees the file sees all of the address.
    temporary = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    try:
        temporary.write_text(url + "\n")
        temporary.replace(ready_file)
    except OSError as error:
        remove(temporary)
        raise CommandError(f"{READY_FILE} {ready_file}: {error.strerror}", FAILED) from error


def remove(path: Path | None) -> None:
    """Remove a file that may not be there."""
    if path is not None:
        with suppress(OSError):
            path.unlink()
