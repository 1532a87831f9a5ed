"""Where the keys that requests are signed with come from.

Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError, CredentialsError
from venturekit.protocol.sigv4_signer import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.client.config import ClientConfig
    from venturekit.client.profiles import Profile

_BY_BOTOCORE: Final = (
    "role_arn",
    "credential_process",
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "web_identity_token_file",
    "login_session",
)


class CredentialsProvider(Protocol):
    """What gives credentials. It is asked before each request, so what is slow keeps what it has found."""

    def __call__(self) -> Credentials | None:
        """The credentials to sign with; None: the request is not signed. Raises CredentialsError."""


class FixedCredentials:
    """Always the same."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def __call__(self) -> Credentials | None:
        """They."""
        return self._credentials


class BotocoreCredentials:
    """Those of a credentials object of botocore, which renews them itself when they expire."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __call__(self) -> Credentials | None:
        """As they are now. Raises CredentialsError."""
        try:
            frozen = self._source.get_frozen_credentials()
        except Exception as error:
            raise CredentialsError(f"the credentials could not be renewed: {type(error).__name__}: {error}") from None
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


def choose_provider(
    config: ClientConfig, profile: Profile, known: Mapping[str, str], *, must_sign: bool
) -> CredentialsProvider:
    """Who gives the credentials of a client: what was given, the environment, the profile, botocore; in this order.

    ``must_sign``: without any it is an error, and not a client that does not sign. Raises ClientConfigError.
    """
    if config.unsigned:
        return FixedCredentials(None)
    given = config.credentials
    if given is not None:
        if isinstance(given, Credentials):
            return FixedCredentials(given)
        if callable(given):
            return given
        raise ClientConfigError("credentials are Credentials(...), or a function that gives them")
    # A profile that the program names counts more than the environment.
    if config.profile is None:
        found = environ.credentials(known)
        if found is not None:
            key_id, secret, token, expiration = found
            return FixedCredentials(Credentials(key_id, secret, token, epoch_of(expiration)))
    return _of_profile(profile) or _of_botocore(config, profile, must_sign=must_sign)


def epoch_of(text: str | None) -> float | None:
    """When credentials expire, in epoch seconds. Raises ClientConfigError."""
    if text is None:
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ClientConfigError(
            f"the expiration of the credentials is {text[:40]!r}, and no time of ISO 8601"
        ) from None


def _of_profile(profile: Profile) -> CredentialsProvider | None:
    key_id, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
    if key_id is None or secret is None or profile.get("role_arn") is not None:
        return None
    return FixedCredentials(Credentials(key_id, secret, profile.get("aws_session_token")))


def _of_botocore(config: ClientConfig, profile: Profile, *, must_sign: bool) -> CredentialsProvider:
    needed = next((name for name in _BY_BOTOCORE if profile.get(name)), None)
    if not must_sign and needed is None and config.profile is None:
        # A service of one's own: looking for roles of containers and instances would take seconds, in vain.
        return FixedCredentials(None)
    try:
        from botocore.session import Session
    except ImportError:
        why = f"the profile {profile.name!r} has {needed}, and" if needed else "no access key was found, and"
        raise CredentialsError(
            f"{why} other sources need botocore: pip install botocore, set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give credentials="
        ) from None
    session = Session(profile=config.profile)
    try:
        source = session.get_credentials()
    except Exception as error:
        raise CredentialsError(f"no credentials: {type(error).__name__}: {error}") from None
    if source is None:
        raise CredentialsError(
            "no access key was found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile that has one, or "
            "give credentials= or unsigned=True"
        )
    return BotocoreCredentials(source)
