"""Every error that the operations on event source mappings answer with.

Published answers of AWS Lambda are the texts of ``exists``, ``window_needed``, ``visibility_too_short`` and
``invalid_filter``. Those marked as unverified are like AWS's as far as is known, but no published answer was found for
them; those marked as a choice are this service's own words.
"""

from __future__ import annotations

from venturekit.service.api.errors import ApiError, api_error


def invalid(message: str) -> ApiError:
    """400 InvalidParameterValueException."""
    return api_error("InvalidParameterValueException", message)


def unknown_mapping() -> ApiError:
    """404 for a UUID, in the recorded words that are not about functions."""
    return api_error("ResourceNotFoundException", "The resource you requested does not exist.")


def in_use(verb: str) -> ApiError:
    """400 ResourceInUseException for a mapping that changes already; ``verb`` is update or delete (unverified)."""
    return api_error("ResourceInUseException", f"Cannot {verb} the event source mapping because it is in use.")


def exists(queue_arn: str, function_name: str, uuid: str) -> ApiError:
    """409 for a second mapping of a queue to a function."""
    return api_error(
        "ResourceConflictException",
        f'An event source mapping with SQS arn (" {queue_arn} ") and function (" {function_name} ") already exists. '
        f"Please update or delete the existing mapping with UUID {uuid}",
    )


def no_source() -> ApiError:
    """400 for a mapping without a source, or with one that is none of Lambda's (unverified)."""
    return invalid("Unrecognized event source.")


def source_not_served(kind: str) -> ApiError:
    """400 for the sources that this service does not poll (a choice)."""
    return invalid(
        f"Event source mappings for {kind} are not supported by this service: it polls Amazon SQS queues only "
        "(docs/event-source-mappings.md)."
    )


def no_function() -> ApiError:
    """400 for a function, version or alias that is not there (unverified)."""
    return invalid("Function does not exist")


def for_tenants_only() -> ApiError:
    """400 for a function with tenant isolation: a message names no tenant (a choice)."""
    return invalid("Functions with tenant isolation (TenancyConfig) cannot be invoked by event source mappings.")


def not_for_queues(member: str) -> ApiError:
    """400 for what only other sources have (unverified; AWS puts some of the members in quotes)."""
    return invalid(f"Unsupported {member} parameter for given event source mapping type.")


def bad_queue_arn(arn: str) -> ApiError:
    """400 for an ARN that is not that of a queue (a choice)."""
    return invalid(f"The event source ARN {arn} is invalid: a queue has the form arn:aws:sqs:region:account:name.")


def window_needed() -> ApiError:
    """400 for a large batch that nothing is waited for."""
    return invalid("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")


def not_for_fifo(member: str) -> ApiError:
    """400 for what a FIFO queue does not take (a choice)."""
    return invalid(f"{member} is not supported for FIFO queues.")


def fifo_batch_too_large() -> ApiError:
    """400 for a batch of a FIFO queue (a choice)."""
    return invalid("Maximum batch size must be less than or equal to 10 for FIFO queues.")


def visibility_too_short(visibility_seconds: int, timeout_seconds: int) -> ApiError:
    """400 for a queue whose messages would come back while the function still works on them."""
    return invalid(
        f"Queue visibility timeout: {visibility_seconds} seconds is less than Function timeout: "
        f"{timeout_seconds} seconds"
    )


def invalid_filter() -> ApiError:
    """400 for a filter pattern."""
    return invalid("Invalid filter pattern definition.")


def too_many_filters(limit: int) -> ApiError:
    """400 for more filters than a mapping has (a choice)."""
    return invalid(f"FilterCriteria has more than {limit} filters.")


def two_limits() -> ApiError:
    """400 for two members that say how many pollers there are (a choice)."""
    return invalid("ScalingConfig and ProvisionedPollerConfig cannot both be given.")


def pollers_out_of_order() -> ApiError:
    """400 for a least number of pollers that is above the most (a choice)."""
    return invalid("MinimumPollers must be less than or equal to MaximumPollers.")


def queue_refused(code: str, message: str) -> ApiError:
    """400 with the words of SQS (unverified)."""
    return invalid(f"Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {message}")


def queue_not_asked(reason: str) -> ApiError:
    """400 for a queue that could not be asked for its attributes (a choice)."""
    return invalid(f"The queue could not be asked for its attributes: {reason}")


def invalid_marker() -> ApiError:
    """400 for a ``Marker`` that no page gave (a choice)."""
    return invalid("Invalid Marker: use the NextMarker of the page before, unchanged")


def reserved_tag_key() -> ApiError:
    """400 for a tag that only AWS may set (the words are those for functions)."""
    return invalid("aws: prefixed tag key names are not allowed for external use.")


def too_many_tags() -> ApiError:
    """400 for more than 50 tags."""
    return invalid("Number of tags exceeds resource tag limit.")


def store_unavailable(reason: str) -> ApiError:
    """500 when a change could not be made durable; nothing was changed."""
    return api_error("ServiceException", f"The change was not made: {reason}", type="Service")
