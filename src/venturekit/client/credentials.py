"""Where the keys that requests are signed with come from: the choice of a provider.

Sources: AWS SDKs and Tools Reference Guide, "Standardized credential providers"; the order of botocore's chain, as
recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError, CredentialsError
from venturekit.client.profiles import Profile
from venturekit.client.providers import BotocoreCredentials, FixedCredentials, GivenCredentials, ReadCredentials
from venturekit.protocol.sigv4_signer import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.client.config import ClientConfig
    from venturekit.client.environ import Variables

_BEFORE_KEYS: Final = ("role_arn", "web_identity_token_file", "sso_account_id", "sso_role_name")
"""Settings of a profile that count more than its keys; botocore knows what they mean."""
_BEFORE_CONFIG_KEYS: Final = ("login_session", "credential_process")
"""Those that count less than the keys of the file of credentials, and more than those of the file of configurations."""
_WAYS: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile that has them, or give credentials= or "
    "unsigned=True"
)


class CredentialsProvider(Protocol):
    """What gives credentials. It is asked before each request, so what is slow keeps what it has found.

    A coroutine function will do for ``AsyncLambdaClient``. Two attributes are looked at: while ``blocks`` is true,
    ``AsyncLambdaClient`` asks in a thread; ``renew()`` is called when the service says that the credentials have
    expired, and must not wait: what takes time belongs into the next asking.
    """

    def __call__(self) -> Credentials | None:
        """The credentials to sign with; None: the request is not signed. Raises CredentialsError."""


def choose_provider(
    config: ClientConfig, profile: Profile, known: Variables, *, region: str, must_sign: bool
) -> CredentialsProvider:
    """Who gives the credentials of a client: what was given, the environment, the profile, botocore; in this order.

    ``must_sign``: without any it is an error, and not a client that does not sign. Raises ClientConfigError.
    """
    if config.unsigned:
        return FixedCredentials(None)
    if config.credentials is not None:
        given: Any = config.credentials
        return FixedCredentials(given) if isinstance(given, Credentials) else GivenCredentials(given)
    # A profile that the program names counts more than the environment.
    if config.profile is None:
        found = _of_environment(known)
        if found is not None:
            return ReadCredentials(found, lambda: _of_environment(known), "the environment")
    needed = next((name for name in _BEFORE_KEYS if profile.get(name)), None)
    if must_sign and config.profile is None and environ.has_web_identity(known):
        needed = needed or "web_identity_token_file"
    if needed is None:
        found = _of_files(profile)
        if found is not None:
            named = config.profile
            return ReadCredentials(found, lambda: _of_files(Profile(named, known)), f"the profile {profile.name!r}")
        needed = next((name for name in _BEFORE_CONFIG_KEYS if profile.get(name)), None)
    if not must_sign and needed is None and config.profile is None:
        # A service of one's own: looking for roles of containers and instances would take seconds, in vain.
        return FixedCredentials(None)
    return _of_botocore(config.profile, profile.name, needed, region)


def epoch_of(text: str | None) -> float | None:
    """When credentials expire, in epoch seconds; a time without a zone is UTC. Raises ClientConfigError."""
    if text is None:
        return None
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ClientConfigError(
            f"the expiration of the credentials (AWS_CREDENTIAL_EXPIRATION) is {text[:40]!r}: a time such as "
            "2030-01-02T03:04:05Z is wanted"
        ) from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _of_environment(known: Variables) -> Credentials | None:
    expires = epoch_of(known.first("AWS_CREDENTIAL_EXPIRATION"))
    made = _made(environ.credentials(known), expires)
    if isinstance(made, str):
        raise CredentialsError(f"AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: {made}")
    return made


def _of_files(profile: Profile) -> Credentials | None:
    made = _made(profile.shared_keys())
    if made is None and not any(profile.get(name) for name in _BEFORE_CONFIG_KEYS):
        made = _made(profile.config_keys())
    if isinstance(made, str):
        raise CredentialsError(f"the profile {profile.name!r} has aws_access_key_id without a secret key: {made}")
    return made


def _made(found: tuple[str | None, ...] | None, expires: float | None = None) -> Credentials | str | None:
    """Credentials, or what to do about a key without its secret. Only this frame has the secret."""
    if found is None:
        return None
    key_id, secret, token = found[:3]
    if not key_id or not secret:
        return "both belong together"
    return Credentials(key_id, secret, token, expires)


def _of_botocore(named: str | None, name: str, needed: str | None, region: str) -> CredentialsProvider:
    try:
        import botocore  # noqa: F401  # only whether it is there: the rest of it takes long to import
    except ImportError:
        why = f"the profile {name!r} has {needed}" if needed else f"no access key was found: {_WAYS}"
        raise CredentialsError(
            f"{why}; roles, SSO, login sessions, other programs, containers and instances need botocore, which is not "
            "installed: pip install botocore"
        ) from None
    return BotocoreCredentials(_finder(named, region))


def _finder(named: str | None, region: str) -> Callable[[], Any]:
    """What asks botocore's chain, later: it may ask the network, and run other programs."""

    def find() -> Any:
        from botocore.session import Session

        session = Session(profile=named)
        session.set_config_variable("region", region)
        source = session.get_credentials()
        if source is None:
            raise CredentialsError(f"no access key was found: {_WAYS}")
        return source

    return find
