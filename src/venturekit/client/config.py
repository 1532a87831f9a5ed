"""The configuration of clients, as the program gives it; ``resolution.py`` completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from venturekit.client.errors import ClientConfigError
from venturekit.client.retries import MAX_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Self, TypeAlias, Unpack

    from venturekit.client.credentials import CredentialsProvider
    from venturekit.protocol.sigv4_signer import Credentials

    Asked: TypeAlias = Callable[[], Credentials | Awaitable[Credentials | None] | None]
    CredentialsSource: TypeAlias = Credentials | CredentialsProvider | Asked

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 60.0
INVOCATION_SECONDS: Final = 960.0
"""A function may run for 900 s; starting it and moving large payloads takes time, too."""
MAX_CONNECTIONS: Final = 100
POOL_SECONDS: Final = 60.0
LONGEST_SECONDS: Final = 1_000_000
"""What a socket takes as a limit: in milliseconds it is a number of 32 bits."""


class ClientOptions(TypedDict, total=False):
    """The options of clients; ``ClientConfig`` says what they mean."""

    region: str | None
    endpoint_url: str | None
    credentials: CredentialsSource | None
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
    ``credentials``: ``Credentials``, or a function that gives them and is asked for each request (see
    ``CredentialsProvider``), for the asynchronous client a coroutine function, too; else the environment's, the
    profile's, and what botocore finds when it is installed (roles, SSO, other programs, containers, instances).
    For an endpoint that is not AWS's, containers and instances are not asked: without keys nothing is signed.
    ``unsigned``: sign nothing, for a service without access keys.
    ``profile``: of the files ``~/.aws/config`` and ``~/.aws/credentials``; else ``AWS_PROFILE``, ``default``.
    ``connect_timeout``, ``read_timeout``: seconds to wait for a connection, and for each part of an answer; without
    ``read_timeout`` 60 s, for invocations 960 s, for a function may run for 15 minutes.
    ``max_attempts``: how often a call is tried, the first time included, in the standard mode of AWS's SDKs.
    ``retry_invokes``: also repeat invocations of which is not known whether the function has run; it may run twice.
    ``max_connections``, ``pool_timeout``: how many connections may be open at once, and how many seconds to wait for
    one of them.
    ``proxies``: by scheme, ``{"https": "http://user:password@proxy:3128"}``, for every host; else ``HTTPS_PROXY``,
    ``HTTP_PROXY``, and ``NO_PROXY`` with the hosts, domains and addresses that need none.
    ``ca_bundle``: file or folder with the certificate authorities to trust; else ``AWS_CA_BUNDLE``, the profile's,
    ``REQUESTS_CA_BUNDLE``, the system's.

    Raises ClientConfigError.
    """

    __slots__ = tuple(ClientOptions.__annotations__)

    region: str | None
    endpoint_url: str | None
    credentials: CredentialsSource | None
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
        self._take(_DEFAULTS, options)

    def replaced(self, **options: Unpack[ClientOptions]) -> Self:
        """The same with other options."""
        return self.with_options(options)

    def with_options(self, options: ClientOptions) -> Self:
        """The same as ``replaced``; the options are moved, so that no frame that raises has a password among them."""
        made = object.__new__(type(self))
        made._take(self._options(), options)
        return made

    def _take(self, others: Mapping[str, Any], options: Any) -> None:
        unknown = next((name for name in options if name not in _DEFAULTS), None)
        for name in _DEFAULTS:
            object.__setattr__(self, name, options.get(name, others[name]))
        # Addresses of proxies hold passwords, and some tracebacks show the variables of their frames.
        options.clear()
        del others
        if unknown is not None:
            raise TypeError(f"there is no option {unknown}: the options are {', '.join(_DEFAULTS)}")
        self._check()

    def _options(self) -> ClientOptions:
        return {name: getattr(self, name) for name in self.__slots__}  # type: ignore[return-value]

    def _check(self) -> None:
        for name in ("connect_timeout", "pool_timeout", "read_timeout"):
            value = getattr(self, name)
            if value is None and name == "read_timeout":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_SECONDS:
                raise ClientConfigError(
                    f"{name} is {value!r}: it is a number of seconds above 0, {LONGEST_SECONDS} at most"
                )
        for name in ("max_attempts", "max_connections"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ClientConfigError(f"{name} is {value!r}: it is a whole number, 1 at least")
        for name, kind, wanted in _TYPES:
            if not isinstance(getattr(self, name), kind):
                raise ClientConfigError(f"{name} is of type {type(getattr(self, name)).__name__}: {wanted}")
        self._check_credentials()
        if not _are_proxies(self.proxies):
            raise ClientConfigError('proxies are by scheme, both of them texts: {"https": "http://proxy:3128"}')

    def _check_credentials(self) -> None:
        from venturekit.protocol.sigv4_signer import Credentials

        given: Any = self.credentials
        if given is None:
            return
        if self.unsigned:
            raise ClientConfigError("unsigned and credentials exclude each other")
        if isinstance(given, type) or not (isinstance(given, Credentials) or callable(given)):
            raise ClientConfigError("credentials are Credentials(...), or a function that gives them")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError("a configuration cannot be changed: replaced(...) makes another one")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClientConfig) and self._options() == other._options()

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self._options())

    def __repr__(self) -> str:
        # Half a configuration has a repr, too: some tracebacks show the variables of their frames.
        given = ((name, getattr(self, name, _DEFAULTS[name])) for name in self.__slots__)
        shown = (f"{name}={_shown(name, value)}" for name, value in given if value != _DEFAULTS[name])
        return f"ClientConfig({', '.join(shown)})"


_TYPES: Final = (
    *((name, str | None, "it is a text") for name in ("region", "endpoint_url", "profile", "ca_bundle")),
    *((name, bool, "it is True or False") for name in ("unsigned", "retry_invokes")),
)
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


def _are_proxies(proxies: Any) -> bool:
    if proxies is None:
        return True
    try:
        pairs = proxies.items()
    except AttributeError:
        return False
    return all(scheme in ("http", "https") and isinstance(url, str | None) for scheme, url in pairs)


def _made_again(kind: type[ClientConfig], options: ClientOptions) -> ClientConfig:
    return kind(**options)


def _shown(name: str, value: Any) -> str:
    # Proxies may hold a password, a function of credentials whatever it likes; and so may an address with a user.
    is_hidden = name in ("credentials", "proxies") or (name == "endpoint_url" and "@" in value)
    return "..." if is_hidden else repr(value)
