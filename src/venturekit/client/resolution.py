"""The configuration of a client, completed from the environment and the profile files.

Sources: AWS SDKs and Tools Reference Guide, "Configuration and credential file settings", "Service-specific endpoints",
"Precedence of settings"; botocore's resolution, as recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.client import environ
from venturekit.client.errors import ClientConfigError
from venturekit.client.regions import aws_endpoint, check_region, is_aws
from venturekit.transport.dialing import failure_text
from venturekit.transport.endpoint import Endpoint, Proxy, parse_endpoint, parse_proxy
from venturekit.transport.errors import EndpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from venturekit.client.config import ClientConfig
    from venturekit.client.credentials import CredentialsProvider
    from venturekit.client.environ import Variables
    from venturekit.client.profiles import Profile

LOCAL_REGION: Final = "us-east-1"
_NO_REGION: Final = "no region: give region=, set AWS_REGION, or name a profile that has one"


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
            import os
            import ssl

            if bundle is None:
                return ssl.create_default_context()
            try:
                if os.path.isdir(bundle):
                    return ssl.create_default_context(capath=bundle)
                return ssl.create_default_context(cafile=bundle)
            except (OSError, ValueError) as error:
                trouble = getattr(error, "strerror", None) or failure_text(error)
            raise ClientConfigError(f"the certificates of {bundle} cannot be read: {trouble}")

        return make


def resolve(config: ClientConfig) -> ResolvedConfig:
    """The configuration, completed. Raises ClientConfigError."""
    from venturekit.client.credentials import choose_provider
    from venturekit.client.profiles import Profile

    known = environ.variables()
    profile = Profile(config.profile, known)
    if config.profile is not None:
        profile.check()
    region = config.region or environ.region(known) or profile.get("region")
    endpoint = _endpoint(config, region, known, profile)
    if region is None:
        if is_aws(endpoint.host):
            raise ClientConfigError(_NO_REGION)
        region = LOCAL_REGION
    check_region(region)
    return ResolvedConfig(
        config,
        endpoint,
        region,
        choose_provider(config, profile, known, region=region, must_sign=is_aws(endpoint.host)),
        _proxy(config, endpoint, known),
        _ca_bundle(config, known, profile) if endpoint.scheme == "https" else None,
    )


def _configured_endpoint(known: Variables, profile: Profile) -> str | None:
    ignored = environ.ignores_endpoints(known)
    if profile.switch("ignore_configured_endpoint_urls") if ignored is None else ignored:
        return None
    return environ.endpoint(known) or profile.service_endpoint("lambda") or profile.get("endpoint_url")


def _endpoint(config: ClientConfig, region: str | None, known: Variables, profile: Profile) -> Endpoint:
    url = config.endpoint_url or _configured_endpoint(known, profile)
    if not url:
        if region is None:
            raise ClientConfigError(_NO_REGION)
        fips, dual_stack = environ.uses_fips(known), environ.uses_dual_stack(known)
        url = aws_endpoint(
            region,
            fips=profile.switch("use_fips_endpoint") if fips is None else fips,
            dual_stack=profile.switch("use_dualstack_endpoint") if dual_stack is None else dual_stack,
        )
    try:
        return parse_endpoint(url)
    except EndpointError as error:
        trouble = str(error)
    # As with proxies: some addresses hold a password, which must not be among the variables of who raises.
    del url
    raise ClientConfigError(trouble)


def _proxy(config: ClientConfig, endpoint: Endpoint, known: Variables) -> Proxy | None:
    if config.proxies is not None:
        url = config.proxies.get(endpoint.scheme)
    else:
        url = environ.proxy(known, endpoint.scheme, endpoint.host, endpoint.port)
    if not url:
        return None
    try:
        return parse_proxy(url)
    except EndpointError as error:
        trouble = str(error)
    del url
    raise ClientConfigError(trouble)


def _ca_bundle(config: ClientConfig, known: Variables, profile: Profile) -> str | None:
    given = config.ca_bundle or environ.ca_bundle(known)
    return given or profile.get("ca_bundle") or environ.usual_ca_bundle(known)
