"""Archives that must not be unpacked: each is refused quickly, with a reason, and nothing is written anywhere."""

from __future__ import annotations

import io
import stat
import struct
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.forms import thinned
from tests.unit.archives.zip_builder import Entry, build, deflated, end64, overlapping_bomb, quoting_bomb
from venturekit.service.functions.archive import ArchiveError, extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINK = stat.S_IFLNK | 0o777
GOOD = Entry("app.py", b"def handler(event, context): return 1\n")


def link(name: str, target: str) -> Entry:
    return Entry(name, target.encode(), mode=LINK, method=0)


def good() -> bytes:
    return build(Entry("app.py", b"x = 1\n" * 100), Entry("lib/a.py", b"y = 2\n" * 100))


def flipped(position: int) -> bytes:
    data = bytearray(good())
    data[position] ^= 0x40
    return bytes(data)


def with_end64(entries: int, size_change: int = 0, offset_change: int = 0, **changes: int) -> bytes:
    local = Entry("a", b"a")
    size, offset = len(local.central()), len(local.local())
    record = end64(entries, size + size_change, offset + offset_change, position=size + offset, **changes)
    return build(local, before_end=record)


ONE_MILLION = bytes(1_000_000)

HOSTILE: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "absolute path": (lambda: build(Entry("/etc/evil", b"x")), "hostile", "absolute"),
    "dot dot": (lambda: build(Entry("../evil", b"x")), "hostile", "leaves the archive"),
    "dot dot inside": (lambda: build(Entry("a/../../evil", b"x")), "hostile", "leaves the archive"),
    "dot dot that stays inside": (lambda: build(Entry("a/../b", b"x")), "hostile", "leaves the archive"),
    "dot dot at the end": (lambda: build(Entry("a/..", b"x")), "hostile", "leaves the archive"),
    "backslash": (lambda: build(Entry("..\\evil", b"x")), "hostile", "backslash"),
    "NUL": (lambda: build(Entry("a\0.py", b"x")), "hostile", "NUL"),
    "drive letter": (lambda: build(Entry("C:evil", b"x")), "hostile", "absolute"),
    "empty name": (lambda: build(Entry("", b"x")), "hostile", "has no name"),
    "only a dot": (lambda: build(Entry(".", b"x")), "hostile", "has no name"),
    "name too long": (lambda: build(Entry("a" * 256, b"x")), "hostile", "too long"),
    "path too long": (lambda: build(Entry("/".join(["abcdefgh"] * 500), b"x")), "hostile", "too long"),
    "path too deep": (lambda: build(Entry("/".join("a" * 300), b"x")), "hostile", "more than 256 parts"),
    "name not UTF-8": (lambda: build(Entry(b"\xff\xfe", b"x", flags=0x800)), "hostile", "not the UTF-8"),
    "exact duplicate": (lambda: build(Entry("a", b"1"), Entry("a", b"2")), "hostile", "occurs twice"),
    "duplicate after normalising": (lambda: build(Entry("a/b", b"1"), Entry("a/./b", b"2")), "hostile", "twice"),
    "duplicate by case": (lambda: build(Entry("App.py", b"1"), Entry("app.py", b"2")), "hostile", "twice"),
    "duplicate by Unicode form": (lambda: build(Entry("\u00e9", b"1"), Entry("e\u0301", b"2")), "hostile", "twice"),
    "encrypted": (lambda: build(Entry("a", b"x", flags=1)), "hostile", "encrypted"),
    "strongly encrypted": (lambda: build(Entry("a", b"x", flags=0x41)), "hostile", "encrypted"),
    "masked headers": (lambda: build(Entry("a", b"x", flags=0x2000)), "hostile", "encrypted"),
    "patch data": (lambda: build(Entry("a", b"x", flags=0x20)), "hostile", "method"),
    "bzip2": (lambda: build(Entry("a", b"x", method=12)), "hostile", "method 12"),
    "lzma": (lambda: build(Entry("a", b"x", method=14)), "hostile", "method 14"),
    "absolute link": (lambda: build(link("l", "/etc/passwd")), "hostile", "not a relative path"),
    "link out": (lambda: build(link("l", "../x")), "hostile", "leads out"),
    "link out from below": (lambda: build(link("a/b/l", "../../../x")), "hostile", "leads out"),
    "link out through a link": (
        lambda: build(link("here", "."), link("a/b/l", "../../here/../x")),
        "hostile",
        "leads out",
    ),
    "link out through two links": (
        lambda: build(link("a/up", ".."), link("a/l", "up/../x"), Entry("a/f", b"x")),
        "hostile",
        "leads out",
    ),
    "link in a circle": (lambda: build(link("a", "b"), link("b", "a")), "hostile", "circle"),
    "link to itself": (lambda: build(link("a", "a/x")), "hostile", "circle"),
    "file through a link": (lambda: build(link("l", "d"), Entry("l/evil", b"x")), "hostile", "no directory"),
    "file through a later link": (lambda: build(Entry("l/evil", b"x"), link("l", "d")), "hostile", "no directory"),
    "empty link": (lambda: build(link("l", "")), "hostile", "not a relative path"),
    "huge link": (lambda: build(link("l", "a" * 5000)), "hostile", "5000 bytes"),
    "link target not UTF-8": (lambda: build(Entry("l", b"\xff", mode=LINK)), "hostile", "not UTF-8"),
    "link with a trailing slash": (lambda: build(Entry("l/", b"", mode=LINK)), "hostile", "something else"),
    "device": (lambda: build(Entry("d", mode=stat.S_IFBLK | 0o666)), "hostile", "device"),
    "character device": (lambda: build(Entry("d", mode=stat.S_IFCHR | 0o666)), "hostile", "device"),
    "pipe": (lambda: build(Entry("p", mode=stat.S_IFIFO | 0o666)), "hostile", "pipe"),
    "socket": (lambda: build(Entry("s", mode=stat.S_IFSOCK | 0o666)), "hostile", "socket"),
    "file and directory": (lambda: build(Entry("a", b"x"), Entry("a/b", b"x")), "hostile", "no directory"),
    "directory with content": (lambda: build(Entry("a/", b"x")), "hostile", "something else"),
    "file, then directory of its name": (
        lambda: build(Entry("a", b"x"), Entry("a/", mode=stat.S_IFDIR | 0o755)),
        "hostile",
        "twice",
    ),
    "12 kB overlap bomb": (lambda: overlapping_bomb(200, 1_000_000), "hostile", "another name|overlap"),
    "quoted overlap bomb": (lambda: quoting_bomb(100, 200_000), "hostile", "overlap"),
    "overlap of two": (
        lambda: build(Entry("a", b"x" * 50, method=0), Entry("a", b"x" * 50, method=0, offset=0, no_local=True)),
        "hostile",
        "overlap",
    ),
    "data reaching into the directory": (
        lambda: build(Entry("a", b"", method=0, compressed=20, size=20)),
        "hostile",
        "overlap",
    ),
    "ratio bomb": (lambda: build(Entry("a", bytes(100_000_000))), "hostile", "would unpack to"),
    "declared too large": (lambda: build(Entry("a", b"x", size=262_144_001)), "too_large", "262144001"),
    "many that add up": (
        lambda: build(*(Entry(f"f{n}", b"x", size=100_000_000) for n in range(3))),
        "too_large",
        "300000000",
    ),
    "more than declared": (lambda: build(Entry("a", ONE_MILLION, size=10)), "hostile", "more than it declares"),
    "less than declared": (lambda: build(Entry("a", b"abc", size=10)), "malformed", "less than it declares"),
    "stored sizes differ": (lambda: build(Entry("a", b"abc", method=0, size=10)), "hostile", "two sizes differ"),
    "wrong checksum": (lambda: build(Entry("a", b"abc", crc=1)), "malformed", "checksum"),
    "wrong checksum, stored": (lambda: build(Entry("a", b"abc", crc=1, method=0)), "malformed", "checksum"),
    "damaged deflate": (lambda: build(Entry("a", b"abc", packed=b"\xff\xff\xff")), "malformed", "damaged"),
    "deflate cut off": (
        lambda: build(Entry("a", ONE_MILLION, packed=deflated(ONE_MILLION)[:-5])),
        "malformed",
        "too early",
    ),
    "data after the deflate end": (
        lambda: build(Entry("a", b"abc", packed=deflated(b"abc") + b"junk")),
        "hostile",
        "after its end",
    ),
    "other name in the local header": (lambda: build(Entry("a", b"x", local_name="b")), "hostile", "another name"),
    "other size in the local header": (lambda: build(Entry("a", b"x", local_size=9)), "hostile", "other sizes"),
    "other method in the local header": (lambda: build(Entry("a", b"x", local_method=0)), "hostile", "differently"),
    "offset to nowhere": (lambda: build(Entry("a", b"x", offset=3)), "malformed", "no local header"),
    "offset behind the end": (lambda: build(Entry("a", b"x", offset=1 << 30)), "malformed", "outside"),
    "zip64 offset to nowhere": (
        lambda: build(Entry("a", b"x", offset=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 1 << 60))),
        "malformed",
        "outside",
    ),
    "zip64 sizes missing": (lambda: build(Entry("a", b"x", size=0xFFFFFFFF)), "hostile", "does not give them"),
    "zip64 sizes huge": (
        lambda: build(Entry("a", b"x", size=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 1 << 62))),
        "too_large",
        "unzipped bytes",
    ),
    "zip64 count lies": (lambda: with_end64(2), "hostile", "contradicts"),
    "zip64 size lies": (lambda: with_end64(1, size_change=-1), "hostile", "contradicts"),
    "zip64 offset lies": (lambda: with_end64(1, offset_change=1), "hostile", "contradicts"),
    "zip64 record size lies": (lambda: with_end64(1, size_field=45), "hostile", "contradicts"),
    "zip64 on several disks": (lambda: with_end64(1, disks=2), "hostile", "several files"),
    "zip64 locator alone": (
        lambda: build(Entry("a", b"x"), before_end=struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)),
        "hostile",
        "not where it should be",
    ),
    "entry on another disk": (lambda: build(Entry("a", b"x", disk=1)), "hostile", "another file"),
    "several disks": (lambda: build(Entry("a", b"x"), disk=1), "hostile", "several files"),
    "counts differ": (lambda: build(Entry("a", b"x"), total=2), "hostile", "several files"),
    "fewer entries than counted": (lambda: build(Entry("a", b"x"), count=2), "malformed", "too early"),
    "more entries than counted": (
        lambda: build(Entry("a", b"x"), Entry("b", b"x"), count=1),
        "malformed",
        "more than its entries",
    ),
    "too many entries": (lambda: build(*(Entry(f"{n}") for n in range(50_001))), "hostile", "more than 50000"),
    "directory size lies": (lambda: build(Entry("a", b"x"), directory_size=1 << 30), "malformed", "outside"),
    "directory offset lies": (lambda: build(Entry("a", b"x"), directory_offset=1 << 20), "malformed", "outside"),
    "damaged directory": (lambda: flipped(good().find(b"PK\1\2")), "malformed", "damaged"),
    "junk in the directory": (
        lambda: build(Entry("a", b"x"), after_directory=b"PK\5\5"),
        "malformed",
        "more than its entries",
    ),
    "cut off": (lambda: good()[:-30], "malformed", "no end record"),
    "front cut off": (lambda: good()[60:], "malformed", "outside"),
    "not a zip": (lambda: b"#!/bin/sh\necho not a zip\n" * 10, "malformed", "no end record"),
    "comment length lies": (lambda: good()[:-2] + b"\5\0", "malformed", "no end record"),
    "nothing": (lambda: b"", "empty", "empty"),
    "no entries": (build, "empty", "no entries"),
}


@pytest.mark.parametrize(
    ("as_file", "name"),
    [(False, name) for name in HOSTILE] + thinned([(True, name) for name in HOSTILE], 4),
    ids=lambda value: value if isinstance(value, str) else "file" if value else "bytes",
)
def test_refused_within_a_second_and_without_a_trace(tmp_path: Path, name: str, as_file: bool) -> None:
    make, kind, reason = HOSTILE[name]
    data = make()
    (tmp_path / "archive.zip").write_bytes(data)
    before = sorted(tmp_path.rglob("*"))
    started = time.perf_counter()
    with pytest.raises(ArchiveError, match=reason) as caught:
        extract(tmp_path / "archive.zip" if as_file else data, tmp_path / "code")
    assert time.perf_counter() - started < 1.0
    assert caught.value.kind == kind
    assert sorted(tmp_path.rglob("*")) == before


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 30


def test_the_overlap_bomb_is_as_small_and_as_large_as_published() -> None:
    bomb = quoting_bomb(100, 5_000_000)
    assert len(bomb) < 20_000
    # The control: to the standard library's reader the directory of the bomb is in order.
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) >= 500_000_000


def test_the_large_overlap_bomb_is_refused(tmp_path: Path) -> None:
    bomb = quoting_bomb(100, 5_000_000)
    started = time.perf_counter()
    with pytest.raises(ArchiveError):
        extract(bomb, tmp_path / "code")
    assert time.perf_counter() - started < 1.0
    assert list(tmp_path.iterdir()) == []
