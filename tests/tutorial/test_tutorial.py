"""The tutorial, block by block, in an empty folder with the wheel that users install; the examples of the guide."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.service.harness import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)(?: ([^\n]+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code of a page: its language, the word after it, the code."""

    language: str
    word: str
    text: str


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    return [Block(*(part or "" for part in found)) for found in BLOCK.findall((ROOT / "docs" / page).read_text())]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made as for a release but without fetching anything."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*command, str(target), str(ROOT)], check=True, timeout=100)
    (made,) = target.glob("venturekit-*.whl")
    return made


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a shell whose environment has the wheel, and what it depends on from this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True, timeout=60)
    python = tmp_path / ".venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, timeout=60)
    (packages,) = (tmp_path / ".venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    pytest_script = python.with_name("pytest")
    pytest_script.write_text(f'#!/bin/sh\nexec {python} -m pytest -p no:cacheprovider "$@"\n')
    pytest_script.chmod(0o755)
    found = subprocess.run(
        [python, "-c", "import venturekit; print(venturekit.__file__)"], check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(packages)), "the tutorial must run on the wheel"
    curl = shutil.which("curl")
    assert curl, "no curl on PATH (Debian: apt-get install curl)"
    path = os.pathsep.join([str(python.parent), "/usr/local/bin", "/usr/bin", "/bin", os.path.dirname(curl)])
    return {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8"}


@contextmanager
def serving(folder: Path, environ: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """`vk serve` of the tutorial, on ports that are free; gives the variables that lead there."""
    ready = folder / "ready"
    command = ["vk", "serve", "--port", "0", "--front-port", "0", "--ready-file", str(ready)]
    executable = shutil.which("vk", path=environ["PATH"])
    process = subprocess.Popen(command, executable=executable, cwd=folder, env=dict(environ))
    try:
        until(lambda: ready.exists() and ready.read_text().endswith("\n"), "vk serve is ready", 60)
        yield {**environ, "AWS_ENDPOINT_URL_LAMBDA": ready.read_text().split()[0]}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def test_the_tutorial(installed: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "tour"
    folder.mkdir()
    all_blocks = blocks("tutorial.md")
    middle = next(number for number, block in enumerate(all_blocks) if block.word == "service")
    done = play(all_blocks[:middle], folder, installed)
    with serving(folder, installed) as environ:
        done += play(all_blocks[middle + 1 :], folder, environ)
    assert done == sum(block.language == "sh" and block.word not in ("install", "service") for block in all_blocks)
    assert done >= 6


def play(these: list[Block], folder: Path, environ: Mapping[str, str]) -> int:
    """Write the files, run the commands, compare what they print. Gives the number of commands' blocks."""
    count, printed = 0, ""
    for block in these:
        if block.language == "python":
            (folder / block.word).write_text(block.text)
        elif block.language == "output":
            assert printed.strip() == block.text.strip()
        elif block.word not in ("install", "service"):
            command = ["bash", "-eu", "-o", "pipefail", "-c", block.text]
            ran = subprocess.run(command, cwd=folder, env=dict(environ), capture_output=True, text=True, timeout=90)
            assert ran.returncode == 0, f"{block.text}\n{ran.stdout}\n{ran.stderr}"
            count, printed = count + 1, ran.stdout
    return count


# What has a word after its language is part of something larger.
PAGES = ("framework.md", "batches.md", "observability.md", "websockets.md", "sagas.md")
EXAMPLES = [
    pytest.param(page, number, block.text, id=f"{page}-{number}")
    for page in PAGES
    for number, block in enumerate(block for block in blocks(page) if block.language == "python" and not block.word)
]


@pytest.mark.parametrize(("page", "number", "text"), EXAMPLES)
def test_an_example_of_the_guide(page: str, number: int, text: str, tmp_path: Path) -> None:
    # In an interpreter of its own: examples set up what there is once in a process.
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), f"{page}, block {number}"
