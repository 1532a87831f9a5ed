"""Which function URL a request is for: by the name of the host, or by the beginning of the path. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
LOCAL: Final = "localhost"
PREFIX: Final = "/_url/"
"""What the path begins with, and the id follows, for clients that cannot resolve names below ``localhost``."""

_HOST: Final = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{1,5})?")
_LABELS: Final = re.compile(r"([a-z0-9]{1,63})\.lambda-url\.[a-z0-9-]{1,63}\.(.+)")
_PATH: Final = re.compile(r"/_url/([^/]*)(/.*)?", re.DOTALL)


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


class Hosts:
    """The names under which this process may be addressed.

    A web page can make its own name stand for 127.0.0.1 and so be allowed to read answers: only names that nobody else
    can give away are served. They are those below ``localhost``, the loopback names, and what the user allows.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        names = [name.lower() for name in allowed]
        self._names = frozenset((*LOOPBACK_NAMES, *names))
        self._domains = frozenset((LOCAL, *names))

    def address(self, hosts: Sequence[str], path: str) -> Address | None:
        """The function URL that is meant by the values of ``Host`` and the path; None for this process's own pages.

        Raises HostRefusedError.
        """
        name = self._name(hosts)
        found = _LABELS.fullmatch(name)
        if found is not None and found[2] in self._domains:
            return Address(found[1], path)
        if name not in self._names:
            shown = name[:256]
            raise HostRefusedError(
                f"The host {shown} is not allowed. If this machine is meant by that name, start the service with "
                f"--allow-host {shown}",
                403,
            )
        by_path = _PATH.fullmatch(path)
        return None if by_path is None else Address(by_path[1], by_path[2] or "/")

    def _name(self, hosts: Sequence[str]) -> str:
        found = _HOST.fullmatch(hosts[0].strip().lower()) if len(hosts) == 1 else None
        name = found[1].removesuffix(".") if found is not None else ""
        if not name:
            raise HostRefusedError("The request must have one Host header with a name or address.", 400)
        return name
