"""AWS's own addresses of the Lambda API. Pure.

Source: botocore's ``partitions.json`` and its rules for the endpoints of Lambda, as recorded.
"""

from __future__ import annotations

from typing import Final

from venturekit.client.errors import ClientConfigError

_SUFFIXES: Final = (
    ("cn-", ("amazonaws.com.cn", "api.amazonwebservices.com.cn")),
    ("aws-cn-", ("amazonaws.com.cn", "api.amazonwebservices.com.cn")),
    ("us-isob-", ("sc2s.sgov.gov", "api.aws.scloud")),
    ("aws-iso-b-", ("sc2s.sgov.gov", "api.aws.scloud")),
    ("us-isof-", ("csp.hci.ic.gov", "api.aws.hci.ic.gov")),
    ("aws-iso-f-", ("csp.hci.ic.gov", "api.aws.hci.ic.gov")),
    ("eu-isoe-", ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")),
    ("aws-iso-e-", ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk")),
    ("us-iso-", ("c2s.ic.gov", "api.aws.ic.gov")),
    ("aws-iso-", ("c2s.ic.gov", "api.aws.ic.gov")),
    ("eusc-", ("amazonaws.eu", "api.amazonwebservices.eu")),
)
"""The domains of the partitions that are not the usual one, the second for both kinds of addresses."""
_USUAL: Final = ("amazonaws.com", "api.aws")
_REGION: Final = r"[a-z]{2,5}(-[a-z0-9]+)+"


def aws_endpoint(region: str, *, fips: bool = False, dual_stack: bool = False) -> str:
    """AWS's own address of a region. Raises ClientConfigError for what is no name of a region."""
    from re import ASCII, fullmatch

    if fullmatch(_REGION, region, ASCII) is None:
        raise ClientConfigError(f"{region[:80]!r} is no name of a region, such as eu-west-1")
    if region.startswith("fips-") or region.endswith("-fips"):
        bare = region.removeprefix("fips-").removesuffix("-fips")
        raise ClientConfigError(f"{region[:80]!r} is no region: {bare} is, with AWS_USE_FIPS_ENDPOINT=true")
    suffixes = next((found for start, found in _SUFFIXES if region.startswith(start)), _USUAL)
    return f"https://lambda{'-fips' if fips else ''}.{region}.{suffixes[dual_stack]}"


def check_region(region: str) -> None:
    """Raise ClientConfigError for what cannot be part of a signature."""
    from re import ASCII, fullmatch

    if fullmatch(r"(?![0-9]+$)(?!-)[a-zA-Z0-9-]{1,63}(?<!-)", region, ASCII) is None:
        raise ClientConfigError(f"{region[:80]!r} is no name of a region: letters, digits and hyphens make one")


def is_aws(host: str) -> bool:
    """Whether a host is AWS's Lambda API: of a region, or of an endpoint in one's own network (PrivateLink)."""
    from re import ASCII, fullmatch

    domains = "|".join(
        sorted({suffix.replace(".", r"\.") for _, pair in (*_SUFFIXES, ("", _USUAL)) for suffix in pair})
    )
    pattern = rf"(?:[a-z0-9-]+\.)*lambda(?:-fips)?\.[a-z0-9-]+\.(?:vpce\.)?(?:{domains})\.?"
    return fullmatch(pattern, host.lower(), ASCII) is not None
