"""What a function may reach at the levels above ``process``: as data, which ``confine.py`` carries out in its process.

The file system is looked at when a service starts, and for what may change while it runs at each launch; nothing here
changes it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from venturekit.service.environments.isolation.landlock import NEWEST_ABI
from venturekit.service.environments.isolation.levels import IsolationUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from venturekit.service.environments.isolation.levels import Level
    from venturekit.service.environments.ports import EnvironmentSpec

SYSTEM_FOLDERS: Final = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *("/nix/store", "/var/lib/ca-certificates"),
)
KERNEL_FOLDERS: Final = ("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage")
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
DEVICE_LINKS: Final = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
ETC: Final = "/etc"
RESOLVER: Final = "/etc/resolv.conf"
"""Often a link to where a resolver of the system writes it."""
REPLACED: Final = (RESOLVER, "/etc/hosts")
"""Files that are replaced while a service runs: a rule is about the file that was there when it was made."""
LITERAL_TMP: Final = "/tmp"  # noqa: S108 - AWS's path

TASK_ROOT: Final = "/var/task"
LAYER_ROOT: Final = "/opt"
RUNTIME_ROOT: Final = "/var/runtime"
BYTECODE_ROOT: Final = "/var/lang/pycache"
EXTRAS_ROOT: Final = "/var/lang/venturekit"
HIDDEN_FOLDERS: Final = (LITERAL_TMP, TASK_ROOT, RUNTIME_ROOT)
"""Folders of this machine in whose place functions have their own, at the level ``namespace``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What of the service's own a policy must know.

    ``runtime_directory`` holds links to packages that every function may import, ``bytecode_directory`` their compiled
    form, ``mountpoint`` is an empty folder.
    """

    data_directory: Path
    runtime_directory: Path
    bytecode_directory: Path
    mountpoint: Path

    @property
    def compiled_runtime(self) -> Path:
        """Where Python keeps the compiled form of ``runtime_directory``."""
        return Path(f"{self.bytecode_directory}{self.runtime_directory}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What functions may reach. ``common`` is for launchers, ``own_part`` for one launch.

    ``pycache_prefix`` and ``runtime_root`` are as functions see them.
    """

    level: Level
    common: dict[str, Any]
    pycache_prefix: str
    bytecode_directory: Path
    runtime_root: Path
    has_own_tmp: bool
    connect_ports: frozenset[int]

    def inside(self, spec: EnvironmentSpec) -> EnvironmentSpec:
        """The spec with the folders as the function sees them."""
        if self.level != "namespace":
            return spec
        return replace(spec, code_directory=Path(TASK_ROOT), layers=(Path(LAYER_ROOT),))

    def shown(self, path: str, spec: EnvironmentSpec) -> str:
        """A path of the function's code or layers, or of what its program reads, as the function sees it."""
        if self.level == "namespace":
            for folder, root in ((spec.code_directory, TASK_ROOT), *((layer, LAYER_ROOT) for layer in spec.layers)):
                if path == str(folder) or path.startswith(f"{folder}/"):
                    return root + path.removeprefix(str(folder))
            if _lies_in(path, HIDDEN_FOLDERS):
                return f"{EXTRAS_ROOT}/{os.path.basename(path)}"
        return path

    def own_part(
        self,
        spec: EnvironmentSpec,
        *,
        tmp: Path,
        ports: Iterable[int],
        needed: Sequence[str] = (),
        extras: Sequence[str] = (),
    ) -> dict[str, Any]:
        """The part of one launch. ``needed`` are files and folders of this machine that the program itself reads.

        The function's own folders may hide some of them. Those among ``extras`` are found elsewhere then, for nothing
        in them depends on where they lie: see ``shown``. For the others it raises IsolationUnavailableError.
        """
        layers = [str(layer) for layer in spec.layers]
        elsewhere = [path for path in needed if not _lies_in(path, SYSTEM_FOLDERS)]
        resolver = os.path.realpath(RESOLVER)
        own: dict[str, Any] = {
            "read": [str(spec.code_directory), *layers, *elsewhere, *REPLACED],
            "write": [str(tmp)] if self.has_own_tmp else [str(tmp), LITERAL_TMP],
            "connect_ports": sorted(set(ports)),
            "binds": [],
            "overlay": [],
        }
        if self.level == "namespace":
            for path in elsewhere:
                if path not in extras and _lies_in(path, HIDDEN_FOLDERS):
                    raise IsolationUnavailableError(
                        f"{path} is needed to start the function, but functions at the isolation level 'namespace' "
                        f"have a {LITERAL_TMP} and a {TASK_ROOT} of their own: install it elsewhere"
                    )
            beside = elsewhere if _lies_in(resolver, (ETC, *SYSTEM_FOLDERS)) else [*elsewhere, resolver]
            own["binds"] = [
                [str(spec.code_directory), TASK_ROOT],
                *([path, self.shown(path, spec) if path in extras else path] for path in _existing(beside)),
            ]
            own["overlay"] = layers[::-1]
        return own


def make_policy(
    level: Level, landlock_abi: int, around: Surroundings, connect_ports: Iterable[int], bind_ports: Iterable[int]
) -> Policy:
    """The policy of a service.

    Raises IsolationUnavailableError when its data directory cannot be kept from functions.
    """
    libraries = _link_targets(around.runtime_directory)
    connect, bind = sorted(set(connect_ports)), sorted(set(bind_ports))
    is_namespace = level == "namespace"
    host_only = () if is_namespace else ("/proc",)
    etc = readable_by_all(ETC) if os.geteuid() == 0 else [ETC]
    system = [*SYSTEM_FOLDERS, *etc, *KERNEL_FOLDERS]
    # A rule holds below a folder as it is mounted: what is bound elsewhere needs one of its own.
    own = [str(path) for path in (around.runtime_directory, around.bytecode_directory, around.compiled_runtime)]
    common = {
        "level": level,
        "abi": min(landlock_abi, NEWEST_ABI),
        "read": [*system, *own, *libraries.values(), *host_only],
        "list": [ETC],
        "devices": list(DEVICES),
        "connect_ports": connect,
        "bind_ports": bind,
        # Without it nothing else keeps a function from the Unix sockets of this machine's programs.
        "unix_sockets": is_namespace and landlock_abi >= 6,
        "mountpoint": str(around.mountpoint),
        "links": [],
        "binds": [],
    }
    if is_namespace:
        common["links"], common["binds"] = _layout(around, libraries)
    reachable = [*system, *libraries.values(), *(() if is_namespace else (LITERAL_TMP,))]
    _check_data_directory(around.data_directory, level, reachable)
    return Policy(
        level=level,
        common=common,
        pycache_prefix=BYTECODE_ROOT if is_namespace else str(around.bytecode_directory),
        bytecode_directory=around.bytecode_directory,
        runtime_root=Path(RUNTIME_ROOT) if is_namespace else around.runtime_directory,
        has_own_tmp=is_namespace,
        connect_ports=frozenset((*connect, *bind)),
    )


def readable_by_all(folder: str) -> list[str]:
    """The fewest paths that hold what every user may read below ``folder``, and nothing else; links are left out.

    Root may read everything, so for a service that runs as root the modes do not keep keys and hashes from functions.
    """
    return _readable_below(folder)[1]


def _readable_below(folder: str) -> tuple[bool, list[str]]:
    whole, found = True, []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return False, []
    for entry in entries:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            continue
        if stat.S_ISDIR(mode) and mode & (stat.S_IROTH | stat.S_IXOTH) == stat.S_IROTH | stat.S_IXOTH:
            all_below, below = _readable_below(entry.path)
            found += below
            whole = whole and all_below
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            found.append(entry.path)
        else:
            whole = False
    return whole, [folder] if whole else found


def _link_targets(directory: Path) -> dict[str, str]:
    return {name: os.path.realpath(directory / name) for name in sorted(os.listdir(directory)) if name[:1] != "_"}


def _layout(around: Surroundings, libraries: dict[str, str]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Links (path, target) and binds (source, path) that a root folder is made of."""
    present = _existing(SYSTEM_FOLDERS)
    links = [(path, os.readlink(path)) for path in present if os.path.islink(path)]
    same = [path for path in (*present, ETC, *KERNEL_FOLDERS) if not os.path.islink(path)]
    binds = [(path, path) for path in _existing(same)]
    binds += [(target, f"{RUNTIME_ROOT}/{name}") for name, target in libraries.items()]
    return [*links, *DEVICE_LINKS], [*binds, (str(around.compiled_runtime), BYTECODE_ROOT + RUNTIME_ROOT)]


def _check_data_directory(directory: Path, level: Level, reachable: Iterable[str]) -> None:
    real = os.path.realpath(directory)
    for folder in reachable:
        if _lies_in(real, (os.path.realpath(folder),)):
            advice = ", or --isolation namespace, at which it is not the host's" if folder == LITERAL_TMP else ""
            raise IsolationUnavailableError(
                f"the data directory {real} lies in {folder}, which functions may reach at the isolation level "
                f"'{level}': choose another --data-dir{advice}"
            )


def _lies_in(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if os.path.exists(path)]
