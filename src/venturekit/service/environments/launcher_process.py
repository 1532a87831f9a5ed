"""The launcher: a small single-threaded process that starts, signals, reaps and ends execution environments' processes.

Run as `<interpreter> -I -S -B launcher_process.py <socket fd> <ric folder> <policy fd>`; the folder is empty for one
that only executes, the descriptor (see `isolation/confine.py`) for one that does not isolate. It imports nothing of the
project by package name and runs on CPython 3.9 and later, because in fork mode it *is* the interpreter that a function
will see.

The socket is one end of an AF_UNIX SOCK_SEQPACKET pair; each packet is one JSON object, or two (head and body, see
`packets.py`), descriptors travel as SCM_RIGHTS.

    in   {"op": "start", "id", "mode": "fork" | "exec", "isolated"}
         {"argv", "environ", "cwd", "handler", "python_path", "pycache_prefix", "writes_bytecode", "isolation"}
         with the descriptors [standard output and error, framed log, standard input (the last two may be left out)]
         {"op": "signal", "id", "signal"}    to the process group of the main process
         {"op": "kill", "id"}                the whole tree
    out  {"event": "ready", "version", "pid", "subreaper", "ric_error"}
         {"event": "forked", "id", "pid", "start_ticks"}      sent by the child itself, so that no child is ever unknown
         {"event": "started", "id", "pid", "baseline_bytes"}  prepared; in exec mode the execve has succeeded
         {"event": "failed", "id", "stage", "errno", "error"} instead of started; nothing is left of it
         {"event": "exited", "id", "pid", "status": {"code"} | {"signal"}}

End of file on the socket means that the service is gone: everything below is killed and reaped, then the launcher
exits.

A spare child, forked beforehand, takes the next start in fork mode: forking costs about as much as the rest. Where
environments are isolated it has prepared that, too.
"""

from __future__ import annotations

import collections
import gc
import importlib
import json
import os
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

    from venturekit.service.environments import main_process, packets, process_tree
    from venturekit.service.environments.isolation.confine import Isolation
    from venturekit.service.environments.isolation.namespaces import Branch

_SPARE_DELAY_SECONDS = 0.02  # the fork of the next spare must not slow down the start that used up the last one
_SHUTDOWN_SECONDS = 10.0


class MainProcess:
    """The first process of one launch: `report` is what it wrote to its status pipe before it closed it.

    `branch` are its namespaces, if it has any.
    """

    __slots__ = ("branch", "failed", "identifier", "pid", "report", "status_fd")

    def __init__(self, identifier: int, pid: int, status_fd: int, branch: Branch | None) -> None:
        self.identifier = identifier
        self.pid = pid
        self.branch = branch
        self.status_fd: int | None = status_fd
        self.report = b""
        self.failed = False


class Spare:
    """A forked child that waits for a start: `link` is the launcher's end of its socket."""

    __slots__ = ("branch", "link", "pid")

    def __init__(self, pid: int, link: socket.socket, branch: Branch | None) -> None:
        self.pid = pid
        self.link = link
        self.branch = branch


class LauncherProcess:
    """The poll loop and its table of main processes."""

    def __init__(
        self, control: socket.socket, ric: ModuleType | None, ric_error: str | None, isolation: Isolation | None = None
    ) -> None:
        # Process ids do not tell: in a namespace of its own a child may have the launcher's.
        self._is_child = False
        self._isolation = isolation
        self._control = control
        self._inbox = packets.Inbox()
        self._ric = ric
        self._ric_error = ric_error
        self._mains: dict[int, MainProcess] = {}
        self._spare: Spare | None = None
        self._spare_due = time.monotonic()
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
            become = self._keep_spare()
            if become is not None:
                return become
            for descriptor, events in self._poll.poll(self._poll_timeout_ms()):
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
            descriptors, is_cut_off = self._inbox.receive(self._control)
        except ConnectionError:
            raise EOFError from None
        request: dict[str, Any] = {}
        try:
            if is_cut_off:
                raise ValueError(f"longer than {packets.MAX_PACKET_BYTES} bytes")
            request = self._inbox.head()
            return self._perform(request, descriptors)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"launcher: cannot understand the message: {error!r}"
            self.send(event="failed", id=request.get("id"), stage="message", errno=None, error=reason)
            return None
        finally:
            # In a forked child these numbers already mean something else (or nothing).
            if not self._is_child:
                self._inbox.wipe()
                for descriptor in descriptors:
                    os.close(descriptor)

    def _perform(self, request: dict[str, Any], descriptors: list[int]) -> Callable[[], None] | None:
        if request["op"] == "start":
            return self._start(request, descriptors)
        main = next((main for main in self._mains.values() if main.identifier == request["id"]), None)
        if main is None:
            return None  # it has exited; the message crossed the news
        if request["op"] == "kill":
            if main.branch is not None:
                main.branch.end()
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
        isolation = self._isolation if request["isolated"] else None
        if isolation is None and request["isolated"]:
            raise ValueError("this launcher was started without a policy, it cannot isolate")
        status_fd, child_status_fd = os.pipe()
        try:
            found = None
            if request["mode"] == "fork" and isolation is self._isolation:
                found = self._use_spare([*descriptors, child_status_fd])
            pid, branch = found or self._fork(isolation)
            if pid == 0:
                own = process_tree.own_identity()
                main_process.settle_in()
                entrance = None if isolation is None else isolation.prepare
                request = self._read_whole()
                return main_process.become_main(
                    request, descriptors, child_status_fd, self._control, own, self._ric, entrance
                )
        except OSError as error:
            os.close(status_fd)
            reason, name = f"cannot fork: {error.strerror}", main_process.errno_name(error)
            self.send(event="failed", id=request["id"], stage="fork", errno=name, error=reason)
            return None
        finally:
            if not self._is_child:
                os.close(child_status_fd)
        main = MainProcess(request["id"], pid, status_fd, branch)
        self._mains[pid] = main
        self._by_status_fd[status_fd] = main
        self._poll.register(status_fd, select.POLLIN)
        return None

    def _fork(self, isolation: Isolation | None) -> tuple[int, Branch | None]:
        """Fork a child, into namespaces of its own if its isolation has them: its process id, 0 in the child itself."""
        if isolation is None:
            pid, branch = self._fork_here(), None
        else:
            pid, branch = isolation.fork(self._fork_here, main_process.close_all_but)
        self._is_child = pid == 0
        return pid, branch

    def _fork_here(self) -> int:
        """Fork with all signals blocked: one that reaches the child before it has its own handlers must wait."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            raise
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        return pid

    # --- the spare ----------------------------------------------------------------------------------------------

    def _poll_timeout_ms(self) -> int | None:
        if self._spare is not None or self._ric is None:
            return None
        return max(0, int((self._spare_due - time.monotonic()) * 1000) + 1)

    def _keep_spare(self) -> Callable[[], None] | None:
        """Fork the next spare when it is due. In the child: its later life, or the end of it."""
        if self._spare is not None or self._ric is None or time.monotonic() < self._spare_due:
            return None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            pid, branch = self._fork(self._isolation)
        except OSError:
            ours.close()
            theirs.close()
            self._spare_due = time.monotonic() + 1.0
            return None
        if pid == 0:
            ours.close()
            return self._wait_as_spare(theirs)
        theirs.close()
        self._spare = Spare(pid, ours, branch)
        return None

    def _use_spare(self, descriptors: list[int]) -> tuple[int, Branch | None] | None:
        """Hand a start to the spare. Its pid and namespaces, or None when there is none that lives."""
        spare, self._spare = self._spare, None
        self._spare_due = time.monotonic() + _SPARE_DELAY_SECONDS
        if spare is None:
            return None
        try:
            self._inbox.forward(spare.link, descriptors)
        except OSError:
            os.kill(spare.pid, signal.SIGKILL)  # it is not reaped yet, so the pid is its own
            if spare.branch is not None:
                spare.branch.end()
                spare.branch.release()
            return None
        finally:
            spare.link.close()
        return spare.pid, spare.branch

    def _wait_as_spare(self, link: socket.socket) -> Callable[[], None]:
        """In the spare: do what needs no request, then wait for one. The launcher's end is the spare's end, too."""
        own = process_tree.own_identity()
        main_process.settle_in()
        main_process.close_all_but({0, 1, 2, link.fileno(), self._control.fileno()})
        main_process.rehearse()
        entrance = None if self._isolation is None else self._isolation.prepare_early()
        try:
            *given, status_fd = self._inbox.receive(link)[0]
        except EOFError:
            os._exit(0)
        link.detach()  # its number is closed with all others
        request = self._read_whole()
        return main_process.become_main(request, given, status_fd, self._control, own, self._ric, entrance)

    def _read_whole(self) -> dict[str, Any]:
        """In a child: the request with its body, which the launcher itself must not read."""
        try:
            return packets.decode(self._inbox.packet())
        except ValueError:
            os._exit(1)

    # --- reports ------------------------------------------------------------------------------------------------

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
                if self._spare is not None and pid == self._spare.pid:
                    self._spare.link.close()
                    if self._spare.branch is not None:
                        self._spare.branch.release()
                    self._spare, self._spare_due = None, time.monotonic() + 1.0
                main = self._mains.pop(pid, None)
                if main is not None:
                    ended.append((main, status))
                    if main.branch is not None:
                        main.branch.release()
                elif self._isolation is not None:
                    self._note_end_of_init(pid)
        except ChildProcessError:
            pass
        # Before the news of an exit leaves: whatever came to us from a dead environment has been sent SIGKILL.
        ours = self._own_children()
        for child in process_tree.children(os.getpid()):
            if child not in ours:
                process_tree.kill_tree(child)
        for main, status in ended:
            while main.status_fd is not None:
                self._read_status(main)
            if not main.failed:
                how = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"code": os.WEXITSTATUS(status)}
                self.send(event="exited", id=main.identifier, pid=main.pid, status=how)

    def _own_children(self) -> set[int]:
        """The children that are meant to live: main processes, the spare, the first processes of their namespaces."""
        owners = self._owners()
        return {owner.pid for owner in owners} | {owner.branch.init_pid for owner in owners if owner.branch is not None}

    def _owners(self) -> list[MainProcess | Spare]:
        return [*self._mains.values(), *(() if self._spare is None else (self._spare,))]

    def _note_end_of_init(self, pid: int) -> None:
        """If it was the first process of namespaces: all in them is dead, and its number may be given away again."""
        for owner in self._owners():
            if owner.branch is not None and owner.branch.init_pid == pid:
                owner.branch.init_pid = 0


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)  # not its own group yet; it is ours and not reaped, so the pid is still its own
    except OSError:
        pass


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
    # The first use of the compiler makes a hundred types; functions that find no compiled form of theirs need it.
    compile("pass", "<preload>", "exec")
    # What exists now is never collected, so no collection in a child touches (and so copies) its pages.
    gc.collect()
    gc.freeze()
    return ric


def _load_isolation(policy_fd: int) -> Isolation:
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "isolation")
    load_file("_venturekit_isolation", os.path.join(folder, "__init__.py"), folder)
    confine = importlib.import_module("_venturekit_isolation.confine")
    with open(policy_fd, "rb") as policy:
        isolation: Isolation = confine.Isolation(json.load(policy))
    return isolation


def main(arguments: list[str]) -> None:
    """Run the launcher: `arguments` as the module's text has them."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.chdir("/")
    control = socket.socket(fileno=int(arguments[0]))
    os.set_inheritable(control.fileno(), False)
    subreaper = main_process.become_subreaper()
    ric, ric_error = None, None
    ric_folder, policy_fd = arguments[1:]
    isolation = _load_isolation(int(policy_fd)) if policy_fd else None
    if ric_folder:
        try:
            ric = _preload(ric_folder)
        except Exception as error:
            ric_error = (
                f"the runtime interface client in {ric_folder!r} cannot be loaded: {type(error).__name__}: {error}"
            )
    launcher = LauncherProcess(control, ric, ric_error, isolation)
    version = ".".join(str(part) for part in sys.version_info[:3])
    launcher.send(event="ready", version=version, pid=os.getpid(), subreaper=subreaper, ric_error=ric_error)
    become = launcher.serve()
    if become is None:
        sys.exit(0 if launcher.end_everything() else 1)
    become()


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    process_tree = load_file("_venturekit_process_tree", os.path.join(here, "process_tree.py"))
    packets = load_file("_venturekit_packets", os.path.join(here, "packets.py"))
    main_process = load_file("_venturekit_main_process", os.path.join(here, "main_process.py"))
    main(sys.argv[1:])
