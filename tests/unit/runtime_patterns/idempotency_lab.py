"""Clocks and stores for idempotent calls: stores that count, fail, lose answers, wait to be stepped, or are awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from venturekit.runtime.patterns.record_stores import MemoryRecordStore

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Epoch seconds that pass by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Wrapped:
    """A store around another one: every operation goes through ``do``."""

    def __init__(self, store: Any = None) -> None:
        self.store = MemoryRecordStore() if store is None else store

    def do(self, name: str, operation: Callable[[], Any]) -> Any:
        return operation()

    def read(self, id: str, now: float) -> Any:
        return self.do("read", lambda: self.store.read(id, now))

    def write(self, id: str, value: dict[str, Any], now: float, **options: Any) -> Any:
        return self.do("write", lambda: self.store.write(id, value, now, **options))

    def delete(self, id: str, now: float, *, version: int | None = None) -> Any:
        return self.do("delete", lambda: self.store.delete(id, now, version=version))

    def find(self, key: str, value: str, now: float, **options: Any) -> Any:
        return self.do("find", lambda: self.store.find(key, value, now, **options))


class Faulty(Wrapped):
    """Goes by a script, one letter for an operation: ``.`` works, ``x`` fails, ``l`` works and loses the answer."""

    def __init__(self, script: str = "", store: Any = None) -> None:
        super().__init__(store)
        self.script = list(script)
        self.done: list[str] = []

    def do(self, name: str, operation: Callable[[], Any]) -> Any:
        self.done.append(name)
        step = self.script.pop(0) if self.script else "."
        if step == "x":
            raise ConnectionError("the store is down")
        result = operation()
        if step == "l":
            raise TimeoutError("the answer was lost")
        return result


class Asynchronous:
    """The same operations, to be awaited."""

    def __init__(self, store: Any = None) -> None:
        self.store = MemoryRecordStore() if store is None else store

    async def read(self, *arguments: Any) -> Any:
        await asyncio.sleep(0)
        return self.store.read(*arguments)

    async def write(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self.store.write(*arguments, **options)

    async def delete(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self.store.delete(*arguments, **options)

    async def find(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self.store.find(*arguments, **options)


class Stepped(Wrapped):
    """Gives every operation as something to be done later: whoever drives a flow decides when, and whether."""

    def do(self, name: str, operation: Callable[[], Any]) -> Any:
        return Operation(name, operation)


class Operation:
    """One operation of a store that has not been done."""

    def __init__(self, name: str, run: Callable[[], Any]) -> None:
        self.name = name
        self.run = run
