"""Namespaces: a process tree with a root folder, processes and names of its own, made without root's help.

Source: user_namespaces(7), pid_namespaces(7), mount_namespaces(7), pivot_root(2), mount_setattr(2), the kernel's pages
"Overlay Filesystem" and "tmpfs".

The first process of a process namespace cannot be the function: signals that it has no handler for are not delivered
to it, so it could not end itself by one. `fork_inside` therefore makes two children that the launcher adopts: an idle
init, whose end is the end of everything in the namespace, and the one that becomes the main process.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .kernel import Kernel

_NEW_MOUNTS = 0x00020000
_NEW_NAMES = 0x04000000  # host name and domain name
_NEW_IPC = 0x08000000
_NEW_USERS = 0x10000000
_NEW_PROCESSES = 0x20000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_RDONLY = 1
_MS_RECURSIVE = 16384
_MS_PRIVATE = 1 << 18
_DETACH = 2
_HERE = -100  # AT_FDCWD
_EMPTY_PATH = 0x1000
_RECURSIVE = 0x8000
_CLONE_TREE = 1
_MOVE_FROM_DESCRIPTOR = 4
_READ_ONLY, _NO_SET_USER_ID, _NO_DEVICES = 1, 2, 4
_SCRATCH = b"size=1m,nr_inodes=4096,mode=755"


class Branch:
    """What `fork_inside` made: `main_pid` is 0 in the child itself, `init_pid` once the first process has been reaped.

    `lifeline` is a descriptor: everything in the namespaces ends when the last copy of it is closed.
    """

    __slots__ = ("init_pid", "lifeline", "main_pid")

    def __init__(self, main_pid: int, init_pid: int, lifeline: int) -> None:
        self.main_pid = main_pid
        self.init_pid = init_pid
        self.lifeline = lifeline

    def end(self) -> None:
        """Kill everything in the namespaces at one blow."""
        if self.init_pid:
            os.kill(self.init_pid, signal.SIGKILL)

    def release(self) -> None:
        """Let go of the lifeline."""
        os.close(self.lifeline)


def fork_inside(kernel: Kernel, fork: Callable[[], int], close_all_but: Callable[[set[int]], None]) -> Branch:
    """Fork a child into new namespaces. The caller, a subreaper, becomes its parent. Raises OSError.

    `fork` is the caller's way to fork.
    """
    report_fd, write_fd = os.pipe()
    end_fd, lifeline = os.pipe()
    try:
        helper = fork()
        if helper == 0:
            _make_children(kernel, write_fd, end_fd, close_all_but)
            os.close(report_fd)
            os.close(lifeline)
            return Branch(0, 0, -1)
    except OSError:
        os.close(report_fd)
        os.close(lifeline)
        raise
    finally:
        # In the child, too.
        os.close(write_fd)
        os.close(end_fd)
    with open(report_fd, "rb") as reports:
        report = reports.read()
    os.waitpid(helper, 0)
    code, main_pid, init_pid = (int(word) for word in report.split() or (b"5", b"0", b"0"))
    if code:
        os.close(lifeline)
        raise OSError(code, f"cannot make namespaces: {os.strerror(code)}")
    return Branch(main_pid, init_pid, lifeline)


def _make_children(kernel: Kernel, write_fd: int, end_fd: int, close_all_but: Callable[[set[int]], None]) -> None:
    """In the helper: returns in the child that becomes the main process only."""
    try:
        _enter(kernel)
        init = os.fork()
        if init == 0:
            close_all_but({end_fd})
            os.read(end_fd, 1)
            os._exit(0)
        main = os.fork()
        if main == 0:
            return
        os.write(write_fd, b"0 %d %d" % (main, init))
    except OSError as error:
        os.write(write_fd, b"%d 0 0" % (error.errno or 5))
    os._exit(0)


def _enter(kernel: Kernel) -> None:
    user, group = os.geteuid(), os.getegid()
    kernel.call("unshare", _NEW_USERS | _NEW_MOUNTS | _NEW_PROCESSES | _NEW_IPC | _NEW_NAMES)
    # Whoever may not set groups may map its own.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


class Root:
    """A root folder in the making, below `mountpoint`; only this process and its children will see it.

    Paths given to the methods are absolute and those of the new root. Raises OSError.
    """

    def __init__(self, kernel: Kernel, mountpoint: str) -> None:
        self._kernel = kernel
        self._base = mountpoint
        # Nothing that happens here reaches the mounts that we were copied from.
        kernel.call("mount", None, b"/", None, _MS_RECURSIVE | _MS_PRIVATE, None)
        self._mount(b"tmpfs", mountpoint, _MS_NOSUID | _MS_NODEV, _SCRATCH)

    def make_directory(self, path: str) -> str:
        """A folder and those above it; where it can be reached for now."""
        here = self._base + path
        os.makedirs(here, exist_ok=True)
        return here

    def link(self, target: str, path: str) -> None:
        """A symbolic link."""
        self.make_directory(os.path.dirname(path))
        os.symlink(target, self._base + path)

    def bind(self, source: str, path: str, *, writable: bool = False, device: bool = False) -> None:
        """Show a file or folder of the host, with what is mounted below it; read-only unless `writable`."""
        here = self._base + path
        if not os.path.exists(here):
            os.makedirs(os.path.dirname(here), exist_ok=True)
            _make_alike(source, here)
        tree = self._kernel.call("open_tree", _HERE, os.fsencode(source), _CLONE_TREE | os.O_CLOEXEC | _RECURSIVE)
        try:
            attributes = _NO_SET_USER_ID | (0 if device else _NO_DEVICES) | (0 if writable else _READ_ONLY)
            self._set_attributes(tree, b"", _EMPTY_PATH | _RECURSIVE, attributes)
            self._kernel.call("move_mount", tree, b"", _HERE, os.fsencode(here), _MOVE_FROM_DESCRIPTOR)
        finally:
            os.close(tree)

    def overlay(self, sources: Sequence[str], path: str, *, later: Sequence[tuple[str, str]] = ()) -> None:
        """Show several folders as one, read-only; what an earlier one has hides what later ones have.

        `later` is what will be bound to paths below it: source and path of each.
        """
        if later:
            frame = self.make_directory("/.frame" + path)
            for source, place in later:
                here = frame + place[len(path) :]
                os.makedirs(os.path.dirname(here), exist_ok=True)
                _make_alike(source, here)
            sources = [*sources, frame]
        if len(sources) == 1:
            self.bind(sources[0], path)
            return
        lower = b":".join(_escaped(os.fsencode(source)) for source in sources)
        flags = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
        self._mount(b"overlay", self.make_directory(path), flags, b"lowerdir=" + lower)

    def processes(self, path: str) -> None:
        """A /proc that shows the processes of this namespace only."""
        self._mount(b"proc", self.make_directory(path), _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None)

    def enter(self) -> None:
        """Make it the root of this process; what it was made from is gone then, the root itself is read-only."""
        os.chdir(self._base)
        self._kernel.call("pivot_root", b".", b".")
        self._kernel.call("umount2", b".", _DETACH)
        os.chdir("/")
        self._set_attributes(_HERE, b"/", 0, _READ_ONLY)

    def _mount(self, kind: bytes, here: str, flags: int, options: bytes | None) -> None:
        self._kernel.call("mount", kind, os.fsencode(here), kind, flags, options)

    def _set_attributes(self, descriptor: int, path: bytes, flags: int, attributes: int) -> None:
        wanted = struct.pack("=4Q", attributes, 0, 0, 0)
        buffer = ctypes.create_string_buffer(wanted, len(wanted))
        self._kernel.call("mount_setattr", descriptor, path, flags, buffer, len(wanted))


def _make_alike(source: str, here: str) -> None:
    """Something to bind a file or folder to."""
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(here, exist_ok=True)
    else:
        os.close(os.open(here, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _escaped(path: bytes) -> bytes:
    # For overlay's options: colons part folders, commas part options.
    return path.replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")
