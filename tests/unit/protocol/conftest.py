"""Signed requests for the signature tests: made by botocore, and by a plain second implementation of the rules."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from venturekit.protocol.sigv4 import Credentials, SignatureVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
REGION = "us-east-1"


@dataclass(frozen=True)
class WireRequest:
    """A request as a server reads it."""

    method: bytes
    target: bytes
    headers: Mapping[bytes, bytes]
    body: bytes = b""

    def with_header(self, name: bytes, value: bytes | None) -> WireRequest:
        headers = {**self.headers, name: value}
        return replace(self, headers={key: text for key, text in headers.items() if text is not None})


@dataclass
class SigningLab:
    """Signs and verifies at one moment, with one key pair."""

    credentials: Credentials = field(default_factory=lambda: Credentials("AKIDEXAMPLE", "secret/of+the=key"))
    now: datetime = NOW

    @staticmethod
    def request(method: str, target: str, headers: Mapping[bytes, bytes], body: bytes) -> WireRequest:
        return WireRequest(method.encode(), target.encode(), headers, body)

    def sign_with_botocore(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, expires_s: int | None = None
    ) -> WireRequest:
        """Sign with botocore, in the query if an expiry is given."""
        keys = BotocoreCredentials(
            self.credentials.access_key_id, self.credentials.secret_access_key, self.credentials.session_token
        )
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        with patch("botocore.auth.get_current_datetime", return_value=self.now):
            if expires_s is None:
                SigV4Auth(keys, "lambda", REGION).add_auth(request)
            else:
                SigV4QueryAuth(keys, "lambda", REGION, expires=expires_s).add_auth(request)
        authority, slash, rest = request.url.partition("://")[2].partition("/")
        wire_headers = {"host": authority} | {name.lower(): value for name, value in request.headers.items()}
        return WireRequest(
            method.encode(),
            (slash + rest).encode(),
            {name.encode(): value.encode() for name, value in wire_headers.items()},
            body,
        )

    def sign_plainly(
        self,
        request: WireRequest,
        *,
        path: bytes,
        query: bytes = b"",
        signed: Mapping[bytes, bytes],
        payload_hash: str | None = None,
        scope: str = f"{NOW:%Y%m%d}/{REGION}/lambda/aws4_request",
    ) -> WireRequest:
        """Sign what the caller says is canonical, whatever the request says."""
        timestamp = f"{self.now:%Y%m%dT%H%M%SZ}"
        signed_headers = b";".join(sorted(signed))
        canonical = b"%s\n%s\n%s\n" % (request.method, path, query)
        for name in sorted(signed):
            canonical += b"%s:%s\n" % (name, signed[name])
        canonical += b"\n%s\n%s" % (signed_headers, (payload_hash or hashlib.sha256(request.body).hexdigest()).encode())
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(canonical).hexdigest()}"
        key = f"AWS4{self.credentials.secret_access_key}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.credentials.access_key_id}/{scope}, "
            f"SignedHeaders={signed_headers.decode()}, Signature={key.hex()}"
        )
        return request.with_header(b"authorization", authorization.encode())

    def verifier(self, default_ports: tuple[int, ...] = ()) -> SignatureVerifier:
        known = {self.credentials.access_key_id: self.credentials}
        return SignatureVerifier(known.get, region=REGION, default_ports=default_ports)

    def verify(
        self, request: WireRequest, *, seconds_later: float = 0, verifier: SignatureVerifier | None = None
    ) -> Credentials:
        return (verifier or self.verifier()).verify(
            request.method,
            request.target,
            request.headers,
            lambda: hashlib.sha256(request.body).hexdigest(),
            now=self.now.timestamp() + seconds_later,
        )


@pytest.fixture(scope="session")
def lab() -> SigningLab:
    return SigningLab()
