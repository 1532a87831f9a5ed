"""Code from S3: which S3 is asked, and the one request that is made of it.

boto3 is imported when the first object is fetched: it costs a service that never does that neither time nor memory.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.code_source import (
    MAX_ZIPPED_BYTES,
    CodeFetchError,
    CodeTooLargeError,
    S3RefusedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONNECT_TIMEOUT_SECONDS: Final = 3.0
READ_TIMEOUT_SECONDS: Final = 10.0
FETCH_TIMEOUT_SECONDS: Final = 60.0
ATTEMPTS: Final = 2
FETCHES_AT_ONCE: Final = 2
CHUNK_BYTES: Final = 64 * 1024

# Of botocore's ways to credentials those that ask nobody: all others call AWS.
_LOCAL_CREDENTIALS: Final = frozenset({"env", "shared-credentials-file", "config-file"})


@dataclass(frozen=True, slots=True)
class S3Target:
    """Which S3 is asked. ``endpoint_url`` is None for AWS; ``calls_aws``: AWS may be called, also for credentials."""

    endpoint_url: str | None
    calls_aws: bool


def s3_target(environ: Mapping[str, str], *, allow_aws: bool) -> S3Target | None:
    """The S3 that the variables of the SDKs name, AWS's own only if that is allowed, None if there is none.

    Source: AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
    """
    ignored = environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"
    url = "" if ignored else environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""
    if url:
        return S3Target(url, allow_aws)
    return S3Target(None, calls_aws=True) if allow_aws else None


class S3CodeSource:
    """Fetches archives from the S3 that ``environ`` names: see ``s3_target``. Few at a time, each within a bound."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        region: str,
        allow_aws: bool,
        max_bytes: int = MAX_ZIPPED_BYTES,
        timeout_seconds: float = FETCH_TIMEOUT_SECONDS,
    ) -> None:
        self._target = s3_target(environ, allow_aws=allow_aws)
        self._environ = environ
        self._region = region
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds
        self._slots = asyncio.Semaphore(FETCHES_AT_ONCE)
        self._making = threading.Lock()
        self._client: Any = None

    async def fetch_code(self, bucket: str, key: str, version: str | None) -> bytes:
        """The object, at most ``max_bytes`` of it. Raises CodeFetchError."""
        target = self._target
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
        """Run ``work`` in a thread that keeps its slot to its end, and that the end of the process does not wait for.

        An answer that trickles in keeps a thread busy for as long as the other side likes.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        def settle(data: bytes, error: BaseException | None) -> None:
            self._slots.release()
            if future.done():
                return
            if error is None:
                future.set_result(data)
            else:
                future.set_exception(error)

        def run() -> None:
            data, failure = b"", None
            try:
                data = work()
            except BaseException as error:
                failure = error
            # The loop may be closed by now.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, data, failure)

        try:
            threading.Thread(target=run, name="fetch-code", daemon=True).start()
        except RuntimeError as error:
            self._slots.release()
            raise CodeFetchError(f"no thread could be had to fetch it ({error}): try again") from error
        return future

    def _fetch(self, target: S3Target, bucket: str, key: str, version: str | None, unwanted: threading.Event) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError

        request = {"Bucket": bucket, "Key": key, **({"VersionId": version} if version else {})}
        try:
            answer = self._client_of(target).get_object(**request)
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

    def _client_of(self, target: S3Target) -> Any:
        with self._making:
            if self._client is None:
                self._client = self._new_client(target)
            return self._client

    def _new_client(self, target: S3Target) -> Any:
        import boto3
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config

        core = botocore.session.Session(profile=self._environ.get("AWS_PROFILE") or None)
        if not target.calls_aws:
            _keep_local_credentials(core)
        session = boto3.Session(botocore_session=core, region_name=self._region, **self._keys())
        signed = session.get_credentials() is not None
        options: dict[str, Any] = {"signature_version": "s3v4" if signed else UNSIGNED}
        if target.endpoint_url is not None:
            # An S3 that is not AWS's has no host name for every bucket.
            options["s3"] = {"addressing_style": "path"}
        return session.client(
            "s3",
            endpoint_url=target.endpoint_url,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                read_timeout=READ_TIMEOUT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                **options,
            ),
        )

    def _keys(self) -> dict[str, str]:
        """The key pair in the variables, if it is whole; else botocore looks elsewhere."""
        access_key_id, secret = (self._environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        if not access_key_id or not secret:
            return {}
        keys = {"aws_access_key_id": access_key_id, "aws_secret_access_key": secret}
        token = self._environ.get("AWS_SESSION_TOKEN")
        return {**keys, "aws_session_token": token} if token else keys


def _keep_local_credentials(session: Any) -> None:
    """Take away every way to credentials that would call somebody."""
    provider = session.get_component("credential_provider")
    for other in list(provider.providers):
        if other.METHOD not in _LOCAL_CREDENTIALS:
            provider.remove(other.METHOD)
