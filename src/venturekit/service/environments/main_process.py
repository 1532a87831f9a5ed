"""What a forked child of the launcher does to become the main process of an execution environment.

Loaded by `launcher_process.py` by its path: like it, it imports nothing of the project and runs on CPython 3.9 and
later.

What a function in fork mode can see of its origin: `sys.flags` says isolated, ignore_environment, no_site and
dont_write_bytecode; all environments of one launcher share the secret of `hash()`; PYTHON* variables are without
effect except as the service passes them (`python_path`); LD_LIBRARY_PATH does not reach this process's own dynamic
loader (only its children's). `exit`, `quit` and `help` exist, site-packages are not on `sys.path`. Exec mode has none
of these differences.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from venturekit.service.environments.isolation.confine import Entrance

OPEN_FILES_SOFT_LIMIT = 1024  # as on AWS (`ulimit -n`)
LOG_DESCRIPTOR = 3
STATUS_DESCRIPTOR = 4
_FIRST_SPARE_DESCRIPTOR = 64
_PR_SET_CHILD_SUBREAPER = 36
# What CPython itself sets at start; everything else has the kernel's default in a fresh interpreter.
_PYTHON_SIGNALS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}


class StartError(Exception):
    """A child could not be made ready: `stage` says where, `cause` is the system's error if there was one."""

    def __init__(self, stage: str, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.errno_name = errno_name(cause)


def errno_name(error: OSError | None) -> str | None:
    """The symbol of a system error ("ENOENT"), None for none."""
    return None if error is None else errno.errorcode.get(error.errno or 0)


def settle_in() -> None:
    """The part that is the same for every main process: session, limits, whose orphans it adopts."""
    os.setsid()
    become_subreaper()
    _set_limits()


def become_main(
    request: dict[str, Any],
    descriptors: list[int],
    status_fd: int,
    control: socket.socket,
    own: tuple[int, int | None],
    ric: ModuleType | None,
    prepare: Callable[[], Entrance] | None,
) -> Callable[[], None]:
    """Turn a child that has settled in into the main process that `request` describes.

    `descriptors` are standard output and, if there are any, the framed log and standard input. `control` is the
    launcher's socket to the service: the child itself says that it exists, so that none is ever unknown; `own` is who
    it is. `prepare` gives the way into its isolation, if it is to have one. Returns only in fork mode and only when all
    is prepared; what it returns is the rest of the process's life.
    """
    try:
        hello = {"event": "forked", "id": request["id"], "pid": own[0], "start_ticks": own[1]}
        control.send(json.dumps(hello).encode(), socket.MSG_DONTWAIT)
        # The number is closed below and will be given away again: the object must not close it once more.
        control.detach()
        baseline_bytes = resident_bytes() if request["mode"] == "fork" else 0
        if prepare is not None:
            _isolate(prepare, request["isolation"])
        has_log = len(descriptors) > 1
        _arrange_descriptors(
            descriptors[0],
            descriptors[1] if has_log else None,
            status_fd,
            descriptors[2] if len(descriptors) > 2 else os.open(os.devnull, os.O_RDONLY),
        )
        status_fd = STATUS_DESCRIPTOR
        _enter_directory(request["cwd"])
        environ = dict(request["environ"])
        if has_log:
            environ["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_DESCRIPTOR)
        os.write(status_fd, json.dumps({"baseline_bytes": baseline_bytes}).encode() + b"\n")
        if request["mode"] == "exec":
            _reset_signals({})
            _execute(request["argv"], environ)
        _dress_interpreter(request, environ)
        _reset_signals(_PYTHON_SIGNALS)
        os.close(status_fd)
    except BaseException as error:
        stage, name = (error.stage, error.errno_name) if isinstance(error, StartError) else ("prepare", None)
        message = str(error) if isinstance(error, StartError) else f"{type(error).__name__}: {error}"
        os.write(status_fd, json.dumps({"stage": stage, "errno": name, "error": message}).encode() + b"\n")
        os._exit(1)
    assert ric is not None
    return lambda: ric.run(handler=request.get("handler"), environ=os.environ)


def _isolate(prepare: Callable[[], Entrance], own_part: dict[str, Any]) -> None:
    try:
        prepare().enter(own_part)
    except OSError as error:
        raise StartError("isolation", f"cannot isolate the execution environment: {error}", error) from None


def _arrange_descriptors(stdout_fd: int, log_fd: int | None, status_fd: int, stdin_fd: int) -> None:
    """Leave exactly 0 (`stdin_fd`), 1 and 2 (`stdout_fd`), 3 (`log_fd`, if any) and the status pipe.

    The last is closed by execve.
    """
    sources = [stdin_fd, stdout_fd, status_fd] if log_fd is None else [stdin_fd, stdout_fd, status_fd, log_fd]
    # Out of the way first: a source may have one of the target numbers.
    spare = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_DESCRIPTOR) for source in sources]
    os.dup2(spare[0], 0)
    os.dup2(spare[1], 1)
    os.dup2(spare[1], 2)
    os.dup2(spare[2], STATUS_DESCRIPTOR, inheritable=False)
    keep = {0, 1, 2, STATUS_DESCRIPTOR}
    if log_fd is not None:
        os.dup2(spare[3], LOG_DESCRIPTOR)
        keep.add(LOG_DESCRIPTOR)
    close_all_but(keep)


def close_all_but(keep: set[int]) -> None:
    """Close every open descriptor that is not in `keep`."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


def rehearse() -> None:
    """Use what a start will use: the pages that it writes to are copied now, while nobody waits."""
    json.loads(json.dumps({"environ": dict(os.environ), "argv": sys.argv}))
    try:
        __import__("_venturekit_no_such_module")
    except ImportError:
        pass


def _set_limits() -> None:
    os.umask(0o022)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    soft = OPEN_FILES_SOFT_LIMIT if hard == resource.RLIM_INFINITY else min(OPEN_FILES_SOFT_LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _reset_signals(handlers: dict[signal.Signals, Any]) -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        wanted = handlers.get(number, signal.SIG_DFL) if isinstance(number, signal.Signals) else signal.SIG_DFL
        if signal.getsignal(number) != wanted:
            signal.signal(number, wanted)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _enter_directory(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        reason = f"cannot enter the working directory {path!r}: {error.strerror}"
        raise StartError("working_directory", reason, error) from None


def _execute(argv: list[str], environ: dict[str, str]) -> None:
    try:
        os.execve(argv[0], argv, environ)  # noqa: S606 - executing the given program is the purpose
    except OSError as error:
        raise StartError("exec", f"cannot execute {argv[0]!r}: {_explain(error, argv[0])}", error) from None


def _explain(error: OSError, path: str) -> str:
    if error.errno == errno.ENOENT and os.path.exists(path):
        return "the interpreter named in its first line (or its dynamic loader) does not exist"
    if error.errno == errno.ENOEXEC:
        return "it is neither a program for this machine nor a script whose first line starts with '#!'"
    if error.errno == errno.EACCES and os.path.isfile(path) and not os.access(path, os.X_OK):
        return "permission denied, it is not executable (chmod +x)"
    return error.strerror or str(error)


def _dress_interpreter(request: dict[str, Any], environ: dict[str, str]) -> None:
    """Make the forked interpreter look freshly started for this function.

    `random` needs nothing: CPython seeds it again in a forked child.
    """
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = list(request["argv"])
    # Here because the place of PYTHONPATH is between the program's folder (the ric puts the task root there) and the
    # library.
    sys.path[:0] = request.get("python_path") or []
    if request.get("pycache_prefix"):
        sys.pycache_prefix = request["pycache_prefix"]
        sys.dont_write_bytecode = not request.get("writes_bytecode", True)
    sys.modules["__main__"] = type(sys)("__main__")


def resident_bytes() -> int:
    """The resident memory of this process."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def become_subreaper() -> bool:
    """Have orphans below this process become its children; whether the kernel agreed. Survives execve, not fork."""
    import ctypes  # here, because the service imports this module for its constants

    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False
