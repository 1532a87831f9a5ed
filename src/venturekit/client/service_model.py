"""The model of the Lambda API as botocore has it: loaded when an operation is called that has no command of its own.

It is read once per process. Source: botocore, ``lambda/2015-03-31``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from venturekit.client.errors import OperationError
from venturekit.client.paging import Paging

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SERVICE = "lambda"
_API_VERSION = "2015-03-31"


class ServiceModel(NamedTuple):
    """The model, and what makes requests of inputs and outputs of responses by it."""

    model: Any
    serializer: Any
    parser: Any
    validator: Any
    paginators: Mapping[str, Any]

    def operation(self, name: str) -> Any:
        """The model of an operation. Raises OperationError for one that there is not, or whose answer is a stream."""
        names = self.model.operation_names
        if name not in names:
            raise unknown_operation(name, names)
        found = self.model.operation_model(name)
        if found.has_event_stream_output or found.has_streaming_output or found.has_event_stream_input:
            raise _of_a_stream(name)
        return found

    def paging(self, name: str) -> Paging | None:
        """How an operation gives pages; None if it does not."""
        found = self.paginators.get(name)
        if found is None:
            return None
        parts = found["input_token"], found["output_token"], found["result_key"]
        return Paging(*parts) if all(isinstance(part, str) for part in parts) else None


@lru_cache(maxsize=1)
def service_model() -> ServiceModel:
    """The model that is installed. Raises OperationError without botocore or its data."""
    try:
        from botocore.exceptions import DataNotFoundError
        from botocore.loaders import create_loader
        from botocore.model import ServiceModel as Model
        from botocore.parsers import create_parser
        from botocore.serialize import create_serializer
        from botocore.validate import ParamValidator
    except ImportError as problem:
        raise OperationError(
            "operations without a command of their own are called by botocore's model, and botocore is not installed: "
            f"pip install botocore ({problem})"
        ) from None
    loader = create_loader()
    try:
        described = loader.load_service_model(_SERVICE, "service-2", _API_VERSION)
        pages = loader.load_service_model(_SERVICE, "paginators-1", _API_VERSION)["pagination"]
    except (DataNotFoundError, ValueError) as problem:
        raise OperationError(f"the installed botocore has no model of the Lambda API: {problem}") from None
    protocol = described["metadata"]["protocol"]
    return ServiceModel(
        Model(described, _SERVICE),
        create_serializer(protocol, include_validation=False),
        create_parser(protocol),
        ParamValidator(),
        pages,
    )


def _of_a_stream(name: str) -> OperationError:
    from venturekit.client.operations import OPERATIONS

    own = OPERATIONS.get(name)
    way = "there is no command for it" if own is None else f"{own.__name__} is its command"
    return OperationError(f"the answer of {name} is a stream: {way}")


def unknown_operation(name: str, names: Iterable[str]) -> OperationError:
    """The error of a name that no operation has."""
    from difflib import get_close_matches

    plain = {known.lower(): known for known in names}
    wanted = name.replace("_", "").replace("-", "").lower()
    close = [wanted] if wanted in plain else get_close_matches(wanted, plain, 3, 0.7)
    hint = f": did you mean {' or '.join(plain[each] for each in close)}?" if close else " in the Lambda API"
    return OperationError(f"there is no operation {name[:80]!r}{hint}")
