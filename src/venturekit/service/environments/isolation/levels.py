"""Which isolation level a service runs its functions at, and what an old kernel cannot do of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable

Level = Literal["process", "confined", "namespace"]
LEVELS: Final[tuple[Level, ...]] = ("process", "confined", "namespace")
"""From the least to the most."""
AUTO: Final = "auto"


class IsolationUnavailableError(Exception):
    """The isolation that was asked for cannot be had here; the text says what is missing and what can be done."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the probe found about a level. ``reason`` says why it cannot be had, None that it can.

    ``gaps`` are the parts of it that this kernel cannot do.
    """

    level: Level
    reason: str | None = None
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Gap:
    text: str
    since_abi: int
    since_linux: str
    levels: tuple[Level, ...]


# Source: the kernel's page "Landlock: unprivileged access control", section "Kernel support / Previous limitations".
_GAPS: Final = (
    _Gap("keep files outside from being emptied", 3, "6.2", ("confined",)),
    _Gap("limit TCP ports", 4, "6.7", ("confined", "namespace")),
    _Gap("keep other processes from being signalled", 6, "6.12", ("confined",)),
)


def gaps_of(level: Level, landlock_abi: int) -> tuple[str, ...]:
    """What a kernel with this version of Landlock cannot do of a level, each in a few words."""
    return tuple(
        f"{gap.text} (Linux {gap.since_linux}, Landlock ABI {gap.since_abi}; here is ABI {landlock_abi})"
        for gap in _GAPS
        if level in gap.levels and landlock_abi < gap.since_abi
    )


def decide(wanted: str, required: str, *, accept_gaps: bool, examine: Callable[[Level], Finding]) -> Finding:
    """The level to run at: ``wanted``, or for "auto" the highest that can be had whole.

    ``examine`` is asked only about levels above "process". Raises IsolationUnavailableError when the level cannot be
    had, or is below ``required``.
    """
    reached = (
        _highest(accept_gaps, examine) if wanted == AUTO else _exactly(cast("Level", wanted), accept_gaps, examine)
    )
    if LEVELS.index(reached.level) < LEVELS.index(cast("Level", required)):
        refused = _exactly(cast("Level", required), accept_gaps, examine)
        raise IsolationUnavailableError(
            f"functions would run at the isolation level '{reached.level}', below --require-isolation {required}, "
            f"which can be had here: add --isolation {refused.level}"
        )
    return reached


def _highest(accept_gaps: bool, examine: Callable[[Level], Finding]) -> Finding:
    for level in LEVELS[:0:-1]:
        finding = examine(level)
        if finding.reason is None and (accept_gaps or not finding.gaps):
            return finding
    return Finding("process")


def _exactly(level: Level, accept_gaps: bool, examine: Callable[[Level], Finding]) -> Finding:
    if level == "process":
        return Finding(level)
    finding = examine(level)
    if finding.reason is not None:
        raise IsolationUnavailableError(f"the isolation level '{level}' cannot be had here: {finding.reason}")
    if finding.gaps and not accept_gaps:
        raise IsolationUnavailableError(
            f"the isolation level '{level}' cannot be had whole here: this kernel cannot {'; '.join(finding.gaps)}. "
            "Use a newer kernel or another level, or accept that with --accept-isolation-gaps"
        )
    return finding
