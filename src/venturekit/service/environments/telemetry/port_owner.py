"""Which processes listen on a loopback port, from /proc (proc(5))."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from venturekit.service.environments import process_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
REACHED: Final = frozenset({b"00000000", b"0100007F", b"0" * 32, b"0000000000000000FFFF00000100007F"})
"""The addresses, as the tables show them, at which a connection to 127.0.0.1 arrives."""
_AFTER_PORT: Final = rb" [0-9A-F]+:0000 0A \S+ \S+ \S+ +\d+ +\d+ (\d+)"


def listening_sockets(port: int) -> set[int]:
    """The inodes of the sockets that accept connections to 127.0.0.1 and this port."""
    pattern = re.compile(rb": ([0-9A-F]+):%04X" % port + _AFTER_PORT)
    found: set[int] = set()
    for table in TABLES:
        try:
            with open(table, "rb") as file:
                rows = pattern.findall(file.read())
        except OSError:
            continue  # a kernel without IPv6
        found |= {int(inode) for address, inode in rows if address in REACHED}
    return found


def listens_in(port: int, roots: Iterable[int]) -> bool:
    """Whether whoever listens on a port is one of these processes, or below them."""
    wanted = {f"socket:[{inode}]" for inode in listening_sockets(port)}
    if not wanted:
        return False
    for root in roots:
        for pid in (root, *process_tree.descendants(root)):
            wanted -= _open_files(pid)
            if not wanted:
                return True
    return False


def _open_files(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    found: set[str] = set()
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            found.add(os.readlink(f"{folder}/{name}"))
        except OSError:
            continue  # closed meanwhile
    return found
