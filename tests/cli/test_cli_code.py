"""Code becomes an archive: deterministic, complete, bounded."""

from __future__ import annotations

import io
import os
import stat
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.cli import code as code_module
from venturekit.cli.code import load_code
from venturekit.cli.exits import USAGE, CommandError
from venturekit.cli.payload import read_client_context, read_payload, read_variables
from venturekit.cli.run import split_target

if TYPE_CHECKING:
    from pathlib import Path

NODE_RUNTIME = code_module.node_runtime()
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"


def listing(archive: bytes) -> dict[str, int]:
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        return {item.filename: stat.S_IMODE(item.external_attr >> 16) for item in zipped.infolist()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "code"
    path.mkdir()
    (path / "app.py").write_text("def handler(e, c): pass")
    return path


def test_the_same_files_make_the_same_bytes(folder, tmp_path):
    (folder / "b").mkdir()
    for name in ("z.txt", "a.txt", "b/c.txt"):
        (folder / name).write_text(name)
    first = load_code(str(folder)).archive
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))
    (folder / "a.txt").rename(tmp_path / "aside")
    (folder / "a.txt").write_text("a.txt")
    assert load_code(str(folder)).archive == first
    (folder / "a.txt").write_text("changed")
    assert load_code(str(folder)).archive != first


def test_execute_bits_are_kept_and_nothing_else(folder):
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o700)
    (folder / "app.py").chmod(0o600)
    assert listing(load_code(str(folder)).archive) == {"app.py": 0o644, "tool": 0o755}


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".venv", ".venturekit"])
def test_what_is_no_code_is_left_out(folder, name):
    for place in (folder / name, folder / "deep" / name):
        place.mkdir(parents=True)
        (place / "file").write_text("no")
    (folder / "old.pyc").write_bytes(b"")
    (folder / "deep" / "file").write_text("yes")
    assert set(listing(load_code(str(folder)).archive)) == {"app.py", "deep/file"}


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    (tmp_path / "shared.py").write_text("X = 1")
    (folder / "shared.py").symlink_to(tmp_path / "shared.py")
    (folder / "package").mkdir()
    (folder / "package" / "up").symlink_to(folder)
    (folder / "broken").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe")
    assert set(listing(load_code(str(folder)).archive)) == {"app.py", "shared.py"}


def test_a_directory_that_is_too_large_is_refused_unread(folder, monkeypatch):
    with (folder / "large").open("wb") as file:
        file.truncate(262_144_001)
    with pytest.raises(CommandError, match="at most 262144000"):
        load_code(str(folder))


@pytest.mark.parametrize("given", ["", "bootstrap"])
def test_a_bootstrap_that_cannot_start_is_told_of(tmp_path, capsys, given):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.write_text("#!/bin/sh\n")
    bootstrap.chmod(0o644)
    assert load_code(str(tmp_path / given)).has_bootstrap
    assert f"chmod +x {bootstrap}" in capsys.readouterr().err
    bootstrap.chmod(0o755)
    load_code(str(tmp_path / given))
    assert capsys.readouterr().err == ""


def test_an_empty_directory_is_refused(tmp_path):
    with pytest.raises(CommandError, match="holds no files"):
        load_code(str(tmp_path))


def test_a_zip_that_is_none_is_refused(tmp_path):
    (tmp_path / "code.zip").write_text("text")
    with pytest.raises(CommandError, match="is not a zip archive"):
        load_code(str(tmp_path / "code.zip"))


def test_a_zip_is_taken_as_it_is(tmp_path, folder):
    data = load_code(str(folder)).archive
    (tmp_path / "code.zip").write_bytes(data)
    assert load_code(str(tmp_path / "code.zip")) == code_module.Code(data, None, False)


@pytest.mark.parametrize(
    ("files", "handler", "runtime", "expected"),
    [
        (["app.py"], None, None, ("app.handler", RUNTIME)),
        (["app.py"], "app.other", "python3.9", ("app.other", "python3.9")),
        (["bootstrap"], None, None, ("bootstrap", "provided.al2023")),
        (["bootstrap", "app.py"], None, None, ("app.handler", "provided.al2023")),
        (["bootstrap"], "own", "provided.al2", ("own", "provided.al2")),
        (["a.py", "b.py"], "b.go", None, ("b.go", RUNTIME)),
        (["a.py", "b.py"], None, None, None),
        (["index.mjs"], None, "nodejs22.x", ("index.handler", "nodejs22.x")),
        (["index.mjs"], None, None, ("index.handler", NODE_RUNTIME)),
        (["b.js"], None, None, ("b.handler", NODE_RUNTIME)),
        (["a.js", "index.js", "package.json"], None, None, ("index.handler", NODE_RUNTIME)),
        (["a.js", "b.js"], None, None, None),
        (["app.py", "static.js"], None, None, ("app.handler", RUNTIME)),
        (["bootstrap", "index.mjs"], None, None, ("index.handler", "provided.al2023")),
    ],
)
def test_handler_and_runtime_follow_from_the_code(tmp_path, files, handler, runtime, expected):
    for name in files:
        (tmp_path / name).write_text("def handler(e, c): pass" if name.endswith(".py") else "")
    loaded = load_code(str(tmp_path))
    if expected is None:
        with pytest.raises(CommandError, match="--handler is needed") as raised:
            loaded.settings(handler, runtime)
        assert raised.value.status == USAGE
    else:
        assert loaded.settings(handler, runtime) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("app.py", ("app.py", None)),
        ("app.py:go", ("app.py", "go")),
        ("a/b.py:mod.go", ("a/b.py", "mod.go")),
        (":go", (":go", None)),
        ("app.py:", ("app.py:", None)),
    ],
)
def test_a_target_is_a_file_and_perhaps_a_handler(tmp_path, monkeypatch, target, expected):
    monkeypatch.chdir(tmp_path)
    assert split_target(target) == expected
    (tmp_path / "odd:name.py").write_text("")
    assert split_target("odd:name.py") == ("odd:name.py", None)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_]\w*", fullmatch=True), st.text()))
@settings(deadline=None, max_examples=100)
def test_variables_are_read_back(values):
    assert read_variables([f"{name}={value}" for name, value in values.items()]) == values


@pytest.mark.parametrize("wrong", ["A", "=x", ""])
def test_a_variable_has_a_name_and_a_value(wrong):
    with pytest.raises(CommandError, match="must be NAME=VALUE"):
        read_variables([wrong])


@given(st.binary(max_size=2000))
@settings(deadline=None, max_examples=50)
def test_a_payload_file_is_read_as_bytes(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("payload") / "event"
    file.write_bytes(data)
    assert read_payload(f"@{file}") == data


def test_an_endless_payload_is_cut():
    assert len(read_payload("@/dev/zero")) == 6 * 1024 * 1024 + 1


def test_a_context_is_encoded_once():
    assert read_client_context(' {"a": 1}') == "IHsiYSI6IDF9"
    assert read_client_context("IHsiYSI6IDF9") == "IHsiYSI6IDF9"
    assert read_client_context(None) is None
