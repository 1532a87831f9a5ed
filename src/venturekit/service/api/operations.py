"""From a request line to an operation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, unquote_to_bytes

from venturekit.service.api.errors import ApiError, api_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from venturekit.service.api.model import Operation

Query: TypeAlias = list[tuple[str, str]]

MAX_QUERY_PARAMETERS = 1000
MAX_SHOWN_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Match:
    """An operation and what its address says. ``query`` keeps order and repetition."""

    operation: Operation
    path_parameters: dict[str, str]
    query: Query


@dataclass(slots=True)
class _Node:
    """A position in the tree of paths; at the end of a path its operations, those with most constants first."""

    literals: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    operations: list[Operation] = field(default_factory=list)


class OperationTable:
    """All operations of a model, found by method and target."""

    __slots__ = ("_root", "operations")

    def __init__(self, operations: Iterable[Operation]) -> None:
        self.operations: Mapping[str, Operation] = {operation.name: operation for operation in operations}
        self._root = _Node()
        for operation in self.operations.values():
            self._insert(operation)

    def match(self, method: str, target: bytes) -> Match:
        """The operation that ``method`` and ``target`` (path and query as received) address.

        The path is split at ``/`` first and then percent-decoded once, so an encoded slash stays inside its segment.
        One trailing slash is ignored: older SDKs send it.

        Raises :class:`ApiError`: 404 UnknownOperationException for a path that no operation has, and for a method that
        the path does not have (with ``Allow``; AWS documents no 405); 400 MalformedHttpRequestException for a target
        that is not a path, or is not UTF-8 once decoded.
        """
        raw_path, _, raw_query = target.partition(b"?")
        if raw_path[:1] != b"/":
            raise _malformed("the request target must be a path that begins with '/'")
        segments = _decode_segments(raw_path)
        query = _decode_query(raw_query) if raw_query else []
        allowed: set[str] = set()
        for node, values in _walk(self._root, segments, 0, ()):
            for operation in node.operations:
                if any(constant not in query for constant in operation.constants):
                    continue
                if operation.method == method:
                    return Match(operation, _name_values(operation, values), query)
                allowed.add(operation.method)
        raise _unknown(method, raw_path, sorted(allowed))

    def _insert(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.segments:
            if segment.startswith("{"):
                node.variable = node.variable or _Node()
                node = node.variable
            else:
                node = node.literals.setdefault(segment, _Node())
        node.operations.append(operation)
        node.operations.sort(key=lambda each: -len(each.constants))


def _walk(
    node: _Node, segments: list[str], depth: int, values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """All ends of paths that fit, literals before variables."""
    if depth == len(segments):
        yield node, values
        return
    segment = segments[depth]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _walk(literal, segments, depth + 1, values)
    if node.variable is not None:
        yield from _walk(node.variable, segments, depth + 1, (*values, segment))


def _name_values(operation: Operation, values: tuple[str, ...]) -> dict[str, str]:
    names = (segment[1:-1] for segment in operation.segments if segment.startswith("{"))
    return dict(zip(names, values, strict=True))


def _decode_segments(raw_path: bytes) -> list[str]:
    parts = raw_path[1:].split(b"/")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    try:
        return [(unquote_to_bytes(part) if b"%" in part else part).decode("utf-8") for part in parts]
    except UnicodeDecodeError:
        raise _malformed("the path is not UTF-8 after percent-decoding; encode it as UTF-8") from None


def _decode_query(raw_query: bytes) -> Query:
    try:
        return parse_qsl(
            raw_query.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_QUERY_PARAMETERS,
        )
    except UnicodeDecodeError:
        raise _malformed("the query is not UTF-8 after percent-decoding; encode it as UTF-8") from None
    except ValueError:
        raise _malformed(f"the query has more than {MAX_QUERY_PARAMETERS} parameters") from None


def _malformed(reason: str) -> ApiError:
    return api_error("MalformedHttpRequestException", f"The request cannot be read: {reason}.")


def _unknown(method: str, raw_path: bytes, allowed: list[str]) -> ApiError:
    path = raw_path[:MAX_SHOWN_CHARACTERS].decode("utf-8", "replace")
    if not allowed:
        return api_error("UnknownOperationException", f"No operation of the Lambda API has the path {path}")
    methods = ", ".join(allowed)
    error = api_error(
        "UnknownOperationException",
        f"The path {path} is not served for {method[:MAX_SHOWN_CHARACTERS]}; its methods are: {methods}",
    )
    error.headers["Allow"] = methods
    return error
