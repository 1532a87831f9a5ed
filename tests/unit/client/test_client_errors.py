"""Errors: a class for each code, what answers say however they say it, and the way to other processes."""

from __future__ import annotations

import copy
import json
import pickle
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import venturekit.client
from tests.unit.client.command_support import model
from venturekit.client import (
    AccessDeniedException,
    AnswerTimeoutError,
    ClientClosedError,
    ClientConfigError,
    ConnectError,
    CredentialsError,
    GetFunctionCommandOutput,
    InvalidParameterValueException,
    InvocationResponse,
    LambdaClientError,
    LambdaInvocationError,
    LambdaServiceException,
    MalformedAnswerError,
    OperationError,
    PaginationError,
    ParameterValidationError,
    PayloadTooLargeError,
    PoolError,
    ResourceNotFoundException,
    SignatureError,
    StreamError,
    StreamInvocationError,
    ThrottledError,
    TooManyRequestsException,
    TransportError,
    UnrecognizedClientException,
    ValidationException,
    WaiterError,
    errors,
)
from venturekit.client.answers import service_error
from venturekit.client.commands import WireResponse
from venturekit.client.service_errors import SERVICE_ERRORS, error_for

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMON = {
    *("AccessDeniedException", "ExpiredTokenException", "IncompleteSignature", "InternalFailure", "NotAuthorized"),
    *("MalformedHttpRequestException", "OptInRequired", "RequestAbortedException", "RequestEntityTooLargeException"),
    *("RequestExpired", "RequestTimeoutException", "ServiceUnavailable", "ThrottlingException"),
    *("UnrecognizedClientException", "UnknownOperationException", "ValidationException"),
}
SIGNATURES = {
    *("MissingAuthenticationTokenException", "IncompleteSignatureException", "UnrecognizedClientException"),
    *("ExpiredTokenException", "InvalidSignatureException", "IncompleteSignature", "RequestExpired"),
}


def answered(body: str | bytes, status: int = 400, **headers: str) -> Any:
    raw = body.encode() if isinstance(body, str) else body
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return service_error("Invoke", WireResponse(status, given, raw), "http://service", 0.0)


# --- classes ------------------------------------------------------------------------------------------------------


def test_every_error_of_the_model_has_a_class_and_every_class_a_reason() -> None:
    modelled = {shape.name for shape in model().error_shapes}
    by_operations = {
        shape.name for name in model().operation_names for shape in model().operation_model(name).error_shapes
    }
    assert by_operations <= modelled
    assert modelled | COMMON | SIGNATURES == set(SERVICE_ERRORS)
    assert {code for code, kind in SERVICE_ERRORS.items() if issubclass(kind, SignatureError)} == SIGNATURES
    throttles = {"EC2ThrottledException", "ThrottlingException", "TooManyRequestsException"}
    assert {code for code, kind in SERVICE_ERRORS.items() if issubclass(kind, ThrottledError)} == throttles


@pytest.mark.parametrize("code", sorted(SERVICE_ERRORS))
def test_except_by_class(code: str) -> None:
    kind = getattr(venturekit.client, code)
    error = answered('{"message":"m"}', 400, x_amzn_errortype=code)
    with pytest.raises(kind, match=f"{code}: m") as caught:
        raise error
    assert type(caught.value) is kind
    assert isinstance(error, LambdaServiceException)
    assert (error.code, error.name, error.message) == (code, code, "m")
    assert kind.__doc__


def test_the_tree_at_the_top_is_the_tree() -> None:
    def lines(kind: type[Exception], depth: int) -> Iterable[tuple[int, str]]:
        yield depth, kind.__name__
        for inner in kind.__subclasses__():
            if inner.__module__.startswith("venturekit.client."):
                yield from lines(inner, depth + 1)

    picture = (errors.__doc__ or "").partition("The tree:")[2].partition("Sources:")[0]
    drawn = re.findall(r"^((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)", picture, re.MULTILINE)
    tree = {(len(indent) // 4, name) for indent, name in drawn}
    assert tree == set(lines(LambdaClientError, 0))
    names = {name for _, name in tree}
    assert names <= set(venturekit.client.__all__)


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (ClientConfigError, (ValueError,)),
        (CredentialsError, (ClientConfigError,)),
        (ParameterValidationError, (ValueError,)),
        (TransportError, (ConnectionError, OSError)),
        (AnswerTimeoutError, (TimeoutError, ConnectionError)),
        (PoolError, (ConnectError,)),
        (OperationError, (ValueError,)),
    ],
)
def test_errors_are_pythons_too(kind: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    assert issubclass(kind, (LambdaClientError, *bases))
    assert all(issubclass(kind, base) for base in bases)


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NewException", 400, LambdaServiceException),
        ("NewException", 429, ThrottledError),
        ("Throttling", 400, ThrottledError),
        ("RequestLimitExceeded", 503, ThrottledError),
        ("ValidationError", 400, ValidationException),
        ("", 429, ThrottledError),
    ],
)
def test_codes_without_a_class(code: str, status: int, kind: type[LambdaServiceException]) -> None:
    assert error_for(code, status) is kind


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "code", "message"),
    [
        ('{"Type":"User","message":"m"}', {"x_amzn_errortype": "ResourceNotFoundException"}, None, "m"),
        ('{"Type":"User","Message":"m"}', {"x_amzn_errortype": "ResourceNotFoundException"}, None, "m"),
        ('{"Message":null}', {"x_amzn_errortype": "ResourceNotFoundException"}, None, ""),
        ('{"__type":"ResourceNotFoundException","message":"m"}', {}, None, "m"),
        ('{"__type":"com.amazonaws.lambda#ResourceNotFoundException","message":"m"}', {}, None, "m"),
        ('{"code":"ResourceNotFoundException","Message":"m"}', {}, None, "m"),
        ('{"Code":"ResourceNotFoundException"}', {}, None, ""),
        ("", {"x_amzn_errortype": "ResourceNotFoundException:http://internal.amazon.com/coral/"}, None, ""),
        ("", {"x_amzn_errortype": "a.b#ResourceNotFoundException:http://internal"}, None, ""),
        ("<html>", {"x_amzn_errortype": "ResourceNotFoundException"}, None, ""),
        ("[1]", {"x_amzn_errortype": " ResourceNotFoundException "}, None, ""),
        ('{"message":5}', {"x_amzn_errortype": "ResourceNotFoundException"}, None, ""),
        ('{"message":"m"}', {"x_amzn_errortype": "Unheard"}, "Unheard", "m"),
        ('{"message":"m"}', {}, "404", "m"),
    ],
)
def test_an_answer_that_refuses(body: str, headers: dict[str, str], code: str | None, message: str) -> None:
    error = answered(body, 404, x_amzn_requestid="id", **headers)
    assert type(error) is (ResourceNotFoundException if code is None else LambdaServiceException)
    assert (error.code, error.message, error.status) == (code or "ResourceNotFoundException", message, 404)
    assert error.request_id == "id"
    assert str(error) == f"{error.code}: {message}" if message else f"{error.code}, without a reason"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", ["", "<html><h1>Bad Gateway</h1></html>", "{}", "null", "[" * 100_000, b"\xff\x00"])
def test_a_failure_without_a_code(status: int, body: str | bytes) -> None:
    error = answered(body, status)
    assert (type(error), error.code, error.status, error.retryable) == (
        LambdaServiceException,
        str(status),
        status,
        True,
    )
    assert (error.request_id, error.details, error.reason) == (None, {}, None)


@pytest.mark.parametrize(("status", "body"), [(404, "<html>nginx</html>"), (400, ""), (403, "[]"), (302, "")])
def test_what_is_no_answer_of_lambda(status: int, body: str) -> None:
    error = answered(body, status)
    assert type(error) is MalformedAnswerError
    assert f"status {status} to Invoke" in str(error)
    assert "http://service" in str(error)


def test_what_a_throttle_tells() -> None:
    body = '{"Type":"User","message":"Rate Exceeded.","Reason":"ReservedFunctionConcurrentInvocationLimitExceeded"}'
    error = answered(body, 429, x_amzn_errortype="TooManyRequestsException", retry_after="3", x_amzn_requestid="id")
    assert isinstance(error, TooManyRequestsException)
    assert error.reason == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert (error.retry_after, error.retryable, error.is_throttle, error.request_id) == (3.0, True, True, "id")
    assert error.details == json.loads(body)
    error.attempts = 3
    assert str(error) == "TooManyRequestsException: Rate Exceeded. (after 3 attempts)"


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [
        ("TooManyRequestsException", 429, True),
        ("EC2ThrottledException", 502, True),
        ("ENINotReadyException", 502, True),
        ("ResourceNotReadyException", 502, True),
        ("SnapStartNotReadyException", 409, True),
        ("EFSMountTimeoutException", 408, True),
        ("RequestTimeoutException", 408, True),
        ("ServiceException", 500, True),
        ("ServiceUnavailable", 503, True),
        ("ResourceConflictException", 409, False),
        ("ResourceNotFoundException", 404, False),
        ("RecursiveInvocationException", 400, False),
        ("AccessDeniedException", 403, False),
        ("ExpiredTokenException", 403, False),
        ("ServiceQuotaExceededException", 402, False),
    ],
)
def test_what_may_go_another_time(code: str, status: int, retryable: bool) -> None:
    assert answered('{"message":"m"}', status, x_amzn_errortype=code).retryable is retryable


@given(body=st.binary(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_no_answer_breaks_the_reading(body: bytes) -> None:
    for status in (400, 500):
        assert isinstance(answered(body, status), LambdaServiceException | MalformedAnswerError)


# --- from process to process --------------------------------------------------------------------------------------

RESPONSE = InvocationResponse(
    200, b'{"errorType":"E"}', executed_version="7", function_error="Unhandled", log_result="l"
)
TOLD = {"errorType": "E", "errorMessage": "m", "stackTrace": ["a"]}


def throttle() -> LambdaServiceException:
    error = TooManyRequestsException(
        "m", code="TooManyRequestsException", status=429, request_id="id", details={"Reason": "R"}, retry_after=1.5
    )
    error.attempts = 3
    error.add_note("seen twice")
    return error


ERRORS: list[LambdaClientError] = [
    LambdaClientError("m"),
    ClientConfigError("m"),
    CredentialsError("m"),
    ParameterValidationError("Invoke", ["a", "b"]),
    PayloadTooLargeError("Invoke", ["a"]),
    TransportError("m"),
    PoolError("m"),
    AnswerTimeoutError("m"),
    StreamError("m"),
    throttle(),
    AccessDeniedException("", status=403),
    UnrecognizedClientException("m", code="Other", status=403, details={"a": [1]}),
    InvalidParameterValueException("m"),
    LambdaInvocationError("Unhandled: E", RESPONSE, TOLD),
    StreamInvocationError("Unhandled", RESPONSE),
    OperationError("m"),
    PaginationError("m"),
    WaiterError("m", GetFunctionCommandOutput.of({"Tags": {"a": "b"}})),
    ClientClosedError("m"),
]


def facts(error: Any) -> Any:
    """All that an error tells."""
    known = {name: value for name, value in vars(error).items() if name != "response"}
    response = getattr(error, "response", None)
    told = None if response is None else [getattr(response, name) for name in InvocationResponse.__slots__]
    return type(error), str(error), error.args, error.message, error.retryable, known, told


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_copy_tells_the_same(error: LambdaClientError) -> None:
    for copied in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert copied is not error
        assert facts(copied) == facts(error)


def test_errors_pass_from_process_to_process() -> None:
    code = (
        "import pickle, sys\n"
        "found = pickle.load(sys.stdin.buffer)\n"
        "print([str(error) for error in found], file=sys.stderr)\n"
        "pickle.dump(found, sys.stdout.buffer)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(ERRORS), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.decode().strip() == str([str(error) for error in ERRORS])
    assert [facts(error) for error in pickle.loads(done.stdout)] == [facts(error) for error in ERRORS]
