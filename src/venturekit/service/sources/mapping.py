"""What an event source mapping is: its members, what of a request is refused, and how it is shown. Pure.

Sources: Lambda API reference, "CreateEventSourceMapping" and "UpdateEventSourceMapping"; Developer Guide, "Creating and
configuring an Amazon SQS event source mapping". Ranges of numbers are constraints of the service model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.sources import faults
from venturekit.service.sources.batches import MOST_WORKERS
from venturekit.service.sources.filter_patterns import FilterPattern, FilterPatternError

if TYPE_CHECKING:
    from collections.abc import Mapping

BATCH_SIZE: Final = 10
SMALL_BATCH: Final = 10
FILTERS_LIMIT: Final = 10
"""The quota that an account can have; without asking it is 5."""
TAGS_LIMIT: Final = 50
INVOKES_OF_A_POLLER: Final = 10
"""Concurrent invocations of one provisioned poller (Developer Guide, "Provisioned mode")."""
PARTIAL: Final = "ReportBatchItemFailures"

_QUEUE: Final = re.compile(r"arn:aws[a-zA-Z0-9-]*:sqs:[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_-]{1,80}(\.fifo)?")
_KINDS: Final = {
    "kinesis": "Amazon Kinesis streams",
    "dynamodb": "Amazon DynamoDB streams",
    "kafka": "Amazon MSK",
    "mq": "Amazon MQ",
    "rds": "Amazon DocumentDB",
}
_ONLY_OTHERS: Final = (
    "StartingPosition",
    "StartingPositionTimestamp",
    "ParallelizationFactor",
    "MaximumRecordAgeInSeconds",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "TumblingWindowInSeconds",
    "Topics",
    "Queues",
    "SourceAccessConfigurations",
    "SelfManagedEventSource",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
)
_KEPT: Final = ("BatchSize", "MaximumBatchingWindowInSeconds", "FilterCriteria", "FunctionResponseTypes")
_KEPT_OBJECTS: Final = ("ScalingConfig", "ProvisionedPollerConfig", "KMSKeyArn", "MetricsConfig", "LoggingConfig")
_DEFAULTS: Final[Mapping[str, Any]] = {
    "BatchSize": BATCH_SIZE,
    "MaximumBatchingWindowInSeconds": 0,
    "FunctionResponseTypes": [],
}


@dataclass(frozen=True)
class EventSourceMapping:
    """One mapping. ``members`` are those of the API that say how it works; ``number`` is its place in lists.

    ``qualifier`` is empty where the function was named without one. ``last_modified`` is in epoch seconds.
    """

    account_id: str
    uuid: str
    number: int
    queue_arn: str
    function_name: str
    qualifier: str
    enabled: bool
    members: Mapping[str, Any]
    tags: Mapping[str, str]
    last_modified: float
    reason: str

    @property
    def is_fifo(self) -> bool:
        """Whether the queue keeps the order of the messages of a group."""
        return self.queue_arn.endswith(".fifo")

    @property
    def batch_size(self) -> int:
        """The most messages of one invocation."""
        size: int = self.members["BatchSize"]
        return size

    @property
    def window_seconds(self) -> int:
        """How long messages are gathered for one invocation."""
        seconds: int = self.members["MaximumBatchingWindowInSeconds"]
        return seconds

    @property
    def reports_failures(self) -> bool:
        """Whether the function's response says which messages have failed."""
        return PARTIAL in self.members["FunctionResponseTypes"]

    @property
    def concurrency(self) -> int:
        """The most invocations at once."""
        scaling = self.members.get("ScalingConfig") or {}
        pollers = self.members.get("ProvisionedPollerConfig") or {}
        if "MaximumConcurrency" in scaling:
            return min(MOST_WORKERS, int(scaling["MaximumConcurrency"]))
        if "MaximumPollers" in pollers:
            return min(MOST_WORKERS, int(pollers["MaximumPollers"]) * INVOKES_OF_A_POLLER)
        return MOST_WORKERS

    @cached_property
    def patterns(self) -> tuple[FilterPattern, ...]:
        """The filters."""
        return tuple(FilterPattern(text) for text in _pattern_texts(self.members))

    def same_work(self, other: EventSourceMapping) -> bool:
        """Whether both invoke the same function with messages of the same queue."""
        return (self.account_id, self.queue_arn, self.function_name, self.qualifier) == (
            other.account_id,
            other.queue_arn,
            other.function_name,
            other.qualifier,
        )

    def document(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "number": self.number,
            "queueArn": self.queue_arn,
            "functionName": self.function_name,
            "qualifier": self.qualifier,
            "enabled": self.enabled,
            "members": dict(self.members),
            "tags": dict(self.tags),
            "lastModified": self.last_modified,
            "reason": self.reason,
        }

    @classmethod
    def of(cls, account_id: str, uuid: str, document: Mapping[str, Any]) -> EventSourceMapping:
        """The mapping that was stored."""
        return cls(
            account_id=account_id,
            uuid=uuid,
            number=document["number"],
            queue_arn=document["queueArn"],
            function_name=document["functionName"],
            qualifier=document["qualifier"],
            enabled=document["enabled"],
            members=document["members"],
            tags=document["tags"],
            last_modified=document["lastModified"],
            reason=document["reason"],
        )

    def configuration(self, *, state: str, result: str, function_arn: str, mapping_arn: str) -> dict[str, Any]:
        """``EventSourceMappingConfiguration``; ``result`` is empty as long as nothing was processed."""
        return {
            "UUID": self.uuid,
            "EventSourceArn": self.queue_arn,
            "FunctionArn": function_arn,
            "EventSourceMappingArn": mapping_arn,
            "State": state,
            "StateTransitionReason": self.reason,
            "LastModified": self.last_modified,
            "LastProcessingResult": result or None,
            **self.members,
        }


def check_source(members: Mapping[str, Any]) -> str:
    """The ARN of the queue that CreateEventSourceMapping names. Raises ApiError for all other sources."""
    if members.get("SelfManagedEventSource") is not None:
        raise faults.source_not_served("self-managed Apache Kafka")
    arn = members.get("EventSourceArn")
    if not arn:
        raise faults.no_source()
    service = arn.split(":")[2]
    if service in _KINDS:
        raise faults.source_not_served(_KINDS[service])
    if service != "sqs":
        raise faults.no_source()
    if _QUEUE.fullmatch(arn) is None:
        raise faults.bad_queue_arn(arn)
    return str(arn)


def merged_members(given: Mapping[str, Any], former: Mapping[str, Any] | None, *, fifo: bool) -> dict[str, Any]:
    """The members that say how a mapping works: what is given, else what was so before. Raises ApiError.

    An object that is given empty takes the former one away.
    """
    _check_others(given)
    members = dict(_DEFAULTS if former is None else former)
    for name in (*_KEPT, *_KEPT_OBJECTS):
        value = given.get(name)
        if value is not None:
            members[name] = value
    for name in ("FilterCriteria", *_KEPT_OBJECTS):
        if not members.get(name) or members[name] == {"Filters": []}:
            members.pop(name, None)
    check_members(members, fifo=fifo)
    return members


def _check_others(given: Mapping[str, Any]) -> None:
    for name in _ONLY_OTHERS:
        if given.get(name) not in (None, [], {}):
            raise faults.not_for_queues(name)
    destinations = given.get("DestinationConfig") or {}
    if any((side or {}).get("Destination") for side in destinations.values()):
        # What fails goes to the queue's own dead-letter queue.
        raise faults.not_for_queues("DestinationConfig")


def check_members(members: Mapping[str, Any], *, fifo: bool) -> None:
    """Raise ApiError for members that a mapping of a queue cannot have together."""
    window_seconds = members["MaximumBatchingWindowInSeconds"]
    if fifo and window_seconds:
        raise faults.not_for_fifo("MaximumBatchingWindowInSeconds")
    if members["BatchSize"] > SMALL_BATCH:
        raise_for = faults.fifo_batch_too_large if fifo else faults.window_needed
        if fifo or not window_seconds:
            raise raise_for()
    if "ScalingConfig" in members and "ProvisionedPollerConfig" in members:
        raise faults.two_limits()
    pollers = members.get("ProvisionedPollerConfig") or {}
    if pollers.get("MinimumPollers", 0) > pollers.get("MaximumPollers", MOST_WORKERS):
        raise faults.pollers_out_of_order()
    texts = _pattern_texts(members)
    if len(texts) > FILTERS_LIMIT:
        raise faults.too_many_filters(FILTERS_LIMIT)
    try:
        for text in texts:
            FilterPattern(text)
    except FilterPatternError as error:
        raise faults.invalid_filter() from error


def check_tags(tags: Mapping[str, str]) -> None:
    """Raise ApiError for tags that nothing can have."""
    if len(tags) > TAGS_LIMIT:
        raise faults.too_many_tags()
    if any(key.lower().startswith("aws:") for key in tags):
        raise faults.reserved_tag_key()


def check_visibility(visibility_seconds: int, timeout_seconds: int) -> None:
    """Raise ApiError for a queue whose messages would come back while the function works on them."""
    if visibility_seconds < timeout_seconds:
        raise faults.visibility_too_short(visibility_seconds, timeout_seconds)


def _pattern_texts(members: Mapping[str, Any]) -> list[str]:
    # A filter without a pattern is none.
    filters = (members.get("FilterCriteria") or {}).get("Filters") or []
    return [each["Pattern"] for each in filters if each.get("Pattern") is not None]
