"""Signature Version 4, held against botocore, an AWS test vector and the habits of the JavaScript and k6 clients."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from botocore.config import Config
from botocore.session import Session
from botocore.utils import normalize_url_path
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from venturekit.protocol import sigv4
from venturekit.protocol.sigv4 import Credentials, SignatureError, SignatureVerifier, sign_headers

if TYPE_CHECKING:
    from .conftest import SigningLab, WireRequest

HOST = "127.0.0.1:9001"
INVOKE = "/2015-03-31/functions/hello/invocations"
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
SECRETS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+="

segments = st.sampled_from(
    [
        "",
        ".",
        "..",
        "...",
        "a",
        "f%3A%24LATEST",
        "f:$LATEST",
        "a%2Fb",
        "%2E%2E",
        "%e2%82%ac",
        "é",
        "日本",
        "~-_.",
        "!'()*,;=+&@ %",
    ]
)
paths = st.lists(segments, max_size=6).map(lambda found: "/" + "/".join(found))
query_words = st.sampled_from(
    ["", "a", "b", "A", "a-b", "Qualifier", "%24LATEST", "%3a", "x%20y", "+", "ü", "1=2", "~"]
)
query_pairs = st.one_of(query_words, st.tuples(query_words, query_words).map("=".join))
queries = st.lists(query_pairs, max_size=5).map("&".join)
header_names = st.sampled_from(
    [
        "X-Amz-Invocation-Type",
        "x-amz-client-context",
        "X-AMZ-Log-Type",
        "Content-Type",
        "X-Custom",
        "X-Amzn-Trace-Id",
        "User-Agent",
        "Expect",
        "amz-sdk-request",
        "x-amz",
        "Accept",
    ]
)
header_values = st.text(' \tabcXYZ09;,:=/+"\\é', max_size=20)
headers_to_send = st.dictionaries(header_names, header_values, max_size=6)
credentials = st.builds(
    Credentials,
    access_key_id=st.text("AKID0123456789", min_size=1, max_size=20),
    secret_access_key=st.text(SECRETS, min_size=1, max_size=40),
    session_token=st.none() | st.text(SECRETS, min_size=1, max_size=60),
)
requests = st.tuples(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]), paths, queries, headers_to_send, st.binary(max_size=60)
)
Parts = tuple[str, str, str, dict[str, str], bytes]


def url_of(path: str, query: str) -> str:
    return f"http://{HOST}{path}" + (f"?{query}" if query else "")


def refusal(lab: SigningLab, request: WireRequest, **options: Any) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        lab.verify(request, **options)
    assert caught.value.status == 403
    return caught.value


@pytest.fixture
def signed(lab: SigningLab) -> WireRequest:
    return lab.sign_with_botocore(
        "POST", f"http://{HOST}{INVOKE}?Qualifier=%24LATEST", {"X-Amz-Log-Type": "Tail"}, b'{"a": 1}'
    )


# --- against botocore


@settings(deadline=None, max_examples=300)
@given(requests, credentials)
@example(("POST", "//a/../b//./c/", "b=2&a=&a=1&a", {"X-Custom": " a \t b "}, b""), Credentials("A", "s", "t"))
def test_what_botocore_signs_is_accepted(lab: SigningLab, parts: Parts, keys: Credentials) -> None:
    method, path, query, headers, body = parts
    own = replace(lab, credentials=keys)
    request = own.sign_with_botocore(method, url_of(path, query), headers, body)
    assert own.verify(request) is keys


@settings(deadline=None, max_examples=300)
@given(requests, credentials, st.data())
def test_any_flipped_byte_is_refused(lab: SigningLab, parts: Parts, keys: Credentials, data: st.DataObject) -> None:
    method, path, query, headers, body = parts
    own = replace(lab, credentials=keys)
    request = own.sign_with_botocore(method, url_of(path, query), headers, body)
    signed_names = request.headers[b"authorization"].split(b"SignedHeaders=")[1].split(b",")[0].split(b";")
    place = data.draw(st.sampled_from(["method", "target", "body", "signature", *signed_names]))
    if isinstance(place, bytes):
        changed = request.with_header(place, flipped(data, request.headers[place]))
        assume(changed.headers[place].split() != request.headers[place].split())
    elif place == "signature":
        start, equal_sign, signature = request.headers[b"authorization"].rpartition(b"=")
        changed = request.with_header(b"authorization", start + equal_sign + flipped(data, signature))
    else:
        changed = replace(request, **{place: flipped(data, getattr(request, place))})
        assume(place != "target" or meaning(changed.target) != meaning(request.target))
    refusal(own, changed)


def flipped(data: st.DataObject, value: bytes) -> bytes:
    assume(value)
    at = data.draw(st.integers(0, len(value) - 1))
    return value[:at] + bytes((value[at] ^ data.draw(st.integers(1, 255)),)) + value[at + 1 :]


def meaning(target: bytes) -> tuple[str, list[bytes]]:
    """Two targets that mean the same to SigV4: equal paths once normalised, equal parameters in any order."""
    path, _, query = target.partition(b"?")
    return normalize_url_path(path.decode("latin-1")), sorted(query.split(b"&"))


@settings(deadline=None, max_examples=300)
@given(requests, credentials, st.booleans())
def test_we_sign_as_botocore_does(lab: SigningLab, parts: Parts, keys: Credentials, with_hash: bool) -> None:
    method, path, query, headers, body = parts
    own = replace(lab, credentials=keys)
    if with_hash:
        headers = {**headers, "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    request = own.sign_with_botocore(method, url_of(path, query), headers, body)
    added = sign_headers(
        method, request.target.decode(), {"Host": HOST, **headers}, body, keys, region="us-east-1", now=own.now
    )
    assert {name.lower().encode(): value.encode() for name, value in added.items()} == {
        name: request.headers[name]
        for name in (b"authorization", b"x-amz-date", b"x-amz-security-token")
        if name in request.headers
    }


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("invoke", {"FunctionName": "hello", "Payload": b"{}"}),
        ("invoke", {"FunctionName": "hello:$LATEST", "InvocationType": "Event", "Payload": b"[1]"}),
        ("invoke", {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f", "Qualifier": "$LATEST"}),
        ("invoke", {"FunctionName": "f", "ClientContext": "e30=", "LogType": "Tail", "TenantId": "a  b"}),
        ("list_functions", {"MaxItems": 3, "Marker": "a b/ü=="}),
        ("list_tags", {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:f"}),
        (
            "untag_resource",
            {"Resource": "arn:aws:lambda:us-east-1:123456789012:function:f", "TagKeys": ["b", "a", "é"]},
        ),
        ("put_function_concurrency", {"FunctionName": "f", "ReservedConcurrentExecutions": 1}),
    ],
)
@pytest.mark.parametrize("token", [None, "a/session+token=="])
def test_requests_of_a_whole_botocore_client_are_accepted(
    lab: SigningLab, operation: str, members: dict[str, Any], token: str | None
) -> None:
    keys = Credentials("AKIDCLIENT", "client-secret", token)
    client = Session().create_client(
        "lambda",
        region_name="us-east-1",
        endpoint_url=f"http://{HOST}",
        aws_access_key_id=keys.access_key_id,
        aws_secret_access_key=keys.secret_access_key,
        aws_session_token=token,
        config=Config(retries={"total_max_attempts": 1}),
    )
    sent: list[Any] = []

    class SentError(Exception):
        pass

    def capture(request: Any, **_: Any) -> None:
        sent.append(request)
        raise SentError

    client.meta.events.register("before-send", capture)
    with pytest.raises(SentError):
        getattr(client, operation)(**members)
    (request,) = sent
    wire = {b"host": HOST.encode()}
    for name, value in request.headers.items():
        wire[name.lower().encode()] = value if isinstance(value, bytes) else value.encode()
    body = request.body or b""
    verifier = SignatureVerifier({keys.access_key_id: keys}.get, region="us-east-1")
    target = request.url.removeprefix(f"http://{HOST}").encode()
    signed_at = datetime.strptime(wire[b"x-amz-date"].decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    arguments: dict[str, Any] = {
        "payload_sha256": lambda: hashlib.sha256(body).hexdigest(),
        "now": signed_at.timestamp(),
    }
    assert verifier.verify(request.method.encode(), target, wire, **arguments) is keys
    with pytest.raises(SignatureError, match="does not match"):
        verifier.verify(b"PATCH", target, wire, **arguments)


def test_a_vector_published_by_aws() -> None:
    keys = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    added = sign_headers(
        "GET",
        "/",
        {"Host": "example.amazonaws.com"},
        b"",
        keys,
        region="us-east-1",
        service="service",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )
    assert added == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    }


# --- other clients


@pytest.mark.parametrize(
    "name", ["hello", "hello%3Aprod", "arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Af"]
)
def test_a_client_that_signs_the_payload_hash_is_accepted(lab: SigningLab, name: str) -> None:
    # As the JavaScript SDK v3: the hash is a signed header, and so are lengths and retry counters.
    body = b'{"key": "value"}'
    payload_hash = hashlib.sha256(body).hexdigest()
    to_sign = {
        b"amz-sdk-invocation-id": b"0b7a1a5c-5fd1-4c02-9d0e-d4bd1b2c2b58",
        b"amz-sdk-request": b"attempt=1; max=3",
        b"content-length": b"16",
        b"content-type": b"application/octet-stream",
        b"host": HOST.encode(),
        b"x-amz-content-sha256": payload_hash.encode(),
        b"x-amz-date": b"20261121T120000Z",
        b"x-amz-user-agent": b"aws-sdk-js/3.1162.0",
    }
    unsigned = {b"user-agent": b"aws-sdk-js", b"x-amzn-trace-id": b"Root=1-5759e988-bd862e3fe1be46a994272793"}
    path = f"/2015-03-31/functions/{name}/invocations"
    request = lab.request("POST", f"{path}?Qualifier=%24LATEST", {**to_sign, **unsigned}, body)
    request = lab.sign_plainly(
        request, path=quote(path).encode(), query=b"Qualifier=%24LATEST", signed=to_sign, payload_hash=payload_hash
    )
    assert lab.verify(request) is lab.credentials
    assert refusal(lab, replace(request, body=body + b" ")).code == "InvalidSignatureException"


def k6_headers(host: str) -> dict[bytes, bytes]:
    return {
        b"content-type": b"application/x-amz-json-1.1",
        b"host": host.encode(),
        b"x-amz-date": b"20261121T120000Z",
        b"x-amz-invocation-type": b"RequestResponse",
        b"x-amz-log-type": b"None",
        b"x-amz-target": b"AWSLambda.RequestResponse",
    }


@pytest.mark.parametrize(
    ("signed_host", "sent_host", "default_ports", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1", (), True),
        ("127.0.0.1", "127.0.0.1:9001", (), True),
        ("127.0.0.1:9001", "127.0.0.1:9001", (), True),
        ("127.0.0.1:9001", "127.0.0.1", (443, 9001), True),
        ("[::1]", "[::1]:9001", (), True),
        ("[::1]:9001", "[::1]", (9001,), True),
        ("127.0.0.1:9001", "127.0.0.1", (), False),
        ("127.0.0.1:9001", "127.0.0.1", (80,), False),
        ("127.0.0.1:9001", "127.0.0.1:9002", (9001,), False),
        ("localhost", "127.0.0.1:9001", (9001,), False),
        ("", ":9001", (), False),
    ],
)
@pytest.mark.parametrize("name", ["hello", "f:$LATEST", "123456789012:function:f"])
def test_a_client_that_signs_as_k6_does(
    lab: SigningLab, name: str, signed_host: str, sent_host: str, default_ports: tuple[int, ...], accepted: bool
) -> None:
    # The name goes out raw, a "?" follows in any case, no hash is sent, and the signed host has no port.
    path = f"/2015-03-31/functions/{name}/invocations"
    request = lab.request("POST", f"{path}?", k6_headers(sent_host), b"[1,2]")
    request = lab.sign_plainly(request, path=quote(path).encode(), signed=k6_headers(signed_host))
    verifier = lab.verifier(default_ports)
    if accepted:
        assert lab.verify(request, verifier=verifier) is lab.credentials
    else:
        assert refusal(lab, request, verifier=verifier).message == MISMATCH


def test_a_date_header_serves_where_x_amz_date_is_missing(lab: SigningLab) -> None:
    request = lab.sign_with_botocore("GET", url_of(INVOKE, ""), {"Date": "to be replaced"}, b"")
    assert b"x-amz-date" not in request.headers
    assert lab.verify(request) is lab.credentials
    assert refusal(lab, request.with_header(b"date", b"Sat, 21 Nov 2026 12:00:01 GMT")).message == MISMATCH
    assert refusal(lab, request, seconds_later=301).message.startswith("Signature expired: 20261121T120000Z ")


@pytest.mark.parametrize(
    "date", [b"Sat, 21 Nov 2026 12:00:00 GMT", b"Sat, 21 Nov 2026 13:00:00 +0100", b"20261121T120000Z"]
)
def test_a_date_that_is_not_signed_itself_is_bound_by_the_signed_time(lab: SigningLab, date: bytes) -> None:
    to_sign = {b"host": HOST.encode()}
    request = lab.request("POST", INVOKE, {**to_sign, b"date": date}, b"")
    request = lab.sign_plainly(request, path=INVOKE.encode(), signed=to_sign)
    assert lab.verify(request) is lab.credentials
    assert refusal(lab, request.with_header(b"date", b"Sat, 21 Nov 2026 12:00:01 GMT")).message == MISMATCH


def test_an_overlong_date_is_not_parsed(lab: SigningLab) -> None:
    request = lab.sign_with_botocore("GET", url_of(INVOKE, ""), {"Date": "to be replaced"}, b"")
    overlong = request.headers[b"date"] + b" " * 100 + b"(a comment)"
    assert "must have the form yyyymmddThhmmssZ" in refusal(lab, request.with_header(b"date", overlong)).message


# --- refusals, in AWS's words


def test_a_request_without_a_signature(lab: SigningLab, signed: WireRequest) -> None:
    for authorization in (None, b"", b"  "):
        error = refusal(lab, signed.with_header(b"authorization", authorization))
        assert (error.code, error.message) == ("MissingAuthenticationTokenException", "Missing Authentication Token")


CREDENTIAL = b"Credential=AKIDEXAMPLE/20261121/us-east-1/lambda/aws4_request"
SIGNED_HEADERS = b"SignedHeaders=host;x-amz-date;x-amz-log-type"
SIGNATURE = b"Signature=" + b"0" * 64


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        (b"Bearer xyz", "'xyz' not a valid key=value pair (missing equal-sign) in Authorization header: 'Bearer xyz'."),
        (
            b"AWS4-HMAC-SHA256 Credential",
            (
                "'Credential' not a valid key=value pair (missing equal-sign) in Authorization header: "
                "'AWS4-HMAC-SHA256 Credential'."
            ),
        ),
        (
            b"AWS4-HMAC-SHA256",
            (
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' "
                "parameter. Authorization header requires 'SignedHeaders' parameter."
            ),
        ),
        (
            b"AWS4-HMAC-SHA256 " + CREDENTIAL + b", " + SIGNED_HEADERS,
            "Authorization header requires 'Signature' parameter.",
        ),
        (
            b"AWS4-HMAC-SHA256 " + b",".join((SIGNATURE, SIGNATURE)),
            "Authorization header gives 'Signature' more than once.",
        ),
        (
            b"AWS4-ECDSA-P256-SHA256 " + b", ".join((CREDENTIAL, SIGNED_HEADERS, SIGNATURE)),
            "Authorization header must use AWS4-HMAC-SHA256, not 'AWS4-ECDSA-P256-SHA256'.",
        ),
        (
            b"AWS4-HMAC-SHA256 " + b", ".join((b"Credential=AKIDEXAMPLE", SIGNED_HEADERS, SIGNATURE)),
            "Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request, not 'AKIDEXAMPLE'.",
        ),
        (
            b"AWS4-HMAC-SHA256 " + b", ".join((CREDENTIAL + b"/x", SIGNED_HEADERS, SIGNATURE)),
            (
                "Credential must be <access key id>/<yyyymmdd>/<region>/<service>/aws4_request, "
                "not 'AKIDEXAMPLE/20261121/us-east-1/lambda/aws4_request/x'."
            ),
        ),
        (
            b"AWS4-HMAC-SHA256 " + b", ".join((CREDENTIAL, b"SignedHeaders=x-amz-date;host", SIGNATURE)),
            "SignedHeaders must be sorted, without repetition.",
        ),
        (
            b"AWS4-HMAC-SHA256 " + b", ".join((CREDENTIAL, b"SignedHeaders=host;host;x-amz-date", SIGNATURE)),
            "SignedHeaders must be sorted, without repetition.",
        ),
    ],
)
def test_malformed_authorization(lab: SigningLab, signed: WireRequest, authorization: bytes, message: str) -> None:
    error = refusal(lab, signed.with_header(b"authorization", authorization))
    assert (error.code, error.message) == ("IncompleteSignatureException", message)


def test_a_request_without_a_date(lab: SigningLab, signed: WireRequest) -> None:
    error = refusal(lab, signed.with_header(b"x-amz-date", None))
    assert error.code == "IncompleteSignatureException"
    assert error.message == "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."


@pytest.mark.parametrize(
    "date",
    [
        b"",
        b"20261121",
        b"2026-11-21T12:00:00Z",
        b"20261321T120000Z",
        b"20261121T120060Z",
        b"00000101T000000Z",
        b"20261121t120000z",
    ],
)
def test_a_date_of_another_form(lab: SigningLab, signed: WireRequest, date: bytes) -> None:
    error = refusal(lab, signed.with_header(b"x-amz-date", date))
    assert error.code == "IncompleteSignatureException"
    assert error.message == f"The date of a signed request must have the form yyyymmddThhmmssZ, not '{date.decode()}'."


def test_an_unknown_access_key(lab: SigningLab, signed: WireRequest) -> None:
    error = refusal(lab, signed, verifier=SignatureVerifier({}.get, region="us-east-1"))
    assert error.code == "UnrecognizedClientException"
    assert error.message == "The security token included in the request is invalid."


def test_an_unknown_access_key_gets_in_with_no_secret_at_all(lab: SigningLab) -> None:
    # The verifier signs for unknown keys too; knowing how must not help.
    own = replace(lab, credentials=Credentials("AKIDNOBODY", sigv4._UNKNOWN_KEY_SECRET))
    request = own.sign_with_botocore("POST", url_of(INVOKE, ""), {}, b"")
    error = refusal(own, request, verifier=SignatureVerifier({}.get, region="us-east-1"))
    assert error.code == "UnrecognizedClientException"


def test_an_unknown_key_and_a_wrong_signature_cost_the_same(
    lab: SigningLab, signed: WireRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def counted(name: str) -> None:
        real = getattr(sigv4, name)
        monkeypatch.setattr(sigv4, name, lambda *arguments: (calls.append(name), real(*arguments))[1])

    counted("derive_key")
    counted("signature_of")
    wrong = replace(signed, method=b"PUT")
    refusal(lab, wrong, verifier=lab.verifier((80, 443)))
    of_a_wrong_signature = calls.copy()
    calls.clear()
    refusal(lab, wrong, verifier=SignatureVerifier({}.get, region="us-east-1", default_ports=(80, 443)))
    assert calls == of_a_wrong_signature == ["derive_key", "signature_of", "signature_of"]


@pytest.mark.parametrize(("expected", "sent"), [("token-a", "token-b"), ("token-a", None), (None, "token-a")])
def test_a_session_token_that_is_not_the_credentials(lab: SigningLab, expected: str | None, sent: str | None) -> None:
    keys = Credentials("AKIDEXAMPLE", "secret", sent)
    request = replace(lab, credentials=keys).sign_with_botocore("POST", url_of(INVOKE, ""), {}, b"")
    verifier = SignatureVerifier(
        {"AKIDEXAMPLE": Credentials(keys.access_key_id, keys.secret_access_key, expected)}.get, region="us-east-1"
    )
    assert refusal(lab, request, verifier=verifier).code == "UnrecognizedClientException"


def test_an_expired_token_is_the_business_of_the_credentials(lab: SigningLab, signed: WireRequest) -> None:
    expired = SignatureError("ExpiredTokenException", "The security token included in the request is expired")

    def credentials_of(_: str) -> Credentials:
        raise expired

    assert refusal(lab, signed, verifier=SignatureVerifier(credentials_of, region="us-east-1")) is expired


def test_credentials_expire(lab: SigningLab) -> None:
    keys = Credentials("AKIDEXAMPLE", "secret", "token", lab.now.timestamp() + 60)
    own = replace(lab, credentials=keys)
    request = own.sign_with_botocore("POST", url_of(INVOKE, ""), {}, b"")
    assert own.verify(request, seconds_later=59.9) is keys
    error = refusal(own, request, seconds_later=60)
    assert (error.code, error.message) == (
        "ExpiredTokenException",
        "The security token included in the request is expired",
    )
    # Who cannot sign does not learn of it.
    forged = replace(lab, credentials=Credentials(keys.access_key_id, "another", keys.session_token))
    request = forged.sign_with_botocore("POST", url_of(INVOKE, ""), {}, b"")
    assert refusal(own, request, seconds_later=60).code == "InvalidSignatureException"


def test_a_wrong_secret(lab: SigningLab, signed: WireRequest) -> None:
    other = replace(lab, credentials=Credentials("AKIDEXAMPLE", "another"))
    error = refusal(other, signed)
    assert (error.code, error.message) == ("InvalidSignatureException", MISMATCH)


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("20261121/eu-west-1/lambda/aws4_request", "Credential should be scoped to a valid region. "),
        ("20261121/us-east-1/s3/aws4_request", "Credential should be scoped to correct service: 'lambda'. "),
        (
            "20261121/eu-west-1/s3/aws4_request",
            "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'lambda'. ",
        ),
        ("20261121/us-east-1/lambda/aws5_request", "Credential should end in 'aws4_request'. "),
        (
            "20261120/us-east-1/lambda/aws4_request",
            "The date in the credential scope, '20261120', is not the date of the request, '20261121'. ",
        ),
    ],
)
def test_a_credential_scope_of_elsewhere(lab: SigningLab, scope: str, message: str) -> None:
    to_sign = k6_headers(HOST)
    request = lab.request("POST", INVOKE, to_sign, b"")
    request = lab.sign_plainly(request, path=INVOKE.encode(), signed=to_sign, scope=scope)
    error = refusal(lab, request)
    assert (error.code, error.message) == ("InvalidSignatureException", message)


@pytest.mark.parametrize("seconds_later", [-300, -1, 0, 299.9, 300.9])
def test_a_clock_may_differ_by_five_minutes(lab: SigningLab, signed: WireRequest, seconds_later: float) -> None:
    assert lab.verify(signed, seconds_later=seconds_later) is lab.credentials


@pytest.mark.parametrize(
    ("seconds_later", "message"),
    [
        (301, "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261121T120501Z - 5 min.)"),
        (86400, "Signature expired: 20261121T120000Z is now earlier than 20261122T115500Z (20261122T120000Z - 5 min.)"),
        (
            -301,
            (
                "Signature not yet current: 20261121T120000Z is still later than 20261121T115959Z "
                "(20261121T115459Z + 5 min.)"
            ),
        ),
    ],
)
def test_a_clock_that_differs_by_more(lab: SigningLab, signed: WireRequest, seconds_later: float, message: str) -> None:
    error = refusal(lab, signed, seconds_later=seconds_later)
    assert (error.code, error.message) == ("InvalidSignatureException", message)


@pytest.mark.parametrize(
    "name", [b"x-amz-invocation-type", b"x-amz-client-context", b"x-amz-content-sha256", b"x-amz-"]
)
def test_an_amz_header_that_is_not_signed(lab: SigningLab, signed: WireRequest, name: bytes) -> None:
    error = refusal(lab, signed.with_header(name, b"Event"))
    assert error.code == "InvalidSignatureException"
    assert error.message.endswith(f"Not in SignedHeaders: {name.decode()}.")


@pytest.mark.parametrize(
    "name", [b"x-amzn-trace-id", b"x-amzn-requestid", b"x-forwarded-for", b"x-amz", b"amz-sdk-request"]
)
def test_other_headers_need_no_signature(lab: SigningLab, signed: WireRequest, name: bytes) -> None:
    assert lab.verify(signed.with_header(name, b"anything")) is lab.credentials


def test_a_host_that_is_not_signed(lab: SigningLab) -> None:
    headers = k6_headers(HOST)
    to_sign = {name: value for name, value in headers.items() if name != b"host"}
    request = lab.sign_plainly(lab.request("POST", INVOKE, headers, b""), path=INVOKE.encode(), signed=to_sign)
    assert refusal(lab, request).message.endswith("Not in SignedHeaders: host.")


@pytest.mark.parametrize("name", [b"host", b"x-amz-log-type"])
def test_a_signed_header_that_is_missing(lab: SigningLab, signed: WireRequest, name: bytes) -> None:
    error = refusal(lab, signed.with_header(name, None))
    assert error.code == "InvalidSignatureException"
    assert error.message == f"The header '{name.decode()}' is listed in SignedHeaders and is not in the request."


@pytest.mark.parametrize(
    "payload_hash",
    [
        "UNSIGNED-PAYLOAD",
        "unsigned-payload",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        " STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    ],
)
def test_a_payload_that_is_not_signed(lab: SigningLab, payload_hash: str) -> None:
    request = lab.sign_with_botocore("POST", url_of(INVOKE, ""), {"X-Amz-Content-SHA256": payload_hash}, b"{}")
    error = refusal(lab, request)
    assert error.code == "InvalidSignatureException"
    assert f"'{payload_hash.strip()}' is not accepted" in error.message


@pytest.mark.parametrize("payload_hash", ["", "0" * 64, hashlib.sha256(b"{}").hexdigest().upper(), "é"])
def test_a_payload_hash_that_is_not_the_bodys(lab: SigningLab, payload_hash: str) -> None:
    request = lab.sign_with_botocore("POST", url_of(INVOKE, ""), {"X-Amz-Content-SHA256": payload_hash}, b"{}")
    error = refusal(lab, request)
    assert error.code == "InvalidSignatureException"
    assert error.message == "The header x-amz-content-sha256 is not the SHA-256 of the body that was received."


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Date=1&X-Amz-Date=1",
        "X-Amz-Date=1&x-amz-date=2",
        "X-Amz-Date=1&X-Amz%2DDate=2",
        "X-Amz-Security-Token=a&b=c&X-Amz-Security-Token=b",
    ],
)
def test_repeated_amz_parameters(lab: SigningLab, query: str) -> None:
    error = refusal(lab, lab.sign_with_botocore("POST", url_of(INVOKE, query), {}, b""))
    assert error.code == "IncompleteSignatureException"
    assert "is given more than once" in error.message


# --- signatures in the query


def presigned(lab: SigningLab, expires_s: int = 60, query: str = "Qualifier=prod&a=") -> WireRequest:
    return lab.sign_with_botocore("POST", url_of(INVOKE, query), {}, b"", expires_s)


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("seconds_later", [-300, 0, 60])
def test_a_presigned_request(lab: SigningLab, token: str | None, seconds_later: int) -> None:
    own = replace(lab, credentials=Credentials("AKIDEXAMPLE", "secret", token))
    request = presigned(own)
    assert b"authorization" not in request.headers
    assert own.verify(request, seconds_later=seconds_later) is own.credentials


def test_a_presigned_request_outlives_the_clock_skew_but_not_its_expiry(lab: SigningLab) -> None:
    week = presigned(lab, 604_800)
    assert lab.verify(week, seconds_later=604_800) is lab.credentials
    assert refusal(lab, week, seconds_later=604_801).message == (
        "Signature expired: 20261121T120000Z is now earlier than 20261121T120001Z (20261128T120001Z - 10080 min.)"
    )
    assert refusal(lab, presigned(lab, 59), seconds_later=60).message.endswith("(20261121T120100Z - 59 sec.)")
    assert refusal(lab, week, seconds_later=-301).message.startswith("Signature not yet current: ")


@pytest.mark.parametrize("expires_s", [0, -1, 604_801, 10**30])
def test_a_presigned_request_of_an_impossible_life(lab: SigningLab, expires_s: int) -> None:
    error = refusal(lab, presigned(lab, expires_s))
    assert error.code == "IncompleteSignatureException"
    assert error.message == f"X-Amz-Expires must be 1 to 604800 seconds, not '{expires_s}'."


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"X-Amz-Expires=60", b"X-Amz-Expires=61", "InvalidSignatureException"),
        (b"Qualifier=prod", b"Qualifier=test", "InvalidSignatureException"),
        (b"X-Amz-Signature=", b"X-Amz-Signature=0", "InvalidSignatureException"),
        (b"us-east-1", b"us-east-2", "InvalidSignatureException"),
        (b"AKIDEXAMPLE", b"AKIDUNKNOWN", "UnrecognizedClientException"),
        (b"AWS4-HMAC-SHA256", b"AWS4-ECDSA-P256-SHA256", "IncompleteSignatureException"),
        (b"&X-Amz-Expires=60", b"", "IncompleteSignatureException"),
        (b"&X-Amz-Signature=", b"&Signature=", "IncompleteSignatureException"),
        (b"&X-Amz-Expires=60", b"&X-Amz-Expires=60&X-Amz-Expires=60", "IncompleteSignatureException"),
        (b"&X-Amz-Expires=60", b"&X-Amz-Expires=%C2%B2", "IncompleteSignatureException"),
        (
            b"&X-Amz-Expires=60",
            b"&X-Amz-Expires=60&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD",
            "InvalidSignatureException",
        ),
    ],
)
def test_a_presigned_request_that_was_changed(lab: SigningLab, old: bytes, new: bytes, code: str) -> None:
    request = presigned(lab)
    assert old in request.target
    assert refusal(lab, replace(request, target=request.target.replace(old, new))).code == code


def test_a_presigned_request_with_another_body(lab: SigningLab) -> None:
    assert refusal(lab, replace(presigned(lab), body=b"{}")).message == MISMATCH


def test_a_request_signed_twice(lab: SigningLab, signed: WireRequest) -> None:
    error = refusal(lab, replace(signed, target=presigned(lab).target))
    assert error.code == "IncompleteSignatureException"
    assert "Send only one" in error.message


# --- whatever comes


noise = st.binary(max_size=40) | st.text("AWS4-HMCSHA256 Credntial=/,;x-amzhos0Z", max_size=60).map(str.encode)
dates = noise | st.text("SatNovDec, 0123456789:+-GMTZ", max_size=40).map(str.encode)


@settings(deadline=None, max_examples=300)
@given(noise, noise, dates, st.booleans(), noise, noise)
def test_nothing_but_a_signature_error_leaves(
    lab: SigningLab, method: bytes, query: bytes, date: bytes, is_date: bool, authorization: bytes, host: bytes
) -> None:
    full = b"AWS4-HMAC-SHA256 " + b", ".join((CREDENTIAL, SIGNED_HEADERS, b"Signature=" + authorization))
    headers = {b"host": host, b"date" if is_date else b"x-amz-date": date, b"x-amz-log-type": query}
    for value in (authorization, full):
        request = lab.request("POST", "/", {**headers, b"authorization": value}, b"")
        refusal(lab, replace(request, method=method, target=b"/" + host + b"?" + query))
    refusal(lab, replace(request, target=b"/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=" + query))


def test_many_keys_take_turns_in_a_bounded_cache(lab: SigningLab) -> None:
    keys = {f"AKID{number}": Credentials(f"AKID{number}", f"secret-{number}") for number in range(300)}
    verifier = SignatureVerifier(keys.get, region="us-east-1")
    to_sign = k6_headers(HOST)
    for each in (*keys.values(), keys["AKID0"]):
        own = replace(lab, credentials=each)
        request = own.sign_plainly(own.request("POST", INVOKE, to_sign, b""), path=INVOKE.encode(), signed=to_sign)
        assert own.verify(request, verifier=verifier) is each
    assert len(verifier._keys) == 256


def test_the_body_is_hashed_once_and_only_for_a_readable_signature(lab: SigningLab, signed: WireRequest) -> None:
    hashed: list[bytes] = []

    def payload_sha256() -> str:
        hashed.append(signed.body)
        return hashlib.sha256(signed.body).hexdigest()

    verifier = lab.verifier((80,))
    now = lab.now.timestamp()
    verifier.verify(signed.method, signed.target, signed.headers, payload_sha256, now=now)
    assert len(hashed) == 1
    for moment, request in ((now + 900, signed), (now, signed.with_header(b"authorization", b"Bearer x"))):
        with pytest.raises(SignatureError):
            verifier.verify(request.method, request.target, request.headers, payload_sha256, now=moment)
    assert len(hashed) == 1


# --- the signing side's own rules


def test_secrets_are_not_in_the_repr() -> None:
    assert repr(Credentials("AKID", "the-secret", "the-token")) == "Credentials(access_key_id='AKID')"


def test_a_signature_error_says_what_it_is() -> None:
    error = SignatureError("SomeException", "Why.", 400)
    assert (str(error), error.status, error.code, error.message) == (
        "SomeException: Why.",
        400,
        "SomeException",
        "Why.",
    )


def sign(headers: dict[str, str], now: datetime = datetime(2026, 11, 21, 12, tzinfo=UTC)) -> dict[str, str]:
    return sign_headers("POST", INVOKE, headers, b"", Credentials("A", "s", "t"), region="us-east-1", now=now)


@pytest.mark.parametrize(
    ("headers", "reason"), [({}, "must hold Host"), ({"Host": "h", "X-A": "1", "x-a": "2"}, "x-a is given twice")]
)
def test_headers_that_cannot_be_signed(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        sign(headers)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        sign({"Host": "h"}, datetime(2026, 11, 21))


def test_signing_again_replaces_what_was_added_before() -> None:
    first = sign({"Host": "h"}, datetime(2026, 11, 21, 11, tzinfo=UTC))
    assert sign({"Host": "h", **first}) == sign({"Host": "h"})
    assert sign({"Host": "h"}, datetime(2026, 11, 21, 13, tzinfo=timezone(timedelta(hours=1)))) == sign({"Host": "h"})
