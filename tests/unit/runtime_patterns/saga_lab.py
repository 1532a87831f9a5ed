"""What the tests of sagas share: a clock, stores that fail, steps that keep a journal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from venturekit.runtime import SagaResult, saga, step
from venturekit.runtime.context import BaseContext, _current
from venturekit.runtime.patterns.record_stores import MemoryRecordStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from venturekit.runtime.patterns import Saga, SagaStep


class Crash(BaseException):
    """The process ends here."""


class StoreDownError(Exception):
    """The store does not answer."""


class Clock:
    """Epoch seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


class FaultyStore:
    """A store in memory; ``fail(nth, error, late)``: the nth write from now raises, ``late`` after it was done."""

    def __init__(self) -> None:
        self.inner = MemoryRecordStore()
        self.writes: list[dict[str, Any]] = []
        self._fault: tuple[int, BaseException, bool] | None = None

    def fail(self, nth: int, error: BaseException, *, late: bool = False) -> None:
        self._fault = len(self.writes) + nth, error, late

    def heal(self) -> None:
        self._fault = None

    def read(self, id: str, now: float) -> Any:
        return self.inner.read(id, now)

    def find(self, key: str, value: str, now: float, **options: Any) -> Any:
        return self.inner.find(key, value, now, **options)

    def delete(self, id: str, now: float, **options: Any) -> bool:
        return self.inner.delete(id, now, **options)

    def write(self, id: str, value: dict[str, Any], now: float, **options: Any) -> bool:
        self.writes.append(value)
        fault = self._fault if self._fault is not None and self._fault[0] == len(self.writes) else None
        if fault is not None and not fault[2]:
            raise fault[1]
        written = self.inner.write(id, value, now, **options)
        if fault is not None:
            raise fault[1]
        return written


class AsyncStore:
    """A store whose methods have to be awaited."""

    def __init__(self) -> None:
        self.inner = MemoryRecordStore()

    async def read(self, id: str, now: float) -> Any:
        return self.inner.read(id, now)

    async def write(self, id: str, value: dict[str, Any], now: float, **options: Any) -> bool:
        return self.inner.write(id, value, now, **options)

    async def delete(self, id: str, now: float, **options: Any) -> bool:
        return self.inner.delete(id, now, **options)

    async def find(self, key: str, value: str, now: float, **options: Any) -> Any:
        return self.inner.find(key, value, now, **options)


class Journal(list[str]):
    """What has run: ``a``, and ``-a`` for its compensation. Outcomes are what steps raise, by the same names."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, list[BaseException | None]] = {}

    def fails(self, name: str, *errors: BaseException | None) -> None:
        """What the next calls raise; None is none."""
        self.outcomes[name] = list(errors)

    def step(self, name: str, *, asynchronous: bool = False, undone: bool = True, **options: Any) -> SagaStep:
        def execute(ctx: dict[str, Any]) -> dict[str, Any]:
            self._happen(name)
            return {**ctx, name: ctx.get(name, 0) + 1}

        def compensate(ctx: dict[str, Any]) -> None:
            self._happen(f"-{name}")

        async def aexecute(ctx: dict[str, Any]) -> dict[str, Any]:
            await asyncio.sleep(0)
            return execute(ctx)

        async def acompensate(ctx: dict[str, Any]) -> None:
            compensate(ctx)

        if asynchronous:
            return step(name, aexecute, acompensate if undone else None, **options)
        return step(name, execute, compensate if undone else None, **options)

    def _happen(self, name: str) -> None:
        self.append(name)
        outcomes = self.outcomes.get(name)
        error = outcomes.pop(0) if outcomes else None
        if error is not None:
            raise error


class Lab:
    """Sagas of one store, run in one of the two ways."""

    def __init__(self, *, asynchronous: bool) -> None:
        self.asynchronous = asynchronous
        self.store = FaultyStore()
        self.clock = Clock()
        self.journal = Journal()

    def saga(self, *steps: Any, name: str = "order", **options: Any) -> Saga:
        made = [self.step(given) if isinstance(given, str) else given for given in steps]
        return saga(name, made, store=self.store, clock=self.clock, **options)

    def step(self, name: str, **options: Any) -> SagaStep:
        return self.journal.step(name, asynchronous=self.asynchronous, **options)

    def run(self, made: Saga, context: Any = None, id: str | None = None) -> SagaResult:
        return asyncio.run(made.arun(context, id)) if self.asynchronous else made.run(context, id)

    def resume(self, made: Saga, id: str, **options: Any) -> SagaResult:
        return asyncio.run(made.aresume(id, **options)) if self.asynchronous else made.resume(id, **options)

    def function(self, blocking: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A function as this way of running has it."""
        if not self.asynchronous:
            return blocking

        async def waiting(ctx: Any) -> Any:
            return blocking(ctx)

        return waiting


class Timed:
    """AWS's context object with a time that is left, one value after the other, the last one for ever."""

    aws_request_id = "r"
    function_name = "f"
    client_context = None

    def __init__(self, *remaining_ms: int) -> None:
        self._remaining_ms = list(remaining_ms)

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining_ms.pop(0) if len(self._remaining_ms) > 1 else self._remaining_ms[0]


def in_function(*remaining_ms: int) -> Iterator[None]:
    """Within a function that has this time left."""
    token = _current.set(BaseContext("r", Timed(*remaining_ms)))
    try:
        yield
    finally:
        _current.reset(token)


def states(result: SagaResult | Any) -> Sequence[str]:
    """The states of the steps."""
    return [one.state.value for one in getattr(result, "record", result).steps]
