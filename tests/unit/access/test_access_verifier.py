"""Signatures verified with the keys of a credentials file: what AWS's clients sign, and every refusal."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials

from venturekit.protocol.sigv4 import SignatureError, SignatureVerifier
from venturekit.service.access.credentials_file import CredentialsFile, write_document

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
REGION, HOST = "eu-central-1", "127.0.0.1:9001"
INVOKE = "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Af/invocations"
VECTORS = 2000


def key(number: int, **more: str) -> dict[str, Any]:
    return {
        "accessKeyId": f"AKIAVECTOR{number:02}",
        "secretAccessKey": f"secret/of+key={number:02}-long",
        "user": f"user-{number}",
        "statements": [],
        **more,
    }


KEYS = [key(number) for number in range(4)] + [
    key(4, sessionToken="session/token+of=key-4"),
    key(5, sessionToken="session/token+of=key-5", expires="2026-11-21T12:30:00Z"),
    key(6, sessionToken="session/token+of=key-6", expires="2026-11-21T11:59:59Z"),
    key(7, expires="2026-11-21T12:00:00Z"),
]


@dataclass(frozen=True)
class Wire:
    """A request as the listener hands it on."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> SignatureVerifier:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    write_document(path, {"keys": KEYS})
    file = CredentialsFile(path)
    file.load()
    return SignatureVerifier(file.credentials_of, region=REGION)


def sign(
    number: int,
    *,
    method: str = "POST",
    target: str = INVOKE,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    expires_s: int | None = None,
    at: datetime = NOW,
    region: str = REGION,
    service: str = "lambda",
    **changed: str,
) -> Wire:
    """Sign with botocore and a key of the file, in the query if an expiry is given."""
    if body is None:
        body = b"{}" if expires_s is None else b""
    known = {**KEYS[number], **changed}
    keys = BotocoreCredentials(known["accessKeyId"], known["secretAccessKey"], known.get("sessionToken") or None)
    request = AWSRequest(method=method, url=f"http://{HOST}{target}", headers=headers or {}, data=body)
    with patch("botocore.auth.get_current_datetime", return_value=at):
        if expires_s is None:
            SigV4Auth(keys, service, region).add_auth(request)
        else:
            SigV4QueryAuth(keys, service, region, expires=expires_s).add_auth(request)
    sent = {b"host": HOST.encode()} | {name.lower().encode(): text.encode() for name, text in request.headers.items()}
    return Wire(method.encode(), request.url.removeprefix(f"http://{HOST}").encode(), sent, body)


def verify(verifier: SignatureVerifier, wire: Wire, now: datetime = NOW) -> str:
    """The access key of whoever signed."""
    digest = hashlib.sha256(wire.body).hexdigest
    return verifier.verify(wire.method, wire.target, wire.headers, digest, now=now.timestamp()).access_key_id


def refusal(verifier: SignatureVerifier, wire: Wire, now: datetime = NOW) -> tuple[str, str]:
    with pytest.raises(SignatureError) as caught:
        verify(verifier, wire, now)
    assert caught.value.status == 403
    return caught.value.code, caught.value.message


# --- what is accepted


def test_random_requests_signed_by_botocore(verifier: SignatureVerifier) -> None:
    """In the header and in the query, with every key that is in force, seeded: the same ones every time."""
    source = random.Random(20261121)
    for _ in range(VECTORS):
        number, expires_s = source.randrange(6), source.choice([None, None, 60, 604800])
        wire = sign(
            number,
            method=source.choice(["GET", "POST", "PUT", "DELETE"]),
            target=random_target(source),
            # botocore puts what it takes for a form's fields into the query that it signs.
            body=source.randbytes(source.randrange(64)) if expires_s is None else b"",
            headers=random_headers(source),
            expires_s=expires_s,
        )
        assert verify(verifier, wire) == KEYS[number]["accessKeyId"], wire


def random_target(source: random.Random) -> str:
    text = "".join(source.choice("abz019-_.~:/$*!'()@&=+ é%") for _ in range(source.randrange(1, 20)))
    path = f"/2015-03-31/functions/{quote(text, safe=source.choice(['', '/', ':', '!*()']))}/invocations"
    query = "&".join(
        f"{quote(name)}={quote(''.join(source.sample('ab1:/ é', 2)))}"
        for name in source.sample(["Qualifier", "Marker", "MaxItems", "tagKeys", "a b", "a"], source.randrange(4))
    )
    return f"{path}?{query}" if query else path


def random_headers(source: random.Random) -> dict[str, str]:
    known = {
        "X-Amz-Invocation-Type": source.choice(["RequestResponse", "Event", "DryRun"]),
        "X-Amz-Client-Context": "e30=",
        "Content-Type": "application/json",
        "X-Amzn-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        "X-Padded": "  two   words ",
        "User-Agent": "Boto3/1.44",
    }
    return {name: known[name] for name in source.sample(sorted(known), source.randrange(4))}


def test_the_body_of_a_presigned_request_is_signed(verifier: SignatureVerifier) -> None:
    wire = sign(0, expires_s=60)
    assert verify(verifier, wire) == "AKIAVECTOR00"
    changed = Wire(wire.method, wire.target, wire.headers, b"{}")
    assert refusal(verifier, changed)[0] == "InvalidSignatureException"


# --- every refusal

INVALID_TOKEN = ("UnrecognizedClientException", "The security token included in the request is invalid.")
EXPIRED_TOKEN = ("ExpiredTokenException", "The security token included in the request is expired")
MALFORMED = [
    (b"AWS4 X", "'X' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4 X'."),
    (b"AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0", "Authorization header requires 'Credential' parameter."),
]
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)


@pytest.fixture(params=[None, 600], ids=["header", "query"])
def expires_s(request: pytest.FixtureRequest) -> int | None:
    """Both forms of a signature."""
    form: int | None = request.param
    return form


def test_no_signature(verifier: SignatureVerifier) -> None:
    wire = Wire(b"POST", INVOKE.encode(), {b"host": HOST.encode()}, b"{}")
    assert refusal(verifier, wire) == ("MissingAuthenticationTokenException", "Missing Authentication Token")


def test_a_malformed_authorization(verifier: SignatureVerifier) -> None:
    wire = sign(0)
    for value, message in MALFORMED:
        changed = Wire(wire.method, wire.target, {**wire.headers, b"authorization": value}, wire.body)
        assert refusal(verifier, changed) == ("IncompleteSignatureException", message)


def test_an_unknown_access_key(verifier: SignatureVerifier, expires_s: int | None) -> None:
    assert refusal(verifier, sign(0, accessKeyId="AKIANOBODY", expires_s=expires_s)) == INVALID_TOKEN


@pytest.mark.parametrize(
    ("number", "token"), [(4, ""), (4, "session/token+of=key-5"), (0, "session/token+of=key-4"), (6, "another/token=")]
)
def test_a_wrong_or_missing_token(verifier: SignatureVerifier, expires_s: int | None, number: int, token: str) -> None:
    assert refusal(verifier, sign(number, sessionToken=token, expires_s=expires_s)) == INVALID_TOKEN


def test_an_expired_token(verifier: SignatureVerifier, expires_s: int | None) -> None:
    assert refusal(verifier, sign(6, expires_s=expires_s)) == EXPIRED_TOKEN


def test_a_key_expires_to_the_second(verifier: SignatureVerifier, expires_s: int | None) -> None:
    wire = sign(5, expires_s=expires_s, at=NOW + timedelta(minutes=29))
    assert verify(verifier, wire, NOW + timedelta(minutes=30, seconds=-1)) == "AKIAVECTOR05"
    assert refusal(verifier, wire, NOW + timedelta(minutes=30)) == EXPIRED_TOKEN


def test_a_key_without_a_token_expires_too(verifier: SignatureVerifier, expires_s: int | None) -> None:
    assert refusal(verifier, sign(7, expires_s=expires_s)) == EXPIRED_TOKEN
    before = NOW - timedelta(seconds=1)
    assert verify(verifier, sign(7, expires_s=expires_s, at=before), before) == "AKIAVECTOR07"


def test_nobody_but_the_holder_of_the_secret_learns_that_a_key_has_expired(
    verifier: SignatureVerifier, expires_s: int | None
) -> None:
    forged = sign(6, secretAccessKey="another-secret-altogether", expires_s=expires_s)
    assert refusal(verifier, forged) == ("InvalidSignatureException", MISMATCH)


def test_a_wrong_signature(verifier: SignatureVerifier, expires_s: int | None) -> None:
    forged = sign(0, secretAccessKey="another-secret-altogether", expires_s=expires_s)
    assert refusal(verifier, forged) == ("InvalidSignatureException", MISMATCH)


@pytest.mark.parametrize(
    ("region", "service", "message"),
    [
        ("us-east-1", "lambda", "Credential should be scoped to a valid region. "),
        (REGION, "s3", "Credential should be scoped to correct service: 'lambda'. "),
        (
            *("us-east-1", "s3"),
            "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'lambda'. ",
        ),
    ],
)
def test_a_scope_of_elsewhere(
    verifier: SignatureVerifier, expires_s: int | None, region: str, service: str, message: str
) -> None:
    wire = sign(0, region=region, service=service, expires_s=expires_s)
    assert refusal(verifier, wire) == ("InvalidSignatureException", message)


def test_a_clock_that_is_behind(verifier: SignatureVerifier) -> None:
    wire = sign(0)
    assert verify(verifier, wire, NOW + timedelta(minutes=5)) == "AKIAVECTOR00"
    assert refusal(verifier, wire, NOW + timedelta(minutes=5, seconds=1)) == (
        "InvalidSignatureException",
        "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120501Z - 5 min.)",
    )


def test_a_presigned_request_that_is_too_old(verifier: SignatureVerifier) -> None:
    wire = sign(0, expires_s=90)
    assert verify(verifier, wire, NOW + timedelta(seconds=90)) == "AKIAVECTOR00"
    assert refusal(verifier, wire, NOW + timedelta(seconds=91)) == (
        "InvalidSignatureException",
        "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120131Z - 90 sec.)",
    )


def test_a_clock_that_is_ahead(verifier: SignatureVerifier, expires_s: int | None) -> None:
    wire = sign(0, expires_s=expires_s)
    assert verify(verifier, wire, NOW - timedelta(minutes=5)) == "AKIAVECTOR00"
    code, message = refusal(verifier, wire, NOW - timedelta(minutes=5, seconds=1))
    assert code == "InvalidSignatureException"
    assert message.startswith("Signature not yet current: 20261121T120000Z is still later than 20261121T115959Z ")


@pytest.mark.parametrize("payload_hash", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "0" * 64])
def test_a_payload_that_is_not_signed(verifier: SignatureVerifier, payload_hash: str) -> None:
    wire = sign(0, headers={"X-Amz-Content-SHA256": payload_hash})
    assert refusal(verifier, wire)[0] == "InvalidSignatureException"


def test_a_path_that_was_encoded_once_too_few(verifier: SignatureVerifier) -> None:
    """The path is signed as sent, encoded once more: a colon that was sent as %3A is signed as %253A."""
    wire = sign(0)
    raw = Wire(wire.method, wire.target.replace(b"%3A", b":"), wire.headers, wire.body)
    assert refusal(verifier, raw) == ("InvalidSignatureException", MISMATCH)
