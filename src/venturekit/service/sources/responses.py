"""Which messages of a batch are done, by what the function answered. Pure.

Source: AWS Lambda Developer Guide, "Implementing partial batch responses", with its list of what counts as success and
as failure of the whole batch. What the list does not name is a choice: an object without ``batchItemFailures`` is an
empty response, any other JSON that is no object has failed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection


class BadBatchResponseError(ValueError):
    """The response says nothing that can be used: the whole batch has failed. The text says why."""


def failed_ids(payload: bytes | bytearray, message_ids: Collection[str]) -> frozenset[str]:
    """The ids of the messages that the function reports as failed. Raises BadBatchResponseError."""
    failures = _failures(payload)
    found = set()
    for failure in failures:
        if not isinstance(failure, dict) or "itemIdentifier" not in failure:
            raise BadBatchResponseError("an entry of batchItemFailures has no itemIdentifier")
        message_id = failure["itemIdentifier"]
        if not isinstance(message_id, str) or message_id not in message_ids:
            raise BadBatchResponseError(f"the itemIdentifier {str(message_id)[:100]!r} is no message of the batch")
        found.add(message_id)
    return frozenset(found)


def _failures(payload: bytes | bytearray) -> list[Any]:
    if not payload.strip():
        return []
    try:
        response = json.loads(payload)
    except (ValueError, RecursionError):
        raise BadBatchResponseError("the response is not JSON") from None
    if response is None:
        return []
    if not isinstance(response, dict):
        raise BadBatchResponseError("the response is not an object with batchItemFailures")
    failures = response.get("batchItemFailures")
    if failures is None:
        return []
    if not isinstance(failures, list):
        raise BadBatchResponseError("batchItemFailures is not an array")
    return failures
