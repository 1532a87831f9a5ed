"""Who carries a call: to AWS, to a Lambda service of one's own, to a dev server, or by a boto3 client.

Source: seed 000, "Custom Invoker"; seed 001, ``createLocalInvoker`` and ``VENTURE_LOCAL_URLS``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime import environ
from venturekit.runtime.invocation.errors import InvokeError, InvokeTimeoutError, TransportError
from venturekit.runtime.invocation.http_transport import HttpInvoker
from venturekit.runtime.invocation.request import LambdaReply, LambdaRequest, error_of_reply
from venturekit.transport.endpoint import parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.runtime.invocation.request import LambdaInvoker

DEFAULT_REGION: Final = "us-east-1"


class InvokerConfigError(ValueError):
    """A call has nowhere to go; the text says what to set."""


def create_lambda_invoker(
    *,
    region: str | None = None,
    endpoint_url: str | None = None,
    credentials: Credentials | None = None,
    client: Any = None,
) -> LambdaInvoker:
    """An invoker of the Lambda API (seed 000)::

        invoker = create_lambda_invoker(region="eu-west-1")

    ``endpoint_url`` is where it is if not at AWS; without it ``AWS_ENDPOINT_URL_LAMBDA`` and ``AWS_ENDPOINT_URL`` say.
    Keys come from ``credentials``, else from the environment, where Lambda puts a function's own. With ``client``, a
    client that boto3 has made, that one carries the calls and knows all this itself.

    Raises InvokerConfigError without a region.
    """
    if client is not None:
        return ClientInvoker(client)
    url = endpoint_url or environ.lambda_endpoint()
    known_region = region or environ.region() or (DEFAULT_REGION if url else None)
    if known_region is None:
        raise InvokerConfigError("no region: give region=, or set AWS_REGION")
    suffix = "amazonaws.com.cn" if known_region.startswith("cn-") else "amazonaws.com"
    endpoint = parse_endpoint(url or f"https://lambda.{known_region}.{suffix}")
    return HttpInvoker(endpoint, region=known_region, credentials=lambda: credentials or _environment_credentials())


def create_local_invoker(urls: Mapping[str, str] | None = None) -> LambdaInvoker:
    """An invoker of dev servers, one for each project (seed 001); ``VENTURE_LOCAL_URLS`` unless ``urls`` are given::

        invoker = create_local_invoker({"billing": "http://localhost:3001"})

    A dev server answers ``POST /2015-03-31/functions/{name}/invocations`` as Lambda does. The name of a function begins
    with its project's; of several projects that fit the longest counts. Raises InvokerConfigError without any server.
    """
    known = environ.local_urls() if urls is None else urls
    if not known:
        raise InvokerConfigError('no dev server is known: set VENTURE_LOCAL_URLS="app=http://localhost:3000"')
    return LocalInvoker(known)


class LocalInvoker:
    """Calls to the dev servers of several projects."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._invokers = {
            project: HttpInvoker(parse_endpoint(url), region=DEFAULT_REGION, credentials=lambda: None)
            for project, url in sorted(urls.items(), key=lambda item: -len(item[0]))
        }

    def find(self, function_name: str) -> HttpInvoker | None:
        """The invoker of the project that a function belongs to, or None."""
        return next(
            (invoker for project, invoker in self._invokers.items() if function_name.startswith(f"{project}-")), None
        )

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError."""
        return self._of(request).invoke(request)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call on the event loop. Raises InvokeError."""
        return await self._of(request).ainvoke(request)

    def close(self) -> None:
        """Close the connections that are kept."""
        for invoker in self._invokers.values():
            invoker.close()

    def _of(self, request: LambdaRequest) -> HttpInvoker:
        found = self.find(request.function_name)
        if found is None:
            raise TransportError(
                f"no dev server is known for {request.function_name}, but for {', '.join(self._invokers)}",
                target=request.function_name,
            )
        return found


class DefaultInvoker:
    """The dev server of the function's project, else ``AWS_ENDPOINT_URL_LAMBDA``, else AWS: found when first needed."""

    def __init__(self) -> None:
        urls = environ.local_urls()
        self._local = LocalInvoker(urls) if urls else None
        self._lambda: LambdaInvoker | None = None

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError, InvokerConfigError."""
        return self._of(request).invoke(request)

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call on the event loop. Raises InvokeError, InvokerConfigError."""
        return await self._of(request).ainvoke(request)

    def close(self) -> None:
        """Close the connections that are kept."""
        for invoker in (self._local, self._lambda):
            close = getattr(invoker, "close", None)
            if close is not None:
                close()

    def _of(self, request: LambdaRequest) -> LambdaInvoker:
        local = self._local.find(request.function_name) if self._local is not None else None
        if local is not None:
            return local
        if environ.is_local() and environ.lambda_endpoint() is None:
            # A test run on somebody's machine must not reach their production by a missing variable.
            raise InvokerConfigError(
                f"VENTURE_LOCAL is set, but no dev server is known for {request.function_name}: add its project to "
                "VENTURE_LOCAL_URLS, or set AWS_ENDPOINT_URL_LAMBDA"
            )
        if self._lambda is None:
            self._lambda = create_lambda_invoker()
        return self._lambda


class ClientInvoker:
    """Calls by a client that boto3 made. Its own retries hold, and its own timeouts where they are shorter.

    A client that blocks cannot be interrupted, so each call has a thread, which is left behind when there is no more
    time to wait.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call. Raises InvokeError."""
        try:
            return self._begun(request).result(request.timeout_seconds)
        except InvokeError:
            raise
        except TimeoutError:
            raise _too_late(request) from None

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        """Make the call, and let the event loop go on. Raises InvokeError."""
        import asyncio

        try:
            async with asyncio.timeout(request.timeout_seconds):
                return await asyncio.wrap_future(self._begun(request))
        except InvokeError:
            raise
        except TimeoutError:
            raise _too_late(request) from None

    def _begun(self, request: LambdaRequest) -> Future[LambdaReply]:
        """What a thread of its own will have brought."""
        from concurrent.futures import Future
        from contextvars import copy_context
        from threading import Thread

        outcome: Future[LambdaReply] = Future()
        # It cannot be cancelled any more: whoever stops waiting leaves it.
        outcome.set_running_or_notify_cancel()

        def call() -> None:
            try:
                outcome.set_result(self._call(request))
            except BaseException as problem:
                outcome.set_exception(problem)

        Thread(target=copy_context().run, args=(call,), name="invoke", daemon=True).start()
        return outcome

    def _call(self, request: LambdaRequest) -> LambdaReply:
        arguments: dict[str, Any] = {
            "FunctionName": request.function_name,
            "InvocationType": request.invocation_type,
            "Payload": request.payload,
        }
        if request.client_context is not None:
            from binascii import b2a_base64

            arguments["ClientContext"] = b2a_base64(request.client_context.encode(), newline=False).decode()
        try:
            answer = self._client.invoke(**arguments)
            payload = answer["Payload"].read()
        except Exception as problem:
            raise _client_error(request.function_name, problem) from problem
        return LambdaReply(answer["StatusCode"], payload, answer.get("FunctionError"))


def _too_late(request: LambdaRequest) -> InvokeTimeoutError:
    message = f"{request.function_name} has not answered within {request.timeout_seconds:.1f} s"
    return InvokeTimeoutError(message, target=request.function_name)


def _client_error(target: str, problem: Exception) -> InvokeError:
    """botocore's exceptions by their form: importing them to look would take longer than the call."""
    response = getattr(problem, "response", None)
    if isinstance(response, dict) and "Error" in response:
        error = response["Error"]
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        import json

        body = json.dumps({"Message": error.get("Message", "")}).encode()
        return error_of_reply(target, status, {"x-amzn-errortype": error.get("Code", "")}, body)
    if "Timeout" in type(problem).__name__:
        return InvokeTimeoutError(f"{target} has not answered in time: {problem}", target=target)
    return TransportError(f"{target} could not be invoked: {problem}", target=target)


def _environment_credentials() -> Credentials | None:
    found = environ.credentials()
    if found is None:
        return None
    from venturekit.protocol.sigv4_signer import Credentials

    return Credentials(*found)
