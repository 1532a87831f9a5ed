"""Finding installations of Node.js, and choosing one for a runtime."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.service.environments import nodes as nodes_module
from venturekit.service.environments.interpreters import RuntimeUnavailableError
from venturekit.service.environments.nodes import (
    Node,
    Version,
    ask_version,
    choose_node,
    find_nodes,
    runtime_major,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_system_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What this machine has installed must not show."""
    monkeypatch.setattr(nodes_module, "_SYSTEM_FOLDERS", (str(tmp_path / "system"),))
    monkeypatch.setattr(nodes_module, "_OTHER_ROOT", str(tmp_path / "opt"))


def program(path: Path, said: str = "", mode: int = 0o755) -> Path:
    """An executable that says this when it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(mode)
    return path


def never(path: str) -> Version | None:
    raise AssertionError(f"{path} was asked")


@pytest.mark.parametrize(
    "place",
    [
        "home/.nvm/versions/node/v20.11.1/bin/node",
        "home/.local/share/fnm/node-versions/v20.11.1/installation/bin/node",
        "home/.fnm/node-versions/v20.11.1/installation/bin/node",
        "home/.volta/tools/image/node/20.11.1/bin/node",
        "home/.asdf/installs/nodejs/20.11.1/bin/node",
        "home/.local/share/mise/installs/node/20.11.1/bin/node",
        "opt/node-v20.11.1-linux-x64/bin/node",
    ],
)
def test_version_managers_are_not_asked(tmp_path: Path, place: str) -> None:
    path = program(tmp_path / place)
    assert find_nodes({}, str(tmp_path / "home"), never) == [Node((20, 11, 1), str(path))]


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("NVM_DIR", "versions/node/v22.1.0/bin/node"),
        ("FNM_DIR", "node-versions/v22.1.0/installation/bin/node"),
        ("VOLTA_HOME", "tools/image/node/22.1.0/bin/node"),
        ("ASDF_DATA_DIR", "installs/nodejs/22.1.0/bin/node"),
        ("MISE_DATA_DIR", "installs/node/22.1.0/bin/node"),
        ("N_PREFIX", "n/versions/node/22.1.0/bin/node"),
    ],
)
def test_version_managers_elsewhere(tmp_path: Path, variable: str, below: str) -> None:
    path = program(tmp_path / "elsewhere" / below)
    found = find_nodes({variable: str(tmp_path / "elsewhere")}, str(tmp_path / "home"), never)
    assert found == [Node((22, 1, 0), str(path))]


@pytest.mark.parametrize("place", ["path/node", "path/nodejs", "system/node", "opt/node/bin/node"])
def test_others_are_asked_once(tmp_path: Path, place: str) -> None:
    path = program(tmp_path / place, "v18.20.4")
    variables = {"PATH": f"{tmp_path / 'path'}:{tmp_path / 'path'}"}
    assert find_nodes(variables, str(tmp_path / "home")) == [Node((18, 20, 4), str(path))]
    asked: list[str] = []
    find_nodes(variables, str(tmp_path / "home"), asked.append)
    assert asked == [str(path)]


def test_a_link_on_the_path_tells_the_version_of_its_target(tmp_path: Path) -> None:
    path = program(tmp_path / "home/.nvm/versions/node/v20.11.1/bin/node")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "node").symlink_to(path)
    (tmp_path / "path" / "nodejs").symlink_to(path)
    assert find_nodes({"PATH": str(tmp_path / "path")}, str(tmp_path / "home"), never) == [Node((20, 11, 1), str(path))]


@pytest.mark.parametrize("said", ["", "v16.20.0", "v8.1.0", "something else", "20"])
def test_what_is_not_usable_is_left_out(tmp_path: Path, said: str) -> None:
    program(tmp_path / "path" / "node", said)
    assert find_nodes({"PATH": str(tmp_path / "path")}, str(tmp_path / "home")) == []


def test_shims_and_launchers_are_left_out(tmp_path: Path) -> None:
    program(tmp_path / "shims" / "node", "v20.0.0")
    launcher = program(tmp_path / "home/.volta/bin/volta-shim", "v20.0.0")
    (launcher.parent / "node").symlink_to(launcher)
    program(tmp_path / "path" / "node", "v20.0.0", mode=0o644)
    (tmp_path / "other" / "node").mkdir(parents=True)
    folders = [tmp_path / "shims", launcher.parent, tmp_path / "path", tmp_path / "other"]
    variables = {"PATH": ":".join(["relative", "", *map(str, folders)])}
    assert find_nodes(variables, str(tmp_path / "home")) == []


def test_the_newest_release_comes_first_and_path_before_all(tmp_path: Path) -> None:
    for release in ("v20.9.0", "v20.11.1", "v20.10.0"):
        program(tmp_path / "home/.nvm/versions/node" / release / "bin/node")
    own = program(tmp_path / "path" / "node", "v20.1.0")
    found = find_nodes({"PATH": str(tmp_path / "path")}, str(tmp_path / "home"))
    assert found[0].path == str(own)
    assert [node.version[1] for node in found] == [1, 11, 10, 9]


def test_a_program_that_hangs_or_fails_is_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes_module, "ASK_SECONDS", 0.2)
    path = tmp_path / "node"
    path.write_text("#!/bin/sh\nexec sleep 60\n")
    path.chmod(0o755)
    assert ask_version(str(path)) is None
    assert ask_version(str(tmp_path / "nowhere")) is None
    path.write_bytes(b"\x7fELF rubbish")
    assert ask_version(str(path)) is None


def test_this_machines_node_says_its_version() -> None:
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    found = ask_version(subprocess.run(["which", "node"], capture_output=True, text=True, check=True).stdout.strip())
    assert found is not None
    assert f"v{'.'.join(map(str, found))}" == done.stdout.strip()
    assert os.environ["PATH"]


# --- the choice -----------------------------------------------------------------------------------------------------

FOUND = [Node((major, 1, 0), f"/node{major}") for major in (18, 20, 24)]


@pytest.mark.parametrize(
    ("runtime", "major", "exact"),
    [
        ("nodejs18.x", 18, True),
        ("nodejs20.x", 20, True),
        ("nodejs22.x", 24, False),
        ("nodejs24.x", 24, True),
        ("nodejs26.x", 24, False),
        ("nodejs16.x", 18, False),
    ],
)
def test_the_nearest_is_chosen_newer_before_older(runtime: str, major: int, exact: bool) -> None:
    choice = choose_node(runtime, FOUND, strict=False)
    assert choice.node.version[0] == major
    assert (choice.warning is None) == exact
    if not exact:
        assert choice.warning is not None
        assert f"runtime {runtime} is not on this machine, using Node.js {major}.1.0 (/node{major})" in choice.warning
        with pytest.raises(RuntimeUnavailableError, match=runtime):
            choose_node(runtime, FOUND, strict=True)


def test_none_at_all() -> None:
    with pytest.raises(RuntimeUnavailableError, match="found: none"):
        choose_node("nodejs20.x", [], strict=False)


@pytest.mark.parametrize("runtime", ["python3.12", "nodejs", "nodejs20", "nodejs20.x ", "nodejs8.10", "Nodejs20.x", ""])
def test_what_is_no_runtime_of_node(runtime: str) -> None:
    assert runtime_major(runtime) is None
    with pytest.raises(ValueError, match=r"nodejs20\.x"):
        choose_node(runtime, FOUND, strict=False)


@settings(deadline=None, max_examples=200)
@given(st.sets(st.integers(18, 30), min_size=1), st.integers(16, 32))
def test_no_other_is_nearer(majors: set[int], wanted: int) -> None:
    chosen = choose_node(f"nodejs{wanted}.x", [Node((major, 0, 0), str(major)) for major in majors], strict=False)
    newer = [major for major in majors if major >= wanted]
    assert chosen.node.version[0] == (min(newer) if newer else max(majors))
    assert (chosen.warning is None) == (wanted in majors)
