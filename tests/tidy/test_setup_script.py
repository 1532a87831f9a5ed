"""scripts/setup.sh on machines that are not as they should be, played by small programs on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Present as a command, and of no use: what a version manager leaves for a version that is not selected.
BROKEN = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
TOO_OLD = "#!/bin/sh\nexit 1\n"
WORKS = '#!/bin/sh\necho "$0" >>"$HOME/used"\nexec "{python}" "$@"\n'
# As Debian ships it: venv is there, ensurepip is not.
WITHOUT_ENSUREPIP = """#!/bin/sh
case "$*" in
*ensurepip* | '-m pip '*) exit 1 ;;
'-m venv --without-pip '*) ;;
'-m venv '*) echo 'ensurepip is not available' >&2; exit 1 ;;
esac
exec "{python}" "$@"
"""


class Machine:
    """A PATH of our own, with the tools that every Unix has."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.setup_script = root / "scripts" / "setup.sh"
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in ("rm", "cat", "cksum", "grep", "head", "id", "mktemp", "tail"):
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def add(self, name: str, text: str, *, where: str = "bin") -> Path:
        """Put a program on PATH."""
        path = self.folder / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(python=os.path.realpath(sys.executable)) if "{python}" in text else text)
        path.chmod(0o755)
        return path

    def run(self, script: str, *, path: str = "bin", **variables: str) -> subprocess.CompletedProcess[str]:
        """Source setup.sh and run a few lines."""
        search = ":".join(str(self.folder / part) for part in path.split(":"))
        environment = {"PATH": search, "HOME": str(self.folder), "TMPDIR": str(self.folder), **variables}
        shell = shutil.which("sh")
        assert shell
        command = [shell, "-euc", f". '{self.setup_script}'\n{script}"]
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=100)


@pytest.fixture
def machine(root: Path, tmp_path: Path) -> Machine:
    return Machine(root, tmp_path)


def test_a_python_that_cannot_run_is_passed_over(machine: Machine) -> None:
    machine.add("python3.13", BROKEN)
    machine.add("python3.12", TOO_OLD)
    machine.add("python3", WORKS)
    assert machine.run("find_python").stdout.strip() == os.path.realpath(sys.executable)


def test_a_working_python_behind_a_broken_one_of_the_same_name_is_found(machine: Machine) -> None:
    machine.add("python3", BROKEN)
    machine.add("python3", WORKS, where="later")
    assert machine.run("find_python", path="bin:later").stdout.strip() == os.path.realpath(sys.executable)


def test_a_python_that_can_make_a_venv_alone_is_preferred(machine: Machine) -> None:
    machine.add("python3.12", WITHOUT_ENSUREPIP)
    machine.add("python3", WORKS)
    machine.add("python3.11", BROKEN)
    assert machine.run("find_python").returncode == 0
    assert (machine.folder / "used").read_text().splitlines()[-1] == str(machine.bin / "python3")


def test_the_variable_python_decides_alone(machine: Machine) -> None:
    machine.add("python3", WORKS)
    broken = machine.add("mine", BROKEN)
    assert machine.run("find_python", PYTHON=str(broken)).returncode == 1


def test_no_python_is_an_error_that_says_what_to_install(machine: Machine) -> None:
    machine.add("python3", TOO_OLD)
    (machine.folder / "pyproject.toml").touch()
    done = machine.run("setup")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_a_venv_is_made_where_ensurepip_is_missing(machine: Machine) -> None:
    python = machine.add("python3", WITHOUT_ENSUREPIP)
    # The real pip would ask the network for a wheel of pip: this one has it at hand.
    machine.add("pip3", FAKE_PIP)
    # The venv's own Python is the real one: ensurepip is hidden from it by a module of that name.
    machine.add("ensurepip.py", "raise ImportError\n", where="hiding")
    hidden = str(machine.folder / "hiding")
    done = machine.run(f"make_venv '{python}'; .venv/bin/python -m pip --version", PYTHONPATH=hidden)
    assert done.returncode == 0, done.stderr
    assert "pip-from-wheel" in done.stdout


def test_a_venv_that_cannot_be_made_says_what_to_install(machine: Machine) -> None:
    python = machine.add("python3", NOTHING_WORKS)
    machine.add("id", "#!/bin/sh\necho 1000\n", where="user")
    done = machine.run(f"make_venv '{python}'", path="user:bin")
    assert done.returncode == 1
    assert "-venv" in done.stderr
    assert not (machine.folder / ".venv").exists()


def test_root_gets_the_package_that_debian_keeps_apart(machine: Machine) -> None:
    # After apt-get the very same Python can make a venv.
    python = machine.add("python3", UNTIL_INSTALLED)
    machine.add("apt-get", '#!/bin/sh\necho "$*" >>"$HOME/apt.log"\n[ "$1" = update ] || : >"$HOME/installed"\n')
    machine.add("id", "#!/bin/sh\necho 0\n", where="user")
    done = machine.run(f"make_venv '{python}'", path="user:bin")
    assert done.returncode == 0, done.stderr
    assert (machine.folder / ".venv").is_dir()
    expected = f"install -y --no-install-recommends python3.{sys.version_info.minor}-venv"
    assert (machine.folder / "apt.log").read_text().splitlines() == ["update", expected]


def test_missing_commands_are_named_to_those_who_are_not_root(machine: Machine) -> None:
    machine.add("id", "#!/bin/sh\necho 1000\n", where="user")
    done = machine.run("need_commands cat gcc='gcc libc6-dev' unzip", path="user:bin")
    assert done.returncode == 0
    assert done.stderr.strip() == (
        "Not found: gcc unzip. What needs them will say so (Debian: apt-get install gcc libc6-dev unzip)."
    )


def test_an_install_that_is_done_is_not_done_again(machine: Machine) -> None:
    (machine.folder / "pyproject.toml").write_text("[project]\n")
    machine.add("python", "#!/bin/sh\nexit 0\n", where=".venv/bin")
    stamped = machine.run('printf "%s\\n" "$(pwd -P) $(cksum <pyproject.toml)" >"$STAMP"; setup')
    assert (stamped.returncode, stamped.stderr) == (0, "")
    (machine.folder / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    assert "needs Python 3.11" in machine.run("setup").stderr


def with_javascript(machine: Machine) -> Path:
    """What setup_javascript looks at, and a Python that notes what it is run with."""
    folder = machine.folder / "tests" / "javascript"
    folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json", "runtime_clients.py"):
        (folder / name).write_text(name)
    machine.add(
        "python", '#!/bin/sh\necho "python $*" >>"$HOME/ran"\n[ ! -e "$HOME/no-compiler" ]\n', where=".venv/bin"
    )
    return folder


NPM = '#!/bin/sh\necho "npm $1 in $(pwd)" >>"$HOME/ran"\nmkdir -p node_modules\n'


def test_packages_of_npm_are_installed_once_and_again_when_their_list_has_changed(machine: Machine) -> None:
    folder = with_javascript(machine)
    machine.add("npm", NPM)
    machine.add("mkdir", '#!/bin/sh\nexec /bin/mkdir "$@"\n')
    once = [f"npm ci in {folder}", "python tests/javascript/runtime_clients.py"]
    assert machine.run("setup_javascript; setup_javascript").returncode == 0
    assert (machine.folder / "ran").read_text().splitlines() == once
    (folder / "package-lock.json").write_text("changed")
    assert machine.run("setup_javascript; setup_javascript").returncode == 0
    assert (machine.folder / "ran").read_text().splitlines() == once * 2


def test_without_npm_or_a_compiler_setup_goes_on(machine: Machine) -> None:
    with_javascript(machine)
    done = machine.run("setup_javascript")
    assert (done.returncode, done.stderr.partition(".")[0]) == (0, "Not found: npm")
    machine.add("npm", NPM)
    machine.add("mkdir", '#!/bin/sh\nexec /bin/mkdir "$@"\n')
    (machine.folder / "no-compiler").touch()
    assert machine.run("setup_javascript").returncode == 0
    # It is tried again: nothing has been noted as done.
    (machine.folder / "no-compiler").unlink()
    assert machine.run("setup_javascript").returncode == 0
    assert len((machine.folder / "ran").read_text().splitlines()) == 4


def test_packages_that_cannot_be_installed_end_it(machine: Machine) -> None:
    with_javascript(machine)
    machine.add("npm", "#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    done = machine.run("setup_javascript")
    assert done.returncode == 1
    assert "no network\nnpm's packages could not be installed" in done.stderr


# Downloads a wheel, as far as anyone can see: a folder that runs as pip does when it is given to Python.
FAKE_PIP = """#!/bin/sh
[ "$1" = download ] || exit 2
while [ "$1" != --dest ]; do shift; done
"{python}" - "$2" <<'END'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1] + "/pip-99-py3-none-any.whl", "w") as wheel:
    wheel.writestr("pip/__main__.py", '''
import pathlib, sysconfig
package = pathlib.Path(sysconfig.get_paths()["purelib"], "pip")
package.mkdir()
(package / "__init__.py").touch()
(package / "__main__.py").write_text("print('pip-from-wheel')")
''')
END
"""
NOTHING_WORKS = """#!/bin/sh
case "$*" in -m*) exit 1 ;; esac
exec "{python}" "$@"
"""
UNTIL_INSTALLED = """#!/bin/sh
if [ ! -e "$HOME/installed" ]; then case "$*" in -m*) exit 1 ;; esac; fi
case "$*" in '-m venv '*) exec "{python}" -m venv --without-pip "$3" ;; esac
exec "{python}" "$@"
"""
