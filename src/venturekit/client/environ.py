"""The environment variables that clients read: here and nowhere else in this package.

Source: AWS SDKs and Tools Reference Guide, "Environment variables support"; botocore's resolution, as recorded.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Variables:
    """Environment variables. Their values are not in the repr: some are secrets."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """The value of a variable, None if it is not set."""
        return self._values.get(name)

    def first(self, *names: str) -> str | None:
        """The value of the first of them that has one."""
        return next((value for name in names if (value := self._values.get(name))), None)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return "Variables(...)"


def variables() -> Variables:
    """The environment variables of this process."""
    return Variables(os.environ)


def region(known: Variables) -> str | None:
    """The region of AWS."""
    return known.first("AWS_REGION", "AWS_DEFAULT_REGION")


def endpoint(known: Variables) -> str | None:
    """Where the Lambda API is if not at AWS."""
    return known.first("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL")


def ignores_endpoints(known: Variables) -> bool | None:
    """Whether only an endpoint counts that was given in the program; None: the environment does not say."""
    return _switch(known, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")


def credentials(known: Variables) -> tuple[str, str | None, str | None, str | None] | None:
    """Access key, secret key, session token and when they expire, as far as they are there; None without a key."""
    key_id = known.first("AWS_ACCESS_KEY_ID")
    if key_id is None:
        return None
    return (
        key_id,
        known.first("AWS_SECRET_ACCESS_KEY"),
        known.first("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"),
        known.first("AWS_CREDENTIAL_EXPIRATION"),
    )


def has_web_identity(known: Variables) -> bool:
    """Whether a file with a token stands for access keys, as in pods of Kubernetes."""
    return known.first("AWS_WEB_IDENTITY_TOKEN_FILE") is not None


def ca_bundle(known: Variables) -> str | None:
    """The file with the certificate authorities to trust."""
    return known.first("AWS_CA_BUNDLE")


def usual_ca_bundle(known: Variables) -> str | None:
    """The same as other programs are told, where AWS's own settings say nothing; botocore looks there, too."""
    return known.first("REQUESTS_CA_BUNDLE")


def uses_fips(known: Variables) -> bool | None:
    """Whether AWS's endpoint is to be the validated one; None: the environment does not say."""
    return _switch(known, "AWS_USE_FIPS_ENDPOINT")


def uses_dual_stack(known: Variables) -> bool | None:
    """Whether AWS's endpoint is to have addresses of both kinds; None: the environment does not say."""
    return _switch(known, "AWS_USE_DUALSTACK_ENDPOINT")


def profile(known: Variables) -> str | None:
    """The name of the profile; None where the default one will do."""
    # The order is botocore's, which is asked for what is not read here: both have to mean the same profile.
    return known.first("AWS_DEFAULT_PROFILE", "AWS_PROFILE")


def config_files(known: Variables) -> tuple[str, str]:
    """Where the profiles are: the file of configurations, and that of credentials."""
    config = known.first("AWS_CONFIG_FILE") or "~/.aws/config"
    shared = known.first("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return os.path.expanduser(os.path.expandvars(config)), os.path.expanduser(os.path.expandvars(shared))


def proxy(known: Variables, scheme: str, host: str, port: int) -> str | None:
    """The proxy for a host, of ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY``; the names in lower case count more."""
    # In a CGI script, HTTP_PROXY is the header "Proxy" of who calls (CVE-2016-1000110).
    is_forged = scheme == "http" and "REQUEST_METHOD" in known
    found = _of_either_case(known, f"{scheme}_proxy", is_upper_trusted=not is_forged)
    if found is None or _is_exempt(host, port, _of_either_case(known, "no_proxy") or ""):
        return None
    return found


def _of_either_case(known: Variables, name: str, *, is_upper_trusted: bool = True) -> str | None:
    # Set to nothing, the lower one switches the upper one off.
    if name in known:
        return known.get(name) or None
    return known.first(name.upper()) if is_upper_trusted else None


def _is_exempt(host: str, port: int, listed: str) -> bool:
    """Whether a host is listed: by its name, a domain above it, or either with its port; ``*`` is every host."""
    bare = host.lower()
    forms = (bare, f"{bare}:{port}") if ":" not in bare else (bare, f"[{bare}]", f"[{bare}]:{port}")
    for entry in listed.replace(",", " ").split():
        name = entry.lower().lstrip(".")
        if name and (name == "*" or any(form == name or form.endswith(f".{name}") for form in forms)):
            return True
    return False


def _switch(known: Variables, name: str) -> bool | None:
    value = known.get(name)
    return None if value is None else value.lower() == "true"
