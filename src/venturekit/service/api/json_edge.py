"""One request of an AWS service with the protocol ``json``, version 1.1: the operation's name is in a header.

Source: Smithy, "AWS JSON 1.1 protocol".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.api.edge import INTERNAL_MESSAGE, Answer
from venturekit.service.api.errors import ApiError, header_value, json_bytes
from venturekit.service.api.operations import Match
from venturekit.service.api.parse import parse_request
from venturekit.service.api.serialize import serialize_output
from venturekit.service.api.validate import find_violations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from venturekit.service.api.model import Operation, ServiceModel

TARGET: Final = b"x-amz-target"
CONTENT_TYPE: Final = (b"Content-Type", b"application/x-amz-json-1.1")
SHOWN_CHARACTERS: Final = 256
REQUEST_LIMIT_BYTES: Final = 262_144


class JsonEdge:
    """Answers requests by some operations of a service model, which is read when it is first needed.

    ``prefix`` is what stands before the operation in the header. ``page`` says where is listed what is ``served``.
    ``report`` gets every exception that is not an :class:`ApiError`.
    """

    __slots__ = ("_model", "_page", "_prefix", "_report", "_served")

    def __init__(
        self,
        model: Callable[[], ServiceModel],
        *,
        prefix: str,
        served: Collection[str],
        page: str,
        report: Callable[[BaseException], None],
    ) -> None:
        self._model = model
        self._prefix = f"{prefix}.".encode()
        self._served = frozenset(served)
        self._page = page
        self._report = report

    def handles(self, method: bytes, target: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a request is for this service."""
        return target == b"/" and method == b"POST" and headers.get(TARGET, b"").startswith(self._prefix)

    async def answer(
        self,
        headers: Mapping[bytes, bytes],
        body: bytes | bytearray | None,
        request_id: str,
        perform: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> Answer:
        """The answer to a request; ``body`` None is one that was too large to be read.

        ``perform(operation, members)`` gives the output members. Never raises :class:`Exception`.
        """
        try:
            operation = await self._operation(headers[TARGET][len(self._prefix) :].decode("latin-1"))
            if body is None or len(body) > REQUEST_LIMIT_BYTES:
                text = f"Request must be smaller than {REQUEST_LIMIT_BYTES} bytes for the {operation.name} operation"
                raise ApiError("RequestEntityTooLargeException", text, status=413)
            members = parse_request(Match(operation, {}, []), headers, body)
            violations = find_violations(operation, members)
            if violations:
                raise _invalid(violations)
            output = await perform(operation.name, members)
            # A page may have ten thousand events.
            status, _, text_bytes = await asyncio.to_thread(serialize_output, operation, output)
            return Answer(status, [CONTENT_TYPE, (b"x-amzn-RequestId", header_value(request_id))], text_bytes)
        except ApiError as error:
            return render_json_error(error, request_id)
        except Exception as error:
            self._report(error)
            return render_json_error(ApiError("InternalFailure", INTERNAL_MESSAGE, status=500), request_id)

    async def _operation(self, name: str) -> Operation:
        model = await asyncio.to_thread(self._model)
        operation = model.operations.get(name)
        if operation is None:
            raise ApiError("UnknownOperationException", f"There is no operation {name[:SHOWN_CHARACTERS]}", status=400)
        if name not in self._served:
            served = ", ".join(sorted(self._served))
            text = f"The operation {name} is not served here: {served} are. {self._page} says more."
            raise ApiError("NotImplementedException", text, status=501)
        return operation


def render_json_error(error: ApiError, request_id: str) -> Answer:
    """An error in the form of the protocol: its code is the member ``__type``."""
    headers = [
        CONTENT_TYPE,
        (b"x-amzn-RequestId", header_value(request_id)),
        (b"x-amzn-ErrorType", header_value(error.code)),
    ]
    return Answer(error.status, headers, json_bytes({"__type": error.code, "message": error.message}))


def _invalid(violations: list[str]) -> ApiError:
    """Recorded at CloudWatch Logs: violations of the model are InvalidParameterException there."""
    noun = "validation error" if len(violations) == 1 else "validation errors"
    text = f"{len(violations)} {noun} detected: {'; '.join(violations)}"
    return ApiError("InvalidParameterException", text, status=400)
