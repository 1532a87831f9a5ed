"""How many execution environments a version of a managed function has at least and at most. Pure.

Source: AWS page "Scaling Lambda Managed Instances". By default AWS keeps three environments of every version and has
no maximum; here none is kept unless that is asked for, which a machine of one's own would notice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions import capacity_faults as faults
from venturekit.service.functions.settings import SCALING, qualified_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.functions.registry import Function

DEFAULT_MINIMUM: Final = 0
_MINIMUM: Final = "MinExecutionEnvironments"
_MAXIMUM: Final = "MaxExecutionEnvironments"


@dataclass(frozen=True, slots=True)
class ScalingBounds:
    """The environments of one version: ``min_environments`` are kept initialised, more than ``max_environments`` (None:
    any number) never run. Another ``token``: what failed to initialise is tried again.
    """

    min_environments: int = DEFAULT_MINIMUM
    max_environments: int | None = None
    token: str = ""

    @property
    def deactivated(self) -> bool:
        """Whether the version does not run at all: both are 0."""
        return self.max_environments == 0

    def shown(self) -> dict[str, int]:
        """The ``FunctionScalingConfig`` of AWS's shape; without a maximum there is no such member."""
        shown = {_MINIMUM: self.min_environments}
        return shown if self.max_environments is None else {**shown, _MAXIMUM: self.max_environments}


def requested(given: Mapping[str, Any], token: str) -> ScalingBounds:
    """The bounds that a request asks for; what it leaves out gets its default again. Raises InvalidParameterValue."""
    minimum, maximum = given.get(_MINIMUM), given.get(_MAXIMUM)
    if minimum is None and maximum == 0:
        minimum = 0
    if minimum == 0 and maximum != 0:
        raise faults.minimum_of_zero()
    bounds = ScalingBounds(DEFAULT_MINIMUM if minimum is None else minimum, maximum, token)
    if maximum is not None and bounds.min_environments > maximum:
        raise faults.minimum_over_maximum(bounds.min_environments, maximum)
    return bounds


def bounds_of(function: Function, version: str) -> ScalingBounds:
    """What was requested for a version (a number or ``$LATEST.PUBLISHED``), the default if nothing was."""
    setting = qualified_settings(function, SCALING).get(version)
    return ScalingBounds() if setting is None else _bounds(setting["Requested"], setting["Token"])


def applied_to(function: Function, version: str, allocated: int) -> ScalingBounds:
    """What is in force: what was in force before, until as many as are requested are initialised (``allocated``)."""
    setting = qualified_settings(function, SCALING).get(version)
    bounds = bounds_of(function, version)
    if setting is None or allocated >= bounds.min_environments:
        return bounds
    return _bounds(setting["Former"], "")


def setting_of(bounds: ScalingBounds, former: ScalingBounds) -> dict[str, Any]:
    """What is kept of a request; ``former`` is what is in force until that is."""
    return {"Requested": bounds.shown(), "Former": former.shown(), "Token": bounds.token}


def kept_initialised(function: Function) -> dict[str, ScalingBounds]:
    """The versions of which some environments are to be kept initialised."""
    found = {}
    for version in qualified_settings(function, SCALING):
        bounds = bounds_of(function, version)
        if bounds.min_environments and version in function.versions:
            found[version] = bounds
    return found


def _bounds(shown: Mapping[str, int], token: str) -> ScalingBounds:
    return ScalingBounds(shown[_MINIMUM], shown.get(_MAXIMUM), token)
