"""Where results of asynchronous invocations may be sent: which ARNs a configuration takes.

Source: Developer Guide, "Capturing records of Lambda asynchronous invocations": queues, topics, functions and event
buses, and buckets for what failed; no FIFO queues and topics. Functions of this service must exist, and so must all
others that somebody can be asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.names import InvalidFunctionNameError, parse_function_reference
from venturekit.service.functions import faults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from venturekit.service.functions.plane import ControlPlane

_REGIONAL: Final = r"arn:aws[a-zA-Z0-9-]*:{service}:[a-z0-9-]+:[0-9]{{12}}:{resource}"
_FORMS: Final = {
    "sqs": re.compile(_REGIONAL.format(service="sqs", resource="[a-zA-Z0-9_-]{1,80}")),
    "sns": re.compile(_REGIONAL.format(service="sns", resource="[a-zA-Z0-9_-]{1,256}")),
    "events": re.compile(_REGIONAL.format(service="events", resource=r"event-bus/[/.a-zA-Z0-9_-]{1,256}")),
    "lambda": re.compile(_REGIONAL.format(service="lambda", resource=r"function:.+")),
    "s3": re.compile(r"arn:aws[a-zA-Z0-9-]*:s3:::[a-z0-9.-]{3,63}"),
}
_FAILURE_ONLY: Final = frozenset({"s3"})
_DEAD_LETTERS: Final = frozenset({"sqs", "sns"})


class Destinations:
    """The rules for destinations, on what functions there are."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def check(self, config: Mapping[str, Any], function_name: str) -> None:
        """Raise InvalidParameterValue for a ``DestinationConfig`` that the function ``function_name`` cannot have."""
        for side, target in config.items():
            arn = (target or {}).get("Destination")
            if not arn:
                continue
            service = service_of(arn)
            if service is None or (side == "OnSuccess" and service in _FAILURE_ONLY):
                raise faults.invalid_destination_config(printed(config))
            if _FORMS[service].fullmatch(arn) is None:
                raise faults.invalid_destination(arn)
            if service == "lambda":
                self._check_function(arn, function_name)

    async def check_existence(self, config: Mapping[str, Any]) -> None:
        """Raise InvalidParameterValue for a target that is known not to exist. ``config`` has passed ``check``.

        One that nobody can tell of is taken: what is sent there waits until it can be delivered.
        """
        for target in config.values():
            arn = (target or {}).get("Destination")
            if arn and service_of(arn) != "lambda" and await self._plane.target_exists(arn) is False:
                raise faults.invalid_destination(arn)

    def _check_function(self, arn: str, function_name: str) -> None:
        registry = self._plane.registry
        try:
            reference = parse_function_reference(arn)
        except InvalidFunctionNameError as error:
            raise faults.invalid_destination(arn) from error
        if (reference.region, reference.account_id) != (registry.region, registry.account_id):
            return
        if reference.name == function_name:
            raise faults.function_as_its_own_destination()
        function = registry.function(reference.name) if reference.name in registry else None
        if function is None or (
            reference.qualifier is not None
            and reference.qualifier not in function.versions
            and reference.qualifier not in function.aliases
        ):
            raise faults.invalid_destination(arn)


def service_of(arn: str) -> str | None:
    """The service in an ARN if a destination can be there, else None."""
    parts = arn.split(":", 3)
    return parts[2] if len(parts) == 4 and parts[0] == "arn" and parts[2] in _FORMS else None


def takes_dead_letters(arn: str) -> bool:
    """Whether an ARN is that of a queue or topic for dead letters: of a standard one, as for destinations."""
    service = service_of(arn)
    return service in _DEAD_LETTERS and _FORMS[service].fullmatch(arn) is not None


def printed(config: Mapping[str, Any]) -> str:
    """A ``DestinationConfig`` as AWS's errors show it: ``DestinationConfig(onSuccess=..., onFailure=null)``."""
    sides = []
    for side in ("OnSuccess", "OnFailure"):
        target = config.get(side)
        shown = "null" if target is None else f"{side}(destination={target.get('Destination', 'null')})"
        sides.append(f"o{side[1:]}={shown}")
    return f"DestinationConfig({', '.join(sides)})"
