"""Which function a caller means: the name forms of the API, reduced to a bare name and a qualifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from venturekit.protocol.names import (
    InvalidFunctionNameError,
    QualifierMismatchError,
    combine_qualifiers,
    parse_function_reference,
)
from venturekit.service.functions import faults

_MAX_NAME_LENGTH: Final = 64


@dataclass(frozen=True, slots=True)
class Address:
    """A function of this service's own account and region, and the qualifier the caller named, if any."""

    name: str
    qualifier: str | None


def parse_address(text: str, qualifier: str | None, *, region: str, account_id: str) -> Address:
    """The function addressed by ``FunctionName`` (any form) and the ``Qualifier`` parameter.

    Raises ApiError: InvalidParameterValue (not a name, or longer than 64; the two qualifiers differ), ResourceNotFound
    (ARN of another region), AccessDenied (ARN of another account). Source: recorded answers of Invoke and GetFunction.
    """
    try:
        reference = parse_function_reference(text)
    except InvalidFunctionNameError as error:
        raise faults.invalid_parameter(str(error)) from error
    if len(reference.name) > _MAX_NAME_LENGTH:
        # The model allows 140 and 256 for the forms with an ARN; the bare name has this limit of its own.
        constraint = f"have length less than or equal to {_MAX_NAME_LENGTH}"
        raise faults.invalid_parameter(faults.constraint_text(reference.name, "functionName", constraint))
    if reference.region is not None and reference.region != region:
        raise faults.another_region(reference.region, region)
    if reference.account_id is not None and reference.account_id != account_id:
        raise faults.another_account()
    try:
        return Address(reference.name, combine_qualifiers(reference.qualifier, qualifier))
    except QualifierMismatchError as error:
        raise faults.invalid_parameter(str(error)) from error
