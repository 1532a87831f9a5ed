"""Lambda function names, ARNs and qualifiers: taken apart, put together, told apart.

Sources: the patterns of the botocore model ``lambda/2015-03-31``; AWS Lambda API reference, pages "Invoke",
"CreateAlias" and "PublishVersion".
"""

from __future__ import annotations

import re
from typing import NamedTuple

LATEST = "$LATEST"
"""The qualifier of the unpublished, mutable version."""

NAMESPACED_FUNCTION_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
"""Model shape ``NamespacedFunctionName``: what the invoke operations accept."""

FUNCTION_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
"""Model shape ``FunctionName``: what the management operations accept."""

# The first pattern with its parts named. The model's regular expressions are Java's, where \d is ASCII only.
_REFERENCE = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account_id>\d{12}):)?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?",
    re.ASCII,
)
_VERSION = re.compile(r"[0-9]+")
_ALIAS_NAME = re.compile(r"(?![0-9]+\Z)[a-zA-Z0-9_-]{1,128}")


class InvalidFunctionNameError(ValueError):
    """The text is in none of the forms in which a Lambda function can be named."""


class QualifierMismatchError(ValueError):
    """The name carries one qualifier and the request another. The text is the one AWS answers with."""

    def __init__(self) -> None:
        super().__init__("The derived qualifier from the function name does not match the specified qualifier.")


class FunctionReference(NamedTuple):
    """A function name in its parts; a part that the text did not give is None."""

    name: str
    qualifier: str | None
    account_id: str | None
    region: str | None
    partition: str | None


def parse_function_reference(text: str) -> FunctionReference:
    """Take a function name, partial ARN or ARN apart (percent-decoded once, as the API receives it).

    Accepts exactly what ``NAMESPACED_FUNCTION_NAME_PATTERN`` accepts: ``name``, ``function:name``, ``account:name``,
    ``account:function:name``, ``region:account:function:name`` and the ARN, each with or without ``:qualifier``.
    Where a text can be read in two ways the longer prefix wins, as in the pattern: ``function:a`` is the function
    ``a``. Lengths are not checked here; an operation's own limits are.

    Raises InvalidFunctionNameError. Source: AWS Lambda API reference, "Invoke", parameter FunctionName.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InvalidFunctionNameError(
            f"{text[:300]!r} is not a function name, a partial ARN (account:function:name) or a function ARN "
            "(arn:aws:lambda:region:account:function:name), with an optional :qualifier"
        )
    return FunctionReference(
        name=match["name"],
        qualifier=match["qualifier"],
        account_id=match["account_id"],
        region=match["region"],
        partition=match["partition"],
    )


def function_arn(region: str, account_id: str, name: str, qualifier: str | None = None) -> str:
    """The ARN of a function, or of one of its versions or aliases when a qualifier is given.

    The partition follows from the region (AWS General Reference, "Amazon Resource Names").
    """
    arn = f"arn:{_partition_of(region)}:lambda:{region}:{account_id}:function:{name}"
    return arn if qualifier is None else f"{arn}:{qualifier}"


def layer_arn(region: str, account_id: str, name: str, version: int | None = None) -> str:
    """The ARN of a layer, or of one of its versions when a number is given."""
    arn = f"arn:{_partition_of(region)}:lambda:{region}:{account_id}:layer:{name}"
    return arn if version is None else f"{arn}:{version}"


def root_arn(region: str, account_id: str) -> str:
    """The ARN of an account as a principal of policies, as it reads in the partition of ``region``.

    Source: AWS IAM User Guide, "AWS JSON policy elements: Principal".
    """
    return f"arn:{_partition_of(region)}:iam::{account_id}:root"


def combine_qualifiers(derived: str | None, specified: str | None) -> str | None:
    """The qualifier of a request whose name gives ``derived`` and whose parameter gives ``specified``.

    Raises QualifierMismatchError if both are given and differ.
    """
    if derived is None or specified is None or derived == specified:
        return specified if derived is None else derived
    raise QualifierMismatchError


def is_version(qualifier: str) -> bool:
    """Whether the qualifier is the id of a published version: ASCII digits."""
    return _VERSION.fullmatch(qualifier) is not None


def is_latest(qualifier: str) -> bool:
    """Whether the qualifier is ``$LATEST``."""
    return qualifier == LATEST


def is_alias_name(qualifier: str) -> bool:
    """Whether the qualifier can be an alias name: 1 to 128 letters, digits, ``-``, ``_``, and not digits only.

    Source: model shape ``Alias``.
    """
    return _ALIAS_NAME.fullmatch(qualifier) is not None


def _partition_of(region: str) -> str:
    if region.startswith("cn-"):
        return "aws-cn"
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws"
