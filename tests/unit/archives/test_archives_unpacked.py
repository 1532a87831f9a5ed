"""What an honest archive becomes on disk, and how unpacked code is shared and removed."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.archives.zip_builder import Entry, build, end64
from venturekit.service.functions.archive import ArchiveError, EntryKind, extract, inspect
from venturekit.service.functions.code_directories import CodeDirectories
from venturekit.service.functions.trees import remove_tree
from venturekit.service.store import Archives

if TYPE_CHECKING:
    from pathlib import Path


def python_zip(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_directories_links_and_modes(tmp_path: Path) -> None:
    data = build(
        Entry("bootstrap", b"#!/bin/sh\n", mode=0o100755),
        Entry("./lib//mod.py", b"x = 1\n"),
        Entry("empty/", mode=stat.S_IFDIR | 0o700),
        Entry("stored.bin", b"\0" * 1000, method=0, mode=0o100400),
        Entry("lib/link.py", b"../lib/mod.py", mode=stat.S_IFLNK | 0o777, method=0),
        Entry("dangling", b"nowhere", mode=stat.S_IFLNK | 0o777),
        Entry("windows.txt", b"w", mode=0, system=0),
        Entry("suid", b"s", mode=0o104755),
        Entry("empty.txt"),
    )
    listing = extract(data, tmp_path / "code")
    code = tmp_path / "code"
    assert (code / "bootstrap").read_bytes() == b"#!/bin/sh\n"
    assert (code / "lib" / "link.py").read_bytes() == b"x = 1\n"
    assert os.readlink(code / "lib" / "link.py") == "../lib/mod.py"
    assert (code / "stored.bin").read_bytes() == b"\0" * 1000
    assert {path.name: mode_of(path) for path in code.iterdir() if not path.is_symlink()} == {
        "bootstrap": 0o555,
        "lib": 0o555,
        "empty": 0o555,
        "stored.bin": 0o444,
        "windows.txt": 0o444,
        "suid": 0o555,
        "empty.txt": 0o444,
    }
    assert mode_of(code) == 0o555
    assert listing.unzipped_bytes == sum(entry.raw.size_bytes for entry in listing.entries)
    assert [entry.kind for entry in listing.entries].count(EntryKind.LINK) == 2
    assert sorted(tmp_path.iterdir()) == [code]


PARTS = st.text("abcxyz0-_. é", min_size=1, max_size=6).filter(lambda part: part.strip(". ") != "")
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
CONTENTS = st.binary(max_size=3000) | st.integers(1, 3).map(lambda number: bytes(number * 400_000))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@settings(deadline=None, max_examples=60)
@given(files=st.dictionaries(NAMES, CONTENTS, max_size=5))
def test_what_the_standard_library_wrote_comes_out_the_same(
    tmp_path_factory: pytest.TempPathFactory, compression: int, files: dict[str, bytes]
) -> None:
    distinct = {name: data for name, data in files.items() if not any(n.startswith(f"{name}/") for n in files)}
    target = tmp_path_factory.mktemp("written") / "code"
    if not distinct:
        with pytest.raises(ArchiveError, match="no entries"):
            extract(python_zip(distinct, compression), target)
        return
    extract(python_zip(distinct, compression), target)
    found = {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == distinct
    remove_tree(target)


@settings(deadline=None, max_examples=200)
@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
@example(position=2399, value=160)
def test_any_changed_byte_gives_the_same_files_or_an_archive_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    files = {"app.py": b"x = 1\n" * 50, "lib/a.py": b"y = 2\n" * 50}
    data = bytearray(python_zip(files))
    data[position % len(data)] = value
    folder = tmp_path_factory.mktemp("flipped")
    try:
        extract(bytes(data), folder / "code")
    except ArchiveError:
        assert list(folder.iterdir()) == []
        return
    # The byte may be in the mode: then a file has become a link to its own text.
    found = [path for path in (folder / "code").rglob("*") if path.is_symlink() or not path.is_dir()]
    contents = {os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes() for path in found}
    assert contents == set(files.values())
    remove_tree(folder / "code")


def test_zip64_prefix_and_comment_are_read(tmp_path: Path) -> None:
    entry = Entry("a", b"hello")
    build(entry)
    size, offset = len(entry.central()), len(entry.local())
    record = end64(1, size, offset, position=size + offset)
    data = build(entry, before_end=record, count=0xFFFF, directory_offset=0xFFFFFFFF, comment=b"PK\5\6 not the end")
    extract(data, tmp_path / "wide")
    assert (tmp_path / "wide" / "a").read_bytes() == b"hello"
    extract(build(entry, prefix=b"#!/usr/bin/env python3\n"), tmp_path / "prefixed")
    assert (tmp_path / "prefixed" / "a").read_bytes() == b"hello"


def test_large_but_lawful_content_passes(tmp_path: Path) -> None:
    extract(build(Entry("zeros", bytes(20_000_000))), tmp_path / "code")
    assert (tmp_path / "code" / "zeros").stat().st_size == 20_000_000


def test_inspect_does_not_write_and_extract_does_not_overwrite(tmp_path: Path) -> None:
    data = python_zip({"a": b"1"})
    assert inspect(data).unzipped_bytes == 1
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "code").mkdir()
    with pytest.raises(FileExistsError):
        extract(data, tmp_path / "code")


@pytest.fixture
def shelf(tmp_path: Path) -> tuple[Archives, CodeDirectories]:
    archives = Archives(tmp_path / "archives")
    return archives, CodeDirectories(tmp_path / "code", archives.path, boot_id="b1")


def test_code_is_unpacked_once_and_shared(shelf: tuple[Archives, CodeDirectories]) -> None:
    archives, directories = shelf
    key = archives.put(python_zip({"a.py": b"1"}))
    assert directories.ready_path(key) is None
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(directories.ensure(key))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [directories.path(key)] * 8
    assert directories.ready_path(key) == directories.path(key)
    assert (directories.path(key) / "a.py").read_bytes() == b"1"


def test_collect_removes_what_nobody_uses(shelf: tuple[Archives, CodeDirectories]) -> None:
    archives, directories = shelf
    keys = [archives.put(python_zip({f"dir/{n}": b"x"})) for n in range(3)]
    for key in keys:
        directories.ensure(key)
    assert directories.collect({keys[0]}) == set(keys[1:])
    assert directories.keys() == {keys[0]}
    assert directories.ready_path(keys[1]) is None
    assert directories.ensure(keys[1]).is_dir()


def test_a_bad_archive_leaves_no_directory(shelf: tuple[Archives, CodeDirectories]) -> None:
    archives, directories = shelf
    key = archives.put(b"not a zip")
    with pytest.raises(ArchiveError):
        directories.ensure(key)
    assert directories.keys() == set()
    with pytest.raises(FileNotFoundError):
        directories.ensure(hashlib.sha256(b"unknown").hexdigest())


def test_after_a_reboot_everything_is_unpacked_anew(tmp_path: Path) -> None:
    archives = Archives(tmp_path / "archives")
    key = archives.put(python_zip({"d/a": b"x"}))
    CodeDirectories(tmp_path / "code", archives.path, boot_id="b1").ensure(key)
    (tmp_path / "code" / ".unpacking-left").mkdir()
    again = CodeDirectories(tmp_path / "code", archives.path, boot_id="b1")
    assert again.keys() == {key}
    assert not (tmp_path / "code" / ".unpacking-left").exists()
    rebooted = CodeDirectories(tmp_path / "code", archives.path, boot_id="b2")
    assert rebooted.keys() == set()
    assert rebooted.ensure(key).is_dir()
