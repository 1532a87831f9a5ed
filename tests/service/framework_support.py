"""Projects of functions written with the framework, on a real service: the framework is in each archive."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.service.harness import zip_of
from venturekit.cli.framework import framework_files
from venturekit.protocol.function_names import function_name, lambda_name, route_name

if TYPE_CHECKING:
    from tests.service.harness import FunctionSet


@cache
def with_framework() -> bytes:
    """An archive of the framework's files."""
    return zip_of({name: path.read_bytes() for name, path in framework_files()})


class Project:
    """A project: its functions are named as the deployment names them."""

    def __init__(self, functions: FunctionSet, name: str, stage: str = "dev") -> None:
        self.functions = functions
        self.name = name
        self.stage = stage

    def route(self, route: str, source: str, **members: Any) -> str:
        """A route, ``users/{id}``; gives the name of its Lambda function."""
        return self._create(lambda_name(route_name(self.name, route)), source, members)

    def function(self, name: str, source: str, **members: Any) -> str:
        """A function that is called by its name."""
        return self._create(lambda_name(function_name(self.name, self.stage, name)), source, members)

    def _create(self, name: str, source: str, members: dict[str, Any]) -> str:
        variables = {"VENTURE_PROJECT_NAME": self.name, "VENTURE_STAGE": self.stage, **members.pop("variables", {})}
        given = {"Handler": "app.main", "Environment": {"Variables": variables}, "Timeout": 20, **members}
        return self.functions.create(source, base=with_framework(), name=name, **given)
