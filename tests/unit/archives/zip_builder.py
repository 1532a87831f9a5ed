"""Zip files made byte by byte, so that any field can lie."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field


def deflated(data: bytes) -> bytes:
    """Raw deflate, as zip has it."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush()


@dataclass
class Entry:
    """One entry; fields left at None are what an honest zip would say."""

    name: str | bytes
    data: bytes = b""
    mode: int = 0o100644
    method: int = 8
    flags: int = 0
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    local_name: str | bytes | None = None
    local_size: int | None = None
    local_method: int | None = None
    offset: int | None = None
    system: int = 3
    disk: int = 0
    extra: bytes = b""
    no_local: bool = False
    start: int = field(default=0, init=False)

    @property
    def raw_name(self) -> bytes:
        return self.name.encode() if isinstance(self.name, str) else self.name

    @property
    def body(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data

    def numbers(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        compressed = len(self.body) if self.compressed is None else self.compressed
        return crc, compressed, len(self.data) if self.size is None else self.size

    def local(self) -> bytes:
        crc, compressed, size = self.numbers()
        name = self.raw_name
        if self.local_name is not None:
            name = self.local_name.encode() if isinstance(self.local_name, str) else self.local_name
        method = self.method if self.local_method is None else self.local_method
        size = size if self.local_size is None else self.local_size
        header = struct.pack("<4s5H3L2H", b"PK\3\4", 20, self.flags, method, 0, 33, crc, compressed, size, len(name), 0)
        return header + name + self.body

    def central(self) -> bytes:
        crc, compressed, size = self.numbers()
        header = struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", self.system << 8 | 20, 20, self.flags, self.method, 0, 33, crc, compressed, size,
            len(self.raw_name), len(self.extra), 0, self.disk, 0, (self.mode << 16) & 0xFFFFFFFF,
            self.start if self.offset is None else self.offset,
        )  # fmt: skip
        return header + self.raw_name + self.extra


def build(
    *entries: Entry,
    count: int | None = None,
    total: int | None = None,
    directory_size: int | None = None,
    directory_offset: int | None = None,
    disk: int = 0,
    comment: bytes = b"",
    before_end: bytes = b"",
    prefix: bytes = b"",
    after_directory: bytes = b"",
) -> bytes:
    """A zip of these entries; the arguments let its end record lie."""
    content = b""
    for entry in entries:
        entry.start = len(content)
        if not entry.no_local:
            content += entry.local()
    directory = b"".join(entry.central() for entry in entries) + after_directory
    number = len(entries) if count is None else count
    end = struct.pack(
        "<4s4H2LH", b"PK\5\6", disk, disk, number, number if total is None else total,
        len(directory) if directory_size is None else directory_size,
        len(content) if directory_offset is None else directory_offset, len(comment),
    )  # fmt: skip
    return prefix + content + directory + before_end + end + comment


def end64(entries: int, size: int, offset: int, *, position: int, size_field: int = 44, disks: int = 1) -> bytes:
    """A zip64 end record and its locator."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", size_field, 45, 45, 0, 0, entries, entries, size, offset)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, position, disks)


def overlapping_bomb(copies: int, unzipped_each: int) -> bytes:
    """Many central entries that share one compressed kernel, as in CVE-2024-0450: quoted local headers inside it."""
    kernel = deflated(bytes(unzipped_each))
    crc = zlib.crc32(bytes(unzipped_each))
    names = [f"{number:04d}" for number in range(copies)]
    last = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(kernel), unzipped_each, 4, 0)
    content = last + names[-1].encode() + kernel
    directory = b""
    for name in names:
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 8, 0, 33, crc, len(kernel), unzipped_each, 4, 0, 0, 0, 0,
            0o100644 << 16, 0,
        ) + name.encode()  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(directory), len(content), 0)
    return content + directory + end


def quoting_bomb(copies: int, unzipped: int) -> bytes:
    """As above, but every entry has a truthful local header of its own, quoted by the deflate stream before it."""
    kernel = deflated(bytes(unzipped))
    names = [f"{number:04d}".encode() for number in range(copies)]
    crc = zlib.crc32(bytes(unzipped))
    file, size = kernel, unzipped
    headers: list[tuple[bytes, int, int, int, int]] = []
    for position, name in enumerate(reversed(names)):
        if position:
            quoted = file[: 30 + 4]
            file = b"\0" + struct.pack("<2H", len(quoted), len(quoted) ^ 0xFFFF) + file
            size += len(quoted)
            crc = zlib.crc32(inflate(file))
        local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 33, crc, len(file), size, 4, 0)
        headers.append((name, crc, len(file), size, len(file)))
        file = local + name + file
    directory = b""
    for name, checksum, compressed, real, length in reversed(headers):
        offset = len(file) - length - 34
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 8, 0, 33, checksum, compressed, real, 4, 0, 0, 0, 0,
            0o100644 << 16, offset,
        ) + name  # fmt: skip
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(directory), len(file), 0)
    return file + directory + end


def inflate(data: bytes) -> bytes:
    """The content of a raw deflate stream."""
    return zlib.decompress(data, -15)
