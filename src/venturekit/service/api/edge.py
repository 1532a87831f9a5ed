"""One request of the Lambda API from its parts to its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.api.errors import ApiError, api_error, header_value, render_error
from venturekit.service.api.parse import parse_request
from venturekit.service.api.quirks import request_limit_bytes, request_too_large
from venturekit.service.api.registry import Call
from venturekit.service.api.serialize import serialize_output
from venturekit.service.api.validate import validate_members

if TYPE_CHECKING:
    from venturekit.service.api.operations import Match, OperationTable
    from venturekit.service.api.registry import Registry

INTERNAL_MESSAGE = "The service failed while it answered this request; its log has the cause."
INLINE_PARSE_BYTES: Final = 256 * 1024
"""Parsing a larger body would hold up everybody else for too long."""

Authorize = Callable[[str, Mapping[str, Any]], None]


def _allow(_operation: str, _members: Mapping[str, Any]) -> None:
    """No access control."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body as they go out. ``Content-Length`` and ``Date`` are the listener's."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Edge:
    """Answers requests by the operations of ``table``.

    ``report`` gets every exception that is not an :class:`ApiError`, with its traceback; the caller never sees it.
    """

    __slots__ = ("_report", "_table")

    def __init__(self, table: OperationTable, *, report: Callable[[BaseException], None]) -> None:
        self._table = table
        self._report = report

    async def answer(
        self,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes | bytearray,
        request_id: str,
        *,
        operations: Callable[[], Registry],
        authorize: Authorize = _allow,
    ) -> Answer:
        """The answer to a request by the handlers of ``operations()``; ``headers`` has lower-case names.

        ``authorize(operation, members)`` raises for what the caller may not do; it is asked after the members were
        found valid, for they name what it is about.

        Never raises :class:`Exception`: an :class:`ApiError` becomes its answer, anything else a 500 ServiceException.
        """
        try:
            match = self._table.match(method.decode("latin-1"), target)
            return await self._perform(match, headers, body, request_id, operations, authorize)
        except ApiError as error:
            return render_answer(error, request_id)
        except Exception as error:
            self._report(error)
            return render_answer(api_error("ServiceException", INTERNAL_MESSAGE), request_id)

    def request_limit_bytes(self, method: bytes, target: bytes) -> int:
        """The largest body this request may have, in bytes: known before the body is read.

        Raises :class:`ApiError` when no operation has this address.
        """
        return request_limit_bytes(self._table.match(method.decode("latin-1"), target).operation.name)

    def refuse_body(self, method: bytes, target: bytes, request_id: str) -> Answer:
        """The answer to a request whose body was not read because it is over its limit."""
        try:
            operation = self._table.match(method.decode("latin-1"), target).operation
        except ApiError as error:
            return render_answer(error, request_id)
        return render_answer(api_error(*request_too_large(operation.name)), request_id)

    async def _perform(
        self,
        match: Match,
        headers: Mapping[bytes, bytes],
        body: bytes | bytearray,
        request_id: str,
        operations: Callable[[], Registry],
        authorize: Authorize,
    ) -> Answer:
        operation = match.operation
        handler = operations().handler(operation.name)
        if handler is None:
            raise api_error(
                "NotImplementedException",
                f"The operation {operation.name} is not served here: {operations().status(operation.name).reason}. "
                "docs/compatibility.md lists what is.",
            )
        if len(body) > request_limit_bytes(operation.name):
            raise api_error(*request_too_large(operation.name))
        if len(body) <= INLINE_PARSE_BYTES:
            members = parse_request(match, headers, body)
        else:
            import asyncio  # this package is also read where no loop runs

            members = await asyncio.to_thread(parse_request, match, headers, body)
            # Who asks may meanwhile have got other handlers, on other state: an account that was let go is made anew.
            handler = operations().handler(operation.name) or handler
        validate_members(operation, members)
        authorize(operation.name, members)
        output = await handler(Call(operation.name, members, request_id))
        status, output_headers, output_body = serialize_output(operation, output)
        return Answer(status, [*output_headers, (b"x-amzn-RequestId", header_value(request_id))], output_body)


def render_answer(error: ApiError, request_id: str) -> Answer:
    """The answer that an error is."""
    return Answer(*render_error(error, request_id))
