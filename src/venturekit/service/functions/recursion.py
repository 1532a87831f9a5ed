"""What happens when a function calls itself in a loop: the setting.

Loops are detected by the lineage in trace headers (``protocol/lineage.py``), where a function is about to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane
    from venturekit.service.functions.registry import Function

RECURSIVE_LOOP: Final = "recursiveLoop"
"""The member of a function's settings; absent, it means ``Terminate``."""
TERMINATE: Final = "Terminate"
ALLOW: Final = "Allow"


def recursion_allowed(function: Function) -> bool:
    """Whether the function runs on in a loop, which otherwise is stopped after 16 rounds."""
    return function.settings.get(RECURSIVE_LOOP) == ALLOW


class RecursionOperations:
    """PutFunctionRecursionConfig, GetFunctionRecursionConfig."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        operations.serve("PutFunctionRecursionConfig")(self.put_function_recursion_config)
        operations.serve("GetFunctionRecursionConfig")(self.get_function_recursion_config)

    async def put_function_recursion_config(self, call: Call) -> Mapping[str, Any]:
        """PutFunctionRecursionConfig: ``Allow`` or ``Terminate``."""
        return await self._plane.tasks.complete(self._put(call.members))

    async def _put(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        plane = self._plane
        name = plane.unqualified_name(members)
        wanted = members["RecursiveLoop"]
        async with plane.lock(name):
            function = plane.registry.function(name)
            changed = function.with_setting(RECURSIVE_LOOP, None if wanted == TERMINATE else wanted)
            await plane.commit(function, changed)
        return {"RecursiveLoop": wanted}

    async def get_function_recursion_config(self, call: Call) -> Mapping[str, Any]:
        """GetFunctionRecursionConfig."""
        plane = self._plane
        function = plane.registry.function(plane.unqualified_name(call.members))
        return {"RecursiveLoop": function.settings.get(RECURSIVE_LOOP, TERMINATE)}
