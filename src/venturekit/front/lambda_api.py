"""The calls of the Lambda API, and of the service's own pages, that the front process makes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from venturekit.front.http_client import ServerGoneError
from venturekit.protocol.sigv4_signer import sign_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.front.http_client import HttpClient, Response, StreamedResponse
    from venturekit.protocol.sigv4_signer import Credentials

INLINE_HASH_BYTES: Final = 256 * 1024
"""Larger bodies are hashed by a thread, so that others need not wait."""
URLS: Final = "/_venturekit/function-urls"
WEBSOCKETS: Final = "/_venturekit/websocket-apis"
TARGETS_LIMIT: Final = 10_000
# What selects the caller where signatures are not checked.
_UNSIGNED: Final = (
    "AWS4-HMAC-SHA256 Credential={key}/20200101/{region}/lambda/aws4_request, SignedHeaders=host, Signature=0"
)


class LambdaApi:
    """A client of one service. ``signs`` tells whether it checks signatures; ``wall`` gives epoch seconds."""

    def __init__(
        self,
        client: HttpClient,
        *,
        host: str,
        credentials: Credentials,
        region: str,
        signs: bool,
        wall: Callable[[], float],
    ) -> None:
        self._client = client
        self._host = host
        self._credentials = credentials
        self._region = region
        self._signs = signs
        self._wall = wall
        authorization = _UNSIGNED.format(key=credentials.access_key_id, region=region)
        self._unsigned_end = f" HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\n".encode()
        self._targets: dict[tuple[str, bool], str] = {}

    async def invoke(self, function_arn: str, event: bytes, request_id: str, trace: str) -> Response:
        """Invoke. Raises as the client does."""
        target = self._target(function_arn, streams=False)
        return await self._client.request(await self._head("POST", target, event, _ids(request_id, trace)), event)

    async def invoke_streamed(self, function_arn: str, event: bytes, request_id: str, trace: str) -> StreamedResponse:
        """InvokeWithResponseStream. Raises as the client does."""
        target = self._target(function_arn, streams=True)
        return await self._client.stream(await self._head("POST", target, event, _ids(request_id, trace)), event)

    async def urls(self, after: int, wait_seconds: float) -> dict[str, Any]:
        """What has changed in the table of function URLs. Raises ServerGoneError."""
        target = f"{URLS}?after={after}&wait={wait_seconds:g}"
        return _document(await self._client.request(await self._head("GET", target, b"", "")))

    async def authorize(self, url_id: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Whether a signed request to a function URL is allowed, and who sent it; None if the URL is gone.

        Raises ServerGoneError.
        """
        return await self._authorize(URLS, url_id, request)

    async def authorize_connection(self, api_id: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Whether a request about a WebSocket connection is allowed; None if its API is gone.

        Raises ServerGoneError.
        """
        return await self._authorize(WEBSOCKETS, api_id, request)

    async def _authorize(self, where: str, identifier: str, request: Mapping[str, Any]) -> dict[str, Any] | None:
        body = json.dumps(request, separators=(",", ":"), ensure_ascii=False).encode()
        target = f"{where}/{quote(identifier, safe='')}/authorize"
        response = await self._client.request(await self._head("POST", target, body, ""), body)
        return None if response.status == 404 else _document(response)

    def _target(self, function_arn: str, *, streams: bool) -> str:
        key = function_arn, streams
        target = self._targets.get(key)
        if target is None:
            name = quote(function_arn, safe="")
            target = (
                f"/2021-11-15/functions/{name}/response-streaming-invocations"
                if streams
                else f"/2015-03-31/functions/{name}/invocations"
            )
            if len(self._targets) >= TARGETS_LIMIT:
                self._targets.clear()
            self._targets[key] = target
        return target

    async def _head(self, method: str, target: str, body: bytes, lines: str) -> bytes:
        """The head of a request. ``lines`` are headers that are not signed, each with its line end."""
        if not self._signs:
            start = f"{method} {target}".encode() + self._unsigned_end
            return start + f"{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        headers = {"Host": self._host}
        if len(body) > INLINE_HASH_BYTES:
            headers["x-amz-content-sha256"] = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        now = datetime.fromtimestamp(self._wall(), UTC)
        headers |= sign_headers(method, target, headers, body, self._credentials, region=self._region, now=now)
        given = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{method} {target} HTTP/1.1\r\n{given}{lines}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")


def _ids(request_id: str, trace: str) -> str:
    return f"x-amzn-RequestId: {request_id}\r\nX-Amzn-Trace-Id: {trace}\r\n"


def _document(response: Response) -> dict[str, Any]:
    if response.status != 200:
        raise ServerGoneError(f"the service answered {response.status}: {response.body[:300]!r}")
    document: dict[str, Any] = json.loads(response.body)
    return document
