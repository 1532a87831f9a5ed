"""The other services of AWS, or what stands in for them: which address each has, with what it is asked, and by whom.

boto3 is imported by the thread that first needs it: it costs a service that never does neither time nor memory.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from venturekit.protocol.sigv4_signer import Credentials
from venturekit.service.events.aws_calls import AwsNotAskedError, AwsRefusedError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS: Final = 3.0
READ_TIMEOUT_SECONDS: Final = 10.0
CLIENTS_KEPT: Final = 64
"""A destination's ARN names any region, and each region has a client of its own."""
NO_CREDENTIALS: Final = (
    "there are no credentials to sign with: start the service with AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY (what stands in for AWS takes any)"
)

# How the SDKs' variables name what boto3 calls otherwise.
_VARIABLES: Final = {"events": "EVENTBRIDGE"}
# Of botocore's ways to credentials those that ask nobody: all others call AWS.
_LOCAL_CREDENTIALS: Final = frozenset({"env", "shared-credentials-file", "config-file"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0", "::"})  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class AwsTarget:
    """Where a service is. ``endpoint_url`` is None for AWS; ``calls_aws``: AWS may be called, also for credentials."""

    endpoint_url: str | None
    calls_aws: bool


def aws_target(environ: Mapping[str, str], service: str, *, allow_aws: bool, own_url: str = "") -> AwsTarget | None:
    """Where the variables of the SDKs say ``service`` is, AWS itself only if that is allowed, None for nowhere.

    The address of this service, which callers of its functions set for all services, is that of no other one.
    Source: AWS SDKs and Tools Reference Guide, "Service-specific endpoints".
    """
    url = ""
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
        url = environ.get(variable_of(service)) or _of_others(environ.get("AWS_ENDPOINT_URL") or "", own_url)
    if url:
        return AwsTarget(url, allow_aws)
    return AwsTarget(None, calls_aws=True) if allow_aws else None


def variable_of(service: str) -> str:
    """The variable that gives one service an address of its own."""
    return f"AWS_ENDPOINT_URL_{_VARIABLES.get(service, service.upper())}"


class AwsClients:
    """Clients of services as ``environ`` and the leave to call AWS itself allow, made when first needed, then kept.

    ``region`` is that of a client for which no other one is asked, ``own_url()`` the address of this service. For
    threads, but ``target`` and ``obstacle``, which block nobody.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        region: str,
        allow_aws: bool,
        own_url: Callable[[], str] = str,
    ) -> None:
        self.environ = environ
        self._region = region
        self._allow_aws = allow_aws
        self._own_url = own_url
        self._making = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str, int], Any] = {}

    def settings(self) -> dict[str, Any]:
        """By what others can be made in another process, with the same variables."""
        return {"region": self._region, "allow_aws": self._allow_aws, "own_url": self._own_url()}

    def target(self, service: str) -> AwsTarget | None:
        """Where a service is, None if that is not known."""
        return aws_target(self.environ, service, allow_aws=self._allow_aws, own_url=self._own_url())

    def obstacle(self, service: str) -> str:
        """Why a service is not asked, empty if it is."""
        if self.target(service) is not None:
            return ""
        return (
            f"no endpoint is known for {service}: start the service with {variable_of(service)} (or AWS_ENDPOINT_URL) "
            "set to its address, or with --allow-aws to call AWS"
        )

    def client(self, service: str, region: str = "", *, attempts: int = 1) -> Any:
        """The client of a service that has an address; ``attempts`` are all that one call makes.

        Raises what botocore raises, and LookupError where there is no address.
        """
        key = (service, region or self._region, attempts)
        with self._making:
            # The one that was asked for last is the last to go.
            client = self._clients.pop(key, None) or self._new_client(*key)
            self._clients[key] = client
            if len(self._clients) > CLIENTS_KEPT:
                del self._clients[next(iter(self._clients))]
            return client

    def call(self, service: str, region: str, operation: str, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Call an operation once. Raises AwsRefusedError and AwsNotAskedError."""
        from botocore.exceptions import ClientError, NoCredentialsError

        try:
            answer: Mapping[str, Any] = getattr(self.client(service, region), operation)(**members)
        except ClientError as error:
            described = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise AwsRefusedError(described.get("Code", "Unknown"), described.get("Message", ""), status) from error
        except NoCredentialsError as error:
            raise AwsNotAskedError(NO_CREDENTIALS) from error
        except Exception as error:
            # Whatever answers may not be what it should be, and botocore fails at that in many ways.
            raise AwsNotAskedError(str(error) or type(error).__name__) from error
        return answer

    # --- for those who call without a client ----------------------------------------------------------------------

    def endpoint_url(self, service: str, region: str) -> str:
        """Where the requests for a region go. Raises AwsNotAskedError."""
        target = self.target(service)
        if target is None:
            raise AwsNotAskedError(self.obstacle(service))
        if target.endpoint_url is not None:
            return target.endpoint_url
        try:
            return str(self.client(service, region).meta.endpoint_url)
        except Exception as error:
            raise AwsNotAskedError(str(error) or type(error).__name__) from error

    def credentials(self, service: str) -> Credentials:
        """What requests are signed with now. Raises AwsNotAskedError."""
        target = self.target(service)
        if target is None:
            raise AwsNotAskedError(self.obstacle(service))
        if keys := self._keys():
            return Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys.get("aws_session_token"))
        try:
            with self._making:
                found = self._session_of(target).get_credentials()
            frozen = found and found.get_frozen_credentials()
        except Exception as error:
            raise AwsNotAskedError(str(error) or type(error).__name__) from error
        if not frozen:
            raise AwsNotAskedError(NO_CREDENTIALS)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def tls_context(self, service: str) -> ssl.SSLContext:
        """What trusts whom a client would trust. Raises AwsNotAskedError."""
        import ssl

        from botocore.httpsession import get_cert_path

        target = self.target(service)
        try:
            if target is None:
                raise LookupError(self.obstacle(service))
            with self._making:
                # botocore reads the variables and the file of the AWS CLI.
                bundle = self._session_of(target)._session.get_config_variable("ca_bundle")
            bundle = bundle or self.environ.get("REQUESTS_CA_BUNDLE") or get_cert_path(True)
            return ssl.create_default_context(cafile=bundle)
        except Exception as error:
            raise AwsNotAskedError(f"the certificates of authorities cannot be read: {error}") from error

    def _new_client(self, service: str, region: str, attempts: int) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        target = self.target(service)
        if target is None:
            raise LookupError(self.obstacle(service))
        session = self._session_of(target)
        options: dict[str, Any] = {}
        if target.endpoint_url is None:
            # Or botocore would read again what was found not to be meant.
            options["ignore_configured_endpoint_urls"] = bool(self.environ.get("AWS_ENDPOINT_URL"))
        if service == "s3":
            # Objects can be open to all.
            options["signature_version"] = "s3v4" if session.get_credentials() is not None else UNSIGNED
            if target.endpoint_url is not None:
                # An S3 that is not AWS's has no host name for every bucket.
                options["s3"] = {"addressing_style": "path"}
        return session.client(
            service,
            region_name=region,
            endpoint_url=target.endpoint_url,
            config=Config(
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                read_timeout=READ_TIMEOUT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": attempts},
                **options,
            ),
        )

    def _session_of(self, target: AwsTarget) -> Any:
        """One for all clients, which look for credentials together."""
        import boto3
        import botocore.session

        if self._session is None:
            core = botocore.session.Session(profile=self.environ.get("AWS_PROFILE") or None)
            if not target.calls_aws:
                _keep_local_credentials(core)
            self._session = boto3.Session(botocore_session=core, region_name=self._region, **self._keys())
        return self._session

    def _keys(self) -> dict[str, str]:
        """The key pair in the variables, if it is whole; else botocore looks elsewhere."""
        access_key_id, secret = (self.environ.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"))
        if not access_key_id or not secret:
            return {}
        keys = {"aws_access_key_id": access_key_id, "aws_secret_access_key": secret}
        token = self.environ.get("AWS_SESSION_TOKEN")
        return {**keys, "aws_session_token": token} if token else keys


def begin_in_thread(work: Callable[[], T], name: str, ended: Callable[[], None]) -> asyncio.Future[T]:
    """Run ``work`` in a thread that the end of the process does not wait for; a future of the running loop.

    ``ended`` is called on the loop when the thread is about to end, however long that takes: who has given up waiting
    knows then that it is free. Raises RuntimeError when no thread could be had.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        ended()
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def _keep_local_credentials(session: Any) -> None:
    """Take away every way to credentials that would call somebody."""
    provider = session.get_component("credential_provider")
    for other in list(provider.providers):
        if other.METHOD not in _LOCAL_CREDENTIALS:
            provider.remove(other.METHOD)


def _of_others(url: str, own_url: str) -> str:
    """``url``, unless it is that of this service."""
    return "" if url and own_url and _place(url) == _place(own_url) else url


def _place(url: str) -> tuple[str, int | None]:
    """Host and port of a URL; all names of this machine's own addresses are one."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return url, None
    return "localhost" if host in _LOOPBACK else host, port or {"http": 80, "https": 443}.get(parts.scheme)
