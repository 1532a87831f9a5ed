"""How much memory an execution environment uses, and its end when that is more than it may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from venturekit.service.environments.environment import Environment
    from venturekit.service.environments.memory import TreeMemory

MEBIBYTE: Final = 1024 * 1024


def sample(environment: Environment, memory: TreeMemory, now: float) -> int:
    """Measure the whole process tree at ``now``, in monotonic seconds. Over the limit the environment is killed.

    Returns the resident bytes.
    """
    extensions = environment.extensions
    used = memory.sample() + (0 if extensions is None else extensions.memory_bytes())
    note(environment, used, now)
    limit = environment.spec.memory_size_mb * MEBIBYTE
    if used > limit and not environment.over_memory:
        # Processes that share pages count them twice in the cheap figure: the dear one decides.
        others = 0 if extensions is None else extensions.memory_bytes(proportional=True)
        if memory.proportional_bytes() + others > limit:
            environment.over_memory = True
            environment.host.kill(environment)
    return used


def note(environment: Environment, used_bytes: int, now: float) -> None:
    """Keep the most that was used, for the reports of invocations."""
    environment.memory_sampled_at = now
    used_mb = -(-used_bytes // MEBIBYTE)
    if used_mb > environment.memory_mb:
        environment.memory_mb = min(used_mb, environment.spec.memory_size_mb)
