"""The configuration of clients: what was given, completed from the environment and the profile files.

Sources: AWS SDKs and Tools Reference Guide, "Configuration and credential file settings", "Service-specific endpoints",
"Precedence of settings".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError
from venturekit.client.retries import MAX_ATTEMPTS
from venturekit.transport.endpoint import Endpoint, Proxy, parse_endpoint, parse_proxy
from venturekit.transport.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self, Unpack

    from venturekit.client.credentials import CredentialsProvider
    from venturekit.protocol.sigv4_signer import Credentials

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0
INVOCATION_SECONDS: Final = 960.0
"""A function may run for 900 s; starting it and moving large payloads takes time, too."""
MAX_CONNECTIONS: Final = 100
POOL_SECONDS: Final = 60.0
LOCAL_REGION: Final = "us-east-1"


class ClientOptions(TypedDict, total=False):
    """The options of clients; ``ClientConfig`` says what they mean."""

    region: str | None
    endpoint_url: str | None
    credentials: Credentials | CredentialsProvider | None
    unsigned: bool
    profile: str | None
    connect_timeout: float
    read_timeout: float | None
    max_attempts: int
    retry_invokes: bool
    max_connections: int
    pool_timeout: float
    proxies: Mapping[str, str] | None
    ca_bundle: str | None


class ClientConfig:
    """The configuration of a client, which several may share::

        config = ClientConfig(region="eu-west-1", read_timeout=30)
        client = LambdaClient(config)

    ``region``: of AWS; else ``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile's.
    ``endpoint_url``: where the Lambda API is if not at AWS; else ``AWS_ENDPOINT_URL_LAMBDA``, ``AWS_ENDPOINT_URL``, the
    profile's, unless ``AWS_IGNORE_CONFIGURED_ENDPOINT_URLS`` is true.
    ``credentials``: ``Credentials``, or a function that gives them and is asked for each request; else the
    environment's, the profile's, and what botocore finds when it is installed (roles, SSO, containers, instances).
    ``unsigned``: sign nothing, for a service without access keys.
    ``profile``: of the files ``~/.aws/config`` and ``~/.aws/credentials``; else ``AWS_PROFILE``, ``default``.
    ``connect_timeout``, ``read_timeout``: seconds to wait for a connection, and for each part of an answer; without
    ``read_timeout`` 60 s, for invocations 960 s, for a function may run for 15 minutes.
    ``max_attempts``: how often a call is tried, the first time included, in the standard mode of AWS's SDKs.
    ``retry_invokes``: also repeat invocations of which is not known whether the function has run; it may run twice.
    ``max_connections``, ``pool_timeout``: how many connections may be open at once, and how many seconds to wait for
    one of them.
    ``proxies``: by scheme, ``{"https": "http://proxy:3128"}``; else ``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``.
    ``ca_bundle``: the file with the certificate authorities to trust; else ``AWS_CA_BUNDLE``, the system's.

    Raises ClientConfigError.
    """

    __slots__ = tuple(ClientOptions.__annotations__)

    region: str | None
    endpoint_url: str | None
    credentials: Credentials | CredentialsProvider | None
    unsigned: bool
    profile: str | None
    connect_timeout: float
    read_timeout: float | None
    max_attempts: int
    retry_invokes: bool
    max_connections: int
    pool_timeout: float
    proxies: Mapping[str, str] | None
    ca_bundle: str | None

    def __init__(self, **options: Unpack[ClientOptions]) -> None:
        values: dict[str, Any] = {**_DEFAULTS, **options}
        for name, value in values.items():
            if name not in _DEFAULTS:
                raise TypeError(f"there is no option {name}: the options are {', '.join(_DEFAULTS)}")
            object.__setattr__(self, name, value)
        self._check()

    def replaced(self, **options: Unpack[ClientOptions]) -> Self:
        """The same with other options."""
        merged: Any = {**self._options(), **options}
        return type(self)(**merged)

    def _options(self) -> ClientOptions:
        return {name: getattr(self, name) for name in self.__slots__}  # type: ignore[return-value]

    def _check(self) -> None:
        for name in ("connect_timeout", "pool_timeout", "read_timeout"):
            value = getattr(self, name)
            if value is None and name == "read_timeout":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise ClientConfigError(f"{name} is {value!r}: it is a number of seconds above 0")
        for name in ("max_attempts", "max_connections"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ClientConfigError(f"{name} is {value!r}: it is a whole number, 1 at least")
        if self.unsigned and self.credentials is not None:
            raise ClientConfigError("unsigned and credentials exclude each other")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a configuration cannot be changed: replaced(...) makes another one")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientConfig) and self._options() == other._options()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in self.__slots__)
        shown = (f"{name}={_shown(name, value)}" for name, value in given if value != _DEFAULTS[name])
        return f"ClientConfig({', '.join(shown)})"


_DEFAULTS: Final[Mapping[str, Any]] = {
    "region": None,
    "endpoint_url": None,
    "credentials": None,
    "unsigned": False,
    "profile": None,
    "connect_timeout": CONNECT_SECONDS,
    "read_timeout": None,
    "max_attempts": MAX_ATTEMPTS,
    "retry_invokes": False,
    "max_connections": MAX_CONNECTIONS,
    "pool_timeout": POOL_SECONDS,
    "proxies": None,
    "ca_bundle": None,
}


class ResolvedConfig(NamedTuple):
    """All that a client needs to know."""

    config: ClientConfig
    endpoint: Endpoint
    region: str
    provider: CredentialsProvider
    proxy: Proxy | None
    ca_bundle: str | None

    def __repr__(self) -> str:
        return f"ResolvedConfig({self.endpoint.url}, {self.region})"

    def tls(self) -> Callable[[], Any]:
        """What makes the TLS context, when it is needed. It raises ClientConfigError."""
        bundle = self.ca_bundle

        def make() -> Any:
            import ssl

            try:
                return ssl.create_default_context(cafile=bundle)
            except OSError as error:
                raise ClientConfigError(f"the certificates of {bundle} cannot be read: {error}") from None

        return make


def resolve(config: ClientConfig) -> ResolvedConfig:
    """The configuration, completed. Raises ClientConfigError."""
    from venturekit.client.credentials import choose_provider
    from venturekit.client.profiles import Profile

    known = environ.variables()
    profile = Profile(config.profile, known)
    url = config.endpoint_url or _configured_endpoint(known, profile)
    region = config.region or environ.region(known) or profile.get("region") or (LOCAL_REGION if url else None)
    if region is None:
        raise ClientConfigError("no region: give region=, or set AWS_REGION")
    try:
        endpoint = parse_endpoint(url or aws_endpoint(region, known))
        proxy_url = environ.proxy(known, endpoint.scheme, endpoint.host, config.proxies)
        proxy = None if proxy_url is None else parse_proxy(proxy_url)
    except EndpointError as error:
        raise ClientConfigError(str(error)) from None
    provider = choose_provider(config, profile, known, must_sign=url is None)
    return ResolvedConfig(
        config,
        endpoint,
        region,
        provider,
        proxy,
        config.ca_bundle or environ.ca_bundle(known) or profile.get("ca_bundle"),
    )


def _configured_endpoint(known: Mapping[str, str], profile: Any) -> str | None:
    if environ.ignores_endpoints(known) or (profile.get("ignore_configured_endpoint_urls") or "").lower() == "true":
        return None
    return environ.endpoint(known) or profile.service_endpoint("lambda") or profile.get("endpoint_url")


def aws_endpoint(region: str, known: Mapping[str, str]) -> str:
    """AWS's own address of a region. Raises ClientConfigError for what is no name of a region."""
    from re import ASCII, fullmatch

    if fullmatch(r"[a-z]{2,5}(-[a-z0-9]+)+", region, ASCII) is None:
        raise ClientConfigError(f"{region[:80]!r} is no name of a region, such as eu-west-1")
    fips, dual = environ.uses_fips(known), environ.uses_dual_stack(known)
    suffix = next((suffix for start, suffix in _SUFFIXES if region.startswith(start)), ("amazonaws.com", "api.aws"))
    return f"https://lambda{'-fips' if fips else ''}.{region}.{suffix[1 if dual else 0]}"


_SUFFIXES: Final = (
    ("cn-", ("amazonaws.com.cn", "api.amazonwebservices.com.cn")),
    ("us-isob-", ("sc2s.sgov.gov", "api.aws.scloud")),
    ("us-isof-", ("csp.hci.ic.gov", "api.aws.hci.ic.gov")),
    ("us-iso-", ("c2s.ic.gov", "api.aws.ic.gov")),
    ("eu-isoe-", ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")),
    ("eusc-", ("amazonaws.eu", "api.amazonwebservices.eu")),
)
"""The domains of the partitions that are not the usual one, the second for both kinds of addresses (botocore's
``partitions.json``)."""


def _shown(name: str, value: Any) -> str:
    # Proxies may hold a password, a function of credentials whatever it likes.
    return "..." if name in ("credentials", "proxies") else repr(value)
