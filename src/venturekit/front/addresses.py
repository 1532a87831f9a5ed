"""Which function URL or WebSocket API a request is for: by the name of the host, or by the path. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
LOCAL: Final = "localhost"
PREFIX: Final = "/_url/"
"""What the path begins with, and the id follows, for clients that cannot resolve names below ``localhost``."""

WEBSOCKET_PREFIX: Final = "/_ws/"
"""The same for WebSocket APIs."""

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{1,5})?")
_LABELS: Final = re.compile(r"([a-z0-9]{1,63})\.lambda-url\.[a-z0-9-]{1,63}\.(.+)")
_PATH: Final = re.compile(r"/_url/([^/]*)(/.*)?", re.DOTALL)
_API_LABELS: Final = re.compile(r"([a-z0-9]{1,63})\.execute-api\.(.+)")
_API_PATH: Final = re.compile(r"/_ws/([^/]*)(/.*)?", re.DOTALL)
_STAGE_PATH: Final = re.compile(r"/([^/]*)(?:/(?:@|%40)connections/([^/]+))?/?")
_CONNECTIONS: Final = re.compile(r"/[^/]+/(?:@|%40)connections/[^/]+/?")


class HostRefusedError(ValueError):
    """The request is addressed to a name that is not this process's; the text says what to do. ``status`` is 4xx."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """A function URL by its id, and the path that the function sees, percent-encoded as it was sent."""

    url_id: str
    path: str


@dataclass(frozen=True, slots=True)
class WebSocketAddress:
    """A WebSocket API by its id and stage, or one of its connections.

    ``api_id`` is None where only the connection's id says which API is meant; ``domain`` is the host as it was
    addressed, None for a name that functions cannot look up.
    """

    api_id: str | None
    stage: str
    connection_id: str | None
    domain: str | None


class Hosts:
    """The names under which this process may be addressed.

    A web page can make its own name stand for 127.0.0.1 and so be allowed to read answers: only names that nobody else
    can give away are served. They are those below ``localhost``, the loopback names, and what the user allows.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        names = [name.lower() for name in allowed]
        self._names = frozenset((*LOOPBACK_NAMES, *names))
        self._domains = frozenset((LOCAL, *names))

    def address(self, hosts: Sequence[str], path: str) -> Address | WebSocketAddress | None:
        """What is meant by the values of ``Host`` and the path; None for this process's own pages.

        Raises HostRefusedError.
        """
        name = self._name(hosts)
        found = _LABELS.fullmatch(name)
        if found is not None and found[2] in self._domains:
            return Address(found[1], path)
        found = _API_LABELS.fullmatch(name)
        if found is not None:
            # With the region, as on AWS, or without.
            for domain in (found[2], found[2].partition(".")[2]):
                if domain in self._domains:
                    return _websocket_address(found[1], path, None if domain == LOCAL else hosts[0].strip())
        if name not in self._names:
            shown = name[:256]
            raise HostRefusedError(
                f"The host {shown} is not allowed. If this machine is meant by that name, start the service with "
                f"--allow-host {shown}",
                403,
            )
        by_path = _PATH.fullmatch(path)
        if by_path is not None:
            return Address(by_path[1], by_path[2] or "/")
        by_path = _API_PATH.fullmatch(path)
        if by_path is not None:
            return _websocket_address(by_path[1], by_path[2] or "/", None)
        return _websocket_address(None, path, None) if _CONNECTIONS.fullmatch(path) else None

    def _name(self, hosts: Sequence[str]) -> str:
        found = _HOST.fullmatch(hosts[0].strip().lower()) if len(hosts) == 1 else None
        name = found[1].removesuffix(".") if found is not None else ""
        if not name:
            raise HostRefusedError("The request must have one Host header with a name or address.", 400)
        return name


def _websocket_address(api_id: str | None, path: str, domain: str | None) -> WebSocketAddress:
    found = _STAGE_PATH.fullmatch(path)
    if found is None:
        # No stage has such a name.
        return WebSocketAddress(api_id, path, None, domain)
    stage, connection_id = found.groups()
    if "%" in path:
        stage, connection_id = unquote(stage), unquote(connection_id) if connection_id else None
    return WebSocketAddress(api_id, stage, connection_id, domain)
