"""Service models of AWS, read from botocore's data folder without importing botocore."""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

RawShapes: TypeAlias = dict[str, dict[str, Any]]

MODEL_FOLDER = Path("data", "lambda", "2015-03-31")
LOGS_FOLDER = Path("data", "logs", "2014-03-28")
MODEL_FILES = ("service-2.json.gz", "service-2.json")


class ModelError(RuntimeError):
    """The service model cannot be found or read."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure.

    ``location`` is ``uri``, ``querystring``, ``header``, ``statusCode`` or None (the body); ``wire_name`` is its name
    there.
    """

    name: str
    shape: Shape
    location: str | None
    wire_name: str
    required: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A type of the model with its constraints.

    ``kind`` is one of structure, list, map, string, integer, long, double, float, boolean, timestamp, blob.
    ``minimum`` and ``maximum`` bound the length (string: characters, blob: bytes, list and map: entries) or the value
    of a number. ``payload`` names the member that is the whole body. ``sensitive`` values are never repeated to the
    caller.
    """

    name: str
    kind: str
    members: Mapping[str, Member]
    payload: str | None
    element: Shape | None
    key: Shape | None
    enum: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    pattern: str | None
    sensitive: bool
    event_stream: bool

    @property
    def body_members(self) -> list[Member]:
        """The members that travel as fields of a JSON body."""
        return [m for m in self.members.values() if m.location is None and m.name != self.payload]


@dataclass(frozen=True, slots=True)
class ErrorShape:
    """A modelled error: HTTP status, key of the message in the JSON body, members that travel as headers."""

    code: str
    status: int
    message_key: str
    header_names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``segments`` are the path's parts: literals, or ``{Member}`` for a part that is a member.

    ``constants`` are the query parameters that are part of the operation's address.
    """

    name: str
    method: str
    segments: tuple[str, ...]
    constants: tuple[tuple[str, str], ...]
    status: int
    input: Shape
    output: Shape | None
    errors: tuple[str, ...]

    @property
    def path(self) -> str:
        """The path as the model writes it, with the constants of the query."""
        query = "&".join(f"{name}={value}" for name, value in self.constants)
        return "/" + "/".join(self.segments) + (f"?{query}" if query else "")


@dataclass(frozen=True, slots=True)
class ServiceModel:
    """All operations and all modelled errors, by name."""

    operations: Mapping[str, Operation]
    errors: Mapping[str, ErrorShape]


def find_model_file(folder: Path = MODEL_FOLDER) -> Path:
    """The path of the installed model of a service. Raises :class:`ModelError` when botocore or its data is missing."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("botocore is not installed; the service needs it: install venturekit[local]")
    folders = [Path(location) / folder for location in spec.submodule_search_locations]
    for place in folders:
        for name in MODEL_FILES:
            if (place / name).is_file():
                return place / name
    name = "Lambda" if folder == MODEL_FOLDER else "CloudWatch Logs"
    raise ModelError(f"the installed botocore has no {name} model in {folders[0]}; install botocore 1.40 or newer")


def load_model(path: Path) -> ServiceModel:
    """Read and compile a model file (plain or gzipped JSON). Documentation strings are dropped.

    Raises :class:`ModelError` when the file cannot be read as a service model.
    """
    try:
        data = path.read_bytes()
        raw = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
        return _compile(raw["operations"], raw["shapes"])
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a readable service model: {error!r}") from error


@functools.cache
def service_model() -> ServiceModel:
    """The installed model of the Lambda API, read once per process (about 10 ms)."""
    return load_model(find_model_file())


@functools.cache
def logs_model() -> ServiceModel:
    """The installed model of CloudWatch Logs, read once per process, by those that need it."""
    return load_model(find_model_file(LOGS_FOLDER))


def _compile(operations: RawShapes, shapes: RawShapes) -> ServiceModel:
    compiled: dict[str, Shape] = {}
    return ServiceModel(
        operations=MappingProxyType(
            {name: _compile_operation(raw, shapes, compiled) for name, raw in sorted(operations.items())}
        ),
        errors=MappingProxyType(
            {error.code: error for error in (_compile_error(n, s) for n, s in shapes.items() if s.get("exception"))}
        ),
    )


def _compile_operation(raw: dict[str, Any], shapes: RawShapes, compiled: dict[str, Shape]) -> Operation:
    path, _, query = raw["http"]["requestUri"].partition("?")
    return Operation(
        name=raw["name"],
        method=raw["http"]["method"],
        segments=tuple(path.strip("/").split("/")),
        constants=tuple(tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair),
        status=raw["http"].get("responseCode", 200),
        input=_compile_shape(raw["input"]["shape"], shapes, compiled) if "input" in raw else _EMPTY,
        output=_compile_shape(raw["output"]["shape"], shapes, compiled) if "output" in raw else None,
        errors=tuple(error["shape"] for error in raw.get("errors", ())),
    )


def _compile_shape(name: str, shapes: RawShapes, compiled: dict[str, Shape]) -> Shape:
    if name in compiled:
        return compiled[name]
    raw = shapes[name]
    members: dict[str, Member] = {}
    shape = Shape(
        name=name,
        kind="string" if raw["type"] == "character" else raw["type"],
        members=MappingProxyType(members),
        payload=raw.get("payload"),
        element=_compile_element(raw.get("member") or raw.get("value"), shapes, compiled),
        key=_compile_element(raw.get("key"), shapes, compiled),
        enum=tuple(raw.get("enum", ())),
        minimum=raw.get("min"),
        maximum=raw.get("max"),
        pattern=raw.get("pattern"),
        sensitive=raw.get("sensitive", False),
        event_stream=raw.get("eventstream", False),
    )
    # Entered before its members are compiled, so that a structure may contain itself.
    compiled[name] = shape
    required = frozenset(raw.get("required", ()))
    for member_name, member in raw.get("members", {}).items():
        members[member_name] = Member(
            name=member_name,
            shape=_compile_shape(member["shape"], shapes, compiled),
            location=member.get("location"),
            wire_name=member.get("locationName", member_name),
            required=member_name in required,
        )
    return shape


def _compile_element(raw: dict[str, Any] | None, shapes: RawShapes, compiled: dict[str, Shape]) -> Shape | None:
    return _compile_shape(raw["shape"], shapes, compiled) if raw else None


def _compile_error(name: str, raw: dict[str, Any]) -> ErrorShape:
    members: dict[str, dict[str, Any]] = raw["members"]
    return ErrorShape(
        code=raw.get("error", {}).get("code", name),
        status=raw.get("error", {}).get("httpStatusCode", 500 if raw.get("fault") else 400),
        message_key=next((member for member in members if member.lower() == "message"), "message"),
        header_names=MappingProxyType(
            {n: m.get("locationName", n) for n, m in members.items() if m.get("location") == "header"}
        ),
    )


_EMPTY = Shape(
    name="Empty",
    kind="structure",
    members=MappingProxyType({}),
    payload=None,
    element=None,
    key=None,
    enum=(),
    minimum=None,
    maximum=None,
    pattern=None,
    sensitive=False,
    event_stream=False,
)
