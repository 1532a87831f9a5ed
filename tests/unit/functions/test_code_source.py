"""Which code a request brings, and how what S3 says becomes an answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from venturekit.service.api.errors import ApiError
from venturekit.service.functions.code_source import (
    CodeFetchError,
    CodeTooLargeError,
    S3Object,
    S3RefusedError,
    archive_of,
    code_source,
    no_s3,
)

IN_S3 = {"S3Bucket": "bucket", "S3Key": "a/b.zip"}


@pytest.mark.parametrize(
    ("members", "source"),
    [
        ({"ZipFile": b"zip"}, b"zip"),
        ({"ZipFile": b""}, b""),
        ({"ZipFile": b"zip", "S3ObjectStorageMode": "COPY", "ImageUri": "", "SourceKMSKeyArn": ""}, b"zip"),
        (IN_S3, S3Object("bucket", "a/b.zip", None)),
        ({**IN_S3, "S3ObjectVersion": "v1", "S3ObjectStorageMode": "COPY"}, S3Object("bucket", "a/b.zip", "v1")),
    ],
)
def test_sources(members: dict[str, Any], source: bytes | S3Object) -> None:
    assert code_source(members) == source


TWO = "Please do not provide other FunctionCode parameters when providing a ZipFile."
BOTH = "Code from S3 takes both S3Bucket and S3Key: add the one that is missing"


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "Please provide a source for function code."),
        ({"ZipFile": b"zip", **IN_S3}, TWO),
        ({"ZipFile": b"zip", "S3ObjectVersion": "v1"}, TWO),
        ({"ZipFile": b"", "S3Bucket": "bucket"}, TWO),
        ({"ZipFile": b"zip", "ImageUri": "image"}, TWO),
        ({"S3Bucket": "bucket"}, BOTH),
        ({"S3Key": "a"}, BOTH),
        ({"S3ObjectVersion": "v1"}, BOTH),
        (
            {"ImageUri": "image"},
            "Code from a container image (ImageUri) is not supported by this service: send a zip archive as ZipFile",
        ),
        (
            {"ZipFile": b"zip", "SourceKMSKeyArn": "arn:k"},
            (
                "SourceKMSKeyArn is not supported by this service: leave it out: archives are not encrypted with a key "
                "of yours"
            ),
        ),
        (
            {**IN_S3, "S3ObjectStorageMode": "REFERENCE"},
            (
                "S3ObjectStorageMode REFERENCE is not supported by this service: leave it out or send COPY: the "
                "service keeps its own copy of the code"
            ),
        ),
    ],
)
def test_refused_sources(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError) as caught:
        code_source(members)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterValueException", message)


def test_an_archive_in_the_request_asks_no_s3() -> None:
    assert asyncio.run(archive_of({"ZipFile": b"zip"}, no_s3)) == b"zip"


def test_an_object_is_asked_for_as_it_was_named() -> None:
    asked = []

    async def fetch(*arguments: str | None) -> bytes:
        asked.append(arguments)
        return b"zip"

    for members in (IN_S3, {**IN_S3, "S3ObjectVersion": "v1"}):
        assert asyncio.run(archive_of(members, fetch)) == b"zip"
    assert asked == [("bucket", "a/b.zip", None), ("bucket", "a/b.zip", "v1")]


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (
            S3RefusedError("NoSuchKey", "The specified key does not exist."),
            "InvalidParameterValueException",
            (
                "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does "
                "not exist."
            ),
        ),
        (
            S3RefusedError("AccessDenied", "Access Denied"),
            "AccessDeniedException",
            (
                "Your access has been denied by S3, please make sure your request credentials have permission to "
                "GetObject for bucket/a/b.zip. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
            ),
        ),
        (
            CodeTooLargeError("too large"),
            "RequestEntityTooLargeException",
            "Zipped size must be smaller than 52428800 bytes",
        ),
        (
            CodeFetchError("no answer: try again"),
            "InvalidParameterValueException",
            "The code could not be fetched from s3://bucket/a/b.zip: no answer: try again",
        ),
    ],
)
def test_what_s3_says_becomes_an_answer(failure: CodeFetchError, code: str, message: str) -> None:
    async def fetch(bucket: str, key: str, version: str | None) -> bytes:
        raise failure

    with pytest.raises(ApiError) as caught:
        asyncio.run(archive_of(IN_S3, fetch))
    assert (caught.value.code, caught.value.message) == (code, message)
