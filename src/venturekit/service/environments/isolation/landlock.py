"""Landlock: which files a process and its children may use, which TCP ports, and whom they may signal.

Source: the kernel's page "Landlock: unprivileged access control" and `linux/landlock.h`. Each ABI version added
rights; one that the kernel does not know is left out here, and `levels.py` knows what that leaves open.

Loaded in the launcher: standard library only, CPython 3.9 or later.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kernel import Kernel

NEWEST_ABI = 6
"""The newest version whose rights are used; a newer kernel serves them just the same."""

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
MAKE_CHAR = 1 << 6
MAKE_BLOCK = 1 << 11
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
_FIRST_FILE_RIGHTS = (1 << 13) - 1

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = (_FIRST_FILE_RIGHTS | REFER | TRUNCATE) & ~(MAKE_CHAR | MAKE_BLOCK)
"""Everything but device files."""
DEVICE = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

BIND_TCP = 1 << 0
CONNECT_TCP = 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0
_SCOPE_SIGNAL = 1 << 1

_QUERY_VERSION = 1 << 0
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2


def file_rights(abi: int) -> int:
    """All rights on files that a kernel with this ABI version knows."""
    added = ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV))
    return _FIRST_FILE_RIGHTS | sum(right for since, right in added if abi >= since)


def ruleset_attributes(abi: int) -> bytes:
    """The kernel's `struct landlock_ruleset_attr` with everything that this ABI version can handle."""
    words = [file_rights(abi)]
    if abi >= 4:
        words.append(BIND_TCP | CONNECT_TCP)
    if abi >= 6:
        words.append(_SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL)
    return struct.pack(f"={len(words)}Q", *words)


def kernel_abi(kernel: Kernel) -> int:
    """The version of Landlock that the kernel serves; 0 when it does not, or when it is switched off."""
    try:
        return kernel.call("landlock_create_ruleset", 0, 0, _QUERY_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return 0
        raise


class Ruleset:
    """Rules in the making: everything is forbidden that is not allowed before `restrict`. Raises OSError."""

    def __init__(self, kernel: Kernel, abi: int) -> None:
        self._kernel = kernel
        self._abi = abi
        attributes = ruleset_attributes(abi)
        buffer = ctypes.create_string_buffer(attributes, len(attributes))
        self.descriptor = kernel.call("landlock_create_ruleset", buffer, len(attributes), 0)

    def allow(self, path: str, rights: int) -> None:
        """Allow a file, or a folder with all that is below it. Raises FileNotFoundError and its like."""
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                rights &= _OF_FILES
            rule = struct.pack("=Qi", rights & file_rights(self._abi), descriptor)
            self._add(_RULE_PATH_BENEATH, rule)
        finally:
            os.close(descriptor)

    def allow_port(self, port: int, rights: int) -> None:
        """Allow connections to, or listening on, a TCP port. Port 0 is any port that the kernel chooses."""
        if self._abi >= 4:
            self._add(_RULE_NET_PORT, struct.pack("=QQ", rights, port))

    def restrict(self) -> None:
        """Hold this process, and all it starts, to the rules from now on. Needs no_new_privs."""
        self._kernel.call("landlock_restrict_self", self.descriptor, 0)
        os.close(self.descriptor)

    def _add(self, kind: int, rule: bytes) -> None:
        buffer = ctypes.create_string_buffer(rule, len(rule))
        self._kernel.call("landlock_add_rule", self.descriptor, kind, buffer, 0)
