"""What a saga is made of: steps, and groups of steps that run at the same time.

Source: the saga guide: ``saga``, ``parallel``, a step's ``name``, ``execute``, ``compensate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from venturekit.runtime.patterns.saga_errors import SagaDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

RETRY_DELAY_MS: Final = 1000
MAX_NAME_LENGTH: Final = 128
MAX_STEPS: Final = 200
_SPELLINGS: Final = {"retryDelayMs": "retry_delay_ms", "timeoutMs": "timeout_ms"}
_MEMBERS: Final = ("name", "execute", "compensate", "retries", "retry_delay_ms", "timeout_ms")


class SagaStep(NamedTuple):
    """One step: what it does, how that is undone, and how often it is tried. ``group`` is set by ``parallel``."""

    name: str
    execute: Callable[[Any], Any]
    compensate: Callable[[Any], Any] | None = None
    retries: int = 0
    retry_delay_ms: int = RETRY_DELAY_MS
    timeout_ms: int | None = None
    group: str | None = None


class SagaGroup(NamedTuple):
    """Steps that run at the same time."""

    name: str
    steps: tuple[SagaStep, ...]


def step(
    name: str,
    execute: Callable[[Any], Any],
    compensate: Callable[[Any], Any] | None = None,
    *,
    retries: int = 0,
    retry_delay_ms: int = RETRY_DELAY_MS,
    timeout_ms: int | None = None,
) -> SagaStep:
    """A step of a saga::

        reserve = step("reserve stock", reserve_stock, release_stock, retries=2, timeout_ms=3000)

    ``execute(context)`` does it. What it returns is the context of the next step; None keeps the one that it was given,
    with what it has put there. ``compensate(context)`` undoes it when a later step fails; what it returns is ignored.
    Both may be ``async def``, and both may be called more than once: after a crash nobody knows how far they came.

    ``retries``: further attempts, after ``retry_delay_ms`` that double each time. ``timeout_ms``: how long one attempt
    may take, a compensation's too; in a thread, where a blocking step cannot be interrupted, only Lambda's own limit
    holds, but that ``parallel`` stops waiting for it.

    Raises SagaDefinitionError.
    """
    _check_name("a step", name)
    for what, function in (("execute", execute), ("compensate", compensate)):
        if not callable(function) and not (what == "compensate" and function is None):
            raise SagaDefinitionError(f"{what} of the step {name!r} is {function!r}, which is no function")
    _check_number(name, "retries", retries, 0)
    _check_number(name, "retry_delay_ms", retry_delay_ms, 0)
    if timeout_ms is not None:
        _check_number(name, "timeout_ms", timeout_ms, 1)
    return SagaStep(name, execute, compensate, retries, retry_delay_ms, timeout_ms)


def parallel(name: str, steps: Sequence[SagaStep | Mapping[str, Any]]) -> SagaGroup:
    """Steps that run at the same time: in threads, or as tasks in an asynchronous run::

        both = parallel("prepare", [step("reserve", reserve_stock, release_stock), step("check", check_card)])

    The next step waits for all of them, also when one has failed. Each gets the context from before the group, and what
    they change of it is brought together: two that set one name differently are an error, and the saga is compensated.

    Raises SagaDefinitionError. Source: the saga guide, ``parallel``.
    """
    _check_name("a group", name)
    if not steps:
        raise SagaDefinitionError(f"the group {name!r} has no steps")
    made = []
    for given in steps:
        if isinstance(given, SagaGroup):
            raise SagaDefinitionError(
                f"the group {name!r} contains the group {given.name!r}: groups contain steps only"
            )
        made.append(_step_of(given)._replace(group=name))
    return SagaGroup(name, tuple(made))


class Definition:
    """The steps of a saga, in stages: those of one stage run at the same time. Raises SagaDefinitionError."""

    __slots__ = ("name", "stages", "steps")

    def __init__(self, name: str, steps: Iterable[SagaStep | SagaGroup | Mapping[str, Any]]) -> None:
        _check_name("a saga", name)
        self.name = name
        self.steps: tuple[SagaStep, ...] = ()
        stages: list[range] = []
        for given in _listed(name, steps):
            members = given.steps if isinstance(given, SagaGroup) else (_step_of(given),)
            stages.append(range(len(self.steps), len(self.steps) + len(members)))
            self.steps += members
        # The numbers of the steps of each stage.
        self.stages = tuple(stages)
        self._check_steps()

    def _check_steps(self) -> None:
        if not 1 <= len(self.steps) <= MAX_STEPS:
            raise SagaDefinitionError(f"the saga {self.name!r} has {len(self.steps)} steps: 1 to {MAX_STEPS} make one")
        seen: set[str] = set()
        for stage in self.stages:
            group = self.steps[stage[0]].group
            for name in (*([] if group is None else [group]), *(self.steps[number].name for number in stage)):
                if name in seen:
                    raise SagaDefinitionError(
                        f"the saga {self.name!r} has two steps or groups of the name {name!r}: each needs its own, "
                        "because a record tells them apart by it"
                    )
                seen.add(name)

    def outline(self) -> list[tuple[str, str | None]]:
        """Names and groups of the steps: what a record must have been begun with."""
        return [(one.name, one.group) for one in self.steps]


def _listed(name: str, steps: Any) -> list[Any]:
    if isinstance(steps, str | SagaStep | SagaGroup) or hasattr(steps, "keys") or not hasattr(steps, "__iter__"):
        raise SagaDefinitionError(f"the steps of the saga {name!r} are a list, and not {type(steps).__name__}")
    return list(steps)


def _step_of(given: Any) -> SagaStep:
    if isinstance(given, SagaStep):
        return given
    if not hasattr(given, "keys"):
        raise SagaDefinitionError(
            f"{given!r} is no step: step(name, execute, compensate), parallel(name, steps) or a dict with 'name' and "
            "'execute' is"
        )
    members = {_SPELLINGS.get(name, name): given[name] for name in given.keys()}  # noqa: SIM118 - any mapping
    if unknown := sorted(str(name) for name in members if name not in _MEMBERS):
        raise SagaDefinitionError(f"a step has no {', '.join(unknown)}: it has {', '.join(_MEMBERS)}")
    if missing := [name for name in ("name", "execute") if name not in members]:
        raise SagaDefinitionError(f"a step needs {' and '.join(missing)}")
    return step(**members)


def _check_name(what: str, name: Any) -> None:
    # Names are part of idempotency keys, which are headers, and '#' is what joins their parts.
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_LENGTH or not name.isprintable() or "#" in name:
        raise SagaDefinitionError(
            f"the name of {what} is a text of 1 to {MAX_NAME_LENGTH} printable characters without '#', "
            f"and not {name!r:.200}"
        )


def _check_number(name: str, what: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SagaDefinitionError(f"{what} of the step {name!r} is {value!r}: a whole number from {least} is expected")
