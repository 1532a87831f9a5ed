"""The code of functions on disk: archives that are durable, directories that are unpacked from them."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Container
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from venturekit.service.functions.archive import inspect

if TYPE_CHECKING:
    from pathlib import Path

    from venturekit.service.functions.code_directories import CodeDirectories
    from venturekit.service.store import Archives

_INLINE_BYTES: Final = 16 * 1024

KeysInUse = Callable[[], Container[str]]


class AnyOf(Container[str]):
    """What one of several containers holds; nothing is copied."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: Container[str]) -> None:
        self._parts = parts

    def __contains__(self, code_key: object) -> bool:
        return any(code_key in part for part in self._parts)


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A code archive: its key (hexadecimal SHA-256), the same hash in base64, its zipped and its unzipped size."""

    key: str
    sha256: str
    size_bytes: int
    unzipped_bytes: int


class CodeStorage:
    """Keeps archives and directories as long as somebody needs them.

    ``keys_in_use`` names what functions need, ``keys_running`` what execution environments still run; both are asked
    on the event loop. Between storing code and committing the function that needs it, a pin protects the code.
    """

    def __init__(
        self,
        archives: Archives,
        directories: CodeDirectories,
        keys_in_use: KeysInUse,
        keys_running: KeysInUse = frozenset,
    ) -> None:
        self._archives = archives
        self._directories = directories
        self._keys_in_use = keys_in_use
        self._keys_running = keys_running
        self._pins: Counter[str] = Counter()
        self._retired: set[str] = set()
        self._leaving: frozenset[str] = frozenset()
        self._removal = asyncio.Lock()

    def ready_path(self, code_key: str) -> Path | None:
        """The code directory if it is unpacked, at once."""
        return self._directories.ready_path(code_key)

    async def directory(self, code_key: str) -> Path:
        """The code directory, unpacked now if need be (after a reboot). Raises ArchiveError, OSError."""
        ready = self._directories.ready_path(code_key)
        if ready is not None:
            return ready
        async with self._pinned(code_key):
            return await asyncio.to_thread(self._directories.ensure, code_key)

    async def examine(self, data: bytes) -> StoredCode:
        """What ``admitted`` would give, without storing anything. Raises ArchiveError."""
        return await _describe(data)

    @asynccontextmanager
    async def admitted(self, data: bytes) -> AsyncIterator[StoredCode]:
        """Unpack and durably keep an archive; inside the block it is safe from removal. Raises ArchiveError."""
        code = await _describe(data)
        async with self._pinned(code.key):
            try:
                await asyncio.to_thread(self._keep, code.key, data)
                yield code
            except BaseException:
                self._retired.add(code.key)
                raise

    @asynccontextmanager
    async def held(self, code_keys: Collection[str]) -> AsyncIterator[None]:
        """Inside the block these archives are safe from removal. Raises LookupError, naming one that is gone."""
        async with AsyncExitStack() as pins:
            for code_key in code_keys:
                await pins.enter_async_context(self._pinned(code_key))
                if not self._archives.path(code_key).exists():
                    raise LookupError(code_key)
            yield

    async def collect(self, *retired: str) -> None:
        """Remove retired code that nobody needs any more; what is still needed is looked at again next time."""
        self._retired.update(retired)
        async with self._removal:
            if not self._retired:
                return
            in_use, running = self._keys_in_use(), self._keys_running()
            held = {key for key in self._retired if key in running or key in self._pins}
            # What is in use may be tens of thousands of keys: only asked, never walked.
            self._leaving = frozenset(key for key in self._retired - held if key not in in_use)
            self._retired = held
            try:
                await asyncio.to_thread(self._remove, self._leaving)
            finally:
                self._leaving = frozenset()

    async def collect_all(self) -> None:
        """Remove whatever on the disk nobody needs; for the start, after the functions were loaded."""
        in_use = self._keys_in_use()
        found = await asyncio.to_thread(lambda: self._archives.keys() | self._directories.keys())
        await self.collect(*(key for key in found if key not in in_use))

    @asynccontextmanager
    async def _pinned(self, code_key: str) -> AsyncIterator[None]:
        while code_key in self._leaving:
            async with self._removal:
                pass
        self._pins[code_key] += 1
        try:
            yield
        finally:
            self._pins[code_key] -= 1
            if not self._pins[code_key]:
                del self._pins[code_key]

    def _keep(self, code_key: str, data: bytes) -> None:
        # Unpacked first: an archive that cannot be unpacked is never stored.
        self._directories.ensure(code_key, data)
        self._archives.put(data)

    def _remove(self, code_keys: Collection[str]) -> None:
        for code_key in code_keys:
            self._directories.remove(code_key)
            self._archives.remove(code_key)


async def _describe(data: bytes) -> StoredCode:
    if len(data) <= _INLINE_BYTES:
        return _described(data)
    return await asyncio.to_thread(_described, data)


def _described(data: bytes) -> StoredCode:
    digest = hashlib.sha256(data).digest()
    unzipped_bytes = inspect(data).unzipped_bytes
    return StoredCode(digest.hex(), base64.b64encode(digest).decode("ascii"), len(data), unzipped_bytes)
