"""Commands of operations that have none of their own: made, checked and read by the model that botocore has.

Inputs and outputs are boto3's: bytes where the API has base64, datetimes where it has times.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from venturekit.client.commands import Command, Output, WireRequest, document_of
from venturekit.client.errors import MalformedAnswerError, ParameterValidationError
from venturekit.client.service_model import service_model
from venturekit.client.structures import Structure

if TYPE_CHECKING:
    from venturekit.client.commands import WireResponse
    from venturekit.client.paging import Paging

_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")


class ModelStructure(Structure):
    """A structure in the output of an operation that is known by the model only: attributes and items as of others."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (type(self).__name__, False), self.__dict__


class ModelOutput(Output):
    """What an operation gives that is known by the model only: attributes and items as of other outputs."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __reduce__(self) -> tuple[Any, ...]:
        slots = {"metadata": self.metadata} if hasattr(self, "metadata") else {}
        return _remade, (type(self).__name__, True), (self.__dict__, slots)


class ModelCommand(Command[ModelOutput]):
    """Any operation of the Lambda API by its name, with the members that boto3 takes; it needs botocore::

        client.send(ModelCommand("TagResource", Resource=arn, Tags={"team": "blue"}))

    The members may also be given as one mapping. Of operations that change something those are repeated after an
    unknown outcome whose method is PUT or DELETE, or that have a token of their own.

    Raises OperationError for an operation that there is not or that answers with a stream, and without botocore;
    ParameterValidationError for an input that the model does not take.
    """

    __slots__ = ("_request", "_shape", "operation", "paging", "repeatable")

    operation: str  # type: ignore[misc]
    repeatable: bool  # type: ignore[misc]
    paging: Paging | None
    fields: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, operation: str, members: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        service = service_model()
        model = service.operation(operation)
        given: dict[str, Any] = _taken({**(members or {}), **more})
        for name in model.idempotent_members:
            # Made once, so that a repeated request is known as the same.
            given.setdefault(name, _new_token())
        _validate(operation, given, model.input_shape)
        self.__dict__.update(given)
        request = _serialized(operation, given, model)
        keep = object.__setattr__
        keep(self, "operation", operation)
        keep(self, "repeatable", request.method in _REPEATABLE or bool(model.idempotent_members))
        keep(self, "paging", service.paging(operation))
        keep(self, "_request", request)
        keep(self, "_shape", model.output_shape)

    def replaced(self, **members: Any) -> ModelCommand:
        """The same command with other members."""
        return ModelCommand(self.operation, **{**self, **members})

    def wire(self) -> WireRequest:
        """The request."""
        request: WireRequest = self._request  # type: ignore[attr-defined]
        return request

    def read(self, response: WireResponse) -> ModelOutput:
        """The output of a response. Raises MalformedAnswerError."""
        shape = self._shape  # type: ignore[attr-defined]
        document_of(self.operation, response)
        if shape is None:
            return ModelOutput.of({})
        from botocore.awsrequest import HeadersDict

        headers = HeadersDict(response.headers)
        answer = {"status_code": response.status, "headers": headers, "body": response.body}
        try:
            parsed = service_model().parser.parse(answer, shape)
            output: ModelOutput = structure_class(shape.name, True).of(_read_members(parsed, shape))
        except Exception as problem:
            # botocore reads what it expects, and fails in many ways at what is of another type.
            raise MalformedAnswerError(
                f"the answer to {self.operation} is not what the model says: {type(problem).__name__}: {problem}"
            ) from None
        return output

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ModelCommand) and self.operation != other.operation:
            return False
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _command, (self.operation, self.__dict__)

    def __repr__(self) -> str:
        return f"ModelCommand({self.operation!r}, {', '.join(self) or 'without members'})"


@lru_cache(maxsize=1024)
def structure_class(name: str, is_output: bool) -> Any:
    """The class of a structure of the model: its members are None where an answer does not have them."""
    shape = service_model().model.shape_for(name)
    secret = frozenset(member for member, inner in shape.members.items() if inner.metadata.get("sensitive"))
    values: dict[str, Any] = dict.fromkeys(shape.members)
    made = type(
        name, (ModelOutput if is_output else ModelStructure,), {**values, "secret": secret, "__module__": __name__}
    )
    made.members = tuple(shape.members)  # type: ignore[attr-defined]
    return made


def _remade(name: str, is_output: bool) -> Any:
    kind = structure_class(name, is_output) if name != ModelOutput.__name__ else ModelOutput
    return kind.__new__(kind)


def _command(operation: str, members: Mapping[str, Any]) -> ModelCommand:
    return ModelCommand(operation, **members)


def _taken(value: Any) -> Any:
    """A member as botocore takes it."""
    if isinstance(value, Mapping):
        return {name: _taken(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_taken(each) for each in value]
    if isinstance(value, memoryview):
        return bytes(value)
    # A file is read once, a command may be sent twice.
    return value.read() if hasattr(value, "read") else value


def _validate(operation: str, given: dict[str, Any], shape: Any) -> None:
    if shape is None:
        if given:
            raise ParameterValidationError(operation, [f"it takes no members, and {', '.join(given)} was given"])
        return
    report = service_model().validator.validate(given, shape)
    if report.has_errors():
        raise ParameterValidationError(operation, report.generate_report().splitlines())


def _serialized(operation: str, given: dict[str, Any], model: Any) -> WireRequest:
    from botocore.utils import percent_encode_sequence

    try:
        request = service_model().serializer.serialize_to_request(given, model)
    except (ValueError, TypeError, OverflowError) as problem:
        raise ParameterValidationError(operation, [f"the input cannot be serialized: {problem}"]) from None
    target, query = request["url_path"], request["query_string"]
    if query:
        target += ("&" if "?" in target else "?") + percent_encode_sequence(query, safe="-_.~")
    headers = {str(name): str(value) for name, value in request["headers"].items()}
    return WireRequest(request["method"], target, headers, request["body"])


def _read_members(value: Mapping[str, Any], shape: Any) -> dict[str, Any]:
    members = shape.members
    return {name: _read(each, members[name]) for name, each in value.items() if name in members and each is not None}


def _read(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure":
        return structure_class(shape.name, False).of(_read_members(value, shape))
    if shape.type_name == "list":
        return [_read(each, shape.member) for each in value]
    if shape.type_name == "map":
        return {name: _read(each, shape.value) for name, each in value.items()}
    return value


def _new_token() -> str:
    from uuid import uuid4

    return str(uuid4())
