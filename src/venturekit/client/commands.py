"""What a command is: one operation of the API with its input, checked when it is made.

A command knows where its members go in a request, and makes its output of a response. It does no I/O.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

from venturekit.client.errors import MalformedAnswerError, ParameterValidationError
from venturekit.client.structures import Structure, plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from venturekit.client.checks import Check

PATH: Final = "path"
QUERY: Final = "query"
HEADER: Final = "header"
PAYLOAD: Final = "payload"
JSON: Final = "json"
DROPPED: Final = "dropped"

OutputT = TypeVar("OutputT")
StructureT = TypeVar("StructureT", bound=Structure)


class Field(NamedTuple):
    """Where a member of an input goes, under which name (its own if there is none here), and what it may be."""

    place: str
    check: Check
    wire: str = ""


class WireRequest(NamedTuple):
    """A request without what the configuration adds: host, signature."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | bytearray | memoryview


class WireResponse(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseMetadata(NamedTuple):
    """What is known of the answer beside its members."""

    request_id: str | None
    http_status: int
    attempts: int


class Output(Structure):
    """What a command gives. ``metadata`` tells the id of the request, the HTTP status and how often it was tried."""

    if TYPE_CHECKING:
        # No member: as an annotation type checkers would make it an argument.
        @property
        def metadata(self) -> ResponseMetadata:
            """What is known of the answer beside its members."""
            ...

    else:
        __slots__ = ("metadata",)

    def note(self, metadata: ResponseMetadata) -> None:
        """Keep what is known beside the members; once, by the client."""
        object.__setattr__(self, "metadata", metadata)


class Command(Structure, Generic[OutputT]):
    """One operation with its input.

    ``send`` of a client sends it, as often as one likes. Raises TypeError for members that the operation does not have
    and for required ones that are missing, ParameterValidationError for values that it does not take.
    """

    operation: ClassVar[str]
    method: ClassVar[str] = "POST"
    path: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    repeatable: ClassVar[bool] = True
    """Whether carrying it out twice does no harm."""
    is_invocation: ClassVar[bool] = False
    """Whether it lasts as long as a function runs."""

    if not TYPE_CHECKING:

        def __init__(self, **members: Any) -> None:
            super().__init__(**members)
            problems = self.problems()
            if problems:
                raise ParameterValidationError(self.operation, problems)

    def replaced(self, **members: Any) -> Self:
        """The same command with other members."""
        return type(self)(**{**self, **members})

    def problems(self) -> list[str]:
        """What is wrong with the input, one sentence each."""
        fields = self.fields
        found = []
        for name, value in self.__dict__.items():
            problem = fields[name].check(value)
            if problem is not None:
                found.append(f"{name} {problem}")
        return found

    def may_repeat(self) -> bool:
        """Whether carrying it out twice does no harm."""
        return self.repeatable

    def wire(self) -> WireRequest:
        """The request. Raises ParameterValidationError."""
        headers: dict[str, str] = {}
        document: dict[str, Any] = {}
        query: list[str] = []
        path = self.path
        body: bytes | bytearray | memoryview | None = None
        for name, value in self.__dict__.items():
            place, _, wire = self.fields[name]
            if place == PATH:
                path = path.replace(f"{{{name}}}", _quoted(value))
            elif place == HEADER:
                # Not str(): of other people's enumerations that is not the text that they are.
                headers[wire] = str.__str__(value)
            elif place == QUERY:
                query.append(f"{wire or name}={_quoted(value if isinstance(value, str) else str(value))}")
            elif place == PAYLOAD:
                body = value.encode() if isinstance(value, str) else value
            elif place == JSON:
                document[name] = plain(value)
        if query:
            path = f"{path}?{'&'.join(query)}"
        if body is None:
            body = self.document_body(document)
        if body:
            headers["Content-Type"] = "application/json"
        return WireRequest(self.method, path, headers, body)

    def document_body(self, document: dict[str, Any]) -> bytes:
        """The body of the members that go into a JSON document."""
        if not any(field.place == JSON for field in self.fields.values()):
            return b""
        import json

        return json.dumps(document, separators=(",", ":")).encode()

    def read(self, response: WireResponse) -> OutputT:
        """The output of a response whose status is a success. Raises MalformedAnswerError."""
        raise NotImplementedError


def document_of(operation: str, response: WireResponse) -> dict[str, Any]:
    """The JSON object of a response; an empty one has no members. Raises MalformedAnswerError."""
    if not response.body:
        return {}
    import json

    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise MalformedAnswerError(f"the answer to {operation} is no JSON object: {response.body[:80]!r}")
    return document


def output_of(kind: type[StructureT], operation: str, document: Mapping[str, Any]) -> StructureT:
    """The output that a document is. Raises MalformedAnswerError for members of another type than the API has."""
    try:
        return kind.of(document)
    except (ValueError, TypeError, AttributeError, OverflowError, OSError) as problem:
        raise MalformedAnswerError(
            f"the answer to {operation} is not what the API says: {type(problem).__name__}: {problem}"
        ) from None


@lru_cache(maxsize=1024)
def _quoted(value: str) -> str:
    from urllib.parse import quote

    return quote(value, safe="-_.~")
