"""Where a request brings its code from: in the request itself, or as an object in S3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from venturekit.service.functions import faults

MAX_ZIPPED_BYTES: Final = 52_428_800

FetchCode = Callable[[str, str, str | None], Awaitable[bytes]]
"""The port to S3: bucket, key and version of an object, which it returns. Raises CodeFetchError."""


class CodeFetchError(Exception):
    """An object could not be fetched; the text says why and what to do."""


class S3RefusedError(CodeFetchError):
    """S3 answered with an error; ``code`` and ``message`` are its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class CodeTooLargeError(CodeFetchError):
    """The object is larger than an archive may be."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object to fetch; ``version`` is None for the current one."""

    bucket: str
    key: str
    version: str | None


async def no_s3(bucket: str, key: str, version: str | None) -> bytes:
    """A ``FetchCode`` that knows no S3."""
    del bucket, key, version
    raise CodeFetchError("this service was started without an S3 to fetch from: send the archive itself as ZipFile")


def code_source(members: Mapping[str, Any]) -> bytes | S3Object:
    """The archive, or where it is, from the members of ``Code`` or ``Content``, or of UpdateFunctionCode itself.

    Raises InvalidParameterValue, also for sources that are not served, and RequestEntityTooLarge over 52428800 bytes.
    """
    data = members.get("ZipFile")
    in_s3 = any(members.get(name) for name in ("S3Bucket", "S3Key", "S3ObjectVersion"))
    if data is not None and (in_s3 or members.get("ImageUri")):
        raise faults.two_code_sources()
    refuse_image(members)
    if members.get("SourceKMSKeyArn"):
        raise faults.not_served("SourceKMSKeyArn", "leave it out: archives are not encrypted with a key of yours")
    if members.get("S3ObjectStorageMode") == "REFERENCE":
        raise faults.not_served(
            "S3ObjectStorageMode REFERENCE", "leave it out or send COPY: the service keeps its own copy of the code"
        )
    if in_s3:
        return _s3_object(members)
    if data is None:
        raise faults.no_code_source()
    if len(data) > MAX_ZIPPED_BYTES:
        raise faults.zip_too_large(MAX_ZIPPED_BYTES)
    return bytes(data)


def refuse_image(members: Mapping[str, Any]) -> None:
    """Raise InvalidParameterValue for code that is a container image and nothing else."""
    if members.get("ImageUri") and members.get("ZipFile") is None:
        raise faults.not_served("Code from a container image (ImageUri)", "send a zip archive as ZipFile")


async def archive_of(members: Mapping[str, Any], fetch: FetchCode) -> bytes:
    """The archive that ``members`` bring, fetched if need be.

    Raises what ``code_source`` raises, and InvalidParameterValue or AccessDenied with S3's own words.
    """
    source = code_source(members)
    if isinstance(source, bytes):
        return source
    try:
        return await fetch(source.bucket, source.key, source.version)
    except CodeTooLargeError as error:
        raise faults.zip_too_large(MAX_ZIPPED_BYTES) from error
    except S3RefusedError as error:
        if error.code in ("AccessDenied", "403"):
            raise faults.s3_access_denied(source.bucket, source.key, error.code, error.message) from error
        raise faults.s3_refused(error.code, error.message) from error
    except CodeFetchError as error:
        raise faults.code_not_fetched(source.bucket, source.key, str(error)) from error


def _s3_object(members: Mapping[str, Any]) -> S3Object:
    bucket, key = members.get("S3Bucket"), members.get("S3Key")
    if not bucket or not key:
        raise faults.incomplete_s3_source()
    return S3Object(bucket, key, members.get("S3ObjectVersion") or None)
