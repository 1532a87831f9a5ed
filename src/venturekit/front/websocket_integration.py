"""Functions as the integrations of WebSocket routes: the invocation, its bound, and what its result means."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import orjson

from venturekit.front import identifiers
from venturekit.front.http_client import ServerGoneError, TooManyRequestsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.front.lambda_api import LambdaApi
    from venturekit.front.websocket_api import Route
    from venturekit.front.websocket_limits import WebSocketLimits

logger = logging.getLogger("venturekit.front")
COMPLAINTS_LIMIT: Final = 1000
OK: Final = 200


class Failure(Enum):
    """Why there is no answer; the value is the status of a handshake that fails for it."""

    FUNCTION = 502
    INVOCATION = 500
    TIMEOUT = 504


class FunctionAnswer:
    """What a function has answered. ``body`` is a text, or bytes if it was in base64, or None if there is none."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: str | bytes | None) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class InvalidAnswerError(ValueError):
    """The result of a function is no answer; the text says what is wrong with it."""


class Integrations:
    """Invokes the functions of routes, ``limits.integrations`` at once; ``wall`` gives epoch seconds."""

    def __init__(self, api: LambdaApi, limits: WebSocketLimits, wall: Callable[[], float]) -> None:
        self._api = api
        self._seconds = limits.integration_timeout_ms / 1000
        self._turns = asyncio.Semaphore(limits.integrations)
        self._wall = wall
        self._complained: set[tuple[str, str]] = set()

    async def call(self, route: Route, event: Mapping[str, Any], trace: str | None = None) -> FunctionAnswer | Failure:
        """Invoke the function of a route. Its time runs from when its turn has come."""
        drawn = identifiers.draw()
        request_id = identifiers.request_id(drawn)
        trace = trace or identifiers.trace(drawn, self._wall())
        async with self._turns:
            try:
                async with asyncio.timeout(self._seconds):
                    response = await self._api.invoke(route.function_arn, orjson.dumps(event), request_id, trace)
            except TimeoutError:
                self._complain(route, f"did not answer within {self._seconds:g} s")
                return Failure.TIMEOUT
            except (ServerGoneError, TooManyRequestsError) as error:
                self._complain(route, f"cannot be invoked: {error}")
                return Failure.INVOCATION
        if response.status != OK:
            shown = response.body[:300].decode("utf-8", "replace")
            self._complain(route, f"cannot be invoked: {response.status} {shown}")
            return Failure.INVOCATION
        if b"x-amz-function-error" in response.headers:
            return Failure.FUNCTION
        try:
            return read_answer(response.body)
        except InvalidAnswerError as error:
            self._complain(route, f"has answered what is no answer to a WebSocket route: {error}")
            return Failure.FUNCTION

    def _complain(self, route: Route, what: str) -> None:
        """Say once what is wrong: the client is told of an internal error only."""
        if len(self._complained) >= COMPLAINTS_LIMIT:
            self._complained.clear()
        if (route.function_arn, what) not in self._complained:
            self._complained.add((route.function_arn, what))
            logger.warning("WebSocket route %s: the function %s %s", route.key, route.function_arn, what)


def read_answer(result: bytes) -> FunctionAnswer:
    """The answer in a function's result. Raises InvalidAnswerError.

    Source: API Gateway Developer Guide, "Set up Lambda proxy integrations", the output format.
    """
    try:
        found = orjson.loads(result)
    except ValueError:
        raise InvalidAnswerError("it is no JSON") from None
    if not isinstance(found, dict) or "statusCode" not in found:
        raise InvalidAnswerError('it must be an object with "statusCode", such as {"statusCode": 200}')
    status = found["statusCode"]
    if isinstance(status, str) and status.isascii() and status.isdigit():
        status = int(status[:4])
    if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
        raise InvalidAnswerError("statusCode must be a number from 100 to 599")
    given = found.get("headers") or {}
    if not isinstance(given, dict):
        raise InvalidAnswerError("headers must be an object")
    headers = {str(name).lower(): str(value) for name, value in given.items()}
    return FunctionAnswer(status, headers, _body_of(found))


def _body_of(found: Mapping[str, Any]) -> str | bytes | None:
    body = found.get("body")
    if body is None:
        return None
    if not isinstance(body, str):
        raise InvalidAnswerError("body must be a text: write json.dumps(...)")
    if found.get("isBase64Encoded") is not True:
        return body
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise InvalidAnswerError("isBase64Encoded is true, and body is no base64") from None
