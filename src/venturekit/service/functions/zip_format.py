"""The zip format, read strictly: the central directory, and where each entry's data lies.

Nothing is taken on trust that the file itself can contradict. Source: PKWARE APPNOTE (record layouts, zip64).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

STORED: Final = 0
DEFLATED: Final = 8
MAX_ENTRIES: Final = 50_000

_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_COMMENT_BYTES: Final = 0xFFFF
_ZIP64_EXTRA: Final = 0x0001
_FLAG_DESCRIPTOR: Final = 0x0008
_FLAG_UTF8: Final = 0x0800
_FLAGS_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_FLAG_PATCHED: Final = 0x0020

Buffer = bytes | memoryview


class ArchiveError(Exception):
    """The archive is not one that may be unpacked; the text says why.

    ``kind`` is ``malformed`` (not a zip, or a damaged one), ``hostile`` (a well-formed zip that asks for something
    it must not get), ``empty`` or ``too_large``.
    """

    def __init__(self, reason: str, kind: str = "malformed") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


@dataclass(frozen=True, slots=True)
class RawEntry:
    """One entry as the central directory describes it, checked against its local header.

    ``start`` is where its local header begins, ``data_start`` and ``data_end`` bound its compressed bytes.
    """

    name: str
    method: int
    crc32: int
    compressed_bytes: int
    size_bytes: int
    unix_mode: int
    start: int
    data_start: int

    @property
    def data_end(self) -> int:
        """The offset after the last compressed byte."""
        return self.data_start + self.compressed_bytes


def read_entries(archive: Buffer) -> list[RawEntry]:
    """All entries, in the order of the central directory. Raises ArchiveError."""
    total, count, directory_start, directory_end, shift = _find_directory(archive)
    if total != count:
        raise ArchiveError("the archive is split over several files", "hostile")
    if count > MAX_ENTRIES:
        raise ArchiveError(f"{count} entries are more than {MAX_ENTRIES}", "hostile")
    entries: list[RawEntry] = []
    position = directory_start
    for _ in range(count):
        entry, position = _read_entry(archive, position, directory_end, shift)
        entries.append(entry)
    if position != directory_end:
        raise ArchiveError("the central directory holds more than its entries")
    _require_apart(entries, directory_start)
    return entries


def _find_directory(archive: Buffer) -> tuple[int, int, int, int, int]:
    """(entries in all, entries here, start, end, bytes in front of the zip) of the central directory."""
    position = _find_end(archive)
    _, disk, start_disk, here, total, size, offset, _ = _END.unpack_from(archive, position)
    end = position
    locator = position - _END64_LOCATOR.size
    if locator >= 0 and archive[locator : locator + 4] == b"PK\x06\x07":
        wide, end = _read_end64(archive, locator)
        narrow = (disk, start_disk, here, total, size, offset)
        limits = (0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        if any(value not in (limit, real) for value, limit, real in zip(narrow, limits, wide, strict=True)):
            raise ArchiveError("the zip64 record contradicts the end record", "hostile")
        disk, start_disk, here, total, size, offset = wide
    if disk or start_disk:
        raise ArchiveError("the archive is split over several files", "hostile")
    start = end - size
    shift = start - offset
    if start < 0 or shift < 0:
        raise ArchiveError("the central directory lies outside the file: it is cut off")
    return total, here, start, end, shift


def _find_end(archive: Buffer) -> int:
    tail_start = max(0, len(archive) - _END.size - _MAX_COMMENT_BYTES)
    tail = bytes(archive[tail_start:])
    found = tail.rfind(b"PK\x05\x06")
    while found >= 0:
        position = tail_start + found
        if position + _END.size <= len(archive):
            (comment,) = struct.unpack_from("<H", archive, position + 20)
            if position + _END.size + comment == len(archive):
                return position
        found = tail.rfind(b"PK\x05\x06", 0, found)
    raise ArchiveError("no end record of a zip: not a zip file, or cut off")


def _read_end64(archive: Buffer, locator: int) -> tuple[tuple[int, int, int, int, int, int], int]:
    _, locator_disk, offset, disks = _END64_LOCATOR.unpack_from(archive, locator)
    # Read where it must lie, right in front of its locator; an offset pointing anywhere else is a lie.
    position = locator - _END64.size
    if locator_disk or disks > 1:
        raise ArchiveError("the archive is split over several files", "hostile")
    if position < 0 or archive[position : position + 4] != b"PK\x06\x06":
        raise ArchiveError("the zip64 record is not where it should be", "hostile")
    _, size, _, _, disk, start_disk, here, total, directory_size, directory_offset = _END64.unpack_from(
        archive, position
    )
    if size != _END64.size - 12 or offset > position or directory_size > position:
        raise ArchiveError("the zip64 record contradicts the file", "hostile")
    return (disk, start_disk, here, total, directory_size, directory_offset), position


def _read_entry(archive: Buffer, position: int, end: int, shift: int) -> tuple[RawEntry, int]:
    if position + _CENTRAL.size > end:
        raise ArchiveError("the central directory ends too early")
    (signature, made_by, _, flags, method, _, _, crc, compressed, size, name_length, extra_length, comment_length) = (
        _CENTRAL.unpack_from(archive, position)[:13]
    )
    disk, _, attributes, offset = _CENTRAL.unpack_from(archive, position)[13:]
    name_start = position + _CENTRAL.size
    following = name_start + name_length + extra_length + comment_length
    if signature != b"PK\x01\x02" or following > end:
        raise ArchiveError("the central directory is damaged")
    raw_name = bytes(archive[name_start : name_start + name_length])
    name = _decoded(raw_name, flags)
    extra = bytes(archive[name_start + name_length : name_start + name_length + extra_length])
    compressed, size, offset = _with_zip64(name, extra, compressed, size, offset)
    if disk not in (0, 0xFFFF):
        raise ArchiveError(f"entry {name!r} lies in another file", "hostile")
    if flags & _FLAGS_ENCRYPTED:
        raise ArchiveError(f"entry {name!r} is encrypted", "hostile")
    if flags & _FLAG_PATCHED or method not in (STORED, DEFLATED):
        raise ArchiveError(f"entry {name!r} uses compression method {method}, only 0 and 8 are supported", "hostile")
    if method == STORED and compressed != size:
        raise ArchiveError(f"entry {name!r} is stored but its two sizes differ", "hostile")
    unix_mode = attributes >> 16 if made_by >> 8 in (3, 19) else 0
    start = offset + shift
    data_start = _data_start(archive, name, raw_name, (flags, method, crc, compressed, size), start)
    return RawEntry(name, method, crc, compressed, size, unix_mode, start, data_start), following


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        if flags & _FLAG_UTF8:
            raise ArchiveError(f"the name {raw!r} is not the UTF-8 it claims to be", "hostile") from None
        return raw.decode("cp437")


def _with_zip64(name: str, extra: bytes, compressed: int, size: int, offset: int) -> tuple[int, int, int]:
    wide = [value == 0xFFFFFFFF for value in (size, compressed, offset)]
    if not any(wide):
        return compressed, size, offset
    body = _extra_field(extra, _ZIP64_EXTRA)
    if body is None or len(body) < 8 * sum(wide):
        raise ArchiveError(f"entry {name!r} announces zip64 sizes and does not give them", "hostile")
    values = iter(struct.unpack_from(f"<{sum(wide)}Q", body))
    size, compressed, offset = (
        next(values) if is_wide else narrow for is_wide, narrow in zip(wide, (size, compressed, offset), strict=True)
    )
    return compressed, size, offset


def _extra_field(extra: bytes, wanted: int) -> bytes | None:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return None


def _data_start(archive: Buffer, name: str, raw_name: bytes, central: tuple[int, ...], start: int) -> int:
    """Check the local header against the central directory; what differs would be read differently elsewhere."""
    flags, method, crc, compressed, size = central
    if start + _LOCAL.size > len(archive):
        raise ArchiveError(f"entry {name!r} lies outside the file: it is cut off")
    (
        signature,
        _,
        local_flags,
        local_method,
        _,
        _,
        local_crc,
        local_compressed,
        local_size,
        name_length,
        extra_length,
    ) = _LOCAL.unpack_from(archive, start)
    if signature != b"PK\x03\x04":
        raise ArchiveError(f"entry {name!r} has no local header at its offset")
    name_start = start + _LOCAL.size
    if bytes(archive[name_start : name_start + name_length]) != raw_name:
        raise ArchiveError(f"entry {name!r} has another name in its local header", "hostile")
    if local_method != method or (local_flags ^ flags) & (_FLAGS_ENCRYPTED | _FLAG_DESCRIPTOR):
        raise ArchiveError(f"entry {name!r} is described differently in its local header", "hostile")
    if not local_flags & _FLAG_DESCRIPTOR:
        sizes = ((local_compressed, compressed), (local_size, size))
        if local_crc != crc or any(local not in (real, 0xFFFFFFFF) for local, real in sizes):
            raise ArchiveError(f"entry {name!r} has other sizes in its local header", "hostile")
    return start + _LOCAL.size + int(name_length) + int(extra_length)


def _require_apart(entries: list[RawEntry], directory_start: int) -> None:
    """No two entries may share bytes: a few kilobytes could otherwise unpack to gigabytes (CVE-2024-0450)."""
    ordered = sorted(entries, key=lambda entry: entry.start)
    limits = [*(entry.start for entry in ordered), directory_start][1:]
    for entry, limit in zip(ordered, limits, strict=True):
        if entry.data_end > limit:
            raise ArchiveError(f"the data of entry {entry.name!r} overlaps what follows it, or is cut off", "hostile")
