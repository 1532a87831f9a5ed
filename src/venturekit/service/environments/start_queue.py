"""Whose environment starts next, when more are wanted than may start at once. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class StartQueue(Generic[T]):
    """Wanted starts. Those who want some take turns, so that a flood for one delays another by one start at most.

    It has as many entries as starts are wanted.
    """

    __slots__ = ("_wanted",)

    def __init__(self) -> None:
        # In the order of their turns.
        self._wanted: dict[T, int] = {}

    def __len__(self) -> int:
        return sum(self._wanted.values())

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __iter__(self) -> Iterator[T]:
        for wanting, count in self._wanted.items():
            for _ in range(count):
                yield wanting

    def append(self, wanting: T) -> None:
        """Want one more start."""
        self._wanted[wanting] = self._wanted.get(wanting, 0) + 1

    def popleft(self) -> T:
        """Whose turn it is; theirs is the last one then. Raises StopIteration when nothing is wanted."""
        wanting = next(iter(self._wanted))
        left = self._wanted.pop(wanting) - 1
        if left:
            self._wanted[wanting] = left
        return wanting

    def clear(self) -> None:
        """Want nothing."""
        self._wanted.clear()
