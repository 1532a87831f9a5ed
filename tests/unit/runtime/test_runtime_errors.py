"""The eleven errors: statuses, codes, texts, details; and that they survive what happens to exceptions."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from venturekit.runtime import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    InternalError,
    Issue,
    NotFoundError,
    PayloadTooLargeError,
    RateLimitError,
    ServiceUnavailableError,
    TaskError,
    TaskTimeoutError,
    TaskValidationError,
    UnauthorizedError,
    ValidationError,
    VentureError,
    is_venture_error,
)

CASES: list[tuple[VentureError, int, str, str, dict[str, Any], dict[str, str]]] = [
    (VentureError(), 500, "INTERNAL_ERROR", "Internal server error", {}, {}),
    (
        VentureError("m", status_code=418, code="TEA", details={"a": 1}, headers={"H": "v"}),
        418,
        "TEA",
        "m",
        {"a": 1},
        {"H": "v"},
    ),
    (BadRequestError(), 400, "BAD_REQUEST", "Bad request", {}, {}),
    (BadRequestError("m", {"a": 1}), 400, "BAD_REQUEST", "m", {"a": 1}, {}),
    (UnauthorizedError(), 401, "UNAUTHORIZED", "Unauthorized", {}, {}),
    (ForbiddenError(), 403, "FORBIDDEN", "Forbidden", {}, {}),
    (NotFoundError("Task", "123"), 404, "NOT_FOUND", "Task '123' not found", {"resource": "Task", "id": "123"}, {}),
    (NotFoundError("Task", 0), 404, "NOT_FOUND", "Task '0' not found", {"resource": "Task", "id": 0}, {}),
    (NotFoundError("Task"), 404, "NOT_FOUND", "Task not found", {"resource": "Task"}, {}),
    (NotFoundError(), 404, "NOT_FOUND", "Resource not found", {"resource": "Resource"}, {}),
    (ConflictError(), 409, "CONFLICT", "Conflict", {}, {}),
    (PayloadTooLargeError(), 413, "PAYLOAD_TOO_LARGE", "Payload too large", {}, {}),
    (ValidationError(), 422, "VALIDATION_ERROR", "Validation failed", {}, {}),
    (ValidationError("m", {"a": ["x", "y"]}), 422, "VALIDATION_ERROR", "m", {"fields": {"a": ["x", "y"]}}, {}),
    (ValidationError("m", {"a": "x"}), 422, "VALIDATION_ERROR", "m", {"fields": {"a": ["x"]}}, {}),
    (RateLimitError(), 429, "RATE_LIMITED", "Too many requests", {}, {}),
    (RateLimitError(30), 429, "RATE_LIMITED", "Too many requests", {"retryAfter": 30}, {"Retry-After": "30"}),
    (RateLimitError(0.2), 429, "RATE_LIMITED", "Too many requests", {"retryAfter": 1}, {"Retry-After": "1"}),
    (RateLimitError(-5), 429, "RATE_LIMITED", "Too many requests", {"retryAfter": 0}, {"Retry-After": "0"}),
    (InternalError(), 500, "INTERNAL_ERROR", "Internal server error", {}, {}),
    (ServiceUnavailableError("Payments"), 503, "SERVICE_UNAVAILABLE", "Payments is currently unavailable", {}, {}),
    (ServiceUnavailableError(), 503, "SERVICE_UNAVAILABLE", "Service is currently unavailable", {}, {}),
]


@pytest.mark.parametrize(("error", "status", "code", "message", "details", "headers"), CASES)
def test_an_error_says_what_the_table_says(
    error: VentureError, status: int, code: str, message: str, details: Any, headers: Any
) -> None:
    assert (error.status_code, error.code, error.message, str(error)) == (status, code, message, message)
    assert (error.details, error.headers) == (details, headers)
    told = {"code": code, "message": message}
    assert error.to_dict() == (told | {"details": details} if details else told)
    assert is_venture_error(error)


@pytest.mark.parametrize("error", [case[0] for case in CASES])
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_can_be_sent_between_processes(error: VentureError, again: Any) -> None:
    other = again(error)
    assert type(other) is type(error)
    assert (other.to_dict(), other.status_code, other.headers, str(other), other.args) == (
        error.to_dict(),
        error.status_code,
        error.headers,
        str(error),
        error.args,
    )


def test_details_are_the_errors_own() -> None:
    given = {"a": 1}
    error = BadRequestError("m", given)
    error.details["b"] = 2
    assert given == {"a": 1}
    assert BadRequestError().details is not BadRequestError().details


@pytest.mark.parametrize("other", [ValueError(), None, "NOT_FOUND", VentureError, TaskError()])
def test_other_things_are_no_venture_errors(other: object) -> None:
    assert not is_venture_error(other)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TaskValidationError([]), "the event is not valid"),
        (TaskValidationError([Issue(("a", 0), "is required")]), "the event is not valid: a.0: is required"),
        (TaskValidationError([Issue((), "must be a list")]), "the event is not valid: the event: must be a list"),
        (TaskValidationError([], "own"), "own"),
        (TaskTimeoutError(50), "the task did not end within 50 ms"),
    ],
)
def test_errors_of_tasks(error: TaskError, text: str) -> None:
    assert str(error) == text
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), text, vars(error))
