"""AWS Signature Version 4 for the Lambda API: verifying what unmodified AWS clients signed.

It reads no clock. Sources: AWS IAM User Guide, "Create a signed AWS API request" and "Troubleshoot Signature
Version 4"; the error names from AWS Lambda API reference, "Common Errors".
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from venturekit.protocol.sigv4_canonical import (
    TERMINATOR,
    TIME_FORMAT,
    canonical_path,
    canonical_query,
    canonical_request,
    derive_key,
    signature_of,
    split_query,
)
from venturekit.protocol.sigv4_claim import (
    Claim,
    SignatureError,
    claim_of,
    epoch_of,
    incomplete_signature,
    invalid_signature,
    parameter_name,
    text_of,
)
from venturekit.protocol.sigv4_signer import Credentials, sign_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

__all__ = ["Credentials", "SignatureError", "SignatureVerifier", "sign_headers"]

MAX_SKEW_S = 300
_MAX_CACHED_KEYS = 256
_MAX_KEPT_TARGET = 1024
# Signs for unknown access keys, so that they take as long as known ones; a match is refused all the same.
_UNKNOWN_KEY_SECRET = "no-such-access-key"  # noqa: S105 - not a secret: nobody is let in with it

_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


class SignatureVerifier:
    """Verifies signatures, in the ``Authorization`` header or in the query, for one region and service.

    ``credentials_of`` gives the credentials of an access key id, or None; it may raise SignatureError itself.
    ``default_ports`` are ports that a client may have signed in ``Host`` and not sent.
    Derived signing keys, and what the targets of earlier requests amount to, are kept in bounded tables. Use one
    instance from one thread.
    """

    __slots__ = ("_credentials_of", "_default_ports", "_keys", "_region", "_service", "_targets", "_time")

    def __init__(
        self,
        credentials_of: Callable[[str], Credentials | None],
        *,
        region: str,
        service: str = "lambda",
        default_ports: Collection[int] = (),
    ) -> None:
        self._credentials_of = credentials_of
        self._region = region
        self._service = service
        self._default_ports = tuple(default_ports)
        self._keys: dict[tuple[str, bytes], bytes] = {}
        # Clients address few targets, and many requests a second.
        self._targets: dict[tuple[bytes, bytes], tuple[list[tuple[bytes, bytes]], bytes]] = {}
        self._time: tuple[bytes | None, int] = None, 0

    def verify(
        self,
        method: bytes,
        target: bytes,
        headers: Mapping[bytes, bytes],
        payload_sha256: Callable[[], str],
        *,
        now: float,
    ) -> Credentials:
        """The credentials with which the request was signed.

        ``target`` is the raw path and query, ``headers`` has lower-case names (a caller refuses repeated ``Host``,
        ``Authorization`` and ``x-amz-*`` headers, which a mapping cannot show), ``payload_sha256`` gives the
        hexadecimal hash of the body and is called at most once, ``now`` is in epoch seconds.

        Raises SignatureError and nothing else, whatever the request holds.
        """
        pairs, start = self._target_of(method, target)
        claim = claim_of(headers, pairs)
        timestamp, signed_at = self._time
        if claim.timestamp != timestamp:
            signed_at = epoch_of(claim.timestamp)
            self._time = claim.timestamp, signed_at
        self._check_scope(claim)
        _check_time(claim, signed_at, int(now))
        names = _check_signed_headers(claim.signed_headers, headers)
        payload_hash = _check_payload(claim.payload_hash, payload_sha256)
        if claim.expires_s is not None:
            pairs = [pair for pair in pairs if parameter_name(pair[0]) != b"x-amz-signature"]
            start = _start_of(method, target, pairs)
        requests = (
            canonical_request(start, lines, claim.signed_headers, payload_hash)
            for lines in self._header_lines(names, headers)
        )
        return self._authenticate(claim, requests, now)

    def _target_of(self, method: bytes, target: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The query's pairs, and the lines with which the canonical request starts."""
        known = self._targets.get((method, target))
        if known is None:
            pairs = split_query(target.partition(b"?")[2])
            known = pairs, _start_of(method, target, pairs)
            if len(target) <= _MAX_KEPT_TARGET:
                if len(self._targets) >= _MAX_CACHED_KEYS:
                    del self._targets[next(iter(self._targets))]
                self._targets[method, target] = known
        return known

    def _authenticate(self, claim: Claim, requests: Iterable[bytes], now: float) -> Credentials:
        credentials = self._credentials_of(claim.access_key_id)
        secret = _UNKNOWN_KEY_SECRET if credentials is None else credentials.secret_access_key
        key = self._signing_key(secret, claim.timestamp[:8])
        # Also for an unknown key, which must not be told apart by the time it takes.
        is_signed = any(
            hmac.compare_digest(signature_of(key, claim.timestamp, claim.scope, request), claim.signature)
            for request in requests
        )
        if credentials is None or not _is_same_token(claim.session_token, credentials.session_token):
            raise SignatureError(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        if not is_signed:
            raise invalid_signature(_MISMATCH)
        # Said to the holder of the secret only.
        if credentials.expires_epoch_s is not None and now >= credentials.expires_epoch_s:
            raise SignatureError("ExpiredTokenException", "The security token included in the request is expired")
        return credentials

    def _check_scope(self, claim: Claim) -> None:
        date, region, service, terminator = claim.scope.split(b"/")
        problems = ""
        if region != self._region.encode():
            problems += "Credential should be scoped to a valid region. "
        if service != self._service.encode():
            problems += f"Credential should be scoped to correct service: '{self._service}'. "
        if terminator != TERMINATOR.encode():
            problems += "Credential should end in 'aws4_request'. "
        if date != claim.timestamp[:8]:
            problems += (
                f"The date in the credential scope, '{text_of(date)}', is not the date of the request, "
                f"'{text_of(claim.timestamp[:8])}'. "
            )
        if problems:
            raise invalid_signature(problems)

    def _signing_key(self, secret: str, date: bytes) -> bytes:
        key = self._keys.get((secret, date))
        if key is None:
            key = derive_key(secret, date.decode(), self._region, self._service)
            if len(self._keys) >= _MAX_CACHED_KEYS:
                del self._keys[next(iter(self._keys))]
            self._keys[secret, date] = key
        return key

    def _header_lines(self, names: list[bytes], headers: Mapping[bytes, bytes]) -> Iterator[list[bytes]]:
        lines = [name + b":" + b" ".join(headers[name].split()) for name in names]
        host_at = names.index(b"host")
        yield lines
        # k6 signs the host without its port, and what stands between may drop or add one.
        host, _, port = lines[host_at].rpartition(b":")
        if port.isdigit() and len(host) > len(b"host:"):
            yield [*lines[:host_at], host, *lines[host_at + 1 :]]
            return
        for default_port in self._default_ports:
            yield [*lines[:host_at], b"%s:%d" % (lines[host_at], default_port), *lines[host_at + 1 :]]


def _start_of(method: bytes, target: bytes, pairs: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join((method, canonical_path(target.partition(b"?")[0]), canonical_query(pairs)))


def _check_time(claim: Claim, signed_at: int, now: int) -> None:
    lifetime_s = MAX_SKEW_S if claim.expires_s is None else claim.expires_s
    if signed_at < now - lifetime_s:
        raise invalid_signature(
            f"Signature expired: {text_of(claim.timestamp)} is now earlier than {_format_time(now - lifetime_s)} "
            f"({_format_time(now)} - {_format_duration(lifetime_s)}.)"
        )
    if signed_at > now + MAX_SKEW_S:
        raise invalid_signature(
            f"Signature not yet current: {text_of(claim.timestamp)} is still later than "
            f"{_format_time(now + MAX_SKEW_S)} ({_format_time(now)} + {_format_duration(MAX_SKEW_S)}.)"
        )


def _check_signed_headers(signed_headers: bytes, headers: Mapping[bytes, bytes]) -> list[bytes]:
    names = signed_headers.split(b";")
    if names != sorted(set(names)):
        raise incomplete_signature("SignedHeaders must be sorted, without repetition.")
    for name in names:
        if name not in headers:
            raise invalid_signature(
                f"The header '{text_of(name)}' is listed in SignedHeaders and is not in the request."
            )
    must_be_signed = [name for name in headers if name.startswith(b"x-amz-") and name not in names]
    if b"host" not in names:
        must_be_signed.append(b"host")
    if must_be_signed:
        listed = ", ".join(text_of(name) for name in must_be_signed)
        raise invalid_signature(
            f"'Host' and every 'X-Amz-' header in the request must be signed. Not in SignedHeaders: {listed}."
        )
    return names


def _check_payload(declared: bytes | None, payload_sha256: Callable[[], str]) -> bytes:
    if declared is not None:
        declared = declared.strip()
        if declared.upper().startswith((b"UNSIGNED-PAYLOAD", b"STREAMING-")):
            raise invalid_signature(
                f"x-amz-content-sha256 must be the SHA-256 of the body; '{text_of(declared)}' is not accepted."
            )
    actual = payload_sha256().encode()
    if declared is not None and not hmac.compare_digest(declared, actual):
        raise invalid_signature("The header x-amz-content-sha256 is not the SHA-256 of the body that was received.")
    return actual


def _is_same_token(sent: bytes | None, expected: str | None) -> bool:
    return hmac.compare_digest((sent or b"").strip(), (expected or "").encode())


def _format_time(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime(TIME_FORMAT)


def _format_duration(duration_s: int) -> str:
    return f"{duration_s // 60} min" if duration_s % 60 == 0 else f"{duration_s} sec"
