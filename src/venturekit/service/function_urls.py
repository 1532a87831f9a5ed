"""The service's part of function URLs, brought together: the table of them, its pages, the process that serves them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.sigv4 import SignatureVerifier
from venturekit.service.front_process import FrontProcess
from venturekit.service.url_pages import UrlPages
from venturekit.service.url_table import PUBLIC, UrlTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.access_control import AccessControl
    from venturekit.service.accounts import Accounts
    from venturekit.service.config import Settings
    from venturekit.service.functions.registry import FunctionRegistry

logger = logging.getLogger("venturekit.service")
HTTP_PORTS: Final = (80, 443)


class FunctionUrls:
    """Function URLs of all accounts; ``service_url()`` is where the front process calls the Lambda API.

    ``await listen()`` before there is a request, ``begin()`` when there can be.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        access: AccessControl,
        *,
        environ: Mapping[str, str],
        wall: Callable[[], float],
        service_url: Callable[[], str],
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._access = access
        self._service_url = service_url
        loop = asyncio.get_running_loop()
        self._table = UrlTable(lambda arn: access.nobody.url_refusal(arn, PUBLIC))
        self.pages = UrlPages(self._table, access, verifier=None, wall=wall, loop=loop)
        self.process = FrontProcess(
            configuration=self._configuration, environ=environ, loop=loop, warn=logger.warning, inform=logger.info
        )

    async def listen(self) -> None:
        """Take the port of the front process, if there is to be one. Raises FrontPortError."""
        settings = self._settings
        if not settings.front:
            return
        wanted = settings.front_port
        if wanted is None:
            wanted = settings.port + 1 if 0 < settings.port < 65535 else 0
        await self.process.listen(settings.host, wanted, or_any=settings.front_port is None)
        if self._access.is_on:
            ports = (*HTTP_PORTS, self.process.port)
            self.pages.verifier = SignatureVerifier(
                self._access.credentials_of, region=settings.region, default_ports=ports
            )

    def begin(self) -> None:
        """Take over the URLs of all functions that there are, and start the front process when it is needed."""
        self.process.begin()
        for account in self._accounts:
            for function in account.functions.functions():
                self.function_changed(account.functions, function.name)

    def function_changed(self, registry: FunctionRegistry, name: str) -> None:
        """A function has changed, or is gone."""
        self._table.function_changed(registry, name)
        if self._table:
            self.process.need()

    def url(self, url_id: str) -> str:
        """The address of a function URL; without a front process nobody answers there."""
        scheme, _, rest = self._service_url().partition("://")
        port = self.process.port or int(rest.rpartition(":")[2])
        return f"{scheme}://{url_id}.{self._domain}:{port}/"

    def stop(self) -> None:
        """The service ends: no more connections and no more waiting; what was begun is finished."""
        self.pages.stop()
        self.process.drain()

    @property
    def _domain(self) -> str:
        return f"lambda-url.{self._settings.region}.localhost"

    def _configuration(self) -> dict[str, Any]:
        settings, pair = self._settings, self._access.front_pair
        assert pair is not None  # app.py makes one
        return {
            "serviceUrl": self._service_url(),
            "accessKeyId": pair.access_key_id,
            "secretAccessKey": pair.secret_access_key,
            "signs": self._access.is_on,
            "region": settings.region,
            "domain": self._domain,
            "port": self.process.port,
            "host": settings.host,
            "allowedHosts": list(settings.allow_host),
            "tlsCertificate": _absolute(settings.tls_certificate),
            "tlsKey": _absolute(settings.tls_key),
            "behindTls": settings.behind_tls,
            "logLevel": settings.log_level,
            "drainSeconds": settings.drain_timeout,
        }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
