"""What the members of requests mean: log groups, time ranges, tokens. Pure. All raise ApiError."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.api.errors import ApiError
from venturekit.service.cloudwatch.comparisons import PatternError
from venturekit.service.cloudwatch.filter_patterns import parse_pattern
from venturekit.service.cloudwatch.pages import Position, parse_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LATEST_MS: Final = 99_999_999_999_999
FIRST: Final = Position((0, 0, 0), backward=False)
LAST: Final = Position((LATEST_MS, 0, 0), backward=True)
NEWEST_FIRST_SINCE_MS: Final = 1_704_067_200_000
"""2024: a time range that is read from its end begins then or later (CloudWatch Logs API reference)."""


def log_group_of(members: Mapping[str, Any], *, region: str, account_id: str) -> str:
    """The log group that a request names, by its name or by its ARN."""
    name, identifier = members.get("logGroupName"), members.get("logGroupIdentifier")
    if (name is None) is (identifier is None):
        raise invalid("Exactly one of the parameters logGroupName and logGroupIdentifier must be specified.")
    if name is not None:
        return str(name)
    assert identifier is not None  # one of the two is given
    if not identifier.startswith("arn:"):
        return str(identifier)
    fields = identifier.split(":", 6)
    if len(fields) < 7 or fields[2] != "logs" or fields[5] != "log-group":
        raise invalid(f"The logGroupIdentifier '{identifier}' is not the ARN of a log group.")
    if (fields[3], fields[4]) != (region, account_id):
        raise no_group()
    return str(fields[6].removesuffix(":*"))


def range_of(members: Mapping[str, Any], *, end_excluded: bool = False) -> tuple[int, int]:
    """The time range of a request in epoch milliseconds, both ends included."""
    first, last = members.get("startTime", 0), members.get("endTime", LATEST_MS)
    if last < first:
        raise invalid("The parameter endTime must not be before startTime.")
    return first, last - 1 if end_excluded and "endTime" in members else last


def position_of(members: Mapping[str, Any], *, from_head: bool) -> Position:
    """Where a request for events goes on, or begins."""
    token = members.get("nextToken")
    if token is None:
        return FIRST if from_head else LAST
    position = parse_token(token)
    if position is None:
        raise bad_token()
    return position


def matches_of(members: Mapping[str, Any]) -> Callable[[str], bool] | None:
    """The filter pattern of a request; None: all events match."""
    try:
        return parse_pattern(members.get("filterPattern", ""))
    except PatternError as error:
        raise invalid(f"Invalid filter pattern: {error}") from None


def list_token(*values: object) -> str:
    """Where a list goes on, as a token."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def parse_list_token(members: Mapping[str, Any], kind: str) -> tuple[int, str] | None:
    """The time and name of the last element on the page before, or None on the first one.

    ``kind`` is what the list is sorted by: a token of another list is refused.
    """
    token = members.get("nextToken")
    if token is None:
        return None
    try:
        found = json.loads(base64.b64decode(token.encode(), b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise bad_token() from None
    if not isinstance(found, list) or [type(each) for each in found] != [str, int, str] or found[0] != kind:
        raise bad_token()
    return found[1], found[2]


def invalid(message: str) -> ApiError:
    """A request that cannot be served as it is."""
    return ApiError("InvalidParameterException", message, status=400)


def bad_token() -> ApiError:
    """Recorded text."""
    return invalid("The specified nextToken is invalid.")


def no_group() -> ApiError:
    """Recorded text."""
    return ApiError("ResourceNotFoundException", "The specified log group does not exist.", status=400)


def no_stream() -> ApiError:
    """Recorded text."""
    return ApiError("ResourceNotFoundException", "The specified log stream does not exist.", status=400)
