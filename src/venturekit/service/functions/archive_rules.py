"""What a code archive may contain.

Refused is what the published attacks on extractors use: paths and links that leave the tree, names that collide,
overlapping entries (CVE-2024-0450), inflation bombs, special files.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from venturekit.service.functions.zip_content import inflated
from venturekit.service.functions.zip_format import MAX_ENTRIES, ArchiveError, Buffer, RawEntry, read_entries

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_UNZIPPED_BYTES: Final = 262_144_000
_MAX_RATIO: Final = 500
_RATIO_FREE_BYTES: Final = 32 * 1024 * 1024
_MAX_PATH_BYTES: Final = 4096
_MAX_PART_BYTES: Final = 255
_MAX_DEPTH: Final = 256
_MAX_LINK_BYTES: Final = 4096
_MAX_LINKS_FOLLOWED: Final = 40
_DRIVE: Final = re.compile(r"[A-Za-z]:")


class EntryKind(Enum):
    """What an entry becomes on disk."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "symbolic link"


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One accepted entry: its path as parts below the root, and for a link what it points to."""

    parts: tuple[str, ...]
    kind: EntryKind
    executable: bool
    raw: RawEntry
    link_target: str | None = None


@dataclass(frozen=True, slots=True)
class ArchiveListing:
    """What an archive would unpack to; ``unzipped_bytes`` is as declared, and enforced while inflating."""

    entries: tuple[ArchiveEntry, ...]
    unzipped_bytes: int


def list_archive(archive: Buffer) -> ArchiveListing:
    """The accepted content of an archive; raises ArchiveError for one with anything unacceptable in it."""
    if not len(archive):
        raise ArchiveError("the archive is empty", "empty")
    raw_entries = read_entries(archive)
    if not raw_entries:
        raise ArchiveError("the archive has no entries", "empty")
    unzipped = sum(raw.size_bytes for raw in raw_entries)
    if unzipped > MAX_UNZIPPED_BYTES:
        raise ArchiveError(f"{unzipped} unzipped bytes are more than {MAX_UNZIPPED_BYTES}", "too_large")
    if unzipped > _RATIO_FREE_BYTES and unzipped > _MAX_RATIO * len(archive):
        raise ArchiveError(f"{len(archive)} bytes would unpack to {unzipped}", "hostile")
    entries = tuple(_accepted(archive, raw) for raw in raw_entries)
    _require_distinct(entries)
    _require_links_inside(entries)
    return ArchiveListing(entries, unzipped)


def _accepted(archive: Buffer, raw: RawEntry) -> ArchiveEntry:
    kind = _kind(raw)
    parts = _parts(raw.name)
    if not parts and kind is not EntryKind.DIRECTORY:
        raise ArchiveError(f"entry {raw.name!r} has no name", "hostile")
    target = _link_target(archive, raw) if kind is EntryKind.LINK else None
    return ArchiveEntry(parts, kind, bool(raw.unix_mode & 0o111), raw, target)


def _kind(raw: RawEntry) -> EntryKind:
    file_type = stat.S_IFMT(raw.unix_mode)
    if file_type not in (0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise ArchiveError(f"entry {raw.name!r} is a device, socket or pipe", "hostile")
    if raw.name.endswith("/") or file_type == stat.S_IFDIR:
        if raw.size_bytes or file_type == stat.S_IFLNK:
            raise ArchiveError(f"entry {raw.name!r} is a directory and something else at once", "hostile")
        return EntryKind.DIRECTORY
    return EntryKind.LINK if file_type == stat.S_IFLNK else EntryKind.FILE


def _parts(name: str) -> tuple[str, ...]:
    if "\0" in name or "\\" in name:
        raise ArchiveError(f"the name {name!r} holds a NUL or a backslash", "hostile")
    if name.startswith("/") or _DRIVE.match(name):
        raise ArchiveError(f"the name {name!r} is absolute", "hostile")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise ArchiveError(f"the name {name!r} leaves the archive", "hostile")
    if len(name.encode()) > _MAX_PATH_BYTES or any(len(part.encode()) > _MAX_PART_BYTES for part in parts):
        raise ArchiveError(f"the name {name[:80]!r}... is too long", "hostile")
    if len(parts) > _MAX_DEPTH:
        raise ArchiveError(f"the name {name[:80]!r}... has more than {_MAX_DEPTH} parts", "hostile")
    return parts


def _link_target(archive: Buffer, raw: RawEntry) -> str:
    if raw.size_bytes > _MAX_LINK_BYTES:
        raise ArchiveError(f"the link {raw.name!r} has a target of {raw.size_bytes} bytes", "hostile")
    try:
        target = b"".join(inflated(archive, raw)).decode("utf-8")
    except UnicodeDecodeError:
        raise ArchiveError(f"the link {raw.name!r} has a target that is not UTF-8", "hostile") from None
    if not target or target.startswith("/") or "\0" in target or "\\" in target:
        raise ArchiveError(f"the link {raw.name!r} has the target {target!r}, which is not a relative path", "hostile")
    return target


def _require_distinct(entries: tuple[ArchiveEntry, ...]) -> None:
    """No two entries for one path, nor for paths that some file systems or tools take for one."""
    leaves = {entry.parts for entry in entries if entry.kind is not EntryKind.DIRECTORY}
    seen: set[tuple[str, ...]] = set()
    seen_folded: set[str] = set()
    checked: set[tuple[str, ...]] = set()
    for entry in entries:
        folded = _folded("/".join(entry.parts))
        if entry.parts in seen or folded in seen_folded:
            raise ArchiveError(f"the name {entry.raw.name!r} occurs twice (case and Unicode form ignored)", "hostile")
        seen.add(entry.parts)
        seen_folded.add(folded)
        if entry.kind is EntryKind.DIRECTORY and entry.parts in leaves:
            raise ArchiveError(f"{entry.raw.name!r} is a directory and a file", "hostile")
        parent = entry.parts[:-1]
        while parent and parent not in checked:
            if parent in leaves:
                raise ArchiveError(f"entry {entry.raw.name!r} lies below something that is no directory", "hostile")
            checked.add(parent)
            if len(checked) > MAX_ENTRIES:
                raise ArchiveError(f"the archive has more than {MAX_ENTRIES} directories", "hostile")
            parent = parent[:-1]


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _require_links_inside(entries: tuple[ArchiveEntry, ...]) -> None:
    links = {entry.parts: entry.link_target for entry in entries if entry.link_target is not None}
    for parts in links:
        _follow(parts, links)


def _follow(link: tuple[str, ...], links: Mapping[tuple[str, ...], str]) -> None:
    """Walk a link as the kernel would, through other links: comparing texts alone misses ``a/..`` where a is a link."""
    shown = "/".join(link)
    here = link[:-1]
    ahead = links[link].split("/")[::-1]
    followed = 1
    while ahead:
        part = ahead.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                raise ArchiveError(f"the link {shown!r} leads out of the archive", "hostile")
            here = here[:-1]
            continue
        here = (*here, part)
        target = links.get(here)
        if target is not None:
            followed += 1
            if followed > _MAX_LINKS_FOLLOWED:
                raise ArchiveError(f"the link {shown!r} goes in a circle", "hostile")
            here = here[:-1]
            ahead.extend(target.split("/")[::-1])
