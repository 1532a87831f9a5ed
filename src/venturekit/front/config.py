"""What the service tells the front process at its start: one line of JSON on standard input."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


class ConfigurationError(ValueError):
    """What was read is no configuration of the front process; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Where the Lambda API is, what to sign with, and where to serve.

    ``sockets`` are descriptors that listen already, ``signs`` tells whether the service verifies signatures,
    ``domain`` follows the id in the name of a function URL, ``allowed_hosts`` are further names of this machine.
    """

    service_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    signs: bool
    region: str
    domain: str
    port: int
    host: str
    allowed_hosts: tuple[str, ...]
    sockets: tuple[int, ...]
    tls_certificate: str | None
    tls_key: str | None
    behind_tls: bool
    log_level: str
    drain_seconds: float

    @property
    def scheme(self) -> str:
        """How clients reach function URLs."""
        return "https" if self.tls_certificate or self.behind_tls else "http"

    @property
    def reachable(self) -> str:
        """Host and port at which functions, which run on this machine, reach this process."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"[{host}]:{self.port}" if ":" in host and not host.startswith("[") else f"{host}:{self.port}"


def parse_configuration(line: bytes) -> Configuration:
    """The configuration in a line that the service has written. Raises ConfigurationError."""
    try:
        given: dict[str, Any] = json.loads(line)
        return Configuration(
            service_url=given["serviceUrl"],
            access_key_id=given["accessKeyId"],
            secret_access_key=given["secretAccessKey"],
            signs=given["signs"],
            region=given["region"],
            domain=given["domain"],
            port=given["port"],
            host=given["host"],
            allowed_hosts=tuple(given["allowedHosts"]),
            sockets=tuple(given["sockets"]),
            tls_certificate=given["tlsCertificate"],
            tls_key=given["tlsKey"],
            behind_tls=given["behindTls"],
            log_level=given["logLevel"],
            drain_seconds=given["drainSeconds"],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"the front process is started by `vk serve`, and by nothing else ({error!r})"
        ) from None
