"""AWS Signature Version 4: signing requests of a client. It reads no clock.

Source: AWS IAM User Guide, "Create a signed AWS API request".
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from venturekit.protocol.sigv4_canonical import (
    ALGORITHM,
    TERMINATOR,
    TIME_FORMAT,
    canonical_path,
    canonical_query,
    canonical_request,
    derive_key,
    signature_of,
    split_query,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# Headers that proxies and HTTP libraries add or change on the way; signing them breaks requests (as in AWS's SDKs).
_NEVER_SIGNED = frozenset(
    {
        *("authorization", "baggage", "connection", "expect", "keep-alive", "proxy-authenticate"),
        *("proxy-authorization", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade"),
        *("user-agent", "x-amzn-trace-id"),
    }
)
_TARGETS_LIMIT: Final = 256
_TARGET_LENGTH_LIMIT: Final = 1024


class Credentials:
    """An access key pair, with the session token of temporary credentials. The secrets are not in the repr.

    ``expires_epoch_s`` is when a verifier ceases to accept them; None: never.
    """

    __slots__ = ("access_key_id", "expires_epoch_s", "secret_access_key", "session_token")

    def __init__(
        self,
        access_key_id: str,
        secret_access_key: str,
        session_token: str | None = None,
        expires_epoch_s: float | None = None,
    ) -> None:
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.session_token = session_token
        self.expires_epoch_s = expires_epoch_s

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def _all(self) -> tuple[str, str, str | None, float | None]:
        return self.access_key_id, self.secret_access_key, self.session_token, self.expires_epoch_s


class RequestSigner:
    """Signs requests for one region and service; keeps the key of the day and what targets amount to.

    Threads may share it.
    """

    __slots__ = ("_key", "_region", "_scope_end", "_service", "_targets")

    def __init__(self, region: str, service: str = "lambda") -> None:
        self._region = region
        self._service = service
        self._scope_end = f"/{region}/{service}/{TERMINATOR}"
        self._key: tuple[str, str, bytes] = "", "", b""
        # Clients address few targets, and many requests a second.
        self._targets: dict[tuple[str, str], bytes] = {}

    def sign(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | bytearray | memoryview,
        credentials: Credentials,
        *,
        timestamp: str,
    ) -> dict[str, str]:
        """The headers to add to a request, as ``sign_headers`` has them; ``timestamp`` is ``YYYYMMDDTHHMMSSZ`` in UTC.

        Raises ValueError for a missing ``Host``, or one header under two spellings.
        """
        added = {"X-Amz-Date": timestamp}
        if credentials.session_token:
            added["X-Amz-Security-Token"] = credentials.session_token
        signed = _headers_to_sign(headers, added)
        names = sorted(signed)
        names_text = ";".join(names)
        request = canonical_request(
            self._start_of(method, target),
            [f"{name}:{' '.join(signed[name].split())}".encode() for name in names],
            names_text.encode(),
            (signed.get("x-amz-content-sha256") or sha256(body).hexdigest()).encode(),
        )
        scope = timestamp[:8] + self._scope_end
        key = self._key_of(credentials.secret_access_key, timestamp[:8])
        signature = signature_of(key, timestamp.encode(), scope.encode(), request).decode()
        added["Authorization"] = (
            f"{ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={names_text}, Signature={signature}"
        )
        return added

    def _start_of(self, method: str, target: str) -> bytes:
        start = self._targets.get((method, target))
        if start is None:
            path, _, query = target.encode().partition(b"?")
            start = b"\n".join((method.upper().encode(), canonical_path(path), canonical_query(split_query(query))))
            if len(target) <= _TARGET_LENGTH_LIMIT:
                if len(self._targets) >= _TARGETS_LIMIT:
                    self._targets.clear()
                self._targets[method, target] = start
        return start

    def _key_of(self, secret: str, date: str) -> bytes:
        kept_secret, kept_date, key = self._key
        if kept_date != date or kept_secret != secret:
            key = derive_key(secret, date, self._region, self._service)
            self._key = secret, date, key
        return key


def sign_headers(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    *,
    region: str,
    service: str = "lambda",
    now: datetime,
) -> dict[str, str]:
    """The headers to add to a request: ``X-Amz-Date``, ``Authorization`` and, for a session, ``X-Amz-Security-Token``.

    ``target`` is the path and query exactly as they will be sent, ``headers`` what will be sent too: it must hold
    ``Host``. An ``x-amz-content-sha256`` among them is signed and stands for the body's hash.

    Raises ValueError for a time without a zone, a missing ``Host``, or one header under two spellings.
    """
    from datetime import UTC

    if now.tzinfo is None:
        raise ValueError("the signing time needs a time zone, for example datetime.now(UTC)")
    timestamp = now.astimezone(UTC).strftime(TIME_FORMAT)
    return RequestSigner(region, service).sign(method, target, headers, body, credentials, timestamp=timestamp)


def _headers_to_sign(headers: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    replaced = {name.lower(): value for name, value in added.items()}
    signed = dict(replaced)
    for name, value in headers.items():
        lower_name = name.lower()
        if lower_name in _NEVER_SIGNED or lower_name in replaced:
            continue
        if lower_name in signed:
            raise ValueError(f"the header {lower_name} is given twice")
        signed[lower_name] = value
    if "host" not in signed:
        raise ValueError("the headers to sign must hold Host, as it will be sent")
    return signed
