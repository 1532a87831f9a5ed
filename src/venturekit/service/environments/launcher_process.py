"""The launcher: a small single-threaded process that starts, signals, reaps and ends execution environments' processes.

Run as `<interpreter> -I -S -B launcher_process.py <socket fd> [<ric folder>]`. It imports nothing of the project by
package name and runs on CPython 3.9 and later, because in fork mode it *is* the interpreter that a function will see.

The socket is one end of an AF_UNIX SOCK_SEQPACKET pair; each packet is one JSON object, descriptors travel as
SCM_RIGHTS.

    in   {"op": "start", "id", "mode": "fork" | "exec", "argv", "environ", "cwd", "handler", "python_path",
          "pycache_prefix"}
         with the descriptors [standard output and error, framed log (may be left out)]
         {"op": "signal", "id", "signal"}    to the process group of the main process
         {"op": "kill", "id"}                the whole tree
    out  {"event": "ready", "version", "pid", "subreaper", "ric_error"}
         {"event": "forked", "id", "pid", "start_ticks"}      sent by the child itself, so that no child is ever unknown
         {"event": "started", "id", "pid", "baseline_bytes"}  prepared; in exec mode the execve has succeeded
         {"event": "failed", "id", "stage", "errno", "error"} instead of started; nothing is left of it
         {"event": "exited", "id", "pid", "status": {"code"} | {"signal"}}

End of file on the socket means that the service is gone: everything below is killed and reaped, then the launcher
exits.

What a function in fork mode can see of its origin: `sys.flags` says isolated, ignore_environment, no_site and
dont_write_bytecode; all environments of one launcher share the secret of `hash()`; PYTHON* variables are without
effect except as the service passes them (`python_path`); LD_LIBRARY_PATH does not reach this process's own dynamic
loader (only its children's). `exit`, `quit` and `help` exist, site-packages are not on `sys.path`. Exec mode has none
of these differences.
"""

from __future__ import annotations

import collections
import errno
import fcntl
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from importlib.machinery import ModuleSpec, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from venturekit.service.environments import process_tree

MAX_MESSAGE_BYTES = 128 * 1024
OPEN_FILES_SOFT_LIMIT = 1024  # as on AWS (`ulimit -n`)
LOG_DESCRIPTOR = 3
STATUS_DESCRIPTOR = 4
_FIRST_SPARE_DESCRIPTOR = 64
_PR_SET_CHILD_SUBREAPER = 36
_SHUTDOWN_SECONDS = 10.0
# What CPython itself sets at start; everything else has the kernel's default in a fresh interpreter.
_PYTHON_SIGNALS = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}


class MainProcess:
    """The first process of one launch: `report` is what it wrote to its status pipe before it closed it."""

    __slots__ = ("failed", "identifier", "pid", "report", "status_fd")

    def __init__(self, identifier: int, pid: int, status_fd: int) -> None:
        self.identifier = identifier
        self.pid = pid
        self.status_fd: int | None = status_fd
        self.report = b""
        self.failed = False


class StartError(Exception):
    """A child could not be made ready: `stage` says where, `cause` is the system's error if there was one."""

    def __init__(self, stage: str, message: str, cause: OSError | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.errno_name = _errno_name(cause)


class LauncherProcess:
    """The poll loop and its table of main processes."""

    def __init__(self, control: socket.socket, ric: ModuleType | None, ric_error: str | None) -> None:
        self._pid = os.getpid()
        self._control = control
        self._ric = ric
        self._ric_error = ric_error
        self._mains: dict[int, MainProcess] = {}
        self._by_status_fd: dict[int, MainProcess] = {}
        self._outgoing: collections.deque[bytes] = collections.deque()
        self._wakeup_fd, write_fd = os.pipe()
        os.set_blocking(self._wakeup_fd, False)
        os.set_blocking(write_fd, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._poll.register(self._wakeup_fd, select.POLLIN)

    def serve(self) -> Callable[[], None] | None:
        """Serve until the service is gone (None), or, in a forked child, what the child has to do from now on."""
        while True:
            for descriptor, events in self._poll.poll():
                if descriptor == self._wakeup_fd:
                    self._drain_wakeup()
                    self._reap()
                elif descriptor in self._by_status_fd:
                    self._read_status(self._by_status_fd[descriptor])
                elif descriptor == self._control.fileno():
                    if events & select.POLLOUT:
                        self._flush()
                    if events & ~select.POLLOUT:
                        try:
                            become = self._receive()
                        except EOFError:
                            return None
                        if become is not None:
                            return become

    def end_everything(self) -> bool:
        """Kill and reap until no child is left; False when some could not be ended in time."""
        deadline = time.monotonic() + _SHUTDOWN_SECONDS
        while time.monotonic() < deadline:
            process_tree.kill_tree(os.getpid(), include_root=False)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                return True
            select.select([self._wakeup_fd], [], [], 0.02)
            self._drain_wakeup()
        return False

    def send(self, **message: Any) -> None:
        """Queue one packet to the service; what the socket does not take now is sent when it does."""
        self._outgoing.append(json.dumps(message).encode())
        self._flush()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                self._control.send(self._outgoing[0], socket.MSG_DONTWAIT)
                self._outgoing.popleft()
        except BlockingIOError:
            self._poll.modify(self._control, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._outgoing.clear()  # the service is gone: end of file follows
        self._poll.modify(self._control, select.POLLIN)

    def _receive(self) -> Callable[[], None] | None:
        try:
            data, descriptors, flags, _ = socket.recv_fds(self._control, MAX_MESSAGE_BYTES + 1, 4)
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        request: dict[str, Any] = {}
        try:
            if flags & socket.MSG_TRUNC:
                raise ValueError(f"longer than {MAX_MESSAGE_BYTES} bytes")
            request = {**json.loads(data)}
            return self._perform(request, descriptors)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"launcher: cannot understand the message: {error!r}"
            self.send(event="failed", id=request.get("id"), stage="message", errno=None, error=reason)
            return None
        finally:
            # In a forked child these numbers already mean something else (or nothing).
            if os.getpid() == self._pid:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _perform(self, request: dict[str, Any], descriptors: list[int]) -> Callable[[], None] | None:
        if request["op"] == "start":
            return self._start(request, descriptors)
        main = next((main for main in self._mains.values() if main.identifier == request["id"]), None)
        if main is None:
            return None  # it has exited; the message crossed the news
        if request["op"] == "kill":
            process_tree.kill_tree(main.pid)
        elif request["op"] == "signal":
            _signal_group(main.pid, request["signal"])
        return None

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> Callable[[], None] | None:
        if request["mode"] == "fork" and self._ric is None:
            reason = (
                self._ric_error or "this launcher was started without a runtime interface client, it can only execute"
            )
            self.send(event="failed", id=request["id"], stage="fork", errno=None, error=reason)
            return None
        status_fd, child_status_fd = os.pipe()
        # A signal for the child that arrives before it has reset the handlers must wait, not be ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError as error:
            os.close(status_fd)
            reason, name = f"cannot fork: {error.strerror}", _errno_name(error)
            self.send(event="failed", id=request["id"], stage="fork", errno=name, error=reason)
            return None
        else:
            if pid == 0:
                return _become_main(request, descriptors, self._control, child_status_fd, self._ric)
        finally:
            if os.getpid() == self._pid:
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                os.close(child_status_fd)
        main = MainProcess(request["id"], pid, status_fd)
        self._mains[pid] = main
        self._by_status_fd[status_fd] = main
        self._poll.register(status_fd, select.POLLIN)
        return None

    def _read_status(self, main: MainProcess) -> None:
        """Take in the child's report; its end says that the child is on its own, or has failed."""
        if main.status_fd is None:
            return
        part = os.read(main.status_fd, 65536)
        main.report += part
        if part:
            return
        self._poll.unregister(main.status_fd)
        del self._by_status_fd[main.status_fd]
        os.close(main.status_fd)
        main.status_fd = None
        report: dict[str, Any] = {}
        for line in main.report.splitlines():
            report.update(json.loads(line))
        if "error" in report:
            main.failed = True
            self.send(event="failed", id=main.identifier, **report)
        elif report:
            self.send(event="started", id=main.identifier, pid=main.pid, **report)

    def _drain_wakeup(self) -> None:
        try:
            os.read(self._wakeup_fd, 4096)
        except BlockingIOError:
            pass

    def _reap(self) -> None:
        ended: list[tuple[MainProcess, int]] = []
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                main = self._mains.pop(pid, None)
                if main is not None:
                    ended.append((main, status))
        except ChildProcessError:
            pass
        # Before the news of an exit leaves: whatever came to us from a dead environment has been sent SIGKILL.
        for child in process_tree.children(os.getpid()):
            if child not in self._mains:
                process_tree.kill_tree(child)
        for main, status in ended:
            while main.status_fd is not None:
                self._read_status(main)
            if not main.failed:
                how = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"code": os.WEXITSTATUS(status)}
                self.send(event="exited", id=main.identifier, pid=main.pid, status=how)


def _errno_name(error: OSError | None) -> str | None:
    return None if error is None else errno.errorcode.get(error.errno or 0)


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)  # not its own group yet; it is ours and not reaped, so the pid is still its own
    except OSError:
        pass


def _become_main(
    request: dict[str, Any], descriptors: list[int], control: socket.socket, status_fd: int, ric: ModuleType | None
) -> Callable[[], None]:
    """In the forked child: turn it into the main process. Returns only in fork mode and only when all is prepared."""
    try:
        pid = os.getpid()
        hello = {"event": "forked", "id": request["id"], "pid": pid, "start_ticks": process_tree.start_ticks_of(pid)}
        control.send(json.dumps(hello).encode(), socket.MSG_DONTWAIT)
        # The number is closed below and will be given away again: the object must not close it once more.
        control.detach()
        baseline_bytes = _resident_bytes() if request["mode"] == "fork" else 0
        os.setsid()
        become_subreaper()
        has_log = len(descriptors) > 1
        _arrange_descriptors(descriptors[0], descriptors[1] if has_log else None, status_fd)
        status_fd = STATUS_DESCRIPTOR
        _set_limits()
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


def _arrange_descriptors(stdout_fd: int, log_fd: int | None, status_fd: int) -> None:
    """Leave exactly 0 (null), 1 and 2 (`stdout_fd`), 3 (`log_fd`, if any) and the status pipe, which execve closes."""
    sources = [stdout_fd, status_fd] if log_fd is None else [stdout_fd, status_fd, log_fd]
    # Out of the way first: a source may have one of the target numbers.
    spare = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FIRST_SPARE_DESCRIPTOR) for source in sources]
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(spare[0], 1)
    os.dup2(spare[0], 2)
    os.dup2(spare[1], STATUS_DESCRIPTOR, inheritable=False)
    keep = {0, 1, 2, STATUS_DESCRIPTOR}
    if log_fd is not None:
        os.dup2(spare[2], LOG_DESCRIPTOR)
        keep.add(LOG_DESCRIPTOR)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


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
        sys.dont_write_bytecode = False
    sys.modules["__main__"] = type(sys)("__main__")


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def become_subreaper() -> bool:
    """Have orphans below this process become its children; whether the kernel agreed. Survives execve, not fork."""
    import ctypes  # here, because the service imports this module for its constants

    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def load_file(name: str, path: str, package_folder: str | None = None) -> ModuleType:
    """Import a file (for a package: its `__init__.py`) under a name of our choice.

    Raises whatever the file raises; nothing stays registered then.
    """
    loader = SourceFileLoader(name, path)
    spec = ModuleSpec(name, loader, origin=path, is_package=package_folder is not None)
    spec.has_location = True
    module = type(sys)(name)
    module.__spec__, module.__loader__, module.__file__ = spec, loader, path
    module.__package__ = spec.parent
    if package_folder is not None:
        spec.submodule_search_locations = module.__path__ = [package_folder]
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _preload(ric_folder: str) -> ModuleType:
    import site

    # `site` is switched off with its site-packages and .pth files; its built-ins are part of the language's surface.
    site.setquit()
    site.setcopyright()
    site.sethelper()
    ric = load_file("_venturekit_ric", os.path.join(ric_folder, "__init__.py"), ric_folder)
    ric.preload()
    # What exists now is never collected, so no collection in a child touches (and so copies) its pages.
    gc.collect()
    gc.freeze()
    return ric


def main(arguments: list[str]) -> None:
    """Run the launcher: `arguments` are the descriptor of the socket and, for fork mode, the ric package's folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    control = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(control.fileno(), False)
    subreaper = become_subreaper()
    ric, ric_error = None, None
    if len(arguments) > 1:
        try:
            ric = _preload(arguments[1])
        except Exception as error:
            ric_error = (
                f"the runtime interface client in {arguments[1]!r} cannot be loaded: {type(error).__name__}: {error}"
            )
    launcher = LauncherProcess(control, ric, ric_error)
    version = ".".join(str(part) for part in sys.version_info[:3])
    launcher.send(event="ready", version=version, pid=os.getpid(), subreaper=subreaper, ric_error=ric_error)
    become = launcher.serve()
    if become is None:
        sys.exit(0 if launcher.end_everything() else 1)
    become()


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    process_tree = load_file("_venturekit_process_tree", os.path.join(here, "process_tree.py"))
    main(sys.argv[1:])
