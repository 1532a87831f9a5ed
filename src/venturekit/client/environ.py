"""The environment variables that clients read: here and nowhere else in this package.

Source: AWS SDKs and Tools Reference Guide, "Environment variables support".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def variables() -> Mapping[str, str]:
    """The environment variables of this process."""
    return os.environ


def region(known: Mapping[str, str]) -> str | None:
    """The region of AWS."""
    return known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or None


def endpoint(known: Mapping[str, str]) -> str | None:
    """Where the Lambda API is if not at AWS."""
    return known.get("AWS_ENDPOINT_URL_LAMBDA") or known.get("AWS_ENDPOINT_URL") or None


def ignores_endpoints(known: Mapping[str, str]) -> bool:
    """Whether only an endpoint counts that was given in the program."""
    return known.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true"


def credentials(known: Mapping[str, str]) -> tuple[str, str, str | None, str | None] | None:
    """Access key, secret key, session token and when it expires; None without a key."""
    key_id, secret = known.get("AWS_ACCESS_KEY_ID"), known.get("AWS_SECRET_ACCESS_KEY")
    if not key_id or not secret:
        return None
    return key_id, secret, known.get("AWS_SESSION_TOKEN") or None, known.get("AWS_CREDENTIAL_EXPIRATION") or None


def ca_bundle(known: Mapping[str, str]) -> str | None:
    """The file with the certificate authorities to trust."""
    return known.get("AWS_CA_BUNDLE") or None


def uses_fips(known: Mapping[str, str]) -> bool:
    """Whether AWS's endpoint is to be the validated one."""
    return known.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true"


def uses_dual_stack(known: Mapping[str, str]) -> bool:
    """Whether AWS's endpoint is to have addresses of both kinds."""
    return known.get("AWS_USE_DUALSTACK_ENDPOINT", "").lower() == "true"


def profile(known: Mapping[str, str]) -> str | None:
    """The name of the profile; None where the default one will do."""
    return known.get("AWS_PROFILE") or known.get("AWS_DEFAULT_PROFILE") or None


def config_files(known: Mapping[str, str]) -> tuple[str, str]:
    """Where the profiles are: the file of configurations, and that of credentials."""
    return (
        os.path.expanduser(known.get("AWS_CONFIG_FILE") or "~/.aws/config"),
        os.path.expanduser(known.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"),
    )


def proxy(known: Mapping[str, str], scheme: str, host: str, given: Mapping[str, str] | None) -> str | None:
    """The proxy for a host: of what was given, else of ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``."""
    if given is not None:
        return given.get(scheme)
    names = ("https_proxy", "HTTPS_PROXY") if scheme == "https" else ("http_proxy",)
    found = next((known[name] for name in names if known.get(name)), None)
    if found is None or _is_exempt(host, known.get("no_proxy") or known.get("NO_PROXY") or ""):
        return None
    return found


def _is_exempt(host: str, listed: str) -> bool:
    for entry in listed.replace(" ", ",").split(","):
        name = entry.strip().lower().lstrip(".")
        if name and (name == "*" or host.lower() == name or host.lower().endswith(f".{name}")):
            return True
    return False
