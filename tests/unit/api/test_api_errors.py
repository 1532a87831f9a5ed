"""Errors: status, message key, members, and their bytes."""

from __future__ import annotations

import pytest

from venturekit.service.api.errors import ApiError, api_error, render_error
from venturekit.service.api.quirks import UNMODELLED_ERRORS


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [
        ("InvalidParameterValueException", 400, b'{"Type":"User","message":"m"}'),
        ("InvalidRequestContentException", 400, b'{"Type":"User","message":"m"}'),
        ("RecursiveInvocationException", 400, b'{"Type":"User","Message":"m"}'),
        ("CodeVerificationFailedException", 400, b'{"Type":"User","Message":"m"}'),
        ("ServiceQuotaExceededException", 402, b'{"Type":"User","Message":"m"}'),
        ("ResourceNotFoundException", 404, b'{"Type":"User","Message":"m"}'),
        ("ProvisionedConcurrencyConfigNotFoundException", 404, b'{"Type":"User","message":"m"}'),
        ("ResourceConflictException", 409, b'{"Type":"User","message":"m"}'),
        ("EFSIOException", 410, b'{"Type":"User","Message":"m"}'),
        ("PreconditionFailedException", 412, b'{"Type":"User","message":"m"}'),
        ("RequestTooLargeException", 413, b'{"Type":"User","message":"m"}'),
        ("UnsupportedMediaTypeException", 415, b'{"Type":"User","message":"m"}'),
        ("TooManyRequestsException", 429, b'{"Type":"User","message":"m"}'),
        ("ServiceException", 500, b'{"Type":"Service","Message":"m"}'),
        ("ResourceNotReadyException", 502, b'{"Type":"Service","message":"m"}'),
        ("InvalidZipFileException", 502, b'{"Type":"Service","Message":"m"}'),
        ("ValidationException", 400, b'{"message":"m"}'),
        ("RequestEntityTooLargeException", 413, b'{"message":"m"}'),
        ("AccessDeniedException", 403, b'{"Message":"m"}'),
        ("InvalidSignatureException", 403, b'{"message":"m"}'),
        ("MissingAuthenticationTokenException", 403, b'{"message":"m"}'),
        ("UnknownOperationException", 404, b'{"message":"m"}'),
        ("SerializationException", 400, b'{"Type":"User","message":"m"}'),
        ("NotImplementedException", 501, b'{"Type":"Service","message":"m"}'),
    ],
)
def test_the_form_of_an_error(code: str, status: int, body: bytes) -> None:
    headers = [
        (b"Content-Type", b"application/json"),
        (b"x-amzn-RequestId", b"id-1"),
        (b"x-amzn-ErrorType", code.encode()),
    ]
    assert render_error(api_error(code, "m"), "id-1") == (status, headers, body)


def test_the_recorded_length_of_an_answer_of_the_authentication_layer() -> None:
    message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )
    assert len(render_error(api_error("InvalidSignatureException", message), "id-1")[2]) == 192


def test_a_type_can_be_left_out_and_a_message_can_be_null() -> None:
    assert render_error(api_error("InvalidParameterValueException", "m", type=None), "i")[2] == b'{"message":"m"}'
    assert render_error(api_error("ServiceException", "m", type=None), "i")[2] == b'{"Message":"m"}'
    assert render_error(api_error("AccessDeniedException", None), "i")[2] == b'{"Message":null}'


def test_members_that_are_headers_go_there() -> None:
    error = api_error("TooManyRequestsException", "m", Reason="CallerRateLimitExceeded", retryAfterSeconds=2)
    _, headers, body = render_error(error, "i")
    assert (b"Retry-After", b"2") in headers
    assert body == b'{"Type":"User","message":"m","Reason":"CallerRateLimitExceeded"}'


def test_an_unknown_code_is_a_fault_of_ours() -> None:
    with pytest.raises(LookupError, match="NoSuchException"):
        api_error("NoSuchException", "m")


def test_every_unmodelled_error_can_be_made() -> None:
    errors = [api_error(code, "m") for code in UNMODELLED_ERRORS]
    assert [error.type for error in errors] == ["Service" if e.status >= 500 else e.type for e in errors]


def test_text_of_the_caller_cannot_break_the_answer() -> None:
    error = ApiError("Code", "\ud800 \u00e9", status=400, headers={"Allow": "GET\r\nSet-Cookie: x"})
    _, headers, body = render_error(error, "id\r\n1")
    assert body == '{"Type":"User","message":"? \u00e9"}'.encode()
    assert all(b"\r" not in value and b"\n" not in value for _, value in headers)
    assert "Code" in str(error)
