"""Code from S3: the one request that is made for it."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.aws import begin_in_thread
from venturekit.service.functions.code_source import (
    MAX_ZIPPED_BYTES,
    CodeFetchError,
    CodeTooLargeError,
    S3RefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.service.aws import AwsClients, AwsTarget

FETCH_TIMEOUT_SECONDS: Final = 60.0
ATTEMPTS: Final = 2
FETCHES_AT_ONCE: Final = 2
CHUNK_BYTES: Final = 64 * 1024


class S3CodeSource:
    """Fetches archives from the S3 that ``clients`` know. Few at a time, each within a bound."""

    def __init__(
        self,
        clients: AwsClients,
        *,
        max_bytes: int = MAX_ZIPPED_BYTES,
        timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
    ) -> None:
        self._clients = clients
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def fetch_code(self, bucket: str, key: str, version: str | None) -> bytes:
        """The object, at most ``max_bytes`` of it. Raises CodeFetchError."""
        target = self._clients.target("s3")
        if target is None:
            raise CodeFetchError(
                "the service does not know which S3 to ask. Start it with AWS_ENDPOINT_URL_S3 (or AWS_ENDPOINT_URL) "
                "set to the address of an S3, or with --allow-aws to fetch from AWS; or send the archive as ZipFile"
            )
        unwanted = threading.Event()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._slots.acquire()
                return await self._begin(lambda: self._fetch(target, bucket, key, version, unwanted))
        except TimeoutError:
            raise CodeFetchError(f"S3 did not deliver it within {self._timeout_seconds:g} s: try again") from None
        finally:
            unwanted.set()

    def _begin(self, work: Callable[[], bytes]) -> asyncio.Future[bytes]:
        """Run ``work`` in a thread, which keeps its slot to its end.

        An answer that trickles in keeps a thread busy for as long as the other side likes.
        """
        try:
            return begin_in_thread(work, "fetch-code", self._slots.release)
        except RuntimeError as error:
            self._slots.release()
            raise CodeFetchError(f"no thread could be had to fetch it ({error}): try again") from error

    def _fetch(self, target: AwsTarget, bucket: str, key: str, version: str | None, unwanted: threading.Event) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        request = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        try:
            answer = self._clients.client("s3", attempts=ATTEMPTS).get_object(**request)
            with closing(answer["Body"]) as body:
                return self._read(body, answer.get("ContentLength", 0), unwanted)
        except ClientError as error:
            described = error.response.get("Error", {})
            raise S3RefusedError(described.get("Code", "Unknown"), described.get("Message", "")) from error
        except (BotoCoreError, OSError, ValueError) as error:
            where = target.endpoint_url or "AWS"
            advice = "check that it runs and that AWS_ENDPOINT_URL_S3 names it" if target.endpoint_url else "try again"
            raise CodeFetchError(f"S3 at {where} could not be asked ({error}): {advice}") from error

    def _read(self, body: Any, size_bytes: int, unwanted: threading.Event) -> bytes:
        data = bytearray()
        while size_bytes <= self._max_bytes and len(data) <= self._max_bytes:
            if unwanted.is_set():
                raise CodeFetchError("nobody waits for it any more")
            chunk = body.read(CHUNK_BYTES)
            if not chunk:
                return bytes(data)
            data += chunk
        raise CodeTooLargeError(f"more than {self._max_bytes} bytes")
