"""Provisioned concurrency of a function: how many environments of which version are to be kept initialised. Pure.

A configuration hangs on a published version or on an alias. What is wanted of a version is the sum over every
configuration that names it; an alias with two versions divides what it wants among them by its weights, so that the
total stays what was requested. Source: AWS page "Configuring provisioned concurrency" and the description of
``AllocatedProvisionedConcurrentExecutions`` in the API reference; how the division is rounded is a choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.records import LATEST
from venturekit.service.functions.settings import PROVISIONED, qualified_settings, qualifier_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.service.functions.registry import Function

IN_PROGRESS: Final = "IN_PROGRESS"
READY: Final = "READY"
FAILED: Final = "FAILED"
UNPUBLISHED: Final = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
"""Why nothing is allocated for an alias that was moved to ``$LATEST``."""


@dataclass(frozen=True, slots=True)
class ProvisionState:
    """How the environments of one version stand that are kept initialised.

    ``allocated`` counts those that are the version's, one that is being replaced included, ``available`` those that
    are initialised now. ``failure`` says why there are no more; empty while nothing is wrong.
    """

    allocated: int = 0
    available: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many environments of a version are to be initialised. Another ``token``: what failed is tried again."""

    executions: int
    token: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one configuration wants of one version."""

    qualifier: str
    version: str
    executions: int
    token: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How one configuration stands, as the API shows it."""

    requested: int
    allocated: int
    available: int
    failure: str

    @property
    def status(self) -> str:
        """``READY`` once all that was requested is allocated."""
        if self.allocated >= self.requested:
            return READY
        return FAILED if self.failure else IN_PROGRESS


def divide(executions: int, weight: float) -> tuple[int, int]:
    """What of ``executions`` goes to the main version of an alias, and to its additional one with ``weight``."""
    additional = min(math.floor(executions * weight + 0.5), executions)
    return executions - additional, additional


def shares(function: Function) -> list[Share]:
    """What is wanted of every version: the configuration that was put first comes first."""
    configs = qualified_settings(function, PROVISIONED)

    def order(qualifier: str) -> tuple[Any, ...]:
        return configs[qualifier]["LastModified"], qualifier_order(qualifier)

    found = []
    for qualifier in sorted(configs, key=order):
        config = configs[qualifier]
        for version, executions in _versions(function, qualifier, config["Requested"]):
            if executions and version in function.versions and version != LATEST:
                found.append(Share(qualifier, version, executions, config["Token"]))
    return found


def _versions(function: Function, qualifier: str, executions: int) -> list[tuple[str, int]]:
    alias = function.aliases.get(qualifier)
    if alias is None:
        return [(qualifier, executions)]
    if alias.additional_version is None:
        return [(alias.function_version, executions)]
    main, additional = divide(executions, alias.additional_weight)
    return [(alias.function_version, main), (alias.additional_version, additional)]


def allocation(function: Function) -> dict[str, Wanted]:
    """How many environments of each version are to be initialised; versions of which none are, are left out."""
    wanted: dict[str, Wanted] = {}
    for share in shares(function):
        former = wanted.get(share.version)
        if former is None:
            wanted[share.version] = Wanted(share.executions, share.token)
        else:
            wanted[share.version] = Wanted(former.executions + share.executions, f"{former.token} {share.token}")
    return wanted


def standing(function: Function, qualifier: str, state_of: Callable[[str], ProvisionState]) -> Standing:
    """How the configuration of ``qualifier`` stands; ``state_of`` tells it of a version.

    What a version has counts for the configurations that name it in the order in which they were put.
    """
    config: Mapping[str, Any] = qualified_settings(function, PROVISIONED)[qualifier]
    allocated = available = 0
    failure = UNPUBLISHED
    earlier: dict[str, int] = {}
    for share in shares(function):
        before = earlier.get(share.version, 0)
        earlier[share.version] = before + share.executions
        if share.qualifier == qualifier:
            state = state_of(share.version)
            allocated += max(0, min(state.allocated - before, share.executions))
            available += max(0, min(state.available - before, share.executions))
            failure = state.failure if failure == UNPUBLISHED else failure or state.failure
    return Standing(config["Requested"], allocated, available, failure)
