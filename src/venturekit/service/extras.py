"""What the service answers beside the Lambda API, below ``/_venturekit/``: health, logs, downloads of code, events."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

from venturekit.service.api.errors import ApiError
from venturekit.service.wire.answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.access_control import Caller
    from venturekit.service.environments.logs import LogGroup, LogStore
    from venturekit.service.event_pages import EventPages
    from venturekit.service.url_pages import UrlPages
    from venturekit.service.websocket_pages import WebSocketPages
    from venturekit.service.wire.exchange import Exchange

PREFIX: Final = b"/_venturekit/"
HEALTH: Final = PREFIX + b"health"
CODE: Final = PREFIX + b"code/"
LOGS: Final = PREFIX + b"logs/"
WAIT_LIMIT_SECONDS: Final = 20.0
LOG_PAGE: Final = 1000
CODE_LINK_SECONDS: Final = 600
"""How long a link to code is good (AWS Lambda API reference, "FunctionCodeLocation", "GetFunction")."""
JSON: Final = (b"Content-Type", b"application/json")


class Extras:
    """Answers the service's own paths. ``secret`` signs download links; ``status`` gives the members of health.

    ``wall`` tells the time in epoch seconds.
    """

    def __init__(
        self,
        *,
        logs: LogStore,
        archive_path: Callable[[str], Path],
        status: Callable[[], dict[str, object]],
        events: EventPages,
        secret: bytes,
        urls: UrlPages | None = None,
        websockets: WebSocketPages | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._logs = logs
        self._archive_path = archive_path
        self._status = status
        self._events = events
        self._urls = urls
        self._websockets = websockets
        self._secret = secret
        self._wall = wall
        self._waiting: set[asyncio.Event] = set()

    def stop_waiting(self) -> None:
        """Answer the requests that wait for new log records now: the service ends."""
        for arrived in self._waiting:
            arrived.set()

    def handles(self, target: bytes) -> bool:
        """Whether this target is one of the service's own."""
        return target.startswith(PREFIX)

    def is_open(self, exchange: Exchange) -> bool:
        """Whether the request needs neither signature nor special header: health, and links that carry a token."""
        target = exchange.target
        return exchange.method == b"GET" and (target.partition(b"?")[0] == HEALTH or target.startswith(CODE))

    def code_link(self, code_key: str) -> str:
        """Path and query under which the archive with this key is downloaded, for the next ten minutes."""
        expires = str(int(self._wall()) + CODE_LINK_SECONDS)
        return f"{CODE.decode()}{code_key}.zip?expires={expires}&token={self._token(code_key, expires)}"

    async def answer(self, exchange: Exchange, caller: Caller) -> None:
        """Answer a request that :meth:`handles` has claimed."""
        try:
            await self._answer(exchange, caller)
        except ApiError as error:
            self._fail(exchange, error.status, error.message or error.code)
        except Exception:
            self._fail(exchange, 500, "the service failed while it answered this request; its log has the cause")
            raise

    async def _answer(self, exchange: Exchange, caller: Caller) -> None:
        path, _, query = exchange.target.partition(b"?")
        parameters = parse_qs(query.decode("latin-1"))
        if self._events.handles(path.decode("latin-1")):
            method, where, asked = (part.decode("latin-1") for part in (exchange.method, path, query))
            self._send(exchange, 200, await self._events.answer(method, where, asked, caller))
        elif self._urls is not None and self._urls.handles(path):
            self._urls.answer(exchange, caller)
        elif self._websockets is not None and self._websockets.handles(path.decode("latin-1")):
            method, where = exchange.method.decode("latin-1"), path.decode("latin-1")
            self._send(exchange, 200, await self._websockets.answer(method, where, bytes(exchange.body), caller))
        elif exchange.method != b"GET":
            self._fail(exchange, 405, f"{path.decode('latin-1')} is served for GET only")
        elif path == HEALTH:
            self._send(exchange, 200, self._status())
        elif path.startswith(LOGS):
            await self._answer_logs(exchange, caller, unquote(path[len(LOGS) :].decode("latin-1")), parameters)
        elif path.startswith(CODE):
            await self._answer_code(exchange, path[len(CODE) :].decode("latin-1"), parameters)
        else:
            self._fail(exchange, 404, f"the service has no {path.decode('latin-1')}")

    async def _answer_logs(
        self, exchange: Exchange, caller: Caller, name: str, parameters: dict[str, list[str]]
    ) -> None:
        functions = caller.account.functions
        name = functions.address(name).name
        caller.authorize_logs(name)
        arn = functions.arn(name)
        group = await self._logs.recall(arn)
        if name not in functions and group is not None:
            # Perhaps it was deleted before this service was started.
            self._logs.function_deleted(arn)
        elif name not in functions:
            self._fail(exchange, 404, f"there is no function {name}")
            return
        try:
            after = int(parameters.get("after", ["-1"])[0])
            wait = min(float(parameters.get("wait", ["0"])[0]), WAIT_LIMIT_SECONDS)
        except ValueError:
            self._fail(exchange, 400, "after must be a number of a record, wait a number of seconds")
            return
        group = self._logs.group(arn)
        if group.last <= after and wait > 0:
            await self._wait_for_record(group, wait)
        lines: list[dict[str, Any]] = [
            {
                "sequence": line.sequence,
                "timestamp": int(line.timestamp * 1000),
                "logStreamName": line.stream,
                "message": line.message.decode("utf-8", "replace"),
            }
            for line in group.read(after, LOG_PAGE)
        ]
        # The next page begins behind this one, not behind what was written meanwhile.
        last = lines[-1]["sequence"] if lines else group.last
        self._send(exchange, 200, {"events": lines, "last": last})

    async def _wait_for_record(self, group: LogGroup, seconds: float) -> None:
        arrived = asyncio.Event()
        self._waiting.add(arrived)
        group.follow(arrived.set)
        try:
            await asyncio.wait_for(arrived.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            group.unfollow(arrived.set)
            self._waiting.discard(arrived)

    async def _answer_code(self, exchange: Exchange, name: str, parameters: dict[str, list[str]]) -> None:
        code_key = name.removesuffix(".zip")
        token, expires = (parameters.get(name, [""])[0] for name in ("token", "expires"))
        if not hmac.compare_digest(token.encode(), self._token(code_key, expires).encode()):
            self._fail(exchange, 403, "the link is not valid: ask GetFunction for a new one")
            return
        # Only now is it known to be a number: the token is for a text that was written here.
        if self._wall() >= int(expires):
            self._fail(exchange, 403, "the link has expired: ask GetFunction for a new one")
            return
        try:
            data = await asyncio.to_thread(Path(self._archive_path(code_key)).read_bytes)
        except FileNotFoundError:
            self._fail(exchange, 404, "the archive is gone: the function was changed or deleted")
            return
        if not exchange.gone:
            exchange.respond(answer(200, [(b"Content-Type", b"application/zip")], data))

    def _token(self, code_key: str, expires: str) -> str:
        return hmac.digest(self._secret, f"{code_key} {expires}".encode(), hashlib.sha256).hex()

    def _fail(self, exchange: Exchange, status: int, message: str) -> None:
        self._send(exchange, status, {"message": message})

    def _send(self, exchange: Exchange, status: int, value: object) -> None:
        if not exchange.gone:
            exchange.respond(answer(status, [JSON], json.dumps(value, separators=(",", ":")).encode()))
