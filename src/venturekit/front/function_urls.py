"""Answers requests to function URLs: who may, the event, the invocation, and the response."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

import orjson

from venturekit.front import answers, identifiers
from venturekit.front.call import ClientGoneError
from venturekit.front.http_client import ServerGoneError, TooManyRequestsError
from venturekit.front.response_stream import forward
from venturekit.protocol.cors import is_preflight
from venturekit.protocol.http_event import EventContext, HttpRequest, http_event
from venturekit.protocol.http_response import InvalidHttpResponseError, PreludeParser, http_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.front.answers import Answer
    from venturekit.front.call import Call
    from venturekit.front.feed import Feed
    from venturekit.front.http_client import Response
    from venturekit.front.lambda_api import LambdaApi
    from venturekit.front.table import FunctionUrl, UrlTable
    from venturekit.protocol.http_response import HttpResponse

logger = logging.getLogger("venturekit.front")
INLINE_HASH_BYTES: Final = 256 * 1024
COMPLAINTS_LIMIT: Final = 1000
TRACE_LIMIT: Final = 1024
# What says how a request came here is written here.
_REPLACED: Final = frozenset(("x-forwarded-for", "x-forwarded-port", "x-forwarded-proto", "x-amzn-trace-id"))
_SEPARATOR: Final = bytes(8)


class FunctionUrls:
    """Function URLs below ``domain``. ``port`` and ``scheme`` are how clients reach them, ``wall`` epoch seconds."""

    def __init__(
        self,
        table: UrlTable,
        feed: Feed,
        api: LambdaApi,
        *,
        domain: str,
        port: int,
        scheme: str,
        wall: Callable[[], float],
    ) -> None:
        self._table = table
        self._feed = feed
        self._api = api
        self._domain = domain
        self._wall = wall
        self._forwarded = (("x-forwarded-proto", scheme), ("x-forwarded-port", str(port)))
        self._complained: dict[str, int] = {}

    async def answer(self, call: Call) -> None:
        """Answer a request."""
        try:
            await self._answer(call)
        except ServerGoneError as error:
            logger.warning("function URL %s: %s", call.address.url_id, error)
            await call.answer(answers.UNAVAILABLE)
        except TooManyRequestsError:
            await call.answer(answers.THROTTLED)
        except ClientGoneError:
            pass

    async def _answer(self, call: Call) -> None:
        call.url = url = await self._find(call)
        if url is None:
            await self._refuse(call, answers.UNKNOWN_URL)
        elif url.cors is not None and is_preflight(call.method, call.headers):
            await self._answer_preflight(call)
        elif not url.needs_signature and not url.public_allowed:
            self._complain(url)
            await self._refuse(call, answers.FORBIDDEN)
        else:
            body = await call.body()
            if body is None:
                await call.answer(answers.TOO_LARGE, close=True)
                return
            authorizer = await self._authorizer(call, url, body) if url.needs_signature else None
            if isinstance(authorizer, answers.Answer):
                await call.answer(authorizer)
            else:
                await self._invoke(call, url, body, authorizer)

    # --- who may --------------------------------------------------------------------------------------------------

    async def _find(self, call: Call) -> FunctionUrl | None:
        """The URL. One that is not known, or lets nobody in, may be so only since a moment ago."""
        url = self._table.find(call.address.url_id)
        if url is None or not (url.needs_signature or url.public_allowed):
            await self._feed.refresh()
            url = self._table.find(call.address.url_id)
        return url

    async def _answer_preflight(self, call: Call) -> None:
        assert call.url is not None
        assert call.url.cors is not None
        headers = call.headers
        asked = headers.get("access-control-request-headers")
        lines = call.url.cors.preflight_lines(headers["origin"], headers["access-control-request-method"], asked)
        head = [(b"content-type", answers.JSON), (b"x-amzn-requestid", call.request_id.encode())]
        await call.respond(200, [*head, *lines], b"")

    async def _authorizer(self, call: Call, url: FunctionUrl, body: bytes) -> dict[str, Any] | Answer:
        """Who signed the request, or what to answer if nobody did who may call this URL."""
        if len(body) > INLINE_HASH_BYTES:
            digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
        else:
            digest = hashlib.sha256(body).hexdigest()
        scope = call.scope
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        decision = await self._api.authorize(
            url.id,
            {
                "method": call.method,
                "target": f"{path}?{query}" if query else path,
                "headers": call.pairs,
                "bodySha256": digest,
            },
        )
        if decision is None:
            return answers.UNKNOWN_URL
        if decision["allowed"]:
            return {"iam": decision["identity"]}
        logger.info("function URL %s refuses a request: %s", url.id, decision["reason"])
        return answers.FORBIDDEN

    async def _refuse(self, call: Call, answer: Answer) -> None:
        """Answer a request whose body nobody wants."""
        complete = await call.drop_body()
        await call.answer(answer, close=not complete)

    def _complain(self, url: FunctionUrl) -> None:
        """Say once why a URL answers 403: its caller is not told."""
        if self._complained.get(url.id) == url.revision:
            return
        if len(self._complained) >= COMPLAINTS_LIMIT:
            self._complained.clear()
        self._complained[url.id] = url.revision
        logger.warning("function URL %s answers 403: %s (see docs/function-urls.md)", url.id, url.refusal)

    # --- the invocation -------------------------------------------------------------------------------------------

    async def _invoke(self, call: Call, url: FunctionUrl, body: bytes, authorizer: Mapping[str, Any] | None) -> None:
        trace = self._trace(call)
        event = orjson.dumps(self._event(call, url, body, authorizer, trace))
        if len(event) > answers.REQUEST_LIMIT_BYTES:
            await call.answer(answers.TOO_LARGE)
        elif url.streams:
            await forward(call, await self._api.invoke_streamed(url.function_arn, event, call.request_id, trace))
        else:
            await self._respond(call, await self._api.invoke(url.function_arn, event, call.request_id, trace))

    def _event(
        self, call: Call, url: FunctionUrl, body: bytes, authorizer: Mapping[str, Any] | None, trace: str
    ) -> dict[str, Any]:
        scope = call.scope
        source_ip = scope["client"][0] if scope["client"] else "127.0.0.1"
        came_by = call.headers.get("x-forwarded-for")
        headers = [
            *[pair for pair in call.pairs if pair[0] not in _REPLACED],
            ("x-amzn-trace-id", trace.partition(";Parent=")[0]),
            ("x-forwarded-for", f"{came_by}, {source_ip}" if came_by else source_ip),
            *self._forwarded,
        ]
        request = HttpRequest(
            method=call.method,
            path=call.address.path,
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=body,
            source_ip=source_ip,
            protocol=f"HTTP/{scope['http_version']}",
        )
        context = EventContext(
            request_id=call.request_id,
            time_epoch_ms=int(self._wall() * 1000),
            api_id=url.id,
            domain_name=f"{url.id}.{self._domain}",
            account_id="anonymous" if authorizer is None else url.account_id,
            authorizer=authorizer,
        )
        return http_event(request, context)

    def _trace(self, call: Call) -> str:
        """The trace of the invocation: the client's, so that loops of calls are seen, else a new one."""
        given = call.headers.get("x-amzn-trace-id", "")
        if "Root=" in given and given.isascii() and given.isprintable() and len(given) <= TRACE_LIMIT:
            return given
        return identifiers.trace(call.drawn, self._wall())

    async def _respond(self, call: Call, response: Response) -> None:
        if response.status != 200:
            await call.refused(response.status, response.body)
        elif b"x-amz-function-error" in response.headers:
            await call.answer(answers.BAD_GATEWAY)
        else:
            try:
                made = read_response(response.body)
            except InvalidHttpResponseError as error:
                await call.invalid(error)
                return
            lines = call.response_lines(made, response.headers.get(b"x-amzn-trace-id"))
            await call.respond(made.status, lines, made.body)


def read_response(result: bytes) -> HttpResponse:
    """The response in a function's result. Raises InvalidHttpResponseError.

    A streamed response that was collected may begin with a prelude (choice): its function need not know how its URL is
    configured.
    """
    try:
        return http_response(result)
    except InvalidHttpResponseError:
        parsed = PreludeParser().feed(result) if result[:1] == b"{" and _SEPARATOR in result else None
        if parsed is None:
            raise
        return parsed
