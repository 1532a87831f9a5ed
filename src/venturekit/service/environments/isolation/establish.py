"""Brings a service to its isolation level when it starts: decides, probes, prepares the folders, makes the policy."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from venturekit.service.environments.isolation.levels import decide
from venturekit.service.environments.isolation.policy import make_policy
from venturekit.service.environments.isolation.probe import landlock_abi, prober

if TYPE_CHECKING:
    from collections.abc import Iterable

    from venturekit.service.environments.isolation.policy import Policy, Surroundings

logger = logging.getLogger("venturekit.environments")


def establish(
    *,
    wanted: str,
    required: str,
    accept_gaps: bool,
    interpreter: str,
    around: Surroundings,
    connect_ports: Iterable[int],
    bind_ports: Iterable[int],
) -> Policy | None:
    """The policy of the level that is reached, None for "process".

    The probe runs in ``interpreter`` and takes some 50 ms per level. Raises IsolationUnavailableError.
    """
    reached = decide(wanted, required, accept_gaps=accept_gaps, examine=prober(interpreter))
    if reached.level == "process":
        logger.warning("functions are not isolated: nothing above the level 'process' can be had here")
        return None
    around.mountpoint.mkdir(parents=True, exist_ok=True)
    around.compiled_runtime.mkdir(parents=True, exist_ok=True)
    policy = make_policy(reached.level, landlock_abi(), around, connect_ports, bind_ports)
    logger.info("functions are isolated at the level '%s'", reached.level)
    for gap in reached.gaps:
        logger.warning("this kernel cannot %s", gap)
    return policy
