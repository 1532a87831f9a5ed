"""The front process from its start to its end, which is the service's end at the latest."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import resource
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from venturekit.front.config import Configuration, ConfigurationError, parse_configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn

    from venturekit.front.application import Application
    from venturekit.front.feed import Feed
    from venturekit.front.websocket_gateway import WebSocketGateway

logger = logging.getLogger("venturekit.front")
LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
CANNOT_RUN: Final = 78
"""The exit status by which the service knows that another try would end the same way."""
READY: Final = "ready\n"
DRAIN: Final = b"drain\n"
CONNECTIONS: Final = 1024
KEEP_ALIVE_SECONDS: Final = 60


def main() -> int:
    """Run the front process: configuration on standard input, whose end is the end. Returns the exit status."""
    logging.basicConfig(stream=sys.stderr, format=LOG_FORMAT)
    # Without a buffer, whose lock the thread that reads would still hold when the interpreter ends.
    orders = io.FileIO(sys.stdin.fileno(), closefd=False)
    try:
        configuration = parse_configuration(orders.readline())
    except ConfigurationError as error:
        logger.error("%s", error)
        return CANNOT_RUN
    logger.setLevel(configuration.log_level.upper())
    try:
        # They are looked for before anything is begun.
        import starlette.applications
        import uvicorn
        import websockets.server
        import websockets.version
    except ImportError as error:
        logger.error("%s: pip install 'venturekit[local]'", error)
        return CANNOT_RUN
    versions = starlette.__version__, uvicorn.__version__, websockets.version.version
    logger.debug("starlette %s, uvicorn %s, websockets %s", *versions)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(configuration, orders))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(configuration: Configuration, orders: io.FileIO) -> None:
    from venturekit.front.server import sweep_forever

    loop = asyncio.get_running_loop()
    application, feed, websockets = _build(configuration)
    server = _server(configuration, application)
    listening = [socket.socket(fileno=descriptor) for descriptor in configuration.sockets]

    def drain() -> None:
        server.should_exit = True
        websockets.drain()

    threading.Thread(target=_heed, args=(orders, loop, drain), name="service", daemon=True).start()
    owned = [loop.create_task(feed.run()), loop.create_task(sweep_forever(server.server_state, websockets))]
    await feed.loaded.wait()
    sys.stdout.write(READY)
    sys.stdout.flush()
    try:
        await server.serve(sockets=listening)
        await websockets.drained(configuration.drain_seconds)
    finally:
        for task in owned:
            task.cancel()


def _heed(orders: io.FileIO, loop: asyncio.AbstractEventLoop, drain: Callable[[], None]) -> None:
    """Do what the service says, and end with it. A thread: it heeds also when the loop does not turn."""
    while line := orders.readline():
        if line == DRAIN:
            loop.call_soon_threadsafe(drain)
    os._exit(0)


def _build(configuration: Configuration) -> tuple[Application, Feed, WebSocketGateway]:
    from venturekit.front.addresses import Hosts
    from venturekit.front.application import Application
    from venturekit.front.connections_api import ConnectionsApi
    from venturekit.front.feed import Feed
    from venturekit.front.function_urls import FunctionUrls
    from venturekit.front.http_client import HttpClient
    from venturekit.front.lambda_api import LambdaApi
    from venturekit.front.pages import build_pages
    from venturekit.front.table import UrlTable
    from venturekit.front.websocket_gateway import WebSocketGateway
    from venturekit.front.websocket_integration import Integrations
    from venturekit.front.websocket_limits import WebSocketLimits
    from venturekit.protocol.sigv4_signer import Credentials

    service = urlsplit(configuration.service_url)
    client = HttpClient(
        service.hostname or "",
        service.port or 0,
        tls=_trusting(configuration) if service.scheme == "https" else None,
        limit=CONNECTIONS,
        loop=asyncio.get_running_loop(),
    )
    api = LambdaApi(
        client,
        host=service.netloc,
        credentials=Credentials(configuration.access_key_id, configuration.secret_access_key),
        region=configuration.region,
        signs=configuration.signs,
        wall=time.time,
    )
    table = UrlTable()
    feed = Feed(api, table)
    urls = FunctionUrls(
        table,
        feed,
        api,
        domain=configuration.domain,
        port=configuration.port,
        scheme=configuration.scheme,
        wall=time.time,
    )
    limits = WebSocketLimits()
    limits = replace(limits, connections=min(limits.connections, _open_files() // 2))
    websockets = WebSocketGateway(
        table,
        feed,
        Integrations(api, limits, time.time),
        limits,
        domain=configuration.reachable,
        port=configuration.port,
        scheme=configuration.scheme,
        wall=time.time,
        loop=asyncio.get_running_loop(),
    )
    connections = ConnectionsApi(websockets, table, api, limits, signs=configuration.signs)
    hosts = Hosts((*configuration.allowed_hosts, configuration.host))
    return Application(hosts, urls, websockets, connections, build_pages(table), feed), feed, websockets


def _open_files() -> int:
    """How many files may be open: as many as this user is let have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _trusting(configuration: Configuration) -> ssl.SSLContext:
    """The service's certificate is for the names that others call it by, not for the address that is called here."""
    context = ssl.create_default_context(cafile=configuration.tls_certificate)
    context.check_hostname = False
    # The file need not go up to the root of its authority, nor please newer versions of Python, which are stricter.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _server(configuration: Configuration, application: Application) -> uvicorn.Server:
    import uvicorn

    from venturekit.front.server import FrontProtocol

    return uvicorn.Server(
        uvicorn.Config(
            application,
            http=FrontProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, int(configuration.drain_seconds)),
            ssl_certfile=configuration.tls_certificate,
            ssl_keyfile=configuration.tls_key,
        )
    )
