"""The records of a batch from a queue or a stream: whose they are, in which order they go, how failures are told. Pure.

Sources: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda" (``batchItemFailures``),
"Configuring partial batch response with Kinesis Data Streams and Lambda", "… with DynamoDB and Lambda".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import TaskContext
from venturekit.runtime.errors import TaskValidationError
from venturekit.runtime.schema import Issue, SchemaError, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from venturekit.runtime.logs import Logger
    from venturekit.runtime.schema import Schema

SQS: Final = "aws:sqs"
KINESIS: Final = "aws:kinesis"
DYNAMODB: Final = "aws:dynamodb"
CONTINUE: Final = "continue"
STOP: Final = "stop"
SKIP_GROUP: Final = "skip_group"
ON_FAILURE: Final = (CONTINUE, STOP, SKIP_GROUP)


class BatchRecord(TaskContext):
    """One record of a batch, and the context in which it is processed.

    ``message_id`` is what a failure is told by: the id of an SQS message, the sequence number of a record in a stream.
    ``attempt`` counts how often the message was received, 1 for the first time; None where the source does not count.
    ``attributes`` are those of SQS (``SentTimestamp``, ``MessageGroupId``, ...), ``message_attributes`` the sender's;
    ``group_id`` what its order holds within, the message group or partition key; ``raw`` is the record as it came, and
    ``event``, once it was read, its body. ``state`` and remaining time are those of the batch.
    """

    __slots__ = ("attempt", "attributes", "group_id", "message_attributes", "message_id", "raw", "source")

    def __init__(self, raw: dict[str, Any], batch: TaskContext, position: int) -> None:
        super().__init__(None, batch.raw_context)
        self.request_id = batch.request_id
        self.state = batch.state
        self._logger = batch._logger
        self.raw = raw
        self.source = str(raw.get("eventSource"))
        self.attributes: dict[str, Any] = _object(raw.get("attributes"))
        self.message_attributes: dict[str, Any] = _object(raw.get("messageAttributes"))
        self.attempt: int | None = None
        self.group_id: str | None = None
        identifier: Any = None
        if self.source == SQS:
            identifier = raw.get("messageId")
            count = self.attributes.get("ApproximateReceiveCount")
            self.attempt = int(count) if isinstance(count, str) and count.isascii() and count.isdigit() else None
            self.group_id = self.attributes.get("MessageGroupId")
        elif self.source == KINESIS:
            data = _object(raw.get("kinesis"))
            identifier, self.group_id = data.get("sequenceNumber"), data.get("partitionKey")
        elif self.source == DYNAMODB:
            data = _object(raw.get("dynamodb"))
            identifier = data.get("SequenceNumber")
            # All changes of one item are in order: its key is the group.
            self.group_id = repr(sorted(_object(data.get("Keys")).items()))
        if not isinstance(identifier, str) or not identifier:
            raise TaskValidationError([Issue(("Records", position), _unknown(self.source))])
        self.message_id = identifier

    def __repr__(self) -> str:
        return f"BatchRecord({self.source}, message_id={self.message_id!r}, attempt={self.attempt})"


class BatchFailedError(Exception):
    """Every record of a batch has failed; ``failures`` has each with its exception, None for those not begun.

    Its first exception is its cause.
    """

    def __init__(self, failures: Sequence[tuple[BatchRecord, BaseException | None]]) -> None:
        self.failures = list(failures)
        first = next((error for _, error in failures if error is not None), None)
        why = "there was no time to begin" if first is None else f"{type(first).__name__}: {first}"
        super().__init__(f"none of the {len(failures)} records of the batch was processed: {why}")


def records_of(event: Any, batch: TaskContext) -> list[BatchRecord]:
    """The records of an event. Raises TaskValidationError for what is no batch of a queue or a stream."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list):
        raise TaskValidationError([Issue(("Records",), "is missing: this is no event of a queue or a stream")])
    made = []
    for position, raw in enumerate(records):
        if not isinstance(raw, dict):
            raise TaskValidationError([Issue(("Records", position), "is no object")])
        made.append(BatchRecord(raw, batch, position))
    return made


def usual_order(records: Sequence[BatchRecord]) -> str:
    """What a failure means for the others unless it is said: all of the source's order must be kept, if it has one."""
    if records and records[0].source == SQS:
        return STOP if str(records[0].raw.get("eventSourceARN", "")).endswith(".fifo") else CONTINUE
    return STOP


def lanes_of(records: Sequence[BatchRecord], on_failure: str) -> list[list[BatchRecord]]:
    """Records that have to wait for one another, in their order: after a failure the rest of a lane is not begun."""
    if on_failure == STOP:
        return [list(records)]
    if on_failure == CONTINUE:
        return [[record] for record in records]
    lanes: dict[Any, list[BatchRecord]] = {}
    for record in records:
        lanes.setdefault(record.message_id if record.group_id is None else (record.group_id,), []).append(record)
    return list(lanes.values())


def report_of(records: Sequence[BatchRecord], succeeded: set[BatchRecord]) -> dict[str, Any]:
    """The answer to Lambda: everything that was not processed comes again."""
    failed = dict.fromkeys(record.message_id for record in records if record not in succeeded)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}


def body_of(record: BatchRecord, schema: Schema[Any] | None) -> Any:
    """The body of a record: JSON as its value; without a schema what is no JSON as it is, text or bytes.

    Of DynamoDB it is the change, with its keys and images. Raises TaskValidationError.
    """
    try:
        value = _READERS[record.source](record.raw, strict=schema is not None)
        return value if schema is None else parsed(schema, value)
    except SchemaError as problem:
        raise TaskValidationError(problem.issues, f"the body is not valid: {problem}") from None
    except (ValueError, RecursionError) as problem:
        raise TaskValidationError([Issue((), "is no JSON")], f"the body is no JSON: {problem}") from None


def _sqs_body(raw: Mapping[str, Any], *, strict: bool) -> Any:
    body = raw.get("body")
    return _json_or_as_it_is(body if isinstance(body, str) else "", body, strict)


def _kinesis_body(raw: Mapping[str, Any], *, strict: bool) -> Any:
    from binascii import a2b_base64

    data = a2b_base64(str(_object(raw.get("kinesis")).get("data") or ""))
    try:
        text = data.decode()
    except UnicodeDecodeError:
        if strict:
            raise
        return data
    return _json_or_as_it_is(text, data, strict)


def _dynamodb_body(raw: Mapping[str, Any], *, strict: bool) -> Any:
    return raw["dynamodb"]


def _json_or_as_it_is(text: str, otherwise: Any, strict: bool) -> Any:
    from venturekit.runtime.body import _decode

    try:
        return _decode(text)
    except (ValueError, RecursionError):
        if strict:
            raise
        return otherwise


_READERS: Final[dict[str, Callable[..., Any]]] = {SQS: _sqs_body, KINESIS: _kinesis_body, DYNAMODB: _dynamodb_body}


def logger_of(record: BatchRecord) -> Logger:
    """A logger whose lines tell which record they are about."""
    return record.logger.child(messageId=record.message_id)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _unknown(source: str) -> str:
    if source in _READERS:
        return "has no id: this is no record as Lambda hands it over"
    return f"comes from {source[:100]!r}: records of {', '.join(_READERS)} can be told apart"
