"""Which layer a caller means: a name or an ARN, reduced to account and name. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from venturekit.protocol.names import layer_arn
from venturekit.service.functions import faults

_ARN: Final = re.compile(
    r"arn:[a-zA-Z0-9-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account_id>\d{12}):layer:(?P<name>[a-zA-Z0-9_-]+)"
    r"(?::(?P<version>[0-9]+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class LayerAddress:
    """A layer of this service's region, in any account, existing or not."""

    region: str
    account_id: str
    name: str

    @property
    def arn(self) -> str:
        """The ARN of the layer."""
        return layer_arn(self.region, self.account_id, self.name)

    def version_arn(self, number: int) -> str:
        """The ARN of one of its versions."""
        return layer_arn(self.region, self.account_id, self.name, number)


def parse_layer(text: str, *, region: str, account_id: str) -> LayerAddress:
    """The layer that ``LayerName`` (a name, or the ARN of a layer) means; a bare name is one of ``account_id``.

    Raises ResourceNotFound for an ARN of another region.
    """
    match = _ARN.fullmatch(text)
    if match is None:
        return LayerAddress(region, account_id, text)
    return _address(match, region)


def parse_layer_version(arn: str, *, region: str) -> tuple[LayerAddress, int]:
    """The layer and the number that the ARN of a layer version means.

    Raises ResourceNotFound for an ARN of another region and for a layer of AWS's own (``awslayer``), of which there
    are none here.
    """
    match = _ARN.fullmatch(arn)
    if match is None or match["version"] is None:
        raise faults.no_such_resource()
    return _address(match, region), int(match["version"])


def region_of_layer(arn: str) -> str | None:
    """The region in the ARN of a layer version; None for a layer of AWS's own, which has none."""
    match = _ARN.fullmatch(arn)
    return None if match is None else match["region"]


def check_number(number: int) -> None:
    """Raise InvalidParameterValue for a version number that none can have (as recorded)."""
    if number < 1:
        raise faults.layer_number_too_small()


def _address(match: re.Match[str], region: str) -> LayerAddress:
    if match["region"] != region:
        raise faults.layers_of_another_region(match["region"], region)
    return LayerAddress(region, match["account_id"], match["name"])
