"""What a request says about its signature, in the ``Authorization`` header or in the query, and nothing of its truth.

Source: AWS IAM User Guide, "Elements of an AWS API request signature"; the error names from AWS Lambda API reference,
"Common Errors".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from venturekit.protocol.sigv4_canonical import ALGORITHM, TIME_FORMAT

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_EXPIRES_S = 604_800
_ALGORITHM = ALGORITHM.encode()
_MAX_DATE_LENGTH = 64
_QUERY_PARAMETERS = (
    *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date"),
    *("X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"),
)


class SignatureError(Exception):
    """A request that is not authenticated: AWS's error code, its message and the HTTP status to answer with."""

    def __init__(self, code: str, message: str, status: int = 403) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Claim(NamedTuple):
    """What a request says about its signature, in either form. ``expires_s`` is None in the header form."""

    access_key_id: str
    scope: bytes
    timestamp: bytes
    signed_headers: bytes
    signature: bytes
    session_token: bytes | None
    payload_hash: bytes | None
    expires_s: int | None


def claim_of(headers: Mapping[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> Claim:
    """What the request claims: ``headers`` have lower-case names, ``pairs`` are as sent. Raises SignatureError."""
    parameters = _amz_parameters(pairs)
    authorization = headers.get(b"authorization", b"").strip()
    is_presigned = b"x-amz-signature" in parameters or b"x-amz-algorithm" in parameters
    if authorization and is_presigned:
        raise incomplete_signature(
            "The request is signed both in the Authorization header and in the query. Send only one."
        )
    if authorization:
        return _claim_of_header(authorization, headers)
    if is_presigned:
        return _claim_of_query(parameters, headers)
    raise SignatureError("MissingAuthenticationTokenException", "Missing Authentication Token")


def _amz_parameters(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    parameters: dict[bytes, bytes] = {}
    for key, value in pairs:
        name = parameter_name(key)
        if name.startswith(b"x-amz-"):
            if name in parameters:
                raise incomplete_signature(f"The query parameter '{text_of(name)}' is given more than once.")
            parameters[name] = unquote_to_bytes(value)
    return parameters


def _parts_of(authorization: bytes) -> dict[bytes, bytes]:
    algorithm, _, rest = authorization.partition(b" ")
    parts: dict[bytes, bytes] = {}
    for pair in rest.split(b",") if rest else ():
        name, equal_sign, value = pair.strip().partition(b"=")
        if not equal_sign:
            raise incomplete_signature(
                f"'{text_of(name)}' not a valid key=value pair (missing equal-sign) in Authorization header: "
                f"'{text_of(authorization)}'."
            )
        if name in parts:
            raise incomplete_signature(f"Authorization header gives '{text_of(name)}' more than once.")
        parts[name] = value
    if algorithm != _ALGORITHM:
        raise incomplete_signature(f"Authorization header must use {ALGORITHM}, not '{text_of(algorithm)}'.")
    return parts


def _claim_of_header(authorization: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    parts = _parts_of(authorization)
    missing = [
        f"'{name}' parameter" for name in ("Credential", "Signature", "SignedHeaders") if name.encode() not in parts
    ]
    timestamp = _timestamp_of_headers(headers)
    if timestamp is None:
        missing.append("existence of either a 'X-Amz-Date' or a 'Date' header")
    if missing or timestamp is None:
        raise incomplete_signature(" ".join(f"Authorization header requires {part}." for part in missing))
    access_key_id, scope = _split_credential(parts[b"Credential"])
    return Claim(
        access_key_id=access_key_id,
        scope=scope,
        timestamp=timestamp,
        signed_headers=parts[b"SignedHeaders"],
        signature=parts[b"Signature"],
        session_token=headers.get(b"x-amz-security-token"),
        payload_hash=headers.get(b"x-amz-content-sha256"),
        expires_s=None,
    )


def _claim_of_query(parameters: Mapping[bytes, bytes], headers: Mapping[bytes, bytes]) -> Claim:
    missing = [name for name in _QUERY_PARAMETERS if name.lower().encode() not in parameters]
    if missing:
        raise incomplete_signature(f"A signature in the query requires the parameters {', '.join(missing)}.")
    if parameters[b"x-amz-algorithm"] != _ALGORITHM:
        raise incomplete_signature(
            f"X-Amz-Algorithm must be {ALGORITHM}, not '{text_of(parameters[b'x-amz-algorithm'])}'."
        )
    expires = parameters[b"x-amz-expires"]
    if not (expires.isdigit() and len(expires) <= 6 and 1 <= int(expires) <= MAX_EXPIRES_S):
        raise incomplete_signature(f"X-Amz-Expires must be 1 to {MAX_EXPIRES_S} seconds, not '{text_of(expires)}'.")
    access_key_id, scope = _split_credential(parameters[b"x-amz-credential"])
    return Claim(
        access_key_id=access_key_id,
        scope=scope,
        timestamp=parameters[b"x-amz-date"],
        signed_headers=parameters[b"x-amz-signedheaders"],
        signature=parameters[b"x-amz-signature"],
        session_token=parameters.get(b"x-amz-security-token", headers.get(b"x-amz-security-token")),
        payload_hash=parameters.get(b"x-amz-content-sha256", headers.get(b"x-amz-content-sha256")),
        expires_s=int(expires),
    )


def _split_credential(credential: bytes) -> tuple[str, bytes]:
    access_key_id, slash, rest = credential.partition(b"/")
    if not slash or rest.count(b"/") != 3:
        raise incomplete_signature(
            "Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request, "
            f"not '{text_of(credential)}'."
        )
    return text_of(access_key_id), rest


def _timestamp_of_headers(headers: Mapping[bytes, bytes]) -> bytes | None:
    timestamp = headers.get(b"x-amz-date")
    if timestamp is not None:
        return timestamp.strip()
    date = headers.get(b"date")
    if date is None:
        return None
    # Only old clients sign Date, and the parser of mail dates is slow to import.
    from email.utils import parsedate_to_datetime

    try:
        if len(date) > _MAX_DATE_LENGTH:
            raise ValueError
        signed_at = parsedate_to_datetime(text_of(date))
        if signed_at.tzinfo is None:
            # "-0000" is UTC of unknown origin: what botocore sends.
            signed_at = signed_at.replace(tzinfo=UTC)
        return signed_at.astimezone(UTC).strftime(TIME_FORMAT).encode()
    except (ValueError, TypeError, IndexError, OverflowError):
        return date.strip()


def parameter_name(key: bytes) -> bytes:
    """The name of a query parameter, decoded and in lower case, so that no spelling of ``X-Amz-`` goes unseen."""
    return (unquote_to_bytes(key) if b"%" in key else key).lower()


def epoch_of(timestamp: bytes) -> int:
    """The epoch seconds of a ``yyyymmddThhmmssZ``. Raises SignatureError for any other form."""
    date, time = timestamp[:8], timestamp[9:15]
    if len(timestamp) == 16 and timestamp[8:9] == b"T" and timestamp[15:] == b"Z" and (date + time).isdigit():
        year, month, day = int(date[:4]), int(date[4:6]), int(date[6:])
        hour, minute, second = int(time[:2]), int(time[2:4]), int(time[4:])
        try:
            return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
        except ValueError:
            pass
    raise incomplete_signature(
        f"The date of a signed request must have the form yyyymmddThhmmssZ, not '{text_of(timestamp)}'."
    )


def text_of(value: bytes) -> str:
    """Received bytes as text, for messages and keys: never fails, never maps two values to one."""
    return value.decode("latin-1")


def invalid_signature(message: str) -> SignatureError:
    """The error of a signature that is complete and does not hold."""
    return SignatureError("InvalidSignatureException", message)


def incomplete_signature(message: str) -> SignatureError:
    """The error of a signature that lacks a part or cannot be read."""
    return SignatureError("IncompleteSignatureException", message)
