"""Calls over HTTP, without an SDK: connections are kept, requests are signed where there are keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from venturekit.runtime.invocation.errors import InvokeError, InvokeTimeoutError, TransportError
from venturekit.runtime.invocation.request import EVENT, LambdaReply, LambdaRequest, error_of_reply
from venturekit.runtime.invocation.signed_http import SignedHttp
from venturekit.transport.errors import AnswerTimeoutError, ConnectError, ExchangeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.transport.connections import HttpResponse
    from venturekit.transport.endpoint import Endpoint


class HttpInvoker:
    """A LambdaInvoker of an endpoint. ``credentials()`` gives the keys to sign with, or None: then it is not signed."""

    def __init__(self, endpoint: Endpoint, *, region: str, credentials: Callable[[], Credentials | None]) -> None:
        self._http = SignedHttp(endpoint, region=region, credentials=credentials)

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError."""
        try:
            response = self._http.post(_path(request), _headers(request), request.payload, request.timeout_seconds)
        except ExchangeError as problem:
            raise self._failure(request, problem) from problem
        return _reply(request, response)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call on the event loop. Raises InvokeError."""
        path, headers = _path(request), _headers(request)
        try:
            response = await self._http.apost(path, headers, request.payload, request.timeout_seconds)
        except ExchangeError as problem:
            raise self._failure(request, problem) from problem
        return _reply(request, response)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._http.close()

    def _failure(self, request: LambdaRequest, problem: ExchangeError) -> InvokeError:
        target = request.function_name
        endpoint = self._http.endpoint
        where = f"{endpoint.scheme}://{endpoint.authority}"
        if isinstance(problem, AnswerTimeoutError):
            message = f"{target} at {where} has not answered within {request.timeout_seconds:.1f} s"
            return InvokeTimeoutError(message, target=target)
        # Without a connection nothing was sent, so the function has not run: never a timeout of the call.
        if isinstance(problem, ConnectError):
            why = "no connection in time" if problem.is_timeout else problem.reason
        else:
            why = str(problem)
        return TransportError(f"{target} could not be invoked at {where}: {why}", target=target)


def _path(request: LambdaRequest) -> str:
    from urllib.parse import quote

    return f"/2015-03-31/functions/{quote(request.function_name, safe='')}/invocations"


def _headers(request: LambdaRequest) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "X-Amz-Invocation-Type": request.invocation_type}
    if request.client_context is not None:
        from binascii import b2a_base64

        context = b2a_base64(request.client_context.encode(), newline=False).decode()
        headers["X-Amz-Client-Context"] = context
    if request.trace is not None:
        headers["X-Amzn-Trace-Id"] = request.trace
    return headers


def _reply(request: LambdaRequest, response: HttpResponse) -> LambdaReply:
    wanted = 202 if request.invocation_type == EVENT else 200
    if response.status != wanted:
        raise error_of_reply(request.function_name, response.status, response.headers, response.body)
    return LambdaReply(response.status, response.body, response.headers.get("x-amz-function-error"))
