"""The environment variables of the ``vk`` process: read here and nowhere else in this package."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.protocol.sigv4_signer import Credentials

ENDPOINT_VARIABLES: Final = ("AWS_ENDPOINT_URL_LAMBDA", "AWS_ENDPOINT_URL")
PORT_VARIABLE: Final = "VENTUREKIT_PORT"
DEFAULT_PORT: Final = "9001"
REGION_VARIABLES: Final = ("VENTUREKIT_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION: Final = "us-east-1"


def variables() -> Mapping[str, str]:
    """The environment variables of this process."""
    return os.environ


def configured_endpoint(environ: Mapping[str, str]) -> str | None:
    """The endpoint that variables of AWS's tools name, or None."""
    return next((environ[name] for name in ENDPOINT_VARIABLES if environ.get(name)), None)


def endpoint_url(environ: Mapping[str, str]) -> str:
    """The endpoint that variables name, else where ``vk serve`` listens by default."""
    port = environ.get(PORT_VARIABLE) or DEFAULT_PORT
    # Port 0 means any: the service then says itself which variable to set.
    return configured_endpoint(environ) or f"http://127.0.0.1:{DEFAULT_PORT if port == '0' else port}"


def region(environ: Mapping[str, str]) -> str:
    """The region that requests are signed for."""
    return next((environ[name] for name in REGION_VARIABLES if environ.get(name)), DEFAULT_REGION)


def credentials(environ: Mapping[str, str]) -> Credentials | None:
    """What requests are signed with: the service's own key pair, else AWS's variables, else nothing."""
    from venturekit.protocol.sigv4_signer import Credentials

    for key_id, secret, token in (
        ("VENTUREKIT_ACCESS_KEY_ID", "VENTUREKIT_SECRET_ACCESS_KEY", ""),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ):
        if environ.get(key_id) and environ.get(secret):
            return Credentials(environ[key_id], environ[secret], environ.get(token) or None)
    return None


def certificate_bundle(environ: Mapping[str, str]) -> str | None:
    """The file with certificate authorities that AWS's tools use, if one is named."""
    return environ.get("AWS_CA_BUNDLE") or None
