"""The Python packages that functions find beside their own, as AWS's runtimes bring boto3: one folder of links."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

BOTO: Final = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
AWSLAMBDARIC: Final = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")


def location(module: str) -> Path | None:
    """Where a top-level module or package of this interpreter lies, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def link_packages(directory: Path, modules: Iterable[str]) -> list[str]:
    """Make ``directory`` hold links to these modules and nothing else. Returns the names that are not installed."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, Path] = {}
    missing = []
    for module in modules:
        found = location(module)
        if found is None:
            missing.append(module)
        else:
            wanted[found.name] = found
    for present in directory.iterdir():
        if not present.is_symlink() or os.readlink(present) != str(wanted.get(present.name)):
            # Python writes __pycache__ beside the link to a module of one file.
            if present.is_dir() and not present.is_symlink():
                shutil.rmtree(present)
            else:
                present.unlink()
    for name, target in wanted.items():
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(target)
    return missing
