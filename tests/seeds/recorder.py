"""A stand-in for Lambda: what is called is written down, and handlers answer by their names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from venturekit.runtime.invocation.errors import TargetNotFoundError, TransportError
from venturekit.runtime.invocation.request import EVENT, LambdaReply, LambdaRequest

if TYPE_CHECKING:
    from collections.abc import Callable


class Recorder:
    """Calls ``functions`` by their Lambda names."""

    def __init__(self) -> None:
        self.functions: dict[str, Callable[[Any, Any], Any]] = {}
        self.requests: list[LambdaRequest] = []
        self.is_down = False

    @property
    def last(self) -> LambdaRequest:
        return self.requests[-1]

    @property
    def event(self) -> Any:
        """What the last call sent."""
        return json.loads(self.last.payload)

    def invoke(self, request: LambdaRequest) -> LambdaReply:
        self.requests.append(request)
        if self.is_down:
            raise TransportError("nobody is there", target=request.function_name)
        function = self.functions.get(request.function_name)
        if function is None:
            raise TargetNotFoundError(f"no {request.function_name}", target=request.function_name)
        if request.invocation_type == EVENT:
            return LambdaReply(202, b"")
        return LambdaReply(200, json.dumps(function(json.loads(request.payload), None)).encode())

    async def ainvoke(self, request: LambdaRequest) -> LambdaReply:
        return self.invoke(request)
