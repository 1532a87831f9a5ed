"""Run as a program: forks a process for each command line it is asked for, as its own interpreter would run it.

What a command imports is imported once here and not by each of a thousand processes; everything else of a process
is its own: arguments, folder, variables, standard files, exit status.

Arguments: ``vk`` or ``aws``, and the path of a socket. A request is one message of JSON with three descriptors; the
answers are the process and its exit status, in digits. Ends when standard input does.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

MESSAGE_BYTES = 1 << 20
NOBODY = ("--endpoint-url", "http://127.0.0.1:1")
# What vk imports when it needs it.
LAZY = ("rich.console", "rich.table", "ssl", "uvloop", "venturekit.service.app")


def vk() -> Callable[[], int]:
    """``python -m venturekit``."""
    import venturekit.cli

    for module in pkgutil.iter_modules(venturekit.cli.__path__, "venturekit.cli."):
        importlib.import_module(module.name)
    for name in LAZY:
        importlib.import_module(name)
    # Typer imports more once it has values before it.
    venturekit.cli.main(["functions", "get", "any", *NOBODY])
    return venturekit.cli.main


def aws() -> Callable[[], int]:
    """AWS's command line, which imports a service's part when it is first called."""
    import awscli.clidriver

    sys.argv = ["aws", "lambda", "list-functions", "--region", "us-east-1", "--no-sign-request", *NOBODY]
    awscli.clidriver.main()
    main: Callable[[], int] = awscli.clidriver.main
    return main


COMMANDS = {"vk": vk, "aws": aws}


def standard_files() -> None:
    """Files for the descriptors 0, 1 and 2, as an interpreter makes them when it starts."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    error = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(error, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def run(name: str, main: Callable[[], int], request: dict[str, Any], descriptors: list[int]) -> int:
    """Run one command in this process. Returns its exit status."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    standard_files()
    sys.argv = [name, *request["arguments"]]
    try:
        return main()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1


def end(status: int) -> NoReturn:
    """End as an interpreter does, but for taking apart what other processes share."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(status)


class Server:
    """Forks for every request until standard input ends."""

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        given = dict(os.environ)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            self._main = COMMANDS[name]()
        # AWS's command line sets a variable for itself while it is imported.
        self._added = {name: value for name, value in os.environ.items() if given.get(name) != value}
        # Processes share what none of them looks through.
        gc.collect()
        gc.freeze()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen()
        self._asking: dict[int, socket.socket] = {}
        self._ended, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        print("ready", flush=True)
        while True:
            ready = select.select([0, self._listener, self._ended], [], [])[0]
            if 0 in ready:
                return
            if self._ended in ready:
                os.read(self._ended, MESSAGE_BYTES)
                self._tell()
            if self._listener in ready:
                self._fork(self._listener.accept()[0])

    def _tell(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                with self._asking.pop(found[0]) as connection, suppress(OSError):
                    connection.send(str(os.waitstatus_to_exitcode(found[1])).encode())

    def _fork(self, connection: socket.socket) -> None:
        child = os.fork()
        if child:
            self._asking[child] = connection
            return
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._listener, *self._asking.values()):
            each.close()
        with connection:
            text, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 3)
            connection.send(str(os.getpid()).encode())
        status = 1
        try:
            request = json.loads(text)
            request["env"] |= self._added
            status = run(self._name, self._main, request, descriptors)
        except Exception:
            sys.excepthook(*sys.exc_info())
        finally:
            end(status)


if __name__ == "__main__":
    Server(*sys.argv[1:]).serve()
