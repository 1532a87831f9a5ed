"""Requests of all kinds, signed by one signer that remembers, and by botocore, which does not."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.unit.protocol.conftest import NOW, REGION, SigningLab
from venturekit.protocol.sigv4 import Credentials
from venturekit.protocol.sigv4_signer import RequestSigner

if TYPE_CHECKING:
    from random import Random

SHORT, FULL = 400, 10_000
HOST = "lambda.us-east-1.amazonaws.com"
# What ends a path or query on the wire, and the white space that URL parsers drop.
NEVER_RAW = set("?#\t\r\n")
RAW = "".join(sorted({chr(code) for code in range(0x20, 0x7F)} - NEVER_RAW)) + "éü€日😀"
HEADERS = (
    *("Content-Type", "X-Amz-Invocation-Type", "x-amz-log-type", "X-AMZ-Client-Context", "X-Amz-Tenant-Id", "Accept"),
    *("User-Agent", "Expect", "amz-sdk-request", "X-Amzn-Trace-Id", "Connection", "x-custom", "X-Amz", "TE"),
)
SECRET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+="


def text(chance: Random, alphabet: str, longest: int, least: int = 0) -> str:
    return "".join(chance.choices(alphabet, k=chance.randint(least, longest)))


def word(chance: Random) -> str:
    """A part of a path or query: raw, or encoded byte by byte."""
    match chance.randrange(5):
        case 0:
            return text(chance, RAW, 8)
        case 1:
            return quote(chance.randbytes(chance.randrange(8)), safe="")
        case 2:
            return quote(chance.randbytes(chance.randrange(8)), safe="").lower()
        case 3:
            return chance.choice(
                ["", ".", "..", "...", "%", "%zz", "%2F", "%2e%2E", "f%3A%24LATEST", "f:$LATEST", "a+b"]
            )
        case _:
            return text(chance, "abcXYZ019-_.~", 12)


def target(chance: Random) -> str:
    path = "/" + "/".join(word(chance).replace("&", "") for _ in range(chance.randrange(5)))
    if chance.random() < 0.4:
        return path
    pairs = ["=".join(word(chance) for _ in range(chance.randint(1, 3))) for _ in range(chance.randrange(5))]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


def header_value(chance: Random) -> str:
    return text(chance, " \t  abcXYZ019,;:=/+\"\\'é\u00a0", 30)


def credentials(chance: Random) -> Credentials:
    return Credentials(
        text(chance, "AKID0123456789", 20, 1),
        text(chance, SECRET, 40, 1),
        text(chance, SECRET, 60, 1) if chance.random() < 0.5 else None,
    )


def compare(chance: Random, count: int) -> int:
    """How many signatures of one signer were botocore's, of requests whose parts come again and again."""
    signer = RequestSigner(REGION)
    keys = [credentials(chance) for _ in range(8)]
    # One secret of two keys, and one key id with two secrets.
    keys += [Credentials("OTHER", keys[0].secret_access_key), Credentials(keys[0].access_key_id, "other")]
    targets = [target(chance) for _ in range(count)]
    same = 0
    for _ in range(count):
        method, where = chance.choice(["GET", "POST", "PUT", "DELETE", "PATCH"]), chance.choice(targets)
        headers = {name: header_value(chance) for name in chance.sample(HEADERS, chance.randrange(6))}
        body = chance.randbytes(chance.choice([0, 1, 63, 64, 65, 1000]))
        lab = SigningLab(
            chance.choice(keys), NOW + timedelta(seconds=chance.choice([0, 1, 59, 43_199, 43_200, 86_400]))
        )
        theirs = lab.sign_with_botocore(method, f"http://{HOST}{where}", headers, body).headers
        ours = signer.sign(
            method,
            where,
            {"Host": HOST, **headers},
            chance.choice([bytes, bytearray, memoryview])(body),
            lab.credentials,
            timestamp=f"{lab.now:%Y%m%dT%H%M%SZ}",
        )
        expected = {
            name: theirs[name.lower().encode()].decode()
            for name in ("X-Amz-Date", "X-Amz-Security-Token", "Authorization")
            if name.lower().encode() in theirs
        }
        assert ours == expected, (method, where, headers)
        same += 1
    return same


@pytest.mark.parametrize("seed", [1, 2])
def test_random_requests_are_signed_as_botocore_signs_them(seed: int) -> None:
    assert compare(random.Random(seed), SHORT // 2) == SHORT // 2


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3, 8))
def test_many_random_requests_are_signed_as_botocore_signs_them(seed: int) -> None:
    assert compare(random.Random(seed), FULL // 5) == FULL // 5


def test_what_is_remembered_is_bounded_and_stays_right() -> None:
    signer, keys = RequestSigner(REGION), Credentials("AKID", "secret")

    def signed(by: RequestSigner, where: str) -> dict[str, str]:
        return by.sign("GET", where, {"Host": HOST}, b"", keys, timestamp="20261121T120000Z")

    for turn in range(1000):
        where = f"/f-{turn % 300}?n={turn % 7}"
        assert signed(signer, where) == signed(RequestSigner(REGION), where)
    long = "/" + "x" * 5000
    assert signed(signer, long) == signed(RequestSigner(REGION), long)
    assert len(signer._targets) <= 256
    assert all(len(where) <= 1024 for _, where in signer._targets)
