"""What happens when a function calls itself in a loop: the setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.api.registry import Call, Registry
    from venturekit.service.functions.plane import ControlPlane

RECURSIVE_LOOP: Final = "recursiveLoop"
"""The member of a function's settings; absent, it means ``Terminate``."""
TERMINATE: Final = "Terminate"


class RecursionOperations:
    """PutFunctionRecursionConfig, GetFunctionRecursionConfig."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def register(self, operations: Registry) -> None:
        """Serve these operations."""
        partly = "the setting is kept; loops are not detected yet"
        operations.serve("PutFunctionRecursionConfig", partly=partly)(self.put_function_recursion_config)
        operations.serve("GetFunctionRecursionConfig", partly=partly)(self.get_function_recursion_config)

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
