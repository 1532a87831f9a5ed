"""The service's part of function URLs and WebSocket APIs: their table, their pages, the process that serves them."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.sigv4 import SignatureVerifier
from venturekit.service.front_process import FrontProcess
from venturekit.service.url_pages import UrlPages
from venturekit.service.url_table import PUBLIC, UrlTable
from venturekit.service.websocket_apis import ID_LENGTH, ID_LETTERS, WebSocketApis
from venturekit.service.websocket_pages import WebSocketPages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.access_control import AccessControl
    from venturekit.service.accounts import Accounts
    from venturekit.service.config import Settings
    from venturekit.service.functions.registry import FunctionRegistry
    from venturekit.service.store import Store
    from venturekit.service.websocket_apis import WebSocketApi

logger = logging.getLogger("venturekit.service")
HTTP_PORTS: Final = (80, 443)
EXECUTE_API: Final = "execute-api"
FAREWELL_SECONDS: Final = 5.0


class FunctionUrls:
    """Function URLs and WebSocket APIs of all accounts; ``service_url()`` is where the front process calls.

    ``await load()`` and ``await listen()`` before there is a request, ``begin()`` when there can be.
    """

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        access: AccessControl,
        store: Store,
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
        self._websockets = WebSocketApis(
            store, self._table, region=settings.region, draw_id=_draw_api_id, changed=self.apis_changed
        )
        self.websocket_pages = WebSocketPages(self._websockets, access, addresses=self._addresses, wall=wall)
        self.process = FrontProcess(
            configuration=self._configuration, environ=environ, loop=loop, warn=logger.warning, inform=logger.info
        )

    async def load(self) -> None:
        """Take over what the store holds."""
        await self._websockets.load()

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
            self.websocket_pages.verifier = SignatureVerifier(
                self._access.credentials_of, region=settings.region, service=EXECUTE_API, default_ports=ports
            )

    def begin(self) -> None:
        """Take over the URLs of all functions that there are, and start the front process when it is needed."""
        self.process.begin()
        for account in self._accounts:
            for function in account.functions.functions():
                self.function_changed(account.functions, function.name)
        self.apis_changed()

    def function_changed(self, registry: FunctionRegistry, name: str) -> None:
        """A function has changed, or is gone."""
        self._table.function_changed(registry, name)
        self.apis_changed()

    def apis_changed(self) -> None:
        """There may be something to serve now."""
        if self._table:
            self.process.need()

    def url(self, url_id: str) -> str:
        """The address of a function URL; without a front process nobody answers there."""
        scheme, _, rest = self._service_url().partition("://")
        port = self.process.port or int(rest.rpartition(":")[2])
        return f"{scheme}://{url_id}.{self._domain}:{port}/"

    def _addresses(self, api: WebSocketApi) -> dict[str, str]:
        """Where clients connect, by host name and by path, and what manages connections."""
        scheme, _, rest = self._service_url().partition("://")
        host, _, service_port = rest.rpartition(":")
        port = self.process.port or int(service_port)
        websocket = "wss" if scheme == "https" else "ws"
        path = f"{host}:{port}/_ws/{api.id}/{api.stage}"
        return {
            "url": f"{websocket}://{api.id}.{EXECUTE_API}.localhost:{port}/{api.stage}",
            "pathUrl": f"{websocket}://{path}",
            "connectionsUrl": f"{scheme}://{path}",
        }

    async def stop(self) -> None:
        """The service ends: no more connections and no more waiting; what was begun is finished.

        Returns when the functions of ``$disconnect`` have been invoked, for which the service must still answer.
        """
        self.process.drain()
        if len(self._websockets):
            await self.process.ended(FAREWELL_SECONDS)
        self.pages.stop()

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


def _draw_api_id() -> str:
    """One that a web page does not guess: whoever knows the id of an API can connect to it."""
    return "".join(random.SystemRandom().choices(ID_LETTERS, k=ID_LENGTH))


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
