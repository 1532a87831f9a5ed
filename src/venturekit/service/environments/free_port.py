"""Ports for the Runtime APIs of execution environments."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


def free_port(avoided: Collection[int]) -> socket.socket:
    """A socket bound to a free loopback port: none of ``avoided``, to which other functions may connect."""
    passed_over = []
    try:
        while True:
            found = socket.socket()
            found.bind(("127.0.0.1", 0))
            if found.getsockname()[1] not in avoided:
                return found
            passed_over.append(found)
    finally:
        for other in passed_over:
            other.close()
