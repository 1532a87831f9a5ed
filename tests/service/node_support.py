"""Functions for Node.js in tests: many handlers in one function, which its events choose from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from venturekit.service.environments.nodes import find_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.service.harness import FunctionSet, Outcome

# Whatever is on this machine runs them all: what they have to do is told by the function's runtime.
OLD = "nodejs20.x"
NEW = "nodejs24.x"
RUNTIMES = (OLD, NEW)
NODES = find_nodes(os.environ, os.path.expanduser("~"))
MAJORS = {node.version[0] for node in NODES}

DISPATCH = """
exports.handler = function (event, context, callback) {
  return cases[event.case].call(this, event.given, context, callback);
};
"""
DISPATCH_WITHOUT_CALLBACK = """
exports.handler = function (event, context) {
  return cases[event.case].call(this, event.given, context);
};
"""


@dataclass(frozen=True)
class Threw:
    """The outcome of a handler that failed."""

    type: str
    message: str


def create(functions: FunctionSet, source: str, runtime: str = OLD, name: str = "app.js", **members: Any) -> str:
    """A function with one file of JavaScript."""
    files: Mapping[str, str | bytes] = {name: source, **members.pop("files", {})}
    given = {"Runtime": runtime, "Handler": "app.handler", "Timeout": 10, **members}
    return functions.create(files=files, **given)


def create_cases(functions: FunctionSet, cases: Mapping[str, str], runtime: str = OLD, **members: Any) -> str:
    """A function that holds many handlers: :func:`call` chooses one."""
    listed = "".join(f"  {name!r}: {source},\n" for name, source in cases.items())
    dispatch = DISPATCH if runtime == OLD else DISPATCH_WITHOUT_CALLBACK
    return create(functions, f"const cases = {{\n{listed}}};\n{dispatch}", runtime, **members)


def call(functions: FunctionSet, function: str, case: str, given: Any = None) -> Outcome:
    """Invoke one of the handlers of :func:`create_cases`."""
    return functions.invoke(function, {"case": case, "given": given})


def outcome(answer: Outcome) -> Any:
    """The value, or what was thrown."""
    if answer.error is None:
        return answer.value
    assert answer.error == "Unhandled"
    return Threw(answer.value["errorType"], answer.value["errorMessage"])
